//! The log clock: the time in stamps. A leader anchors it once per term to its monotonic clock and lets it slew towards wall
//! time at a bounded rate; it is never stepped and never runs backwards. Followers know it to be between two bounds, by what leaders
//! send and how long that was on its way (the bounds of Cristian, "Probabilistic clock synchronization", 1989).
//! Microseconds inside, milliseconds outside; integers only, so that every run of one history gives the same stamps.

use std::time::Duration;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use crate::event::TimeWord;

/// Slewing: at most one part in this many (500 ppm).
const SLEW_DIVISOR: u64 = 2000;
/// Bounds move apart by one part in this many (2000 ppm): more than the leader's slewing and two drifting clocks can make of it, and
/// little for the longest pause.
const SINK_DIVISOR: u64 = 500;
/// A node that took no step for so long was stopped, for its beats come far more often. What then waits in its buffers is of any
/// age, and as the first word that it hears it would set its log time back for good: for as long again it is not believed.
const STOPPED: Duration = Duration::from_millis(500);

/// What counts as a jump of the wall clock, for the marks.
const JUMP_US: u64 = 1_000_000;

/// Words say log time to the millisecond.
const ROUNDING_US: i64 = 1000;

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

/// Between which two log time is: what messages say is late by their way, and by a pause of this node if one lay between, so the
/// highest of them is the best; and how long their way was at the most bounds it from above. Both are log time minus monotonic time,
/// microseconds.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    low: i64,
    /// None: it may be anything above.
    high: Option<i64>,
    /// Monotonic moment at which that was so, microseconds.
    at: u64,
}

impl Estimate {
    /// What is left of it against a word that comes now, for clocks drift: in silence the lower bound is still the best there is. Time that
    /// does not make a microsecond yet counts the next time.
    fn aged(self, now_us: u64) -> Self {
        let aged = now_us.saturating_sub(self.at) / SINK_DIVISOR;
        let low = self.low.saturating_sub(aged as i64);
        let high = self.high.map(|high| high.saturating_add(aged as i64));
        Self { low, high, at: self.at + aged * SINK_DIVISOR }
    }

    /// Both together. Where they contradict each other the later word stands: log time is what its leader says, also if that
    /// leader's machine stood still with its clocks and lets log time lag.
    fn and(self, heard: Self) -> Self {
        let known = self.aged(heard.at);
        let low = known.low.max(heard.low);
        let high = known.high.into_iter().chain(heard.high).min();
        match high {
            Some(high) if high < low => {
                mark::reached(Mark::LogTimeBehind);
                heard
            }
            _ => Self { low, high, at: known.at },
        }
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

    /// A leader's word that arrives now.
    pub(crate) fn hear(&mut self, now: Duration, word: TimeWord) {
        if now >= self.deaf_until || is_planted(Canary::OldWordsBelieved) {
            self.believe(now, word);
        } else {
            mark::reached(Mark::OldWordsDropped);
        }
    }

    /// The same of a voter that answers. It is believed at any time: it answers what this node asked, and without it a leader
    /// would have nothing but its own wall clock.
    pub(crate) fn believe(&mut self, now: Duration, word: TimeWord) {
        if now < self.deaf_until {
            mark::reached(Mark::VotersBelieved);
        }
        let at_us = micros(now);
        let log_us = i64::try_from(word.log_time_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        let low = log_us.saturating_sub(at_us as i64);
        // A clock that says less than it did has begun anew with its machine: it tells nothing.
        let way = word.left_after.and_then(|after| now.checked_sub(after));
        let at_once = is_planted(Canary::LateWordsCount).then_some(Duration::ZERO);
        let way = at_once.or(way);
        let high = word.slack.zip(way).map(|(slack, way)| {
            let late = i64::try_from((slack + way).as_micros()).unwrap_or(i64::MAX);
            low.saturating_add(late).saturating_add(ROUNDING_US)
        });
        let heard = Estimate { low, high, at: at_us };
        let known = self.estimate.filter(|_| !is_planted(Canary::LateWordsCount));
        self.estimate = Some(known.map_or(heard, |known| known.and(heard)));
    }

    /// Begins a term as leader; nothing happens while one is under way. The own wall clock counts where nobody knows better: anywhere if
    /// nobody has heard log time since its start, else between the bounds of what was heard.
    pub(crate) fn lead(&mut self, now: Duration, wall_ms: u64) {
        if self.leading.is_some() {
            return;
        }
        let own_clock =
            is_planted(Canary::LeaderTrustsItsClock) || is_planted(Canary::ClockStepsBack);
        let known = self.estimate.filter(|_| !own_clock);
        if known.is_none() && self.last_stamp_ms > 0 {
            mark::reached(Mark::LedByOwnClock);
        }
        let now_us = micros(now);
        let wall_us = wall_ms.saturating_mul(1000);
        let begin_us = known.map_or(wall_us, |known| {
            let at = |offset: i64| now_us.saturating_add_signed(offset);
            let (low, high) = (at(known.low), known.aged(now_us).high.map(at));
            if wall_us > low && high.is_some_and(|high| high > low) {
                mark::reached(Mark::WallWithinBounds);
            }
            // Without an upper bound the lower one stands: who knows how far ahead the wall clock is?
            high.map_or(low, |high| wall_us.clamp(low, high.max(low)))
        });
        let last = if is_planted(Canary::ClockStepsBack) { 0 } else { self.last_stamp_ms };
        if begin_us < last.saturating_mul(1000) {
            mark::reached(Mark::StampHeldBack);
        }
        self.leading = Some((begin_us.max(last.saturating_mul(1000)), now_us));
    }

    /// Ends it; what the leader knew stays as the estimate.
    pub(crate) fn follow(&mut self) {
        if let Some((log_us, at_us)) = self.leading.take() {
            let offset_us = log_us as i64 - at_us as i64;
            self.estimate = Some(Estimate { low: offset_us, high: Some(offset_us), at: at_us });
        }
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

    /// Log time of a leader that has anchored it, as it tells its peers.
    pub(crate) fn leaders_word(&self, now: Duration) -> Option<TimeWord> {
        let log_time_ms = self.leading_ms(now)?;
        Some(TimeWord { log_time_ms, slack: Some(Duration::ZERO), left_after: None })
    }

    /// What this node knows of log time, because it has led it or heard of it since its start.
    pub(crate) fn word(&self, now: Duration) -> Option<TimeWord> {
        let heard = || {
            let known = self.estimate?;
            let slack = known.aged(micros(now)).high.map(|high| {
                Duration::from_micros(u64::try_from(high.saturating_sub(known.low)).unwrap_or(0))
            });
            Some(TimeWord { log_time_ms: self.estimated_ms(now)?, slack, left_after: None })
        };
        self.leaders_word(now).or_else(heard)
    }

    /// Log time as far as this node can tell, milliseconds.
    pub(crate) fn now_ms(&self, now: Duration) -> u64 {
        let known = self.leading_ms(now).or_else(|| self.estimated_ms(now));
        known.unwrap_or(0).max(self.last_stamp_ms)
    }

    fn leading_ms(&self, now: Duration) -> Option<u64> {
        let (log_us, at_us) = self.leading?;
        Some((log_us + micros(now).saturating_sub(at_us)) / 1000)
    }

    fn estimated_ms(&self, now: Duration) -> Option<u64> {
        Some(micros(now).saturating_add_signed(self.estimate?.low) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A leader's word of which nobody knows how long it was on its way.
    fn word(log_time_ms: u64) -> TimeWord {
        TimeWord { log_time_ms, slack: Some(Duration::ZERO), left_after: None }
    }

    /// A leader's word that left after this moment of the receiver's.
    fn word_after(log_time_ms: u64, after_ms: u64) -> TimeWord {
        TimeWord { left_after: Some(at(after_ms)), ..word(log_time_ms) }
    }

    fn told(clock: &LogClock, now: Duration) -> Option<u64> {
        clock.word(now).map(|word| word.log_time_ms)
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
        clock.hear(at(100), word(7_000));
        assert_eq!(clock.now_ms(at(350)), 7_250);
        clock.lead(at(400), 99_000_000);
        assert_eq!(clock.stamp(at(400), 99_000_000), 7_300);
    }

    /// A node that was paused reads first what was said long ago: that is not log time now.
    #[test]
    fn old_words_do_not_set_it_back() {
        let mut clock = LogClock::default();
        clock.hear(at(100), word(7_000));
        clock.hear(at(5_100), word(7_050));
        assert_eq!(
            clock.now_ms(at(5_100)),
            11_990,
            "a pause of five seconds costs ten milliseconds"
        );
        clock.hear(at(5_101), word(12_001));
        assert_eq!(clock.now_ms(at(5_101)), 12_001);
    }

    /// A node that was stopped before it heard anything does not take the first old word for log time.
    #[test]
    fn what_waited_while_it_was_stopped_is_not_believed() {
        let mut clock = LogClock::default();
        for ms in [0, 100, 200, 5_200] {
            clock.step(at(ms));
        }
        clock.hear(at(5_200), word(7_050));
        assert_eq!(told(&clock, at(5_200)), None);
        clock.step(at(5_300));
        clock.hear(at(5_300), word(7_060));
        assert_eq!(told(&clock, at(5_300)), None);
        clock.hear(at(5_700), word(12_001));
        assert_eq!(told(&clock, at(5_700)), Some(12_001));
    }

    /// A leader whose clock runs slower than this node's does not leave it ahead of log time for good.
    #[test]
    fn the_estimate_follows_a_slower_leader() {
        let mut clock = LogClock::default();
        for second in 0..10_000 {
            clock.hear(at(second * 1000), word(second * 999));
        }
        assert_eq!(clock.now_ms(at(9_999_000)), 9_999 * 999);
    }

    /// The same under load, when many messages come in a millisecond.
    #[test]
    fn many_messages_let_it_sink_as_far_as_few() {
        let mut clock = LogClock::default();
        clock.hear(at(0), word(1_000));
        for step in 1..=50_000_u64 {
            clock.hear(Duration::from_micros(step * 200), word(0));
        }
        assert_eq!(clock.now_ms(at(10_000)), 10_980);
    }

    /// A node that was stopped before it heard anything, and then stands for leader, believes its voters.
    #[test]
    fn voters_are_believed_after_a_stop() {
        let mut clock = LogClock::default();
        clock.step(at(0));
        clock.step(at(5_000));
        clock.hear(at(5_000), word(7_000));
        clock.believe(at(5_010), word(12_000));
        clock.lead(at(5_010), 99_000_000);
        assert_eq!(clock.leading_ms(at(5_010)), Some(12_000));
    }

    /// A node that has heard nothing since its start goes on from what its voters know, not from its own wall clock.
    #[test]
    fn votes_tell_log_time() {
        let mut clock = LogClock::default();
        assert_eq!((told(&clock, at(100)), clock.leading_ms(at(100))), (None, None));
        clock.believe(at(100), word(9_000));
        clock.believe(at(100), word(7_000));
        clock.lead(at(150), 99_000_000);
        assert_eq!(clock.leading_ms(at(150)), Some(9_050));
    }

    /// A word that was long on its way leaves room, in which the wall clock of a new leader counts, and no further. Found by seeds
    /// 10999 and 12950 of the swarm at 712606a, where log time lagged by as much as the first words had been late.
    #[test]
    fn the_wall_clock_counts_within_the_bounds() {
        let led = |wall_ms| {
            let mut clock = LogClock::default();
            clock.hear(at(1300), word_after(7_000, 100));
            clock.lead(at(1400), wall_ms);
            clock.leading_ms(at(1400))
        };
        assert_eq!(led(7_350), Some(7_350), "it may well be right");
        assert_eq!(led(6_000), Some(7_100), "log time is later");
        assert_eq!(led(99_000_000), Some(8_301), "log time is earlier");
    }

    /// Of all words the best bounds stand, and move apart as clocks drift.
    #[test]
    fn bounds_close_in() {
        let mut clock = LogClock::default();
        clock.hear(at(1000), word_after(7_000, 500));
        clock.hear(at(1100), word_after(7_110, 1090));
        clock.hear(at(1200), word_after(7_150, 900));
        let slack = |clock: &LogClock, now| clock.word(at(now)).and_then(|word| word.slack);
        assert_eq!(told(&clock, at(1200)), Some(7_209));
        assert_eq!(slack(&clock, 1200), Some(Duration::from_micros(11_400)));
        assert_eq!(slack(&clock, 11_200), Some(Duration::from_micros(31_400)));
        clock.hear(at(11_200), word(17_000));
        assert_eq!(
            slack(&clock, 11_200),
            Some(Duration::from_micros(51_400)),
            "it says nothing above"
        );
    }

    /// A leader whose machine stood still with its clocks lets log time lag: whoever follows it goes along.
    #[test]
    fn a_leader_that_lags_is_followed() {
        let mut clock = LogClock::default();
        clock.hear(at(1000), word_after(7_000, 990));
        clock.hear(at(2000), word_after(7_200, 1990));
        assert_eq!(told(&clock, at(2000)), Some(7_200));
        clock.hear(at(2100), word_after(9_000, 2090));
        assert_eq!(
            told(&clock, at(2100)),
            Some(9_000),
            "and so it does with one that knows better"
        );
    }

    /// A voter's word is as good as what it heard itself, and its way comes on top.
    #[test]
    fn what_voters_know_has_bounds() {
        let mut voter = LogClock::default();
        voter.hear(at(1000), word_after(7_000, 900));
        let told = voter.word(at(1000)).expect("it has heard");
        let mut clock = LogClock::default();
        clock.believe(at(50), TimeWord { left_after: Some(at(30)), ..told });
        let slack = clock.word(at(50)).and_then(|word| word.slack);
        assert_eq!(slack, Some(Duration::from_millis(122)));
        clock.believe(
            at(60),
            TimeWord { slack: None, left_after: Some(at(55)), log_time_ms: 7_000 },
        );
        let slack = clock.word(at(50)).and_then(|word| word.slack);
        assert_eq!(slack, Some(Duration::from_micros(122_040)), "it says nothing above");
    }

    /// A machine that has started anew counts from nothing: a reading of its clock from before tells nothing.
    #[test]
    fn readings_of_another_life_do_not_count() {
        let mut clock = LogClock::default();
        clock.hear(at(100), word_after(7_000, 9_000_000));
        assert_eq!(clock.word(at(100)).map(|word| word.slack), Some(None));
    }
}
