//! The events of a run: what they are made of, how they read, and the bytes of which the trace's hash is made.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use steadfast_replication::wire::RaftMessage;

/// Whom an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// What breaks, and the run as a whole.
    World,
    /// A node, by its id.
    Node(u64),
    /// A client, by its number.
    Client(u64),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// Simulated time.
    pub at: Duration,
    /// To whom.
    pub who: Who,
    /// What.
    pub what: What,
}

/// See `Event`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum What {
    /// Something that only people read.
    Note(String),
    /// A fault of the plan begins to hold (`Some` says what it does), or is over.
    Fault {
        /// Its number in the plan.
        number: u32,
        /// What it does; none: it is over.
        begins: Option<String>,
    },
    /// The process of a node starts.
    Starts,
    /// Its data directory is open.
    Opened {
        /// The start's incarnation.
        incarnation: u64,
    },
    /// The process is gone, and how.
    Gone(String),
    /// A message of raft was handed to the network.
    Sent(Message),
    /// A message of raft came.
    Received(Message),
    /// Something was done with the disk.
    Disk {
        /// What: `write`, `sync`, `rename` and so on.
        kind: &'static str,
        /// The file.
        file: String,
        /// How many bytes, where that means something.
        bytes: u64,
    },
    /// An entry was applied.
    Applied {
        /// Its index.
        index: u64,
        /// Its term.
        term: u64,
        /// Length of its payload.
        bytes: usize,
        /// The state's digest after it.
        digest: u128,
    },
    /// A snapshot replaced the state, or the state came from the disk.
    Restored {
        /// Index of the state.
        index: u64,
        /// The state's digest.
        digest: u128,
    },
}

/// What a trace keeps of a message of raft.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender.
    pub from: u64,
    /// The receiver.
    pub to: u64,
    /// Raft's number of its type.
    pub kind: i32,
    /// Its term.
    pub term: u64,
    /// Index: of the entry before those it carries, or the one it confirms.
    pub index: u64,
    /// How many entries it carries.
    pub entries: usize,
    /// The commit index that it tells.
    pub commit: u64,
    /// Whether it refuses.
    pub reject: bool,
}

/// Types of raft's messages, by their number in eraftpb.
const KINDS: [&str; 19] = [
    "MsgHup",
    "MsgBeat",
    "MsgPropose",
    "MsgAppend",
    "MsgAppendResponse",
    "MsgRequestVote",
    "MsgRequestVoteResponse",
    "MsgSnapshot",
    "MsgHeartbeat",
    "MsgHeartbeatResponse",
    "MsgUnreachable",
    "MsgSnapStatus",
    "MsgCheckQuorum",
    "MsgTransferLeader",
    "MsgTimeoutNow",
    "MsgReadIndex",
    "MsgReadIndexResp",
    "MsgRequestPreVote",
    "MsgRequestPreVoteResponse",
];

impl Message {
    /// What is kept of a message.
    pub fn of(message: &RaftMessage) -> Self {
        Self {
            from: message.from,
            to: message.to,
            kind: message.msg_type,
            term: message.term,
            index: message.index,
            entries: message.entries.len(),
            commit: message.commit,
            reject: message.reject,
        }
    }

    /// Raft's name of its type.
    pub fn name(&self) -> &'static str {
        let at = usize::try_from(self.kind).ok();
        at.and_then(|at| KINDS.get(at).copied()).unwrap_or("unknown")
    }

    /// The number of a type by its name.
    pub fn kind_named(name: &str) -> Option<i32> {
        KINDS.iter().position(|kind| *kind == name).map(|at| at as i32)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, term, index, entries, commit, .. } = self;
        write!(f, "{} n{from}->n{to} term {term}", self.name())?;
        if *entries > 0 {
            write!(f, " entries {}..{}", index + 1, index + *entries as u64)?;
        } else if *index > 0 {
            write!(f, " index {index}")?;
        }
        if *commit > 0 {
            write!(f, " commit {commit}")?;
        }
        if self.reject { f.write_str(" refused") } else { Ok(()) }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.pad("sim"),
            Self::Node(id) => f.pad(&format!("n{id}")),
            Self::Client(number) => f.pad(&format!("c{number}")),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(text) => f.write_str(text),
            Self::Fault { number, begins: Some(text) } => write!(f, "fault {number}: {text}"),
            Self::Fault { number, begins: None } => write!(f, "fault {number} is over"),
            Self::Starts => f.write_str("starts"),
            Self::Opened { incarnation } => write!(f, "opened, incarnation {incarnation}"),
            Self::Gone(how) => f.write_str(how),
            Self::Sent(message) => write!(f, "sent {message}"),
            Self::Received(message) => write!(f, "received {message}"),
            Self::Disk { kind, file, bytes } => write!(f, "{kind} {file} ({bytes} bytes)"),
            Self::Applied { index, term, bytes, digest } => {
                write!(f, "applied {index} (term {term}, {bytes} bytes) state {digest:032x}")
            }
            Self::Restored { index, digest } => {
                write!(f, "restored {index} state {digest:032x}")
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at.as_secs(), self.at.subsec_micros());
        write!(f, "{seconds:>6}.{micros:06} {:<3} {}", self.who, self.what)
    }
}

/// Collects what `Hash` feeds it: the bytes of an event, the same on every machine of one width and byte order.
#[derive(Debug, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.len() as u64 // nobody asks: the bytes are hashed together
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages read as people speak of them, and their types are found by name.
    #[test]
    fn messages_are_readable() {
        let raft = RaftMessage {
            msg_type: 3,
            from: 1,
            to: 2,
            term: 4,
            index: 6,
            commit: 5,
            entries: vec![steadfast_replication::wire::Entry::default(); 2],
            ..RaftMessage::default()
        };
        let message = Message::of(&raft);
        assert_eq!(message.to_string(), "MsgAppend n1->n2 term 4 entries 7..8 commit 5");
        assert_eq!(Message::kind_named(message.name()), Some(3));
        assert_eq!(Message { kind: 77, ..message }.name(), "unknown");
    }

    /// Events that differ in anything feed different bytes.
    #[test]
    fn events_differ_in_their_bytes() {
        let bytes = |event: &Event| {
            let mut bytes = Bytes::default();
            event.hash(&mut bytes);
            bytes.0
        };
        let event = Event { at: Duration::ZERO, who: Who::Node(1), what: What::Starts };
        let other = [
            Event { at: Duration::from_millis(1), ..event.clone() },
            Event { who: Who::Client(1), ..event.clone() },
            Event { what: What::Gone("is killed".to_owned()), ..event.clone() },
        ];
        assert!(other.iter().all(|other| bytes(other) != bytes(&event)));
        assert_eq!(bytes(&event), bytes(&event.clone()));
    }
}
