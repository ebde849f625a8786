//! Snapshots at every turn, of large states: nodes end while they write one, while one comes, and are away for so long that they need
//! one.

use super::sketch::{FORMED_MS, Sketch, cut};
use crate::plan::{Fault, Files, Plan, Target, Ways, When};
use crate::ports::disk::Moment;

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "snapshot-churn", 3);
    sketch.head.snapshot_log_bytes = 2048;
    sketch.head.mix.kilobytes = true;
    sketch.head.mix.big_percent = sketch.draws.pick(&[0, 0, 1]);
    for node in 1..=3 {
        for _ in 0..2 {
            let (nth, files) = (sketch.draws.between(1, 60), Files::Snapshots);
            let moment = sketch.draws.pick(&[Moment::Before, Moment::During, Moment::After]);
            let when = When::Io { node, kind: None, files, nth, moment };
            sketch.add(when, 200, Fault::PowerCut { node: Target::Cause, silent: false });
        }
    }
    let mut at = FORMED_MS;
    while at + 1000 < sketch.head.heal_ms {
        let node = sketch.draws.pick(&[Target::Follower, Target::Follower, Target::Leader]);
        let lasts = sketch.draws.between(500, 2000);
        sketch.add(When::At(at), lasts, cut(node, Ways::Both));
        at += lasts + sketch.draws.between(100, 800);
    }
    sketch.plan()
}
