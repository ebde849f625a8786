//! Sets of integers: sorted, as wide as the widest of them needs (2, 4 or 8 bytes, little-endian), one byte in front that says which. A
//! width never shrinks (Redis's intset).

use alloc::boxed::Box;
use alloc::vec::Vec;

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ints(Box<[u8]>);

impl Default for Ints {
    fn default() -> Self {
        Self([2].into())
    }
}

/// Bytes that a number needs.
fn width_of(number: i64) -> usize {
    if i16::try_from(number).is_ok() {
        2
    } else if i32::try_from(number).is_ok() {
        4
    } else {
        8
    }
}

impl Ints {
    /// Bytes that came from elsewhere; none if they are no such set.
    pub(crate) fn checked(bytes: &[u8]) -> Option<Self> {
        let ints = Self(bytes.into());
        let width = usize::from(*bytes.first()?);
        let fits = [2, 4, 8].contains(&width) && (bytes.len() - 1).is_multiple_of(width);
        (fits && ints.iter().zip(ints.iter().skip(1)).all(|(one, other)| one < other))
            .then_some(ints)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn width(&self) -> usize {
        usize::from(self.0[0])
    }

    pub(crate) fn len(&self) -> usize {
        (self.0.len() - 1) / self.width()
    }

    /// The number at a rank, which is below the length.
    pub(crate) fn at(&self, rank: usize) -> i64 {
        let width = self.width();
        let bytes = &self.0[1 + rank * width..][..width];
        let sign = if bytes[width - 1] < 0x80 { 0 } else { 0xFF };
        let mut wide = [sign; 8];
        wide[..width].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + Clone + '_ {
        (0..self.len()).map(|rank| self.at(rank))
    }

    /// Its rank, or that which it would have.
    pub(crate) fn find(&self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.at(middle).cmp(&number) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Equal => return Ok(middle),
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Adds a number; whether it is new.
    pub(crate) fn add(&mut self, number: i64) -> bool {
        let Err(rank) = self.find(number) else { return false };
        let (old, width) = (self.width(), width_of(number).max(self.width()));
        let mut bytes = Vec::with_capacity(1 + (self.len() + 1) * width);
        bytes.push(width as u8);
        if width == old {
            let (below, above) = self.0[1..].split_at(rank * width);
            bytes.extend_from_slice(below);
            bytes.extend_from_slice(&number.to_le_bytes()[..width]);
            bytes.extend_from_slice(above);
        } else {
            // As wide as no other: it is the first or the last.
            let (first, last) =
                if number < 0 { (Some(number), None) } else { (None, Some(number)) };
            for number in first.into_iter().chain(self.iter()).chain(last) {
                bytes.extend_from_slice(&number.to_le_bytes()[..width]);
            }
        }
        self.0 = bytes.into_boxed_slice();
        true
    }

    pub(crate) fn remove_at(&mut self, rank: usize) {
        let width = self.width();
        let mut bytes = core::mem::take(&mut self.0).into_vec();
        bytes.drain(1 + rank * width..=(rank + 1) * width);
        self.0 = bytes.into_boxed_slice();
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn changes_are_those_of_a_set() {
        let (mut ints, mut model, mut rng) = (Ints::default(), BTreeSet::new(), Rng::seeded(2));
        for round in 0..3000 {
            let bits = [9, 9, 20, 40, 64][(round / 600) as usize];
            let number = (rng.next() as i64) >> (64 - bits);
            match ints.find(number) {
                Ok(rank) if rng.below(2) == 0 => {
                    ints.remove_at(rank);
                    assert!(model.remove(&number));
                }
                _ => assert_eq!(ints.add(number), model.insert(number)),
            }
            assert!(ints.len() == model.len() && ints.iter().eq(model.iter().copied()));
            assert_eq!(Ints::checked(ints.bytes()), Some(ints.clone()));
        }
        for number in [i64::MIN, i64::MAX, -1, 0, i64::from(i32::MIN), i64::from(i16::MAX)] {
            ints.add(number);
            assert!(ints.find(number).is_ok());
        }
        assert_eq!(Ints::checked(&[3, 0, 0, 0]), None);
        assert_eq!(Ints::checked(&[2, 1, 0, 1, 0]), None, "a number twice");
    }
}
