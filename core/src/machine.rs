//! The state machine.

use alloc::vec::Vec;

use crate::entry::{EntryError, Watched};
use crate::reply::Reply;
use crate::script::Surroundings;
pub use crate::snapshot::SnapshotError;
use crate::stamp::{Stamp, UnixMillis};

/// Where apply puts what came out of it.
pub trait Sink {
    /// Whether this node answers the clients of that gateway incarnation. Replies of others are not built
    /// where that can be avoided.
    fn wants(&self, node: u64, incarnation: u64) -> bool;
    /// The outcome of request `position` (0-based within its batch) of the own gateway's batch that ended
    /// with parcel `sequence`.
    fn reply(&mut self, sequence: u64, position: u32, outcome: Outcome<'_>);
    /// The state machine passed parcel `sequence` of a wanted gateway incarnation (after the replies, if it
    /// ended a batch).
    fn passed(&mut self, sequence: u64);
}

/// What became of a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome<'a> {
    /// It was executed and answered this.
    Reply(Reply<'a>),
    /// The entry's stamp was past the request's `latest`: definitely not applied.
    TooLate,
}

/// What apply did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The entry's index.
    pub index: u64,
    /// The stamp it was applied with: its own, with a time not before the last one's.
    pub stamp: Stamp,
}

/// What a read answers.
#[derive(Clone, PartialEq, Debug)]
pub enum ReadOutcome<'a> {
    /// The reply.
    Reply(Reply<'a>),
    /// The read met a key past its deadline by the clock, but not yet by the log: ask again when an entry
    /// with this stamp time or a later one was applied.
    AwaitStamp(UnixMillis),
}

/// What WATCH answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchOutcome {
    /// The precondition that EXEC carries.
    Token(Watched),
    /// As in [`ReadOutcome::AwaitStamp`].
    AwaitStamp(UnixMillis),
}

/// What the state knows of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GatewayState {
    /// The highest incarnation ever registered.
    pub incarnation: u64,
    /// The last parcel applied of it; 0 = none.
    pub passed: u64,
    /// Whether the leader gave it up: nothing of it is applied any more.
    pub retired: bool,
}

/// Figures of one database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DatabaseStats {
    /// Keys, those included that are past their deadline and not yet deleted.
    pub keys: u64,
    /// Keys with a deadline.
    pub expires: u64,
    /// Mean remaining time of those, by the last stamp.
    pub avg_ttl_ms: u64,
}

/// Counters since this replica was made or restored. Not part of the digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Keys deleted because their deadline passed.
    pub expired_keys: u64,
    /// Requests executed.
    pub requests: u64,
    /// Requests not executed because they came too late.
    pub too_late: u64,
    /// Parcels dropped as duplicates.
    pub duplicate_parcels: u64,
    /// Parcels dropped because one before them was missing.
    pub gap_parcels: u64,
    /// Parcels dropped because their gateway incarnation may not write.
    pub fenced_parcels: u64,
    /// Commands that panicked and were undone.
    pub contained_panics: u64,
}

/// The state machine.
pub struct StateMachine {}

impl StateMachine {
    /// Empty, at index 0. The hash key comes with the bootstrap operation.
    pub fn new() -> Self {
        todo!()
    }
    /// Applies the next entry. An empty payload is raft's own.
    pub fn apply(
        &mut self,
        _index: u64,
        _payload: &[u8],
        _surroundings: &mut dyn Surroundings,
        _sink: &mut dyn Sink,
    ) -> Result<Applied, EntryError> {
        todo!()
    }
    /// Serves a read-only command.
    pub fn read<'a>(
        &'a self,
        _db: usize,
        _argv: &[&[u8]],
        _clock: UnixMillis,
        _seed: u64,
    ) -> ReadOutcome<'a> {
        todo!()
    }
    /// WATCH: the precondition that EXEC will carry.
    pub fn watch(&self, _db: usize, _key: &[u8], _clock: UnixMillis) -> WatchOutcome {
        todo!()
    }
    /// Index of the last entry applied.
    pub fn applied_index(&self) -> u64 {
        todo!()
    }
    /// Stamp of the last entry applied.
    pub fn last_stamp(&self) -> Stamp {
        todo!()
    }
    /// The revision counter.
    pub fn revision(&self) -> u64 {
        todo!()
    }
    /// The cluster's identity; 0 before the bootstrap.
    pub fn cluster_id(&self) -> u128 {
        todo!()
    }
    /// What is known of a gateway.
    pub fn gateway(&self, _node: u64) -> Option<GatewayState> {
        todo!()
    }
    /// All gateways, by node id.
    pub fn gateways(&self) -> impl Iterator<Item = (u64, GatewayState)> {
        core::iter::empty()
    }
    /// The earliest deadline of any key, for the tick that the leader proposes.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        todo!()
    }
    /// The state digest: equal applied index means equal digest on every replica.
    pub fn digest(&self) -> u128 {
        todo!()
    }
    /// Figures of one database.
    pub fn database_stats(&self, _db: usize) -> DatabaseStats {
        todo!()
    }
    /// Counters.
    pub fn statistics(&self) -> Statistics {
        todo!()
    }
    /// Deterministic estimate of the bytes that keys, values and scripts take.
    pub fn used_bytes(&self) -> u64 {
        todo!()
    }
    /// Emits the snapshot in order.
    pub fn snapshot(&self, _emit: &mut dyn FnMut(Vec<u8>)) {
        todo!()
    }
    /// Rebuilds a machine from a snapshot's bytes, however they are cut.
    pub fn restore(_chunks: &mut dyn Iterator<Item = &[u8]>) -> Result<Self, SnapshotError> {
        todo!()
    }
}
