//! Promises of persistence: what a node told a peer that it holds (an answer to an append) or granted (a vote) must be on its
//! disk after a power cut. Fires on one node, without a quorum's bad luck.

use std::collections::BTreeMap;
use std::future::Future;
use std::task::{Context, Poll, Waker};

use prost::Message as _;
use steadfast_replication::storage::{self, LogConfig};
use steadfast_replication::wire::PeerFrame;

use crate::check::Violation;
use crate::disk::SharedPlatter;

/// `MsgAppendResponse`, `MsgRequestVote` and `MsgRequestVoteResponse` of eraftpb.
const APPEND_RESPONSE: i32 = 4;
const VOTE_REQUEST: i32 = 5;
const VOTE_RESPONSE: i32 = 6;

/// The strongest promises of each node.
#[derive(Debug, Default)]
pub struct Promises {
    /// Per node: the highest term in which it confirmed entries, and up to which index then.
    confirmed: BTreeMap<u64, (u64, u64)>,
    /// Per node: the last vote, as (term, for whom).
    voted: BTreeMap<u64, (u64, u64)>,
}

impl Promises {
    /// A frame was handed to the network on its way to a peer.
    pub fn sent(&mut self, body: &[u8]) {
        // Handshakes and empty heartbeats are not messages of raft.
        let Some(message) = PeerFrame::decode(body).ok().and_then(|frame| frame.raft) else {
            return;
        };
        if message.reject || message.from == 0 {
            return;
        }
        match message.msg_type {
            APPEND_RESPONSE => {
                let strongest = self.confirmed.entry(message.from).or_default();
                *strongest = (*strongest).max((message.term, message.index));
            }
            VOTE_RESPONSE => self.vote(message.from, message.term, message.to),
            VOTE_REQUEST => self.vote(message.from, message.term, message.from), // for itself
            _ => {}
        }
    }

    fn vote(&mut self, node: u64, term: u64, whom: u64) {
        let last = self.voted.entry(node).or_default();
        *last = (*last).max((term, whom));
    }

    /// Cuts the power of a copy of the disk, recovers what is left and compares.
    pub fn check(&self, node: u64, platter: &SharedPlatter) -> Result<(), Violation> {
        let scratch = platter.copy();
        scratch.lock().faults = crate::disk::DiskFaults::default();
        scratch.lock().delays = None;
        scratch.lock().lose_unsynced();
        let opened = at_once(storage::open(scratch.mount(), LogConfig::default()));
        let broken = |what: String| Err(Violation::new("promise", what));
        let Some(Ok((_, recovered))) = opened else {
            return broken(format!("n{node} can't recover its disk after a power cut"));
        };
        let term = recovered.hard_state.term;
        let snapshot = recovered.snapshot.as_ref().map_or(0, |(meta, _)| meta.index);
        let last = recovered.entries.last().map_or(snapshot, |entry| entry.index).max(snapshot);
        if let Some((promised_term, index)) = self.confirmed.get(&node)
            && term <= *promised_term
            && last < *index
        {
            return broken(format!(
                "n{node} confirmed entry {index} in term {promised_term}; after the power cut its log ends at {last}"
            ));
        }
        if let Some((promised_term, whom)) = self.voted.get(&node) {
            let vote = recovered.hard_state.vote;
            if term < *promised_term || (term == *promised_term && vote != *whom) {
                return broken(format!(
                    "n{node} voted for n{whom} in term {promised_term}; its disk says term {term}, vote {vote}"
                ));
            }
        }
        Ok(())
    }
}

/// Runs a future that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_replication::wire::RaftMessage;

    fn frame(msg_type: i32, term: u64, index: u64) -> Vec<u8> {
        let raft = RaftMessage { msg_type, from: 2, to: 1, term, index, ..RaftMessage::default() };
        PeerFrame { raft: Some(raft), ..PeerFrame::default() }.encode_to_vec()
    }

    /// A disk without the promised entry or vote is reported; an empty promise is not.
    #[test]
    fn a_broken_promise_is_found() {
        let disk = SharedPlatter::default();
        let mut promises = Promises::default();
        assert!(promises.check(2, &disk).is_ok());
        promises.sent(b"not a message");
        promises.sent(&frame(APPEND_RESPONSE, 3, 7));
        assert!(promises.check(1, &disk).is_ok(), "it was another node");
        assert!(promises.check(2, &disk).is_err());
        let mut votes = Promises::default();
        votes.sent(&frame(VOTE_RESPONSE, 4, 0));
        assert!(votes.check(2, &disk).is_err());
    }
}
