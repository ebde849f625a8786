//! One seed: nodes with their disks and clocks, clients, and what breaks when. First a time of faults, then everything is
//! healed and left alone, every client must finish, and all nodes must come to the same state.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use steadfast_replication::formation::Member;
use steadfast_server::config::Config;
use steadfast_server::{Parts, Placement, run};
use tokio::task::LocalSet;
use turmoil::{Builder, Sim};

use crate::canary::Planted;
use crate::check::promise::Promises;
use crate::check::{Violation, final_state, linearizable, witness};
use crate::client::{Client, Notebook};
use crate::draw::Draws;
use crate::evidence::{Evidence, NodeObserver};
use crate::happened::{self, Happened};
use crate::history::SharedHistory;
use crate::panics;
use crate::ports::clock::{DRIFT_PPM, EPOCH_MS, SKEW_MS, SimClock};
use crate::ports::disk::{SharedPlatter, SimDisk};
use crate::ports::net::{CLIENT_PORT, PEER_PORT, TurmoilNet};
use crate::ports::pause::{Pausable, PauseSwitch};
use crate::trace::SharedTrace;
use crate::workload::{Kind, Shared, Work};

mod faults;

use faults::{Fault, Swarm};

/// How long things break.
const FAULTS_END: Duration = Duration::from_secs(12);
/// When everything must be done: healing, elections, what the clients still have to do.
const DEADLINE: Duration = Duration::from_secs(90);
const REQUESTS_PER_CLIENT: u64 = 150;
/// Of the planted bug of that kind.
const READS_TO_PANIC: u32 = 50;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// What happened.
    pub trace: String,
    /// Hash over the trace.
    pub hash: u128,
    /// Commands answered, refused, unknown.
    pub counts: [u64; 3],
    /// Simulated time.
    pub simulated: Duration,
    /// How often what happened.
    pub happened: Happened,
}

/// One node, as the world holds it.
struct NodeHandle {
    id: u64,
    name: String,
    platter: SharedPlatter,
    clock: SimClock,
    switch: Rc<PauseSwitch>,
    /// The disk of the present start.
    mounted: Rc<RefCell<Option<SimDisk>>>,
    starts: Rc<RefCell<u64>>,
    down_until: Option<Duration>,
}

struct World<'a> {
    seed: u64,
    sim: Sim<'a>,
    nodes: Vec<NodeHandle>,
    draws: Draws,
    swarm: Swarm,
    notebook: Notebook,
    promises: Arc<Mutex<Promises>>,
    /// What a dying disk showed.
    broken: Vec<Violation>,
    planted: Option<Planted>,
    /// Those under way.
    faults: Vec<Fault>,
    /// How slow a message may be on a sound network.
    latency_ms: u64,
    happened: Happened,
}

/// Runs one seed, with a bug planted or without.
pub fn simulate(seed: u64, planted: Option<Planted>) -> Report {
    if let Some(planted) = planted {
        planted.plant();
    }
    panics::watch();
    let trace = SharedTrace::default();
    let evidence = Rc::new(RefCell::new(Evidence::default()));
    let history = SharedHistory::default();
    let notebook = Notebook { history, evidence, trace: SharedTrace::clone(&trace) };
    let shared = Rc::new(RefCell::new(Shared::default()));
    let mut world = World::new(seed, &notebook, planted);
    let clients = world.add_clients(&shared);
    shared.borrow_mut().clients = clients;
    let ended = world.drive(&shared, clients);
    world.hold_to_promises();
    // The nearer to the cause, the earlier in the list.
    let mut violations = std::mem::take(&mut world.broken);
    violations.append(&mut notebook.evidence.borrow_mut().violations);
    violations.append(&mut shared.borrow_mut().violations);
    let bounded_clocks = !world.swarm.wild_clocks;
    let evidence = notebook.evidence.borrow();
    let history = notebook.history.borrow();
    violations.extend(witness::check(&history.operations, &evidence.log, bounded_clocks));
    // A judge that never sees the log must accept what the witness accepts.
    violations.extend(linearizable::check(&history.operations).violations);
    violations.extend(final_state::check(&evidence.log, &evidence.finals));
    drop(history);
    violations.extend(ended);
    let simulated = world.sim.elapsed();
    let counts = shared.borrow().counts;
    let happened = world.happened(&evidence);
    drop(evidence);
    drop(world);
    let trace = trace.lock().expect("no holder of the trace panics");
    let (text, hash) = (trace.text().to_owned(), trace.hash());
    Report { violations, trace: text, hash, counts, simulated, happened }
}

impl World<'_> {
    fn new(seed: u64, notebook: &Notebook, planted: Option<Planted>) -> Self {
        let mut draws = Draws::new(seed, "world");
        let count = if draws.chance(25) { 1 } else { 3 };
        let swarm = Swarm::draw(&mut draws, count);
        let latency = draws.between(1, 15);
        let mut sim = network(seed, latency);
        let members = (1..=count).map(|id| Member { id, host: format!("n{id}"), port: PEER_PORT });
        let members: Vec<Member> = if count == 1 { Vec::new() } else { members.collect() };
        let small = draws.chance(85); // big ones are never cut off, nor does a snapshot ever travel
        // Sometimes shorter than the faults last, so that requests time out in every state.
        let request_timeout = Duration::from_millis(draws.pick(&[800, 1500, 5000]));
        let promises = Arc::new(Mutex::new(Promises::default()));
        let nodes = (1..=count)
            .map(|id| {
                let clock = draw_clock(&mut draws, swarm.wild_clocks, planted, id);
                let config = Config {
                    port: CLIENT_PORT,
                    node_id: id,
                    members: members.clone(),
                    segment_bytes: if small { 4096 } else { 1 << 20 },
                    snapshot_log_bytes: if small { 8 * 1024 } else { 4 << 20 },
                    request_timeout,
                    ..Config::default()
                };
                let handle = NodeHandle {
                    id,
                    name: format!("n{id}"),
                    platter: SharedPlatter::default(),
                    clock,
                    switch: Rc::default(),
                    mounted: Rc::default(),
                    starts: Rc::default(),
                    down_until: None,
                };
                let mut platter = handle.platter.lock();
                platter.faults.sync_lies = planted == Some(Planted::SyncLies);
                platter.delays = Some(Draws::new(seed, format!("syncs of n{id}")));
                drop(platter);
                let reads_to_panic =
                    (planted == Some(Planted::TaskPanics)).then_some(READS_TO_PANIC);
                add_node(
                    &mut sim,
                    &handle,
                    (seed, id, reads_to_panic),
                    &config,
                    notebook,
                    &promises,
                );
                handle
            })
            .collect();
        let world = Self {
            seed,
            sim,
            nodes,
            draws: Draws::new(seed, "faults"),
            swarm,
            notebook: notebook.clone(),
            promises,
            broken: Vec::new(),
            planted,
            faults: Vec::new(),
            latency_ms: latency,
            happened: Happened::default(),
        };
        world.note(&format!(
            "seed {seed}: {count} nodes, latency up to {latency} ms, small files {small}, requests wait {request_timeout:?}, {:?}",
            world.swarm
        ));
        world
    }

    /// An event of the world itself, which stands outside the simulated time.
    fn note(&self, what: &str) {
        let mut trace = self.notebook.trace.lock().expect("no holder of the trace panics");
        trace.event(self.sim.elapsed(), "sim", what);
    }

    fn add_clients(&mut self, shared: &Rc<RefCell<Shared>>) -> usize {
        let mut draws = Draws::new(self.seed, "clients");
        let count = draws.between(3, 5);
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| draws.chance(60)).collect();
        if kinds.is_empty() {
            kinds = Kind::ALL.to_vec();
        }
        self.note(&format!("{count} clients: {kinds:?}"));
        let nodes = self.nodes.len() as u64;
        for at in 0..count {
            let name = format!("c{}", at + 1);
            let work = Work {
                client: Client::new(name.clone(), at % nodes + 1, self.notebook.clone()),
                name: name.clone(),
                draws: Draws::new(self.seed, name.clone()),
                shared: Rc::clone(shared),
                commands: REQUESTS_PER_CLIENT,
                kinds: kinds.clone(),
                nodes,
                bounded_clocks: !self.swarm.wild_clocks,
                releases_unchecked: self.planted == Some(Planted::UncheckedRelease),
            };
            self.sim.client(name, async move {
                work.run().await;
                Ok(())
            });
        }
        count as usize
    }

    /// Steps until all is done or the deadline has passed.
    fn drive(&mut self, shared: &Rc<RefCell<Shared>>, clients: usize) -> Vec<Violation> {
        let evidence = Rc::clone(&self.notebook.evidence);
        let mut next_fault = Duration::from_millis(self.draws.between(500, 2500));
        let mut healed = false;
        loop {
            if let Err(error) = self.sim.step() {
                return vec![Violation::new(
                    "no-node-ends",
                    format!("a node or client ended: {error}"),
                )];
            }
            let now = self.sim.elapsed();
            if now < FAULTS_END {
                self.mend(now);
                if now >= next_fault {
                    self.break_something(now);
                    next_fault =
                        now + Duration::from_millis(self.draws.between(100, self.swarm.pace_ms));
                }
            } else if !healed {
                healed = true;
                self.mend(Duration::MAX);
                shared.borrow_mut().healed = true;
                self.note("everything is healed");
            }
            let panicked = panics::take().into_iter();
            self.broken.extend(panicked.map(|text| Violation::new("no-panic", text)));
            let found = !shared.borrow().violations.is_empty()
                || !evidence.borrow().violations.is_empty()
                || !self.broken.is_empty();
            if found {
                return Vec::new();
            }
            if healed && shared.borrow().finished == clients && self.converged() {
                self.note(&format!("done: {:?}", shared.borrow().counts));
                return Vec::new();
            }
            if now > DEADLINE {
                let finished = shared.borrow().finished;
                let text = format!(
                    "{finished} of {clients} clients finished, nodes at {:?}",
                    evidence.borrow().applied
                );
                return vec![Violation::new("progress", text)];
            }
        }
    }

    /// What the nodes have promised must be on their disks at the end as well.
    fn hold_to_promises(&mut self) {
        let mut promises = self.promises.lock().expect("no holder panics");
        self.broken.append(&mut promises.violations);
        for node in self.nodes.iter().filter(|node| node.down_until.is_none()) {
            self.broken.extend(promises.check(node.id, &node.platter).err());
        }
    }

    /// What happened, with what only the nodes know.
    fn happened(&self, evidence: &Evidence) -> Happened {
        let terms: BTreeSet<u64> = evidence.log.values().map(|record| record.term).collect();
        let mut happened = self.happened.clone();
        happened.count(happened::INSTALLS, evidence.installs);
        happened.count(happened::ELECTIONS, (terms.len() as u64).saturating_sub(1));
        happened
    }

    fn converged(&self) -> bool {
        let evidence = self.notebook.evidence.borrow();
        let mut states = evidence.applied.values();
        let first = states.next();
        let complete = [evidence.applied.len(), evidence.finals.len()] == [self.nodes.len(); 2];
        complete && states.all(|state| Some(state) == first)
    }
}

fn network<'a>(seed: u64, latency: u64) -> Sim<'a> {
    Builder::new()
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
        .simulation_duration(DEADLINE * 2)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(0))
        .max_message_latency(Duration::from_millis(latency))
        .tcp_capacity(4096)
        .enable_random_order()
        .build()
}

/// Clocks are kept in time or not at all; their rates are always a little off.
fn draw_clock(draws: &mut Draws, wild: bool, planted: Option<Planted>, id: u64) -> SimClock {
    let skew = if wild {
        draws.below(7_200_000) as i64 - 3_600_000
    } else {
        draws.between(0, 2 * SKEW_MS) as i64 - SKEW_MS as i64
    };
    let drift = draws.below(2 * DRIFT_PPM) as i64 - DRIFT_PPM as i64;
    let ahead = planted == Some(Planted::ClockAhead) && id == 1;
    SimClock::new(drift, skew + if ahead { 1000 } else { 0 })
}

/// Adds a node: the product's own `run` with simulated parts, under a switch.
fn add_node(
    sim: &mut Sim<'_>,
    handle: &NodeHandle,
    (seed, id, reads_to_panic): (u64, u64, Option<u32>),
    config: &Config,
    notebook: &Notebook,
    promises: &Arc<Mutex<Promises>>,
) {
    let (platter, clock, switch) =
        (handle.platter.clone(), handle.clock.clone(), Rc::clone(&handle.switch));
    let (mounted, starts) = (Rc::clone(&handle.mounted), Rc::clone(&handle.starts));
    let (config, notebook, promises) = (config.clone(), notebook.clone(), Arc::clone(promises));
    sim.host(handle.name.as_str(), move || {
        *starts.borrow_mut() += 1;
        let start = *starts.borrow();
        let disk = platter.mount();
        *mounted.borrow_mut() = Some(disk.clone());
        notebook.evidence.borrow_mut().applied.remove(&id);
        let observer = NodeObserver {
            node: id,
            evidence: Rc::clone(&notebook.evidence),
            trace: SharedTrace::clone(&notebook.trace),
        };
        let parts = Parts {
            net: TurmoilNet::new(Arc::clone(&promises), reads_to_panic),
            disk,
            clock: clock.clone(),
            seed: crate::draw::draw(seed, "node", id * 1000 + start),
            observer: Rc::new(observer),
            placement: Placement::Tasks,
        };
        let (config, switch) = (config.clone(), Rc::clone(&switch));
        async move {
            let local = LocalSet::new();
            let node = local.run_until(run(config, parts, pending()));
            Pausable::new(node, switch).await.map_err(Into::into)
        }
    });
}
