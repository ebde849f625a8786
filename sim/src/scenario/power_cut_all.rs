//! All machines lose power at once, and each starts again when it likes. What was acknowledged is there.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, When};

pub(super) fn plan(seed: u64) -> Plan {
    let nodes = if seed.is_multiple_of(5) { 1 } else { 3 };
    let mut sketch = Sketch::new(seed, "power-cut-all", nodes);
    let mut at = FORMED_MS + sketch.draws.between(0, 500);
    while at + 500 < sketch.head.heal_ms {
        let lasts = sketch.draws.between(50, 600);
        sketch.add(When::At(at), lasts, Fault::PowerCutAll);
        at += lasts + sketch.draws.between(600, 2500);
    }
    sketch.plan()
}
