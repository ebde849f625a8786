//! A follower is cut off and comes back, again and again, for longer than an election takes. The cluster goes on under the same leader.

use super::sketch::{FORMED_MS, Sketch, cut};
use crate::plan::{Plan, Target, Ways, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "flapping-node", 3);
    let ways = sketch.draws.pick(&[Ways::Both, Ways::Both, Ways::In]);
    let mut at = FORMED_MS + sketch.draws.between(0, 500);
    while at + 2500 < sketch.head.heal_ms {
        let lasts = sketch.draws.between(1500, 2200);
        sketch.add(When::At(at), lasts, cut(Target::Follower, ways));
        at += lasts + sketch.draws.between(100, 600);
    }
    sketch.plan()
}
