//! Snapshots: when one of the own state is due, how much of the log is kept behind it, and those that a leader sends.

use std::time::Duration;

use bytes::Bytes;
use raft::{StateRole, Storage as _};
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use super::Node;
use crate::event::Output;
use crate::milestones;
use crate::storage::SnapshotMeta;
use crate::wire::RaftMessage;

/// Ticks before a snapshot is tried again that could not be saved, or made no room.
const SNAPSHOT_RETRY_TICKS: u64 = 100;
/// Log kept for members that are connected and behind, in multiples of what makes a snapshot due.
const CONNECTED_TAIL_SNAPSHOTS: u64 = 4;

impl Node {
    /// Whether a snapshot of the state as it is now is of use. On a full disk it may be what makes room: after it the log can go.
    pub(super) fn is_snapshot_due(&self) -> bool {
        let is_long = self.log_bytes > self.config.snapshot_log_bytes || self.no_space;
        let (applied, saved) = (self.applied, self.snapshot_index());
        is_long && applied > saved || self.snapshot_wanted && applied >= saved.max(1)
    }

    /// Whether one of the own state is being written.
    pub const fn is_taking_snapshot(&self) -> bool {
        self.taking_snapshot
    }

    /// The own state is being encoded: has it written down.
    pub(super) fn snapshot_begun(&mut self, index: u64) {
        let store = self.raw.store();
        let Ok(term) = store.term(index) else {
            self.taking_snapshot = false;
            self.outputs.push_back(Output::AbandonSnapshot);
            return;
        };
        let meta = SnapshotMeta {
            index,
            term,
            membership: if is_planted(Canary::SnapshotOfEarlierMembers) {
                store.membership_at(0).clone()
            } else {
                store.membership_at(index).clone()
            },
            bytes: 0,
            checksum: 0,
        };
        let compact_to = self.tail_start(index);
        self.log_bytes_covered = self.log_bytes;
        self.outputs.push_back(Output::SaveSnapshot { meta, compact_to });
    }

    /// The index up to which entries may be forgotten when the state at `index` is safe: a tail is kept, and a leader keeps
    /// a longer one for members that it hears of and that have not got so far, so that none of them needs snapshot after
    /// snapshot under load.
    fn tail_start(&self, index: u64) -> u64 {
        let store = self.raw.store();
        let leads = self.raw.raft.state == StateRole::Leader;
        let patience = self.config.election_ticks as u64;
        let heard = |id| self.heard.get(id).is_some_and(|at| at + patience > self.ticks);
        let heard = self.raw.raft.prs().iter().filter(|(id, _)| leads && heard(*id));
        let reached = heard.map(|(_, progress)| progress.matched.max(progress.pending_snapshot));
        let needed = reached.min().unwrap_or(index);
        let kept_max = self.config.snapshot_log_bytes * CONNECTED_TAIL_SNAPSHOTS;
        let (mut kept, mut first) = (0, index);
        for at in (store.base_index() + 1..=index).rev() {
            kept += store.from(at).next().map_or(0, |entry| entry.data.len() as u64 + 16);
            if kept > self.config.tail_bytes && (at <= needed || kept > kept_max) {
                break;
            }
            first = at - 1;
        }
        first
    }

    /// A leader's snapshot has come, with the message that announced it.
    pub(super) fn snapshot_received(
        &mut self,
        now: Duration,
        message: RaftMessage,
        meta: SnapshotMeta,
        chunks: Vec<Bytes>,
    ) {
        let earlier = self.received.replace((meta, chunks));
        self.peer(now, message, None);
        // Raft takes on what is newer than all it has; what it took on in this very turn may be the earlier one.
        let taken = self.raw.snap().map(|snapshot| snapshot.get_metadata().index);
        let mut received = self.received.take().into_iter().chain(earlier);
        self.received = received.find(|(meta, _)| Some(meta.index) == taken);
    }

    /// A leader's snapshot took its place.
    pub(super) const fn snapshot_abandoned(&mut self) {
        self.taking_snapshot = false;
    }

    /// It could not be written down.
    pub(super) fn snapshot_failed(&mut self) {
        self.taking_snapshot = false;
        self.snapshot_from = self.ticks + SNAPSHOT_RETRY_TICKS;
    }

    /// It is durable: the log before it may go.
    pub(super) fn snapshot_saved(&mut self, meta: SnapshotMeta) {
        self.taking_snapshot = false;
        self.snapshot_from = if self.no_space { self.ticks + SNAPSHOT_RETRY_TICKS } else { 0 };
        if meta.index < self.snapshot_index() {
            // A leader's snapshot was taken on while the own one was being saved: the log does not reach back to the own one.
            mark::reached(Mark::SnapshotOvertaken);
            return;
        }
        // Raft may still look at what it has not been told to be applied.
        let compact_to = self.tail_start(meta.index).min(self.applied);
        let store = self.raw.mut_store();
        store.set_snapshot(meta);
        store.compact(compact_to);
        self.log_bytes = self.log_bytes.saturating_sub(self.log_bytes_covered);
        milestones::compacted(&self.raw.raft, compact_to);
    }
}
