//! Ranges: counted, answered, stored and removed.

use super::bound::{By, Range};
use crate::access::{Txn, View};
use crate::collections::Zset;
use crate::commands::args::Args;
use crate::error::{ReplyError, Result};
use crate::number::parse_int;
use crate::reply::Reply;

/// What a command's name leaves open.
#[derive(Clone, Copy)]
struct Form {
    /// How the range is given; none if options say so.
    by: Option<By>,
    /// Whether it is answered from its end; none if an option says so.
    is_reverse: Option<bool>,
    /// Whether scores may be asked for.
    may_have_scores: bool,
}

impl Form {
    const fn of(by: By, is_reverse: bool) -> Self {
        Self { by: Some(by), is_reverse: Some(is_reverse), may_have_scores: true }
    }
}

/// A range with everything that is said about it.
struct Query<'a> {
    range: Range<'a>,
    is_reverse: bool,
    with_scores: bool,
    offset: i64,
    /// Negative if there is none.
    limit: i64,
}

impl<'a> Query<'a> {
    fn parse(args: &mut Args<'a>, form: Form) -> Result<Self> {
        let (one, other) = (args.bytes()?, args.bytes()?);
        let Form { mut by, mut is_reverse, may_have_scores } = form;
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut words = args.rest();
        while let [word, rest @ ..] = words {
            words = rest;
            match (word.to_ascii_uppercase().as_slice(), rest) {
                (b"WITHSCORES", _) if may_have_scores => with_scores = true,
                (b"LIMIT", [first, count, rest @ ..]) => {
                    offset = parse_int(first).ok_or(ReplyError::NOT_AN_INTEGER)?;
                    limit = parse_int(count).ok_or(ReplyError::NOT_AN_INTEGER)?;
                    words = rest;
                }
                (b"REV", _) if is_reverse.is_none() => is_reverse = Some(true),
                (b"BYLEX", _) if by.is_none() => by = Some(By::Member),
                (b"BYSCORE", _) if by.is_none() => by = Some(By::Score),
                _ => return Err(ReplyError::SYNTAX),
            }
        }
        let (by, is_reverse) = (by.unwrap_or(By::Index), is_reverse.unwrap_or(false));
        if limit != -1 && by == By::Index {
            return Err(ReplyError::fixed(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Member {
            return Err(ReplyError::fixed(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let is_turned = is_reverse && by != By::Index;
        let (min, max) = if is_turned { (other, one) } else { (one, other) };
        let range = Range::parse(by, min, max)?;
        if by == By::Index {
            (offset, limit) = (0, -1);
        }
        Ok(Self { range, is_reverse, with_scores, offset, limit })
    }

    /// The members that it asks for, in the order in which it does.
    fn select<'z>(&self, zset: &'z Zset) -> impl Iterator<Item = (&'z [u8], f64)> + use<'z> {
        let ranks = self.range.ranks(zset, self.is_reverse);
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let count = ranks.len().saturating_sub(offset).min(limit);
        let selected = match count {
            0 => zset.iter_from(zset.len()),
            _ if self.is_reverse => zset.iter_back_from(ranks.end - offset),
            _ => zset.iter_from(ranks.start + offset),
        };
        selected.take(count)
    }
}

pub(super) fn zcount<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    count(view, args, By::Score)
}

pub(super) fn zlexcount<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    count(view, args, By::Member)
}

pub(super) fn zrange<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    answer(view, args, Form { by: None, is_reverse: None, may_have_scores: true })
}

pub(super) fn zrangebylex<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    answer(view, args, Form::of(By::Member, false))
}

pub(super) fn zrangebyscore<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    answer(view, args, Form::of(By::Score, false))
}

pub(super) fn zrangestore(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (target, source) = (args.bytes()?, args.bytes()?);
    let form = Form { by: None, is_reverse: None, may_have_scores: false };
    let query = Query::parse(&mut args, form)?;
    let mut stored = Zset::default();
    if let Some(zset) = tx.get::<Zset>(source)? {
        for (member, score) in query.select(zset) {
            stored.set(member, score);
        }
    }
    Ok(Reply::Int(tx.store(target, stored) as i64))
}

pub(super) fn zremrangebylex(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    remove(tx, args, By::Member)
}

pub(super) fn zremrangebyrank(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    remove(tx, args, By::Index)
}

pub(super) fn zremrangebyscore(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    remove(tx, args, By::Score)
}

pub(super) fn zrevrange<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    answer(view, args, Form::of(By::Index, true))
}

pub(super) fn zrevrangebylex<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    answer(view, args, Form::of(By::Member, true))
}

pub(super) fn zrevrangebyscore<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    answer(view, args, Form::of(By::Score, true))
}

fn count<'a>(view: &View<'a>, mut args: Args<'_>, by: By) -> Result<Reply<'a>> {
    let (key, min, max) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let range = Range::parse(by, min, max)?;
    let zset = view.get::<Zset>(key)?;
    Ok(Reply::Int(zset.map_or(0, |zset| range.ranks(zset, false).len()) as i64))
}

fn answer<'a>(view: &View<'a>, mut args: Args<'_>, form: Form) -> Result<Reply<'a>> {
    let key = args.bytes()?;
    let query = Query::parse(&mut args, form)?;
    let Some(zset) = view.get::<Zset>(key)? else { return Ok(Reply::Array([].into())) };
    let selected = query.select(zset);
    Ok(if query.with_scores {
        let pair = |(member, score)| (Reply::bulk(member), Reply::Double(score));
        Reply::Pairs(selected.map(pair).collect())
    } else {
        Reply::Array(selected.map(|(member, _)| Reply::bulk(member)).collect())
    })
}

fn remove(tx: &mut Txn<'_>, mut args: Args<'_>, by: By) -> Result<Reply<'static>> {
    let (key, min, max) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let range = Range::parse(by, min, max)?;
    let removed = tx.edit(key, |zset: &mut Zset| {
        let ranks = range.ranks(zset, false);
        zset.remove_range(ranks.start, ranks.end);
        (ranks.len(), !ranks.is_empty())
    })?;
    Ok(Reply::Int(removed as i64))
}
