//! The border between the event loop (which owns the state machine and the clients) and the replication driver
//! (which owns raft, the log and the peers): two bounded channels and one block of published figures.
//! Batches cross once per turn of the loop. Neither side ever waits for the other while it holds something up:
//! the number of messages under way is bounded by protocol, so that a full channel is a broken invariant.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};

use tokio::sync::mpsc;

pub use crate::checkpoints::{CHECKPOINT_EVERY, Checkpoint};
use crate::formation::Member;
use crate::ports::Clock;
pub use crate::roster::{Goal, HOST_BYTES_MAX};
pub use crate::storage::Piece;

/// Capacity of both channels, in messages. Larger than all that the protocol lets be under way at once: the parts of one request
/// cross together, and those of the largest that may be (1 GiB by default) are some 4,100.
pub const CHANNEL_MESSAGES_MAX: usize = 16 * 1024;
/// Parcels that the event loop may have handed over and not yet seen applied.
pub const PARCELS_INFLIGHT_MAX: usize = 64;
/// Bytes of those parcels, after which the event loop keeps requests to itself.
pub const PARCELS_INFLIGHT_BYTES_MAX: usize = 16 << 20;
/// Largest parcel: larger batches travel as parts, so that heartbeats never queue behind a huge value. Frames, entries and raft
/// messages are cut to the same size: a link of 400 kB/s carries one of them within an election timeout.
pub const PARCEL_BYTES_MAX: usize = 256 << 10;

/// Changes of members that were refused and are remembered.
const REFUSALS_KEPT: usize = 32;

/// From the event loop to replication.
#[derive(Debug)]
pub enum Intake {
    /// A numbered parcel of this gateway: `op` is an encoded parcel op (`steadfast_core::entry`), bound to its number
    /// for the incarnation's life. Replication keeps it and sends it again until `Applied` says that it was passed.
    Parcel {
        /// The number; starts at 1 and has no gaps within an incarnation.
        sequence: u64,
        /// The encoded op.
        op: Bytes,
    },
    /// Wants a read index for everything that was invoked before this message. At most one is under way;
    /// `round` is never used twice, also not for a retry (replication makes fresh raft contexts of its own).
    Read {
        /// Name of the round, answered by `Outlet::ReadIndex`.
        round: u64,
    },
    /// A deadline has passed by the log clock: the leader proposes a tick. Ignored elsewhere.
    Tick,
    /// The state machine has applied all entries up to `index`.
    Applied {
        /// Applied index.
        index: u64,
        /// Highest of this incarnation's sequence numbers that the state machine has passed.
        passed: u64,
        /// Whether this node's incarnation is registered in the state.
        registered: bool,
    },
    /// The state machine has applied an entry of which all nodes compare the state (every `CHECKPOINT_EVERY`).
    Checkpoint(Checkpoint),
    /// The state was restored from a snapshot and knows these gateways.
    Restored {
        /// Index of the snapshot.
        index: u64,
        /// Time of the last stamp in it, milliseconds.
        stamp_ms: u64,
        /// What entries mean from there on: the state's semantics level.
        level: u32,
        /// (node, incarnation, last parcel passed).
        gateways: Vec<(u64, u64, u64)>,
    },
    /// The pieces asked for by `Outlet::TakeSnapshot` are those of the state at `index`.
    SnapshotBegun {
        /// Index that the state is at.
        index: u64,
    },
    /// Take a snapshot, however little log there is.
    Save,
    /// If this node leads, another is to lead, and this one goes on. Nothing happens if nobody can.
    HandOver {
        /// Who; none for whoever has most of the log.
        to: Option<u64>,
    },
    /// If this node leads: other members.
    Change {
        /// Names it in `Status::change_refusals`.
        ticket: u64,
        /// Which.
        change: MembershipChange,
    },
    /// Sync, hand over what can be handed over, stop.
    Shutdown,
}

/// What an operator asks of the leader.
#[derive(Debug, Clone)]
pub enum MembershipChange {
    /// Calls a new node, and adds it once it has said which disk it has.
    Add {
        /// Who it is, and where.
        member: Member,
        /// What it is to become.
        goal: Goal,
    },
    /// A learner is to become a voter.
    Promote {
        /// Its id.
        id: u64,
    },
    /// A member goes.
    Remove {
        /// Its id.
        id: u64,
    },
}

/// A member, as the event loop knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownMember {
    /// Its id.
    pub id: u64,
    /// Host for peers; empty if nobody has said.
    pub host: String,
    /// Port for peers.
    pub port: u16,
    /// Whether it is a voter; otherwise it learns.
    pub votes: bool,
}

/// From replication to the event loop.
#[derive(Debug)]
pub enum Outlet {
    /// Committed entries that are durable here, in order, without gaps.
    Apply {
        /// The entries. An empty payload is raft's own and only moves the applied index.
        entries: Vec<Committed>,
    },
    /// The state of a snapshot replaces the own one (a start, or an install from the leader).
    Restore {
        /// Index of the state.
        index: u64,
        /// The snapshot's bytes, verified, in order.
        chunks: Vec<Bytes>,
    },
    /// Answer to `Intake::Read`: the state at `index` or later may answer the reads of the round.
    ReadIndex {
        /// The round.
        round: u64,
        /// Commit index, confirmed after the round began: by a quorum, or by a leader's lease.
        index: u64,
    },
    /// Send `Intake::SnapshotBegun`, and the state as it is then into `pieces`, in order, while commands go on. Once `pieces` is closed
    /// nobody wants it any more; who drops it before the last piece gives it up.
    TakeSnapshot {
        /// Where the state goes.
        pieces: mpsc::Sender<Piece>,
    },
    /// Role, leader or space changed: look at `Status` again.
    StatusChanged,
    /// This node must stop. The text says what happened, what was not lost, what to do.
    Fatal(String),
    /// Answer to `Intake::Shutdown`: the log is synced and closed.
    Stopped,
}

/// One committed entry.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Its payload (`steadfast_core::entry`), or empty.
    pub payload: Bytes,
}

/// Raft roles, as `INFO raft` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// `follower`
    Follower = 0,
    /// `candidate` (also while pre-voting)
    Candidate = 1,
    /// `leader`
    Leader = 2,
    /// `learner`
    Learner = 3,
}

/// Figures that replication publishes for the event loop. Plain atomics: each stands for itself, but for the lease and the commit index
/// (see `lease_index`).
#[derive(Debug, Default)]
pub struct Status {
    role: AtomicU8,
    leader_id: AtomicU64,
    term: AtomicU64,
    commit_index: AtomicU64,
    last_index: AtomicU64,
    snapshot_index: AtomicU64,
    log_bytes: AtomicU64,
    last_save_ms: AtomicU64,
    checked_index: AtomicU64,
    saving: AtomicBool,
    /// Log time minus the local monotonic clock, in milliseconds: with it any thread can tell log time without a message.
    log_time_offset_ms: AtomicI64,
    sole_voter: AtomicBool,
    rejoining: AtomicBool,
    level: AtomicU32,
    disk_scrub_rounds: AtomicU64,
    /// End of the leader's lease on the monotonic clock, in microseconds; 0 without one.
    lease_until_us: AtomicU64,
    disk_full: AtomicBool,
    /// The last leader that was known.
    last_leader_id: AtomicU64,
    /// The peers to which a link is up.
    connected: std::sync::Mutex<BTreeSet<u64>>,
    waiting: std::sync::Mutex<String>,
    members: std::sync::Mutex<(Vec<KnownMember>, Vec<u64>)>,
    tickets: AtomicU64,
    refusals: std::sync::Mutex<VecDeque<(u64, String)>>,
}

macro_rules! figures {
    ($($(#[$doc:meta])* $get:ident, $set:ident;)*) => {
        $($(#[$doc])*
        pub fn $get(&self) -> u64 { self.$get.load(Ordering::Acquire) }
        /// Publishes it.
        pub fn $set(&self, value: u64) { self.$get.store(value, Ordering::Release); })*
    };
}

impl Status {
    figures! {
        /// The leader that this node follows (its own id on the leader), 0 if none is known.
        leader_id, set_leader_id;
        /// The leader that was known last, for those who ask while there is none; 0 before the first.
        last_leader_id, set_last_leader_id;
        /// Current term.
        term, set_term;
        /// Commit index known here.
        commit_index, set_commit_index;
        /// Last index of the log here.
        last_index, set_last_index;
        /// Index of the newest durable snapshot.
        snapshot_index, set_snapshot_index;
        /// Bytes of the log since the last snapshot.
        log_bytes, set_log_bytes;
        /// Wall-clock milliseconds at which it became durable; 0 before the first of this start.
        last_save_ms, set_last_save_ms;
        /// The highest index at which this node and most voters had the same state; 0 if they have not compared since this start.
        checked_index, set_checked_index;
    }

    /// Whether a snapshot is being taken.
    pub fn is_saving(&self) -> bool {
        self.saving.load(Ordering::Acquire)
    }

    /// Publishes it.
    pub fn set_saving(&self, saving: bool) {
        self.saving.store(saving, Ordering::Release);
    }

    /// The role.
    pub fn role(&self) -> Role {
        match self.role.load(Ordering::Acquire) {
            2 => Role::Leader,
            1 => Role::Candidate,
            3 => Role::Learner,
            _ => Role::Follower,
        }
    }

    /// Publishes the role.
    pub fn set_role(&self, role: Role) {
        self.role.store(role as u8, Ordering::Release);
    }

    /// Whether this node alone is the quorum: then applied state is linearizable without a read index.
    pub fn sole_voter(&self) -> bool {
        self.sole_voter.load(Ordering::Acquire)
    }

    /// Publishes it.
    pub fn set_sole_voter(&self, sole: bool) {
        self.sole_voter.store(sole, Ordering::Release);
    }

    /// Whether this node has lost its log, and has not yet got back from the others all that it may have promised.
    pub fn is_rejoining(&self) -> bool {
        self.rejoining.load(Ordering::Acquire)
    }

    /// Publishes it.
    pub fn set_rejoining(&self, rejoining: bool) {
        self.rejoining.store(rejoining, Ordering::Release);
    }

    /// How often all that lies on the disk was read again.
    pub fn disk_scrub_rounds(&self) -> u64 {
        self.disk_scrub_rounds.load(Ordering::Acquire)
    }

    /// Once more.
    pub fn add_disk_scrub_round(&self) {
        self.disk_scrub_rounds.fetch_add(1, Ordering::AcqRel);
    }

    /// The semantics level that the log has come to; 0 before that is known.
    pub fn level(&self) -> u32 {
        self.level.load(Ordering::Acquire)
    }

    /// Publishes it.
    pub fn set_level(&self, level: u32) {
        self.level.store(level, Ordering::Release);
    }

    /// The index that a read may be served at without asking anybody: on a leader whose lease holds, its commit index.
    ///
    /// The order matters. The lease is loaded first: it was published after the commit index that it stands for, and withdrawn
    /// before any message that another leader could come from. The clock is read last, so at the moment of the first load
    /// nobody else could lead, and the commit index loaded since covers all that was acknowledged until then.
    pub fn lease_index(&self, clock: &impl Clock) -> Option<u64> {
        let until = self.lease_until_us.load(Ordering::Acquire);
        if until == 0 {
            return None;
        }
        let index = self.commit_index();
        let holds = is_planted(Canary::LeaseWithoutClock)
            || clock.monotonic() < Duration::from_micros(until);
        holds.then_some(index)
    }

    /// Publishes until when the lease holds. The commit index must have been published before.
    pub fn set_lease(&self, until: Option<Duration>) {
        // Rounded down: a lease may end early.
        let micros = until.map_or(0, |until| u64::try_from(until.as_micros()).unwrap_or(0));
        self.lease_until_us.store(micros, Ordering::Release);
    }

    /// Whether client writes are refused because the disk has no room beyond the reserve.
    pub fn disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Acquire)
    }

    /// Publishes it.
    pub fn set_disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::Release);
    }

    /// Log time as this node estimates it now.
    pub fn log_time_ms(&self, clock: &impl Clock) -> u64 {
        let monotonic = clock.monotonic().as_millis() as i64;
        monotonic.saturating_add(self.log_time_offset_ms.load(Ordering::Acquire)).max(0) as u64
    }

    /// Publishes that log time is `log_time_ms` at this moment.
    pub fn set_log_time_ms(&self, clock: &impl Clock, log_time_ms: u64) {
        let monotonic = clock.monotonic().as_millis() as i64;
        self.log_time_offset_ms.store(log_time_ms as i64 - monotonic, Ordering::Release);
    }

    /// Whether the link to a peer is up.
    pub fn is_connected(&self, peer: u64) -> bool {
        self.connected.lock().is_ok_and(|connected| connected.contains(&peer))
    }

    /// Publishes it.
    pub fn set_connected(&self, peer: u64, up: bool) {
        if let Ok(mut connected) = self.connected.lock() {
            if up {
                connected.insert(peer)
            } else {
                connected.remove(&peer)
            };
        }
    }

    /// Only these are peers now: the others have no link any more.
    pub fn keep_connected(&self, peers: &BTreeSet<u64>) {
        if let Ok(mut connected) = self.connected.lock() {
            connected.retain(|peer| peers.contains(peer));
        }
    }

    /// Who is a member, in the order of the ids; nobody before the cluster has formed.
    pub fn members(&self) -> Vec<KnownMember> {
        self.members.lock().map(|members| members.0.clone()).unwrap_or_default()
    }

    /// Whether this node was a member once, and is none any more.
    pub fn is_former_member(&self, id: u64) -> bool {
        self.members.lock().is_ok_and(|members| members.1.contains(&id))
    }

    /// Publishes both.
    pub(crate) fn set_members(&self, known: Vec<KnownMember>, former: Vec<u64>) {
        if let Ok(mut members) = self.members.lock() {
            *members = (known, former);
        }
    }

    /// A number for a change of members that is asked for. Never 0.
    pub fn next_ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The last changes of members that were not made, by their tickets, and why.
    pub fn change_refusals(&self) -> Vec<(u64, String)> {
        self.refusals.lock().map(|all| all.iter().cloned().collect()).unwrap_or_default()
    }

    /// Publishes one.
    pub(crate) fn refuse_change(&self, ticket: u64, why: &str) {
        if let Ok(mut refusals) = self.refusals.lock() {
            refusals.push_back((ticket, why.to_owned()));
            if refusals.len() > REFUSALS_KEPT {
                refusals.pop_front();
            }
        }
    }

    /// Why this node cannot serve yet, for people (empty if nothing is amiss).
    pub fn waiting(&self) -> String {
        self.waiting.lock().map(|text| text.clone()).unwrap_or_default()
    }

    /// Publishes it; answers whether it is another reason than before.
    pub fn set_waiting(&self, text: &str) -> bool {
        let Ok(mut waiting) = self.waiting.lock() else { return false };
        let is_news = *waiting != text;
        if is_news {
            text.clone_into(&mut waiting);
        }
        is_news
    }
}
