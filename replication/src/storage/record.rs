//! Segment headers and records, byte by byte. All integers are little-endian.
//!
//! ```text
//! segment = header · (record · zeroes up to a sector, now and then)* · zeroes
//! header  = magic "SFSEG\0\0\1" · storage id u128 · segment u64 · first group u64 · file bytes u64 · crc32 u32 (of all before)
//!           · zeroes up to 64 bytes
//! record  = head · body · zeroes up to a multiple of 8
//! head    = mark u32 · length u32 (of the body) · segment u64 · group u64 · synced u64 · crc32 u32 (of the body)
//!           · crc32 u32 (of the storage id and all of the head before)
//! body    = flags u8 · [1: term u64 · vote u64 · commit u64] · [2: index u64 · term u64] · [4: reach u64] · entry*
//! entry   = index u64 · term u64 · kind u8 · length u32 · payload
//! ```
//!
//! A record is one *group*: what was written and synced together. Groups are numbered without gaps over all segments.
//! `synced` is the last group that was durable when this one was written: it is what tells a torn tail from damage. The head
//! has a checksum of its own, so that it can bear witness even where its body is torn; the storage id in it, which no client
//! knows, keeps a payload that looks like a record from being taken for one.
//!
//! A record that is there to bear witness for the ones before it (a seal) begins a sector of its own: what takes their sector,
//! which is the least that a disk loses at once, leaves it.
//!
//! Flag 1 is the hard state, flag 2 the *base* (an installed snapshot: the log before this group ends there, and nothing of
//! it is kept), flag 4 the *reach* (the last index before this group). Each segment's first record has flags 1 and 4, so that
//! the segments before it can be deleted, and so that a snapshot that is gone is noticed.

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};

use super::{HardState, LogEntry, Reader};

pub(super) const HEADER_BYTES: u64 = 64;
pub(super) const RECORD_HEAD_BYTES: usize = 40;
pub(super) const ALIGNMENT: usize = 8;
/// What a disk writes, and loses, as one.
pub(super) const SECTOR_BYTES: u64 = 512;
const SEGMENT_MAGIC: &[u8; 8] = b"SFSEG\0\0\x01";
/// Bytes of a head that its checksum covers, and the most that a prologue takes with its flags.
const HEAD_COVERED: usize = 36;
const PROLOGUE_BYTES_MAX: usize = 49;
const RECORD_MARK: u32 = 0x5245_4346;

/// A segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub(super) storage_id: u128,
    pub(super) segment: u64,
    pub(super) first_group: u64,
    /// Length of the file: it is filled with zeroes and synced before it is used, so a shorter one was cut.
    pub(super) bytes: u64,
}

impl SegmentHeader {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = SEGMENT_MAGIC.to_vec();
        bytes.extend(self.storage_id.to_le_bytes());
        bytes.extend(self.segment.to_le_bytes());
        bytes.extend(self.first_group.to_le_bytes());
        bytes.extend(self.bytes.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(HEADER_BYTES as usize, 0);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.take(8)? != SEGMENT_MAGIC {
            return None;
        }
        let header = Self {
            storage_id: reader.u128()?,
            segment: reader.u64()?,
            first_group: reader.u64()?,
            bytes: reader.u64()?,
        };
        let covered = bytes.get(..48)?;
        (reader.u32()? == crc32fast::hash(covered)).then_some(header)
    }
}

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) storage_id: u128,
    pub(super) segment: u64,
}

/// What a record's head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupHead {
    pub(super) number: u64,
    /// The last group known to be durable when this one was written.
    pub(super) synced: u64,
    pub(super) body: usize,
    pub(super) body_crc: u32,
}

/// What a record holds besides entries. See the file's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Prologue {
    pub(super) hard_state: Option<HardState>,
    /// Index and term of an installed snapshot.
    pub(super) base: Option<(u64, u64)>,
    pub(super) reach: Option<u64>,
}

/// A decoded record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Group {
    pub(super) number: u64,
    /// The last group known to be durable when this one was written.
    pub(super) synced: u64,
    pub(super) prologue: Prologue,
    pub(super) entries: Vec<LogEntry>,
    /// Bytes of the record, padding included.
    pub(super) bytes: usize,
}

/// Appends one group, numbered `(group, synced)`, as a record.
pub(super) fn encode_group(
    out: &mut Vec<u8>,
    place: Place,
    (group, synced): (u64, u64),
    prologue: Prologue,
    entries: &[LogEntry],
) {
    let start = out.len();
    out.resize(start + RECORD_HEAD_BYTES, 0);
    let Prologue { hard_state, base, reach } = prologue;
    out.push(
        u8::from(hard_state.is_some())
            | u8::from(base.is_some()) << 1
            | u8::from(reach.is_some()) << 2,
    );
    if let Some(hard_state) = hard_state {
        out.extend(hard_state.term.to_le_bytes());
        out.extend(hard_state.vote.to_le_bytes());
        out.extend(hard_state.commit.to_le_bytes());
    }
    if let Some((index, term)) = base {
        out.extend(index.to_le_bytes());
        out.extend(term.to_le_bytes());
    }
    out.extend(reach.map(u64::to_le_bytes).iter().flatten());
    for entry in entries {
        out.extend(entry.index.to_le_bytes());
        out.extend(entry.term.to_le_bytes());
        out.push(entry.kind);
        out.extend((entry.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&entry.payload);
    }
    let body = out.get(start + RECORD_HEAD_BYTES..).unwrap_or_default();
    let mut head = [0; RECORD_HEAD_BYTES];
    let fields: [&[u8]; 6] = [
        &RECORD_MARK.to_le_bytes(),
        &(body.len() as u32).to_le_bytes(),
        &place.segment.to_le_bytes(),
        &group.to_le_bytes(),
        &synced.to_le_bytes(),
        &crc32fast::hash(body).to_le_bytes(),
    ];
    let bytes = padded(RECORD_HEAD_BYTES + body.len());
    for (to, from) in head.iter_mut().zip(fields.into_iter().flatten()) {
        *to = *from;
    }
    let crc = head_checksum(&head, place);
    for (to, from) in head.iter_mut().skip(HEAD_COVERED).zip(crc.to_le_bytes()) {
        *to = from;
    }
    if let Some(to) = out.get_mut(start..start + RECORD_HEAD_BYTES) {
        to.copy_from_slice(&head);
    }
    out.resize(start + bytes, 0);
}

/// The most that the record of these entries takes.
pub(super) fn group_bytes(entries: &[LogEntry]) -> usize {
    let body: usize = entries.iter().map(|entry| 21 + entry.payload.len()).sum();
    padded(RECORD_HEAD_BYTES + PROLOGUE_BYTES_MAX + body)
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

fn head_checksum(head: &[u8], place: Place) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.storage_id.to_le_bytes());
    hasher.update(head.get(..HEAD_COVERED).unwrap_or_default());
    hasher.finalize()
}

/// The head at the start of `bytes`, if it is valid and belongs to this place.
pub(super) fn decode_head(bytes: &[u8], place: Place) -> Option<GroupHead> {
    let head = bytes.get(..RECORD_HEAD_BYTES)?;
    let mut reader = Reader(head);
    if reader.u32()? != RECORD_MARK {
        return None;
    }
    let body = reader.u32()? as usize;
    let segment = reader.u64()?;
    let (number, synced, body_crc) = (reader.u64()?, reader.u64()?, reader.u32()?);
    let valid = segment == place.segment && reader.u32()? == head_checksum(head, place);
    valid.then_some(GroupHead { number, synced, body, body_crc })
}

/// The record at the start of `bytes`, if it is whole, valid, and belongs to this place.
pub(super) fn decode_group(bytes: &Bytes, place: Place) -> Option<Group> {
    let head = decode_head(bytes, place)?;
    let body = bytes.get(RECORD_HEAD_BYTES..RECORD_HEAD_BYTES + head.body)?;
    if crc32fast::hash(body) != head.body_crc && !is_planted(Canary::TornTailAccepted) {
        return None;
    }
    let mut reader = Reader(body);
    let flags = reader.u8().filter(|flags| *flags < 8)?;
    let mut prologue = Prologue::default();
    if flags & 1 != 0 {
        let (term, vote, commit) = (reader.u64()?, reader.u64()?, reader.u64()?);
        prologue.hard_state = Some(HardState { term, vote, commit });
    }
    if flags & 2 != 0 {
        prologue.base = Some((reader.u64()?, reader.u64()?));
    }
    if flags & 4 != 0 {
        prologue.reach = Some(reader.u64()?);
    }
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        let (index, term, kind) = (reader.u64()?, reader.u64()?, reader.u8()?);
        let length = reader.u32()? as usize;
        let payload = bytes.slice_ref(reader.take(length)?);
        entries.push(LogEntry { index, term, kind, payload });
    }
    let bytes = padded(RECORD_HEAD_BYTES + head.body);
    Some(Group { number: head.number, synced: head.synced, prologue, entries, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, payload: &'static [u8]) -> LogEntry {
        LogEntry { index, term: 3, kind: 0, payload: Bytes::from_static(payload) }
    }

    const HERE: Place = Place { storage_id: 77, segment: 5 };

    /// What is written is read again, and the size was foretold.
    #[test]
    fn groups_round_trip() {
        let entries = [entry(7, b"seven"), entry(8, b"")];
        let hard_state = Some(HardState { term: 3, vote: 2, commit: 6 });
        for prologue in [
            Prologue::default(),
            Prologue { hard_state, base: Some((6, 2)), reach: Some(9) },
            Prologue { reach: Some(6), ..Prologue::default() },
        ] {
            let mut bytes = Vec::new();
            encode_group(&mut bytes, HERE, (9, 8), prologue, &entries);
            assert!(bytes.len() <= group_bytes(&entries) && bytes.len() % ALIGNMENT == 0);
            let bytes = Bytes::from(bytes);
            let group = decode_group(&bytes, HERE).expect("it was just written");
            assert_eq!((group.number, group.bytes), (9, bytes.len()));
            assert_eq!((group.prologue, &group.entries[..]), (prologue, &entries[..]));
            let elsewhere = [Place { segment: 6, ..HERE }, Place { storage_id: 78, ..HERE }];
            assert!(elsewhere.iter().all(|place| decode_group(&bytes, *place).is_none()));
        }
    }

    /// Any single flipped bit and any cut makes a record invalid, but for the padding behind it.
    #[test]
    fn changed_records_are_invalid() {
        let mut bytes = Vec::new();
        encode_group(&mut bytes, HERE, (9, 8), Prologue::default(), &[entry(7, b"seven")]);
        let covered = RECORD_HEAD_BYTES + 1 + 21 + 5;
        for bit in 0..covered * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_group(&Bytes::from(changed), HERE), None, "bit {bit}");
        }
        for cut in 0..covered {
            assert_eq!(decode_group(&Bytes::from(bytes[..cut].to_vec()), HERE), None, "cut {cut}");
        }
    }

    /// A segment's header is bound to its storage by a checksum.
    #[test]
    fn headers_round_trip() {
        let header = SegmentHeader { storage_id: 77, segment: 5, first_group: 9, bytes: 1024 };
        let mut bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        bytes[20] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), None);
    }
}
