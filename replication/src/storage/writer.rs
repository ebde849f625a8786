//! The log thread's loop: takes everything queued, writes it as one group, syncs once, reports.
//!
//! In production it has an OS thread, so that `fdatasync` blocks nobody; in the simulator it is a task. Requests are
//! carried out in order. When there is no room, appends wait here and are tried again; nothing is half-written.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::ports::Disk;

use super::segment::{AppendError, LogStore};
use super::{Fsync, HardState, LogEntry, NodeMeta, SnapshotMeta, StoreError, snapshot};

/// How long the log may lie still before a record is added that says how far it was durable: with it, damage to the last
/// data record is told from a torn write.
const SEAL_AFTER: Duration = Duration::from_millis(200);
/// Pause between tries when there is no room.
const SPACE_RETRY: Duration = Duration::from_millis(500);
/// Pause between the steps of filling a spare segment while nothing else is to be done.
const SPARE_STEP: Duration = Duration::from_millis(1);
/// Bytes gathered into one group at the most.
const GROUP_BYTES_MAX: usize = 8 << 20;
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
    },
    /// Saves the own state as a snapshot, then deletes what is not needed any more.
    SaveSnapshot {
        /// Index, term and membership; size and checksum are filled in here.
        meta: SnapshotMeta,
        /// The state.
        chunks: Vec<Bytes>,
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
    SaveMeta(NodeMeta),
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
    /// A received snapshot is durable.
    Installed {
        /// As asked.
        number: u64,
        /// What it is.
        meta: SnapshotMeta,
        /// Its state.
        chunks: Vec<Bytes>,
    },
    /// A snapshot to send; none if there is none that can be read.
    SnapshotLoaded {
        /// Who it is for.
        to: u64,
        /// What it is, and its state.
        snapshot: Option<(SnapshotMeta, Vec<Bytes>)>,
    },
    /// The identity is durable.
    MetaSaved,
    /// The log can't go on; the node must stop. A sentence for people.
    Fatal(String),
    /// Synced and closed.
    Closed,
}

struct Writer<D: Disk> {
    store: LogStore<D>,
    done: mpsc::Sender<LogDone>,
    /// Appends not yet written: gathered now, or waiting for room.
    entries: Vec<LogEntry>,
    hard_state: Option<HardState>,
    bytes: usize,
    number: Option<u64>,
    no_space: bool,
    sealed: u64,
    last_sync: Instant,
}

/// Runs until `Close`, until the driver is gone, or until the log can't go on.
pub async fn write_loop<D: Disk>(
    store: LogStore<D>,
    mut requests: mpsc::Receiver<LogRequest>,
    done: mpsc::Sender<LogDone>,
) {
    let sealed = store.group;
    let mut writer = Writer {
        store,
        done,
        entries: Vec::new(),
        hard_state: None,
        bytes: 0,
        number: None,
        no_space: false,
        sealed,
        last_sync: Instant::now(),
    };
    loop {
        let request = match writer.pause() {
            Some(pause) => timeout(pause, requests.recv()).await,
            None => Ok(requests.recv().await),
        };
        let outcome = match request {
            Ok(Some(request)) => writer.turn(request, &mut requests).await,
            Ok(None) => writer.close().await,
            Err(_elapsed) => writer.while_idle().await,
        };
        match outcome {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                writer.report(LogDone::Fatal(format!("the log can't go on: {error}")));
                return;
            }
        }
    }
}

impl<D: Disk> Writer<D> {
    /// How long to wait for requests before there is something to do without one.
    fn pause(&self) -> Option<Duration> {
        if self.no_space {
            return Some(SPACE_RETRY);
        }
        if self.store.wants_spare() {
            return Some(SPARE_STEP);
        }
        if self.store.synced < self.store.group && self.store.config.fsync == Fsync::EverySecond {
            return Some(EVERY_SECOND.saturating_sub(self.last_sync.elapsed()));
        }
        (self.sealed < self.store.group && self.store.config.fsync == Fsync::Always)
            .then_some(SEAL_AFTER)
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
                LogRequest::Append { number, entries, hard_state } => {
                    self.bytes +=
                        entries.iter().map(|entry| entry.payload.len() + 32).sum::<usize>();
                    self.entries.extend(entries);
                    self.hard_state = hard_state.or(self.hard_state);
                    self.number = Some(number);
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

    async fn carry_out(&mut self, request: LogRequest) -> Result<bool, StoreError> {
        match request {
            LogRequest::Append { .. } => {}
            LogRequest::SaveSnapshot { meta, chunks, compact_to } => {
                self.save_snapshot(meta, &chunks, compact_to).await?;
            }
            LogRequest::Install { number, meta, chunks, hard_state } => {
                self.install(&meta, &chunks).await?;
                self.hard_state = hard_state.or(self.hard_state);
                self.write().await?;
                self.report(LogDone::Installed { number, meta, chunks });
            }
            LogRequest::LoadSnapshot { to } => {
                let newest = self.store.snapshots.last().map(|snapshot| snapshot.index);
                let (disk, id) = (&self.store.disk, self.store.meta.storage_id);
                let loaded = newest.map(|index| snapshot::load(disk, id, index));
                if let Some(Err(error)) = &loaded {
                    tracing::error!("a snapshot can't be sent: {error}");
                }
                let snapshot = loaded.and_then(Result::ok);
                self.report(LogDone::SnapshotLoaded { to, snapshot });
            }
            LogRequest::SaveMeta(meta) => {
                self.store.save_meta(meta).await?;
                self.report(LogDone::MetaSaved);
            }
            LogRequest::Close => return self.close().await,
        }
        Ok(true)
    }

    /// Writes what was gathered as one group, syncs as the mode says, reports.
    async fn write(&mut self) -> Result<(), StoreError> {
        let Some(number) = self.number else { return Ok(()) };
        let vital = self.hard_state.is_some_and(|new| {
            let old = self.store.hard_state;
            (new.term, new.vote) != (old.term, old.vote)
        }) || self.entries.iter().any(|entry| entry.kind != 0);
        if self.entries.is_empty() && !vital {
            // Only the commit index moved: a hint that goes along with the next group.
            self.store.hard_state = self.hard_state.take().unwrap_or(self.store.hard_state);
        } else {
            match self.store.write_group(self.hard_state, &self.entries).await {
                Ok(()) => {}
                Err(AppendError::NoSpace) => {
                    self.space(false);
                    return Ok(());
                }
                Err(AppendError::Fatal(error)) => return Err(error),
            }
            if vital || self.store.config.fsync == Fsync::Always {
                self.sync().await?;
            }
            self.entries.clear();
            self.hard_state = None;
            self.bytes = 0;
        }
        self.number = None;
        self.report(LogDone::Appended { number });
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), StoreError> {
        self.last_sync = Instant::now();
        self.store.sync().await
    }

    /// What is done while no request comes: tries again for room, fills the spare, syncs, seals.
    async fn while_idle(&mut self) -> Result<bool, StoreError> {
        if self.no_space {
            self.write().await?;
        }
        if self.no_space && self.number.is_some() {
            return Ok(true);
        }
        if self.no_space || self.store.wants_spare() {
            match self.store.prepare_spare(0).await {
                Ok(()) => self.space(true),
                Err(AppendError::NoSpace) => self.space(false),
                Err(AppendError::Fatal(error)) => return Err(error),
            }
            return Ok(true);
        }
        if self.store.synced < self.store.group {
            self.sync().await?;
            return Ok(true);
        }
        if self.sealed < self.store.group {
            match self.store.write_group(None, &[]).await {
                Ok(()) => self.sync().await?,
                Err(AppendError::NoSpace) => self.space(false),
                Err(AppendError::Fatal(error)) => return Err(error),
            }
            self.sealed = self.store.group;
        }
        Ok(true)
    }

    fn space(&mut self, there_is: bool) {
        if self.no_space == there_is {
            self.no_space = !there_is;
            self.report(if there_is { LogDone::SpaceReturned } else { LogDone::NoSpace });
        }
    }

    async fn save_snapshot(
        &mut self,
        mut meta: SnapshotMeta,
        chunks: &[Bytes],
        compact_to: u64,
    ) -> Result<(), StoreError> {
        (meta.bytes, meta.checksum) = snapshot::measure(chunks);
        let saved =
            snapshot::save(&self.store.disk, self.store.meta.storage_id, &meta, chunks).await;
        match saved {
            Ok(()) => {
                self.store.snapshots.push(meta.clone());
                let compacted_to = self.store.compact(compact_to).await?;
                self.report(LogDone::SnapshotSaved { meta, compacted_to });
            }
            Err(StoreError::Io { doing, source }) if super::is_no_space(&source) => {
                let part = snapshot::part_name(meta.index);
                super::meta::remove_if_there(&self.store.disk, &part)?;
                self.report(LogDone::SnapshotFailed { why: format!("{doing}: {source}") });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn install(&mut self, meta: &SnapshotMeta, chunks: &[Bytes]) -> Result<(), StoreError> {
        snapshot::save(&self.store.disk, self.store.meta.storage_id, meta, chunks).await?;
        self.store.snapshots.push(meta.clone());
        Ok(())
    }

    async fn close(&mut self) -> Result<bool, StoreError> {
        self.write().await?;
        self.sync().await?;
        self.report(LogDone::Closed);
        Ok(false)
    }

    fn report(&self, done: LogDone) {
        // The driver drains this channel each turn; if it is gone there is nobody to tell.
        let _ = self.done.try_send(done);
    }
}
