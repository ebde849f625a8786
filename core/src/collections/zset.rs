//! Sorted sets: members by score, those of one score by their bytes. Small: packed. Large: a tree in that order, and one from
//! members to scores.
//!
//! An entry is the score, as eight bytes whose order is that of the scores, and the member. So the order of members is that of bytes, and a
//! range of scores or members is one of ranks. Minus zero is zero, as in Redis's small sorted sets.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::packed::{Entries, Packed};
use super::sorted::{Sorted, beginning_of};
use super::tree::{Iter, IterBack, Tree};
use super::{SMALL_ENTRIES_MAX, is_small_word};

const SCORE_BYTES: usize = 8;

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) enum Zset {
    Small(Packed),
    Large(Box<Large>),
}

/// A large one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Large {
    order: Sorted,
    /// For each member, its score. Not written down: `order` says the same.
    scores: Sorted,
}

/// Members with their scores.
#[derive(Clone, Debug)]
pub(crate) enum Ranked<'a> {
    Small(Entries<'a>),
    /// What is left of a small one, to be taken from the end.
    SmallBack(Vec<&'a [u8]>),
    Large(Iter<'a>),
    LargeBack(IterBack<'a>),
}

impl<'a> Iterator for Ranked<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        parts(match self {
            Self::Small(entries) => entries.next()?,
            Self::SmallBack(entries) => entries.pop()?,
            Self::Large(entries) => entries.next()?,
            Self::LargeBack(entries) => entries.next()?,
        })
    }
}

/// The entry of a member.
fn entry_of(member: &[u8], score: f64) -> Vec<u8> {
    [&key_of_score(score), member].concat()
}

fn parts(entry: &[u8]) -> Option<(&[u8], f64)> {
    let (key, member) = entry.split_first_chunk()?;
    Some((member, score_of(*key)))
}

/// A score as bytes in the order of scores.
fn key_of_score(score: f64) -> [u8; SCORE_BYTES] {
    let bits = (score + 0.0).to_bits(); // minus zero becomes zero
    let flip = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
    (bits ^ flip).to_be_bytes()
}

fn score_of(key: [u8; SCORE_BYTES]) -> f64 {
    let bits = u64::from_be_bytes(key);
    f64::from_bits(bits ^ if bits >> 63 == 1 { 1 << 63 } else { u64::MAX })
}

impl Large {
    pub(crate) const fn order(&self) -> &Sorted {
        &self.order
    }

    pub(crate) fn into_trees(self) -> [Tree; 2] {
        [self.order.into_entries(), self.scores.into_entries()]
    }

    /// Whether the other tree has the member of this entry of `order` as well, with its score.
    pub(crate) fn agrees(&self, entry: &[u8]) -> bool {
        let Some((key, member)) = entry.split_first_chunk::<SCORE_BYTES>() else { return false };
        self.scores.len() == self.order.len() && self.key_of(member) == Some(*key)
    }

    fn key_of(&self, member: &[u8]) -> Option<[u8; SCORE_BYTES]> {
        let beginning = beginning_of(member);
        let (_, entry) = self.scores.find(&beginning)?;
        entry.get(beginning.len()..)?.try_into().ok()
    }

    fn insert(&mut self, entry: &[u8]) {
        let Some((key, member)) = entry.split_first_chunk::<SCORE_BYTES>() else { return };
        self.order.insert(entry);
        let mut by_member = beginning_of(member);
        by_member.extend_from_slice(key);
        self.scores.insert(&by_member);
    }

    /// Puts an entry behind all others, as a snapshot has it; whether it belongs there.
    pub(crate) fn push(&mut self, entry: &[u8]) -> bool {
        let Some((key, member)) = entry.split_first_chunk::<SCORE_BYTES>() else { return false };
        let mut by_member = beginning_of(member);
        let is_new = self.scores.find(&by_member).is_none();
        by_member.extend_from_slice(key);
        if is_new {
            self.scores.insert(&by_member);
        }
        is_new && !score_of(*key).is_nan() && self.order.push(entry)
    }

    /// Of tests: a score changes by itself, in one place.
    #[cfg(test)]
    pub(crate) fn damage(&mut self) {
        self.scores.damage();
    }

    fn forget(scores: &mut Sorted, member: &[u8]) {
        if let Some((rank, _)) = scores.find(&beginning_of(member)) {
            scores.remove(rank);
        }
    }
}

impl Default for Zset {
    fn default() -> Self {
        Self::Small(Packed::default())
    }
}

impl Zset {
    /// An empty one that is about to get so many members, of which this is the first: Redis chooses its form by that.
    pub(crate) fn for_members(count: usize, first: &[u8]) -> Self {
        if count <= SMALL_ENTRIES_MAX && is_small_word(first) {
            Self::default()
        } else {
            Self::Large(Box::default())
        }
    }

    /// So many members are about to be set, new or not: Redis chooses the form by that as well.
    pub(crate) fn expect(&mut self, count: usize) {
        if count > SMALL_ENTRIES_MAX && matches!(self, Self::Small(_)) {
            self.enlarge();
        }
    }

    /// Bytes that came from elsewhere; none if they are no small sorted set.
    pub(crate) fn checked(bytes: &[u8]) -> Option<Self> {
        let (packed, _) = Packed::checked(bytes)?;
        let in_order = packed.iter().zip(packed.iter().skip(1)).all(|(one, other)| one < other);
        let whole =
            packed.iter().all(|entry| parts(entry).is_some_and(|(_, score)| !score.is_nan()));
        (in_order && whole).then_some(Self::Small(packed))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Small(packed) => packed.len(),
            Self::Large(large) => large.order.len(),
        }
    }

    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Small(packed) => packed
                .iter()
                .filter_map(parts)
                .find(|(own, _)| *own == member)
                .map(|(_, score)| score),
            Self::Large(large) => large.key_of(member).map(score_of),
        }
    }

    /// The rank of an entry, or that which it would have: how many are below it.
    fn seek(&self, entry: &[u8]) -> usize {
        match self {
            Self::Small(packed) => packed.iter().take_while(|own| *own < entry).count(),
            Self::Large(large) => large.order.entries().seek(entry).0,
        }
    }

    /// How many members have a lower score; with `or_equal`, those of this score as well.
    pub(crate) fn count_below(&self, score: f64, or_equal: bool) -> usize {
        let key = key_of_score(score);
        if !or_equal {
            return self.seek(&key);
        }
        match u64::from_be_bytes(key).checked_add(1) {
            Some(next) => self.seek(&next.to_be_bytes()),
            None => self.len(),
        }
    }

    /// Where all members have one score: how many are below `member`; with `or_equal`, counting itself.
    pub(crate) fn count_lex_below(&self, member: &[u8], or_equal: bool) -> usize {
        let Some((_, score)) = self.iter_from(0).next() else { return 0 };
        let mut entry = entry_of(member, score);
        if or_equal {
            entry.push(0); // the next string there is
        }
        self.seek(&entry)
    }

    /// The rank of a member, with its score.
    pub(crate) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.seek(&entry_of(member, score)), score))
    }

    /// Sets the score of a member; answers the one it had. The score is not NaN.
    pub(crate) fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let old = self.remove(member);
        let entry = entry_of(member, score);
        if let Self::Small(packed) = self
            && (packed.len() >= SMALL_ENTRIES_MAX || !is_small_word(member))
        {
            self.enlarge();
        }
        match self {
            Self::Small(packed) => {
                let rank = packed.iter().take_while(|own| *own < &entry[..]).count();
                packed.insert(rank, &entry);
            }
            Self::Large(large) => large.insert(&entry),
        }
        old
    }

    /// Removes a member; answers its score.
    pub(crate) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (rank, score) = self.rank(member)?;
        self.remove_range(rank, rank + 1);
        Some(score)
    }

    /// Removes the members at the ranks `from..to`.
    pub(crate) fn remove_range(&mut self, from: usize, to: usize) {
        match self {
            Self::Small(packed) => packed.splice(from, to.saturating_sub(from), []),
            Self::Large(large) => {
                let Large { order, scores } = &mut **large;
                order.remove_range(from, to, &mut |entry| {
                    Large::forget(scores, entry.get(SCORE_BYTES..).unwrap_or_default());
                });
            }
        }
    }

    /// The member at a rank, with its score.
    pub(crate) fn nth(&self, rank: usize) -> Option<(&[u8], f64)> {
        parts(match self {
            Self::Small(packed) => packed.get(rank)?,
            Self::Large(large) => large.order.entries().get(rank)?,
        })
    }

    /// From a rank on, upwards.
    pub(crate) fn iter_from(&self, rank: usize) -> Ranked<'_> {
        match self {
            Self::Small(packed) => Ranked::Small(packed.iter_from(rank)),
            Self::Large(large) => Ranked::Large(large.order.entries().iter_from(rank)),
        }
    }

    /// The members in front of a rank, downwards.
    pub(crate) fn iter_back_from(&self, rank: usize) -> Ranked<'_> {
        match self {
            Self::Small(packed) => Ranked::SmallBack(packed.iter().take(rank).collect()),
            Self::Large(large) => Ranked::LargeBack(large.order.entries().iter_back_from(rank)),
        }
    }

    /// ZSCAN. A small one is visited whole.
    pub(crate) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a [u8], f64),
    ) -> u64 {
        match self {
            Self::Small(_) => {
                self.iter_from(0).for_each(|(member, score)| visit(member, score));
                0
            }
            Self::Large(large) => large.scores.scan(cursor, count, &mut |member, key| {
                if let Ok(key) = key.try_into() {
                    visit(member, score_of(key));
                }
            }),
        }
    }

    fn enlarge(&mut self) {
        let mut large = Large::default();
        if let Self::Small(packed) = self {
            packed.iter().for_each(|entry| large.insert(entry));
        }
        *self = Self::Large(Box::new(large));
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use crate::rng::Rng;

    fn check(zset: &Zset) {
        if let Zset::Large(large) = zset {
            large.order.check();
            large.scores.check();
            assert!(large.order.iter().all(|entry| large.agrees(entry)));
        }
    }

    #[test]
    fn changes_are_those_of_a_sorted_vector() {
        let mut rng = Rng::seeded(8);
        for members in [25, 128, 900] {
            let (mut zset, mut model) = (Zset::default(), BTreeMap::<Vec<u8>, f64>::new());
            for round in 0..4000_i32 {
                let member = rng.below(members).to_le_bytes()[..2].to_vec();
                let score =
                    [0.0, -0.0, 1.5, -1.5, f64::INFINITY, f64::NEG_INFINITY, f64::from(round)]
                        [rng.below(7) as usize];
                match rng.below(4) {
                    0 => assert_eq!(zset.remove(&member), model.remove(&member)),
                    1 if rng.below(50) == 0 => {
                        let from = rng.below(zset.len() as u64 + 1) as usize;
                        let gone: Vec<Vec<u8>> = zset
                            .iter_from(from)
                            .take(5)
                            .map(|(member, _)| member.to_vec())
                            .collect();
                        zset.remove_range(from, from + gone.len());
                        gone.iter().for_each(|member| assert!(model.remove(member).is_some()));
                    }
                    _ => assert_eq!(zset.set(&member, score), model.insert(member.clone(), score)),
                }
                assert_eq!(zset.score(&member), model.get(&member).copied());
                assert_eq!(zset.len(), model.len());
            }
            let mut order: Vec<(f64, Vec<u8>)> = model.into_iter().map(|(m, s)| (s, m)).collect();
            order.sort_by(|one, other| one.partial_cmp(other).expect("no NaN"));
            let pairs = |iter: Ranked<'_>| iter.map(|(m, s)| (s, m.to_vec())).collect::<Vec<_>>();
            assert_eq!(pairs(zset.iter_from(0)), order);
            assert_eq!(zset.nth(order.len()), None);
            for (rank, (score, member)) in order.iter().enumerate() {
                assert_eq!(zset.rank(member), Some((rank, *score)));
                assert_eq!(zset.nth(rank), Some((&member[..], *score)));
                let below = order.iter().filter(|other| other.0 < *score).count();
                let or_equal = order.iter().filter(|other| other.0 <= *score).count();
                assert_eq!(zset.count_below(*score, false), below);
                assert_eq!(zset.count_below(*score, true), or_equal);
            }
            let mut back = pairs(zset.iter_back_from(usize::MAX));
            back.reverse();
            assert_eq!(back, order);
            check(&zset);
        }
    }

    #[test]
    fn members_of_one_score_are_in_the_order_of_their_bytes() {
        for count in [50, 500_u16] {
            let mut zset = Zset::default();
            for number in (0..count).rev() {
                zset.set(&number.to_be_bytes(), 7.0);
            }
            for number in 0..count {
                let member = number.to_be_bytes();
                assert_eq!(zset.count_lex_below(&member, false), usize::from(number));
                assert_eq!(zset.count_lex_below(&member, true), usize::from(number) + 1);
            }
            check(&zset);
        }
    }

    #[test]
    fn what_is_to_come_decides_the_form() {
        for (count, first, is_small) in [(128, 64, true), (129, 64, false), (1, 65, false)] {
            let zset = Zset::for_members(count, &alloc::vec![b'x'; first]);
            assert_eq!(matches!(zset, Zset::Small(_)), is_small);
        }
        let mut zset = Zset::default();
        zset.set(b"a", 1.0);
        zset.expect(128);
        assert!(matches!(zset, Zset::Small(_)));
        zset.expect(129);
        assert!(matches!(zset, Zset::Large(_)));
        assert_eq!(zset.nth(0), Some((&b"a"[..], 1.0)));
        check(&zset);
    }

    /// Bytes that are damaged are no sorted set.
    #[test]
    fn what_is_out_of_order_is_not_taken() {
        let (one, other) = (entry_of(b"a", 1.0), entry_of(b"a", 2.0));
        let packed = |entries: [&[u8]; 2]| Packed::of(entries);
        assert!(Zset::checked(packed([&one, &other]).bytes()).is_some());
        assert!(Zset::checked(packed([&other, &one]).bytes()).is_none());
        assert!(Zset::checked(packed([&one, &one]).bytes()).is_none());
        assert!(Zset::checked(packed([&one[..5], &other]).bytes()).is_none());
        let mut large = Large::default();
        assert!(large.push(&one) && !large.push(&other) && !large.push(&one) && !large.push(b"x"));
    }
}
