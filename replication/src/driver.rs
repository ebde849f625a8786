//! The one async loop that owns the node: it waits, drains everything that has come, steps the node with it, and carries out
//! what the node puts out. Also `open`: from a data directory to a driver and a log writer that are ready to run.
//!
//! Contract: figures in `Status` are published before any message that relies on them; nothing here waits for the event loop.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::event::{Input, Output};
use crate::formation::{Forming, Member, Record, Verdict};
use crate::gateway::{Intake, Outlet, PARCEL_BYTES_MAX, Role, Status};
use crate::node::{Node, NodeConfig, NodeStart};
use crate::ports::{Clock, Disk, Net};
use crate::session::Sessions;
use crate::storage::{
    self, Copies, HardState, LogConfig, LogDone, LogEntry, LogRequest, LogStore, Membership,
    NodeMeta, PIECES_MAX, Piece, Recovered, SnapshotMeta, SnapshotWorker, StoreError, WorkerLink,
    write_loop,
};
use crate::transport::{Identity, Links, PeerEvent};
use crate::wire::{PeerFrame, RaftMessage, SnapshotMetadata};

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
    /// All members, the own entry included; empty for a node on its own.
    pub members: Vec<Member>,
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
    /// All that is drawn comes from it.
    pub seed: u64,
}

/// Why a node can't start. Displayed as a sentence for people.
#[derive(Debug)]
pub enum OpenError {
    /// The data directory.
    Store(StoreError),
    /// The data directory belongs to somebody else.
    Mismatch(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error @ StoreError::Damaged { .. }) => write!(
                f,
                "{error}. This node does not start, so that it can't serve or vote on less than it promised; no file was changed. \
                 If this is one of several nodes, the others hold the data: remove this node and add it anew with an empty \
                 directory. If it is alone, restore a backup of the directory."
            ),
            Self::Store(error) => error.fmt(f),
            Self::Mismatch(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for OpenError {}

/// A recovered data directory.
pub struct Opened<D: Disk> {
    config: ReplicationConfig,
    store: LogStore<D>,
    meta: NodeMeta,
    hard_state: HardState,
    snapshot: Option<(SnapshotMeta, Vec<Bytes>)>,
    entries: Vec<LogEntry>,
}

/// The log writer, to be run wherever `fdatasync` may block.
pub struct Writer<D: Disk> {
    store: LogStore<D>,
    worker: WorkerLink<D::File>,
    requests: mpsc::Receiver<LogRequest>,
    done: mpsc::Sender<LogDone>,
}

/// The driver, to be run inside a `LocalSet`.
pub struct Driver {
    config: ReplicationConfig,
    meta: NodeMeta,
    start: NodeStart,
    restore: Option<Vec<Bytes>>,
    log: mpsc::Sender<LogRequest>,
    log_done: mpsc::Receiver<LogDone>,
}

/// Recovers a data directory and draws a new incarnation, synced before it is used.
///
/// # Errors
/// See `OpenError`.
pub async fn open<D: Disk>(config: ReplicationConfig, disk: D) -> Result<Opened<D>, OpenError> {
    // Before anything is changed, as the message says.
    let mut log = config.log;
    if let Some(meta) = storage::identity(&disk).map_err(refused)? {
        check_owner(&config, &meta).map_err(OpenError::Mismatch)?;
        log.copies = copies(&config, &meta);
    }
    let drawn = disk.draw_id();
    let (mut store, mut recovered) = storage::open(disk, log).await.map_err(refused)?;
    if is_planted(Canary::RecoverySkipped) {
        recovered = Recovered { meta: recovered.meta, ..Recovered::default() };
    }
    recovered.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let mut meta = if let Some(meta) = recovered.meta {
        meta
    } else {
        // Whoever knows it can speak in this node's name, so it must not follow from what clients are told: the cluster's id
        // tells the seed.
        let from_seed =
            || (u128::from(config.seed) << 64) | u128::from(config.seed.rotate_left(17) ^ 0xA5A5);
        let storage_id = drawn.unwrap_or_else(from_seed);
        NodeMeta { node_id: config.node_id, storage_id: storage_id.max(1), ..NodeMeta::default() }
    };
    let (is_new, kept) = (meta.incarnation == 0, is_planted(Canary::IncarnationKept));
    if is_new || !kept {
        meta.incarnation = next_incarnation(meta.incarnation, config.seed);
    }
    if config.members.len() <= 1 && meta.formation.is_empty() {
        meta.formation = Record::alone(meta.node_id, meta.storage_id).encode();
    }
    if is_new || !is_planted(Canary::IncarnationNotSaved) {
        store.save_meta(meta.clone()).await.map_err(refused)?;
    }
    store.keep_reserve().await.map_err(refused)?;
    let (hard_state, snapshot, entries) =
        (recovered.hard_state, recovered.snapshot, recovered.entries);
    Ok(Opened { config, store, meta, hard_state, snapshot, entries })
}

/// The data directory can't be used.
fn refused(error: StoreError) -> OpenError {
    mark::reached(match &error {
        StoreError::Damaged { .. } => Mark::StartRefusedDamaged,
        StoreError::Io { .. } => Mark::StartRefusedByDisk,
        StoreError::Copied { .. } => Mark::StartRefusedCopy,
    });
    OpenError::Store(error)
}

/// What a node promised to others holds for it, not for a copy of its directory; a node alone promised nothing to anybody but its clients,
/// who restore a backup because they want it back as it was.
fn copies(config: &ReplicationConfig, meta: &NodeMeta) -> Copies {
    let is_one_of_several =
        Record::decode(&meta.formation).is_some_and(|record| record.voters().len() > 1);
    let is_refused = is_one_of_several && !config.adopt_copy && !is_planted(Canary::CopyTaken);
    if is_refused { Copies::Refused } else { Copies::Taken }
}

/// Starts are counted in the upper half; the lower half is drawn, so that a node started from an older copy of its directory
/// never speaks under a number that it has used.
fn next_incarnation(last: u64, seed: u64) -> u64 {
    (((last >> 32) + 1) << 32) | (seed & 0xFFFF_FFFF)
}

/// Whether the flags fit what the data directory says.
fn check_owner(config: &ReplicationConfig, meta: &NodeMeta) -> Result<(), String> {
    let unchanged = "Nothing was changed.";
    if meta.node_id != config.node_id {
        return Err(format!(
            "this data directory belongs to node {}, but this is node {}. {unchanged} Check --node-id and --dir.",
            meta.node_id, config.node_id
        ));
    }
    let Some(record) = Record::decode(&meta.formation) else { return Ok(()) };
    let mut ids: Vec<u64> = config.members.iter().map(|member| member.id).collect();
    ids.sort_unstable();
    if ids.is_empty() {
        ids.push(config.node_id);
    }
    if record.voters() != ids {
        return Err(format!(
            "this data directory belongs to the cluster of nodes {:?}, but the flags name {ids:?}. {unchanged} \
             Start with the cluster's own --cluster, or choose another --dir.",
            record.voters()
        ));
    }
    Ok(())
}

impl<D: Disk> Opened<D> {
    /// This start's incarnation.
    pub fn incarnation(&self) -> u64 {
        self.meta.incarnation
    }

    /// The node's id.
    pub fn node_id(&self) -> u64 {
        self.meta.node_id
    }

    /// The loops to run. The snapshot worker blocks for longer than the log writer, so it wants a thread even where the others share one.
    pub fn into_parts(self) -> (SnapshotWorker<D>, Writer<D>, Driver) {
        let (worker, link) = self.store.worker();
        let (log, requests) = mpsc::channel(LOG_MESSAGES_MAX);
        let (done, log_done) = mpsc::channel(LOG_MESSAGES_MAX);
        let (snapshot, restore) = self.snapshot.unzip();
        let membership = snapshot.as_ref().map_or_else(
            || Membership {
                voters: Record::decode(&self.meta.formation).unwrap_or_default().voters(),
                learners: Vec::new(),
            },
            |meta| meta.membership.clone(),
        );
        let start =
            NodeStart { hard_state: self.hard_state, membership, snapshot, entries: self.entries };
        let driver = Driver { config: self.config, meta: self.meta, start, restore, log, log_done };
        (worker, Writer { store: self.store, worker: link, requests, done }, driver)
    }
}

impl<D: Disk> Writer<D> {
    /// Runs until the driver closes it.
    pub async fn run(self) {
        write_loop(self.store, self.worker, self.requests, self.done).await;
    }
}

/// The driver while it runs.
struct Running<N: Net, C: Clock> {
    node: Node,
    node_id: u64,
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
        let links = self.start_links(net, clock.clone(), events.clone()).await?;
        // Before the first peer is heard: an older copy of a member must not get a word in while the log is being applied.
        links.learn(Sessions::logged(&self.start.entries).incarnations());
        if self.meta.formation.is_empty()
            && !self.form(&links, &mut peer_events, intake, &status).await?
        {
            drop(self.log.send(LogRequest::Close).await);
            drop(outlet.send(Outlet::Stopped).await);
            return Ok(());
        }
        status.set_waiting("");
        let node_config = self.node_config();
        let restored_index = self.start.snapshot.as_ref().map_or(0, |meta| meta.index);
        let node = Node::new(node_config, self.start)?;
        let mut running = Running {
            node,
            node_id: self.meta.node_id,
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
        if let Some(own) = own.filter(|_| self.config.members.len() > 1) {
            let bound = net.bind(&own.host, own.port).await;
            listener = Some(bound.map_err(|error| {
                format!(
                    "cannot listen for peers on {}:{}: {error}. Nothing was changed. Another server may be running there: \
                     stop it, or correct this node's entry in --cluster.",
                    own.host, own.port
                )
            })?);
        }
        let others = self.config.members.iter().filter(|member| member.id != self.meta.node_id);
        let others = others.cloned().collect();
        Ok(Links::start(net, clock, self.identity(), others, listener, events))
    }

    /// Waits for the cluster to form; false if the node is shut down meanwhile.
    async fn form<N: Net>(
        &mut self,
        links: &Links<N>,
        peer_events: &mut mpsc::Receiver<PeerEvent>,
        intake: &mut mpsc::Receiver<Intake>,
        status: &Status,
    ) -> Result<bool, String> {
        let members = self.config.members.iter().map(|member| member.id).collect();
        let mut forming = Forming::new(self.meta.node_id, self.meta.storage_id, members);
        let mut verdict = forming.verdict();
        let mut beat = interval(HEARD_FOR);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match &verdict {
                Verdict::Wait(text) => {
                    if status.waiting() != *text {
                        tracing::info!("{text}");
                        status.set_waiting(text);
                    }
                }
                Verdict::Form(record) => {
                    self.meta.formation = record.encode();
                    self.start.membership.voters = record.voters();
                    self.save_meta().await?;
                    links.set_identity(self.identity());
                    tracing::info!("formed a cluster of nodes {:?}", record.voters());
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
        let _ = self.log.send(LogRequest::SaveMeta(self.meta.clone())).await;
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
                if let Some(beats) = &mut self.leaving {
                    *beats = beats.saturating_sub(1);
                    self.step(Input::HandOver { to: None }); // at first nobody may have been heard of lately
                }
            }
            Event::Peer(event) => self.take_peer(event),
            Event::Intake(message) => return self.take_intake(message),
            Event::Log(done) => return self.take_log(done),
        }
        Ok(())
    }

    fn take_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Heard { .. } => {}
            PeerEvent::Frame { from, frame } => {
                let word = frame.word();
                if !frame.ops.is_empty() {
                    self.step(Input::Forwarded { from, ops: frame.ops });
                }
                if let Some(message) = frame.raft {
                    self.step(Input::Peer { message, word });
                }
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
    }

    fn take_intake(&mut self, message: Option<Intake>) -> Result<(), String> {
        match message {
            Some(Intake::Parcel { sequence, op }) => self.step(Input::Parcel { sequence, op }),
            Some(Intake::Read { round }) => self.step(Input::Read { round }),
            Some(Intake::Tick) => self.step(Input::TickWanted),
            Some(Intake::Applied { index, passed, registered }) => {
                self.step(Input::Applied { index, passed, registered });
            }
            Some(Intake::Restored { index, stamp_ms, gateways }) => {
                self.step(Input::Restored { index, stamp_ms, gateways });
                self.links.learn(self.node.incarnations());
            }
            Some(Intake::SnapshotBegun { index }) => self.step(Input::SnapshotBegun { index }),
            Some(Intake::Save) => self.step(Input::SnapshotAsked),
            Some(Intake::HandOver { to }) => self.step(Input::HandOver { to }),
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
            Some(LogDone::MetaSaved) => {}
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
        self.links.send_snapshot(message, meta, pieces);
    }

    /// Ends a turn: lets the node form entries and readies, publishes figures, carries out what the node wants.
    fn turn(&mut self) -> Result<(), String> {
        self.node.turn(self.clock.monotonic(), self.clock.wall_ms());
        if self.publish() {
            self.out(Outlet::StatusChanged);
        }
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
        status.set_saving(node.is_taking_snapshot());
        status.set_sole_voter(node.is_sole_leader());
        status.set_lease(node.lease_until());
        status.set_log_time_ms(&self.clock, node.log_time_ms(self.clock.monotonic()));
        if changed && node.role() == Role::Leader {
            tracing::info!("node {} leads in term {}", self.node_id, node.term());
        }
        changed
    }

    fn carry_out(&mut self, output: Output) -> Result<(), String> {
        match output {
            Output::Persist { number, entries, hard_state } => {
                self.ask_log(LogRequest::Append { number, entries, hard_state })?;
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
