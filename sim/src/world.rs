//! One seed: nodes with their disks and clocks, clients, and what breaks when. First a time of faults, then everything is
//! healed and left alone, every client must finish, and all nodes must come to the same state.

use std::cell::RefCell;
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
use crate::check::{Violation, witness};
use crate::client::{Client, Notebook};
use crate::clock::{EPOCH_MS, SimClock};
use crate::disk::{SharedPlatter, SimDisk};
use crate::draw::Draws;
use crate::evidence::{Evidence, NodeObserver};
use crate::history::SharedHistory;
use crate::net::{CLIENT_PORT, PEER_PORT, TurmoilNet};
use crate::pause::{Pausable, PauseSwitch};
use crate::trace::SharedTrace;
use crate::workload::{Kind, Shared, Work};

/// How long things break.
const FAULTS_END: Duration = Duration::from_secs(12);
/// When everything must be done: healing, elections, what the clients still have to do.
const DEADLINE: Duration = Duration::from_secs(90);
/// How far wall clocks that are kept in time may be off. After all nodes were down at once, log time goes on from one of them, so
/// two of these must fit into what a careful holder of a lock leaves for drift (`workload/locks.rs`).
const SKEW_MS: u64 = 5;
const REQUESTS_PER_CLIENT: u64 = 150;

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
}

/// Which faults exist in a run.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // a set of faults
struct Swarm {
    crashes: bool,
    power_cuts: bool,
    partitions: bool,
    one_way: bool,
    pauses: bool,
    slow_disks: bool,
    wild_clocks: bool,
    /// Time between two faults at the most.
    pace_ms: u64,
}

impl Swarm {
    /// One seed in ten breaks nothing.
    fn draw(draws: &mut Draws) -> Self {
        let calm = draws.chance(10);
        let mut on = |percent| !calm && draws.chance(percent);
        Self {
            crashes: on(60),
            power_cuts: on(40),
            partitions: on(60),
            one_way: on(30),
            pauses: on(40),
            slow_disks: on(40),
            wild_clocks: on(25),
            pace_ms: draws.pick(&[400, 1000, 2500]),
        }
    }
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
    cut: Vec<(String, String, Duration)>,
    paused: Vec<(usize, Duration)>,
}

/// Runs one seed, with a bug planted or without.
pub fn simulate(seed: u64, planted: Option<Planted>) -> Report {
    if let Some(planted) = planted {
        planted.plant();
    }
    let trace = SharedTrace::default();
    let evidence = Rc::new(RefCell::new(Evidence::default()));
    let history = SharedHistory::default();
    let notebook = Notebook { history, evidence, trace: SharedTrace::clone(&trace) };
    let shared = Rc::new(RefCell::new(Shared::default()));
    let mut world = World::new(seed, &notebook, planted);
    let clients = world.add_clients(&shared);
    let ended = world.drive(&shared, clients);
    // The nearer to the cause, the earlier in the list.
    let mut violations = std::mem::take(&mut world.broken);
    violations.append(&mut notebook.evidence.borrow_mut().violations);
    violations.append(&mut shared.borrow_mut().violations);
    violations.extend(witness::check(
        &notebook.history.borrow().operations,
        &notebook.evidence.borrow().log,
    ));
    violations.extend(ended);
    let simulated = world.sim.elapsed();
    let counts = shared.borrow().counts;
    drop(world);
    let trace = trace.lock().expect("no holder of the trace panics");
    Report { violations, trace: trace.text().to_owned(), hash: trace.hash(), counts, simulated }
}

impl World<'_> {
    fn new(seed: u64, notebook: &Notebook, planted: Option<Planted>) -> Self {
        let mut draws = Draws::new(seed, "world");
        let swarm = Swarm::draw(&mut draws);
        let count = if draws.chance(25) { 1 } else { 3 };
        let latency = draws.between(1, 15);
        let mut sim = network(seed, latency);
        let members = (1..=count).map(|id| Member { id, host: format!("n{id}"), port: PEER_PORT });
        let members: Vec<Member> = if count == 1 { Vec::new() } else { members.collect() };
        let small = draws.chance(60);
        // Sometimes shorter than the faults last, so that requests time out in every state.
        let request_timeout = Duration::from_millis(draws.pick(&[800, 1500, 5000]));
        let promises = Arc::new(Mutex::new(Promises::default()));
        let nodes = (1..=count)
            .map(|id| {
                let skew = if swarm.wild_clocks {
                    draws.below(7_200_000) as i64 - 3_600_000
                } else {
                    draws.between(0, 2 * SKEW_MS) as i64 - SKEW_MS as i64
                };
                let drift = draws.below(400) as i64 - 200;
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
                    clock: SimClock::new(drift, skew),
                    switch: Rc::default(),
                    mounted: Rc::default(),
                    starts: Rc::default(),
                    down_until: None,
                };
                handle.platter.lock().faults.sync_lies = planted == Some(Planted::SyncLies);
                add_node(&mut sim, &handle, (seed, id), &config, notebook, &promises);
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
            cut: Vec::new(),
            paused: Vec::new(),
        };
        world.note(&format!(
            "seed {seed}: {count} nodes, latency up to {latency} ms, small files {small}, requests wait {request_timeout:?}, {swarm:?}"
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
                self.note("everything is healed");
            }
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

    fn converged(&self) -> bool {
        let evidence = self.notebook.evidence.borrow();
        let mut states = evidence.applied.values();
        let first = states.next();
        evidence.applied.len() == self.nodes.len() && states.all(|state| Some(state) == first)
    }

    // ---- faults ------------------------------------------------------------------------------------------------

    /// Undoes faults whose time is over.
    fn mend(&mut self, now: Duration) {
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(at) else { return };
            if node.down_until.is_some_and(|until| until <= now) {
                node.down_until = None;
                self.sim.bounce(node.name.as_str());
                let what = format!("{} starts", node.name);
                self.note(&what);
            }
        }
        let (over, rest) =
            std::mem::take(&mut self.cut).into_iter().partition(|(_, _, until)| *until <= now);
        self.cut = rest;
        for (one, other, _) in over {
            self.sim.repair(one.as_str(), other.as_str());
            self.note(&format!("{one} and {other} are linked again"));
        }
        let (over, rest) =
            std::mem::take(&mut self.paused).into_iter().partition(|(_, until)| *until <= now);
        self.paused = rest;
        for (at, _) in over {
            if let Some(node) = self.nodes.get(at) {
                node.switch.set(false);
                self.note(&format!("{} goes on", node.name));
            }
        }
        if now == Duration::MAX {
            self.nodes
                .iter()
                .for_each(|node| node.platter.lock().faults.sync_takes = Duration::ZERO);
        }
    }

    fn break_something(&mut self, now: Duration) {
        let until = now + Duration::from_millis(self.draws.between(50, self.swarm.pace_ms * 8 / 5));
        let victim = self.draws.below(self.nodes.len() as u64) as usize;
        let swarm = self.swarm;
        match self.draws.below(6) {
            0 if swarm.crashes => self.stop(victim, until, false),
            1 if swarm.power_cuts => {
                for at in 0..self.nodes.len() {
                    self.stop(at, until, true);
                }
            }
            2 if swarm.partitions => self.cut_off(victim, until, false),
            3 if swarm.one_way => self.cut_off(victim, until, true),
            4 if swarm.pauses => {
                if let Some(node) = self.nodes.get(victim).filter(|node| node.down_until.is_none())
                {
                    node.switch.set(true);
                    self.paused.push((victim, until));
                    self.note(&format!("{} is paused", node.name));
                }
            }
            5 if swarm.slow_disks => {
                if let Some(node) = self.nodes.get(victim) {
                    let takes = Duration::from_millis(self.draws.between(1, 300));
                    node.platter.lock().faults.sync_takes = takes;
                    self.note(&format!("{}: a sync takes {takes:?}", node.name));
                }
            }
            _ => {}
        }
    }

    /// Ends a process; a power cut also takes what the disk had not synced.
    fn stop(&mut self, at: usize, until: Duration, power: bool) {
        let Some(node) = self.nodes.get_mut(at).filter(|node| node.down_until.is_none()) else {
            return;
        };
        if let Some(disk) = node.mounted.borrow_mut().take() {
            disk.kill(); // nothing that the dying tasks drop can reach the disk
        }
        self.sim.crash(node.name.as_str());
        node.switch.set(false);
        // What it promised must be on its disk whatever happens next: the power may go right now.
        let held = self.promises.lock().expect("no holder panics").check(node.id, &node.platter);
        self.broken.extend(held.err());
        if power {
            node.platter.lock().power_cut(&mut self.draws);
        }
        node.down_until = Some(until);
        let what = format!("{} {}", node.name, if power { "loses power" } else { "is killed" });
        self.note(&what);
    }

    /// Cuts one node off from its peers, both ways or one way.
    fn cut_off(&mut self, victim: usize, until: Duration, one_way: bool) {
        let names: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let Some(own) = names.get(victim) else { return };
        for other in names.iter().filter(|other| *other != own) {
            if one_way {
                self.sim.partition_oneway(own.as_str(), other.as_str());
            } else {
                self.sim.partition(own.as_str(), other.as_str());
            }
            self.cut.push((own.clone(), other.clone(), until));
        }
        self.note(&format!("{own} is cut off{}", if one_way { " one way" } else { "" }));
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

/// Adds a node: the product's own `run` with simulated parts, under a switch.
fn add_node(
    sim: &mut Sim<'_>,
    handle: &NodeHandle,
    (seed, id): (u64, u64),
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
            net: TurmoilNet::new(Arc::clone(&promises)),
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
