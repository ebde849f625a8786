//! The roster: every member of the cluster with its disk and where its peers reach it, and the ids that were members once.
//!
//! It follows from the committed membership changes: each carries what is new of it, and whoever applies the change has the roster of
//! that entry, which is its *version*. Nodes tell each other theirs at handshakes, so that one that was away while members changed
//! knows whom to listen to besides before its log says so. An id that was removed is never used again: what its disk had promised can't
//! come back.

use std::collections::BTreeMap;

use crate::formation::{Member, Record};
use crate::storage::Reader;

/// Members and former members together, at the most.
const IDS_MAX: u32 = 1024;
/// Bytes of a host name.
pub const HOST_BYTES_MAX: usize = 255;

/// What a learner is to become.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Goal {
    /// A voter, as soon as it has caught up.
    #[default]
    Voter,
    /// What it is, until somebody says otherwise.
    Learner,
    /// A voter in the place of this one.
    Replacement(u64),
}

/// A member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listed {
    /// Its disk.
    pub storage_id: u128,
    /// Host at which peers reach it; empty if nobody has said.
    pub host: String,
    /// Port for peers.
    pub port: u16,
    /// What it is to become, if it is a learner.
    pub goal: Goal,
}

/// See the file's head.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    /// Index of the entry that made it; 0 as the cluster was formed.
    version: u64,
    members: BTreeMap<u64, Listed>,
    /// Former members, and the disks that they had.
    gone: BTreeMap<u64, u128>,
}

impl Roster {
    /// As the cluster was formed. Where members are is taken from the list that a node was started with, or from a roster that it was told.
    pub fn founding(record: &Record, members: &[Member], told: &Self) -> Self {
        let listed = record.voters().into_iter().map(|id| {
            let storage_id = record.storage_of(id).unwrap_or_default();
            let named = members.iter().find(|member| member.id == id);
            let named = named.map(|member| (member.host.clone(), member.port));
            let told = || told.members.get(&id).map(|known| (known.host.clone(), known.port));
            let (host, port) = named.or_else(told).unwrap_or_default();
            (id, Listed { storage_id, host, port, goal: Goal::Voter })
        });
        Self { version: 0, members: listed.collect(), gone: BTreeMap::new() }
    }

    /// The entry that made it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The members' ids, in order.
    pub fn ids(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    /// A member.
    pub fn get(&self, id: u64) -> Option<&Listed> {
        self.members.get(&id)
    }

    /// All members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Listed)> {
        self.members.iter().map(|(id, listed)| (*id, listed))
    }

    /// The disk with which a node is a member.
    pub fn storage_of(&self, id: u64) -> Option<u128> {
        self.members.get(&id).map(|listed| listed.storage_id)
    }

    /// Whether it was a member once, and is none any more.
    pub fn is_gone(&self, id: u64) -> bool {
        self.gone.contains_key(&id)
    }

    /// The disk of a former member.
    pub fn former_storage_of(&self, id: u64) -> Option<u128> {
        self.gone.get(&id).copied()
    }

    /// Whether there is room for one more: members and former members are told at each handshake.
    pub fn has_room(&self) -> bool {
        self.members.len() + self.gone.len() < IDS_MAX as usize
    }

    /// Those that were members once, in order.
    pub fn former(&self) -> impl Iterator<Item = u64> {
        self.gone.keys().copied()
    }

    /// Whether it knows more than another: it is of a later entry.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.version > other.version
    }

    /// The roster after the entry at `version`, which lists `news` and leaves `ids` as members.
    #[must_use]
    pub fn after(&self, version: u64, news: Vec<(u64, Listed)>, ids: &[u64]) -> Self {
        let mut next = self.clone();
        next.version = version;
        next.members.extend(news);
        let leaves = |id: &u64| !ids.contains(id);
        let leaving = next.members.iter().filter(|(id, _)| leaves(id));
        next.gone.extend(leaving.map(|(id, listed)| (*id, listed.storage_id)));
        next.members.retain(|id, _| ids.contains(id));
        next
    }

    /// `version u64 · count u32 · member* · count u32 · (former id u64 · storage id u128)*`, with members as `encode_news` writes them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        put_members(&mut bytes, self.members.iter().map(|(id, listed)| (*id, listed)));
        bytes.extend((self.gone.len() as u32).to_le_bytes());
        for (id, storage_id) in &self.gone {
            bytes.extend(id.to_le_bytes());
            bytes.extend(storage_id.to_le_bytes());
        }
        bytes
    }

    /// None if the bytes are no roster.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let version = reader.u64()?;
        let members = take_members(&mut reader)?.into_iter().collect();
        let gone = reader.u32().filter(|count| *count <= IDS_MAX)?;
        let gone =
            (0..gone).map(|_| Some((reader.u64()?, reader.u128()?))).collect::<Option<_>>()?;
        reader.0.is_empty().then_some(Self { version, members, gone })
    }
}

/// What a membership change lists:
/// `count u32 · (id u64 · storage id u128 · goal u8 · replaced u64 · port u16 · host length u8 · host)*`.
pub fn encode_news(news: &[(u64, Listed)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_members(&mut bytes, news.iter().map(|(id, listed)| (*id, listed)));
    bytes
}

/// None if the bytes are no such list. No bytes are an empty one.
pub fn decode_news(bytes: &[u8]) -> Option<Vec<(u64, Listed)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut reader = Reader(bytes);
    let news = take_members(&mut reader)?;
    reader.0.is_empty().then_some(news)
}

fn put_members<'a>(bytes: &mut Vec<u8>, members: impl ExactSizeIterator<Item = (u64, &'a Listed)>) {
    bytes.extend((members.len() as u32).to_le_bytes());
    for (id, listed) in members {
        let (goal, replaced) = match listed.goal {
            Goal::Voter => (0_u8, 0),
            Goal::Learner => (1, 0),
            Goal::Replacement(other) => (2, other),
        };
        let host = listed.host.as_bytes();
        let host = host.get(..HOST_BYTES_MAX).unwrap_or(host);
        bytes.extend(id.to_le_bytes());
        bytes.extend(listed.storage_id.to_le_bytes());
        bytes.push(goal);
        bytes.extend(replaced.to_le_bytes());
        bytes.extend(listed.port.to_le_bytes());
        bytes.push(host.len() as u8);
        bytes.extend(host);
    }
}

fn take_members(reader: &mut Reader<'_>) -> Option<Vec<(u64, Listed)>> {
    let count = reader.u32().filter(|count| *count <= IDS_MAX)?;
    let mut members = Vec::new();
    for _ in 0..count {
        let (id, storage_id) = (reader.u64()?, reader.u128()?);
        let goal = match (reader.u8()?, reader.u64()?) {
            (0, 0) => Goal::Voter,
            (1, 0) => Goal::Learner,
            (2, other) => Goal::Replacement(other),
            _ => return None,
        };
        let port = u16::from_le_bytes(reader.take(2)?.try_into().ok()?);
        let length = usize::from(reader.u8()?);
        let host = String::from_utf8(reader.take(length)?.to_vec()).ok()?;
        members.push((id, Listed { storage_id, host, port, goal }));
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(storage_id: u128, goal: Goal) -> Listed {
        Listed { storage_id, host: "a.b".to_owned(), port: 7000, goal }
    }

    /// Members come and go; whoever went is remembered; the bytes say it all, and no shorter ones pass.
    #[test]
    fn members_come_and_go() {
        let record = Record::alone(1, 11);
        let at = [Member { id: 1, host: "one".to_owned(), port: 1 }];
        let first = Roster::founding(&record, &at, &Roster::default());
        assert_eq!((first.version(), first.storage_of(1)), (0, Some(11)));
        let news = vec![(2, listed(22, Goal::Replacement(1))), (3, listed(33, Goal::Learner))];
        assert_eq!(decode_news(&encode_news(&news)).as_ref(), Some(&news));
        assert_eq!(decode_news(&[]), Some(Vec::new()));
        let second = first.after(7, news, &[1, 2, 3]);
        let third = second.after(9, Vec::new(), &[2, 3]);
        assert!(third.is_newer_than(&second) && !second.is_newer_than(&third));
        assert_eq!((third.ids(), third.is_gone(1), third.is_gone(2)), (vec![2, 3], true, false));
        assert_eq!(second.get(1).map(|one| one.host.as_str()), Some("one"));
        let bytes = third.encode();
        assert_eq!(Roster::decode(&bytes), Some(third.clone()));
        for cut in 0..bytes.len() {
            assert_eq!(Roster::decode(&bytes[..cut]), None);
        }
        // Who joins later knows the founders' places by what it was told.
        let told = Roster::founding(&record, &[], &second);
        assert_eq!(told.get(1).map(|one| one.port), Some(1));
    }
}
