//! A leader reaches one other node only, for good. It can commit nothing, and yet that node, without which nobody else can win, would
//! follow it for ever: the leader must step down by itself.

use super::sketch::{Sketch, cut};
use crate::plan::{Fault, Plan, Target, Ways, When, Whom};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "clinging-leader", 5);
    let leader = sketch.node();
    let [follower, gone, one, other] = [1, 2, 3, 4].map(|by| (leader + by - 1) % 5 + 1);
    sketch.head.abandoned = vec![leader.min(gone), leader.max(gone)];
    let between = |node: u64, from: u64| {
        let (node, from) = (Target::Node(node), Whom::Node(from));
        Fault::Cut { node, ways: Ways::Both, from, held: false }
    };
    // At first all others reach the leader only, so that nobody else can lead.
    let others = [follower, gone, one, other];
    for (at, node) in others.iter().enumerate() {
        for from in others.iter().skip(at + 1) {
            sketch.add(When::At(1500), 4000, between(*node, *from));
        }
    }
    let lasts = sketch.draws.between(2000, 2500);
    sketch.add(When::At(1700), lasts, Fault::Pause { node: Target::Leader });
    let since = 6000 + sketch.draws.between(0, 1000);
    sketch.add(When::At(since), 60_000, between(leader, one));
    sketch.add(When::At(since), 60_000, between(leader, other));
    sketch.add(When::At(since), 60_000, cut(Target::Node(gone), Ways::Both));
    sketch.plan()
}
