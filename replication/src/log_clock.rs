//! The log clock: the time in stamps. A leader anchors it once per term to its monotonic clock and lets it slew towards wall
//! time at a bounded rate; it is never stepped and never runs backwards. Followers estimate it from what leaders send.
//! Microseconds inside, milliseconds outside; integers only, so that every run of one history gives the same stamps.

use std::time::Duration;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

/// Slewing: at most one part in this many (500 ppm).
const SLEW_DIVISOR: u64 = 2000;
/// An estimate sinks by one part in this many (2000 ppm) while what is heard is below it: more than the leader's slewing and
/// two drifting clocks can make of it, and little for the longest pause.
const SINK_DIVISOR: u64 = 500;
/// A node that took no step for so long was stopped, for its beats come far more often. What then waits in its buffers is of any
/// age, and as the first word that it hears it would set its log time back for good: for as long again it is not believed.
const STOPPED: Duration = Duration::from_millis(500);

/// What counts as a jump of the wall clock, for the marks.
const JUMP_US: u64 = 1_000_000;

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct LogClock {
    /// Highest stamp in the own log, milliseconds.
    last_stamp_ms: u64,
    /// Log time as others' messages told it.
    estimate: Option<Estimate>,
    /// While leading: log time at a monotonic moment, microseconds.
    leading: Option<(u64, u64)>,
    /// Microseconds of leading that did not make one of slewing yet.
    unslewed_us: u64,
    last_step: Option<Duration>,
    /// Until then nothing that is heard counts.
    deaf_until: Duration,
}

/// What messages say is late by their way, and by a pause of this node if one lay between; so the highest of them is the best.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    /// Log time minus monotonic time, microseconds.
    offset_us: i64,
    /// Monotonic moment at which that was so, microseconds.
    at_us: u64,
}

impl Estimate {
    /// What of it stands against words that say less. Time that does not make a microsecond yet counts the next time.
    fn sunk(self, now_us: u64) -> Self {
        let sunk = now_us.saturating_sub(self.at_us) / SINK_DIVISOR;
        let offset_us = self.offset_us.saturating_sub(sunk as i64);
        Self { offset_us, at_us: self.at_us + sunk * SINK_DIVISOR }
    }
}

fn micros(now: Duration) -> u64 {
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

impl LogClock {
    /// The node takes a step.
    pub(crate) fn step(&mut self, now: Duration) {
        if self.last_step.is_some_and(|last| now.saturating_sub(last) >= STOPPED) {
            self.deaf_until = now + STOPPED;
        }
        self.last_step = Some(now);
    }

    /// A stamp was written into the own log, by whomever.
    pub(crate) fn saw_stamp(&mut self, stamp_ms: u64) {
        self.last_stamp_ms = self.last_stamp_ms.max(stamp_ms);
    }

    /// Log time of a leader at the moment it sent a message that arrives now: log time is no earlier.
    pub(crate) fn hear(&mut self, now: Duration, log_time_ms: u64) {
        if now >= self.deaf_until || is_planted(Canary::OldWordsBelieved) {
            self.believe(now, log_time_ms);
        } else {
            mark::reached(Mark::OldWordsDropped);
        }
    }

    /// The same of a voter that answers. It is believed at any time: it answers what this node asked, and without it a leader
    /// would have nothing but its own wall clock.
    pub(crate) fn believe(&mut self, now: Duration, log_time_ms: u64) {
        if now < self.deaf_until {
            mark::reached(Mark::VotersBelieved);
        }
        let now_us = micros(now);
        let log_us = i64::try_from(log_time_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        let heard = Estimate { offset_us: log_us.saturating_sub(now_us as i64), at_us: now_us };
        let known = self.estimate.map(|estimate| estimate.sunk(now_us));
        let higher = known.filter(|known| {
            known.offset_us > heard.offset_us && !is_planted(Canary::LateWordsCount)
        });
        self.estimate = Some(higher.unwrap_or(heard));
    }

    /// Begins a term as leader; nothing happens while one is under way.
    pub(crate) fn lead(&mut self, now: Duration, wall_ms: u64) {
        if self.leading.is_some() {
            return;
        }
        let own_clock =
            is_planted(Canary::LeaderTrustsItsClock) || is_planted(Canary::ClockStepsBack);
        let known = self.estimated_us(now).filter(|_| !own_clock);
        if known.is_none() && self.last_stamp_ms > 0 {
            mark::reached(Mark::LedByOwnClock);
        }
        let known = known.unwrap_or_else(|| wall_ms.saturating_mul(1000));
        let last = if is_planted(Canary::ClockStepsBack) { 0 } else { self.last_stamp_ms };
        if known < last.saturating_mul(1000) {
            mark::reached(Mark::StampHeldBack);
        }
        self.leading = Some((known.max(last.saturating_mul(1000)), micros(now)));
    }

    /// Ends it; what the leader knew stays as the estimate.
    pub(crate) fn follow(&mut self) {
        if let Some((log_us, at_us)) = self.leading.take() {
            self.estimate = Some(Estimate { offset_us: log_us as i64 - at_us as i64, at_us });
        }
    }

    fn estimated_us(&self, now: Duration) -> Option<u64> {
        let sum = self.estimate?.offset_us.saturating_add(micros(now) as i64);
        Some(u64::try_from(sum).unwrap_or(0))
    }

    /// The stamp of an entry that the leader proposes now, milliseconds.
    pub(crate) fn stamp(&mut self, now: Duration, wall_ms: u64) -> u64 {
        if let Some((log_us, at_us)) = &mut self.leading {
            let elapsed = micros(now).saturating_sub(*at_us);
            let slewing = self.unslewed_us + elapsed;
            let clamped = !is_planted(Canary::ClockFollowsJumps);
            let slew_max = if clamped { slewing / SLEW_DIVISOR } else { u64::MAX };
            self.unslewed_us = slewing % SLEW_DIVISOR;
            let target = wall_ms.saturating_mul(1000);
            let raw = *log_us + elapsed;
            if target.abs_diff(raw) >= JUMP_US {
                mark::reached(Mark::JumpClamped);
            }
            *log_us = if target > raw {
                raw + (target - raw).min(slew_max)
            } else {
                raw - (raw - target).min(slew_max)
            };
            *at_us += elapsed;
            let last = if is_planted(Canary::ClockStepsBack) { 0 } else { self.last_stamp_ms };
            self.last_stamp_ms = last.max(*log_us / 1000);
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

    /// A busy leader stamps many times a millisecond, and slews all the same.
    #[test]
    fn many_stamps_slew_as_far_as_few() {
        let mut clock = LogClock::default();
        clock.lead(at(0), 1_000_000);
        for step in 1..=50_000_u64 {
            clock.stamp(Duration::from_micros(step * 200), 2_000_000);
        }
        assert_eq!(clock.stamp(at(10_000), 2_000_000), 1_010_005);
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

    /// A node that was paused reads first what was said long ago: that is not log time now.
    #[test]
    fn old_words_do_not_set_it_back() {
        let mut clock = LogClock::default();
        clock.hear(at(100), 7_000);
        clock.hear(at(5_100), 7_050);
        assert_eq!(
            clock.now_ms(at(5_100)),
            11_990,
            "a pause of five seconds costs ten milliseconds"
        );
        clock.hear(at(5_101), 12_001);
        assert_eq!(clock.now_ms(at(5_101)), 12_001);
    }

    /// A node that was stopped before it heard anything does not take the first old word for log time.
    #[test]
    fn what_waited_while_it_was_stopped_is_not_believed() {
        let mut clock = LogClock::default();
        for ms in [0, 100, 200, 5_200] {
            clock.step(at(ms));
        }
        clock.hear(at(5_200), 7_050);
        assert_eq!(clock.known_ms(at(5_200)), None);
        clock.step(at(5_300));
        clock.hear(at(5_300), 7_060);
        assert_eq!(clock.known_ms(at(5_300)), None);
        clock.hear(at(5_700), 12_001);
        assert_eq!(clock.known_ms(at(5_700)), Some(12_001));
    }

    /// A leader whose clock runs slower than this node's does not leave it ahead of log time for good.
    #[test]
    fn the_estimate_follows_a_slower_leader() {
        let mut clock = LogClock::default();
        for second in 0..10_000 {
            clock.hear(at(second * 1000), second * 999);
        }
        assert_eq!(clock.now_ms(at(9_999_000)), 9_999 * 999);
    }

    /// The same under load, when many messages come in a millisecond.
    #[test]
    fn many_messages_let_it_sink_as_far_as_few() {
        let mut clock = LogClock::default();
        clock.hear(at(0), 1_000);
        for step in 1..=50_000_u64 {
            clock.hear(Duration::from_micros(step * 200), 0);
        }
        assert_eq!(clock.now_ms(at(10_000)), 10_980);
    }

    /// A node that was stopped before it heard anything, and then stands for leader, believes its voters.
    #[test]
    fn voters_are_believed_after_a_stop() {
        let mut clock = LogClock::default();
        clock.step(at(0));
        clock.step(at(5_000));
        clock.hear(at(5_000), 7_000);
        clock.believe(at(5_010), 12_000);
        clock.lead(at(5_010), 99_000_000);
        assert_eq!(clock.leading_ms(at(5_010)), Some(12_000));
    }

    /// A node that has heard nothing since its start goes on from what its voters know, not from its own wall clock.
    #[test]
    fn votes_tell_log_time() {
        let mut clock = LogClock::default();
        assert_eq!((clock.known_ms(at(100)), clock.leading_ms(at(100))), (None, None));
        clock.believe(at(100), 9_000);
        clock.believe(at(100), 7_000);
        clock.lead(at(150), 99_000_000);
        assert_eq!(clock.leading_ms(at(150)), Some(9_050));
    }
}
