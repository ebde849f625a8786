//! Clocks at the limits of what is kept in time: a leader whose clock is fast hands over to one whose clock is slow, and back. No key
//! ends early, none lives on.

use super::sketch::{FORMED_MS, Sketch, cut};
use crate::plan::{ClockPlan, Fault, Plan, Target, Ways, When};
use crate::ports::clock::{DRIFT_PPM, SKEW_MS};
use crate::workload::Kind;

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "expiry-handover", 3);
    sketch.work(&[Kind::Expiry, Kind::Locks, Kind::Limiter, Kind::Watched]);
    for (at, clock) in (seed..).zip(&mut sketch.head.clocks) {
        let way = if at % 2 == 0 { 1 } else { -1 };
        *clock = ClockPlan { skew_ms: way * SKEW_MS as i64, drift_ppm: way * DRIFT_PPM as i64 };
    }
    let mut at = FORMED_MS;
    while at + 2000 < sketch.head.heal_ms {
        let node = Target::Leader;
        let fault = match sketch.draws.below(4) {
            0 => Fault::Pause { node },
            1 => Fault::Kill { node },
            2 => Fault::PowerCut { node, silent: true },
            _ => cut(node, Ways::Both),
        };
        let lasts = sketch.draws.between(1500, 2200);
        sketch.add(When::At(at), lasts, fault);
        at += lasts + sketch.draws.between(200, 800);
    }
    sketch.plan()
}
