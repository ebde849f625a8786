//! A tree in the order of its entries' bytes, with the sum of their digest terms: what large hashes, sets and sorted sets are made of.
//!
//! The entry of a field or member begins with its hash (XXH3, not keyed: in a tree equal hashes cost nothing but a comparison) and its
//! length, so that no entry's beginning is that of another one; a hash's value stands behind it.

use alloc::vec::Vec;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::packed::{length_and_rest, put_length};
use super::tree::{Iter, Tree};

const HASH_BYTES: usize = 8;
/// A cursor is this part of a hash: the front, and short enough for any client's numbers.
const CURSOR_SHIFT: u32 = 16;

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sorted {
    entries: Tree,
    sum: u128,
}

/// What the entry of a word begins with.
pub(super) fn beginning_of(word: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(HASH_BYTES + 5 + word.len());
    entry.extend_from_slice(&xxh3_64(word).to_be_bytes());
    put_length(&mut entry, word.len());
    entry.extend_from_slice(word);
    entry
}

/// The word of an entry, and what stands behind it.
pub(super) fn word_and_rest(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = length_and_rest(entry.get(HASH_BYTES..)?)?;
    rest.split_at_checked(length)
}

/// The digest term of an entry.
pub(crate) fn term(entry: &[u8]) -> u128 {
    xxh3_128(entry)
}

impl Sorted {
    /// All of these entries.
    pub(super) fn of(mut entries: Vec<Vec<u8>>) -> Self {
        entries.sort_unstable();
        let mut sorted = Self::default();
        entries.iter().for_each(|entry| sorted.insert(entry));
        sorted
    }

    /// Whether these bytes are the entry of a word, with or without a value behind it.
    pub(crate) fn is_entry(bytes: &[u8], has_value: bool) -> bool {
        word_and_rest(bytes).is_some_and(|(word, rest)| {
            bytes.starts_with(&beginning_of(word)) && (has_value || rest.is_empty())
        })
    }

    pub(crate) const fn entries(&self) -> &Tree {
        &self.entries
    }

    pub(crate) fn into_entries(self) -> Tree {
        self.entries
    }

    pub(crate) const fn sum(&self) -> u128 {
        self.sum
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Where the entry is that begins like this.
    pub(super) fn find(&self, beginning: &[u8]) -> Option<(usize, &[u8])> {
        let (rank, entry) = self.entries.seek(beginning);
        entry.filter(|entry| entry.starts_with(beginning)).map(|entry| (rank, entry))
    }

    /// Puts an entry in its place; it is not there yet.
    pub(super) fn insert(&mut self, entry: &[u8]) {
        let (rank, _) = self.entries.seek(entry);
        self.entries.insert(rank, entry);
        self.sum = self.sum.wrapping_add(term(entry));
    }

    /// Puts an entry behind all others, as a snapshot has it; whether it belongs there.
    pub(crate) fn push(&mut self, entry: &[u8]) -> bool {
        let rank = self.entries.len();
        let last = rank.checked_sub(1).and_then(|last| self.entries.get(last));
        if last.is_some_and(|last| last >= entry) {
            return false;
        }
        self.entries.insert(rank, entry);
        self.sum = self.sum.wrapping_add(term(entry));
        true
    }

    /// Replaces the entry at `rank` by one that belongs in the same place.
    pub(super) fn replace(&mut self, rank: usize, entry: &[u8]) {
        let old = self.entries.replace(rank, entry);
        self.sum = self.sum.wrapping_sub(term(&old)).wrapping_add(term(entry));
    }

    pub(super) fn remove(&mut self, rank: usize) -> Vec<u8> {
        let old = self.entries.remove(rank);
        self.sum = self.sum.wrapping_sub(term(&old));
        old
    }

    pub(super) fn remove_range(&mut self, from: usize, to: usize, visit: &mut dyn FnMut(&[u8])) {
        let sum = &mut self.sum;
        self.entries.remove_range(from, to, &mut |entry| {
            *sum = sum.wrapping_sub(term(entry));
            visit(entry);
        });
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        self.entries.iter()
    }

    /// One step of a scan: visits about `count` entries from `cursor` on; answers the next cursor, 0 at the end. Entries whose hashes begin
    /// alike come together, so that a cursor stands between two entries whatever happens to either of them.
    pub(super) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]),
    ) -> u64 {
        let front = (cursor << CURSOR_SHIFT).to_be_bytes();
        let (rank, _) = self.entries.seek(&front);
        let (mut seen, mut last) = (0, 0);
        for entry in self.entries.iter_from(rank) {
            let hash = entry.first_chunk().map_or(0, |hash| u64::from_be_bytes(*hash));
            let group = hash >> CURSOR_SHIFT;
            if seen >= count && group != last {
                return group;
            }
            (seen, last) = (seen + 1, group);
            if let Some((word, rest)) = word_and_rest(entry) {
                visit(word, rest);
            }
        }
        0
    }

    /// Of tests: an entry changes by itself.
    #[cfg(test)]
    pub(crate) fn damage(&mut self) {
        let rank = self.entries.len() / 2;
        let mut entry = self.entries.get(rank).map(<[u8]>::to_vec).unwrap_or_default();
        if let Some(last) = entry.last_mut() {
            *last ^= 4;
        }
        self.entries.replace(rank, &entry);
    }

    /// Of tests: the sum of what is there.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let sum = self.iter().map(term).fold(0, u128::wrapping_add);
        assert_eq!(sum, self.sum);
        assert!(self.iter().zip(self.iter().skip(1)).all(|(one, other)| one < other));
    }
}
