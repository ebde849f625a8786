//! Counters: one of the client's own, whose every answer is known up to what is unknown, and one that all share, which no reader
//! may see smaller than what was acknowledged before.

use crate::history::{Outcome, Request};
use crate::value::Value;

use super::Work;

/// What is known of a counter.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    acknowledged: i64,
    unknown: i64,
    /// Highest value that anybody was told.
    highest: i64,
}

impl Tally {
    fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Reply(Value::Int(value)) => {
                self.acknowledged += 1;
                self.highest = self.highest.max(*value);
            }
            Outcome::Unknown(_) => self.unknown += 1,
            Outcome::Reply(_) | Outcome::NotApplied(_) => {}
        }
    }

    fn allows(self, value: i64) -> bool {
        (self.acknowledged..=self.acknowledged + self.unknown).contains(&value)
    }
}

/// A counter's value; a missing one is 0.
pub(super) fn number(reply: &Value) -> Option<i64> {
    match reply {
        Value::Nil => Some(0),
        Value::Bulk(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

impl Work {
    pub(super) fn own_counter(&self) -> Vec<u8> {
        format!("own:{}", self.name).into_bytes()
    }

    pub(super) async fn count(&mut self, own: &mut Tally) {
        match self.draws.below(9) {
            0..4 => {
                let outcome = self.call(Request::command([b"INCR", &self.own_counter()])).await;
                own.note(&outcome);
                if let Some(Value::Int(value)) = outcome.reply()
                    && !own.allows(*value)
                {
                    self.violated(
                        "exactly-once",
                        format!("{}: INCR answered {value}, {own:?}", self.name),
                    );
                }
            }
            4..6 => {
                let outcome = self.call(Request::command([b"INCR", b"counter"])).await;
                self.shared.borrow_mut().counter.note(&outcome);
            }
            6 => {
                let by = self.draws.between(1, 9).to_string();
                self.call(Request::command([b"INCRBY", b"tally", by.as_bytes()])).await;
            }
            _ => self.read_shared().await,
        }
    }

    /// A read must not answer less than was acknowledged to anybody before it was sent.
    async fn read_shared(&mut self) {
        let before = self.shared.borrow().counter.highest;
        let outcome = self.call(Request::command([b"GET", b"counter"])).await;
        if let Some(reply) = outcome.reply()
            && number(reply).is_none_or(|value| value < before)
        {
            let text =
                format!("{}: GET answered {reply:?} after {before} was acknowledged", self.name);
            self.violated("stale-read", text);
        }
    }

    /// The own counter, the last of the values, ends between acknowledged and acknowledged plus unknown.
    pub(super) fn judge_own_counter(&self, own: &Tally, reply: &Value) {
        let last = if let Value::Array(values) = reply { values.last() } else { None };
        if !last.and_then(number).is_some_and(|value| own.allows(value)) {
            self.violated(
                "durability",
                format!("{}: its counter ends at {last:?}, {own:?}", self.name),
            );
        }
    }
}
