//! What the clients do. Each kind of work is a file; a seed draws which kinds exist. The witness judges every operation; the kinds
//! themselves hold the nodes only to what needs no log: counters that end exactly, locks that two never hold.

mod appends;
pub mod calls;
mod counters;
pub mod expiry;
mod limiter;
mod locks;
mod messages;
mod mix;
mod operator;
mod queues;
mod random;
pub mod registers;
pub mod storm;
mod transactions;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::canary::Planted;
use crate::check::Violation;
use crate::client::Client;
use crate::draw::Draws;
use crate::history::{Outcome, Request};

pub use mix::Mix;

/// The longest pause before a step, while there is work left.
const PAUSE_MS: u64 = 8;
/// And afterwards, until everything is healed.
const LATE_PAUSE_MS: u64 = 40;
/// Every key that any kind of work touches, but for the own counters: the last thing that a client does is to read them.
const KEYS: [&[u8]; 15] = [
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
    b"watched:0",
    b"watched:1",
    b"watched:2",
];

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Lists that are appended to: `appends.rs`.
    Appends,
    /// A rate limiter: `limiter.rs`.
    Limiter,
    /// Keys that end while they are watched: `expiry.rs`.
    Watched,
    /// Queues with clients that wait: `queues.rs`.
    Queues,
    /// Scripts that write what they draw by chance: `random.rs`.
    Random,
    /// A script that fills a database and flushes it: `random.rs`.
    Flushes,
    /// Channels that are published to and listened to: `messages.rs`.
    Messages,
}

impl Kind {
    /// All that plain seeds draw from. `Random` and `Flushes` are for scenarios: the model can't follow them, and most checks have
    /// nothing to say of them; so is `Messages`, which the scenario `listeners` puts under all faults of the swarm.
    pub const ALL: [Self; 9] = [
        Self::Counters,
        Self::Registers,
        Self::Transactions,
        Self::Expiry,
        Self::Locks,
        Self::Appends,
        Self::Limiter,
        Self::Watched,
        Self::Queues,
    ];
}

/// What all clients of a run know together. They share it outside the simulated world.
#[derive(Debug, Default)]
pub struct Shared {
    counter: counters::Tally,
    locks: locks::Monitor,
    limiter: limiter::Monitor,
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
    /// Causes of refusals and open outcomes after that, with how often and when last: a cluster in which nothing is broken has no
    /// reason to go on refusing.
    pub refused: BTreeMap<String, (u64, Duration)>,
    /// Steps that each client took: what a reduced plan is limited to.
    pub steps: BTreeMap<String, u64>,
    /// Changes of members that were made.
    pub changed: u64,
    /// Clients that have read everything once more.
    settled: usize,
    /// Clients that have done all they were to do.
    pub finished: usize,
    /// The nodes were asked at the end whether they serve, and what was found is among the violations: but for these, whose disks were
    /// spoilt and which did not answer.
    pub silent: Option<Vec<u64>>,
}

/// One client's work.
pub struct Work {
    /// The client.
    pub client: Client,
    /// Its name.
    pub name: String,
    /// The run's seed: step n of this client draws from a stream of its own, so that no step changes another.
    pub seed: u64,
    /// The stream of the present step.
    pub draws: Draws,
    /// The present step, and how many values it has made.
    pub at: (u64, u64),
    /// What all know.
    pub shared: Rc<RefCell<Shared>>,
    /// Requests to be answered, at the least.
    pub requests: u64,
    /// Requests answered.
    pub answered: u64,
    /// Where given, the number of steps, whatever they hold.
    pub steps_max: Option<u64>,
    /// Steps that are left out, as ranges with both their ends. They take their pause, so that times shift little.
    pub skipped: Vec<(u64, u64)>,
    /// What it does.
    pub mix: Mix,
    /// How many nodes there are to go to.
    pub nodes: u64,
    /// Whether clocks are true enough for the lock to be exclusive in real time.
    pub bounded_clocks: bool,
    /// What is planted: some bugs are those of clients.
    pub planted: Option<Planted>,
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Work {
    /// Does it all; what does not hold is left in `shared`.
    pub async fn run(mut self) {
        let mut own = counters::Tally::default();
        while self.has_more() {
            self.begin_step();
            let pause_ms = if self.answered < self.requests { PAUSE_MS } else { LATE_PAUSE_MS };
            sleep(Duration::from_millis(self.draws.between(1, pause_ms))).await;
            let step = self.at.0;
            if !self.skipped.iter().any(|(from, to)| (*from..=*to).contains(&step)) {
                self.step(&mut own).await;
            }
        }
        while !self.shared.borrow().healed {
            sleep(Duration::from_millis(50)).await;
        }
        self.begin_step();
        self.shared.borrow_mut().steps.insert(self.name.clone(), self.at.0 - 1);
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

    /// To the end of all faults: what is acknowledged between two of them must outlive the second.
    fn has_more(&self) -> bool {
        let is_due = self.answered < self.requests || !self.shared.borrow().healed;
        self.steps_max.map_or(is_due, |max| self.at.0 < max)
    }

    fn begin_step(&mut self) {
        self.at = (self.at.0 + 1, 0);
        self.draws = Draws::new(self.seed, format!("{} step {}", self.name, self.at.0));
    }

    async fn step(&mut self, own: &mut counters::Tally) {
        self.leave_abandoned_node();
        if self.draws.chance(2) {
            let node = self.draws.between(1, self.nodes);
            self.client.move_to(node);
            self.client.resp3 = self.mix.resp3 && self.draws.chance(50);
        }
        self.client.reads_slowly = self.draws.chance(2);
        match self.draws.pick(&self.mix.kinds) {
            Kind::Counters => self.count(own).await,
            Kind::Registers => self.use_registers().await,
            Kind::Transactions => self.transfer().await,
            Kind::Expiry => self.use_short_lives().await,
            Kind::Locks => self.lock_cycle().await,
            Kind::Appends => self.append().await,
            Kind::Limiter => self.ask_limiter().await,
            Kind::Watched => self.watch_what_ends().await,
            Kind::Queues => self.use_queues().await,
            Kind::Random => self.write_by_chance().await,
            Kind::Flushes => self.fill_and_flush().await,
            Kind::Messages => self.use_channels().await,
        }
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
            drop(shared);
            self.client.move_to(well.unwrap_or(1));
        }
    }

    async fn call(&mut self, request: Request) -> Outcome {
        self.leave_abandoned_node();
        let outcome = self.client.call(request).await;
        self.tally(&outcome);
        self.step_aside(&outcome).await;
        outcome
    }

    /// One pipeline, now and then cut off inside its last request. Answers what became of each request, nothing if it was cut off.
    async fn send(&mut self, requests: Vec<Request>) -> Vec<Outcome> {
        if self.draws.chance(4) {
            let short = self.draws.between(1, 30) as usize;
            let twice = self.is_planted(Planted::RequestTwice);
            self.client.hang_up_inside(requests, short, twice).await;
            return Vec::new();
        }
        let outcomes = self.client.pipeline(requests).await;
        outcomes.iter().for_each(|outcome| self.tally(outcome));
        if let Some(last) = outcomes.last() {
            self.step_aside(last).await;
        }
        outcomes
    }

    /// Whoever is not served waits a little, as clients do, and often goes to another node.
    async fn step_aside(&mut self, outcome: &Outcome) {
        if let Outcome::NotApplied(_) = outcome {
            let pause = self.draws.between(20, 150);
            sleep(Duration::from_millis(pause)).await;
            if self.draws.chance(50) {
                let node = self.draws.between(1, self.nodes);
                self.client.move_to(node);
            }
        }
    }

    fn tally(&mut self, outcome: &Outcome) {
        self.answered += u64::from(outcome.reply().is_some());
        let mut shared = self.shared.borrow_mut();
        let (at, cause) = match outcome {
            Outcome::Reply(_) => (0, None),
            Outcome::NotApplied(text) => (1, Some(text)),
            Outcome::Unknown(text) => (2, Some(text)),
        };
        if let Some(count) = shared.counts.get_mut(at) {
            *count += 1;
        }
        if let Some(cause) = cause.filter(|_| shared.healed) {
            let refused = shared.refused.entry(cause.clone()).or_default();
            *refused = (refused.0 + 1, now());
        }
    }

    fn is_planted(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    fn violated(&self, check: &'static str, text: String) {
        self.shared.borrow_mut().violations.push(Violation::new(check, text));
    }

    /// How many requests the next pipeline holds: mostly one.
    fn depth(&mut self) -> u64 {
        if self.draws.chance(60) { 1 } else { self.draws.between(2, self.mix.depth_max) }
    }

    /// One of three keys of a kind.
    fn key(&mut self, kind: &str) -> Vec<u8> {
        format!("{kind}:{}", self.draws.below(3)).into_bytes()
    }

    /// Such a value, sometimes a long one.
    fn sized(&mut self) -> Vec<u8> {
        let mut value = self.fresh();
        let padding = self.mix.padding(&mut self.draws);
        value.resize(value.len() + padding, b'.');
        value
    }

    /// A value that nobody else writes: client, step and number name it.
    fn fresh(&mut self) -> Vec<u8> {
        self.at.1 += 1;
        format!("{}:{}:{}", self.name, self.at.0, self.at.1).into_bytes()
    }
}
