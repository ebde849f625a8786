//! Every operation of a process on its disk is counted and can be told of; a trigger kills the process at one of them.

use serde::{Deserialize, Serialize};

use super::faults::Among;

/// What a process does to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoKind {
    /// A new file.
    Create,
    /// An existing file is opened.
    Open,
    /// Bytes are read.
    Read,
    /// Bytes are written.
    Write,
    /// The length of a file is set.
    SetLen,
    /// A file is synced.
    Sync,
    /// The directory is synced.
    SyncDirectory,
    /// A file gets another name.
    Rename,
    /// A file loses its name.
    Remove,
}

impl IoKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Open,
        Self::Read,
        Self::Write,
        Self::SetLen,
        Self::Sync,
        Self::SyncDirectory,
        Self::Rename,
        Self::Remove,
    ];
    /// Whether it changes something, or makes it durable.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::Read)
    }

    /// Its name in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::SetLen => "set-len",
            Self::Sync => "sync",
            Self::SyncDirectory => "sync-directory",
            Self::Rename => "rename",
            Self::Remove => "remove",
        }
    }
}

/// Where in an operation a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Nothing of it has happened.
    Before,
    /// A sync has taken its time and has not taken effect; for all else the same as before.
    During,
    /// It has taken effect, and the process never hears of it.
    After,
}

/// Kills the process at an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoTrigger {
    /// Which operations count; none: those that change something.
    pub kind: Option<IoKind>,
    /// Of which files.
    pub among: Among,
    /// Which of them, from 1.
    pub nth: u64,
    /// Where in it.
    pub moment: Moment,
}

/// One operation. A rename is told with the old name, one on the directory with none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoEvent {
    /// What was done.
    pub kind: IoKind,
    /// The name of the file at that time; empty if it has none any more.
    pub file: String,
    /// Where: of a read or write; the new length of `SetLen`.
    pub offset: u64,
    /// How much: of a read or write.
    pub bytes: u64,
}

impl std::fmt::Display for IoEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, file, offset, bytes } = self;
        write!(f, "{kind:?} {file}")?;
        match kind {
            IoKind::Read | IoKind::Write => write!(f, " {bytes} at {offset}"),
            IoKind::SetLen => write!(f, " to {offset}"),
            _ => Ok(()),
        }
    }
}

/// What the world sees of a disk's operations. It belongs to the disk, not to its contents: a copy of a disk is not watched.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) trigger: Option<IoTrigger>,
    pub(super) fired: Option<IoEvent>,
    counts: [u64; IoKind::ALL.len()],
    pub(super) events: Option<Vec<IoEvent>>,
}

impl Watch {
    /// Whether the names of files matter now.
    pub(super) fn is_keen(&self) -> bool {
        self.trigger.is_some() || self.events.is_some()
    }

    pub(super) fn count(&mut self, kind: IoKind) {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
    }

    pub(super) fn count_of(&self, kind: IoKind) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }

    /// An operation begins: whether it is the one at which the process dies, and where in it.
    pub(super) fn meets(&mut self, event: &IoEvent) -> Option<Moment> {
        let trigger = self.trigger.as_mut()?;
        let counted = match trigger.kind {
            Some(kind) => kind == event.kind,
            None => event.kind.changes(),
        };
        if !counted || !trigger.among.holds(&event.file) {
            return None;
        }
        trigger.nth = trigger.nth.saturating_sub(1);
        if trigger.nth > 0 {
            return None;
        }
        let syncs = matches!(event.kind, IoKind::Sync | IoKind::SyncDirectory);
        let moment =
            if syncs || trigger.moment == Moment::After { trigger.moment } else { Moment::Before };
        self.trigger = None;
        Some(moment)
    }
}
