//! The members with the lowest or highest scores, removed and answered. `pop` and the replies serve commands that wait, too.

use alloc::vec::Vec;

use crate::access::{Txn, View};
use crate::collections::Zset;
use crate::commands::args::Args;
use crate::error::{ReplyError, Result};
use crate::number::parse_int;
use crate::reply::Reply;

/// Where members are popped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Extreme {
    Lowest,
    Highest,
}

/// Members with their scores, in the order in which they were popped.
pub(in crate::commands) type Popped = Vec<(Vec<u8>, f64)>;

/// Pops up to `count` members of the sorted set at `key`; none if there is no such key.
///
/// # Errors
/// WRONGTYPE if another type lives there.
pub(in crate::commands) fn pop(
    tx: &mut Txn<'_>,
    key: &[u8],
    end: Extreme,
    count: usize,
) -> Result<Popped> {
    tx.edit(key, |zset: &mut Zset| {
        let (length, count) = (zset.len(), count.min(zset.len()));
        let from = if end == Extreme::Lowest { 0 } else { length - count };
        let members = match end {
            Extreme::Lowest => zset.iter_from(0),
            Extreme::Highest => zset.iter_back_from(length),
        };
        let popped: Popped =
            members.take(count).map(|(member, score)| (member.to_vec(), score)).collect();
        zset.remove_range(from, from + count);
        (popped, count > 0)
    })
}

/// The first of these keys that exists.
///
/// # Errors
/// WRONGTYPE if it is no sorted set.
pub(in crate::commands) fn first_of<'k>(
    view: &View<'_>,
    keys: &[&'k [u8]],
) -> Result<Option<&'k [u8]>> {
    for key in keys {
        if view.get::<Zset>(key)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// What ZMPOP answers: the key, and members with their scores, each in an array in both protocols.
pub(in crate::commands) fn reply_with_key(key: &[u8], popped: Popped) -> Reply<'static> {
    let pair = |(member, score): (Vec<u8>, f64)| {
        Reply::Array([Reply::bulk_owned(member), Reply::Double(score)].into())
    };
    let members = Reply::Array(popped.into_iter().map(pair).collect());
    Reply::Array([Reply::bulk_owned(key), members].into())
}

/// What follows the count of keys in ZMPOP.
pub(in crate::commands) struct MultiPop<'a> {
    pub(in crate::commands) keys: &'a [&'a [u8]],
    pub(in crate::commands) end: Extreme,
    pub(in crate::commands) count: usize,
}

impl<'a> MultiPop<'a> {
    /// `numkeys key [key ...] <MIN | MAX> [COUNT count]`, to the end.
    pub(in crate::commands) fn parse(args: &mut Args<'a>) -> Result<Self> {
        let positive = |word: &[u8], text: ReplyError| {
            let number = parse_int(word).filter(|number| *number > 0);
            let number = number.and_then(|number| usize::try_from(number).ok());
            number.ok_or(text)
        };
        let count =
            positive(args.bytes()?, ReplyError::fixed("ERR numkeys should be greater than 0"))?;
        let (keys, words) = args.rest().split_at_checked(count).ok_or(ReplyError::SYNTAX)?;
        let (end, words) = match words {
            [word, rest @ ..] if word.eq_ignore_ascii_case(b"MIN") => (Extreme::Lowest, rest),
            [word, rest @ ..] if word.eq_ignore_ascii_case(b"MAX") => (Extreme::Highest, rest),
            _ => return Err(ReplyError::SYNTAX),
        };
        let (count, rest) = match words {
            [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"COUNT") => {
                (positive(count, ReplyError::fixed("ERR count should be greater than 0"))?, rest)
            }
            _ => (1, words),
        };
        if rest.is_empty() { Ok(Self { keys, end, count }) } else { Err(ReplyError::SYNTAX) }
    }
}

pub(super) fn zmpop(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let MultiPop { keys, end, count } = MultiPop::parse(&mut args)?;
    let Some(key) = first_of(&tx.view(), keys)? else { return Ok(Reply::NilArray) };
    Ok(reply_with_key(key, pop(tx, key, end, count)?))
}

pub(super) fn zpopmax(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    zpop(tx, args, Extreme::Highest)
}

pub(super) fn zpopmin(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    zpop(tx, args, Extreme::Lowest)
}

fn zpop(tx: &mut Txn<'_>, mut args: Args<'_>, end: Extreme) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let count = match args.rest() {
        [] => None,
        [word] => {
            let count = parse_int(word).filter(|count| *count >= 0);
            let refused = ReplyError::fixed("ERR value is out of range, must be positive");
            Some(usize::try_from(count.ok_or(refused)?).unwrap_or(usize::MAX))
        }
        _ => return Err(ReplyError::SYNTAX),
    };
    let popped = pop(tx, key, end, count.unwrap_or(1))?.into_iter();
    let popped = popped.map(|(member, score)| (Reply::bulk_owned(member), Reply::Double(score)));
    Ok(match count {
        None => Reply::Array(popped.flat_map(<[_; 2]>::from).collect()),
        Some(_) => Reply::Pairs(popped.collect()),
    })
}
