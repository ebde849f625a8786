//! Values that need several parcels, on nodes that take snapshots at every turn and end right after one: what has come in part is
//! part of the state.

use super::sketch::Sketch;
use crate::plan::{Fault, Files, Plan, Target, When};
use crate::ports::disk::{IoKind, Moment};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "big-values", 3);
    sketch.registers(&["SET", "GET", "STRLEN"]);
    sketch.head.mix.big_percent = sketch.draws.pick(&[4, 30]);
    sketch.head.mix.kilobytes = false;
    sketch.head.mix.depth_max = 6;
    sketch.head.request_timeout_ms = 5000;
    for node in 1..=3 {
        for _ in 0..3 {
            let nth = sketch.draws.between(1, 5);
            let (kind, files) = (Some(IoKind::Rename), Files::Snapshots);
            let when = When::Io { node, kind, files, nth, moment: Moment::After };
            sketch.add(when, 50, Fault::Kill { node: Target::Cause });
        }
    }
    sketch.plan()
}
