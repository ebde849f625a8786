//! Writes and reads snapshot files, and removes what they make needless, beside the log: neither the event loop nor an append waits for it.
//!
//! In production it has an OS thread, in the simulation it is a task. What is done, and in which order, the log's loop decides.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ports::{Disk, File};

use super::files::{gone_name, read_from, remove_if_there};
use super::scrub::{Part, Scrub};
use super::snapshot::{self, CHUNK_BYTES, Head};
use super::{Doing, StoreError};

/// Pieces of a state that may be on their way.
pub const PIECES_MAX: usize = 4;
/// Bytes after which a file is synced: a log on the same disk is held up by no more at a time.
const SYNCED_EVERY_BYTES: u64 = 512 << 10;
/// How much of a file is freed at once, and how often.
const FREED_AT_ONCE_BYTES: u64 = 2 << 20;
const FREED_EVERY: Duration = Duration::from_millis(10);
const JOBS_MAX: usize = 16;

/// A piece of the encoded state.
#[derive(Debug)]
pub struct Piece {
    /// What comes next.
    pub bytes: Bytes,
    /// Whether it ends here. A state whose pieces end without it was given up.
    pub is_last: bool,
}

/// What the log's loop wants done.
pub(super) enum Job<F> {
    Save(Save<F>),
    Load(Load<F>),
    Publish(Publish<F>),
    /// Removes files, in this order: the system may take long to free large ones.
    Remove(Vec<String>),
    Scrub(Scrub),
}

/// What was done.
pub(super) enum Done<F> {
    Saved(Saved<F>),
    Loaded(Loaded),
    Published(Published),
    Removed(Result<(), StoreError>),
    /// A round has found this.
    Scrubbed(Option<(Part, StoreError)>),
}

/// A file to be filled.
pub(super) struct Save<F> {
    pub(super) file: F,
    /// Which of all; reported back.
    pub(super) number: u64,
    /// Where the state begins.
    pub(super) offset: u64,
    /// For error messages.
    pub(super) described: String,
    pub(super) pieces: mpsc::Receiver<Piece>,
}

/// How a save ended.
pub(super) struct Saved<F> {
    pub(super) file: F,
    pub(super) number: u64,
    /// Length and CRC-32 of the state, durable; none if it was given up.
    pub(super) outcome: Result<Option<(u64, u32)>, StoreError>,
}

/// A file whose state is durable, to be given its head and its name.
pub(super) struct Publish<F> {
    pub(super) file: F,
    /// As at the save.
    pub(super) number: u64,
    pub(super) storage_id: u128,
    pub(super) head: Head,
}

/// How that ended.
pub(super) struct Published {
    pub(super) number: u64,
    pub(super) head: Head,
    pub(super) outcome: Result<(), StoreError>,
}

/// A file to be read.
pub(super) struct Load<F> {
    pub(super) file: F,
    /// Of the snapshot; reported back.
    pub(super) index: u64,
    /// Where the state begins.
    pub(super) offset: u64,
    /// Length and CRC-32 that it must have. Without its last piece a state that has not is never handed on.
    pub(super) bytes: u64,
    pub(super) checksum: u32,
    /// For error messages.
    pub(super) described: String,
    pub(super) pieces: mpsc::Sender<Bytes>,
}

/// How a load ended.
pub(super) struct Loaded {
    pub(super) index: u64,
    /// Whether all of it was read and is what was written; not if nobody wanted the rest.
    pub(super) outcome: Result<bool, StoreError>,
}

/// See the file's head.
pub struct SnapshotWorker<D: Disk> {
    disk: Arc<D>,
    jobs: mpsc::Receiver<Job<D::File>>,
    done: mpsc::Sender<Done<D::File>>,
}

/// The log's end of it.
pub struct WorkerLink<F> {
    pub(super) jobs: mpsc::Sender<Job<F>>,
    pub(super) done: mpsc::Receiver<Done<F>>,
}

/// A worker and its link.
pub(super) fn pair<D: Disk>(disk: Arc<D>) -> (SnapshotWorker<D>, WorkerLink<D::File>) {
    let (jobs, jobs_received) = mpsc::channel(JOBS_MAX);
    let (done, done_received) = mpsc::channel(JOBS_MAX);
    (SnapshotWorker { disk, jobs: jobs_received, done }, WorkerLink { jobs, done: done_received })
}

impl<D: Disk> SnapshotWorker<D> {
    /// Runs until the log's loop is gone. Must be called inside a `LocalSet`. Jobs go on side by side: one may wait for a slow peer.
    pub async fn run(mut self) {
        let mut running = JoinSet::new();
        loop {
            let job = tokio::select! {
                biased; // one that panicked ends this thread, and the log's loop hears of it
                Some(ended) = running.join_next(), if !running.is_empty() => match ended {
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    _ => continue,
                },
                job = self.jobs.recv() => job,
            };
            let Some(job) = job else { return };
            let (disk, done) = (Arc::clone(&self.disk), self.done.clone());
            running.spawn_local(async move {
                let outcome = match job {
                    Job::Save(save) => Done::Saved(save.run().await),
                    Job::Load(load) => Done::Loaded(load.run().await),
                    Job::Publish(publish) => Done::Published(publish.run(&*disk).await),
                    Job::Scrub(scrub) => Done::Scrubbed(scrub.run(&*disk).await),
                    Job::Remove(names) => Done::Removed(remove(&*disk, &names).await),
                };
                let _ = done.send(outcome).await; // the log's loop is gone: nobody waits for it
            });
        }
    }
}

/// Takes the names first, then frees the files a piece at a time: a system that frees hundreds of megabytes at once lets the log wait.
async fn remove(disk: &impl Disk, names: &[String]) -> Result<(), StoreError> {
    let mut gone = Vec::new();
    for name in names {
        let to = gone_name(name);
        match disk.rename(name, &to) {
            Ok(()) => gone.push(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing(|| format!("remove {}", disk.describe(name))),
        }
    }
    disk.sync_directory().await.doing(|| "sync the data directory".to_owned())?;
    for name in &gone {
        let doing = || format!("remove {}", disk.describe(name));
        let mut file = disk.open(name).doing(doing)?;
        let mut bytes = file.len().doing(doing)?;
        while bytes > FREED_AT_ONCE_BYTES {
            bytes -= FREED_AT_ONCE_BYTES;
            file.set_len(bytes).doing(doing)?;
            sleep(FREED_EVERY).await;
        }
        remove_if_there(disk, name)?;
    }
    Ok(())
}

impl<F: File> Publish<F> {
    async fn run(self, disk: &impl Disk<File = F>) -> Published {
        let outcome = snapshot::finish(disk, self.storage_id, &self.head, self.file).await;
        Published { number: self.number, head: self.head, outcome }
    }
}

impl<F: File> Save<F> {
    async fn run(mut self) -> Saved<F> {
        let outcome = self.fill().await;
        Saved { file: self.file, number: self.number, outcome }
    }

    async fn fill(&mut self) -> Result<Option<(u64, u32)>, StoreError> {
        let doing = |what: &'static str| {
            let described = self.described.clone();
            move || format!("{what} {described}")
        };
        let mut hasher = crc32fast::Hasher::new();
        let (mut bytes, mut unsynced) = (0, 0);
        while let Some(piece) = self.pieces.recv().await {
            hasher.update(&piece.bytes);
            self.file.write_at(&piece.bytes, self.offset + bytes).doing(doing("write"))?;
            bytes += piece.bytes.len() as u64;
            unsynced += piece.bytes.len() as u64;
            if piece.is_last || unsynced >= SYNCED_EVERY_BYTES {
                if !is_planted(Canary::SnapshotUnsynced) {
                    let synced = self.file.sync().await.doing(doing("sync"));
                    synced.map_err(StoreError::made_final)?;
                }
                unsynced = 0;
            }
            if piece.is_last {
                return Ok(Some((bytes, hasher.finalize())));
            }
        }
        Ok(None)
    }
}

impl<F: File> Load<F> {
    async fn run(self) -> Loaded {
        Loaded { index: self.index, outcome: self.read().await }
    }

    async fn read(&self) -> Result<bool, StoreError> {
        let mut hasher = crc32fast::Hasher::new();
        let mut at = 0;
        while at < self.bytes {
            let piece =
                self.piece(self.offset + at, CHUNK_BYTES.min((self.bytes - at) as usize))?;
            hasher.update(&piece);
            at += piece.len() as u64;
            if at == self.bytes && hasher.clone().finalize() != self.checksum {
                let why = "the state does not match its checksum";
                return Err(StoreError::damaged(self.described.clone(), self.offset, why));
            }
            if self.pieces.send(piece.into()).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn piece(&self, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        let piece = read_from(&self.file, offset, length);
        let piece = piece.doing(|| format!("read {}", self.described))?;
        if piece.len() < length {
            let (at, why) = (offset + piece.len() as u64, "it ends too early");
            return Err(StoreError::damaged(self.described.clone(), at, why));
        }
        Ok(piece)
    }
}
