//! Who votes, and as of which change: what a node writes down beside its log, and tells one that has lost its own.

use std::collections::BTreeSet;

use crate::storage::Membership;

/// The voters after a change of members.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Electorate {
    /// Index of the entry that made it; 0 as the cluster was formed.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Voters, sorted; none if nothing is known yet.
    #[prost(uint64, repeated, tag = "2")]
    pub voters: Vec<u64>,
    /// The voters before, while they still count as well; sorted.
    #[prost(uint64, repeated, tag = "3")]
    pub outgoing: Vec<u64>,
}

impl Electorate {
    /// That of a membership.
    pub fn of(membership: &Membership) -> Self {
        let Membership { voters, outgoing, roster, .. } = membership;
        Self { version: roster.version(), voters: voters.clone(), outgoing: outgoing.clone() }
    }

    /// Whether it is that of a membership.
    pub fn is_of(&self, membership: &Membership) -> bool {
        let Membership { voters, outgoing, roster, .. } = membership;
        (self.version, &self.voters, &self.outgoing) == (roster.version(), voters, outgoing)
    }

    /// The sets of voters that must each agree: one, or two in joint consensus.
    pub fn halves(&self) -> impl Iterator<Item = &[u64]> {
        [&self.voters[..], &self.outgoing[..]].into_iter().filter(|half| !half.is_empty())
    }

    /// Whoever is in one of them.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.voters.iter().chain(&self.outgoing).copied()
    }

    /// Whether these are less than half of each set: none of them could decide anything without one that is not among them.
    pub fn is_minority(&self, nodes: &BTreeSet<u64>) -> bool {
        let few =
            |half: &[u64]| half.iter().filter(|id| nodes.contains(id)).count() * 2 < half.len();
        self.halves().all(few)
    }

    /// Whether each set can do without one of its voters, and still has more than one left.
    pub fn can_spare_one(&self) -> bool {
        self.halves().map(<[u64]>::len).min().is_some_and(|least| least > 2)
    }
}
