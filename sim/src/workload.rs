//! What the clients do, and what they hold the nodes to while they do it: own counters that end exactly, a shared counter that is
//! never read stale, a lock (redis-py's protocol, command by command) that two never hold at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use steadfast_core::reply::Reply;
use tokio::time::sleep;

use crate::check::Violation;
use crate::client::{Client, Outcome};
use crate::draw::Draws;

const LOCK_TTL_MS: u64 = 2_000;
/// Share of the TTL that a careful holder believes in, in percent: the rest is for drift.
const LOCK_TRUST_PERCENT: u64 = 95;
const RELEASE: &[u8] = b"if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

/// What all clients of a run know together. They share it outside the simulated world.
#[derive(Debug, Default)]
pub struct Shared {
    /// Highest value of the shared counter that was acknowledged.
    pub acknowledged: i64,
    /// Increments of it that were acknowledged, and those whose outcome is unknown.
    pub increments: (i64, i64),
    /// Who believes to hold the lock, and until when.
    pub holder: Option<(String, Duration)>,
    /// What was found.
    pub violations: Vec<Violation>,
    /// Commands answered, refused, unknown.
    pub counts: [u64; 3],
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
    /// Commands to be answered.
    pub commands: u64,
    /// Whether clocks are true enough for the lock to be exclusive in real time.
    pub bounded_clocks: bool,
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Work {
    /// Does it all; what does not hold is left in `shared`.
    pub async fn run(mut self) {
        let (mut acknowledged, mut unknown) = (0, 0);
        let mut answered = 0;
        while answered < self.commands {
            sleep(Duration::from_millis(self.draws.between(1, 60))).await;
            let ok = match self.draws.below(10) {
                0..4 => self.count_own(&mut acknowledged, &mut unknown).await,
                4..6 => self.count_shared().await,
                6..9 => self.read_shared().await,
                _ => self.lock_cycle().await,
            };
            answered += u64::from(ok);
        }
        self.settle_own(acknowledged, unknown).await;
        self.shared.borrow_mut().finished += 1;
    }

    async fn call(&mut self, argv: &[&[u8]]) -> Outcome {
        let outcome = self.client.call(argv).await;
        let at = match &outcome {
            Outcome::Reply(_) => 0,
            Outcome::NotApplied => 1,
            Outcome::Unknown => 2,
        };
        if let Some(count) = self.shared.borrow_mut().counts.get_mut(at) {
            *count += 1;
        }
        outcome
    }

    fn violated(&self, check: &'static str, text: String) {
        self.shared.borrow_mut().violations.push(Violation::new(check, text));
    }

    async fn count_own(&mut self, acknowledged: &mut i64, unknown: &mut i64) -> bool {
        let key = format!("own:{}", self.name);
        match self.call(&[b"INCR", key.as_bytes()]).await {
            Outcome::Reply(Reply::Int(value)) => {
                *acknowledged += 1;
                if value < *acknowledged || value > *acknowledged + *unknown {
                    let text = format!(
                        "{}: INCR answered {value} after {acknowledged} acknowledged and {unknown} unknown",
                        self.name
                    );
                    self.violated("exactly-once", text);
                }
                true
            }
            Outcome::Reply(other) => {
                self.violated("replies", format!("{}: INCR answered {other:?}", self.name));
                true
            }
            Outcome::NotApplied => false,
            Outcome::Unknown => {
                *unknown += 1;
                false
            }
        }
    }

    async fn count_shared(&mut self) -> bool {
        match self.call(&[b"INCR", b"shared"]).await {
            Outcome::Reply(Reply::Int(value)) => {
                let mut shared = self.shared.borrow_mut();
                shared.acknowledged = shared.acknowledged.max(value);
                shared.increments.0 += 1;
                true
            }
            Outcome::Unknown => {
                self.shared.borrow_mut().increments.1 += 1;
                false
            }
            Outcome::Reply(_) | Outcome::NotApplied => false,
        }
    }

    /// A read must not answer less than was acknowledged to anybody before it was sent.
    async fn read_shared(&mut self) -> bool {
        let before = self.shared.borrow().acknowledged;
        match self.call(&[b"GET", b"shared"]).await {
            Outcome::Reply(reply) => {
                let value = number(&reply);
                if value.is_none_or(|value| value < before) {
                    let text = format!(
                        "{}: GET answered {reply:?} after {before} was acknowledged",
                        self.name
                    );
                    self.violated("no-stale-read", text);
                }
                true
            }
            Outcome::NotApplied | Outcome::Unknown => false,
        }
    }

    async fn lock_cycle(&mut self) -> bool {
        let sent = now();
        let token = format!("{}:{}", self.name, self.draws.bits());
        let ttl = LOCK_TTL_MS.to_string();
        let set: [&[u8]; 6] = [b"SET", b"lock", token.as_bytes(), b"NX", b"PX", ttl.as_bytes()];
        match self.call(&set).await {
            Outcome::Reply(Reply::Ok) => {}
            Outcome::Reply(_) => return true,
            Outcome::NotApplied | Outcome::Unknown => return false,
        }
        let until = sent + Duration::from_millis(LOCK_TTL_MS * LOCK_TRUST_PERCENT / 100);
        let other = self.shared.borrow_mut().holder.replace((self.name.clone(), until));
        if let Some((holder, trusted)) = other
            && trusted > now()
            && until > now()
            && self.bounded_clocks
        {
            let text =
                format!("{} took the lock while {holder} held it until {trusted:?}", self.name);
            self.violated("lock-exclusion", text);
        }
        sleep(Duration::from_millis(self.draws.between(1, 400))).await;
        if self.shared.borrow().holder.as_ref().is_some_and(|(holder, _)| *holder == self.name) {
            self.shared.borrow_mut().holder = None; // it stops believing before it asks
        }
        let alive = until > now();
        match self.call(&[b"EVAL", RELEASE, b"1", b"lock", token.as_bytes()]).await {
            Outcome::Reply(Reply::Int(1)) => true,
            Outcome::Reply(reply) if alive && self.bounded_clocks && now() < until => {
                let text = format!("{}: the lock was gone before its time: {reply:?}", self.name);
                self.violated("lock-kept", text);
                true
            }
            Outcome::Reply(_) => true,
            Outcome::NotApplied | Outcome::Unknown => false,
        }
    }

    /// The own counter ends between acknowledged and acknowledged plus unknown.
    async fn settle_own(&mut self, acknowledged: i64, unknown: i64) {
        let key = format!("own:{}", self.name);
        loop {
            if let Outcome::Reply(reply) = self.call(&[b"GET", key.as_bytes()]).await {
                let value = if reply == Reply::Nil { Some(0) } else { number(&reply) };
                if !value
                    .is_some_and(|value| (acknowledged..=acknowledged + unknown).contains(&value))
                {
                    let text = format!(
                        "{}: its counter ends at {reply:?} after {acknowledged} acknowledged and {unknown} unknown increments",
                        self.name
                    );
                    self.violated("durability", text);
                }
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A counter's value; a missing one is 0.
fn number(reply: &Reply<'_>) -> Option<i64> {
    match reply {
        Reply::Nil => Some(0),
        Reply::Bulk(text) => steadfast_core::number::parse_int(text),
        _ => None,
    }
}
