//! redis-py's `Lock`, command by command: SET NX PX, extend, re-acquire and release by script, EVALSHA first and SCRIPT LOAD when it
//! is unknown. In real time, two careful holders never overlap, a lock does not end before its time, and a release touches only
//! the caller's own.

use std::time::Duration;

use tokio::time::sleep;

use crate::canary::Planted;
use crate::history::{Outcome, Request};
use crate::model::scripts;
use crate::value::{Value, argv};

use super::{Work, now};

/// Share of the TTL that a careful holder believes in, in percent: the rest is for drift.
const TRUST_PERCENT: u64 = 95;

/// What all clients know of the lock. It judges by real time alone, without a look at the log.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    /// Who believes to hold it, and until when.
    holder: Option<(String, Duration)>,
    /// When the last acquisition that succeeded was sent, and by whom.
    last: (Duration, String),
}

impl Monitor {
    /// An acquisition that was sent at `sent` was acknowledged at `now`; its holder believes in it until `until`. Answers what
    /// is wrong if a careful holder still believed in the lock.
    fn acquired(
        &mut self,
        name: &str,
        sent: Duration,
        (now, until): (Duration, Duration),
    ) -> Option<String> {
        if sent > self.last.0 {
            self.last = (sent, name.to_owned());
        }
        let (holder, believed) = self.holder.replace((name.to_owned(), until))?;
        (believed > now && until > now)
            .then(|| format!("{name} took the lock while {holder} held it until {believed:?}"))
    }

    /// Notes down until when this holder believes in its lock, if nobody has taken it since.
    fn believes(&mut self, name: &str, until: Duration) {
        if let Some((holder, believed)) = &mut self.holder
            && *holder == name
        {
            *believed = until;
        }
    }

    /// A holder is about to release what was acknowledged to it at `acknowledged`, and believes in it no longer. Answers who has
    /// taken the lock since.
    fn releases(&mut self, name: &str, acknowledged: Duration) -> Option<String> {
        if self.holder.as_ref().is_some_and(|(holder, _)| *holder == name) {
            self.holder = None;
        }
        (self.last.0 > acknowledged).then(|| self.last.1.clone())
    }
}

/// Judges what a release was answered: 1 must not touch what somebody else has taken since, and 0 says that the lock was gone,
/// which it must not be while a careful holder believes in it. Anything else, as that the script is unknown, did nothing.
fn judge_release(
    reply: Option<&Value>,
    taken_by: Option<&str>,
    believes: bool,
) -> Option<(&'static str, String)> {
    match (reply, taken_by) {
        (Some(Value::Int(1)), Some(other)) => {
            Some(("lock-token", format!("released the lock that {other} had taken since")))
        }
        (Some(Value::Int(0)), _) if believes => {
            Some(("lock-kept", "the lock was gone before its time".to_owned()))
        }
        _ => None,
    }
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
    pub(super) async fn lock_cycle(&mut self) {
        let ttl_ms = self.draws.pick(&[100, 300, 1000]);
        let Some(mut grant) = self.acquire(ttl_ms).await else { return };
        let steps = self.draws.between(0, 2);
        for _ in 0..steps {
            // Now and then longer than the lock lives.
            let span = self.draws.between(1, ttl_ms * 3 / 4);
            sleep(Duration::from_millis(span)).await;
            self.prolong(&mut grant).await;
        }
        let span = self.draws.between(1, ttl_ms);
        sleep(Duration::from_millis(span)).await;
        self.release(&grant).await;
    }

    /// The grant; none if somebody else holds it, or nobody knows.
    async fn acquire(&mut self, ttl_ms: u64) -> Option<Grant> {
        let (sent, token, ttl) = (now(), self.fresh(), ttl_ms.to_string());
        let mut words = argv([b"SET", b"lock", &token, b"PX", ttl.as_bytes()]);
        if !self.is_planted(Planted::LockOverwritten) {
            words.push(b"NX".to_vec());
        }
        let set = Request::Command(words);
        if !matches!(self.call(set).await, Outcome::Reply(Value::Simple(_))) {
            return None;
        }
        let grant = Grant { token, ttl_ms, acknowledged: now(), until: trusted(sent, ttl_ms) };
        let times = (grant.acknowledged, grant.until);
        let wrong = self.shared.borrow_mut().locks.acquired(&self.name, sent, times);
        if let Some(text) = wrong.filter(|_| self.bounded_clocks) {
            self.violated("lock-exclusion", text);
        }
        Some(grant)
    }

    /// Extends or re-acquires.
    async fn prolong(&mut self, grant: &mut Grant) {
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
        let other = self.is_planted(Planted::OtherTokenProlongs).then(|| self.fresh());
        let own = other.map(|token| std::mem::replace(&mut grant.token, token));
        let outcome = self.run_script(script, grant, &arguments).await;
        grant.token = own.unwrap_or_else(|| std::mem::take(&mut grant.token));
        if matches!(outcome, Outcome::Reply(Value::Int(1))) {
            grant.until = grant.until.max(trusted(sent, span));
            self.believe(grant);
        }
        let believes = self.bounded_clocks && now() < grant.until;
        if believes && matches!(outcome, Outcome::Reply(Value::Int(0))) {
            let text = format!("{}: the lock was gone before its time", self.name);
            self.violated("lock-kept", text);
        }
    }

    fn believe(&self, grant: &Grant) {
        self.shared.borrow_mut().locks.believes(&self.name, grant.until);
    }

    async fn release(&mut self, grant: &Grant) {
        let taken = self.shared.borrow_mut().locks.releases(&self.name, grant.acknowledged);
        let unchecked = self.is_planted(Planted::UncheckedRelease);
        let script = if unchecked { scripts::RELEASE_UNCHECKED } else { scripts::RELEASE };
        let outcome = self.run_script(script, grant, &[]).await;
        let believes = self.bounded_clocks && now() < grant.until;
        if let Some((check, text)) = judge_release(outcome.reply(), taken.as_deref(), believes) {
            self.violated(check, format!("{}: {text}", self.name));
        }
    }

    /// EVALSHA, and if the script is unknown SCRIPT LOAD and EVALSHA once more, as redis-py does. It may be unknown even then: the
    /// outcome of SCRIPT LOAD may be open, and another client's SCRIPT FLUSH may come between.
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
                let load = Request::command([b"SCRIPT", b"LOAD", body.as_bytes()]);
                match self.call(load).await {
                    Outcome::Reply(_) => self.call(Request::Command(words)).await,
                    open => open, // redis-py's caller gets this error, and nothing was executed
                }
            }
            _ => first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Two careful holders at once are found; one after the other, one that was released, prolonged or given up are not.
    #[test]
    fn holders_must_not_overlap() {
        let with = |second: u64, change: fn(&mut Monitor)| {
            let mut monitor = Monitor::default();
            assert_eq!(monitor.acquired("a", at(0), (at(10), at(500))), None);
            change(&mut monitor);
            monitor.acquired("b", at(second - 5), (at(second), at(second + 500))).is_some()
        };
        assert!(with(499, |_| {}));
        assert!(!with(500, |_| {}));
        assert!(!with(100, |monitor| drop(monitor.releases("a", at(10)))));
        assert!(with(700, |monitor| monitor.believes("a", at(800))));
        assert!(!with(400, |monitor| monitor.believes("a", at(300))));
        assert!(with(400, |monitor| monitor.believes("z", at(300))), "that was somebody else");
        assert!(with(100, |monitor| drop(monitor.releases("z", at(10)))));
        let mut monitor = Monitor::default();
        assert_eq!(monitor.acquired("a", at(0), (at(10), at(500))), None);
        let late = monitor.acquired("b", at(0), (at(450), at(400)));
        assert_eq!(late, None, "it was acknowledged too late to be believed in");
    }

    /// A release knows who has taken the lock since it was acknowledged, and nobody before.
    #[test]
    fn a_release_knows_who_came_after() {
        let mut monitor = Monitor::default();
        monitor.acquired("a", at(0), (at(10), at(300)));
        assert_eq!(monitor.releases("a", at(10)), None);
        monitor.acquired("b", at(400), (at(410), at(700)));
        assert_eq!(monitor.releases("a", at(10)), Some("b".to_owned()));
        assert_eq!(monitor.releases("b", at(410)), None);
    }

    /// Only 1 releases and only 0 says that the lock was gone: an unknown script, an error or no answer says nothing of it.
    #[test]
    fn a_release_is_judged_by_what_it_did() {
        let found = |reply: Option<&Value>, taken: Option<&str>, believes| {
            judge_release(reply, taken, believes).map(|(check, _)| check)
        };
        let (gone, done) = (Value::Int(0), Value::Int(1));
        let unknown = Value::Error("NOSCRIPT No matching script.".into());
        assert_eq!(found(Some(&done), Some("b"), false), Some("lock-token"));
        assert_eq!(found(Some(&gone), None, true), Some("lock-kept"));
        assert_eq!(found(Some(&gone), Some("b"), true), Some("lock-kept"));
        assert_eq!(found(Some(&done), None, true), None);
        assert_eq!(found(Some(&gone), Some("b"), false), None);
        assert_eq!(found(Some(&unknown), Some("b"), true), None);
        assert_eq!(found(None, Some("b"), true), None);
    }
}
