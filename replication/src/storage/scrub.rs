//! Reads again what lies on the disk, while the node runs: rot that nobody reads is found only when it is needed.
//!
//! All of it is in memory as well, so what has rotted is made good from there: a snapshot of the state makes old segments and snapshots
//! needless, and the identity is written again. The segment in use is left out: it is read once it is closed.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use tokio::time::sleep;

use super::files::{read_exactly_at, read_from};
use super::record::{
    ALIGNMENT, HEADER_BYTES, Place, RECORD_HEAD_BYTES, SECTOR_BYTES, SegmentHeader, decode_head,
};
use super::segment::segment_name;
use super::{NodeMeta, StoreError, snapshot};
use crate::ports::{Disk, File};

/// Bytes that are read at once, and how often: a mebibyte a second, which no disk notices.
const PIECE_BYTES: usize = 64 << 10;
const PIECE_EVERY: Duration = Duration::from_millis(60);

/// Rests after so many bytes, whatever they are of.
#[derive(Default)]
struct Pace {
    bytes: usize,
}

impl Pace {
    async fn has_read(&mut self, bytes: usize) {
        self.bytes += bytes.max(SECTOR_BYTES as usize);
        if self.bytes >= PIECE_BYTES {
            self.bytes = 0;
            sleep(PIECE_EVERY).await;
        }
    }
}

/// A file that is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A segment that is not written any more, with its first and last group.
    Segment(u64, u64, u64),
    /// The snapshot of an index.
    Snapshot(u64),
    /// Whose directory it is.
    Identity,
}

impl Part {
    fn name(self) -> String {
        match self {
            Self::Segment(segment, ..) => segment_name(segment),
            Self::Snapshot(index) => snapshot::name(index),
            Self::Identity => super::meta::NAME.to_owned(),
        }
    }
}

/// One round.
pub(super) struct Scrub {
    pub(super) storage_id: u128,
    pub(super) parts: Vec<Part>,
}

impl Scrub {
    /// The first that is not what was written, twice in a row: a disk may err once. Files that go meanwhile, or can't be opened, are passed
    /// over.
    pub(super) async fn run(&self, disk: &impl Disk) -> Option<(Part, StoreError)> {
        let mut pace = Pace::default();
        for part in &self.parts {
            if self.check(disk, *part, &mut pace).await.is_ok() {
                continue;
            }
            let Err(error) = self.check(disk, *part, &mut pace).await else { continue };
            // A file that is removed loses its name before it is cut.
            if disk.open(&part.name()).is_ok() {
                return Some((*part, error));
            }
        }
        None
    }

    async fn check(&self, disk: &impl Disk, part: Part, pace: &mut Pace) -> Result<(), StoreError> {
        let name = part.name();
        let Ok(file) = disk.open(&name) else { return Ok(()) };
        file.forget_cached();
        let described = disk.describe(&name);
        let damaged = |offset, why: &str| StoreError::damaged(described.clone(), offset, why);
        match part {
            Part::Segment(segment, first, last) => {
                let place = Place { storage_id: self.storage_id, segment };
                let checked = check_segment(&file, place, first..=last, pace).await;
                checked.map_err(|(offset, why)| damaged(offset, why))
            }
            Part::Snapshot(index) => {
                let head = snapshot::load_head(disk, self.storage_id, index)?;
                let (meta, from) = (&head.meta, snapshot::head_bytes(&head.meta));
                let read = checksum_of(&file, from, meta.bytes, pace).await;
                let why = "the state does not match its checksum";
                let is_whole = read.is_some_and(|checksum| checksum == meta.checksum);
                if is_whole { Ok(()) } else { Err(damaged(from, why)) }
            }
            Part::Identity => NodeMeta::load(disk, &[name]).map(drop),
        }
    }
}

/// Walks over the records of a closed segment, as recovery does. An error says where what is wrong.
async fn check_segment(
    file: &impl File,
    place: Place,
    groups: RangeInclusive<u64>,
    pace: &mut Pace,
) -> Result<(), (u64, &'static str)> {
    let front = read_from(file, 0, HEADER_BYTES as usize).unwrap_or_default();
    let header = SegmentHeader::decode(&front).filter(|header| header.segment == place.segment);
    let header = header.ok_or((0, "its header does not match its checksum"))?;
    let mut at = HEADER_BYTES;
    for group in groups {
        let here = |at| {
            let head = read_exactly_at(file, at, RECORD_HEAD_BYTES)?;
            decode_head(&head, place).filter(|head| head.number == group)
        };
        // A seal begins the next sector.
        let sector = at.next_multiple_of(SECTOR_BYTES);
        let found = [at, sector].into_iter().find_map(|at| here(at).map(|head| (at, head)));
        let Some((from, head)) = found else {
            return Err((at, "a record does not match its checksum, or is missing"));
        };
        check_zeroes(file, at..from, pace).await?;
        let (body, bytes) = (from + RECORD_HEAD_BYTES as u64, head.body as u64);
        if checksum_of(file, body, bytes, pace).await != Some(head.body_crc) {
            return Err((from, "a record does not match its checksum"));
        }
        at = (body + bytes).next_multiple_of(ALIGNMENT as u64);
    }
    check_zeroes(file, at..header.bytes, pace).await
}

/// Between records, and behind them, there are zeroes, and nothing is missing.
async fn check_zeroes(
    file: &impl File,
    range: Range<u64>,
    pace: &mut Pace,
) -> Result<(), (u64, &'static str)> {
    let mut at = range.start;
    while at < range.end {
        let wanted = PIECE_BYTES.min((range.end - at) as usize);
        let piece = read_exactly_at(file, at, wanted);
        if piece.is_none_or(|piece| piece.iter().any(|byte| *byte != 0)) {
            return Err((at, "there is something, or nothing, where there were zeroes"));
        }
        at += wanted as u64;
        pace.has_read(wanted).await;
    }
    Ok(())
}

/// CRC-32 of so many bytes, read without haste; none if they can't be read.
async fn checksum_of(
    file: &impl File,
    mut at: u64,
    mut bytes: u64,
    pace: &mut Pace,
) -> Option<u32> {
    let mut hasher = crc32fast::Hasher::new();
    while bytes > 0 {
        let piece = read_exactly_at(file, at, PIECE_BYTES.min(bytes as usize))?;
        hasher.update(&piece);
        at += piece.len() as u64;
        bytes -= piece.len() as u64;
        pace.has_read(piece.len()).await;
    }
    Some(hasher.finalize())
}
