//! Commands on keys of any type. Table first; handlers below in the same order. Scripts: tests/scripts/generic.

use alloc::vec::Vec;

use super::args::Args;
use super::expiry::{ExpiryOption, deadline_or_past};
use super::scan::{self, ScanOptions, Scanned};
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys};
use crate::access::{DATABASES, KeyFacts, Txn, TypeName, View};
use crate::canary::{Canary, is_planted};
use crate::error::{ReplyError, Result};
use crate::glob;
use crate::reply::Reply;
use crate::stamp::UnixMillis;

pub(super) const FAMILY: Family = Family {
    group: Group::Generic,
    commands: &[
        CommandSpec {
            name: "COPY",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: 2, step: 1 },
            flags: Flags::DENY_OOM,
            handler: Handler::Write(copy),
            docs: Docs {
                summary: "Copies the value of a key to a new key.",
                syntax: "source destination [DB destination-db] [REPLACE]",
                since: "6.2.0",
                complexity: "O(N) where N is the length of the value",
            },
        },
        CommandSpec {
            name: "DEL",
            arity: Arity::AtLeast(2),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::NONE,
            handler: Handler::Write(del),
            docs: Docs {
                summary: "Deletes one or more keys.",
                syntax: "key [key ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of keys",
            },
        },
        CommandSpec {
            name: "EXISTS",
            arity: Arity::AtLeast(2),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::FAST,
            handler: Handler::Read(exists),
            docs: Docs {
                summary: "Determines whether one or more keys exist.",
                syntax: "key [key ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of keys",
            },
        },
        CommandSpec {
            name: "EXPIRE",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(expire),
            docs: Docs {
                summary: "Sets the expiration time of a key in seconds.",
                syntax: "key seconds [NX | XX | GT | LT]",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "EXPIREAT",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(expireat),
            docs: Docs {
                summary: "Sets the expiration time of a key to a Unix timestamp.",
                syntax: "key unix-time-seconds [NX | XX | GT | LT]",
                since: "1.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "EXPIRETIME",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(expiretime),
            docs: Docs {
                summary: "Returns the expiration time of a key as a Unix timestamp.",
                syntax: "key",
                since: "7.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "KEYS",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::DANGEROUS,
            handler: Handler::Read(keys),
            docs: Docs {
                summary: "Returns all key names that match a pattern.",
                syntax: "pattern",
                since: "1.0.0",
                complexity: "O(N) where N is the number of keys in the database",
            },
        },
        CommandSpec {
            name: "MOVE",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(move_key),
            docs: Docs {
                summary: "Moves a key to another database.",
                syntax: "key db",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "PERSIST",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(persist),
            docs: Docs {
                summary: "Removes the expiration time of a key.",
                syntax: "key",
                since: "2.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "PEXPIRE",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(pexpire),
            docs: Docs {
                summary: "Sets the expiration time of a key in milliseconds.",
                syntax: "key milliseconds [NX | XX | GT | LT]",
                since: "2.6.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "PEXPIREAT",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(pexpireat),
            docs: Docs {
                summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
                syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
                since: "2.6.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "PEXPIRETIME",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(pexpiretime),
            docs: Docs {
                summary: "Returns the expiration time of a key as a Unix milliseconds timestamp.",
                syntax: "key",
                since: "7.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "PTTL",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(pttl),
            docs: Docs {
                summary: "Returns the expiration time in milliseconds of a key.",
                syntax: "key",
                since: "2.6.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "RANDOMKEY",
            arity: Arity::Exactly(1),
            keys: Keys::None,
            flags: Flags::NONE,
            handler: Handler::Read(randomkey),
            docs: Docs {
                summary: "Returns a random key name from the database.",
                syntax: "",
                since: "1.0.0",
                complexity: "O(log N) where N is the number of slots",
            },
        },
        CommandSpec {
            name: "RENAME",
            arity: Arity::Exactly(3),
            keys: Keys::Range { first: 1, last: 2, step: 1 },
            flags: Flags::NONE,
            handler: Handler::Write(rename),
            docs: Docs {
                summary: "Renames a key and overwrites the destination.",
                syntax: "key newkey",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "RENAMENX",
            arity: Arity::Exactly(3),
            keys: Keys::Range { first: 1, last: 2, step: 1 },
            flags: Flags::FAST,
            handler: Handler::Write(renamenx),
            docs: Docs {
                summary: "Renames a key only when the target key name doesn't exist.",
                syntax: "key newkey",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SCAN",
            arity: Arity::AtLeast(2),
            keys: Keys::None,
            flags: Flags::NONE,
            handler: Handler::Read(scan),
            docs: Docs {
                summary: "Iterates over the key names in the database.",
                syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
                since: "2.8.0",
                complexity: "O(1) for every call",
            },
        },
        CommandSpec {
            name: "TOUCH",
            arity: Arity::AtLeast(2),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::FAST,
            handler: Handler::Read(exists),
            docs: Docs {
                summary: "Returns the number of existing keys out of those specified.",
                syntax: "key [key ...]",
                since: "3.2.1",
                complexity: "O(N) where N is the number of keys",
            },
        },
        CommandSpec {
            name: "TTL",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(ttl),
            docs: Docs {
                summary: "Returns the expiration time in seconds of a key.",
                syntax: "key",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "TYPE",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(type_of),
            docs: Docs {
                summary: "Determines the type of value stored at a key.",
                syntax: "key",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "UNLINK",
            arity: Arity::AtLeast(2),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::FAST,
            handler: Handler::Write(del),
            docs: Docs {
                summary: "Deletes one or more keys.",
                syntax: "key [key ...]",
                since: "4.0.0",
                complexity: "O(N) where N is the number of keys",
            },
        },
    ],
};

fn copy(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (from, to) = (args.bytes()?, args.bytes()?);
    let (mut db, mut replace) = (tx.db(), false);
    while args.has_more() {
        if args.eat("REPLACE") {
            replace = true;
        } else if args.eat("DB") {
            db = database(index(&mut args)?)?;
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    if db == tx.db() && from == to {
        return Err(ReplyError::fixed("ERR source and destination objects are the same"));
    }
    if !replace && tx.view().at_db(db).facts(to).is_some() {
        return Ok(Reply::Int(0));
    }
    Ok(Reply::flag(tx.copy(from, db, to)))
}

fn del(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let removed = args.rest().iter().filter(|key| tx.remove(key)).count();
    Ok(Reply::Int(removed as i64))
}

fn exists<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let found = args.rest().iter().filter(|key| view.facts(key).is_some()).count();
    Ok(Reply::Int(found as i64))
}

fn expire(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    expire_by(tx, args, ExpiryOption::Ex, "expire")
}

fn expireat(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    expire_by(tx, args, ExpiryOption::ExAt, "expireat")
}

fn expiretime<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    about_expiry(view, args, |at, _| ((at.0 + 500) / 1000) as i64)
}

fn keys<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let pattern = args.bytes()?;
    let mut found = Vec::new();
    view.for_each_key(&mut |key, _| {
        if glob::matches(pattern, key) {
            found.push(Reply::bulk(key));
        }
    });
    if is_planted(Canary::KeysLackLast) {
        found.pop();
    }
    Ok(Reply::Array(found))
}

fn move_key(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let db = database(index(&mut args)?)?;
    if db == tx.db() {
        return Err(ReplyError::fixed("ERR source and destination objects are the same"));
    }
    if tx.view().at_db(db).facts(key).is_some() || !tx.copy(key, db, key) {
        return Ok(Reply::Int(0));
    }
    tx.remove(key);
    Ok(Reply::Int(1))
}

fn persist(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let expires = tx.view().facts(key).is_some_and(|facts| facts.expires_at.is_some());
    if expires {
        tx.set_expiry(key, None);
    }
    Ok(Reply::flag(expires))
}

fn pexpire(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    expire_by(tx, args, ExpiryOption::Px, "pexpire")
}

fn pexpireat(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    expire_by(tx, args, ExpiryOption::PxAt, "pexpireat")
}

fn pexpiretime<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    about_expiry(view, args, |at, _| at.0 as i64)
}

fn pttl<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    about_expiry(view, args, |at, now| at.0.saturating_sub(now.0) as i64)
}

fn randomkey<'a>(view: &View<'a>, _args: Args<'_>) -> Result<Reply<'a>> {
    Ok(view.random_key(view.seed()).map_or(Reply::Nil, Reply::bulk))
}

fn rename(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (from, to) = (args.bytes()?, args.bytes()?);
    if tx.view().facts(from).is_none() {
        return Err(ReplyError::NO_SUCH_KEY);
    }
    if from != to {
        tx.copy(from, tx.db(), to);
        tx.remove(from);
    }
    Ok(Reply::Ok)
}

fn renamenx(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (from, to) = (args.bytes()?, args.bytes()?);
    if tx.view().facts(from).is_none() {
        return Err(ReplyError::NO_SUCH_KEY);
    }
    if tx.view().facts(to).is_some() {
        return Ok(Reply::Int(0));
    }
    tx.copy(from, tx.db(), to);
    tx.remove(from);
    Ok(Reply::Int(1))
}

fn scan<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let cursor = scan::cursor(&mut args)?;
    let options = ScanOptions::parse(&mut args, Scanned::Keys)?;
    let mut found = Vec::new();
    let next = view.scan(cursor, options.count, &mut |key, kind| {
        let is_wanted = |wanted: &[u8]| name_of(kind).as_bytes().eq_ignore_ascii_case(wanted);
        if options.fits(key) && options.wanted.is_none_or(is_wanted) {
            found.push(Reply::bulk(key));
        }
    });
    Ok(scan::reply(next, found))
}

fn ttl<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    about_expiry(view, args, |at, now| ((at.0.saturating_sub(now.0) + 500) / 1000) as i64)
}

fn type_of<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::status(view.facts(args.bytes()?).map_or("none", |facts| name_of(facts.type_name))))
}

const fn name_of(kind: TypeName) -> &'static str {
    match kind {
        TypeName::String => "string",
        TypeName::List => "list",
        TypeName::Hash => "hash",
        TypeName::Set => "set",
        TypeName::Zset => "zset",
    }
}

/// The database of an index.
pub(super) fn database(index: i64) -> Result<usize> {
    let index = usize::try_from(index).ok().filter(|index| *index < DATABASES);
    index.ok_or(ReplyError::fixed("ERR DB index is out of range"))
}

/// A number of 32 bits, as Redis reads indices of databases.
pub(super) fn index(args: &mut Args<'_>) -> Result<i64> {
    let index = args.int()?;
    if i32::try_from(index).is_err() {
        return Err(ReplyError::fixed(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    Ok(index)
}

/// -2 without the key, -1 without an expiry, else what `tell` makes of the deadline and now.
fn about_expiry<'a>(
    view: &View<'a>,
    mut args: Args<'_>,
    tell: fn(UnixMillis, UnixMillis) -> i64,
) -> Result<Reply<'a>> {
    let facts = view.facts(args.bytes()?);
    Ok(Reply::Int(match facts {
        None => -2,
        Some(KeyFacts { expires_at: None, .. }) => -1,
        Some(KeyFacts { expires_at: Some(at), .. }) => tell(at, view.now()),
    }))
}

fn expire_by(
    tx: &mut Txn<'_>,
    mut args: Args<'_>,
    option: ExpiryOption,
    command: &str,
) -> Result<Reply<'static>> {
    let (key, time) = (args.bytes()?, args.bytes()?);
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    while let Some(word) = args.maybe() {
        match word.to_ascii_uppercase().as_slice() {
            b"NX" => nx = true,
            b"XX" => xx = true,
            b"GT" => gt = true,
            b"LT" => lt = true,
            _ => {
                let text = [b"ERR Unsupported option ", word].concat();
                return Err(ReplyError::made(text));
            }
        }
    }
    if nx && (xx || gt || lt) {
        return Err(ReplyError::fixed(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if gt && lt {
        return Err(ReplyError::fixed("ERR GT and LT options at the same time are not compatible"));
    }
    let at = deadline_or_past(tx.now(), option, time, command)?;
    let Some(facts) = tx.view().facts(key) else { return Ok(Reply::Int(0)) };
    let old = facts.expires_at;
    let refused = (nx && old.is_some())
        || (xx && old.is_none())
        || (gt && old.is_none_or(|old| at <= old))
        || (lt && old.is_some_and(|old| at >= old));
    if refused {
        return Ok(Reply::Int(0));
    }
    Ok(Reply::flag(tx.set_expiry(key, Some(at))))
}
