//! Whether a data directory is the one that was written, or a copy of it. A member of a cluster refuses to start from a copy: what it
//! promised since the copy was made is not in it (docs/decisions/2026-11-26-copies-do-not-vote.md).
//!
//! `origin` holds what tells it from its copies (`Disk::birth`): `magic "SFORIG\0\2" · storage id u128 · birth u128 · crc32 u32`.
//! A copy that was taken file by file while the log was written can hold a later record without an earlier one. In the original
//! that is damage; in a copy it only says that the earlier one came after the copy had passed its place.

use crate::ports::{Disk, File};

use super::files::{read_whole, remove_if_there};
use super::{Copies, Doing, Reader, StoreError};

const MAGIC: &[u8; 8] = b"SFORIG\0\x02";
const NAME: &str = "origin";
const BYTES_MAX: u64 = 1 << 10;

/// What the file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// This is the directory that was written.
    Original,
    /// It is a copy.
    Copy,
    /// Nobody has said yet: the directory is new, or a crash came while this file was made.
    Unmarked,
}

fn encode(storage_id: u128, birth: u128) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(storage_id.to_le_bytes());
    bytes.extend(birth.to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], storage_id: u128) -> Option<u128> {
    let (covered, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let mut reader = Reader(covered);
    let whole = Reader(crc).u32()? == crc32fast::hash(covered) && reader.take(8)? == MAGIC;
    (whole && reader.u128()? == storage_id).then(|| reader.u128())?
}

/// Looks at the mark.
pub(super) fn look(
    disk: &impl Disk,
    storage_id: u128,
    names: &[String],
) -> Result<Origin, StoreError> {
    if !names.iter().any(|name| name == NAME) {
        return Ok(Origin::Unmarked);
    }
    let bytes = read_whole(disk, NAME, BYTES_MAX)?;
    let Some(marked) = decode(&bytes, storage_id) else { return Ok(Origin::Unmarked) };
    let birth = disk.birth(NAME).doing(|| format!("look at {}", disk.describe(NAME)))?;
    Ok(if birth.is_none_or(|birth| birth == marked) { Origin::Original } else { Origin::Copy })
}

/// Refuses a copy, if copies are not to be used.
pub(super) fn check(disk: &impl Disk, origin: Origin, copies: Copies) -> Result<(), StoreError> {
    if origin == Origin::Copy && copies == Copies::Refused {
        return Err(StoreError::Copied { file: disk.describe(NAME) });
    }
    Ok(())
}

/// Marks the directory as the one that is written from now on; durable when this returns.
pub(super) async fn mark(disk: &impl Disk, storage_id: u128) -> Result<(), StoreError> {
    let doing = || format!("write {}", disk.describe(NAME));
    remove_if_there(disk, NAME)?;
    let mut file = disk.create(NAME).doing(doing)?;
    let Some(birth) = disk.birth(NAME).doing(doing)? else { return remove_if_there(disk, NAME) };
    file.write_at(&encode(storage_id, birth), 0).doing(doing)?;
    file.sync().await.doing(doing).map_err(StoreError::made_final)?;
    disk.sync_directory().await.doing(doing).map_err(StoreError::made_final)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round trip; no changed byte, no other directory's mark passes.
    #[test]
    fn marks_are_checked() {
        let bytes = encode(5, 77);
        assert_eq!((decode(&bytes, 5), decode(&bytes, 6)), (Some(77), None));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert_eq!(decode(&changed, 5), None);
            assert_eq!(decode(&bytes[..at], 5), None);
        }
    }
}
