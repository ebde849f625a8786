//! All disks take longer for a sync than an election timeout, as where each node saves a large snapshot. Nothing is committed for a while,
//! and that is all: whoever follows has heard of the leader, and says so.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, Target, When};
use crate::workload::Kind;

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "slow-disks", 3);
    sketch.work(&[Kind::Counters]); // very many writes are open at once: of values, no order would be found
    sketch.head.heal_ms = 14_000;
    let mut at = FORMED_MS;
    while at + 4000 < sketch.head.heal_ms {
        let lasts = sketch.draws.between(2000, 4000);
        for node in 1..=3 {
            let ms = sketch.draws.between(1500, 2500);
            sketch.add(When::At(at), lasts, Fault::SlowDisk { node: Target::Node(node), ms });
        }
        at += lasts + sketch.draws.between(1600, 2500);
    }
    sketch.plan()
}
