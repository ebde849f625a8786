//! How a cluster forms exactly once.
//!
//! Each disk has a storage id, drawn when it was first used. A node that has never been part of a cluster is *forming*: it forms
//! once it has heard from every initial member and all of them were forming too; then it writes down who they were, storage ids
//! and all. Whoever hears of that record and finds its own storage id in it joins by the same record. Whoever finds another
//! storage id in its own place knows that its disk is not the one that joined: it never forms and never votes.

use std::collections::BTreeMap;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use crate::roster::Roster;

/// A member of the initial list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Node id, not 0.
    pub id: u64,
    /// Host name or address at which peers reach it; resolved anew at each connect.
    pub host: String,
    /// Port for peers.
    pub port: u16,
}

/// The record of a formed cluster: storage id by node id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    members: BTreeMap<u64, u128>,
}

impl Record {
    /// A node on its own.
    pub fn alone(node_id: u64, storage_id: u128) -> Self {
        Self { members: BTreeMap::from([(node_id, storage_id)]) }
    }

    /// Node ids, sorted.
    pub fn voters(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    /// The storage id with which a node joined.
    pub fn storage_of(&self, node_id: u64) -> Option<u128> {
        self.members.get(&node_id).copied()
    }

    /// Names the cluster at handshakes: equal records, equal id. Never 0.
    pub fn id(&self) -> u64 {
        let hash = self.encode().chunks(8).fold(0x5F5F_F0F0_u64, |hash, chunk| {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        });
        hash | 1
    }

    /// `(node u64 · storage id u128)*`, sorted by node.
    pub fn encode(&self) -> Vec<u8> {
        let pairs = self.members.iter();
        pairs
            .flat_map(|(node, storage)| [&node.to_le_bytes()[..], &storage.to_le_bytes()].concat())
            .collect()
    }

    /// None if the bytes are no record.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut members = BTreeMap::new();
        for pair in bytes.chunks(24) {
            let (node, storage) = pair.split_at_checked(8)?;
            let node = u64::from_le_bytes(node.try_into().ok()?);
            members.insert(node, u128::from_le_bytes(storage.try_into().ok()?));
        }
        (!members.is_empty()).then_some(Self { members })
    }
}

/// What a forming node hears of a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It is forming as well, with this storage id.
    Forming(u128),
    /// It belongs to a cluster.
    Formed {
        /// How that was formed.
        record: Record,
        /// Who is a member, as far as the peer knows.
        roster: Roster,
    },
    /// It belongs to a cluster that does not take this node for a member.
    Excluded {
        /// Why.
        why: Exclusion,
        /// The voters of that cluster, as far as the peer knows them for ever.
        voters: Vec<u64>,
        /// Where they are, if this node was removed: they may all have come after it was cut off.
        places: Vec<Member>,
    },
}

/// Why a cluster does not take a node for a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Exclusion {
    /// It knows the id with another disk.
    Replaced = 1,
    /// It does not know the id.
    Unknown = 2,
    /// The id was a member once, and was removed.
    Removed = 3,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on listening; a sentence for people.
    Wait(String),
    /// Write this down, synced, then start raft: how the cluster was formed, and who is a member as a peer told. A roster without anybody
    /// says that this node forms it.
    Form(Record, Roster),
}

/// What a node says that is no member any more.
pub(crate) fn removed(node_id: u64) -> String {
    format!(
        "node {node_id} was removed from its cluster, which holds all that was acknowledged, and is not needed any more. Its data directory \
         can go. To run a node here again, start one with an empty directory, --join and an id that was never used, and add it with \
         `steadfast cluster add`"
    )
}

/// A node that has not joined.
#[derive(Clone, Debug)]
pub struct Forming {
    node_id: u64,
    storage_id: u128,
    members: Vec<u64>,
    /// Whether it waits to be added to a cluster, and forms none.
    joins: bool,
    /// What each peer said last, and whether that was in the age before this one.
    heard: BTreeMap<u64, (Heard, bool)>,
}

impl Forming {
    /// `members` are the ids of the initial list, the own one included. A node that `joins` forms no cluster, and listens to anybody's.
    pub fn new(node_id: u64, storage_id: u128, mut members: Vec<u64>, joins: bool) -> Self {
        members.sort_unstable();
        Self { node_id, storage_id, members, joins, heard: BTreeMap::new() }
    }

    /// A peer said what it is.
    pub fn hear(&mut self, peer: u64, heard: Heard) -> Verdict {
        if (self.joins || self.members.contains(&peer)) && peer != self.node_id {
            self.heard.insert(peer, (heard, false));
        }
        self.verdict()
    }

    /// An age has passed: what was said before it and not since counts no more. A peer that was forming then may have formed
    /// a cluster, and may have lost its disk, since.
    pub fn age(&mut self) -> Verdict {
        self.heard.retain(|_, (_, old)| !std::mem::replace(old, true));
        self.verdict()
    }

    /// What is known so far leads to this.
    pub fn verdict(&self) -> Verdict {
        // A cluster that knows this node with another disk counts first: whatever others say, this disk did not join it.
        let weight = |heard: &Heard| match heard {
            Heard::Forming(_) => 0,
            Heard::Excluded { why: Exclusion::Unknown, .. } => 1,
            Heard::Formed { roster, .. } if self.is_replaced(roster) => 3,
            Heard::Formed { .. } => 2,
            Heard::Excluded { .. } => 3,
        };
        let first = self.heard.iter().max_by_key(|(_, (heard, _))| weight(heard));
        match first {
            Some((peer, (Heard::Formed { record, roster }, _))) => {
                return self.join(*peer, record, roster);
            }
            Some((peer, (Heard::Excluded { why, .. }, _))) => {
                return Verdict::Wait(self.shut_out(*peer, *why));
            }
            _ => {}
        }
        if self.joins {
            return Verdict::Wait(self.waits_to_be_added());
        }
        let mut members = BTreeMap::from([(self.node_id, self.storage_id)]);
        for (peer, (heard, _)) in &self.heard {
            if let Heard::Forming(storage_id) = heard {
                members.insert(*peer, *storage_id);
            }
        }
        let missing: Vec<String> = self
            .members
            .iter()
            .filter(|id| !members.contains_key(id))
            .map(u64::to_string)
            .collect();
        let majority = members.len() * 2 > self.members.len();
        if missing.is_empty() || majority && is_planted(Canary::FormsByMajority) {
            Verdict::Form(Record { members }, Roster::default())
        } else {
            Verdict::Wait(format!(
                "this node has an empty disk and waits for node {} to form a cluster: all of them must be heard from once",
                missing.join(" and ")
            ))
        }
    }

    /// Whether a cluster knows this node with another disk.
    fn is_replaced(&self, roster: &Roster) -> bool {
        roster.storage_of(self.node_id).is_some_and(|own| own != self.storage_id)
    }

    /// A peer has formed a cluster.
    fn join(&self, peer: u64, record: &Record, roster: &Roster) -> Verdict {
        // Founders must have been started with one list; whoever came later was added by its id and place.
        let is_founder = record.storage_of(self.node_id).is_some();
        let agreed = !is_founder || roster.version() > 0 || record.voters() == self.members;
        match roster.storage_of(self.node_id) {
            Some(own)
                if (own == self.storage_id || is_planted(Canary::WipedNodeTaken)) && agreed =>
            {
                Verdict::Form(record.clone(), roster.clone())
            }
            Some(own) if own == self.storage_id => Verdict::Wait(format!(
                "node {peer} formed a cluster of nodes {:?}, but this node was started with {:?}: start all of them with \
                 the same --cluster",
                record.voters(),
                self.members
            )),
            Some(_) => Verdict::Wait(self.shut_out(peer, Exclusion::Replaced)),
            None if roster.is_gone(self.node_id) => {
                Verdict::Wait(self.shut_out(peer, Exclusion::Removed))
            }
            None if self.joins => Verdict::Wait(self.waits_to_be_added()),
            None => Verdict::Wait(self.shut_out(peer, Exclusion::Unknown)),
        }
    }

    fn waits_to_be_added(&self) -> String {
        format!(
            "this node is new and waits to be added to a cluster: steadfast cluster add {} host:port, asked of a node of the cluster, with \
             the host and the peer port of this one",
            self.node_id
        )
    }

    fn shut_out(&self, peer: u64, why: Exclusion) -> String {
        let own = self.node_id;
        match why {
            Exclusion::Replaced => {
                mark::reached(Mark::WipedNodeRefused);
                format!(
                    "node {peer} belongs to a cluster that knows this node {own} with another disk: this disk is empty or was \
                     replaced, and must not vote in its old name. Bring the old data directory back, or replace node {own} by one \
                     with a new id (steadfast cluster replace)"
                )
            }
            Exclusion::Unknown => format!(
                "node {peer} belongs to a cluster that does not know node {own}: check --node-id and --cluster; a new node is \
                 started with --join and added with `steadfast cluster add`"
            ),
            Exclusion::Removed => removed(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forming(node: u64) -> Forming {
        Forming::new(node, u128::from(node) * 11, vec![1, 2, 3], false)
    }

    fn founding(record: &Record) -> Roster {
        Roster::founding(record, &[], &Roster::default())
    }

    fn formed(record: &Record) -> Heard {
        Heard::Formed { record: record.clone(), roster: founding(record) }
    }

    /// A node that was started to join forms nothing, and joins whoever lists its disk.
    #[test]
    fn joining_nodes_wait_to_be_added() {
        let mut four = Forming::new(4, 44, vec![4], true);
        assert!(matches!(four.verdict(), Verdict::Wait(text) if text.contains("cluster add 4")));
        assert!(matches!(four.hear(9, Heard::Forming(99)), Verdict::Wait(_)));
        let record = Record { members: BTreeMap::from([(1, 11), (2, 22), (3, 33)]) };
        let told =
            |roster: &Roster| Heard::Formed { record: record.clone(), roster: roster.clone() };
        let founding = founding(&record);
        assert!(
            matches!(four.hear(1, told(&founding)), Verdict::Wait(text) if text.contains("add 4"))
        );
        let listed = |storage_id| crate::roster::Listed { storage_id, ..Default::default() };
        let added = founding.after(5, vec![(4, listed(44))], &[1, 2, 3, 4]);
        assert_eq!(four.hear(1, told(&added)), Verdict::Form(record.clone(), added.clone()));
        let other = founding.after(5, vec![(4, listed(45))], &[1, 2, 3, 4]);
        assert!(
            matches!(four.hear(1, told(&other)), Verdict::Wait(text) if text.contains("another disk"))
        );
        let removed = added.after(9, Vec::new(), &[1, 2, 3]);
        assert!(
            matches!(four.hear(1, told(&removed)), Verdict::Wait(text) if text.contains("was removed"))
        );
    }

    /// All initial members must have been heard from; then all form by the same record.
    #[test]
    fn all_must_be_heard() {
        let (mut one, mut two) = (forming(1), forming(2));
        assert!(
            matches!(one.hear(2, Heard::Forming(22)), Verdict::Wait(text) if text.contains('3'))
        );
        let Verdict::Form(record, _) = one.hear(3, Heard::Forming(33)) else {
            panic!("all were heard")
        };
        assert_eq!(record.voters(), [1, 2, 3]);
        assert_eq!(Record::decode(&record.encode()), Some(record.clone()));
        assert_eq!(two.hear(1, formed(&record)), Verdict::Form(record.clone(), founding(&record)));
    }

    /// What was said long ago does not count: the peer may have formed a cluster since, and another may have lost its disk.
    #[test]
    fn words_grow_old() {
        let mut one = forming(1);
        one.hear(3, Heard::Forming(33));
        one.age();
        one.age();
        assert!(
            matches!(one.hear(2, Heard::Forming(999)), Verdict::Wait(text) if text.contains('3'))
        );
        one.age();
        assert!(matches!(one.hear(3, Heard::Forming(33)), Verdict::Form(..)), "2 spoke an age ago");
    }

    /// A cluster that knows this node with another disk counts more than one that would take it in.
    #[test]
    fn a_replaced_disk_counts_first() {
        let record = |two: u128| Record { members: BTreeMap::from([(1, 11), (2, two), (3, 33)]) };
        for (first, second) in [(1, 3), (3, 1)] {
            let mut two = Forming::new(2, 999, vec![1, 2, 3], false);
            two.hear(first, formed(&record(22)));
            let verdict = two.hear(second, formed(&record(999)));
            assert!(matches!(verdict, Verdict::Wait(text) if text.contains("disk")), "{first}");
        }
    }

    /// A node that was started with another list does not join by the others' one.
    #[test]
    fn lists_must_agree() {
        let mut one = Forming::new(1, 11, vec![2, 1], false);
        let Verdict::Form(record, _) = one.hear(2, Heard::Forming(22)) else {
            panic!("both agree")
        };
        let verdict = forming(2).hear(1, formed(&record));
        assert!(matches!(verdict, Verdict::Wait(text) if text.contains("[1, 2]")));
        let verdict = forming(3).hear(1, formed(&record));
        assert!(matches!(verdict, Verdict::Wait(text) if text.contains("does not know node 3")));
    }

    /// A wiped node hears that it was known with another disk, and waits, whatever else it hears.
    #[test]
    fn wiped_nodes_wait() {
        let mut one = forming(1);
        one.hear(2, Heard::Forming(22));
        let Verdict::Form(record, _) = one.hear(3, Heard::Forming(33)) else {
            panic!("all were heard")
        };
        let mut wiped = Forming::new(2, 999, vec![1, 2, 3], false);
        assert!(matches!(wiped.hear(3, Heard::Forming(998)), Verdict::Wait(_)));
        let verdict = wiped.hear(1, formed(&record));
        assert!(matches!(verdict, Verdict::Wait(text) if text.contains("disk")));
        for (why, words) in [
            (Exclusion::Replaced, "another disk"),
            (Exclusion::Unknown, "does not know node 2"),
            (Exclusion::Removed, "was removed"),
        ] {
            let mut wiped = Forming::new(2, 999, vec![1, 2, 3], false);
            wiped.hear(1, Heard::Excluded { why, voters: Vec::new(), places: Vec::new() });
            let verdict = wiped.hear(3, Heard::Forming(33));
            assert!(matches!(verdict, Verdict::Wait(text) if text.contains(words)));
        }
    }
}
