//! Log time is judged by real time. Stamps never run backwards. Where all wall clocks are kept in time, a stamp is never ahead of real
//! time and never far behind it: a log clock that lags and then jumps forward, as at a failover, would end locks before their time.
//!
//! Where wall clocks say anything, log time still runs at the pace of the leaders' monotonic clocks: a wall clock that jumps moves it
//! by no more than the slewing rate. That holds within a term. From one to the next it holds as well if no node started twice, for
//! whoever has been there knows log time from others; but a leader whose machine stood still with its clocks lags from then on, and
//! whoever leads next need not; and where words about log time were long on their way, a new leader's wall clock counts for as much.
//!
//! When a leader made a stamp is not seen. It was after the last request that stands in the log up to there was sent, and before
//! the entry was first applied.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_core::entry::{self, Op};

use crate::check::Violation;
use crate::evidence::LogRecord;
use crate::plan::{Fault, Plan, Planned};
use crate::ports::clock::{DRIFT_PPM, EPOCH_MS, SKEW_MS};

/// How far log time may lag behind real time: what a new leader last heard has been on its way, each time it changed hands.
pub const LAG_MS: u64 = 100;
/// What nobody knows of how long a word was on its way, in a network without delays: peers tell each other their clocks so often.
const WAY_MS: u64 = 400;
/// Rounding to milliseconds, at both ends.
const ROUNDING_MS: u64 = 2;

/// How much faster than real time the fastest machine runs, slewing included, in hundredths.
const FAST_HUNDREDTHS: u64 = 6;

/// How far a clock that is kept in time may be off at a moment.
pub fn deviation_ms(at: Duration) -> u64 {
    SKEW_MS + at.as_millis() as u64 * 2 * DRIFT_PPM / 1_000_000 + ROUNDING_MS
}

/// Real time as the log counts it.
pub fn real_ms(at: Duration) -> u64 {
    EPOCH_MS + at.as_millis() as u64
}

/// What a plan does to the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocks {
    /// They are kept in time.
    Kept,
    /// They say anything.
    Wild {
        /// How far a new leader may be ahead of the last one, in milliseconds.
        new_leader_ms: u64,
    },
}

impl Clocks {
    /// What this plan does.
    pub fn of(plan: &Plan) -> Self {
        if plan.head.class.keeps_time() {
            return Self::Kept;
        }
        let stands = |planned: &&Planned| matches!(planned.fault, Fault::Suspend { .. });
        let stood_still_ms: u64 =
            plan.faults.iter().filter(stands).map(|fault| fault.lasts_ms).sum();
        let delays = |planned: &&Planned| {
            matches!(
                planned.fault,
                Fault::Cut { held: true, .. }
                    | Fault::SlowNetwork { .. }
                    | Fault::Streams { .. }
                    | Fault::Pause { .. }
            )
        };
        let late_ms = plan.faults.iter().filter(delays).map(|fault| fault.lasts_ms).max();
        Self::Wild { new_leader_ms: WAY_MS + stood_still_ms + late_ms.unwrap_or(0) }
    }

    /// Whether real time has a say.
    pub fn are_kept(self) -> bool {
        self == Self::Kept
    }
}

/// Judges all stamps. `sent` says when the last of the requests in an entry was sent.
pub fn check(
    log: &BTreeMap<u64, LogRecord>,
    sent: &BTreeMap<u64, Duration>,
    clocks: Clocks,
) -> Vec<Violation> {
    let mut found = judge(log, sent, clocks.are_kept().then_some(LAG_MS));
    if found.is_empty() {
        found.extend(leap(log, sent, clocks));
    }
    found
}

/// Whether a node started more than once, as far as the log knows.
fn is_restarted(log: &BTreeMap<u64, LogRecord>) -> bool {
    let mut starts: BTreeMap<u64, u64> = BTreeMap::new();
    log.values().any(|record| {
        let Ok((_, ops)) = entry::decode_entry(&record.payload) else { return false };
        ops.flatten().any(|op| match op {
            Op::Register { node, incarnation, .. } => {
                starts.insert(node, incarnation).is_some_and(|known| known != incarnation)
            }
            _ => false,
        })
    })
}

/// How far log time was ahead of real time, at the most.
#[derive(Debug)]
struct Ahead {
    /// The term under way, and the bound in it: the lowest of all that its stamps show.
    term: Option<(u64, i64)>,
    /// By how much a new leader may know better; none: all may have forgotten what was before it.
    new_leader: Option<i64>,
}

impl Ahead {
    /// The bound for a stamp in a term. A leader goes on from its own last stamp; a new one from the furthest that it has heard.
    fn bound(&self, term: u64) -> Option<i64> {
        match self.term? {
            (present, most) if present == term => Some(most),
            (_, most) => Some(most + self.new_leader?),
        }
    }

    /// A stamp of this term shows that log time was no further ahead than that.
    fn note(&mut self, term: u64, most: i64) {
        self.term = match self.term {
            Some((present, known)) if present == term => Some((term, known.min(most))),
            _ => Some((term, most)),
        };
    }
}

/// The first stamp by which log time has gained more on real time than any monotonic clock can.
fn leap(
    log: &BTreeMap<u64, LogRecord>,
    sent: &BTreeMap<u64, Duration>,
    clocks: Clocks,
) -> Option<Violation> {
    let new_leader = match clocks {
        Clocks::Kept => 0,
        Clocks::Wild { new_leader_ms } => new_leader_ms as i64,
    };
    let new_leader = Some(new_leader).filter(|_| !is_restarted(log));
    let mut ahead = Ahead { term: None, new_leader };
    let mut latest_sent = Duration::ZERO;
    for (index, record) in log {
        let Ok((stamp, _)) = entry::decode_entry(&record.payload) else { continue };
        let stamp = stamp.time.0 as i64;
        latest_sent = latest_sent.max(sent.get(index).copied().unwrap_or_default());
        let applied = record.applied_at;
        let gained = applied.as_millis() as u64 * FAST_HUNDREDTHS / 100 + LAG_MS;
        let least = stamp - real_ms(applied) as i64;
        let bound = ahead.bound(record.term);
        if let Some(by) = bound.map(|most| least - most).filter(|by| *by > gained as i64) {
            let text =
                format!("entry {index}, stamp {stamp}: log time has jumped ahead by {by} ms");
            return Some(Violation::new("log-time", text));
        }
        ahead.note(record.term, stamp - real_ms(latest_sent) as i64);
    }
    None
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
            let payload = entry::encode_entry(
                Stamp { time, seed: 0 },
                [&entry::encode_register(1, 1, "")[..]],
            );
            let applied_at = Duration::from_millis(*applied);
            log.insert(index, LogRecord { term: 1, payload, digest: 0, revision: 0, applied_at });
            sent.insert(index, Duration::from_millis(*asked));
        }
        !judge(&log, &sent, bounded_clocks.then_some(1000)).is_empty()
    }

    /// A stamp that jumps ahead is found whatever the wall clocks say, in a term, and also over terms if no node started twice.
    #[test]
    fn leaps_are_found() {
        let leaps_beside = |new_leader_ms: u64, entries: &[(i64, u64)], starts: &[u64]| {
            let (mut log, mut sent) = (BTreeMap::new(), BTreeMap::new());
            for (index, ((stamp, term), start)) in (1..).zip(entries.iter().zip(starts)) {
                let time = UnixMillis(EPOCH_MS.saturating_add_signed(*stamp));
                let register = entry::encode_register(1, *start, "");
                let payload = entry::encode_entry(Stamp { time, seed: 0 }, [&register[..]]);
                let applied_at = Duration::from_millis(index * 100);
                let record = LogRecord { term: *term, payload, digest: 0, revision: 0, applied_at };
                log.insert(index, record);
                sent.insert(index, Duration::from_millis(index * 100 - 10));
            }
            leap(&log, &sent, Clocks::Wild { new_leader_ms }).is_some()
        };
        let leaps = |entries: &[(i64, u64)], starts: &[u64]| leaps_beside(0, entries, starts);
        assert!(!leaps(&[(700_000, 1), (700_100, 1), (700_190, 2)], &[1, 1, 1]));
        assert!(leaps(&[(0, 1), (100, 1), (3000, 1)], &[1, 2, 2]), "within a term");
        assert!(leaps(&[(0, 1), (100, 1), (3000, 2)], &[1, 1, 1]), "from a term to the next");
        assert!(!leaps(&[(0, 1), (100, 1), (3000, 2)], &[1, 1, 2]), "all may have forgotten it");
        assert!(!leaps(&[(0, 1), (-5000, 1), (-4900, 1)], &[1, 1, 1]), "`judge` finds that");
        let lags = &[(100, 1), (-2000, 1), (400, 2)];
        assert!(leaps(lags, &[1, 1, 1]));
        assert!(
            !leaps_beside(2200, lags, &[1, 1, 1]),
            "the first leader's machine stood still meanwhile, the second's did not"
        );
        assert!(leaps_beside(2200, &[(100, 1), (-2000, 1), (400, 1)], &[1, 1, 1]), "in one term");
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
