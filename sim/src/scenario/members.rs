//! Members come and go, from one node to three and back, one in another's place, while nodes end, stand still or are cut off. Whoever was
//! away while members changed must find its cluster again; whoever was removed must learn of it, but not before the others can do without
//! its vote; and at no time may two sets of voters decide without each other.

use super::sketch::{FORMED_MS, Sketch, cut};
use crate::plan::{Fault, Members, Plan, Target, Ways, When, Whom};

const NODES: u64 = 6;

/// Anything at any time.
pub(super) fn carousel(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "member-carousel", NODES);
    let founders = sketch.draws.pick(&[1, 1, 3]);
    sketch.head.spares = NODES - founders;
    sketch.head.heal_ms = 12_000;
    sketch.head.snapshot_log_bytes = sketch.draws.pick(&[2048, 8192, 1 << 20]);
    let mut members: Vec<u64> = (1..=founders).collect();
    let mut fresh = founders + 1..=NODES;
    let mut at = FORMED_MS;
    while at + 800 < sketch.head.heal_ms {
        let breaks_before = sketch.draws.chance(60);
        if breaks_before {
            break_something(&mut sketch, at, &members);
        }
        let someone = sketch.draws.pick(&members);
        let wants = if members.len() < 2 { 0 } else { sketch.draws.below(4) };
        let change = match wants {
            0 | 1 => fresh.next().map(Members::Add),
            2 => fresh.next().map(|new| Members::Replace { old: someone, new }),
            _ => Some(Members::Remove(someone)),
        };
        let Some(change) = change.filter(|_| members.len() < 5) else {
            at += 1000;
            continue;
        };
        match change {
            Members::Add(id) => members.push(id),
            Members::Remove(id) => members.retain(|other| *other != id),
            Members::Replace { old, new } => {
                members.retain(|other| *other != old);
                members.push(new);
            }
        }
        let asked_at = at + sketch.draws.between(0, 600);
        sketch.add(When::At(asked_at), 0, Fault::Change { members: change });
        if !breaks_before {
            let soon = asked_at + sketch.draws.between(0, 500);
            break_something(&mut sketch, soon, &members);
        }
        at = asked_at + sketch.draws.between(600, 1600);
    }
    sketch.plan()
}

/// One thing that lasts through a change, or begins in the middle of it.
fn break_something(sketch: &mut Sketch, at: u64, members: &[u64]) {
    let (one, other) = (sketch.draws.pick(members), sketch.draws.pick(members));
    let lasts = sketch.draws.between(100, 2500);
    let node = Target::Node(one);
    let fault = match sketch.draws.below(8) {
        0 | 1 => Fault::Kill { node },
        2 => Fault::PowerCut { node, silent: sketch.draws.chance(30) },
        3 => Fault::Pause { node },
        4 => cut(node, Ways::Both),
        5 if one != other => {
            Fault::Cut { node, ways: Ways::Both, from: Whom::Node(other), held: false }
        }
        6 => Fault::SlowNetwork { node, ms: sketch.draws.between(20, 120) },
        _ => Fault::SlowDisk { node, ms: sketch.draws.between(10, 200) },
    };
    sketch.add(When::At(at), lasts, fault);
}

/// A node is away until the two others have been replaced: it has heard of neither of those that are there when it comes back.
pub(super) fn strangers(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "strangers", 5);
    sketch.head.spares = 2;
    sketch.head.heal_ms = 10_000;
    let away = sketch.node().min(3);
    let at = FORMED_MS + sketch.draws.between(0, 500);
    let fault = match sketch.draws.below(3) {
        0 => Fault::Kill { node: Target::Node(away) },
        1 => Fault::Pause { node: Target::Node(away) },
        _ => cut(Target::Node(away), Ways::Both),
    };
    let lasts = sketch.head.heal_ms - at;
    sketch.add(When::At(at), lasts, fault);
    let others = (1..=3).filter(|id| *id != away);
    for (old, new) in others.zip([4, 5]) {
        let members = Members::Replace { old, new };
        sketch.add(When::At(at + 500), 0, Fault::Change { members });
    }
    sketch.plan()
}

/// A node takes another's place over a slow network; just then the leader is not heard by the old members any more, but by the new one.
pub(super) fn cut_while_joint(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "cut-while-joint", 6);
    sketch.head.spares = 3;
    sketch.head.heal_ms = 13_000;
    let mut members = vec![1, 2, 3];
    let mut at = FORMED_MS;
    for new in 4..=6 {
        let old = sketch.draws.pick(&members);
        let change = Fault::Change { members: Members::Replace { old, new } };
        let change = sketch.add(When::At(at), 0, change);
        for node in &members {
            let (node, ms) = (Target::Node(*node), sketch.draws.between(60, 120));
            sketch.add(When::At(at), 3000, Fault::SlowNetwork { node, ms });
        }
        let soon = sketch.draws.between(350, 900); // it catches up in that time
        for member in &members {
            let from = Whom::Node(*member);
            let deaf = Fault::Cut { node: Target::Leader, ways: Ways::Out, from, held: false };
            sketch.after(change, soon, 2200, deaf);
        }
        members.retain(|other| *other != old);
        members.push(new);
        at += 3500;
    }
    sketch.plan()
}

/// Of two nodes one goes, and the other ends while it writes down that it is alone now.
pub(super) fn shrinks(seed: u64) -> Plan {
    let mut sketch = Sketch::new(seed, "shrinks", 2);
    let at = FORMED_MS + sketch.draws.between(0, 1000);
    // The other one may know before the leader that it was removed.
    let (node, ms) = (Target::Leader, sketch.draws.between(300, 1200));
    let lasts = sketch.head.heal_ms - at;
    sketch.add(When::At(at), lasts, Fault::SlowDisk { node, ms });
    let members = Members::Remove(sketch.node());
    let change = sketch.add(When::At(at), 0, Fault::Change { members });
    for _ in 0..2 {
        let (soon, lasts) = (sketch.draws.between(400, 5000), sketch.draws.between(200, 1000));
        sketch.after(change, soon, lasts, Fault::Kill { node: Target::Leader });
    }
    sketch.plan()
}
