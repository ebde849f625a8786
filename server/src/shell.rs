//! The shell around the state machine: it owns the machine, the clients and the requests under way, on one thread.
//! Writes go out through `batch`, reads wait in `reads`, replies come back out of this node's own apply.
//! `dispatch` decides what a command needs; this file moves it along. Nothing here waits: every function runs to its end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::machine::{Outcome, ReadOutcome, Sink, StateMachine, WatchOutcome};
use steadfast_core::mark::{self, Mark};
use steadfast_core::pubsub::Subscriber;
use steadfast_core::reply::Reply;
use steadfast_core::stamp::UnixMillis;
use steadfast_replication::gateway::{
    CHECKPOINT_EVERY, Checkpoint, Committed, Intake, Outlet, PARCELS_INFLIGHT_BYTES_MAX, Piece,
    Role, Status,
};
use steadfast_replication::ports::Clock;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use crate::batch::{Batches, Origin};
use crate::blocking::{ENDS_WAITING, Waiting, begin_to_wait, end_waiting};
use crate::client::{Client, ExecPlan, Place, WaitingRead};
use crate::config::Config;
use crate::connection::Reader;
use crate::output_limit::OutputLimit;
use crate::pubsub::is_farewell;
use crate::reads::Rounds;
use crate::refusal;
use crate::run::Observer;
use crate::session::Consistency;
use crate::surroundings::{LuaSurroundings, contain_read};

/// Parcels under way at once. One is being synced while the next gathers; more would only make each one smaller.
const PARCELS_UNDERWAY_ALONE: usize = 2;
/// The same with peers: a round trip more is under way.
const PARCELS_UNDERWAY_CLUSTER: usize = 8;
/// Bytes of requests that may wait for a number (no leader, or a slow disk) before further ones are refused.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// How often connections are looked at for buffers that they do not use.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// Keys, or nodes of trees, that were deleted and are freed at a time: well below a millisecond.
const RECLAIM_UNITS: usize = 4096;

/// The shell, shared by the tasks of one thread.
pub(crate) type SharedShell<C> = Rc<RefCell<Shell<C>>>;
/// Who is owed the reply of a request: a client, and the ticket of its place in the line.
pub(crate) type Owner = (Rc<Client>, u64);

/// What the tasks around the shell wait for.
#[derive(Clone, Default)]
pub(crate) struct Wakes {
    /// A turn has something to hand over.
    pub(crate) flush: Rc<Notify>,
    /// A snapshot has begun.
    pub(crate) snapshot: Rc<Notify>,
    /// The node has ended.
    pub(crate) stopped: Rc<Notify>,
}

/// See the file's head.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(crate) struct Shell<C> {
    pub(crate) machine: StateMachine,
    surroundings: LuaSurroundings,
    pub(crate) config: Config,
    pub(crate) clock: C,
    pub(crate) status: Arc<Status>,
    intake: mpsc::Sender<Intake>,
    pub(crate) origin: Origin,
    observer: Rc<dyn Observer>,
    pub(crate) clients: BTreeMap<u64, Rc<Client>>,
    pub(crate) next_client: u64,
    /// The input buffer of all connections that have nothing unread.
    pub(crate) spare_reader: Option<Box<Reader>>,
    /// When connections were last looked at for buffers that they do not use.
    idle_looked: Duration,
    pub(crate) batches: Batches<Owner>,
    rounds: Rounds<Owner>,
    /// Who is owed the reply of a request that waits for a key.
    pub(crate) waiting: Waiting,
    /// Clients whose line may have come to a read while replies were filled in.
    pub(crate) stirred: Vec<Rc<Client>>,
    /// Transactions that were applied this turn and hold local commands, which need the whole shell to run.
    executed: Vec<Executed>,
    /// Applied index at which a tick was last asked for.
    tick_asked_at: Option<u64>,
    /// Whether this incarnation is registered in the state: from then on clients are served.
    pub(crate) serving: bool,
    pub(crate) closing: bool,
    /// Subscribers whose connections are gone, and whose subscriptions are to end.
    pub(crate) departed: Vec<Rc<Client>>,
    /// Who was last known to lead; 0 before anybody was.
    pub(crate) known_leader: u64,
    /// A client said SHUTDOWN.
    pub(crate) shutdown_asked: bool,
    /// A client said BGSAVE, and no snapshot has begun since.
    pub(crate) save_asked: bool,
    /// Where the state goes that is being written down.
    pub(crate) snapshot: Option<mpsc::Sender<Piece>>,
    /// The log was asked to close.
    log_closing: bool,
    /// When memory is next read again.
    pub(crate) scrub_from: Duration,
    end: Option<Result<(), String>>,
    pub(crate) wakes: Wakes,
    pub(crate) figures: crate::figures::Figures,
}

/// An empty state, as a release makes it that knows levels up to this one.
fn machine_of(level: u32) -> StateMachine {
    StateMachine::new().of_release(level).expect("a new state is of the first level")
}

impl<C: Clock> Shell<C> {
    pub(crate) fn new(
        config: Config,
        clock: C,
        status: Arc<Status>,
        intake: mpsc::Sender<Intake>,
        origin: Origin,
        observer: Rc<dyn Observer>,
    ) -> Self {
        let (started, wall_ms) = (clock.monotonic(), clock.wall_ms());
        Self {
            machine: machine_of(config.level),
            surroundings: LuaSurroundings::new(),
            config,
            clock,
            status,
            intake,
            origin,
            observer,
            clients: BTreeMap::new(),
            next_client: 1,
            spare_reader: None,
            idle_looked: started,
            batches: Batches::new(),
            rounds: Rounds::new(),
            waiting: Waiting::new(),
            stirred: Vec::new(),
            executed: Vec::new(),
            tick_asked_at: None,
            serving: false,
            closing: false,
            departed: Vec::new(),
            known_leader: 0,
            shutdown_asked: false,
            save_asked: false,
            snapshot: None,
            log_closing: false,
            scrub_from: started,
            end: None,
            wakes: Wakes::default(),
            figures: crate::figures::Figures::new(started, wall_ms),
        }
    }

    pub(crate) fn wakes(&self) -> Wakes {
        self.wakes.clone()
    }

    /// Log time as this node estimates it.
    pub(crate) fn log_time(&self) -> UnixMillis {
        UnixMillis(self.status.log_time_ms(&self.clock)).max(self.machine.last_stamp().time)
    }

    /// When a request that arrives now has waited long enough, on the monotonic clock.
    pub(crate) fn deadline(&self) -> Duration {
        self.clock.monotonic() + self.config.request_timeout()
    }

    /// Changes settings. A shorter time-out holds for those who wait already.
    pub(crate) fn configure(&mut self, config: Config) {
        let shorter = config.request_timeout() < self.config.request_timeout();
        self.config = config;
        if shorter {
            let deadline = self.deadline();
            self.batches.shorten(deadline);
            self.rounds.shorten(deadline);
        }
    }

    /// The applied index at which a read that comes now may run without asking anybody; none if it needs a round. A node that
    /// is the quorum alone acknowledges nothing that it has not applied. A leader under its lease knows what is committed, which
    /// may be more than it has applied: another node may have acknowledged it already.
    pub(crate) fn index_at_once(&self, consistency: Consistency) -> Option<u64> {
        let any = consistency == Consistency::Stale
            || self.status.sole_voter()
            || is_planted(Canary::ReadWithoutIndex);
        if any {
            return Some(0);
        }
        let index = self.status.lease_index(&self.clock)?;
        Some(if is_planted(Canary::LeaseReadsApplied) { 0 } else { index })
    }

    /// The time that a read goes by. One that may be stale sees the state as the last applied entry left it.
    pub(crate) fn reading_time(&self, consistency: Consistency) -> UnixMillis {
        match consistency {
            Consistency::Linearizable => self.log_time(),
            Consistency::Stale => self.machine.last_stamp().time,
        }
    }

    // ---- writes ----------------------------------------------------------------------------------------------

    /// Puts a request of `client` into the open batch, and answers the ticket of its place; `encode` gets the request's `latest` stamp.
    /// Reads of the connection that have not run yet go in front of it: otherwise the write would overtake them.
    pub(crate) fn submit(
        &mut self,
        client: &Rc<Client>,
        place: Place,
        encode: impl FnOnce(&mut Vec<u8>, UnixMillis),
    ) -> u64 {
        let deadline = self.deadline();
        let latest = self.latest();
        let mut line = client.line.borrow_mut();
        let batches = &mut self.batches;
        let mut take_along = |ticket, read: &WaitingRead| {
            let argv: Vec<&[u8]> = read.argv.iter().map(Vec::as_slice).collect();
            batches.push(deadline, (Rc::clone(client), ticket), |open| {
                steadfast_core::entry::push_command(open, client.id, latest, read.db as u8, &argv);
            });
        };
        if !is_planted(Canary::WriteOvertakesRead) {
            line.batch_reads(&mut take_along);
        }
        let ticket = line.stand(place);
        batches.push(deadline, (Rc::clone(client), ticket), |open| encode(open, latest));
        self.wakes.flush.notify_one();
        ticket
    }

    /// Apply answers "not applied" past this stamp, so that nothing surfaces long after its client was answered.
    fn latest(&self) -> UnixMillis {
        let timeout = self.config.request_timeout().as_millis();
        self.log_time().plus(u64::try_from(timeout).unwrap_or(u64::MAX))
    }

    /// Whether a further request may wait: otherwise it is refused, definitely not applied.
    pub(crate) fn has_room(&self) -> bool {
        self.batches.waiting_bytes() < WAITING_BYTES_MAX
    }

    /// Ends a turn: begins a read round and numbers waiting requests, as far as the bounds let them go.
    pub(crate) fn flush(&mut self) {
        if self.shutdown_asked {
            self.begin_shutdown();
        }
        self.leave_departed();
        if let Some(round) = self.rounds.begin() {
            self.send(Intake::Read { round });
        }
        let underway_max = if self.status.sole_voter() {
            PARCELS_UNDERWAY_ALONE
        } else {
            PARCELS_UNDERWAY_CLUSTER
        };
        while self.serving
            && self.status.leader_id() != 0
            && self.batches.has_waiting()
            && self.batches.parcels_inflight() < underway_max
            && self.batches.bytes_inflight() < PARCELS_INFLIGHT_BYTES_MAX
        {
            let (batches, intake) = (&mut self.batches, &self.intake);
            let mut sent = Ok(());
            batches.number(self.origin, |sequence, op| {
                let parcel = intake.try_send(Intake::Parcel { sequence, op });
                sent = std::mem::replace(&mut sent, Ok(())).and(parcel);
            });
            if let Err(error) = sent {
                self.not_sent(&error);
                return;
            }
        }
    }

    pub(crate) fn send(&mut self, message: Intake) {
        if let Err(error) = self.intake.try_send(message) {
            self.not_sent(&error);
        }
    }

    /// Replication takes nothing any more. If it has ended it has said why: its last word waits to be received, and is not cut short.
    fn not_sent(&mut self, error: &TrySendError<Intake>) {
        if let TrySendError::Full(_) = error {
            let text = "the replication thread takes nothing any more. Every acknowledged write is in the log; start this node \
                        again, and look at its disk if it comes back.";
            self.stop(Err(text.to_owned()));
        }
    }

    // ---- reads -----------------------------------------------------------------------------------------------

    /// A read that can't run at once takes its place: it waits for its index to be applied, or joins the next round for one.
    pub(crate) fn enqueue_read(&mut self, client: &Rc<Client>, mut read: WaitingRead) {
        read.index = self.index_at_once(read.consistency);
        let index = read.index;
        let ticket = client.line.borrow_mut().stand(Place::Read(Box::new(read)));
        match index {
            Some(index) if index <= self.machine.applied_index() => self.run_reads(client),
            Some(index) => {
                self.rounds.await_index(index, self.deadline(), (Rc::clone(client), ticket));
            }
            None => {
                if self.status.role() == Role::Leader {
                    mark::reached(Mark::LeaseOver);
                }
                self.rounds.join(self.deadline(), (Rc::clone(client), ticket));
                self.wakes.flush.notify_one();
            }
        }
    }

    /// Runs the reads at the head of a client's line whose index the state has reached, in order.
    pub(crate) fn run_reads(&mut self, client: &Rc<Client>) {
        let applied = self.machine.applied_index();
        let seed = self.figures.read_seed();
        let mut wait_for = None;
        let mut line = client.line.borrow_mut();
        while line.run_head(applied, |read| {
            let argv: Vec<&[u8]> = read.argv.iter().map(Vec::as_slice).collect();
            let clock = self.reading_time(read.consistency);
            let outcome = if read.watch {
                self.watch_keys(client, read.db, &argv, clock)
            } else {
                contain_read(|| self.machine.read(read.db, &argv, clock, seed))
            };
            match outcome {
                ReadOutcome::Reply(reply) => Some(reply),
                ReadOutcome::AwaitStamp(stamp) => {
                    wait_for = Some(stamp);
                    None
                }
            }
        }) {}
        if let Some(stamp) = wait_for {
            mark::reached(Mark::ReadAwaitedTick);
            // It goes on when the log has caught up with the clock.
            if let Some((ticket, deadline)) = line.await_stamp(stamp, self.deadline()) {
                self.rounds.await_stamp(stamp, deadline, (Rc::clone(client), ticket));
            }
        }
        line.wake();
        drop(line);
        if wait_for.is_some() {
            self.ask_for_tick();
        }
    }

    /// WATCH: remembers the precondition of each key in the session.
    pub(crate) fn watch_keys(
        &self,
        client: &Rc<Client>,
        db: usize,
        argv: &[&[u8]],
        clock: UnixMillis,
    ) -> ReadOutcome<'static> {
        let mut watched = Vec::new();
        for key in argv.iter().skip(1) {
            match self.machine.watch(db, key, clock) {
                WatchOutcome::Token(token) => watched.push(token),
                WatchOutcome::AwaitStamp(stamp) => return ReadOutcome::AwaitStamp(stamp),
            }
        }
        client.session.borrow_mut().watch(watched);
        ReadOutcome::Reply(Reply::Ok)
    }

    fn ask_for_tick(&mut self) {
        let at = Some(self.machine.applied_index());
        if self.status.role() == Role::Leader && self.tick_asked_at != at {
            self.tick_asked_at = at;
            self.send(Intake::Tick);
        }
    }

    // ---- what comes back -------------------------------------------------------------------------------------

    /// Takes one message of replication.
    pub(crate) fn take(&mut self, message: Outlet) {
        match message {
            Outlet::Apply { entries } => self.apply(&entries),
            Outlet::Restore { index, chunks } => self.restore(index, &chunks),
            Outlet::ReadIndex { round, index } => self.confirm_round(round, index),
            Outlet::TakeSnapshot { pieces } => self.begin_snapshot(pieces),
            Outlet::StatusChanged => {
                self.watch_leader();
                self.wakes.flush.notify_one();
            }
            Outlet::Fatal(text) => self.stop(Err(text)),
            Outlet::Stopped => self.stop(Ok(())),
        }
    }

    fn apply(&mut self, entries: &[Committed]) {
        let mut checkpoints = Vec::new();
        let mut replies = Replies {
            batches: &mut self.batches,
            waiting: &mut self.waiting,
            origin: self.origin,
            stirred: &mut self.stirred,
            executed: &mut self.executed,
            clients: &self.clients,
            limit: self.config.output_limits.pubsub,
            now: self.clock.monotonic(),
        };
        for entry in entries {
            #[cfg(feature = "canaries")]
            if is_planted(Canary::LocalClockExpiry) {
                self.machine.expire_by_local_clock(UnixMillis(self.clock.wall_ms()));
            }
            let applied = self.machine.apply(
                entry.index,
                &entry.payload,
                &mut self.surroundings,
                &mut replies,
            );
            if let Err(error) = applied {
                let text = format!(
                    "the log entry {} can't be applied: {error}. It was committed and is kept in the log; nothing \
                     was changed or lost. It may come from a newer release: start that one here.",
                    entry.index
                );
                self.stop(Err(text));
                return;
            }
            self.observer.applied(entry.index, entry.term, &entry.payload, &self.machine);
            if entry.index % CHECKPOINT_EVERY == 0 {
                checkpoints.push(Checkpoint { index: entry.index, digest: self.machine.digest() });
            }
        }
        checkpoints.into_iter().for_each(|own| self.send(Intake::Checkpoint(own)));
    }

    /// After a turn's messages: tells replication how far the state is, and runs what waited for that.
    pub(crate) fn settle(&mut self) {
        let index = self.machine.applied_index();
        let own = self.machine.gateway(self.origin.node);
        let own = own.filter(|gateway| gateway.incarnation == self.origin.incarnation);
        self.serving |= own.is_some();
        if own.is_some_and(|gateway| gateway.retired) {
            self.close_subscribers(None);
        }
        let passed = own.map_or(0, |gateway| gateway.passed);
        self.send(Intake::Applied { index, passed, registered: own.is_some() });

        for Executed { owner: (client, ticket), plan, applied } in
            std::mem::take(&mut self.executed)
        {
            let reply = self.finish_exec(&client, *plan, applied);
            fill(&mut self.stirred, &client, ticket, &reply);
        }
        for client in std::mem::take(&mut self.stirred) {
            self.run_reads(&client);
        }
        self.run_reached();
        let stamp = self.machine.last_stamp().time;
        for (client, _) in self.rounds.stamped(stamp) {
            self.run_reads(&client);
        }
        if self.machine.next_deadline().is_some_and(|due| due <= stamp) {
            self.ask_for_tick(); // one entry deletes a bounded number of due keys
        }
        self.machine.reclaim(RECLAIM_UNITS);
        self.flush();
        self.close_log();
    }

    fn confirm_round(&mut self, round: u64, index: u64) {
        let index = if is_planted(Canary::ReadBeforeApplied) { 0 } else { index };
        self.rounds.finish(round, index, |(client, ticket)| {
            client.line.borrow_mut().confirm_read(*ticket, index);
        });
        self.run_reached();
    }

    /// Runs the reads whose index the state has reached.
    fn run_reached(&mut self) {
        while let Some(reads) = self.rounds.reached(self.machine.applied_index()) {
            reads.for_each(|(client, _)| self.run_reads(&client));
        }
    }

    fn restore(&mut self, index: u64, chunks: &[Bytes]) {
        if self.machine.applied_index() > 0 {
            mark::reached(Mark::InstalledOverState);
        }
        let restored = StateMachine::restore(&mut chunks.iter().map(|chunk| &chunk[..]));
        let later = |error: &dyn std::fmt::Display| {
            format!(
                "the state at entry {index} can't be gone on with: {error}. Nothing was changed or lost: start the release here that the \
                 other nodes run, or that has run here."
            )
        };
        let restored = match restored.map(|machine| machine.of_release(self.config.level)) {
            Err(error) if error.is_of_later_release() => return self.stop(Err(later(&error))),
            Ok(Err(error)) => return self.stop(Err(later(&error))),
            Err(error) => Err(error),
            Ok(Ok(machine)) => Ok(machine),
        };
        match restored {
            Ok(machine) if machine.applied_index() == index => {
                let before = std::mem::replace(&mut self.machine, machine);
                self.snapshot = None; // it was one of the state before
                self.close_subscribers(Some(&before)); // what was published meanwhile never comes by here
            }
            Ok(machine) => {
                let found = machine.applied_index();
                return self.stop(Err(format!(
                    "the snapshot of index {index} holds the state of index {found}. Nothing was changed."
                )));
            }
            Err(error) => {
                return self.stop(Err(format!(
                    "the snapshot of index {index} can't be read: {error}. The log and the other nodes are untouched; \
                     restore this data directory from a backup, or replace this node by a new one (steadfast cluster replace)."
                )));
            }
        }
        self.observer.restored(&self.machine);
        let gateways =
            self.machine.gateways().map(|(node, own)| (node, own.incarnation, own.passed));
        let (gateways, stamp_ms) = (gateways.collect(), self.machine.last_stamp().time.0);
        let level = self.machine.level();
        self.send(Intake::Restored { index, stamp_ms, level, gateways });
        // Replies of batches that the installed state has passed never came by here.
        let own = self.machine.gateway(self.origin.node);
        let passed = own
            .filter(|own| own.incarnation == self.origin.incarnation)
            .map_or(0, |own| own.passed);
        self.wait_as_restored();
        let stirred = &mut self.stirred;
        self.batches.passed(passed, |(client, ticket)| {
            mark::reached(Mark::ReplyLost);
            fill(stirred, &client, ticket, &Reply::Error(refusal::reply_lost()));
        });
    }

    // ---- time ------------------------------------------------------------------------------------------------

    /// Answers requests that have waited long enough, and asks for a tick when a key is due.
    pub(crate) fn keep_house(&mut self) {
        let now = self.clock.monotonic();
        let no_leader = self.status.leader_id() == 0;
        let stirred = &mut self.stirred;
        let mut leaving = Vec::new();
        self.batches.refuse_waiting(now, |(client, ticket)| {
            if is_farewell(ticket) {
                leaving.push((client, ticket));
                return;
            }
            if client.may_wait.get() == Some(ticket) {
                client.may_wait.set(None); // it will never be applied
            }
            mark::reached(if no_leader { Mark::RefusedNoQuorum } else { Mark::RefusedBusy });
            let refusal = if no_leader { refusal::no_quorum() } else { refusal::too_busy() };
            fill(stirred, &client, ticket, &Reply::Error(refusal));
        });
        self.batches.give_up(now, |(client, ticket)| {
            mark::reached(Mark::UnknownAnswered);
            if client.may_wait.get() == Some(ticket) {
                // It may begin to wait when its client has been told that nobody knows: with its connection that ends.
                client.line.borrow_mut().closing = true;
            }
            let definite = is_planted(Canary::HandedOverRefused);
            let refusal = if definite { refusal::no_quorum() } else { refusal::unknown_outcome() };
            fill(stirred, &client, ticket, &Reply::Error(refusal));
        });
        self.leave_again(leaving);
        self.refuse_reads(now, &Reply::Error(refusal::read_timed_out()));
        for client in std::mem::take(&mut self.stirred) {
            self.run_reads(&client);
        }
        if self.machine.next_deadline().is_some_and(|due| due <= self.log_time()) {
            self.tick_asked_at = None; // an earlier one may have got lost with its leader
            self.ask_for_tick();
        }
        if self.batches.has_waiting() {
            self.flush();
        }
        self.scrub(now);
        self.machine.reclaim(RECLAIM_UNITS);
        if now >= self.idle_looked + IDLE_LOOK {
            self.idle_looked = now;
            self.clients.values().for_each(|client| client.line.borrow_mut().rest_if_idle());
            self.bound_subscribers();
        }
        self.watch_leader();
        self.close_log();
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    /// Runs no further command; what is under way is finished, then the log is closed.
    pub(crate) fn begin_shutdown(&mut self) {
        if !self.closing {
            self.leave_all();
        }
        self.closing = true;
        self.close_log();
    }

    /// Once nobody waits for an answer any more. Without a quorum that is when all were told that the outcome is unknown.
    fn close_log(&mut self) {
        if self.closing && !self.log_closing && !self.batches.owes_answers() {
            self.log_closing = true;
            self.send(Intake::Shutdown);
        }
    }

    /// Replication is gone without a word: its thread died.
    pub(crate) fn replication_gone(&mut self) {
        let text = "the replication thread ended unexpectedly. Every acknowledged write is in the log; \
                    start this node again.";
        self.stop(Err(text.to_owned()));
    }

    pub(crate) fn stop(&mut self, end: Result<(), String>) {
        if self.end.is_none() {
            self.closing |= end.is_err();
            let stirred = &mut self.stirred;
            let refusal = Reply::Error(refusal::ended(&end));
            let refused = |(client, ticket): Owner| {
                mark::reached(Mark::RefusedAtEnd);
                fill(&mut Vec::new(), &client, ticket, &refusal);
            };
            let unknown = |(client, ticket): Owner| {
                fill(stirred, &client, ticket, &Reply::Error(refusal::unknown_outcome()));
            };
            self.batches.abandon(refused, unknown);
            self.refuse_reads(Duration::MAX, &refusal);
            self.end = Some(end);
            self.wakes.stopped.notify_one();
        }
    }

    /// Answers reads whose deadline is not after `until`.
    fn refuse_reads(&mut self, until: Duration, refusal: &Reply<'_>) {
        let stirred = &mut self.stirred;
        self.rounds.overdue(until, |(client, ticket)| {
            let waits = client.line.borrow_mut().is_waiting_read(ticket);
            if waits {
                mark::reached(Mark::ReadGivenUp);
                fill(stirred, &client, ticket, refusal);
            }
        });
    }

    /// How it ended.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        self.end.take().unwrap_or(Ok(()))
    }
}

/// Fills a place in a client's line and wakes its connection.
pub(crate) fn fill(
    stirred: &mut Vec<Rc<Client>>,
    client: &Rc<Client>,
    ticket: u64,
    reply: &Reply<'_>,
) {
    let mut line = client.line.borrow_mut();
    if line.fill(ticket, reply) {
        client.session.borrow_mut().watch_refused = true;
    }
    if line.heads_with_read() {
        stirred.push(Rc::clone(client));
    }
    line.wake();
}

/// A transaction that the state machine has run, and whose local commands are to run.
struct Executed {
    owner: Owner,
    plan: Box<ExecPlan>,
    applied: Vec<Reply<'static>>,
}

/// Where apply puts the replies of this node's clients.
struct Replies<'a> {
    batches: &'a mut Batches<Owner>,
    waiting: &'a mut Waiting,
    origin: Origin,
    stirred: &'a mut Vec<Rc<Client>>,
    executed: &'a mut Vec<Executed>,
    clients: &'a BTreeMap<u64, Rc<Client>>,
    /// Of subscribers' output.
    limit: OutputLimit,
    now: Duration,
}

impl Sink for Replies<'_> {
    fn wants(&self, node: u64, incarnation: u64) -> bool {
        node == self.origin.node && incarnation == self.origin.incarnation
    }

    fn reply(&mut self, sequence: u64, position: u32, outcome: Outcome<'_>) {
        let Some((client, ticket)) = self.batches.settle(sequence, position) else { return };
        if client.may_wait.get() == Some(ticket) || ticket == ENDS_WAITING {
            client.may_wait.set(None);
        }
        let reply = match outcome {
            Outcome::Reply(reply) => reply,
            Outcome::TooLate => Reply::Error(refusal::too_late()),
        };
        if matches!(reply, Reply::Array(_)) {
            let plan = client.line.borrow_mut().take_plan(ticket);
            if let (Some(plan), Reply::Array(applied)) = (plan, &reply) {
                let applied = applied.iter().map(|reply| reply.clone().into_owned()).collect();
                self.executed.push(Executed { owner: (client, ticket), plan, applied });
                return;
            }
        }
        fill(self.stirred, &client, ticket, &reply);
    }

    fn blocked(&mut self, sequence: u64, position: u32) {
        if let Some(owner) = self.batches.settle(sequence, position) {
            begin_to_wait(self.waiting, (sequence, position), owner);
        }
    }

    fn served(&mut self, sequence: u64, position: u32, outcome: Outcome<'_>) {
        let Some((client, ticket)) = self.waiting.remove(&(sequence, position)) else { return };
        end_waiting(&client);
        if let Outcome::Reply(reply) = outcome {
            fill(self.stirred, &client, ticket, &reply);
        }
    }

    fn message(&mut self, to: Subscriber, message: &Reply<'_>) {
        if let Some(client) = self.clients.get(&to.client) {
            let protocol = client.session.borrow().protocol;
            client.line.borrow_mut().push(protocol, message, self.limit, self.now);
        }
    }

    fn passed(&mut self, sequence: u64) {
        let stirred = &mut *self.stirred;
        self.batches.passed(sequence, |(client, ticket)| {
            mark::reached(Mark::ReplyLost);
            fill(stirred, &client, ticket, &Reply::Error(refusal::reply_lost()));
        });
    }
}
