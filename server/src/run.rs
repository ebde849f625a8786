//! `run`: one node, from its parts to its end. The simulator calls this very function with simulated parts.
//!
//! One thread owns the state machine and the connections (`Shell`); replication runs beside it. Where its loops run is
//! `Placement`; what they do is the same everywhere. Must be called inside a `LocalSet`.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::machine::StateMachine;
use steadfast_replication::driver::{self, OpenError, Writer};
use steadfast_replication::gateway::{CHANNEL_MESSAGES_MAX, Outlet, Status};
use steadfast_replication::ports::{Clock, Disk, Net};
use steadfast_replication::storage::SnapshotWorker;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::config::Config;
use crate::connection;
use crate::session::Ends;
use crate::shell::{SharedShell, Shell};
use crate::snapshots;

/// How often deadlines of requests and keys are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(20);
/// Pause after `accept` failed (no file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a node is made of.
pub struct Parts<N, P, D, C> {
    /// TCP, for clients.
    pub net: N,
    /// What nodes speak to each other over.
    pub peers: P,
    /// The data directory.
    pub disk: D,
    /// Time.
    pub clock: C,
    /// All randomness of this start: cluster id, hash key and election jitter are drawn from it, and the storage id unless the
    /// disk draws one.
    pub seed: u64,
    /// Sees what is applied. The product uses `()`.
    pub observer: Rc<dyn Observer>,
    /// Where the loops run.
    pub placement: Placement,
}

/// Where the replication driver and the log writer run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Threads of their own, so that a long command costs latency and never leadership. A node without peers has no leadership
    /// to lose: its loops run on the event loop's thread, without a hand-over, and it waits for its disk as Redis does; only the
    /// worker that writes snapshots, which waits longer, still has a thread.
    Threads,
    /// Tasks of the calling runtime.
    Tasks,
}

/// Sees the state change. For checks; must not change anything.
pub trait Observer {
    /// The data directory was opened, and this start's incarnation drawn.
    fn opened(&self, _incarnation: u64) {}
    /// An entry was applied.
    fn applied(&self, _index: u64, _term: u64, _payload: &[u8], _machine: &StateMachine) {}
    /// A snapshot replaced the state.
    fn restored(&self, _machine: &StateMachine) {}
}

impl Observer for () {}

/// Why a node ended. The text says what happened, what was not lost and what to do.
#[derive(Debug)]
pub enum RunError {
    /// The client port can't be had.
    Bind {
        /// `host:port`.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The data directory can't be used.
    Open(OpenError),
    /// The node had to stop.
    Fatal(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, source } => write!(
                f,
                "cannot listen for clients on {address}: {source}. Nothing was changed. \
                 Another server may be running there: stop it, or choose another --port or --bind."
            ),
            Self::Open(error) => error.fmt(f),
            Self::Fatal(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs one node until `shutdown` resolves, a client says SHUTDOWN, or it must stop.
///
/// # Errors
/// See `RunError`. On `Ok` everything acknowledged is on disk and the log is closed.
pub async fn run<N: Net, P: Net, D: Disk, C: Clock>(
    config: Config,
    parts: Parts<N, P, D, C>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let Parts { net, peers, disk, clock, seed, observer, placement } = parts;
    let (host, port) = (config.bind().to_owned(), config.port());
    let listener = bind(&net, &host, port).await?;
    let sentinel = match config.sentinel_port {
        0 => None,
        port => Some(bind(&net, &host, port).await?),
    };

    let replication = config.replication(seed);
    let alone = replication.members.is_empty();
    let opened = driver::open(replication, disk).await.map_err(RunError::Open)?;
    let origin = crate::batch::Origin { node: opened.node_id(), incarnation: opened.incarnation() };
    observer.opened(opened.incarnation());
    let status = Arc::new(Status::default());
    let (intake, intake_received) = mpsc::channel(CHANNEL_MESSAGES_MAX);
    let (outlet, outlet_received) = mpsc::channel(CHANNEL_MESSAGES_MAX);
    let (worker, writer, driver) = opened.into_parts();
    let drive = {
        let (clock, status) = (clock.clone(), Arc::clone(&status));
        move || driver.run(peers, clock, intake_received, outlet, status)
    };
    place(placement, alone, worker, writer, drive)?;
    let kind = if alone { "one durable node" } else { "one node of a cluster" };
    tracing::info!("{kind}: clients on {host}:{port}, data in {}", config.dir);

    let shell: SharedShell<C> =
        Rc::new(RefCell::new(Shell::new(config, clock, status, intake, origin, observer)));
    let wakes = shell.borrow().wakes();
    let mut tasks = JoinSet::new();
    tasks.spawn_local(receive(Rc::clone(&shell), outlet_received));
    tasks.spawn_local(flush_turns(Rc::clone(&shell), Rc::clone(&wakes.flush)));
    tasks.spawn_local(keep_house(Rc::clone(&shell)));
    tasks.spawn_local(snapshots::write(Rc::clone(&shell), Rc::clone(&wakes.snapshot)));
    tasks.spawn_local(accept(Rc::clone(&shell), net.clone(), listener, false));
    if let Some(listener) = sentinel {
        tasks.spawn_local(accept(Rc::clone(&shell), net, listener, true));
    }
    tokio::select! {
        biased; // a fatal error must not be hidden by a shutdown that can't finish any more
        () = wakes.stopped.notified() => {}
        () = a_panic(tasks) => {
            let text = "internal error: a part of this node has stopped (see above). Every acknowledged write is in the log; start this \
                        node again.";
            return Err(RunError::Fatal(text.to_owned()));
        }
        () = async {
            shutdown.await;
            shell.borrow_mut().begin_shutdown();
            std::future::pending::<()>().await;
        } => {}
    }
    let end = shell.borrow_mut().end();
    end.map_err(RunError::Fatal)
}

/// Ends when one of the tasks has panicked: what it was for would never be done again, and nobody would notice. All end with this.
async fn a_panic(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err_and(|error| error.is_panic()) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Starts the snapshot worker, the log writer and the replication driver where they belong. All end by themselves: the worker when
/// the writer is gone, the writer when the driver is, the driver when the event loop is.
fn place<D: Disk, F: Future<Output = ()> + 'static>(
    placement: Placement,
    alone: bool,
    worker: SnapshotWorker<D>,
    writer: Writer<D>,
    drive: impl FnOnce() -> F + Send + 'static,
) -> Result<(), RunError> {
    match placement {
        Placement::Tasks => drop(spawn_local(worker.run())),
        Placement::Threads => thread("steadfast-snap", move || worker.run())?,
    }
    match placement {
        Placement::Tasks => {
            drop(spawn_local(writer.run()));
            drop(spawn_local(drive()));
        }
        Placement::Threads if alone => {
            drop(spawn_local(writer.run()));
            drop(spawn_local(drive()));
        }
        Placement::Threads => {
            thread("steadfast-log", move || writer.run())?;
            thread("steadfast-raft", drive)?;
        }
    }
    Ok(())
}

/// A thread with an event loop of its own that runs one future to its end.
fn thread<F: Future<Output = ()>>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<(), RunError> {
    let fatal = |error| {
        RunError::Fatal(format!(
            "cannot start the thread {name}: {error}. Nothing was changed; free memory or raise the limit of threads."
        ))
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fatal)?;
    let run = move || LocalSet::new().block_on(&runtime, work());
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop).map_err(fatal)
}

/// Takes what replication hands over; all that has come by now is one turn.
async fn receive<C: Clock>(shell: SharedShell<C>, mut outlet: mpsc::Receiver<Outlet>) {
    while let Some(first) = outlet.recv().await {
        let mut shell = shell.borrow_mut();
        shell.take(first);
        while let Ok(next) = outlet.try_recv() {
            shell.take(next);
        }
        shell.settle();
    }
    shell.borrow_mut().replication_gone();
}

/// Ends each turn of the event loop in which requests came: hands them over together.
async fn flush_turns<C: Clock>(shell: SharedShell<C>, wanted: Rc<Notify>) {
    loop {
        wanted.notified().await;
        shell.borrow_mut().flush();
    }
}

async fn keep_house<C: Clock>(shell: SharedShell<C>) {
    let mut beat = interval(HOUSEKEEPING);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        shell.borrow_mut().keep_house();
    }
}

async fn bind<N: Net>(net: &N, host: &str, port: u16) -> Result<N::Listener, RunError> {
    let bound = net.bind(host, port).await;
    bound.map_err(|source| RunError::Bind { address: format!("{host}:{port}"), source })
}

async fn accept<N: Net, C: Clock>(
    shell: SharedShell<C>,
    net: N,
    mut listener: N::Listener,
    at_sentinel: bool,
) {
    loop {
        match net.accept(&mut listener).await {
            Ok((stream, address)) => {
                if is_planted(Canary::AcceptEnds) && shell.borrow().clients.len() > 100 {
                    return;
                }
                let own = net.own_address(&stream);
                let ends = Ends { client: address, own, at_sentinel };
                drop(spawn_local(connection::serve(Rc::clone(&shell), stream, ends)));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
