//! The commands that wait for a member. Table first; handlers below in the same order. Scripts: tests/scripts/sortedset.

use super::pop::{Extreme, MultiPop, first_of, pop, reply_with_key};
use crate::access::{Txn, TypeName};
use crate::commands::args::Args;
use crate::commands::list_blocking::deadline;
use crate::commands::{
    Arity, Awaits, BlockHandler, Blocking, CommandSpec, Docs, Family, Flags, Group, Handler, Keys,
    NothingCame,
};
use crate::error::{ReplyError, Result};
use crate::reply::Reply;

const fn block(run: BlockHandler) -> Handler {
    let (awaits, nothing) = (Awaits::All, NothingCame::NilArray);
    Handler::Block { run, kind: TypeName::Zset, awaits, nothing }
}

pub(in crate::commands) const FAMILY: Family = Family {
    group: Group::SortedSet,
    commands: &[
        CommandSpec {
            name: "BZMPOP",
            arity: Arity::AtLeast(5),
            keys: Keys::Counted { at: 2 },
            flags: Flags::BLOCKING,
            handler: block(bzmpop),
            docs: Docs {
                summary: "Removes and returns members by score from one or more sorted sets. Blocks until a member is available otherwise.",
                syntax: "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
                since: "7.0.0",
                complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, \
                             and M being the number of elements popped",
            },
        },
        CommandSpec {
            name: "BZPOPMAX",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: -2, step: 1 },
            flags: Flags::FAST.and(Flags::NO_SCRIPT).and(Flags::BLOCKING),
            handler: block(bzpopmax),
            docs: Docs {
                summary: "Removes and returns the member with the highest score from one or more sorted sets. Blocks until a member is available otherwise.",
                syntax: "key [key ...] timeout",
                since: "5.0.0",
                complexity: "O(log(N)) with N being the number of elements in the sorted set",
            },
        },
        CommandSpec {
            name: "BZPOPMIN",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: -2, step: 1 },
            flags: Flags::FAST.and(Flags::NO_SCRIPT).and(Flags::BLOCKING),
            handler: block(bzpopmin),
            docs: Docs {
                summary: "Removes and returns the member with the lowest score from one or more sorted sets. Blocks until a member is available otherwise.",
                syntax: "key [key ...] timeout",
                since: "5.0.0",
                complexity: "O(log(N)) with N being the number of elements in the sorted set",
            },
        },
    ],
};

fn bzmpop(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Blocking> {
    let until = deadline(tx, args.bytes()?)?;
    let MultiPop { keys, end, count } = MultiPop::parse(&mut args)?;
    let Some(key) = first_of(&tx.view(), keys)? else { return Ok(Blocking::Wait(until)) };
    Ok(Blocking::Done(reply_with_key(key, pop(tx, key, end, count)?)))
}

fn bzpopmax(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Blocking> {
    pop_first(tx, args, Extreme::Highest)
}

fn bzpopmin(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Blocking> {
    pop_first(tx, args, Extreme::Lowest)
}

/// Of the first sorted set that there is: its key, the member, the score.
fn pop_first(tx: &mut Txn<'_>, mut args: Args<'_>, end: Extreme) -> Result<Blocking> {
    let Some((timeout, keys)) = args.rest().split_last() else { return Err(ReplyError::SYNTAX) };
    let until = deadline(tx, timeout)?;
    let Some(key) = first_of(&tx.view(), keys)? else { return Ok(Blocking::Wait(until)) };
    let mut found = alloc::vec![Reply::bulk_owned(key)];
    for (member, score) in pop(tx, key, end, 1)? {
        found.extend([Reply::bulk_owned(member), Reply::Double(score)]);
    }
    Ok(Blocking::Done(Reply::Array(found)))
}
