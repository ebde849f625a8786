//! A sync fails, the system takes the lost pages for clean, and soon the power goes: whoever confirmed what that sync was for is found
//! out.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{DiskError, Fault, Plan, Target, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "fsyncgate", 3);
    let mut at = FORMED_MS;
    while at + 1000 < sketch.head.heal_ms {
        let node = Target::Node(sketch.node());
        let error = Fault::DiskError { node, error: DiskError::Sync };
        let fails = sketch.add(When::At(at), 0, error);
        let soon = sketch.draws.between(10, 120);
        let silent = sketch.draws.chance(50);
        sketch.after(fails, soon, 300, Fault::PowerCut { node, silent });
        at += sketch.draws.between(700, 1500);
    }
    sketch.plan()
}
