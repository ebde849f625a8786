//! Segment headers and records, byte by byte. All integers are little-endian.
//!
//! ```text
//! segment = header · record* · zeroes
//! header  = magic "SFSEG\0\0\1" · storage id u128 · segment u64 · first group u64 · crc32 u32 · zeroes up to 64 bytes
//! record  = mark u32 · length u32 (of the body) · segment u64 · group u64 · synced u64 · crc32 u32 (of all before and the body)
//!           · body · zeroes up to a multiple of 8
//! body    = hard state flag u8 · [term u64 · vote u64 · commit u64] · entry*
//! entry   = index u64 · term u64 · kind u8 · length u32 · payload
//! ```
//!
//! A record is one *group*: what was written and synced together. Groups are numbered without gaps over all segments.
//! `synced` is the last group that was durable when this one was written: it is what tells a torn tail from damage.

use bytes::Bytes;

use super::{HardState, LogEntry, Reader};

pub(super) const HEADER_BYTES: u64 = 64;
pub(super) const RECORD_HEAD_BYTES: usize = 36;
pub(super) const ALIGNMENT: usize = 8;
const SEGMENT_MAGIC: &[u8; 8] = b"SFSEG\0\0\x01";
const RECORD_MARK: u32 = 0x5245_4346;

/// A segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub(super) storage_id: u128,
    pub(super) segment: u64,
    pub(super) first_group: u64,
}

impl SegmentHeader {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = SEGMENT_MAGIC.to_vec();
        bytes.extend(self.storage_id.to_le_bytes());
        bytes.extend(self.segment.to_le_bytes());
        bytes.extend(self.first_group.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(HEADER_BYTES as usize, 0);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.take(8)? != SEGMENT_MAGIC {
            return None;
        }
        let header =
            Self { storage_id: reader.u128()?, segment: reader.u64()?, first_group: reader.u64()? };
        let covered = bytes.get(..40)?;
        (reader.u32()? == crc32fast::hash(covered)).then_some(header)
    }
}

/// A decoded record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Group {
    pub(super) number: u64,
    pub(super) synced: u64,
    pub(super) hard_state: Option<HardState>,
    pub(super) entries: Vec<LogEntry>,
    /// Bytes of the record, padding included.
    pub(super) bytes: usize,
}

/// Appends one group as a record.
pub(super) fn encode_group<'a>(
    out: &mut Vec<u8>,
    segment: u64,
    (group, synced): (u64, u64),
    hard_state: Option<HardState>,
    entries: impl Iterator<Item = &'a LogEntry>,
) {
    let start = out.len();
    out.extend(RECORD_MARK.to_le_bytes());
    out.extend([0; 4]);
    out.extend(segment.to_le_bytes());
    out.extend(group.to_le_bytes());
    out.extend(synced.to_le_bytes());
    out.extend([0; 4]);
    out.push(u8::from(hard_state.is_some()));
    if let Some(hard_state) = hard_state {
        out.extend(hard_state.term.to_le_bytes());
        out.extend(hard_state.vote.to_le_bytes());
        out.extend(hard_state.commit.to_le_bytes());
    }
    for entry in entries {
        out.extend(entry.index.to_le_bytes());
        out.extend(entry.term.to_le_bytes());
        out.push(entry.kind);
        out.extend((entry.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&entry.payload);
    }
    let body = out.len() - start - RECORD_HEAD_BYTES;
    patch(out, start + 4, body as u32);
    let crc = checksum(out.get(start..).unwrap_or_default());
    patch(out, start + 32, crc);
    out.resize(start + padded(RECORD_HEAD_BYTES + body), 0);
}

/// Size of the record that these entries make.
pub(super) fn group_bytes<'a>(entries: impl Iterator<Item = &'a LogEntry>) -> usize {
    let body: usize = entries.map(|entry| 21 + entry.payload.len()).sum();
    padded(RECORD_HEAD_BYTES + 25 + body)
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

fn patch(out: &mut [u8], at: usize, value: u32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// CRC of a record but for its own four bytes.
fn checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(record.get(..32).unwrap_or_default());
    hasher.update(record.get(RECORD_HEAD_BYTES..).unwrap_or_default());
    hasher.finalize()
}

/// The record at the start of `bytes`, if it is whole, valid, and belongs to this segment.
pub(super) fn decode_group(bytes: &Bytes, segment: u64) -> Option<Group> {
    let (group, synced, body) = decode_head(bytes, segment)?;
    let whole = bytes.get(..RECORD_HEAD_BYTES + body)?;
    let crc = Reader(whole.get(32..RECORD_HEAD_BYTES)?).u32()?;
    if crc != checksum(whole) {
        return None;
    }
    let mut reader = Reader(whole.get(RECORD_HEAD_BYTES..)?);
    let hard_state = match reader.u8()? {
        0 => None,
        1 => Some(HardState { term: reader.u64()?, vote: reader.u64()?, commit: reader.u64()? }),
        _ => return None,
    };
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        let (index, term, kind) = (reader.u64()?, reader.u64()?, reader.u8()?);
        let length = reader.u32()? as usize;
        let payload = bytes.slice_ref(reader.take(length)?);
        entries.push(LogEntry { index, term, kind, payload });
    }
    Some(Group {
        number: group,
        synced,
        hard_state,
        entries,
        bytes: padded(RECORD_HEAD_BYTES + body),
    })
}

/// Group, synced group and body length of a record head that looks like one of this segment.
fn decode_head(bytes: &[u8], segment: u64) -> Option<(u64, u64, usize)> {
    let mut reader = Reader(bytes);
    let mark = reader.u32()?;
    let body = reader.u32()? as usize;
    let own = reader.u64()?;
    let (group, synced) = (reader.u64()?, reader.u64()?);
    (mark == RECORD_MARK && own == segment).then_some((group, synced, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, payload: &'static [u8]) -> LogEntry {
        LogEntry { index, term: 3, kind: 0, payload: Bytes::from_static(payload) }
    }

    /// What is written is read again, and the size was foretold.
    #[test]
    fn groups_round_trip() {
        let entries = [entry(7, b"seven"), entry(8, b"")];
        let hard_state = Some(HardState { term: 3, vote: 2, commit: 6 });
        let mut bytes = Vec::new();
        encode_group(&mut bytes, 5, (9, 8), hard_state, entries.iter());
        assert!(bytes.len() <= group_bytes(entries.iter()) && bytes.len() % ALIGNMENT == 0);
        let group = decode_group(&Bytes::from(bytes.clone()), 5).expect("it was just written");
        assert_eq!((group.number, group.synced, group.bytes), (9, 8, bytes.len()));
        assert_eq!((group.hard_state, &group.entries[..]), (hard_state, &entries[..]));
        assert_eq!(
            decode_group(&Bytes::from(bytes), 6),
            None,
            "another segment's bytes are not ours"
        );
    }

    /// Any single flipped bit and any cut makes a record invalid, but for the padding behind it.
    #[test]
    fn changed_records_are_invalid() {
        let mut bytes = Vec::new();
        encode_group(&mut bytes, 5, (9, 8), None, [entry(7, b"seven")].iter());
        let covered = RECORD_HEAD_BYTES + 1 + 21 + 5;
        for bit in 0..covered * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_group(&Bytes::from(changed), 5), None, "bit {bit}");
        }
        for cut in 0..covered {
            assert_eq!(decode_group(&Bytes::from(bytes[..cut].to_vec()), 5), None, "cut {cut}");
        }
    }

    /// A segment's header is bound to its storage by a checksum.
    #[test]
    fn headers_round_trip() {
        let header = SegmentHeader { storage_id: 77, segment: 5, first_group: 9 };
        let mut bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        bytes[20] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), None);
    }
}
