//! A node starts again and stands still before it has heard anything; what waits for it then is old. Soon it has to lead.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, Target, When};
use crate::workload::Kind;

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "paused-newcomer", 3);
    sketch.work(&[Kind::Locks, Kind::Expiry, Kind::Counters]);
    let mut at = FORMED_MS;
    while at + 3000 < sketch.head.heal_ms {
        let newcomer = sketch.node();
        let node = Target::Node(newcomer);
        let killed = sketch.add(When::At(at), 50, Fault::Kill { node });
        // Its streams are there, and their first words on the way.
        let soon = 50 + sketch.draws.between(2, 60);
        let stands = sketch.draws.between(600, 1500);
        let pause = sketch.after(killed, soon, stands, Fault::Pause { node });
        let others = [newcomer % 3 + 1, (newcomer + 1) % 3 + 1];
        for other in others {
            let when = stands + sketch.draws.between(0, 200);
            sketch.after(pause, when, 400, Fault::Kill { node: Target::Node(other) });
        }
        at += 50 + soon + stands + sketch.draws.between(1500, 2500);
    }
    sketch.plan()
}
