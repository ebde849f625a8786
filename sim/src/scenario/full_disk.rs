//! The leader's disk is full for a moment, and it hands leadership over to a peer that does not answer; so it goes on leading, after it
//! has refused what came in between.

use super::sketch::{FORMED_MS, Sketch, hold};
use crate::plan::{Fault, Plan, Target, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "full-disk", 3);
    let mut at = FORMED_MS;
    while at + 1500 < sketch.head.heal_ms {
        let free_bytes = sketch.draws.pick(&[0, 500, 3000]);
        let lasts = sketch.draws.between(50, 600);
        let full = Fault::DiskFull { node: Target::Leader, free_bytes };
        let full = sketch.add(When::At(at), lasts, full);
        let silence = sketch.draws.between(300, 900);
        let fault = match sketch.draws.below(3) {
            0 => Fault::Pause { node: Target::Follower },
            1 => Fault::SlowDisk { node: Target::Follower, ms: 300 },
            _ => hold(Target::Leader),
        };
        sketch.after(full, 0, silence, fault);
        at += sketch.draws.between(900, 1600);
    }
    sketch.plan()
}
