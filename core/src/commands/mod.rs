//! The command table: one entry a command, one file a family, handlers below each table.
//! Dispatch, routing, COMMAND, key extraction, scripts and the documentation read it; nothing repeats it.

use crate::access::{Txn, TypeName, View};
pub use crate::blocking::{Awaits, Blocking, NothingCame};
use crate::commands::args::Args;
use crate::error::Result;
use crate::reply::Reply;

pub mod args;
mod connection;
mod dump;
mod expiry;
mod generic;
mod hash;
mod keyspace;
mod list;
mod list_blocking;
mod lookup;
mod object;
mod pubsub;
mod random;
mod scan;
mod scripting;
mod set;
mod sort;
mod string;
mod zset;

pub use lookup::{
    check_arity, is_container_of, keys_of, lookup, named, resolve, resolve_in_script,
    unknown_subcommand, wrong_arity,
};

/// Redis's command groups, as `COMMAND DOCS` names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// `cluster`
    Cluster,
    /// `connection`
    Connection,
    /// `generic`
    Generic,
    /// `hash`
    Hash,
    /// `list`
    List,
    /// `pubsub`
    PubSub,
    /// `scripting`
    Scripting,
    /// `sentinel`
    Sentinel,
    /// `server`
    Server,
    /// `set`
    Set,
    /// `sorted-set`
    SortedSet,
    /// `string`
    String,
    /// `transactions`
    Transactions,
}

/// How many arguments a command takes, its name included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arity {
    /// This many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
}

/// Where the keys stand in argv (index 0 is the command's name).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// No keys.
    None,
    /// From `first` to `last` (negative counts from the end), every `step`-th.
    Range {
        /// Index of the first key.
        first: usize,
        /// Index of the last key; negative counts from the end of argv.
        last: isize,
        /// Distance between keys.
        step: usize,
    },
    /// A count stands at this index and the keys follow it (EVAL).
    Counted {
        /// Index of the count.
        at: usize,
    },
    /// The first argument, and the one behind the last STORE (SORT).
    Sort,
    /// The first argument, and those behind the count that stands at this index (ZUNIONSTORE).
    FirstAndCounted {
        /// Index of the count.
        at: usize,
    },
}

impl Keys {
    /// One key at this index.
    pub const fn at(index: usize) -> Self {
        Self::Range { first: index, last: index as isize, step: 1 }
    }
}

/// Facts about a command that are not derived from its handler. READ or WRITE never stands here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// O(1) or O(log n).
    pub const FAST: Self = Self(1);
    /// May grow memory: refused at maxmemory.
    pub const DENY_OOM: Self = Self(1 << 1);
    /// Not callable from scripts.
    pub const NO_SCRIPT: Self = Self(1 << 2);
    /// Not allowed inside MULTI.
    pub const NO_MULTI: Self = Self(1 << 3);
    /// For administrators.
    pub const ADMIN: Self = Self(1 << 4);
    /// Can remove a lot at once (`@dangerous`).
    pub const DANGEROUS: Self = Self(1 << 5);
    /// Allowed while the node is loading or has no quorum.
    pub const STALE: Self = Self(1 << 6);
    /// Allowed before AUTH.
    pub const NO_AUTH: Self = Self(1 << 7);
    /// May wait for a key.
    pub const BLOCKING: Self = Self(1 << 8);
    /// About channels and messages.
    pub const PUB_SUB: Self = Self(1 << 9);

    /// Both sets of flags.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What `COMMAND DOCS` and docs/commands.md say.
#[derive(Clone, Copy, Debug)]
pub struct Docs {
    /// One sentence.
    pub summary: &'static str,
    /// Arguments, in Redis's notation.
    pub syntax: &'static str,
    /// First Redis version that had it.
    pub since: &'static str,
    /// Complexity.
    pub complexity: &'static str,
}

/// One command. `H` is the handler type: the core's, or the server's for node-local commands.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec<H = Handler> {
    /// Upper case; `SCRIPT|LOAD` for a subcommand.
    pub name: &'static str,
    /// Argument count.
    pub arity: Arity,
    /// Key positions.
    pub keys: Keys,
    /// Flags.
    pub flags: Flags,
    /// What runs it.
    pub handler: H,
    /// Its documentation.
    pub docs: Docs,
}

/// A read cannot write: it is handed nothing to write with.
pub type ReadHandler = for<'a> fn(&View<'a>, Args<'_>) -> Result<Reply<'a>>;

/// What runs a command.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Served from applied state.
    Read(ReadHandler),
    /// Goes through the log.
    Write(fn(&mut Txn<'_>, Args<'_>) -> Result<Reply<'static>>),
    /// Goes through the log, and waits there for what it does not find.
    Block {
        /// Looks for it, and takes it.
        run: BlockHandler,
        /// What a key has to be to be looked into.
        kind: TypeName,
        /// Which of its keys it waits for.
        awaits: Awaits,
        /// What it answers where it can't wait.
        nothing: NothingCame,
    },
}

/// What runs a command that may block.
pub type BlockHandler = fn(&mut Txn<'_>, Args<'_>) -> Result<Blocking>;

/// The commands of one group.
#[derive(Clone, Copy, Debug)]
pub struct Family<H: 'static = Handler> {
    /// The group.
    pub group: Group,
    /// Its commands, sorted by name.
    pub commands: &'static [CommandSpec<H>],
}

/// Every family, in the order of docs/commands.md.
pub const FAMILIES: &[Family] = &[
    connection::FAMILY,
    dump::FAMILY,
    generic::FAMILY,
    hash::FAMILY,
    keyspace::FAMILY,
    list::FAMILY,
    list_blocking::FAMILY,
    object::FAMILY,
    pubsub::FAMILY,
    scripting::FAMILY,
    set::FAMILY,
    sort::FAMILY,
    string::FAMILY,
    zset::FAMILY,
    zset::blocking::FAMILY,
];

/// Commands that a gateway answers itself. The core knows nothing of them but their names: a script that calls one is told
/// that it may not, instead of that there is no such command.
pub const GATEWAY_COMMANDS: &[&str] = &[
    "ASKING",
    "AUTH",
    "BGSAVE",
    "CLIENT",
    "CLUSTER",
    "COMMAND",
    "CONFIG",
    "DISCARD",
    "EXEC",
    "FAILOVER",
    "HELLO",
    "INFO",
    "LASTSAVE",
    "MULTI",
    "QUIT",
    "RAFT",
    "READONLY",
    "READWRITE",
    "REPLICAOF",
    "RESET",
    "ROLE",
    "SELECT",
    "SENTINEL",
    "SHUTDOWN",
    "SLAVEOF",
    "TIME",
    "UNWATCH",
    "WATCH",
];
