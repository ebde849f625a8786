//! The clock of a node: monotonic time from the simulation, running a little too fast or too slow; wall time with an offset
//! that may jump. Rates change while it runs, and either hand may stand still; monotonic time never runs backwards.
//!
//! Whoever changes a rate, or stops or starts a hand, says when that is: the world stands outside the simulated hosts, where
//! there is no present time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use steadfast_replication::ports::Clock;

/// Wall time at the start of every simulation, in milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// How far wall clocks that are kept in time may be off, in milliseconds. Two of these must fit into what a careful holder of a lock
/// leaves for drift (`workload/locks.rs`): after all nodes were down at once, log time goes on from one of them.
pub const SKEW_MS: u64 = 5;
/// How many microseconds a second a clock gains or loses at the most.
pub const DRIFT_PPM: u64 = 200;

/// See the file's head. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct SimClock(Arc<Mutex<Hands>>);

/// Monotonic time is a line that begins anew whenever its rate changes.
#[derive(Debug, Clone, Copy, Default)]
struct Hands {
    drift_ppm: i64,
    /// Simulated time at which the present line began, and what the clock said then, in microseconds.
    from: u64,
    said: u64,
    /// The latest that a host has read: it may be ahead of the world by less than a tick when the world changes something.
    seen: u64,
    suspended: bool,
    wall_offset_ms: i64,
    /// What the wall clock says as long as it stands still.
    wall_stands_at: Option<u64>,
    /// The planted bug of that kind: the machine's own time gets in.
    strays: bool,
}

impl Hands {
    /// Monotonic time at a simulated time, in microseconds.
    fn monotonic(&self, now: u64) -> u64 {
        if self.suspended {
            return self.said.max(self.seen);
        }
        let micros = now.saturating_sub(self.from) as i64;
        let gained =
            micros / 1_000_000 * self.drift_ppm + micros % 1_000_000 * self.drift_ppm / 1_000_000;
        (self.said + u64::try_from(micros + gained).unwrap_or(0)).max(self.seen)
    }

    fn wall_ms(&self, now: u64) -> u64 {
        let runs =
            (EPOCH_MS + self.monotonic(now) / 1000).saturating_add_signed(self.wall_offset_ms);
        self.wall_stands_at.unwrap_or(runs)
    }

    /// A new line begins.
    fn bend(&mut self, now: u64) {
        self.said = self.monotonic(now);
        self.from = now.max(self.from);
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

impl SimClock {
    /// A clock that gains `drift_ppm` microseconds a second and is `offset_ms` off at the start.
    pub fn new(drift_ppm: i64, offset_ms: i64) -> Self {
        let hands = Hands { drift_ppm, wall_offset_ms: offset_ms, ..Hands::default() };
        Self(Arc::new(Mutex::new(hands)))
    }

    /// The same with the planted bug of that kind, or without.
    #[must_use]
    pub fn straying(self, strays: bool) -> Self {
        self.hands().strays = strays;
        self
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().expect("no holder of the clock panics")
    }

    /// The wall clock jumps, whether it runs or stands still.
    pub fn jump(&self, by_ms: i64) {
        let mut hands = self.hands();
        hands.wall_offset_ms += by_ms;
        hands.wall_stands_at = hands.wall_stands_at.map(|at| at.saturating_add_signed(by_ms));
    }

    /// From now on both clocks gain so many microseconds a second; less than none: they lose them.
    pub fn set_drift(&self, drift_ppm: i64, now: Duration) {
        let mut hands = self.hands();
        hands.bend(micros(now));
        hands.drift_ppm = drift_ppm;
    }

    /// What both clocks gain now, in microseconds a second.
    pub fn drift_ppm(&self) -> i64 {
        self.hands().drift_ppm
    }

    /// The wall clock stands still, or says again what it would have said without that.
    pub fn freeze_wall(&self, frozen: bool, now: Duration) {
        let mut hands = self.hands();
        let wall = hands.wall_ms(micros(now));
        hands.wall_stands_at = frozen.then_some(wall);
    }

    /// Both clocks stand still (a suspended machine that does not know of it), or go on from where they stood.
    pub fn suspend(&self, suspended: bool, now: Duration) {
        let mut hands = self.hands();
        hands.bend(micros(now));
        hands.suspended = suspended;
    }

    /// A host looks at it.
    fn read(&self, now: Duration) -> Duration {
        let mut hands = self.hands();
        hands.seen = hands.monotonic(micros(now));
        Duration::from_micros(hands.seen)
    }

    /// Monotonic time at a simulated time.
    pub fn monotonic_at(&self, now: Duration) -> Duration {
        Duration::from_micros(self.hands().monotonic(micros(now)))
    }

    /// Wall time at a simulated time, in milliseconds since the Unix epoch.
    pub fn wall_ms_at(&self, now: Duration) -> u64 {
        self.hands().wall_ms(micros(now))
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        self.read(turmoil::sim_elapsed().unwrap_or_default())
    }

    fn wall_ms(&self) -> u64 {
        let stray = if self.hands().strays { stray_ms() } else { 0 };
        self.wall_ms_at(turmoil::sim_elapsed().unwrap_or_default()) + stray
    }
}

/// A few milliseconds by which no run may be told from another.
#[allow(clippy::disallowed_methods)] // a planted bug: it is what nothing else here may do
fn stray_ms() -> u64 {
    const SPAN_MS: u64 = 4;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::from(now.subsec_micros()) % SPAN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draws;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A drifting clock never runs backwards and drifts by its rate.
    #[test]
    fn drift_is_monotonic() {
        for ppm in [-500, 0, 500, 50_000] {
            let clock = SimClock::new(ppm, 0);
            let mut last = Duration::ZERO;
            for at in 0..5000 {
                let now = clock.monotonic_at(ms(at));
                assert!(now >= last);
                last = now;
            }
            let later = clock.monotonic_at(Duration::from_secs(10));
            assert_eq!(later.as_micros() as i64, 10_000_000 + 10 * ppm);
        }
    }

    /// Whatever is changed and when: monotonic time never steps back, and goes on at the new rate from where it was.
    #[test]
    fn changes_never_turn_it_back() {
        for seed in 0..50 {
            let mut draws = Draws::new(seed, "clock");
            let clock = SimClock::new(0, 0);
            let mut last = Duration::ZERO;
            for at in 0..3000 {
                match draws.below(40) {
                    0 => clock.set_drift(draws.below(100_000) as i64 - 50_000, ms(at)),
                    1 => clock.suspend(draws.chance(50), ms(at)),
                    2 => clock.freeze_wall(draws.chance(50), ms(at)),
                    3 => clock.jump(draws.below(2000) as i64 - 1000),
                    // The world's present lies behind what the host has seen.
                    4 => clock.set_drift(-50_000, ms(at.saturating_sub(1))),
                    _ => {}
                }
                let now = clock.read(ms(at));
                assert!(now >= last, "seed {seed} at {at}");
                last = now;
            }
        }
        let clock = SimClock::new(0, 0);
        clock.set_drift(100_000, ms(1000));
        clock.set_drift(-100_000, ms(2000));
        assert_eq!(clock.monotonic_at(ms(3000)), ms(1000 + 1100 + 900));
    }

    /// A suspended machine's clocks lag behind for good; a frozen wall clock does not, and monotonic time runs on meanwhile.
    #[test]
    fn hands_stand_still() {
        let clock = SimClock::new(0, 7);
        clock.freeze_wall(true, ms(100));
        assert_eq!(clock.wall_ms_at(ms(500)), EPOCH_MS + 107);
        assert_eq!(clock.monotonic_at(ms(500)), ms(500));
        clock.jump(-10);
        assert_eq!(clock.wall_ms_at(ms(500)), EPOCH_MS + 97);
        clock.freeze_wall(false, ms(600));
        assert_eq!(clock.wall_ms_at(ms(700)), EPOCH_MS + 697);
        clock.suspend(true, ms(1000));
        assert_eq!(clock.monotonic_at(ms(4000)), ms(1000));
        assert_eq!(clock.wall_ms_at(ms(4000)), EPOCH_MS + 997);
        clock.suspend(false, ms(5000));
        assert_eq!(clock.monotonic_at(ms(6000)), ms(2000));
        assert_eq!(clock.wall_ms_at(ms(6000)), EPOCH_MS + 1997);
    }
}
