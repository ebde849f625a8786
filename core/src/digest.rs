//! The state digest: a sum, modulo 2^128, of one XXH3 hash per fact of the state. A sum has no order and can be
//! kept up to date by subtracting what was and adding what is. Equal applied index means equal digest on every
//! replica. It guards against bugs and decay, not against forgery.

use alloc::vec::Vec;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128, xxh3_128_with_seed};

use crate::record::{Content, ItemRef};

/// Values up to this length are hashed together with their facts.
const WHOLE_BYTES_MAX: usize = 1024;
/// Longer ones are hashed by chunks of this length, so that a change in place costs what it touches.
const CHUNK_BYTES: usize = 4096;

/// The term of a key's facts, with its value if that is short, or with the sum of its entries' terms. The database is not in it: whole
/// databases are swapped at no cost; `machine` hashes each database's sum together with its number.
pub(crate) fn facts_term(scratch: &mut Vec<u8>, item: ItemRef<'_>) -> u128 {
    let (record, content) = (item.record, item.record.value.content());
    let length = match content {
        Content::Bytes(bytes) => bytes.len(),
        Content::Entries { tree, .. } => tree.len(),
    };
    scratch.clear();
    scratch.push(record.value.tag());
    for number in
        [item.key.len() as u64, length as u64, record.expires_at, record.changed, record.granted]
    {
        scratch.extend_from_slice(&number.to_le_bytes());
    }
    scratch.extend_from_slice(item.key);
    match content {
        Content::Bytes(bytes) if length <= WHOLE_BYTES_MAX => scratch.extend_from_slice(bytes),
        Content::Bytes(_) => {}
        Content::Entries { first, sum, .. } => {
            scratch.extend_from_slice(&first.unwrap_or_default().to_le_bytes());
            scratch.extend_from_slice(&sum.to_le_bytes());
        }
    }
    xxh3_128(scratch)
}

/// The terms of the chunks of a long value that hold the bytes `from..to`; none for a short one.
pub(crate) fn chunk_terms(key: &[u8], value: &[u8], from: usize, to: usize) -> u128 {
    let to = to.min(value.len());
    if value.len() <= WHOLE_BYTES_MAX || from >= to {
        return 0;
    }
    let base = xxh3_64(key);
    let first = from / CHUNK_BYTES;
    let last = (to - 1) / CHUNK_BYTES;
    value.chunks(CHUNK_BYTES).enumerate().skip(first).take(last - first + 1).fold(
        0,
        |sum: u128, (index, chunk)| {
            let seed = base.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            sum.wrapping_add(xxh3_128_with_seed(chunk, seed))
        },
    )
}

/// The terms of those chunks of a long value that begin in `from..to`: read in pieces, a value adds each of its chunks once.
pub(crate) fn chunk_terms_begun(key: &[u8], value: &[u8], from: usize, to: usize) -> u128 {
    chunk_terms(key, value, from.next_multiple_of(CHUNK_BYTES), to)
}

/// Whether the chunk terms of a value that went from one length to the other must all be taken anew.
pub(crate) const fn changes_form(one: usize, other: usize) -> bool {
    (one <= WHOLE_BYTES_MAX) != (other <= WHOLE_BYTES_MAX)
}

/// The term of a slot's last deletion; none if it never saw one.
pub(crate) fn deletion_term(slot: u16, revision: u64) -> u128 {
    if revision == 0 {
        return 0;
    }
    let mut bytes = [0; 11];
    bytes[0] = 2;
    bytes[1..3].copy_from_slice(&slot.to_le_bytes());
    bytes[3..].copy_from_slice(&revision.to_le_bytes());
    xxh3_128(&bytes)
}
