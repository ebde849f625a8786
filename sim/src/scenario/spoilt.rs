//! One node of three loses what it promised to keep, at a moment at which it matters. In most of these stories one of the two others has
//! missed the last entries, and the other is about to be gone: if the spoilt node takes part in an election as if nothing were
//! missing, then what was acknowledged is lost. In the others its peers find out, or it leads without noticing.

use super::sketch::{FORMED_MS, HEAL_MS, Sketch, cut};
use crate::draw::Draws;
use crate::plan::{Back, Class, Fault, Files, Plan, Target, Ways, When, Whom};
use crate::ports::disk::Rot;

/// How old the copy is to which a disk is put back.
const COPY_MS: u64 = 1500;

/// What lies on the disk rots, and the node starts again.
pub(super) fn rots(seed: u64) -> Plan {
    story(seed, "bit-rot", |sketch, node, at, _| {
        let rot = sketch.draws.pick(&[Rot::BitFlip, Rot::BadSectors, Rot::ZeroedSector]);
        let rots = Fault::Rot { node, rot, files: Files::Segments };
        let rots = sketch.add(When::At(at), 0, rots);
        sketch.after(rots, 1, 60, Fault::Kill { node });
    })
}

/// The volume is rolled back to what it was before the node's last start, of which both others have heard. That is how an older state
/// is told from the member where the files can't tell: one of the last start itself passes for it.
pub(super) fn is_rolled_back(seed: u64) -> Plan {
    story(seed, "back-in-time", |sketch, node, at, _| {
        let back = Fault::PutBack { node, way: Back::RolledBack };
        let copies = sketch.add(When::At(at - COPY_MS), COPY_MS, back);
        sketch.after(copies, 20, 50, Fault::Kill { node });
    })
}

/// A copy of the directory that was made since the node's last start takes its place.
pub(super) fn is_copied_back(seed: u64) -> Plan {
    story(seed, "copied-back", |sketch, node, at, missed_ms| {
        let back = Fault::PutBack { node, way: Back::Copied };
        sketch.add(When::At(at - missed_ms), missed_ms, back);
    })
}

/// The machine gets an empty disk.
pub(super) fn is_wiped(seed: u64) -> Plan {
    story(seed, "wiped-disk", |sketch, node, at, _| {
        sketch.add(When::At(at), 60, Fault::Wipe { node });
    })
}

/// The volume of a follower is rolled back to what it was after the node's last start: nothing tells it from the member, and it starts.
/// Both others are there, and have what it lacks: the leader knows that it had confirmed more, and it ends.
pub(super) fn is_found_out(seed: u64) -> Plan {
    let (mut sketch, spoilt) = beginning(seed, "found-out");
    let node = Target::Node(spoilt);
    sketch.head.segment_bytes = 1 << 20;
    sketch.head.snapshot_log_bytes = 4 << 20;
    let away_ms = sketch.draws.between(1000, 1500); // if it led, another does
    let starts = sketch.add(When::At(FORMED_MS), away_ms, Fault::Kill { node });
    let back = Fault::PutBack { node, way: Back::RolledBack };
    let ms = away_ms + sketch.draws.between(500, 1000);
    sketch.after(starts, ms, COPY_MS, back);
    sketch.plan()
}

/// The newest snapshot of a leader rots while a follower is away that will need it, and hardly anything is written afterwards. The two
/// others end in such an order that the spoilt node leads.
pub(super) fn snapshot_rots(seed: u64) -> Plan {
    let (mut sketch, spoilt) = beginning(seed, "rotten-snapshot");
    let (other, away) = (Target::Node(spoilt % 3 + 1), Target::Node((spoilt + 1) % 3 + 1));
    sketch.head.snapshot_log_bytes = sketch.draws.between(8, 32) * 1024;
    sketch.head.scrub_pause_ms = 3_600_000; // the node is not to find it out by itself
    let gone_ms = HEAL_MS - FORMED_MS;
    let gone = sketch.add(When::At(FORMED_MS), gone_ms, Fault::Kill { node: away });
    sketch.after(gone, 500, 50, Fault::Kill { node: other });
    let rot = sketch.draws.pick(&[Rot::BitFlip, Rot::BadSectors, Rot::ZeroedSector]);
    let rots = Fault::Rot { node: Target::Node(spoilt), rot, files: Files::Snapshots };
    let before_ms = sketch.draws.between(50, 500);
    sketch.after(gone, gone_ms - before_ms, 0, rots);
    sketch.plan()
}

/// What a minority holds rots again and again, in its log and in its snapshots, and is found when it starts again. Meanwhile the others are
/// killed, cut off and paused, so that now one and now the other leads, and what one of them has confirmed is all that there is.
pub(super) fn minority_rots(seed: u64) -> Plan {
    let mut draws = Draws::new(seed, "minority-rot nodes");
    let nodes = draws.pick(&[3, 3, 3, 5]);
    let mut sketch = Sketch::new(seed, "minority-rot", nodes);
    sketch.head.class = Class::StorageRot;
    let first = sketch.node();
    let rotten: Vec<u64> = (0..nodes / 2).map(|n| (first + n - 1) % nodes + 1).collect();
    let sound: Vec<u64> = (1..=nodes).filter(|id| !rotten.contains(id)).collect();
    sketch.head.rotten.clone_from(&rotten);
    sketch.head.snapshot_log_bytes = sketch.draws.pick(&[8 << 10, 64 << 10, 4 << 20]);
    sketch.head.segment_bytes = sketch.draws.pick(&[4096, 64 << 10]);
    let mut at = FORMED_MS;
    while at < HEAL_MS - 1000 {
        at += sketch.draws.between(200, 1500);
        let node = Target::Node(sketch.draws.pick(&rotten));
        let rot = sketch.draws.pick(&[Rot::BitFlip, Rot::BadSectors, Rot::ZeroedSector]);
        let files = sketch.draws.pick(&[Files::Segments, Files::Segments, Files::Snapshots]);
        let rots = sketch.add(When::At(at), 0, Fault::Rot { node, rot, files });
        let away_ms = sketch.draws.between(20, 400);
        sketch.after(rots, 1, away_ms, Fault::Kill { node });
        let other = Target::Node(sketch.draws.pick(&sound));
        let (before_ms, lasts_ms) = (sketch.draws.below(300), sketch.draws.between(100, 1500));
        let fault = match sketch.draws.below(4) {
            0 => Fault::Kill { node: other },
            1 => Fault::PowerCut { node: other, silent: false },
            2 => cut(other, Ways::Both),
            _ => Fault::Pause { node: other },
        };
        sketch.add(When::At(at - before_ms.min(at)), lasts_ms, fault);
    }
    sketch.plan()
}

/// A node votes a leader out that stands still, and its log rots. When it starts again it hears that leader alone, which has heard nothing
/// of its end: if the node follows it, there are two histories.
pub(super) fn forgets_a_term(seed: u64) -> Plan {
    let (mut sketch, spoilt) = beginning(seed, "forgotten-term");
    sketch.head.segment_bytes = 1 << 20;
    sketch.head.snapshot_log_bytes = 4 << 20;
    let (old, new) = (spoilt % 3 + 1, (spoilt + 1) % 3 + 1);
    let (node, paused_ms) = (Target::Node(spoilt), sketch.draws.between(2100, 2600));
    let at = FORMED_MS + sketch.draws.between(200, 700);
    let from = |id| Fault::Cut {
        node: Target::Node(new),
        ways: Ways::Both,
        from: Whom::Node(id),
        held: false,
    };
    sketch.add(When::At(at), 5000, from(old));
    sketch.add(When::At(at), paused_ms, Fault::Pause { node: Target::Node(old) });
    // It has written nothing for a while by then: what was written a moment ago is not told from a write that was cut short.
    sketch.add(When::At(at + 1600), 4400, from(spoilt));
    let rots = Fault::Rot { node, rot: Rot::BitFlip, files: Files::Segments };
    let rots = sketch.add(When::At(at + 2000), 0, rots);
    sketch.after(rots, 1, 30, Fault::Kill { node });
    sketch.plan()
}

/// Three nodes, and the one that is spoilt.
fn beginning(seed: u64, name: &str) -> (Sketch, u64) {
    let mut sketch = Sketch::new(seed, name, 3);
    sketch.head.class = Class::StorageRot;
    let spoilt = sketch.node();
    sketch.head.rotten = vec![spoilt];
    (sketch, spoilt)
}

/// `spoil` adds what befalls the node at a time; the other has missed the given milliseconds by then.
fn story(seed: u64, name: &str, spoil: fn(&mut Sketch, Target, u64, u64)) -> Plan {
    let (mut sketch, spoilt) = beginning(seed, name);
    let (missing, keeps) = (spoilt % 3 + 1, (spoilt + 1) % 3 + 1);
    sketch.head.segment_bytes = 1 << 20; // the log is all there is: it rots where it is needed
    sketch.head.snapshot_log_bytes = 4 << 20;
    let at = FORMED_MS + sketch.draws.between(COPY_MS, 2 * COPY_MS);
    let missed_ms = sketch.draws.between(300, 600);
    let away = cut(Target::Node(missing), Ways::Both);
    sketch.add(When::At(at - missed_ms), missed_ms + 30, away);
    spoil(&mut sketch, Target::Node(spoilt), at, missed_ms);
    let gone_ms = sketch.draws.between(2500, 4000);
    let (node, silent) = (Target::Node(keeps), sketch.draws.chance(50));
    sketch.add(When::At(at), gone_ms, Fault::PowerCut { node, silent });
    sketch.plan()
}
