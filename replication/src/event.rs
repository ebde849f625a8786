//! What goes into the node and what comes out of it. Closed enums: the node's behaviour can be read in one place.

use std::time::Duration;

use bytes::Bytes;

use crate::checkpoints::Checkpoint;
use crate::gateway::Committed;
use crate::node::Change;
pub use crate::rejoin::{Known, RejoinWord};
use crate::storage::{HardState, LogEntry, SnapshotMeta};
use crate::wire::RaftMessage;

/// Log time as a message tells it. It was no earlier than this when the message left, and no later than this and the slack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWord {
    /// Milliseconds.
    pub log_time_ms: u64,
    /// How far its sender may be behind log time: nothing if it leads. None: it can't tell.
    pub slack: Option<Duration>,
    /// The receiver's own monotonic clock at some moment before the message left. None: nothing is known of its way.
    pub left_after: Option<Duration>,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Input {
    /// One tick interval has passed.
    Tick,
    /// A raft message of a peer, with log time if it leads or answers a candidate.
    Peer {
        /// The message.
        message: RaftMessage,
        /// Log time at the sender, if it said.
        word: Option<TimeWord>,
    },
    /// Ops of a peer's gateway, for the leader.
    Forwarded {
        /// The peer.
        from: u64,
        /// Encoded ops.
        ops: Vec<Bytes>,
    },
    /// A parcel of the own gateway.
    Parcel {
        /// Its number.
        sequence: u64,
        /// The encoded op.
        op: Bytes,
    },
    /// The own gateway wants a read index.
    Read {
        /// Name of the round.
        round: u64,
    },
    /// A key is due by the log clock.
    TickWanted,
    /// The state machine has applied up to `index`.
    Applied {
        /// Applied index.
        index: u64,
        /// Last own parcel passed.
        passed: u64,
        /// Whether the own incarnation is registered.
        registered: bool,
    },
    /// The state machine has this digest at that index.
    Checkpoint(Checkpoint),
    /// A peer's has.
    PeerCheckpoint {
        /// The peer.
        from: u64,
        /// Its state.
        checkpoint: Checkpoint,
    },
    /// A peer's release knows semantics levels up to this one.
    PeerLevel {
        /// The peer.
        peer: u64,
        /// Its incarnation: what an earlier one said comes late, perhaps.
        incarnation: u64,
        /// The level.
        level: u32,
    },
    /// The state machine was restored from a snapshot and knows these gateways: (node, incarnation, last parcel).
    Restored {
        /// Index of the snapshot.
        index: u64,
        /// Time of the last stamp in it, milliseconds.
        stamp_ms: u64,
        /// What entries mean from there on.
        level: u32,
        /// The gateways.
        gateways: Vec<(u64, u64, u64)>,
    },
    /// Everything up to this number is durable: as told by `Persist`, or by `Install` for what came before it.
    Persisted {
        /// The number.
        number: u64,
    },
    /// The log has no room (true) or has room again (false).
    NoSpace(bool),
    /// This node is about to stop, or was asked to step down: if it leads, another is to lead.
    HandOver {
        /// Who; none for whoever has most of the log.
        to: Option<u64>,
    },
    /// The own state is being encoded as it was at this index.
    SnapshotBegun {
        /// Applied index of the state.
        index: u64,
    },
    /// The own snapshot came to nothing, and nobody is to blame: the state was replaced while it was encoded.
    SnapshotAbandoned,
    /// The own snapshot is durable.
    SnapshotSaved {
        /// What it is.
        meta: SnapshotMeta,
        /// Segments hold nothing below any more.
        compacted_to: u64,
    },
    /// The own snapshot could not be saved.
    SnapshotFailed,
    /// Somebody wants a snapshot, however little log there is.
    SnapshotAsked,
    /// The own newest snapshot can't be read: another is needed, however little log there is.
    SnapshotUnreadable,
    /// A snapshot came from the leader, verified, with the message that announced it.
    SnapshotReceived {
        /// The message.
        message: RaftMessage,
        /// What it is.
        meta: SnapshotMeta,
        /// The state.
        chunks: Vec<Bytes>,
    },
    /// A snapshot was sent to a peer, or could not be.
    SnapshotSent {
        /// The peer.
        to: u64,
        /// Whether it arrived.
        arrived: bool,
    },
    /// An operator wants other members.
    Change {
        /// By which he hears of it if it is refused.
        ticket: u64,
        /// What he wants.
        change: Change,
    },
    /// A peer has lost its log, and asks in this start of it what it needs to know.
    RejoinAsked {
        /// The peer.
        from: u64,
        /// Its incarnation.
        incarnation: u64,
    },
    /// A peer has answered to that.
    RejoinTold {
        /// The peer.
        from: u64,
        /// What it says.
        word: RejoinWord,
    },
    /// The identity says that this node has all again.
    RejoinEnded,
    /// The link to a peer is down.
    Unreachable {
        /// The peer.
        peer: u64,
    },
}

/// What the driver must do, in this order.
#[derive(Debug)]
pub enum Output {
    /// Append to the log; report `Persisted` when it is durable.
    Persist {
        /// The number to report.
        number: u64,
        /// Entries.
        entries: Vec<LogEntry>,
        /// Hard state, if it changed.
        hard_state: Option<HardState>,
        /// Whether the commit index in it must not be lost.
        vital: bool,
    },
    /// Make a received snapshot durable, hand it to the state machine, report `Persisted`.
    Install {
        /// The number to report. Entries behind the snapshot have one of their own.
        number: u64,
        /// What it is.
        meta: SnapshotMeta,
        /// The state.
        chunks: Vec<Bytes>,
        /// Hard state, if it changed.
        hard_state: Option<HardState>,
    },
    /// Send a raft message to a peer.
    Send {
        /// The message (its receiver is in it).
        message: RaftMessage,
        /// Log time, if this node leads or answers a candidate and knows it.
        word: Option<TimeWord>,
    },
    /// Send ops of the own gateway to the leader.
    Forward {
        /// The leader.
        to: u64,
        /// Encoded ops.
        ops: Vec<Bytes>,
    },
    /// Send the newest snapshot to a peer, with this message.
    SendSnapshot {
        /// The message.
        message: RaftMessage,
    },
    /// Committed entries for the state machine.
    Apply {
        /// The entries.
        entries: Vec<Committed>,
    },
    /// The read index of a round.
    ReadIndex {
        /// The round.
        round: u64,
        /// The index.
        index: u64,
    },
    /// Ask the event loop to encode the state.
    TakeSnapshot,
    /// It encodes a state that is of no use any more.
    AbandonSnapshot,
    /// Save the state that it encodes.
    SaveSnapshot {
        /// Index, term, membership.
        meta: SnapshotMeta,
        /// Entries above this index are kept for followers.
        compact_to: u64,
    },
    /// What an operator wanted is not done.
    ChangeRefused {
        /// His ticket.
        ticket: u64,
        /// A sentence for people.
        why: String,
    },
    /// Tell a peer the own state at an index.
    Tell {
        /// The peer.
        to: u64,
        /// The state.
        checkpoint: Checkpoint,
    },
    /// Ask all peers: this node has lost its log.
    AskRejoin,
    /// Answer one that has.
    TellRejoin {
        /// The peer.
        to: u64,
        /// What it has to know.
        word: RejoinWord,
    },
    /// This node has all again: write that down, and report `RejoinEnded`.
    Rejoined,
    /// The log lacks what this node has confirmed: it must stop. A sentence for people, up to what to do.
    LogLost(String),
    /// Most voters have another state than this node, which must stop and never start again from what it has. A sentence for people.
    Outvoted(String),
    /// The node must stop. A sentence for people.
    Fatal(String),
}
