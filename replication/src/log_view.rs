//! The log as raft sees it: the entries since the last compaction, in memory, and what came before them.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use crate::storage::{LogEntry, Membership, SnapshotMeta};
use crate::wire;

/// Entries above `base`, and the facts of `base` itself.
#[derive(Debug)]
pub(crate) struct LogView {
    entries: VecDeque<Entry>,
    base_index: u64,
    base_term: u64,
    hard_state: HardState,
    /// Memberships by the index of the entry that made them, oldest first: that of the newest snapshot, or of the beginning, and the later
    /// ones.
    memberships: VecDeque<(u64, Membership)>,
    snapshot: Option<SnapshotMeta>,
    /// A peer needs a snapshot, and the newest one would not do for it.
    lacks_snapshot: Cell<bool>,
    /// Payload bytes held.
    bytes: u64,
}

impl LogView {
    pub(crate) fn new(
        hard_state: crate::storage::HardState,
        membership: Membership,
        snapshot: Option<SnapshotMeta>,
        entries: Vec<LogEntry>,
    ) -> Self {
        let raft_state = HardState {
            term: hard_state.term,
            vote: hard_state.vote,
            commit: hard_state.commit,
            ..Default::default()
        };
        let (base_index, base_term) =
            snapshot.as_ref().map_or((0, 0), |meta| (meta.index, meta.term));
        let mut view = Self {
            entries: VecDeque::new(),
            base_index,
            base_term,
            hard_state: raft_state,
            memberships: VecDeque::from([(base_index, membership)]),
            snapshot,
            lacks_snapshot: Cell::new(false),
            bytes: 0,
        };
        let entries: Vec<Entry> = entries.into_iter().map(wire::raft_entry).collect();
        view.append(&entries);
        view
    }

    /// As it is now.
    pub(crate) fn membership(&self) -> &Membership {
        &self.memberships.back().expect("there is one from the beginning").1
    }

    /// As it was when the entry at `index` was the last one.
    pub(crate) fn membership_at(&self, index: u64) -> &Membership {
        let then = self.memberships.iter().rev().find(|(since, _)| *since <= index);
        let then = then.or_else(|| self.memberships.front());
        then.map_or_else(|| self.membership(), |(_, membership)| membership)
    }

    /// A committed entry changed it.
    pub(crate) fn set_membership(&mut self, index: u64, membership: Membership) {
        self.memberships.push_back((index, membership));
    }

    /// Whether a peer was found, since this was last asked, that the newest snapshot is of no use to.
    pub(crate) fn take_lack(&self) -> bool {
        self.lacks_snapshot.take()
    }

    pub(crate) fn base_index(&self) -> u64 {
        self.base_index
    }

    pub(crate) fn snapshot_index(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |meta| meta.index)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn last(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }

    /// Entries from an index on.
    pub(crate) fn from(&self, index: u64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(index.saturating_sub(self.base_index + 1) as usize)
    }

    /// Appends; an entry at an index that is there already replaces it and all behind it.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.base_index, "compacted entries are never written again");
        assert!(first.index <= self.last() + 1, "the log has no gaps");
        if self.last() > first.index {
            mark::reached(Mark::ConflictTruncated);
        }
        let kept = is_planted(Canary::ConflictKeepsOne) && self.last() >= first.index;
        while self.last() >= first.index + u64::from(kept) {
            let gone = self.entries.pop_back().map_or(0, |entry| entry.data.len());
            self.bytes -= gone as u64;
        }
        let entries = entries.get(usize::from(kept)..).unwrap_or_default();
        self.bytes += entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
        self.entries.extend(entries.iter().cloned());
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: &HardState) {
        self.hard_state = hard_state.clone();
    }

    /// Forgets entries up to an index.
    pub(crate) fn compact(&mut self, index: u64) {
        while self.base_index < index {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.data.len() as u64;
            self.base_index = entry.index;
            self.base_term = entry.term;
        }
    }

    /// The own newest snapshot, for followers that are too far behind.
    pub(crate) fn set_snapshot(&mut self, meta: SnapshotMeta) {
        while self.memberships.get(1).is_some_and(|(since, _)| *since <= meta.index) {
            self.memberships.pop_front();
        }
        self.snapshot = Some(meta);
    }

    /// A snapshot from the leader replaces everything.
    pub(crate) fn install(&mut self, meta: SnapshotMeta) {
        self.entries.clear();
        self.bytes = 0;
        self.base_index = meta.index;
        self.base_term = meta.term;
        self.memberships = VecDeque::from([(meta.index, meta.membership.clone())]);
        self.snapshot = Some(meta);
    }
}

impl Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), wire::raft_conf(self.membership())))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let max = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0_u64;
        let range = self.from(low).take(high.saturating_sub(low) as usize);
        let fits = range.enumerate().take_while(|(at, entry)| {
            bytes = bytes.saturating_add(entry.data.len() as u64 + 16);
            *at == 0 || bytes <= max
        });
        Ok(fits.map(|(_, entry)| entry.clone()).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base_index {
            return Ok(self.base_term);
        }
        let at = index.checked_sub(self.base_index + 1);
        let at = at.ok_or(raft::Error::Store(StorageError::Compacted))?;
        let entry = self.entries.get(at as usize);
        entry.map(|entry| entry.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// One is of use only to members that it knows (raft drops it elsewhere), and only if the log goes on behind it: a node that was
    /// alone has kept less.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let serves = |meta: &&SnapshotMeta| {
            is_planted(Canary::AnySnapshotSent)
                || meta.index >= request_index.max(self.base_index)
                    && meta.membership.ids().contains(&to)
        };
        let newest = self.snapshot.as_ref().filter(serves).map(wire::raft_snapshot);
        newest.ok_or_else(|| {
            self.lacks_snapshot.set(true);
            raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable)
        })
    }
}
