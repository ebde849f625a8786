//! How faults begin, hold and end. Faults may overlap: what two of them hold broken is whole again when the last of them is over.

use std::time::Duration;

use super::World;
use crate::happened;
use crate::plan::{Fault, Planned, Target, Ways, When, Whom};
use crate::trace::{What, Who};

/// Until when something holds that only the end of the run can end.
const FOR_EVER: Duration = Duration::MAX;

/// What a fault holds broken; nodes by their place in the world, other hosts by name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Broken {
    /// What one host sends to another is lost.
    Link(String, String),
    /// What two hosts send each other waits.
    Held(String, String),
    /// Messages between two hosts are slow.
    Delay(String, String),
    /// A process.
    Paused(usize),
    /// A disk.
    Disk(usize),
}

/// Something that a fault under way holds broken.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    /// The fault's number.
    number: u32,
    broken: Broken,
    /// The node that it was meant for.
    node: usize,
    /// How slow, of a disk or a delay.
    ms: u64,
    until: Duration,
}

impl World<'_> {
    /// Starts what has been down long enough, and undoes faults whose time is over.
    pub(super) fn mend(&mut self, now: Duration) {
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(at) else { return };
            if node.down_until.is_some_and(|until| until <= now) {
                node.down_until = None;
                self.sim.bounce(node.name.as_str());
            }
        }
        self.end_faults(|holding| holding.until <= now);
    }

    /// Everything is mended, or a quorum is: the rest stays as it is for ever.
    pub(super) fn heal(&mut self) {
        self.waiting.clear();
        let abandoned = self.plan.head.abandoned.clone();
        for node in &mut self.nodes {
            if abandoned.contains(&node.id) {
                node.down_until = node.down_until.map(|_| FOR_EVER);
            } else if node.down_until.is_some() {
                node.down_until = Some(Duration::ZERO);
            }
        }
        let ids: Vec<u64> = self.nodes.iter().map(|node| node.id).collect();
        let is_abandoned = |at: usize| ids.get(at).is_some_and(|id| abandoned.contains(id));
        self.faults.iter_mut().for_each(|holding| {
            holding.until = if is_abandoned(holding.node) { FOR_EVER } else { Duration::ZERO };
        });
        self.mend(Duration::ZERO);
        let what = if abandoned.is_empty() {
            "everything is healed".to_owned()
        } else {
            format!("everything is healed but for {abandoned:?}")
        };
        self.note(what);
    }

    fn end_faults(&mut self, is_over: impl Fn(&Holding) -> bool) {
        let (over, rest): (Vec<Holding>, _) =
            std::mem::take(&mut self.faults).into_iter().partition(is_over);
        self.faults = rest;
        let mut last = None;
        for holding in over {
            self.hold(&holding.broken);
            let again = self.faults.iter().any(|other| other.number == holding.number);
            if last != Some(holding.number) && !again {
                self.event(Who::World, What::Fault { number: holding.number, begins: None });
            }
            last = Some(holding.number);
        }
    }

    /// Begins what is due.
    pub(super) fn begin_due(&mut self, now: Duration) {
        let begun = &self.begun;
        let watched = self.promises.lock().expect("no holder panics");
        let is_due = |planned: &Planned| match &planned.when {
            When::At(ms) => now >= Duration::from_millis(*ms),
            When::After { fault, ms } => {
                begun.get(fault).is_some_and(|since| now >= *since + Duration::from_millis(*ms))
            }
            When::Leads(nth) => watched.leads.len() as u64 >= *nth,
            When::Message { kind, nth } => watched.sent_so_far(kind) >= *nth,
            When::Io { .. } => false,
        };
        if !self.waiting.iter().any(is_due) {
            return;
        }
        let (due, rest): (Vec<Planned>, _) = self.waiting.iter().cloned().partition(is_due);
        let cause = |planned: &Planned| match &planned.when {
            When::Leads(_) => watched.leads.last().map(|(_, id)| *id),
            When::Message { kind, .. } => watched.last_sender(kind),
            _ => None,
        };
        let due: Vec<(Planned, Option<u64>)> =
            due.into_iter().map(|planned| (planned.clone(), cause(&planned))).collect();
        drop(watched);
        self.waiting = rest;
        for (planned, cause) in due {
            self.begin(&planned, now, cause.map(|id| id as usize - 1));
        }
    }

    /// The place of the node that led last.
    pub(super) fn leader(&self) -> Option<usize> {
        let watched = self.promises.lock().expect("no holder panics");
        watched.leads.last().map(|(_, id)| *id as usize - 1)
    }

    /// The place of a fault's node.
    fn place(&self, target: Target, cause: Option<usize>) -> usize {
        let count = self.nodes.len();
        let leader = || self.leader().unwrap_or(0).min(count - 1);
        match target {
            Target::Node(id) => (id as usize).saturating_sub(1).min(count - 1),
            Target::Leader => leader(),
            Target::Follower => (leader() + 1) % count,
            Target::Cause => cause.unwrap_or(0),
        }
    }

    /// Begins one fault. `cause` is the node whose doing was waited for.
    pub(super) fn begin(&mut self, planned: &Planned, now: Duration, cause: Option<usize>) {
        let (number, until) = (planned.number, now + Duration::from_millis(planned.lasts_ms));
        self.begun.insert(number, now);
        self.happened.count(planned.fault.family(), 1);
        let text = planned.fault.to_string();
        self.event(Who::World, What::Fault { number, begins: Some(text) });
        let mut holdings = Vec::new();
        let mut add = |node: usize, broken: Broken, ms: u64| {
            holdings.push(Holding { number, broken, node, ms, until });
        };
        match &planned.fault {
            Fault::Kill { node } => {
                let at = self.place(*node, cause);
                self.stop(at, until, None);
            }
            Fault::PowerCut { node, silent } => {
                let at = self.place(*node, cause);
                if *silent {
                    // The links must be dead before the process is: else its sockets say goodbye.
                    for link in self.links(at, Ways::Both, Whom::All) {
                        add(at, link, 0);
                    }
                }
                for holding in std::mem::take(&mut holdings) {
                    self.start_holding(holding);
                }
                self.stop(at, until, Some(number));
            }
            Fault::PowerCutAll => {
                let mut draws = self.draws_of(number, 0);
                for at in 0..self.nodes.len() {
                    let down = draws.between(50, planned.lasts_ms.max(50));
                    self.stop(at, now + Duration::from_millis(down), Some(number));
                }
            }
            Fault::Cut { node, ways, from, held } => {
                let at = self.place(*node, cause);
                for link in self.links(at, *ways, *from) {
                    match link {
                        Broken::Link(a, b) if *held => add(at, Broken::Held(a, b), 0),
                        link => add(at, link, 0),
                    }
                }
            }
            Fault::SlowNetwork { node, ms } => {
                let at = self.place(*node, cause);
                for other in (0..self.nodes.len()).filter(|other| *other != at) {
                    add(at, Broken::Delay(self.name(at), self.name(other)), *ms);
                }
            }
            Fault::Pause { node } => {
                let at = self.place(*node, cause);
                if self.nodes.get(at).is_some_and(|node| node.down_until.is_none()) {
                    add(at, Broken::Paused(at), 0);
                }
            }
            Fault::SlowDisk { node, ms } => {
                let at = self.place(*node, cause);
                add(at, Broken::Disk(at), *ms);
            }
            Fault::ClockJump { node, ms } => {
                let at = self.place(*node, cause);
                if let Some(node) = self.nodes.get(at) {
                    node.clock.jump(*ms);
                }
            }
        }
        holdings.into_iter().for_each(|holding| self.start_holding(holding));
    }

    fn start_holding(&mut self, holding: Holding) {
        let broken = holding.broken.clone();
        self.faults.push(holding);
        self.hold(&broken);
    }

    fn name(&self, at: usize) -> String {
        self.nodes.get(at).map_or_else(String::new, |node| node.name.clone())
    }

    /// The links that a cut concerns, each as a direction.
    fn links(&self, at: usize, ways: Ways, from: Whom) -> Vec<Broken> {
        let peers = || (0..self.nodes.len()).filter(|other| *other != at).map(|at| self.name(at));
        let clients = || (1..=self.plan.head.clients).map(|number| format!("c{number}"));
        let others: Vec<String> = match from {
            Whom::Peers => peers().collect(),
            Whom::Clients => clients().collect(),
            Whom::All => peers().chain(clients()).collect(),
            Whom::Node(id) => peers().filter(|name| *name == format!("n{id}")).collect(),
        };
        let own = self.name(at);
        let mut links = Vec::new();
        for other in others {
            if ways != Ways::In {
                links.push(Broken::Link(own.clone(), other.clone()));
            }
            if ways != Ways::Out {
                links.push(Broken::Link(other, own.clone()));
            }
        }
        links
    }

    /// Brings something into the state that the faults under way ask for: that of the worst, or whole if there is none.
    fn hold(&mut self, broken: &Broken) {
        let same = self.faults.iter().filter(|holding| holding.broken == *broken);
        let worst = same.map(|holding| holding.ms).max();
        match broken {
            Broken::Link(from, to) | Broken::Held(from, to) => self.hold_link(from, to),
            Broken::Paused(at) => {
                if let Some(node) = self.nodes.get(*at) {
                    node.switch.set(worst.is_some());
                }
            }
            Broken::Disk(at) => {
                let Some(node) = self.nodes.get(*at) else { return };
                node.platter.lock().faults.sync_takes = Duration::from_millis(worst.unwrap_or(0));
            }
            Broken::Delay(one, other) => {
                let ms = worst.unwrap_or(self.plan.head.latency_ms);
                let latency = Duration::from_millis(ms);
                self.sim.set_link_max_message_latency(one.as_str(), other.as_str(), latency);
            }
        }
    }

    /// Whether anything between two hosts is lost or waits.
    pub(super) fn is_cut(&self, one: &str, other: &str) -> bool {
        self.faults.iter().any(|holding| match &holding.broken {
            Broken::Link(a, b) | Broken::Held(a, b) => {
                [(one, other), (other, one)].contains(&(a.as_str(), b.as_str()))
            }
            _ => false,
        })
    }

    /// A link is cut, each way of its own, or its messages wait both ways, or it is sound. What waited when it is cut comes before the
    /// cut: a network that loses packets may still deliver some.
    fn hold_link(&mut self, one: &str, other: &str) {
        let wanted = |broken: Broken| self.faults.iter().any(|holding| holding.broken == broken);
        let link = |a: &str, b: &str| Broken::Link(a.to_owned(), b.to_owned());
        let lost = [wanted(link(one, other)), wanted(link(other, one))];
        let is_wait = |a: &str, b: &str| wanted(Broken::Held(a.to_owned(), b.to_owned()));
        let waits = lost == [false; 2] && (is_wait(one, other) || is_wait(other, one));
        let pair = (one.min(other).to_owned(), one.max(other).to_owned());
        if waits {
            if self.held.insert(pair) {
                self.sim.hold(one, other);
            }
            return;
        }
        if self.held.remove(&pair) {
            self.sim.release(one, other);
        }
        for ((from, to), lost) in [(one, other), (other, one)].into_iter().zip(lost) {
            if lost {
                self.sim.partition_oneway(from, to);
            } else {
                self.sim.repair_oneway(from, to);
            }
        }
    }

    /// Ends a process, if it runs; a loss of power, by the fault of this number, also takes what the disk had not synced, whether it
    /// runs or not.
    fn stop(&mut self, at: usize, until: Duration, power: Option<u32>) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let was_up = node.down_until.is_none();
        if !was_up && power.is_none() {
            return;
        }
        if was_up {
            if let Some(disk) = node.mounted.borrow_mut().take() {
                disk.kill(); // nothing that the dying tasks drop can reach the disk
            }
            self.sim.crash(node.name.as_str());
            node.ended.borrow_mut().take();
            self.faults.retain(|holding| holding.broken != Broken::Paused(at));
            node.switch.set(false);
            // What it promised must be on its disk whatever happens next: the power may go right now.
            let promises = self.promises.lock().expect("no holder panics");
            self.broken.extend(promises.check(node.id, &node.platter).err());
        } else {
            self.happened.count(happened::DOWN_POWER_CUTS, 1);
        }
        node.down_until = Some(until);
        let (id, platter) = (node.id, node.platter.clone());
        let mut what = "is killed".to_owned();
        if let Some(number) = power {
            let mut draws = self.draws_of(number, id);
            let lost = platter.lock().power_cut(&mut draws);
            let lossy = lost.sectors + lost.names > 0;
            self.happened.count(happened::POWER_CUTS_LOSSY, u64::from(lossy));
            self.happened.count(happened::SECTORS_LOST, lost.sectors);
            self.happened.count(happened::NAMES_LOST, lost.names);
            let state = if was_up { "" } else { " while it is down" };
            what = format!(
                "loses power{state}: sectors_lost {}, names_lost {}",
                lost.sectors, lost.names
            );
        }
        self.event(Who::Node(id), What::Gone(what));
    }
}
