//! The power goes, or the process ends, while a snapshot is being written; what is found there afterwards is half of one.

use super::sketch::Sketch;
use crate::plan::{Fault, Files, Plan, Target, When};
use crate::ports::disk::{IoKind, Moment};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "torn-snapshot", 3);
    sketch.head.mix.kilobytes = true;
    sketch.head.snapshot_log_bytes = sketch.draws.pick(&[2048, 4096, 8192]);
    for node in 1..=3 {
        for _ in 0..3 {
            let nth = sketch.draws.between(2, 12);
            let moment = sketch.draws.pick(&[Moment::Before, Moment::During, Moment::After]);
            let kind = sketch.draws.pick(&[Some(IoKind::Write), Some(IoKind::Sync), None]);
            let when = When::Io { node, kind, files: Files::Snapshots, nth, moment };
            let lasts = sketch.draws.between(50, 400);
            let node = Target::Cause;
            let fault = if sketch.draws.chance(50) {
                Fault::Kill { node }
            } else {
                Fault::PowerCut { node, silent: false }
            };
            sketch.add(when, lasts, fault);
        }
    }
    sketch.plan()
}
