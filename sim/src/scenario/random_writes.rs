//! Scripts write what they draw by chance, and nodes start again: all replicas must draw the same, however much of the log each has
//! executed since its start.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, Target, When};
use crate::workload::Kind;

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "random-writes", 3);
    sketch.work(&[Kind::Random, Kind::Counters]);
    sketch.head.heal_ms = 5000;
    for round in 0..2 {
        let at = FORMED_MS + round * 1500 + sketch.draws.between(0, 500);
        let node = Target::Node(sketch.node());
        let lasts = sketch.draws.between(50, 700);
        sketch.add(When::At(at), lasts, Fault::Kill { node });
    }
    sketch.plan()
}
