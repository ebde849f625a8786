//! What travels between nodes: prost structs of our own, field for field compatible with raft's `eraftpb` where they
//! mirror it. The raft crate's types never reach network or disk: they are moved across at this border.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::machine::DIGEST_VERSION;

use crate::checkpoints::Checkpoint;
use crate::event::TimeWord;
use crate::rejoin::RejoinWord;
use crate::roster::Roster;
use crate::storage::{LogEntry, Membership, SnapshotMeta};

/// Mirror of `eraftpb::Entry`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// `EntryType`.
    #[prost(int32, tag = "1")]
    pub entry_type: i32,
    /// Term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Index.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// Payload.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
    /// Unused by us.
    #[prost(bytes = "bytes", tag = "6")]
    pub context: Bytes,
}

/// Mirror of `eraftpb::ConfState`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfState {
    /// Voters.
    #[prost(uint64, repeated, tag = "1")]
    pub voters: Vec<u64>,
    /// Learners.
    #[prost(uint64, repeated, tag = "2")]
    pub learners: Vec<u64>,
    /// Voters that still count, while others take over.
    #[prost(uint64, repeated, tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Those of them that become learners.
    #[prost(uint64, repeated, tag = "4")]
    pub learners_next: Vec<u64>,
}

/// Mirror of `eraftpb::ConfChangeSingle`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ConfChangeSingle {
    /// `ConfChangeType`.
    #[prost(int32, tag = "1")]
    pub change_type: i32,
    /// Whom it is about.
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
}

/// Mirror of `eraftpb::ConfChangeV2`: the payload of an entry that changes who is a member. An empty one ends joint consensus.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfChange {
    /// `ConfChangeTransition`.
    #[prost(int32, tag = "1")]
    pub transition: i32,
    /// What changes.
    #[prost(message, repeated, tag = "2")]
    pub changes: Vec<ConfChangeSingle>,
    /// What is new in the roster (`roster::encode_news`).
    #[prost(bytes = "bytes", tag = "3")]
    pub context: Bytes,
}

impl ConfChange {
    /// From an entry's payload.
    pub fn from_bytes(payload: Bytes) -> Option<Self> {
        Self::decode(payload).ok().filter(|change| change.to_raft().is_some())
    }

    /// To raft's own type; none if a number in it is not one of raft's.
    pub(crate) fn to_raft(&self) -> Option<eraftpb::ConfChangeV2> {
        use eraftpb::{ConfChangeTransition as Transition, ConfChangeType as Type};
        let of = |number, kinds: [i32; 3]| kinds.into_iter().position(|kind| kind == number);
        let transitions = [Transition::Auto, Transition::Implicit, Transition::Explicit];
        let types = [Type::AddNode, Type::RemoveNode, Type::AddLearnerNode];
        let mut change = eraftpb::ConfChangeV2::default();
        let at = of(self.transition, transitions.map(|transition| transition as i32))?;
        change.set_transition(*transitions.get(at)?);
        for single in &self.changes {
            let mut theirs = eraftpb::ConfChangeSingle::default();
            let at = of(single.change_type, types.map(|kind| kind as i32))?;
            theirs.set_change_type(*types.get(at)?);
            theirs.node_id = single.node_id;
            change.mut_changes().push(theirs);
        }
        change.context.clone_from(&self.context);
        Some(change)
    }
}

/// Mirror of `eraftpb::SnapshotMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotMetadata {
    /// Membership.
    #[prost(message, optional, tag = "1")]
    pub conf_state: Option<ConfState>,
    /// Index.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// Term.
    #[prost(uint64, tag = "3")]
    pub term: u64,
}

/// Mirror of `eraftpb::Snapshot`; `data` stays empty, the state travels on a stream of its own.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Snapshot {
    /// Empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// What it is.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SnapshotMetadata>,
}

/// Mirror of `eraftpb::Message`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftMessage {
    /// `MessageType`.
    #[prost(int32, tag = "1")]
    pub msg_type: i32,
    /// Receiver.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// Sender.
    #[prost(uint64, tag = "3")]
    pub from: u64,
    /// Term.
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// Term of the entry before.
    #[prost(uint64, tag = "5")]
    pub log_term: u64,
    /// Index of the entry before.
    #[prost(uint64, tag = "6")]
    pub index: u64,
    /// Entries.
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<Entry>,
    /// Commit index.
    #[prost(uint64, tag = "8")]
    pub commit: u64,
    /// Snapshot descriptor.
    #[prost(message, optional, tag = "9")]
    pub snapshot: Option<Snapshot>,
    /// Refusal.
    #[prost(bool, tag = "10")]
    pub reject: bool,
    /// Hint that goes with it.
    #[prost(uint64, tag = "11")]
    pub reject_hint: u64,
    /// Read context, campaign type.
    #[prost(bytes = "bytes", tag = "12")]
    pub context: Bytes,
    /// Asked-for snapshot.
    #[prost(uint64, tag = "13")]
    pub request_snapshot: u64,
    /// Term of the commit index.
    #[prost(uint64, tag = "15")]
    pub commit_term: u64,
    /// Priority.
    #[prost(int64, tag = "16")]
    pub priority: i64,
}

/// One frame from a node to a peer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerFrame {
    /// A raft message.
    #[prost(message, optional, tag = "1")]
    pub raft: Option<RaftMessage>,
    /// Encoded ops (parcels, registrations) for the leader, in order.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub ops: Vec<Bytes>,
    /// Log time at the sender in milliseconds, if it leads or answers a candidate and knows it; 0 otherwise.
    #[prost(uint64, tag = "3")]
    pub log_time_ms: u64,
    /// How much later log time may be than that, milliseconds: 0 of a leader, `SLACK_UNKNOWN` of who can't tell.
    #[prost(uint64, tag = "4")]
    pub slack_ms: u64,
    /// The receiver's own clock, in microseconds, as the sender last read it on this stream; 0 if it has not. It tells how long this frame
    /// may have been on its way.
    #[prost(uint64, tag = "5")]
    pub echo_us: u64,
    /// The sender's state at an index.
    #[prost(message, optional, tag = "6")]
    pub checkpoint: Option<StateDigest>,
    /// The sender has lost its log, and asks in this start what it needs to know; 0 otherwise.
    #[prost(uint64, tag = "7")]
    pub rejoins: u64,
    /// The answer to that.
    #[prost(message, optional, tag = "8")]
    pub rejoin_word: Option<RejoinWord>,
}

/// A checkpoint, as it travels.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct StateDigest {
    /// Applied index.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Upper half of the digest.
    #[prost(fixed64, tag = "2")]
    pub high: u64,
    /// Lower half.
    #[prost(fixed64, tag = "3")]
    pub low: u64,
    /// How it was formed (`steadfast_core::machine::DIGEST_VERSION`). Those of different releases may not be comparable.
    #[prost(uint32, tag = "4")]
    pub version: u32,
}

impl StateDigest {
    /// As it travels.
    pub const fn of(Checkpoint { index, digest }: Checkpoint) -> Self {
        Self { index, high: (digest >> 64) as u64, low: digest as u64, version: DIGEST_VERSION }
    }

    /// As it is compared; none if it was formed in another way.
    pub fn checkpoint(self) -> Option<Checkpoint> {
        let digest = u128::from(self.high) << 64 | u128::from(self.low);
        (self.version == DIGEST_VERSION).then_some(Checkpoint { index: self.index, digest })
    }
}

/// No upper bound is known.
pub const SLACK_UNKNOWN: u64 = u64::MAX;

impl RaftMessage {
    /// From raft's own type.
    pub fn from_raft(mut message: eraftpb::Message) -> Self {
        let snapshot = message.has_snapshot().then(|| {
            let snapshot = message.take_snapshot();
            let meta = snapshot.get_metadata();
            let conf = meta.get_conf_state();
            let conf_state = ConfState {
                voters: conf.voters.clone(),
                learners: conf.learners.clone(),
                voters_outgoing: conf.voters_outgoing.clone(),
                learners_next: conf.learners_next.clone(),
            };
            let metadata = SnapshotMetadata {
                conf_state: Some(conf_state),
                index: meta.index,
                term: meta.term,
            };
            Snapshot { data: Bytes::new(), metadata: Some(metadata) }
        });
        Self {
            msg_type: message.msg_type as i32,
            to: message.to,
            from: message.from,
            term: message.term,
            log_term: message.log_term,
            index: message.index,
            entries: message.take_entries().into_iter().map(Entry::from_raft).collect(),
            commit: message.commit,
            snapshot,
            reject: message.reject,
            reject_hint: message.reject_hint,
            context: message.context,
            request_snapshot: message.request_snapshot,
            commit_term: message.commit_term,
            priority: message.priority,
        }
    }

    /// To raft's own type; none if a number in it is not one of raft's, or if raft itself would not survive it.
    pub fn into_raft(self) -> Option<eraftpb::Message> {
        use eraftpb::MessageType;
        const TYPES: [MessageType; 12] = [
            MessageType::MsgAppend,
            MessageType::MsgAppendResponse,
            MessageType::MsgRequestVote,
            MessageType::MsgRequestVoteResponse,
            MessageType::MsgSnapshot,
            MessageType::MsgHeartbeat,
            MessageType::MsgHeartbeatResponse,
            MessageType::MsgTimeoutNow,
            MessageType::MsgReadIndex,
            MessageType::MsgReadIndexResp,
            MessageType::MsgRequestPreVote,
            MessageType::MsgRequestPreVoteResponse,
        ];
        // Proposals and local messages of raft never come from a peer; an unknown number may come from a newer release.
        let msg_type = TYPES.into_iter().find(|kind| *kind as i32 == self.msg_type)?;
        // Only questions for a read index have no term, and they name one context each.
        if (self.term == 0) != (msg_type == MessageType::MsgReadIndex)
            || msg_type == MessageType::MsgReadIndex && self.entries.len() != 1
        {
            return None;
        }
        let mut message = eraftpb::Message::default();
        message.set_msg_type(msg_type);
        message.to = self.to;
        message.from = self.from;
        message.term = self.term;
        message.log_term = self.log_term;
        message.index = self.index;
        let entries: Option<Vec<_>> = self.entries.into_iter().map(Entry::into_raft).collect();
        message.set_entries(entries?.into());
        message.commit = self.commit;
        if let Some(meta) = self.snapshot.and_then(|snapshot| snapshot.metadata) {
            message.set_snapshot(raft_snapshot(&meta.into_meta()));
        }
        message.reject = self.reject && !refusal_is_lost(msg_type);
        message.reject_hint = self.reject_hint;
        message.context = self.context;
        message.request_snapshot = self.request_snapshot;
        message.commit_term = self.commit_term;
        message.priority = self.priority;
        Some(message)
    }
}

/// Planted bugs: the flag of a refusal is not taken over.
fn refusal_is_lost(kind: eraftpb::MessageType) -> bool {
    use eraftpb::MessageType::{MsgAppendResponse, MsgRequestVoteResponse};
    is_planted(Canary::VoteRefusalLost) && kind == MsgRequestVoteResponse
        || is_planted(Canary::AppendRefusalLost) && kind == MsgAppendResponse
}

impl SnapshotMetadata {
    /// As the log store names it; size, checksum and roster unknown.
    pub fn into_meta(self) -> SnapshotMeta {
        let ConfState { voters, learners, voters_outgoing: outgoing, learners_next } =
            self.conf_state.unwrap_or_default();
        let roster = Roster::default();
        let membership = Membership { voters, learners, outgoing, learners_next, roster };
        SnapshotMeta { index: self.index, term: self.term, membership, bytes: 0, checksum: 0 }
    }

    /// From what the log store names.
    pub fn from_meta(meta: &SnapshotMeta) -> Self {
        let Membership { voters, learners, outgoing: voters_outgoing, learners_next, .. } =
            meta.membership.clone();
        let conf_state = Some(ConfState { voters, learners, voters_outgoing, learners_next });
        Self { conf_state, index: meta.index, term: meta.term }
    }
}

impl Entry {
    fn from_raft(entry: eraftpb::Entry) -> Self {
        Self {
            entry_type: entry.entry_type as i32,
            term: entry.term,
            index: entry.index,
            data: entry.data,
            context: entry.context,
        }
    }

    fn into_raft(self) -> Option<eraftpb::Entry> {
        let kind = u8::try_from(self.entry_type).ok()?;
        let entry = LogEntry { index: self.index, term: self.term, kind, payload: self.data };
        let changes = || ConfChange::from_bytes(entry.payload.clone()).is_some();
        (kind == ENTRY || kind == CHANGE_ENTRY && changes()).then(|| raft_entry(entry))
    }
}

/// Kind of an entry for the state machine.
pub const ENTRY: u8 = eraftpb::EntryType::EntryNormal as u8;
/// Kind of an entry that changes who is a member. Raft's older one, of a single change, is not used.
pub const CHANGE_ENTRY: u8 = eraftpb::EntryType::EntryConfChangeV2 as u8;

/// A log entry as raft holds it.
pub(crate) fn raft_entry(entry: LogEntry) -> eraftpb::Entry {
    let entry_type = match entry.kind {
        CHANGE_ENTRY => eraftpb::EntryType::EntryConfChangeV2,
        _ => eraftpb::EntryType::EntryNormal,
    };
    eraftpb::Entry {
        entry_type,
        index: entry.index,
        term: entry.term,
        data: entry.payload,
        ..Default::default()
    }
}

/// Raft's entry as the log store keeps it.
pub(crate) fn log_entry(entry: &eraftpb::Entry) -> LogEntry {
    LogEntry {
        index: entry.index,
        term: entry.term,
        kind: entry.entry_type as u8,
        payload: entry.data.clone(),
    }
}

/// Raft's membership, in a defined order.
pub(crate) fn raft_conf(membership: &Membership) -> eraftpb::ConfState {
    let mut conf = eraftpb::ConfState::default();
    conf.voters.clone_from(&membership.voters);
    conf.learners.clone_from(&membership.learners);
    conf.voters_outgoing.clone_from(&membership.outgoing);
    conf.learners_next.clone_from(&membership.learners_next);
    conf.voters.sort_unstable();
    conf.learners.sort_unstable();
    conf
}

/// Raft's snapshot descriptor.
pub(crate) fn raft_snapshot(meta: &SnapshotMeta) -> eraftpb::Snapshot {
    let mut snapshot = eraftpb::Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.index = meta.index;
    metadata.term = meta.term;
    metadata.set_conf_state(raft_conf(&meta.membership));
    snapshot
}

impl PeerFrame {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// An empty frame that tells log time, if anything is known of it. What it was sent after is filled in as it leaves.
    pub fn telling(word: Option<TimeWord>) -> Self {
        let Some(word) = word else { return Self::default() };
        let whole_ms = |slack: Duration| u64::try_from(slack.as_micros().div_ceil(1000)).ok();
        let slack_ms = word.slack.and_then(whole_ms).unwrap_or(SLACK_UNKNOWN);
        Self { log_time_ms: word.log_time_ms, slack_ms, ..Self::default() }
    }

    /// What it tells of log time.
    pub fn word(&self) -> Option<TimeWord> {
        (self.log_time_ms > 0).then(|| TimeWord {
            log_time_ms: self.log_time_ms,
            slack: (self.slack_ms != SLACK_UNKNOWN).then(|| Duration::from_millis(self.slack_ms)),
            left_after: (self.echo_us > 0).then(|| Duration::from_micros(self.echo_us)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protobuf::Message as _;

    /// Our bytes are raft's bytes: what one writes the other reads.
    #[test]
    fn compatible_with_eraftpb() {
        let mut theirs = eraftpb::Message::default();
        theirs.set_msg_type(eraftpb::MessageType::MsgAppend);
        (theirs.to, theirs.from, theirs.term, theirs.index) = (1, 2, 3, 4);
        (theirs.log_term, theirs.commit, theirs.reject_hint) = (5, 6, 7);
        theirs.context = Bytes::from_static(b"context");
        let entry =
            LogEntry { index: 5, term: 3, kind: 0, payload: Bytes::from_static(b"payload") };
        theirs.mut_entries().push(raft_entry(entry));
        let ours = RaftMessage::from_raft(theirs.clone());
        let bytes = theirs.write_to_bytes().expect("it encodes");
        assert_eq!(ours.encode_to_vec(), bytes);
        assert_eq!(RaftMessage::decode(&bytes[..]), Ok(ours.clone()));
        assert_eq!(ours.into_raft(), Some(theirs));
    }

    /// Proposals and raft's local messages are never taken from a peer.
    #[test]
    fn local_messages_are_not_taken() {
        for kind in [0, 1, 2, 10, 11, 12, 13, 99, -1] {
            let message = RaftMessage { msg_type: kind, ..RaftMessage::default() };
            assert_eq!(message.into_raft(), None, "{kind}");
        }
    }

    /// Messages at which raft itself would panic are not taken from a peer either.
    #[test]
    fn broken_messages_are_not_taken() {
        let of = |kind: eraftpb::MessageType, term, entries: usize| RaftMessage {
            msg_type: kind as i32,
            term,
            entries: vec![Entry::default(); entries],
            ..RaftMessage::default()
        };
        assert_eq!(of(eraftpb::MessageType::MsgHeartbeat, 0, 0).into_raft(), None);
        assert_eq!(of(eraftpb::MessageType::MsgRequestVote, 0, 0).into_raft(), None);
        assert_eq!(of(eraftpb::MessageType::MsgReadIndex, 0, 0).into_raft(), None);
        assert!(of(eraftpb::MessageType::MsgReadIndex, 0, 1).into_raft().is_some());
        assert!(of(eraftpb::MessageType::MsgHeartbeat, 1, 0).into_raft().is_some());
    }
}
