//! The snapshot format, version 5. Slot by slot, in the state's own order, every section checksummed, the digest at the end.
//! `encode` writes it in steps, between which the state moves on; `frozen` keeps what such a change replaces; `decode` reads it.
//!
//! ```text
//! snapshot = magic "SFSTATE" · version u8 · section* , the last one of kind 6
//! section  = length u32 (of kind and body) · checksum u64 (XXH3 of kind and body) · kind u8 · body
//!   1 machine   applied u64 · stamp time u64 · stamp seed u64 · cluster id u128 · revision u64 · hash key u64 u64 · level u32
//!   2 gateway   node u64 · incarnation u64 · passed u64 · retired u8 · announced length u32 · announced address · joined bytes
//!   3 script    body
//!   4 database  db u8 · swapped at u64 · flushed at u64
//!   5 slot      db u8 · slot u16 · deleted at u64 · (expires at u64 · changed u64 · granted u64 · type u8 · key length u32 ·
//!               length u32 · [number of the first element i64] · key · value)*
//!   6 end       digest u128
//!   7 more      bytes
//!   8 subscription  kind u8 (0 channel, 1 pattern, 2 shard channel) · name length u32 · name · (node u64 · client u64)*
//!   9 waiters   number of the next one u64
//!  10 waiter    number u64 · node u64 · incarnation u64 · sequence u64 · client u64 · position u32 · deadline u64 · db u8 · keys · words,
//!               both as count u32 · (length u32 · bytes)*
//! ```
//!
//! `type` says in which form a value is as well (`record::tag`). One that is a tree has `length` entries, each with its own length (7
//! bits a byte) in front, and a list says how its first element is numbered; any other has `length` bytes. A value longer than its
//! section goes on in sections of kind 7 right behind, wherever it was cut. A slot may have several sections, in order; all sections of
//! kind 4 come before the first of kind 5. So may a name have several of kind 8.
//!
//! All integers are little-endian. Decoding trusts nothing, never panics, and never reserves more than the input holds.

mod decode;
mod encode;
mod frozen;
mod value;

use core::fmt;

pub(crate) use decode::decode;
pub(crate) use encode::{Encoding, encode};
pub(crate) use frozen::Frozen;

const MAGIC: &[u8; 7] = b"SFSTATE";
const VERSION: u8 = 5;
/// Bytes of a chunk, and of a value's piece, at the most (a chunk may end with a whole key).
const CHUNK_BYTES: usize = 256 * 1024;

/// Why a snapshot cannot be restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotError {
    /// It ends too early.
    Truncated,
    /// It is no snapshot.
    NotASnapshot,
    /// Its format version is not known here.
    UnknownVersion(u8),
    /// The state is of a later semantics level than this release knows: a later one has written it, in whatever form.
    LaterLevel {
        /// The state's.
        level: u32,
        /// The highest one that is known here.
        known: u32,
    },
    /// A checksum, the digest, or something that the format promises does not hold.
    Damaged(&'static str),
}

impl SnapshotError {
    /// Whether a later release has written it.
    pub const fn is_of_later_release(self) -> bool {
        matches!(self, Self::UnknownVersion(_) | Self::LaterLevel { .. })
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the snapshot ends too early"),
            Self::NotASnapshot => f.write_str("this is not a snapshot"),
            Self::UnknownVersion(version) => {
                write!(f, "the snapshot has unknown format version {version}")
            }
            Self::LaterLevel { level, known } => {
                write!(
                    f,
                    "it is of semantics level {level}; this release knows levels up to {known}"
                )
            }
            Self::Damaged(what) => write!(f, "the snapshot is damaged: {what}"),
        }
    }
}

impl core::error::Error for SnapshotError {}
