//! A node on its own ends and starts again, time after time, on a slow disk: it leads at once, and must serve nobody before it has applied
//! what it had acknowledged.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, Target, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "lone-node", 1);
    let (node, ms) = (Target::Node(1), sketch.draws.between(5, 100));
    sketch.head.snapshot_log_bytes = sketch.draws.pick(&[2048, 8192, 1 << 20]);
    let mut at = FORMED_MS;
    let lasts = sketch.head.heal_ms - at;
    sketch.add(When::At(at), lasts, Fault::SlowDisk { node, ms });
    while at + 800 < sketch.head.heal_ms {
        let lasts = sketch.draws.between(1, 100);
        sketch.add(When::At(at), lasts, Fault::Kill { node });
        at += sketch.draws.between(300, 900);
    }
    sketch.plan()
}
