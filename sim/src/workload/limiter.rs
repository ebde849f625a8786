//! A fixed-window rate limiter as people write it, by script and by MULTI: the first request of a window sets its end. In real time no
//! window may begin before the one before it has ended, no place in a window may be given twice, and the counter never stays
//! without an end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::canary::Planted;
use crate::history::{Outcome, Request};
use crate::model::scripts;
use crate::value::{Value, argv};

use super::counters::number;
use super::{Work, now};

const WINDOW_MS: u64 = 400;
/// Share of a window that is counted on, in percent: the rest is for drift.
const TRUST_PERCENT: u64 = 95;

/// The present window of each limiter, as all clients know it together.
#[derive(Debug, Default)]
pub(super) struct Monitor(BTreeMap<&'static [u8], Window>);

#[derive(Debug, Clone, Default)]
struct Window {
    /// When its first request was acknowledged.
    began: Duration,
    /// Until then it surely lasts.
    until: Duration,
    places: BTreeSet<i64>,
}

impl Monitor {
    /// A request that was sent at `sent` and answered at `now` got this place. Answers what is wrong with that.
    fn placed(
        &mut self,
        limiter: &'static [u8],
        place: i64,
        (sent, now): (Duration, Duration),
    ) -> Option<String> {
        let window = self.0.entry(limiter).or_default();
        if place == 1 {
            if sent <= window.began {
                return None; // which of the two windows came first nobody can say
            }
            let wrong = (now < window.until)
                .then(|| format!("a window began before the last one ends, at {:?}", window.until));
            let until = sent + Duration::from_millis(WINDOW_MS * TRUST_PERCENT / 100);
            *window = Window { began: now, until, places: BTreeSet::from([1]) };
            return wrong;
        }
        let within = window.began < sent && now < window.until;
        (within && !window.places.insert(place)).then(|| {
            format!("place {place} was given twice in the window until {:?}", window.until)
        })
    }
}

impl Work {
    pub(super) async fn ask_limiter(&mut self) {
        let by_script = self.draws.chance(50);
        let limiter: &'static [u8] = if by_script { b"limit:script" } else { b"limit:multi" };
        if self.draws.chance(25) {
            let left = self.call(Request::command([b"PTTL", limiter])).await;
            if left.reply() == Some(&Value::Int(-1)) {
                let text = format!("{}: {} has no end", self.name, limiter.escape_ascii());
                self.violated("limiter-stuck", text);
            }
            return;
        }
        let (ms, sent) = (WINDOW_MS.to_string(), now());
        let ms = ms.as_bytes();
        if self.is_planted(Planted::LimiterInPieces) {
            return self.ask_in_pieces(limiter, ms).await;
        }
        let seen = if self.is_planted(Planted::LimiterLooksFirst) {
            self.call(Request::command([b"GET", limiter])).await.reply().and_then(number)
        } else {
            None
        };
        let request = if by_script {
            Request::command([b"EVAL", scripts::LIMIT.as_bytes(), b"1", limiter, ms])
        } else {
            let set = argv([b"SET", limiter, b"0", b"PX", ms, b"NX"]);
            Request::Transaction(vec![set, argv([b"INCR", limiter])])
        };
        let place = match self.call(request).await {
            Outcome::Reply(Value::Int(place)) => place,
            Outcome::Reply(Value::Array(replies)) => match replies.last() {
                Some(Value::Int(place)) => *place,
                _ => return,
            },
            _ => return,
        };
        let place = seen.map_or(place, |seen| seen + 1);
        let wrong = self.shared.borrow_mut().limiter.placed(limiter, place, (sent, now()));
        if let Some(text) = wrong.filter(|_| self.bounded_clocks) {
            self.violated("limiter-window", format!("{}: {text}", self.name));
        }
    }

    /// The planted bug of a window that gets its end by a second request, which now and then is never sent.
    async fn ask_in_pieces(&mut self, limiter: &'static [u8], ms: &[u8]) {
        let place = self.call(Request::command([b"INCR", limiter])).await;
        if place.reply() == Some(&Value::Int(1)) && !self.draws.chance(20) {
            self.call(Request::command([b"PEXPIRE", limiter, ms])).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A window that begins too early and a place given twice are found; what may be of another window is not.
    #[test]
    fn windows_and_places_are_held_apart() {
        let with = |place: i64, sent: u64, now: u64| {
            let mut monitor = Monitor::default();
            assert_eq!(monitor.placed(b"l", 1, (at(1), at(10))), None);
            assert_eq!(monitor.placed(b"l", 2, (at(20), at(30))), None);
            assert_eq!(monitor.placed(b"m", 1, (at(20), at(30))), None, "it is another limiter");
            monitor.placed(b"l", place, (at(sent), at(now))).is_some()
        };
        assert!(with(1, 40, 50));
        assert!(!with(1, 40, 400));
        assert!(!with(1, 5, 50), "it may be the first of the window before");
        assert!(with(2, 40, 50));
        assert!(!with(3, 40, 50));
        assert!(!with(2, 40, 390), "it may be the next window's");
        assert!(!with(2, 5, 50), "it may be the last window's");
    }
}
