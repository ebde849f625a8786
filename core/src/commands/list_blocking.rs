//! Lists: the commands that wait for an element. Table first; handlers below in the same order. Each takes what there is as its kin without
//! the B does (`list`), and says until when it waits if there is nothing. Scripts: tests/scripts/list.

use super::args::Args;
use super::list::{ManyPop, end, move_one, pop_one};
use super::{
    Arity, Awaits, BlockHandler, Blocking, CommandSpec, Docs, Family, Flags, Group, Handler, Keys,
    NothingCame,
};
use crate::access::{Txn, TypeName};
use crate::collections::End;
use crate::error::{ReplyError, Result};
use crate::number::parse_double;
use crate::reply::Reply;
use crate::stamp::UnixMillis;

/// Pops what it finds in any of its keys.
const fn pops(run: BlockHandler) -> Handler {
    let (awaits, nothing) = (Awaits::All, NothingCame::NilArray);
    Handler::Block { run, kind: TypeName::List, awaits, nothing }
}

/// Moves what it finds in its first key.
const fn moves(run: BlockHandler) -> Handler {
    let (awaits, nothing) = (Awaits::First, NothingCame::Nil);
    Handler::Block { run, kind: TypeName::List, awaits, nothing }
}

pub(super) const FAMILY: Family = Family {
    group: Group::List,
    commands: &[
        CommandSpec {
            name: "BLMOVE",
            arity: Arity::Exactly(6),
            keys: Keys::Range { first: 1, last: 2, step: 1 },
            flags: Flags::DENY_OOM.and(Flags::NO_SCRIPT).and(Flags::BLOCKING),
            handler: moves(blmove),
            docs: Docs {
                summary: "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise.",
                syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
                since: "6.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "BLMPOP",
            arity: Arity::AtLeast(5),
            keys: Keys::Counted { at: 2 },
            flags: Flags::BLOCKING,
            handler: pops(blmpop),
            docs: Docs {
                summary: "Pops the first elements from one of several lists. Blocks until an element is available otherwise.",
                syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
                since: "7.0.0",
                complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned",
            },
        },
        CommandSpec {
            name: "BLPOP",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: -2, step: 1 },
            flags: Flags::NO_SCRIPT.and(Flags::BLOCKING),
            handler: pops(blpop),
            docs: Docs {
                summary: "Removes and returns the first element in a list. Blocks until an element is available otherwise.",
                syntax: "key [key ...] timeout",
                since: "2.0.0",
                complexity: "O(N) where N is the number of provided keys",
            },
        },
        CommandSpec {
            name: "BRPOP",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: -2, step: 1 },
            flags: Flags::NO_SCRIPT.and(Flags::BLOCKING),
            handler: pops(brpop),
            docs: Docs {
                summary: "Removes and returns the last element in a list. Blocks until an element is available otherwise.",
                syntax: "key [key ...] timeout",
                since: "2.0.0",
                complexity: "O(N) where N is the number of provided keys",
            },
        },
        CommandSpec {
            name: "BRPOPLPUSH",
            arity: Arity::Exactly(4),
            keys: Keys::Range { first: 1, last: 2, step: 1 },
            flags: Flags::DENY_OOM.and(Flags::NO_SCRIPT).and(Flags::BLOCKING),
            handler: moves(brpoplpush),
            docs: Docs {
                summary: "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise.",
                syntax: "source destination timeout",
                since: "2.2.0",
                complexity: "O(1)",
            },
        },
    ],
};

fn blmove(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Blocking> {
    let (from, to) = (args.bytes()?, args.bytes()?);
    let (out, into) = (end(&mut args)?, end(&mut args)?);
    let until = deadline(tx, args.bytes()?)?;
    done_or(move_one(tx, from, out, to, into)?.map(Reply::bulk_owned), until)
}

fn blmpop(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Blocking> {
    let until = deadline(tx, args.bytes()?)?;
    done_or(ManyPop::parse(&mut args)?.run(tx)?, until)
}

fn blpop(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Blocking> {
    pop_first(tx, args, End::Left)
}

fn brpop(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Blocking> {
    pop_first(tx, args, End::Right)
}

fn brpoplpush(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Blocking> {
    let (from, to) = (args.bytes()?, args.bytes()?);
    let until = deadline(tx, args.bytes()?)?;
    done_or(move_one(tx, from, End::Right, to, End::Left)?.map(Reply::bulk_owned), until)
}

/// Of the first list that there is.
fn pop_first(tx: &mut Txn<'_>, mut args: Args<'_>, end: End) -> Result<Blocking> {
    let Some((timeout, keys)) = args.rest().split_last() else { return Err(ReplyError::SYNTAX) };
    let until = deadline(tx, timeout)?;
    for key in keys {
        if let Some(element) = pop_one(tx, key, end)? {
            let found = [Reply::bulk_owned(*key), Reply::bulk_owned(element)];
            return Ok(Blocking::Done(Reply::Array(found.into())));
        }
    }
    Ok(Blocking::Wait(until))
}

pub(super) fn done_or(
    found: Option<Reply<'static>>,
    until: Option<UnixMillis>,
) -> Result<Blocking> {
    Ok(found.map_or(Blocking::Wait(until), Blocking::Done))
}

/// Until when a command waits: a number of seconds, 0 for ever.
///
/// # Errors
/// Redis's own texts.
pub(super) fn deadline(tx: &Txn<'_>, seconds: &[u8]) -> Result<Option<UnixMillis>> {
    let seconds = parse_double(seconds)
        .ok_or(ReplyError::fixed("ERR timeout is not a float or out of range"))?;
    let out_of_range = ReplyError::fixed("ERR timeout is out of range");
    let millis = seconds * 1000.0;
    if millis <= -1.0 {
        return Err(ReplyError::fixed("ERR timeout is negative"));
    }
    let millis = ceil(millis).ok_or_else(|| out_of_range.clone())?;
    if millis == 0 {
        return Ok(None);
    }
    let until = millis.checked_add(tx.now().0 as i64).ok_or(out_of_range)?;
    Ok(Some(UnixMillis(until as u64)))
}

/// The next integer that is not below; none beyond 64 bits.
fn ceil(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_807.0;
    if value >= LIMIT {
        return None;
    }
    let whole = value as i64;
    Some(if (whole as f64) < value { whole + 1 } else { whole })
}
