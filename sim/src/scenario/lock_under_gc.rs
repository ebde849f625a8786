//! Locks as redis-py takes them, on nodes that stand still as if their memory were being swept: leaders, followers, both. No lock is
//! held twice, none ends early, none stays for ever.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, Target, When};
use crate::workload::Kind;

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "lock-under-gc", 3);
    sketch.work(&[Kind::Locks]);
    let mut at = FORMED_MS;
    while at + 500 < sketch.head.heal_ms {
        let node = sketch.draws.pick(&[Target::Leader, Target::Leader, Target::Follower]);
        let lasts = sketch.draws.between(100, 2000);
        sketch.add(When::At(at), lasts, Fault::Pause { node });
        at += sketch.draws.between(300, 1500);
    }
    sketch.plan()
}
