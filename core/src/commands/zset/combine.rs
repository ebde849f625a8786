//! Unions, intersections and differences of sorted sets, and of sets, whose members have the score 1.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::access::{Collection, Txn, View};
use crate::collections::{Set, Zset};
use crate::commands::args::Args;
use crate::error::{ReplyError, Result};
use crate::number::{parse_double, parse_int};
use crate::reply::Reply;

/// Which sets are combined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What is done with the outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Answer,
    Store,
    Count,
}

/// How the scores of one member become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

/// Members with their scores.
type Members<'a> = Vec<(Cow<'a, [u8]>, f64)>;

/// What lives at a key.
#[derive(Clone, Copy)]
enum Content<'a> {
    Nothing,
    Set(&'a Set),
    Zset(&'a Zset),
}

#[derive(Clone, Copy)]
struct Source<'a> {
    content: Content<'a>,
    weight: f64,
}

/// A command that has been read.
struct Call<'a> {
    sources: Vec<Source<'a>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Where counting may end; 0 if nowhere.
    limit: usize,
}

impl Aggregate {
    /// Not a number, as infinity less infinity, counts as 0.
    fn join(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum if (one + other).is_nan() => 0.0,
            Self::Sum => one + other,
            Self::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Self::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

impl<'a> Source<'a> {
    fn at(view: &View<'a>, key: &[u8]) -> Result<Self> {
        let content = match view.collection(key)? {
            None => Content::Nothing,
            Some(value) => match (Set::of(value), Zset::of(value)) {
                (Some(set), _) => Content::Set(set),
                (_, Some(zset)) => Content::Zset(zset),
                (None, None) => return Err(ReplyError::WRONG_TYPE),
            },
        };
        Ok(Self { content, weight: 1.0 })
    }

    fn len(&self) -> usize {
        match self.content {
            Content::Nothing => 0,
            Content::Set(set) => set.len(),
            Content::Zset(zset) => zset.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self.content {
            Content::Nothing => None,
            Content::Set(set) => set.contains(member).then_some(1.0),
            Content::Zset(zset) => zset.score(member),
        }
    }

    /// All members with their scores.
    fn iter(&self) -> impl Iterator<Item = (Cow<'a, [u8]>, f64)> + use<'a> {
        let (set, zset) = match self.content {
            Content::Nothing => (None, None),
            Content::Set(set) => (Some(set), None),
            Content::Zset(zset) => (None, Some(zset)),
        };
        let of_set = set.into_iter().flat_map(Set::iter).map(|member| (member, 1.0));
        let of_zset = zset.into_iter().flat_map(|zset| zset.iter_from(0));
        of_set.chain(of_zset.map(|(member, score)| (Cow::Borrowed(member), score)))
    }

    /// Infinity times 0 counts as 0.
    fn weighted(&self, score: f64) -> f64 {
        let weighted = self.weight * score;
        if weighted.is_nan() { 0.0 } else { weighted }
    }
}

impl<'a> Call<'a> {
    /// Reads from the count of keys on.
    fn parse(
        view: &View<'a>,
        args: &mut Args<'_>,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Self> {
        let (name, count) = (args.argv().first().copied().unwrap_or_default(), args.int()?);
        if count < 1 {
            let name = alloc::string::String::from_utf8_lossy(name).to_ascii_lowercase();
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return Err(ReplyError::made(text));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (keys, words) = args.rest().split_at_checked(count).ok_or(ReplyError::SYNTAX)?;
        let sources = keys.iter().map(|key| Source::at(view, key)).collect::<Result<_>>()?;
        let mut call = Self { sources, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        call.parse_options(words, operation, purpose)?;
        Ok(call)
    }

    fn parse_options(
        &mut self,
        words: &[&[u8]],
        operation: Operation,
        purpose: Purpose,
    ) -> Result<()> {
        let counts = purpose == Purpose::Count;
        let aggregates = operation != Operation::Difference && !counts;
        let (mut words, keys) = (words, self.sources.len());
        while let [word, rest @ ..] = words {
            words = match (word.to_ascii_uppercase().as_slice(), rest) {
                (b"WEIGHTS", _) if aggregates && rest.len() >= keys => {
                    let (weights, rest) = rest.split_at(keys);
                    for (source, weight) in self.sources.iter_mut().zip(weights) {
                        let refused = ReplyError::fixed("ERR weight value is not a float");
                        source.weight = parse_double(weight).ok_or(refused)?;
                    }
                    rest
                }
                (b"AGGREGATE", [word, rest @ ..]) if aggregates => {
                    self.aggregate = match word.to_ascii_uppercase().as_slice() {
                        b"SUM" => Aggregate::Sum,
                        b"MIN" => Aggregate::Min,
                        b"MAX" => Aggregate::Max,
                        _ => return Err(ReplyError::SYNTAX),
                    };
                    rest
                }
                (b"WITHSCORES", _) if purpose == Purpose::Answer => {
                    self.with_scores = true;
                    rest
                }
                (b"LIMIT", [limit, rest @ ..]) if counts => {
                    let limit = parse_int(limit).filter(|limit| *limit >= 0);
                    let refused = ReplyError::fixed("ERR LIMIT can't be negative");
                    self.limit = usize::try_from(limit.ok_or(refused)?).unwrap_or(usize::MAX);
                    rest
                }
                _ => return Err(ReplyError::SYNTAX),
            };
        }
        Ok(())
    }

    /// The smallest set comes first, as in Redis: sums of scores depend on their order.
    fn by_size(&self) -> Vec<Source<'a>> {
        let mut sources = self.sources.clone();
        sources.sort_by_key(Source::len);
        sources
    }

    fn union(&self) -> Members<'a> {
        let mut joined: BTreeMap<Cow<'a, [u8]>, f64> = BTreeMap::new();
        for source in self.by_size() {
            for (member, score) in source.iter() {
                let score = source.weighted(score);
                match joined.entry(member) {
                    Entry::Vacant(place) => {
                        place.insert(score);
                    }
                    Entry::Occupied(mut place) => {
                        let sum = self.aggregate.join(*place.get(), score);
                        place.insert(sum);
                    }
                }
            }
        }
        joined.into_iter().collect()
    }

    /// One by one, so that counting may stop.
    fn intersection(&self) -> impl Iterator<Item = (Cow<'a, [u8]>, f64)> + use<'a> {
        let (sources, aggregate) = (self.by_size(), self.aggregate);
        let first = sources.first().copied();
        first.into_iter().flat_map(|first| first.iter().map(move |pair| (first, pair))).filter_map(
            move |(first, (member, score))| {
                let mut joined = first.weighted(score);
                for other in sources.iter().skip(1) {
                    // Redis has no 0 for infinity times 0 here: a sum with it is 0, and nothing is less or greater.
                    joined = aggregate.join(joined, other.score(&member)? * other.weight);
                }
                Some((member, joined))
            },
        )
    }

    fn difference(&self) -> Members<'a> {
        let Some((first, others)) = self.sources.split_first() else { return Vec::new() };
        let is_left = |member: &[u8]| others.iter().all(|other| other.score(member).is_none());
        first.iter().filter(|(member, _)| is_left(member)).collect()
    }

    /// What comes out, in order.
    fn run(&self, operation: Operation) -> Members<'a> {
        let mut members = match operation {
            Operation::Union => self.union(),
            Operation::Intersection => self.intersection().collect(),
            Operation::Difference => self.difference(),
        };
        members.sort_by(|(one, score), (other, other_score)| {
            let by_score = score.partial_cmp(other_score).unwrap_or(Ordering::Equal);
            by_score.then_with(|| one.cmp(other))
        });
        members
    }
}

pub(super) fn zdiff<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    answer(view, args, Operation::Difference)
}

pub(super) fn zdiffstore(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    store(tx, args, Operation::Difference)
}

pub(super) fn zinter<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    answer(view, args, Operation::Intersection)
}

pub(super) fn zintercard<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let call = Call::parse(view, &mut args, Operation::Intersection, Purpose::Count)?;
    let limit = if call.limit == 0 { usize::MAX } else { call.limit };
    Ok(Reply::Int(call.intersection().take(limit).count() as i64))
}

pub(super) fn zinterstore(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    store(tx, args, Operation::Intersection)
}

pub(super) fn zunion<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    answer(view, args, Operation::Union)
}

pub(super) fn zunionstore(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    store(tx, args, Operation::Union)
}

fn answer<'a>(view: &View<'a>, mut args: Args<'_>, operation: Operation) -> Result<Reply<'a>> {
    let call = Call::parse(view, &mut args, operation, Purpose::Answer)?;
    let members = call.run(operation).into_iter();
    Ok(if call.with_scores {
        let pair = |(member, score)| (Reply::Bulk(member), Reply::Double(score));
        Reply::Pairs(members.map(pair).collect())
    } else {
        Reply::Array(members.map(|(member, _)| Reply::Bulk(member)).collect())
    })
}

fn store(tx: &mut Txn<'_>, mut args: Args<'_>, operation: Operation) -> Result<Reply<'static>> {
    let target = args.bytes()?;
    let mut stored = Zset::default();
    let call = Call::parse(&tx.view(), &mut args, operation, Purpose::Store)?;
    for (member, score) in call.run(operation) {
        stored.set(&member, score);
    }
    Ok(Reply::Int(tx.store(target, stored) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(call: &Call<'_>, operation: Operation) -> Vec<(Vec<u8>, f64)> {
        let members = call.run(operation).into_iter();
        members.map(|(member, score)| (member.into_owned(), score)).collect()
    }

    /// Members of sets have the score 1, whatever form the set has.
    #[test]
    fn sets_are_sources_too() {
        let word = |number: u32| format!("{number}").into_bytes();
        let (mut ints, mut words, mut zset) = (Set::default(), Set::default(), Zset::default());
        words.add(b"word");
        for number in 0..300 {
            ints.add(&word(number));
            words.add(&word(2 * number));
            zset.set(&word(3 * number), f64::from(number));
        }
        let source = |content, weight| Source { content, weight };
        let sources = [
            source(Content::Zset(&zset), 2.0),
            source(Content::Set(&ints), 3.0),
            source(Content::Set(&words), 5.0),
        ];
        let mut call = Call {
            sources: sources.into(),
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let expected: Vec<_> = (0..50).map(|at| (word(6 * at), f64::from(4 * at) + 8.0)).collect();
        assert_eq!(outcome(&call, Operation::Intersection), expected);
        let union = outcome(&call, Operation::Union);
        let is_in =
            |at: &u32| *at < 300 || at.is_multiple_of(3) || (at.is_multiple_of(2) && *at < 600);
        assert_eq!(union.len(), 1 + (0..900).filter(is_in).count());
        call.aggregate = Aggregate::Max;
        assert!(outcome(&call, Operation::Union).contains(&(b"word".to_vec(), 5.0)));
        call.sources.reverse();
        let left = outcome(&call, Operation::Difference);
        assert!(left.iter().all(|(_, score)| score.total_cmp(&1.0).is_eq()));
        assert_eq!(left.len(), 1 + (300..600).filter(|at| at % 2 == 0 && at % 3 != 0).count());
    }
}
