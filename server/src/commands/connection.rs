//! Commands about the connection itself. Table first; handlers below in the same order.

use steadfast_core::commands::{Arity, CommandSpec, Docs, Family, Flags, Group, Keys};
use steadfast_core::error::ReplyError;
use steadfast_core::number::parse_int;
use steadfast_core::reply::Reply;

use super::LocalHandler::{self, Plain};
use super::{LocalOutcome, NodeFacts};
use crate::resp::Protocol;
use crate::session::{Consistency, Session};

type Result<T> = core::result::Result<T, ReplyError>;

const WRONG_PASSWORD: ReplyError =
    ReplyError::fixed("WRONGPASS invalid username-password pair or user is disabled.");
const UNPRINTABLE_NAME: ReplyError =
    ReplyError::fixed("ERR Client names cannot contain spaces, newlines or special characters.");
const DATABASES: i64 = 16;

pub(super) const FAMILY: Family<LocalHandler> = Family {
    group: Group::Connection,
    commands: &[
        CommandSpec {
            name: "AUTH",
            arity: Arity::AtLeast(2),
            keys: Keys::None,
            flags: Flags::FAST.and(Flags::NO_AUTH.and(Flags::STALE.and(Flags::NO_MULTI))),
            handler: Plain(auth),
            docs: Docs {
                summary: "Authenticates the connection.",
                syntax: "[username] password",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CLIENT|CONSISTENCY",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(client_consistency),
            docs: Docs {
                summary: "Sets what reads of the connection may miss.",
                syntax: "LINEARIZABLE | STALE",
                since: "7.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CLIENT|GETNAME",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(client_getname),
            docs: Docs {
                summary: "Returns the name of the connection.",
                syntax: "",
                since: "2.6.9",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CLIENT|ID",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(client_id),
            docs: Docs {
                summary: "Returns the unique client ID of the connection.",
                syntax: "",
                since: "5.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CLIENT|INFO",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(client_info),
            docs: Docs {
                summary: "Returns information about the connection.",
                syntax: "",
                since: "6.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CLIENT|LIST",
            arity: Arity::AtLeast(2),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::STALE),
            handler: Plain(client_list),
            docs: Docs {
                summary: "Lists open connections.",
                syntax: "[TYPE normal | master | replica | pubsub] [ID client-id [client-id ...]]",
                since: "2.4.0",
                complexity: "O(N) where N is the number of connections",
            },
        },
        CommandSpec {
            name: "CLIENT|NO-EVICT",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::STALE),
            handler: Plain(client_ignored),
            docs: Docs {
                summary: "Sets the client eviction mode of the connection.",
                syntax: "ON | OFF",
                since: "7.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CLIENT|NO-TOUCH",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(client_ignored),
            docs: Docs {
                summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
                syntax: "ON | OFF",
                since: "7.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CLIENT|SETINFO",
            arity: Arity::Exactly(4),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(client_setinfo),
            docs: Docs {
                summary: "Sets information specific to the client or connection.",
                syntax: "LIB-NAME libname | LIB-VER libver",
                since: "7.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CLIENT|SETNAME",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::STALE,
            handler: Plain(client_setname),
            docs: Docs {
                summary: "Sets the connection name.",
                syntax: "connection-name",
                since: "2.6.9",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "CLIENT|UNBLOCK",
            arity: Arity::AtLeast(3),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::DANGEROUS).and(Flags::NO_MULTI),
            handler: LocalHandler::Unblock,
            docs: Docs {
                summary: "Unblocks a client blocked by a blocking command from a different connection.",
                syntax: "client-id [TIMEOUT | ERROR]",
                since: "5.0.0",
                complexity: "O(log N) where N is the number of client connections",
            },
        },
        CommandSpec {
            name: "HELLO",
            arity: Arity::AtLeast(1),
            keys: Keys::None,
            flags: Flags::FAST.and(Flags::NO_AUTH.and(Flags::STALE.and(Flags::NO_MULTI))),
            handler: Plain(hello),
            docs: Docs {
                summary: "Handshakes with the server.",
                syntax: "[protover [AUTH username password] [SETNAME clientname]]",
                since: "6.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "QUIT",
            arity: Arity::AtLeast(1),
            keys: Keys::None,
            flags: Flags::FAST.and(Flags::NO_AUTH.and(Flags::STALE)),
            handler: Plain(quit),
            docs: Docs {
                summary: "Closes the connection.",
                syntax: "",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "RESET",
            arity: Arity::Exactly(1),
            keys: Keys::None,
            flags: Flags::FAST.and(Flags::NO_AUTH.and(Flags::STALE)),
            handler: Plain(reset),
            docs: Docs {
                summary: "Resets the connection.",
                syntax: "",
                since: "6.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SELECT",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::FAST.and(Flags::STALE),
            handler: Plain(select),
            docs: Docs {
                summary: "Changes the selected database.",
                syntax: "index",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
    ],
};

fn auth(session: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let outcome = match argv {
        [_, _password] if node.config().requirepass.is_empty() => Err(ReplyError::fixed(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        )),
        [_, password] => log_in(session, node, b"default", password),
        [_, user, password] => log_in(session, node, user, password),
        _ => Err(ReplyError::SYNTAX),
    };
    outcome.map(|()| Reply::Ok).into()
}

/// Compares passwords without telling by time how much of one was right.
fn log_in(
    session: &mut Session,
    node: &mut dyn NodeFacts,
    user: &[u8],
    password: &[u8],
) -> Result<()> {
    let expected = node.config().requirepass.as_bytes();
    let differs = expected.iter().zip(password).fold(0, |sum, (a, b)| sum | (a ^ b));
    let fits = expected.is_empty() || (differs == 0 && expected.len() == password.len());
    if user != b"default" || !fits {
        return Err(WRONG_PASSWORD);
    }
    session.authenticated = true;
    Ok(())
}

fn client_consistency(
    session: &mut Session,
    _: &mut dyn NodeFacts,
    argv: &[&[u8]],
) -> LocalOutcome {
    let word = argv.get(2).map(|word| word.to_ascii_uppercase());
    session.consistency = match word.as_deref() {
        Some(b"LINEARIZABLE") => Consistency::Linearizable,
        Some(b"STALE") => Consistency::Stale,
        _ => return Err(ReplyError::SYNTAX).into(),
    };
    LocalOutcome::Reply(Reply::Ok)
}

fn client_getname(session: &mut Session, _: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let name = session.name.clone();
    LocalOutcome::Reply(if name.is_empty() { Reply::Nil } else { Reply::bulk_owned(name) })
}

fn client_id(session: &mut Session, _: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    LocalOutcome::Reply(Reply::Int(session.id as i64))
}

fn client_info(session: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let line = session.line(node.wall_ms(), node.subscriptions_of(session));
    LocalOutcome::Reply(Reply::Verbatim(line.into_bytes().into()))
}

fn client_list(session: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let mut lines = node.other_clients();
    lines.push(session.line(node.wall_ms(), node.subscriptions_of(session)));
    let id_of = |line: &String| -> Option<i64> {
        line.strip_prefix("id=")?.split(' ').next().and_then(|id| id.parse().ok())
    };
    lines.sort_by_key(id_of);
    let kept = wanted_clients(argv.get(2..).unwrap_or_default()).map(|wanted| {
        let kept = lines.into_iter().filter(|line| match &wanted {
            Wanted::All => true,
            Wanted::None => false,
            Wanted::Subscribers(wanted) => line.contains(" flags=P") == *wanted,
            Wanted::Ids(ids) => id_of(line).is_some_and(|id| ids.contains(&id)),
        });
        Reply::Verbatim(kept.collect::<String>().into_bytes().into())
    });
    kept.into()
}

/// Which clients CLIENT LIST is asked for.
enum Wanted {
    All,
    None,
    /// Those with subscriptions, or all others.
    Subscribers(bool),
    Ids(Vec<i64>),
}

/// TYPE or ID: there are none but normal clients and subscribers.
fn wanted_clients(filter: &[&[u8]]) -> Result<Wanted> {
    let Some((kind, words)) = filter.split_first() else { return Ok(Wanted::All) };
    match (kind.to_ascii_uppercase().as_slice(), words) {
        (b"TYPE", [name]) => match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Wanted::Subscribers(false)),
            b"pubsub" => Ok(Wanted::Subscribers(true)),
            b"master" | b"replica" | b"slave" => Ok(Wanted::None),
            _ => Err(ReplyError::made([b"ERR Unknown client type '", *name, b"'"].concat())),
        },
        (b"ID", [_, ..]) => {
            let ids: Option<Vec<i64>> = words.iter().map(|word| parse_int(word)).collect();
            ids.map(Wanted::Ids).ok_or(ReplyError::fixed("ERR Invalid client ID"))
        }
        _ => Err(ReplyError::SYNTAX),
    }
}

/// Switches of things that this server does not do: nothing is evicted, nothing is touched.
fn client_ignored(_: &mut Session, _: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let switch = argv.get(2).map(|word| word.to_ascii_uppercase());
    let known = matches!(switch.as_deref(), Some(b"ON" | b"OFF"));
    LocalOutcome::Reply(if known { Reply::Ok } else { Reply::Error(ReplyError::SYNTAX) })
}

fn client_setinfo(session: &mut Session, _: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let (Some(name), Some(value)) = (argv.get(2), argv.get(3)) else {
        return Err(ReplyError::SYNTAX).into();
    };
    if !printable(value) {
        let text =
            "ERR lib-name and lib-ver cannot contain spaces, newlines or special characters.";
        return Err(ReplyError::fixed(text)).into();
    }
    match name.to_ascii_uppercase().as_slice() {
        b"LIB-NAME" => session.library = value.to_vec(),
        b"LIB-VER" => session.library_version = value.to_vec(),
        _ => {
            let text = [b"ERR Unrecognized option '", *name, b"'"].concat();
            return Err(ReplyError::made(text)).into();
        }
    }
    LocalOutcome::Reply(Reply::Ok)
}

fn client_setname(session: &mut Session, _: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let name = argv.get(2).copied().unwrap_or_default();
    if !printable(name) {
        return Err(UNPRINTABLE_NAME).into();
    }
    session.name = name.to_vec();
    LocalOutcome::Reply(Reply::Ok)
}

fn printable(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_graphic)
}

fn hello(session: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    say_hello(session, node, argv).into()
}

fn say_hello(
    session: &mut Session,
    node: &mut dyn NodeFacts,
    argv: &[&[u8]],
) -> Result<Reply<'static>> {
    let mut protocol = session.protocol;
    let mut words = argv.iter().skip(1);
    if let Some(version) = words.next() {
        protocol = match parse_int(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(ReplyError::fixed("NOPROTO unsupported protocol version")),
            None => {
                return Err(ReplyError::fixed(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
        };
    }
    let mut name = None;
    while let Some(option) = words.next() {
        match (option.to_ascii_uppercase().as_slice(), words.next()) {
            (b"AUTH", Some(user)) => {
                let password = words.next().ok_or_else(|| hello_option(option))?;
                log_in(session, node, user, password)?;
            }
            (b"SETNAME", Some(word)) if printable(word) => name = Some(*word),
            (b"SETNAME", Some(_)) => return Err(UNPRINTABLE_NAME),
            _ => return Err(hello_option(option)),
        }
    }
    if !session.authenticated && !node.config().requirepass.is_empty() {
        return Err(ReplyError::fixed(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
             option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        session.name = name.to_vec();
    }
    session.protocol = protocol;
    let text = |value: &'static str| Reply::bulk(value.as_bytes());
    Ok(Reply::Map(vec![
        (text("server"), text("redis")),
        (text("version"), text(crate::info::REDIS_VERSION)),
        (text("proto"), Reply::Int(if protocol == Protocol::Resp3 { 3 } else { 2 })),
        (text("id"), Reply::Int(session.id as i64)),
        (text("mode"), text("standalone")),
        (text("role"), text("master")),
        (text("modules"), Reply::Array(Vec::new())),
    ]))
}

fn hello_option(option: &[u8]) -> ReplyError {
    ReplyError::made([b"ERR Syntax error in HELLO option '", option, b"'"].concat())
}

fn quit(_: &mut Session, _: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    LocalOutcome::Close(Some(Reply::Ok))
}

fn reset(session: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    session.reset(node.config().requirepass.is_empty());
    LocalOutcome::Reply(Reply::status("RESET"))
}

fn select(session: &mut Session, _: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let selected = database(argv.get(1).copied().unwrap_or_default());
    selected
        .map(|db| {
            session.db = db;
            Reply::Ok
        })
        .into()
}

/// The database that a SELECT names.
fn database(word: &[u8]) -> Result<usize> {
    match parse_int(word) {
        Some(db) if (0..DATABASES).contains(&db) => Ok(db as usize),
        Some(index) if i32::try_from(index).is_err() => Err(ReplyError::fixed(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        )),
        Some(_) => Err(ReplyError::fixed("ERR DB index is out of range")),
        None => Err(ReplyError::NOT_AN_INTEGER),
    }
}

/// The database that a queued command will select when it runs; none if it selects none.
pub(crate) fn selected_database(argv: &[Vec<u8>]) -> Option<usize> {
    let [name, word] = argv else { return None };
    if !name.eq_ignore_ascii_case(b"SELECT") {
        return None;
    }
    database(word).ok()
}
