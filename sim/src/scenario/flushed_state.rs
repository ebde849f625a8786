//! Databases are flushed, and keys change, while snapshots are written step by step; nodes start again from them, or are sent one.

use super::sketch::{FORMED_MS, Sketch, cut};
use crate::plan::{Fault, Plan, Target, Ways, When};
use crate::workload::Kind;

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "flushed-state", 3);
    sketch.work(&[Kind::Flushes, Kind::Flushes, Kind::Registers]);
    sketch.head.snapshot_log_bytes = sketch.draws.pick(&[2048, 4096]);
    for round in 0..4 {
        let at = FORMED_MS + round * 1200 + sketch.draws.between(0, 500);
        let node = Target::Node(sketch.node());
        let lasts = sketch.draws.between(100, 900);
        let kill = sketch.draws.chance(60);
        let fault = if kill { Fault::Kill { node } } else { cut(node, Ways::Both) };
        sketch.add(When::At(at), lasts, fault);
    }
    sketch.plan()
}
