//! Crowds of clients come over one node after the other, and nothing else happens: whoever asks is answered, whoever works goes on.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, Target, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "storms", 3);
    sketch.head.request_timeout_ms = 5000;
    let mut at = FORMED_MS;
    while at + 500 < sketch.head.heal_ms {
        let node = sketch.draws.pick(&[Target::Leader, Target::Follower]);
        let visitors = sketch.draws.pick(&[50, 200, 1000]);
        let lasts = sketch.draws.between(100, 3000);
        sketch.add(When::At(at), lasts, Fault::Storm { node, visitors });
        at += sketch.draws.between(200, 2000);
    }
    sketch.plan()
}
