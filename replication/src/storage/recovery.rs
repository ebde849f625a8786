//! Opening a data directory: what was durable is found, what was torn is cut, what is damaged is refused.
//!
//! Groups are numbered without gaps. Where the next one is missing or invalid, the log has either been *torn* (a crash took
//! bytes that no sync had covered) or is *damaged*. A torn group was never durable, so no record written after it can name it
//! as synced. Hence the rule: if any later record says that the missing group was durable, it is damage; else it is cut.
//! A segment that is not the last was synced in whole before the next was begun, so a gap at its end is damage as well.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ports::{Disk, File};

use super::memory::MemoryDisk;
use super::meta::{NodeMeta, read_whole, remove_if_there};
use super::record::{ALIGNMENT, Group, HEADER_BYTES, SegmentHeader, decode_group};
use super::segment::{Active, LogStore, SegmentFacts, segment_name, segment_of};
use super::snapshot;
use super::{Doing, HardState, LogConfig, LogEntry, SnapshotMeta, StoreError};

const SEGMENT_BYTES_MAX: u64 = 1 << 40;

/// What a data directory held.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The node's identity; none if the directory was never used.
    pub meta: Option<NodeMeta>,
    /// Raft's hard state.
    pub hard_state: HardState,
    /// The newest good snapshot and its state, in chunks.
    pub snapshot: Option<(SnapshotMeta, Vec<Bytes>)>,
    /// Entries after the snapshot, without gaps.
    pub entries: Vec<LogEntry>,
    /// What a person should know: a tail that was cut, a snapshot that was passed over.
    pub notes: Vec<String>,
}

/// Opens a data directory.
///
/// # Errors
/// See `StoreError`. Nothing is changed on disk when an error is answered.
pub async fn open<D: Disk>(
    disk: D,
    config: LogConfig,
) -> Result<(LogStore<D>, Recovered), StoreError> {
    let mut names = disk.list().doing(|| format!("list {}", disk.describe("")))?;
    names.sort();
    let mut recovered = Recovered { meta: NodeMeta::load(&disk, &names)?, ..Recovered::default() };
    let Some(meta) = recovered.meta.clone() else {
        let stray =
            names.iter().find(|n| segment_of(n).is_some() || snapshot::index_of(n).is_some());
        if let Some(stray) = stray {
            let why = "the file `meta` that says whose data this is, is missing";
            return Err(StoreError::damaged(disk.describe(stray), 0, why));
        }
        return Ok((LogStore::new(disk, config, NodeMeta::default()), recovered));
    };

    let scan = scan_segments(&disk, &meta, &names)?;
    let (snapshot, kept) = choose_snapshot(&disk, &meta, &names, &scan, &mut recovered.notes)?;
    let index = snapshot.as_ref().map_or(0, |(meta, _)| meta.index);
    let term = snapshot.as_ref().map_or(0, |(meta, _)| meta.term);
    recovered.entries = entries_after(&disk, &scan, index, term)?;
    recovered.hard_state = clamp(scan.hard_state, index, term, &recovered.entries);
    recovered.snapshot = snapshot;
    recovered.notes.extend(scan.note.clone());

    let mut store = LogStore::new(disk, config, meta);
    store.hard_state = recovered.hard_state;
    store.snapshots = kept;
    store.group = scan.group;
    store.segments = scan.facts.into();
    for name in names.iter().filter(|name| name.as_bytes().ends_with(b".part")) {
        remove_if_there(&store.disk, name)?;
    }
    let first = store.segments.front().map_or(0, |facts| facts.segment);
    for name in names.iter().filter(|name| segment_of(name).is_some_and(|segment| segment < first))
    {
        remove_if_there(&store.disk, name)?;
    }
    reopen_last(&mut store, scan.end, scan.clean).await?;
    Ok((store, recovered))
}

/// What the segments hold, in the order of their groups.
#[derive(Default)]
struct Scan {
    facts: Vec<SegmentFacts>,
    entries: Vec<LogEntry>,
    hard_state: HardState,
    /// Last group found.
    group: u64,
    /// Where the last segment's records end, and whether only zeroes follow.
    end: u64,
    clean: bool,
    note: Option<String>,
}

fn scan_segments(disk: &impl Disk, meta: &NodeMeta, names: &[String]) -> Result<Scan, StoreError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_of(name)).collect();
    numbers.sort_unstable();
    let mut scan = Scan { clean: true, ..Scan::default() };
    let mut previous: Option<String> = None;
    for (at, segment) in numbers.iter().copied().enumerate() {
        let name = segment_name(segment);
        let damaged =
            |offset, why: &str| Err(StoreError::damaged(disk.describe(&name), offset, why));
        let bytes = Bytes::from(read_whole(disk, &name, SEGMENT_BYTES_MAX)?);
        let Some(header) = SegmentHeader::decode(&bytes) else {
            return damaged(0, "its header does not match its checksum");
        };
        if header.storage_id != meta.storage_id || header.segment != segment {
            return damaged(
                0,
                "it belongs to another data directory, or to another place in this one",
            );
        }
        let gap = previous.is_some() && numbers.get(at - 1) != Some(&(segment - 1));
        if gap {
            // Compaction deletes segments together; a power cut in it may keep any of them. What stands before a gap is of no
            // use; whether something needed is missing, the entries behind the snapshot will tell.
            scan = Scan { clean: true, ..Scan::default() };
        } else if let Some(previous) = &previous
            && header.first_group != scan.group + 1
        {
            let why = format!("groups up to {} are missing here", header.first_group - 1);
            return Err(StoreError::damaged(disk.describe(previous), scan.end, why));
        }
        scan.group = header.first_group - 1;
        scan_segment(&mut scan, &bytes, segment);
        previous = Some(name);
    }
    let Some(last) = previous else { return Ok(scan) };
    let bytes = Bytes::from(read_whole(disk, &last, SEGMENT_BYTES_MAX)?);
    let segment = numbers.last().copied().unwrap_or_default();
    let rest = bytes.slice((scan.end as usize).min(bytes.len())..);
    scan.clean = rest.iter().all(|byte| *byte == 0);
    if !scan.clean {
        judge_tail(disk, &mut scan, &last, segment, &rest)?;
    }
    Ok(scan)
}

/// Reads the records of one segment up to the first that is missing or invalid.
fn scan_segment(scan: &mut Scan, bytes: &Bytes, segment: u64) {
    let mut offset = HEADER_BYTES as usize;
    let mut last_index = 0;
    while let Some(group) = record_at(bytes, offset, segment) {
        if group.number != scan.group + 1 {
            break;
        }
        scan.group = group.number;
        offset += group.bytes;
        scan.hard_state = group.hard_state.unwrap_or(scan.hard_state);
        for entry in group.entries {
            last_index = last_index.max(entry.index);
            append(&mut scan.entries, entry);
        }
    }
    scan.end = offset as u64;
    scan.facts.push(SegmentFacts { segment, last_index });
}

fn record_at(bytes: &Bytes, offset: usize, segment: u64) -> Option<Group> {
    (offset < bytes.len()).then(|| decode_group(&bytes.slice(offset..), segment)).flatten()
}

/// An entry at an index that is there already replaces it and all behind it; one beyond a gap follows an installed snapshot.
fn append(entries: &mut Vec<LogEntry>, entry: LogEntry) {
    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
        if entry.index < first.index || entry.index > last.index + 1 {
            entries.clear();
        } else {
            entries.truncate((entry.index - first.index) as usize);
        }
    }
    entries.push(entry);
}

/// Bytes stand behind the last record of the last segment: torn, or damage?
fn judge_tail(
    disk: &impl Disk,
    scan: &mut Scan,
    name: &str,
    segment: u64,
    rest: &Bytes,
) -> Result<(), StoreError> {
    let missing = scan.group + 1;
    for offset in (0..rest.len()).step_by(ALIGNMENT) {
        let later = record_at(rest, offset, segment);
        if later.is_some_and(|later| later.synced >= missing) {
            let why = format!("group {missing} was durable and can't be read any more");
            return Err(StoreError::damaged(disk.describe(name), scan.end, why));
        }
    }
    scan.note = Some(format!(
        "{}: a write that was under way at the end was cut off at byte {}; it had not been acknowledged as durable",
        disk.describe(name),
        scan.end
    ));
    Ok(())
}

type Chosen = (Option<(SnapshotMeta, Vec<Bytes>)>, Vec<SnapshotMeta>);

/// The newest snapshot that is whole. An older one serves only if the log still begins right behind it.
fn choose_snapshot(
    disk: &impl Disk,
    meta: &NodeMeta,
    names: &[String],
    scan: &Scan,
    notes: &mut Vec<String>,
) -> Result<Chosen, StoreError> {
    let mut indexes: Vec<u64> = names.iter().filter_map(|name| snapshot::index_of(name)).collect();
    indexes.sort_unstable();
    let mut first_error = None;
    while let Some(index) = indexes.pop() {
        match snapshot::load(disk, meta.storage_id, index) {
            Ok(loaded) => {
                let reaches = scan.entries.first().is_some_and(|entry| entry.index <= index + 1);
                if let Some(error) = first_error.filter(|_| !reaches) {
                    return Err(error);
                }
                let older =
                    indexes.iter().map(|old| snapshot::load_head(disk, meta.storage_id, *old));
                let mut kept: Vec<SnapshotMeta> = older.filter_map(Result::ok).collect();
                kept.push(loaded.0.clone());
                return Ok((Some(loaded), kept));
            }
            Err(error) => {
                notes.push(format!("passed over a snapshot: {error}"));
                first_error = first_error.or(Some(error));
            }
        }
    }
    let whole_log = scan.entries.first().is_none_or(|entry| entry.index == 1);
    match first_error {
        Some(error) if !whole_log || scan.entries.is_empty() => Err(error),
        _ => Ok((None, Vec::new())),
    }
}

/// The entries behind the snapshot; they must begin right there.
fn entries_after(
    disk: &impl Disk,
    scan: &Scan,
    index: u64,
    term: u64,
) -> Result<Vec<LogEntry>, StoreError> {
    let at_snapshot = scan.entries.iter().find(|entry| entry.index == index);
    if at_snapshot.is_some_and(|entry| entry.term != term) {
        return Ok(Vec::new()); // an installed snapshot contradicts them: they were never committed
    }
    let entries: Vec<LogEntry> =
        scan.entries.iter().filter(|entry| entry.index > index).cloned().collect();
    if entries.first().is_some_and(|first| first.index != index + 1) {
        let first = scan.facts.first().map_or(0, |facts| facts.segment);
        let why = format!("entries from {} on are missing before it", index + 1);
        return Err(StoreError::damaged(disk.describe(&segment_name(first)), HEADER_BYTES, why));
    }
    Ok(entries)
}

/// A crash between an install and its hard state leaves that behind the snapshot.
fn clamp(mut hard_state: HardState, index: u64, term: u64, entries: &[LogEntry]) -> HardState {
    let last_term = entries.last().map_or(term, |entry| entry.term);
    if hard_state.term < last_term {
        hard_state = HardState { term: last_term, vote: 0, commit: hard_state.commit };
    }
    let last_index = entries.last().map_or(index, |entry| entry.index);
    hard_state.commit = hard_state.commit.clamp(index, last_index);
    hard_state
}

/// Goes on in the last segment if only zeroes follow; else the next write begins a new one, and what stands behind
/// the cut can never be taken for valid. What was found is synced: it may have come from the page cache.
async fn reopen_last<D: Disk>(
    store: &mut LogStore<D>,
    end: u64,
    clean: bool,
) -> Result<(), StoreError> {
    store.disk.sync_directory().await.doing(|| "sync the data directory".to_owned())?;
    let Some(facts) = store.segments.back() else { return Ok(()) };
    let name = segment_name(facts.segment);
    let doing = || format!("open {}", store.disk.describe(&name));
    let mut file = store.disk.open(&name).doing(doing)?;
    file.sync().await.doing(doing)?;
    store.synced = store.group;
    if clean {
        let bytes = file.len().doing(doing)?;
        store.active = Some(Active { file, offset: end, bytes });
    }
    Ok(())
}

/// Feeds arbitrary files to recovery, for fuzzing; answers the entries it would go on with.
pub fn recover_from_bytes(files: BTreeMap<String, Vec<u8>>) -> Result<Recovered, StoreError> {
    let disk = MemoryDisk::with_files(files);
    super::memory::at_once(open(disk, LogConfig::default())).map(|(_, recovered)| recovered)
}

/// The files of a log that holds these entries, each synced by itself, for fuzzing and tests.
pub fn example(
    meta: NodeMeta,
    config: LogConfig,
    entries: impl Iterator<Item = LogEntry>,
) -> BTreeMap<String, Vec<u8>> {
    let disk = MemoryDisk::default();
    let written = super::memory::at_once(async {
        let (mut store, _) = open(disk.clone(), config).await?;
        store.save_meta(meta).await?;
        for entry in entries {
            let hard_state = Some(HardState { term: entry.term, vote: 1, commit: entry.index - 1 });
            let group = store.write_group(hard_state, &[entry]).await;
            group.map_err(|_| StoreError::damaged(String::new(), 0, "no room"))?;
            store.sync().await?;
        }
        Ok::<(), StoreError>(())
    });
    written.expect("a disk in memory takes everything");
    disk.files()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Membership, example};

    /// The files of a log of thirty entries in small segments, with a snapshot of entry 20 beside it.
    fn files() -> BTreeMap<String, Vec<u8>> {
        let entry = |index| LogEntry { index, term: 1, kind: 0, payload: vec![7; 40].into() };
        let meta = NodeMeta { node_id: 1, storage_id: 5, incarnation: 1, formation: Vec::new() };
        let config = LogConfig { segment_bytes: 512, ..LogConfig::default() };
        let disk = MemoryDisk::with_files(example(meta, config, (1..=30).map(entry)));
        let chunks = [Bytes::from_static(b"state")];
        let (bytes, checksum) = snapshot::measure(&chunks);
        let membership = Membership { voters: vec![1], learners: Vec::new() };
        let meta = SnapshotMeta { index: 20, term: 1, membership, bytes, checksum };
        super::super::memory::at_once(snapshot::save(&disk, 5, &meta, &chunks))
            .expect("it is written");
        disk.files()
    }

    /// A power cut inside compaction may keep any of the segments that were being deleted. They are not needed: the log
    /// opens all the same. One that is needed is missed.
    #[test]
    fn segments_of_an_interrupted_compaction_are_not_needed() {
        let whole = files();
        let segments: Vec<String> =
            whole.keys().filter(|name| segment_of(name).is_some()).cloned().collect();
        assert!(segments.len() > 6);
        let without = |gone: &[&String]| {
            let mut files = whole.clone();
            gone.iter().for_each(|name| drop(files.remove(*name)));
            recover_from_bytes(files)
        };
        for kept in [[0, 2], [1, 3], [0, 3]] {
            let gone: Vec<&String> =
                (0..4).filter(|at| !kept.contains(at)).map(|at| &segments[at]).collect();
            let recovered = without(&gone).expect("what is needed is there");
            let indexes: Vec<u64> = recovered.entries.iter().map(|entry| entry.index).collect();
            assert_eq!(indexes, (21..=30).collect::<Vec<_>>());
            assert_eq!(recovered.hard_state.term, 1);
        }
        let needed = &segments[segments.len() - 2];
        assert!(matches!(without(&[needed]), Err(StoreError::Damaged { .. })));
    }
}
