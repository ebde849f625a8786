//! The node's identity: one small file, replaced atomically and synced before anything relies on it.
//!
//! `magic "SFMETA\0\4" · node u64 · storage id u128 · incarnation u64 · group u64 · formation length u32 · formation
//! · roster length u32 · roster · electorate length u32 · electorate (protobuf) · barred u8 · rejoin u8
//! · crc32 u32`
//!
//! `group` is the last group of the log when the directory was opened: a log that ends before it has lost it.

use prost::Message as _;
use steadfast_core::canary::{Canary, is_planted};

use crate::electorate::Electorate;
use crate::ports::{Disk, File};

use super::files::{read_whole, remove_if_there};
use super::{Doing, Reader, StoreError};

const MAGIC: &[u8; 8] = b"SFMETA\0\x04";
pub(super) const NAME: &str = "meta";
const PART: &str = "meta.part";
const BYTES_MAX: u64 = 1 << 20;

/// Who this data directory belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeMeta {
    /// The node's id.
    pub node_id: u64,
    /// Drawn when the directory was first used: tells this disk from a wiped one.
    pub storage_id: u128,
    /// Raised, and synced, at every start before it is used.
    pub incarnation: u64,
    /// How the cluster was formed (`formation` owns the bytes).
    pub formation: Vec<u8>,
    /// The newest roster that was known when this was written (`roster` owns the bytes); empty before there was one.
    pub roster: Vec<u8>,
    /// Who votes, as far as the log made it known for ever; nobody before it did.
    pub electorate: Electorate,
    /// Why this node never starts again.
    pub barred: Option<Barred>,
    /// Whether the log here lacks what the node has promised.
    pub rejoin: Rejoin,
}

/// See `NodeMeta::rejoin`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rejoin {
    /// It is whole.
    #[default]
    Needless = 0,
    /// It lacks what the node has confirmed: the next start has to set it aside.
    Due = 1,
    /// It is being set aside (`set_aside`).
    SettingAside = 2,
    /// It began anew, and the node has not yet got back from its peers what it lacks (`crate::rejoin`).
    UnderWay = 3,
}

/// See `NodeMeta::barred`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Barred {
    /// Most voters have said that it is no member any more.
    Removed = 1,
    /// Most voters have another state.
    Outvoted = 2,
}

impl NodeMeta {
    fn encode(&self, group: u64) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.node_id.to_le_bytes());
        bytes.extend(self.storage_id.to_le_bytes());
        bytes.extend(self.incarnation.to_le_bytes());
        bytes.extend(group.to_le_bytes());
        bytes.extend((self.formation.len() as u32).to_le_bytes());
        bytes.extend(&self.formation);
        bytes.extend((self.roster.len() as u32).to_le_bytes());
        bytes.extend(&self.roster);
        let electorate = self.electorate.encode_to_vec();
        bytes.extend((electorate.len() as u32).to_le_bytes());
        bytes.extend(electorate);
        bytes.push(self.barred.map_or(0, |why| why as u8));
        bytes.push(self.rejoin as u8);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        let (covered, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if Reader(crc).u32()? != crc32fast::hash(covered) {
            return None;
        }
        let mut reader = Reader(covered);
        if reader.take(8)? != MAGIC {
            return None;
        }
        let (node_id, storage_id, incarnation) = (reader.u64()?, reader.u128()?, reader.u64()?);
        let group = reader.u64()?;
        let length = reader.u32()? as usize;
        let formation = reader.take(length)?.to_vec();
        let length = reader.u32()? as usize;
        let roster = reader.take(length)?.to_vec();
        let length = reader.u32()? as usize;
        let electorate = Electorate::decode(reader.take(length)?).ok()?;
        let barred = match reader.u8()? {
            0 => None,
            1 => Some(Barred::Removed),
            2 => Some(Barred::Outvoted),
            _ => return None,
        };
        let rejoin = match reader.u8()? {
            0 => Rejoin::Needless,
            1 => Rejoin::Due,
            2 => Rejoin::SettingAside,
            3 => Rejoin::UnderWay,
            _ => return None,
        };
        let who = Self { node_id, storage_id, incarnation, ..Self::default() };
        let meta = Self { formation, roster, electorate, barred, rejoin, ..who };
        reader.0.is_empty().then_some((meta, group))
    }

    /// Reads it, and the last group then; none if the directory was never used.
    pub(super) fn load(
        disk: &impl Disk,
        names: &[String],
    ) -> Result<Option<(Self, u64)>, StoreError> {
        if !names.iter().any(|name| name == NAME) {
            return Ok(None);
        }
        let bytes = read_whole(disk, NAME, BYTES_MAX)?;
        let damaged = || StoreError::damaged(disk.describe(NAME), 0, "its checksum does not match");
        Self::decode(&bytes).map(Some).ok_or_else(damaged)
    }

    /// Replaces it; durable when this returns.
    pub(super) async fn save(&self, disk: &impl Disk, group: u64) -> Result<(), StoreError> {
        let doing = |what: &'static str| move || format!("{what} {}", disk.describe(NAME));
        remove_if_there(disk, PART)?;
        let mut file = disk.create(PART).doing(doing("create"))?;
        file.write_at(&self.encode(group), 0).doing(doing("write"))?;
        if !is_planted(Canary::IdentityUnsynced) {
            file.sync().await.doing(doing("sync")).map_err(StoreError::made_final)?;
        }
        disk.rename(PART, NAME).doing(doing("rename"))?;
        let synced = disk.sync_directory().await.doing(doing("sync the directory of"));
        synced.map_err(StoreError::made_final)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round trip, and no changed byte passes.
    #[test]
    fn identity_is_checked() {
        let (formation, roster) = (b"formed".to_vec(), b"members".to_vec());
        let (node_id, storage_id, incarnation) = (2, 9, 4);
        let (barred, rejoin) = (Some(Barred::Outvoted), Rejoin::UnderWay);
        let electorate = Electorate { version: 7, voters: vec![1, 2, 4], outgoing: vec![1, 2, 3] };
        let who = NodeMeta { node_id, storage_id, incarnation, ..NodeMeta::default() };
        let meta = NodeMeta { formation, roster, electorate, barred, rejoin, ..who };
        let bytes = meta.encode(7);
        assert_eq!(NodeMeta::decode(&bytes), Some((meta, 7)));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert_eq!(NodeMeta::decode(&changed), None);
            assert_eq!(NodeMeta::decode(&bytes[..at]), None);
        }
    }
}
