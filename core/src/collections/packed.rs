//! Entries one behind the other in one allocation: what a small collection is, and a leaf of a large one.
//!
//! An entry is a length (7 bits a byte, lowest first, the top bit set on all but the last) and that many bytes. There is no count and no
//! index: an entry is found by walking, which is faster than anything else while all of it fits into a few cache lines.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed(Box<[u8]>);

/// Walks over entries.
#[derive(Clone, Debug)]
pub(crate) struct Entries<'a>(&'a [u8]);

impl Entries<'_> {
    pub(crate) const NONE: Self = Self(&[]);
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = length_and_rest(self.0)?;
        let (entry, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(entry)
    }
}

/// Bytes that an entry of this length takes.
pub(crate) const fn size_of_entry(length: usize) -> usize {
    let bits = usize::BITS - length.leading_zeros();
    let prefix = if bits <= 7 { 1 } else { bits.div_ceil(7) as usize };
    prefix + length
}

/// Appends an entry.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &[u8]) {
    put_length(out, entry.len());
    out.extend_from_slice(entry);
}

/// Appends a length, as it stands in front of entries.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    put_number(out, length as u64);
}

/// Appends a number, 7 bits a byte, lowest first.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    let mut left = number;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// The length that bytes begin with, and what follows it; none if they end too early, or it has more bits than a length.
pub(crate) fn length_and_rest(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), rest));
    }
    let (mut length, mut shift, mut rest) = (usize::from(first & 0x7F), 7, rest);
    loop {
        let (&next, behind) = rest.split_first()?;
        rest = behind;
        length |= usize::from(next & 0x7F) << shift;
        if next < 0x80 {
            return Some((length, rest));
        }
        shift += 7;
        if shift > 28 {
            return None;
        }
    }
}

impl Packed {
    /// One after the other.
    pub(crate) fn of<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Self {
        let mut bytes = Vec::new();
        entries.into_iter().for_each(|entry| put_entry(&mut bytes, entry));
        Self(bytes.into_boxed_slice())
    }

    /// Bytes that came from elsewhere, and how many entries they hold; none if they are not entries to the last byte.
    pub(crate) fn checked(bytes: &[u8]) -> Option<(Self, usize)> {
        let (mut entries, mut count) = (Entries(bytes), 0);
        while entries.next().is_some() {
            count += 1;
        }
        entries.0.is_empty().then(|| (Self(bytes.into()), count))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    pub(crate) fn iter(&self) -> Entries<'_> {
        Entries(&self.0)
    }

    /// From an entry on.
    pub(crate) fn iter_from(&self, rank: usize) -> Entries<'_> {
        let mut entries = self.iter();
        if rank > 0 {
            entries.nth(rank - 1);
        }
        entries
    }

    pub(crate) fn get(&self, rank: usize) -> Option<&[u8]> {
        self.iter().nth(rank)
    }

    /// Where an entry begins; the end if there are not so many.
    fn start_of(&self, rank: usize) -> usize {
        self.0.len() - self.iter_from(rank).0.len()
    }

    /// How many entries begin in front of a byte.
    pub(crate) fn rank_at(&self, byte: usize) -> usize {
        let mut entries = self.iter();
        let mut rank = 0;
        while self.0.len() - entries.0.len() < byte && entries.next().is_some() {
            rank += 1;
        }
        rank
    }

    /// Replaces `removed` entries from `rank` on by others.
    pub(crate) fn splice<'e>(
        &mut self,
        rank: usize,
        removed: usize,
        entries: impl IntoIterator<Item = &'e [u8]>,
    ) {
        let start = self.start_of(rank);
        let mut behind = Entries(&self.0[start..]);
        if removed > 0 {
            behind.nth(removed - 1);
        }
        let end = self.0.len() - behind.0.len();
        let mut new = Vec::new();
        entries.into_iter().for_each(|entry| put_entry(&mut new, entry));
        self.replace(start..end, &new);
    }

    /// Puts one entry in front of the one at `rank`.
    pub(crate) fn insert(&mut self, rank: usize, entry: &[u8]) {
        self.splice(rank, 0, [entry]);
    }

    /// Everything in front of an entry stays; the rest is answered.
    pub(crate) fn split_off(&mut self, rank: usize) -> Self {
        let start = self.start_of(rank);
        let rest = Self(self.0[start..].into());
        self.replace(start..self.0.len(), &[]);
        rest
    }

    pub(crate) fn append(&mut self, other: &Self) {
        self.replace(self.0.len()..self.0.len(), &other.0);
    }

    /// Allocates exactly: there may be millions.
    fn replace(&mut self, range: Range<usize>, new: &[u8]) {
        let mut bytes = core::mem::take(&mut self.0).into_vec();
        let (length, tail) = (bytes.len(), range.start + new.len());
        let new_length = length - range.len() + new.len();
        if new_length > length {
            bytes.reserve_exact(new_length - length);
            bytes.resize(new_length, 0);
        }
        bytes.copy_within(range.end..length, tail);
        bytes[range.start..tail].copy_from_slice(new);
        bytes.truncate(new_length);
        self.0 = bytes.into_boxed_slice();
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::rng::Rng;

    /// Every edit leaves what it leaves in a vector of vectors.
    #[test]
    fn edits_are_those_of_a_vector() {
        let (mut packed, mut model, mut rng) =
            (Packed::default(), Vec::<Vec<u8>>::new(), Rng::seeded(3));
        for round in 0..3000_usize {
            let rank = rng.below(model.len() as u64 + 1) as usize;
            let removed = rng.below(4).min((model.len() - rank) as u64) as usize;
            let new: Vec<Vec<u8>> = (0..rng.below(3) + u64::from(model.len() < 20))
                .map(|_| vec![round as u8; [0, 1, 127, 128, 129, 20_000][rng.below(6) as usize]])
                .collect();
            packed.splice(rank, removed, new.iter().map(Vec::as_slice));
            model.splice(rank..rank + removed, new);
            assert!(packed.iter().eq(model.iter().map(Vec::as_slice)));
            assert_eq!(packed.len(), model.len());
            let size: usize = model.iter().map(|entry| size_of_entry(entry.len())).sum();
            assert_eq!(packed.size(), size);
            assert_eq!(Packed::checked(packed.bytes()), Some((packed.clone(), model.len())));
            if round % 10 == 0 {
                let rest = packed.split_off(rank);
                assert!(rest.iter().eq(model[rank.min(model.len())..].iter().map(Vec::as_slice)));
                packed.append(&rest);
            }
            assert!(packed.iter_from(rank).eq(model.iter().skip(rank).map(Vec::as_slice)));
        }
    }

    #[test]
    fn what_is_cut_short_is_not_taken() {
        let packed = Packed::of([&b"abc"[..], &[7; 200], b""]);
        for length in 0..packed.size() {
            let holds = [0, 4, 4 + 202].contains(&length);
            assert_eq!(Packed::checked(&packed.bytes()[..length]).is_some(), holds, "{length}");
        }
        assert_eq!(Packed::checked(&[0xFF; 9]), None, "a length of too many bits");
    }
}
