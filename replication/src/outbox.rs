//! The own gateway's parcels on their way to the leader. A parcel stays until the state machine has passed it, and is sent
//! again, byte for byte the same, whenever the leader changes or nothing was passed for a while.

use std::collections::VecDeque;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

/// Ticks without progress after which everything is sent again.
const RESEND_TICKS: u64 = 10;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    parcels: VecDeque<(u64, Bytes)>,
    /// Leader and term that the parcels up to `sent` went to.
    sent_to: (u64, u64),
    sent: u64,
    passed: u64,
    registered: bool,
    /// Tick of the last progress or sending.
    moved_at: u64,
}

impl Outbox {
    pub(crate) fn push(&mut self, sequence: u64, op: Bytes) {
        self.parcels.push_back((sequence, op));
    }

    /// The state machine passed everything up to `passed`.
    pub(crate) fn passed(&mut self, passed: u64, registered: bool, tick: u64) {
        if passed > self.passed || registered != self.registered {
            (self.passed, self.registered, self.moved_at) =
                (passed.max(self.passed), registered, tick);
        }
        while self.parcels.front().is_some_and(|(sequence, _)| *sequence <= passed) {
            self.parcels.pop_front();
        }
    }

    /// What is to be sent to this leader of this term now: whether the registration goes first, and the parcels.
    pub(crate) fn due(&mut self, leader: u64, term: u64, tick: u64) -> (bool, Vec<Bytes>) {
        let waiting = !self.registered || self.parcels.front().is_some();
        let stalled = waiting && tick >= self.moved_at + RESEND_TICKS;
        let again = self.sent_to != (leader, term) || stalled;
        if again {
            if self.sent > self.passed {
                mark::reached(Mark::ParcelResent);
            }
            self.sent_to = (leader, term);
            self.sent = self.passed + u64::from(is_planted(Canary::ResendSkipsOne));
            self.moved_at = tick;
        }
        let unsent = self.parcels.iter().filter(|(sequence, _)| *sequence > self.sent);
        let parcels: Vec<Bytes> = unsent.map(|(_, op)| op.clone()).collect();
        self.sent = self.parcels.back().map_or(self.sent, |(sequence, _)| self.sent.max(*sequence));
        (again && !self.registered, parcels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcels(range: std::ops::RangeInclusive<u8>) -> Vec<Bytes> {
        range.map(|n| Bytes::from(vec![n])).collect()
    }

    /// Sent once to one leader; again, from the first one not passed, to the next leader or after silence.
    #[test]
    fn parcels_are_sent_again_until_passed() {
        let mut outbox = Outbox::default();
        for sequence in 1..=3 {
            outbox.push(sequence, Bytes::from(vec![sequence as u8]));
        }
        assert_eq!(outbox.due(1, 5, 0), (true, parcels(1..=3)));
        assert_eq!(outbox.due(1, 5, 1), (false, vec![]));
        outbox.passed(1, true, 2);
        assert_eq!(outbox.due(1, 5, 3), (false, vec![]));
        assert_eq!(outbox.due(2, 6, 4), (false, parcels(2..=3)), "a new leader");
        assert_eq!(outbox.due(2, 6, 13), (false, vec![]));
        assert_eq!(outbox.due(2, 6, 14), (false, parcels(2..=3)), "silence");
        outbox.push(4, Bytes::from(vec![4]));
        assert_eq!(outbox.due(2, 6, 15), (false, parcels(4..=4)));
        outbox.passed(4, true, 16);
        assert_eq!(outbox.due(2, 6, 99), (false, vec![]));
    }
}
