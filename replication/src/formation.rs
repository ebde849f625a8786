//! How a cluster forms exactly once.
//!
//! Each disk has a storage id, drawn when it was first used. A node that has never been part of a cluster is *forming*: it forms
//! once it has heard from every initial member and all of them were forming too; then it writes down who they were, storage ids
//! and all. Whoever hears of that record and finds its own storage id in it joins by the same record. Whoever finds another
//! storage id in its own place knows that its disk is not the one that joined: it never forms and never votes.

use std::collections::BTreeMap;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

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
    /// It belongs to a cluster with this record.
    Formed(Record),
    /// It belongs to a cluster that does not take this node for a member.
    Excluded {
        /// The cluster knows this node's id, with another disk.
        replaced: bool,
    },
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on listening; a sentence for people.
    Wait(String),
    /// Write this record down, synced, then start raft.
    Form(Record),
}

/// A node that has not joined.
#[derive(Clone, Debug)]
pub struct Forming {
    node_id: u64,
    storage_id: u128,
    members: Vec<u64>,
    /// What each peer said last, and whether that was in the age before this one.
    heard: BTreeMap<u64, (Heard, bool)>,
}

impl Forming {
    /// `members` are the ids of the initial list, the own one included.
    pub fn new(node_id: u64, storage_id: u128, mut members: Vec<u64>) -> Self {
        members.sort_unstable();
        Self { node_id, storage_id, members, heard: BTreeMap::new() }
    }

    /// A peer said what it is.
    pub fn hear(&mut self, peer: u64, heard: Heard) -> Verdict {
        if self.members.contains(&peer) && peer != self.node_id {
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
            Heard::Excluded { replaced: false } => 1,
            Heard::Formed(record) if self.is_replaced(record) => 3,
            Heard::Formed(_) => 2,
            Heard::Excluded { replaced: true } => 3,
        };
        let first = self.heard.iter().max_by_key(|(_, (heard, _))| weight(heard));
        match first {
            Some((peer, (Heard::Formed(record), _))) => return self.join(*peer, record),
            Some((peer, (Heard::Excluded { replaced }, _))) => {
                return Verdict::Wait(self.shut_out(*peer, *replaced));
            }
            _ => {}
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
            Verdict::Form(Record { members })
        } else {
            Verdict::Wait(format!(
                "this node has an empty disk and waits for node {} to form a cluster: all of them must be heard from once",
                missing.join(" and ")
            ))
        }
    }

    /// Whether a cluster knows this node with another disk.
    fn is_replaced(&self, record: &Record) -> bool {
        record.storage_of(self.node_id).is_some_and(|own| own != self.storage_id)
    }

    /// A peer has formed a cluster.
    fn join(&self, peer: u64, record: &Record) -> Verdict {
        match record.storage_of(self.node_id) {
            Some(own)
                if (own == self.storage_id || is_planted(Canary::WipedNodeTaken))
                    && record.voters() == self.members =>
            {
                Verdict::Form(record.clone())
            }
            Some(own) if own == self.storage_id => Verdict::Wait(format!(
                "node {peer} formed a cluster of nodes {:?}, but this node was started with {:?}: start all of them with \
                 the same --cluster",
                record.voters(),
                self.members
            )),
            known => Verdict::Wait(self.shut_out(peer, known.is_some())),
        }
    }

    fn shut_out(&self, peer: u64, replaced: bool) -> String {
        if replaced {
            mark::reached(Mark::WipedNodeRefused);
            format!(
                "node {peer} belongs to a cluster that knows this node {} with another disk: this disk is empty or was \
                 replaced, and must not vote in its old name. Bring the old data directory back, or remove node {} from \
                 the cluster and add it under a new id",
                self.node_id, self.node_id
            )
        } else {
            format!(
                "node {peer} belongs to a cluster that does not know node {}: check --node-id and --cluster",
                self.node_id
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forming(node: u64) -> Forming {
        Forming::new(node, u128::from(node) * 11, vec![1, 2, 3])
    }

    /// All initial members must have been heard from; then all form by the same record.
    #[test]
    fn all_must_be_heard() {
        let (mut one, mut two) = (forming(1), forming(2));
        assert!(
            matches!(one.hear(2, Heard::Forming(22)), Verdict::Wait(text) if text.contains('3'))
        );
        let Verdict::Form(record) = one.hear(3, Heard::Forming(33)) else {
            panic!("all were heard")
        };
        assert_eq!(record.voters(), [1, 2, 3]);
        assert_eq!(Record::decode(&record.encode()), Some(record.clone()));
        assert_eq!(two.hear(1, Heard::Formed(record.clone())), Verdict::Form(record));
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
        assert!(matches!(one.hear(3, Heard::Forming(33)), Verdict::Form(_)), "2 spoke an age ago");
    }

    /// A cluster that knows this node with another disk counts more than one that would take it in.
    #[test]
    fn a_replaced_disk_counts_first() {
        let record = |two: u128| Record { members: BTreeMap::from([(1, 11), (2, two), (3, 33)]) };
        for (first, second) in [(1, 3), (3, 1)] {
            let mut two = Forming::new(2, 999, vec![1, 2, 3]);
            two.hear(first, Heard::Formed(record(22)));
            let verdict = two.hear(second, Heard::Formed(record(999)));
            assert!(matches!(verdict, Verdict::Wait(text) if text.contains("disk")), "{first}");
        }
    }

    /// A node that was started with another list does not join by the others' one.
    #[test]
    fn lists_must_agree() {
        let mut one = Forming::new(1, 11, vec![2, 1]);
        let Verdict::Form(record) = one.hear(2, Heard::Forming(22)) else { panic!("both agree") };
        let verdict = forming(2).hear(1, Heard::Formed(record.clone()));
        assert!(matches!(verdict, Verdict::Wait(text) if text.contains("[1, 2]")));
        let verdict = forming(3).hear(1, Heard::Formed(record));
        assert!(matches!(verdict, Verdict::Wait(text) if text.contains("does not know node 3")));
    }

    /// A wiped node hears that it was known with another disk, and waits, whatever else it hears.
    #[test]
    fn wiped_nodes_wait() {
        let mut one = forming(1);
        one.hear(2, Heard::Forming(22));
        let Verdict::Form(record) = one.hear(3, Heard::Forming(33)) else {
            panic!("all were heard")
        };
        let mut wiped = Forming::new(2, 999, vec![1, 2, 3]);
        assert!(matches!(wiped.hear(3, Heard::Forming(998)), Verdict::Wait(_)));
        let verdict = wiped.hear(1, Heard::Formed(record));
        assert!(matches!(verdict, Verdict::Wait(text) if text.contains("disk")));
        for (replaced, words) in [(true, "another disk"), (false, "does not know node 2")] {
            let mut wiped = Forming::new(2, 999, vec![1, 2, 3]);
            wiped.hear(1, Heard::Excluded { replaced });
            let verdict = wiped.hear(3, Heard::Forming(33));
            assert!(matches!(verdict, Verdict::Wait(text) if text.contains(words)));
        }
    }
}
