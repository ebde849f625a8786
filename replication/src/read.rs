//! Read rounds: the event loop's round becomes raft contexts, each used once. Raft drops read requests silently (no leader, no
//! commit in its term, a change of leader), so a round is asked again with a fresh context. An answer to any context of the
//! round will do: each of them was sent after the round began.

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

/// Ticks after which an unanswered round is asked again.
const RETRY_TICKS: u64 = 2;

#[derive(Debug)]
pub(crate) struct ReadRound {
    node_id: u64,
    incarnation: u64,
    /// Contexts used so far.
    counter: u64,
    /// The round under way, the first context of it, and where and when it was asked last.
    round: Option<u64>,
    first: u64,
    asked: Option<(u64, u64, u64)>,
}

impl ReadRound {
    pub(crate) fn new(node_id: u64, incarnation: u64) -> Self {
        Self { node_id, incarnation, counter: 0, round: None, first: 0, asked: None }
    }

    pub(crate) fn want(&mut self, round: u64) {
        if is_planted(Canary::ReadContextReused) {
            self.counter = 0;
        }
        (self.round, self.first, self.asked) = (Some(round), self.counter + 1, None);
    }

    /// A fresh context, if it is time to ask this leader of this term.
    pub(crate) fn context(&mut self, leader: u64, term: u64, tick: u64) -> Option<Vec<u8>> {
        self.round?;
        let again = self
            .asked
            .is_none_or(|(to, of, at)| (to, of) != (leader, term) || tick >= at + RETRY_TICKS);
        if !again {
            return None;
        }
        match self.asked {
            Some((to, of, _)) if (to, of) == (leader, term) => mark::reached(Mark::ReadRetried),
            Some(_) => mark::reached(Mark::ReadDropped),
            None => {}
        }
        self.asked = Some((leader, term, tick));
        Some(self.fresh_context())
    }

    /// A context that was never used.
    pub(crate) fn fresh_context(&mut self) -> Vec<u8> {
        self.counter += 1;
        let words = [self.node_id, self.incarnation, self.counter];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The number of an own context.
    pub(crate) fn counter_of(&self, context: &[u8]) -> Option<u64> {
        let mut words = context.chunks_exact(8).map(|word| word.try_into().map(u64::from_le_bytes));
        let mut word = || words.next()?.ok();
        let own = word()? == self.node_id && word()? == self.incarnation;
        word().filter(|_| own)
    }

    /// The own context of that number was answered: if the round under way had begun when it was sent, the round is over.
    pub(crate) fn answered(&mut self, counter: u64) -> Option<u64> {
        let first = if is_planted(Canary::EarlierReadAnswer) { 0 } else { self.first };
        if counter >= first { self.end() } else { None }
    }

    /// Ends the round under way, if there is one.
    pub(crate) fn end(&mut self) -> Option<u64> {
        self.round.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contexts are never used twice; an answer to an earlier round's context is nobody's.
    #[test]
    fn contexts_are_fresh() {
        let mut read = ReadRound::new(1, 7);
        assert_eq!(read.context(1, 1, 0), None, "nothing is wanted");
        read.want(1);
        let first = read.context(1, 1, 0).expect("asked at once");
        assert_eq!(read.context(1, 1, 1), None);
        let second = read.context(2, 2, 1).expect("another leader is asked");
        let third = read.context(2, 2, 3).expect("silence");
        assert!(first != second && second != third);
        let [second, third] = [second, third].map(|context| read.counter_of(&context));
        assert_eq!(read.answered(second.expect("an own one")), Some(1));
        assert_eq!(read.answered(third.expect("an own one")), None, "it was answered");
        read.want(2);
        assert_eq!(read.answered(third.expect("see above")), None, "asked before it began");
        let fourth = read.context(2, 2, 3).expect("asked at once");
        let fourth = read.counter_of(&fourth).expect("an own one");
        assert_eq!(read.answered(fourth), Some(2));
    }

    /// Contexts of other nodes, of other starts and garbage are not the own ones.
    #[test]
    fn only_own_contexts_count() {
        let mut read = ReadRound::new(1, 7);
        let own = read.fresh_context();
        assert_eq!(read.counter_of(&own), Some(1));
        for other in &mut [ReadRound::new(2, 7), ReadRound::new(1, 8)] {
            assert_eq!(read.counter_of(&other.fresh_context()), None);
        }
        assert_eq!(read.counter_of(b"garbage"), None);
    }
}
