//! What the shell tells node-local commands about itself, and how connections come and go.

use std::rc::Rc;
use std::time::Duration;

use steadfast_core::error::ReplyError;
use steadfast_core::machine::StateMachine;
use steadfast_core::pubsub::Counts;
use steadfast_core::stamp::UnixMillis;
use steadfast_replication::gateway::{Intake, MembershipChange, Status};
use steadfast_replication::ports::Clock;

use crate::client::Client;
use crate::commands::NodeFacts;
use crate::config::Config;
use crate::refusal;
use crate::session::{Ends, Session};
use crate::shell::Shell;

impl<C: Clock> Shell<C> {
    /// Takes a connection on, unless there are too many.
    ///
    /// # Errors
    /// What the connection is told before it is closed.
    pub(crate) fn admit(&mut self, ends: Ends) -> Result<Rc<Client>, ReplyError> {
        self.figures.connections_received += 1;
        if self.closing || self.clients.len() >= self.config.maxclients {
            self.figures.connections_rejected += 1;
            let full = ReplyError::fixed("ERR max number of clients reached");
            return Err(if self.closing { refusal::shutting_down() } else { full });
        }
        let id = self.next_client;
        self.next_client += 1;
        let open = self.config.requirepass.is_empty();
        let client = Rc::new(Client::new(Session::new(id, ends, open, self.clock.wall_ms())));
        self.clients.insert(id, Rc::clone(&client));
        Ok(client)
    }

    /// A connection is gone. What it has under way goes on; nobody hears of it.
    pub(crate) fn dismiss(&mut self, id: u64) {
        let Some(client) = self.clients.remove(&id) else { return };
        let listens = client.subscriber.get() && !client.session.borrow().ends.at_sentinel;
        client.line.borrow_mut().abandon();
        if listens || client.may_wait.get().is_some() {
            // A host that is torn down comes by here as well, where there is no present time: the turn's end does the rest.
            self.departed.push(client);
            self.wakes.flush.notify_one();
        }
    }
}

impl<C: Clock> NodeFacts for Shell<C> {
    fn config(&self) -> &Config {
        &self.config
    }

    fn configure(&mut self, config: Config) {
        Self::configure(self, config);
    }

    fn machine(&self) -> &StateMachine {
        &self.machine
    }

    fn status(&self) -> &Status {
        &self.status
    }

    fn blocked_count(&self) -> usize {
        self.waiting.len()
    }

    fn node_id(&self) -> u64 {
        self.origin.node
    }

    fn is_serving(&self) -> bool {
        self.serving
    }

    fn has_lease(&self) -> bool {
        self.status.lease_index(&self.clock).is_some()
    }

    fn log_time(&self) -> UnixMillis {
        Self::log_time(self)
    }

    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn uptime_seconds(&self) -> u64 {
        self.clock.monotonic().saturating_sub(self.figures.started).as_secs()
    }

    fn other_clients(&self) -> Vec<String> {
        let now = self.clock.wall_ms();
        // The one that asks is in use, and adds itself.
        let line = |session: &Session| session.line(now, self.counts_of(session));
        let all = self.clients.values();
        all.filter_map(|client| client.session.try_borrow().ok().map(|it| line(&it))).collect()
    }

    fn subscriptions_of(&self, session: &Session) -> Counts {
        self.counts_of(session)
    }

    fn client_count(&self) -> usize {
        self.clients.len()
    }

    fn counters(&self) -> (u64, u64, u64) {
        let figures = &self.figures;
        (figures.connections_received, figures.connections_rejected, figures.commands_received)
    }

    fn scrub_rounds(&self) -> u64 {
        self.figures.scrub_rounds
    }

    fn reset_counters(&mut self) {
        let figures = &mut self.figures;
        (figures.connections_received, figures.connections_rejected) = (0, 0);
        (figures.commands_received, figures.snapshot_step_max) = (0, Duration::ZERO);
    }

    fn hand_over(&mut self, to: Option<u64>) {
        self.send(Intake::HandOver { to });
    }

    fn change_members(&mut self, change: MembershipChange) -> u64 {
        let ticket = self.status.next_ticket();
        self.send(Intake::Change { ticket, change });
        ticket
    }

    fn save(&mut self) {
        self.save_asked = true;
        self.send(Intake::Save);
    }

    fn is_saving(&self) -> bool {
        self.save_asked || self.snapshot.is_some() || self.status.is_saving()
    }

    fn last_save_ms(&self) -> u64 {
        match self.status.last_save_ms() {
            0 => self.figures.started_ms,
            saved => saved,
        }
    }

    fn snapshot_step_us_max(&self) -> u64 {
        self.figures.snapshot_step_max.as_micros() as u64
    }

    fn shut_down(&mut self) {
        self.shutdown_asked = true;
        self.wakes().flush.notify_one();
    }
}
