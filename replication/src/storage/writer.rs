//! The log thread's loop: takes everything queued, writes it as one group (or several, if much has waited), syncs, reports.
//!
//! In production it has an OS thread, so that `fdatasync` blocks nobody; in the simulator it is a task. Requests are
//! carried out in order. When there is no room, appends wait here and are tried again; nothing is half-written.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::ports::Disk;

use super::files::remove_if_there;
use super::scrub::Part;
use super::segment::{AppendError, LogStore};
use super::worker::{
    Done, Job, Load, Loaded, PIECES_MAX, Piece, Publish, Published, Save, Saved, WorkerLink,
};
use super::{Fsync, HardState, LogEntry, NodeMeta, SnapshotMeta, StoreError, snapshot};

/// How long the log may lie still before a record is added that says how far it was durable: with it, damage to the last
/// data record is told from a torn write.
const SEAL_AFTER: Duration = Duration::from_millis(200);
/// Pause between tries when there is no room.
const SPACE_RETRY: Duration = Duration::from_millis(500);
/// Bytes written as one group at the most, if they are not one entry.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Zeroes written into the next segment between two groups.
const SPARE_PIECE_BYTES: u64 = 64 << 10;
const EVERY_SECOND: Duration = Duration::from_secs(1);

/// What the driver asks of the log.
#[derive(Debug)]
pub enum LogRequest {
    /// Appends entries (one at an index that is there already replaces it and all behind it) and the hard state.
    Append {
        /// Reported back; numbers rise.
        number: u64,
        /// The entries, contiguous.
        entries: Vec<LogEntry>,
        /// The hard state, if it changed.
        hard_state: Option<HardState>,
        /// Whether all of it must be durable, the commit index too, which is otherwise a hint.
        vital: bool,
    },
    /// Saves the own state as a snapshot while the log goes on, then deletes what is not needed any more. One at a time.
    SaveSnapshot {
        /// Index, term and membership; size and checksum are filled in here.
        meta: SnapshotMeta,
        /// The state, as it is encoded.
        pieces: mpsc::Receiver<Piece>,
        /// Entries above this index are kept for followers.
        compact_to: u64,
    },
    /// Makes a received, verified snapshot the newest one. Entries appended later follow it.
    Install {
        /// Reported back.
        number: u64,
        /// What it is.
        meta: SnapshotMeta,
        /// The state.
        chunks: Vec<Bytes>,
        /// The hard state that goes with it.
        hard_state: Option<HardState>,
    },
    /// Reads the newest snapshot, to send it to a peer.
    LoadSnapshot {
        /// Who it is for; reported back.
        to: u64,
    },
    /// Replaces the node's identity.
    SaveMeta {
        /// The new one.
        meta: NodeMeta,
        /// Whether the node must stop if there is no room for it: otherwise the old one stays for now.
        vital: bool,
    },
    /// Syncs and ends.
    Close,
}

/// What the log reports.
#[derive(Debug)]
pub enum LogDone {
    /// All appends up to `number` are durable by the chosen mode.
    Appended {
        /// The highest number.
        number: u64,
    },
    /// There is no room for a further segment: client writes must stop. What was handed over waits.
    NoSpace,
    /// There is room again.
    SpaceReturned,
    /// The own snapshot is durable.
    SnapshotSaved {
        /// What it is.
        meta: SnapshotMeta,
        /// Entries up to here may be forgotten.
        compacted_to: u64,
    },
    /// The own snapshot could not be saved; the log goes on without it.
    SnapshotFailed {
        /// Why, for people.
        why: String,
    },
    /// The own snapshot was given up: its state did not come to its end, or one that was received took its place.
    SnapshotAbandoned,
    /// A received snapshot is durable.
    Installed {
        /// As asked.
        number: u64,
        /// What it is.
        meta: SnapshotMeta,
        /// Its state.
        chunks: Vec<Bytes>,
    },
    /// A snapshot to send; none if the newest can't be read, or not from its beginning: another is needed.
    SnapshotLoading {
        /// Who it is for.
        to: u64,
        /// What it is, and its state as it is read. The last piece is missing if it is not what was written.
        snapshot: Option<(SnapshotMeta, mpsc::Receiver<Bytes>)>,
    },
    /// The one that was being loaded is not what was written, or can't be read: another is needed.
    SnapshotUnreadable,
    /// All that lies on the disk was read again.
    Scrubbed {
        /// Some of it has rotted: a snapshot makes it needless.
        wants_snapshot: bool,
    },
    /// The identity is durable.
    MetaSaved,
    /// There was no room for it, and the one before is still there.
    MetaWithoutRoom,
    /// The log can't go on; the node must stop. A sentence for people.
    Fatal(String),
    /// Synced and closed.
    Closed,
}

/// A received snapshot that is to be made the newest.
struct Install {
    number: u64,
    meta: SnapshotMeta,
    chunks: Vec<Bytes>,
    hard_state: Option<HardState>,
    saved: bool,
}

/// An own snapshot that is being written.
struct Saving {
    number: u64,
    meta: SnapshotMeta,
    compact_to: u64,
}

struct Writer<D: Disk> {
    store: LogStore<D>,
    done: mpsc::Sender<LogDone>,
    worker: WorkerLink<D::File>,
    saving: Option<Saving>,
    /// Own snapshots begun so far.
    saves: u64,
    /// Carried out before the appends below, which follow it.
    install: Option<Install>,
    /// Appends not yet written: gathered now, or waiting for room.
    entries: Vec<LogEntry>,
    hard_state: Option<HardState>,
    /// Whether the commit index in it is more than a hint.
    vital: bool,
    bytes: usize,
    /// What was asked and not yet reported: its number, and the last entry that must be durable for it (or for what took the
    /// place of its own entries).
    unreported: VecDeque<(u64, u64)>,
    no_space: bool,
    /// The last group behind which a seal was written or is not needed.
    sealed: u64,
    last_write: Instant,
    last_sync: Instant,
    last_try: Instant,
    /// When all is read again; none while it is.
    scrub_at: Option<Instant>,
}

/// What the loop has waited for.
enum Next<F> {
    Request(Option<LogRequest>),
    Done(Option<Done<F>>),
}

/// Runs until `Close`, until the driver is gone, or until the log can't go on.
pub async fn write_loop<D: Disk>(
    store: LogStore<D>,
    worker: WorkerLink<D::File>,
    mut requests: mpsc::Receiver<LogRequest>,
    done: mpsc::Sender<LogDone>,
) {
    let now = Instant::now();
    let mut writer = Writer {
        sealed: store.group,
        store,
        done,
        worker,
        saving: None,
        saves: 0,
        install: None,
        entries: Vec::new(),
        hard_state: None,
        vital: false,
        bytes: 0,
        unreported: VecDeque::new(),
        no_space: false,
        last_write: now,
        last_sync: now,
        last_try: now,
        scrub_at: None,
    };
    writer.scrub_later();
    loop {
        match writer.step(&mut requests).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                mark::reached(Mark::LogStopped);
                let text = format!("the log can't go on: {error}");
                writer.report(LogDone::Fatal(text)).await;
                return;
            }
        }
    }
}

impl<D: Disk> Writer<D> {
    /// One turn of the loop: requests first, then a piece of the work that is due, so that neither holds up the other.
    async fn step(
        &mut self,
        requests: &mut mpsc::Receiver<LogRequest>,
    ) -> Result<bool, StoreError> {
        let due = self.due();
        let worker = &mut self.worker.done;
        let next = async {
            tokio::select! {
                biased; // a snapshot that is complete lets old log go
                done = worker.recv() => Next::Done(done),
                request = requests.recv() => Next::Request(request),
            }
        };
        let next = match due {
            Some(due) => timeout_at(due, next).await,
            None => Ok(next.await),
        };
        let goes_on = match next {
            Ok(Next::Request(Some(request))) => self.turn(request, requests).await?,
            Ok(Next::Request(None)) => self.close().await?,
            Ok(Next::Done(Some(done))) => {
                self.done(done).await?;
                true
            }
            Ok(Next::Done(None)) => return Err(worker_gone()),
            Err(_elapsed) => true,
        };
        if goes_on && self.due().is_some_and(|due| due <= Instant::now()) {
            self.work().await?;
            // On a node alone the event loop runs on the same thread, and one piece may follow on another without a pause.
            tokio::task::yield_now().await;
        }
        Ok(goes_on)
    }

    /// When there is something to do besides requests.
    fn due(&self) -> Option<Instant> {
        let room = if self.no_space {
            Some(self.last_try + SPACE_RETRY)
        } else if self.store.wants_spare() {
            Some(self.last_write)
        } else if self.wants_seal() {
            Some(self.last_write + SEAL_AFTER)
        } else {
            None
        };
        self.sync_due().into_iter().chain(room).chain(self.scrub_at).min()
    }

    /// When what was written without a sync has waited long enough for one.
    fn sync_due(&self) -> Option<Instant> {
        let waits =
            self.store.config.fsync == Fsync::EverySecond && self.store.synced < self.store.group;
        waits.then(|| self.last_sync + EVERY_SECOND)
    }

    /// Whether everything is durable and no record says so yet.
    fn wants_seal(&self) -> bool {
        self.store.config.fsync != Fsync::No
            && self.store.synced == self.store.group
            && self.sealed < self.store.group
    }

    /// Everything that is queued now; false at the end.
    async fn turn(
        &mut self,
        first: LogRequest,
        requests: &mut mpsc::Receiver<LogRequest>,
    ) -> Result<bool, StoreError> {
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                LogRequest::Append { number, entries, hard_state, vital } => {
                    self.vital |= vital;
                    self.bytes += entries.iter().map(bytes_of).sum::<usize>();
                    self.gather(number, entries);
                    self.hard_state = hard_state.or(self.hard_state);
                    if self.bytes > GROUP_BYTES_MAX {
                        self.write().await?;
                    }
                }
                other => {
                    self.write().await?;
                    if !self.carry_out(other).await? {
                        return Ok(false);
                    }
                }
            }
            next = requests.try_recv().ok();
        }
        self.write().await?;
        Ok(true)
    }

    /// Entries that replace ones still waiting leave no trace of those: whoever asked for those hears of it with these.
    fn gather(&mut self, number: u64, entries: Vec<LogEntry>) {
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let replaced = self.unreported.iter_mut().filter(|(_, reach)| *reach >= first.index);
            replaced.for_each(|(_, reach)| *reach = last.index);
        }
        if self.entries.is_empty() {
            self.entries = entries;
        } else if let Some(first) = entries.first() {
            if self.entries.last().is_some_and(|last| last.index >= first.index) {
                mark::reached(Mark::EntriesReplaced);
            }
            self.entries.retain(|waiting| waiting.index < first.index);
            self.entries.extend(entries);
        }
        let reach = self.entries.last().map_or(0, |last| last.index);
        self.unreported.push_back((number, reach));
    }

    async fn carry_out(&mut self, request: LogRequest) -> Result<bool, StoreError> {
        match request {
            LogRequest::Append { .. } => {}
            LogRequest::SaveSnapshot { meta, pieces, compact_to } => {
                self.begin_save(meta, pieces, compact_to).await?;
            }
            LogRequest::Install { number, meta, chunks, hard_state } => {
                // What still waits was written to the log that the snapshot replaces.
                self.entries.clear();
                self.bytes = 0;
                self.unreported.clear();
                if self.saving.is_some() {
                    mark::reached(Mark::SnapshotOvertaken);
                }
                self.abandon_save().await?;
                let waiting = self.hard_state.take();
                let hard_state = hard_state.or(waiting);
                let saved = is_planted(Canary::InstallNotSaved);
                self.install = Some(Install { number, meta, chunks, hard_state, saved });
                self.write().await?;
            }
            LogRequest::LoadSnapshot { to } => {
                let snapshot = self.begin_load().await?;
                self.report(LogDone::SnapshotLoading { to, snapshot }).await;
            }
            LogRequest::SaveMeta { meta, vital } => {
                let done = match self.store.save_meta(meta).await {
                    Err(error) if !vital && error.is_no_space() => {
                        tracing::warn!("no room to note who is a member now; it is tried again");
                        LogDone::MetaWithoutRoom
                    }
                    saved => saved.map(|()| LogDone::MetaSaved)?,
                };
                self.report(done).await;
            }
            LogRequest::Close => return self.close().await,
        }
        Ok(true)
    }

    /// Writes what was gathered, in groups of a bounded size: each is synced as the mode says, and reported. What finds no room
    /// stays gathered.
    async fn write(&mut self) -> Result<(), StoreError> {
        if !self.install_waiting().await? || self.unreported.is_empty() {
            return Ok(());
        }
        let vital = self.hard_state.is_some_and(|new| {
            let old = self.store.hard_state;
            self.vital
                || new.term != old.term
                || new.vote != old.vote && !is_planted(Canary::VoteNotVital)
        });
        if self.entries.is_empty() && !vital {
            // Only the commit index moved: a hint that goes along with a later group.
            self.store.hard_state = self.hard_state.take().unwrap_or(self.store.hard_state);
            self.written(u64::MAX).await;
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.entries);
        loop {
            let behind = rest.split_off(group_end(&rest));
            let vital = vital && self.hard_state.is_some() || rest.iter().any(|e| e.kind != 0);
            if !self.write_group(self.hard_state, &rest).await? {
                rest.extend(behind);
                self.entries = rest;
                return Ok(());
            }
            if vital || self.store.config.fsync == Fsync::Always {
                self.sync().await?;
            }
            (self.hard_state, self.vital) = (None, false);
            self.bytes = self.bytes.saturating_sub(rest.iter().map(bytes_of).sum());
            let reach = rest.last().filter(|_| !behind.is_empty()).map(|last| last.index);
            self.written(reach.unwrap_or(u64::MAX)).await;
            if behind.is_empty() {
                self.bytes = 0; // entries that were replaced while they waited were counted, too
                return Ok(());
            }
            rest = behind;
        }
    }

    /// Reports what was asked for up to this entry.
    async fn written(&mut self, reach: u64) {
        let mut number = None;
        while let Some((asked, _)) = self.unreported.front().filter(|(_, needed)| *needed <= reach)
        {
            number = Some(*asked);
            self.unreported.pop_front();
        }
        if let Some(number) = number {
            self.report(LogDone::Appended { number }).await;
        }
    }

    /// Writes one group; false if there is no room for it now.
    async fn write_group(
        &mut self,
        hard_state: Option<HardState>,
        entries: &[LogEntry],
    ) -> Result<bool, StoreError> {
        let written = self.store.write_group(hard_state, entries).await;
        self.found_room(written).await
    }

    async fn found_room(&mut self, written: Result<(), AppendError>) -> Result<bool, StoreError> {
        match written {
            Ok(()) => {
                self.last_write = Instant::now();
                Ok(true)
            }
            Err(AppendError::NoSpace) => {
                self.space(false).await;
                Ok(false)
            }
            Err(AppendError::Fatal(error)) => Err(error),
        }
    }

    async fn sync(&mut self) -> Result<(), StoreError> {
        self.last_sync = Instant::now();
        self.store.sync().await
    }

    /// One piece of what is due: syncs, tries again for room, fills the spare, seals.
    async fn work(&mut self) -> Result<(), StoreError> {
        if self.sync_due().is_some_and(|due| due <= Instant::now()) {
            return self.sync().await;
        }
        if self.scrub_at.take_if(|at| *at <= Instant::now()).is_some() {
            return self.ask_worker(Job::Scrub(self.store.scrub())).await;
        }
        if self.no_space {
            self.last_try = Instant::now();
            self.write().await?;
            if !self.unreported.is_empty() || self.install.is_some() {
                return Ok(());
            }
        }
        if self.no_space || self.store.wants_spare() {
            match self.store.prepare_spare(0, SPARE_PIECE_BYTES).await {
                Ok(()) if !self.no_space || !self.store.lacks_spare() => self.space(true).await,
                Ok(()) => self.last_try = Instant::now() - SPACE_RETRY, // the next piece at once
                Err(AppendError::NoSpace) => self.space(false).await,
                Err(AppendError::Fatal(error)) => return Err(error),
            }
            return Ok(());
        }
        if self.wants_seal() && self.last_write + SEAL_AFTER <= Instant::now() {
            self.seal().await?;
        }
        Ok(())
    }

    fn scrub_later(&mut self) {
        self.scrub_at = Some(Instant::now() + self.store.config.scrub_pause);
    }

    /// All was read again. What has rotted is in memory as well: the identity is written again at once, the rest goes with the next
    /// snapshot.
    async fn scrubbed(&mut self, rotten: Option<(Part, StoreError)>) -> Result<(), StoreError> {
        self.scrub_later();
        let wants_snapshot = rotten.as_ref().is_some_and(|(part, _)| *part != Part::Identity);
        if let Some((part, error)) = rotten {
            mark::reached(Mark::RotFound);
            tracing::error!(
                "{error}. This node has in memory what it held, and writes it down anew: nothing is lost. Look at the disk"
            );
            self.store.has_rotted(part);
            if part == Part::Identity {
                match self.store.save_meta(self.store.meta.clone()).await {
                    Err(error) if error.is_no_space() => {
                        tracing::error!("{error} It is tried again.");
                    }
                    saved => saved?,
                }
            }
        }
        self.report(LogDone::Scrubbed { wants_snapshot }).await;
        Ok(())
    }

    /// Adds a record that says how far the log was durable.
    async fn seal(&mut self) -> Result<(), StoreError> {
        let written = self.store.write_seal().await;
        if self.found_room(written).await? {
            self.sync().await?;
            self.sealed = self.store.group;
        }
        Ok(())
    }

    async fn space(&mut self, there_is: bool) {
        self.last_try = Instant::now();
        if self.no_space == there_is {
            self.no_space = !there_is;
            mark::reached(if there_is { Mark::RoomReturned } else { Mark::DiskFilled });
            let done = if there_is { LogDone::SpaceReturned } else { LogDone::NoSpace };
            self.report(done).await;
        }
    }

    /// An own snapshot begins to be written. What the encoder hands over goes into the file beside this loop.
    async fn begin_save(
        &mut self,
        meta: SnapshotMeta,
        pieces: mpsc::Receiver<Piece>,
        compact_to: u64,
    ) -> Result<(), StoreError> {
        self.abandon_save().await?;
        self.saves += 1;
        let number = self.saves;
        let begun = self.store.begin_snapshot(&meta);
        let offset = snapshot::head_bytes(&meta);
        let described = self.store.disk.describe(&snapshot::own_part_name(meta.index));
        self.saving = Some(Saving { number, meta, compact_to });
        match begun {
            Ok(file) => {
                let save = Save { file, number, offset, described, pieces };
                self.ask_worker(Job::Save(save)).await
            }
            Err(error) => self.not_saved(number, error).await,
        }
    }

    /// The worker has done something.
    async fn done(&mut self, done: Done<D::File>) -> Result<(), StoreError> {
        match done {
            Done::Saved(saved) => self.saved(saved).await,
            Done::Published(published) => self.published(published).await,
            Done::Removed(outcome) => outcome,
            Done::Scrubbed(rotten) => self.scrubbed(rotten).await,
            Done::Loaded(loaded) => {
                self.loaded(loaded).await;
                Ok(())
            }
        }
    }

    /// All of the state is durable, or it came to nothing. The log is synced before the file gets its head, which says how far it reached.
    async fn saved(&mut self, saved: Saved<D::File>) -> Result<(), StoreError> {
        let Saved { file, number, outcome } = saved;
        let measured = match outcome {
            Ok(measured) => measured,
            Err(error) => return self.not_saved(number, error).await,
        };
        let Some(saving) = self.saving.as_mut().filter(|saving| saving.number == number) else {
            return Ok(()); // given up meanwhile
        };
        let Some(measured) = measured else { return self.abandon_save().await };
        (saving.meta.bytes, saving.meta.checksum) = measured;
        let meta = saving.meta.clone();
        self.sync().await.map_err(StoreError::made_final)?;
        let head = snapshot::Head { meta, group: self.store.group };
        let storage_id = self.store.meta.storage_id;
        self.ask_worker(Job::Publish(Publish { file, number, storage_id, head })).await
    }

    /// The own snapshot has its name.
    async fn published(&mut self, published: Published) -> Result<(), StoreError> {
        let Published { number, head, outcome } = published;
        if let Err(error) = outcome {
            return self.not_saved(number, error).await;
        }
        let Some(Saving { compact_to, .. }) = self.saving.take_if(|saving| saving.number == number)
        else {
            // Another took its place while it got its name: with that one's next compaction it goes.
            return Ok(());
        };
        self.store.has_saved(&head.meta, head.group);
        let mut compacted_to = self.compact(compact_to, false).await?;
        if self.store.outlives_rot(head.meta.index) {
            compacted_to = self.compact(head.meta.index, true).await?;
        }
        self.report(LogDone::SnapshotSaved { meta: head.meta, compacted_to }).await;
        Ok(())
    }

    /// Without room the log goes on without it. The file of one that was given up is gone.
    async fn not_saved(&mut self, number: u64, error: StoreError) -> Result<(), StoreError> {
        let is_given_up = self.saving.as_ref().is_none_or(|saving| saving.number != number);
        let is_borne = error.is_no_space() || is_given_up && is_not_found(&error);
        if !is_borne {
            return Err(error);
        }
        let Some(saving) = self.saving.take_if(|saving| saving.number == number) else {
            return Ok(());
        };
        remove_if_there(&*self.store.disk, &snapshot::own_part_name(saving.meta.index))?;
        mark::reached(Mark::SnapshotNotSaved);
        self.report(LogDone::SnapshotFailed { why: error.to_string() }).await;
        Ok(())
    }

    async fn ask_worker(&self, job: Job<D::File>) -> Result<(), StoreError> {
        self.worker.jobs.send(job).await.map_err(|_| worker_gone())
    }

    /// The newest snapshot begins to be read.
    async fn begin_load(
        &mut self,
    ) -> Result<Option<(SnapshotMeta, mpsc::Receiver<Bytes>)>, StoreError> {
        let Some((meta, file)) = self.store.open_snapshot() else { return Ok(None) };
        let (pieces, received) = mpsc::channel(PIECES_MAX);
        let load = Load {
            file,
            index: meta.index,
            offset: snapshot::head_bytes(&meta),
            bytes: meta.bytes,
            checksum: meta.checksum,
            described: self.store.disk.describe(&snapshot::name(meta.index)),
            pieces,
        };
        self.ask_worker(Job::Load(load)).await?;
        Ok(Some((meta, received)))
    }

    async fn loaded(&mut self, loaded: Loaded) {
        match loaded.outcome {
            Ok(whole) => self.store.snapshot_read(loaded.index, whole),
            Err(error) => {
                self.store.snapshot_unreadable(loaded.index, &error);
                self.report(LogDone::SnapshotUnreadable).await;
            }
        }
    }

    /// Gives up the own snapshot that is being written, if there is one.
    async fn abandon_save(&mut self) -> Result<(), StoreError> {
        if let Some(Saving { meta, .. }) = self.saving.take() {
            remove_if_there(&*self.store.disk, &snapshot::own_part_name(meta.index))?;
            self.report(LogDone::SnapshotAbandoned).await;
        }
        Ok(())
    }

    /// Deletes what the kept snapshots make needless, but for the newest if all has to go.
    async fn compact(&mut self, compact_to: u64, all: bool) -> Result<u64, StoreError> {
        let (compacted_to, names) = self.store.compact(compact_to, self.no_space || all)?;
        if !names.is_empty() {
            self.ask_worker(Job::Remove(names)).await?;
        }
        Ok(compacted_to)
    }

    /// Carries out an install that waits; false if there is no room for it now.
    async fn install_waiting(&mut self) -> Result<bool, StoreError> {
        let Some(mut install) = self.install.take() else { return Ok(true) };
        let meta = &install.meta;
        if !install.saved {
            match self.store.save_snapshot(meta, &install.chunks).await {
                Ok(()) => {}
                Err(error) if error.is_no_space() => {
                    let part = snapshot::part_name(meta.index);
                    remove_if_there(&*self.store.disk, &part)?;
                    self.install = Some(install);
                    mark::reached(Mark::InstallAwaitedRoom);
                    self.space(false).await;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
            self.store.new_base = Some((meta.index, meta.term));
            install.saved = true;
        }
        if !self.write_group(install.hard_state, &[]).await? {
            self.install = Some(install);
            return Ok(false);
        }
        self.sync().await?;
        let Install { number, meta, chunks, .. } = install;
        self.compact(meta.index, false).await?;
        self.report(LogDone::Installed { number, meta, chunks }).await;
        Ok(true)
    }

    async fn close(&mut self) -> Result<bool, StoreError> {
        self.abandon_save().await?;
        self.write().await?;
        self.sync().await?;
        if self.sealed < self.store.group && !self.no_space {
            self.seal().await?; // so that damage to the last records is never taken for a torn write
        }
        self.report(LogDone::Closed).await;
        Ok(false)
    }

    /// The driver takes these each turn and never waits for this loop; if it is gone there is nobody to tell.
    async fn report(&self, done: LogDone) {
        let _ = self.done.send(done).await;
    }
}

fn is_not_found(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

fn worker_gone() -> StoreError {
    let source = std::io::Error::other("its thread ended unexpectedly");
    StoreError::Io { doing: "save or load a snapshot".to_owned(), source }
}

fn bytes_of(entry: &LogEntry) -> usize {
    entry.payload.len() + 32
}

/// How many of the first entries make one group; at least one, if there is any.
fn group_end(entries: &[LogEntry]) -> usize {
    let mut bytes = 0;
    let fits = entries.iter().take_while(|entry| {
        let first = bytes == 0;
        bytes += bytes_of(entry);
        first || bytes <= GROUP_BYTES_MAX
    });
    fits.count()
}
