//! Script commands. Table first; handlers below in the same order. Scripts: tests/scripts/scripting.

use alloc::vec::Vec;

use super::args::Args;
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys};
use crate::access::{Txn, View};
use crate::error::{ReplyError, Result};
use crate::mark::{self, Mark};
use crate::reply::Reply;

pub(super) const FAMILY: Family = Family {
    group: Group::Scripting,
    commands: &[
        CommandSpec {
            name: "EVAL",
            arity: Arity::AtLeast(3),
            keys: Keys::Counted { at: 2 },
            flags: Flags::NO_SCRIPT,
            handler: Handler::Write(eval),
            docs: Docs {
                summary: "Executes a server-side Lua script.",
                syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
                since: "2.6.0",
                complexity: "Depends on the script that is executed.",
            },
        },
        CommandSpec {
            name: "EVALSHA",
            arity: Arity::AtLeast(3),
            keys: Keys::Counted { at: 2 },
            flags: Flags::NO_SCRIPT,
            handler: Handler::Write(evalsha),
            docs: Docs {
                summary: "Executes a server-side Lua script by SHA1 digest.",
                syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
                since: "2.6.0",
                complexity: "Depends on the script that is executed.",
            },
        },
        CommandSpec {
            name: "SCRIPT|EXISTS",
            arity: Arity::AtLeast(3),
            keys: Keys::None,
            flags: Flags::NO_SCRIPT,
            handler: Handler::Read(exists),
            docs: Docs {
                summary: "Determines whether server-side Lua scripts exist in the script cache.",
                syntax: "sha1 [sha1 ...]",
                since: "2.6.0",
                complexity: "O(N) with N being the number of scripts to check.",
            },
        },
        CommandSpec {
            name: "SCRIPT|FLUSH",
            arity: Arity::AtLeast(2),
            keys: Keys::None,
            flags: Flags::NO_SCRIPT,
            handler: Handler::Write(flush),
            docs: Docs {
                summary: "Removes all server-side Lua scripts from the script cache.",
                syntax: "[ASYNC | SYNC]",
                since: "2.6.0",
                complexity: "O(N) with N being the number of scripts in cache",
            },
        },
        CommandSpec {
            name: "SCRIPT|LOAD",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::NO_SCRIPT,
            handler: Handler::Write(load),
            docs: Docs {
                summary: "Loads a server-side Lua script to the script cache.",
                syntax: "script",
                since: "2.6.0",
                complexity: "O(N) with N being the length in bytes of the script body.",
            },
        },
    ],
};

type Words<'a> = &'a [&'a [u8]];

/// The keys and arguments of EVAL and EVALSHA, behind the script.
fn keys_and_rest<'a>(args: &mut Args<'a>) -> Result<(Words<'a>, Words<'a>)> {
    let count = args.int()?;
    let rest = args.rest();
    let count = usize::try_from(count)
        .map_err(|_| ReplyError::fixed("ERR Number of keys can't be negative"))?;
    rest.split_at_checked(count)
        .ok_or(ReplyError::fixed("ERR Number of keys can't be greater than number of args"))
}

fn eval(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let body = args.bytes()?;
    let (keys, rest) = keys_and_rest(&mut args)?;
    // A full cache is no reason to refuse: the script runs, and EVALSHA will not find it.
    tx.cache_script(body).map(drop).or_else(|error| match error {
        error if error == Txn::SCRIPT_CACHE_FULL => Ok(()),
        error => Err(error),
    })?;
    tx.run_script(body, keys, rest)
}

fn evalsha(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let sha = args.bytes()?;
    let (keys, rest) = keys_and_rest(&mut args)?;
    let body = tx.cached_script(sha).ok_or_else(|| {
        mark::reached(Mark::NoScript);
        ReplyError::NO_SCRIPT
    })?;
    tx.run_script(&body, keys, rest)
}

fn exists<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    args.bytes()?; // EXISTS
    let found: Vec<Reply<'a>> =
        args.rest().iter().map(|sha| Reply::flag(view.script_exists(sha))).collect();
    Ok(Reply::Array(found))
}

fn flush(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    args.bytes()?; // FLUSH
    let known = !args.has_more() || args.eat("SYNC") || args.eat("ASYNC");
    if !known || args.has_more() {
        return Err(ReplyError::fixed("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    tx.flush_scripts();
    Ok(Reply::Ok)
}

fn load(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    args.bytes()?; // LOAD
    let body = args.bytes()?;
    args.end()?;
    let sha = tx.cache_script(body)?;
    Ok(Reply::bulk_owned(sha))
}
