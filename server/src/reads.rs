//! Reads that wait for a read index. One round trip to the quorum serves all reads of a turn: those that come while a
//! round is under way wait for the next one, because a round answers only for what was invoked before it began.

use std::collections::VecDeque;
use std::time::Duration;

/// The rounds. `R` names one waiting read.
#[derive(Debug)]
pub(crate) struct Rounds<R> {
    round: u64,
    gathering: Vec<R>,
    underway: Option<Vec<R>>,
    deadlines: VecDeque<(Duration, R)>,
}

impl<R: Clone> Rounds<R> {
    pub(crate) const fn new() -> Self {
        Self { round: 0, gathering: Vec::new(), underway: None, deadlines: VecDeque::new() }
    }

    /// A read that needs an index. It belongs to the next round, never to one that has begun.
    pub(crate) fn join(&mut self, deadline: Duration, read: R) {
        self.gathering.push(read.clone());
        self.watch(deadline, read);
    }

    /// A read that waits for something else, and must not wait for ever.
    pub(crate) fn watch(&mut self, deadline: Duration, read: R) {
        self.deadlines.push_back((deadline, read));
    }

    /// Begins a round if one is wanted and none is under way; answers its number, which is never used again.
    pub(crate) fn begin(&mut self) -> Option<u64> {
        if self.gathering.is_empty() || self.underway.is_some() {
            return None;
        }
        self.round += 1;
        self.underway = Some(std::mem::take(&mut self.gathering));
        Some(self.round)
    }

    /// The reads that `round` answers for; none if it is not the one under way.
    pub(crate) fn finish(&mut self, round: u64) -> Vec<R> {
        if round == self.round { self.underway.take().unwrap_or_default() } else { Vec::new() }
    }

    /// Reads past their deadline, oldest first. They may have been answered long ago.
    pub(crate) fn overdue(&mut self, now: Duration) -> Option<R> {
        if self.deadlines.front().is_some_and(|(deadline, _)| *deadline <= now) {
            return self.deadlines.pop_front().map(|(_, read)| read);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A read that comes while a round is under way must not be answered by it.
    #[test]
    fn a_round_answers_only_for_what_came_before_it() {
        let mut rounds = Rounds::new();
        rounds.join(Duration::from_secs(1), "early");
        assert_eq!(rounds.begin(), Some(1));
        rounds.join(Duration::from_secs(2), "late");
        assert_eq!(rounds.begin(), None, "one round at a time");
        assert_eq!(rounds.finish(7), [""; 0], "an answer to another round is nobody's");
        assert_eq!(rounds.finish(1), ["early"]);
        assert_eq!(rounds.begin(), Some(2));
        assert_eq!(rounds.finish(2), ["late"]);
        assert_eq!(rounds.overdue(Duration::from_secs(1)), Some("early"));
        assert_eq!(rounds.overdue(Duration::from_secs(1)), None);
    }
}
