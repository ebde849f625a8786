//! redis-py's `Lock`, command by command: SET NX PX, extend, re-acquire and release by script, EVALSHA first and SCRIPT LOAD when it
//! is unknown. In real time, two careful holders never overlap, a lock does not end before its time, and a release touches only
//! the caller's own.

use std::time::Duration;

use tokio::time::sleep;

use crate::history::{Outcome, Request};
use crate::model::scripts;
use crate::value::Value;

use super::{Work, now};

/// Share of the TTL that a careful holder believes in, in percent: the rest is for drift.
const TRUST_PERCENT: u64 = 95;

/// What all clients know of the lock.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    /// Who believes to hold it, and until when.
    holder: Option<(String, Duration)>,
    /// When the last acquisition that succeeded was sent, and by whom.
    last: (Duration, String),
}

/// A grant, as its holder knows it.
struct Grant {
    token: Vec<u8>,
    ttl_ms: u64,
    acknowledged: Duration,
    /// Until when the holder believes in it.
    until: Duration,
}

fn trusted(from: Duration, ttl_ms: u64) -> Duration {
    from + Duration::from_millis(ttl_ms * TRUST_PERCENT / 100)
}

impl Work {
    pub(super) async fn lock_cycle(&mut self) -> u64 {
        let ttl_ms = self.draws.pick(&[300, 1000, 2000]);
        let Ok(grant) = self.acquire(ttl_ms).await else { return 0 };
        let Some(mut grant) = grant else { return 1 };
        let (mut answered, steps) = (1, self.draws.between(0, 2));
        for _ in 0..steps {
            // Now and then longer than the lock lives.
            let span = self.draws.between(1, ttl_ms * 3 / 4);
            sleep(Duration::from_millis(span)).await;
            answered += u64::from(self.prolong(&mut grant).await);
        }
        let span = self.draws.between(1, ttl_ms);
        sleep(Duration::from_millis(span)).await;
        answered + u64::from(self.release(&grant).await)
    }

    /// The grant, none if somebody else holds it, an error if there was no answer.
    async fn acquire(&mut self, ttl_ms: u64) -> Result<Option<Grant>, ()> {
        let (sent, token, ttl) = (now(), self.fresh(), ttl_ms.to_string());
        let set = Request::command([b"SET", b"lock", &token, b"NX", b"PX", ttl.as_bytes()]);
        match self.call(set).await {
            Outcome::Reply(Value::Simple(_)) => {}
            Outcome::Reply(_) => return Ok(None),
            Outcome::NotApplied(_) | Outcome::Unknown(_) => return Err(()),
        }
        let grant = Grant { token, ttl_ms, acknowledged: now(), until: trusted(sent, ttl_ms) };
        let mut shared = self.shared.borrow_mut();
        let monitor = &mut shared.locks;
        if sent > monitor.last.0 {
            monitor.last = (sent, self.name.clone());
        }
        let other = monitor.holder.replace((self.name.clone(), grant.until));
        drop(shared);
        if let Some((holder, until)) = other
            && until > now()
            && grant.until > now()
            && self.bounded_clocks
        {
            let text =
                format!("{} took the lock while {holder} held it until {until:?}", self.name);
            self.violated("lock-exclusion", text);
        }
        Ok(Some(grant))
    }

    /// Extends or re-acquires; true if there was an answer.
    async fn prolong(&mut self, grant: &mut Grant) -> bool {
        let sent = now();
        let (script, arguments, span) = match self.draws.below(3) {
            0 => (scripts::REACQUIRE, vec![grant.ttl_ms.to_string()], grant.ttl_ms),
            1 => (scripts::EXTEND, vec!["200".to_owned(), "0".to_owned()], 200),
            _ => (scripts::EXTEND, vec![grant.ttl_ms.to_string(), "1".to_owned()], grant.ttl_ms),
        };
        let adds = span == 200;
        if !adds {
            grant.until = grant.until.min(trusted(sent, span)); // it may become shorter
            self.believe(grant);
        }
        let outcome = self.run_script(script, grant, &arguments).await;
        if matches!(outcome, Outcome::Reply(Value::Int(1))) {
            grant.until = grant.until.max(trusted(sent, span));
            self.believe(grant);
        }
        outcome.reply().is_some()
    }

    /// Notes down until when this holder believes in its lock, if nobody has taken it since.
    fn believe(&self, grant: &Grant) {
        let mut shared = self.shared.borrow_mut();
        if let Some((holder, until)) = &mut shared.locks.holder
            && *holder == self.name
        {
            *until = grant.until;
        }
    }

    async fn release(&mut self, grant: &Grant) -> bool {
        let taken = {
            let mut shared = self.shared.borrow_mut();
            let monitor = &mut shared.locks;
            if monitor.holder.as_ref().is_some_and(|(holder, _)| *holder == self.name) {
                monitor.holder = None; // it stops believing before it asks
            }
            (monitor.last.0 > grant.acknowledged).then(|| monitor.last.1.clone())
        };
        let script =
            if self.releases_unchecked { scripts::RELEASE_UNCHECKED } else { scripts::RELEASE };
        let outcome = self.run_script(script, grant, &[]).await;
        match (outcome.reply(), taken) {
            (Some(Value::Int(1)), Some(other)) => {
                let text = format!("{} released the lock that {other} had taken since", self.name);
                self.violated("lock-token", text);
            }
            (Some(Value::Int(1)), None) | (None, _) => {}
            (Some(reply), _) if self.bounded_clocks && now() < grant.until => {
                let text = format!("{}: the lock was gone before its time: {reply:?}", self.name);
                self.violated("lock-kept", text);
            }
            (Some(_), _) => {}
        }
        outcome.reply().is_some()
    }

    /// EVALSHA, and if the script is unknown SCRIPT LOAD and EVALSHA once more, as redis-py does.
    async fn run_script(&mut self, body: &str, grant: &Grant, arguments: &[String]) -> Outcome {
        let mut words = vec![
            b"EVALSHA".to_vec(),
            scripts::sha(body.as_bytes()),
            b"1".to_vec(),
            b"lock".to_vec(),
        ];
        words.push(grant.token.clone());
        words.extend(arguments.iter().map(|word| word.clone().into_bytes()));
        if self.draws.chance(3) {
            self.call(Request::command([b"SCRIPT", b"FLUSH"])).await;
        }
        let first = self.call(Request::Command(words.clone())).await;
        match &first {
            Outcome::Reply(Value::Error(text)) if text.starts_with("NOSCRIPT") => {
                self.call(Request::command([b"SCRIPT", b"LOAD", body.as_bytes()])).await;
                self.call(Request::Command(words)).await
            }
            _ => first,
        }
    }
}
