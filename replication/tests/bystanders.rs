//! What members that are whole do while another gets a lost log back or runs an older release, and what a node does that has said that it
//! must stop: nodes without I/O, whose disks and network take no time.

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_core::entry::{self, Op};
use steadfast_replication::event::{Input, Output};
use steadfast_replication::gateway::{Checkpoint, Role};
use steadfast_replication::node::{Change, Node, NodeConfig, NodeStart};
use steadfast_replication::roster::Listed;
use steadfast_replication::storage::{HardState, Membership};
use steadfast_replication::wire::RaftMessage;
use world::node_config;

const VOTERS: [u64; 3] = [1, 2, 3];
/// A semantics level that all three know.
const LATER: u32 = 3;

struct Three {
    nodes: BTreeMap<u64, Node>,
    now: Duration,
    /// Wishes that were refused, and why.
    refused: Vec<(u64, String)>,
    /// What was said besides raft's messages.
    said: Vec<Output>,
    /// Semantics levels that began, by the first node's log.
    levels: Vec<u32>,
}

impl Three {
    /// Three nodes, of which one leads.
    fn new() -> (Self, u64) {
        let start = |id| {
            let config = NodeConfig { seed: id, level: LATER, ..node_config(id) };
            let membership = Membership::of_voters(&VOTERS);
            let hard_state = HardState::default();
            let start = NodeStart { hard_state, membership, snapshot: None, entries: Vec::new() };
            (id, Node::new(config, start).expect("it starts"))
        };
        let nodes = VOTERS.into_iter().map(start).collect();
        let (refused, said, levels) = (Vec::new(), Vec::new(), Vec::new());
        let mut three = Self { nodes, now: Duration::ZERO, refused, said, levels };
        three.tick(100);
        let leads = |(_, node): &(&u64, &Node)| node.role() == Role::Leader;
        let leader = three.nodes.iter().find(leads).map(|(id, _)| *id);
        (three, leader.expect("one leads"))
    }

    fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now += Duration::from_millis(30);
            for id in VOTERS {
                self.input(id, Input::Tick);
            }
        }
    }

    /// An input, and all that follows from it.
    fn input(&mut self, to: u64, input: Input) {
        let (now, mut inputs) = (self.now, vec![(to, input)]);
        while let Some((id, input)) = inputs.pop() {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            node.step(now, 1000, input);
            node.turn(now, 1000);
            let mut follows = Vec::new();
            while let Some(output) = node.poll() {
                match output {
                    Output::Persist { number, .. } => {
                        follows.push((id, Input::Persisted { number }));
                    }
                    Output::Send { message, word } => {
                        follows.push((message.to, Input::Peer { message, word }));
                    }
                    Output::Apply { entries } => {
                        let payloads = entries.iter().filter(|entry| !entry.payload.is_empty());
                        let decoded = payloads.filter_map(|e| entry::decode_entry(&e.payload).ok());
                        let ops = decoded.filter(|_| id == 1).flat_map(|(_, ops)| ops.flatten());
                        self.levels.extend(ops.filter_map(|op| match op {
                            Op::Level(level) => Some(level),
                            _ => None,
                        }));
                        let index = entries.last().expect("there is one").index;
                        follows.push((id, Input::Applied { index, passed: 0, registered: false }));
                    }
                    Output::ChangeRefused { ticket, why } => self.refused.push((ticket, why)),
                    other => self.said.push(other),
                }
            }
            inputs.extend(follows.into_iter().rev());
        }
    }

    fn node(&self, id: u64) -> &Node {
        self.nodes.get(&id).expect("it is one of three")
    }

    fn others(leader: u64) -> [u64; 2] {
        let mut others = VOTERS.into_iter().filter(|id| *id != leader);
        [(); 2].map(|()| others.next().expect("there are three"))
    }
}

/// Who has lost its log would not take leadership, and who offers it loses its lease.
#[test]
fn leadership_is_not_offered_to_who_has_lost_its_log() {
    for forgetful in [1, 2] {
        let (mut three, leader) = Three::new();
        for from in Three::others(leader).into_iter().take(forgetful) {
            three.input(leader, Input::RejoinAsked { from, incarnation: 7 });
        }
        let [first, second] = Three::others(leader);
        three.input(leader, Input::HandOver { to: None });
        three.tick(20);
        let leads = |id| three.node(id).role() == Role::Leader;
        assert!(!leads(first));
        assert_eq!(
            (leads(leader), leads(second)),
            if forgetful == 1 { (false, true) } else { (true, false) }
        );
    }
}

/// Without its leader a cluster of two of which one has lost its log could elect nobody.
#[test]
fn a_voter_stays_while_another_gets_its_log_back() {
    let (mut three, leader) = Three::new();
    let [forgetful, goes] = Three::others(leader);
    three.input(leader, Input::Change { ticket: 1, change: Change::Remove { id: goes } });
    for _ in 0..30 {
        three.input(leader, Input::RejoinAsked { from: forgetful, incarnation: 7 });
        three.tick(1);
    }
    assert!(
        matches!(&three.refused[..], [(1, why)] if why.contains("no majority")),
        "{:?}",
        three.refused
    );
    three.tick(30); // it asks no more
    three.input(leader, Input::Change { ticket: 2, change: Change::Remove { id: goes } });
    three.tick(30);
    assert_eq!(
        (three.refused.len(), three.node(leader).membership().voters.contains(&goes)),
        (1, false)
    );
}

/// Whatever a node still said after it has found its log or its state wrong would be said without what makes it true.
#[test]
fn who_must_stop_says_nothing_more() {
    let (mut three, leader) = Three::new();
    let [follower, peer] = Three::others(leader);
    let (term, commit) = (three.node(leader).term(), three.node(leader).commit_index());
    let heartbeat = RaftMessage {
        msg_type: raft::eraftpb::MessageType::MsgHeartbeat as i32,
        from: leader,
        to: follower,
        term,
        commit: commit + 5,
        ..RaftMessage::default()
    };
    three.input(follower, Input::Peer { message: heartbeat, word: None });
    assert!(matches!(three.said.pop(), Some(Output::LogLost(_))));
    three.said.clear();
    three.input(follower, Input::RejoinAsked { from: peer, incarnation: 7 });
    assert!(three.said.is_empty(), "{:?}", three.said);

    let at = |digest| Checkpoint { index: 64, digest };
    three.tick(1);
    assert!(three.node(leader).lease_until().is_some());
    three.input(leader, Input::Checkpoint(at(1)));
    for from in [follower, peer] {
        three.input(leader, Input::PeerCheckpoint { from, checkpoint: at(2) });
    }
    assert!(matches!(three.said.pop(), Some(Output::Outvoted(_))));
    assert_eq!(
        three.node(leader).lease_until(),
        None,
        "its state is wrong, and so is what is read"
    );
}

/// A semantics level begins once, when the leader has heard of every member that its release knows it, and as high as all know.
#[test]
fn a_level_begins_when_all_members_know_it() {
    let (mut three, leader) = Three::new();
    let [first, second] = Three::others(leader);
    three.input(leader, Input::PeerLevel { peer: first, incarnation: 5, level: LATER });
    three.tick(3);
    assert_eq!(three.levels, [], "nobody has said what the other runs");
    three.input(leader, Input::PeerLevel { peer: second, incarnation: 5, level: 1 });
    three.tick(3);
    assert_eq!(three.levels, []);
    three.input(leader, Input::PeerLevel { peer: second, incarnation: 4, level: LATER });
    three.tick(3);
    assert_eq!(three.levels, [], "what it said before it started again counts no more");
    three.input(leader, Input::PeerLevel { peer: second, incarnation: 5, level: 2 });
    three.tick(3);
    assert_eq!((&three.levels[..], three.node(second).level()), (&[2][..], Some(2)));
    // It may be an older release that is about to come back.
    three.input(leader, Input::Unreachable { peer: first });
    three.input(leader, Input::PeerLevel { peer: second, incarnation: 5, level: LATER + 1 });
    three.tick(3);
    assert_eq!(three.levels, [2]);
    three.input(leader, Input::PeerLevel { peer: first, incarnation: 5, level: LATER });
    three.tick(3);
    assert_eq!(three.levels, [2, LATER], "what this release knows, and no more");
    let listed = Listed { storage_id: 44, host: "node-4".to_owned(), port: 4, ..Listed::default() };
    three.input(leader, Input::PeerLevel { peer: 4, incarnation: 5, level: 2 });
    three.input(leader, Input::Change { ticket: 1, change: Change::Add { id: 4, listed } });
    three.tick(1);
    assert!(matches!(&three.refused[..], [(1, why)] if why.contains("older release")));
}
