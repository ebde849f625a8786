//! Node-local commands: answered by the node that the client is connected to, never logged, never called from scripts.
//! The same kind of table as the core's; `COMMAND` lists both.

mod about;
mod admin;
mod cluster;
mod connection;
mod members;
mod replication;
mod sentinel;

pub(crate) use connection::selected_database;

use steadfast_core::commands::{
    self, Arity, CommandSpec, Docs, Family, Flags, Group, Keys, check_arity, is_container_of,
    keys_of, unknown_subcommand, wrong_arity,
};
use steadfast_core::error::ReplyError;
use steadfast_core::machine::StateMachine;
use steadfast_core::pubsub::Counts;
use steadfast_core::reply::Reply;
use steadfast_core::stamp::UnixMillis;
use steadfast_replication::gateway::{MembershipChange, Status};

use crate::config::Config;
use crate::session::Session;

/// What runs a node-local command.
#[derive(Clone, Copy, Debug)]
pub enum LocalHandler {
    /// A function of session and node.
    Plain(fn(&mut Session, &mut dyn NodeFacts, &[&[u8]]) -> LocalOutcome),
    /// MULTI, EXEC, DISCARD, WATCH and UNWATCH: `dispatch` carries them out.
    Multi,
    /// EXEC
    Exec,
    /// DISCARD
    Discard,
    /// WATCH
    Watch,
    /// CLIENT UNBLOCK, which the state answers
    Unblock,
}

/// What a node-local command answers.
#[derive(Debug)]
pub enum LocalOutcome {
    /// The reply.
    Reply(Reply<'static>),
    /// The reply, if there is one, after which the connection closes.
    Close(Option<Reply<'static>>),
}

impl From<Result<Reply<'static>, ReplyError>> for LocalOutcome {
    fn from(result: Result<Reply<'static>, ReplyError>) -> Self {
        Self::Reply(result.unwrap_or_else(Reply::Error))
    }
}

/// What handlers may know and do of the node.
pub trait NodeFacts {
    /// Settings.
    fn config(&self) -> &Config;
    /// CONFIG SET.
    fn configure(&mut self, config: Config);
    /// The state.
    fn machine(&self) -> &StateMachine;
    /// What replication publishes.
    fn status(&self) -> &Status;
    /// Own id.
    fn node_id(&self) -> u64;
    /// Clients of this node that wait for a key.
    fn blocked_count(&self) -> usize;
    /// Whether clients' commands are taken; before that they are answered `LOADING`.
    fn is_serving(&self) -> bool;
    /// Whether reads are answered from a leader's lease now.
    fn has_lease(&self) -> bool;
    /// Log time as estimated here.
    fn log_time(&self) -> UnixMillis;
    /// Wall clock, milliseconds.
    fn wall_ms(&self) -> u64;
    /// Seconds since this process began to serve.
    fn uptime_seconds(&self) -> u64;
    /// One line per client but the one that asks.
    fn other_clients(&self) -> Vec<String>;
    /// How much a client is subscribed to.
    fn subscriptions_of(&self, session: &Session) -> Counts;
    /// Clients connected.
    fn client_count(&self) -> usize;
    /// Connections received, connections rejected, commands received.
    fn counters(&self) -> (u64, u64, u64);
    /// Times that the whole state was read again.
    fn scrub_rounds(&self) -> u64;
    /// CONFIG RESETSTAT.
    fn reset_counters(&mut self);
    /// If this node leads, has another one lead: the given one, or whichever has most of the log.
    fn hand_over(&mut self, to: Option<u64>);
    /// If this node leads, begins to change who is a member. Answers the ticket by which a refusal is known.
    fn change_members(&mut self, change: MembershipChange) -> u64;
    /// Takes a snapshot as soon as there is none under way.
    fn save(&mut self);
    /// Whether a snapshot is under way, or is to be taken.
    fn is_saving(&self) -> bool;
    /// Wall-clock milliseconds at which the last snapshot was durable, or the node's start.
    fn last_save_ms(&self) -> u64;
    /// The longest step of a snapshot, in microseconds.
    fn snapshot_step_us_max(&self) -> u64;
    /// SHUTDOWN.
    fn shut_down(&mut self);
}

/// Every family of this table.
pub const FAMILIES: &[Family<LocalHandler>] = &[
    connection::FAMILY,
    TRANSACTIONS,
    about::FAMILY,
    admin::FAMILY,
    replication::FAMILY,
    members::FAMILY,
    cluster::FAMILY,
    sentinel::FAMILY,
];

const fn transaction(
    name: &'static str,
    arity: Arity,
    flags: Flags,
    handler: LocalHandler,
    (summary, syntax, since): (&'static str, &'static str, &'static str),
) -> CommandSpec<LocalHandler> {
    let docs = Docs { summary, syntax, since, complexity: "O(1)" };
    CommandSpec { name, arity, keys: Keys::None, flags, handler, docs }
}

const TRANSACTIONS: Family<LocalHandler> = Family {
    group: Group::Transactions,
    commands: &[
        transaction(
            "DISCARD",
            Arity::Exactly(1),
            Flags::FAST.and(Flags::STALE),
            LocalHandler::Discard,
            ("Discards a transaction.", "", "2.0.0"),
        ),
        transaction(
            "EXEC",
            Arity::Exactly(1),
            Flags::NONE,
            LocalHandler::Exec,
            ("Executes all commands in a transaction.", "", "1.2.0"),
        ),
        transaction(
            "MULTI",
            Arity::Exactly(1),
            Flags::FAST.and(Flags::STALE),
            LocalHandler::Multi,
            ("Starts a transaction.", "", "1.2.0"),
        ),
        transaction(
            "UNWATCH",
            Arity::Exactly(1),
            Flags::FAST.and(Flags::STALE),
            LocalHandler::Plain(unwatch),
            ("Forgets about watched keys of a transaction.", "", "2.2.0"),
        ),
        CommandSpec {
            name: "WATCH",
            arity: Arity::AtLeast(2),
            keys: Keys::Range { first: 1, last: -1, step: 1 },
            flags: Flags::FAST,
            handler: LocalHandler::Watch,
            docs: Docs {
                summary: "Monitors changes to keys to determine the execution of a transaction.",
                syntax: "key [key ...]",
                since: "2.2.0",
                complexity: "O(1) for every key",
            },
        },
    ],
};

/// Queued or not, it drops the preconditions; EXEC has taken its own by then.
fn unwatch(session: &mut Session, _: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    session.unwatch();
    LocalOutcome::Reply(Reply::Ok)
}

/// A command found in one of the two tables.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    Core(&'static CommandSpec),
    Local(&'static CommandSpec<LocalHandler>),
}

impl Found {
    /// Where its keys stand, and at which words of `argv`.
    fn keys(self, argv: &[&[u8]]) -> (Keys, Result<Vec<usize>, ReplyError>) {
        match self {
            Self::Core(spec) => (spec.keys, keys_of(spec, argv)),
            Self::Local(spec) => (spec.keys, keys_of(spec, argv)),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Core(spec) => spec.name,
            Self::Local(spec) => spec.name,
        }
    }

    pub(crate) const fn flags(self) -> Flags {
        match self {
            Self::Core(spec) => spec.flags,
            Self::Local(spec) => spec.flags,
        }
    }
}

/// The command in one of the two tables, its arity checked; else Redis's own error text.
pub(crate) fn find(argv: &[&[u8]]) -> Result<Found, ReplyError> {
    // The core's table is an index and has the commands that come most often: it is asked first. No name is in both.
    if let Some(found) = commands::named(argv) {
        return found.map(Found::Core);
    }
    match find_local(argv) {
        Some(found) => found.map(Found::Local),
        None => commands::resolve(argv).map(Found::Core),
    }
}

/// The node-local command of an argv, arity checked; none if the name is not in this table.
fn find_local(argv: &[&[u8]]) -> Option<Result<&'static CommandSpec<LocalHandler>, ReplyError>> {
    let name = argv.first()?;
    let all = || FAMILIES.iter().flat_map(|family| family.commands);
    if name.contains(&b'|') {
        return None; // a subcommand has no name of its own
    }
    if let Some(spec) = all().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
        && (argv.len() == 1 || !all().any(|spec| is_container_of(spec.name, name)))
    {
        return Some(check_arity(spec.name, spec.arity, argv.len()).map(|()| spec));
    }
    if !all().any(|spec| is_container_of(spec.name, name)) {
        return None;
    }
    let Some(sub) = argv.get(1) else {
        return Some(Err(wrong_arity(&String::from_utf8_lossy(name))));
    };
    let fits = |spec: &&CommandSpec<LocalHandler>| {
        let parts = spec.name.split_once('|');
        parts.is_some_and(|(container, own)| {
            container.as_bytes().eq_ignore_ascii_case(name)
                && own.as_bytes().eq_ignore_ascii_case(sub)
        })
    };
    Some(match all().find(fits) {
        Some(spec) => check_arity(spec.name, spec.arity, argv.len()).map(|()| spec),
        None => Err(unknown_subcommand(name, sub)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::commands;

    /// Names are upper case, sorted in their family, and in one table only.
    #[test]
    fn table_laws() {
        for family in FAMILIES {
            let names: Vec<&str> = family.commands.iter().map(|spec| spec.name).collect();
            assert!(names.is_sorted(), "{names:?}");
            for spec in family.commands {
                assert_eq!(spec.name, spec.name.to_ascii_uppercase());
                assert!(
                    commands::lookup(spec.name.as_bytes()).is_none(),
                    "{} is the core's",
                    spec.name
                );
                assert!(!spec.docs.summary.is_empty(), "{}", spec.name);
            }
        }
    }

    /// The core knows the names of all of them, and no other name, to tell scripts that they may not.
    #[test]
    fn the_core_knows_their_names() {
        let specs = FAMILIES.iter().flat_map(|family| family.commands);
        let mut names: Vec<&str> =
            specs.map(|spec| spec.name.split('|').next().expect("split answers one")).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, commands::GATEWAY_COMMANDS);
    }

    /// Containers resolve to their subcommands, in any case.
    #[test]
    fn subcommands_are_found() {
        let found = |argv: &[&str]| {
            let argv: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
            find_local(&argv)
                .map(|found| found.map(|spec| spec.name).map_err(|e| e.text().to_vec()))
        };
        assert_eq!(found(&["config", "get", "x"]), Some(Ok("CONFIG|GET")));
        assert_eq!(found(&["COMMAND"]), Some(Ok("COMMAND")));
        assert_eq!(found(&["get", "k"]), None);
        let unknown = found(&["CLIENT", "nope"]).and_then(Result::err).expect("it is unknown");
        assert!(unknown.starts_with(b"ERR unknown subcommand 'nope'. Try CLIENT HELP."));
        assert!(found(&["CONFIG", "GET"]).is_some_and(|found| found.is_err()));
    }
}
