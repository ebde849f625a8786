//! A little room that is kept for the next start: a node must be able to save its identity, also on a full disk, to serve reads.
//!
//! The file `reserve` holds nothing but its place. It is given up when the identity finds no room, and taken again after.

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

/// Does what a start needs; if there is no room for it, once more with the room that was kept.
pub(super) async fn spend(
    disk: &impl Disk,
    attempt: impl AsyncFn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    match attempt().await {
        Err(error) if error.is_no_space() => {
            mark::reached(Mark::ReserveSpent);
            release(disk)?;
            attempt().await
        }
        done => done,
    }
}

/// Gives the room up; durable names are synced by whoever uses it.
fn release(disk: &impl Disk) -> Result<(), StoreError> {
    remove_if_there(disk, NAME)
}
