//! One file of the simulated disk: what a process sees of it, what survives a power cut, and which sectors may differ.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::draw::Draws;

/// Bytes that a disk writes at once or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) cached: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Sectors of `cached` that may differ from `durable`, each with the number of its last write.
    dirty: BTreeMap<usize, u64>,
    /// Number of the last write that changed the length; none if the length is durable.
    length_dirty: Option<u64>,
    writes: u64,
    /// Sectors that can't be read before they are written anew.
    bad: BTreeSet<usize>,
    /// Open files of it: it lives as long as there is one, also without a name.
    pub(super) handles: u32,
}

/// What a sync found dirty when it began.
pub(super) struct Flight {
    length: usize,
    length_dirty: Option<u64>,
    sectors: Vec<(usize, u64, Vec<u8>)>,
}

fn sectors(bytes: Range<usize>) -> Range<usize> {
    bytes.start / SECTOR_BYTES..bytes.end.div_ceil(SECTOR_BYTES)
}

impl Inode {
    /// A file that is durable as it is.
    pub(super) fn at_rest(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), cached: bytes, ..Self::default() }
    }

    /// Answers how many sectors were lost.
    pub(super) fn power_cut(&mut self, draws: &mut Draws, keep_percent: u64, torn: bool) -> u64 {
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

    pub(super) fn lose_unsynced(&mut self) {
        self.cached.clone_from(&self.durable);
        self.dirty.clear();
        self.length_dirty = None;
        self.handles = 0;
    }

    pub(super) fn begin_sync(&self) -> Flight {
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

    pub(super) fn end_sync(&mut self, flight: Flight) {
        self.durable.resize(flight.length, 0);
        for (sector, write, bytes) in flight.sectors {
            let start = sector * SECTOR_BYTES;
            if let Some(to) = self.durable.get_mut(start..start + bytes.len()) {
                to.copy_from_slice(&bytes);
            }
            self.clean(sector, write);
        }
        if self.length_dirty == flight.length_dirty {
            self.length_dirty = None;
        }
    }

    /// A sync failed: its pages are marked clean, and the bytes are not durable. The length is of the file system's journal,
    /// which tries again.
    pub(super) fn fail_sync(&mut self, flight: &Flight) {
        for (sector, write, _) in &flight.sectors {
            self.clean(*sector, *write);
        }
    }

    fn clean(&mut self, sector: usize, write: u64) {
        if self.dirty.get(&sector) == Some(&write) {
            self.dirty.remove(&sector);
        }
    }

    fn touch(&mut self, bytes: Range<usize>) {
        self.writes += 1;
        let number = self.writes;
        self.dirty.extend(sectors(bytes).map(|sector| (sector, number)));
    }

    pub(super) fn set_len(&mut self, new: usize) {
        let old = self.cached.len();
        self.cached.resize(new, 0);
        self.touch(old.min(new)..old.max(new));
        self.length_dirty = Some(self.writes);
    }

    /// As many bytes as there are from an offset on; none if a sector of them is bad.
    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> Option<usize> {
        let bytes = self.cached.get(offset..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        if !self.bad.is_empty() && self.bad.range(sectors(offset..offset + count)).next().is_some()
        {
            return None;
        }
        let (head, _) = buffer.split_at_mut(count);
        head.copy_from_slice(bytes.get(..count).unwrap_or_default());
        Some(count)
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.cached.len() {
            self.set_len(end);
        }
        if let Some(place) = self.cached.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        self.touch(offset..end);
        if !self.bad.is_empty() {
            let whole = offset.div_ceil(SECTOR_BYTES)..end / SECTOR_BYTES;
            self.bad.retain(|sector| !whole.contains(sector));
        }
    }

    /// Bytes arrive on the disk that nobody meant for this place; what stands behind the end of the file is not changed.
    pub(super) fn strike(&mut self, bytes: &[u8], offset: usize) -> usize {
        let mut struck = 0;
        for side in [&mut self.cached, &mut self.durable] {
            let end = (offset + bytes.len()).min(side.len());
            if let (Some(to), Some(from)) =
                (side.get_mut(offset..end), bytes.get(..end.saturating_sub(offset)))
            {
                to.copy_from_slice(from);
                struck = from.len();
            }
        }
        struck
    }

    /// Where the data ends that is at rest: behind it is nothing but zeroes that keep a place.
    pub(super) fn data_end(&self) -> usize {
        let both = self.durable.len().min(self.cached.len());
        let durable = self.durable.get(..both).unwrap_or_default();
        durable.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }

    /// Whether what is seen at this place is what would survive.
    pub(super) fn is_at_rest(&self, offset: usize) -> bool {
        !self.dirty.contains_key(&(offset / SECTOR_BYTES))
    }

    /// Whether the sector at this place holds nothing.
    pub(super) fn is_zero(&self, offset: usize) -> bool {
        let start = offset / SECTOR_BYTES * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.durable.len());
        self.durable.get(start..end).unwrap_or_default().iter().all(|byte| *byte == 0)
    }

    pub(super) fn flip(&mut self, offset: usize, bit: u32) {
        for side in [&mut self.cached, &mut self.durable] {
            if let Some(byte) = side.get_mut(offset) {
                *byte ^= 1 << bit;
            }
        }
    }

    pub(super) fn spoil(&mut self, sector: usize) {
        self.bad.insert(sector);
    }
}
