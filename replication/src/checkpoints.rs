//! Checkpoints: at every so many entries each node tells its peers the digest of its state, and compares theirs with its own.
//!
//! Equal applied index means equal state, on every replica. A node whose state is not what most voters have takes itself out of service:
//! whichever of its answers depend on what differs would be wrong. Where as many say one thing as the other, nobody can tell who is right;
//! the node says so and goes on, and the next voter to come to that index decides.
//!
//! Nothing is promised by a checkpoint: those that get lost are made up for by the next ones. Who is told of an index at which its own
//! state is another answers with its own, so that a node that is behind hears of it, too.

use std::collections::BTreeMap;

/// Entries between checkpoints.
pub const CHECKPOINT_EVERY: u64 = 64;
/// Indexes that are remembered, of the own state and of what peers said.
const KEPT: usize = 1024;

/// The digest of the state at an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Applied index.
    pub index: u64,
    /// `StateMachine::digest` there.
    pub digest: u128,
}

/// What is known of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing yet, or nothing against this node.
    Open,
    /// Most voters, and this node, have the same state.
    Checked,
    /// These have another one. They are not enough to say who is right.
    Disputed(Vec<u64>),
    /// Most voters have another one, which is the same for all of these.
    Outvoted(Vec<u64>),
}

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    own: BTreeMap<u64, u128>,
    /// What peers said of an index that is not checked yet.
    told: BTreeMap<u64, BTreeMap<u64, u128>>,
    /// The highest index at which most voters had the same state.
    checked: u64,
    /// The last disputed index that people were told of.
    disputed: Option<u64>,
}

impl Checkpoints {
    /// The highest index at which this node and most voters had the same state; 0 if there was none since its start.
    pub(crate) const fn checked(&self) -> u64 {
        self.checked
    }

    /// Whether people should be told that an index is disputed: not of each, when everything differs from now on.
    pub(crate) fn is_news(&mut self, index: u64) -> bool {
        let again = self.disputed.is_none_or(|last| index >= last + KEPT as u64);
        self.disputed = if again { Some(index) } else { self.disputed };
        again
    }

    /// The own state at an index.
    pub(crate) fn reach(&mut self, own: Checkpoint) {
        self.own.insert(own.index, own.digest);
        if self.own.len() > KEPT {
            self.own.pop_first();
        }
    }

    /// What a peer says. Answers what to tell it: the own state at that index, if that is another one and the peer has not said so before.
    pub(crate) fn hear(&mut self, peer: u64, said: Checkpoint) -> Option<Checkpoint> {
        let before = self.told.entry(said.index).or_default().insert(peer, said.digest);
        if self.told.len() > KEPT {
            self.told.pop_first();
        }
        let own = *self.own.get(&said.index)?;
        let differs = own != said.digest && before != Some(said.digest);
        differs.then_some(Checkpoint { index: said.index, digest: own })
    }

    /// A peer has gone: what it said is not what its next start may come to.
    pub(crate) fn forget(&mut self, peer: u64) {
        self.told.values_mut().for_each(|told| told.retain(|other, _| *other != peer));
    }

    /// Looks at an index. `is_most` tells whether these nodes are a quorum.
    pub(crate) fn judge(
        &mut self,
        own_id: u64,
        index: u64,
        is_most: impl Fn(&[u64]) -> bool,
    ) -> Finding {
        let (Some(own), Some(told)) = (self.own.get(&index), self.told.get(&index)) else {
            return Finding::Open;
        };
        let who_says = |digest: u128| {
            let say_so = told.iter().filter(move |(_, said)| **said == digest);
            say_so.map(|(peer, _)| *peer).collect::<Vec<_>>()
        };
        let mut same = who_says(*own);
        same.push(own_id);
        let others: Vec<Vec<u64>> =
            told.values().filter(|said| *said != own).map(|said| who_says(*said)).collect();
        if let Some(most) = others.iter().find(|peers| is_most(peers)) {
            return Finding::Outvoted(most.clone());
        }
        if is_most(&same) {
            self.checked = self.checked.max(index);
            self.told.remove(&index);
            return Finding::Checked;
        }
        match others.into_iter().next() {
            Some(peers) => Finding::Disputed(peers),
            None => Finding::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64, digest: u128) -> Checkpoint {
        Checkpoint { index, digest }
    }

    /// Two of the voters 1 to 3; node 4 learns.
    fn is_most(nodes: &[u64]) -> bool {
        nodes.iter().filter(|id| **id <= 3).count() >= 2
    }

    /// Node 1 with its state at an index, told these of it; what it finds after each.
    fn findings(own: u128, told: &[(u64, u128)]) -> Vec<Finding> {
        let mut checkpoints = Checkpoints::default();
        checkpoints.reach(at(64, own));
        let findings = told.iter().map(|(peer, digest)| {
            checkpoints.hear(*peer, at(64, *digest));
            checkpoints.judge(1, 64, is_most)
        });
        findings.collect()
    }

    #[test]
    fn most_decide() {
        use Finding::{Checked, Disputed, Open, Outvoted};
        assert_eq!(findings(7, &[(2, 7)]), [Checked]);
        assert_eq!(findings(7, &[(2, 8), (3, 8)]), [Disputed(vec![2]), Outvoted(vec![2, 3])]);
        assert_eq!(findings(7, &[(2, 8), (3, 7)]), [Disputed(vec![2]), Checked]);
        assert_eq!(findings(7, &[(2, 8), (3, 9)]), [Disputed(vec![2]), Disputed(vec![2])]);
        assert_eq!(findings(7, &[(4, 7)]), [Open], "who learns is no voter");
        assert_eq!(findings(7, &[(4, 8), (2, 8)]), [Disputed(vec![4]), Disputed(vec![2, 4])]);
    }

    /// What was said of an index counts when this node comes to it, however late.
    #[test]
    fn who_is_behind_is_judged_later() {
        let mut checkpoints = Checkpoints::default();
        assert_eq!(checkpoints.hear(2, at(64, 8)), None);
        assert_eq!(checkpoints.hear(3, at(64, 8)), None);
        assert_eq!(checkpoints.judge(1, 64, is_most), Finding::Open);
        checkpoints.reach(at(64, 7));
        assert_eq!(checkpoints.judge(1, 64, is_most), Finding::Outvoted(vec![2, 3]));
    }

    /// Who differs hears of it, once: answers are not answered for ever.
    #[test]
    fn who_differs_is_told_once() {
        let (mut one, mut other) = (Checkpoints::default(), Checkpoints::default());
        one.reach(at(64, 7));
        other.reach(at(64, 8));
        let mut said = Some(at(64, 7));
        let mut messages = 0;
        while let Some(checkpoint) = said {
            messages += 1;
            let to_other = messages % 2 == 1;
            said = if to_other { other.hear(1, checkpoint) } else { one.hear(2, checkpoint) };
        }
        assert_eq!(messages, 3, "each has told the other, and one twice");
        assert_eq!(one.hear(3, at(64, 7)), None);
    }

    /// A peer whose memory had failed starts again, and comes to the state of the others.
    #[test]
    fn what_a_peer_said_before_its_start_is_forgotten() {
        let mut checkpoints = Checkpoints::default();
        for peer in [2, 3] {
            checkpoints.hear(peer, at(64, 8));
        }
        checkpoints.forget(3);
        checkpoints.reach(at(64, 7));
        assert_eq!(checkpoints.judge(1, 64, is_most), Finding::Disputed(vec![2]));
    }

    /// However much is said, only so much is remembered.
    #[test]
    fn memory_is_bounded() {
        let mut checkpoints = Checkpoints::default();
        for index in 0..5000 {
            checkpoints.reach(at(index, 1));
            checkpoints.hear(2, at(index, 2));
        }
        assert_eq!((checkpoints.own.len(), checkpoints.told.len()), (KEPT, KEPT));
    }
}
