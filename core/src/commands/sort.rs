//! SORT and SORT_RO. Table first; handlers below. Scripts: tests/scripts/generic/sort*.
//!
//! Where Redis leaves an order open (members of a set, elements of equal weight) ours is that of bytes or of the source: a function of
//! the state.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::args::Args;
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys};
use crate::access::{Txn, View};
use crate::collections::{End, Hash, List};
use crate::error::{ReplyError, Result};
use crate::number::{parse_double, parse_int};
use crate::record::Value;
use crate::reply::Reply;

pub(super) const FAMILY: Family = Family {
    group: Group::Generic,
    commands: &[
        CommandSpec {
            name: "SORT",
            arity: Arity::AtLeast(2),
            keys: Keys::Sort,
            flags: Flags::DENY_OOM.and(Flags::DANGEROUS),
            handler: Handler::Write(sort),
            docs: Docs {
                summary: "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.",
                syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]",
                since: "1.0.0",
                complexity: "O(N*log(N)+M) where N is the number of elements and M the number of returned elements",
            },
        },
        CommandSpec {
            name: "SORT_RO",
            arity: Arity::AtLeast(2),
            keys: Keys::at(1),
            flags: Flags::DANGEROUS,
            handler: Handler::Read(sort_ro),
            docs: Docs {
                summary: "Returns the sorted elements of a list, a set, or a sorted set.",
                syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
                since: "7.0.0",
                complexity: "O(N*log(N)+M) where N is the number of elements and M the number of returned elements",
            },
        },
    ],
};

fn sort(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let query = Query::parse(&mut args, true)?;
    let view = tx.view();
    let found = query.run(&view)?;
    let Some(target) = query.store else { return Ok(reply(found).into_owned()) };
    let mut list = List::default();
    found.iter().for_each(|found| list.push(End::Right, found.as_deref().unwrap_or_default()));
    Ok(Reply::Int(tx.store(target, list) as i64))
}

fn sort_ro<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    Query::parse(&mut args, false)?.run(view).map(reply)
}

fn reply(found: Vec<Option<Cow<'_, [u8]>>>) -> Reply<'_> {
    Reply::Array(found.into_iter().map(|found| found.map_or(Reply::Nil, Reply::Bulk)).collect())
}

/// What is asked for.
struct Query<'a> {
    key: &'a [u8],
    by: Option<&'a [u8]>,
    /// Some BY had a constant pattern.
    keeps_order: bool,
    get: Vec<&'a [u8]>,
    start: i64,
    count: i64,
    descending: bool,
    alpha: bool,
    store: Option<&'a [u8]>,
}

/// What an element is sorted by.
enum Weight<'a> {
    Score(f64),
    Text(Option<Cow<'a, [u8]>>),
    /// The element itself, or nothing.
    Own,
}

impl<'q> Query<'q> {
    fn parse(args: &mut Args<'q>, may_store: bool) -> Result<Self> {
        let mut query = Self {
            key: args.bytes()?,
            by: None,
            keeps_order: false,
            get: Vec::new(),
            start: 0,
            count: -1,
            descending: false,
            alpha: false,
            store: None,
        };
        while args.has_more() {
            if args.eat("ASC") {
                query.descending = false;
            } else if args.eat("DESC") {
                query.descending = true;
            } else if args.eat("ALPHA") {
                query.alpha = true;
            } else if args.eat("LIMIT") {
                let (start, count) = (args.bytes()?, args.bytes()?);
                let int = |word| parse_int(word).ok_or(ReplyError::NOT_AN_INTEGER);
                (query.start, query.count) = (int(start)?, int(count)?);
            } else if may_store && args.eat("STORE") {
                query.store = Some(args.bytes()?);
            } else if args.eat("BY") {
                let pattern = args.bytes()?;
                query.by = Some(pattern);
                query.keeps_order |= star(pattern).is_none();
            } else if args.eat("GET") {
                query.get.push(args.bytes()?);
            } else {
                return Err(ReplyError::SYNTAX);
            }
        }
        Ok(query)
    }

    /// The elements in order, or what the GET patterns make of them.
    fn run<'a>(&self, view: &View<'a>) -> Result<Vec<Option<Cow<'a, [u8]>>>> {
        let elements = self.elements(view)?;
        if self.get.is_empty() {
            return Ok(elements.into_iter().map(Some).collect());
        }
        let parts = |element: Cow<'a, [u8]>| {
            self.get.iter().map(move |pattern| look_up(view, pattern, &element))
        };
        Ok(elements.into_iter().flat_map(parts).collect())
    }

    fn elements<'a>(&self, view: &View<'a>) -> Result<Vec<Cow<'a, [u8]>>> {
        let collection = view.collection(self.key)?;
        let length = match collection {
            None => return Ok(Vec::new()),
            Some(Value::List(list)) => list.len(),
            Some(Value::Set(set)) => set.len(),
            Some(Value::Zset(zset)) => zset.len(),
            Some(_) => return Err(ReplyError::WRONG_TYPE),
        };
        let start = usize::try_from(self.start.max(0)).unwrap_or(usize::MAX).min(length);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(length - start);
        // What is in order already is not gathered beyond what is asked for.
        let (from, gathered) = if self.keeps_order { (start, count) } else { (0, length) };
        let (up, back) = (!self.descending || !self.keeps_order, length - from);
        let elements = match collection {
            Some(Value::List(list)) => {
                let elements = if up { list.iter_from(from) } else { list.iter_back_from(back) };
                elements.take(gathered).map(Cow::Borrowed).collect()
            }
            Some(Value::Zset(zset)) => {
                let members = if up { zset.iter_from(from) } else { zset.iter_back_from(back) };
                members.take(gathered).map(|(member, _)| Cow::Borrowed(member)).collect()
            }
            Some(Value::Set(set)) => {
                let members = set.iter().collect();
                // Redis does so where the order must be the same everywhere.
                let (by, alpha) =
                    if self.keeps_order { (None, true) } else { (self.by, self.alpha) };
                return self
                    .sorted(view, members, by, alpha)
                    .map(|members| cut(members, start, count));
            }
            _ => Vec::new(),
        };
        if self.keeps_order {
            return Ok(elements);
        }
        self.sorted(view, elements, self.by, self.alpha).map(|elements| cut(elements, start, count))
    }

    fn sorted<'a>(
        &self,
        view: &View<'a>,
        elements: Vec<Cow<'a, [u8]>>,
        by: Option<&[u8]>,
        alpha: bool,
    ) -> Result<Vec<Cow<'a, [u8]>>> {
        let weigh = |element: &Cow<'a, [u8]>| {
            let weight = match by {
                Some(pattern) => look_up(view, pattern, element),
                None if alpha => return Ok(Weight::Own),
                None => Some(element.clone()),
            };
            Ok(match weight {
                weight if alpha => Weight::Text(weight),
                None => Weight::Score(0.0),
                Some(text) => Weight::Score(score(&text).ok_or(ReplyError::fixed(
                    "ERR One or more scores can't be converted into double",
                ))?),
            })
        };
        let weights: Result<Vec<Weight<'a>>> = elements.iter().map(weigh).collect();
        let mut weighed: Vec<_> = weights?.into_iter().zip(elements).collect();
        weighed.sort_by(|one, other| {
            let order = compare(one, other);
            if self.descending { order.reverse() } else { order }
        });
        Ok(weighed.into_iter().map(|(_, element)| element).collect())
    }
}

fn cut<T>(mut all: Vec<T>, start: usize, count: usize) -> Vec<T> {
    all.truncate(start + count);
    all.drain(..start);
    all
}

type Weighed<'a> = (Weight<'a>, Cow<'a, [u8]>);

fn compare(one: &Weighed<'_>, other: &Weighed<'_>) -> Ordering {
    match (&one.0, &other.0) {
        (Weight::Score(a), Weight::Score(b)) => {
            a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(&other.1))
        }
        // None is below everything.
        (Weight::Text(a), Weight::Text(b)) => a.cmp(b),
        _ => one.1.cmp(&other.1),
    }
}

/// A text up to the first NUL, where Redis stops to look at it.
fn shown(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Where a pattern has its star.
fn star(pattern: &[u8]) -> Option<usize> {
    shown(pattern).iter().position(|byte| *byte == b'*')
}

/// The string, or with `->` the field of a hash, at the key that a pattern names when its star is the element. `#` is the element.
fn look_up<'a>(view: &View<'a>, pattern: &[u8], element: &Cow<'a, [u8]>) -> Option<Cow<'a, [u8]>> {
    if shown(pattern) == b"#" {
        return Some(element.clone());
    }
    let (prefix, rest) = pattern.split_at_checked(star(pattern)?)?;
    let rest = rest.get(1..)?;
    let arrow = shown(rest).windows(2).position(|pair| pair == b"->");
    let (postfix, field) = match arrow {
        Some(at) if shown(rest).len() > at + 2 => (rest.get(..at)?, rest.get(at + 2..)),
        _ => (rest, None),
    };
    let key = [prefix, element, postfix].concat();
    let found = match field {
        Some(field) => view.get::<Hash>(&key).ok()??.get(field),
        None => view.value(&key)?.as_string(),
    };
    found.map(Cow::Borrowed)
}

/// A number as C's `strtod` reads it, which takes blanks in front, and nothing at all for zero, and complains of what is too small to be
/// told exactly.
fn score(text: &[u8]) -> Option<f64> {
    let text = shown(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let blank = |byte: &u8| matches!(*byte, b' ' | b'\t'..=b'\r');
    let digits = text.get(text.iter().take_while(|byte| blank(byte)).count()..)?;
    let is_hex = digits.iter().any(|byte| matches!(byte, b'x' | b'X'));
    parse_double(digits).filter(|value| is_hex || !value.is_subnormal())
}
