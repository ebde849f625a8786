//! The longest common subsequence of two strings, as Redis's LCS finds it: of several that are equally long it takes the one that is met
//! first from the ends, and where both ways are as good it goes back in the second string.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Lengths of the longest common subsequence of every pair of prefixes.
pub(crate) struct Table<'a> {
    one: &'a [u8],
    other: &'a [u8],
    lengths: Vec<u32>,
}

/// A stretch that both strings have, at these bytes of each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stretch {
    pub(crate) one: Range<usize>,
    pub(crate) other: Range<usize>,
}

/// Bytes of the table; none if they can't be counted.
pub(crate) fn table_bytes(one: usize, other: usize) -> Option<usize> {
    one.checked_add(1)?.checked_mul(other.checked_add(1)?)?.checked_mul(size_of::<u32>())
}

impl<'a> Table<'a> {
    /// Takes time and memory of the product of the lengths.
    pub(crate) fn new(one: &'a [u8], other: &'a [u8]) -> Self {
        let width = other.len() + 1;
        let mut lengths = vec![0; (one.len() + 1) * width];
        for (row, byte) in one.iter().enumerate() {
            let (above, below) = lengths[row * width..(row + 2) * width].split_at_mut(width);
            for (column, same) in other.iter().enumerate() {
                below[column + 1] = if byte == same {
                    above[column] + 1
                } else {
                    above[column + 1].max(below[column])
                };
            }
        }
        Self { one, other, lengths }
    }

    fn at(&self, one: usize, other: usize) -> u32 {
        self.lengths[one * (self.other.len() + 1) + other]
    }

    /// Length of the longest common subsequence.
    pub(crate) fn length(&self) -> u32 {
        self.at(self.one.len(), self.other.len())
    }

    /// What the subsequence is made of, from the ends to the beginnings.
    pub(crate) fn stretches(&self) -> Vec<Stretch> {
        let mut found: Vec<Stretch> = Vec::new();
        let (mut i, mut j) = (self.one.len(), self.other.len());
        while i > 0 && j > 0 {
            if self.one[i - 1] == self.other[j - 1] {
                match found.last_mut() {
                    Some(last) if (last.one.start, last.other.start) == (i, j) => {
                        (last.one.start, last.other.start) = (i - 1, j - 1);
                    }
                    _ => found.push(Stretch { one: i - 1..i, other: j - 1..j }),
                }
                (i, j) = (i - 1, j - 1);
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// By the definition, for short strings.
    fn longest(one: &[u8], other: &[u8]) -> usize {
        match (one.split_first(), other.split_first()) {
            (Some((a, one)), Some((b, other))) if a == b => 1 + longest(one, other),
            (Some((_, less)), Some((_, fewer))) => longest(less, other).max(longest(one, fewer)),
            _ => 0,
        }
    }

    #[test]
    fn the_stretches_are_a_longest_common_subsequence() {
        let mut rng = Rng::seeded(3);
        for _ in 0..500 {
            let mut draw =
                || -> Vec<u8> { (0..rng.below(9)).map(|_| b'a' + rng.below(3) as u8).collect() };
            let (one, other) = (draw(), draw());
            let table = Table::new(&one, &other);
            let stretches = table.stretches();
            let lengths = stretches.iter().map(|it| it.one.len());
            assert_eq!(lengths.sum::<usize>(), table.length() as usize);
            assert_eq!(longest(&one, &other), table.length() as usize, "{one:?} {other:?}");
            for it in &stretches {
                assert_eq!(one[it.one.clone()], other[it.other.clone()]);
            }
            for pair in stretches.windows(2) {
                assert!(pair[1].one.end <= pair[0].one.start);
                assert!(pair[1].other.end <= pair[0].other.start);
            }
        }
    }

    #[test]
    fn tables_that_no_memory_holds_are_not_counted() {
        assert_eq!(table_bytes(1, 2), Some(24));
        assert_eq!(table_bytes(usize::MAX, 0), None);
        assert_eq!(table_bytes(usize::MAX / 2, 7), None);
    }
}
