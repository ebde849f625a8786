//! Wall clocks jump by minutes and hours, under leaders and under those who lead next; no process ends. Log time must not notice.

use super::sketch::{FORMED_MS, Sketch, cut};
use crate::plan::{Class, Fault, Plan, Target, Ways, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "clock-jump", 3);
    sketch.head.class = Class::WildClocks;
    let mut at = FORMED_MS;
    while at + 2000 < sketch.head.heal_ms {
        let node = sketch.draws.pick(&[Target::Leader, Target::Follower]);
        let far = sketch.draws.pick(&[60_000, 3_600_000]);
        let ms = if sketch.draws.chance(60) { far } else { -far };
        let jumps = sketch.add(When::At(at), 0, Fault::ClockJump { node, ms });
        let soon = sketch.draws.between(100, 400);
        // Whoever leads next takes log time over.
        let lasts = sketch.draws.between(1600, 2200);
        sketch.after(jumps, soon, lasts, cut(Target::Leader, Ways::Both));
        at += soon + lasts + sketch.draws.between(300, 800);
    }
    sketch.plan()
}
