//! One seed: nodes with their disks and clocks, clients, and what breaks when. First a time of faults, then everything is
//! healed and left alone, every client must finish, and all nodes must come to the same state.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use steadfast_replication::formation::Member;
use steadfast_server::config::Config;
use steadfast_server::{Parts, Placement, run};
use tokio::task::LocalSet;
use turmoil::{Builder, Sim};

use crate::check::Violation;
use crate::client::Client;
use crate::clock::{EPOCH_MS, SimClock};
use crate::disk::{SharedPlatter, SimDisk};
use crate::draw::Draws;
use crate::evidence::{Evidence, NodeObserver};
use crate::net::{CLIENT_PORT, PEER_PORT, TurmoilNet};
use crate::pause::{Pausable, PauseSwitch};
use crate::trace::SharedTrace;
use crate::workload::{Shared, Work};

/// How long things break.
const FAULTS_END: Duration = Duration::from_secs(12);
/// When everything must be done: healing, elections, what the clients still have to do.
const DEADLINE: Duration = Duration::from_secs(90);
const COMMANDS_PER_CLIENT: u64 = 120;

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
}

/// One node, as the world holds it.
struct NodeHandle {
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
    trace: SharedTrace,
    cut: Vec<(String, String, Duration)>,
    paused: Vec<(usize, Duration)>,
}

/// Runs one seed.
pub fn simulate(seed: u64) -> Report {
    let trace = SharedTrace::default();
    let evidence = Rc::new(RefCell::new(Evidence::default()));
    let shared = Rc::new(RefCell::new(Shared::default()));
    let mut world = World::new(seed, &trace, &evidence);
    let clients = world.add_clients(&shared);
    let mut violations = world.drive(&shared, &evidence, clients);
    violations.splice(0..0, evidence.borrow_mut().violations.drain(..));
    violations.splice(0..0, shared.borrow_mut().violations.drain(..));
    let simulated = world.sim.elapsed();
    let counts = shared.borrow().counts;
    drop(world);
    let trace = trace.lock().expect("no holder of the trace panics");
    Report { violations, trace: trace.text().to_owned(), hash: trace.hash(), counts, simulated }
}

impl World<'_> {
    fn new(seed: u64, trace: &SharedTrace, evidence: &Rc<RefCell<Evidence>>) -> Self {
        let mut draws = Draws::new(seed, "world");
        let calm = draws.chance(10);
        let mut on = |percent| !calm && draws.chance(percent);
        let swarm = Swarm {
            crashes: on(60),
            power_cuts: on(40),
            partitions: on(60),
            one_way: on(30),
            pauses: on(40),
            slow_disks: on(40),
            wild_clocks: on(25),
        };
        let count = if draws.chance(25) { 1 } else { 3 };
        let latency = draws.between(1, 15);
        let mut sim = Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
            .simulation_duration(DEADLINE * 2)
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(0))
            .max_message_latency(Duration::from_millis(latency))
            .tcp_capacity(4096)
            .enable_random_order()
            .build();
        let members = (1..=count).map(|id| Member { id, host: format!("n{id}"), port: PEER_PORT });
        let members: Vec<Member> = if count == 1 { Vec::new() } else { members.collect() };
        let small = draws.chance(60);
        let nodes = (1..=count)
            .map(|id| {
                let skew = if swarm.wild_clocks {
                    draws.below(7_200_000) as i64 - 3_600_000
                } else {
                    draws.below(200) as i64 - 100
                };
                let drift = draws.below(400) as i64 - 200;
                let config = Config {
                    port: CLIENT_PORT,
                    node_id: id,
                    members: members.clone(),
                    segment_bytes: if small { 4096 } else { 1 << 20 },
                    snapshot_log_bytes: if small { 16 * 1024 } else { 4 << 20 },
                    request_timeout: Duration::from_secs(5),
                    ..Config::default()
                };
                let handle = NodeHandle {
                    name: format!("n{id}"),
                    platter: SharedPlatter::default(),
                    clock: SimClock::new(drift, skew),
                    switch: Rc::default(),
                    mounted: Rc::default(),
                    starts: Rc::default(),
                    down_until: None,
                };
                add_node(&mut sim, &handle, (seed, id), &config, trace, evidence);
                handle
            })
            .collect();
        trace.lock().expect("no holder of the trace panics").event(Duration::ZERO, "sim", &format!("seed {seed}: {count} nodes, latency up to {latency} ms, small files {small}, {swarm:?}"));
        let draws = Draws::new(seed, "faults");
        let (trace, cut, paused) = (SharedTrace::clone(trace), Vec::new(), Vec::new());
        Self { seed, sim, nodes, draws, swarm, trace, cut, paused }
    }

    /// An event of the world itself, which stands outside the simulated time.
    fn note(&self, what: &str) {
        self.trace.lock().expect("no holder of the trace panics").event(
            self.sim.elapsed(),
            "sim",
            what,
        );
    }

    fn add_clients(&mut self, shared: &Rc<RefCell<Shared>>) -> usize {
        let count = 3;
        for at in 0..count {
            let name = format!("c{}", at + 1);
            let node = format!("n{}", at % self.nodes.len() + 1);
            let work = Work {
                client: Client::new(name.clone(), node, SharedTrace::clone(&self.trace)),
                name: name.clone(),
                draws: Draws::new(self.seed, name.clone()),
                shared: Rc::clone(shared),
                commands: COMMANDS_PER_CLIENT,
                bounded_clocks: !self.swarm.wild_clocks,
            };
            self.sim.client(name, async move {
                work.run().await;
                Ok(())
            });
        }
        count
    }

    /// Steps until all is done or the deadline has passed.
    fn drive(
        &mut self,
        shared: &Rc<RefCell<Shared>>,
        evidence: &Rc<RefCell<Evidence>>,
        clients: usize,
    ) -> Vec<Violation> {
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
                    next_fault = now + Duration::from_millis(self.draws.between(100, 2500));
                }
            } else if !healed {
                healed = true;
                self.mend(Duration::MAX);
                self.note("everything is healed");
            }
            let found =
                !shared.borrow().violations.is_empty() || !evidence.borrow().violations.is_empty();
            if found {
                return Vec::new();
            }
            if healed && shared.borrow().finished == clients && self.converged(evidence) {
                return self.final_checks(shared);
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

    fn converged(&self, evidence: &Rc<RefCell<Evidence>>) -> bool {
        let evidence = evidence.borrow();
        let mut states = evidence.applied.values();
        let first = states.next();
        evidence.applied.len() == self.nodes.len() && states.all(|state| Some(state) == first)
    }

    fn final_checks(&self, shared: &Rc<RefCell<Shared>>) -> Vec<Violation> {
        let shared = shared.borrow();
        let (acknowledged, unknown) = shared.increments;
        self.note(&format!("done: {:?}, shared {acknowledged}+{unknown}", shared.counts));
        let fits = (acknowledged..=acknowledged + unknown).contains(&shared.acknowledged)
            || acknowledged == 0;
        if fits {
            return Vec::new();
        }
        let text = format!(
            "the shared counter was acknowledged at {} after {acknowledged} acknowledged and {unknown} unknown increments",
            shared.acknowledged
        );
        vec![Violation::new("exactly-once", text)]
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
        let until = now + Duration::from_millis(self.draws.between(50, 4000));
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

/// Adds a node: the product's own `run` with simulated parts, under a switch.
fn add_node(
    sim: &mut Sim<'_>,
    handle: &NodeHandle,
    (seed, id): (u64, u64),
    config: &Config,
    trace: &SharedTrace,
    evidence: &Rc<RefCell<Evidence>>,
) {
    let (platter, clock, switch) =
        (handle.platter.clone(), handle.clock.clone(), Rc::clone(&handle.switch));
    let (mounted, starts) = (Rc::clone(&handle.mounted), Rc::clone(&handle.starts));
    let (config, trace, evidence) =
        (config.clone(), SharedTrace::clone(trace), Rc::clone(evidence));
    sim.host(handle.name.as_str(), move || {
        *starts.borrow_mut() += 1;
        let start = *starts.borrow();
        let disk = platter.mount();
        *mounted.borrow_mut() = Some(disk.clone());
        evidence.borrow_mut().applied.remove(&id);
        let observer = NodeObserver {
            node: id,
            start,
            evidence: Rc::clone(&evidence),
            trace: SharedTrace::clone(&trace),
        };
        let parts = Parts {
            net: TurmoilNet,
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
