//! Faults as data: what breaks, when it begins, how long it holds. Times are simulated milliseconds; triggers wait for something that
//! the run does, which survives when other faults are taken away.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ports::disk::{Among, Back, IoKind, Moment, Rot};
use crate::ports::net::Streams;

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
    /// At an operation of a node's disk. A stop takes effect at that very operation.
    Io {
        /// The node.
        node: u64,
        /// Which operation; none: any that changes something.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<IoKind>,
        /// Of which files.
        #[serde(default)]
        files: Files,
        /// The nth, counted from the beginning, or from the last such trigger of the node.
        nth: u64,
        /// Where in it.
        moment: Moment,
    },
    /// So long after another fault began.
    After {
        /// Its number.
        fault: u32,
        /// How long.
        ms: u64,
    },
}

/// Some of the files of a data directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Files {
    /// All.
    #[default]
    Any,
    /// Segments of the log.
    Segments,
    /// Snapshots, those that are being written included.
    Snapshots,
    /// The node's identity.
    Identity,
}

impl Files {
    /// The same for a disk.
    pub fn among(self) -> Among {
        match self {
            Self::Any => Among::Any,
            Self::Segments => Among::Segments,
            Self::Snapshots => Among::Snapshots,
            Self::Identity => Among::Identity,
        }
    }
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

/// An operation of a disk that fails once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskError {
    /// A sync; the bytes are not durable, and the next sync says that all is well.
    Sync,
    /// A write, after so many hundredths of its bytes.
    Write(u64),
    /// A read.
    Read,
    /// A file can't be opened: access is denied.
    Denied,
    /// A file can't be opened: too many are.
    TooManyFiles,
}

/// What happens to the streams of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Bytes come and go in pieces of up to so many.
    Split(u64),
    /// What comes is held back for so many milliseconds and given together.
    Glue(u64),
    /// So many bytes a second are read.
    Rate(u64),
    /// Bytes come later by an exponentially distributed time with this mean, in milliseconds.
    Tail(u64),
    /// Bytes come later by so many milliseconds, and once in a hundred times by fifty times that.
    Bimodal(u64),
    /// Nothing is read.
    Stalled,
    /// Nothing is read or sent, and nobody hears of it.
    Silent,
    /// Each stream is reset after up to so many bytes.
    Reset(u64),
}

/// Other members, as an operator wants them; whoever wants them asks until they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Members {
    /// This node joins.
    Add(u64),
    /// This one goes.
    Remove(u64),
    /// One takes another's place.
    Replace {
        /// Who goes.
        old: u64,
        /// Who comes.
        new: u64,
    },
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
    /// The process is told to end, as by a signal, and starts again some time after it did.
    End {
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
    /// One operation of a disk fails.
    DiskError {
        /// Whose.
        node: Target,
        /// Which.
        error: DiskError,
    },
    /// A disk is full, but for so many bytes.
    DiskFull {
        /// Whose.
        node: Target,
        /// What is left.
        free_bytes: u64,
    },
    /// What lies on a disk rots.
    Rot {
        /// Whose.
        node: Target,
        /// How.
        rot: Rot,
        /// Where.
        files: Files,
    },
    /// The machine gets a new, empty disk.
    Wipe {
        /// Whose.
        node: Target,
    },
    /// The disk is put back to what it is when the fault begins, when it ends.
    PutBack {
        /// Whose.
        node: Target,
        /// How.
        #[serde(default)]
        way: Back,
    },
    /// The streams of a node are in trouble.
    Streams {
        /// Whose.
        node: Target,
        /// Which.
        over: Streams,
        /// How.
        trouble: Trouble,
    },
    /// Very many clients connect to a node at once, most of them to no good.
    Storm {
        /// Which.
        node: Target,
        /// How many.
        visitors: u64,
    },
    /// The wall clock jumps.
    ClockJump {
        /// Whose.
        node: Target,
        /// So far, also backwards.
        ms: i64,
    },
    /// Both clocks of a machine run at another rate. Its timers do not.
    ClockRate {
        /// Whose.
        node: Target,
        /// Microseconds gained a second.
        ppm: i64,
    },
    /// The wall clock stands still.
    ClockFrozen {
        /// Whose.
        node: Target,
    },
    /// The machine is suspended: nothing runs, and its clocks stand still.
    Suspend {
        /// Whose.
        node: Target,
    },
    /// Nothing breaks: from its next start on the machine runs another release, this one or the next, which knows one semantics level more.
    Release {
        /// Whose.
        node: Target,
        /// Whether it is the next one.
        next: bool,
    },
    /// Nothing breaks: an operator changes who is a member.
    Change {
        /// How.
        members: Members,
    },
}

impl Fault {
    /// The node it is meant for; none: all.
    pub fn target(&self) -> Option<Target> {
        match self {
            Self::PowerCutAll | Self::Change { .. } => None,
            Self::Kill { node }
            | Self::End { node }
            | Self::PowerCut { node, .. }
            | Self::Cut { node, .. }
            | Self::SlowNetwork { node, .. }
            | Self::Pause { node }
            | Self::SlowDisk { node, .. }
            | Self::DiskError { node, .. }
            | Self::DiskFull { node, .. }
            | Self::Rot { node, .. }
            | Self::Wipe { node }
            | Self::PutBack { node, .. }
            | Self::Streams { node, .. }
            | Self::Storm { node, .. }
            | Self::Release { node, .. }
            | Self::ClockJump { node, .. }
            | Self::ClockRate { node, .. }
            | Self::ClockFrozen { node }
            | Self::Suspend { node } => Some(*node),
        }
    }

    /// The family's name, as counted in reports.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::End { .. } => "end",
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
            Self::DiskError { error, .. } => match error {
                DiskError::Sync => "sync-error",
                DiskError::Write(_) => "write-error",
                DiskError::Read => "read-error",
                DiskError::Denied | DiskError::TooManyFiles => "open-error",
            },
            Self::DiskFull { .. } => "disk-full",
            Self::Rot { .. } => "rot",
            Self::Wipe { .. } => "wipe",
            Self::PutBack { .. } => "put-back",
            Self::Streams { trouble, .. } => match trouble {
                Trouble::Split(_) | Trouble::Glue(_) => "streams-split",
                Trouble::Rate(_) => "streams-slow",
                Trouble::Tail(_) | Trouble::Bimodal(_) => "streams-late",
                Trouble::Stalled => "streams-stalled",
                Trouble::Silent => "streams-silent",
                Trouble::Reset(_) => "streams-reset",
            },
            Self::Storm { .. } => "storm",
            Self::ClockJump { .. } => "clock-jump",
            Self::ClockRate { .. } => "clock-rate",
            Self::ClockFrozen { .. } => "clock-frozen",
            Self::Suspend { .. } => "suspend",
            Self::Release { .. } => "release",
            Self::Change { .. } => "members",
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
            Self::Io { node, kind, files, nth, moment } => {
                let kind =
                    kind.map_or_else(|| "disk operation".to_owned(), |kind| format!("{kind:?}"));
                write!(f, "{moment:?} {kind} number {nth} of {files:?} on n{node}")
            }
            Self::After { fault, ms } => write!(f, "{ms} ms after fault {fault}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { node } => write!(f, "{node} is killed"),
            Self::End { node } => write!(f, "{node} is told to end"),
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
            Self::DiskError { node, error } => {
                write!(f, "the disk of {node} fails once: {error:?}")
            }
            Self::DiskFull { node, free_bytes } => {
                write!(f, "the disk of {node} is full but for {free_bytes} bytes")
            }
            Self::Rot { node, rot, files } => {
                write!(f, "the disk of {node} rots: {rot:?} in {files:?}")
            }
            Self::Wipe { node } => write!(f, "{node} gets an empty disk"),
            Self::PutBack { node, way } => {
                write!(f, "the disk of {node} will be put back to this state: {way:?}")
            }
            Self::Streams { node, over, trouble } => {
                write!(f, "streams of {node} ({over:?}): {trouble:?}")
            }
            Self::Storm { node, visitors } => {
                write!(f, "{visitors} clients come over {node} at once")
            }
            Self::ClockJump { node, ms } => write!(f, "the wall clock of {node} jumps by {ms} ms"),
            Self::ClockRate { node, ppm } => write!(f, "the time of {node} gains {ppm} ppm"),
            Self::ClockFrozen { node } => write!(f, "the wall clock of {node} stands still"),
            Self::Suspend { node } => write!(f, "{node} is suspended, and its time stands still"),
            Self::Release { node, next } => {
                let which = if *next { "next" } else { "present" };
                write!(f, "{node} gets the {which} release for its next start")
            }
            Self::Change { members } => match members {
                Members::Add(id) => write!(f, "n{id} is to join"),
                Members::Remove(id) => write!(f, "n{id} is to go"),
                Members::Replace { old, new } => write!(f, "n{new} is to take the place of n{old}"),
            },
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.when, self.fault)?;
        if self.lasts_ms > 0 { write!(f, ", for {} ms", self.lasts_ms) } else { Ok(()) }
    }
}
