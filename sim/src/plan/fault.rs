//! Faults as data: what breaks, when it begins, how long it holds. Times are simulated milliseconds; triggers wait for something that
//! the run does, which survives when other faults are taken away.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A fault and when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Names it in the trace, and its stream of chance.
    pub number: u32,
    /// When it begins.
    pub when: When,
    /// How long it holds; of a stop, when the process starts again.
    #[serde(default)]
    pub lasts_ms: u64,
    /// What it is.
    pub fault: Fault,
}

/// When a fault begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// At this time.
    At(u64),
    /// When a node begins to lead, for the nth time in the run.
    Leads(u64),
    /// When a message of this type of raft is sent for the nth time.
    Message {
        /// The type's name, such as `MsgAppend`.
        kind: String,
        /// The nth.
        nth: u64,
    },
    /// At an operation of a node's disk, counted over all its starts. A stop takes effect at that very operation.
    Io {
        /// The node.
        node: u64,
        /// Which operation; none: any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<IoKind>,
        /// Only of files whose name contains this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// The nth.
        nth: u64,
        /// After its effect, or before.
        after: bool,
    },
    /// So long after another fault began.
    After {
        /// Its number.
        fault: u32,
        /// How long.
        ms: u64,
    },
}

/// An operation of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoKind {
    /// A file is created.
    Create,
    /// A file is opened.
    Open,
    /// Bytes are read.
    Read,
    /// Bytes are written.
    Write,
    /// A file is cut or extended.
    SetLen,
    /// A file is synced.
    Sync,
    /// The directory is synced.
    SyncDirectory,
    /// A file is renamed.
    Rename,
    /// A file is removed.
    Remove,
}

/// Which node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This one.
    Node(u64),
    /// Who leads when the fault begins; the first node if nobody does.
    Leader,
    /// Who follows when it begins: the one after the leader, going round.
    Follower,
    /// The node whose doing was waited for.
    Cause,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ways {
    /// Both.
    Both,
    /// What it sends.
    Out,
    /// What it is sent.
    In,
}

/// From whom a node is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// All other nodes.
    Peers,
    /// All clients.
    Clients,
    /// Everybody.
    All,
    /// One node.
    Node(u64),
}

/// What rots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rot {
    /// A bit of what was written long ago.
    Bit,
    /// A write of something else lands on it.
    Stray,
    /// It can't be read any more.
    BadSector,
}

/// What breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The process ends; the system's cache and its sockets' last words survive.
    Kill {
        /// Whose.
        node: Target,
    },
    /// The machine loses power, and with it what its disk had not synced.
    PowerCut {
        /// Whose.
        node: Target,
        /// Nobody hears that its connections are gone.
        silent: bool,
    },
    /// All machines lose power at once, those that are down included.
    PowerCutAll,
    /// A node is cut off.
    Cut {
        /// Which.
        node: Target,
        /// Which way.
        ways: Ways,
        /// From whom.
        from: Whom,
        /// What is sent is delivered when the fault is over, instead of being lost.
        held: bool,
    },
    /// Messages of a node take longer.
    SlowNetwork {
        /// Which.
        node: Target,
        /// Up to so long.
        ms: u64,
    },
    /// The process stands still; its timers become due all the same.
    Pause {
        /// Whose.
        node: Target,
    },
    /// Syncs take longer.
    SlowDisk {
        /// Whose.
        node: Target,
        /// So long.
        ms: u64,
    },
    /// The wall clock jumps.
    ClockJump {
        /// Whose.
        node: Target,
        /// So far, also backwards.
        ms: i64,
    },
}

impl Fault {
    /// The family's name, as counted in reports.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::PowerCut { silent: false, .. } => "power-cut",
            Self::PowerCut { silent: true, .. } => "silent-power-cut",
            Self::PowerCutAll => "power-cut-all",
            Self::Cut { held: true, .. } => "hold",
            Self::Cut { from: Whom::Clients, .. } => "cut-clients",
            Self::Cut { ways: Ways::Both, .. } => "cut",
            Self::Cut { .. } => "cut-one-way",
            Self::SlowNetwork { .. } => "slow-network",
            Self::Pause { .. } => "pause",
            Self::SlowDisk { .. } => "slow-disk",
            Self::ClockJump { .. } => "clock-jump",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "n{id}"),
            Self::Leader => f.write_str("the leader"),
            Self::Follower => f.write_str("a follower"),
            Self::Cause => f.write_str("the node that did it"),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(ms) => write!(f, "at {}.{:03} s", ms / 1000, ms % 1000),
            Self::Leads(nth) => write!(f, "when a node leads for time {nth}"),
            Self::Message { kind, nth } => write!(f, "at {kind} number {nth}"),
            Self::Io { node, kind, file, nth, after } => {
                let side = if *after { "after" } else { "before" };
                let kind =
                    kind.map_or_else(|| "disk operation".to_owned(), |kind| format!("{kind:?}"));
                let file = file.as_ref().map(|file| format!(" of {file}")).unwrap_or_default();
                write!(f, "{side} {kind} number {nth}{file} on n{node}")
            }
            Self::After { fault, ms } => write!(f, "{ms} ms after fault {fault}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { node } => write!(f, "{node} is killed"),
            Self::PowerCut { node, silent } => {
                let how = if *silent { ", and nobody hears of it" } else { "" };
                write!(f, "{node} loses power{how}")
            }
            Self::PowerCutAll => f.write_str("all machines lose power"),
            Self::Cut { node, ways, from, held } => {
                let whom = match from {
                    Whom::Peers => "its peers".to_owned(),
                    Whom::Clients => "the clients".to_owned(),
                    Whom::All => "everybody".to_owned(),
                    Whom::Node(id) => format!("n{id}"),
                };
                let what = match ways {
                    Ways::Both => format!("{node} is cut off from {whom}"),
                    Ways::Out => format!("{node} is not heard by {whom}"),
                    Ways::In => format!("{node} does not hear {whom}"),
                };
                f.write_str(&what)?;
                if *held { f.write_str("; messages wait") } else { Ok(()) }
            }
            Self::SlowNetwork { node, ms } => write!(f, "messages of {node} take up to {ms} ms"),
            Self::Pause { node } => write!(f, "{node} stands still"),
            Self::SlowDisk { node, ms } => write!(f, "a sync of {node} takes {ms} ms longer"),
            Self::ClockJump { node, ms } => write!(f, "the wall clock of {node} jumps by {ms} ms"),
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.when, self.fault)?;
        if self.lasts_ms > 0 { write!(f, ", for {} ms", self.lasts_ms) } else { Ok(()) }
    }
}
