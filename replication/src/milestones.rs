//! Which marks a turn of the node passes: what raft does by itself shows only in its state before and after.

use raft::eraftpb::{Message, MessageType};
use raft::{Raft, StateRole, Storage};
use steadfast_core::mark::{self, Mark};

/// A tick went by; `before` is the role that the node had before it.
pub(crate) fn ticked<S: Storage>(before: StateRole, raft: &Raft<S>) {
    let leads = raft.state == StateRole::Leader;
    if before == StateRole::Leader && !leads {
        mark::reached(Mark::QuorumMissed);
    }
    if before == StateRole::Candidate && !leads {
        lost(raft.state);
    }
}

/// A message of a peer was taken; `before` is the role that the node had before it.
pub(crate) fn heard<S: Storage>(before: StateRole, raft: &Raft<S>) {
    if before == StateRole::Candidate && raft.state != StateRole::Leader {
        lost(raft.state);
    }
}

fn lost(role: StateRole) {
    if role != StateRole::Candidate {
        mark::reached(Mark::ElectionLost);
    }
}

/// A message of a peer comes.
pub(crate) fn hears(message: &Message, role: StateRole) {
    match message.get_msg_type() {
        MessageType::MsgRequestPreVoteResponse if message.reject => {
            mark::reached(Mark::PreVoteRefused);
        }
        MessageType::MsgAppendResponse if message.reject && role == StateRole::Leader => {
            mark::reached(Mark::AppendRefused);
        }
        MessageType::MsgTimeoutNow => mark::reached(Mark::LeadershipTaken),
        _ => {}
    }
}

/// The node begins to lead.
pub(crate) fn leads<S: Storage>(raft: &Raft<S>) {
    let log = &raft.raft_log;
    if log.term(log.committed + 1).is_ok_and(|term| term < raft.term) {
        mark::reached(Mark::OldTermEntries);
    }
}

/// The log was compacted to an index.
pub(crate) fn compacted<S: Storage>(raft: &Raft<S>, index: u64) {
    let leads = raft.state == StateRole::Leader;
    if leads && raft.prs().iter().any(|(_, progress)| progress.matched < index) {
        mark::reached(Mark::FollowerLeftBehind);
    }
}
