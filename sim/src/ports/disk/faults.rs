//! What goes wrong with a disk: operations that fail, writes that go astray, and rot of what is at rest.
//!
//! A fault named `once` or `next` hits the next operation of its kind and is over. Errors are those of Linux.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::draw::Draws;

use super::Platter;
use super::inode::SECTOR_BYTES;

/// Bytes of the device, when nothing else is said.
const DEVICE_BYTES: u64 = 1 << 30;

/// How often a place to rot is drawn, until it is one that is at rest.
const TRIES: usize = 16;

/// The numbers of Linux.
const EIO: i32 = 5;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

pub(super) fn broken() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

pub(super) fn no_space() -> io::Error {
    io::Error::from_raw_os_error(ENOSPC)
}

/// Why a file can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// EACCES.
    Denied,
    /// EMFILE: the process has too many files open.
    TooManyFiles,
}

impl Refusal {
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(if self == Self::Denied { EACCES } else { EMFILE })
    }
}

/// Where a write lands instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdirection {
    /// In the same file, so many bytes further on, or back.
    By(i64),
    /// At the same place of the next file by name.
    OtherFile,
}

/// What goes wrong with a disk.
#[allow(clippy::struct_excessive_bools)] // each goes wrong on its own
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// How long a sync takes.
    pub sync_takes: Duration,
    /// The next sync fails. The pages of its file are marked clean and are not durable: a second sync says that all is well.
    pub sync_fails_once: bool,
    /// No write finds room, and no new file either.
    pub full: bool,
    /// Room for so many more bytes; what does not fit is written in part. None: the device's own size.
    pub free_bytes: Option<u64>,
    /// A sync says that it succeeded and did nothing (a planted bug: acknowledging before fsync).
    pub sync_lies: bool,
    /// The next write fails, after so many hundredths of its bytes have arrived.
    pub write_fails_once: Option<u64>,
    /// The next read fails.
    pub read_fails_once: bool,
    /// The next file that is opened or created is refused.
    pub open_fails_once: Option<Refusal>,
    /// So many next writes say that they succeeded and write nothing.
    pub phantom_writes: u64,
    /// The next write says that it succeeded and lands elsewhere.
    pub misdirect_next: Option<Misdirection>,
}

/// How what is at rest rots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rot {
    /// One bit is another one.
    BitFlip,
    /// One to eight sectors can't be read before they are written anew.
    BadSectors,
    /// A sector holds zeroes.
    ZeroedSector,
}

/// How a disk gets an older state back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Back {
    /// From a copy: the files are new ones with the old contents.
    #[default]
    Copied,
    /// The whole volume goes back, and nothing in it can tell.
    RolledBack,
}

/// Some of the files of a data directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Among {
    /// All.
    #[default]
    Any,
    /// Segments of the log.
    Segments,
    /// Snapshots, those that are being written included.
    Snapshots,
    /// The node's identity, also while it is written.
    Identity,
    /// Those whose names begin so.
    Named(&'static str),
}

impl Among {
    /// Whether a file is one of them.
    pub fn holds(self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Segments => name.starts_with("log-"),
            Self::Snapshots => name.starts_with("snapshot-"),
            Self::Identity => name.starts_with("meta"),
            Self::Named(prefix) => name.starts_with(prefix),
        }
    }
}

impl Platter {
    /// What is at rest rots, somewhere in the durable data of one of these files; none if there is no such data. Answers what was
    /// done in words. It is seen at once: as if nothing of the place were in memory.
    pub fn rot(&mut self, rot: Rot, among: Among, draws: &mut Draws) -> Option<String> {
        let sound = |(name, id): (&String, &u64)| {
            let end = self.inodes.get(id).map_or(0, super::Inode::data_end);
            (among.holds(name) && end > 0).then(|| (name.clone(), *id, end))
        };
        let files: Vec<_> = self.durable_names.iter().filter_map(sound).collect();
        let at = draws.below(files.len() as u64) as usize;
        let (name, id, end) = files.into_iter().nth(at)?;
        let inode = self.inodes.get_mut(&id)?;
        let places = std::iter::repeat_with(|| draws.below(end as u64) as usize);
        let counts = |offset: &usize| {
            inode.is_at_rest(*offset) && (rot != Rot::ZeroedSector || !inode.is_zero(*offset))
        };
        let offset = places.take(TRIES).find(counts)?;
        let sector = offset / SECTOR_BYTES;
        Some(match rot {
            Rot::BitFlip => {
                let bit = draws.below(8) as u32;
                inode.flip(offset, bit);
                format!("bit {bit} of byte {offset} of {name} is flipped")
            }
            Rot::BadSectors => {
                let count = draws.between(1, 8) as usize;
                (sector..sector + count).for_each(|sector| inode.spoil(sector));
                format!("{count} sectors of {name} from byte {} on are bad", sector * SECTOR_BYTES)
            }
            Rot::ZeroedSector => {
                let struck = inode.strike(&[0; SECTOR_BYTES], sector * SECTOR_BYTES);
                format!("{struck} bytes of {name} at {} are zero", sector * SECTOR_BYTES)
            }
        })
    }

    /// Bytes that still find room.
    pub(super) fn room(&self) -> u64 {
        match (self.faults.full, self.faults.free_bytes) {
            (true, _) => 0,
            (false, Some(free)) => free,
            (false, None) => DEVICE_BYTES.saturating_sub(self.used_bytes()),
        }
    }

    /// A file is about to reach this length; answers the one that it may have.
    fn take_room(&mut self, id: u64, wanted: usize) -> usize {
        let old = self.inode(id).cached.len();
        // What all files use is added up only where it matters: the files of a sound disk are few and small.
        if wanted <= old || (!self.faults.full && self.faults.free_bytes.is_none()) {
            return wanted;
        }
        let taken = self.room().min((wanted - old) as u64);
        self.faults.free_bytes = self.faults.free_bytes.map(|free| free.saturating_sub(taken));
        old + taken as usize
    }

    /// Files are gone or shorter.
    pub(super) fn give_room(&mut self, bytes: usize) {
        self.faults.free_bytes = self.faults.free_bytes.map(|free| free + bytes as u64);
    }

    pub(super) fn set_len(&mut self, id: u64, new: usize) -> io::Result<()> {
        let old = self.inode(id).cached.len();
        let fits = self.take_room(id, new);
        if fits < new {
            self.give_room(fits - old);
            return Err(no_space());
        }
        self.give_room(old.saturating_sub(new));
        self.inode(id).set_len(new);
        Ok(())
    }

    pub(super) fn read(&mut self, id: u64, buffer: &mut [u8], offset: usize) -> io::Result<usize> {
        if std::mem::take(&mut self.faults.read_fails_once) {
            self.mishap(id, offset, "a read fails");
            return Err(broken());
        }
        self.inode(id).read(buffer, offset).ok_or_else(broken)
    }

    pub(super) fn write(&mut self, id: u64, bytes: &[u8], offset: usize) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(hundredths) = self.faults.write_fails_once.take() {
            let arrives = bytes.len() * hundredths.min(99) as usize / 100;
            let what = format!("a write fails after {arrives} of {} bytes", bytes.len());
            self.mishap(id, offset, &what);
            let arrived = bytes.get(..arrives).unwrap_or_default();
            return self.write(id, arrived, offset).and_then(|()| Err(broken()));
        }
        let end = offset + bytes.len();
        let fits = self.take_room(id, end);
        if fits < end {
            if fits > offset {
                self.inode(id).write(bytes.get(..fits - offset).unwrap_or_default(), offset);
            }
            return Err(no_space());
        }
        if self.faults.phantom_writes > 0 {
            self.faults.phantom_writes -= 1;
            self.mishap(id, offset, &format!("a write of {} bytes is lost", bytes.len()));
            self.lengthen(id, end);
        } else if let Some(misdirection) = self.faults.misdirect_next.take() {
            self.lengthen(id, end);
            self.misdirect(id, bytes, offset, misdirection);
        } else {
            self.inode(id).write(bytes, offset);
        }
        Ok(())
    }

    /// The length of a file stands elsewhere than its bytes: it grows also when these go astray.
    fn lengthen(&mut self, id: u64, end: usize) {
        let inode = self.inode(id);
        if end > inode.cached.len() {
            inode.set_len(end);
        }
    }

    /// A write lands elsewhere, where it overwrites what there is; it makes no file longer.
    fn misdirect(&mut self, id: u64, bytes: &[u8], offset: usize, misdirection: Misdirection) {
        let target = match misdirection {
            Misdirection::By(by) => {
                offset.checked_add_signed(by as isize).map(|elsewhere| (id, elsewhere))
            }
            Misdirection::OtherFile => {
                let own = self.name_of(id);
                let (before, behind): (Vec<_>, Vec<_>) =
                    self.names.iter().partition(|(name, _)| **name <= own);
                let mut others = behind.into_iter().chain(before);
                others.find(|(_, other)| **other != id).map(|(_, other)| (*other, offset))
            }
        };
        let mut text = format!("a write of {} bytes is lost", bytes.len());
        if let Some((other, elsewhere)) = target {
            let struck = self.inode(other).strike(bytes, elsewhere);
            let name = self.name_of(other);
            text = format!(
                "a write of {} bytes lands in {name} at {elsewhere}, as far as that reaches: {struck} bytes",
                bytes.len()
            );
        }
        self.mishap(id, offset, &text);
    }

    pub(super) fn mishap(&mut self, id: u64, offset: usize, what: &str) {
        let name = self.name_of(id);
        self.mishaps.push(format!("{name} at {offset}: {what}"));
    }
}
