//! Figure 8 of the Raft paper: each leader reaches one other node only and then ends, so that entries of old terms lie on a majority
//! without being committed, and leaders of later terms overwrite them.

use super::sketch::Sketch;
use crate::plan::{Fault, Plan, Target, Ways, When, Whom};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "figure-8", 5);
    sketch.head.heal_ms = 14_000;
    for nth in 1..=7 {
        let mut last = None;
        // All but one: whoever of these is the leader itself is not cut off from anybody.
        let spared = sketch.node();
        let lasts = sketch.draws.between(250, 600);
        for node in (1..=5).filter(|node| *node != spared) {
            let (ways, from) = (Ways::Both, Whom::Node(node));
            let fault = Fault::Cut { node: Target::Leader, ways, from, held: false };
            last = Some(sketch.add(When::Leads(nth), lasts, fault));
        }
        if let Some(last) = last {
            let down = sketch.draws.between(500, 2500);
            sketch.after(last, lasts - 50, down, Fault::Kill { node: Target::Leader });
        }
    }
    sketch.plan()
}
