//! Which parcels the log already holds, per gateway: the leader admits exactly the next one, so that gaps and duplicates
//! are dropped instead of logged. The state machine checks again and has the last word.

use std::collections::BTreeMap;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::entry::{self, Op};
use steadfast_core::machine::FIRST_LEVEL;
use steadfast_core::mark::{self, Mark};

use crate::storage::LogEntry;

/// Per node: the registered incarnation and the last parcel of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    gateways: BTreeMap<u64, (u64, u64)>,
    bootstrapped: bool,
    /// What entries mean from here on.
    level: u32,
    /// Whether they began with a snapshot.
    from_snapshot: bool,
}

impl Sessions {
    /// What a restored state says: its semantics level, and (node, incarnation, last parcel).
    pub(crate) fn restored(level: u32, gateways: &[(u64, u64, u64)]) -> Self {
        let gateways =
            gateways.iter().map(|(node, inc, passed)| (*node, (*inc, *passed))).collect();
        Self { gateways, bootstrapped: true, level, from_snapshot: true }
    }

    /// What these entries say by themselves.
    pub(crate) fn logged(entries: &[LogEntry]) -> Self {
        let mut sessions = Self::default();
        entries.iter().for_each(|entry| sessions.follow(&entry.payload));
        sessions
    }

    /// Whether the log begins with its cluster's first entry.
    pub(crate) fn bootstrapped(&self) -> bool {
        self.bootstrapped
    }

    /// The semantics level that the log has come to.
    pub(crate) fn level(&self) -> u32 {
        self.level.max(FIRST_LEVEL)
    }

    /// (node, incarnation) of all gateways.
    pub(crate) fn incarnations(&self) -> impl Iterator<Item = (u64, u64)> {
        self.gateways.iter().map(|(node, (incarnation, _))| (*node, *incarnation))
    }

    /// Follows one entry's payload.
    pub(crate) fn follow(&mut self, payload: &[u8]) {
        let Ok((_, ops)) = entry::decode_entry(payload) else { return };
        for op in ops.flatten() {
            self.admit(&op);
        }
    }

    /// Whether an op is the next of its gateway (or needs no number); if so it counts as logged from now on.
    pub(crate) fn admit(&mut self, op: &Op<'_>) -> bool {
        match op {
            Op::Bootstrap { .. } => !std::mem::replace(&mut self.bootstrapped, true),
            Op::Register { node, incarnation, .. } => {
                let known = self.gateways.get(node).map_or(0, |(known, _)| *known);
                if *incarnation > known {
                    self.gateways.insert(*node, (*incarnation, 0));
                }
                *incarnation > known
            }
            Op::Parcel(parcel) => match self.gateways.get_mut(&parcel.node) {
                Some((incarnation, last))
                    if *incarnation == parcel.incarnation && *last + 1 == parcel.sequence =>
                {
                    *last = parcel.sequence;
                    true
                }
                Some((incarnation, _)) if is_planted(Canary::ResendApplied) => {
                    *incarnation == parcel.incarnation
                }
                _ => false,
            },
            Op::Level(level) => {
                let is_later = *level > self.level();
                self.level = self.level.max(*level);
                is_later
            }
            Op::Retire { .. } | Op::Tick => true,
        }
    }

    /// Says of an op that was not admitted what was wrong with it.
    pub(crate) fn note_refusal(&self, op: &Op<'_>) {
        let Op::Parcel(parcel) = op else { return };
        match self.gateways.get(&parcel.node) {
            Some((incarnation, last)) if *incarnation == parcel.incarnation => {
                if parcel.sequence > *last {
                    return mark::reached(Mark::ParcelGap);
                }
                mark::reached(Mark::ParcelDeduplicated);
                if self.from_snapshot {
                    mark::reached(Mark::DeduplicatedAfterRestore);
                }
            }
            _ => {}
        }
    }
}

/// The stamp time in an entry's payload.
pub(crate) fn stamp_of(payload: &[u8]) -> Option<u64> {
    entry::decode_entry(payload).ok().map(|(stamp, _)| stamp.time.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::entry::Part;

    fn admits(sessions: &mut Sessions, op: &[u8]) -> bool {
        sessions.admit(&entry::decode_op(op).expect("it was just encoded"))
    }

    /// Exactly the next parcel of the registered incarnation is admitted.
    #[test]
    fn gaps_duplicates_and_strangers_are_dropped() {
        let mut sessions = Sessions::default();
        let parcel = |incarnation, sequence| {
            entry::encode_parcel(1, incarnation, sequence, Part::Whole, b"")
        };
        assert!(!admits(&mut sessions, &parcel(3, 1)), "not registered");
        assert!(admits(&mut sessions, &entry::encode_register(1, 3, "")));
        assert!(!admits(&mut sessions, &entry::encode_register(1, 3, "")), "once is enough");
        assert!(!admits(&mut sessions, &parcel(3, 2)), "a gap");
        assert!(admits(&mut sessions, &parcel(3, 1)));
        assert!(!admits(&mut sessions, &parcel(3, 1)), "a duplicate");
        assert!(admits(&mut sessions, &entry::encode_register(1, 4, "")));
        assert!(!admits(&mut sessions, &parcel(3, 2)), "an older incarnation");
        assert!(admits(&mut sessions, &parcel(4, 1)), "numbers begin anew");
    }
}
