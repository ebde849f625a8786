//! Nodes get the next release one after the other, and some the present one again, while they are killed, told to end, cut off and stand
//! still. Its semantics level must begin once, for all at the same entry, and not before all can follow; the operator goes back with none
//! once the last has the next release.

use super::sketch::{FORMED_MS, HEAL_MS, Sketch, cut};
use crate::plan::{Fault, Plan, Target, Ways, When};

pub(super) fn plan(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "upgrade-roulette", 3);
    sketch.head.snapshot_log_bytes = sketch.draws.pick(&[2048, 8192, 64 << 10]);
    let last = sketch.node();
    let mut at = FORMED_MS;
    let all_but_last: Vec<u64> = (1..=3).filter(|id| *id != last).collect();
    let mut is_next = [false; 4];
    while at < HEAL_MS - 3000 {
        let id = sketch.draws.pick(&all_but_last);
        let next = &mut is_next[id as usize];
        *next = !*next;
        let next = *next;
        starts_with(&mut sketch, at, id, next);
        if sketch.draws.chance(50) {
            break_something(&mut sketch, at);
        }
        at += sketch.draws.between(150, 900);
    }
    // Now all, the last one at last; whatever still breaks, breaks in the next release.
    let missing: Vec<u64> =
        all_but_last.into_iter().filter(|id| !is_next[*id as usize]).chain([last]).collect();
    for id in missing {
        starts_with(&mut sketch, at, id, true);
        break_something(&mut sketch, at);
        at += sketch.draws.between(100, 600);
    }
    while at < HEAL_MS {
        break_something(&mut sketch, at);
        at += sketch.draws.between(200, 800);
    }
    sketch.plan()
}

/// A node ends, one way or the other, and starts with a release.
fn starts_with(sketch: &mut Sketch, at: u64, id: u64, next: bool) {
    let node = Target::Node(id);
    let release = sketch.add(When::At(at), 0, Fault::Release { node, next });
    let is_told = sketch.draws.chance(50);
    let ends = if is_told { Fault::End { node } } else { Fault::Kill { node } };
    let away_ms = sketch.draws.between(20, 500);
    sketch.after(release, 1, away_ms, ends);
}

fn break_something(sketch: &mut Sketch, at: u64) {
    let node = Target::Node(sketch.node());
    let fault = match sketch.draws.below(4) {
        0 => Fault::Kill { node },
        1 => Fault::PowerCut { node, silent: sketch.draws.chance(30) },
        2 => Fault::Pause { node },
        _ => cut(node, Ways::Both),
    };
    let soon = at + sketch.draws.below(400);
    let lasts_ms = sketch.draws.between(50, 1200);
    sketch.add(When::At(soon), lasts_ms, fault);
}
