//! Transfers between accounts: with WATCH as redis-py's `transaction` does it, as a plain MULTI, and by a script that refuses an
//! overdraft. What EXEC answers, and whether it may abort, is the witness's business. What needs no log is that nothing is made or lost:
//! all accounts begin with nothing, and a look at all of them always sums to nothing.

use crate::canary::Planted;
use crate::history::Request;
use crate::model::scripts;
use crate::value::{Value, argv};

use super::Work;

impl Work {
    pub(super) async fn transfer(&mut self) {
        let (from, to) = (self.key("account"), self.key("account"));
        let by = self.draws.between(1, 9);
        if self.draws.chance(15) {
            self.sum_up().await;
            return;
        }
        if self.draws.chance(25) {
            let by = by.to_string();
            let body = scripts::TRANSFER.as_bytes();
            self.call(Request::command([b"EVAL", body, b"2", &from, &to, by.as_bytes()])).await;
            return;
        }
        if self.draws.chance(50) {
            let (add, take) = (by.to_string(), format!("-{by}"));
            let calls = vec![
                argv([b"INCRBY", &from, take.as_bytes()]),
                argv([b"INCRBY", &to, add.as_bytes()]),
                argv([b"MGET", &from, &to]),
            ];
            self.send(vec![Request::Transaction(calls)]).await;
            return;
        }
        if from == to {
            return; // two SETs of one key would make money
        }
        let watch = self.call(Request::command([b"WATCH", &from, &to])).await;
        let watched_on = self.client.connection();
        let read = self.call(Request::command([b"MGET", &from, &to])).await;
        let (Some(_), Some(Value::Array(values))) = (watch.reply(), read.reply()) else {
            return;
        };
        self.leave_abandoned_node();
        if watched_on.is_none() || self.client.connection() != watched_on {
            return; // nothing is watched any more
        }
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
        if self.is_planted(Planted::TransferInPieces) {
            for call in calls {
                self.call(Request::Command(call)).await;
            }
            return;
        }
        self.call(Request::Transaction(calls)).await;
    }

    async fn sum_up(&mut self) {
        let all = Request::command([b"MGET", b"account:0", b"account:1", b"account:2"]);
        let outcome = self.call(all).await;
        if let Some(Value::Array(values)) = outcome.reply()
            && sum(values) != Some(0)
        {
            self.violated("total", format!("{}: the accounts hold {values:?}", self.name));
        }
    }
}

/// What accounts hold together; none if one is no number.
fn sum(values: &[Value]) -> Option<i64> {
    let held = |value: &Value| match value {
        Value::Nil => Some(0),
        Value::Bulk(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    };
    values.iter().map(held).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A missing account is empty, and what is no number is no sum.
    #[test]
    fn accounts_are_summed() {
        let bulk = |text: &str| Value::Bulk(text.into());
        assert_eq!(sum(&[bulk("5"), Value::Nil, bulk("-5")]), Some(0));
        assert_eq!(sum(&[bulk("5"), bulk("-4")]), Some(1));
        assert_eq!(sum(&[bulk("x"), Value::Nil]), None);
    }
}
