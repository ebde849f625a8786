//! How processes end and start again: killed, without power, or by themselves because their disk failed them.

use std::time::Duration;

use super::World;
use crate::check::Violation;
use crate::happened;
use crate::ports::disk::IoEvent;
use crate::trace::{SharedTrace, What, Who, note_at};

/// After which a supervisor starts a process that ended by itself.
const RESTART_AFTER: Duration = Duration::from_millis(300);

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
            if !self.spoilt.contains(&id) {
                // What it promised must be on its disk whatever happens next: the power may go right now.
                let promises = self.promises.lock().expect("no holder panics");
                self.broken.extend(promises.check(id, &platter).err());
            }
        } else {
            self.happened.count(happened::DOWN_POWER_CUTS, 1);
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.down_until = Some(until);
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
                node.mishaps = 0;
                // A trigger may have been used up by an operation that never ended.
                node.armed = node.armed.filter(|_| node.platter.lock().is_armed());
                self.sim.bounce(node.name.as_str());
            }
        }
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
            node.mishaps += mishaps.len();
            let is_excused = node.mishaps > 0 || self.spoilt.contains(&id);
            let ended = node.ended.borrow_mut().take();
            for text in mishaps {
                self.happened.count(happened::MISHAPS, 1);
                self.event(Who::Node(id), What::Note(format!("disk: {text}")));
            }
            let Some(how) = ended else { continue };
            self.event(Who::Node(id), What::Gone(format!("ended by itself: {how}")));
            if is_excused {
                self.happened.count(happened::ENDED, 1);
                self.sim.crash(self.name(at));
                if let Some(node) = self.nodes.get(at).filter(|_| !self.spoilt.contains(&id)) {
                    let promises = self.promises.lock().expect("no holder panics");
                    self.broken.extend(promises.check(id, &node.platter).err());
                }
                if let Some(node) = self.nodes.get_mut(at) {
                    node.down_until = Some(now + RESTART_AFTER);
                }
            } else {
                let text = format!("n{id} ended by itself: {how}");
                self.broken.push(Violation::new("no-node-ends", text));
            }
        }
    }
}
