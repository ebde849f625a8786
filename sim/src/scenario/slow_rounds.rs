//! A node far away asks the leader for read indexes: its rounds take long, are asked again, and their answers come in any order,
//! while the others write quickly.

use super::sketch::{FORMED_MS, Sketch};
use crate::plan::{Fault, Plan, Target, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "slow-rounds", 3);
    sketch.registers(&["GET", "SET", "GET", "MGET"]);
    sketch.head.latency_ms = 2;
    sketch.head.request_timeout_ms = 5000;
    sketch.head.mix.depth_max = 2;
    let mut at = FORMED_MS;
    while at + 500 < sketch.head.heal_ms {
        let node = Target::Node(sketch.node());
        let ms = sketch.draws.between(60, 450);
        let lasts = sketch.draws.between(800, 2500);
        sketch.add(When::At(at), lasts, Fault::SlowNetwork { node, ms });
        at += lasts;
    }
    sketch.plan()
}
