//! Commands that block: how they begin to wait, and how they end. A waiter is served in the same apply step as the request that made its
//! key ready, once that is done as a whole (a transaction, a script), in order of arrival; a served one may make another key ready
//! (BLMOVE). It runs again then with its own words, as in Redis 7.2 and later: of several keys the first that has something is taken.
//!
//! Others end a waiter too: its deadline by log time, CLIENT UNBLOCK, its connection's end, and its gateway's.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::access::{TypeName, View};
use crate::canary::{Canary, is_planted};
use crate::commands::{Handler, keys_of, resolve};
use crate::entry::Unblock;
use crate::error::ReplyError;
use crate::machine::{Outcome, Run, Sink, StateMachine};
use crate::mark::{self, Mark};
use crate::record::NEVER;
use crate::reply::Reply;
use crate::rng::Rng;
use crate::script::Surroundings;
use crate::stamp::UnixMillis;
use crate::waiters::{Source, Waiter};

const UNBLOCKED: ReplyError = ReplyError::fixed("UNBLOCKED client unblocked via CLIENT UNBLOCK");

/// What a command that may block has done.
#[derive(Debug)]
pub enum Blocking {
    /// It found what it wanted.
    Done(Reply<'static>),
    /// It did not, and waits until then; none is for ever.
    Wait(Option<UnixMillis>),
}

/// Which of its keys a command waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaits {
    /// Any of them.
    All,
    /// The first one: what it finds there goes to the other.
    First,
}

/// What a command answers that finds nothing where it can't wait: in a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NothingCame {
    /// `$-1`
    Nil,
    /// `*-1`
    NilArray,
}

impl NothingCame {
    pub(crate) const fn reply(self) -> Reply<'static> {
        match self {
            Self::Nil => Reply::Nil,
            Self::NilArray => Reply::NilArray,
        }
    }
}

impl StateMachine {
    /// A request has found nothing: it stands in the line from now on.
    pub(crate) fn begin_to_wait(
        &mut self,
        source: Source,
        db: usize,
        argv: &[&[u8]],
        until: Option<UnixMillis>,
    ) {
        let own =
            |words: &[&[u8]]| words.iter().map(|word| Box::from(*word)).collect::<Vec<Box<[u8]>>>();
        let Ok(spec) = resolve(argv) else { return };
        let Handler::Block { awaits, .. } = spec.handler else { return };
        let mut positions = keys_of(spec, argv).unwrap_or_default();
        if awaits == Awaits::First {
            positions.truncate(1);
        }
        let keys: Vec<&[u8]> = positions.iter().filter_map(|at| argv.get(*at).copied()).collect();
        let deadline = until.map_or(NEVER, |until| until.0.min(NEVER - 1));
        let waiter = Waiter::new(source, db, own(argv), deadline, own(&keys));
        self.keyspace.waiters.add(waiter);
        mark::reached(Mark::Blocked);
    }

    /// Serves those whose keys the last request has made ready.
    pub(crate) fn serve_waiters(
        &mut self,
        rng: &mut Rng,
        surroundings: &mut dyn Surroundings,
        sink: &mut dyn Sink,
    ) {
        while let Some((db, key)) = self.keyspace.next_ready() {
            let mut from = 0;
            while let Some(kind) = self.type_at(db, &key)
                && [TypeName::List, TypeName::Zset].contains(&kind)
                && let Some(number) = self.next_in_line(db, &key, from)
            {
                self.serve(number, kind, rng, surroundings, sink);
                from = number + 1;
            }
        }
    }

    fn next_in_line(&self, db: usize, key: &[u8], from: u64) -> Option<u64> {
        let waiters = &self.keyspace.waiters;
        let last = is_planted(Canary::WaitersLastInFirstOut).then(|| waiters.last_of_key(db, key));
        last.flatten().filter(|last| *last >= from).or_else(|| waiters.next_of_key(db, key, from))
    }

    fn type_at(&self, db: usize, key: &[u8]) -> Option<TypeName> {
        let (now, seed) = (self.stamp.time, 0);
        View::new(&self.keyspace, db, now, now, seed).facts(key).map(|facts| facts.type_name)
    }

    /// Runs a waiter again, if it waits for a key of this type.
    fn serve(
        &mut self,
        number: u64,
        kind: TypeName,
        rng: &mut Rng,
        surroundings: &mut dyn Surroundings,
        sink: &mut dyn Sink,
    ) {
        let Some(waiter) = self.keyspace.waiters.get(number) else { return };
        let argv: Vec<&[u8]> = waiter.argv.iter().map(|word| &**word).collect();
        let Ok(spec) = resolve(&argv) else { return };
        if !matches!(spec.handler, Handler::Block { kind: wanted, .. } if wanted == kind) {
            return;
        }
        let (source, db, words) = (waiter.source, waiter.db, waiter.argv.clone());
        let argv: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
        let run = Run { handler: spec.handler, db, seed: rng.next(), source };
        let reply = match self.execute(run, &argv, surroundings, sink) {
            Ok(Blocking::Done(reply)) => reply,
            Ok(Blocking::Wait(_)) => return,
            Err(error) => Reply::Error(error),
        };
        mark::reached(Mark::WaiterServed);
        self.keyspace.waiters.remove(number);
        answer(source, reply, sink);
    }

    /// Those whose deadline has come are answered that nothing came.
    pub(crate) fn time_out_waiters(&mut self, sink: &mut dyn Sink) {
        let now = self.stamp.time.0;
        while let Some((_, number)) =
            self.keyspace.waiters.first_deadline().filter(|(deadline, _)| *deadline <= now)
        {
            mark::reached(Mark::WaiterTimedOut);
            self.end_waiter(number, Unblock::Timeout, sink);
        }
    }

    /// Ends what a client of this gateway waits for; answers whether it waited.
    pub(crate) fn unblock(
        &mut self,
        gateway: (u64, u64),
        client: u64,
        how: Unblock,
        sink: &mut dyn Sink,
    ) -> bool {
        let mut meant = self.keyspace.waiters.of_client(gateway.0, client);
        meant.retain(|number| {
            let waiter = self.keyspace.waiters.get(*number);
            waiter.is_some_and(|waiter| waiter.source.incarnation == gateway.1)
        });
        meant.iter().for_each(|number| self.end_waiter(*number, how, sink));
        !meant.is_empty()
    }

    /// A gateway has gone, or begun anew: nobody hears what its waiters would get.
    pub(crate) fn forget_waiters(&mut self, node: u64) {
        let meant = self.keyspace.waiters.of_node(node);
        if is_planted(Canary::GhostWaiters) {
            return;
        }
        for number in meant {
            mark::reached(Mark::WaiterForgotten);
            self.keyspace.waiters.remove(number);
        }
    }

    fn end_waiter(&mut self, number: u64, how: Unblock, sink: &mut dyn Sink) {
        let Some(waiter) = self.keyspace.waiters.remove(number) else { return };
        let reply = match how {
            Unblock::Gone => return,
            Unblock::Error => Reply::Error(UNBLOCKED),
            Unblock::Timeout => Reply::NilArray, // whatever it answers where it can't wait
        };
        answer(waiter.source, reply, sink);
    }

    /// Requests of a gateway's incarnation that wait: (sequence, position) of each.
    pub fn waiting(&self, node: u64, incarnation: u64) -> Vec<(u64, u32)> {
        let all = self.keyspace.waiters.iter().map(|(_, waiter)| waiter.source);
        let own = all.filter(|source| (source.node, source.incarnation) == (node, incarnation));
        own.map(|source| (source.sequence, source.position)).collect()
    }

    /// Requests that wait, of all gateways.
    pub fn waiter_count(&self) -> usize {
        self.keyspace.waiters.len()
    }
}

fn answer(source: Source, reply: Reply<'static>, sink: &mut dyn Sink) {
    if sink.wants(source.node, source.incarnation) {
        sink.served(source.sequence, source.position, Outcome::Reply(reply));
    }
}
