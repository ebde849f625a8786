//! The links themselves: a task for each peer that is dialled, one for each stream that was accepted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::frame;
use super::handshake::{Hello, Identity, Purpose, Welcome};
use crate::formation::{Heard, Member};
use crate::ports::Net;
use crate::storage::SnapshotMeta;
use crate::wire::{PeerFrame, RaftMessage, SnapshotMetadata};

/// Frames that wait for a peer; beyond them the newest are dropped, and raft or the outbox sends again.
const QUEUE_FRAMES_MAX: usize = 4096;
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// How often an idle link says that it is alive, and how long it may be silent.
const PING_EVERY: Duration = Duration::from_millis(300);
const SILENCE_MAX: Duration = Duration::from_millis(1500);
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_millis(800);
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(10);
/// A snapshot that claims to be larger is refused.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 40;

/// What happens on the links.
#[derive(Debug)]
pub enum PeerEvent {
    /// A peer said who it is.
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
}

/// What the tasks of one node share.
struct Shared<N: Net> {
    net: N,
    identity: RefCell<Identity>,
    /// Highest incarnation heard of each peer.
    incarnations: RefCell<BTreeMap<u64, u64>>,
    events: mpsc::Sender<PeerEvent>,
    /// Refusals that were logged already.
    told: RefCell<BTreeMap<u64, String>>,
}

/// All links of one node.
pub struct Links<N: Net> {
    shared: Rc<Shared<N>>,
    peers: BTreeMap<u64, (Member, mpsc::Sender<Vec<u8>>)>,
    tasks: Vec<JoinHandle<()>>,
}

impl<N: Net> Links<N> {
    /// Begins to accept on `listener` and to dial `peers`. Must be called inside a `LocalSet`.
    pub fn start(
        net: N,
        identity: Identity,
        peers: Vec<Member>,
        listener: Option<N::Listener>,
        events: mpsc::Sender<PeerEvent>,
    ) -> Self {
        let shared = Rc::new(Shared {
            net,
            identity: RefCell::new(identity),
            incarnations: RefCell::default(),
            events,
            told: RefCell::default(),
        });
        let mut tasks = Vec::new();
        if let Some(listener) = listener {
            tasks.push(spawn_local(accept(Rc::clone(&shared), listener)));
        }
        let mut queues = BTreeMap::new();
        for peer in peers {
            let (queue, frames) = mpsc::channel(QUEUE_FRAMES_MAX);
            tasks.push(spawn_local(dial(Rc::clone(&shared), peer.clone(), frames)));
            queues.insert(peer.id, (peer, queue));
        }
        Self { shared, peers: queues, tasks }
    }

    /// From now on this node is part of a cluster.
    pub fn set_identity(&self, identity: Identity) {
        *self.shared.identity.borrow_mut() = identity;
    }

    /// Puts a frame into a peer's queue; it may be dropped.
    pub fn send(&self, to: u64, frame: &PeerFrame) {
        if let Some((_, queue)) = self.peers.get(&to) {
            let _ = queue.try_send(frame.to_bytes()); // full: dropped, see QUEUE_FRAMES_MAX
        }
    }

    /// Sends a snapshot on a stream of its own and reports how it went.
    pub fn send_snapshot(&self, message: RaftMessage, meta: SnapshotMeta, chunks: Vec<Bytes>) {
        let Some((peer, _)) = self.peers.get(&message.to) else { return };
        let (shared, peer) = (Rc::clone(&self.shared), peer.clone());
        drop(spawn_local(async move {
            let sent = transfer(&shared, &peer, message, meta, chunks).await;
            if let Err(error) = &sent {
                tracing::warn!(
                    "a snapshot did not reach node {}: {error}; it is sent again",
                    peer.id
                );
            }
            let event = PeerEvent::SnapshotSent { to: peer.id, arrived: sent.is_ok() };
            let _ = shared.events.send(event).await; // the driver is gone at the end only
        }));
    }
}

impl<N: Net> Drop for Links<N> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Accepts streams of peers.
async fn accept<N: Net>(shared: Rc<Shared<N>>, mut listener: N::Listener) {
    loop {
        match shared.net.accept(&mut listener).await {
            Ok((stream, _)) => {
                let shared = Rc::clone(&shared);
                drop(spawn_local(async move {
                    if let Err(error) = receive(&shared, stream).await {
                        tracing::debug!("a peer's stream ended: {error}");
                    }
                }));
            }
            Err(error) => {
                tracing::warn!("cannot accept a peer: {error}; trying again");
                sleep(RECONNECT_MAX).await;
            }
        }
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(patience, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Serves one accepted stream to its end.
async fn receive<N: Net>(shared: &Rc<Shared<N>>, mut stream: N::Stream) -> io::Result<()> {
    let hello = within(CONNECT_PATIENCE, frame::read(&mut stream)).await?;
    let hello = Hello::from_bytes(hello).ok_or_else(|| invalid("no hello"))?;
    let peer = hello.from;
    let verdict = shared.judge(&hello);
    let own = shared.identity.borrow().hello(peer, Purpose::Messages);
    let refusal = verdict.as_ref().err().cloned().unwrap_or_default();
    let welcome = Welcome { hello: Some(own), refusal };
    within(CONNECT_PATIENCE, frame::write(&mut stream, &welcome.to_bytes())).await?;
    let Ok(heard) = verdict else { return Ok(()) };
    let formed = matches!(heard, Heard::Formed(_)) && shared.identity.borrow().record.is_some();
    shared.tell(PeerEvent::Heard { peer, heard }).await;
    if !formed {
        return Ok(()); // nothing but greetings before both belong to one cluster
    }
    if hello.purpose == 1 {
        return receive_snapshot(shared, stream).await;
    }
    loop {
        let body = within(SILENCE_MAX, frame::read(&mut stream)).await?;
        if body.is_empty() {
            within(SILENCE_MAX, frame::write(&mut stream, &[])).await?;
            continue;
        }
        let frame = PeerFrame::decode(body).map_err(|_| invalid("a frame that is no message"))?;
        if frame.raft.as_ref().is_some_and(|raft| raft.from != peer) {
            return Err(invalid("a message in another node's name"));
        }
        shared.tell(PeerEvent::Frame { from: peer, frame }).await;
    }
}

async fn receive_snapshot<N: Net>(shared: &Shared<N>, mut stream: N::Stream) -> io::Result<()> {
    let head = within(SNAPSHOT_PATIENCE, frame::read(&mut stream)).await?;
    let head = SnapshotHead::decode(head).map_err(|_| invalid("no snapshot head"))?;
    let (Some(message), Some(metadata)) = (head.message, head.metadata) else {
        return Err(invalid("a snapshot head without its message"));
    };
    if head.bytes > SNAPSHOT_BYTES_MAX {
        return Err(invalid("a snapshot larger than any can be"));
    }
    let (mut chunks, mut bytes, mut hasher) = (Vec::new(), 0, crc32fast::Hasher::new());
    while bytes < head.bytes {
        let chunk = within(SNAPSHOT_PATIENCE, frame::read(&mut stream)).await?;
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
    (meta.bytes, meta.checksum) = (head.bytes, head.checksum);
    shared.tell(PeerEvent::SnapshotReceived { message, meta, chunks }).await;
    within(SNAPSHOT_PATIENCE, frame::write(&mut stream, &[])).await
}

/// Keeps the link to one peer up.
async fn dial<N: Net>(shared: Rc<Shared<N>>, peer: Member, mut frames: mpsc::Receiver<Vec<u8>>) {
    let mut pause = RECONNECT_FIRST;
    loop {
        match greet(&shared, &peer, Purpose::Messages).await {
            Ok((stream, true)) => {
                pause = RECONNECT_FIRST;
                let error = talk(stream, &mut frames).await;
                tracing::debug!("the link to node {} ended: {error}", peer.id);
                shared.tell(PeerEvent::Down { peer: peer.id }).await;
            }
            Ok((_, false)) => pause = RECONNECT_FIRST * 4,
            Err(error) => tracing::debug!("node {} can't be reached: {error}", peer.id),
        }
        while frames.try_recv().is_ok() {} // what waited is stale; raft and the outbox send anew
        sleep(pause).await;
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
    within(CONNECT_PATIENCE, frame::write(&mut stream, &hello.to_bytes())).await?;
    let welcome = within(CONNECT_PATIENCE, frame::read(&mut stream)).await?;
    let welcome = Welcome::from_bytes(welcome).ok_or_else(|| invalid("no welcome"))?;
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
    let heard = shared.judge(&theirs).map_err(|_| invalid("the peer is not ours"))?;
    let own_formed = !hello.record.is_empty();
    let formed = matches!(heard, Heard::Formed(_)) && own_formed && welcome.refusal.is_empty();
    shared.tell(PeerEvent::Heard { peer: peer.id, heard }).await;
    Ok((stream, formed))
}

/// Sends frames until the link fails; answers why it ended.
async fn talk<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    frames: &mut mpsc::Receiver<Vec<u8>>,
) -> io::Error {
    let (reader, mut writer) = tokio::io::split(stream);
    let heard = Rc::new(Cell::new(Instant::now()));
    let listener = spawn_local(listen(reader, Rc::clone(&heard)));
    let mut beat = interval(PING_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut out = Vec::new();
    let error = loop {
        out.clear();
        tokio::select! {
            biased; // messages carry heartbeats; a ping is only for silence
            first = frames.recv() => {
                let Some(first) = first else { break io::ErrorKind::BrokenPipe.into() };
                frame::encode(&mut out, &first);
                while let Ok(next) = frames.try_recv() {
                    frame::encode(&mut out, &next);
                    if out.len() > frame::FRAME_BYTES_MAX {
                        break;
                    }
                }
            }
            _ = beat.tick() => frame::encode(&mut out, &[]),
        }
        if heard.get().elapsed() > SILENCE_MAX {
            break io::ErrorKind::TimedOut.into();
        }
        if let Err(error) = within(SILENCE_MAX, flush(&mut writer, &out)).await {
            break error;
        }
    };
    listener.abort();
    error
}

async fn flush<S: AsyncRead + AsyncWrite>(writer: &mut WriteHalf<S>, out: &[u8]) -> io::Result<()> {
    writer.write_all(out).await?;
    writer.flush().await
}

/// Notes each sign of life.
async fn listen<S: AsyncRead + AsyncWrite>(mut reader: ReadHalf<S>, heard: Rc<Cell<Instant>>) {
    while frame::read(&mut reader).await.is_ok() {
        heard.set(Instant::now());
    }
    heard.set(Instant::now() - 2 * SILENCE_MAX);
}

async fn transfer<N: Net>(
    shared: &Shared<N>,
    peer: &Member,
    message: RaftMessage,
    meta: SnapshotMeta,
    chunks: Vec<Bytes>,
) -> io::Result<()> {
    let (mut stream, formed) = greet(shared, peer, Purpose::Snapshot).await?;
    if !formed {
        return Err(invalid("the peer is not ready for it"));
    }
    let metadata = Some(SnapshotMetadata::from_meta(&meta));
    let message = Some(message);
    let head = SnapshotHead { message, metadata, bytes: meta.bytes, checksum: meta.checksum };
    within(SNAPSHOT_PATIENCE, frame::write(&mut stream, &head.encode_to_vec())).await?;
    for chunk in chunks {
        within(SNAPSHOT_PATIENCE, frame::write(&mut stream, &chunk)).await?;
    }
    within(SNAPSHOT_PATIENCE, frame::read(&mut stream)).await.map(drop)
}

impl<N: Net> Shared<N> {
    async fn tell(&self, event: PeerEvent) {
        let _ = self.events.send(event).await; // the driver is gone at the end only
    }

    /// Checks a peer's words and remembers its incarnation.
    fn judge(&self, hello: &Hello) -> Result<Heard, String> {
        let known = self.incarnations.borrow().get(&hello.from).copied().unwrap_or_default();
        let heard = self.identity.borrow().check(hello, known);
        match &heard {
            Ok(_) => drop(self.incarnations.borrow_mut().insert(hello.from, hello.incarnation)),
            Err(text) => self.log_refusal(hello.from, text),
        }
        heard
    }

    /// Logs a refusal once.
    fn log_refusal(&self, peer: u64, text: &str) {
        let old = self.told.borrow_mut().insert(peer, text.to_owned());
        if old.as_deref() != Some(text) {
            tracing::warn!("no link with node {peer}: {text}");
        }
    }
}
