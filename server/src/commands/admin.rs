//! Commands about this node. Table first; handlers below in the same order.

use steadfast_core::commands::{Arity, CommandSpec, Docs, Family, Flags, Group, Keys};
use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;

use super::LocalHandler::{self, Plain};
use super::{LocalOutcome, NodeFacts};
use crate::session::Session;

pub(super) const FAMILY: Family<LocalHandler> = Family {
    group: Group::Server,
    commands: &[
        CommandSpec {
            name: "BGSAVE",
            arity: Arity::AtLeast(1),
            keys: Keys::None,
            flags: Flags::ADMIN,
            handler: Plain(bgsave),
            docs: Docs {
                summary: "Asynchronously saves this node's state as a snapshot.",
                syntax: "[SCHEDULE]",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CONFIG|GET",
            arity: Arity::AtLeast(3),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::STALE),
            handler: Plain(config_get),
            docs: Docs {
                summary: "Returns the effective values of configuration parameters.",
                syntax: "parameter [parameter ...]",
                since: "2.0.0",
                complexity: "O(N) where N is the number of parameters",
            },
        },
        CommandSpec {
            name: "CONFIG|RESETSTAT",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::STALE),
            handler: Plain(config_resetstat),
            docs: Docs {
                summary: "Resets the server's statistics.",
                syntax: "",
                since: "2.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CONFIG|SET",
            arity: Arity::AtLeast(4),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::STALE),
            handler: Plain(config_set),
            docs: Docs {
                summary: "Sets configuration parameters in-flight.",
                syntax: "parameter value [parameter value ...]",
                since: "2.0.0",
                complexity: "O(N) where N is the number of parameters",
            },
        },
        CommandSpec {
            name: "INFO",
            arity: Arity::AtLeast(1),
            keys: Keys::None,
            flags: Flags::DANGEROUS.and(Flags::STALE),
            handler: Plain(info),
            docs: Docs {
                summary: "Returns information and statistics about the server.",
                syntax: "[section [section ...]]",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "LASTSAVE",
            arity: Arity::Exactly(1),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::FAST).and(Flags::STALE),
            handler: Plain(lastsave),
            docs: Docs {
                summary: "Returns the Unix timestamp of this node's last snapshot.",
                syntax: "",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SHUTDOWN",
            arity: Arity::AtLeast(1),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::STALE.and(Flags::NO_MULTI)),
            handler: Plain(shutdown),
            docs: Docs {
                summary: "Synchronously saves the log and shuts down this node.",
                syntax: "[NOSAVE | SAVE]",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "TIME",
            arity: Arity::Exactly(1),
            keys: Keys::None,
            flags: Flags::FAST.and(Flags::STALE),
            handler: Plain(time),
            docs: Docs {
                summary: "Returns the log time.",
                syntax: "",
                since: "2.6.0",
                complexity: "O(1)",
            },
        },
    ],
};

/// <https://redis.io/docs/latest/commands/bgsave/>. Nothing that was acknowledged depends on it: the log holds that.
fn bgsave(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let scheduled = match argv.get(1..).unwrap_or_default() {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"SCHEDULE") => true,
        _ => return Err(ReplyError::SYNTAX).into(),
    };
    if node.is_saving() && !scheduled {
        return Err(ReplyError::fixed("ERR Background save already in progress")).into();
    }
    node.save();
    let text = if scheduled { "Background saving scheduled" } else { "Background saving started" };
    LocalOutcome::Reply(Reply::Status(text.as_bytes().into()))
}

fn config_get(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let found = node.config().matching(argv.get(2..).unwrap_or_default());
    let pair = |(name, value): (&str, String)| (Reply::bulk_owned(name), Reply::bulk_owned(value));
    LocalOutcome::Reply(Reply::Map(found.into_iter().map(pair).collect()))
}

fn config_resetstat(_: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    node.reset_counters();
    LocalOutcome::Reply(Reply::Ok)
}

/// All settings of one call are changed, or none.
fn config_set(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let (pairs, left) = argv.get(2..).unwrap_or_default().as_chunks::<2>();
    if !left.is_empty() {
        return Err(steadfast_core::commands::wrong_arity("config|set")).into();
    }
    let mut changed = node.config().clone();
    for (at, [name, value]) in pairs.iter().enumerate() {
        if pairs.iter().take(at).any(|[earlier, _]| earlier.eq_ignore_ascii_case(name)) {
            let name = String::from_utf8_lossy(name);
            let text = format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - duplicate parameter"
            );
            return Err(ReplyError::made(text)).into();
        }
        if let Err(error) = changed.set(name, value) {
            return Err(error).into();
        }
    }
    node.configure(changed);
    LocalOutcome::Reply(Reply::Ok)
}

fn info(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let text = crate::info::sections(node, argv.get(1..).unwrap_or_default());
    LocalOutcome::Reply(Reply::Verbatim(text.into_bytes().into()))
}

fn lastsave(_: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    LocalOutcome::Reply(Reply::Int((node.last_save_ms() / 1000) as i64))
}

/// There is nothing to save or not to save: every acknowledged write is in the log.
fn shutdown(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let words = argv.get(1..).unwrap_or_default();
    let has = |option: &str| words.iter().any(|word| word.eq_ignore_ascii_case(option.as_bytes()));
    let known = |word: &&[u8]| {
        let options = ["SAVE", "NOSAVE", "NOW", "FORCE"];
        options.iter().any(|option| word.eq_ignore_ascii_case(option.as_bytes()))
    };
    if words.len() == 1 && has("ABORT") {
        return Err(ReplyError::fixed("ERR No shutdown in progress.")).into();
    }
    if !words.iter().all(known) || has("SAVE") && has("NOSAVE") {
        return Err(ReplyError::SYNTAX).into();
    }
    node.shut_down();
    LocalOutcome::Close(None) // clients take the closed connection for success
}

fn time(_: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let now = node.log_time().0;
    let word = |number: u64| Reply::bulk_owned(number.to_string());
    LocalOutcome::Reply(Reply::Array(vec![word(now / 1000), word(now % 1000 * 1000)]))
}
