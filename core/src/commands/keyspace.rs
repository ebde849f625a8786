//! Commands on whole databases. Table first; handlers below in the same order. Scripts: tests/scripts/server.

use super::args::Args;
use super::generic::{database, index};
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys};
use crate::access::{DATABASES, Txn, View};
use crate::error::{ReplyError, Result};
use crate::reply::Reply;

pub(super) const FAMILY: Family = Family {
    group: Group::Server,
    commands: &[
        CommandSpec {
            name: "DBSIZE",
            arity: Arity::Exactly(1),
            keys: Keys::None,
            flags: Flags::FAST,
            handler: Handler::Read(dbsize),
            docs: Docs {
                summary: "Returns the number of keys in the database.",
                syntax: "",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "FLUSHALL",
            arity: Arity::AtLeast(1),
            keys: Keys::None,
            flags: Flags::DANGEROUS,
            handler: Handler::Write(flushall),
            docs: Docs {
                summary: "Removes all keys from all databases.",
                syntax: "[ASYNC | SYNC]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of keys",
            },
        },
        CommandSpec {
            name: "FLUSHDB",
            arity: Arity::AtLeast(1),
            keys: Keys::None,
            flags: Flags::DANGEROUS,
            handler: Handler::Write(flushdb),
            docs: Docs {
                summary: "Removes all keys from the current database.",
                syntax: "[ASYNC | SYNC]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of keys",
            },
        },
        CommandSpec {
            name: "SWAPDB",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::FAST.and(Flags::DANGEROUS),
            handler: Handler::Write(swapdb),
            docs: Docs {
                summary: "Swaps two databases.",
                syntax: "index1 index2",
                since: "4.0.0",
                complexity: "O(1)",
            },
        },
    ],
};

fn dbsize<'a>(view: &View<'a>, _args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::Int(view.key_count() as i64))
}

fn flushall(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    flush_mode(args)?;
    (0..DATABASES).for_each(|db| tx.flush_db(db));
    Ok(Reply::Ok)
}

fn flushdb(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    flush_mode(args)?;
    tx.flush_db(tx.db());
    Ok(Reply::Ok)
}

fn swapdb(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let invalid = |text| move |_| ReplyError::fixed(text);
    let one = index(&mut args).map_err(invalid("ERR invalid first DB index"))?;
    let other = index(&mut args).map_err(invalid("ERR invalid second DB index"))?;
    let (one, other) = (database(one)?, database(other)?);
    if one != other {
        tx.swap_dbs(one, other);
    }
    Ok(Reply::Ok)
}

/// ASYNC and SYNC are the same here: the memory is freed off the answer's path either way.
fn flush_mode(mut args: Args<'_>) -> Result<()> {
    if args.has_more() && !args.eat("ASYNC") && !args.eat("SYNC") {
        return Err(ReplyError::SYNTAX);
    }
    args.end()
}
