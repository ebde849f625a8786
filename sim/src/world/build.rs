//! Sets a plan's world up: the network, the nodes, the clients.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use prost::Message as _;
use steadfast_core::machine::SEMANTICS_LEVEL;
use steadfast_replication::formation::Member;
use steadfast_replication::wire::PeerFrame;
use steadfast_server::config::Config;
use steadfast_server::{Parts, Placement, run};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use turmoil::{Builder, Sim};

use super::drive::DEADLINE;
use super::excuses::Mishap;
use super::stops::IN_ORDER;
use super::{NodeHandle, World};
use crate::canary::Planted;
use crate::check::promise::Promises;
use crate::client::{Client, Notebook};
use crate::draw::Draws;
use crate::evidence::NodeObserver;
use crate::happened::Happened;
use crate::plan::{ClockPlan, Head, Plan};
use crate::ports::clock::{EPOCH_MS, SimClock};
use crate::ports::disk::SharedPlatter;
use crate::ports::heap;
use crate::ports::net::{CLIENT_PORT, Outside, PEER_PORT, Tap, TurmoilNet, Weather};
use crate::ports::pause::Pausable;
use crate::trace::{Message, SharedTrace, What, Who, note};
use crate::workload::calls::Attendant;
use crate::workload::{Shared, Work};

/// The host of all clients: a host costs a turn of its own runtime in each millisecond, and all faults mean all clients.
pub(super) const CLIENTS: &str = "clients";
/// Requests of all clients together that are to be answered, at the least.
const REQUESTS: u64 = 1200;
/// Of the planted bug of that kind.
const READS_TO_PANIC: u32 = 50;
/// How far ahead the clock of the planted bug of that kind is.
const AHEAD_MS: i64 = 1000;

impl World<'_> {
    pub(super) fn new(plan: &Plan, notebook: &Notebook, planted: Option<Planted>) -> Self {
        let head = &plan.head;
        let mut sim = network(head);
        let count = plan.nodes();
        let founders = count - head.spares;
        let promises = Arc::new(Mutex::new(Promises::default()));
        let nodes = (1..)
            .zip(&head.clocks)
            .map(|(id, clock)| {
                let config = config_of(id, plan);
                let handle = NodeHandle {
                    id,
                    name: format!("n{id}"),
                    platter: SharedPlatter::default(),
                    clock: clock_of(id, *clock, planted),
                    switch: Rc::default(),
                    mounted: Rc::default(),
                    ended: Rc::default(),
                    bell: Rc::default(),
                    leaving: None,
                    down_until: None,
                    weather: Weather::default(),
                    last_end: None,
                    mishap: Mishap::default(),
                    armed: None,
                    next_release: Rc::default(),
                };
                let mut platter = handle.platter.lock();
                platter.note_events(true);
                platter.faults.sync_lies = planted == Some(Planted::SyncLies);
                platter.delays = Some(Draws::new(head.seed, format!("syncs of n{id}")));
                drop(platter);
                let panics = planted == Some(Planted::TaskPanics);
                let reads_to_panic = panics.then_some(READS_TO_PANIC);
                let host = Host { seed: head.seed, reads_to_panic, config };
                add_node(&mut sim, &handle, host, notebook, &promises);
                handle
            })
            .collect();
        let (calls, called) = unbounded_channel();
        let world = Self {
            plan: plan.clone(),
            sim,
            nodes,
            notebook: notebook.clone(),
            promises,
            broken: Vec::new(),
            planted,
            waiting: plan.faults.clone(),
            begun: BTreeMap::new(),
            faults: Vec::new(),
            calls,
            called: Some(called),
            asked_at: None,
            held: BTreeSet::new(),
            members: (1..=founders).collect(),
            leavers: BTreeSet::new(),
            changes_wanted: 0,
            spoilt: BTreeMap::new(),
            backups: Vec::new(),
            happened: Happened::default(),
        };
        world.note(plan.to_string());
        world
    }

    pub(super) fn add_clients(&mut self, shared: &Rc<RefCell<Shared>>) -> usize {
        let head = self.plan.head.clone();
        let nodes = self.nodes.len() as u64;
        let work = |at: u64| {
            let name = format!("c{}", at + 1);
            Work {
                client: Client::new(name.clone(), at % nodes + 1, self.notebook.clone()),
                name: name.clone(),
                seed: head.seed,
                draws: Draws::new(head.seed, name.clone()),
                at: (0, 0),
                shared: Rc::clone(shared),
                requests: REQUESTS.div_ceil(head.clients),
                answered: 0,
                steps_max: head.steps.get(&name).copied(),
                skipped: head.skipped.get(&name).cloned().unwrap_or_default(),
                mix: head.mix.clone(),
                nodes,
                bounded_clocks: head.class.keeps_time(),
                planted: self.planted,
            }
        };
        let clients = head.clients as usize;
        let works: Vec<Work> = (0..head.clients).map(work).collect();
        let name = format!("c{}", clients + 1);
        let attendant =
            Attendant::new(head.seed, nodes, Rc::clone(shared), name, self.notebook.clone());
        let called = self.called.take();
        self.sim.client(CLIENTS, async move {
            let attends = called.map(|called| spawn_local(attendant.attend(called)));
            let tasks: Vec<_> = works.into_iter().map(|work| spawn_local(work.run())).collect();
            for task in tasks {
                task.await?;
            }
            if let Some(attends) = attends {
                attends.await?;
            }
            Ok(())
        });
        clients
    }
}

/// The settings of a node.
fn config_of(id: u64, plan: &Plan) -> Config {
    let (head, count) = (&plan.head, plan.nodes());
    let founders = count - head.spares;
    let member = |id| Member { id, host: format!("n{id}"), port: PEER_PORT };
    Config {
        port: CLIENT_PORT,
        node_id: id,
        members: match id {
            _ if count == 1 => Vec::new(),
            id if id > founders => vec![member(id)],
            _ => (1..=founders).map(member).collect(),
        },
        join: id > founders,
        segment_bytes: head.segment_bytes,
        snapshot_log_bytes: head.snapshot_log_bytes,
        snapshot_step_bytes: snapshot_step_bytes(head),
        scrub_pause: Duration::from_millis(head.scrub_pause_ms),
        request_timeout: Duration::from_millis(head.request_timeout_ms),
        // Leases trust clocks: who does not, switches them off.
        lease_reads: head.class.keeps_time(),
        ..Config::default()
    }
}

/// A node's clock, with what is planted in the first one's.
fn clock_of(id: u64, plan: ClockPlan, planted: Option<Planted>) -> SimClock {
    let is = |bug| planted == Some(bug) && id == 1;
    let ahead_ms = if is(Planted::ClockAhead) { AHEAD_MS } else { 0 };
    SimClock::new(plan.drift_ppm, plan.skew_ms + ahead_ms).straying(is(Planted::MachineTime))
}

fn network<'a>(head: &Head) -> Sim<'a> {
    Builder::new()
        .rng_seed(head.seed)
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
        .simulation_duration(DEADLINE * 2)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(0))
        .max_message_latency(Duration::from_millis(head.latency_ms))
        .tcp_capacity(4096)
        .enable_random_order()
        .build()
}

/// What all starts of a node have in common.
#[derive(Clone)]
struct Host {
    seed: u64,
    reads_to_panic: Option<u32>,
    config: Config,
}

/// Adds a node: the product's own `run` with simulated parts, under a switch. A process that ends by itself stays gone until the
/// world starts it again, as under a supervisor.
fn add_node(
    sim: &mut Sim<'_>,
    handle: &NodeHandle,
    host: Host,
    notebook: &Notebook,
    promises: &Arc<Mutex<Promises>>,
) {
    let (id, platter, clock) = (handle.id, handle.platter.clone(), handle.clock.clone());
    let (switch, mounted) = (Rc::clone(&handle.switch), Rc::clone(&handle.mounted));
    let (ended, weather) = (Rc::clone(&handle.ended), handle.weather.clone());
    let (bell, next_release) = (Rc::clone(&handle.bell), Rc::clone(&handle.next_release));
    let (notebook, promises) = (notebook.clone(), Arc::clone(promises));
    let starts = RefCell::new(0);
    sim.host(handle.name.as_str(), move || {
        *starts.borrow_mut() += 1;
        let start: u64 = *starts.borrow();
        let disk = platter.mount();
        *mounted.borrow_mut() = Some(disk.clone());
        notebook.evidence.borrow_mut().applied.remove(&id);
        let observer = NodeObserver {
            node: id,
            evidence: Rc::clone(&notebook.evidence),
            trace: SharedTrace::clone(&notebook.trace),
        };
        let gate = disk.gate().clone();
        let outside = Outside {
            seed: host.seed,
            node: id,
            start,
            weather: weather.clone(),
            gate: gate.clone(),
            tap: Some(Arc::new(Wire(SharedTrace::clone(&notebook.trace)))),
        };
        let net = TurmoilNet::new(Arc::clone(&promises), host.reads_to_panic).within(outside);
        let parts = Parts {
            net: net.clone(),
            peers: net,
            disk,
            clock: clock.clone(),
            seed: crate::draw::draw(host.seed, "node", id * 1000 + start),
            observer: Rc::new(observer),
            placement: Placement::Tasks,
        };
        let level = SEMANTICS_LEVEL + u32::from(next_release.get());
        let config = Config { level, ..host.config.clone() };
        let (switch, ended) = (Rc::clone(&switch), Rc::clone(&ended));
        let (mounted, trace) = (Rc::clone(&mounted), SharedTrace::clone(&notebook.trace));
        let (ring, rung) = oneshot::channel();
        *bell.borrow_mut() = Some(ring);
        async move {
            note(&trace, Who::Node(id), What::Starts);
            let local = LocalSet::new();
            let told_to_end = async {
                if rung.await.is_err() {
                    pending::<()>().await;
                }
            };
            let node = heap::Work::of(id, local.run_until(run(config, parts, told_to_end)));
            let end = Pausable::new(node, switch).behind(gate).await;
            if let Some(disk) = mounted.borrow_mut().take() {
                disk.kill();
            }
            let how = end.map_or_else(|error| error.to_string(), |()| IN_ORDER.to_owned());
            *ended.borrow_mut() = Some(how);
            pending().await
        }
    });
}

/// Notes down the messages of raft that pass.
struct Wire(SharedTrace);

impl Wire {
    fn pass(&self, who: u64, body: &[u8], what: fn(Message) -> What) {
        let frame = PeerFrame::decode(body).ok();
        if let Some(raft) = frame.and_then(|frame| frame.raft) {
            note(&self.0, Who::Node(who), what(Message::of(&raft)));
        }
    }
}

impl Tap for Wire {
    fn sent(&self, from: u64, _to: u64, body: &[u8]) {
        self.pass(from, body, What::Sent);
    }

    fn received(&self, _from: u64, to: u64, body: &[u8]) {
        self.pass(to, body, What::Received);
    }
}

/// States are small here; a snapshot of one takes many steps nevertheless, and commands come between them.
fn snapshot_step_bytes(head: &Head) -> usize {
    let big = head.mix.parcels || head.mix.big_percent > 0;
    if big { 32 << 10 } else { 256 << (head.seed % 5) }
}
