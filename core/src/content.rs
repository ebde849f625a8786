//! A key's content, read piece by piece, with the digest terms of what was read: for snapshots, which write it down, and for the scrub.
//!
//! Bytes are a stream as they are; so are entries, each with its length in front. A piece may end anywhere, also in the middle of an entry.
//! Read to its end, the terms of all pieces and of the facts make the item's share of its slot's digest. What a tree says of the
//! sum of its entries is taken off again, so that a tree whose entries are not those that were written does not come out even.

use alloc::vec::Vec;

use crate::collections::{Zset, element_term, entry_term, put_length};
use crate::digest::{chunk_terms_begun, facts_term};
use crate::record::{Content, Item, Value};

/// Bytes that looking a member up counts for, where that is done.
const LOOKUP_BYTES: usize = 256;

/// How far an item has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reached {
    /// Entries that were read whole.
    entries: usize,
    /// Bytes of what comes next that were read.
    offset: usize,
}

impl Reached {
    /// Whether nothing of the content was read yet.
    pub(crate) fn is_start(self) -> bool {
        self == Self::default()
    }
}

/// What a piece holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) terms: u128,
    pub(crate) bytes: usize,
    /// Where the next one begins; none at the end.
    pub(crate) next: Option<Reached>,
}

/// Reads about `room` bytes, at least one where there is one, and appends them to `out` if they are asked for. Otherwise what stands
/// beside the content, and is not written down, is compared with it.
pub(crate) fn read_piece(
    item: &Item,
    from: Reached,
    room: usize,
    scratch: &mut Vec<u8>,
    out: Option<&mut Vec<u8>>,
) -> Piece {
    let facts = if from.is_start() { facts_term(scratch, item) } else { 0 };
    let mut piece = match item.record.value.content() {
        Content::Bytes(bytes) => {
            let to = bytes.len().min(from.offset + room.max(1));
            if let Some(out) = out {
                out.extend_from_slice(&bytes[from.offset..to]);
            }
            let next = Reached { offset: to, ..from };
            Piece {
                terms: chunk_terms_begun(&item.key, bytes, from.offset, to),
                bytes: to - from.offset,
                next: (to < bytes.len()).then_some(next),
            }
        }
        Content::Entries { tree, first, sum } => {
            let mut piece = read_entries(item, tree, first, from, room.max(1), out);
            if piece.next.is_none() {
                piece.terms = piece.terms.wrapping_sub(sum);
            }
            piece
        }
    };
    piece.terms = piece.terms.wrapping_add(facts);
    piece
}

fn read_entries(
    item: &Item,
    tree: &crate::collections::Tree,
    first: Option<i64>,
    from: Reached,
    room: usize,
    mut out: Option<&mut Vec<u8>>,
) -> Piece {
    let (mut reached, mut terms, mut bytes, mut prefix) = (from, 0_u128, 0, Vec::new());
    for entry in tree.iter_from(from.entries) {
        if bytes >= room {
            return Piece { terms, bytes, next: Some(reached) };
        }
        prefix.clear();
        put_length(&mut prefix, entry.len());
        let (start, whole) = (reached.offset, prefix.len() + entry.len());
        let end = whole.min(start + room - bytes);
        if let Some(out) = &mut out {
            let split = prefix.len();
            out.extend_from_slice(prefix.get(start..end.min(split)).unwrap_or_default());
            out.extend_from_slice(
                entry.get(start.max(split) - split..end.max(split) - split).unwrap_or_default(),
            );
        } else if let Value::Zset(Zset::Large(zset)) = &item.record.value {
            bytes += LOOKUP_BYTES;
            terms = terms.wrapping_add(u128::from(!zset.agrees(entry)));
        }
        bytes += end - start;
        if end < whole {
            reached.offset = end;
            return Piece { terms, bytes, next: Some(reached) };
        }
        terms = terms.wrapping_add(match first {
            Some(first) => element_term(first.wrapping_add(reached.entries as i64), entry),
            None => entry_term(entry),
        });
        reached = Reached { entries: reached.entries + 1, offset: 0 };
    }
    // A tree that holds fewer than it says is found out by its sum.
    Piece { terms, bytes, next: None }
}
