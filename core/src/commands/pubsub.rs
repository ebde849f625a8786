//! Publish and subscribe. Table first; handlers below in the same order. Scripts: tests/scripts/pubsub.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::args::Args;
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys};
use crate::access::{Txn, View};
use crate::error::{ReplyError, Result};
use crate::glob;
use crate::pubsub::Kind;
use crate::reply::Reply;

type Run = fn(&mut Txn<'_>, Args<'_>) -> Result<Reply<'static>>;

/// Where the names of shard channels stand: cluster clients send the command to whom the slot belongs.
const SHARDS: Keys = Keys::Range { first: 1, last: -1, step: 1 };

const fn subscription(
    name: &'static str,
    words: usize,
    keys: Keys,
    run: Run,
    (summary, syntax, since): (&'static str, &'static str, &'static str),
) -> CommandSpec {
    let docs = Docs {
        summary,
        syntax,
        since,
        complexity: "O(N) where N is the number of channels or patterns.",
    };
    let flags = Flags::PUB_SUB.and(Flags::NO_SCRIPT);
    CommandSpec {
        name,
        arity: Arity::AtLeast(words),
        keys,
        flags,
        handler: Handler::Write(run),
        docs,
    }
}

const fn question(
    name: &'static str,
    arity: Arity,
    run: super::ReadHandler,
    (summary, syntax, since): (&'static str, &'static str, &'static str),
) -> CommandSpec {
    let docs = Docs {
        summary,
        syntax,
        since,
        complexity: "O(N) where N is the number of channels that are there or asked for.",
    };
    CommandSpec {
        name,
        arity,
        keys: Keys::None,
        flags: Flags::PUB_SUB,
        handler: Handler::Read(run),
        docs,
    }
}

pub(super) const FAMILY: Family = Family {
    group: Group::PubSub,
    commands: &[
        subscription(
            "PSUBSCRIBE",
            2,
            Keys::None,
            psubscribe,
            (
                "Listens for messages to channels that match patterns.",
                "pattern [pattern ...]",
                "2.0.0",
            ),
        ),
        CommandSpec {
            name: "PUBLISH",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::PUB_SUB.and(Flags::FAST),
            handler: Handler::Write(publish),
            docs: Docs {
                summary: "Posts a message to a channel.",
                syntax: "channel message",
                since: "2.0.0",
                complexity: "O(N+M) where N is the number of clients that receive it and M that of subscribed patterns.",
            },
        },
        question(
            "PUBSUB|CHANNELS",
            Arity::AtLeast(2),
            channels,
            ("Returns the channels that somebody is subscribed to.", "[pattern]", "2.8.0"),
        ),
        CommandSpec {
            name: "PUBSUB|HELP",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::NONE,
            handler: Handler::Read(help),
            docs: Docs {
                summary: "Returns helpful text about the different subcommands.",
                syntax: "",
                since: "6.2.0",
                complexity: "O(1)",
            },
        },
        question(
            "PUBSUB|NUMPAT",
            Arity::Exactly(2),
            numpat,
            ("Returns the number of patterns that somebody is subscribed to.", "", "2.8.0"),
        ),
        question(
            "PUBSUB|NUMSUB",
            Arity::AtLeast(2),
            numsub,
            ("Returns how many are subscribed to channels.", "[channel [channel ...]]", "2.8.0"),
        ),
        question(
            "PUBSUB|SHARDCHANNELS",
            Arity::AtLeast(2),
            shard_channels,
            ("Returns the shard channels that somebody is subscribed to.", "[pattern]", "7.0.0"),
        ),
        question(
            "PUBSUB|SHARDNUMSUB",
            Arity::AtLeast(2),
            shard_numsub,
            (
                "Returns how many are subscribed to shard channels.",
                "[shardchannel [shardchannel ...]]",
                "7.0.0",
            ),
        ),
        subscription(
            "PUNSUBSCRIBE",
            1,
            Keys::None,
            punsubscribe,
            (
                "Stops listening to channels that match patterns; to all patterns if none is named.",
                "[pattern [pattern ...]]",
                "2.0.0",
            ),
        ),
        CommandSpec {
            name: "SPUBLISH",
            arity: Arity::Exactly(3),
            keys: Keys::at(1),
            flags: Flags::PUB_SUB.and(Flags::FAST),
            handler: Handler::Write(spublish),
            docs: Docs {
                summary: "Posts a message to a shard channel.",
                syntax: "shardchannel message",
                since: "7.0.0",
                complexity: "O(N) where N is the number of clients that receive it.",
            },
        },
        subscription(
            "SSUBSCRIBE",
            2,
            SHARDS,
            ssubscribe,
            ("Listens for messages to shard channels.", "shardchannel [shardchannel ...]", "7.0.0"),
        ),
        subscription(
            "SUBSCRIBE",
            2,
            Keys::None,
            subscribe,
            ("Listens for messages to channels.", "channel [channel ...]", "2.0.0"),
        ),
        subscription(
            "SUNSUBSCRIBE",
            1,
            SHARDS,
            sunsubscribe,
            (
                "Stops listening to shard channels; to all of them if none is named.",
                "[shardchannel [shardchannel ...]]",
                "7.0.0",
            ),
        ),
        subscription(
            "UNSUBSCRIBE",
            1,
            Keys::None,
            unsubscribe,
            (
                "Stops listening to channels; to all of them if none is named.",
                "[channel [channel ...]]",
                "2.0.0",
            ),
        ),
    ],
};

fn psubscribe(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    begin(tx, args, Kind::Pattern, "psubscribe")
}

fn publish(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (channel, payload) = (args.bytes()?, args.bytes()?);
    args.end()?;
    Ok(Reply::Int(tx.publish(false, channel, payload)? as i64))
}

fn channels<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    names_of(view, args, Kind::Channel)
}

/// As Redis tells it.
const HELP: [&str; 14] = [
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
    "HELP",
    "    Prints this help.",
];

fn help<'a>(_view: &View<'a>, _args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::Array(HELP.iter().map(|line| Reply::status(line)).collect()))
}

fn numpat<'a>(view: &View<'a>, _args: Args<'_>) -> Result<Reply<'a>> {
    Ok(Reply::Int(view.subscribed(Kind::Pattern).count() as i64))
}

fn numsub<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    Ok(counts(view, args, Kind::Channel))
}

fn shard_channels<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    names_of(view, args, Kind::Shard)
}

fn shard_numsub<'a>(view: &View<'a>, args: Args<'_>) -> Result<Reply<'a>> {
    Ok(counts(view, args, Kind::Shard))
}

fn punsubscribe(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    Ok(end(tx, args, Kind::Pattern, "punsubscribe"))
}

fn spublish(tx: &mut Txn<'_>, mut args: Args<'_>) -> Result<Reply<'static>> {
    let (channel, payload) = (args.bytes()?, args.bytes()?);
    args.end()?;
    Ok(Reply::Int(tx.publish(true, channel, payload)? as i64))
}

fn ssubscribe(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    begin(tx, args, Kind::Shard, "ssubscribe")
}

fn subscribe(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    begin(tx, args, Kind::Channel, "subscribe")
}

fn sunsubscribe(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    Ok(end(tx, args, Kind::Shard, "sunsubscribe"))
}

fn unsubscribe(tx: &mut Txn<'_>, args: Args<'_>) -> Result<Reply<'static>> {
    Ok(end(tx, args, Kind::Channel, "unsubscribe"))
}

/// Subscribes to every name, and confirms each.
fn begin(
    tx: &mut Txn<'_>,
    mut args: Args<'_>,
    kind: Kind,
    word: &'static str,
) -> Result<Reply<'static>> {
    let names = args.rest();
    if !tx.has_room_for(names) {
        return Err(Txn::SUBSCRIPTIONS_FULL);
    }
    let confirmed = names.iter().map(|name| {
        tx.subscribe(kind, name);
        confirmation(tx, kind, word, Some(name))
    });
    Ok(all(confirmed.collect()))
}

/// Ends the subscriptions to these names, or to all names, and confirms each; at least once.
fn end(tx: &mut Txn<'_>, mut args: Args<'_>, kind: Kind, word: &'static str) -> Reply<'static> {
    let (named, own);
    let names: Vec<&[u8]> = if args.has_more() {
        named = args.rest();
        named.to_vec()
    } else {
        own = tx.subscriptions(kind);
        own.iter().map(|name: &Arc<[u8]>| &**name).collect()
    };
    if names.is_empty() {
        return confirmation(tx, kind, word, None);
    }
    let confirmed = names.into_iter().map(|name| {
        tx.unsubscribe(kind, name);
        confirmation(tx, kind, word, Some(name))
    });
    all(confirmed.collect())
}

/// What a client is told of a change: the name, and how much it is subscribed to now. Shard channels are counted apart.
fn confirmation(
    tx: &Txn<'_>,
    kind: Kind,
    word: &'static str,
    name: Option<&[u8]>,
) -> Reply<'static> {
    let counts = tx.subscription_counts();
    let count = match kind {
        Kind::Channel | Kind::Pattern => counts.channels + counts.patterns,
        Kind::Shard => counts.shards,
    };
    let name = name.map_or(Reply::Nil, Reply::bulk_owned);
    Reply::Push(vec![Reply::bulk(word.as_bytes()), name, Reply::Int(count as i64)])
}

fn all(mut confirmed: Vec<Reply<'static>>) -> Reply<'static> {
    if confirmed.len() == 1 { confirmed.remove(0) } else { Reply::Several(confirmed) }
}

/// Names of a kind, those alone that match a pattern if there is one.
fn names_of<'a>(view: &View<'a>, args: Args<'_>, kind: Kind) -> Result<Reply<'a>> {
    let pattern = match args.argv() {
        [_, _] => None,
        [_, _, pattern] => Some(*pattern),
        [_, sub, ..] => {
            let (before, after) = (
                &b"ERR unknown subcommand or wrong number of arguments for '"[..],
                &b"'. Try PUBSUB HELP."[..],
            );
            return Err(ReplyError::made([before, sub, after].concat()));
        }
        _ => return Err(ReplyError::SYNTAX),
    };
    let fits = |name: &[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, name));
    let names = view.subscribed(kind).map(|(name, _)| name).filter(|name| fits(name));
    Ok(Reply::Array(names.map(Reply::bulk).collect()))
}

/// Each name that is asked for, and how many are subscribed to it.
fn counts<'a>(view: &View<'a>, mut args: Args<'_>, kind: Kind) -> Reply<'a> {
    let names = args.rest().iter().skip(1); // behind the subcommand
    let pairs = names.flat_map(|name| {
        [Reply::bulk_owned(*name), Reply::Int(view.subscribers(kind, name) as i64)]
    });
    Reply::Array(pairs.collect())
}
