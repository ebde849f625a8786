//! What the clients do. Each kind of work is a file; a seed draws which kinds exist. The witness judges every operation; the kinds
//! themselves hold the nodes only to what needs no log: counters that end exactly, locks that two never hold.

mod counters;
mod expiry;
mod locks;
mod registers;
mod transactions;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use crate::check::Violation;
use crate::client::Client;
use crate::draw::Draws;
use crate::history::{Outcome, Request};

/// Requests that a pipeline holds at the most.
const PIPELINE_MAX: u64 = 6;
/// Every key that any kind of work touches, but for the own counters: the last thing that a client does is to read them.
const KEYS: [&[u8]; 12] = [
    b"register:0",
    b"register:1",
    b"register:2",
    b"account:0",
    b"account:1",
    b"account:2",
    b"short:0",
    b"short:1",
    b"short:2",
    b"counter",
    b"lock",
    b"tally",
];

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Counters: `counters.rs`.
    Counters,
    /// Single values, in pipelines: `registers.rs`.
    Registers,
    /// Transfers with and without WATCH: `transactions.rs`.
    Transactions,
    /// Keys that end: `expiry.rs`.
    Expiry,
    /// redis-py's lock: `locks.rs`.
    Locks,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Counters, Self::Registers, Self::Transactions, Self::Expiry, Self::Locks];

    /// Its name in plans.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Registers => "registers",
            Self::Transactions => "transactions",
            Self::Expiry => "expiry",
            Self::Locks => "locks",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What all clients of a run know together. They share it outside the simulated world.
#[derive(Debug, Default)]
pub struct Shared {
    counter: counters::Tally,
    locks: locks::Monitor,
    /// What was found.
    pub violations: Vec<Violation>,
    /// Requests answered, refused, unknown.
    pub counts: [u64; 3],
    /// How many clients there are.
    pub clients: usize,
    /// Nothing breaks any more.
    pub healed: bool,
    /// Nodes that will never be well again: clients go elsewhere.
    pub abandoned: Vec<u64>,
    /// Clients that have read everything once more.
    settled: usize,
    /// Clients that have done all they were to do.
    pub finished: usize,
}

/// One client's work.
pub struct Work {
    /// The client.
    pub client: Client,
    /// Its name.
    pub name: String,
    /// Its chance.
    pub draws: Draws,
    /// What all know.
    pub shared: Rc<RefCell<Shared>>,
    /// Requests to be answered.
    pub commands: u64,
    /// What it does.
    pub kinds: Vec<Kind>,
    /// How many nodes there are to go to.
    pub nodes: u64,
    /// Whether clocks are true enough for the lock to be exclusive in real time.
    pub bounded_clocks: bool,
    /// Whether it releases locks without a look at the token (a planted bug).
    pub releases_unchecked: bool,
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Work {
    /// Does it all; what does not hold is left in `shared`.
    pub async fn run(mut self) {
        let mut own = counters::Tally::default();
        let mut answered = 0;
        // To the end of all faults: what is acknowledged between two of them must outlive the second.
        while answered < self.commands || !self.shared.borrow().healed {
            let pause_ms = if answered < self.commands { 60 } else { 200 };
            sleep(Duration::from_millis(self.draws.between(1, pause_ms))).await;
            if self.draws.chance(2) {
                let node = self.draws.between(1, self.nodes);
                self.client.move_to(node);
            }
            self.leave_abandoned_node();
            let kind = self.draws.pick(&self.kinds);
            answered += match kind {
                Kind::Counters => self.count(&mut own).await,
                Kind::Registers => self.use_registers().await,
                Kind::Transactions => self.transfer().await,
                Kind::Expiry => self.use_short_lives().await,
                Kind::Locks => self.lock_cycle().await,
            };
        }
        self.settle(&own).await;
        let is_last = {
            let mut shared = self.shared.borrow_mut();
            shared.settled += 1;
            shared.settled == shared.clients
        };
        if is_last {
            self.close().await;
        }
        self.shared.borrow_mut().finished += 1;
    }

    /// One more write, at which every node shows all it holds (`check/final_state.rs`).
    async fn close(&mut self) {
        self.client.ask_for_final_states();
        let value = self.fresh();
        while self.call(Request::command([b"SET", b"end", &value])).await.reply().is_none() {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reads everything once more, until there is an answer: what was acknowledged must still be there.
    async fn settle(&mut self, own: &counters::Tally) {
        let mut words = vec![b"MGET".to_vec()];
        words.extend(KEYS.iter().map(|key| key.to_vec()));
        words.push(self.own_counter());
        loop {
            let outcome = self.call(Request::Command(words.clone())).await;
            if let Some(reply) = outcome.reply() {
                self.judge_own_counter(own, reply);
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A node that will never be well again is no place to wait at.
    fn leave_abandoned_node(&mut self) {
        let shared = self.shared.borrow();
        if shared.healed && shared.abandoned.contains(&self.client.node()) {
            let well = (1..=self.nodes).find(|node| !shared.abandoned.contains(node));
            let well = well.unwrap_or(1);
            drop(shared);
            self.client.move_to(well);
        }
    }

    async fn call(&mut self, request: Request) -> Outcome {
        self.leave_abandoned_node();
        let outcome = self.client.call(request).await;
        self.tally(&outcome);
        outcome
    }

    /// One pipeline, now and then cut off inside its last request. Answers how many requests were answered.
    async fn send(&mut self, requests: Vec<Request>) -> u64 {
        if self.draws.chance(4) {
            let short = self.draws.between(1, 30) as usize;
            self.client.hang_up_inside(requests, short).await;
            return 0;
        }
        let outcomes = self.client.pipeline(requests).await;
        outcomes.iter().for_each(|outcome| self.tally(outcome));
        outcomes.iter().filter(|outcome| outcome.reply().is_some()).count() as u64
    }

    fn tally(&self, outcome: &Outcome) {
        let at = match outcome {
            Outcome::Reply(_) => 0,
            Outcome::NotApplied(_) => 1,
            Outcome::Unknown(_) => 2,
        };
        if let Some(count) = self.shared.borrow_mut().counts.get_mut(at) {
            *count += 1;
        }
    }

    fn violated(&self, check: &'static str, text: String) {
        self.shared.borrow_mut().violations.push(Violation::new(check, text));
    }

    /// How many requests the next pipeline holds: mostly one.
    fn depth(&mut self) -> u64 {
        if self.draws.chance(60) { 1 } else { self.draws.between(2, PIPELINE_MAX) }
    }

    /// One of three keys of a kind.
    fn key(&mut self, kind: &str) -> Vec<u8> {
        format!("{kind}:{}", self.draws.below(3)).into_bytes()
    }

    /// A value that nobody else writes.
    fn fresh(&mut self) -> Vec<u8> {
        format!("{}:{:x}", self.name, self.draws.bits()).into_bytes()
    }
}
