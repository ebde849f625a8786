//! Hashes. Small: field, value, field, value, in the order in which the fields came. Large: in the order of the fields' hashes.

use alloc::boxed::Box;

use super::is_small_word;
use super::packed::{Entries, Packed};
use super::sorted::{Sorted, beginning_of, word_and_rest};
use super::tree::Iter;

/// Fields of a small one: `hash-max-listpack-entries`.
const FIELDS_MAX: usize = 512;

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) enum Hash {
    Small(Packed),
    Large(Box<Sorted>),
}

/// Fields with their values, in order.
#[derive(Clone, Debug)]
pub(crate) enum Fields<'a> {
    Small(Entries<'a>),
    Large(Iter<'a>),
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Small(entries) => Some((entries.next()?, entries.next()?)),
            Self::Large(entries) => word_and_rest(entries.next()?),
        }
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::Small(Packed::default())
    }
}

impl Hash {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Small(packed) => packed.len() / 2,
            Self::Large(sorted) => sorted.len(),
        }
    }

    pub(crate) const fn is_small(&self) -> bool {
        matches!(self, Self::Small(_))
    }

    pub(crate) fn iter(&self) -> Fields<'_> {
        match self {
            Self::Small(packed) => Fields::Small(packed.iter()),
            Self::Large(sorted) => Fields::Large(sorted.iter()),
        }
    }

    pub(crate) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Small(_) => self.iter().find(|(own, _)| *own == field).map(|(_, value)| value),
            Self::Large(sorted) => {
                let beginning = beginning_of(field);
                sorted.find(&beginning).and_then(|(_, entry)| entry.get(beginning.len()..))
            }
        }
    }

    /// The field at a rank, which is below the length.
    pub(crate) fn nth(&self, rank: usize) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Small(packed) => Fields::Small(packed.iter_from(2 * rank)).next(),
            Self::Large(sorted) => word_and_rest(sorted.entries().get(rank)?),
        }
    }

    /// Sets a field; whether it is new.
    pub(crate) fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        if self.is_small() && !(is_small_word(field) && is_small_word(value)) {
            self.enlarge();
        }
        match self {
            Self::Small(packed) => {
                let at = Fields::Small(packed.iter()).position(|(own, _)| own == field);
                match at {
                    Some(at) => packed.splice(2 * at + 1, 1, [value]),
                    None => packed.splice(usize::MAX, 0, [field, value]),
                }
                if packed.len() > 2 * FIELDS_MAX {
                    self.enlarge();
                }
                at.is_none()
            }
            Self::Large(sorted) => {
                let mut entry = beginning_of(field);
                let rank = sorted.find(&entry).map(|(rank, _)| rank);
                entry.extend_from_slice(value);
                match rank {
                    Some(rank) => sorted.replace(rank, &entry),
                    None => sorted.insert(&entry),
                }
                rank.is_none()
            }
        }
    }

    /// So many fields are about to be set: more than a small hash has room for make a large one at once, as in Redis.
    pub(crate) fn expect(&mut self, fields: usize) {
        if self.is_small() && fields > FIELDS_MAX {
            self.enlarge();
        }
    }

    /// Removes a field; whether it was there.
    pub(crate) fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Self::Small(packed) => {
                let at = Fields::Small(packed.iter()).position(|(own, _)| own == field);
                at.inspect(|at| packed.splice(2 * at, 2, [])).is_some()
            }
            Self::Large(sorted) => {
                let rank = sorted.find(&beginning_of(field)).map(|(rank, _)| rank);
                rank.inspect(|rank| drop(sorted.remove(*rank))).is_some()
            }
        }
    }

    /// HSCAN. A small hash is visited whole.
    pub(crate) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]),
    ) -> u64 {
        match self {
            Self::Small(_) => {
                self.iter().for_each(|(field, value)| visit(field, value));
                0
            }
            Self::Large(sorted) => sorted.scan(cursor, count, visit),
        }
    }

    fn enlarge(&mut self) {
        let entries = self.iter().map(|(field, value)| [&*beginning_of(field), value].concat());
        *self = Self::Large(Box::new(Sorted::of(entries.collect())));
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn changes_are_those_of_a_map() {
        let mut rng = Rng::seeded(8);
        for fields in [20, 512, 4000] {
            let (mut hash, mut model) = (Hash::default(), BTreeMap::new());
            for _ in 0..5000 {
                let field = rng.below(fields).to_le_bytes()[..3].to_vec();
                if rng.below(3) == 0 {
                    assert_eq!(hash.remove(&field), model.remove(&field).is_some());
                } else {
                    let value = alloc::vec![rng.next() as u8; rng.below(65) as usize];
                    assert_eq!(
                        hash.set(&field, &value),
                        model.insert(field.clone(), value).is_none()
                    );
                }
                assert_eq!(hash.get(&field), model.get(&field).map(Vec::as_slice));
                assert_eq!(hash.len(), model.len());
            }
            let mut all: Vec<_> =
                hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
            all.sort();
            assert!(all.into_iter().eq(model));
            assert!(hash.iter().enumerate().all(|(rank, pair)| hash.nth(rank) == Some(pair)));
            assert_eq!(hash.is_small(), fields <= 512);
            if let Hash::Large(sorted) = &hash {
                sorted.check();
            }
        }
    }

    /// Long words, and a 513th field, make a hash large; it stays so.
    #[test]
    fn thresholds_are_those_of_redis() {
        for (field, value, small) in [(64, 64, true), (65, 1, false), (1, 65, false)] {
            let mut hash = Hash::default();
            hash.set(&alloc::vec![b'f'; field], &alloc::vec![b'v'; value]);
            assert_eq!(hash.is_small(), small);
        }
        let mut hash = Hash::default();
        (0..512_u16).for_each(|field| assert!(hash.set(&field.to_be_bytes(), b"")));
        assert!(hash.is_small() && hash.nth(511) == Some((&[1, 255][..], b"")));
        hash.set(&[2, 0], b"");
        (1..=512_u16).for_each(|field| assert!(hash.remove(&field.to_be_bytes())));
        assert!(!hash.is_small() && hash.len() == 1);
    }

    /// What is there from the first step to the last comes exactly once, whatever else comes and goes.
    #[test]
    fn scans_miss_nothing() {
        let mut rng = Rng::seeded(9);
        let mut hash = Hash::default();
        (0..3000_u16).for_each(|field| assert!(hash.set(&field.to_le_bytes(), b"stays")));
        let (mut cursor, mut seen) = (0, BTreeMap::<Vec<u8>, u32>::new());
        loop {
            let mut visited = 0;
            cursor = hash.scan(cursor, 10, &mut |field, value| {
                visited += 1;
                if value == b"stays" {
                    *seen.entry(field.to_vec()).or_default() += 1;
                }
            });
            assert!(visited <= 12, "few hashes begin alike");
            if cursor == 0 {
                break;
            }
            for _ in 0..20 {
                let field = (3000 + rng.below(500) as u16).to_le_bytes();
                if rng.below(2) == 0 {
                    hash.set(&field, b"goes")
                } else {
                    hash.remove(&field)
                };
            }
        }
        assert!(seen.len() == 3000 && seen.values().all(|times| *times == 1));
    }
}
