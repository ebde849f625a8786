//! The snapshot format.

use core::fmt;

/// Why a snapshot cannot be restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotError {
    /// It ends too early.
    Truncated,
    /// It is no snapshot.
    NotASnapshot,
    /// Its format version is not known here.
    UnknownVersion(u32),
    /// A checksum, the digest, or something that the format promises does not hold.
    Damaged(&'static str),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the snapshot ends too early"),
            Self::NotASnapshot => f.write_str("this is not a snapshot"),
            Self::UnknownVersion(version) => {
                write!(f, "the snapshot has unknown format version {version}")
            }
            Self::Damaged(what) => write!(f, "the snapshot is damaged: {what}"),
        }
    }
}

impl core::error::Error for SnapshotError {}
