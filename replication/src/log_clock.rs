//! The log clock: the time in stamps. A leader anchors it once per term to its monotonic clock and lets it slew towards wall
//! time at a bounded rate; it is never stepped and never runs backwards. Followers estimate it from what leaders send.
//! Microseconds inside, milliseconds outside; integers only, so that every run of one history gives the same stamps.

use std::time::Duration;

/// Slewing: at most one part in this many (500 ppm).
const SLEW_DIVISOR: u64 = 2000;

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct LogClock {
    /// Highest stamp in the own log, milliseconds.
    last_stamp_ms: u64,
    /// Log time minus monotonic time as the leader's last message told it, microseconds.
    estimate_us: Option<i64>,
    /// While leading: log time at a monotonic moment, microseconds.
    leading: Option<(u64, u64)>,
}

fn micros(now: Duration) -> u64 {
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

impl LogClock {
    /// A stamp was written into the own log, by whomever.
    pub(crate) fn saw_stamp(&mut self, stamp_ms: u64) {
        self.last_stamp_ms = self.last_stamp_ms.max(stamp_ms);
    }

    /// The leader's log time at the moment it sent a message that arrives now.
    pub(crate) fn hear(&mut self, now: Duration, log_time_ms: u64) {
        let heard = i64::try_from(log_time_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        self.estimate_us = Some(heard.saturating_sub(micros(now) as i64));
    }

    /// A voter's log time as it answered: log time is no earlier than that.
    pub(crate) fn hear_vote(&mut self, now: Duration, log_time_ms: u64) {
        let known = self.estimate_us;
        self.hear(now, log_time_ms);
        self.estimate_us = self.estimate_us.max(known);
    }

    /// Begins a term as leader; nothing happens while one is under way.
    pub(crate) fn lead(&mut self, now: Duration, wall_ms: u64) {
        if self.leading.is_some() {
            return;
        }
        let estimated = self.estimated_us(now).unwrap_or_else(|| wall_ms.saturating_mul(1000));
        self.leading = Some((estimated.max(self.last_stamp_ms.saturating_mul(1000)), micros(now)));
    }

    /// Ends it; what the leader knew stays as the estimate.
    pub(crate) fn follow(&mut self) {
        if let Some((log_us, at_us)) = self.leading.take() {
            self.estimate_us = Some(log_us as i64 - at_us as i64);
        }
    }

    fn estimated_us(&self, now: Duration) -> Option<u64> {
        let sum = self.estimate_us?.saturating_add(micros(now) as i64);
        Some(u64::try_from(sum).unwrap_or(0))
    }

    /// The stamp of an entry that the leader proposes now, milliseconds.
    pub(crate) fn stamp(&mut self, now: Duration, wall_ms: u64) -> u64 {
        if let Some((log_us, at_us)) = &mut self.leading {
            let elapsed = micros(now).saturating_sub(*at_us);
            let slew_max = elapsed / SLEW_DIVISOR;
            let target = wall_ms.saturating_mul(1000);
            let raw = *log_us + elapsed;
            *log_us = if target > raw {
                raw + (target - raw).min(slew_max)
            } else {
                raw - (raw - target).min(slew_max)
            };
            *at_us += elapsed;
            self.last_stamp_ms = self.last_stamp_ms.max(*log_us / 1000);
        }
        self.last_stamp_ms
    }

    /// Log time of a leader that has anchored it, milliseconds.
    pub(crate) fn leading_ms(&self, now: Duration) -> Option<u64> {
        let (log_us, at_us) = self.leading?;
        Some((log_us + micros(now).saturating_sub(at_us)) / 1000)
    }

    /// Log time as this node has led it or heard of it since its start, milliseconds.
    pub(crate) fn known_ms(&self, now: Duration) -> Option<u64> {
        self.leading_ms(now).or_else(|| self.estimated_us(now).map(|us| us / 1000))
    }

    /// Log time as far as this node can tell, milliseconds.
    pub(crate) fn now_ms(&self, now: Duration) -> u64 {
        self.known_ms(now).unwrap_or(0).max(self.last_stamp_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A wall clock that jumps an hour, either way, moves stamps by the slewing rate and no more.
    #[test]
    fn wall_jumps_are_slewed() {
        let mut clock = LogClock::default();
        clock.lead(at(0), 1_000_000);
        assert_eq!(clock.stamp(at(0), 1_000_000), 1_000_000);
        assert_eq!(clock.stamp(at(10_000), 1_000_000 + 3_600_000), 1_010_005);
        assert_eq!(clock.stamp(at(20_000), 0), 1_020_000);
    }

    /// Stamps never run backwards, also when a leader with a slow clock takes over.
    #[test]
    fn handover_never_goes_back() {
        let mut clock = LogClock::default();
        clock.saw_stamp(5_000_000);
        clock.lead(at(50), 1_000);
        assert_eq!(clock.stamp(at(50), 1_000), 5_000_000);
        assert_eq!(clock.stamp(at(60), 1_000), 5_000_009, "it goes on by the monotonic clock");
    }

    /// A follower goes on from what the leader said, not from its own wall clock.
    #[test]
    fn followers_estimate() {
        let mut clock = LogClock::default();
        clock.hear(at(100), 7_000);
        assert_eq!(clock.now_ms(at(350)), 7_250);
        clock.lead(at(400), 99_000_000);
        assert_eq!(clock.stamp(at(400), 99_000_000), 7_300);
    }

    /// A node that has heard nothing since its start goes on from what its voters know, not from its own wall clock.
    #[test]
    fn votes_tell_log_time() {
        let mut clock = LogClock::default();
        assert_eq!((clock.known_ms(at(100)), clock.leading_ms(at(100))), (None, None));
        clock.hear_vote(at(100), 9_000);
        clock.hear_vote(at(100), 7_000);
        clock.lead(at(150), 99_000_000);
        assert_eq!(clock.leading_ms(at(150)), Some(9_050));
    }
}
