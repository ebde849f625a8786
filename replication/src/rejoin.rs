//! How a node whose log was lost takes part again, without anything being lost that it had promised
//! (docs/decisions/2026-11-28-a-lost-log-is-made-good-by-the-others.md).
//!
//! It knows who it is, and no longer which terms it has seen, whom it voted for, and what it confirmed. So:
//!
//! 1. *Deaf.* It answers nobody, and asks all voters. Each says its term. Once all have said it since this start, no candidate that had
//!    this node's vote can be in a later term than the highest of these: the node takes that term on, and never votes in it.
//! 2. *Abstaining.* It follows, and confirms what it writes from now on, but votes for nobody. Whoever leads forgets, when it is first
//!    asked, what it believes that the node has, and says where its own log ends: everything that can ever count as confirmed by the lost
//!    log stands in front of that, for who leads without this node's vote has it all.
//! 3. Once that much is committed, and durable here, it is a member like any other.
//!
//! This is the recovery of Viewstamped Replication Revisited (Liskov and Cowling 2012, section 4.3), but for three things: all other
//! voters have to answer, not a quorum, since their votes are remembered and this one's are not; the leader is told before it names the end
//! of its log; and what the node confirms in the second step counts, since it is durable.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::canary::{Canary, is_planted};

/// What a voter tells a node that has lost its log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RejoinWord {
    /// The asker's incarnation: what an earlier start was told counts for nothing.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// Term of who says this.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Where its log ends, if it leads and has forgotten what it believed of the asker; otherwise 0.
    #[prost(uint64, tag = "3")]
    pub leads_to: u64,
    /// Who votes, as far as it knows, in both halves of a joint configuration.
    #[prost(uint64, repeated, tag = "4")]
    pub voters: Vec<u64>,
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It waits for the words of these.
    Deaf(BTreeSet<u64>),
    /// It follows, and has not been told yet how far it has to come.
    Follows,
    /// It follows, and must have this much.
    Needs(u64),
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Rejoining {
    own: u64,
    incarnation: u64,
    /// What each has said: the highest term, and who votes by its last word.
    words: BTreeMap<u64, (u64, Vec<u64>)>,
    /// Peers that have lost their logs as well, and have asked since this start.
    forgetful: BTreeSet<u64>,
    step: Step,
    /// The term that all voters had not passed.
    floor_term: u64,
}

impl Rejoining {
    /// Node `own` in this start.
    pub(crate) fn new(own: u64, incarnation: u64) -> Self {
        Self {
            own,
            incarnation,
            words: BTreeMap::new(),
            forgetful: BTreeSet::new(),
            step: Step::Deaf(BTreeSet::new()),
            floor_term: 0,
        }
    }

    pub(crate) const fn step(&self) -> &Step {
        &self.step
    }

    pub(crate) const fn is_deaf(&self) -> bool {
        matches!(self.step, Step::Deaf(_))
    }

    /// A voter has answered. The term to take on, once all have.
    pub(crate) fn hear(&mut self, from: u64, word: &RejoinWord) -> Option<u64> {
        if word.incarnation != self.incarnation || from == self.own {
            return None;
        }
        let (term, voters) = self.words.entry(from).or_default();
        *term = word.term.max(*term);
        voters.clone_from(&word.voters);
        let takes_on = self.listen();
        if self.step == Step::Follows && word.leads_to > 0 && word.term >= self.floor_term {
            self.step = Step::Needs(word.leads_to);
        }
        takes_on
    }

    /// Another has lost its log, too, and asks. As long as those that have are no majority, one that has not took part in whatever they
    /// have made come about: they need not wait for each other. The term to take on, if nobody else is waited for.
    pub(crate) fn asked(&mut self, from: u64) -> Option<u64> {
        self.forgetful.insert(from);
        self.listen()
    }

    /// Whether all have said what there is to know.
    fn listen(&mut self) -> Option<u64> {
        if !self.is_deaf() || self.words.is_empty() {
            return None;
        }
        let named = self.words.values().flat_map(|(_, voters)| voters.iter().copied());
        let others: BTreeSet<u64> = named.filter(|id| *id != self.own).collect();
        let voters = others.len() + 1; // this node is one, or else it harms nobody
        let forgetful = others.intersection(&self.forgetful).count() + 1;
        let is_minority = forgetful * 2 < voters;
        let is_known =
            |id: &u64| self.words.contains_key(id) || is_minority && self.forgetful.contains(id);
        let missing: BTreeSet<u64> = others.iter().copied().filter(|id| !is_known(id)).collect();
        let enough = missing.is_empty() || is_planted(Canary::OneWordIsEnough);
        if !enough || others.is_empty() {
            self.step = Step::Deaf(missing);
            return None;
        }
        self.floor_term = self.words.values().map(|(term, _)| *term).max().unwrap_or(0);
        self.step = Step::Follows;
        Some(self.floor_term)
    }

    /// Whether this much, committed and durable here, is all that it needs.
    pub(crate) fn is_done(&self, committed: u64) -> bool {
        match self.step {
            Step::Deaf(_) => false,
            Step::Follows => is_planted(Canary::RejoinsWithoutLog),
            Step::Needs(index) => committed >= index || is_planted(Canary::RejoinsWithoutLog),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(incarnation: u64, term: u64, leads_to: u64, voters: &[u64]) -> RejoinWord {
        RejoinWord { incarnation, term, leads_to, voters: voters.to_vec() }
    }

    #[test]
    fn all_voters_have_to_answer() {
        let mut rejoining = Rejoining::new(1, 9);
        assert_eq!(rejoining.hear(2, &word(9, 4, 100, &[1, 2, 3])), None);
        assert_eq!(rejoining.step(), &Step::Deaf(BTreeSet::from([3])));
        assert_eq!(rejoining.hear(2, &word(9, 5, 120, &[1, 2, 3])), None, "one twice is one");
        assert_eq!(rejoining.hear(3, &word(8, 7, 0, &[1, 2, 3])), None, "of another start");
        assert_eq!(rejoining.hear(3, &word(9, 7, 0, &[1, 2, 3])), Some(7));
        assert_eq!(rejoining.step(), &Step::Follows);
        assert!(!rejoining.is_done(u64::MAX));
    }

    /// Whoever a voter names as one has to answer, too.
    #[test]
    fn voters_are_learnt_from_voters() {
        let mut rejoining = Rejoining::new(1, 9);
        assert_eq!(rejoining.hear(2, &word(9, 4, 0, &[1, 2])), Some(4), "that is all there are");
        let mut rejoining = Rejoining::new(1, 9);
        assert_eq!(rejoining.hear(3, &word(9, 4, 0, &[2, 3, 4])), None);
        assert_eq!(rejoining.hear(2, &word(9, 3, 0, &[1, 2, 3, 5])), None);
        assert_eq!(rejoining.hear(4, &word(9, 3, 0, &[1, 2, 3])), None);
        assert_eq!(rejoining.hear(5, &word(9, 6, 0, &[])), Some(6));
    }

    /// Two of five need not wait for each other; two of three must.
    #[test]
    fn a_minority_does_not_wait_for_itself() {
        for (voters, takes_on) in [(&[1, 2, 3, 4, 5][..], Some(6)), (&[1, 2, 3], None)] {
            let mut rejoining = Rejoining::new(1, 9);
            assert_eq!(rejoining.asked(2), None, "nobody has said who votes");
            let others = voters.iter().filter(|id| **id > 2);
            let heard = others.map(|id| rejoining.hear(*id, &word(9, *id + 1, 0, voters)));
            assert_eq!(heard.last(), Some(takes_on));
        }
        let mut rejoining = Rejoining::new(1, 9);
        for id in 3..=5 {
            assert_eq!(rejoining.hear(id, &word(9, 4, 0, &[1, 2, 3, 4, 5])), None);
        }
        assert!(rejoining.is_deaf());
        assert_eq!(rejoining.asked(2), Some(4));
    }

    /// A member that was behind names one that is gone, until it has caught up.
    #[test]
    fn the_last_word_counts() {
        let mut rejoining = Rejoining::new(1, 9);
        assert_eq!(rejoining.hear(2, &word(9, 4, 0, &[1, 2, 3])), None);
        assert_eq!(rejoining.hear(4, &word(9, 4, 0, &[1, 2, 4])), None, "3 is still waited for");
        assert_eq!(rejoining.hear(2, &word(9, 4, 0, &[1, 2, 4])), Some(4));
    }

    /// The end of the log counts of who leads in the term taken on or later, and of the first that says it.
    #[test]
    fn a_deposed_leader_sets_no_goal() {
        let mut rejoining = Rejoining::new(1, 9);
        rejoining.hear(2, &word(9, 4, 100, &[1, 2, 3]));
        rejoining.hear(3, &word(9, 5, 0, &[1, 2, 3]));
        rejoining.hear(2, &word(9, 4, 100, &[1, 2, 3]));
        assert_eq!(rejoining.step(), &Step::Follows);
        rejoining.hear(3, &word(9, 6, 70, &[1, 2, 3]));
        rejoining.hear(3, &word(9, 6, 75, &[1, 2, 3]));
        assert_eq!(rejoining.step(), &Step::Needs(70));
        assert!(!rejoining.is_done(69) && rejoining.is_done(70));
    }
}
