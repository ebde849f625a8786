//! Log time is judged by real time. Stamps never run backwards. Where all wall clocks are kept in time, a stamp is never ahead of real
//! time and never far behind it: a log clock that lags and then jumps forward, as at a failover, would end locks before their time.
//!
//! When a leader made a stamp is not seen. It was after the last request that stands in the log up to there was sent, and before
//! the entry was first applied.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_core::entry;

use crate::check::Violation;
use crate::evidence::LogRecord;
use crate::ports::clock::{DRIFT_PPM, EPOCH_MS, SKEW_MS};

/// How far log time may lag behind real time: what a new leader last heard has been on its way, each time it changed hands.
pub const LAG_MS: u64 = 100;
/// Rounding to milliseconds, at both ends.
const ROUNDING_MS: u64 = 2;

/// How far a clock that is kept in time may be off at a moment.
pub fn deviation_ms(at: Duration) -> u64 {
    SKEW_MS + at.as_millis() as u64 * 2 * DRIFT_PPM / 1_000_000 + ROUNDING_MS
}

/// Real time as the log counts it.
pub fn real_ms(at: Duration) -> u64 {
    EPOCH_MS + at.as_millis() as u64
}

/// Judges all stamps. `sent` says when the last of the requests in an entry was sent.
pub fn check(
    log: &BTreeMap<u64, LogRecord>,
    sent: &BTreeMap<u64, Duration>,
    bounded_clocks: bool,
) -> Vec<Violation> {
    judge(log, sent, bounded_clocks.then_some(LAG_MS))
}

/// Where clocks are kept in time: with a limit of the lag.
fn judge(
    log: &BTreeMap<u64, LogRecord>,
    sent: &BTreeMap<u64, Duration>,
    lag_ms: Option<u64>,
) -> Vec<Violation> {
    let mut last = 0;
    let mut latest_sent = Duration::ZERO;
    for (index, record) in log {
        let Ok((stamp, _)) = entry::decode_entry(&record.payload) else { continue }; // raft's own
        let stamp = stamp.time.0;
        latest_sent = latest_sent.max(sent.get(index).copied().unwrap_or_default());
        let (made_after, applied) = (latest_sent, record.applied_at);
        let (earliest, latest) = (real_ms(made_after), real_ms(applied) + deviation_ms(applied));
        let wrong = if stamp < last {
            format!("it is below {last}, which came before")
        } else if lag_ms.is_some() && stamp > latest {
            format!("it is ahead of real time, {}", real_ms(applied))
        } else if lag_ms.is_some_and(|lag_ms| stamp + lag_ms < earliest) {
            format!("it is far behind {earliest}, when a request in it was sent")
        } else {
            last = stamp;
            continue;
        };
        return vec![Violation::new("log-time", format!("entry {index}, stamp {stamp}: {wrong}"))];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::stamp::{Stamp, UnixMillis};

    /// Each entry: its stamp, when its request was sent, when it was applied; all in milliseconds after the start.
    fn found(entries: &[(i64, u64, u64)], bounded_clocks: bool) -> bool {
        let (mut log, mut sent) = (BTreeMap::new(), BTreeMap::new());
        for (index, (stamp, asked, applied)) in (1..).zip(entries) {
            let time = UnixMillis(EPOCH_MS.saturating_add_signed(*stamp));
            let payload =
                entry::encode_entry(Stamp { time, seed: 0 }, [&entry::encode_register(1, 1)[..]]);
            let applied_at = Duration::from_millis(*applied);
            log.insert(index, LogRecord { term: 1, payload, digest: 0, revision: 0, applied_at });
            sent.insert(index, Duration::from_millis(*asked));
        }
        !judge(&log, &sent, bounded_clocks.then_some(1000)).is_empty()
    }

    /// Backwards, ahead, far behind: each is found. Entries that were applied late, and clocks that are wild by intention, are not.
    #[test]
    fn stamps_are_judged_by_real_time() {
        assert!(!found(&[(100, 95, 110), (200, 195, 210)], true));
        assert!(found(&[(100, 95, 110), (99, 195, 210)], false));
        assert!(found(&[(100, 95, 110), (250, 195, 210)], true));
        assert!(!found(&[(100, 95, 110), (3_600_000, 195, 210)], false));
        assert!(found(&[(100, 95, 110), (150, 2000, 2010)], true));
        assert!(!found(&[(100, 95, 2000), (2005, 2000, 2010)], true), "the first was applied late");
        assert!(!found(&[(1400, 2000, 2010), (1495, 2095, 2100)], true), "it lags a little");
    }
}
