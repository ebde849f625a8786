//! Hash commands. Table first; handlers below in the same order. Scripts: tests/scripts/hash.

use alloc::vec::Vec;

use super::args::Args;
use super::scan::{self, ScanOptions, Scanned};
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys, random};
use crate::access::{Txn, View};
use crate::collections::Hash;
use crate::error::{ReplyError, Result};
use crate::number::{Extended, int_bytes, parse_int};
use crate::reply::Reply;

pub(super) const FAMILY: Family = Family {
    group: Group::Hash,
    commands: &[
        CommandSpec {
            name: "HDEL",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(hdel),
            docs: Docs {
                summary: "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.",
                syntax: "key field [field ...]",
                since: "2.0.0",
                complexity: "O(N) where N is the number of fields to be removed",
            },
        },
        CommandSpec {
            name: "HEXISTS",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(hexists),
            docs: Docs {
                summary: "Determines whether a field exists in a hash.",
                syntax: "key field",
                since: "2.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "HGET",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(hget),
            docs: Docs {
                summary: "Returns the value of a field in a hash.",
                syntax: "key field",
                since: "2.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "HGETALL",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(hgetall),
            docs: Docs {
                summary: "Returns all fields and values in a hash.",
                syntax: "key",
                since: "2.0.0",
                complexity: "O(N) where N is the size of the hash",
            },
        },
        CommandSpec {
            name: "HINCRBY",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(hincrby),
            docs: Docs {
                summary: "Increments the integer value of a field in a hash by a number. \
                    Uses 0 as initial value if the field doesn't exist.",
                syntax: "key field increment",
                since: "2.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "HINCRBYFLOAT",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(hincrbyfloat),
            docs: Docs {
                summary: "Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist.",
                syntax: "key field increment",
                since: "2.6.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "HKEYS",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(hkeys),
            docs: Docs {
                summary: "Returns all fields in a hash.",
                syntax: "key",
                since: "2.0.0",
                complexity: "O(N) where N is the size of the hash",
            },
        },
        CommandSpec {
            name: "HLEN",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(hlen),
            docs: Docs {
                summary: "Returns the number of fields in a hash.",
                syntax: "key",
                since: "2.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "HMGET",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(hmget),
            docs: Docs {
                summary: "Returns the values of all fields in a hash.",
                syntax: "key field [field ...]",
                since: "2.0.0",
                complexity: "O(N) where N is the number of fields being requested",
            },
        },
        CommandSpec {
            name: "HMSET",
            arity: Arity::AtLeast(4),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(hmset),
            docs: Docs {
                summary: "Sets the values of multiple fields.",
                syntax: "key field value [field value ...]",
                since: "2.0.0",
                complexity: "O(N) where N is the number of fields being set",
            },
        },
        CommandSpec {
            name: "HRANDFIELD",
            arity: Arity::AtLeast(2),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(hrandfield),
            docs: Docs {
                summary: "Returns one or more random fields from a hash.",
                syntax: "key [count [WITHVALUES]]",
                since: "6.2.0",
                complexity: "O(N) where N is the number of fields returned",
            },
        },
        CommandSpec {
            name: "HSCAN",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(hscan),
            docs: Docs {
                summary: "Iterates over fields and values of a hash.",
                syntax: "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
                since: "2.8.0",
                complexity: "O(1) for every call",
            },
        },
        CommandSpec {
            name: "HSET",
            arity: Arity::AtLeast(4),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(hset),
            docs: Docs {
                summary: "Creates or modifies the value of a field in a hash.",
                syntax: "key field value [field value ...]",
                since: "2.0.0",
                complexity: "O(N) where N is the number of fields being set",
            },
        },
        CommandSpec {
            name: "HSETNX",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(hsetnx),
            docs: Docs {
                summary: "Sets the value of a field in a hash only when the field doesn't exist.",
                syntax: "key field value",
                since: "2.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "HSTRLEN",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(hstrlen),
            docs: Docs {
                summary: "Returns the length of the value of a field.",
                syntax: "key field",
                since: "3.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "HVALS",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(hvals),
            docs: Docs {
                summary: "Returns all values in a hash.",
                syntax: "key",
                since: "2.0.0",
                complexity: "O(N) where N is the size of the hash",
            },
        },
    ],
};

fn hdel(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, fields) = (args.bytes()?, args.rest());
    let removed = tx.edit::<Hash, _>(key, |hash| {
        let removed = fields.iter().filter(|field| hash.remove(field)).count();
        (removed, removed > 0)
    })?;
    Ok(Reply::Int(removed as i64))
}

fn hexists<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::flag(value(view, args)?.is_some()))
}

fn hget<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    Ok(value(view, args)?.map_or(Reply::Nil, Reply::bulk))
}

fn hgetall<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let hash = view.get::<Hash>(args.bytes()?)?;
    Ok(Reply::Map(hash.into_iter().flat_map(Hash::iter).map(pair).collect()))
}

fn hincrby(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, field, by) = (args.bytes()?, args.bytes()?, args.int()?);
    let old = match tx.get::<Hash>(key)?.and_then(|hash| hash.get(field)) {
        Some(value) => {
            let wrong = ReplyError::fixed("ERR hash value is not an integer");
            parse_int(value).ok_or(wrong)?
        }
        None => 0,
    };
    let overflow = ReplyError::fixed("ERR increment or decrement would overflow");
    let new = old.checked_add(by).ok_or(overflow)?;
    tx.edit::<Hash, _>(key, |hash| (hash.set(field, &int_bytes(new)), true))?;
    Ok(Reply::Int(new))
}

fn hincrbyfloat(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, field, by) = (args.bytes()?, args.bytes()?, args.extended()?);
    if by.plus(Extended::ZERO).is_none() {
        return Err(ReplyError::fixed("ERR value is NaN or Infinity"));
    }
    let old = match tx.get::<Hash>(key)?.and_then(|hash| hash.get(field)) {
        Some(value) => {
            let wrong = ReplyError::fixed("ERR hash value is not a float");
            Extended::parse(value).ok_or(wrong)?
        }
        None => Extended::ZERO,
    };
    let infinite = ReplyError::fixed("ERR increment would produce NaN or Infinity");
    let new = old.plus(by).ok_or(infinite)?.print();
    tx.edit::<Hash, _>(key, |hash| (hash.set(field, &new), true))?;
    Ok(Reply::bulk_owned(new))
}

fn hkeys<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let hash = view.get::<Hash>(args.bytes()?)?;
    let fields = hash.into_iter().flat_map(Hash::iter);
    Ok(Reply::Array(fields.map(|(field, _)| Reply::bulk(field)).collect()))
}

fn hlen<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::Int(view.get::<Hash>(args.bytes()?)?.map_or(0, |hash| hash.len() as i64)))
}

fn hmget<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let hash = view.get::<Hash>(args.bytes()?)?;
    let value =
        |field: &&[u8]| hash.and_then(|hash| hash.get(field)).map_or(Reply::Nil, Reply::bulk);
    Ok(Reply::Array(args.rest().iter().map(value).collect()))
}

fn hmset(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    set_fields(tx, args, "hmset")?;
    Ok(Reply::Ok)
}

fn hrandfield<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let key = args.bytes()?;
    let count = if args.has_more() { Some(random::count(&mut args)?) } else { None };
    let with_values = args.has_more();
    if with_values && !args.eat("WITHVALUES") {
        return Err(ReplyError::SYNTAX);
    }
    args.end()?;
    if with_values && count.is_some_and(|count| count.unsigned_abs() > i64::MAX as u64 / 2) {
        return Err(ReplyError::fixed("ERR value is out of range"));
    }
    let hash = view.get::<Hash>(key)?;
    let choose = |count| match hash {
        Some(hash) => {
            random::choose(view.seed(), count, hash.len(), hash.iter(), |rank| hash.nth(rank))
        }
        None => Ok(Vec::new()),
    };
    let Some(count) = count else {
        let first = choose(1)?.first().copied();
        return Ok(first.map_or(Reply::Nil, |(field, _)| Reply::bulk(field)));
    };
    let chosen = choose(count)?.into_iter();
    Ok(if with_values {
        Reply::Pairs(chosen.map(pair).collect())
    } else {
        Reply::Array(chosen.map(|(field, _)| Reply::bulk(field)).collect())
    })
}

fn hscan<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let key = args.bytes()?;
    let cursor = scan::cursor(&mut args)?;
    let Some(hash) = view.get::<Hash>(key)? else { return Ok(scan::reply(0, Vec::new())) };
    let options = ScanOptions::parse(&mut args, Scanned::Hash)?;
    let mut found = Vec::new();
    let next = hash.scan(cursor, options.count, &mut |field, value| {
        if options.fits(field) {
            found.push(Reply::bulk(field));
            found.extend((!options.no_values).then_some(Reply::bulk(value)));
        }
    });
    Ok(scan::reply(next, found))
}

fn hset(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    Ok(Reply::Int(set_fields(tx, args, "hset")? as i64))
}

fn hsetnx(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, field, value) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let is_free = tx.get::<Hash>(key)?.is_none_or(|hash| hash.get(field).is_none());
    if is_free {
        tx.edit::<Hash, _>(key, |hash| (hash.set(field, value), true))?;
    }
    Ok(Reply::flag(is_free))
}

fn hstrlen<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::Int(value(view, args)?.map_or(0, <[u8]>::len) as i64))
}

fn hvals<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let hash = view.get::<Hash>(args.bytes()?)?;
    let fields = hash.into_iter().flat_map(Hash::iter);
    Ok(Reply::Array(fields.map(|(_, value)| Reply::bulk(value)).collect()))
}

/// The value of the field that the arguments name.
fn value<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Option<&'a [u8]>> {
    let (key, field) = (args.bytes()?, args.bytes()?);
    Ok(view.get::<Hash>(key)?.and_then(|hash| hash.get(field)))
}

fn pair<'a>((field, value): (&'a [u8], &'a [u8])) -> (Reply<'a>, Reply<'a>) {
    (Reply::bulk(field), Reply::bulk(value))
}

/// Sets all fields, also to what they were; answers how many are new.
fn set_fields(tx: &mut Txn<'_>, mut args: Args<'_>, command: &str) -> Result<usize> {
    let key = args.bytes()?;
    let (pairs, left) = args.rest().as_chunks::<2>();
    if !left.is_empty() {
        return Err(super::wrong_arity(command));
    }
    tx.edit::<Hash, _>(key, |hash| {
        hash.expect(pairs.len());
        let new = pairs.iter().filter(|[field, value]| hash.set(field, value)).count();
        (new, true)
    })
}
