//! The run itself: step by step, faults begin and end, what was found ends it, and after the healing everything must come to rest.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::World;
use crate::check::Violation;
use crate::panics;
use crate::workload::Shared;

/// When everything must be done: healing, elections, what the clients still have to do.
pub(super) const DEADLINE: Duration = Duration::from_secs(90);

impl World<'_> {
    /// Steps until all is done, something is found, or the deadline has passed.
    pub(super) fn drive(&mut self, shared: &Rc<RefCell<Shared>>, clients: usize) -> Vec<Violation> {
        let heal = Duration::from_millis(self.plan.head.heal_ms);
        let mut healed = false;
        loop {
            if let Err(error) = self.sim.step() {
                return vec![Violation::new("no-node-ends", format!("a client ended: {error}"))];
            }
            let now = self.sim.elapsed();
            if now < heal {
                self.mend(now);
                self.begin_due(now);
            } else {
                if !healed {
                    healed = true;
                    self.heal();
                }
                self.end_fired(now);
                self.start_due(now);
                let mut shared = shared.borrow_mut();
                shared.healed = true;
                shared.abandoned = self.lost();
            }
            self.look_after(now);
            let panicked = panics::take().into_iter();
            self.broken.extend(panicked.map(|text| Violation::new("no-panic", text)));
            if self.found(shared) {
                return Vec::new();
            }
            let is_at_rest = || {
                let shared = shared.borrow();
                let is_done = shared.finished == clients && shared.changed == self.changes_wanted;
                healed && is_done && self.leavers.is_empty() && self.converged()
            };
            if self.asked_at.is_none() && is_at_rest() {
                self.ask_all(now);
            }
            if shared.borrow().silent.is_some() && self.converged() {
                self.note(format!("done: {:?}", shared.borrow().counts));
                return Vec::new();
            }
            if now > DEADLINE {
                return vec![self.stuck(&shared.borrow(), clients)];
            }
        }
    }

    fn found(&self, shared: &Rc<RefCell<Shared>>) -> bool {
        !shared.borrow().violations.is_empty()
            || !self.notebook.evidence.borrow().violations.is_empty()
            || !self.broken.is_empty()
    }

    fn stuck(&self, shared: &Shared, clients: usize) -> Violation {
        let text = format!(
            "{} of {clients} clients finished, {} of {} changes of members were made, {:?} do not know that they are none, nodes at {:?}",
            shared.finished,
            shared.changed,
            self.changes_wanted,
            self.leavers,
            self.notebook.evidence.borrow().applied
        );
        Violation::new("progress", text)
    }
}
