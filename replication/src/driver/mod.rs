//! The one async loop that owns the node: it waits, drains everything that has come, steps the node with it, and carries out
//! what the node puts out. `open` leads from a data directory to a driver and a log writer that are ready to run; `members` keeps the
//! links in step with who is a member.
//!
//! Contract: figures in `Status` are published before any message that relies on them; nothing here waits for the event loop.

mod members;
mod open;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::electorate::Electorate;
use crate::event::{Input, Output};
use crate::formation::{Forming, Member, Record, Verdict};
use crate::gateway::{Intake, Outlet, PARCEL_BYTES_MAX, Role, Status};
use crate::node::{Node, NodeConfig, NodeStart};
use crate::ports::{Clock, Net};
use crate::roster::Roster;
use crate::session::Sessions;
use crate::storage::{
    Barred, LogConfig, LogDone, LogRequest, NodeMeta, PIECES_MAX, Piece, Rejoin, SnapshotMeta,
};
use crate::transport::{Identity, Links, PeerEvent};
use crate::wire::{PeerFrame, RaftMessage, SnapshotMetadata, StateDigest};

use members::Standing;
pub use open::{OpenError, Opened, Writer, open};

/// What a forming peer said counts for one to two of these; forming nodes greet each other more often.
const HEARD_FOR: Duration = Duration::from_millis(1500);
/// Messages between driver and log writer at the most.
const LOG_MESSAGES_MAX: usize = 16 * 1024;
const PEER_EVENTS_MAX: usize = 1024;
/// Inputs taken in one turn at the most, so that outputs are not held up without end.
const TURN_INPUTS_MAX: usize = 1024;
/// Ops that travel in one frame, so that heartbeats do not queue behind a whole backlog.
const FORWARD_BYTES_MAX: usize = PARCEL_BYTES_MAX;

/// Settings of replication.
#[derive(Debug, Clone)]
pub struct ReplicationConfig {
    /// Own id; 1 for a node on its own.
    pub node_id: u64,
    /// All members as the cluster is formed, the own entry included; empty for a node on its own, which no peer can reach. Later on the log
    /// says who is a member, and this where those are that it names.
    pub members: Vec<Member>,
    /// Whether a node with an empty directory waits to be added to a cluster, and forms none.
    pub joins: bool,
    /// Where clients find this node, `host:port`; empty to say nothing. All nodes learn it.
    pub announced: String,
    /// The log.
    pub log: LogConfig,
    /// Whether a member of a cluster of several may start from a copy of its data directory.
    pub adopt_copy: bool,
    /// Bytes of log after which a snapshot is taken.
    pub snapshot_log_bytes: u64,
    /// Bytes of entries kept behind a snapshot for slow followers.
    pub tail_bytes: u64,
    /// Length of a tick.
    pub tick: Duration,
    /// Ticks in the election timeout, see `NodeConfig`.
    pub election_ticks: usize,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: usize,
    /// Whether a leader answers reads by itself while its lease holds.
    pub lease_reads: bool,
    /// The highest semantics level that this release knows.
    pub level: u32,
    /// All that is drawn comes from it.
    pub seed: u64,
}

/// The driver, to be run inside a `LocalSet`.
pub struct Driver {
    config: ReplicationConfig,
    meta: NodeMeta,
    /// Who is a member, by what is written down.
    roster: Roster,
    start: NodeStart,
    restore: Option<Vec<Bytes>>,
    log: mpsc::Sender<LogRequest>,
    log_done: mpsc::Receiver<LogDone>,
}

/// The driver while it runs.
struct Running<N: Net, C: Clock> {
    node: Node,
    meta: NodeMeta,
    /// Where the flags say that members are.
    members: Vec<Member>,
    /// Who is a member, as far as the log here makes it known for ever, or as this node was told when it joined.
    roster: Roster,
    standing: Standing,
    links: Links<N>,
    clock: C,
    log: mpsc::Sender<LogRequest>,
    outlet: mpsc::Sender<Outlet>,
    /// Messages that found the outlet full: the event loop is busy, and will say when it has gone on.
    backlog: VecDeque<Outlet>,
    status: Arc<Status>,
    /// Announcements of snapshots that are being read from disk, by receiver.
    announced: BTreeMap<u64, RaftMessage>,
    /// Where the event loop's pieces of the own state come out, until they are saved.
    pieces: Option<mpsc::Receiver<Piece>>,
    /// Beats that are left for handing leadership over before the log is closed.
    leaving: Option<usize>,
    /// Beats that it may take: an election takes no longer.
    hand_over_beats: usize,
    stopping: bool,
    ended: bool,
}

impl Driver {
    /// Runs the node until it is shut down or must stop.
    pub async fn run<N: Net, C: Clock>(
        self,
        net: N,
        clock: C,
        mut intake: mpsc::Receiver<Intake>,
        outlet: mpsc::Sender<Outlet>,
        status: Arc<Status>,
    ) {
        let fatal = outlet.clone();
        if let Err(text) = self.run_to_end(net, clock, &mut intake, outlet, status).await {
            // The event loop may be gone: then there is nobody to tell.
            let _ = fatal.send(Outlet::Fatal(text)).await;
        }
    }

    async fn run_to_end<N: Net, C: Clock>(
        mut self,
        net: N,
        clock: C,
        intake: &mut mpsc::Receiver<Intake>,
        outlet: mpsc::Sender<Outlet>,
        status: Arc<Status>,
    ) -> Result<(), String> {
        let (events, mut peer_events) = mpsc::channel(PEER_EVENTS_MAX);
        let mut links = self.start_links(net, clock.clone(), events.clone()).await?;
        // Before the first peer is heard: an older copy of a member must not get a word in while the log is being applied.
        links.learn(Sessions::logged(&self.start.entries).incarnations());
        if self.meta.formation.is_empty()
            && !self.form(&mut links, &mut peer_events, intake, &status).await?
        {
            drop(self.log.send(LogRequest::Close).await);
            drop(outlet.send(Outlet::Stopped).await);
            return Ok(());
        }
        let _ = status.set_waiting(""); // that it waits no more is no news worth a line
        let node_config = self.node_config();
        let restored_index = self.start.snapshot.as_ref().map_or(0, |meta| meta.index);
        let node = Node::new(node_config, self.start)?;
        let mut running = Running {
            node,
            meta: self.meta,
            members: self.config.members,
            roster: self.roster,
            standing: Standing::default(),
            links,
            clock,
            log: self.log,
            outlet,
            backlog: VecDeque::new(),
            status,
            announced: BTreeMap::new(),
            pieces: None,
            leaving: None,
            hand_over_beats: self.config.election_ticks,
            stopping: false,
            ended: false,
        };
        if let Some(chunks) = self.restore {
            running.out(Outlet::Restore { index: restored_index, chunks });
        }
        let mut beat = interval(self.config.tick);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sources =
            Sources { log_done: self.log_done, intake, peer_events, beat, _events: events };
        running.tell_members();
        running.turn()?; // a node on its own leads at once
        while !running.ended {
            let first = sources.next().await;
            running.take(first)?;
            let mut taken = 1;
            while let Some(event) = sources.try_next() {
                running.take(event)?;
                taken += 1;
                if taken >= TURN_INPUTS_MAX {
                    break;
                }
            }
            if sources.beat_is_due() {
                running.take(Event::Beat)?;
            }
            running.turn()?;
            running.leave()?;
        }
        // The last words matter: what is still held back goes out before the end.
        for message in running.backlog {
            if running.outlet.send(message).await.is_err() {
                break; // the event loop ended first
            }
        }
        Ok(())
    }

    fn node_config(&self) -> NodeConfig {
        NodeConfig {
            node_id: self.meta.node_id,
            incarnation: self.meta.incarnation,
            announced: self.config.announced.clone(),
            election_ticks: self.config.election_ticks,
            heartbeat_ticks: self.config.heartbeat_ticks,
            tick: self.config.tick,
            lease_reads: self.config.lease_reads,
            level: self.config.level,
            rejoins: open::known(&self.meta),
            snapshot_log_bytes: self.config.snapshot_log_bytes,
            tail_bytes: self.config.tail_bytes,
            seed: self.config.seed,
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            node_id: self.meta.node_id,
            incarnation: self.meta.incarnation,
            storage_id: self.meta.storage_id,
            record: Record::decode(&self.meta.formation),
            roster: self.roster.clone(),
            heard: Roster::default(),
            voters: Vec::new(), // its log says them, once it is followed
            level: self.config.level,
            level_reached: 0,
        }
    }

    async fn start_links<N: Net>(
        &self,
        net: N,
        clock: impl Clock,
        events: mpsc::Sender<PeerEvent>,
    ) -> Result<Links<N>, String> {
        let own = self.config.members.iter().find(|member| member.id == self.meta.node_id);
        let mut listener = None;
        if let Some(own) = own {
            let bound = net.bind(&own.host, own.port).await;
            listener = Some(bound.map_err(|error| {
                format!(
                    "cannot listen for peers on {}:{}: {error}. Nothing was changed. Another server may be running there: \
                     stop it, or correct this node's entry in --cluster.",
                    own.host, own.port
                )
            })?);
        }
        let initial = self.config.members.iter().map(|member| member.id).collect();
        let initial = (!self.config.joins).then_some(initial);
        let mut links = Links::start(net, clock, self.identity(), initial, listener, events);
        links.dial(if self.meta.formation.is_empty() {
            // Who waits to be added is called by those that add it.
            let others = self.config.members.iter().filter(|member| member.id != self.meta.node_id);
            others.filter(|_| !self.config.joins).cloned().collect()
        } else {
            members::peers(&self.roster, &self.config.members, self.meta.node_id)
        });
        Ok(links)
    }

    /// Waits for the cluster to form; false if the node is shut down meanwhile.
    async fn form<N: Net>(
        &mut self,
        links: &mut Links<N>,
        peer_events: &mut mpsc::Receiver<PeerEvent>,
        intake: &mut mpsc::Receiver<Intake>,
        status: &Status,
    ) -> Result<bool, String> {
        let members = self.config.members.iter().map(|member| member.id).collect();
        let (node_id, joins) = (self.meta.node_id, self.config.joins);
        let mut forming = Forming::new(node_id, self.meta.storage_id, members, joins);
        let mut verdict = forming.verdict();
        let mut beat = interval(HEARD_FOR);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match &verdict {
                Verdict::Wait(text) => {
                    if status.set_waiting(text) {
                        tracing::info!("{text}");
                    }
                }
                Verdict::Form(record, told) => {
                    let founders = open::founders(record, &self.config.members, told);
                    self.roster =
                        if told.version() > 0 { told.clone() } else { founders.roster.clone() };
                    if told.version() == 0 {
                        self.meta.electorate = Electorate::of(&founders);
                    }
                    self.start.membership = founders;
                    (self.meta.formation, self.meta.roster) =
                        (record.encode(), self.roster.encode());
                    self.save_meta().await?;
                    links.set_identity(self.identity());
                    links.dial(members::peers(&self.roster, &self.config.members, node_id));
                    tracing::info!("part of a cluster of nodes {:?}", self.roster.ids());
                    return Ok(true);
                }
            }
            verdict = tokio::select! {
                biased; // a shutdown does not wait for peers
                message = intake.recv() => match message {
                    Some(Intake::Shutdown) | None => return Ok(false),
                    Some(_) => verdict,
                },
                event = peer_events.recv() => match event {
                    Some(PeerEvent::Heard { peer, heard }) => forming.hear(peer, heard),
                    _ => verdict,
                },
                _ = beat.tick() => forming.age(),
            };
        }
    }

    /// Makes the identity durable before anything relies on it.
    async fn save_meta(&mut self) -> Result<(), String> {
        let gone = || "the log writer ended unexpectedly; start this node again".to_owned();
        // A writer that has ended says why in its last report.
        let _ = self.log.send(LogRequest::SaveMeta { meta: self.meta.clone(), vital: true }).await;
        loop {
            match self.log_done.recv().await {
                Some(LogDone::MetaSaved) => return Ok(()),
                Some(LogDone::Fatal(text)) => return Err(text),
                Some(_) => {}
                None => return Err(gone()),
            }
        }
    }
}

/// Where inputs come from.
struct Sources<'a> {
    log_done: mpsc::Receiver<LogDone>,
    intake: &'a mut mpsc::Receiver<Intake>,
    peer_events: mpsc::Receiver<PeerEvent>,
    beat: Interval,
    /// Keeps the channel open for a node without peers.
    _events: mpsc::Sender<PeerEvent>,
}

#[allow(clippy::large_enum_variant)] // one of them lives at a time, on the stack
enum Event {
    Log(Option<LogDone>),
    Intake(Option<Intake>),
    Peer(PeerEvent),
    Beat,
}

impl Sources<'_> {
    async fn next(&mut self) -> Event {
        tokio::select! {
            biased; // the disk first: it lets answers go; ticks last, see `beat_is_due`
            done = self.log_done.recv() => Event::Log(done),
            message = self.intake.recv() => Event::Intake(message),
            Some(event) = self.peer_events.recv() => Event::Peer(event),
            _ = self.beat.tick() => Event::Beat,
        }
    }

    /// Whether a tick is due while other inputs keep coming: under load something else is always ready first, and a node
    /// without ticks neither sends heartbeats nor asks again. It comes after what was queued, so that a node that was
    /// held up hears its leader before it counts the silence.
    fn beat_is_due(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop()); // `next` registers the real one before it sleeps
        self.beat.poll_tick(&mut context).is_ready()
    }

    fn try_next(&mut self) -> Option<Event> {
        if let Ok(done) = self.log_done.try_recv() {
            return Some(Event::Log(Some(done)));
        }
        if let Ok(message) = self.intake.try_recv() {
            return Some(Event::Intake(Some(message)));
        }
        self.peer_events.try_recv().ok().map(Event::Peer)
    }
}

impl<N: Net, C: Clock> Running<N, C> {
    fn step(&mut self, input: Input) {
        self.node.step(self.clock.monotonic(), self.clock.wall_ms(), input);
    }

    fn take(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Beat => {
                self.step(Input::Tick);
                self.court_on();
                self.save_meta_again()?;
                if let Some(beats) = &mut self.leaving {
                    *beats = beats.saturating_sub(1);
                    self.step(Input::HandOver { to: None }); // at first nobody may have been heard of lately
                }
            }
            Event::Peer(event) => return self.take_peer(event),
            Event::Intake(message) => return self.take_intake(message),
            Event::Log(done) => return self.take_log(done),
        }
        Ok(())
    }

    fn take_peer(&mut self, event: PeerEvent) -> Result<(), String> {
        match event {
            PeerEvent::Heard { peer, heard } => return self.take_heard(peer, heard),
            // What it had to write down now would not be written any more.
            PeerEvent::Frame { .. } if self.stopping => {}
            PeerEvent::Frame { from, frame } => {
                let word = frame.word();
                if !frame.ops.is_empty() {
                    self.step(Input::Forwarded { from, ops: frame.ops });
                }
                if let Some(checkpoint) = frame.checkpoint.and_then(StateDigest::checkpoint) {
                    self.step(Input::PeerCheckpoint { from, checkpoint });
                }
                if frame.rejoins > 0 {
                    self.step(Input::RejoinAsked { from, incarnation: frame.rejoins });
                }
                if let Some(word) = frame.rejoin_word {
                    self.step(Input::RejoinTold { from, word });
                }
                if let Some(message) = frame.raft {
                    self.step(Input::Peer { message, word });
                }
            }
            PeerEvent::Greeted { peer, incarnation, level } => {
                self.step(Input::PeerLevel { peer, incarnation, level });
            }
            PeerEvent::Up { peer } => self.status.set_connected(peer, true),
            PeerEvent::Down { peer } => {
                self.status.set_connected(peer, false);
                self.step(Input::Unreachable { peer });
            }
            PeerEvent::SnapshotReceived { message, meta, chunks } => {
                self.step(Input::SnapshotReceived { message, meta, chunks });
            }
            PeerEvent::SnapshotSent { to, arrived } => {
                self.step(Input::SnapshotSent { to, arrived });
            }
        }
        Ok(())
    }

    fn take_intake(&mut self, message: Option<Intake>) -> Result<(), String> {
        match message {
            Some(Intake::Parcel { sequence, op }) => self.step(Input::Parcel { sequence, op }),
            Some(Intake::Read { round }) => self.step(Input::Read { round }),
            Some(Intake::Tick) => self.step(Input::TickWanted),
            Some(Intake::Applied { index, passed, registered }) => {
                self.step(Input::Applied { index, passed, registered });
            }
            Some(Intake::Checkpoint(own)) => self.step(Input::Checkpoint(own)),
            Some(Intake::Restored { index, stamp_ms, level, gateways }) => {
                self.step(Input::Restored { index, stamp_ms, level, gateways });
                self.links.learn(self.node.incarnations());
            }
            Some(Intake::SnapshotBegun { index }) => self.step(Input::SnapshotBegun { index }),
            Some(Intake::Save) => self.step(Input::SnapshotAsked),
            Some(Intake::HandOver { to }) => self.step(Input::HandOver { to }),
            Some(Intake::Change { ticket, change }) => self.take_change(ticket, change),
            Some(Intake::Shutdown) => {
                // Otherwise the others would wait for a whole election timeout before they miss it.
                self.step(Input::HandOver { to: None });
                self.leaving = Some(self.hand_over_beats);
            }
            None => self.ended = true,
        }
        Ok(())
    }

    /// Closes the log once leadership is another's, or nobody took it in time.
    fn leave(&mut self) -> Result<(), String> {
        let alone = self.node.is_sole_leader();
        let Some(beats) = self.leaving else { return Ok(()) };
        if !self.stopping && (alone || beats == 0 || self.node.role() != Role::Leader) {
            self.ask_log(LogRequest::Close)?;
            self.stopping = true;
        }
        Ok(())
    }

    fn take_log(&mut self, done: Option<LogDone>) -> Result<(), String> {
        match done {
            Some(LogDone::Appended { number }) => self.step(Input::Persisted { number }),
            Some(LogDone::Installed { number, meta, chunks }) => {
                self.out(Outlet::Restore { index: meta.index, chunks });
                self.step(Input::Persisted { number });
            }
            Some(LogDone::NoSpace) => self.space(true),
            Some(LogDone::SpaceReturned) => self.space(false),
            Some(LogDone::SnapshotSaved { meta, compacted_to }) => {
                self.status.set_last_save_ms(self.clock.wall_ms());
                self.step(Input::SnapshotSaved { meta, compacted_to });
            }
            Some(LogDone::SnapshotFailed { why }) => {
                tracing::error!(
                    "a snapshot could not be saved ({why}); the log goes on without it"
                );
                self.step(Input::SnapshotFailed);
            }
            Some(LogDone::SnapshotAbandoned) => self.step(Input::SnapshotAbandoned),
            Some(LogDone::SnapshotLoading { to, snapshot }) => self.send_snapshot(to, snapshot),
            Some(LogDone::SnapshotUnreadable) => self.step(Input::SnapshotUnreadable),
            Some(LogDone::Scrubbed { wants_snapshot }) => {
                self.status.add_disk_scrub_round();
                if wants_snapshot {
                    self.step(Input::SnapshotAsked);
                }
            }
            Some(LogDone::MetaSaved) => return self.meta_saved(),
            Some(LogDone::MetaWithoutRoom) => self.meta_without_room(),
            Some(LogDone::Fatal(text)) => return Err(text),
            Some(LogDone::Closed) | None if self.stopping => {
                self.out(Outlet::Stopped);
                self.ended = true;
            }
            Some(LogDone::Closed) | None => {
                return Err(
                    "the log writer ended unexpectedly. Every acknowledged write is in the log; \
                            start this node again."
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    fn space(&mut self, none: bool) {
        if none {
            tracing::error!(
                "the disk is full: writes are refused until there is room again; reads go on"
            );
        } else {
            tracing::info!("the disk has room again: writes are taken");
        }
        self.status.set_disk_full(none);
        self.step(Input::NoSpace(none));
        self.out(Outlet::StatusChanged);
    }

    fn send_snapshot(&mut self, to: u64, snapshot: Option<(SnapshotMeta, mpsc::Receiver<Bytes>)>) {
        let Some(mut message) = self.announced.remove(&to) else { return };
        let Some((meta, pieces)) = snapshot else {
            self.step(Input::SnapshotUnreadable);
            return self.step(Input::SnapshotSent { to, arrived: false });
        };
        // The newest on disk may be newer than the one that raft announced.
        if let Some(announced) = &mut message.snapshot {
            announced.metadata = Some(SnapshotMetadata::from_meta(&meta));
        }
        let to = message.to;
        if !self.links.send_snapshot(message, meta, pieces) {
            self.step(Input::SnapshotSent { to, arrived: false });
        }
    }

    /// Ends a turn: lets the node form entries and readies, publishes figures, carries out what the node wants.
    fn turn(&mut self) -> Result<(), String> {
        self.node.turn(self.clock.monotonic(), self.clock.wall_ms());
        self.publish_rejoin();
        if self.publish() {
            self.out(Outlet::StatusChanged);
        }
        self.note_members()?;
        while let Some(output) = self.node.poll() {
            self.carry_out(output)?;
        }
        while let Some(message) = self.backlog.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(message)) = self.outlet.try_send(message) {
                self.backlog.push_front(message);
                break;
            }
        }
        Ok(())
    }

    /// Says what a node waits for that has lost its log.
    fn publish_rejoin(&self) {
        if !self.node.is_rejoining() && !self.status.is_rejoining() {
            return;
        }
        let waits_for = self.node.rejoin_waits_for();
        if self.status.set_waiting(&waits_for) && !waits_for.is_empty() {
            tracing::warn!("{waits_for}");
        }
    }

    /// Publishes figures; answers whether somebody may have waited for the change.
    fn publish(&self) -> bool {
        let (node, status) = (&self.node, &self.status);
        let changed = node.role() != status.role()
            || node.leader_id() != status.leader_id()
            || node.is_sole_leader() != status.sole_voter();
        status.set_role(node.role());
        status.set_leader_id(node.leader_id());
        if node.leader_id() != 0 {
            status.set_last_leader_id(node.leader_id());
        }
        status.set_term(node.term());
        status.set_commit_index(node.commit_index());
        status.set_last_index(node.last_index());
        status.set_snapshot_index(node.snapshot_index());
        status.set_log_bytes(node.log_bytes());
        status.set_checked_index(node.checked_index());
        status.set_saving(node.is_taking_snapshot());
        status.set_sole_voter(node.is_sole_leader());
        status.set_rejoining(node.is_rejoining());
        if let Some(level) = node.level().filter(|level| *level != status.level()) {
            status.set_level(level);
            self.links.set_level(level);
        }
        status.set_lease(node.lease_until());
        status.set_log_time_ms(&self.clock, node.log_time_ms(self.clock.monotonic()));
        if changed && node.role() == Role::Leader {
            tracing::info!("node {} leads in term {}", self.meta.node_id, node.term());
        }
        changed
    }

    fn carry_out(&mut self, output: Output) -> Result<(), String> {
        match output {
            Output::Persist { number, entries, hard_state, vital } => {
                self.ask_log(LogRequest::Append { number, entries, hard_state, vital })?;
            }
            Output::Install { number, meta, chunks, hard_state } => {
                self.ask_log(LogRequest::Install { number, meta, chunks, hard_state })?;
            }
            Output::Send { message, word } => {
                let to = message.to;
                let frame = PeerFrame { raft: Some(message), ..PeerFrame::telling(word) };
                self.links.send(to, &frame);
            }
            Output::Forward { to, ops } => self.forward(to, ops),
            Output::SendSnapshot { message } => {
                let to = message.to;
                self.announced.insert(to, message);
                self.ask_log(LogRequest::LoadSnapshot { to })?;
            }
            Output::Apply { entries } => {
                self.links.learn(self.node.incarnations()); // these entries may have raised them
                self.out(Outlet::Apply { entries });
            }
            Output::ReadIndex { round, index } => self.out(Outlet::ReadIndex { round, index }),
            Output::TakeSnapshot => {
                let (pieces, received) = mpsc::channel(PIECES_MAX);
                self.pieces = Some(received);
                self.out(Outlet::TakeSnapshot { pieces });
            }
            Output::AbandonSnapshot => self.pieces = None,
            Output::SaveSnapshot { meta, compact_to } => {
                if let Some(pieces) = self.pieces.take() {
                    self.ask_log(LogRequest::SaveSnapshot { meta, pieces, compact_to })?;
                }
            }
            Output::ChangeRefused { ticket, why } => {
                tracing::warn!("a change of members is refused: {why}");
                self.status.refuse_change(ticket, &why);
            }
            Output::Tell { to, checkpoint } => {
                let checkpoint = Some(StateDigest::of(checkpoint));
                self.links.send(to, &PeerFrame { checkpoint, ..PeerFrame::default() });
            }
            Output::AskRejoin => {
                let frame = PeerFrame { rejoins: self.meta.incarnation, ..PeerFrame::default() };
                self.links.send_all(&frame);
            }
            Output::TellRejoin { to, word } => {
                self.links.send(to, &PeerFrame { rejoin_word: Some(word), ..PeerFrame::default() });
            }
            Output::Rejoined => {
                tracing::info!("all data is back from the other nodes: this node votes again");
                self.meta.rejoin = Rejoin::Needless;
                self.save_meta(true)?;
            }
            Output::LogLost(what) => return self.lose_log(&what),
            Output::Outvoted(text) => {
                tracing::error!("{text}");
                return self.bar(Barred::Outvoted);
            }
            Output::Fatal(text) => return Err(text),
        }
        Ok(())
    }

    /// Sends ops in frames of a bounded size, in order.
    fn forward(&self, to: u64, ops: Vec<Bytes>) {
        let mut ops = ops.into_iter().peekable();
        while ops.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            let fits =
                |op: &Bytes, bytes: usize| bytes == 0 || bytes + op.len() <= FORWARD_BYTES_MAX;
            while let Some(op) = ops.next_if(|op| fits(op, bytes)) {
                bytes += op.len();
                batch.push(op);
            }
            self.links.send(to, &PeerFrame { ops: batch, ..PeerFrame::default() });
        }
    }

    fn ask_log(&self, request: LogRequest) -> Result<(), String> {
        if self.stopping {
            return Ok(()); // it was told to close: what comes now was promised to nobody
        }
        match self.log.try_send(request) {
            // An ended writer says why in its last report, or by the end of its reports.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(format!(
                "the log writer is {LOG_MESSAGES_MAX} requests behind, more than can be under way. Every acknowledged write \
                 is in the log; start this node again, and look at its disk if it comes back."
            )),
        }
    }

    fn out(&mut self, message: Outlet) {
        self.backlog.push_back(message);
    }
}
