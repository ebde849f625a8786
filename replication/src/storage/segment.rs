//! The open log: the segment being written, the spare that comes next, and what may be deleted.
//!
//! A segment is filled with zeroes before it is used, so that an append is an overwrite: it needs no room and no metadata.
//! What is left of the segment in use is therefore the reserve that a full disk leaves to ticks and deletes.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use crate::ports::{Disk, File};

use super::files::remove_if_there;
use super::record::{
    HEADER_BYTES, Place, Prologue, SECTOR_BYTES, SegmentHeader, encode_group, group_bytes,
};
use super::scrub::{Part, Scrub};
use super::worker::{self, SnapshotWorker, WorkerLink};
use super::{
    Doing, HardState, LogConfig, LogEntry, NodeMeta, SnapshotMeta, StoreError, reserve, snapshot,
};

/// Zeroes written into a spare at once: short enough not to hold up an append.
static ZEROES: [u8; 256 << 10] = [0; 256 << 10];
/// A larger buffer than this is given back after use.
const BUFFER_BYTES_KEPT: usize = 16 << 20;

/// See the file's head.
pub struct LogStore<D: Disk> {
    pub(super) disk: Arc<D>,
    pub(super) config: LogConfig,
    pub(super) meta: NodeMeta,
    pub(super) hard_state: HardState,
    /// As the last record says it; the commit index moves on and goes along with the next one.
    written_hard_state: HardState,
    /// All segments, oldest first; the last one is being written.
    pub(super) segments: VecDeque<SegmentFacts>,
    pub(super) active: Option<Active<D::File>>,
    spare: Option<Spare<D::File>>,
    /// Number of the last group written, and of the last one known to be durable.
    pub(super) group: u64,
    pub(super) synced: u64,
    /// The last index of the log.
    pub(super) reach: u64,
    /// An installed snapshot (index, term) that the next group has to name as the log's base.
    pub(super) new_base: Option<(u64, u64)>,
    /// Snapshots on disk, oldest first: the last good one is kept until the next is complete.
    pub(super) snapshots: Vec<snapshot::Head>,
    /// The newest, if it could not be read when it was to be sent.
    unreadable: Option<u64>,
    /// Segments that have rotted since they were written.
    rotten: BTreeSet<u64>,
    /// The last group when the directory was opened.
    pub(super) opened_at: u64,
    buffer: Vec<u8>,
}

/// What is known of a segment without reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentFacts {
    pub(super) segment: u64,
    /// Highest index of an entry in it; 0 if it holds none.
    pub(super) last_index: u64,
    /// The first group that was written into it.
    pub(super) first_group: u64,
}

/// The segment being written.
pub(super) struct Active<F> {
    pub(super) file: F,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// The next segment, while it is filled with zeroes.
struct Spare<F> {
    file: F,
    zeroed: u64,
    bytes: u64,
}

/// Why an append failed.
#[derive(Debug)]
pub(super) enum AppendError {
    /// No room for a further segment. Nothing was written; try again later.
    NoSpace,
    /// The node must stop.
    Fatal(StoreError),
}

impl From<StoreError> for AppendError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Io { source, .. } if super::is_no_space(source) => Self::NoSpace,
            _ => Self::Fatal(error),
        }
    }
}

pub(super) fn segment_name(segment: u64) -> String {
    format!("log-{segment:016x}")
}

/// The number in a segment's name.
pub(super) fn segment_of(name: &str) -> Option<u64> {
    let segment = u64::from_str_radix(name.strip_prefix("log-")?, 16).ok()?;
    (segment_name(segment) == name).then_some(segment)
}

pub(super) const SPARE: &str = "spare";

impl<D: Disk> LogStore<D> {
    /// Who writes and reads snapshots beside this log.
    pub fn worker(&self) -> (SnapshotWorker<D>, WorkerLink<D::File>) {
        worker::pair(Arc::clone(&self.disk))
    }

    pub(super) fn new(disk: D, config: LogConfig, meta: NodeMeta) -> Self {
        Self {
            disk: Arc::new(disk),
            config,
            meta,
            hard_state: HardState::default(),
            written_hard_state: HardState::default(),
            segments: VecDeque::new(),
            active: None,
            spare: None,
            group: 0,
            synced: 0,
            reach: 0,
            new_base: None,
            snapshots: Vec::new(),
            unreadable: None,
            rotten: BTreeSet::new(),
            opened_at: 0,
            buffer: Vec::new(),
        }
    }

    /// The identity as it was saved last.
    pub fn meta(&self) -> &NodeMeta {
        &self.meta
    }

    /// Replaces the identity; durable when this returns. The first segment is made before the first identity, so that an
    /// identity without a log is known to have lost it.
    pub async fn save_meta(&mut self, meta: NodeMeta) -> Result<(), StoreError> {
        let new = self.segments.is_empty();
        if new {
            self.meta = meta.clone();
            match self.roll(0).await {
                Ok(()) => {}
                Err(AppendError::Fatal(error)) => return Err(error),
                Err(AppendError::NoSpace) => {
                    let doing = format!("begin the log in {}", self.disk.describe(""));
                    return Err(StoreError::Io {
                        doing,
                        source: io::ErrorKind::StorageFull.into(),
                    });
                }
            }
        }
        reserve::spend(&*self.disk, async || meta.save(&*self.disk, self.opened_at).await).await?;
        if new {
            super::origin::mark(&*self.disk, meta.storage_id).await?;
        }
        self.meta = meta;
        Ok(())
    }

    /// Keeps room for the next start, if there is any.
    pub async fn keep_reserve(&self) -> Result<(), StoreError> {
        reserve::take(&*self.disk).await
    }

    /// Writes one group; durable only after `sync`. Nothing counts as written if there is no room.
    pub(super) async fn write_group(
        &mut self,
        hard_state: Option<HardState>,
        entries: &[LogEntry],
    ) -> Result<(), AppendError> {
        let needed = group_bytes(entries) as u64;
        if self.active.as_ref().is_none_or(|active| active.offset + needed > active.bytes) {
            self.roll(needed).await?;
        }
        let hard_state_now = hard_state.unwrap_or(self.hard_state);
        let Some(facts) = self.segments.back_mut() else { return Err(AppendError::NoSpace) };
        let Some(active) = self.active.as_mut() else { return Err(AppendError::NoSpace) };
        // Each segment begins with the hard state and the reach, so that older ones can be deleted.
        let first = active.offset == HEADER_BYTES;
        let prologue = Prologue {
            hard_state: (first || hard_state_now != self.written_hard_state)
                .then_some(hard_state_now),
            base: self.new_base,
            reach: first.then_some(self.reach),
        };
        self.buffer.clear();
        let numbers = (self.group + 1, self.synced);
        let place = Place { storage_id: self.meta.storage_id, segment: facts.segment };
        encode_group(&mut self.buffer, place, numbers, prologue, entries);
        let name = segment_name(facts.segment);
        let doing = || format!("write {}", self.disk.describe(&name));
        active.file.write_at(&self.buffer, active.offset).doing(doing)?;
        active.offset += self.buffer.len() as u64;
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        self.group += 1;
        (self.hard_state, self.written_hard_state) = (hard_state_now, hard_state_now);
        facts.last_index = entries.iter().map(|entry| entry.index).fold(facts.last_index, u64::max);
        let base = self.new_base.take().map(|(index, _)| index);
        self.reach = entries.last().map(|last| last.index).or(base).unwrap_or(self.reach);
        Ok(())
    }

    /// Writes an empty group that says how far the log was durable, in another sector than what it says it of.
    pub(super) async fn write_seal(&mut self) -> Result<(), AppendError> {
        if let Some(active) = self.active.as_mut().filter(|active| active.offset > HEADER_BYTES) {
            active.offset = active.offset.next_multiple_of(SECTOR_BYTES);
        }
        self.write_group(None, &[]).await
    }

    /// Makes all groups written so far durable. An error is final.
    pub(super) async fn sync(&mut self) -> Result<(), StoreError> {
        if self.synced < self.group
            && let (Some(active), Some(facts)) = (self.active.as_mut(), self.segments.back())
        {
            let name = segment_name(facts.segment);
            let synced =
                active.file.sync().await.doing(|| format!("sync {}", self.disk.describe(&name)));
            if synced.is_err() {
                mark::reached(Mark::SyncFailed);
            }
            match synced {
                Err(error) if is_planted(Canary::FsyncErrorIgnored) => tracing::warn!("{error}"),
                synced => synced?,
            }
            self.synced = self.group;
        }
        Ok(())
    }

    /// Closes the segment in use and begins the next one. A segment that is not the last is durable in whole.
    async fn roll(&mut self, needed: u64) -> Result<(), AppendError> {
        self.sync().await.map_err(AppendError::Fatal)?;
        let bytes = self.config.segment_bytes.max(HEADER_BYTES + needed + 64);
        while !self.spare_is_ready(bytes) {
            self.prepare_spare(bytes, ZEROES.len() as u64).await?;
        }
        let Some(mut spare) = self.spare.take() else { return Err(AppendError::NoSpace) };
        let segment = self.segments.back().map_or(1, |facts| facts.segment + 1);
        let header = SegmentHeader {
            storage_id: self.meta.storage_id,
            segment,
            first_group: self.group + 1,
            bytes: spare.bytes,
        };
        let name = segment_name(segment);
        let doing = || format!("begin {}", self.disk.describe(&name));
        spare.file.write_at(&header.encode(), 0).doing(doing)?;
        spare.file.sync().await.doing(doing).map_err(AppendError::Fatal)?;
        self.disk.rename(SPARE, &name).doing(doing)?;
        if !is_planted(Canary::SegmentNameUnsynced) {
            self.disk.sync_directory().await.doing(doing).map_err(AppendError::Fatal)?;
        }
        self.active = Some(Active { file: spare.file, offset: HEADER_BYTES, bytes: spare.bytes });
        let first_group = self.group + 1;
        self.segments.push_back(SegmentFacts { segment, last_index: 0, first_group });
        Ok(())
    }

    fn spare_is_ready(&self, bytes: u64) -> bool {
        self.spare.as_ref().is_some_and(|spare| spare.zeroed == spare.bytes && spare.bytes >= bytes)
    }

    /// Whether half of the segment in use is written and the next one is not ready.
    pub(super) fn lacks_spare(&self) -> bool {
        let half = self.active.as_ref().is_some_and(|active| active.offset * 2 > active.bytes);
        half && !self.spare_is_ready(self.config.segment_bytes)
    }

    /// Whether the next segment is to get a further piece now. It grows with what is written into the second half of the one in use, four
    /// times as fast, so that no append has to wait for more than a piece.
    pub(super) fn wants_spare(&self) -> bool {
        let Some(active) = self.active.as_ref().filter(|_| self.lacks_spare()) else {
            return false;
        };
        let zeroed = self.spare.as_ref().map_or(0, |spare| spare.zeroed);
        zeroed < 4 * (active.offset - active.bytes / 2)
    }

    /// One step towards a spare segment of at least `bytes`: a piece of zeroes, synced. An error of that sync stops the node
    /// like any other.
    pub(super) async fn prepare_spare(
        &mut self,
        bytes: u64,
        piece_bytes: u64,
    ) -> Result<(), AppendError> {
        let bytes = bytes.max(self.config.segment_bytes);
        let doing = || format!("prepare the next segment {}", self.disk.describe(SPARE));
        if self.spare.as_ref().is_none_or(|spare| spare.bytes < bytes) {
            self.spare = None;
            remove_if_there(&*self.disk, SPARE)?;
            let snapshot = self.snapshots.last().map_or(0, |snapshot| snapshot.meta.bytes);
            let free = self.disk.free_bytes().doing(doing)?;
            if free < bytes + snapshot + self.config.reserve_bytes {
                return Err(AppendError::NoSpace);
            }
            let file = self.disk.create(SPARE).doing(doing)?;
            self.spare = Some(Spare { file, zeroed: 0, bytes });
        }
        let Some(spare) = &mut self.spare else { return Err(AppendError::NoSpace) };
        let piece = (spare.bytes - spare.zeroed).min(piece_bytes) as usize;
        if let Some(zeroes) = ZEROES.get(..piece).filter(|zeroes| !zeroes.is_empty()) {
            let written = spare.file.write_at(zeroes, spare.zeroed).doing(doing);
            if written.is_err() {
                self.spare = None; // a later try begins anew
            }
            written?;
            let Some(spare) = &mut self.spare else { return Err(AppendError::NoSpace) };
            spare.file.sync().await.doing(doing).map_err(AppendError::Fatal)?;
            spare.zeroed += piece as u64;
        }
        Ok(())
    }

    /// Writes a received snapshot and makes it the newest. The log is synced before: the file says how far it reached.
    pub(super) async fn save_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        chunks: &[Bytes],
    ) -> Result<(), StoreError> {
        self.sync().await.map_err(StoreError::made_final)?;
        snapshot::save(&*self.disk, self.meta.storage_id, meta, self.group, chunks).await?;
        self.has_saved(meta, self.group);
        Ok(())
    }

    /// The file for a snapshot that is to be written piece by piece.
    pub(super) fn begin_snapshot(&self, meta: &SnapshotMeta) -> Result<D::File, StoreError> {
        snapshot::begin(&*self.disk, self.meta.storage_id, meta)
    }

    /// One of a state that is written down has its name: it is the newest.
    pub(super) fn has_saved(&mut self, meta: &SnapshotMeta, group: u64) {
        let unreadable = self.unreadable.take();
        let is_replaced = |index| index == meta.index || Some(index) == unreadable;
        self.snapshots.retain(|kept| !is_replaced(kept.meta.index));
        self.snapshots.push(snapshot::Head { meta: meta.clone(), group });
    }

    /// The newest snapshot, opened. One that can't be read is replaced by the next that is saved: it does not count among those that
    /// are kept.
    pub(super) fn open_snapshot(&mut self) -> Option<(SnapshotMeta, D::File)> {
        let index = self.snapshots.last()?.meta.index;
        let name = snapshot::name(index);
        let head = snapshot::load_head(&*self.disk, self.meta.storage_id, index);
        let opened = head.and_then(|head| {
            let file =
                self.disk.open(&name).doing(|| format!("open {}", self.disk.describe(&name)));
            file.map(|file| (head.meta, file))
        });
        match opened {
            Ok(opened) => Some(opened),
            Err(error) => {
                self.snapshot_unreadable(index, &error);
                None
            }
        }
    }

    /// It can't be read, or is not what was written.
    pub(super) fn snapshot_unreadable(&mut self, index: u64, error: &StoreError) {
        mark::reached(Mark::SnapshotUnreadable);
        tracing::error!(
            "a snapshot can't be sent to a node that needs it, and is taken anew: {error}. Nothing is lost"
        );
        self.unreadable = Some(index);
    }

    /// It was read, all of it or a part.
    pub(super) fn snapshot_read(&mut self, index: u64, whole: bool) {
        if whole && self.unreadable == Some(index) {
            self.unreadable = None;
        }
    }

    /// All that can be read again now.
    pub(super) fn scrub(&self) -> Scrub {
        let pairs = self.segments.iter().zip(self.segments.iter().skip(1));
        let closed = pairs.map(|(facts, next)| {
            Part::Segment(facts.segment, facts.first_group, next.first_group - 1)
        });
        let snapshots = self.snapshots.iter().map(|kept| Part::Snapshot(kept.meta.index));
        let parts = [Part::Identity].into_iter().chain(closed).chain(snapshots).collect();
        Scrub { storage_id: self.meta.storage_id, parts }
    }

    /// It is not what was written. The next snapshot makes it needless.
    pub(super) fn has_rotted(&mut self, part: Part) {
        match part {
            Part::Segment(segment, ..) => drop(self.rotten.insert(segment)),
            Part::Snapshot(index)
                if self.snapshots.last().is_some_and(|s| s.meta.index == index) =>
            {
                self.unreadable = Some(index);
            }
            Part::Snapshot(index) => self.snapshots.retain(|kept| kept.meta.index != index),
            Part::Identity => {}
        }
    }

    /// Whether a snapshot of this index makes a segment needless that has rotted, and all before it.
    pub(super) fn outlives_rot(&mut self, index: u64) -> bool {
        let segments = &self.segments;
        self.rotten.retain(|rotten| segments.iter().any(|facts| facts.segment == *rotten));
        let mut past = self.segments.iter().take_while(|facts| facts.last_index <= index);
        past.any(|facts| self.rotten.contains(&facts.segment))
    }

    /// Deletes what the kept snapshots make needless: older snapshots, and segments that hold nothing above `compact_to`.
    /// The snapshot before the newest is kept until the next call, with all of the log from the group on that was the last
    /// when it was saved: so a copy of the directory that began before is whole, a damaged newest snapshot can be done
    /// without, and the hard state stays in what is kept. On a full disk only the newest is kept: the log may be what fills it.
    ///
    /// Answers the index up to which entries will be gone, and the names of files to remove, in that order.
    pub(super) fn compact(
        &mut self,
        compact_to: u64,
        full: bool,
    ) -> Result<(u64, Vec<String>), StoreError> {
        let (mut removed, mut needless) = (Vec::new(), Vec::new());
        let kept_max = if full { 1 } else { 2 };
        while self.snapshots.len() > kept_max {
            self.snapshots.remove(0);
        }
        let names = self.disk.list().doing(|| format!("list {}", self.disk.describe("")))?;
        for name in names {
            let index = snapshot::index_of(&name);
            if index.is_some_and(|at| self.snapshots.iter().all(|kept| kept.meta.index != at)) {
                removed.push(name);
            }
        }
        let before = self.snapshots.first().filter(|_| self.snapshots.len() == kept_max);
        let (mut below, mut group) =
            before.map_or((0, 0), |kept| (kept.meta.index.min(compact_to), kept.group));
        if is_planted(Canary::CompactsTooMuch) {
            (below, group) = (u64::MAX, self.snapshots.last().map_or(0, |newest| newest.group));
        }
        while !is_planted(Canary::LogKept)
            && self.segments.get(1).is_some_and(|next| next.first_group <= group)
            && self.segments.front().is_some_and(|facts| facts.last_index <= below)
        {
            let Some(facts) = self.segments.pop_front() else { break };
            needless.push(segment_name(facts.segment));
        }
        // From behind: if the process ends meanwhile, those in front of a gap are known to be of no use.
        removed.extend(needless.into_iter().rev());
        Ok((below, removed))
    }
}
