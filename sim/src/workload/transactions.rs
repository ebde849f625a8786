//! Transfers between accounts: with WATCH as redis-py's `transaction` does it, and as a plain MULTI. What EXEC answers, and whether it
//! may abort, is the witness's business.

use crate::history::{Outcome, Request};
use crate::value::{Value, argv};

use super::Work;

impl Work {
    pub(super) async fn transfer(&mut self) -> u64 {
        let (from, to) = (self.key("account"), self.key("account"));
        let by = self.draws.between(1, 9);
        if self.draws.chance(50) {
            let (add, take) = (by.to_string(), format!("-{by}"));
            let calls = vec![
                argv([b"INCRBY", &from, take.as_bytes()]),
                argv([b"INCRBY", &to, add.as_bytes()]),
                argv([b"MGET", &from, &to]),
            ];
            return self.send(vec![Request::Transaction(calls)]).await;
        }
        let watch = self.call(Request::command([b"WATCH", &from, &to])).await;
        let read = self.call(Request::command([b"MGET", &from, &to])).await;
        let (Some(_), Some(Value::Array(values))) = (watch.reply(), read.reply()) else {
            return u64::from(watch.reply().is_some());
        };
        let new = |at: usize, by: i64| {
            let old = match values.get(at) {
                Some(Value::Bulk(text)) => String::from_utf8_lossy(text).parse().unwrap_or(0),
                _ => 0,
            };
            (old + by).to_string()
        };
        let (left, right) = (new(0, -(by as i64)), new(1, by as i64));
        let calls =
            vec![argv([b"SET", &from, left.as_bytes()]), argv([b"SET", &to, right.as_bytes()])];
        let exec = self.call(Request::Transaction(calls)).await;
        2 + u64::from(matches!(exec, Outcome::Reply(_)))
    }
}
