//! A small world for the tests of links and driver: a network in memory whose streams die without a word, a clock that
//! follows tokio's paused time, and a gateway with a state machine that notes what is applied.

#![allow(dead_code, unreachable_pub)] // each test target uses a part of it

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::entry::{self, Op, Part};
use steadfast_core::stamp::UnixMillis;
use steadfast_replication::driver::{self, OpenError, ReplicationConfig};
use steadfast_replication::event::{Input, Output};
use steadfast_replication::formation::Member;
use steadfast_replication::gateway::{CHANNEL_MESSAGES_MAX, Intake, Outlet, Piece, Role, Status};
use steadfast_replication::node::{Node, NodeConfig};
use steadfast_replication::ports::{Clock, Net};
use steadfast_replication::storage::memory::MemoryDisk;
use steadfast_replication::storage::{Copies, Damage, Fsync, LogConfig};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, Sleep, sleep};

/// Settings of a node without I/O, for tests: it ticks every 30 ms, and a snapshot is due after 3000 bytes of log.
pub fn node_config(node_id: u64) -> NodeConfig {
    NodeConfig {
        node_id,
        incarnation: 1,
        announced: String::new(),
        election_ticks: 10,
        heartbeat_ticks: 2,
        tick: Duration::from_millis(30),
        lease_reads: true,
        level: 1,
        rejoins: None,
        snapshot_log_bytes: 3000,
        tail_bytes: 500,
        seed: 1,
    }
}

/// One input, a turn, and what comes out of it, one second after the start.
pub fn turn(node: &mut Node, input: Input) -> Vec<Output> {
    let now = Duration::from_secs(1);
    node.step(now, 1000, input);
    node.turn(now, 1000);
    std::iter::from_fn(|| node.poll()).collect()
}

/// Runs a test on one thread, on paused time.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test)
}

/// Lets time pass until it holds, for a minute at the most.
pub async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "this never came to hold: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

// ---- network ---------------------------------------------------------------------------------------------------------

#[derive(Debug, Default)]
struct Fabric {
    listeners: BTreeMap<u16, mpsc::UnboundedSender<Wire>>,
    /// Pairs of nodes that can't reach each other.
    cut: BTreeSet<(u64, u64)>,
    /// Streams by the nodes at their ends.
    streams: Vec<(u64, u64, Arc<AtomicBool>)>,
    /// Bytes a stream carries in a second, if that is limited.
    rate: Option<usize>,
    /// Bytes that are under way in a stream, if not as many as usual.
    buffer: Option<usize>,
}

/// The network as one node has it. Node `n` listens on port `n`.
#[derive(Debug, Clone)]
pub struct MemoryNet {
    own: u64,
    fabric: Arc<Mutex<Fabric>>,
}

impl MemoryNet {
    pub fn new() -> Self {
        Self { own: 0, fabric: Arc::default() }
    }

    pub fn of(&self, node: u64) -> Self {
        Self { own: node, fabric: Arc::clone(&self.fabric) }
    }

    /// From now on both hear nothing of each other. Their streams die without a word, and stay dead.
    pub fn cut(&self, one: u64, other: u64) {
        let mut fabric = self.fabric.lock().expect("no test panics while it holds the fabric");
        fabric.cut.extend([(one, other), (other, one)]);
        for (from, to, dead) in &fabric.streams {
            if (*from, *to) == (one, other) || (*from, *to) == (other, one) {
                dead.store(true, Ordering::Relaxed);
            }
        }
    }

    pub fn heal(&self) {
        self.fabric.lock().expect("see cut").cut.clear();
    }

    /// Says how many bytes new streams hold that were written and not yet read.
    pub fn set_buffer(&self, bytes: usize) {
        self.fabric.lock().expect("see cut").buffer = Some(bytes);
    }

    /// Limits all new streams.
    pub fn set_rate(&self, bytes_a_second: usize) {
        self.fabric.lock().expect("see cut").rate = Some(bytes_a_second);
    }
}

/// One end of a stream.
#[derive(Debug)]
pub struct Wire {
    inner: DuplexStream,
    dead: Arc<AtomicBool>,
    rate: Option<usize>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// What is under way in a stream, as in the buffers of two kernels.
const WIRE_BYTES: usize = 8 << 20;

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.dead.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let Some(rate) = self.rate else {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        };
        // In small pieces, as packets come.
        let mut piece = vec![0; buffer.remaining().min(rate.div_ceil(20))];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut piece))?;
        buffer.put_slice(piece.filled());
        let read = piece.filled().len() as u32;
        self.pause = Some(Box::pin(sleep(Duration::from_secs(1) * read / rate as u32)));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.dead.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl Net for MemoryNet {
    type Stream = Wire;
    type Listener = mpsc::UnboundedReceiver<Wire>;

    async fn bind(&self, _host: &str, port: u16) -> io::Result<Self::Listener> {
        let (sender, listener) = mpsc::unbounded_channel();
        let mut fabric = self.fabric.lock().expect("see cut");
        if fabric.listeners.get(&port).is_some_and(|old| !old.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fabric.listeners.insert(port, sender);
        Ok(listener)
    }

    async fn accept(&self, listener: &mut Self::Listener) -> io::Result<(Wire, SocketAddr)> {
        let wire = listener.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((wire, SocketAddr::from(([127, 0, 0, 1], 1))))
    }

    async fn connect(&self, _host: &str, port: u16) -> io::Result<Wire> {
        let to = u64::from(port);
        let wire = {
            let mut fabric = self.fabric.lock().expect("see cut");
            if fabric.cut.contains(&(self.own, to)) {
                None
            } else {
                let listener =
                    fabric.listeners.get(&port).ok_or(io::ErrorKind::ConnectionRefused)?;
                let (near, far) = duplex(fabric.buffer.unwrap_or(WIRE_BYTES));
                let dead = Arc::new(AtomicBool::new(false));
                let end =
                    |inner| Wire { inner, dead: Arc::clone(&dead), rate: fabric.rate, pause: None };
                listener.send(end(far)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
                let near = end(near);
                fabric.streams.push((self.own, to, dead));
                Some(near)
            }
        };
        match wire {
            Some(wire) => Ok(wire),
            None => std::future::pending().await, // what is sent into a cut network is never answered
        }
    }
}

/// tokio's paused time.
#[derive(Debug, Clone)]
pub struct TestClock(Instant);

impl TestClock {
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.elapsed().as_millis() as u64
    }
}

// ---- a gateway -------------------------------------------------------------------------------------------------------

/// What was applied, parcel by parcel: (node, incarnation, number, batch).
pub type Applied = (u64, u64, u64, Vec<u8>);

/// A state machine that takes exactly the next parcel of each registered gateway.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Machine {
    pub index: u64,
    pub gateways: BTreeMap<u64, (u64, u64)>,
    pub applied: Vec<Applied>,
    pub bootstraps: u64,
}

impl Machine {
    pub fn apply(&mut self, index: u64, payload: &[u8]) {
        assert_eq!(index, self.index + 1, "entries come in order and without gaps");
        self.index = index;
        if payload.is_empty() {
            return;
        }
        let (_, ops) = entry::decode_entry(payload).expect("the log holds what was proposed");
        for op in ops {
            match op.expect("the log holds what was proposed") {
                Op::Bootstrap { .. } => self.bootstraps += 1,
                Op::Register { node, incarnation, .. } => {
                    if self.gateways.get(&node).is_none_or(|(known, _)| *known < incarnation) {
                        self.gateways.insert(node, (incarnation, 0));
                    }
                }
                Op::Parcel(parcel) => {
                    let Some((incarnation, passed)) = self.gateways.get_mut(&parcel.node) else {
                        continue;
                    };
                    if *incarnation == parcel.incarnation && *passed + 1 == parcel.sequence {
                        *passed += 1;
                        let (node, number) = (parcel.node, parcel.sequence);
                        self.applied.push((node, *incarnation, number, parcel.bytes.to_vec()));
                    }
                }
                Op::Retire { .. } | Op::Tick | Op::Level(_) => {}
            }
        }
    }

    pub fn encode(&self) -> Bytes {
        let mut words = vec![self.index, self.bootstraps, self.gateways.len() as u64];
        words.extend(self.gateways.iter().flat_map(|(node, (inc, passed))| [*node, *inc, *passed]));
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        for (node, incarnation, number, batch) in &self.applied {
            let head = [*node, *incarnation, *number, batch.len() as u64];
            bytes.extend(head.iter().flat_map(|word| word.to_le_bytes()));
            bytes.extend(batch);
        }
        bytes.into()
    }

    pub fn decode(chunks: &[Bytes]) -> Self {
        let bytes = chunks.concat();
        let mut rest = &bytes[..];
        let word = |rest: &mut &[u8]| {
            let (head, tail) = rest.split_at(8);
            *rest = tail;
            u64::from_le_bytes(head.try_into().expect("eight bytes"))
        };
        let mut machine =
            Self { index: word(&mut rest), bootstraps: word(&mut rest), ..Self::default() };
        for _ in 0..word(&mut rest) {
            let (node, inc, passed) = (word(&mut rest), word(&mut rest), word(&mut rest));
            machine.gateways.insert(node, (inc, passed));
        }
        while !rest.is_empty() {
            let (node, inc, number) = (word(&mut rest), word(&mut rest), word(&mut rest));
            let length = word(&mut rest) as usize;
            let (batch, tail) = rest.split_at(length);
            rest = tail;
            machine.applied.push((node, inc, number, batch.to_vec()));
        }
        machine
    }
}

/// What a node's event loop has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub machine: Machine,
    pub restores: u64,
    pub read_indexes: Vec<(u64, u64)>,
    pub end: Option<Result<(), String>>,
}

/// A running node.
pub struct Running {
    pub id: u64,
    pub incarnation: u64,
    pub disk: MemoryDisk,
    pub status: Arc<Status>,
    pub seen: Rc<RefCell<Seen>>,
    intake: mpsc::Sender<Intake>,
    next: u64,
    tasks: Vec<JoinHandle<()>>,
}

/// Settings for tests: small segments and snapshots.
pub fn config(id: u64, members: &[u64]) -> ReplicationConfig {
    let member = |id: &u64| Member { id: *id, host: format!("node-{id}"), port: *id as u16 };
    ReplicationConfig {
        node_id: id,
        members: members.iter().map(member).collect(),
        joins: false,
        announced: String::new(),
        log: LogConfig {
            segment_bytes: 64 << 10,
            fsync: Fsync::Always,
            reserve_bytes: 0,
            copies: Copies::Taken,
            damage: Damage::Refused,
            scrub_pause: Duration::from_secs(600),
        },
        adopt_copy: false,
        snapshot_log_bytes: 64 << 20,
        tail_bytes: 4096,
        tick: Duration::from_millis(50),
        election_ticks: 14,
        heartbeat_ticks: 2,
        lease_reads: true,
        level: 1,
        seed: id * 77,
    }
}

/// The nodes that most tests are about.
pub const THREE: [u64; 3] = [1, 2, 3];

/// One of them, on what its disk holds.
pub async fn start(net: &MemoryNet, id: u64, disk: MemoryDisk) -> Running {
    Running::start(net, config(id, &THREE), disk).await.expect("it opens")
}

/// Three new nodes, once clients could be served on all.
pub async fn start_three(net: &MemoryNet) -> Vec<Running> {
    let mut nodes = Vec::new();
    for id in THREE {
        nodes.push(start(net, id, MemoryDisk::default()).await);
    }
    wait_for("all gateways are registered", || nodes.iter().all(Running::is_registered)).await;
    nodes
}

/// Waits until all have applied the same.
pub async fn equal(nodes: &[Running]) {
    wait_for("all nodes are equal", || {
        nodes.windows(2).all(|pair| pair[0].machine() == pair[1].machine())
    })
    .await;
}

impl Running {
    /// Starts a node on what its disk holds.
    pub async fn start(
        net: &MemoryNet,
        config: ReplicationConfig,
        disk: MemoryDisk,
    ) -> Result<Self, OpenError> {
        let id = config.node_id;
        let opened = driver::open(config, disk.clone()).await?;
        let incarnation = opened.incarnation();
        let (worker, writer, driver) = opened.into_parts();
        let status = Arc::new(Status::default());
        let seen = Rc::new(RefCell::new(Seen::default()));
        let (intake, taken) = mpsc::channel(CHANNEL_MESSAGES_MAX);
        let (outlet, received) = mpsc::channel(CHANNEL_MESSAGES_MAX);
        let drive = driver.run(net.of(id), TestClock::new(), taken, outlet, Arc::clone(&status));
        let serve = serve((id, incarnation), Rc::clone(&seen), received, intake.clone());
        let loops = [spawn_local(worker.run()), spawn_local(writer.run())];
        let tasks = loops.into_iter().chain([spawn_local(drive), spawn_local(serve)]).collect();
        Ok(Self { id, incarnation, disk, status, seen, intake, next: 1, tasks })
    }

    /// Hands over the next parcel of this node's gateway.
    pub fn submit(&mut self, value_bytes: usize) {
        let mut batch = Vec::new();
        let name = format!("{}:{}:{}", self.id, self.incarnation, self.next);
        let value = vec![b'x'; value_bytes];
        let argv: [&[u8]; 3] = [b"SET", name.as_bytes(), &value];
        entry::push_command(&mut batch, 1, UnixMillis(u64::MAX), 0, &argv);
        let parcel =
            entry::encode_parcel(self.id, self.incarnation, self.next, Part::Whole, &batch);
        self.send(Intake::Parcel { sequence: self.next, op: parcel.into() });
        self.next += 1;
    }

    pub fn send(&self, message: Intake) {
        self.intake.try_send(message).expect("the driver takes what the protocol allows");
    }

    pub fn is_leader(&self) -> bool {
        self.status.role() == Role::Leader
    }

    pub fn machine(&self) -> Machine {
        self.seen.borrow().machine.clone()
    }

    pub fn is_registered(&self) -> bool {
        let seen = self.seen.borrow();
        seen.machine.gateways.get(&self.id).is_some_and(|(inc, _)| *inc == self.incarnation)
    }

    /// Whether all that was handed over here has been applied here.
    pub fn is_settled(&self) -> bool {
        let seen = self.seen.borrow();
        seen.machine.gateways.get(&self.id) == Some(&(self.incarnation, self.next - 1))
    }

    /// Cuts the power; answers the disk with what was synced.
    pub async fn crash(self) -> MemoryDisk {
        self.tasks.iter().for_each(JoinHandle::abort);
        for task in self.tasks {
            let _ = task.await; // cancelled
        }
        self.disk.after_power_cut(|| false)
    }

    /// Asks it to stop, waits for its end.
    pub async fn stop(self) -> MemoryDisk {
        self.send(Intake::Shutdown);
        wait_for("the node stops", || self.seen.borrow().end.is_some()).await;
        assert_eq!(self.seen.borrow().end, Some(Ok(())));
        self.crash().await
    }
}

/// The event loop's side.
async fn serve(
    own: (u64, u64),
    seen: Rc<RefCell<Seen>>,
    mut outlet: mpsc::Receiver<Outlet>,
    intake: mpsc::Sender<Intake>,
) {
    let tell = |message| intake.try_send(message).is_ok();
    while let Some(message) = outlet.recv().await {
        let mut seen = seen.borrow_mut();
        match message {
            Outlet::Apply { entries } => {
                entries.iter().for_each(|e| seen.machine.apply(e.index, &e.payload));
            }
            Outlet::Restore { index, chunks } => {
                seen.machine = Machine::decode(&chunks);
                seen.restores += 1;
                assert_eq!(seen.machine.index, index);
                let gateways = seen.machine.gateways.iter().map(|(n, (i, p))| (*n, *i, *p));
                tell(Intake::Restored {
                    index,
                    stamp_ms: 0,
                    level: 1,
                    gateways: gateways.collect(),
                });
            }
            Outlet::ReadIndex { round, index } => seen.read_indexes.push((round, index)),
            Outlet::TakeSnapshot { pieces } => {
                tell(Intake::SnapshotBegun { index: seen.machine.index });
                let piece = Piece { bytes: seen.machine.encode(), is_last: true };
                pieces.try_send(piece).expect("there is room for the first");
            }
            Outlet::StatusChanged => {}
            Outlet::Fatal(text) => seen.end = Some(Err(text)),
            Outlet::Stopped => seen.end = Some(Ok(())),
        }
        let known = seen.machine.gateways.get(&own.0).filter(|(inc, _)| *inc == own.1);
        tell(Intake::Applied {
            index: seen.machine.index,
            passed: known.map_or(0, |(_, passed)| *passed),
            registered: known.is_some(),
        });
    }
}
