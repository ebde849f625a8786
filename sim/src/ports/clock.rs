//! The clock of a node: monotonic time from the simulation, running a little too fast or too slow; wall time with an offset
//! that may jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
pub struct SimClock {
    drift_ppm: i64,
    wall_offset_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// A clock that gains `drift_ppm` microseconds a second and is `offset_ms` off at the start.
    pub fn new(drift_ppm: i64, offset_ms: i64) -> Self {
        Self { drift_ppm, wall_offset_ms: Arc::new(AtomicI64::new(offset_ms)) }
    }

    /// The wall clock jumps.
    pub fn jump(&self, by_ms: i64) {
        self.wall_offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    fn at(&self, elapsed: Duration) -> Duration {
        let micros = elapsed.as_micros() as i64;
        let gained =
            micros / 1_000_000 * self.drift_ppm + micros % 1_000_000 * self.drift_ppm / 1_000_000;
        Duration::from_micros(u64::try_from(micros + gained).unwrap_or(0))
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        self.at(turmoil::sim_elapsed().unwrap_or_default())
    }

    fn wall_ms(&self) -> u64 {
        let passed = self.monotonic().as_millis() as u64;
        (EPOCH_MS + passed).saturating_add_signed(self.wall_offset_ms.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drifting clock never runs backwards and drifts by its rate.
    #[test]
    fn drift_is_monotonic() {
        for ppm in [-500, 0, 500, 50_000] {
            let clock = SimClock::new(ppm, 0);
            let mut last = Duration::ZERO;
            for ms in 0..5000 {
                let now = clock.at(Duration::from_millis(ms));
                assert!(now >= last);
                last = now;
            }
            assert_eq!(clock.at(Duration::from_secs(10)).as_micros() as i64, 10_000_000 + 10 * ppm);
        }
    }
}
