//! Keys that end while they are watched, and WATCH in one pipeline with what follows it. Nothing breaks.

use super::sketch::Sketch;
use crate::plan::Plan;
use crate::workload::Kind;

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "watched-deadlines", 3);
    sketch.work(&[Kind::Watched]);
    sketch.head.mix.piped_watch_percent = 50;
    sketch.head.heal_ms = 4000;
    sketch.plan()
}
