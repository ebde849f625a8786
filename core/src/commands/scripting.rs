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
            name: "EVALSHA_RO",
            arity: Arity::AtLeast(3),
            keys: Keys::Counted { at: 2 },
            flags: Flags::NO_SCRIPT,
            handler: Handler::Write(evalsha_ro),
            docs: Docs {
                summary: "Executes a read-only server-side Lua script by SHA1 digest.",
                syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
                since: "7.0.0",
                complexity: "Depends on the script that is executed.",
            },
        },
        CommandSpec {
            name: "EVAL_RO",
            arity: Arity::AtLeast(3),
            keys: Keys::Counted { at: 2 },
            flags: Flags::NO_SCRIPT,
            handler: Handler::Write(eval_ro),
            docs: Docs {
                summary: "Executes a read-only server-side Lua script.",
                syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
                since: "7.0.0",
                complexity: "Depends on the script that is executed.",
            },
        },
        CommandSpec {
            name: "SCRIPT|DEBUG",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::NO_SCRIPT,
            handler: Handler::Read(debug),
            docs: Docs {
                summary: "Sets the debug mode of server-side Lua scripts.",
                syntax: "YES | SYNC | NO",
                since: "3.2.0",
                complexity: "O(1)",
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
            name: "SCRIPT|HELP",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::NONE,
            handler: Handler::Read(help),
            docs: Docs {
                summary: "Returns helpful text about the different subcommands.",
                syntax: "",
                since: "5.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SCRIPT|KILL",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::NO_SCRIPT,
            handler: Handler::Read(kill),
            docs: Docs {
                summary: "Terminates a server-side Lua script during execution.",
                syntax: "",
                since: "2.6.0",
                complexity: "O(1)",
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

fn run(tx: &mut Txn<'_>, mut args: Args<'_>, read_only: bool) -> Result<Reply<'static>> {
    let body = args.bytes()?;
    let (keys, rest) = keys_and_rest(&mut args)?;
    // A full cache is no reason to refuse: the script runs, and EVALSHA will not find it.
    tx.cache_script(body).map(drop).or_else(|error| match error {
        error if error == Txn::SCRIPT_CACHE_FULL => Ok(()),
        error => Err(error),
    })?;
    tx.run_script(body, keys, rest, read_only)
}

fn run_cached(tx: &mut Txn<'_>, mut args: Args<'_>, read_only: bool) -> Result<Reply<'static>> {
    let sha = args.bytes()?;
    let (keys, rest) = keys_and_rest(&mut args)?;
    let body = tx.cached_script(sha).ok_or_else(|| {
        mark::reached(Mark::NoScript);
        ReplyError::NO_SCRIPT
    })?;
    tx.run_script(&body, keys, rest, read_only)
}

fn eval(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    run(tx, args, false)
}

fn evalsha(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    run_cached(tx, args, false)
}

// No reads to the table: a read has no interpreter, and what a script uses up is to be the same on every replica.
fn evalsha_ro(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    run_cached(tx, args, true)
}

fn eval_ro(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    run(tx, args, true)
}

fn debug<'a>(_: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    args.bytes()?; // DEBUG
    if args.eat("NO") {
        return Ok(Reply::Ok);
    }
    Err(ReplyError::fixed(if args.eat("YES") || args.eat("SYNC") {
        "ERR there is no debugger here, since every replica runs the script: debug it with redis-cli --ldb on a Redis of your own"
    } else {
        "ERR Use SCRIPT DEBUG YES/SYNC/NO"
    }))
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

const HELP: [&str; 13] = [
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEBUG NO",
    "    Nothing: there is no debugger.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache.",
    "KILL",
    "    Nothing: a script ends by itself, or when its budget is used up.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
    "HELP",
    "    Print this help.",
];

fn help<'a>(_: &View<'a>, _: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::Array(HELP.into_iter().map(Reply::status).collect()))
}

fn kill<'a>(_: &View<'a>, _: Args<'_>) -> Result<Reply<'a>> {
    // No script runs between two entries, and nobody can stop one within: the same instruction ends it everywhere.
    Err(ReplyError::fixed("NOTBUSY No scripts in execution right now."))
}

fn load(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    args.bytes()?; // LOAD
    let body = args.bytes()?;
    args.end()?;
    let sha = tx.cache_script(body)?;
    Ok(Reply::bulk_owned(sha))
}
