//! Set commands. Table first; handlers below in the same order. Scripts: tests/scripts/set.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::args::Args;
use super::scan::{self, ScanOptions, Scanned};
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys, random};
use crate::access::{Txn, View};
use crate::collections::{Set, SetForm};
use crate::error::{ReplyError, Result};
use crate::number::parse_int;
use crate::reply::Reply;
use crate::rng::Rng;

/// SPOP that leaves less than one member of so many that it takes makes a new set of those that stay.
const LEFT_ONE_OF: usize = 5;

pub(super) const FAMILY: Family = Family {
    group: Group::Set,
    commands: &[
        CommandSpec {
            name: "SADD",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST.and(Flags::DENY_OOM),
            handler: Handler::Write(sadd),
            docs: Docs {
                summary: "Adds one or more members to a set. Creates the key if it doesn't exist.",
                syntax: "key member [member ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of members to be added",
            },
        },
        CommandSpec {
            name: "SCARD",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(scard),
            docs: Docs {
                summary: "Returns the number of members in a set.",
                syntax: "key",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SDIFF",
            arity: Arity::AtLeast(2),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::NONE,
            handler: Handler::Read(sdiff),
            docs: Docs {
                summary: "Returns the difference of multiple sets.",
                syntax: "key [key ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the total number of members in all given sets",
            },
        },
        CommandSpec {
            name: "SDIFFSTORE",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::DENY_OOM,
            handler: Handler::Write(sdiffstore),
            docs: Docs {
                summary: "Stores the difference of multiple sets in a key.",
                syntax: "destination key [key ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the total number of members in all given sets",
            },
        },
        CommandSpec {
            name: "SINTER",
            arity: Arity::AtLeast(2),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::NONE,
            handler: Handler::Read(sinter),
            docs: Docs {
                summary: "Returns the intersect of multiple sets.",
                syntax: "key [key ...]",
                since: "1.0.0",
                complexity: "O(N*M) where N is the cardinality of the smallest set and M is the number of sets",
            },
        },
        CommandSpec {
            name: "SINTERCARD",
            arity: Arity::AtLeast(3),
            keys: Keys::Counted { at: 1 },
            flags: Flags::NONE,
            handler: Handler::Read(sintercard),
            docs: Docs {
                summary: "Returns the number of members of the intersect of multiple sets.",
                syntax: "numkeys key [key ...] [LIMIT limit]",
                since: "7.0.0",
                complexity: "O(N*M) where N is the cardinality of the smallest set and M is the number of sets",
            },
        },
        CommandSpec {
            name: "SINTERSTORE",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::DENY_OOM,
            handler: Handler::Write(sinterstore),
            docs: Docs {
                summary: "Stores the intersect of multiple sets in a key.",
                syntax: "destination key [key ...]",
                since: "1.0.0",
                complexity: "O(N*M) where N is the cardinality of the smallest set and M is the number of sets",
            },
        },
        CommandSpec {
            name: "SISMEMBER",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(sismember),
            docs: Docs {
                summary: "Determines whether a member belongs to a set.",
                syntax: "key member",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SMEMBERS",
            arity: Arity::Exactly(2),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(smembers),
            docs: Docs {
                summary: "Returns all members of a set.",
                syntax: "key",
                since: "1.0.0",
                complexity: "O(N) where N is the cardinality of the set",
            },
        },
        CommandSpec {
            name: "SMISMEMBER",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Read(smismember),
            docs: Docs {
                summary: "Determines whether multiple members belong to a set.",
                syntax: "key member [member ...]",
                since: "6.2.0",
                complexity: "O(N) where N is the number of members being checked",
            },
        },
        CommandSpec {
            name: "SMOVE",
            arity: Arity::Exactly(4),
            keys: Keys::Range { first: 1, last: 2, step: 1 },
            flags: Flags::FAST,
            handler: Handler::Write(smove),
            docs: Docs {
                summary: "Moves a member from one set to another.",
                syntax: "source destination member",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SPOP",
            arity: Arity::AtLeast(2),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(spop),
            docs: Docs {
                summary: "Returns one or more random members from a set after removing them. \
                    Deletes the set if the last member was popped.",
                syntax: "key [count]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of members returned",
            },
        },
        CommandSpec {
            name: "SRANDMEMBER",
            arity: Arity::AtLeast(2),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(srandmember),
            docs: Docs {
                summary: "Returns one or multiple random members from a set.",
                syntax: "key [count]",
                since: "1.0.0",
                complexity: "O(N) where N is the absolute value of the count",
            },
        },
        CommandSpec {
            name: "SREM",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::FAST,
            handler: Handler::Write(srem),
            docs: Docs {
                summary: "Removes one or more members from a set. Deletes the set if the last member was removed.",
                syntax: "key member [member ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the number of members to be removed",
            },
        },
        CommandSpec {
            name: "SSCAN",
            arity: Arity::AtLeast(3),
            keys: Keys::at(1),
            flags: Flags::NONE,
            handler: Handler::Read(sscan),
            docs: Docs {
                summary: "Iterates over members of a set.",
                syntax: "key cursor [MATCH pattern] [COUNT count]",
                since: "2.8.0",
                complexity: "O(1) for every call",
            },
        },
        CommandSpec {
            name: "SUNION",
            arity: Arity::AtLeast(2),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::NONE,
            handler: Handler::Read(sunion),
            docs: Docs {
                summary: "Returns the union of multiple sets.",
                syntax: "key [key ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the total number of members in all given sets",
            },
        },
        CommandSpec {
            name: "SUNIONSTORE",
            arity: Arity::AtLeast(3),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::DENY_OOM,
            handler: Handler::Write(sunionstore),
            docs: Docs {
                summary: "Stores the union of multiple sets in a key.",
                syntax: "destination key [key ...]",
                since: "1.0.0",
                complexity: "O(N) where N is the total number of members in all given sets",
            },
        },
    ],
};

fn sadd(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, members) = (args.bytes()?, args.rest());
    let create = || Set::for_members(members.first().copied().unwrap_or_default(), members.len());
    let added = tx.edit_or_create(key, create, |set: &mut Set| {
        set.expect(members.len());
        let added = members.iter().filter(|member| set.add(member)).count();
        (added, added > 0)
    })?;
    Ok(Reply::Int(added as i64))
}

fn scard<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::Int(view.get::<Set>(args.bytes()?)?.map_or(0, |set| set.len() as i64)))
}

fn sdiff<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    Ok(owned(&difference(&lookup(view, args.rest())?)))
}

fn sdiffstore(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (to, keys) = (args.bytes()?, args.rest());
    let result = difference(&lookup(&tx.view(), keys)?);
    Ok(Reply::Int(tx.store(to, result) as i64))
}

fn sinter<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let sets = present(&lookup(view, args.rest())?).unwrap_or_default();
    Ok(Reply::Set(Set::common(&sets).map(Reply::Bulk).collect()))
}

fn sintercard<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let count = args.bytes()?;
    let (count, words) = (parse_int(count).filter(|count| *count > 0), args.rest());
    let count = count.ok_or(ReplyError::fixed("ERR numkeys should be greater than 0"))?;
    let (keys, options) = usize::try_from(count)
        .ok()
        .and_then(|count| words.split_at_checked(count))
        .ok_or(ReplyError::fixed("ERR Number of keys can't be greater than number of args"))?;
    let (options, left) = options.as_chunks::<2>();
    let mut limit = 0;
    for [option, value] in options {
        if !option.eq_ignore_ascii_case(b"LIMIT") {
            return Err(ReplyError::SYNTAX);
        }
        let value = parse_int(value).and_then(|limit| usize::try_from(limit).ok());
        limit = value.ok_or(ReplyError::fixed("ERR LIMIT can't be negative"))?;
    }
    if !left.is_empty() {
        return Err(ReplyError::SYNTAX);
    }
    let sets = present(&lookup(view, keys)?).unwrap_or_default();
    let limit = if limit == 0 { usize::MAX } else { limit };
    Ok(Reply::Int(Set::common(&sets).take(limit).count() as i64))
}

fn sinterstore(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (to, keys) = (args.bytes()?, args.rest());
    let result = match present(&lookup(&tx.view(), keys)?) {
        Some(sets) => Set::intersection(&sets),
        None => Set::default(),
    };
    Ok(Reply::Int(tx.store(to, result) as i64))
}

fn sismember<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let (key, member) = (args.bytes()?, args.bytes()?);
    Ok(Reply::flag(view.get::<Set>(key)?.is_some_and(|set| set.contains(member))))
}

fn smembers<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let set = view.get::<Set>(args.bytes()?)?;
    Ok(Reply::Set(set.into_iter().flat_map(Set::iter).map(Reply::Bulk).collect()))
}

fn smismember<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let set = view.get::<Set>(args.bytes()?)?;
    let is_member = |member: &&[u8]| Reply::flag(set.is_some_and(|set| set.contains(member)));
    Ok(Reply::Array(args.rest().iter().map(is_member).collect()))
}

fn smove(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (from, to, member) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let Some(source) = tx.get::<Set>(from)? else { return Ok(Reply::Int(0)) };
    let is_member = source.contains(member);
    tx.get::<Set>(to)?;
    if !is_member || from == to {
        return Ok(Reply::flag(is_member));
    }
    tx.edit(from, |set: &mut Set| {
        let was_there = set.remove(member);
        (was_there, was_there)
    })?;
    tx.edit_or_create(
        to,
        || Set::for_members(member, 1),
        |set: &mut Set| {
            let is_new = set.add(member);
            (is_new, is_new)
        },
    )?;
    Ok(Reply::Int(1))
}

fn spop(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let key = args.bytes()?;
    let is_counted = args.has_more();
    let count = args.maybe().unwrap_or(b"1");
    args.end()?;
    let count = parse_int(count).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(ReplyError::fixed("ERR value is out of range, must be positive"))?;
    let mut rng = Rng::seeded(tx.view().seed());
    let mut popped = tx.edit::<Set, _>(key, |set| {
        let popped = pop(set, count, &mut rng);
        let has_changed = !popped.is_empty();
        (popped, has_changed)
    })?;
    Ok(if is_counted { Reply::Set(popped) } else { popped.pop().unwrap_or(Reply::Nil) })
}

fn srandmember<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let key = args.bytes()?;
    let mut counted = args;
    args.maybe();
    args.end()?;
    let count = if counted.has_more() { Some(random::count(&mut counted)?) } else { None };
    let set = view.get::<Set>(key)?;
    let choose = |count| match set {
        Some(set) => {
            random::choose(view.seed(), count, set.len(), set.iter(), |rank| set.nth(rank))
        }
        None => Ok(Vec::new()),
    };
    Ok(match count {
        Some(count) => Reply::Array(choose(count)?.into_iter().map(Reply::Bulk).collect()),
        None => choose(1)?.pop().map_or(Reply::Nil, Reply::Bulk),
    })
}

fn srem(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (key, members) = (args.bytes()?, args.rest());
    let removed = tx.edit::<Set, _>(key, |set| {
        let removed = members.iter().filter(|member| set.remove(member)).count();
        (removed, removed > 0)
    })?;
    Ok(Reply::Int(removed as i64))
}

fn sscan<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let key = args.bytes()?;
    let cursor = scan::cursor(&mut args)?;
    let Some(set) = view.get::<Set>(key)? else { return Ok(scan::reply(0, Vec::new())) };
    let options = ScanOptions::parse(&mut args, Scanned::Members)?;
    let mut found = Vec::new();
    let next = set.scan(cursor, options.count, &mut |member| {
        if options.fits(&member) {
            found.push(Reply::Bulk(member));
        }
    });
    Ok(scan::reply(next, found))
}

fn sunion<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let sets: Vec<&Set> = lookup(view, args.rest())?.into_iter().flatten().collect();
    Ok(match &sets[..] {
        [one] => Reply::Set(one.iter().map(Reply::Bulk).collect()),
        _ => owned(&Set::union(&sets)),
    })
}

fn sunionstore(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (to, keys) = (args.bytes()?, args.rest());
    let sets: Vec<&Set> = lookup(&tx.view(), keys)?.into_iter().flatten().collect();
    let result = Set::union(&sets);
    Ok(Reply::Int(tx.store(to, result) as i64))
}

/// The sets at some keys, none where there is no key. A wrong type anywhere is an error, also behind a key that is not there.
fn lookup<'a>(view: &View<'a>, keys: &[&[u8]]) -> Result<Vec<Option<&'a Set>>> {
    keys.iter().map(|key| view.get(key)).collect()
}

/// The same sets, if all of them are there.
fn present<'a>(sets: &[Option<&'a Set>]) -> Option<Vec<&'a Set>> {
    sets.iter().copied().collect()
}

fn difference(sets: &[Option<&Set>]) -> Set {
    match sets {
        [Some(first), others @ ..] => {
            let others: Vec<&Set> = others.iter().copied().flatten().collect();
            Set::difference(first, &others)
        }
        _ => Set::default(),
    }
}

fn owned(set: &Set) -> Reply<'static> {
    Reply::Set(set.iter().map(|member| Reply::bulk_owned(member.into_owned())).collect())
}

/// Takes `count` random members out. Where few are left, they are put into a new set, as in Redis, whose form is that of so few.
fn pop(set: &mut Set, count: usize, rng: &mut Rng) -> Vec<Reply<'static>> {
    let reply = |member: Cow<'_, [u8]>| Reply::bulk_owned(member.into_owned());
    let left = set.len().saturating_sub(count);
    if count == 0 || left.saturating_mul(LEFT_ONE_OF) > count {
        let ranks = random::ranks(rng, count, set.len());
        let popped = ranks.iter().filter_map(|rank| set.nth(*rank)).map(reply).collect();
        ranks.iter().rev().for_each(|rank| set.remove_at(*rank));
        return popped;
    }
    let mut stay = random::ranks(rng, left, set.len());
    let mut new = match set.form() {
        SetForm::Ints(_) => Set::default(),
        SetForm::Small(_) | SetForm::Large(_) => Set::for_members(b"", 0),
    };
    let mut popped = Vec::with_capacity(set.len() - left);
    for (rank, member) in set.iter().enumerate() {
        if stay.remove(&rank) {
            new.add(&member);
        } else {
            popped.push(reply(member));
        }
    }
    *set = new;
    popped
}
