//! Read indexes: where the node gets them, and the rounds that its lease lives by. Every heartbeat is a round of raft's `ReadIndex`
//! with a number of its own, so that its answers tell when they were asked for; raft's own heartbeats, which carry the number of an
//! earlier round if one is not answered yet, and none otherwise, are rare.

use std::time::Duration;

use raft::StateRole;
use raft::eraftpb::{Message, MessageType};
use steadfast_core::mark::{self, Mark};

use super::Node;
use crate::event::Output;

impl Node {
    /// A leader's heartbeat, when it is time for one.
    pub(super) fn beat(&mut self, now: Duration) {
        let every = self.config.heartbeat_ticks as u64;
        if self.raw.raft.state != StateRole::Leader || !self.ticks.is_multiple_of(every) {
            return;
        }
        if self.raw.raft.commit_to_current_term() {
            let context = self.read.fresh_context();
            self.ask_index(now, context);
        }
        if self.is_sole_voter() || !self.raw.raft.commit_to_current_term() {
            self.raw.ping(); // raft takes no round yet, or asks nobody: learners hear of the leader all the same
        }
    }

    /// Has the own gateway's round answered: at once under a lease, otherwise by asking whoever leads.
    pub(super) fn serve_reads(&mut self, now: Duration, leader: u64, term: u64) {
        if leader == self.config.node_id && self.lease.holds(now) {
            let index = self.commit_index();
            let round = self.read.end();
            self.outputs.extend(round.map(|round| Output::ReadIndex { round, index }));
        } else if let Some(context) = self.read.context(leader, term, self.ticks) {
            self.ask_index(now, context);
        }
    }

    fn ask_index(&mut self, now: Duration, context: Vec<u8>) {
        if let Some(counter) = self.read.counter_of(&context) {
            self.lease.send(now, counter);
        }
        self.raw.read_index(context);
    }

    /// Raft says that a quorum answered.
    pub(super) fn index_known(&mut self, now: Duration, context: &[u8], index: u64) {
        let Some(counter) = self.read.counter_of(context) else { return };
        if self.raw.raft.state == StateRole::Leader {
            self.lease.confirm(now, counter);
        }
        if let Some(round) = self.read.answered(counter) {
            self.outputs.push_back(Output::ReadIndex { round, index });
        }
    }

    /// A follower asks for an index: under a lease it is the own commit index. Answers whether that was all.
    pub(super) fn answer_peers_read(&mut self, now: Duration, asked: &Message) -> bool {
        if asked.get_msg_type() != MessageType::MsgReadIndex || !self.lease.holds(now) {
            return false;
        }
        let mut answer = Message::default();
        answer.set_msg_type(MessageType::MsgReadIndexResp);
        (answer.to, answer.from) = (asked.from, self.config.node_id);
        (answer.term, answer.index) = (self.term(), self.commit_index());
        answer.entries.clone_from(&asked.entries);
        mark::reached(Mark::PeersReadByLease);
        self.send(now, answer);
        true
    }
}
