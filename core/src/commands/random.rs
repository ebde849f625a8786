//! Random choices among the elements of a collection: functions of a seed alone. HRANDFIELD, SRANDMEMBER and SPOP choose by them.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::args::Args;
use crate::error::{ReplyError, Result};
use crate::rng::Rng;

/// Elements that one command may ask for with repetition. Redis has no bound, and dies of what it then builds.
const REPEATED_MAX: u64 = 1 << 20;
/// Where more than one element of so many is wanted, walking over all is faster than finding each.
const WALK_ONE_OF: usize = 8;

/// How many elements are wanted: negative with repetition.
pub(super) fn count(args: &mut Args<'_>) -> Result<i64> {
    let count = args.int()?;
    if count == i64::MIN {
        return Err(ReplyError::fixed(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    Ok(count)
}

/// So many ranks below `length`, in order, each choice as likely as any other (Floyd's algorithm; Bentley, "A sample of brilliance", 1987).
pub(super) fn ranks(rng: &mut Rng, count: usize, length: usize) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    for last in length.saturating_sub(count)..length {
        let rank = rng.below(last as u64 + 1) as usize;
        if !chosen.insert(rank) {
            chosen.insert(last);
        }
    }
    chosen
}

/// A rank below `length`, which is not 0.
pub(super) fn rank(rng: &mut Rng, length: usize) -> usize {
    rng.below(length as u64) as usize
}

/// Chooses `count` of `length` elements, which `all` walks over and `at` finds by rank.
///
/// # Errors
/// With repetition, more are wanted than there is room for.
pub(super) fn choose<T: Clone>(
    seed: u64,
    count: i64,
    length: usize,
    mut all: impl Iterator<Item = T>,
    at: impl Fn(usize) -> Option<T>,
) -> Result<Vec<T>> {
    let mut rng = Rng::seeded(seed);
    let wanted = count.unsigned_abs();
    if length == 0 {
        return Ok(Vec::new());
    }
    if count < 0 {
        if wanted > REPEATED_MAX {
            return Err(ReplyError::fixed("ERR value is out of range"));
        }
        if wanted <= (length / WALK_ONE_OF) as u64 {
            return Ok((0..wanted).filter_map(|_| at(rank(&mut rng, length))).collect());
        }
        let all: Vec<T> = all.collect();
        return Ok((0..wanted).filter_map(|_| all.get(rank(&mut rng, length)).cloned()).collect());
    }
    let Some(wanted) = usize::try_from(wanted).ok().filter(|wanted| *wanted < length) else {
        return Ok(all.collect());
    };
    let ranks = ranks(&mut rng, wanted, length);
    if wanted <= length / WALK_ONE_OF {
        return Ok(ranks.into_iter().filter_map(at).collect());
    }
    let (mut chosen, mut next) = (Vec::with_capacity(wanted), 0);
    for rank in ranks {
        chosen.extend(all.nth(rank - next));
        next = rank + 1;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(seed: u64, count: i64, length: usize) -> Vec<usize> {
        choose(seed, count, length, 0..length, Some).expect("the count is small")
    }

    #[test]
    fn choices_are_distinct_or_not_as_asked() {
        for (seed, length) in (0..200).map(|seed| (seed, 1 + seed as usize % 90)) {
            for count in [0, 1, 2, 5, 40, 89, 90, 91, i64::MAX] {
                let choice = chosen(seed, count, length);
                assert_eq!(choice.len() as i64, count.min(length as i64));
                assert!(choice.is_sorted_by(|one, other| one < other));
                assert!(choice.iter().all(|rank| *rank < length));
                assert_eq!(choice, chosen(seed, count, length));
            }
            for count in [1, 2, 50, 500] {
                let choice = chosen(seed, -count, length);
                assert!(choice.len() as i64 == count && choice.iter().all(|rank| *rank < length));
            }
        }
        assert!(choose(1, -(1 << 21), 3, 0..3, Some).is_err());
        assert!(chosen(1, i64::MIN + 1, 0).is_empty());
    }

    /// Every pair of five comes about as often as any other.
    #[test]
    fn choices_are_fair() {
        let mut times = alloc::collections::BTreeMap::<Vec<usize>, u32>::new();
        for seed in 0..10_000 {
            *times.entry(chosen(seed, 2, 5)).or_default() += 1;
        }
        assert_eq!(times.len(), 10);
        assert!(times.values().all(|times| (850..1150).contains(times)), "{times:?}");
    }
}
