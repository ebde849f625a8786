//! Lists. Small: packed. Large: a tree in the order of the list, each element with a number of its own, counted on from its neighbour's:
//! the number, and not the rank, stands in an element's digest term, so that what is pushed in front moves nobody else's.

use alloc::boxed::Box;
use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::packed::{Entries, Packed, size_of_entry};
use super::tree::{Iter, IterBack, Tree};

/// Bytes of a small list: beyond this a tree changes faster. Nobody sees the difference.
const SMALL_BYTES_MAX: usize = 1024;
/// Bytes up to which OBJECT ENCODING says `listpack`: `list-max-listpack-size -2`.
const LISTPACK_BYTES_MAX: usize = 8192;

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) enum List {
    Small(Packed),
    Large(Box<Large>),
}

/// A large one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Large {
    elements: Tree,
    /// Number of the first element.
    first: i64,
    sum: u128,
    /// Whether it has been longer than a listpack may be, and not half as long again since.
    is_quick: bool,
}

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Left,
    Right,
}

/// Elements in order, or from the last to the first.
#[derive(Clone, Debug)]
pub(crate) enum Elements<'a> {
    Small(Entries<'a>),
    /// What is left of a small one, to be taken from the end.
    SmallBack(Vec<&'a [u8]>),
    Large(Iter<'a>),
    LargeBack(IterBack<'a>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::Small(entries) => entries.next(),
            Self::SmallBack(entries) => entries.pop(),
            Self::Large(entries) => entries.next(),
            Self::LargeBack(entries) => entries.next(),
        }
    }
}

/// The digest term of an element.
pub(crate) fn element_term(number: i64, element: &[u8]) -> u128 {
    xxh3_128_with_seed(element, number as u64)
}

impl Large {
    pub(crate) const fn elements(&self) -> &Tree {
        &self.elements
    }

    pub(crate) fn into_elements(self) -> Tree {
        self.elements
    }

    pub(crate) const fn first(&self) -> i64 {
        self.first
    }

    pub(crate) const fn sum(&self) -> u128 {
        self.sum
    }

    pub(crate) const fn is_quick(&self) -> bool {
        self.is_quick
    }

    /// An empty one, as a snapshot has it, to be filled with `push`.
    pub(crate) fn numbered_from(first: i64, is_quick: bool) -> Self {
        Self { first, is_quick, ..Self::default() }
    }

    /// Puts an element behind all others.
    pub(crate) fn push(&mut self, element: &[u8]) {
        let rank = self.elements.len();
        self.sum = self.sum.wrapping_add(element_term(self.number(rank), element));
        self.elements.insert(rank, element);
    }

    /// Of tests: two elements change places by themselves.
    #[cfg(test)]
    pub(crate) fn damage(&mut self) {
        let rank = self.elements.len() / 2;
        let (one, other) = (self.elements.remove(rank), self.elements.remove(rank));
        self.elements.insert(rank, &one);
        self.elements.insert(rank, if one == other { b"" } else { &other });
    }

    fn number(&self, rank: usize) -> i64 {
        self.first.wrapping_add(rank as i64)
    }

    /// The sum of the terms of the elements `from..to`, as they are numbered now.
    fn sum_of(&self, from: usize, to: usize) -> u128 {
        let numbered = self.elements.iter_from(from).take(to - from).enumerate();
        numbered
            .map(|(at, element)| element_term(self.number(from + at), element))
            .fold(0, u128::wrapping_add)
    }

    /// Puts an element in front of the one at `rank`. Those on the shorter side of it get new numbers.
    fn insert(&mut self, rank: usize, element: &[u8]) {
        let count = self.elements.len();
        let in_front = rank < count - rank;
        let (from, to) = if in_front { (0, rank) } else { (rank, count) };
        self.sum = self.sum.wrapping_sub(self.sum_of(from, to));
        self.first = self.first.wrapping_sub(i64::from(in_front));
        self.elements.insert(rank, element);
        let (from, to) = if in_front { (0, rank + 1) } else { (rank, count + 1) };
        self.sum = self.sum.wrapping_add(self.sum_of(from, to));
    }

    fn remove(&mut self, rank: usize) -> Vec<u8> {
        let count = self.elements.len();
        let in_front = rank < count - rank - 1;
        let (from, to) = if in_front { (0, rank + 1) } else { (rank, count) };
        self.sum = self.sum.wrapping_sub(self.sum_of(from, to));
        let element = self.elements.remove(rank);
        self.first = self.first.wrapping_add(i64::from(in_front));
        let (from, to) = if in_front { (0, rank) } else { (rank, count - 1) };
        self.sum = self.sum.wrapping_add(self.sum_of(from, to));
        element
    }

    fn replace(&mut self, rank: usize, element: &[u8]) {
        let number = self.number(rank);
        let old = self.elements.replace(rank, element);
        let change = element_term(number, element).wrapping_sub(element_term(number, &old));
        self.sum = self.sum.wrapping_add(change);
    }

    /// Removes everything from `rank` on.
    fn truncate(&mut self, rank: usize) {
        let (mut sum, mut number) = (self.sum, self.number(rank));
        self.elements.remove_range(rank, usize::MAX, &mut |element| {
            sum = sum.wrapping_sub(element_term(number, element));
            number = number.wrapping_add(1);
        });
        self.sum = sum;
    }

    /// Removes everything in front of `rank`.
    fn drop_front(&mut self, rank: usize) {
        let (mut sum, mut number) = (self.sum, self.first);
        self.elements.remove_range(0, rank, &mut |element| {
            sum = sum.wrapping_sub(element_term(number, element));
            number = number.wrapping_add(1);
        });
        (self.sum, self.first) = (sum, number);
    }
}

impl Default for List {
    fn default() -> Self {
        Self::Small(Packed::default())
    }
}

impl List {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Small(packed) => packed.len(),
            Self::Large(large) => large.elements.len(),
        }
    }

    /// Of tests: whether OBJECT ENCODING says `listpack`.
    #[cfg(test)]
    pub(crate) fn is_listpack(&self) -> bool {
        match self {
            Self::Small(_) => true,
            Self::Large(large) => !large.is_quick,
        }
    }

    pub(crate) fn get(&self, rank: usize) -> Option<&[u8]> {
        match self {
            Self::Small(packed) => packed.get(rank),
            Self::Large(large) => large.elements.get(rank),
        }
    }

    /// From a rank on.
    pub(crate) fn iter_from(&self, rank: usize) -> Elements<'_> {
        match self {
            Self::Small(packed) => Elements::Small(packed.iter_from(rank)),
            Self::Large(large) => Elements::Large(large.elements.iter_from(rank)),
        }
    }

    /// The elements in front of a rank, from the last to the first.
    pub(crate) fn iter_back_from(&self, rank: usize) -> Elements<'_> {
        match self {
            Self::Small(packed) => Elements::SmallBack(packed.iter().take(rank).collect()),
            Self::Large(large) => Elements::LargeBack(large.elements.iter_back_from(rank)),
        }
    }

    /// Puts an element at one end.
    pub(crate) fn push(&mut self, end: End, element: &[u8]) {
        self.insert(if end == End::Left { 0 } else { self.len() }, element);
    }

    /// Takes the element at one end, if there is one.
    pub(crate) fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        let last = self.len().checked_sub(1)?;
        Some(self.remove(if end == End::Left { 0 } else { last }))
    }

    /// Puts an element in front of the one at `rank`, or behind all.
    pub(crate) fn insert(&mut self, rank: usize, element: &[u8]) {
        self.make_room(size_of_entry(element.len()));
        match self {
            Self::Small(packed) => packed.insert(rank, element),
            Self::Large(large) => large.insert(rank.min(large.elements.len()), element),
        }
        self.settle();
    }

    /// Takes out the element at `rank`, which is below the length.
    pub(crate) fn remove(&mut self, rank: usize) -> Vec<u8> {
        let element = match self {
            Self::Small(packed) => {
                let element = packed.get(rank).map(<[u8]>::to_vec).unwrap_or_default();
                packed.splice(rank, 1, []);
                element
            }
            Self::Large(large) => large.remove(rank),
        };
        self.settle();
        element
    }

    /// Replaces the element at `rank`, which is below the length.
    pub(crate) fn replace(&mut self, rank: usize, element: &[u8]) {
        self.make_room(size_of_entry(element.len()));
        match self {
            Self::Small(packed) => packed.splice(rank, 1, [element]),
            Self::Large(large) => large.replace(rank, element),
        }
        self.settle();
    }

    /// Keeps the elements `from..to` only.
    pub(crate) fn trim(&mut self, from: usize, to: usize) {
        match self {
            Self::Small(packed) => {
                packed.splice(to, usize::MAX, []);
                packed.splice(0, from, []);
            }
            Self::Large(large) => {
                large.truncate(to);
                large.drop_front(from);
            }
        }
        self.settle();
    }

    /// Removes the elements at these ranks, which rise and are below the length.
    pub(crate) fn remove_all(&mut self, ranks: &[usize]) {
        if let [rank] = ranks {
            self.remove(*rank);
            return;
        }
        // One by one each would give others new numbers.
        if let Self::Large(large) = self {
            for rank in ranks.iter().rev() {
                large.elements.remove(*rank);
            }
            large.sum = large.sum_of(0, large.elements.len());
        } else {
            ranks.iter().rev().for_each(|rank| drop(self.remove(*rank)));
        }
        self.settle();
    }

    fn make_room(&mut self, bytes: usize) {
        if let Self::Small(packed) = self
            && packed.size() + bytes > SMALL_BYTES_MAX
        {
            let mut large = Large::default();
            packed.iter().for_each(|element| large.push(element));
            *self = Self::Large(Box::new(large));
        }
    }

    /// What it calls itself: as Redis does, not the same upwards and downwards.
    fn settle(&mut self) {
        if let Self::Large(large) = self {
            let limit = LISTPACK_BYTES_MAX / if large.is_quick { 2 } else { 1 };
            large.is_quick = large.elements.bytes() + 2 * large.elements.len() > limit;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn changes_are_those_of_a_vector() {
        let mut rng = Rng::seeded(8);
        for bytes in [3, 40, 3000] {
            let (mut list, mut model) = (List::default(), Vec::<Vec<u8>>::new());
            for round in 0..3000_u32 {
                let element = vec![round as u8; rng.below(bytes) as usize];
                let rank = rng.below(model.len() as u64 + 1) as usize;
                match rng.below(9) {
                    0 => {
                        list.push(End::Left, &element);
                        model.insert(0, element);
                    }
                    1 | 2 => {
                        list.push(End::Right, &element);
                        model.push(element);
                    }
                    3 | 4 => {
                        list.insert(rank, &element);
                        model.insert(rank, element);
                    }
                    5 => assert_eq!(list.pop(End::Right), model.pop()),
                    6 => assert_eq!(
                        list.pop(End::Left),
                        (!model.is_empty()).then(|| model.remove(0))
                    ),
                    7 if rank < model.len() => {
                        list.replace(rank, &element);
                        model[rank] = element;
                    }
                    _ if round % 100 == 0 => {
                        let to = rank + rng.below((model.len() - rank) as u64 + 1) as usize;
                        let from = (rank / 10).min(to);
                        list.trim(from, to);
                        model = model[from..to].to_vec();
                    }
                    _ => {
                        let ranks: Vec<usize> = (rank..model.len()).step_by(7).take(3).collect();
                        list.remove_all(&ranks);
                        ranks.iter().rev().for_each(|rank| drop(model.remove(*rank)));
                    }
                }
                assert_eq!(list.len(), model.len());
                assert_eq!(list.get(rank), model.get(rank).map(Vec::as_slice));
                if let List::Large(large) = &list
                    && round % 16 == 0
                {
                    assert_eq!(large.sum, large.sum_of(0, model.len()), "{round}");
                }
            }
            assert!(list.iter_from(0).eq(model.iter().map(Vec::as_slice)));
            assert!(list.iter_back_from(usize::MAX).eq(model.iter().rev().map(Vec::as_slice)));
        }
    }

    /// A list is called a quicklist beyond 8 KB, and a listpack again below half of that.
    #[test]
    fn encodings_change_as_in_redis() {
        let mut list = List::default();
        while list.is_listpack() {
            list.push(End::Right, &[b'x'; 98]);
        }
        assert_eq!(list.len(), 82);
        while !list.is_listpack() {
            list.pop(End::Left);
        }
        assert_eq!(list.len(), 40);
    }
}
