//! A simulated disk: a flat directory of files with a page cache that a killed process leaves behind and a power cut does not.
//!
//! At a power cut, each sector written since the last `sync` is kept, lost or torn on its own; so is each directory operation
//! since the last `sync_directory`. A sync makes durable what was there when it began, at the moment when it ends: what is
//! written meanwhile stays dirty. A failed `sync` leaves the pages clean and the bytes not durable, as Linux does.
//! The platter outlives the process: it is held by the world; a process gets a `SimDisk`, whose handles all die with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use steadfast_replication::ports;

use crate::draw::Draws;
use crate::ports::gate::Gate;
use crate::ports::heap;

mod faults;
mod inode;
mod watch;

pub use faults::{Among, Back, DiskFaults, Misdirection, Refusal, Rot};
use inode::Inode;
use watch::Watch;
pub use watch::{IoEvent, IoKind, IoTrigger, Moment};

#[derive(Debug, Clone)]
enum DirectoryOp {
    Create(String, u64),
    /// From, to, and the file that it was: another one may have that name where operations before it are lost.
    Rename(String, String, u64),
    Remove(String),
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
#[derive(Debug, Default)]
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
    watch: Watch,
    mishaps: Vec<String>,
}

/// How long a sync of a sound disk takes at the most. Between a write and the end of its sync a process can be killed and the
/// power can go: without this time nothing would ever be dirty then.
const SYNC_MS_MAX: u64 = 8;

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

    /// An empty disk takes its place.
    pub fn wipe(&mut self) {
        self.inodes.clear();
        self.names.clear();
        self.durable_names.clear();
        self.pending.clear();
    }

    /// Files as they were seen when `backup` was copied take the place of what there is, all of them durable. Copies are new files;
    /// those of a volume that is rolled back are the old ones again.
    pub fn restore_from(&mut self, backup: &Self, way: Back) {
        self.wipe();
        for (name, id) in &backup.names {
            let cached = backup.inodes.get(id).map_or_else(Vec::new, |inode| inode.cached.clone());
            self.next_inode += 1;
            let id = if way == Back::Copied { self.next_inode } else { *id };
            self.inodes.insert(id, Inode::at_rest(cached));
            self.names.insert(name.clone(), id);
        }
        self.durable_names = self.names.clone();
    }

    /// What was to fail once and has not yet, does not.
    pub fn spare(&mut self) {
        let DiskFaults { sync_takes, full, free_bytes, sync_lies, .. } = self.faults;
        self.faults =
            DiskFaults { sync_takes, full, free_bytes, sync_lies, ..DiskFaults::default() };
    }

    /// The next operation that the trigger means kills the process that does it; none: disarmed.
    pub fn arm(&mut self, trigger: Option<IoTrigger>) {
        self.watch.trigger = trigger;
    }

    /// Whether a trigger waits.
    pub fn is_armed(&self) -> bool {
        self.watch.trigger.is_some()
    }

    /// The operation at which a process was killed since this was asked last.
    pub fn take_fired(&mut self) -> Option<IoEvent> {
        self.watch.fired.take()
    }

    /// How many operations of a kind there were.
    pub fn count_of(&self, kind: IoKind) -> u64 {
        self.watch.count_of(kind)
    }

    /// Whether operations are noted for `take_events`. Off at first.
    pub fn note_events(&mut self, noted: bool) {
        self.watch.events = noted.then(|| self.watch.events.take().unwrap_or_default());
    }

    /// The operations that began since this was asked last.
    pub fn take_events(&mut self) -> Vec<IoEvent> {
        self.watch.events.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What hit since this was asked last, in words: of the faults that hit once.
    pub fn take_mishaps(&mut self) -> Vec<String> {
        std::mem::take(&mut self.mishaps)
    }

    /// Names are what the directory on the disk says; files without a name are gone.
    fn forget_nameless(&mut self) {
        self.names = self.durable_names.clone();
        self.forget_unused();
    }

    /// Files that have no name, will have none after a power cut, and are not open are gone.
    fn forget_unused(&mut self) {
        let created = self.pending.iter().filter_map(|(_, op)| match op {
            DirectoryOp::Create(_, id) | DirectoryOp::Rename(_, _, id) => Some(*id),
            DirectoryOp::Remove(_) => None,
        });
        let named = self.names.values().chain(self.durable_names.values()).copied();
        let used: BTreeSet<u64> = named.chain(created).collect();
        self.inodes.retain(|id, inode| inode.handles > 0 || used.contains(id));
    }

    /// What is only still there for a power cut takes no room.
    fn used_bytes(&self) -> u64 {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        let used = self.inodes.iter().filter(|(id, file)| file.handles > 0 || named.contains(id));
        used.map(|(_, inode)| inode.cached.len() as u64).sum()
    }

    /// The files that have a name, and how long they are.
    pub fn files(&self) -> Vec<(String, u64)> {
        let length = |id| self.inodes.get(id).map_or(0, |inode| inode.cached.len() as u64);
        self.names.iter().map(|(name, id)| (name.clone(), length(id))).collect()
    }

    fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.entry(id).or_default()
    }

    /// The present name of a file, or nothing.
    fn name_of(&self, id: u64) -> String {
        let named = self.names.iter().find(|(_, other)| **other == id);
        named.map_or_else(String::new, |(name, _)| name.clone())
    }

    fn named(&self, name: &str) -> io::Result<u64> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is not there"));
        self.names.get(name).copied().ok_or_else(missing)
    }

    fn change(&mut self, op: DirectoryOp) {
        let replaced = match &op {
            DirectoryOp::Create(..) => None,
            DirectoryOp::Remove(name) => self.names.get(name),
            DirectoryOp::Rename(from, to, _) => self.names.get(to).filter(|_| from != to),
        };
        let freed = replaced.and_then(|id| self.inodes.get(id)).map_or(0, |file| file.cached.len());
        self.give_room(freed);
        perform(&mut self.names, &op);
        self.operations += 1;
        self.pending.push((self.operations, op));
    }

    fn create(&mut self, name: &str) -> io::Result<u64> {
        if let Some(refusal) = self.faults.open_fails_once.take() {
            self.mishaps.push(format!("{name} can't be created: {refusal:?}"));
            return Err(refusal.error());
        }
        if self.names.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} exists")));
        }
        if self.faults.full {
            return Err(faults::no_space());
        }
        self.next_inode += 1;
        let id = self.next_inode;
        self.inode(id).handles = 1;
        self.change(DirectoryOp::Create(name.to_owned(), id));
        Ok(id)
    }

    fn open(&mut self, name: &str) -> io::Result<u64> {
        let id = self.named(name)?;
        if let Some(refusal) = self.faults.open_fails_once.take() {
            self.mishaps.push(format!("{name} can't be opened: {refusal:?}"));
            return Err(refusal.error());
        }
        self.inode(id).handles += 1;
        Ok(id)
    }

    fn end_sync_directory(&mut self, before: u64) {
        let count = self.pending.partition_point(|(number, _)| *number <= before);
        for (_, op) in self.pending.drain(..count) {
            perform(&mut self.durable_names, &op);
        }
        self.forget_unused();
    }

    /// A sync has taken its time: whether it has an effect.
    fn sync_outcome(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.faults.sync_fails_once) {
            self.mishaps.push("a sync fails".to_owned());
            return Err(faults::broken());
        }
        Ok(!self.faults.sync_lies)
    }
}

fn perform(names: &mut BTreeMap<String, u64>, op: &DirectoryOp) {
    match op {
        DirectoryOp::Create(name, id) => {
            names.insert(name.clone(), *id);
        }
        DirectoryOp::Rename(from, to, id) => {
            if names.get(from) == Some(id) {
                names.remove(from);
            }
            names.insert(to.clone(), *id);
        }
        DirectoryOp::Remove(name) => {
            names.remove(name);
        }
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
        self.mount_behind(Gate::default())
    }

    /// A process begins to use it. Its handles live as long as its gate is open.
    pub fn mount_behind(&self, gate: Gate) -> SimDisk {
        SimDisk { platter: self.clone(), gate }
    }

    /// Another disk with the same contents and the same faults. Nobody has a file of it open, and nobody watches it.
    #[must_use]
    pub fn copy(&self) -> Self {
        let original = self.lock();
        let mut copy = Platter {
            inodes: original.inodes.clone(),
            names: original.names.clone(),
            durable_names: original.durable_names.clone(),
            pending: original.pending.clone(),
            operations: original.operations,
            next_inode: original.next_inode,
            faults: original.faults,
            delays: original.delays.clone(),
            watch: Watch::default(),
            mishaps: Vec::new(),
        };
        copy.inodes.values_mut().for_each(|inode| inode.handles = 0);
        copy.forget_unused();
        Self(Arc::new(Mutex::new(copy)))
    }

    /// `Platter::restore_from`, of another disk than this one.
    pub fn restore_from(&self, backup: &Self, way: Back) {
        self.lock().restore_from(&backup.lock(), way);
    }
}

/// The disk as one process sees it.
#[derive(Debug, Clone)]
pub struct SimDisk {
    platter: SharedPlatter,
    gate: Gate,
}

/// What an operation is on.
#[derive(Clone, Copy)]
enum On<'a> {
    Name(&'a str),
    Inode(u64),
}

/// An operation that is to kill its process: where in it, and what is told of it.
type Death = Option<(Moment, IoEvent)>;

impl SimDisk {
    /// Makes every handle of the process dead: nothing that runs while it is torn down reaches the disk.
    pub fn kill(&self) {
        self.gate.close();
    }

    /// Behind which its handles are.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    fn dead() -> io::Error {
        io::Error::other("the process that held this disk is dead")
    }

    fn live(&self) -> io::Result<MutexGuard<'_, Platter>> {
        if self.gate.is_closed() { Err(Self::dead()) } else { Ok(self.platter.lock()) }
    }

    /// An operation begins, unless its process dies before.
    fn begin(
        &self,
        kind: IoKind,
        on: On<'_>,
        offset: u64,
        bytes: usize,
    ) -> io::Result<(MutexGuard<'_, Platter>, Death)> {
        let _turn = heap::outside();
        let mut platter = self.live()?;
        platter.watch.count(kind);
        let mut death = None;
        if platter.watch.is_keen() {
            let file = match on {
                On::Name(name) => name.to_owned(),
                On::Inode(id) => platter.name_of(id),
            };
            let event = IoEvent { kind, file, offset, bytes: bytes as u64 };
            if let Some(events) = &mut platter.watch.events {
                events.push(event.clone());
            }
            death = platter.watch.meets(&event).map(|moment| (moment, event));
        }
        self.pass(&mut platter, &mut death, Moment::Before)?;
        Ok((platter, death))
    }

    /// A moment of an operation is reached: this is where the process may die.
    fn pass(&self, platter: &mut Platter, death: &mut Death, reached: Moment) -> io::Result<()> {
        match death.take_if(|(moment, _)| *moment == reached) {
            None => Ok(()),
            Some((_, event)) => {
                platter.watch.fired = Some(event);
                self.gate.close();
                Err(Self::dead())
            }
        }
    }

    /// An operation that takes no time.
    fn at_once<T>(
        &self,
        kind: IoKind,
        on: On<'_>,
        (offset, bytes): (u64, usize),
        effect: impl FnOnce(&mut Platter) -> io::Result<T>,
    ) -> io::Result<T> {
        let (mut platter, mut death) = self.begin(kind, on, offset, bytes)?;
        let _turn = heap::outside();
        let result = effect(&mut platter);
        self.pass(&mut platter, &mut death, Moment::After)?;
        result
    }

    /// Waits as long as a sync takes.
    async fn sync_time(&self, death: &mut Death) -> io::Result<()> {
        let takes = {
            let mut platter = self.live()?;
            let natural = platter.delays.as_mut().map_or(0, |draws| draws.between(0, SYNC_MS_MAX));
            platter.faults.sync_takes + Duration::from_millis(natural)
        };
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        self.pass(&mut *self.live()?, death, Moment::During)
    }

    fn file(&self, inode: u64) -> SimFile {
        SimFile { disk: self.clone(), inode }
    }
}

impl ports::Disk for SimDisk {
    type File = SimFile;

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let opened = self.at_once(IoKind::Open, On::Name(name), (0, 0), |disk| disk.open(name));
        opened.map(|inode| self.file(inode))
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let made = self.at_once(IoKind::Create, On::Name(name), (0, 0), |disk| disk.create(name));
        made.map(|inode| self.file(inode))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.live()?.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.at_once(IoKind::Rename, On::Name(from), (0, 0), |disk| {
            let id = disk.named(from)?;
            disk.change(DirectoryOp::Rename(from.to_owned(), to.to_owned(), id));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.at_once(IoKind::Remove, On::Name(name), (0, 0), |disk| {
            disk.named(name)?;
            disk.change(DirectoryOp::Remove(name.to_owned()));
            Ok(())
        })
    }

    /// One that fails leaves the names to the file system's journal, which tries again.
    async fn sync_directory(&self) -> io::Result<()> {
        let (before, mut death) = {
            let _turn = heap::outside();
            let (platter, death) = self.begin(IoKind::SyncDirectory, On::Name(""), 0, 0)?;
            (platter.operations, death)
        };
        self.sync_time(&mut death).await?;
        let mut platter = self.live()?;
        let outcome = platter.sync_outcome();
        if let Ok(true) = outcome {
            platter.end_sync_directory(before);
        }
        self.pass(&mut platter, &mut death, Moment::After)?;
        outcome.map(drop)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.live()?.room())
    }

    /// Number of the inode, which no other file of this disk ever has.
    fn birth(&self, name: &str) -> io::Result<Option<u128>> {
        Ok(Some(self.live()?.named(name)?.into()))
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

impl Drop for SimFile {
    fn drop(&mut self) {
        let Ok(mut platter) = self.disk.platter.0.lock() else { return };
        let Some(inode) = platter.inodes.get_mut(&self.inode) else { return };
        inode.handles = inode.handles.saturating_sub(1);
        if inode.handles == 0 {
            platter.forget_unused();
        }
    }
}

impl ports::File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.live()?.inode(self.inode).cached.len() as u64)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.at_once(IoKind::SetLen, On::Inode(self.inode), (bytes, 0), |disk| {
            disk.set_len(self.inode, bytes as usize)
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let place = (offset, buffer.len());
        self.disk.at_once(IoKind::Read, On::Inode(self.inode), place, |disk| {
            disk.read(self.inode, buffer, offset as usize)
        })
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let place = (offset, bytes.len());
        self.disk.at_once(IoKind::Write, On::Inode(self.inode), place, |disk| {
            disk.write(self.inode, bytes, offset as usize)
        })
    }

    async fn sync(&mut self) -> io::Result<()> {
        let (flight, mut death) = {
            let (mut platter, death) =
                self.disk.begin(IoKind::Sync, On::Inode(self.inode), 0, 0)?;
            let _turn = heap::outside();
            (platter.inode(self.inode).begin_sync(), death)
        };
        self.disk.sync_time(&mut death).await?;
        let mut platter = self.disk.live()?;
        let outcome = platter.sync_outcome();
        match outcome {
            Ok(true) => platter.inode(self.inode).end_sync(flight),
            Ok(false) => {}
            Err(_) => platter.inode(self.inode).fail_sync(&flight),
        }
        self.disk.pass(&mut platter, &mut death, Moment::After)?;
        outcome.map(drop)
    }
}

#[cfg(test)]
mod tests;
