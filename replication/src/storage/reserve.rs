//! A little room that is kept for the next start: a node must be able to save its identity, also on a full disk, to serve reads.
//!
//! The file `reserve` holds nothing but its place. When the identity finds no room, it is given up piece by piece, and taken again after:
//! what is given up at once may belong to somebody else when the next start comes, if this one is cut short.

use crate::ports::{Disk, File};

use super::files::remove_if_there;
use super::{Doing, StoreError};
use steadfast_core::mark::{self, Mark};

const NAME: &str = "reserve";
/// Many times what an identity takes on any file system.
const BYTES: u64 = 64 << 10;
/// Taken at once: on a disk that is nearly full, what there is of it will do.
static PIECE: [u8; 4 << 10] = [0; 4 << 10];

/// Takes the room, as far as there is any. It is a help and no promise: without it a start on a full disk is refused.
pub(super) async fn take(disk: &impl Disk) -> Result<(), StoreError> {
    let doing = || format!("keep room in {}", disk.describe(NAME));
    let Ok(mut file) = disk.open(NAME).or_else(|_| disk.create(NAME)) else { return Ok(()) };
    let before = file.len().doing(doing)?;
    let mut taken = before;
    while taken < BYTES && file.write_at(&PIECE, taken).is_ok() {
        taken += PIECE.len() as u64;
    }
    if taken == before {
        return Ok(());
    }
    if let Err(error) = file.sync().await {
        // A quota, say, that is looked at only now. Nothing relies on what is in it, so it may go.
        tracing::warn!("no room is kept for a start on a full disk: {error}");
        return release(disk);
    }
    disk.sync_directory().await.doing(doing).map_err(StoreError::made_final)
}

/// Does what a start needs; as long as there is no room for it, again with more of the room that was kept.
pub(super) async fn spend(
    disk: &impl Disk,
    attempt: impl AsyncFn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    loop {
        match attempt().await {
            Err(error) if error.is_no_space() && shrink(disk)? => {
                mark::reached(Mark::ReserveSpent);
            }
            done => return done,
        }
    }
}

/// Gives a piece up, if one is left.
fn shrink(disk: &impl Disk) -> Result<bool, StoreError> {
    let doing = || format!("give up room in {}", disk.describe(NAME));
    let Ok(mut file) = disk.open(NAME) else { return Ok(false) };
    let before = file.len().doing(doing)?;
    let after = before.saturating_sub(PIECE.len() as u64);
    file.set_len(after).doing(doing)?;
    Ok(after < before)
}

/// Gives the room up; durable names are synced by whoever uses it.
fn release(disk: &impl Disk) -> Result<(), StoreError> {
    remove_if_there(disk, NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryDisk;

    fn used(disk: &MemoryDisk) -> u64 {
        disk.files().values().map(|bytes| bytes.len() as u64).sum()
    }

    /// Starts that are cut short after they have found room, and before they have taken it again, leave the most of it; somebody else may
    /// take what they gave up. Without any left the error is the disk's.
    #[tokio::test]
    async fn little_is_given_up_for_little() {
        let disk = MemoryDisk::default();
        take(&disk).await.expect("there is room");
        let attempt = async || {
            let doing = || "start".to_owned();
            let mut file = disk.create("part").doing(doing)?;
            file.write_at(&[7; 100], 0).doing(doing)
        };
        for starts in 1..=BYTES / PIECE.len() as u64 {
            disk.set_capacity(Some(used(&disk)));
            spend(&disk, attempt).await.expect("room was kept");
            assert_eq!(disk.files()["part"].len(), 100);
            disk.remove("part").expect("it is there");
            let left = disk.files()[NAME].len() as u64;
            assert_eq!(left, BYTES - starts * PIECE.len() as u64);
        }
        disk.set_capacity(Some(used(&disk)));
        let refused = spend(&disk, attempt).await.expect_err("nothing is left");
        assert!(refused.is_no_space(), "{refused}");
    }
}
