//! Single members, their scores and ranks; and the size of a sorted set.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::access::{Txn, View};
use crate::collections::Zset;
use crate::commands::args::Args;
use crate::commands::wrong_arity;
use crate::error::{ReplyError, Result};
use crate::number::parse_double;
use crate::reply::Reply;

/// What ZADD is told in front of the scores.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word that stands there or not")]
struct Conditions {
    is_new: bool,
    exists: bool,
    is_greater: bool,
    is_less: bool,
    counts_changes: bool,
    increments: bool,
}

/// What became of one member.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// The conditions are not met.
    Refused,
    /// It has this score already.
    Same(f64),
    Updated(f64),
    Added(f64),
}

impl Conditions {
    /// The conditions, and the words behind them: scores and members.
    fn parse<'a>(words: &'a [&'a [u8]]) -> (Self, &'a [&'a [u8]]) {
        let (mut conditions, mut words) = (Self::default(), words);
        while let [word, rest @ ..] = words {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => conditions.is_new = true,
                b"XX" => conditions.exists = true,
                b"GT" => conditions.is_greater = true,
                b"LT" => conditions.is_less = true,
                b"CH" => conditions.counts_changes = true,
                b"INCR" => conditions.increments = true,
                _ => break,
            }
            words = rest;
        }
        (conditions, words)
    }

    fn check(&self, pairs: usize) -> Result<()> {
        let refusal = if self.is_new && self.exists {
            "ERR XX and NX options at the same time are not compatible"
        } else if [self.is_new, self.is_greater, self.is_less].iter().filter(|is| **is).count() > 1
        {
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        } else if self.increments && pairs > 1 {
            "ERR INCR option supports a single increment-element pair"
        } else {
            return Ok(());
        };
        Err(ReplyError::fixed(refusal))
    }

    /// What is to become of a member with the score `old`, given `score`; none if that is no number.
    fn judge(&self, old: Option<f64>, score: f64) -> Option<Fate> {
        let Some(old) = old else {
            return Some(if self.exists { Fate::Refused } else { Fate::Added(score) });
        };
        if self.is_new {
            return Some(Fate::Refused);
        }
        let score = if self.increments { old + score } else { score };
        Some(match score.partial_cmp(&old)? {
            Ordering::Less if self.is_greater => Fate::Refused,
            Ordering::Greater if self.is_less => Fate::Refused,
            Ordering::Equal if self.is_less || self.is_greater => Fate::Refused,
            Ordering::Equal => Fate::Same(score),
            Ordering::Less | Ordering::Greater => Fate::Updated(score),
        })
    }

    fn apply(&self, zset: &mut Zset, member: &[u8], score: f64) -> Option<Fate> {
        let fate = self.judge(zset.score(member), score)?;
        if let Fate::Updated(score) | Fate::Added(score) = fate {
            zset.set(member, score);
        }
        Some(fate)
    }
}

pub(super) fn zadd(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    add(tx, args, false)
}

pub(super) fn zcard<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let zset = view.get::<Zset>(args.bytes()?)?;
    Ok(Reply::Int(zset.map_or(0, Zset::len) as i64))
}

pub(super) fn zincrby(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    add(tx, args, true)
}

pub(super) fn zmscore<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let zset = view.get::<Zset>(args.bytes()?)?;
    let score = |member: &&[u8]| zset.and_then(|zset| zset.score(member));
    let scores = args.rest().iter().map(|member| score(member).map_or(Reply::Nil, Reply::Double));
    Ok(Reply::Array(scores.collect()))
}

pub(super) fn zrank<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    rank(view, args, "zrank", |_, rank| rank)
}

pub(super) fn zrem(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, members) = (args.bytes()?, args.rest());
    let removed = tx.edit(key, |zset: &mut Zset| {
        let removed = members.iter().filter(|member| zset.remove(member).is_some()).count();
        (removed, removed > 0)
    })?;
    Ok(Reply::Int(removed as i64))
}

pub(super) fn zrevrank<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    rank(view, args, "zrevrank", |zset, rank| zset.len() - 1 - rank)
}

pub(super) fn zscore<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let (key, member) = (args.bytes()?, args.bytes()?);
    let score = view.get::<Zset>(key)?.and_then(|zset| zset.score(member));
    Ok(score.map_or(Reply::Nil, Reply::Double))
}

/// ZADD and ZINCRBY, which is ZADD with INCR and takes the same options.
fn add(tx: &mut Txn<'_>, mut args: Args<'_>, increments: bool) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let (mut conditions, words) = Conditions::parse(args.rest());
    conditions.increments |= increments;
    let (pairs, rest) = words.as_chunks::<2>();
    let [[_, first], ..] = pairs else { return Err(ReplyError::SYNTAX) };
    if !rest.is_empty() {
        return Err(ReplyError::SYNTAX);
    }
    conditions.check(pairs.len())?;
    let scores = pairs.iter().map(|[score, _]| parse_double(score).ok_or(ReplyError::NOT_A_FLOAT));
    let scores: Vec<f64> = scores.collect::<Result<_>>()?;
    let create = || Zset::for_members(pairs.len(), first);
    let (last, added, updated) = tx.edit_or_create(key, create, |zset: &mut Zset| {
        zset.expect(pairs.len());
        let (mut last, mut added, mut updated) = (None, 0, 0);
        for ([_, member], score) in pairs.iter().zip(&scores) {
            last = conditions.apply(zset, member, *score);
            added += i64::from(matches!(last, Some(Fate::Added(_))));
            updated += i64::from(matches!(last, Some(Fate::Updated(_))));
        }
        ((last, added, updated), added + updated > 0)
    })?;
    if !conditions.increments {
        return Ok(Reply::Int(if conditions.counts_changes { added + updated } else { added }));
    }
    match last {
        // Only an increment can come to that, and there is but one.
        None => Err(ReplyError::fixed("ERR resulting score is not a number (NaN)")),
        Some(Fate::Refused) => Ok(Reply::Nil),
        Some(Fate::Same(score) | Fate::Updated(score) | Fate::Added(score)) => {
            Ok(Reply::Double(score))
        }
    }
}

/// ZRANK and ZREVRANK; `turn` makes of a rank the one that is asked for.
fn rank<'a>(
    view: &View<'a>,
    mut args: Args<'_>,
    command: &str,
    turn: fn(&Zset, usize) -> usize,
) -> Result<Reply<'a>> {
    let (key, member) = (args.bytes()?, args.bytes()?);
    let with_score = match args.rest() {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"WITHSCORE") => true,
        [_] => return Err(ReplyError::SYNTAX),
        _ => return Err(wrong_arity(command)),
    };
    let zset = view.get::<Zset>(key)?;
    let found = zset.and_then(|zset| {
        let (rank, score) = zset.rank(member)?;
        Some((Reply::Int(turn(zset, rank) as i64), Reply::Double(score)))
    });
    Ok(match (found, with_score) {
        (None, false) => Reply::Nil,
        (None, true) => Reply::NilArray,
        (Some((rank, _)), false) => rank,
        (Some((rank, score)), true) => Reply::Array([rank, score].into()),
    })
}
