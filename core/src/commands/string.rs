//! String commands. Table first; handlers below in the same order. Scripts: tests/scripts/string.

use alloc::vec::Vec;
use core::ops::Range;

use super::args::Args;
use super::expiry::{ExpiryOption, Lifetime, deadline};
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys};
use crate::access::{Expiry, Txn, View};
use crate::error::{ReplyError, Result};
use crate::lcs::{Table, table_bytes};
use crate::number::{int_bytes, parse_int};
use crate::reply::Reply;

/// Largest string, as in Redis (`proto-max-bulk-len`).
const STRING_BYTES_MAX: usize = 512 << 20;

pub(super) const FAMILY: Family = Family {
    group: Group::String,
    commands: &[
        CommandSpec {
            name: "APPEND",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(append),
            docs: Docs {
                summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
                syntax: "key value",
                since: "2.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "DECR",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(decr),
            docs: Docs {
                summary: "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
                syntax: "key",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "DECRBY",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(decrby),
            docs: Docs {
                summary: "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
                syntax: "key decrement",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "GET",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(get),
            docs: Docs {
                summary: "Returns the string value of a key.",
                syntax: "key",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "GETDEL",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(getdel),
            docs: Docs {
                summary: "Returns the string value of a key after deleting the key.",
                syntax: "key",
                since: "6.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "GETEX",
            arity: Arity::AtLeast(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(getex),
            docs: Docs {
                summary: "Returns the string value of a key after setting its expiration time.",
                syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
                since: "6.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "GETRANGE",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(getrange),
            docs: Docs {
                summary: "Returns a substring of the string stored at a key.",
                syntax: "key start end",
                since: "2.4.0",
                complexity: "O(N) where N is the length of the returned string",
            },
        },
        CommandSpec {
            name: "GETSET",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(getset),
            docs: Docs {
                summary: "Returns the previous string value of a key after setting it to a new value.",
                syntax: "key value",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "INCR",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(incr),
            docs: Docs {
                summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
                syntax: "key",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "INCRBY",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(incrby),
            docs: Docs {
                summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
                syntax: "key increment",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "INCRBYFLOAT",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(incrbyfloat),
            docs: Docs {
                summary: "Increments the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
                syntax: "key increment",
                since: "2.6.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "LCS",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: 2, step: 1 },
            flags: Flags::NONE,
            handler: Handler::Read(lcs),
            docs: Docs {
                summary: "Finds the longest common substring.",
                syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
                since: "7.0.0",
                complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively",
            },
        },
        CommandSpec {
            name: "MGET",
            arity: Arity::AtLeast(2),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::FAST,
            handler: Handler::Read(mget),
            docs: Docs {
                summary: "Returns the string values of one or more keys.",
                syntax: "key [key ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of keys",
            },
        },
        CommandSpec {
            name: "MSET",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: -1, step: 2 },
            flags: Flags::DENY_OOM,
            handler: Handler::Write(mset),
            docs: Docs {
                summary: "Sets the string values of one or more keys.",
                syntax: "key value [key value ...]",
                since: "1.0.1",
                complexity: "O(N) where N is the number of keys",
            },
        },
        CommandSpec {
            name: "MSETNX",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: -1, step: 2 },
            flags: Flags::DENY_OOM,
            handler: Handler::Write(msetnx),
            docs: Docs {
                summary: "Sets the string values of one or more keys only when all keys don't exist.",
                syntax: "key value [key value ...]",
                since: "1.0.1",
                complexity: "O(N) where N is the number of keys",
            },
        },
        CommandSpec {
            name: "PSETEX",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::DENY_OOM,
            handler: Handler::Write(psetex),
            docs: Docs {
                summary: "Sets both string value and expiration time in milliseconds of a key.",
                syntax: "key milliseconds value",
                since: "2.6.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SET",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::DENY_OOM,
            handler: Handler::Write(set),
            docs: Docs {
                summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
                syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SETEX",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::DENY_OOM,
            handler: Handler::Write(setex),
            docs: Docs {
                summary: "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
                syntax: "key seconds value",
                since: "2.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SETNX",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(setnx),
            docs: Docs {
                summary: "Sets the string value of a key only when the key doesn't exist.",
                syntax: "key value",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SETRANGE",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::DENY_OOM,
            handler: Handler::Write(setrange),
            docs: Docs {
                summary: "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
                syntax: "key offset value",
                since: "2.2.0",
                complexity: "O(M) where M is the length of the value",
            },
        },
        CommandSpec {
            name: "STRLEN",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(strlen),
            docs: Docs {
                summary: "Returns the length of a string value.",
                syntax: "key",
                since: "2.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SUBSTR",
            arity: Arity::Exactly(4),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(getrange),
            docs: Docs {
                summary: "Returns a substring from a string value.",
                syntax: "key start end",
                since: "1.0.0",
                complexity: "O(N) where N is the length of the returned string",
            },
        },
    ],
};

fn append(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, tail) = (args.bytes()?, args.bytes()?);
    let length = tx.view().string(key)?.map_or(0, |value| value.len());
    check_length(length.saturating_add(tail.len()))?;
    Ok(Reply::Int(tx.append(key, tail)? as i64))
}

fn decr(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    increase(tx, args.bytes()?, -1)
}

fn decrby(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, by) = (args.bytes()?, args.int()?);
    let by = by.checked_neg().ok_or(ReplyError::fixed("ERR decrement would overflow"))?;
    increase(tx, key, by)
}

fn get<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    Ok(view.string(args.bytes()?)?.map_or(Reply::Nil, Reply::Bulk))
}

fn getdel(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let old = old_value(tx, key)?;
    tx.remove(key);
    Ok(old)
}

fn getex(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let mut lifetime = Lifetime::Unsaid;
    while args.has_more() {
        lifetime.eat(&mut args, "PERSIST")?;
    }
    let Some(old) = tx.view().string(key)? else { return Ok(Reply::Nil) };
    let old = Reply::bulk_owned(old.into_owned());
    match lifetime.expiry(tx.now(), "getex", Expiry::Clear, Expiry::Keep)? {
        Expiry::At(at) => drop(tx.set_expiry(key, Some(at))),
        Expiry::Clear if tx.view().facts(key).is_some_and(|facts| facts.expires_at.is_some()) => {
            tx.set_expiry(key, None);
        }
        Expiry::Clear | Expiry::Keep => {}
    }
    Ok(old)
}

fn getrange<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let (key, start, end) = (args.bytes()?, args.int()?, args.int()?);
    let Some(value) = view.string(key)? else { return Ok(Reply::bulk(b"")) };
    let length = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(b""));
    }
    let from_end = |at: i64| if at < 0 { (length.saturating_add(at)).max(0) } else { at };
    let index = |at: i64| usize::try_from(at).unwrap_or(usize::MAX);
    let range = index(from_end(start))..index(from_end(end).min(length - 1) + 1);
    Ok(match value {
        alloc::borrow::Cow::Borrowed(bytes) => Reply::bulk(bytes.get(range).unwrap_or_default()),
        alloc::borrow::Cow::Owned(bytes) => Reply::bulk_owned(bytes.get(range).unwrap_or_default()),
    })
}

fn getset(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, value) = (args.bytes()?, args.bytes()?);
    let old = old_value(tx, key)?;
    tx.set_string(key, value, Expiry::Clear);
    Ok(old)
}

fn incr(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    increase(tx, args.bytes()?, 1)
}

fn incrby(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, by) = (args.bytes()?, args.int()?);
    increase(tx, key, by)
}

fn incrbyfloat(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let old = match tx.view().string(key)? {
        Some(value) => crate::number::Extended::parse(&value).ok_or(ReplyError::NOT_A_FLOAT)?,
        None => crate::number::Extended::ZERO,
    };
    let by = args.extended()?;
    let infinite = ReplyError::fixed("ERR increment would produce NaN or Infinity");
    let sum = old.plus(by).ok_or(infinite)?.print();
    tx.set_string(key, &sum, Expiry::Keep);
    Ok(Reply::bulk_owned(sum))
}

fn lcs<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let (one, other) = (args.bytes()?, args.bytes()?);
    let (one, other) = (view.string(one)?, view.string(other)?);
    let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
    let (mut is_length, mut is_indexed, mut with_lengths, mut least) = (false, false, false, 0);
    while args.has_more() {
        if args.eat("IDX") {
            is_indexed = true;
        } else if args.eat("LEN") {
            is_length = true;
        } else if args.eat("WITHMATCHLEN") {
            with_lengths = true;
        } else if args.eat("MINMATCHLEN") {
            least = args.int()?;
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    if is_length && is_indexed {
        return Err(ReplyError::fixed(
            "ERR If you want both the length and indexes, please just use IDX.",
        ));
    }
    if table_bytes(one.len(), other.len()).is_none_or(|bytes| bytes > STRING_BYTES_MAX) {
        return Err(ReplyError::fixed(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let table = Table::new(&one, &other);
    let length = Reply::Int(i64::from(table.length()));
    if is_length {
        return Ok(length);
    }
    let mut stretches = table.stretches();
    if !is_indexed {
        let parts = stretches.iter().rev().flat_map(|it| &one[it.one.clone()]);
        return Ok(Reply::bulk_owned(parts.copied().collect::<Vec<u8>>()));
    }
    stretches.retain(|it| it.one.len() as i64 >= least);
    let ends = |range: &Range<usize>| {
        Reply::Array([range.start, range.end - 1].map(|at| Reply::Int(at as i64)).into())
    };
    let matches = stretches.iter().map(|it| {
        let mut facts = alloc::vec![ends(&it.one), ends(&it.other)];
        facts.extend(with_lengths.then_some(Reply::Int(it.one.len() as i64)));
        Reply::Array(facts)
    });
    let matches = Reply::Array(matches.collect());
    Ok(Reply::Map(alloc::vec![(Reply::bulk(b"matches"), matches), (Reply::bulk(b"len"), length)]))
}

fn mget<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let value = |key: &&[u8]| view.string(key).ok().flatten().map_or(Reply::Nil, Reply::Bulk);
    Ok(Reply::Array(args.rest().iter().map(value).collect()))
}

fn mset(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    for [key, value] in pairs(&mut args, "mset")? {
        tx.set_string(key, value, Expiry::Clear);
    }
    Ok(Reply::Ok)
}

fn msetnx(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let pairs = pairs(&mut args, "msetnx")?;
    if pairs.iter().any(|[key, _]| tx.view().facts(key).is_some()) {
        return Ok(Reply::Int(0));
    }
    for [key, value] in pairs {
        tx.set_string(key, value, Expiry::Clear);
    }
    Ok(Reply::Int(1))
}

fn psetex(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    set_with_ttl(tx, args, ExpiryOption::Px, "psetex")
}

fn set(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, value) = (args.bytes()?, args.bytes()?);
    let (mut nx, mut xx, mut get, mut lifetime) = (false, false, false, Lifetime::Unsaid);
    while args.has_more() {
        if !xx && args.eat("NX") {
            nx = true;
        } else if !nx && args.eat("XX") {
            xx = true;
        } else if args.eat("GET") {
            get = true;
        } else {
            lifetime.eat(&mut args, "KEEPTTL")?;
        }
    }
    let expiry = lifetime.expiry(tx.now(), "set", Expiry::Keep, Expiry::Clear)?;
    let old = if get { Some(old_value(tx, key)?) } else { None };
    let exists = tx.view().facts(key).is_some();
    if (nx && exists) || (xx && !exists) {
        return Ok(old.unwrap_or(Reply::Nil));
    }
    tx.set_string(key, value, expiry);
    Ok(old.unwrap_or(Reply::Ok))
}

fn setex(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    set_with_ttl(tx, args, ExpiryOption::Ex, "setex")
}

fn setnx(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, value) = (args.bytes()?, args.bytes()?);
    let free = tx.view().facts(key).is_none();
    if free {
        tx.set_string(key, value, Expiry::Clear);
    }
    Ok(Reply::flag(free))
}

fn setrange(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, offset, bytes) = (args.bytes()?, args.int()?, args.bytes()?);
    let offset =
        usize::try_from(offset).map_err(|_| ReplyError::fixed("ERR offset is out of range"))?;
    let length = tx.view().string(key)?.map_or(0, |value| value.len());
    if bytes.is_empty() {
        return Ok(Reply::Int(length as i64));
    }
    check_length(offset.saturating_add(bytes.len()))?;
    Ok(Reply::Int(tx.overwrite(key, offset, bytes)? as i64))
}

fn strlen<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::Int(view.string(args.bytes()?)?.map_or(0, |value| value.len() as i64)))
}

/// The string as a reply of its own, nil if there is none.
fn old_value(tx: &Txn<'_>, key: &[u8]) -> Result<Reply<'static>> {
    Ok(tx.view().string(key)?.map_or(Reply::Nil, |value| Reply::bulk_owned(value.into_owned())))
}

fn increase(tx: &mut Txn<'_>, key: &[u8], by: i64) -> Result<Reply<'static>> {
    let old = match tx.view().string(key)? {
        Some(value) => parse_int(&value).ok_or(ReplyError::NOT_AN_INTEGER)?,
        None => 0,
    };
    let overflow = ReplyError::fixed("ERR increment or decrement would overflow");
    let new = old.checked_add(by).ok_or(overflow)?;
    tx.set_string(key, &int_bytes(new), Expiry::Keep);
    Ok(Reply::Int(new))
}

fn set_with_ttl(
    tx: &mut Txn<'_>,
    mut args: Args<'_>,
    option: ExpiryOption,
    command: &str,
) -> Result<Reply<'static>> {
    let (key, ttl, value) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let at = deadline(tx.now(), option, ttl, command)?;
    tx.set_string(key, value, Expiry::At(at));
    Ok(Reply::Ok)
}

fn pairs<'a>(args: &mut Args<'a>, command: &str) -> Result<Vec<[&'a [u8]; 2]>> {
    let (pairs, left) = args.rest().as_chunks::<2>();
    if left.is_empty() { Ok(pairs.to_vec()) } else { Err(super::wrong_arity(command)) }
}

fn check_length(bytes: usize) -> Result<()> {
    if bytes > STRING_BYTES_MAX {
        return Err(ReplyError::fixed(
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ));
    }
    Ok(())
}
