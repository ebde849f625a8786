//! Snapshot files: written under another name, synced, then renamed; verified before use.
//!
//! ```text
//! snapshot = magic "SFSNAP\0\2" · storage id u128 · group u64 · index u64 · term u64 · ids · ids · ids · ids
//!            · roster length u32 · roster · bytes u64 · checksum u32 (of the state) · crc32 u32 (of all before) · state
//! ids      = count u32 · node u64*     (voters, learners, outgoing voters, learners to be)
//! ```

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};

use crate::ports::{Disk, File};
use crate::roster::Roster;

use super::files::{read_exactly, read_front, remove_if_there};
use super::{Doing, Membership, Reader, SnapshotMeta, StoreError};

const MAGIC: &[u8; 8] = b"SFSNAP\0\x02";
const MEMBERS_MAX: u32 = 1024;
const ROSTER_BYTES_MAX: usize = 512 << 10;
const HEAD_BYTES_MAX: u64 = 32 * MEMBERS_MAX as u64 + ROSTER_BYTES_MAX as u64 + 128;
/// Bytes written, read or sent at once.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
const STATE_BYTES_MAX: u64 = 1 << 48;

pub(super) fn name(index: u64) -> String {
    format!("snapshot-{index:016x}")
}

pub(super) fn part_name(index: u64) -> String {
    format!("snapshot-{index:016x}.part")
}

/// The same of an own state: one that is received for the same entry may be on its way at the same time.
pub(super) fn own_part_name(index: u64) -> String {
    if is_planted(Canary::HalfSnapshotChosen) {
        return name(index);
    }
    format!("snapshot-{index:016x}.own.part")
}

/// The index in a snapshot's name.
pub(super) fn index_of(text: &str) -> Option<u64> {
    let index = u64::from_str_radix(text.strip_prefix("snapshot-")?, 16).ok()?;
    (name(index) == text).then_some(index)
}

/// What a snapshot file says of itself.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) meta: SnapshotMeta,
    /// The last group of the log that was durable when the file was written: a log that ends before it has lost it.
    pub(super) group: u64,
}

fn encode_head(meta: &SnapshotMeta, group: u64, storage_id: u128) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(storage_id.to_le_bytes());
    head.extend(group.to_le_bytes());
    head.extend(meta.index.to_le_bytes());
    head.extend(meta.term.to_le_bytes());
    let Membership { voters, learners, outgoing, learners_next, roster } = &meta.membership;
    for members in [voters, learners, outgoing, learners_next] {
        head.extend((members.len() as u32).to_le_bytes());
        members.iter().for_each(|member| head.extend(member.to_le_bytes()));
    }
    let roster = roster.encode();
    head.extend((roster.len() as u32).to_le_bytes());
    head.extend(roster);
    head.extend(meta.bytes.to_le_bytes());
    head.extend(meta.checksum.to_le_bytes());
    head.extend(crc32fast::hash(&head).to_le_bytes());
    head
}

/// The head, and how long it is.
fn decode_head(bytes: &[u8], storage_id: u128) -> Option<(Head, usize)> {
    fn members(reader: &mut Reader<'_>) -> Option<Vec<u64>> {
        let count = reader.u32().filter(|count| *count <= MEMBERS_MAX)?;
        (0..count).map(|_| reader.u64()).collect()
    }
    let mut reader = Reader(bytes);
    if reader.take(8)? != MAGIC || reader.u128()? != storage_id {
        return None;
    }
    let (group, index, term) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let (voters, learners) = (members(&mut reader)?, members(&mut reader)?);
    let (outgoing, learners_next) = (members(&mut reader)?, members(&mut reader)?);
    let length = reader.u32()? as usize;
    let roster = Roster::decode(reader.take(length)?)?;
    let membership = Membership { voters, learners, outgoing, learners_next, roster };
    let (length, checksum) = (reader.u64()?, reader.u32()?);
    let covered = bytes.len() - reader.0.len();
    if reader.u32()? != crc32fast::hash(bytes.get(..covered)?) || length > STATE_BYTES_MAX {
        return None;
    }
    let meta = SnapshotMeta { index, term, membership, bytes: length, checksum };
    Some((Head { meta, group }, covered + 4))
}

/// Where the state begins in a file with such a head.
pub(super) fn head_bytes(meta: &SnapshotMeta) -> u64 {
    encode_head(meta, 0, 0).len() as u64
}

/// Writes a snapshot and makes it durable under its name.
pub(super) async fn save(
    disk: &impl Disk,
    storage_id: u128,
    meta: &SnapshotMeta,
    group: u64,
    chunks: &[Bytes],
) -> Result<(), StoreError> {
    let in_place = is_planted(Canary::HalfSnapshotChosen);
    let part = if in_place { name(meta.index) } else { part_name(meta.index) };
    let doing = |what: &'static str| {
        let described = disk.describe(&part);
        move || format!("{what} {described}")
    };
    let mut file = create(disk, &part)?;
    let head = encode_head(meta, group, storage_id);
    let mut offset = head.len() as u64;
    file.write_at(&head, 0).doing(doing("write"))?;
    for chunk in chunks {
        file.write_at(chunk, offset).doing(doing("write"))?;
        offset += chunk.len() as u64;
    }
    publish(disk, file, &part, meta.index).await
}

/// The file for a state that is to be written piece by piece.
pub(super) fn begin<D: Disk>(
    disk: &D,
    storage_id: u128,
    meta: &SnapshotMeta,
) -> Result<D::File, StoreError> {
    let part = own_part_name(meta.index);
    let mut file = create(disk, &part)?;
    if is_planted(Canary::HalfSnapshotChosen) {
        let head = encode_head(meta, 0, storage_id);
        file.write_at(&head, 0).doing(|| format!("write {}", disk.describe(&part)))?;
    }
    Ok(file)
}

/// A new file in the place of whatever an interrupted write has left under this name.
fn create<D: Disk>(disk: &D, part: &str) -> Result<D::File, StoreError> {
    remove_if_there(disk, part)?;
    disk.create(part).doing(|| format!("create {}", disk.describe(part)))
}

/// Gives a file whose state is durable its head and its name.
pub(super) async fn finish<D: Disk>(
    disk: &D,
    storage_id: u128,
    head: &Head,
    mut file: D::File,
) -> Result<(), StoreError> {
    let meta = &head.meta;
    let part = own_part_name(meta.index);
    let head = encode_head(meta, head.group, storage_id);
    file.write_at(&head, 0).doing(|| format!("write {}", disk.describe(&part)))?;
    publish(disk, file, &part, meta.index).await
}

async fn publish<D: Disk>(
    disk: &D,
    mut file: D::File,
    part: &str,
    index: u64,
) -> Result<(), StoreError> {
    let doing = |what: &'static str| {
        let described = disk.describe(part);
        move || format!("{what} {described}")
    };
    if !is_planted(Canary::SnapshotUnsynced) {
        file.sync().await.doing(doing("sync")).map_err(StoreError::made_final)?;
    }
    disk.rename(part, &name(index)).doing(doing("rename"))?;
    let synced = disk.sync_directory().await.doing(doing("sync the directory of"));
    synced.map_err(StoreError::made_final)
}

/// Reads and verifies a snapshot.
pub(super) fn load(
    disk: &impl Disk,
    storage_id: u128,
    index: u64,
) -> Result<(Head, Vec<Bytes>), StoreError> {
    let name = name(index);
    let damaged = |offset, why: &str| StoreError::damaged(disk.describe(&name), offset, why);
    // What it claims is checked before memory is taken for it.
    let front = read_front(disk, &name, HEAD_BYTES_MAX)?;
    let (head, head_bytes) = decode_head(&front, storage_id)
        .filter(|(head, _)| head.meta.index == index)
        .ok_or_else(|| damaged(0, "its head does not match its checksum"))?;
    let meta = &head.meta;
    let unchecked = is_planted(Canary::HalfSnapshotChosen);
    let bytes = head_bytes as u64 + meta.bytes;
    let whole =
        if unchecked { read_front(disk, &name, bytes)? } else { read_exactly(disk, &name, bytes)? };
    let state = Bytes::from(whole).slice(head_bytes..);
    if crc32fast::hash(&state) != meta.checksum && !unchecked {
        return Err(damaged(head_bytes as u64, "the state does not match its checksum"));
    }
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < state.len() {
        let end = (at + CHUNK_BYTES).min(state.len());
        chunks.push(state.slice(at..end));
        at = end;
    }
    Ok((head, chunks))
}

/// Only the head: what the file claims to be.
pub(super) fn load_head(
    disk: &impl Disk,
    storage_id: u128,
    index: u64,
) -> Result<Head, StoreError> {
    let name = name(index);
    let head = read_front(disk, &name, HEAD_BYTES_MAX)?;
    decode_head(&head, storage_id).map(|(head, _)| head).ok_or_else(|| {
        StoreError::damaged(disk.describe(&name), 0, "its head does not match its checksum")
    })
}
