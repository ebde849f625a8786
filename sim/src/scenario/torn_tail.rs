//! The power goes while records of the log are on their way to the disk: some of their sectors are there, others are not. The
//! values are longer than a sector.

use super::sketch::Sketch;
use crate::plan::{Fault, Files, Plan, Target, When};
use crate::ports::disk::{IoKind, Moment};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "torn-tail", 3);
    sketch.registers(&["SET", "GETSET", "GET", "MSET"]);
    sketch.head.mix.kilobytes = true;
    sketch.head.segment_bytes = 1 << 20;
    for node in 1..=3 {
        for _ in 0..4 {
            let nth = sketch.draws.between(20, 120);
            let moment = sketch.draws.pick(&[Moment::Before, Moment::During]);
            let (kind, files) = (Some(IoKind::Sync), Files::Segments);
            let when = When::Io { node, kind, files, nth, moment };
            let lasts = sketch.draws.between(50, 400);
            sketch.add(when, lasts, Fault::PowerCut { node: Target::Cause, silent: false });
        }
    }
    sketch.plan()
}
