//! A leader is heard and hears nobody, for good: its word keeps the others from electing another, and it can promise nothing. It
//! must step down.

use super::sketch::{Sketch, cut};
use crate::plan::{Fault, Plan, Target, Ways, When, Whom};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "deaf-leader", 3);
    let deaf = sketch.node();
    let (one, other) = (deaf % 3 + 1, (deaf + 1) % 3 + 1);
    sketch.head.abandoned = vec![deaf];
    sketch.head.heal_ms = 6000;
    // While its peers do not hear each other and whoever leads is stopped, it is the one most often that can win.
    let between = Fault::Cut {
        node: Target::Node(one),
        ways: Ways::Both,
        from: Whom::Node(other),
        held: false,
    };
    sketch.add(When::At(1500), 3000, between);
    for node in [one, other] {
        let lasts = sketch.draws.between(1000, 1400);
        sketch.add(When::At(1500), lasts, Fault::Pause { node: Target::Node(node) });
    }
    let since = 4500 + sketch.draws.between(0, 800);
    sketch.add(When::At(since), 60_000, cut(Target::Node(deaf), Ways::In));
    sketch.plan()
}
