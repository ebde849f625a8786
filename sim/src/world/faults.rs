//! How faults begin: when they are due, whom they mean, and what they break. What lasts is `holding.rs`, what ends a process `stops.rs`.

use std::time::Duration;

use super::World;
use super::build::CLIENTS;
use super::holding::{Broken, Holding};
use super::stops::Stop;
use crate::canary::Planted;
use crate::check::promise::Promises;
use crate::plan::{DiskError, Fault, Members, Planned, Target, Ways, When, Whom};
use crate::ports::disk::{IoTrigger, Refusal};
use crate::scenario::FORMED_MS;
use crate::trace::{What, Who};
use crate::workload::calls::Call;
use crate::workload::storm::Storm;

impl World<'_> {
    /// Begins what is due.
    pub(super) fn begin_due(&mut self, now: Duration) {
        self.begin_fired(now);
        let is_due = {
            let watched = self.promises.lock().expect("no holder panics");
            self.waiting.iter().any(|planned| self.is_due(planned, now, &watched))
        };
        if !is_due {
            return;
        }
        let (due, rest): (Vec<_>, Vec<_>) = {
            let watched = self.promises.lock().expect("no holder panics");
            let cause = |planned: &Planned| match &planned.when {
                When::Leads(_) => watched.leads.last().map(|(_, id)| *id),
                When::Message { kind, .. } => watched.last_sender(kind),
                _ => None,
            };
            let waiting = std::mem::take(&mut self.waiting).into_iter();
            waiting
                .map(|planned| (cause(&planned), planned))
                .partition(|(_, planned)| self.is_due(planned, now, &watched))
        };
        self.waiting = rest.into_iter().map(|(_, planned)| planned).collect();
        for (cause, planned) in due {
            self.begin(&planned, now, cause.map(|id| id as usize - 1));
        }
    }

    fn is_due(&self, planned: &Planned, now: Duration, watched: &Promises) -> bool {
        match &planned.when {
            When::At(ms) => now >= Duration::from_millis(*ms),
            When::After { fault, ms } => {
                let since = self.begun.get(fault);
                since.is_some_and(|since| now >= *since + Duration::from_millis(*ms))
            }
            When::Leads(nth) => watched.leads.len() as u64 >= *nth,
            When::Message { kind, nth } => watched.sent_so_far(kind) >= *nth,
            When::Io { .. } => false, // `begin_fired`
        }
    }

    /// Begins what waited for an operation of a disk, and arms the next that does.
    fn begin_fired(&mut self, now: Duration) {
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(at) else { return };
            let (id, fired) = (node.id, node.platter.lock().take_fired());
            let waits = |planned: &Planned| match &planned.when {
                When::Io { node, .. } => *node == id,
                _ => false,
            };
            if let Some(event) = fired {
                self.note(format!("n{id} is at {event}"));
                if let Some(first) = self.waiting.iter().position(waits) {
                    let planned = self.waiting.remove(first);
                    self.begin(&planned, now, Some(at));
                }
            }
            let next = self.waiting.iter().find(|planned| waits(planned));
            if let Some(planned) = next
                && let When::Io { kind, files, nth, moment, .. } = &planned.when
                && let Some(node) = self.nodes.get_mut(at)
                && node.armed != Some(planned.number)
            {
                let (kind, nth, moment) = (*kind, *nth, *moment);
                let trigger = IoTrigger { kind, among: files.among(), nth, moment };
                node.platter.lock().arm(Some(trigger));
                node.armed = Some(planned.number);
            }
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
    fn begin(&mut self, planned: &Planned, now: Duration, cause: Option<usize>) {
        let (number, until) = (planned.number, now + Duration::from_millis(planned.lasts_ms));
        self.begun.insert(number, now);
        self.happened.count(planned.fault.family(), 1);
        let text = planned.fault.to_string();
        self.event(Who::World, What::Fault { number, begins: Some(text) });
        if self.planted == Some(Planted::IdleInjector) {
            return;
        }
        let at = planned.fault.target().map_or(0, |target| self.place(target, cause));
        let holding = |broken: Broken, ms: u64| Holding { number, broken, node: at, ms, until };
        let holdings: Vec<Holding> = match &planned.fault {
            Fault::Kill { .. } => return self.stop(at, until, Stop::Kill),
            Fault::End { .. } => {
                return self.tell_to_end(at, now, Duration::from_millis(planned.lasts_ms));
            }
            Fault::PowerCut { silent, .. } => {
                return self.stop(at, until, Stop::Power { number, silent: *silent });
            }
            Fault::PowerCutAll => return self.cut_all_power(planned, now),
            Fault::Cut { ways, from, held, .. } => {
                let links = self.links(at, *ways, *from).into_iter();
                let broken = |(one, other)| {
                    if *held { Broken::Held(one, other) } else { Broken::Link(one, other) }
                };
                links.map(|link| holding(broken(link), 0)).collect()
            }
            Fault::SlowNetwork { ms, .. } => {
                let links = self.links(at, Ways::Out, Whom::Peers).into_iter();
                let pair = |(one, other): (String, String)| {
                    if one < other { Broken::Delay(one, other) } else { Broken::Delay(other, one) }
                };
                links.map(|link| holding(pair(link), *ms)).collect()
            }
            Fault::Pause { .. } | Fault::Suspend { .. } => {
                let is_up = self.nodes.get(at).is_some_and(|node| node.down_until.is_none());
                let mut broken = vec![Broken::Paused(at)];
                if matches!(planned.fault, Fault::Suspend { .. }) {
                    broken.push(Broken::Suspended(at));
                }
                broken.into_iter().filter(|_| is_up).map(|broken| holding(broken, 0)).collect()
            }
            Fault::SlowDisk { ms, .. } => vec![holding(Broken::Disk(at), *ms)],
            Fault::DiskFull { free_bytes, .. } => {
                vec![holding(Broken::Full(at, *free_bytes), 0)]
            }
            Fault::Streams { over, trouble, .. } => {
                vec![holding(Broken::Streams(at, *over, *trouble), 0)]
            }
            Fault::Change { members } => return self.change_members(*members),
            Fault::Storm { visitors, .. } => {
                return self.call_storm(planned, now, at as u64 + 1, *visitors);
            }
            Fault::ClockFrozen { .. } => vec![holding(Broken::Frozen(at), 0)],
            Fault::ClockRate { ppm, .. } => vec![holding(Broken::Rate(at, *ppm), 0)],
            Fault::ClockJump { ms, .. } => {
                self.nodes.get(at).into_iter().for_each(|node| node.clock.jump(*ms));
                Vec::new()
            }
            Fault::DiskError { error, .. } => return self.fail_once(at, *error),
            Fault::Release { next, .. } => {
                self.nodes.get(at).into_iter().for_each(|node| node.next_release.set(*next));
                Vec::new()
            }
            Fault::Rot { .. } | Fault::Wipe { .. } | Fault::PutBack { .. } => {
                return self.spoil(at, planned, until);
            }
        };
        holdings.into_iter().for_each(|holding| self.start_holding(holding));
    }

    fn call_storm(&self, planned: &Planned, now: Duration, node: u64, visitors: u64) {
        let strict = now >= Duration::from_millis(FORMED_MS)
            && self.plan.faults.iter().all(|other| other.fault.family() == "storm");
        let (stays, number) = (Duration::from_millis(planned.lasts_ms), planned.number);
        // Once all clients are done nobody attends to storms any more.
        let _ = self.calls.send(Call::Storm(Storm { node, visitors, stays, number, strict }));
    }

    /// An operator begins to ask for other members.
    fn change_members(&mut self, members: Members) {
        let (comes, goes) = match members {
            Members::Add(id) => (Some(id), None),
            Members::Remove(id) => (None, Some(id)),
            Members::Replace { old, new } => (Some(new), Some(old)),
        };
        self.members.extend(comes);
        if let Some(id) = goes {
            self.members.remove(&id);
            self.leavers.insert(id);
        }
        self.changes_wanted += 1;
        let _ = self.calls.send(Call::Change(members)); // as with storms
    }

    fn cut_all_power(&mut self, planned: &Planned, now: Duration) {
        let number = planned.number;
        let mut draws = self.draws_of(number, 0);
        for at in 0..self.nodes.len() {
            let down = Duration::from_millis(draws.between(50, planned.lasts_ms.max(50)));
            self.stop(at, now + down, Stop::Power { number, silent: false });
        }
    }

    fn fail_once(&self, at: usize, error: DiskError) {
        let Some(node) = self.nodes.get(at) else { return };
        let mut platter = node.platter.lock();
        let faults = &mut platter.faults;
        match error {
            DiskError::Sync => faults.sync_fails_once = true,
            DiskError::Write(hundredths) => faults.write_fails_once = Some(hundredths),
            DiskError::Read => faults.read_fails_once = true,
            DiskError::Denied => faults.open_fails_once = Some(Refusal::Denied),
            DiskError::TooManyFiles => faults.open_fails_once = Some(Refusal::TooManyFiles),
        }
    }

    /// What lies on a disk changes behind the node's back. Only nodes that the plan allows it may meet that: a minority.
    fn spoil(&mut self, at: usize, planned: &Planned, until: Duration) {
        let Some(node) = self.nodes.get(at) else { return };
        let (id, platter) = (node.id, node.platter.clone());
        if !self.plan.head.rotten.contains(&id) {
            self.note(format!("n{id} is spared: another copy of what it holds must stay whole"));
            return;
        }
        let mut draws = self.draws_of(planned.number, id);
        match &planned.fault {
            Fault::Rot { rot, files, .. } => {
                let done = platter.lock().rot(*rot, files.among(), &mut draws);
                if let Some(text) = &done {
                    self.spoilt.entry(id).or_default().rotten = true;
                    self.note(format!("n{id}: {text}"));
                }
            }
            Fault::PutBack { way, .. } => {
                let backup = platter.copy();
                self.backups.push((until, at, backup, *way));
            }
            _ => {
                self.spoilt.entry(id).or_default().exchanged = true;
                self.stop(at, until, Stop::Kill);
                platter.lock().wipe();
                self.notebook.evidence.borrow_mut().forgets(id);
            }
        }
    }

    /// Puts old copies back whose time has come. Afterwards the machine starts with them.
    pub(super) fn put_back(&mut self, now: Duration) {
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.backups).into_iter().partition(|(when, ..)| *when <= now);
        self.backups = rest;
        for (_, at, backup, way) in due {
            self.stop(at, now + Duration::from_millis(50), Stop::Kill);
            let Some(node) = self.nodes.get(at) else { return };
            let id = node.id;
            node.platter.restore_from(&backup, way);
            self.spoilt.entry(id).or_default().exchanged = true;
            self.notebook.evidence.borrow_mut().forgets(id);
            self.event(Who::Node(id), What::Gone("its disk is put back to an older state".into()));
        }
    }

    pub(super) fn name(&self, at: usize) -> String {
        self.nodes.get(at).map_or_else(String::new, |node| node.name.clone())
    }

    /// The links that a cut concerns, each as (from, to).
    fn links(&self, at: usize, ways: Ways, from: Whom) -> Vec<(String, String)> {
        let peers = || (0..self.nodes.len()).filter(|other| *other != at).map(|at| self.name(at));
        let clients = || std::iter::once(CLIENTS.to_owned());
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
                links.push((own.clone(), other.clone()));
            }
            if ways != Ways::Out {
                links.push((other, own.clone()));
            }
        }
        links
    }
}
