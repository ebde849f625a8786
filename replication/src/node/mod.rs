//! The sans-IO node around `raft`: inputs are stepped in, outputs are polled out; no clock, no thread, no await, and no
//! randomness but the seed it was given. The driver's duties, in this order, are the order of the outputs:
//! persist and send may run side by side, but nothing that this node promises (an answer to an append, a vote) is put out
//! before the `Persisted` that covers it. Tests: `tests/cluster.rs` drives three nodes over a seeded, broken network.
//! `agreement` compares the replicas' states, `compaction` holds what concerns own snapshots, `level` what entries mean, `membership` who
//! is a member, `reads` read indexes and the lease, `ready` what raft puts out, `rejoin` how a node gets a lost log back.

mod agreement;
mod compaction;
mod level;
mod membership;
mod reads;
mod ready;
mod rejoin;

pub use membership::Change;
use membership::Changes;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::{self, MessageType};
use raft::{CAMPAIGN_TRANSFER, Config, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::entry::{self, Op, Part};
use steadfast_core::mark::{self, Mark};
use steadfast_core::stamp::{Stamp, UnixMillis};

use crate::checkpoints::Checkpoints;
use crate::event::{Input, Known, Output, TimeWord};
use crate::gateway::{PARCEL_BYTES_MAX, Role};
use crate::lease::{Abstention, Lease};
use crate::log_clock::LogClock;
use crate::log_view::LogView;
use crate::milestones;
use crate::outbox::Outbox;
use crate::read::ReadRound;
use crate::rejoin::Rejoining;
use crate::session::{Sessions, stamp_of};
use crate::storage::{HardState, LogEntry, Membership, SnapshotMeta};
use crate::wire::RaftMessage;

/// Largest entry that the leader forms of several parcels, and largest raft message of several entries.
const ENTRY_BYTES_MAX: usize = PARCEL_BYTES_MAX;
const MESSAGE_BYTES_MAX: u64 = PARCEL_BYTES_MAX as u64;
const COMMITTED_BYTES_MAX: u64 = 16 << 20;
const INFLIGHT_MESSAGES_MAX: usize = 256;
/// Readies that may wait for the disk; beyond them what peers send is dropped, as a network may.
const UNPERSISTED_MAX: usize = 4096;

/// Settings of a node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Own id.
    pub node_id: u64,
    /// This start's incarnation.
    pub incarnation: u64,
    /// Where clients find this node, `host:port`; empty to say nothing.
    pub announced: String,
    /// Ticks in the election timeout, 3 at the least. An election begins after two more, or up to twice as many, drawn. Leases rely on all
    /// nodes having the same.
    pub election_ticks: usize,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: usize,
    /// Length of a tick. Ticks may come late, never early.
    pub tick: Duration,
    /// Whether a leader answers reads by itself while its lease holds.
    pub lease_reads: bool,
    /// Bytes of log after which a snapshot is taken.
    pub snapshot_log_bytes: u64,
    /// Entries kept behind a snapshot for slow followers, in bytes.
    pub tail_bytes: u64,
    /// The highest semantics level that this release knows.
    pub level: u32,
    /// What is known besides the log, if that was lost and began anew.
    pub rejoins: Option<Known>,
    /// Seed of all that is drawn: election timeouts, cluster id, hash key, stamp seeds.
    pub seed: u64,
}

/// What a node starts from.
#[derive(Debug)]
pub struct NodeStart {
    /// Hard state.
    pub hard_state: HardState,
    /// Membership by the snapshot, or as the cluster was formed.
    pub membership: Membership,
    /// Newest snapshot; the state machine is restored from it before anything is applied.
    pub snapshot: Option<SnapshotMeta>,
    /// Entries behind it.
    pub entries: Vec<LogEntry>,
}

/// See the file's head.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub struct Node {
    raw: RawNode<LogView>,
    config: NodeConfig,
    outputs: VecDeque<Output>,
    clock: LogClock,
    /// Sessions by the committed entries; none until a restored state has told them.
    committed: Option<Sessions>,
    /// Sessions by the whole log, while leading.
    admitted: Option<Sessions>,
    /// Admitted ops that go into the next entry.
    gathered: Vec<Bytes>,
    outbox: Outbox,
    read: ReadRound,
    lease: Lease,
    abstention: Abstention,
    /// Readies that are not durable yet, oldest first.
    unpersisted: VecDeque<Unpersisted>,
    /// The term that is on the disk, and the vote in it.
    durable_vote: (u64, u64),
    /// A snapshot from the leader that raft has taken on and that waits for its ready.
    received: Option<(SnapshotMeta, Vec<Bytes>)>,
    applied: u64,
    /// Index of the last entry that went out in `Apply`, or of the snapshot installed after it.
    handed_out: u64,
    ticks: u64,
    /// Tick at which raft last counted each member as active: it forgets that of all of them from time to time.
    heard: BTreeMap<u64, u64>,
    tick_wanted: bool,
    no_space: bool,
    taking_snapshot: bool,
    /// The newest one can't be read.
    snapshot_wanted: bool,
    /// Tick before which no snapshot is asked for: the last one could not be saved.
    snapshot_from: u64,
    /// Bytes of log since the last snapshot, and how many of them the one that is being written will cover.
    log_bytes: u64,
    log_bytes_covered: u64,
    proposals: u64,
    changes: Changes,
    checkpoints: Checkpoints,
    /// Its log was lost, and it has not got back all that it may have promised.
    rejoining: Option<Rejoining>,
    /// It has all, and that is being written down.
    rejoined: bool,
    /// Peers that have lost their logs, and for which of their starts, in which term, this node has forgotten what it believed of them.
    forgotten: BTreeMap<u64, (u64, u64)>,
    /// The highest semantics level that each connected peer's release knows, and in which incarnation it said so.
    peer_levels: BTreeMap<u64, (u64, u32)>,
    /// Tick at which each of them last asked: it does so until it has all.
    rejoining_peers: BTreeMap<u64, u64>,
    /// Up to this entry what changed the members is known for ever, also after a crash.
    settled: u64,
    /// The node has said that it must stop.
    ended: bool,
}

struct Unpersisted {
    number: u64,
    /// The last ready behind it that has nothing to write: it waits for this one.
    through: u64,
    /// Tick at which it was put out.
    since: u64,
    /// Whether the log was asked to write something for it.
    written: bool,
    messages: Vec<eraftpb::Message>,
    /// The last change of members that it makes known for ever.
    settles: u64,
    /// The hard state's term and vote, if it was written.
    voted: Option<(u64, u64)>,
}

impl Node {
    /// A node that starts from what its log holds.
    ///
    /// # Errors
    /// A sentence, if raft finds what the log holds contradictory.
    pub fn new(config: NodeConfig, start: NodeStart) -> Result<Self, String> {
        let snapshot_index = start.snapshot.as_ref().map_or(0, |meta| meta.index);
        let mut clock = LogClock::default();
        start.entries.iter().filter_map(|e| stamp_of(&e.payload)).for_each(|s| clock.saw_stamp(s));
        let committed = (snapshot_index == 0).then(Sessions::default);
        if config.election_ticks < 3 {
            let text = "an election timeout has 3 ticks at the least. Nothing was changed.";
            return Err(text.to_owned());
        }
        let election_timeout = config.tick * config.election_ticks as u32;
        // What it answers a leader it does in a term that is on its disk by then.
        let hard_state = start.hard_state;
        let abstention = Abstention::new(election_timeout, hard_state.term == 0);
        let view = LogView::new(hard_state, start.membership, start.snapshot, start.entries);
        let raft_config = raft_config(&config, snapshot_index);
        let log_bytes = view.bytes();
        let raw = RawNode::new(&raft_config, view, &crate::log_bridge::logger());
        let raw = raw.map_err(|error| {
            format!("raft can't start from this log: {error}. Nothing was changed.")
        })?;
        let lost = config.rejoins.clone().filter(|_| !is_planted(Canary::LostLogVotes));
        let rejoining = lost.map(|known| Rejoining::new(config.node_id, config.incarnation, known));
        let mut node = Self {
            raw,
            read: ReadRound::new(config.node_id, config.incarnation),
            lease: Lease::new(election_timeout, config.lease_reads),
            config,
            outputs: VecDeque::new(),
            clock,
            committed,
            admitted: None,
            gathered: Vec::new(),
            outbox: Outbox::default(),
            abstention,
            unpersisted: VecDeque::new(),
            durable_vote: (hard_state.term, hard_state.vote),
            received: None,
            applied: snapshot_index,
            handed_out: snapshot_index,
            ticks: 0,
            heard: BTreeMap::new(),
            tick_wanted: false,
            no_space: false,
            taking_snapshot: false,
            snapshot_wanted: false,
            snapshot_from: 0,
            log_bytes,
            log_bytes_covered: 0,
            proposals: 0,
            changes: Changes::default(),
            checkpoints: Checkpoints::default(),
            rejoining,
            rejoined: false,
            forgotten: BTreeMap::new(),
            rejoining_peers: BTreeMap::new(),
            peer_levels: BTreeMap::new(),
            settled: snapshot_index,
            ended: false,
        };
        if node.is_sole_voter() && !node.is_rejoining() {
            node.raw.campaign().map_err(|error| format!("raft can't lead alone: {error}"))?;
        }
        Ok(node)
    }

    // ---- what the driver publishes -----------------------------------------------------------------------------

    /// The role.
    pub fn role(&self) -> Role {
        match self.raw.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower if self.raw.raft.promotable() => Role::Follower,
            StateRole::Follower => Role::Learner,
        }
    }

    /// The leader that this node follows, 0 if none.
    pub fn leader_id(&self) -> u64 {
        self.raw.raft.leader_id
    }

    /// The term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Commit index.
    pub fn commit_index(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// Last index.
    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// Index of the newest snapshot.
    pub fn snapshot_index(&self) -> u64 {
        self.raw.store().snapshot_index()
    }

    /// Bytes of log since then.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    /// Log time as far as this node can tell.
    pub fn log_time_ms(&self, now: Duration) -> u64 {
        self.clock.now_ms(now)
    }

    /// The incarnations that gateways have registered by the committed log: (node, incarnation).
    pub fn incarnations(&self) -> impl Iterator<Item = (u64, u64)> {
        self.committed.iter().flat_map(Sessions::incarnations)
    }

    /// The moment until which this node, as the leader, may answer reads from its commit index without asking anybody.
    pub fn lease_until(&self) -> Option<Duration> {
        self.lease.until().filter(|_| !self.ended)
    }

    /// Whether this node is the only member, and leads.
    pub fn is_sole_leader(&self) -> bool {
        self.is_alone() && self.raw.raft.state == StateRole::Leader
    }

    // ---- inputs --------------------------------------------------------------------------------------------------

    /// Takes one input. `now` is the monotonic clock, `wall_ms` the wall clock. A node that has said that it must stop takes none, and puts
    /// nothing out any more: whatever it still said, it has lost what makes it true.
    pub fn step(&mut self, now: Duration, wall_ms: u64, input: Input) {
        if self.ended {
            return;
        }
        self.clock.step(now);
        self.abstention.step(now);
        match input {
            Input::Tick => self.tick(now),
            Input::Peer { message, word } => self.peer(now, message, word),
            Input::Forwarded { from, ops } => ops.into_iter().for_each(|op| self.gather(from, op)),
            Input::Parcel { sequence, op } => self.outbox.push(sequence, op),
            Input::Read { round } => self.read.want(round),
            Input::TickWanted => self.tick_wanted = true,
            Input::Applied { index, passed, registered } => self.applied(index, passed, registered),
            Input::Checkpoint(own) => self.reach_checkpoint(own),
            Input::PeerCheckpoint { from, checkpoint } => self.hear_checkpoint(from, checkpoint),
            Input::Restored { index, stamp_ms, level, gateways } => {
                self.restored(index, stamp_ms, Sessions::restored(level, &gateways));
            }
            Input::PeerLevel { peer, incarnation, level } => {
                self.hear_level(peer, incarnation, level);
            }
            Input::Persisted { number } => self.persisted(now, number),
            Input::NoSpace(none) => self.space(none),
            Input::HandOver { to } => self.hand_over(to),
            Input::SnapshotBegun { index } => self.snapshot_begun(index),
            Input::SnapshotAbandoned => self.snapshot_abandoned(),
            Input::SnapshotSaved { meta, .. } => self.snapshot_saved(meta),
            Input::SnapshotFailed => self.snapshot_failed(),
            Input::SnapshotAsked => self.snapshot_wanted = true,
            Input::SnapshotUnreadable => {
                self.snapshot_wanted = !is_planted(Canary::UnreadableSnapshotKept);
            }
            Input::SnapshotReceived { message, meta, chunks } => {
                self.snapshot_received(now, message, meta, chunks);
            }
            Input::SnapshotSent { to, arrived } => {
                let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.raw.report_snapshot(to, status);
            }
            Input::Change { ticket, change } => self.wish(ticket, change),
            Input::RejoinAsked { from, incarnation } => self.rejoin_asked(from, incarnation),
            Input::RejoinTold { from, word } => self.rejoin_told(from, &word),
            Input::RejoinEnded => self.rejoin_ended(),
            Input::Unreachable { peer } => {
                self.checkpoints.forget(peer);
                self.peer_levels.remove(&peer);
                self.raw.report_unreachable(peer);
            }
        }
        self.note_role(now, wall_ms);
    }

    fn tick(&mut self, now: Duration) {
        self.ticks += 1;
        let active = self.raw.raft.prs().iter().filter(|(_, progress)| progress.recent_active);
        self.heard.extend(active.map(|(id, _)| (*id, self.ticks)));
        self.steer_membership();
        self.raise_level();
        self.ask_to_rejoin();
        if !self.changes.held_back.is_empty() {
            self.step_aside();
        }
        if self.draw_timeout(now) {
            let before = self.raw.raft.state;
            self.raw.tick();
            milestones::ticked(before, &self.raw.raft);
            self.beat(now);
        }
        // A leader whose disk takes nothing more steps aside, again and again: others may have room, or be back by now.
        let waited = self.unpersisted.front().map_or(0, |first| self.ticks - first.since);
        if self.no_space && waited >= self.config.election_ticks as u64 {
            self.hand_over(None);
        }
    }

    /// Raft draws its election timeout from the thread's own randomness, again and again; ours replaces it before raft looks.
    /// Answers whether raft may count this tick: not the one that would make a node campaign that must not lead yet.
    fn draw_timeout(&mut self, now: Duration) -> bool {
        let (term, role) = (self.raw.raft.term, self.raw.raft.state as u64);
        let ticks = self.config.election_ticks;
        let waits = self.raw.raft.state != StateRole::Leader && !self.may_lead();
        // Not at the very end of the time for which the others abstain: they may have heard the leader a little later, and a request
        // that comes too early costs another whole timeout.
        let drawn = 2 + mix(self.config.seed ^ mix(term) ^ role) % (ticks as u64 - 2);
        // The longest one while it waits, so that it is past the time in which it would refuse others its vote.
        let drawn = if waits { ticks - 1 } else { drawn as usize };
        self.raw.raft.set_randomized_election_timeout(ticks + drawn);
        let campaigns = self.raw.raft.state != StateRole::Leader
            && self.raw.raft.election_elapsed + 1 >= ticks + drawn;
        if campaigns && waits {
            mark::reached(Mark::LeadingForgone);
        }
        !campaigns || !waits && !self.abstention.binds(now)
    }

    /// Whether this node may stand for leader: its state is there. Until the newest snapshot has been restored and applied, raft
    /// would look for entries that the snapshot has replaced, and parcels could not be told from gaps. A node alone has no rival.
    fn may_lead(&self) -> bool {
        let applied = self.raw.raft.raft_log.applied;
        self.committed.is_some() && applied >= self.raw.store().base_index() && !self.is_rejoining()
    }

    fn peer(&mut self, now: Duration, message: RaftMessage, word: Option<TimeWord>) {
        let Some(message) = message.into_raft() else { return };
        let is_beat = message.get_msg_type() == MessageType::MsgHeartbeat;
        if self.is_deaf()
            || self.unpersisted.len() >= UNPERSISTED_MAX && !is_beat
            || !self.is_for_now(message.get_msg_type())
            || self.withholds_vote(now, &message)
            || self.answer_peers_read(now, &message)
        {
            return;
        }
        let last = self.raw.raft.raft_log.last_index();
        if is_beat && message.term >= self.raw.raft.term && message.commit > last {
            if self.is_rejoining() {
                return; // it knows, and has asked the leader to forget it
            }
            mark::reached(Mark::ConfirmedEntryLost);
            // The leader knows that this node had confirmed more than its log holds: raft would panic.
            self.ended = true;
            return self.outputs.push_back(Output::LogLost(format!(
                "this node's log ends at entry {last}, but it had confirmed entry {} to node {}. Its disk has lost what it \
                 promised to keep. The other nodes hold the data",
                message.commit, message.from
            )));
        }
        match message.get_msg_type() {
            MessageType::MsgHeartbeat | MessageType::MsgAppend | MessageType::MsgSnapshot
                if message.term >= self.raw.raft.term =>
            {
                self.abstention.heard_leader(now);
                if let Some(word) = word {
                    self.clock.hear(now, word);
                }
            }
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
                if self.raw.raft.state == StateRole::Leader
                    && message.term == self.raw.raft.term =>
            {
                self.changes.answered.insert(message.from, self.ticks);
            }
            MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
                word.into_iter().for_each(|word| self.clock.believe(now, word));
            }
            _ => {}
        }
        let before = self.raw.raft.state;
        milestones::hears(&message, before);
        // An error means that the message does not fit this node's state (a removed peer, say): it is dropped.
        if let Err(error) = self.raw.step(message) {
            tracing::debug!("a message was dropped: {error}");
        }
        milestones::heard(before, &self.raw.raft);
    }

    /// Whether a message can be used as this node stands.
    fn is_for_now(&self, kind: MessageType) -> bool {
        match kind {
            // It comes with its state, on a stream of its own.
            MessageType::MsgSnapshot => self.received.is_some(),
            // Raft would pass it on to the leader in the asker's name; the asker asks again by itself.
            MessageType::MsgReadIndex => self.raw.raft.state == StateRole::Leader,
            MessageType::MsgTimeoutNow => self.may_lead(),
            // Nodes hand over by themselves only: whoever leads must know of it, for it costs the lease.
            MessageType::MsgTransferLeader => false,
            _ => true,
        }
    }

    /// Whether it is a candidate's request that this node must not grant: a leader may rely on that.
    fn withholds_vote(&self, now: Duration, message: &eraftpb::Message) -> bool {
        let kinds = [MessageType::MsgRequestVote, MessageType::MsgRequestPreVote];
        let is_transfer = &message.context[..] == CAMPAIGN_TRANSFER;
        let withheld = kinds.contains(&message.get_msg_type())
            && (self.is_rejoining() || !is_transfer && self.abstention.binds(now));
        if withheld {
            mark::reached(Mark::VoteWithheld);
        }
        withheld
    }

    /// The node must stop. It puts nothing out behind this.
    fn fatal(&mut self, text: String) {
        self.outputs.push_back(Output::Fatal(text));
        self.ended = true;
    }

    /// Takes an op of a gateway on for the next entry, if it is the next of its gateway.
    fn gather(&mut self, from: u64, op: Bytes) {
        let Some(admitted) = &mut self.admitted else { return };
        let Ok(decoded) = entry::decode_op(&op) else { return };
        let own = match &decoded {
            Op::Parcel(parcel) => parcel.node == from,
            Op::Register { node, .. } => *node == from,
            Op::Bootstrap { .. } | Op::Retire { .. } | Op::Tick | Op::Level(_) => {
                from == self.config.node_id
            }
        };
        if !own {
            return;
        }
        // What no replica could apply must not get into the log: every node would stop at it.
        if let Op::Parcel(parcel) = &decoded
            && parcel.part == Part::Whole
            && let Err(error) = entry::check_batch(parcel.bytes)
        {
            tracing::error!("a batch of node {from} was dropped, not applied: {error}");
            return;
        }
        if admitted.admit(&decoded) {
            self.gathered.push(op);
        } else {
            admitted.note_refusal(&decoded);
        }
    }

    fn applied(&mut self, index: u64, passed: u64, registered: bool) {
        self.outbox.passed(passed, registered, self.ticks);
        if index > self.applied {
            self.applied = index;
            self.tell_applied();
            if self.is_alone() {
                // Nobody will ask for them: payloads need not stay in memory.
                let persisted = self.raw.raft.raft_log.persisted;
                self.raw.mut_store().compact(index.min(persisted));
            }
        }
    }

    /// The sessions of the snapshot, and of what was handed out while it was being restored: a leader that forgot those
    /// entries would take the gateways' next parcels for gaps, for ever.
    fn restored(&mut self, index: u64, stamp_ms: u64, mut sessions: Sessions) {
        self.clock.saw_stamp(stamp_ms);
        let behind = self.raw.store().from(index + 1);
        let handed_out = behind.take_while(|entry| entry.index <= self.handed_out);
        if !is_planted(Canary::RestoreForgets) {
            handed_out.for_each(|entry| {
                sessions.follow(&entry.data);
                mark::reached(Mark::HandedOutWhileRestoring);
            });
        }
        self.committed = Some(sessions);
    }

    fn persisted(&mut self, now: Duration, number: u64) {
        let mut last = None;
        while self.unpersisted.front().is_some_and(|u| u.number <= number || !u.written) {
            let Some(ready) = self.unpersisted.pop_front() else { break };
            last = Some(ready.through);
            self.durable_vote = ready.voted.unwrap_or(self.durable_vote);
            self.settled = self.settled.max(ready.settles);
            ready.messages.into_iter().for_each(|message| self.send(now, message));
        }
        if let Some(last) = last {
            self.raw.on_persist_ready(last);
            self.tell_applied();
        }
    }

    /// Tells raft what is applied, as far as it knows it to be durable: a restored snapshot is applied before the entries that
    /// came with it are written.
    fn tell_applied(&mut self) {
        let log = &self.raw.raft.raft_log;
        let applied = self.applied.min(log.persisted).min(log.committed);
        if applied > log.applied {
            self.raw.advance_apply_to(applied);
        }
    }

    /// A leader that can't append hands over.
    fn space(&mut self, none: bool) {
        self.no_space = none;
        if none {
            self.hand_over(None);
        }
    }

    /// A leader hands over to the given peer, or to the one that has most of the log, of those that it hears of.
    fn hand_over(&mut self, to: Option<u64>) {
        if self.raw.raft.state != StateRole::Leader {
            return;
        }
        let best = self.successor(|id| to.is_none_or(|to| id == to));
        if let Some(id) = best.filter(|id| to.is_none_or(|to| *id == to)) {
            self.raw.transfer_leader(id);
            mark::reached(Mark::LeadershipOffered);
        }
    }

    /// Who may lead next: of those that are liked best the voter that has most of the log, of all that this node hears of.
    fn successor<T: Ord>(&self, likes: impl Fn(u64) -> T) -> Option<u64> {
        let (own, tracker) = (self.config.node_id, self.raw.raft.prs());
        let can_lead = |id| {
            id != own && tracker.conf().voters().contains(id) && !self.has_peer_lost_its_log(id)
        };
        let peers =
            tracker.iter().filter(|(id, progress)| can_lead(**id) && progress.recent_active);
        let best =
            peers.max_by_key(|(id, progress)| (likes(**id), progress.matched, u64::MAX - **id));
        best.map(|(id, _)| *id)
    }

    // ---- one turn --------------------------------------------------------------------------------------------------

    /// Ends a turn in which inputs were stepped: forms entries, hands on parcels, and makes raft's outputs ours.
    pub fn turn(&mut self, now: Duration, wall_ms: u64) {
        if self.ended {
            return;
        }
        self.end_rejoin();
        self.note_role(now, wall_ms);
        let (leader, term) = (self.leader_id(), self.term());
        if leader != 0 {
            let (register, mut ops) = self.outbox.due(leader, term, self.ticks);
            if register {
                let (node, incarnation) = (self.config.node_id, self.config.incarnation);
                let announced = &self.config.announced;
                ops.insert(0, entry::encode_register(node, incarnation, announced).into());
            }
            if leader == self.config.node_id {
                ops.into_iter().for_each(|op| self.gather(leader, op));
            } else if !ops.is_empty() {
                self.outputs.push_back(Output::Forward { to: leader, ops });
            }
            self.serve_reads(now, leader, term);
        }
        self.propose(now, wall_ms);
        while !self.ended && self.raw.has_ready() {
            self.ready(now);
            self.note_role(now, wall_ms);
        }
        self.snapshot_wanted |= self.raw.store().take_lack();
        if self.is_snapshot_due() && !self.taking_snapshot && self.ticks >= self.snapshot_from {
            self.taking_snapshot = true;
            self.snapshot_wanted = false;
            self.outputs.push_back(Output::TakeSnapshot);
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Leading begins and ends what only leaders keep.
    fn note_role(&mut self, now: Duration, wall_ms: u64) {
        let leads = self.raw.raft.state == StateRole::Leader;
        if !leads {
            let held_back = std::mem::take(&mut self.changes.held_back);
            self.hand_out(held_back);
            self.changes.end_leading();
            self.lease.end();
            self.admitted = None;
            self.gathered.clear();
            self.clock.follow();
            self.tick_wanted = false;
            return;
        }
        self.lease.lead(now, self.term());
        if self.admitted.is_some() {
            return;
        }
        let Some(mut sessions) = self.committed.clone() else { return };
        // Entries behind the last one handed out are in the log and not in `committed` yet.
        let unstable = self.raw.raft.raft_log.unstable_entries();
        let first_unstable = unstable.first().map_or(u64::MAX, |entry| entry.index);
        let stored = self.raw.store().from(self.handed_out + 1);
        let tail = stored.take_while(|entry| entry.index < first_unstable).chain(unstable);
        tail.filter(|entry| entry.index > self.handed_out).for_each(|e| sessions.follow(&e.data));
        self.clock.lead(now, wall_ms);
        milestones::leads(&self.raw.raft);
        let bootstrapped = sessions.bootstrapped();
        self.admitted = Some(sessions);
        if !bootstrapped {
            let draw = |n: u64| mix(self.config.seed ^ mix(n));
            let cluster_id = (u128::from(draw(1)) << 64) | u128::from(draw(2) | 1);
            let op = entry::encode_bootstrap(cluster_id, [draw(3), draw(4)]);
            self.gather(self.config.node_id, Bytes::from(op));
        }
    }

    /// Puts what was gathered into entries, each with one stamp.
    fn propose(&mut self, now: Duration, wall_ms: u64) {
        if self.admitted.is_none() {
            return;
        }
        if std::mem::take(&mut self.tick_wanted) && self.gathered.is_empty() {
            self.gathered.push(Bytes::from(entry::encode_tick()));
        }
        let mut ops = std::mem::take(&mut self.gathered).into_iter().peekable();
        while ops.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(op) = ops.next_if(|op| bytes == 0 || bytes + op.len() <= ENTRY_BYTES_MAX)
            {
                bytes += op.len();
                batch.push(op);
            }
            self.proposals += 1;
            let time = UnixMillis(self.clock.stamp(now, wall_ms));
            let seed = mix(self.config.seed ^ mix(self.term()) ^ self.proposals);
            let payload = entry::encode_entry(Stamp { time, seed }, batch.iter().map(|op| &op[..]));
            if let Err(error) = self.raw.propose(Vec::new(), payload) {
                // Only while leadership is being handed over. The gateways send again; what was admitted here is forgotten.
                tracing::debug!("an entry was not taken: {error}");
                mark::reached(Mark::ProposalDropped);
                if !is_planted(Canary::RefusedCountsAsLogged) {
                    self.admitted = None;
                }
                return;
            }
        }
    }
}

/// Raft's own settings.
fn raft_config(config: &NodeConfig, applied: u64) -> Config {
    Config {
        id: config.node_id,
        election_tick: config.election_ticks,
        heartbeat_tick: config.election_ticks - 1, // ours come more often, see `reads`
        applied,
        max_size_per_msg: MESSAGE_BYTES_MAX,
        max_inflight_msgs: INFLIGHT_MESSAGES_MAX,
        max_committed_size_per_ready: COMMITTED_BYTES_MAX,
        check_quorum: !is_planted(Canary::NoCheckQuorum),
        pre_vote: !is_planted(Canary::NoPreVote),
        read_only_option: if is_planted(Canary::ReadLease) {
            ReadOnlyOption::LeaseBased
        } else {
            ReadOnlyOption::Safe
        },
        ..Config::default()
    }
}

/// A hash of one number (SplitMix64's finish).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
