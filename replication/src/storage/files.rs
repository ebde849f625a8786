//! Files of the data directory, read and removed by name. Memory is taken only for lengths that are credible.

use std::io;

use crate::ports::{Disk, File};

use super::{Doing, StoreError};

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

fn length_of(disk: &impl Disk, name: &str) -> Result<u64, StoreError> {
    let length = disk.open(name).and_then(|file| file.len());
    length.doing(|| format!("look at {}", disk.describe(name)))
}

/// A whole file whose head, believed before, says how long it is.
pub(super) fn read_exactly(
    disk: &impl Disk,
    name: &str,
    expected: u64,
) -> Result<Vec<u8>, StoreError> {
    let length = length_of(disk, name)?;
    if length != expected {
        let why = format!("it ends after {length} of {expected} bytes");
        return Err(StoreError::damaged(disk.describe(name), length.min(expected), why));
    }
    read_front(disk, name, length)
}

/// The first bytes of a file, or all that it has.
pub(super) fn read_front(disk: &impl Disk, name: &str, wanted: u64) -> Result<Vec<u8>, StoreError> {
    let file = disk.open(name).doing(|| format!("read {}", disk.describe(name)))?;
    // What can't be read again is gone, as much as if it were something else.
    let read =
        read_from(&file, 0, wanted as usize).or_else(|_| read_from(&file, 0, wanted as usize));
    read.map_err(|error| {
        StoreError::damaged(disk.describe(name), 0, format!("it can't be read: {error}"))
    })
}

/// So many bytes of a file from `offset` on, or all that it has there.
pub(super) fn read_from(file: &impl File, offset: u64, wanted: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; wanted];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Exactly so many bytes; none if they are not there or can't be read.
pub(super) fn read_exactly_at(file: &impl File, offset: u64, wanted: usize) -> Option<Vec<u8>> {
    read_from(file, offset, wanted).ok().filter(|bytes| bytes.len() == wanted)
}

/// Under this name a file is a leftover, which the next start removes.
pub(super) fn gone_name(name: &str) -> String {
    format!("{name}.gone.part")
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
