//! A node starts again and stands still before it has heard anything. The others end in the meantime: what waits for it is old, nobody
//! says anything newer, and those who start again know less.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, Target, When};
use crate::workload::Kind;

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "paused-newcomer", 3);
    sketch.work(&[Kind::Locks, Kind::Expiry, Kind::Counters]);
    let mut at = FORMED_MS;
    while at + 2500 < sketch.head.heal_ms {
        let newcomer = sketch.node();
        let node = Target::Node(newcomer);
        let killed = sketch.add(When::At(at), 50, Fault::Kill { node });
        // Its streams are there, and their first words on the way.
        let soon = 50 + sketch.draws.between(2, 60);
        let stands = sketch.draws.between(700, 1400);
        let pause = sketch.after(killed, soon, stands, Fault::Pause { node });
        let others = [newcomer % 3 + 1, (newcomer + 1) % 3 + 1];
        for other in others {
            let when = sketch.draws.between(60, 300);
            let node = Target::Node(other);
            sketch.after(pause, when, stands, Fault::Kill { node });
        }
        at += 50 + soon + stands + sketch.draws.between(1500, 2500);
    }
    sketch.plan()
}
