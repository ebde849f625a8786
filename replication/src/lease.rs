//! The leader's lease, and the voters' side of it. While it holds, no other node can lead, so the leader's commit index covers
//! every write that was acknowledged anywhere, and reads need no round to a quorum (Raft thesis, section 6.4).
//!
//! The contract between the two sides: whoever answers a leader's round gives no vote to anybody else, and does not stand itself,
//! for the minimum election timeout from the moment at which it took the round. The leader counts from the moment at which it
//! sent the round, and less of that time, because clocks run at different rates. Both count on clocks that go on while a machine
//! is suspended, and neither counts ticks. The leader counts itself among those who answered and does not abstain: to vote for another
//! it has to step down, and its lease is withdrawn before that vote leaves (`driver`). Handing leadership over is exempt: a message
//! that tells a peer to stand may arrive at any time, so a leader that has sent one has no lease for the rest of its term.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

/// The share of the election timeout that is left off: the clocks of two nodes may run apart by so much. A clock that is being slewed
/// to where it should be runs a twelfth too fast or too slow (chrony's `maxslewrate`), another one the other way.
const DRIFT_DIVISOR: u32 = 5;

/// The leader's side.
#[derive(Debug)]
pub(crate) struct Lease {
    /// How long a round holds; nothing if reads always ask a quorum.
    length: Duration,
    /// The term in which this node leads.
    term: Option<u64>,
    /// Rounds that were sent: number and moment. Numbers rise.
    sent: VecDeque<(u64, Duration)>,
    until: Option<Duration>,
    /// A peer was told to stand in this term.
    given_up: bool,
}

impl Lease {
    /// A lease that goes by this minimum election timeout, or none.
    pub(crate) fn new(election_timeout: Duration, is_wanted: bool) -> Self {
        let length = election_timeout.saturating_sub(election_timeout / DRIFT_DIVISOR);
        let length = if is_planted(Canary::LeaseTooLong) { length * 3 } else { length };
        let length = if is_wanted { length } else { Duration::ZERO };
        Self { length, term: None, sent: VecDeque::new(), until: None, given_up: false }
    }

    /// This node leads in `term`.
    pub(crate) fn lead(&mut self, now: Duration, term: u64) {
        if self.term == Some(term) {
            return;
        }
        self.end();
        self.term = Some(term);
        if is_planted(Canary::LeaseAtElection) {
            self.until = Some(now + self.length);
        }
    }

    /// It does not lead any more.
    pub(crate) fn end(&mut self) {
        (self.term, self.until, self.given_up) = (None, None, false);
        self.sent.clear();
    }

    /// A round is about to be sent to all peers.
    pub(crate) fn send(&mut self, now: Duration, round: u64) {
        if self.term.is_some() {
            self.sent.push_back((round, now));
        }
    }

    /// A quorum has answered the round, in this term. Those before it need no answer any more.
    pub(crate) fn confirm(&mut self, now: Duration, round: u64) {
        let answered = self.sent.partition_point(|(other, _)| *other <= round);
        let Some((_, mut at)) = self.sent.drain(..answered).next_back() else { return };
        if is_planted(Canary::LeaseFromAnswer) {
            at = now;
        }
        if !self.given_up && !self.length.is_zero() {
            self.until = self.until.max(Some(at + self.length));
        }
    }

    /// A peer is told to stand for leader. Only a new term brings a lease again.
    pub(crate) fn give_up(&mut self) {
        if is_planted(Canary::LeaseInTransfer) {
            return;
        }
        if self.until.is_some() {
            mark::reached(Mark::LeaseGivenUp);
            tracing::info!(
                "a peer was told to lead: reads ask a quorum until it does, or for the rest of this term"
            );
        }
        (self.until, self.given_up) = (None, true);
    }

    /// The moment at which it ends, if there is one that has not been given up.
    pub(crate) fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Whether it holds.
    pub(crate) fn holds(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// The voters' side: until when this node neither votes for anybody nor stands itself.
#[derive(Debug)]
pub(crate) struct Abstention {
    election_timeout: Duration,
    /// What an earlier start may have promised is not known here: the first step begins with a full timeout.
    until: Option<Duration>,
}

impl Abstention {
    /// A node that has promised nothing yet if it `is_new`.
    pub(crate) fn new(election_timeout: Duration, is_new: bool) -> Self {
        // A vote that is forgotten does no harm within a term's usual life if nobody votes just after a start.
        let hidden = is_planted(Canary::VoteNotVital);
        let free = is_new || is_planted(Canary::VoteAfterStart) || hidden;
        Self { election_timeout, until: free.then_some(Duration::ZERO) }
    }

    /// The node takes a step.
    pub(crate) fn step(&mut self, now: Duration) {
        self.until.get_or_insert(now + self.election_timeout);
    }

    /// A message of a leader is taken, which may be answered.
    pub(crate) fn heard_leader(&mut self, now: Duration) {
        self.until = self.until.max(Some(now + self.election_timeout));
    }

    /// Whether a vote would break what was promised.
    pub(crate) fn binds(&self, now: Duration) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn leading() -> Lease {
        let mut lease = Lease::new(at(1000), true);
        lease.lead(at(0), 7);
        lease
    }

    /// It runs from when the round was sent, not from when it was answered, and for less than voters abstain.
    #[test]
    fn it_runs_from_the_sending() {
        let mut lease = leading();
        assert!(!lease.holds(at(0)), "an election is no round");
        lease.send(at(100), 1);
        lease.send(at(300), 2);
        lease.confirm(at(500), 1);
        assert_eq!(lease.until(), Some(at(900)));
        lease.confirm(at(600), 2);
        assert!(lease.holds(at(1099)) && !lease.holds(at(1100)));
        lease.confirm(at(700), 2);
        assert_eq!(lease.until(), Some(at(1100)), "a round counts once");
    }

    /// An answer to a later round answers those before it; theirs, when they come, change nothing.
    #[test]
    fn later_answers_stand_for_earlier_ones() {
        let mut lease = leading();
        (1..=3).for_each(|round| lease.send(at(round * 100), round));
        lease.confirm(at(350), 3);
        lease.confirm(at(360), 1);
        assert_eq!(lease.until(), Some(at(1100)));
    }

    /// Once a peer was told to stand there is none for the rest of the term, however that ended; the next term has one again.
    #[test]
    fn handing_over_ends_it_for_the_term() {
        let mut lease = leading();
        lease.send(at(100), 1);
        lease.give_up();
        lease.confirm(at(150), 1);
        lease.send(at(5000), 2);
        lease.confirm(at(5010), 2);
        lease.lead(at(5020), 7);
        assert_eq!(lease.until(), None);
        lease.lead(at(6000), 9);
        lease.send(at(6000), 3);
        lease.confirm(at(6010), 3);
        assert!(lease.holds(at(6500)));
        lease.end();
        assert_eq!(lease.until(), None);
    }

    /// Rounds of an earlier term do not count in a later one.
    #[test]
    fn a_new_term_begins_without_one() {
        let mut lease = leading();
        lease.send(at(100), 1);
        lease.lead(at(200), 8);
        lease.confirm(at(210), 1);
        assert_eq!(lease.until(), None);
    }

    /// Those who want no lease have none.
    #[test]
    fn it_can_be_switched_off() {
        let mut lease = Lease::new(at(1000), false);
        lease.lead(at(0), 1);
        lease.send(at(0), 1);
        lease.confirm(at(0), 1);
        assert_eq!(lease.until(), None);
    }

    /// Voters abstain after their start, for they may have answered a leader before it, and after each word of a leader.
    #[test]
    fn voters_abstain() {
        let mut abstention = Abstention::new(at(1000), false);
        assert!(abstention.binds(at(0)));
        abstention.step(at(500));
        abstention.step(at(1400));
        assert!(abstention.binds(at(1499)) && !abstention.binds(at(1500)));
        abstention.heard_leader(at(2000));
        assert!(abstention.binds(at(2999)) && !abstention.binds(at(3000)));
        let mut new = Abstention::new(at(1000), true);
        new.step(at(0));
        assert!(!new.binds(at(0)), "it has promised nothing to anybody");
    }
}
