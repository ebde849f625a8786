//! Promises of persistence: what a node told a peer that it holds (an answer to an append) or granted (a vote) must be on its
//! disk after a power cut; and so must be, in whatever term, what it has applied and what it confirmed of the entries that were
//! committed. Fires on one node, without a quorum's bad luck.

use std::collections::BTreeMap;
use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use prost::Message as _;
use steadfast_replication::storage::{self, LogConfig, Recovered};
use steadfast_replication::wire::PeerFrame;

use crate::check::Violation;
use crate::check::quiet::Lead;
use crate::evidence::LogRecord;
use crate::ports::disk::SharedPlatter;
use crate::trace::Message;

/// `MsgAppend`, `MsgAppendResponse`, `MsgRequestVote`, `MsgRequestVoteResponse` and `MsgHeartbeat` of eraftpb.
const APPEND: i32 = 3;
const HEARTBEAT: i32 = 8;
const APPEND_RESPONSE: i32 = 4;
const VOTE_REQUEST: i32 = 5;
const VOTE_RESPONSE: i32 = 6;

/// The strongest promises of each node.
#[derive(Debug, Default)]
pub struct Promises {
    /// Per node: the terms in which it confirmed entries, and up to which index then.
    confirmed: BTreeMap<u64, BTreeMap<u64, u64>>,
    /// Per node: the last vote, as (term, for whom).
    voted: BTreeMap<u64, (u64, u64)>,
    /// Terms of entries, by the term of the leader that sent them and their index.
    appended: BTreeMap<(u64, u64), u64>,
    /// Who led, as (term, node), in the order in which they were first heard of.
    pub leads: Vec<(u64, u64)>,
    /// When that was.
    leads_since: Vec<Duration>,
    /// How many messages of each type were sent, and by whom the last.
    counts: BTreeMap<i32, (u64, u64)>,
    /// What was promised twice.
    pub violations: Vec<Violation>,
}

impl Promises {
    /// A frame was handed to the network on its way to a peer.
    pub fn sent(&mut self, body: &[u8]) {
        // Handshakes and empty heartbeats are not messages of raft.
        let Some(message) = PeerFrame::decode(body).ok().and_then(|frame| frame.raft) else {
            return;
        };
        let count = self.counts.entry(message.msg_type).or_default();
        *count = (count.0 + 1, message.from);
        if message.reject || message.from == 0 {
            return;
        }
        if [APPEND, HEARTBEAT].contains(&message.msg_type) {
            self.lead(message.term, message.from);
        }
        match message.msg_type {
            APPEND => {
                let before = (message.index, message.log_term);
                let own = message.entries.iter().map(|entry| (entry.index, entry.term));
                let all = std::iter::once(before).chain(own);
                self.appended.extend(all.map(|(index, term)| ((message.term, index), term)));
            }
            APPEND_RESPONSE => {
                let confirmed = self.confirmed.entry(message.from).or_default();
                let highest = confirmed.entry(message.term).or_default();
                *highest = message.index.max(*highest);
            }
            VOTE_RESPONSE => self.vote(message.from, message.term, message.to),
            VOTE_REQUEST => self.vote(message.from, message.term, message.from), // for itself
            _ => {}
        }
    }

    /// There is one leader in a term at the most.
    fn lead(&mut self, term: u64, node: u64) {
        let known = self.leads.iter().rev().find(|(other, _)| *other == term);
        match known {
            Some((_, other)) if *other != node => {
                let text = format!("n{other} and n{node} both lead in term {term}");
                self.violations.push(Violation::new("one-leader", text));
            }
            Some(_) => {}
            None => {
                self.leads.push((term, node));
                self.leads_since.push(turmoil::sim_elapsed().unwrap_or_default());
            }
        }
    }

    /// Who led, with times, for `quiet.rs`.
    pub fn led(&self) -> Vec<Lead> {
        let leads = self.leads.iter().zip(&self.leads_since);
        leads.map(|((term, _), at)| Lead { at: *at, term: *term }).collect()
    }

    /// How many messages of this type were sent so far.
    pub fn sent_so_far(&self, kind: &str) -> u64 {
        self.count(kind).0
    }

    /// Who sent the last message of this type.
    pub fn last_sender(&self, kind: &str) -> Option<u64> {
        Some(self.count(kind).1).filter(|id| *id != 0)
    }

    fn count(&self, kind: &str) -> (u64, u64) {
        let kind = Message::kind_named(kind);
        kind.and_then(|kind| self.counts.get(&kind).copied()).unwrap_or_default()
    }

    fn vote(&mut self, node: u64, term: u64, whom: u64) {
        let last = self.voted.entry(node).or_default();
        if last.0 == term && last.1 != whom {
            let text = format!("n{node} voted for n{} and for n{whom} in term {term}", last.1);
            self.violations.push(Violation::new("promise", text));
        }
        *last = (*last).max((term, whom));
    }

    /// Cuts the power of a copy of the disk, recovers what is left and compares. `applied` is what the node has applied: index and
    /// term, if anything; `log` what is committed.
    pub fn check(
        &self,
        node: u64,
        platter: &SharedPlatter,
        applied: Option<(u64, u64)>,
        log: &BTreeMap<u64, LogRecord>,
    ) -> Result<(), Violation> {
        let scratch = platter.copy();
        scratch.lock().faults = crate::ports::disk::DiskFaults::default();
        scratch.lock().delays = None;
        scratch.lock().lose_unsynced();
        let opened = at_once(storage::open(scratch.mount(), LogConfig::default()));
        let broken = |what: String| Err(Violation::new("promise", what));
        let Some(Ok((_, recovered))) = opened else {
            return broken(format!("n{node} can't recover its disk after a power cut"));
        };
        if let Some((index, term)) = applied.filter(|entry| !holds(&recovered, *entry)) {
            return broken(format!(
                "n{node} has applied entry {index} of term {term}; after the power cut it does not have it"
            ));
        }
        let term = recovered.hard_state.term;
        let confirmed = self.confirmed.get(&node).into_iter().flatten();
        for (promised_term, index) in confirmed.map(|(term, index)| (*term, *index)) {
            let text = self.broken_confirmation(&recovered, promised_term, index);
            if let Some(text) = text {
                return broken(format!(
                    "n{node} confirmed entry {index} in term {promised_term}; after the power cut {text}"
                ));
            }
            let kept = self.committed_of(promised_term, index, log);
            if let Some((index, term)) = kept.filter(|entry| !holds(&recovered, *entry)) {
                return broken(format!(
                    "n{node} confirmed entry {index} of term {term}, which is committed; after the power cut it does not have it"
                ));
            }
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

    /// The last of the entries that were confirmed up to an index in a term that no leader can replace, for it is committed.
    fn committed_of(
        &self,
        promised_term: u64,
        index: u64,
        log: &BTreeMap<u64, LogRecord>,
    ) -> Option<(u64, u64)> {
        let sent = self.appended.range((promised_term, 0)..=(promised_term, index));
        let mut sent = sent.map(|((_, index), term)| (*index, *term)).rev();
        sent.find(|(index, term)| log.get(index).is_some_and(|record| record.term == *term))
    }

    /// What of a confirmation is not on the disk: the term, the entry, or that very entry. In a later term another leader may
    /// have replaced it.
    fn broken_confirmation(
        &self,
        recovered: &Recovered,
        promised_term: u64,
        index: u64,
    ) -> Option<String> {
        let term = recovered.hard_state.term;
        let snapshot =
            recovered.snapshot.as_ref().map_or((0, 0), |(meta, _)| (meta.index, meta.term));
        let last = recovered.entries.last().map_or(0, |entry| entry.index).max(snapshot.0);
        if term > promised_term {
            return None;
        }
        if term < promised_term {
            return Some(format!("its term is {term}"));
        }
        if last < index {
            return Some(format!("its log ends at {last}"));
        }
        let mut held = recovered.entries.iter().map(|entry| (entry.index, entry.term));
        let held =
            held.find(|(at, _)| *at == index).or_else(|| (snapshot.0 == index).then_some(snapshot));
        let due = self.appended.get(&(promised_term, index))?;
        let (_, found) = held?;
        (found != *due).then(|| {
            format!("it holds one of term {found} there, and its leader sent one of term {due}")
        })
    }
}

/// Whether an entry that was applied is there, or the state after it. No leader can replace it: it was committed.
fn holds(recovered: &Recovered, (index, term): (u64, u64)) -> bool {
    let snapshot = recovered.snapshot.as_ref().map_or(0, |(meta, _)| meta.index);
    let mut entries = recovered.entries.iter();
    snapshot >= index || entries.any(|entry| (entry.index, entry.term) == (index, term))
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
    use bytes::Bytes;
    use steadfast_replication::storage::{HardState, LogEntry};
    use steadfast_replication::wire::{Entry, RaftMessage};

    fn frame(msg_type: i32, term: u64, index: u64) -> Vec<u8> {
        let raft = RaftMessage { msg_type, from: 2, to: 1, term, index, ..RaftMessage::default() };
        PeerFrame { raft: Some(raft), ..PeerFrame::default() }.encode_to_vec()
    }

    /// A disk without the promised entry or vote is reported; an empty promise is not.
    #[test]
    fn a_broken_promise_is_found() {
        let (disk, none) = (SharedPlatter::default(), BTreeMap::new());
        let mut promises = Promises::default();
        assert!(promises.check(2, &disk, None, &none).is_ok());
        promises.sent(b"not a message");
        promises.sent(&frame(APPEND_RESPONSE, 3, 7));
        assert!(promises.check(1, &disk, None, &none).is_ok(), "it was another node");
        assert!(promises.check(2, &disk, None, &none).is_err());
        let mut votes = Promises::default();
        votes.sent(&frame(VOTE_RESPONSE, 4, 0));
        assert!(votes.check(2, &disk, None, &none).is_err());
    }

    /// Two votes in one term are one too many; the same one twice, or another in the next term, is not.
    #[test]
    fn a_second_vote_is_found() {
        let vote = |term, to| {
            let message = RaftMessage {
                msg_type: VOTE_RESPONSE,
                from: 2,
                to,
                term,
                ..RaftMessage::default()
            };
            PeerFrame { raft: Some(message), ..PeerFrame::default() }.encode_to_vec()
        };
        let mut promises = Promises::default();
        for (term, whom, wrong) in [(3, 1, 0), (3, 1, 0), (4, 3, 0), (4, 1, 1)] {
            promises.sent(&vote(term, whom));
            assert_eq!(promises.violations.len(), wrong, "term {term} for n{whom}");
        }
    }

    /// What a disk holds is held against what was confirmed: the term, the length of the log, and the entry's own term.
    #[test]
    fn another_entry_in_its_place_is_found() {
        let mut promises = Promises::default();
        let entry = Entry { term: 2, index: 7, ..Entry::default() };
        let append = RaftMessage {
            msg_type: APPEND,
            from: 1,
            to: 2,
            term: 3,
            index: 6,
            log_term: 2,
            entries: vec![entry],
            ..RaftMessage::default()
        };
        promises.sent(&PeerFrame { raft: Some(append), ..PeerFrame::default() }.encode_to_vec());
        let disk = |term: u64, entries: &[(u64, u64)]| {
            let entry = |(index, term): &(u64, u64)| LogEntry {
                index: *index,
                term: *term,
                kind: 0,
                payload: Bytes::new(),
            };
            Recovered {
                meta: None,
                hard_state: HardState { term, ..HardState::default() },
                snapshot: None,
                entries: entries.iter().map(entry).collect(),
                notes: Vec::new(),
            }
        };
        assert!(holds(&disk(3, &[(6, 2), (7, 2)]), (7, 2)));
        assert!(!holds(&disk(9, &[(6, 2), (7, 3)]), (7, 2)), "whatever the term");
        assert!(!holds(&disk(9, &[(6, 2)]), (7, 2)));
        let broken =
            |recovered: &Recovered| promises.broken_confirmation(recovered, 3, 7).is_some();
        assert!(!broken(&disk(3, &[(6, 2), (7, 2)])));
        assert!(broken(&disk(3, &[(6, 2), (7, 1)])));
        assert!(broken(&disk(3, &[(6, 2)])));
        assert!(broken(&disk(2, &[(6, 2), (7, 2)])));
        assert!(!broken(&disk(4, &[(6, 2)])), "a later leader may have cut it off");
        let committed = |entries: &[(u64, u64)]| {
            let record = |(index, term): &(u64, u64)| {
                let applied_at = Duration::ZERO;
                let record = LogRecord {
                    term: *term,
                    payload: Vec::new(),
                    digest: 0,
                    revision: 0,
                    applied_at,
                };
                (*index, record)
            };
            promises.committed_of(3, 7, &entries.iter().map(record).collect())
        };
        assert_eq!(committed(&[(6, 2), (7, 2), (8, 4)]), Some((7, 2)), "no leader cuts it off");
        assert_eq!(committed(&[(6, 2), (7, 4)]), Some((6, 2)), "another was committed there");
        assert_eq!(committed(&[(5, 1)]), None, "that was not sent in this term");
    }
}
