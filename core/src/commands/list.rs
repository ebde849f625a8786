//! List commands that do not wait. Table first; handlers below in the same order. Scripts: tests/scripts/list.
//!
//! What takes elements (`pop_one`, `pop_some`, `move_one`) stands at the end, apart from the words it is asked in, for the commands that
//! wait.

use alloc::vec::Vec;
use core::ops::Range;

use super::args::Args;
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys, wrong_arity};
use crate::access::{Txn, View};
use crate::collections::{End, List};
use crate::error::{ReplyError, Result};
use crate::number::parse_int;
use crate::reply::Reply;

pub(super) const FAMILY: Family = Family {
    group: Group::List,
    commands: &[
        CommandSpec {
            name: "LINDEX",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(lindex),
            docs: Docs {
                summary: "Returns an element from a list by its index.",
                syntax: "key index",
                since: "1.0.0",
                complexity: "O(log N) where N is the length of the list",
            },
        },
        CommandSpec {
            name: "LINSERT",
            arity: Arity::Exactly(5),
            keys: Keys::at(1),
            flags: Flags::DENY_OOM,
            handler: Handler::Write(linsert),
            docs: Docs {
                summary: "Inserts an element before or after another element in a list.",
                syntax: "key <BEFORE | AFTER> pivot element",
                since: "2.2.0",
                complexity: "O(N) where N is the length of the list",
            },
        },
        CommandSpec {
            name: "LLEN",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(llen),
            docs: Docs {
                summary: "Returns the length of a list.",
                syntax: "key",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "LMOVE",
            arity: Arity::Exactly(5),
            keys: Keys::Range { first: 1, last: 2, step: 1 },
            flags: Flags::DENY_OOM,
            handler: Handler::Write(lmove),
            docs: Docs {
                summary: "Returns an element after popping it from one list and pushing it to another. \
                     Deletes the list if the last element was moved.",
                syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
                since: "6.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "LMPOP",
            arity: Arity::AtLeast(4),
            keys: Keys::Counted { at: 1 },
            flags: Flags::NONE,
            handler: Handler::Write(lmpop),
            docs: Docs {
                summary: "Returns multiple elements from a list after removing them. Deletes the list if the last element was popped.",
                syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
                since: "7.0.0",
                complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned",
            },
        },
        CommandSpec {
            name: "LPOP",
            arity: Arity::AtLeast(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(lpop),
            docs: Docs {
                summary: "Returns the first elements in a list after removing it. Deletes the list if the last element was popped.",
                syntax: "key [count]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of elements returned",
            },
        },
        CommandSpec {
            name: "LPOS",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(lpos),
            docs: Docs {
                summary: "Returns the index of matching elements in a list.",
                syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
                since: "6.0.6",
                complexity: "O(N) where N is the number of elements compared",
            },
        },
        CommandSpec {
            name: "LPUSH",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(lpush),
            docs: Docs {
                summary: "Prepends one or more elements to a list. Creates the key if it doesn't exist.",
                syntax: "key element [element ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of elements pushed",
            },
        },
        CommandSpec {
            name: "LPUSHX",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(lpushx),
            docs: Docs {
                summary: "Prepends one or more elements to a list only when the list exists.",
                syntax: "key element [element ...]",
                since: "2.2.0",
                complexity: "O(N) where N is the number of elements pushed",
            },
        },
        CommandSpec {
            name: "LRANGE",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(lrange),
            docs: Docs {
                summary: "Returns a range of elements from a list.",
                syntax: "key start stop",
                since: "1.0.0",
                complexity: "O(log N+M) where N is the length of the list and M is the number of elements returned",
            },
        },
        CommandSpec {
            name: "LREM",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Write(lrem),
            docs: Docs {
                summary: "Removes elements from a list. Deletes the list if the last element was removed.",
                syntax: "key count element",
                since: "1.0.0",
                complexity: "O(N+M log N) where N is the length of the list and M is the number of elements removed",
            },
        },
        CommandSpec {
            name: "LSET",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::DENY_OOM,
            handler: Handler::Write(lset),
            docs: Docs {
                summary: "Sets the value of an element in a list by its index.",
                syntax: "key index element",
                since: "1.0.0",
                complexity: "O(log N) where N is the length of the list",
            },
        },
        CommandSpec {
            name: "LTRIM",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Write(ltrim),
            docs: Docs {
                summary: "Removes elements from both ends a list. Deletes the list if all elements were trimmed.",
                syntax: "key start stop",
                since: "1.0.0",
                complexity: "O(N) where N is the number of elements removed",
            },
        },
        CommandSpec {
            name: "RPOP",
            arity: Arity::AtLeast(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(rpop),
            docs: Docs {
                summary: "Returns and removes the last elements of a list. Deletes the list if the last element was popped.",
                syntax: "key [count]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of elements returned",
            },
        },
        CommandSpec {
            name: "RPOPLPUSH",
            arity: Arity::Exactly(3),
            keys: Keys::Range { first: 1, last: 2, step: 1 },
            flags: Flags::DENY_OOM,
            handler: Handler::Write(rpoplpush),
            docs: Docs {
                summary: "Returns the last element of a list after removing and pushing it to another list. \
                     Deletes the list if the last element was popped.",
                syntax: "source destination",
                since: "1.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "RPUSH",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(rpush),
            docs: Docs {
                summary: "Appends one or more elements to a list. Creates the key if it doesn't exist.",
                syntax: "key element [element ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of elements pushed",
            },
        },
        CommandSpec {
            name: "RPUSHX",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(rpushx),
            docs: Docs {
                summary: "Appends one or more elements to a list only when the list exists.",
                syntax: "key element [element ...]",
                since: "2.2.0",
                complexity: "O(N) where N is the number of elements pushed",
            },
        },
    ],
};

fn lindex<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let Some(list) = view.get::<List>(args.bytes()?)? else { return Ok(Reply::Nil) };
    let rank = rank_of(args.int()?, list.len());
    Ok(rank.and_then(|rank| list.get(rank)).map_or(Reply::Nil, Reply::bulk))
}

fn linsert(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let behind = args.eat("AFTER");
    if !behind && !args.eat("BEFORE") {
        return Err(ReplyError::SYNTAX);
    }
    let (pivot, element) = (args.bytes()?, args.bytes()?);
    let Some(list) = tx.get::<List>(key)? else { return Ok(Reply::Int(0)) };
    let Some(rank) = list.iter_from(0).position(|own| own == pivot) else {
        return Ok(Reply::Int(-1));
    };
    tx.edit(key, |list: &mut List| {
        list.insert(rank + usize::from(behind), element);
        (Reply::Int(list.len() as i64), true)
    })
}

fn llen<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let list = view.get::<List>(args.bytes()?)?;
    Ok(Reply::Int(list.map_or(0, List::len) as i64))
}

fn lmove(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (from, to) = (args.bytes()?, args.bytes()?);
    let (out, into) = (end(&mut args)?, end(&mut args)?);
    Ok(move_one(tx, from, out, to, into)?.map_or(Reply::Nil, Reply::bulk_owned))
}

fn lmpop(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let request = ManyPop::parse(&mut args)?;
    Ok(request.run(tx)?.unwrap_or(Reply::NilArray))
}

fn lpop(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    pop(tx, args, End::Left, "lpop")
}

fn lpos<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let (key, element) = (args.bytes()?, args.bytes()?);
    let Matches { rank, count, longest } = Matches::parse(&mut args)?;
    let found = match view.get::<List>(key)? {
        None => Vec::new(),
        Some(list) => {
            let (back, length) = (rank < 0, list.len());
            let elements = if back { list.iter_back_from(length) } else { list.iter_from(0) };
            let matching = elements.take(longest).enumerate().filter(|(_, own)| *own == element);
            let behind = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
            matching
                .skip(behind)
                .take(count.unwrap_or(1))
                .map(|(at, _)| if back { length - 1 - at } else { at })
                .map(|rank| Reply::Int(rank as i64))
                .collect()
        }
    };
    Ok(match count {
        Some(_) => Reply::Array(found),
        None => found.into_iter().next().unwrap_or(Reply::Nil),
    })
}

fn lpush(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    push(tx, args, End::Left, false)
}

fn lpushx(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    push(tx, args, End::Left, true)
}

fn lrange<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let (key, start, stop) = (args.bytes()?, args.int()?, args.int()?);
    let Some(list) = view.get::<List>(key)? else { return Ok(Reply::Array(Vec::new())) };
    let range = span(start, stop, list.len());
    Ok(Reply::Array(list.iter_from(range.start).take(range.len()).map(Reply::bulk).collect()))
}

fn lrem(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, count, element) = (args.bytes()?, args.int()?, args.bytes()?);
    let Some(list) = tx.get::<List>(key)? else { return Ok(Reply::Int(0)) };
    let most = match count.unsigned_abs() {
        0 => usize::MAX,
        count => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let length = list.len();
    let back = count < 0;
    let elements = if back { list.iter_back_from(length) } else { list.iter_from(0) };
    let matching = elements.enumerate().filter(|(_, own)| *own == element).take(most);
    let mut ranks: Vec<usize> =
        matching.map(|(at, _)| if back { length - 1 - at } else { at }).collect();
    if ranks.is_empty() {
        return Ok(Reply::Int(0));
    }
    if back {
        ranks.reverse();
    }
    tx.edit(key, |list: &mut List| {
        list.remove_all(&ranks);
        (Reply::Int(ranks.len() as i64), true)
    })
}

fn lset(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let length = tx.get::<List>(key)?.ok_or(ReplyError::NO_SUCH_KEY)?.len();
    let (index, element) = (args.int()?, args.bytes()?);
    let rank = rank_of(index, length).ok_or(ReplyError::fixed("ERR index out of range"))?;
    tx.edit(key, |list: &mut List| {
        list.replace(rank, element);
        (Reply::Ok, true)
    })
}

fn ltrim(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, start, stop) = (args.bytes()?, args.int()?, args.int()?);
    tx.edit(key, |list: &mut List| {
        let range = span(start, stop, list.len());
        let removes = range.len() < list.len();
        if removes {
            list.trim(range.start, range.end);
        }
        (Reply::Ok, removes)
    })
}

fn rpop(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    pop(tx, args, End::Right, "rpop")
}

fn rpoplpush(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (from, to) = (args.bytes()?, args.bytes()?);
    let moved = move_one(tx, from, End::Right, to, End::Left)?;
    Ok(moved.map_or(Reply::Nil, Reply::bulk_owned))
}

fn rpush(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    push(tx, args, End::Right, false)
}

fn rpushx(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    push(tx, args, End::Right, true)
}

// ---- words ---------------------------------------------------------------------------------------------------

/// LEFT or RIGHT.
pub(super) fn end(args: &mut Args<'_>) -> Result<End> {
    if args.eat("LEFT") {
        Ok(End::Left)
    } else if args.eat("RIGHT") {
        Ok(End::Right)
    } else {
        Err(ReplyError::SYNTAX)
    }
}

/// An integer that is not below `least`; the same error says that it is, and that it is none.
fn at_least(args: &mut Args<'_>, least: i64, error: &'static str) -> Result<i64> {
    let number = parse_int(args.bytes()?).filter(|number| *number >= least);
    number.ok_or_else(|| ReplyError::fixed(error))
}

/// An integer that has a negative.
fn symmetric(args: &mut Args<'_>) -> Result<i64> {
    let out_of_range = ReplyError::fixed(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );
    Some(args.int()?).filter(|number| *number != i64::MIN).ok_or(out_of_range)
}

/// The rank of an index that counts from the end when it is negative; none if there is no such element.
fn rank_of(index: i64, length: usize) -> Option<usize> {
    let rank = if index < 0 { index + length as i64 } else { index };
    usize::try_from(rank).ok().filter(|rank| *rank < length)
}

/// The ranks from one index to another, both included, as far as there are any.
fn span(start: i64, stop: i64, length: usize) -> Range<usize> {
    let from_end = |index: i64| if index < 0 { index + length as i64 } else { index };
    let start = usize::try_from(from_end(start).max(0)).unwrap_or(usize::MAX);
    let end = usize::try_from(from_end(stop).saturating_add(1)).unwrap_or(0).min(length);
    if start < end { start..end } else { 0..0 }
}

/// Which matches LPOS wants.
struct Matches {
    /// The first one; negative counts from the end.
    rank: i64,
    /// How many; none if the answer is no array.
    count: Option<usize>,
    /// Elements to compare.
    longest: usize,
}

impl Matches {
    fn parse(args: &mut Args<'_>) -> Result<Self> {
        let mut matches = Self { rank: 1, count: None, longest: usize::MAX };
        // No limit is written as 0.
        let limit = |number: i64| match number {
            0 => usize::MAX,
            number => usize::try_from(number).unwrap_or(usize::MAX),
        };
        while args.has_more() {
            if args.eat("RANK") {
                matches.rank = symmetric(args)?;
                if matches.rank == 0 {
                    return Err(ReplyError::fixed(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                         or use negative to start from the end of the list",
                    ));
                }
            } else if args.eat("COUNT") {
                matches.count = Some(limit(at_least(args, 0, "ERR COUNT can't be negative")?));
            } else if args.eat("MAXLEN") {
                matches.longest = limit(at_least(args, 0, "ERR MAXLEN can't be negative")?);
            } else {
                return Err(ReplyError::SYNTAX);
            }
        }
        Ok(matches)
    }
}

/// What LMPOP and BLMPOP ask for.
pub(super) struct ManyPop<'a> {
    pub(super) keys: &'a [&'a [u8]],
    pub(super) end: End,
    pub(super) count: usize,
}

impl<'a> ManyPop<'a> {
    /// From the number of keys on, to the end.
    pub(super) fn parse(args: &mut Args<'a>) -> Result<Self> {
        let keys = at_least(args, 1, "ERR numkeys should be greater than 0")?;
        let rest = args.rest();
        let keys = usize::try_from(keys).ok().and_then(|keys| rest.split_at_checked(keys));
        let (keys, options) = keys.ok_or(ReplyError::SYNTAX)?;
        let (end, options) = match options.split_first() {
            Some((word, options)) if word.eq_ignore_ascii_case(b"LEFT") => (End::Left, options),
            Some((word, options)) if word.eq_ignore_ascii_case(b"RIGHT") => (End::Right, options),
            _ => return Err(ReplyError::SYNTAX),
        };
        let count = match options {
            [] => 1,
            [word, count, more @ ..] if word.eq_ignore_ascii_case(b"COUNT") => {
                let error = ReplyError::fixed("ERR count should be greater than 0");
                let count = parse_int(count).filter(|count| *count > 0).ok_or(error)?;
                if !more.is_empty() {
                    return Err(ReplyError::SYNTAX);
                }
                usize::try_from(count).unwrap_or(usize::MAX)
            }
            _ => return Err(ReplyError::SYNTAX),
        };
        Ok(Self { keys, end, count })
    }

    /// Pops from the first list there is; answers its key and the elements.
    pub(super) fn run(&self, tx: &mut Txn<'_>) -> Result<Option<Reply<'static>>> {
        for key in self.keys {
            if let Some(elements) = pop_some(tx, key, self.end, self.count)? {
                return Ok(Some(Reply::Array([Reply::bulk_owned(*key), bulks(elements)].into())));
            }
        }
        Ok(None)
    }
}

fn bulks(elements: Vec<Vec<u8>>) -> Reply<'static> {
    Reply::Array(elements.into_iter().map(Reply::bulk_owned).collect())
}

fn pop(tx: &mut Txn<'_>, mut args: Args<'_>, end: End, name: &str) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    if !args.has_more() {
        return Ok(pop_one(tx, key, end)?.map_or(Reply::Nil, Reply::bulk_owned));
    }
    if args.argv().len() > 3 {
        return Err(wrong_arity(name));
    }
    let count = at_least(&mut args, 0, "ERR value is out of range, must be positive")?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Ok(pop_some(tx, key, end, count)?.map_or(Reply::NilArray, bulks))
}

fn push(
    tx: &mut Txn<'_>,
    mut args: Args<'_>,
    end: End,
    only_existing: bool,
) -> Result<Reply<'static>> {
    let (key, elements) = (args.bytes()?, args.rest());
    if only_existing && tx.get::<List>(key)?.is_none() {
        return Ok(Reply::Int(0));
    }
    tx.edit(key, |list: &mut List| {
        elements.iter().for_each(|element| list.push(end, element));
        (Reply::Int(list.len() as i64), true)
    })
}

// ---- taking elements -----------------------------------------------------------------------------------------

/// Takes the element at one end of a list; none if there is no list.
pub(super) fn pop_one(tx: &mut Txn<'_>, key: &[u8], end: End) -> Result<Option<Vec<u8>>> {
    tx.edit(key, |list: &mut List| {
        let element = list.pop(end);
        let takes = element.is_some();
        (element, takes)
    })
}

/// Takes elements at one end of a list, as many as there are up to `count`, the outermost first; none if there is no list.
pub(super) fn pop_some(
    tx: &mut Txn<'_>,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<Option<Vec<Vec<u8>>>> {
    if tx.get::<List>(key)?.is_none() {
        return Ok(None);
    }
    tx.edit(key, |list: &mut List| {
        let (length, taken) = (list.len(), count.min(list.len()));
        let elements = match end {
            End::Left => list.iter_from(0),
            End::Right => list.iter_back_from(length),
        };
        let elements = elements.take(taken).map(<[u8]>::to_vec).collect();
        match end {
            _ if taken == 0 => {}
            End::Left => list.trim(taken, length),
            End::Right => list.trim(0, length - taken),
        }
        (Some(elements), taken > 0)
    })
}

/// Takes the element at one end of a list to an end of another one, or of the same; none if there is no list to take it from.
pub(super) fn move_one(
    tx: &mut Txn<'_>,
    from: &[u8],
    out: End,
    to: &[u8],
    into: End,
) -> Result<Option<Vec<u8>>> {
    if tx.get::<List>(from)?.is_none() {
        return Ok(None);
    }
    tx.get::<List>(to)?;
    if from == to {
        // In one edit: a list of one element must not go away in between, and its expiry with it.
        return tx.edit(from, |list: &mut List| {
            let element = list.pop(out);
            element.iter().for_each(|element| list.push(into, element));
            (element, true)
        });
    }
    let element = pop_one(tx, from, out)?;
    if let Some(element) = &element {
        tx.edit(to, |list: &mut List| {
            list.push(into, element);
            ((), true)
        })?;
    }
    Ok(element)
}
