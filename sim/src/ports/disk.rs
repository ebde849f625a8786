//! A simulated disk: a flat directory of files with a page cache that a killed process leaves behind and a power cut does not.
//!
//! At a power cut, each sector written since the last `sync` is kept, lost or torn on its own; so is each directory operation
//! since the last `sync_directory`. A sync makes durable what was there when it began, at the moment when it ends: what is
//! written meanwhile stays dirty. A failed `sync` leaves the pages clean and the bytes not durable, as Linux does.
//! The platter outlives the process: it is held by the world; a process gets a `SimDisk`, whose handles all die with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use steadfast_replication::ports;

use crate::draw::Draws;

/// Bytes that a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors of `cached` that may differ from `durable`, each with the number of its last write.
    dirty: BTreeMap<usize, u64>,
    /// Number of the last write that changed the length; none if the length is durable.
    length_dirty: Option<u64>,
    writes: u64,
}

/// What a sync found dirty when it began.
struct Flight {
    length: usize,
    length_dirty: Option<u64>,
    sectors: Vec<(usize, u64, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum DirectoryOp {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

/// What goes wrong with a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// How long a sync takes.
    pub sync_takes: Duration,
    /// The next sync fails.
    pub sync_fails_once: bool,
    /// No write finds room.
    pub full: bool,
    /// A sync says that it succeeded and did nothing (a planted bug: acknowledging before fsync).
    pub sync_lies: bool,
}

/// What a power cut took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Sectors that were written and not synced.
    pub sectors: u64,
    /// Directory operations that were not synced.
    pub names: u64,
}

/// The disk itself.
#[derive(Debug, Clone, Default)]
pub struct Platter {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Directory operations that are not durable, with their numbers, in order.
    pending: Vec<(u64, DirectoryOp)>,
    operations: u64,
    next_inode: u64,
    /// What goes wrong with it now.
    pub faults: DiskFaults,
    /// How long each sync takes by nature; none: no time at all.
    pub delays: Option<Draws>,
}

/// How long a sync of a sound disk takes at the most. Between a write and the end of its sync a process can be killed and the
/// power can go: without this time nothing would ever be dirty then.
const SYNC_MS_MAX: u64 = 8;

/// Bytes of the device, when it is not full.
const DEVICE_BYTES: u64 = 1 << 30;

impl Platter {
    /// The power goes: what was not synced survives in parts, as the draws say.
    pub fn power_cut(&mut self, draws: &mut Draws) -> Losses {
        let mut lost = Losses::default();
        let (keep_sectors, keep_names) =
            (draws.pick(&[0, 0, 10, 50, 90, 100]), draws.pick(&[0, 50, 100]));
        let torn = draws.chance(50);
        for inode in self.inodes.values_mut() {
            lost.sectors += inode.power_cut(draws, keep_sectors, torn);
        }
        for (_, op) in std::mem::take(&mut self.pending) {
            if draws.chance(keep_names) {
                perform(&mut self.durable_names, &op);
            } else {
                lost.names += 1;
            }
        }
        self.forget_nameless();
        lost
    }

    /// The power goes, and nothing of what was not synced survives.
    pub fn lose_unsynced(&mut self) {
        self.inodes.values_mut().for_each(Inode::lose_unsynced);
        self.pending.clear();
        self.forget_nameless();
    }

    /// Names are what the directory on the disk says; files without a name are gone.
    fn forget_nameless(&mut self) {
        self.names = self.durable_names.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|id, _| named.contains(id));
    }

    fn used_bytes(&self) -> u64 {
        self.inodes.values().map(|inode| inode.cached.len() as u64).sum()
    }

    fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.entry(id).or_default()
    }
}

fn perform(names: &mut BTreeMap<String, u64>, op: &DirectoryOp) {
    match op {
        DirectoryOp::Create(name, id) => {
            names.insert(name.clone(), *id);
        }
        DirectoryOp::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        DirectoryOp::Remove(name) => {
            names.remove(name);
        }
    }
}

impl Inode {
    /// Answers how many sectors were lost.
    fn power_cut(&mut self, draws: &mut Draws, keep_percent: u64, torn: bool) -> u64 {
        let mut lost = 0;
        if self.length_dirty.is_some() && draws.chance(keep_percent) {
            self.durable.resize(self.cached.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            let (start, end) = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
            if draws.chance(keep_percent) {
                let keep =
                    if torn && draws.chance(30) { start + draws.below(512) as usize } else { end };
                let keep = keep.min(self.cached.len()).min(self.durable.len());
                if let (Some(to), Some(from)) =
                    (self.durable.get_mut(start..keep), self.cached.get(start..keep))
                {
                    to.copy_from_slice(from);
                }
            } else {
                lost += 1;
            }
        }
        self.lose_unsynced();
        lost
    }

    fn lose_unsynced(&mut self) {
        self.cached.clone_from(&self.durable);
        self.dirty.clear();
        self.length_dirty = None;
    }

    fn begin_sync(&self) -> Flight {
        let bytes = |sector: usize| {
            let end = ((sector + 1) * SECTOR_BYTES).min(self.cached.len());
            self.cached.get(sector * SECTOR_BYTES..end).unwrap_or_default().to_vec()
        };
        Flight {
            length: self.cached.len(),
            length_dirty: self.length_dirty,
            sectors: self.dirty.iter().map(|(at, write)| (*at, *write, bytes(*at))).collect(),
        }
    }

    fn end_sync(&mut self, flight: Flight) {
        self.durable.resize(flight.length, 0);
        for (sector, write, bytes) in flight.sectors {
            let start = sector * SECTOR_BYTES;
            if let Some(to) = self.durable.get_mut(start..start + bytes.len()) {
                to.copy_from_slice(&bytes);
            }
            if self.dirty.get(&sector) == Some(&write) {
                self.dirty.remove(&sector);
            }
        }
        if self.length_dirty == flight.length_dirty {
            self.length_dirty = None;
        }
    }

    fn touch(&mut self, start: usize, end: usize) {
        self.writes += 1;
        if end > start {
            let touched = start / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES;
            self.dirty.extend(touched.map(|sector| (sector, self.writes)));
        }
    }

    /// The length changed, with the last `touch`.
    fn touch_length(&mut self) {
        self.length_dirty = Some(self.writes);
    }
}

/// A disk of the world. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SharedPlatter(Arc<Mutex<Platter>>);

impl SharedPlatter {
    /// The disk itself.
    pub fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("no holder of the disk panics")
    }

    /// A process begins to use it. Its handles live until `kill`.
    pub fn mount(&self) -> SimDisk {
        SimDisk { platter: self.clone(), alive: Arc::new(AtomicBool::new(true)) }
    }

    /// Another disk with the same contents.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }
}

/// The disk as one process sees it.
#[derive(Debug, Clone)]
pub struct SimDisk {
    platter: SharedPlatter,
    alive: Arc<AtomicBool>,
}

impl SimDisk {
    /// Makes every handle of the process dead: nothing that runs while it is torn down reaches the disk.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    fn live(&self) -> io::Result<MutexGuard<'_, Platter>> {
        if self.alive.load(Ordering::Relaxed) {
            return Ok(self.platter.lock());
        }
        Err(io::Error::other("the process that held this disk is dead"))
    }

    fn named(&self, name: &str) -> io::Result<u64> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is not there"));
        self.live()?.names.get(name).copied().ok_or_else(missing)
    }

    fn change(&self, op: DirectoryOp) -> io::Result<()> {
        let mut platter = self.live()?;
        perform(&mut platter.names, &op);
        platter.operations += 1;
        let number = platter.operations;
        platter.pending.push((number, op));
        Ok(())
    }

    /// Waits as long as a sync takes; answers whether it may take effect.
    async fn sync_time(&self) -> io::Result<bool> {
        let takes = {
            let mut platter = self.live()?;
            let natural = platter.delays.as_mut().map_or(0, |draws| draws.between(0, SYNC_MS_MAX));
            platter.faults.sync_takes + Duration::from_millis(natural)
        };
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let mut platter = self.live()?;
        if std::mem::take(&mut platter.faults.sync_fails_once) {
            for inode in platter.inodes.values_mut() {
                inode.dirty.clear(); // the pages are marked clean, and the bytes are not durable
            }
            return Err(io::Error::other("simulated failure of a sync"));
        }
        Ok(!platter.faults.sync_lies)
    }
}

impl ports::Disk for SimDisk {
    type File = SimFile;

    fn open(&self, name: &str) -> io::Result<SimFile> {
        Ok(SimFile { disk: self.clone(), inode: self.named(name)? })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let inode = {
            let mut platter = self.live()?;
            if platter.names.contains_key(name) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} exists")));
            }
            if platter.faults.full {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "simulated full disk"));
            }
            platter.next_inode += 1;
            let inode = platter.next_inode;
            platter.inodes.insert(inode, Inode::default());
            inode
        };
        self.change(DirectoryOp::Create(name.to_owned(), inode))?;
        Ok(SimFile { disk: self.clone(), inode })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.live()?.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.named(from)?;
        self.change(DirectoryOp::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.named(name)?;
        self.change(DirectoryOp::Remove(name.to_owned()))
    }

    async fn sync_directory(&self) -> io::Result<()> {
        let before = self.live()?.operations;
        if self.sync_time().await? {
            let mut platter = self.live()?;
            let platter = &mut *platter;
            let count = platter.pending.partition_point(|(number, _)| *number <= before);
            for (_, op) in platter.pending.drain(..count) {
                perform(&mut platter.durable_names, &op);
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let platter = self.live()?;
        Ok(if platter.faults.full { 0 } else { DEVICE_BYTES.saturating_sub(platter.used_bytes()) })
    }

    fn describe(&self, name: &str) -> String {
        format!("disk/{name}")
    }
}

/// An open file.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl ports::File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.live()?.inode(self.inode).cached.len() as u64)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        let mut platter = self.disk.live()?;
        let grows = bytes > platter.inode(self.inode).cached.len() as u64;
        if grows && platter.faults.full {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "simulated full disk"));
        }
        let inode = platter.inode(self.inode);
        let (old, new) = (inode.cached.len(), bytes as usize);
        inode.cached.resize(new, 0);
        inode.touch(old.min(new), old.max(new));
        inode.touch_length();
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut platter = self.disk.live()?;
        let bytes = platter.inode(self.inode).cached.get(offset as usize..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        let (head, _) = buffer.split_at_mut(count);
        head.copy_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut platter = self.disk.live()?;
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let grows = end > platter.inode(self.inode).cached.len();
        if grows && platter.faults.full {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "simulated full disk"));
        }
        let inode = platter.inode(self.inode);
        if grows {
            inode.touch(inode.cached.len(), end);
            inode.cached.resize(end, 0);
            inode.touch_length();
        }
        if let Some(place) = inode.cached.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        inode.touch(start, end);
        Ok(())
    }

    async fn sync(&mut self) -> io::Result<()> {
        let flight = self.disk.live()?.inode(self.inode).begin_sync();
        if self.disk.sync_time().await? {
            self.disk.live()?.inode(self.inode).end_sync(flight);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::{Disk as _, File as _};
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    /// A future that needs no waiting.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("a sync without delay waited"),
        }
    }

    fn bytes(disk: &SimDisk, name: &str) -> Vec<u8> {
        let file = disk.open(name).expect("it is there");
        let mut buffer = vec![0; file.len().expect("it has a length") as usize];
        file.read_at(&mut buffer, 0).expect("it reads");
        buffer
    }

    /// A killed process leaves its cache behind; its handles are dead.
    #[test]
    fn kill_keeps_the_cache() {
        let platter = SharedPlatter::default();
        let disk = platter.mount();
        let mut file = disk.create("a").expect("it is new");
        file.write_at(b"hello", 0).expect("there is room");
        disk.kill();
        assert!(file.write_at(b"x", 0).is_err() && now(file.sync()).is_err());
        assert_eq!(bytes(&platter.mount(), "a"), b"hello");
    }

    /// What was synced, name included, is always there; what was not is there in parts or not at all.
    #[test]
    fn a_power_cut_keeps_what_was_synced() {
        let (mut kept_whole, mut kept_part, mut name_lost) = (0, 0, 0);
        for seed in 0..200 {
            let platter = SharedPlatter::default();
            let disk = platter.mount();
            let mut file = disk.create("a").expect("it is new");
            file.write_at(&[1; 4096], 0).expect("there is room");
            now(file.sync()).expect("it syncs");
            now(disk.sync_directory()).expect("it syncs");
            file.write_at(&[2; 4096], 2048).expect("there is room");
            disk.create("b").expect("it is new");
            platter.lock().power_cut(&mut Draws::new(seed, "cut"));
            let after = bytes(&platter.mount(), "a");
            assert!(after.iter().take(2048).all(|byte| *byte == 1), "synced bytes");
            assert!(after.iter().all(|byte| *byte <= 2));
            let new = after.iter().fold(0, |sum, byte| sum + usize::from(*byte == 2));
            kept_whole += usize::from(new == 4096);
            kept_part += usize::from(new > 0 && new < 4096);
            name_lost += usize::from(platter.mount().open("b").is_err());
        }
        assert!(kept_whole > 0 && kept_part > 0 && name_lost > 0 && name_lost < 200);
    }

    /// After a failed sync the next one succeeds, and the bytes are gone with the power all the same.
    #[test]
    fn a_failed_sync_loses_bytes() {
        let platter = SharedPlatter::default();
        let disk = platter.mount();
        let mut file = disk.create("a").expect("it is new");
        file.write_at(&[1; 512], 0).expect("there is room");
        now(file.sync()).expect("it syncs");
        now(disk.sync_directory()).expect("it syncs");
        file.write_at(&[2; 512], 0).expect("there is room");
        platter.lock().faults.sync_fails_once = true;
        assert!(now(file.sync()).is_err());
        now(file.sync()).expect("the second one says that all is well");
        assert_eq!(bytes(&disk, "a"), [2; 512]);
        platter.lock().power_cut(&mut Draws::new(1, "cut"));
        assert_eq!(bytes(&platter.mount(), "a"), [1; 512]);
    }

    /// What is written while a sync is under way is not durable by it, and what the sync found is not before it ends.
    #[test]
    fn a_sync_covers_what_was_there_when_it_began() {
        let platter = SharedPlatter::default();
        let disk = platter.mount();
        let mut file = disk.create("a").expect("it is new");
        now(disk.sync_directory()).expect("it syncs");
        file.write_at(&[1; 1024], 0).expect("there is room");
        let flight = platter.lock().inode(file.inode).begin_sync();
        let early = platter.copy();
        file.write_at(&[2; 512], 512).expect("there is room");
        platter.lock().inode(file.inode).end_sync(flight);
        early.lock().lose_unsynced();
        assert_eq!(bytes(&early.mount(), "a"), b"");
        let mut kept = BTreeSet::new();
        for seed in 0..50 {
            let copy = platter.copy();
            copy.lock().power_cut(&mut Draws::new(seed, "cut"));
            let after = bytes(&copy.mount(), "a");
            assert_eq!(after.get(..512), Some(&[1; 512][..]));
            kept.insert(after.get(600).copied());
        }
        assert_eq!(kept, BTreeSet::from([Some(1), Some(2)]));
    }

    /// A full disk refuses growth with the error that the log store looks for.
    #[test]
    fn a_full_disk_refuses() {
        let platter = SharedPlatter::default();
        let disk = platter.mount();
        let mut file = disk.create("a").expect("it is new");
        file.write_at(&[1; 10], 0).expect("there is room");
        platter.lock().faults.full = true;
        let error = file.write_at(&[2; 10], 5).expect_err("it grows");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        file.write_at(&[2; 5], 5).expect("what is there can be overwritten");
        assert_eq!(disk.free_bytes().expect("it answers"), 0);
    }
}
