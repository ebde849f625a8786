//! Sets. Integers alone: sorted. Small: in the order in which the members came. Large: in the order of their hashes.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::ints::Ints;
use super::packed::{Entries, Packed};
use super::sorted::{Sorted, beginning_of, word_and_rest};
use super::tree::Iter;
use super::{INTS_MAX, SMALL_ENTRIES_MAX, is_small_word};
use crate::number::{int_bytes, parse_int};

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) enum Set {
    Small(Packed),
    /// Three forms side by side would make every record larger.
    Boxed(Box<Boxed>),
}

/// The forms that are not small.
#[derive(Clone, Debug)]
pub(crate) enum Boxed {
    Ints(Ints),
    Large(Sorted),
}

/// The form of a set, with what it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form<'a> {
    Ints(&'a Ints),
    Small(&'a Packed),
    Large(&'a Sorted),
}

enum FormMut<'a> {
    Ints(&'a mut Ints),
    Small(&'a mut Packed),
    Large(&'a mut Sorted),
}

/// Members, in order.
#[derive(Clone, Debug)]
pub(crate) enum Members<'a> {
    /// A set of integers, and the rank of the next one.
    Ints(&'a Ints, usize),
    Small(Entries<'a>),
    Large(Iter<'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Ints(ints, rank) => {
                *rank += 1;
                (*rank <= ints.len()).then(|| Cow::Owned(int_bytes(ints.at(*rank - 1))))
            }
            Self::Small(entries) => entries.next().map(Cow::Borrowed),
            Self::Large(entries) => Some(Cow::Borrowed(word_and_rest(entries.next()?)?.0)),
        }
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::of_ints(Ints::default())
    }
}

impl Set {
    /// An empty one that is about to get so many members, of which this is the first: Redis chooses its form by that.
    pub(crate) fn for_members(first: &[u8], count: usize) -> Self {
        if parse_int(first).is_some() && count <= INTS_MAX {
            Self::default()
        } else if count <= SMALL_ENTRIES_MAX {
            Self::Small(Packed::default())
        } else {
            Self::of_sorted(Sorted::default())
        }
    }

    pub(crate) fn of_ints(ints: Ints) -> Self {
        Self::Boxed(Box::new(Boxed::Ints(ints)))
    }

    pub(crate) fn of_sorted(sorted: Sorted) -> Self {
        Self::Boxed(Box::new(Boxed::Large(sorted)))
    }

    pub(crate) fn form(&self) -> Form<'_> {
        match self {
            Self::Small(packed) => Form::Small(packed),
            Self::Boxed(boxed) => match &**boxed {
                Boxed::Ints(ints) => Form::Ints(ints),
                Boxed::Large(sorted) => Form::Large(sorted),
            },
        }
    }

    fn form_mut(&mut self) -> FormMut<'_> {
        match self {
            Self::Small(packed) => FormMut::Small(packed),
            Self::Boxed(boxed) => match &mut **boxed {
                Boxed::Ints(ints) => FormMut::Ints(ints),
                Boxed::Large(sorted) => FormMut::Large(sorted),
            },
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self.form() {
            Form::Ints(ints) => ints.len(),
            Form::Small(packed) => packed.len(),
            Form::Large(sorted) => sorted.len(),
        }
    }

    pub(crate) fn iter(&self) -> Members<'_> {
        match self.form() {
            Form::Ints(ints) => Members::Ints(ints, 0),
            Form::Small(packed) => Members::Small(packed.iter()),
            Form::Large(sorted) => Members::Large(sorted.iter()),
        }
    }

    /// Where a member is.
    fn find(&self, member: &[u8]) -> Option<usize> {
        match self.form() {
            Form::Ints(ints) => ints.find(parse_int(member)?).ok(),
            Form::Small(packed) => packed.iter().position(|own| own == member),
            Form::Large(sorted) => sorted.find(&beginning_of(member)).map(|(rank, _)| rank),
        }
    }

    pub(crate) fn contains(&self, member: &[u8]) -> bool {
        self.find(member).is_some()
    }

    /// The member at a rank, which is below the length.
    pub(crate) fn nth(&self, rank: usize) -> Option<Cow<'_, [u8]>> {
        match self.form() {
            Form::Ints(ints) => Members::Ints(ints, rank).next(),
            Form::Small(packed) => packed.get(rank).map(Cow::Borrowed),
            Form::Large(sorted) => {
                Some(Cow::Borrowed(word_and_rest(sorted.entries().get(rank)?)?.0))
            }
        }
    }

    /// Adds a member; whether it is new.
    pub(crate) fn add(&mut self, member: &[u8]) -> bool {
        match self.form_mut() {
            FormMut::Ints(ints) => {
                let Some(number) = parse_int(member) else {
                    self.leave_ints(member);
                    return self.add(member);
                };
                let is_new = ints.add(number);
                if ints.len() > INTS_MAX {
                    self.enlarge();
                }
                is_new
            }
            FormMut::Small(packed) => {
                if packed.iter().any(|own| own == member) {
                    return false;
                }
                if packed.len() >= SMALL_ENTRIES_MAX || !is_small_word(member) {
                    self.enlarge();
                    return self.add(member);
                }
                packed.splice(usize::MAX, 0, [member]);
                true
            }
            FormMut::Large(sorted) => {
                let entry = beginning_of(member);
                let is_new = sorted.find(&entry).is_none();
                if is_new {
                    sorted.insert(&entry);
                }
                is_new
            }
        }
    }

    /// So many members are about to be added: more than its form has room for make it large at once, as in Redis.
    pub(crate) fn expect(&mut self, members: usize) {
        let room = match self.form() {
            Form::Ints(_) => INTS_MAX,
            Form::Small(_) => SMALL_ENTRIES_MAX,
            Form::Large(_) => return,
        };
        if members > room {
            self.enlarge();
        }
    }

    /// Takes the member at a rank out, which is below the length.
    pub(crate) fn remove_at(&mut self, rank: usize) {
        match self.form_mut() {
            FormMut::Ints(ints) => ints.remove_at(rank),
            FormMut::Small(packed) => packed.splice(rank, 1, []),
            FormMut::Large(sorted) => drop(sorted.remove(rank)),
        }
    }

    /// Removes a member; whether it was there.
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        let rank = self.find(member);
        rank.inspect(|rank| self.remove_at(*rank)).is_some()
    }

    /// SSCAN. A small set is visited whole.
    pub(crate) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(Cow<'a, [u8]>),
    ) -> u64 {
        match self.form() {
            Form::Ints(_) | Form::Small(_) => {
                self.iter().for_each(visit);
                0
            }
            Form::Large(sorted) => {
                sorted.scan(cursor, count, &mut |member, _| visit(Cow::Borrowed(member)))
            }
        }
    }

    /// A member comes that is no integer.
    fn leave_ints(&mut self, member: &[u8]) {
        if self.len() < SMALL_ENTRIES_MAX && is_small_word(member) {
            let members: Vec<_> = self.iter().collect();
            *self = Self::Small(Packed::of(members.iter().map(|member| &**member)));
        } else {
            self.enlarge();
        }
    }

    fn enlarge(&mut self) {
        let entries = self.iter().map(|member| beginning_of(&member)).collect();
        *self = Self::of_sorted(Sorted::of(entries));
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::rng::Rng;

    fn form(set: &Set) -> &'static str {
        match set.form() {
            Form::Ints(_) => "intset",
            Form::Small(_) => "listpack",
            Form::Large(_) => "hashtable",
        }
    }

    #[test]
    fn changes_are_those_of_a_set() {
        let mut rng = Rng::seeded(8);
        for (members, words, ends_as) in [
            (30, 0, "intset"),
            (30, 10, "listpack"),
            (400, 0, "intset"),
            (400, 10, "hashtable"),
            (3000, 0, "hashtable"),
        ] {
            let (mut set, mut model) = (Set::for_members(b"1", 1), BTreeSet::new());
            for _ in 0..5000 {
                let number = rng.below(members);
                let mut member = int_bytes(number as i64 - 9);
                if rng.below(100) < words {
                    member.extend_from_slice(b"th");
                }
                if rng.below(4) == 0 {
                    assert_eq!(set.remove(&member), model.remove(&member));
                } else {
                    assert_eq!(set.add(&member), model.insert(member.clone()));
                }
                assert_eq!(set.contains(&member), model.contains(&member));
                assert_eq!(set.len(), model.len());
            }
            let mut all: Vec<_> = set.iter().map(Cow::into_owned).collect();
            all.sort();
            assert!(all.into_iter().eq(model));
            let members: Vec<_> = set.iter().collect();
            assert!((0..set.len()).all(|rank| set.nth(rank).as_ref() == members.get(rank)));
            assert_eq!(form(&set), ends_as);
            if let Form::Large(sorted) = set.form() {
                sorted.check();
            }
        }
    }

    #[test]
    fn what_is_expected_decides_the_form() {
        for (first, members, becomes) in [
            (&b"1"[..], 512, "intset"),
            (b"1", 513, "hashtable"),
            (b"x", 128, "listpack"),
            (b"x", 129, "hashtable"),
        ] {
            let mut set = Set::for_members(first, 1);
            set.add(first);
            set.expect(members);
            assert_eq!((form(&set), set.len()), (becomes, 1));
            assert!(set.contains(first));
        }
    }

    #[test]
    fn thresholds_are_those_of_redis() {
        for (first, count, starts_as) in [
            (&b"1"[..], 512, "intset"),
            (b"1", 513, "hashtable"),
            (b"x", 128, "listpack"),
            (b"x", 129, "hashtable"),
            (b"01", 2, "listpack"),
        ] {
            assert_eq!(form(&Set::for_members(first, count)), starts_as);
        }
        let mut set = Set::for_members(b"1", 1);
        (0..512).for_each(|number| assert!(set.add(&int_bytes(number))));
        assert_eq!(form(&set), "intset");
        set.add(b"512");
        assert_eq!(form(&set), "hashtable");
        for (ints, word, becomes) in
            [(127, 64, "listpack"), (128, 1, "hashtable"), (1, 65, "hashtable")]
        {
            let mut set = Set::for_members(b"1", 1);
            (0..ints).for_each(|number| assert!(set.add(&int_bytes(number))));
            set.add(&alloc::vec![b'x'; word]);
            assert_eq!((form(&set), set.len()), (becomes, ints as usize + 1));
        }
    }
}
