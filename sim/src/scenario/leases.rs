//! A leader's lease, and what could let it outlive its leadership: cut off, handing over, a voter that forgets, answers that come
//! late, a disk that is behind. Clients read far more than they write, so that a stale reply shows and logs stay equal.

use super::sketch::{FORMED_MS, Sketch, cut, hold};
use crate::plan::{Fault, Plan, Target, Trouble, Ways, When, Whom};
use crate::ports::net::Streams;

/// Rounds of a lease and elections take this long at the most.
const ELECTION_MS: u64 = 1400;

fn sketch(seed: u64, name: &str) -> Sketch {
    let mut sketch = Sketch::new(seed, name, 3);
    let reads = ["GET", "GET", "MGET", "GET", "GET", "STRLEN"];
    sketch.registers(&[reads.as_slice(), &reads, &["SET"]].concat());
    sketch.head.request_timeout_ms = 5000; // reads must not be too old to be answered
    sketch
}

/// A leader is cut off while others elect. Before that its answers were late, its disk was slow, or the network was.
pub(super) fn is_cut_off(seed: u64) -> Plan {
    let mut sketch = sketch(seed, "lease-cut-off");
    let mut at = FORMED_MS;
    while at + 3000 < sketch.head.heal_ms {
        let lasts = sketch.draws.between(ELECTION_MS, 2200);
        let leader = Target::Leader;
        match sketch.draws.below(3) {
            0 => {
                // What it had asked is answered when the others have long been waiting for it.
                let (over, trouble) = (Streams::Peers, Trouble::Glue(600));
                let fault = Fault::Streams { node: leader, over, trouble };
                let late = sketch.add(When::At(at), 1300, fault);
                let asks_on = sketch.draws.between(50, 590);
                sketch.after(late, asks_on, lasts, cut(leader, Ways::Out));
            }
            1 => {
                let ms = sketch.draws.between(100, 300);
                sketch.add(When::At(at), lasts, Fault::SlowDisk { node: leader, ms });
                sketch.add(When::At(at + lasts), lasts, cut(leader, Ways::Both));
                at += lasts;
            }
            _ => {
                sketch.add(When::At(at), lasts, cut(leader, Ways::Both));
            }
        }
        at += lasts + sketch.draws.between(500, 1200);
    }
    sketch.plan()
}

/// A leader whose disk is full hands over; its word to the other comes late, and just then it is cut off.
pub(super) fn hands_over(seed: u64) -> Plan {
    let mut sketch = sketch(seed, "transfer-in-lease");
    sketch.head.latency_ms = sketch.draws.between(10, 25);
    let mut at = FORMED_MS;
    let mut nth = 1;
    while at + 2000 < sketch.head.heal_ms {
        let lasts = sketch.draws.between(50, 300);
        let full = Fault::DiskFull { node: Target::Leader, free_bytes: 0 };
        sketch.add(When::At(at), lasts, full);
        let (kind, late) = ("MsgTimeoutNow".to_owned(), sketch.draws.between(30, 300));
        let held =
            Fault::Cut { node: Target::Cause, ways: Ways::Out, from: Whom::Peers, held: true };
        let held = sketch.add(When::Message { kind, nth }, late, held);
        let arrives = sketch.draws.between(1, sketch.head.latency_ms + 5);
        sketch.after(held, late + arrives, 1200, cut(Target::Leader, Ways::Both));
        nth += 1;
        at += sketch.draws.between(2000, 2600);
    }
    sketch.plan()
}

/// A node that has just answered the leader ends and starts again, cut off from the leader, and is asked for its vote by one that
/// has not heard of the leader for a while. Nothing is written meanwhile, so that the log is no reason to refuse.
pub(super) fn voter_restarts(seed: u64) -> Plan {
    let mut sketch = sketch(seed, "restart-in-lease");
    sketch.head.heal_ms = 12_000;
    let leader = sketch.node();
    let cut_off = |node, from: Whom, held| {
        let node = Target::Node(node);
        Fault::Cut { node, ways: Ways::Both, from, held }
    };
    // At first the two others reach the leader only, so that nobody else can lead.
    let [one, other] = [leader % 3 + 1, (leader + 1) % 3 + 1];
    sketch.add(When::At(1500), 4000, cut_off(one, Whom::Node(other), false));
    sketch.add(When::At(1700), 2000, Fault::Pause { node: Target::Leader });
    let mut at = 6000;
    while at + 3000 < sketch.head.heal_ms {
        let (voter, candidate) = if sketch.draws.chance(50) { (one, other) } else { (other, one) };
        let (ends, down) = (sketch.draws.between(600, 1400), sketch.draws.between(10, 80));
        for node in 1..=3 {
            sketch.add(When::At(at), ends + down + 70, cut_off(node, Whom::Clients, true));
        }
        let silence = When::At(at + 60);
        let silence = sketch.add(silence, 2300, cut_off(leader, Whom::Node(candidate), false));
        sketch.after(silence, ends, 1200, cut_off(leader, Whom::Node(voter), false));
        sketch.after(silence, ends + 1, down, Fault::Kill { node: Target::Node(voter) });
        at += sketch.draws.between(3000, 3400);
    }
    sketch.plan()
}

/// Leaders end, and the next one is over a slow network, so that it takes a while to learn what is committed.
pub(super) fn follows_another(seed: u64) -> Plan {
    let mut sketch = sketch(seed, "lease-at-election");
    sketch.head.latency_ms = sketch.draws.between(20, 60);
    let mut at = FORMED_MS + 1000;
    while at + 2000 < sketch.head.heal_ms {
        let down = sketch.draws.between(1600, 2400);
        match sketch.draws.below(2) {
            0 => sketch.add(When::At(at), down, Fault::Kill { node: Target::Leader }),
            _ => sketch.add(When::At(at), down, hold(Target::Leader)),
        };
        at += down + sketch.draws.between(300, 700);
    }
    sketch.plan()
}
