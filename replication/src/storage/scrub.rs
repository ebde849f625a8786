//! Reads again what lies on the disk, while the node runs: rot that nobody reads is found only when it is needed.
//!
//! All of it is in memory as well, so what has rotted is made good from there: a snapshot of the state makes old segments and snapshots
//! needless, and the identity is written again. The segment in use is left out: it is read once it is closed.

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
const PIECE_EVERY: std::time::Duration = std::time::Duration::from_millis(60);

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
    /// What is not what was written, twice in a row: a disk may err once. Files that go meanwhile, or can't be opened, are passed over.
    pub(super) async fn run(&self, disk: &impl Disk) -> Vec<(Part, StoreError)> {
        let mut rotten = Vec::new();
        for part in &self.parts {
            for attempt in 0..2 {
                let Err(error) = self.check(disk, *part).await else { break };
                // A file that is removed loses its name before it is cut.
                if attempt == 1 && disk.open(&part.name()).is_ok() {
                    rotten.push((*part, error));
                }
            }
        }
        rotten
    }

    async fn check(&self, disk: &impl Disk, part: Part) -> Result<(), StoreError> {
        let name = part.name();
        let Ok(file) = disk.open(&name) else { return Ok(()) };
        file.forget_cached();
        let described = disk.describe(&name);
        let damaged = |offset, why: &str| StoreError::damaged(described.clone(), offset, why);
        match part {
            Part::Segment(segment, first, last) => {
                let place = Place { storage_id: self.storage_id, segment };
                let checked = check_segment(&file, place, first, last).await;
                checked.map_err(|(offset, why)| damaged(offset, why))
            }
            Part::Snapshot(index) => {
                let head = snapshot::load_head(disk, self.storage_id, index)?;
                let (meta, from) = (&head.meta, snapshot::head_bytes(&head.meta));
                let read = checksum_of(&file, from, meta.bytes).await;
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
    first: u64,
    last: u64,
) -> Result<(), (u64, &'static str)> {
    let front = read_from(file, 0, HEADER_BYTES as usize).unwrap_or_default();
    if SegmentHeader::decode(&front).is_none_or(|header| header.segment != place.segment) {
        return Err((0, "its header does not match its checksum"));
    }
    let mut at = HEADER_BYTES;
    for group in first..=last {
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
        let (body, bytes) = (from + RECORD_HEAD_BYTES as u64, head.body as u64);
        if checksum_of(file, body, bytes).await != Some(head.body_crc) {
            return Err((from, "a record does not match its checksum"));
        }
        at = (body + bytes).next_multiple_of(ALIGNMENT as u64);
    }
    Ok(())
}

/// CRC-32 of so many bytes, read without haste; none if they can't be read.
async fn checksum_of(file: &impl File, mut at: u64, mut bytes: u64) -> Option<u32> {
    let mut hasher = crc32fast::Hasher::new();
    while bytes > 0 {
        let piece = read_exactly_at(file, at, PIECE_BYTES.min(bytes as usize))?;
        hasher.update(&piece);
        at += piece.len() as u64;
        bytes -= piece.len() as u64;
        if piece.len() == PIECE_BYTES {
            sleep(PIECE_EVERY).await;
        }
    }
    Some(hasher.finalize())
}
