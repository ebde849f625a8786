//! OBJECT. Table first; handlers below in the same order. Scripts: tests/scripts/generic.
//!
//! What it says is a function of the state, so that every replica says the same. A string's encoding follows from its bytes: which form it
//! has in memory depends on how it came about, and is no part of the state, so one of few bytes is `embstr` (or `int`) also after APPEND.
//! Accesses are not kept: nothing was ever idle.

use super::args::Args;
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys};
use crate::access::View;
use crate::error::{ReplyError, Result};
use crate::reply::Reply;

const HELP: [&str; 15] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

pub(super) const FAMILY: Family = Family {
    group: Group::Generic,
    commands: &[
        CommandSpec {
            name: "OBJECT|ENCODING",
            arity: Arity::Exactly(3),
            keys: Keys::at(2),
            flags: Flags::NONE,
            handler: Handler::Read(encoding),
            docs: Docs {
                summary: "Returns the internal encoding of a Redis object.",
                syntax: "key",
                since: "2.2.3",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "OBJECT|FREQ",
            arity: Arity::Exactly(3),
            keys: Keys::at(2),
            flags: Flags::NONE,
            handler: Handler::Read(freq),
            docs: Docs {
                summary: "Returns the logarithmic access frequency counter of a Redis object.",
                syntax: "key",
                since: "4.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "OBJECT|HELP",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Handler::Read(help),
            docs: Docs {
                summary: "Returns helpful text about the different subcommands.",
                syntax: "",
                since: "6.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "OBJECT|IDLETIME",
            arity: Arity::Exactly(3),
            keys: Keys::at(2),
            flags: Flags::NONE,
            handler: Handler::Read(idletime),
            docs: Docs {
                summary: "Returns the time since the last access to a Redis object.",
                syntax: "key",
                since: "2.2.3",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "OBJECT|REFCOUNT",
            arity: Arity::Exactly(3),
            keys: Keys::at(2),
            flags: Flags::NONE,
            handler: Handler::Read(refcount),
            docs: Docs {
                summary: "Returns the reference count of a value of a key.",
                syntax: "key",
                since: "2.2.3",
                complexity: "O(1)",
            },
        },
    ],
};

fn encoding<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let encoding = view.encoding(key(&mut args)?);
    Ok(encoding.map_or(Reply::Nil, |name| Reply::bulk(name.as_bytes())))
}

fn freq<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    if view.facts(key(&mut args)?).is_none() {
        return Ok(Reply::Nil);
    }
    Err(ReplyError::fixed(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies \
         at runtime LRU and LFU data will take some time to adjust.",
    ))
}

fn help<'a>(_view: &View<'a>, _args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::Array(HELP.map(Reply::status).into()))
}

fn idletime<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    Ok(view.facts(key(&mut args)?).map_or(Reply::Nil, |_| Reply::Int(0)))
}

fn refcount<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    Ok(view.facts(key(&mut args)?).map_or(Reply::Nil, |_| Reply::Int(1)))
}

/// The key, behind the subcommand.
fn key<'a>(args: &mut Args<'a>) -> Result<&'a [u8]> {
    args.bytes()?;
    args.bytes()
}
