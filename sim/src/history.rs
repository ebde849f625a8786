//! What the clients did and saw: one operation a request, with its invocation and its return.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::value::{Argv, Value, code, readable_argv};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// One command.
    Command(Argv),
    /// `MULTI`, these commands, `EXEC`.
    Transaction(Vec<Argv>),
    /// `MULTI`, these commands, `DISCARD`: none of them is executed.
    Discarded(Vec<Argv>),
}

/// What is served from applied state; it goes into the log only in front of a write of its connection.
const READS: [&[u8]; 15] = [
    b"LLEN",
    b"LRANGE",
    b"GET",
    b"MGET",
    b"PTTL",
    b"EXISTS",
    b"STRLEN",
    b"WATCH",
    b"UNWATCH",
    b"GETRANGE",
    b"TTL",
    b"PEXPIRETIME",
    b"TYPE",
    b"TOUCH",
    b"DISCARD",
];

impl Request {
    /// A command.
    pub fn command<const N: usize>(words: [&[u8]; N]) -> Self {
        Self::Command(words.iter().map(|word| word.to_vec()).collect())
    }

    /// For the trace.
    pub fn readable(&self) -> String {
        match self {
            Self::Command(argv) => readable_argv(argv),
            Self::Transaction(calls) => {
                let calls: Vec<String> = calls.iter().map(readable_argv).collect();
                format!("MULTI{{{}}}", calls.join("; "))
            }
            Self::Discarded(calls) => {
                let calls: Vec<String> = calls.iter().map(readable_argv).collect();
                format!("DISCARD{{{}}}", calls.join("; "))
            }
        }
    }

    /// The command's name; `EXEC` or `DISCARD` for a transaction.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Command(argv) => argv.first().map_or(&[], Vec::as_slice),
            Self::Transaction(_) => b"EXEC",
            Self::Discarded(_) => b"DISCARD",
        }
    }

    /// The calls that are to be executed; one, unless it is a transaction.
    pub fn calls(&self) -> &[Argv] {
        match self {
            Self::Command(argv) => std::slice::from_ref(argv),
            Self::Transaction(calls) => calls,
            Self::Discarded(_) => &[],
        }
    }

    /// Whether it may be served without the log.
    pub fn is_read(&self) -> bool {
        READS.contains(&self.name())
    }
}

/// What is noted of a request that its own client cut off.
pub const CUT_OFF: &str = "it was cut off";

/// What a client knows of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed and answered this.
    Reply(Value),
    /// It was definitely not applied.
    NotApplied(String),
    /// The server or the connection left it open.
    Unknown(String),
}

impl Outcome {
    /// The reply, if there is one.
    pub fn reply(&self) -> Option<&Value> {
        match self {
            Self::Reply(value) => Some(value),
            _ => None,
        }
    }

    /// Sorts a reply by the words that clients act on (docs/consistency.md).
    pub fn of(value: Value) -> Self {
        match value {
            Value::Error(text) => match code(&text) {
                "CLUSTERDOWN" | "TRYAGAIN" | "LOADING" | "EXECABORT" => Self::NotApplied(text),
                "UNKNOWN" => Self::Unknown(text),
                _ => Self::Reply(Value::Error(text)),
            },
            value => Self::Reply(value),
        }
    }

    /// For the trace.
    pub fn readable(&self) -> String {
        match self {
            Self::Reply(value) => value.readable(),
            Self::NotApplied(text) => format!("not applied: {text}"),
            Self::Unknown(text) => format!("unknown: {text}"),
        }
    }
}

/// A connection, as the log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// The node.
    pub node: u64,
    /// Which start of that node.
    pub incarnation: u64,
    /// The client's id there.
    pub client: u64,
}

/// See the file's head.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Which client.
    pub client: String,
    /// The connection; its operations stand in the history in the order they were sent.
    pub connection: ConnectionId,
    /// What was asked.
    pub request: Request,
    /// When.
    pub invoked: Duration,
    /// Highest index that any node had applied then.
    pub applied_at_invocation: u64,
    /// When the answer came; none if none came.
    pub returned: Option<Duration>,
    /// Highest index that any node had applied when it came.
    pub applied_at_return: u64,
    /// What it was.
    pub outcome: Outcome,
}

impl Operation {
    /// For messages.
    pub fn readable(&self) -> String {
        format!(
            "{} on n{} at {:?}: {} -> {}",
            self.client,
            self.connection.node,
            self.invoked,
            self.request.readable(),
            self.outcome.readable()
        )
    }
}

/// What one connection was told without asking, from its first subscription to its end.
#[derive(Debug, Clone)]
pub struct Listening {
    /// Who.
    pub client: String,
    /// Where.
    pub connection: ConnectionId,
    /// The messages, in order.
    pub messages: Vec<Value>,
    /// Whether all subscriptions were ended in words, and confirmed: then no message is missing at the end.
    pub is_whole: bool,
}

/// All operations of a run, in the order of their invocation.
#[derive(Debug, Default)]
pub struct History {
    /// The operations.
    pub operations: Vec<Operation>,
    /// What was listened to.
    pub listenings: Vec<Listening>,
}

/// Shared by all clients. They write to it outside the simulated world.
pub type SharedHistory = Rc<RefCell<History>>;

impl History {
    /// A request is on its way; answers where to note what becomes of it.
    pub fn invoke(
        &mut self,
        client: &str,
        connection: ConnectionId,
        request: Request,
        (now, applied): (Duration, u64),
    ) -> usize {
        self.operations.push(Operation {
            client: client.to_owned(),
            connection,
            request,
            invoked: now,
            applied_at_invocation: applied,
            returned: None,
            applied_at_return: u64::MAX,
            outcome: Outcome::Unknown("no answer".to_owned()),
        });
        self.operations.len() - 1
    }

    /// What became of it.
    pub fn complete(&mut self, at: usize, outcome: Outcome, (now, applied): (Duration, u64)) {
        if let Some(operation) = self.operations.get_mut(at) {
            operation.outcome = outcome;
            operation.returned = Some(now);
            operation.applied_at_return = applied;
        }
    }
}
