//! DUMP and RESTORE: a value as bytes, in the form that Redis uses between servers. Table first; handlers below. Scripts:
//! tests/scripts/generic.

use super::args::Args;
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys};
use crate::access::{Expiry, Txn, View};
use crate::error::{ReplyError, Result};
use crate::number::parse_int;
use crate::rdb::{self, Refusal};
use crate::record::Value;
use crate::reply::Reply;
use crate::stamp::UnixMillis;

pub(super) const FAMILY: Family = Family {
    group: Group::Generic,
    commands: &[
        CommandSpec {
            name: "DUMP",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(dump),
            docs: Docs {
                summary: "Returns a serialized representation of the value stored at a key.",
                syntax: "key",
                since: "2.6.0",
                complexity: "O(N) where N is the number of bytes and elements of the value",
            },
        },
        CommandSpec {
            name: "RESTORE",
            arity: Arity::AtLeast(4),
            keys: Keys::at(1),
            flags: Flags::DENY_OOM.and(Flags::DANGEROUS),
            handler: Handler::Write(restore),
            docs: Docs {
                summary: "Creates a key from the serialized representation of a value.",
                syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
                since: "2.6.0",
                complexity: "O(N*log(N)) where N is the number of bytes and elements of the value",
            },
        },
    ],
};

fn dump<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let value = view.value(args.bytes()?);
    Ok(value.map_or(Reply::Nil, |value| Reply::bulk_owned(value.with(rdb::dump))))
}

fn restore(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, ttl, payload) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let (replace, absolute) = options(&mut args)?;
    if !replace && tx.view().facts(key).is_some() {
        return Err(ReplyError::fixed("BUSYKEY Target key name already exists."));
    }
    let ttl = parse_int(ttl).ok_or(ReplyError::NOT_AN_INTEGER)?;
    if ttl < 0 {
        return Err(ReplyError::fixed("ERR Invalid TTL value, must be >= 0"));
    }
    let value = rdb::restore(payload).map_err(|refusal| {
        ReplyError::fixed(match refusal {
            Refusal::Footer => "ERR DUMP payload version or checksum are wrong",
            Refusal::Format => "ERR Bad data format",
        })
    })?;
    let now = tx.now();
    let expires_at = match (ttl, absolute) {
        (0, _) => None,
        (at, true) => Some(UnixMillis(at as u64)),
        // Further than time goes is the past, as in Redis.
        (ttl, false) => Some(now.0.saturating_add(ttl as u64))
            .filter(|at| i64::try_from(*at).is_ok())
            .map_or(Some(UnixMillis(0)), |at| Some(UnixMillis(at))),
    };
    if expires_at.is_some_and(|at| at <= now) {
        tx.remove(key);
        return Ok(Reply::Ok);
    }
    match value {
        Value::List(list) => drop(tx.store(key, list)),
        Value::Hash(hash) => drop(tx.store(key, hash)),
        Value::Set(set) => drop(tx.store(key, set)),
        Value::Zset(zset) => drop(tx.store(key, zset)),
        string => tx.set_string(key, string.as_string().unwrap_or_default(), Expiry::Clear),
    }
    if expires_at.is_some() {
        tx.set_expiry(key, expires_at);
    }
    Ok(Reply::Ok)
}

/// Whether to replace, and whether the time is a date. How idle or popular the key was is checked and forgotten: nothing here depends
/// on it.
fn options(args: &mut Args<'_>) -> Result<(bool, bool)> {
    let (mut replace, mut absolute, mut idle, mut popular) = (false, false, false, false);
    while args.has_more() {
        if args.eat("REPLACE") {
            replace = true;
        } else if args.eat("ABSTTL") {
            absolute = true;
        } else if !popular && args.eat("IDLETIME") {
            if args.int()? < 0 {
                return Err(ReplyError::fixed("ERR Invalid IDLETIME value, must be >= 0"));
            }
            idle = true;
        } else if !idle && args.eat("FREQ") {
            if !(0..=255).contains(&args.int()?) {
                return Err(ReplyError::fixed("ERR Invalid FREQ value, must be >= 0 and <= 255"));
            }
            popular = true;
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    Ok((replace, absolute))
}
