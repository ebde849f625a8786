//! One run of a plan: nodes with their disks and clocks, clients, and what breaks when. First a time of faults, then a quorum or all
//! is healed and left alone, every client must finish, and all nodes that were healed must come to the same state.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::mark;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use turmoil::Sim;

use crate::canary::Planted;
use crate::check::log_time::Clocks;
use crate::check::promise::Promises;
use crate::check::{
    Opinions, Violation, final_state, memory, messages, quiet, room, service, witness,
};
use crate::client::Notebook;
use crate::draw::Draws;
use crate::evidence::{Evidence, LogRecord};
use crate::happened::{self, Happened};
use crate::history::{Operation, SharedHistory};
use crate::panics;
use crate::plan::{Back, Plan, Planned};
use crate::ports::clock::SimClock;
use crate::ports::disk::{SharedPlatter, SimDisk};
use crate::ports::heap;
use crate::ports::net::Weather;
use crate::ports::pause::PauseSwitch;
use crate::trace::{Event, SharedTrace, What, Who, note_at};
use crate::workload::Shared;
use crate::workload::calls::Call;

mod build;
mod drive;
mod excuses;
mod faults;
mod holding;
mod stops;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// What was followed.
    pub plan: Plan,
    /// What did not hold; the nearer to the cause, the earlier.
    pub violations: Vec<Violation>,
    /// What happened.
    pub events: Vec<Event>,
    /// Hash over the events.
    pub hash: u128,
    /// The hash every so many events (`trace::RUNG_EVENTS`).
    pub ladder: Vec<u128>,
    /// What the clients did and saw.
    pub operations: Vec<Operation>,
    /// The committed log.
    pub log: BTreeMap<u64, LogRecord>,
    /// Commands answered, refused, unknown.
    pub counts: [u64; 3],
    /// How many steps each client took.
    pub steps: BTreeMap<String, u64>,
    /// Simulated time.
    pub simulated: Duration,
    /// How often what happened.
    pub happened: Happened,
    /// How often the product came by its marks, by name; only those that it came by. Right if nothing else runs in the process.
    pub marks: BTreeMap<String, u64>,
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
    /// What the process said when it ended by itself.
    ended: Rc<RefCell<Option<String>>>,
    /// Tells the process of the present start to end.
    bell: stops::Bell,
    /// It was told to.
    leaving: Option<stops::Leaving>,
    down_until: Option<Duration>,
    weather: Weather,
    /// When it last ended by itself.
    last_end: Option<Duration>,
    /// When its disk failed it.
    mishap: excuses::Mishap,
    /// The fault that waits for an operation of its disk.
    armed: Option<u32>,
    /// Whether it starts the next release, which knows one semantics level more than this one.
    next_release: Rc<Cell<bool>>,
}

struct World<'a> {
    plan: Plan,
    sim: Sim<'a>,
    nodes: Vec<NodeHandle>,
    notebook: Notebook,
    promises: Arc<Mutex<Promises>>,
    /// What a dying disk showed.
    broken: Vec<Violation>,
    planted: Option<Planted>,
    /// Those that have not begun.
    waiting: Vec<Planned>,
    /// When each fault began.
    begun: BTreeMap<u32, Duration>,
    /// Those under way.
    faults: Vec<holding::Holding>,
    /// What the clients' host is asked to do.
    calls: UnboundedSender<Call>,
    /// Its end of that, until it begins.
    called: Option<UnboundedReceiver<Call>>,
    /// When the nodes were asked whether they serve.
    asked_at: Option<Duration>,
    /// Pairs of hosts whose messages wait.
    held: BTreeSet<(String, String)>,
    /// Who is to be a member, by all that operators have wanted so far.
    members: BTreeSet<u64>,
    /// Who was one, and must learn that it is none any more, and end.
    leavers: BTreeSet<u64>,
    /// How many changes they have wanted.
    changes_wanted: u64,
    /// Nodes whose disks have rotted or been exchanged.
    spoilt: BTreeMap<u64, excuses::Spoils>,
    /// Old copies of disks, when they are put back, where, and how.
    backups: Vec<(Duration, usize, SharedPlatter, Back)>,
    happened: Happened,
}

/// Runs a plan, with a bug planted or without.
pub fn simulate(plan: &Plan, planted: Option<Planted>) -> Report {
    if let Some(planted) = planted {
        planted.plant();
    }
    panics::watch();
    mark::reset();
    heap::reset();
    let trace = SharedTrace::default();
    let evidence = Rc::new(RefCell::new(Evidence::default()));
    let history = SharedHistory::default();
    let notebook = Notebook { history, evidence, trace: SharedTrace::clone(&trace) };
    let shared = Rc::new(RefCell::new(Shared::default()));
    let mut world = World::new(plan, &notebook, planted);
    let clients = world.add_clients(&shared);
    shared.borrow_mut().clients = clients;
    let ended = world.drive(&shared, clients);
    world.hold_to_promises();
    world.judge_room();
    world.judge_memory();
    world.judge_silence(shared.borrow().silent.as_deref().unwrap_or_default());
    // The nearer to the cause, the earlier in the list.
    let mut violations = std::mem::take(&mut world.broken);
    violations.append(&mut notebook.evidence.borrow_mut().violations);
    violations.append(&mut shared.borrow_mut().violations);
    let simulated = world.sim.elapsed();
    let mut happened = world.happened();
    let leads = world.promises.lock().expect("no holder panics").led();
    let all_healed = world.lost().is_empty();
    let marks = mark::counts().filter(|(_, times)| *times > 0);
    let marks = marks.map(|(mark, times)| (mark.name().to_owned(), times.into())).collect();
    // With the world go its clients, which hold the notebook too.
    drop(world);
    let (log, finals) = {
        let mut evidence = notebook.evidence.borrow_mut();
        (std::mem::take(&mut evidence.log), std::mem::take(&mut evidence.finals))
    };
    let operations = std::mem::take(&mut notebook.history.borrow_mut().operations);
    let listenings = std::mem::take(&mut notebook.history.borrow_mut().listenings);
    let mut witnessed = witness::check(&operations, &log, Clocks::of(plan));
    if planted.is_some_and(Planted::blinds_the_witness) {
        witnessed.clear();
    }
    let unknown_as_refused = planted == Some(Planted::UnknownAsRefused);
    let opinions = Opinions::of(&operations, witnessed, unknown_as_refused);
    happened.count(happened::SEARCHED, opinions.searched as u64);
    happened.count(happened::UNDECIDED, opinions.undecided as u64);
    violations.extend(opinions.together());
    violations.extend(messages::check(&listenings, &log));
    violations.extend(final_state::check(&log, &finals));
    violations.extend(ended);
    violations.extend(quiet::check(plan, &leads, &operations));
    if all_healed {
        let healed = Duration::from_millis(plan.head.heal_ms);
        violations.extend(service::check(&operations, healed, plan.head.class.keeps_time()));
    }
    let (counts, steps) = (shared.borrow().counts, shared.borrow().steps.clone());
    let mut trace = trace.lock().expect("no holder of the trace panics");
    Report {
        plan: plan.clone(),
        violations,
        hash: trace.hash(),
        ladder: trace.ladder().to_vec(),
        events: trace.take_events(),
        operations,
        log,
        counts,
        steps,
        simulated,
        happened,
        marks,
    }
}

impl World<'_> {
    /// An event of the world itself, which stands outside the simulated time.
    fn note(&self, what: impl Into<String>) {
        self.event(Who::World, What::Note(what.into()));
    }

    fn event(&self, who: Who, what: What) {
        note_at(&self.notebook.trace, self.sim.elapsed(), who, what);
    }

    /// The stream of chance of what a fault does to a node.
    fn draws_of(&self, number: u32, node: u64) -> Draws {
        Draws::new(self.plan.head.seed, format!("fault {number} n{node}"))
    }

    /// Whether a node whose log has rotted gets it back: of three voters or more, if all others say what they know. Who has got an empty
    /// or an older disk never does.
    fn makes_good(&self) -> bool {
        let is_exchanged = self.spoilt.values().any(|spoils| spoils.exchanged);
        self.members.len() > 2 && self.plan.head.abandoned.is_empty() && !is_exchanged
    }

    /// Nodes that need not be well at the end.
    fn lost(&self) -> Vec<u64> {
        let is_lost = |id: &u64| {
            let spoils = self.spoilt.get(id).copied().unwrap_or_default();
            let is_abandoned = self.plan.head.abandoned.contains(id);
            spoils.exchanged
                || spoils.rotten && !self.makes_good()
                || is_abandoned
                || !self.members.contains(id)
        };
        self.nodes.iter().map(|node| node.id).filter(is_lost).collect()
    }

    /// What the nodes have promised must be on their disks at the end as well.
    fn hold_to_promises(&mut self) {
        self.broken.append(&mut self.promises.lock().expect("no holder panics").violations);
        for at in 0..self.nodes.len() {
            if self.nodes.get(at).is_some_and(|node| node.down_until.is_none()) {
                self.hold_node_to_promises(at);
            }
        }
    }

    /// Where nothing breaks the disks hold no more than what is needed.
    fn judge_room(&mut self) {
        if !self.plan.faults.is_empty() {
            return;
        }
        for node in &self.nodes {
            let files = node.platter.lock().files();
            self.broken.extend(room::check(&self.plan.head, node.id, &files));
        }
    }

    /// Whatever breaks, no node holds more memory than its work asks for.
    fn judge_memory(&mut self) {
        let limit = memory::limit_bytes(&self.plan);
        for node in &self.nodes {
            self.broken.extend(memory::check(node.id, heap::peak(node.id), limit));
        }
    }

    /// A node with a spoilt disk answers or refuses, unless it has ended by itself since it was asked, and said why.
    fn judge_silence(&mut self, silent: &[u64]) {
        let asked_at = self.asked_at;
        for node in self.nodes.iter().filter(|node| silent.contains(&node.id)) {
            if node.last_end < asked_at {
                let text = format!(
                    "n{} runs with a disk that was spoilt, and neither serves nor says why not",
                    node.id
                );
                self.broken.push(Violation::new("service", text));
            }
        }
    }

    /// What happened, with what only the nodes know.
    fn happened(&self) -> Happened {
        let evidence = self.notebook.evidence.borrow();
        let terms: BTreeSet<u64> = evidence.log.values().map(|record| record.term).collect();
        let mut happened = self.happened.clone();
        happened.count(happened::INSTALLS, evidence.installs);
        happened.count(happened::ELECTIONS, (terms.len() as u64).saturating_sub(1));
        happened
    }

    /// Nodes that must be well. One that an abandoned leader does not reach has no right to it while a quorum hears that one.
    fn due(&self) -> impl Iterator<Item = u64> {
        let leader = self.leader().and_then(|at| self.nodes.get(at)).map(|leader| &leader.name);
        let lost = self.lost();
        let is_due = move |node: &&NodeHandle| {
            !lost.contains(&node.id)
                && !leader.is_some_and(|leader| self.is_cut(leader, &node.name))
        };
        self.nodes.iter().filter(is_due).map(|node| node.id)
    }

    /// Whether all nodes that must be well have shown their last state, and it is the same.
    fn converged(&self) -> bool {
        let evidence = self.notebook.evidence.borrow();
        let mut states = self.due().map(|id| {
            let shown = evidence.finals.contains_key(&id);
            evidence.applied.get(&id).filter(|_| shown)
        });
        let first = states.next().flatten();
        first.is_some() && states.all(|state| state == first)
    }

    /// All is at rest: each node is asked whether it serves. A process whose disk was spoilt and that ends again and again has said why.
    fn ask_all(&mut self, now: Duration) {
        let abandoned = &self.plan.head.abandoned;
        let runs = |node: &&NodeHandle| {
            node.down_until.is_none()
                && node.last_end.is_none_or(|at| now > at + stops::RESTART_AFTER * 3)
        };
        let spoilt = self.nodes.iter().filter(|node| {
            self.spoilt.contains_key(&node.id) && !abandoned.contains(&node.id) && runs(node)
        });
        let spoilt = spoilt.map(|node| node.id).collect();
        let ask = Call::Ask { well: self.due().collect(), spoilt };
        self.asked_at = self.calls.send(ask).is_ok().then_some(now);
    }
}
