//! How a node whose log was lost takes part again, without anything being lost that it had promised
//! (docs/decisions/2026-11-28-a-lost-log-is-made-good-by-the-others.md).
//!
//! It knows who it is, and no longer which terms it has seen, whom it voted for, and what it confirmed. So:
//!
//! 1. *Deaf.* It answers nobody, and asks all voters. Each says its term. Once all have said it since this start, no candidate that had
//!    this node's vote can be in a later term than the highest of these: the node takes that term on, and never votes in it. Who votes
//!    the others say, and what this node had written down beside its log: alone with one other it may have voted for a third that the
//!    other does not know yet.
//! 2. *Abstaining.* It follows, and confirms what it writes from now on, but votes for nobody. Whoever leads forgets, when it is first
//!    asked, what it believes that the node has, and says where its own log ends: everything that can ever count as confirmed by the lost
//!    log stands in front of that, for who leads without this node's vote has it all.
//! 3. Once that much is committed, and durable here, it is a member like any other. Whoever leads in a later term may name another end,
//!    also an earlier one: what a leader had not yet written when it failed is gone.
//!
//! This is the recovery of Viewstamped Replication Revisited (Liskov and Cowling 2012, section 4.3), but for three things: all other
//! voters have to answer, not a quorum, since their votes are remembered and this one's are not; the leader is told before it names the end
//! of its log; and what the node confirms in the second step counts, since it is durable.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::canary::{Canary, is_planted};

use crate::electorate::Electorate;

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
    /// Who votes, as far as it knows.
    #[prost(message, required, tag = "4")]
    pub electorate: Electorate,
}

/// What a node that has lost its log had written down beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Who votes by the last change that it knew for ever.
    pub electorate: Electorate,
    /// Who votes, or is on the way to: it may have confirmed the change that makes them voters.
    pub coming: BTreeSet<u64>,
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It waits for the words of these; of anybody, if there are none.
    Deaf(BTreeSet<u64>),
    /// The others know no voter but this node: nobody can make its log good.
    Alone,
    /// It follows, and has not been told yet how far it has to come.
    Follows,
    /// It follows, and must have this much, as the leader of that term has said.
    Needs {
        /// Index of an entry.
        index: u64,
        /// The leader's term.
        term: u64,
    },
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Rejoining {
    own: u64,
    incarnation: u64,
    known: Known,
    /// What each has said: the highest term, and who votes by its last word.
    words: BTreeMap<u64, (u64, Electorate)>,
    /// Peers that have lost their logs as well, and have asked since this start.
    forgetful: BTreeSet<u64>,
    step: Step,
    /// The term that all voters had not passed.
    floor_term: u64,
}

impl Rejoining {
    /// Node `own` in this start.
    pub(crate) fn new(own: u64, incarnation: u64, known: Known) -> Self {
        Self {
            own,
            incarnation,
            known,
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
        matches!(self.step, Step::Deaf(_) | Step::Alone)
    }

    /// Peers that have lost their logs as well.
    pub(crate) const fn forgetful(&self) -> &BTreeSet<u64> {
        &self.forgetful
    }

    /// Whether those that have lost their logs, this node among them, are so few that the others can decide without them.
    pub(crate) fn are_few(&self) -> bool {
        let mut forgetful = self.forgetful.clone();
        forgetful.insert(self.own);
        let coming = self.known.coming.iter().copied().collect();
        let coming = Electorate { voters: coming, ..Electorate::default() };
        let own = [&self.known.electorate, &coming].into_iter().filter(|_| !self.is_outdated());
        let mut all = self.told().chain(own);
        all.all(|electorate| electorate.is_minority(&forgetful))
    }

    /// Who votes by what the others have said.
    fn told(&self) -> impl Iterator<Item = &Electorate> {
        self.words.values().map(|(_, electorate)| electorate)
    }

    /// Whether one of them knows of a later change than this node did.
    fn is_outdated(&self) -> bool {
        self.told().any(|electorate| electorate.version > self.known.electorate.version)
    }

    /// A voter has answered. The term to take on, once all have.
    pub(crate) fn hear(&mut self, from: u64, word: &RejoinWord) -> Option<u64> {
        if word.incarnation != self.incarnation || from == self.own {
            return None;
        }
        let (term, electorate) = self.words.entry(from).or_default();
        *term = word.term.max(*term);
        electorate.clone_from(&word.electorate);
        let takes_on = self.listen();
        let counts = match self.step {
            Step::Deaf(_) | Step::Alone => false,
            Step::Follows => word.term >= self.floor_term,
            Step::Needs { term, .. } => word.term > term,
        };
        if counts && word.leads_to > 0 {
            self.step = Step::Needs { index: word.leads_to, term: word.term };
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
        let others = self.others();
        let are_few = self.are_few();
        let is_known =
            |id: &u64| self.words.contains_key(id) || are_few && self.forgetful.contains(id);
        let missing: BTreeSet<u64> = others.iter().copied().filter(|id| !is_known(id)).collect();
        if others.is_empty() {
            self.step = Step::Alone;
            return None;
        }
        if !missing.is_empty() && !is_planted(Canary::OneWordIsEnough) {
            self.step = Step::Deaf(missing);
            return None;
        }
        self.floor_term = self.words.values().map(|(term, _)| *term).max().unwrap_or(0);
        self.step = Step::Follows;
        Some(self.floor_term)
    }

    /// Whoever may be in a later term thanks to this node's vote: all that anybody names, and all that it knew itself.
    fn others(&self) -> BTreeSet<u64> {
        let mut others: BTreeSet<u64> = self.told().flat_map(Electorate::ids).collect();
        if !self.is_past() {
            others.extend(self.known.coming.iter().copied().chain(self.known.electorate.ids()));
        }
        others.remove(&self.own);
        others
    }

    /// Whether those that nobody names any more need not be waited for. One of them may have missed the last change, and lead by the voters
    /// before it with this node's vote; who else took part in that has been asked, unless they were three, of whom the two are most.
    fn is_past(&self) -> bool {
        let newest = self.told().max_by_key(|electorate| electorate.version);
        let may_be_two =
            |newest: &Electorate| newest.outgoing.is_empty() && newest.voters.len() <= 2;
        self.is_outdated() && !newest.is_some_and(may_be_two)
    }

    /// Whether this much, committed and durable here, is all that it needs.
    pub(crate) fn is_done(&self, committed: u64) -> bool {
        match self.step {
            Step::Deaf(_) | Step::Alone => false,
            Step::Follows => is_planted(Canary::RejoinsWithoutLog),
            Step::Needs { index, .. } => {
                committed >= index || is_planted(Canary::RejoinsWithoutLog)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn electorate(version: u64, voters: &[u64]) -> Electorate {
        Electorate { version, voters: voters.to_vec(), outgoing: Vec::new() }
    }

    fn word(incarnation: u64, term: u64, leads_to: u64, voters: &[u64]) -> RejoinWord {
        RejoinWord { incarnation, term, leads_to, electorate: electorate(0, voters) }
    }

    /// A word of one that knows of a later change.
    fn later(term: u64, version: u64, voters: &[u64]) -> RejoinWord {
        RejoinWord { electorate: electorate(version, voters), ..word(9, term, 0, voters) }
    }

    /// Node 1, which knows nothing but its name.
    fn unknowing() -> Rejoining {
        Rejoining::new(1, 9, Known::default())
    }

    /// Node 1, which knew these voters at entry 10, and these on their way.
    fn knowing(voters: &[u64], coming: &[u64]) -> Rejoining {
        let coming = voters.iter().chain(coming).copied().collect();
        Rejoining::new(1, 9, Known { electorate: electorate(10, voters), coming })
    }

    #[test]
    fn all_voters_have_to_answer() {
        let mut rejoining = unknowing();
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
        let mut rejoining = unknowing();
        assert_eq!(rejoining.hear(2, &word(9, 4, 0, &[1, 2])), Some(4), "that is all there are");
        let mut rejoining = unknowing();
        assert_eq!(rejoining.hear(3, &word(9, 4, 0, &[2, 3, 4])), None);
        assert_eq!(rejoining.hear(2, &word(9, 3, 0, &[1, 2, 3, 5])), None);
        assert_eq!(rejoining.hear(4, &word(9, 3, 0, &[1, 2, 3])), None);
        assert_eq!(rejoining.hear(5, &word(9, 6, 0, &[])), Some(6));
    }

    /// Two grow to three, and node 3 leads with the vote of this one. Node 2 was not told, and leads still, by what it knows.
    #[test]
    fn whom_the_others_do_not_know_yet_is_waited_for() {
        for mut rejoining in [knowing(&[1, 2, 3], &[]), knowing(&[1, 2], &[3])] {
            assert_eq!(rejoining.hear(2, &word(9, 4, 100, &[1, 2])), None);
            assert_eq!(rejoining.step(), &Step::Deaf(BTreeSet::from([3])));
            assert_eq!(rejoining.hear(3, &later(5, 10, &[1, 2, 3])), Some(5));
            rejoining.hear(2, &word(9, 4, 100, &[1, 2]));
            assert_eq!(rejoining.step(), &Step::Follows);
        }
    }

    /// One that was replaced, or that went out of five, while this node was away, is not waited for; one of three that went may have led
    /// with this node's vote.
    #[test]
    fn who_went_meanwhile_is_not_waited_for() {
        let mut replaced = knowing(&[1, 2, 3], &[]);
        assert_eq!(replaced.hear(2, &later(6, 20, &[1, 2, 4])), None);
        assert_eq!(replaced.hear(4, &later(6, 20, &[1, 2, 4])), Some(6));
        let mut of_five = knowing(&[1, 2, 3, 4, 5], &[]);
        for id in [2, 3] {
            assert_eq!(of_five.hear(id, &later(6, 20, &[1, 2, 3, 4])), None);
        }
        assert_eq!(of_five.hear(4, &word(9, 6, 0, &[1, 2, 3, 4, 5])), None, "it may vote for 5");
        assert_eq!(of_five.hear(4, &later(6, 20, &[1, 2, 3, 4])), Some(6));
        let mut of_three = knowing(&[1, 2, 3], &[]);
        assert_eq!(of_three.hear(2, &later(6, 20, &[1, 2])), None);
        assert_eq!(of_three.step(), &Step::Deaf(BTreeSet::from([3])));
        assert_eq!(of_three.hear(3, &word(9, 7, 0, &[1, 2, 3])), Some(7));
        let mut of_four = knowing(&[1, 2, 3, 4], &[]);
        assert_eq!(of_four.hear(2, &later(6, 20, &[1, 2])), None, "3 went last, and may lead");
        let mut given_up = knowing(&[1, 2, 3], &[4]);
        for (id, takes_on) in [(2, None), (3, Some(6))] {
            assert_eq!(given_up.hear(id, &later(6, 20, &[1, 2, 3])), takes_on);
        }
    }

    /// Where nobody else votes nobody can help.
    #[test]
    fn nobody_helps_the_only_voter() {
        let mut rejoining = knowing(&[1], &[]);
        assert_eq!(rejoining.hear(2, &word(9, 4, 0, &[1])), None);
        assert_eq!(rejoining.step(), &Step::Alone);
        assert!(rejoining.is_deaf() && !rejoining.is_done(u64::MAX));
        assert_eq!(rejoining.hear(2, &later(4, 20, &[1, 2])), Some(4), "it was behind");
    }

    /// Two of five need not wait for each other; two of three must, also where somebody still names voters that are gone.
    #[test]
    fn a_minority_does_not_wait_for_itself() {
        for (voters, takes_on) in [(&[1, 2, 3, 4, 5][..], Some(6)), (&[1, 2, 3], None)] {
            let mut rejoining = unknowing();
            assert_eq!(rejoining.asked(2), None, "nobody has said who votes");
            let others = voters.iter().filter(|id| **id > 2);
            let heard = others.map(|id| rejoining.hear(*id, &word(9, *id + 1, 0, voters)));
            assert_eq!(heard.last(), Some(takes_on));
        }
        let mut rejoining = unknowing();
        for id in 3..=5 {
            assert_eq!(rejoining.hear(id, &word(9, 4, 0, &[1, 2, 3, 4, 5])), None);
        }
        assert!(rejoining.is_deaf());
        assert_eq!(rejoining.asked(2), Some(4));
        let mut rejoining = unknowing();
        rejoining.asked(2);
        rejoining.hear(4, &word(9, 4, 0, &[1, 4, 5]));
        rejoining.hear(5, &word(9, 4, 0, &[3, 4, 5]));
        let joint = Electorate { outgoing: vec![1, 2, 3], ..electorate(20, &[1, 4, 5]) };
        let word = RejoinWord { electorate: joint, ..word(9, 4, 0, &[]) };
        assert_eq!(rejoining.hear(3, &word), None, "they are most of the voters before");
        assert!(!rejoining.are_few());
    }

    /// What a node had written down does not count any more once the others know of a later change.
    #[test]
    fn a_minority_is_one_of_those_that_vote_now() {
        let mut rejoining = knowing(&[1, 2, 3], &[]);
        rejoining.asked(2);
        for (id, takes_on) in [(3, None), (4, None), (5, Some(6))] {
            assert_eq!(rejoining.hear(id, &later(6, 20, &[1, 2, 3, 4, 5])), takes_on);
        }
    }

    /// A member that was behind names one that is gone, until it has caught up.
    #[test]
    fn the_last_word_counts() {
        let mut rejoining = unknowing();
        assert_eq!(rejoining.hear(2, &word(9, 4, 0, &[1, 2, 3])), None);
        assert_eq!(rejoining.hear(4, &word(9, 4, 0, &[1, 2, 4])), None, "3 is still waited for");
        assert_eq!(rejoining.hear(2, &word(9, 4, 0, &[1, 2, 4])), Some(4));
    }

    /// The end of the log counts of who leads in the term taken on or later, and of the first that says it.
    #[test]
    fn a_deposed_leader_sets_no_goal() {
        let mut rejoining = unknowing();
        rejoining.hear(2, &word(9, 4, 100, &[1, 2, 3]));
        rejoining.hear(3, &word(9, 5, 0, &[1, 2, 3]));
        rejoining.hear(2, &word(9, 4, 100, &[1, 2, 3]));
        assert_eq!(rejoining.step(), &Step::Follows);
        rejoining.hear(3, &word(9, 6, 70, &[1, 2, 3]));
        rejoining.hear(3, &word(9, 6, 75, &[1, 2, 3]));
        assert_eq!(rejoining.step(), &Step::Needs { index: 70, term: 6 });
        assert!(!rejoining.is_done(69) && rejoining.is_done(70));
    }

    /// The leader failed, and with it what it had not written: its successor's log is shorter, and nobody writes more.
    #[test]
    fn a_later_leader_names_an_earlier_end() {
        let mut rejoining = unknowing();
        rejoining.hear(2, &word(9, 4, 0, &[1, 2, 3]));
        rejoining.hear(3, &word(9, 5, 100, &[1, 2, 3]));
        rejoining.hear(2, &word(9, 6, 90, &[1, 2, 3]));
        assert_eq!(rejoining.step(), &Step::Needs { index: 90, term: 6 });
        rejoining.hear(3, &word(9, 5, 100, &[1, 2, 3]));
        assert!(rejoining.is_done(90), "what it said before counts no more");
    }
}
