//! The gate: what one command needs, decided in one place and in this order: lookup, arity, auth, loading, MULTI, room, route.
//! Reads run at once where applied state may answer, else they take a place in the line; writes go into the open batch;
//! node-local commands are answered here.

use std::rc::Rc;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::commands::{self, CommandSpec, Handler, ReadHandler};
use steadfast_core::entry;
use steadfast_core::error::ReplyError;
use steadfast_core::machine::ReadOutcome;
use steadfast_core::mark::{self, Mark};
use steadfast_core::reply::Reply;
use steadfast_replication::ports::Clock;

use crate::client::{Client, ExecPlan, Place, WaitingRead};
use crate::commands::{Found, LocalHandler, LocalOutcome, find, selected_database};
use crate::pubsub::{is_for_subscribers, is_subscription, pong};
use crate::refusal;
use crate::resp::Protocol;
use crate::session::{Consistency, QueuedCall};
use crate::shell::Shell;
use crate::surroundings::contain_read;

/// Commands that make room and are therefore taken even when the disk is full.
const MAKES_ROOM: [&str; 4] = ["DEL", "UNLINK", "FLUSHDB", "FLUSHALL"];

/// What the gate has to know of the session, read once.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
struct Facts {
    protocol: Protocol,
    db: usize,
    consistency: Consistency,
    in_multi: bool,
    authenticated: bool,
    /// Whether it speaks RESP2 and has subscriptions.
    only_listens: bool,
    at_sentinel: bool,
}

impl<C: Clock> Shell<C> {
    /// Runs one command of a client, or sees to it that it is run in its turn.
    pub(crate) fn dispatch(&mut self, client: &Rc<Client>, argv: &[&[u8]]) {
        if argv.is_empty() {
            return; // an empty multibulk is no command, and is owed no reply
        }
        self.figures.command_received();
        let only_listens = self.only_listens(client);
        let facts = {
            let session = client.session.borrow();
            Facts {
                protocol: session.protocol,
                db: session.db,
                consistency: session.consistency,
                in_multi: session.multi.is_some(),
                authenticated: session.authenticated,
                only_listens,
                at_sentinel: session.ends.at_sentinel,
            }
        };
        let answered = find(argv).and_then(|found| {
            client.session.borrow_mut().last_command = found.name();
            self.admit_command(&facts, found)?;
            Ok(found)
        });
        match answered {
            Ok(found) if facts.at_sentinel && is_subscription(found.flags()) => {
                listen(client, &facts, found, argv);
            }
            Ok(found) if facts.in_multi && !leaves_multi(found) => {
                queue(client, &facts, found, argv, self.config.max_request);
            }
            Ok(Found::Core(spec)) if only_listens && spec.name == "PING" => {
                answer(client, &facts, &pong(argv));
            }
            Ok(Found::Core(spec)) => self.route(client, &facts, spec, argv),
            Ok(Found::Local(spec)) => self.run_local(client, &facts, spec, argv),
            Err(error) if argv.first().is_some_and(is_exec) => {
                client.session.borrow_mut().discard(); // an EXEC ends its transaction, whatever is wrong with it
                answer(client, &facts, &Reply::Error(refusal::exec_aborted_by(&error)));
            }
            Err(error) => {
                client.session.borrow_mut().fail_multi();
                answer(client, &facts, &Reply::Error(error));
            }
        }
    }

    /// Whether the client must still authenticate.
    pub(crate) fn is_stranger(&self, client: &Client) -> bool {
        !self.config.requirepass.is_empty() && !client.session.borrow().authenticated
    }

    /// Checks that need no state: authentication, loading.
    fn admit_command(&self, facts: &Facts, found: Found) -> Result<(), ReplyError> {
        let flags = found.flags();
        let open = facts.authenticated || self.config.requirepass.is_empty();
        if !open && !flags.has(commands::Flags::NO_AUTH) {
            return Err(refusal::no_auth());
        }
        if self.closing {
            return Err(refusal::shutting_down());
        }
        let early = is_planted(Canary::ServesTooEarly) && self.status.leader_id() != 0;
        let serving = self.serving || early;
        if !serving && !flags.has(commands::Flags::STALE) {
            mark::reached(Mark::RefusedLoading);
            return Err(refusal::loading(&self.status.waiting()));
        }
        if facts.only_listens && !is_for_subscribers(found.name(), flags) {
            return Err(refusal::only_listens(found.name()));
        }
        if let Found::Core(spec) = found
            && spec.is_write()
        {
            if self.status.disk_full() && !MAKES_ROOM.contains(&spec.name) {
                mark::reached(Mark::RefusedDiskFull);
                return Err(refusal::disk_full());
            }
            if !self.has_room() {
                return Err(refusal::too_busy());
            }
        }
        Ok(())
    }

    fn admit_queued(&self, facts: &Facts, call: &QueuedCall) -> Result<(), ReplyError> {
        let name = call.argv.iter().map(Vec::as_slice).collect::<Vec<_>>();
        self.admit_command(facts, find(&name)?)
    }

    fn route(&mut self, client: &Rc<Client>, facts: &Facts, spec: &CommandSpec, argv: &[&[u8]]) {
        match spec.handler {
            Handler::Read(read) => self.read(client, facts, read, argv),
            Handler::Write(_) | Handler::Block { .. } => {
                let place = Place::Batched { protocol: facts.protocol, exec: None };
                let (id, db) = (client.id, facts.db as u8);
                let ticket = self.submit(client, place, |batch, latest| {
                    entry::push_command(batch, id, latest, db, argv);
                });
                if is_subscription(spec.flags) {
                    client.begins_subscribing();
                }
                if matches!(spec.handler, Handler::Block { .. }) {
                    client.may_wait.set(Some(ticket));
                    client.line.borrow_mut().stalled = true; // what follows must not overtake it
                }
                if is_planted(Canary::AnswersAhead) && spec.name == "SET" && argv.len() == 3 {
                    client.line.borrow_mut().fill_last(&Reply::Ok);
                }
            }
        }
    }

    /// The hot path: parse, look up, append to the output; no channel, no lock, no allocation.
    fn read(&mut self, client: &Rc<Client>, facts: &Facts, handler: ReadHandler, argv: &[&[u8]]) {
        let index = self.index_at_once(facts.consistency);
        if index.is_some_and(|index| index <= self.machine.applied_index()) {
            let mut line = client.line.borrow_mut();
            if line.is_empty() || is_planted(Canary::KnownRepliesOvertake) {
                let (clock, seed) =
                    (self.reading_time(facts.consistency), self.figures.read_seed());
                let read = || self.machine.read_by(handler, facts.db, argv, clock, seed);
                if let ReadOutcome::Reply(reply) = contain_read(read) {
                    line.answer(facts.protocol, &reply);
                    return;
                }
            }
        }
        self.enqueue_read(client, waiting_read(facts, argv, false));
    }

    fn run_local(
        &mut self,
        client: &Rc<Client>,
        facts: &Facts,
        spec: &'static CommandSpec<LocalHandler>,
        argv: &[&[u8]],
    ) {
        match spec.handler {
            LocalHandler::Plain(_)
                if spec.name == "RESET" && client.subscriber.get() && !facts.at_sentinel =>
            {
                self.reset_subscriber(client, facts.protocol);
            }
            LocalHandler::Plain(_) => {
                let (reply, close) = self.call_local(client, spec, argv);
                let protocol = client.session.borrow().protocol; // HELLO answers in the new one
                let mut line = client.line.borrow_mut();
                if let Some(reply) = &reply {
                    line.answer(protocol, reply);
                }
                line.closing |= close;
            }
            LocalHandler::Multi => {
                let reply = client.session.borrow_mut().begin_multi();
                answer(client, facts, &reply);
            }
            LocalHandler::Discard => {
                let reply = client.session.borrow_mut().discard();
                answer(client, facts, &reply);
                if is_planted(Canary::DiscardAnswersTwice) {
                    answer(client, facts, &reply);
                }
            }
            LocalHandler::Watch if facts.in_multi => {
                answer(client, facts, &Reply::Error(refusal::WATCH_IN_MULTI));
            }
            LocalHandler::Watch => {
                self.enqueue_read(client, waiting_read(facts, argv, true));
                // What follows may need the precondition (EXEC), so it waits until there is one.
                let mut line = client.line.borrow_mut();
                line.stalled = !line.is_empty() && !is_planted(Canary::WatchNotAwaited);
            }
            LocalHandler::Exec => self.exec(client, facts),
            LocalHandler::Unblock => {
                let place = Place::Batched { protocol: facts.protocol, exec: None };
                self.unblock(client, place, argv);
            }
        }
    }

    /// Calls a node-local handler; answers its reply, if it has one, and whether the connection then closes.
    fn call_local(
        &mut self,
        client: &Rc<Client>,
        spec: &'static CommandSpec<LocalHandler>,
        argv: &[&[u8]],
    ) -> (Option<Reply<'static>>, bool) {
        let LocalHandler::Plain(run) = spec.handler else {
            return (Some(Reply::Error(ReplyError::SYNTAX)), false);
        };
        let outcome = run(&mut client.session.borrow_mut(), self, argv);
        match outcome {
            LocalOutcome::Reply(reply) => (Some(reply), false),
            LocalOutcome::Close(reply) => (reply, true),
        }
    }

    /// EXEC: one request with the watched revisions as preconditions. Local commands wait for its answer.
    fn exec(&mut self, client: &Rc<Client>, facts: &Facts) {
        let (multi, watched, watch_refused) = {
            let mut session = client.session.borrow_mut();
            let Some(multi) = session.multi.take() else {
                drop(session);
                return answer(client, facts, &Reply::Error(refusal::EXEC_WITHOUT_MULTI));
            };
            let refused = session.watch_refused;
            let watched = std::mem::take(&mut session.watched);
            session.unwatch();
            (multi, watched, refused)
        };
        if multi.failed {
            return answer(client, facts, &Reply::Error(refusal::EXEC_ABORTED));
        }
        if watch_refused {
            mark::reached(Mark::WatchRefused);
            return answer(client, facts, &Reply::Error(refusal::EXEC_WITHOUT_ITS_WATCH));
        }
        if multi.calls.is_empty() && watched.is_empty() {
            return answer(client, facts, &Reply::Array(Vec::new()));
        }
        if let Err(error) = multi.calls.iter().try_for_each(|call| self.admit_queued(facts, call)) {
            return answer(client, facts, &Reply::Error(error)); // the disk has filled up since it was queued, say
        }
        let mut db = facts.db; // a SELECT moves the commands behind it, though it has not run
        let (mut calls, mut plan) = (Vec::new(), ExecPlan::default());
        let subscribes = multi.calls.iter().any(|call| call.subscribes);
        for call in multi.calls {
            if call.local {
                db = selected_database(&call.argv).unwrap_or(db);
                plan.calls.push(Some(call.argv));
            } else {
                calls.push((db as u8, call.argv));
                plan.calls.push(None);
            }
        }
        let has_local = plan.calls.iter().any(Option::is_some);
        #[cfg(feature = "canaries")]
        if is_planted(Canary::ExecInPieces) && !has_local && watched.is_empty() {
            return self.exec_in_pieces(client, facts, &calls);
        }
        let exec = has_local.then(|| Box::new(plan));
        let (id, place) = (client.id, Place::Batched { protocol: facts.protocol, exec });
        self.submit(client, place, |batch, latest| {
            entry::push_transaction(batch, id, latest, &watched, &calls);
        });
        if has_local {
            client.line.borrow_mut().stalled = true; // what follows must see what they change
        }
        if subscribes {
            client.begins_subscribing();
        }
    }

    /// A planted bug: each command of a transaction is a request of its own.
    #[cfg(feature = "canaries")]
    fn exec_in_pieces(&mut self, client: &Rc<Client>, facts: &Facts, calls: &[(u8, Vec<Vec<u8>>)]) {
        client.line.borrow_mut().answer_head(calls.len());
        for (db, words) in calls {
            let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let place = Place::Batched { protocol: facts.protocol, exec: None };
            self.submit(client, place, |batch, latest| {
                entry::push_command(batch, client.id, latest, *db, &argv);
            });
        }
    }

    /// The state machine has run a transaction: its local commands run now.
    pub(crate) fn finish_exec(
        &mut self,
        client: &Rc<Client>,
        plan: ExecPlan,
        applied: Vec<Reply<'static>>,
    ) -> Reply<'static> {
        plan.carry_out(applied, |argv| {
            let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            let Ok(Found::Local(spec)) = find(&argv) else {
                return Reply::Error(ReplyError::SYNTAX);
            };
            self.call_local(client, spec, &argv).0.unwrap_or(Reply::Ok)
        })
    }
}

/// SUBSCRIBE and the like at the sentinel's port.
fn listen(client: &Rc<Client>, facts: &Facts, found: Found, argv: &[&[u8]]) {
    client.subscriber.set(true);
    let told = client.session.borrow_mut().events.change(found.name(), argv);
    let reply = told.filter(|_| !facts.in_multi).unwrap_or_else(|| {
        client.session.borrow_mut().fail_multi();
        Reply::Error(refusal::NOT_AT_SENTINEL)
    });
    answer(client, facts, &reply);
}

fn is_exec(name: &&[u8]) -> bool {
    name.eq_ignore_ascii_case(b"EXEC")
}

/// Commands that are run, not queued, inside MULTI.
fn leaves_multi(found: Found) -> bool {
    match found {
        Found::Core(_) => false,
        Found::Local(spec) => {
            !matches!(spec.handler, LocalHandler::Plain(_) | LocalHandler::Unblock)
                || ["QUIT", "RESET"].contains(&spec.name)
        }
    }
}

fn waiting_read(facts: &Facts, argv: &[&[u8]], watch: bool) -> WaitingRead {
    let argv = argv.iter().map(|word| word.to_vec()).collect();
    let (protocol, db) = (facts.protocol, facts.db);
    // An old precondition would only let EXEC fail.
    let consistency = if watch { Consistency::Linearizable } else { facts.consistency };
    WaitingRead { protocol, db, argv, consistency, watch, index: None, tick: None }
}

fn answer(client: &Rc<Client>, facts: &Facts, reply: &Reply<'_>) {
    client.line.borrow_mut().answer(facts.protocol, reply);
}

/// Inside MULTI: keeps the command for EXEC.
fn queue(client: &Rc<Client>, facts: &Facts, found: Found, argv: &[&[u8]], bytes_max: usize) {
    let mut session = client.session.borrow_mut();
    let reply = if found.flags().has(commands::Flags::NO_MULTI) {
        session.fail_multi();
        Reply::Error(refusal::NOT_IN_MULTI)
    } else {
        let argv = argv.iter().map(|word| word.to_vec()).collect();
        let (local, subscribes) =
            (matches!(found, Found::Local(_)), is_subscription(found.flags()));
        session.queue(QueuedCall { local, subscribes, argv }, bytes_max)
    };
    drop(session);
    answer(client, facts, &reply);
}
