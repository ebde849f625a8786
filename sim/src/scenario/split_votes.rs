//! Five nodes on a slow network lose leader after leader, so that several stand in one term; and the power of a node goes right
//! after it voted.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, Target, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "split-votes", 5);
    sketch.head.latency_ms = 15;
    let slow = sketch.draws.between(100, 350);
    for node in 1..=5 {
        let node = Target::Node(node);
        sketch.add(When::At(FORMED_MS), 60_000, Fault::SlowNetwork { node, ms: slow });
    }
    for round in 0..6 {
        let at = FORMED_MS + 300 + round * 1000 + sketch.draws.between(0, 300);
        sketch.add(When::At(at), 300, Fault::Kill { node: Target::Leader });
    }
    let mut nth = sketch.draws.between(5, 8);
    for _ in 0..6 {
        let when = When::Message { kind: "MsgRequestVoteResponse".to_owned(), nth };
        sketch.add(when, 100, Fault::PowerCut { node: Target::Cause, silent: false });
        nth += sketch.draws.between(1, 4);
    }
    sketch.plan()
}
