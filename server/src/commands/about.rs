//! COMMAND: what the tables say. Table first; handlers below in the same order.

use std::borrow::Cow;

use steadfast_core::commands;
use steadfast_core::commands::{Arity, CommandSpec, Docs, Family, Flags, Group, Keys};
use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;

use super::LocalHandler::{self, Plain};
use super::{LocalOutcome, NodeFacts, find};
use crate::session::Session;

pub(super) const FAMILY: Family<LocalHandler> = Family {
    group: Group::Server,
    commands: &[
        CommandSpec {
            name: "COMMAND",
            arity: Arity::Exactly(1),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(command),
            docs: Docs {
                summary: "Returns detailed information about all commands.",
                syntax: "",
                since: "2.8.13",
                complexity: "O(N) where N is the number of commands",
            },
        },
        CommandSpec {
            name: "COMMAND|COUNT",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(command_count),
            docs: Docs {
                summary: "Returns a count of commands.",
                syntax: "",
                since: "2.8.13",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "COMMAND|DOCS",
            arity: Arity::AtLeast(2),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(command_docs),
            docs: Docs {
                summary: "Returns documentary information about commands.",
                syntax: "[command-name [command-name ...]]",
                since: "7.0.0",
                complexity: "O(N) where N is the number of commands",
            },
        },
        CommandSpec {
            name: "COMMAND|GETKEYS",
            arity: Arity::AtLeast(4),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(command_getkeys),
            docs: Docs {
                summary: "Extracts the key names from an arbitrary command.",
                syntax: "command [arg [arg ...]]",
                since: "2.8.13",
                complexity: "O(N) where N is the number of arguments",
            },
        },
        CommandSpec {
            name: "COMMAND|INFO",
            arity: Arity::AtLeast(2),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(command_info),
            docs: Docs {
                summary: "Returns information about one, multiple or all commands.",
                syntax: "[command-name [command-name ...]]",
                since: "2.8.13",
                complexity: "O(N) where N is the number of commands",
            },
        },
        CommandSpec {
            name: "COMMAND|LIST",
            arity: Arity::AtLeast(2),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(command_list),
            docs: Docs {
                summary: "Returns a list of command names.",
                syntax: "",
                since: "7.0.0",
                complexity: "O(N) where N is the number of commands",
            },
        },
    ],
};

/// What both tables say about one command.
#[derive(Clone)]
struct Facts {
    name: String,
    arity: i64,
    flags: Vec<&'static str>,
    categories: Vec<&'static str>,
    keys: (i64, i64, i64),
    group: &'static str,
    docs: Docs,
}

fn facts<H>(group: Group, spec: &CommandSpec<H>, write: Option<bool>) -> Facts {
    let known = [
        (Flags::FAST, "fast"),
        (Flags::DENY_OOM, "denyoom"),
        (Flags::NO_SCRIPT, "noscript"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::ADMIN, "admin"),
        (Flags::STALE, "stale"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::PUB_SUB, "pubsub"),
    ];
    // To Redis, what touches no key by itself neither reads nor writes.
    let touches_keys = !matches!(group, Group::Connection | Group::PubSub | Group::Scripting);
    let mut flags = match write {
        Some(true) if touches_keys => vec!["write"],
        Some(false) if touches_keys => vec!["readonly"],
        Some(_) => Vec::new(),
        None => vec!["noscript", "loading"],
    };
    let given = known.into_iter().filter(|(flag, _)| spec.flags.has(*flag)).map(|(_, name)| name);
    flags.extend(given.filter(|name| write.is_some() || *name != "noscript"));
    if matches!(spec.keys, Keys::Counted { .. } | Keys::FirstAndCounted { .. } | Keys::Sort) {
        flags.push("movablekeys");
    }
    Facts {
        name: spec.name.to_ascii_lowercase(),
        arity: spec.arity_number(),
        flags,
        keys: spec.key_numbers(),
        categories: categories(group, spec.flags, write.filter(|_| touches_keys)),
        group: match group {
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Hash => "hash",
            Group::List => "list",
            Group::PubSub => "pubsub",
            Group::Scripting => "scripting",
            Group::Sentinel => "sentinel",
            Group::Server => "server",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::String => "string",
            Group::Transactions => "transactions",
        },
        docs: spec.docs,
    }
}

/// ACL categories, as Redis derives them from flags and group.
fn categories(group: Group, flags: Flags, write: Option<bool>) -> Vec<&'static str> {
    let mut categories = match (group, write) {
        (Group::Connection, _) => vec!["@connection"],
        (Group::Generic, _) | (Group::Cluster | Group::Sentinel | Group::Server, Some(_)) => {
            vec!["@keyspace"]
        }
        (Group::PubSub, _) if flags.has(Flags::PUB_SUB) => vec!["@pubsub"],
        (Group::Scripting, _) => vec!["@scripting"],
        (Group::Cluster | Group::Sentinel | Group::Server, None) | (Group::PubSub, _) => Vec::new(),
        (Group::Hash, _) => vec!["@hash"],
        (Group::List, _) => vec!["@list"],
        (Group::Set, _) => vec!["@set"],
        (Group::SortedSet, _) => vec!["@sortedset"],
        (Group::String, _) => vec!["@string"],
        (Group::Transactions, _) => vec!["@transaction"],
    };
    categories.extend(write.map(|write| if write { "@write" } else { "@read" }));
    categories.push(if flags.has(Flags::FAST) { "@fast" } else { "@slow" });
    if flags.has(Flags::ADMIN) {
        categories.push("@admin");
    }
    if flags.has(Flags::ADMIN) || flags.has(Flags::DANGEROUS) {
        categories.push("@dangerous");
    }
    categories
}

/// Commands of both tables, by name; subcommands stand under `container|name`. Made once a call, which may ask for very many
/// names: what answers takes the list.
fn all() -> Vec<Facts> {
    let mut all = Vec::new();
    for family in commands::FAMILIES {
        let write = |spec: &CommandSpec| spec.is_write();
        all.extend(family.commands.iter().map(|spec| facts(family.group, spec, Some(write(spec)))));
    }
    for family in super::FAMILIES {
        all.extend(family.commands.iter().map(|spec| facts(family.group, spec, None)));
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Names without subcommands: a container stands for them.
fn top_level(all: &[Facts]) -> Vec<String> {
    let mut names: Vec<String> = all
        .iter()
        .map(|facts| facts.name.split('|').next().unwrap_or_default().to_owned())
        .collect();
    names.dedup();
    names.sort();
    names.dedup();
    names
}

/// The command of this name; a container is described by what its subcommands have in common.
fn described<'a>(all: &'a [Facts], name: &str) -> Option<Cow<'a, Facts>> {
    if let Ok(at) = all.binary_search_by(|facts| facts.name.as_str().cmp(name)) {
        return all.get(at).map(Cow::Borrowed);
    }
    let is_inside =
        |facts: &&Facts| facts.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('|'));
    let first = all.iter().find(is_inside)?;
    let docs = Docs { summary: "A container for subcommands.", syntax: "", ..first.docs };
    Some(Cow::Owned(Facts {
        name: name.to_owned(),
        arity: -2,
        flags: Vec::new(),
        categories: vec!["@slow"],
        keys: (0, 0, 0),
        group: first.group,
        docs,
    }))
}

fn entry(facts: &Facts) -> Reply<'static> {
    let (first, last, step) = facts.keys;
    Reply::Array(vec![
        Reply::bulk_owned(facts.name.clone()),
        Reply::Int(facts.arity),
        Reply::Set(facts.flags.iter().map(|flag| Reply::status(flag)).collect()),
        Reply::Int(first),
        Reply::Int(last),
        Reply::Int(step),
        Reply::Set(facts.categories.iter().map(|category| Reply::status(category)).collect()),
        Reply::Set(Vec::new()),
        Reply::Set(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

fn names(all: &[Facts], argv: &[&[u8]]) -> Vec<String> {
    if argv.len() <= 2 {
        return top_level(all);
    }
    argv.iter().skip(2).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect()
}

fn command(_: &mut Session, _: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let all = all();
    let names = top_level(&all);
    let described = names.iter().filter_map(|name| described(&all, name));
    LocalOutcome::Reply(Reply::Array(described.map(|facts| entry(&facts)).collect()))
}

fn command_count(_: &mut Session, _: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    LocalOutcome::Reply(Reply::Int(top_level(&all()).len() as i64))
}

fn command_docs(_: &mut Session, _: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    LocalOutcome::Reply(docs_in(&all(), argv))
}

fn docs_in(all: &[Facts], argv: &[&[u8]]) -> Reply<'static> {
    let text = |value: &str| Reply::bulk_owned(value);
    let mut docs = Vec::new();
    for facts in names(all, argv).iter().filter_map(|name| described(all, name)) {
        let mut about = vec![
            (text("summary"), text(facts.docs.summary)),
            (text("since"), text(facts.docs.since)),
            (text("group"), text(facts.group)),
            (text("complexity"), text(facts.docs.complexity)),
        ];
        if !facts.docs.syntax.is_empty() {
            let words = facts.docs.syntax.split(' ').map(|word| {
                Reply::Map(vec![
                    (text("name"), text(word)),
                    (text("type"), text("string")),
                    (text("display_text"), text(word)),
                ])
            });
            about.push((text("arguments"), Reply::Array(words.collect())));
        }
        docs.push((text(&facts.name), Reply::Map(about)));
    }
    Reply::Map(docs)
}

fn command_getkeys(_: &mut Session, _: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let words = argv.get(2..).unwrap_or_default();
    let keys = match find(words).map(|found| found.keys(words)) {
        Ok((Keys::None, _)) => Err(ReplyError::fixed("ERR The command has no key arguments")),
        // A count that does not fit is no error here: the command needs no keys.
        Ok((Keys::Counted { .. }, positions)) => Ok(positions.unwrap_or_default()),
        Ok((_, positions)) => positions,
        Err(error) if error.text().starts_with(b"ERR wrong number") => {
            Err(ReplyError::fixed("ERR Invalid number of arguments specified for command"))
        }
        Err(_) => Err(ReplyError::fixed("ERR Invalid command specified")),
    };
    let key = |at: &usize| words.get(*at).map(|word| Reply::bulk_owned(*word));
    keys.map(|positions| Reply::Array(positions.iter().filter_map(key).collect())).into()
}

fn command_info(_: &mut Session, _: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    LocalOutcome::Reply(info_in(&all(), argv))
}

fn info_in(all: &[Facts], argv: &[&[u8]]) -> Reply<'static> {
    let about = |name: &String| described(all, name).map_or(Reply::Nil, |facts| entry(&facts));
    Reply::Array(names(all, argv).iter().map(about).collect())
}

fn command_list(_: &mut Session, _: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    if argv.len() > 2 {
        return Err(ReplyError::SYNTAX).into();
    }
    LocalOutcome::Reply(Reply::Array(
        top_level(&all()).into_iter().map(Reply::bulk_owned).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are looked up in the list that the call made, and nowhere else: none of them makes it anew.
    #[test]
    fn names_are_looked_up_in_one_list() {
        let all = all();
        assert!(all.is_sorted_by(|one, other| one.name < other.name), "names are searched for");
        let some: Vec<Facts> = all.into_iter().filter(|facts| facts.name != "get").collect();
        let argv: [&[u8]; 6] = [b"COMMAND", b"INFO", b"get", b"SET", b"client", b"set"];
        let Reply::Array(infos) = info_in(&some, &argv) else { panic!("it is an array") };
        let name = |info: &Reply<'static>| match info {
            Reply::Array(entry) => entry.first().cloned().unwrap_or(Reply::Nil),
            other => other.clone(),
        };
        let word = |word: &'static str| Reply::bulk(word.as_bytes());
        let expected = [Reply::Nil, word("set"), word("client"), word("set")];
        assert_eq!(infos.iter().map(name).collect::<Vec<_>>(), expected);
        let Reply::Map(docs) = docs_in(&some, &argv) else { panic!("it is a map") };
        assert_eq!(
            docs.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            expected[1..].iter().collect::<Vec<_>>()
        );
    }
}
