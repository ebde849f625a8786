//! A deterministic disk in memory for tests and fuzzing: what was not synced can be lost, in any subset of sectors and
//! directory operations, and errors can be asked for. The simulator has a larger one of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::ports::{Disk, File};

const SECTOR_BYTES: usize = 512;

/// The disk. Clones share it: keep one to cut the power.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    /// Names as the running system sees them, and as they are on the platter.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What its files say of their birth; none if they can't.
    birth: Option<u128>,
    /// What a new directory is named by, if it is drawn here.
    id: Option<u128>,
    operations: u64,
    fail_at: Option<(u64, Failure)>,
    free_bytes: Option<u64>,
    /// What all files together may take.
    capacity: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that the system still means to write.
    dirty: BTreeSet<usize>,
}

/// What goes wrong at an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The operation and all later ones fail: the process is dead.
    Crash,
    /// One sync fails, and as on Linux what it did not write counts as written from then on: a later sync does not write it.
    Sync,
}

/// A file of it.
#[derive(Debug)]
pub struct MemoryFile {
    state: Arc<Mutex<State>>,
    at: usize,
}

impl MemoryDisk {
    /// A disk with these files, all durable.
    pub fn with_files(files: BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::default();
        {
            let mut state = disk.lock();
            for (name, bytes) in files {
                let at = state.files.len();
                state.files.push(Content {
                    now: bytes.clone(),
                    durable: bytes,
                    dirty: BTreeSet::new(),
                });
                state.names.insert(name.clone(), at);
                state.durable_names.insert(name, at);
            }
        }
        disk
    }

    /// Lets files tell their birth, which is this one for all of them: a copy of the disk has another.
    #[must_use]
    pub fn born(self, birth: u128) -> Self {
        self.lock().birth = Some(birth);
        self
    }

    /// Draws this id for a new directory.
    #[must_use]
    pub fn drawing(self, id: u128) -> Self {
        self.lock().id = Some(id);
        self
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files as the running system sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let content = |at: &usize| state.files.get(*at).map(|file| file.now.clone());
        state.names.iter().filter_map(|(name, at)| Some((name.clone(), content(at)?))).collect()
    }

    /// The disk after the power was cut: of what was not synced, `keep` decides sector by sector (and name by name).
    #[must_use]
    pub fn after_power_cut(&self, mut keep: impl FnMut() -> bool) -> Self {
        let state = self.lock();
        let mut names = state.durable_names.clone();
        for (name, at) in &state.names {
            if state.durable_names.get(name) != Some(at) && keep() {
                names.insert(name.clone(), *at);
            }
        }
        for name in state.durable_names.keys() {
            if !state.names.contains_key(name) && keep() {
                names.remove(name);
            }
        }
        let mut files = BTreeMap::new();
        for (name, at) in names {
            let Some(content) = state.files.get(at) else { continue };
            let mut bytes = content.durable.clone();
            if content.now.len() > bytes.len() && keep() {
                bytes.resize(content.now.len(), 0);
            }
            for (sector, now) in content.now.chunks(SECTOR_BYTES).enumerate() {
                let start = sector * SECTOR_BYTES;
                let end = (start + now.len()).min(bytes.len());
                if content.dirty.contains(&sector)
                    && let Some(old) = bytes.get_mut(start..end)
                    && let Some(now) = now.get(..old.len())
                    && old != now
                    && keep()
                {
                    old.copy_from_slice(now);
                }
            }
            files.insert(name, bytes);
        }
        let after = Self::with_files(files);
        after.lock().birth = state.birth;
        after
    }

    /// Lets an operation fail; they are counted from 1.
    pub fn fail_at(&self, operation: u64, failure: Failure) {
        self.lock().fail_at = Some((operation, failure));
    }

    /// Changing operations so far: creations, renames, removals, writes, syncs.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Says how much all files together may take; none = plenty. Removing one makes room.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Says how much room there is for files to grow; none = plenty. Removing a file gives nothing back.
    pub fn set_free_bytes(&self, bytes: Option<u64>) {
        self.lock().free_bytes = bytes;
    }
}

impl State {
    /// Bytes that files can still grow by; none = plenty.
    fn room(&self) -> Option<u64> {
        let length = |at: &usize| self.files.get(*at).map_or(0, |file| file.now.len() as u64);
        let left =
            self.capacity.map(|all| all.saturating_sub(self.names.values().map(length).sum()));
        self.free_bytes.into_iter().chain(left).min()
    }

    fn step(&mut self, is_sync: bool) -> io::Result<()> {
        self.operations += 1;
        match self.fail_at {
            Some((at, Failure::Crash)) if self.operations >= at => {
                Err(io::Error::other("the process is dead"))
            }
            Some((at, Failure::Sync)) if self.operations >= at && is_sync => {
                self.fail_at = None;
                Err(io::Error::other("the disk could not sync"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the next operation finds the process dead.
    fn is_dead(&self) -> bool {
        matches!(self.fail_at, Some((at, Failure::Crash)) if self.operations + 1 >= at)
    }

    fn file(&mut self, at: usize) -> io::Result<&mut Content> {
        self.files.get_mut(at).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let at = self.lock().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(MemoryFile { state: Arc::clone(&self.state), at })
    }

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let mut state = self.lock();
        state.step(false)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.room() == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let at = state.files.len();
        state.names.insert(name.to_owned(), at);
        state.files.push(Content::default());
        Ok(MemoryFile { state: Arc::clone(&self.state), at })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().rev().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.step(false)?;
        let at = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), at);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.step(false)?;
        state.names.remove(name);
        Ok(())
    }

    async fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.step(true)?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.lock().room().unwrap_or(u64::MAX))
    }

    fn birth(&self, _name: &str) -> io::Result<Option<u128>> {
        Ok(self.lock().birth)
    }

    fn draw_id(&self) -> Option<u128> {
        self.lock().id
    }

    fn describe(&self, name: &str) -> String {
        format!("memory/{name}")
    }
}

impl MemoryFile {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().file(self.at)?.now.len() as u64)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.step(false)?;
        state.file(self.at)?.now.resize(bytes as usize, 0);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.lock();
        let content = state.file(self.at)?;
        let rest = content.now.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.step(false)?;
        let length = state.file(self.at)?.now.len() as u64;
        let grows = (offset + bytes.len() as u64).saturating_sub(length);
        let fits = state.room().map_or(grows, |free| grows.min(free));
        state.free_bytes = state.free_bytes.map(|free| free - fits);
        // As a system does it: what there is room for is written, then the error comes.
        let written = (bytes.len() as u64).saturating_sub(grows - fits) as usize;
        let end = offset as usize + written;
        let content = state.file(self.at)?;
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        if let (Some(to), Some(from)) =
            (content.now.get_mut(offset as usize..end), bytes.get(..written))
        {
            to.copy_from_slice(from);
        }
        content.dirty.extend(offset as usize / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        if fits < grows { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    async fn sync(&mut self) -> io::Result<()> {
        let mut state = self.lock();
        let dead = state.is_dead();
        let step = state.step(true);
        let content = state.file(self.at)?;
        if dead {
            return step;
        }
        let dirty = std::mem::take(&mut content.dirty);
        if step.is_ok() {
            content.durable.resize(content.now.len(), 0);
            for sector in dirty {
                let end = ((sector + 1) * SECTOR_BYTES).min(content.now.len());
                let range = sector * SECTOR_BYTES..end;
                if let (Some(to), Some(from)) =
                    (content.durable.get_mut(range.clone()), content.now.get(range))
                {
                    to.copy_from_slice(from);
                }
            }
        }
        step
    }
}

/// Runs a future that never waits: all of this disk's are ready at once.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
