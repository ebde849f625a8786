//! How processes end and start again: killed, without power, or by themselves because their disk failed them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::World;
use super::excuses::{self, Mishap};
use crate::check::Violation;
use crate::happened;
use crate::ports::disk::IoEvent;
use crate::trace::{SharedTrace, What, Who, note_at};

/// After which a supervisor starts a process that ended by itself.
pub(super) const RESTART_AFTER: Duration = Duration::from_millis(300);

/// The same of one that is not needed any more: only now and then somebody tries.
const RESTART_GONE_AFTER: Duration = Duration::from_secs(3);

/// A process that was told to end has done so by then, if it was not paused meanwhile: it hands over, or gives that up, and closes its log.
const LEAVES_WITHIN: Duration = Duration::from_secs(15);

/// What is said of a process that ended without an error.
pub(super) const IN_ORDER: &str = "it ended";

/// Rung once; none before the first start, and when it was rung.
pub(super) type Bell = Rc<RefCell<Option<oneshot::Sender<()>>>>;

/// A process that was told to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    /// When.
    since: Duration,
    /// How long after its end it starts again.
    away: Duration,
}

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its machine lives on, with all that the system has in its cache.
    Kill,
    /// Its machine loses power by the fault of this number, and with it what the disk had not synced.
    Power {
        /// The fault.
        number: u32,
        /// Nobody hears that its connections are gone.
        silent: bool,
    },
}

impl World<'_> {
    /// Ends a process, if it runs; a loss of power takes what was not synced whether it runs or not.
    pub(super) fn stop(&mut self, at: usize, until: Duration, how: Stop) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let was_up = node.down_until.is_none();
        if !was_up && how == Stop::Kill {
            return;
        }
        let (id, platter) = (node.id, node.platter.clone());
        if was_up {
            if let Some(disk) = node.mounted.borrow_mut().take() {
                match how {
                    // Nothing that the dying tasks drop can reach the disk.
                    Stop::Kill | Stop::Power { silent: false, .. } => disk.kill(),
                    Stop::Power { silent: true, .. } => disk.gate().cut_power(),
                }
            }
            self.sim.crash(node.name.as_str());
            node.ended.borrow_mut().take();
            self.wake(at);
            self.hold_node_to_promises(at);
        } else {
            self.happened.count(happened::DOWN_POWER_CUTS, 1);
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.down_until = Some(until);
            node.leaving = None;
        }
        let mut what = "is killed".to_owned();
        if let Stop::Power { number, .. } = how {
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

    /// Tells a process that runs to end; its supervisor starts it again so long after its end.
    pub(super) fn tell_to_end(&mut self, at: usize, now: Duration, away: Duration) {
        let Some(node) = self.nodes.get_mut(at).filter(|node| node.down_until.is_none()) else {
            return;
        };
        let ring = node.bell.borrow_mut().take();
        // One that has just ended by itself hears nothing any more.
        if ring.is_some_and(|ring| ring.send(()).is_ok()) {
            node.leaving = Some(Leaving { since: now, away });
        }
    }

    /// A process that was told to end must do so, and in order.
    fn judge_leaving(&mut self, at: usize, now: Duration) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let (id, is_paused) = (node.id, node.switch.is_paused());
        let Some(leaving) = &mut node.leaving else { return };
        if is_paused {
            leaving.since = now;
        } else if now > leaving.since + LEAVES_WITHIN {
            let text = format!("n{id} was told to end {LEAVES_WITHIN:?} ago and still runs");
            self.broken.push(Violation::new("progress", text));
        }
    }

    /// Whether a process has ended in order because it was told to.
    fn has_left(&mut self, at: usize, how: &str, now: Duration) -> bool {
        let Some(node) = self.nodes.get_mut(at) else { return false };
        let Some(leaving) = node.leaving.take_if(|_| how == IN_ORDER) else { return false };
        node.down_until = Some(now + leaving.away);
        let id = node.id;
        self.happened.count(happened::LEFT, 1);
        self.event(Who::Node(id), What::Gone("has ended as it was told".to_owned()));
        self.sim.crash(self.name(at));
        self.hold_node_to_promises(at);
        true
    }

    /// What a node promised must be on its disk whatever happens next: the power may go right now.
    pub(super) fn hold_node_to_promises(&mut self, at: usize) {
        let Some(node) = self.nodes.get(at).filter(|node| !self.spoilt.contains_key(&node.id))
        else {
            return;
        };
        let evidence = self.notebook.evidence.borrow();
        let applied = evidence
            .applied
            .get(&node.id)
            .and_then(|(index, _)| evidence.log.get(index).map(|record| (*index, record.term)));
        let promises = self.promises.lock().expect("no holder panics");
        self.broken.extend(promises.check(node.id, &node.platter, applied, &evidence.log).err());
    }

    /// A trigger that was in flight when everything was healed still kills; its process starts at once.
    pub(super) fn end_fired(&mut self, now: Duration) {
        for at in 0..self.nodes.len() {
            let fired = self.nodes.get(at).and_then(|node| node.platter.lock().take_fired());
            if fired.is_some() {
                self.stop(at, now, Stop::Kill);
            }
        }
    }

    /// Starts what has been down long enough.
    pub(super) fn start_due(&mut self, now: Duration) {
        for node in &mut self.nodes {
            if node.down_until.is_some_and(|until| until <= now) {
                node.down_until = None;
                node.mishap = Mishap::default();
                // A trigger may have been used up by an operation that never ended.
                node.armed = node.armed.filter(|_| node.platter.lock().is_armed());
                self.sim.bounce(node.name.as_str());
            }
        }
    }

    /// Whether a node's disk holds no room for a start on it when it is full.
    fn is_bare(&self, at: usize) -> bool {
        let keeps_room = |(name, bytes): &(String, u64)| name == "reserve" && *bytes > 0;
        self.nodes.get(at).is_none_or(|node| !node.platter.lock().files().iter().any(keeps_room))
    }

    /// Processes that ended by themselves: one whose disk failed it must, and is started again; no other may.
    pub(super) fn look_after(&mut self, now: Duration) {
        let trace = SharedTrace::clone(&self.notebook.trace);
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(at) else { return };
            let id = node.id;
            let (mishaps, events) = {
                let mut platter = node.platter.lock();
                (platter.take_mishaps(), platter.take_events())
            };
            for IoEvent { kind, file, bytes, .. } in
                events.into_iter().filter(|io| io.kind.changes())
            {
                note_at(&trace, now, Who::Node(id), What::Disk { kind: kind.name(), file, bytes });
            }
            node.mishap.pass(now, !mishaps.is_empty(), node.switch.is_paused());
            let mishap = node.mishap;
            let ended = node.ended.borrow_mut().take();
            for text in mishaps {
                self.happened.count(happened::MISHAPS, 1);
                self.event(Who::Node(id), What::Note(format!("disk: {text}")));
            }
            let Some(how) = ended else {
                self.judge_leaving(at, now);
                continue;
            };
            if self.has_left(at, &how, now) {
                continue;
            }
            self.event(Who::Node(id), What::Gone(format!("ended by itself: {how}")));
            let spoils = self.spoilt.get(&id).copied();
            let has_gone = !self.members.contains(&id) && how.contains(excuses::SAID_OF_REMOVED);
            if has_gone {
                self.leavers.remove(&id);
            }
            if has_gone || mishap.excuses(&how, spoils, self.is_bare(at)) {
                self.happened.count(happened::ENDED, 1);
                self.sim.crash(self.name(at));
                self.hold_node_to_promises(at);
                if let Some(node) = self.nodes.get_mut(at) {
                    let pause = if has_gone { RESTART_GONE_AFTER } else { RESTART_AFTER };
                    node.down_until = Some(now + pause);
                    node.last_end = Some(now);
                    node.leaving = None; // its disk was faster than its own end
                }
            } else {
                let text = format!("n{id} ended by itself: {how}");
                self.broken.push(Violation::new("no-node-ends", text));
            }
        }
    }
}
