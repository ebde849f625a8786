//! A leader stands still for longer than an election takes, and is cut off from its peers for a little longer than that. What its
//! clients asked in the meantime is the first thing that it sees; what it would answer by itself is old.

use super::sketch::{FORMED_MS, Sketch, hold};
use crate::plan::{Fault, Plan, Target, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "paused-leader-read", 3);
    sketch.registers(&["GET", "SET", "MGET", "STRLEN"]);
    sketch.head.request_timeout_ms = 5000; // reads must not be too old to be answered
    let mut at = FORMED_MS;
    while at + 3000 < sketch.head.heal_ms {
        let lasts = sketch.draws.between(1500, 2500);
        let pause = sketch.add(When::At(at), lasts, Fault::Pause { node: Target::Leader });
        let longer = lasts + sketch.draws.between(20, 400);
        sketch.add(When::After { fault: pause, ms: 0 }, longer, hold(Target::Leader));
        at += longer + sketch.draws.between(300, 900);
    }
    sketch.plan()
}
