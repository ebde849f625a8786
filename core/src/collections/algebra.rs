//! Unions, differences and intersections of sets. The form of a result is part of the state where it is stored, so it comes about as in
//! Redis: members come one by one, in Redis's order, into a set that starts out in the form in which Redis starts it.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::INTS_MAX;
use super::ints::Ints;
use super::packed::Packed;
use super::set::{Form, Set};
use crate::number::parse_int;

impl Set {
    /// What is in any of them.
    pub(crate) fn union(sets: &[&Self]) -> Self {
        // A large set with more members than any other form holds makes the result large whenever it comes: it may come first, and whole.
        let whole = sets.iter().enumerate().filter(|(_, set)| set.stays_large());
        let whole = whole.max_by_key(|(_, set)| set.len()).map(|(at, _)| at);
        let mut result =
            whole.and_then(|at| sets.get(at)).map_or_else(Self::default, |set| (*set).clone());
        for (at, set) in sets.iter().enumerate() {
            if Some(at) != whole {
                result.add_all(set.iter());
            }
        }
        result
    }

    /// What is in the first, and in none of the others.
    pub(crate) fn difference(first: &Self, others: &[&Self]) -> Self {
        if others.iter().any(|other| core::ptr::eq(*other, first)) {
            return Self::default();
        }
        let each_looked_up = first.len() * (others.len() + 1) / 2;
        let each_removed = first.len() + others.iter().map(|other| other.len()).sum::<usize>();
        if each_looked_up <= each_removed {
            let mut others = others.to_vec();
            others.sort_by_key(|other| Reverse(other.len())); // the likeliest to have a member
            let is_left = |member: &Cow<'_, [u8]>| !others.iter().any(|it| it.contains(member));
            let mut result = Self::default();
            result.add_all(first.iter().filter(is_left));
            return result;
        }
        let mut result = Self::union(&[first]);
        for other in others {
            if result.len() == 0 {
                break;
            }
            for member in other.iter() {
                result.remove(&member);
            }
        }
        result
    }

    /// What is in all of them, one after the other, in the order of the smallest.
    pub(crate) fn common<'a>(sets: &[&'a Self]) -> impl Iterator<Item = Cow<'a, [u8]>> {
        let mut sets = sets.to_vec();
        sets.sort_by_key(|set| set.len());
        let smallest = sets.first().copied();
        sets.retain(|set| smallest.is_some_and(|smallest| !core::ptr::eq(*set, smallest)));
        let members = smallest.into_iter().flat_map(Self::iter);
        members.filter(move |member| sets.iter().all(|set| set.contains(member)))
    }

    /// The same as a set.
    pub(crate) fn intersection(sets: &[&Self]) -> Self {
        let smallest = sets.iter().min_by_key(|set| set.len());
        let mut result = match smallest.map(|set| set.form()) {
            Some(Form::Ints(_)) => Self::default(),
            _ => Self::Small(Packed::default()),
        };
        result.add_all(Self::common(sets));
        result.become_ints();
        result
    }

    fn add_all<'a>(&mut self, members: impl Iterator<Item = Cow<'a, [u8]>>) {
        for member in members {
            self.add(&member);
        }
    }

    /// Whether every set that has these members, and maybe others, is large, however they came.
    fn stays_large(&self) -> bool {
        matches!(self.form(), Form::Large(_)) && self.len() > INTS_MAX
    }

    /// Few integers alone become a set of integers.
    fn become_ints(&mut self) {
        if matches!(self.form(), Form::Ints(_)) || self.len() > INTS_MAX {
            return;
        }
        let numbers: Option<Vec<i64>> = self.iter().map(|member| parse_int(&member)).collect();
        let Some(mut numbers) = numbers else { return };
        numbers.sort_unstable();
        let mut ints = Ints::default();
        for number in numbers {
            ints.add(number);
        }
        *self = Self::of_ints(ints);
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::number::int_bytes;
    use crate::rng::Rng;

    fn form(set: &Set) -> &'static str {
        match set.form() {
            Form::Ints(_) => "intset",
            Form::Small(_) => "listpack",
            Form::Large(_) => "hashtable",
        }
    }

    fn set_of(members: impl IntoIterator<Item = Vec<u8>>) -> Set {
        let mut set = Set::for_members(b"1", 1);
        set.add_all(members.into_iter().map(Cow::Owned));
        set
    }

    fn numbers(range: core::ops::Range<i64>) -> impl Iterator<Item = Vec<u8>> {
        range.map(int_bytes)
    }

    fn sorted(set: &Set) -> BTreeSet<Vec<u8>> {
        set.iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn results_are_those_of_the_algebra() {
        let mut rng = Rng::seeded(5);
        for _ in 0..100 {
            let sets: Vec<Set> = (0..=rng.below(4))
                .map(|_| {
                    let (size, words) = (rng.below(900), rng.below(3) == 0);
                    let member = |rng: &mut Rng| {
                        let mut member = int_bytes(rng.below(1000) as i64);
                        member.extend(words.then_some(b'x'));
                        member
                    };
                    set_of((0..size).map(|_| member(&mut rng)))
                })
                .collect();
            let borrowed: Vec<&Set> = sets.iter().collect();
            let models: Vec<BTreeSet<Vec<u8>>> = sets.iter().map(sorted).collect();
            let union = models.iter().flatten().cloned().collect();
            let common = models[0]
                .iter()
                .filter(|member| models.iter().all(|model| model.contains(*member)))
                .cloned()
                .collect();
            let difference = models[0]
                .iter()
                .filter(|member| !models[1..].iter().any(|model| model.contains(*member)))
                .cloned()
                .collect();
            assert_eq!(sorted(&Set::union(&borrowed)), union);
            assert_eq!(sorted(&Set::intersection(&borrowed)), common);
            assert_eq!(sorted(&Set::difference(borrowed[0], &borrowed[1..])), difference);
            assert_eq!(Set::difference(borrowed[0], &[borrowed[0]]).len(), 0);
        }
    }

    /// The form of what SINTERSTORE and its kin store.
    #[test]
    fn results_have_the_form_that_redis_gives_them() {
        let words = |count: i64| numbers(0..count).map(|number| [b"w", &*number].concat());
        let (few, many) = (set_of(numbers(0..10)), set_of(numbers(0..600)));
        let (some, more) = (set_of(words(128)), set_of(words(129)));
        assert_eq!(
            [&few, &many, &some, &more].map(form),
            ["intset", "hashtable", "listpack", "hashtable"]
        );
        for (sets, becomes) in [
            (&[&few, &few][..], "intset"),
            (&[&few, &many], "hashtable"),
            (&[&few, &some], "hashtable"),
            (&[&some], "listpack"),
            (&[&more], "hashtable"),
        ] {
            assert_eq!(form(&Set::union(sets)), becomes);
        }
        let both = set_of(words(20).chain(numbers(0..20)));
        for (sets, becomes) in [
            (&[&many, &set_of(numbers(0..513))][..], "hashtable"),
            (&[&many, &set_of(numbers(88..1000))], "intset"),
            (&[&both, &many], "intset"),
            (&[&both, &some], "listpack"),
            (&[&more], "hashtable"),
            (&[&more, &some], "listpack"),
        ] {
            assert_eq!(form(&Set::intersection(sets)), becomes);
        }
        for (first, others, becomes) in [
            (&many, &[&few][..], "hashtable"),
            (&many, &[&set_of(numbers(0..100))], "intset"),
            // Where many small sets are taken away from a large one, it stays large.
            (&many, &[&set_of(numbers(0..100)), &few, &few, &few], "hashtable"),
            (&both, &[&few], "listpack"),
            (&both, &[&some], "intset"),
        ] {
            assert_eq!(form(&Set::difference(first, others)), becomes);
        }
    }
}
