//! The node's identity: one small file, replaced atomically and synced before anything relies on it.
//!
//! `magic "SFMETA\0\1" · node u64 · storage id u128 · incarnation u64 · group u64 · formation length u32 · formation · crc32 u32`
//!
//! `group` is the last group of the log when the directory was opened: a log that ends before it has lost it.

use std::io;

use crate::ports::{Disk, File};

use super::{Doing, Reader, StoreError};

const MAGIC: &[u8; 8] = b"SFMETA\0\x01";
const NAME: &str = "meta";
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
        let meta = Self { node_id, storage_id, incarnation, formation };
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
        file.sync().await.map_err(final_error).doing(doing("sync"))?;
        disk.rename(PART, NAME).doing(doing("rename"))?;
        disk.sync_directory().await.map_err(final_error).doing(doing("sync the directory of"))
    }
}

/// A sync that failed is never tried again, also when it failed for want of room: what it dropped is unknown.
pub(super) fn final_error(error: io::Error) -> io::Error {
    io::Error::other(error)
}

/// A whole file in memory. Its length must have been found credible before, or be small: memory is taken for all of it.
pub(super) fn read_whole(
    disk: &impl Disk,
    name: &str,
    bytes_max: u64,
) -> Result<Vec<u8>, StoreError> {
    let length = length_of(disk, name)?;
    if length > bytes_max {
        let why = format!("it is {length} bytes long, more than the {bytes_max} it can be");
        return Err(StoreError::damaged(disk.describe(name), bytes_max, why));
    }
    read_front(disk, name, length)
}

/// The length of a file.
pub(super) fn length_of(disk: &impl Disk, name: &str) -> Result<u64, StoreError> {
    let length = disk.open(name).and_then(|file| file.len());
    length.doing(|| format!("look at {}", disk.describe(name)))
}

/// The first bytes of a file, or all that it has.
pub(super) fn read_front(disk: &impl Disk, name: &str, wanted: u64) -> Result<Vec<u8>, StoreError> {
    let doing = || format!("read {}", disk.describe(name));
    let file = disk.open(name).doing(doing)?;
    let mut bytes = vec![0; wanted as usize];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64).doing(doing)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Removes a leftover of an interrupted write.
pub(super) fn remove_if_there(disk: &impl Disk, name: &str) -> Result<(), StoreError> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", disk.describe(name)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round trip, and no changed byte passes.
    #[test]
    fn identity_is_checked() {
        let meta =
            NodeMeta { node_id: 2, storage_id: 9, incarnation: 4, formation: b"formed".to_vec() };
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
