//! The links themselves: a task for each peer that is dialled, one for each stream that was accepted.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadHalf};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::frame::{self, FRAME_BYTES_MAX, GREETING_BYTES_MAX, Incoming, invalid, within};
use super::handshake::{Hello, Identity, Purpose, Welcome};
use super::queue::{Monotonic, Queue, Waiting};
use crate::formation::{Heard, Member};
use crate::ports::{Clock, Net};
use crate::roster::Roster;
use crate::storage::SnapshotMeta;
use crate::wire::{PeerFrame, RaftMessage, SnapshotMetadata};
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

/// Written at once, if that much waits. No message of raft waits longer than such a write and one frame take.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// Streams that are served at once: a few for each member; beyond them somebody is only knocking.
const STREAMS_MAX: usize = 256;
const STREAM_BUFFER_BYTES: usize = 64 << 10;
/// Different refusals that are remembered as logged.
const TOLD_MAX: usize = 64;
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// For a whole greeting: a stranger who sends it byte by byte is not waited for.
const GREETING_PATIENCE: Duration = Duration::from_secs(2);
/// How often an idle link says that it is alive, and how long it may be silent.
const PING_EVERY: Duration = Duration::from_millis(300);
const SILENCE_MAX: Duration = Duration::from_millis(1500);
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_millis(800);
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(10);
/// How often whoever receives a snapshot says that it still comes, and its word for having it whole.
const SNAPSHOT_SIGN_EVERY: Duration = Duration::from_secs(1);
const ARRIVED: &[u8] = b"arrived";
/// A snapshot that claims to be larger is refused.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 40;

/// What happens on the links.
#[derive(Debug)]
pub enum PeerEvent {
    /// A peer said who it is.
    Greeted {
        /// Who.
        peer: u64,
        /// Its incarnation.
        incarnation: u64,
        /// The highest semantics level that its release knows.
        level: u32,
    },
    /// What it said.
    Heard {
        /// The peer.
        peer: u64,
        /// Forming or formed.
        heard: Heard,
    },
    /// A frame.
    Frame {
        /// The peer.
        from: u64,
        /// What it says.
        frame: PeerFrame,
    },
    /// The link to a peer is up.
    Up {
        /// The peer.
        peer: u64,
    },
    /// The link to a peer is down.
    Down {
        /// The peer.
        peer: u64,
    },
    /// A whole, verified snapshot.
    SnapshotReceived {
        /// The raft message that announces it.
        message: RaftMessage,
        /// What it is.
        meta: SnapshotMeta,
        /// The state.
        chunks: Vec<Bytes>,
    },
    /// A snapshot was sent to a peer, or not.
    SnapshotSent {
        /// The peer.
        to: u64,
        /// Whether the peer has it whole.
        arrived: bool,
    },
}

/// The head of a snapshot stream.
#[derive(Clone, PartialEq, prost::Message)]
struct SnapshotHead {
    #[prost(message, optional, tag = "1")]
    message: Option<RaftMessage>,
    #[prost(message, optional, tag = "2")]
    metadata: Option<SnapshotMetadata>,
    #[prost(uint64, tag = "3")]
    bytes: u64,
    #[prost(uint32, tag = "4")]
    checksum: u32,
    #[prost(bytes = "bytes", tag = "5")]
    roster: Bytes,
}

/// What the tasks of one node share.
struct Shared<N: Net> {
    net: N,
    identity: RefCell<Identity>,
    /// Who may form a cluster with this node. None: it waits to be added to one, and listens to anybody's.
    initial: Option<BTreeSet<u64>>,
    /// Rung when a peer has dialled us: it is there, so a link to it need not wait any longer before it tries again.
    back: RefCell<BTreeMap<u64, Rc<Notify>>>,
    /// The disk of each peer, and the highest incarnation heard of it.
    incarnations: RefCell<BTreeMap<u64, (u128, u64)>>,
    /// The newest stream of messages of each peer. What an older one still holds comes too late.
    newest: RefCell<BTreeMap<u64, u64>>,
    events: mpsc::Sender<PeerEvent>,
    /// Refusals that were logged already.
    told: RefCell<BTreeSet<String>>,
    monotonic: Monotonic,
}

/// The link to one peer, for as long as it is to be dialled.
struct Peer {
    queue: Queue,
    dialling: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.dialling.abort();
    }
}

/// All links of one node.
pub struct Links<N: Net> {
    shared: Rc<Shared<N>>,
    peers: BTreeMap<u64, Peer>,
    accepting: Option<JoinHandle<()>>,
    /// Snapshots under way to peers.
    transfers: RefCell<JoinSet<()>>,
}

impl PeerEvent {
    fn greeted(hello: &Hello) -> Self {
        Self::Greeted { peer: hello.from, incarnation: hello.incarnation, level: hello.level }
    }
}

impl<N: Net> Links<N> {
    /// Begins to accept on `listener`. Must be called inside a `LocalSet`. `clock` is the one that log time runs by. `initial` are those
    /// that may form a cluster with this node; none if it waits to be added to one.
    pub fn start(
        net: N,
        clock: impl Clock,
        identity: Identity,
        initial: Option<BTreeSet<u64>>,
        listener: Option<N::Listener>,
        events: mpsc::Sender<PeerEvent>,
    ) -> Self {
        let shared = Rc::new(Shared {
            net,
            identity: RefCell::new(identity),
            initial,
            back: RefCell::default(),
            incarnations: RefCell::default(),
            newest: RefCell::default(),
            events,
            told: RefCell::default(),
            monotonic: Rc::new(move || clock.monotonic()),
        });
        let accepting = listener.map(|listener| spawn_local(accept(Rc::clone(&shared), listener)));
        Self { shared, peers: BTreeMap::new(), accepting, transfers: RefCell::default() }
    }

    /// Dials these from now on, and nobody else.
    pub fn dial(&mut self, peers: Vec<Member>) {
        self.peers.retain(|_, peer| peers.contains(&peer.queue.peer));
        for peer in peers {
            let shared = &self.shared;
            self.peers.entry(peer.id).or_insert_with(|| {
                let (queue, waiting) = Queue::of(peer.clone(), Rc::clone(&shared.monotonic));
                Peer { queue, dialling: spawn_local(dial(Rc::clone(shared), peer, waiting)) }
            });
        }
    }

    /// Who this node is, and who the others are.
    pub fn set_identity(&self, identity: Identity) {
        *self.shared.identity.borrow_mut() = identity;
    }

    /// The log has made other members, and knows it for ever.
    pub fn set_roster(&self, roster: Roster, voters: Vec<u64>) {
        let mut identity = self.shared.identity.borrow_mut();
        (identity.roster, identity.voters) = (roster, voters);
    }

    /// The log has come to this semantics level.
    pub fn set_level(&self, reached: u32) {
        self.shared.identity.borrow_mut().level_reached = reached;
    }

    /// The log says that these nodes have been at these incarnations: lower ones are refused from now on.
    pub fn learn(&self, incarnations: impl Iterator<Item = (u64, u64)>) {
        let identity = self.shared.identity.borrow();
        let mut known = self.shared.incarnations.borrow_mut();
        for (node, incarnation) in incarnations {
            let Some(storage) = identity.storage_of(node) else { continue };
            let heard = known.get(&node).filter(|(of, _)| *of == storage);
            if heard.is_none_or(|(_, heard)| incarnation > *heard) {
                known.insert(node, (storage, incarnation));
            }
        }
    }

    /// Puts a frame into a peer's queue; it may be dropped.
    pub fn send(&self, to: u64, frame: &PeerFrame) {
        if let Some(peer) = self.peers.get(&to) {
            peer.queue.push(frame);
        }
    }

    /// Puts a frame into every peer's queue.
    pub fn send_all(&self, frame: &PeerFrame) {
        self.peers.values().for_each(|peer| peer.queue.push(frame));
    }

    /// Sends a snapshot, as it is read, on a stream of its own and reports how it went; false if there is no way to its receiver.
    pub fn send_snapshot(
        &self,
        message: RaftMessage,
        meta: SnapshotMeta,
        pieces: mpsc::Receiver<Bytes>,
    ) -> bool {
        let Some(peer) = self.peers.get(&message.to) else { return false };
        let (shared, peer) = (Rc::clone(&self.shared), peer.queue.peer.clone());
        let mut transfers = self.transfers.borrow_mut();
        while transfers.try_join_next().is_some() {}
        transfers.spawn_local(async move {
            let sent = transfer(&shared, &peer, message, meta, pieces).await;
            if let Err(error) = &sent {
                mark::reached(Mark::SnapshotNotDelivered);
                tracing::warn!(
                    "a snapshot did not reach node {}: {error}; it is sent again",
                    peer.id
                );
            }
            let event = PeerEvent::SnapshotSent { to: peer.id, arrived: sent.is_ok() };
            let _ = shared.tell(event).await; // the driver is gone: nobody waits for it
        });
        true
    }
}

impl<N: Net> Drop for Links<N> {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

/// Accepts streams of peers. They end with this task.
async fn accept<N: Net>(shared: Rc<Shared<N>>, mut listener: N::Listener) {
    let mut streams = JoinSet::new();
    loop {
        let accepted = shared.net.accept(&mut listener).await;
        while streams.try_join_next().is_some() {}
        match accepted {
            Ok(_) if streams.len() >= STREAMS_MAX => {}
            Ok((stream, address)) => {
                let shared = Rc::clone(&shared);
                streams.spawn_local(async move {
                    if let Err(error) = receive(&shared, stream).await {
                        tracing::debug!("the stream of a peer at {address} ended: {error}");
                        if error.kind() == io::ErrorKind::PermissionDenied {
                            shared.log_stranger(address, &error);
                        }
                    }
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a peer: {error}; trying again");
                sleep(RECONNECT_MAX).await;
            }
        }
    }
}

/// Serves one accepted stream to its end.
async fn receive<N: Net>(shared: &Shared<N>, stream: N::Stream) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(STREAM_BUFFER_BYTES, stream);
    let hello = Hello::from_bytes(read_greeting(&mut stream).await?);
    let hello = hello.ok_or_else(|| invalid("no hello"))?;
    let peer = hello.from;
    let verdict = shared.judge(&hello);
    let own_formed = shared.identity.borrow().record.is_some();
    let refusal = verdict.as_ref().err().cloned().unwrap_or_default();
    let welcome = shared.identity.borrow().welcome(&hello, refusal);
    frame::write(&mut stream, &welcome.to_bytes(), CONNECT_PATIENCE).await?;
    let Ok(heard) = verdict else { return Ok(()) };
    shared.tell(PeerEvent::greeted(&hello)).await?;
    let formed = matches!(heard, Heard::Formed { .. }) && own_formed;
    shared.tell(PeerEvent::Heard { peer, heard }).await?;
    if !formed {
        return Ok(()); // nothing but greetings before both belong to one cluster
    }
    if hello.purpose == 1 {
        let received = receive_snapshot(shared, peer, stream).await;
        return received.inspect_err(|_| mark::reached(Mark::InstallCutShort));
    }
    let number = shared.begin_stream(peer);
    shared.back(peer).notify_waiters();
    let mut answered = Instant::now();
    let mut incoming = Incoming::default();
    loop {
        let body = incoming.step(&mut stream, FRAME_BYTES_MAX, SILENCE_MAX).await?;
        if shared.newest.borrow().get(&peer) != Some(&number) {
            mark::reached(Mark::StreamReplaced);
            return Err(invalid("a newer stream of the same peer took its place"));
        }
        if !shared.is_member(&hello) {
            return Err(invalid("the peer is no member any more"));
        }
        if shared.highest(peer, &hello) > hello.incarnation {
            mark::reached(Mark::LaterStartKnown);
            return Err(invalid("the log knows a later start of this peer"));
        }
        // Signs of life go back while messages come, too, also in the middle of a large one: a ping may stand in line behind
        // megabytes of them, and on a slow link one value alone may take longer than a silence is borne.
        let is_ping = body.as_ref().is_some_and(Bytes::is_empty);
        if is_ping || answered.elapsed() >= PING_EVERY {
            answered = Instant::now();
            frame::write(&mut stream, &shared.clock_reading(), SILENCE_MAX).await?;
        }
        let Some(body) = body.filter(|_| !is_ping) else { continue };
        let frame = PeerFrame::decode(body).map_err(|_| invalid("a frame that is no message"))?;
        if frame.raft.as_ref().is_some_and(|raft| raft.from != peer) {
            return Err(invalid("a message in another node's name"));
        }
        shared.tell(PeerEvent::Frame { from: peer, frame }).await?;
    }
}

/// Reads a hello or a welcome.
async fn read_greeting<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Bytes> {
    within(GREETING_PATIENCE, frame::read(stream, GREETING_BYTES_MAX, CONNECT_PATIENCE)).await
}

async fn receive_snapshot<N: Net>(
    shared: &Shared<N>,
    peer: u64,
    mut stream: BufReader<N::Stream>,
) -> io::Result<()> {
    let head = frame::read(&mut stream, FRAME_BYTES_MAX, SNAPSHOT_PATIENCE).await?;
    let head = SnapshotHead::decode(head).map_err(|_| invalid("no snapshot head"))?;
    let (Some(message), Some(metadata)) = (head.message, head.metadata) else {
        return Err(invalid("a snapshot head without its message"));
    };
    let announced = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    if message.from != peer || announced != Some(&metadata) {
        return Err(invalid("a snapshot that is not the one its message announces"));
    }
    let roster = Roster::decode(&head.roster).ok_or_else(|| invalid("a broken roster"))?;
    if head.bytes > SNAPSHOT_BYTES_MAX {
        return Err(invalid("a snapshot larger than any can be"));
    }
    let (mut chunks, mut bytes, mut hasher) = (Vec::new(), 0, crc32fast::Hasher::new());
    let (mut incoming, mut answered) = (Incoming::default(), Instant::now());
    while bytes < head.bytes {
        let chunk = incoming.step(&mut stream, FRAME_BYTES_MAX, SNAPSHOT_PATIENCE).await?;
        // The sender may be done while much of it is still on its way: it must not take that for silence.
        if answered.elapsed() >= SNAPSHOT_SIGN_EVERY {
            answered = Instant::now();
            frame::write(&mut stream, &[], SNAPSHOT_PATIENCE).await?;
        }
        let Some(chunk) = chunk else { continue };
        if chunk.is_empty() {
            return Err(invalid("a snapshot that ends early"));
        }
        bytes += chunk.len() as u64;
        hasher.update(&chunk);
        chunks.push(chunk);
    }
    if bytes != head.bytes || hasher.finalize() != head.checksum {
        return Err(invalid("a snapshot that does not match its checksum"));
    }
    let mut meta = metadata.into_meta();
    meta.membership.roster = roster;
    (meta.bytes, meta.checksum) = (head.bytes, head.checksum);
    shared.tell(PeerEvent::SnapshotReceived { message, meta, chunks }).await?;
    frame::write(&mut stream, ARRIVED, SNAPSHOT_PATIENCE).await
}

/// Keeps the link to one peer up, until the driver is gone.
async fn dial<N: Net>(shared: Rc<Shared<N>>, peer: Member, mut waiting: Waiting) {
    let mut pause = RECONNECT_FIRST;
    loop {
        match greet(&shared, &peer, Purpose::Messages).await {
            Ok((stream, true)) => {
                pause = RECONNECT_FIRST;
                if shared.tell(PeerEvent::Up { peer: peer.id }).await.is_err() {
                    return;
                }
                let error = talk(stream, &mut waiting).await;
                tracing::debug!("the link to node {} ended: {error}", peer.id);
                if shared.tell(PeerEvent::Down { peer: peer.id }).await.is_err() {
                    return;
                }
            }
            Ok((_, false)) => pause = RECONNECT_FIRST * 4,
            Err(error) => {
                tracing::debug!("node {} can't be reached: {error}", peer.id);
                if error.kind() == io::ErrorKind::PermissionDenied {
                    shared.log_refusal(peer.id, &error.to_string()); // the network trusts no such peer
                }
            }
        }
        while waiting.try_next().is_some() {} // what waited is stale; raft and the outbox send anew
        let _ = timeout(pause, shared.back(peer.id).notified()).await; // either way it is time to try again
        pause = (pause * 2).min(RECONNECT_MAX);
    }
}

/// Connects and greets; answers the stream, and whether both sides belong to one cluster.
async fn greet<N: Net>(
    shared: &Shared<N>,
    peer: &Member,
    purpose: Purpose,
) -> io::Result<(N::Stream, bool)> {
    let mut stream = within(CONNECT_PATIENCE, shared.net.connect(&peer.host, peer.port)).await?;
    let hello = shared.identity.borrow().hello(peer.id, purpose);
    frame::write(&mut stream, &hello.to_bytes(), CONNECT_PATIENCE).await?;
    let welcome = Welcome::from_bytes(read_greeting(&mut stream).await?);
    let welcome = welcome.ok_or_else(|| invalid("no welcome"))?;
    let excluded = welcome.excluded(shared.identity.borrow().record.as_ref());
    let theirs = welcome.hello.ok_or_else(|| invalid("a welcome from nobody"))?;
    if !welcome.refusal.is_empty() {
        shared.log_refusal(peer.id, &welcome.refusal);
    }
    if theirs.from != peer.id {
        let text =
            format!("{}:{} is node {}, not node {}", peer.host, peer.port, theirs.from, peer.id);
        shared.log_refusal(peer.id, &text);
        return Err(invalid("another node answers there"));
    }
    if let Some(heard) = excluded {
        shared.tell(PeerEvent::Heard { peer: peer.id, heard }).await?;
        return Err(invalid("the peer's cluster shuts this node out"));
    }
    if !welcome.refusal.is_empty() {
        return Err(invalid("the peer refuses the link"));
    }
    let heard = shared.judge(&theirs).map_err(|text| {
        shared.log_refusal(peer.id, &text);
        invalid("the peer is not ours")
    })?;
    shared.tell(PeerEvent::greeted(&theirs)).await?;
    let own_formed = !hello.record.is_empty();
    let formed = matches!(heard, Heard::Formed { .. }) && own_formed;
    shared.tell(PeerEvent::Heard { peer: peer.id, heard }).await?;
    Ok((stream, formed))
}

/// Sends frames until the link fails; answers why it ended.
async fn talk<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    waiting: &mut Waiting,
) -> io::Error {
    let (reader, mut writer) = tokio::io::split(stream);
    waiting.echo_us.set(0);
    let mut listener = spawn_local(listen(reader, Rc::clone(&waiting.echo_us)));
    let mut beat = interval(PING_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut out = Vec::new();
    let error = loop {
        out.clear();
        tokio::select! {
            biased; // the ping first: it comes seldom, and must come under a constant stream of messages, too
            _ = beat.tick() => frame::encode(&mut out, &[]),
            // The other end is gone or silent: what is written from here on would be lost without a word.
            _ = &mut listener => break io::ErrorKind::UnexpectedEof.into(),
            first = waiting.next() => {
                let Some(first) = first else { break io::ErrorKind::BrokenPipe.into() };
                frame::encode(&mut out, &first);
                while out.len() < BATCH_BYTES_MAX
                    && let Some(next) = waiting.try_next()
                {
                    frame::encode(&mut out, &next);
                }
            }
        }
        let written = tokio::select! {
            biased; // what is written to the end was written
            written = frame::write_encoded(&mut writer, &out, SILENCE_MAX) => written,
            // Bytes that the system takes say nothing of the other end: only what comes from there is a sign of life.
            _ = &mut listener => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        if let Err(error) = written {
            break error;
        }
    };
    listener.abort();
    error
}

/// Listens to signs of life, and notes the clock that they tell; ends when the other end is gone or silent for too long.
async fn listen<S: AsyncRead + AsyncWrite>(mut reader: ReadHalf<S>, echo_us: Rc<Cell<u64>>) {
    let mut incoming = Incoming::default();
    while let Ok(sign) = incoming.step(&mut reader, FRAME_BYTES_MAX, SILENCE_MAX).await {
        if let Some(reading) = sign.and_then(|sign| sign[..].try_into().ok()) {
            echo_us.set(u64::from_le_bytes(reading));
        }
    }
}

async fn transfer<N: Net>(
    shared: &Shared<N>,
    peer: &Member,
    message: RaftMessage,
    meta: SnapshotMeta,
    mut pieces: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    let (stream, formed) = greet(shared, peer, Purpose::Snapshot).await?;
    if !formed {
        return Err(invalid("the peer is not ready for it"));
    }
    let metadata = Some(SnapshotMetadata::from_meta(&meta));
    let message = Some(message);
    let (bytes, checksum) = (meta.bytes, meta.checksum);
    let roster = meta.membership.roster.encode().into();
    let head = SnapshotHead { message, metadata, bytes, checksum, roster };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let send = async {
        frame::write(&mut writer, &head.encode_to_vec(), SNAPSHOT_PATIENCE).await?;
        let mut unsent = meta.bytes;
        while let Some(piece) = pieces.recv().await {
            frame::write(&mut writer, &piece, SNAPSHOT_PATIENCE).await?;
            unsent = unsent.saturating_sub(piece.len() as u64);
        }
        // The receiver hears of it by the end of the stream.
        if unsent > 0 { Err(invalid("it can't be read to its end")) } else { Ok(()) }
    };
    let hear = async {
        while frame::read(&mut reader, FRAME_BYTES_MAX, SNAPSHOT_PATIENCE).await?.is_empty() {}
        Ok(())
    };
    tokio::try_join!(send, hear).map(drop)
}

impl<N: Net> Shared<N> {
    /// An error means that the driver is gone: then every stream ends.
    async fn tell(&self, event: PeerEvent) -> io::Result<()> {
        self.events.send(event).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// What a sign of life says: the own clock, in microseconds.
    fn clock_reading(&self) -> [u8; 8] {
        let micros = u64::try_from((self.monotonic)().as_micros()).unwrap_or(0);
        micros.to_le_bytes()
    }

    /// What is rung when a peer has dialled.
    fn back(&self, peer: u64) -> Rc<Notify> {
        Rc::clone(self.back.borrow_mut().entry(peer).or_default())
    }

    /// Whether a peer that has said hello is a member still.
    fn is_member(&self, hello: &Hello) -> bool {
        let known = self.identity.borrow().storage_of(hello.from);
        known == hello.storage() || is_planted(Canary::WipedNodeTaken)
    }

    /// Names a new stream of a peer; older ones end.
    fn begin_stream(&self, peer: u64) -> u64 {
        let mut newest = self.newest.borrow_mut();
        let number = newest.entry(peer).or_default();
        *number += 1;
        *number
    }

    /// Checks a peer's words and remembers its incarnation.
    fn judge(&self, hello: &Hello) -> Result<Heard, String> {
        let heard = self.check(hello);
        match &heard {
            Err(text) => {
                mark::reached(Mark::LinkRefused);
                self.log_refusal(hello.from, text);
            }
            // It is heard out all the same: the answer tells it what is wrong.
            Ok(Heard::Forming(storage)) if self.joined_with_another(hello.from, *storage) => {
                let text = "it has an empty or replaced disk and may not vote under its old id";
                self.log_refusal(hello.from, text);
            }
            Ok(_) => {}
        }
        heard
    }

    fn check(&self, hello: &Hello) -> Result<Heard, String> {
        let peer = hello.from;
        let storage = hello.storage().unwrap_or_default();
        let highest = self.highest(peer, hello);
        let heard = self.identity.borrow().check(hello, highest)?;
        let mut identity = self.identity.borrow_mut();
        let is_formed = identity.record.is_some();
        let is_initial = self.initial.as_ref().is_none_or(|initial| initial.contains(&peer));
        if !is_formed && !is_initial {
            return Err(format!(
                "node {peer} is not in this node's --cluster: all members must be started with the same list"
            ));
        }
        if let Heard::Formed { roster, .. } = &heard
            && is_formed
            && identity.is_news(roster)
        {
            mark::reached(Mark::RosterHeard);
            identity.heard = roster.clone();
        }
        let is_known = is_formed && identity.storage_of(peer) == Some(storage);
        drop(identity);
        // Start numbers count per disk: one that never joined says nothing about the one that did.
        if is_known || !is_formed && is_initial && self.initial.is_some() {
            self.incarnations.borrow_mut().insert(peer, (storage, hello.incarnation));
        }
        Ok(heard)
    }

    /// The highest incarnation known of a peer with that disk.
    fn highest(&self, peer: u64, hello: &Hello) -> u64 {
        let known = self.incarnations.borrow().get(&peer).copied();
        known.filter(|(of, _)| Some(*of) == hello.storage()).map_or(0, |(_, highest)| highest)
    }

    /// Whether the cluster knows this peer with another disk.
    fn joined_with_another(&self, peer: u64, storage: u128) -> bool {
        let identity = self.identity.borrow();
        identity.roster.storage_of(peer).is_some_and(|joined| joined != storage)
    }

    /// Logs a refusal once.
    fn log_refusal(&self, peer: u64, text: &str) {
        self.log_once(format!("no link with node {peer}: {text}"));
    }

    /// Logs once that the network trusts nobody at this address.
    fn log_stranger(&self, address: SocketAddr, error: &io::Error) {
        self.log_once(format!("no link with whoever calls from {}: {error}", address.ip()));
    }

    fn log_once(&self, text: String) {
        let mut told = self.told.borrow_mut();
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        if !told.contains(&text) {
            tracing::warn!("{text}");
            told.insert(text);
        }
    }
}
