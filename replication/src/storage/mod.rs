//! The log store: segments, snapshots and the node's identity on the `Disk` port.
//!
//! Contract: what `write_loop` has reported is durable by the chosen mode; what was durable is found by `open`, or `open`
//! refuses with file and offset. Damage is never taken for the end of the log. An fsync error is final: the node stops.
//! The file formats stand in `record`, `snapshot` and `meta`, and in docs/decisions/2026-11-22-log-format.md.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::mark::{self, Mark};

use crate::roster::Roster;

mod files;
pub mod memory;
mod meta;
mod origin;
mod record;
mod recovery;
mod reserve;
mod scrub;
mod segment;
mod set_aside;
mod snapshot;
mod worker;
mod writer;

pub use meta::{Barred, NodeMeta, Rejoin};
pub use recovery::{Recovered, example, identity, open, recover_from_bytes};
pub use segment::LogStore;
pub use worker::{PIECES_MAX, Piece, SnapshotWorker, WorkerLink};
pub use writer::{LogDone, LogRequest, write_loop};

/// One log entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// Position; the first is 1.
    pub index: u64,
    /// Term of the leader that proposed it.
    pub term: u64,
    /// 0 normal, 1 and 2 membership changes (raft's numbers).
    pub kind: u8,
    /// The payload (`steadfast_core::entry`), or empty.
    pub payload: Bytes,
}

/// Raft's hard state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Who got this node's vote in that term; 0 = nobody.
    pub vote: u64,
    /// Commit index, a hint: it may lag behind.
    pub commit: u64,
}

/// Who votes and who listens. While one set of voters takes over from another, both must agree (joint consensus, Raft thesis 4.3).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Voters, sorted.
    pub voters: Vec<u64>,
    /// Learners, sorted.
    pub learners: Vec<u64>,
    /// The voters before, while they still count as well; sorted.
    pub outgoing: Vec<u64>,
    /// Those of them that become learners afterwards; sorted.
    pub learners_next: Vec<u64>,
    /// What is known of all of them.
    pub roster: Roster,
}

impl Membership {
    /// Voters only, nothing else known.
    pub fn of_voters(voters: &[u64]) -> Self {
        Self { voters: voters.to_vec(), ..Self::default() }
    }

    /// Everybody who is in it, sorted.
    pub fn ids(&self) -> Vec<u64> {
        let all = [&self.voters, &self.learners, &self.outgoing, &self.learners_next];
        let ids: BTreeSet<u64> = all.into_iter().flatten().copied().collect();
        ids.into_iter().collect()
    }

    /// Whether two sets of voters count.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether this node is all there is: nobody else ever holds what it holds.
    pub fn is_alone(&self, own: u64) -> bool {
        self.voters == [own] && self.learners.is_empty() && !self.is_joint()
    }
}

/// What a snapshot file is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapshotMeta {
    /// Index of the state.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Membership at that index.
    pub membership: Membership,
    /// Bytes of the state.
    pub bytes: u64,
    /// CRC-32 of the state's bytes.
    pub checksum: u32,
}

/// When an append is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fsync {
    /// After `fdatasync`: survives power loss.
    Always,
    /// After `write`, with an `fdatasync` a second: power loss takes at most the last second, a killed process nothing.
    EverySecond,
    /// After `write`: power loss takes what the system had not yet written.
    No,
}

/// What is done with a data directory that is a copy of the one that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copies {
    /// It is opened, and is an original from then on.
    Taken,
    /// It is not opened: it may lack what its node has promised to others.
    Refused,
}

/// What is done with a data directory whose log or snapshots are damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// It is not opened.
    Refused,
    /// What is in it is set aside, and the node gets its data back from its peers.
    SetAside,
}

/// Settings of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// Size of a segment file. A larger group gets a segment of its own size.
    pub segment_bytes: u64,
    /// Durability.
    pub fsync: Fsync,
    /// Free space that must remain besides what is about to be written.
    pub reserve_bytes: u64,
    /// Whether a copy is opened.
    pub copies: Copies,
    /// Whether a damaged one is.
    pub damage: Damage,
    /// Pause between two rounds in which all that lies on the disk is read again.
    pub scrub_pause: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            fsync: Fsync::Always,
            reserve_bytes: 32 << 20,
            copies: Copies::Taken,
            damage: Damage::Refused,
            scrub_pause: Duration::from_secs(600),
        }
    }
}

/// Why the data directory, or a file in it, can't be used. Displayed as what happened, what was not lost, and what to do; of damage only
/// the first: what follows from it is for whoever met it to say.
#[derive(Debug)]
pub enum StoreError {
    /// The system refused.
    Io {
        /// What was being done, and to which file.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Bytes that were durable are not what they were.
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// The directory is a copy, and copies are refused.
    Copied {
        /// The file that tells.
        file: String,
    },
}

impl StoreError {
    /// Whether there was no room.
    fn is_no_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_no_space(source))
    }

    /// An error that must not be taken for one that passes, as that of a sync, whatever its reason was.
    fn made_final(self) -> Self {
        match self {
            Self::Io { doing, source } => Self::Io { doing, source: io::Error::other(source) },
            other @ (Self::Damaged { .. } | Self::Copied { .. }) => other,
        }
    }

    fn damaged(file: String, offset: u64, why: impl Into<String>) -> Self {
        mark::reached(Mark::DamageFound);
        Self::Damaged { file, offset, why: why.into() }
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { doing, source } if is_no_space(source) => write!(
                f,
                "the disk of the data directory is full: {doing}: {source}. Nothing acknowledged was lost. Make room on it (a \
                 megabyte is enough for a start, and reads; writes need more) and start this node again. Remove no file of the \
                 data directory; those whose names begin with `damaged-`, if there are any, may be moved to another disk."
            ),
            Self::Io { doing, source } => write!(
                f,
                "cannot use the data directory: {doing}: {source}. Nothing acknowledged was lost. \
                 Check its permissions and the disk, or choose another --dir."
            ),
            Self::Damaged { file, offset, why } => {
                write!(f, "{file} is damaged at byte {offset}: {why}")
            }
            Self::Copied { file } => write!(
                f,
                "this data directory is a copy: {file} was made after the node had written it. A copy lacks what the node has \
                 promised to the other nodes since; if it voted with less, acknowledged writes could be lost. Nothing was \
                 changed. If the node was stopped when the copy was made and has not run since (a move to another disk), or if \
                 all nodes go back to copies together, start it once with --adopt-copy. Otherwise bring the newest directory \
                 back, or replace this node by a new one with an empty directory (steadfast cluster replace)."
            ),
        }
    }
}

impl std::error::Error for StoreError {}

/// Adds what was being done to an error of the system.
trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StoreError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { doing: what(), source })
    }
}

/// Whether an error means that there is no room.
fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A cursor over bytes that are checked as they are read; `None` means that they end too early.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.take(16)?.try_into().ok().map(u128::from_le_bytes)
    }
}
