//! Opening a data directory: what was durable is found, what was torn is cut, what is damaged is refused.
//!
//! Groups are numbered without gaps. Where the next one is missing or invalid, the log has either been *torn* (a crash took
//! bytes that no sync had covered) or is *damaged*. A torn group was never durable, so no record written after it can name it
//! as synced. Hence the rule: if any later record says that the missing group was durable, it is damage; else it is cut.
//! A segment that is not the last was synced in whole before the next was begun, so the next one's first group bears
//! witness too. Nothing behind a cut can come back: the next write begins a new segment.
//!
//! In a *copy* of a directory (`origin`) the end of the log may have been read in pieces while it was written. There the last
//! segment is cut at the first group that is missing, and what stands behind is erased: all that was durable before the copy
//! began is in front of it.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use crate::ports::{Disk, File};

use super::files::{read_exactly, read_front, remove_if_there};
use super::memory::MemoryDisk;
use super::meta::{NodeMeta, Rejoin};
use super::origin::{self, Origin};
use super::record::{
    ALIGNMENT, Group, HEADER_BYTES, Place, Prologue, SECTOR_BYTES, SegmentHeader, decode_group,
    decode_head,
};
use super::segment::{Active, LogStore, SPARE, SegmentFacts, segment_name, segment_of};
use super::set_aside::{is_aside, set_aside};
use super::{
    Damage, Doing, HardState, LogConfig, LogEntry, SnapshotMeta, StoreError, reserve, snapshot,
};

/// Written again at once, of what nothing says was durable.
const PIECE_BYTES: usize = 256 << 10;

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

/// Whose data a directory holds; none if it was never used. Changes nothing.
///
/// # Errors
/// See `StoreError`.
pub fn identity(disk: &impl Disk) -> Result<Option<NodeMeta>, StoreError> {
    let names = disk.list().doing(|| format!("list {}", disk.describe("")))?;
    Ok(NodeMeta::load(disk, &names)?.map(|(meta, _)| meta))
}

/// Opens a data directory.
///
/// # Errors
/// See `StoreError`. Nothing is changed on disk when it is found damaged, unless damage is to be set aside.
pub async fn open<D: Disk>(
    disk: D,
    config: LogConfig,
) -> Result<(LogStore<D>, Recovered), StoreError> {
    let mut names = disk.list().doing(|| format!("list {}", disk.describe("")))?;
    names.sort();
    let Some((meta, group_then)) = NodeMeta::load(&disk, &names)? else {
        return open_unused(disk, config, &names);
    };
    let why = match meta.rejoin {
        Rejoin::Due => Some("this node's log lacked what it had confirmed when it ended"),
        Rejoin::SettingAside => {
            Some("a damaged data directory was being set aside when this node ended")
        }
        Rejoin::Needless | Rejoin::UnderWay => None,
    };
    if let Some(why) = why {
        let origin = origin::look(&disk, meta.storage_id, &names)?;
        origin::check(&disk, origin, config.copies)?;
        return open_anew(disk, config, &meta, why.to_owned()).await;
    }
    match look(&disk, &config, &meta, group_then, &names) {
        Ok(found) => settle(disk, config, meta, &names, found).await,
        Err(error @ StoreError::Damaged { .. }) if config.damage == Damage::SetAside => {
            open_anew(disk, config, &meta, error.to_string()).await
        }
        Err(error) => Err(error),
    }
}

/// What a directory holds, before anything in it is changed.
struct Found {
    recovered: Recovered,
    scan: Scan,
    /// The snapshots that are kept.
    kept: Vec<snapshot::Head>,
    new_base: Option<(u64, u64)>,
    unsure_from: u64,
    origin: Origin,
}

fn look(
    disk: &impl Disk,
    config: &LogConfig,
    meta: &NodeMeta,
    group_then: u64,
    names: &[String],
) -> Result<Found, StoreError> {
    let mut recovered = Recovered { meta: Some(meta.clone()), ..Recovered::default() };
    let origin = origin::look(disk, meta.storage_id, names)?;
    origin::check(disk, origin, config.copies)?;
    let mut scan = scan_segments(disk, meta, names, origin)?;
    let (snapshot, kept) = choose_snapshot(disk, meta, names, &scan, &mut recovered.notes)?;
    let unsure = scan.unwitnessed.iter().find(|(group, _)| *group > scan.witnessed);
    let unsure_from = unsure.map_or(scan.end, |(_, offset)| *offset);
    let index = snapshot.as_ref().map_or(0, |(meta, _)| meta.index);
    let term = snapshot.as_ref().map_or(0, |(meta, _)| meta.term);
    let new_base = entries_after(disk, &mut scan, index, term)?;
    if new_base {
        mark::reached(Mark::InstallUnlogged);
    }
    let group_then = kept.iter().map(|head| head.group).fold(group_then, u64::max);
    if scan.group < group_then {
        let last = scan.facts.last().map_or(0, |facts| facts.segment);
        let why =
            format!("group {group_then} was durable, but the log ends at group {}", scan.group);
        return Err(StoreError::damaged(disk.describe(&segment_name(last)), scan.end, why));
    }
    recovered.entries = std::mem::take(&mut scan.entries);
    if is_planted(Canary::VoteForgotten) {
        scan.hard_state.vote = 0;
    }
    recovered.hard_state = clamp(scan.hard_state, index, term, &recovered.entries);
    recovered.snapshot = snapshot;
    recovered.notes.extend(scan.note.take());
    let new_base = new_base.then_some((index, term));
    Ok(Found { recovered, scan, kept, new_base, unsure_from, origin })
}

/// Begins to use what was found: what is of no use any more goes, and the log can be written on.
async fn settle<D: Disk>(
    disk: D,
    config: LogConfig,
    meta: NodeMeta,
    names: &[String],
    found: Found,
) -> Result<(LogStore<D>, Recovered), StoreError> {
    let Found { recovered, mut scan, kept, new_base, unsure_from, origin } = found;
    let has_all = meta.rejoin == Rejoin::Needless;
    let mut store = LogStore::new(disk, config, meta);
    store.hard_state = recovered.hard_state;
    store.snapshots = kept;
    store.group = scan.group;
    store.opened_at = scan.group;
    store.segments = std::mem::take(&mut scan.facts).into();
    store.new_base = new_base;
    store.reach = scan.reach;
    // First what is of no use any more: on a full disk what follows may need its room.
    let leftover = |name: &&String| {
        name.as_bytes().ends_with(b".part") || *name == SPARE || has_all && is_aside(name)
    };
    let leftovers = names.iter().filter(leftover).cloned();
    if names.iter().any(|name| name.as_bytes().ends_with(b".part")) {
        mark::reached(Mark::PartRemoved);
    }
    if !scan.stale.is_empty() {
        mark::reached(Mark::CompactionResumed);
    }
    for name in leftovers.chain(scan.stale.iter().map(|segment| segment_name(*segment))) {
        remove_if_there(&*store.disk, &name)?;
    }
    if scan.erase {
        erase_behind(&store, scan.end).await?;
        scan.clean = true;
    }
    reopen_last(&mut store, unsure_from..scan.end, scan.clean).await?;
    if origin != Origin::Original {
        let mark = async || origin::mark(&*store.disk, store.meta.storage_id).await;
        reserve::spend(&*store.disk, mark).await?;
    }
    Ok((store, recovered))
}

/// Sets a damaged directory aside, and begins the log anew.
async fn open_anew<D: Disk>(
    disk: D,
    config: LogConfig,
    meta: &NodeMeta,
    why: String,
) -> Result<(LogStore<D>, Recovered), StoreError> {
    mark::reached(Mark::DamageSetAside);
    let meta = set_aside(&disk, meta).await?;
    let note = format!(
        "{why}. What is damaged is kept under names that begin with `damaged-` until this node has all its data back from the others; \
         until then it votes for nobody, so that nothing acknowledged can be lost"
    );
    let recovered =
        Recovered { meta: Some(meta.clone()), notes: vec![note], ..Recovered::default() };
    Ok((LogStore::new(disk, config, meta), recovered))
}

/// A directory without an identity: new, or left by a first start that was cut short before it saved one.
fn open_unused<D: Disk>(
    disk: D,
    config: LogConfig,
    names: &[String],
) -> Result<(LogStore<D>, Recovered), StoreError> {
    for name in names.iter().filter(|name| is_ours(name)) {
        let unused = segment_of(name) == Some(1) && is_zero_behind(&disk, name, HEADER_BYTES)?;
        if !unused {
            let why = "the file `meta` that says whose data this is, is missing";
            return Err(StoreError::damaged(disk.describe(name), 0, why));
        }
    }
    for name in names.iter().filter(|name| is_ours(name)) {
        mark::reached(Mark::FirstStartRepeated);
        remove_if_there(&disk, name)?;
    }
    Ok((LogStore::new(disk, config, NodeMeta::default()), Recovered::default()))
}

/// Whether a file holds only zeroes from an offset on. It is read in pieces: nothing has said yet how long it may be.
fn is_zero_behind(disk: &impl Disk, name: &str, mut at: u64) -> Result<bool, StoreError> {
    let doing = || format!("read {}", disk.describe(name));
    let file = disk.open(name).doing(doing)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read_at(&mut piece, at).doing(doing)?;
        let bytes = piece.get(..read).unwrap_or_default();
        if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
            return Ok(bytes.is_empty());
        }
        at += read as u64;
    }
}

fn is_ours(name: &str) -> bool {
    segment_of(name).is_some() || snapshot::index_of(name).is_some()
}

/// What the segments hold, in the order of their groups.
#[derive(Default)]
struct Scan {
    facts: Vec<SegmentFacts>,
    /// Segments before one that is missing: of no use.
    stale: Vec<u64>,
    entries: Vec<LogEntry>,
    hard_state: HardState,
    /// Whether there was a record at all, and so the hard state.
    begun: bool,
    /// Last index of the log.
    reach: u64,
    /// Last group found.
    group: u64,
    /// Last group that a record, or the beginning of a segment, says was durable.
    witnessed: u64,
    /// The groups of the last segment behind it: number, and where it begins.
    unwitnessed: Vec<(u64, u64)>,
    /// Where the last segment's records end, and whether only zeroes follow.
    end: u64,
    clean: bool,
    /// Whether what stands behind is of a copy that holds a later record without an earlier one.
    erase: bool,
    note: Option<String>,
}

fn scan_segments(
    disk: &impl Disk,
    meta: &NodeMeta,
    names: &[String],
    origin: Origin,
) -> Result<Scan, StoreError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_of(name)).collect();
    numbers.sort_unstable();
    // Segments that a snapshot has made needless are removed together; a crash, or a copy of the directory taken at that
    // moment, may keep any of them. What is needed and not there shows in the reach of the first one that is used.
    let gap =
        numbers.windows(2).rposition(|pair| pair.first().map(|n| n + 1) != pair.get(1).copied());
    let used = numbers.split_off(gap.map_or(0, |at| at + 1));
    let mut scan = Scan { stale: numbers, ..Scan::default() };
    let Some(first) = used.first().copied() else {
        let why = "all segments of the log (the files log-…) are missing";
        return Err(StoreError::damaged(disk.describe(&segment_name(1)), 0, why));
    };
    let last = used.last().copied();
    for segment in used {
        let name = segment_name(segment);
        let damaged = |offset, why: &str| StoreError::damaged(disk.describe(&name), offset, why);
        // What it claims is checked before memory is taken for it.
        let front = read_front(disk, &name, HEADER_BYTES)?;
        let Some(header) = SegmentHeader::decode(&front).filter(|header| header.first_group > 0)
        else {
            return Err(damaged(0, "its header does not match its checksum"));
        };
        let place = Place { storage_id: meta.storage_id, segment };
        if header.storage_id != place.storage_id || header.segment != segment {
            let why = "it belongs to another data directory, or to another place in this one";
            return Err(damaged(0, why));
        }
        let bytes = Bytes::from(read_exactly(disk, &name, header.bytes)?);
        if segment != first && header.first_group != scan.group + 1 {
            let why = format!("groups up to {} are missing here", header.first_group - 1);
            let previous = disk.describe(&segment_name(segment - 1));
            return Err(StoreError::damaged(previous, scan.end, why));
        }
        scan.group = header.first_group - 1;
        scan.witnessed = scan.group;
        scan.unwitnessed.clear();
        scan_segment(&mut scan, &bytes, place).map_err(|(offset, why)| damaged(offset, why))?;
        let copied = origin == Origin::Copy && Some(segment) == last;
        judge_tail(disk, &mut scan, &bytes, place, copied)?;
    }
    if first != 1 && !scan.begun {
        let why = "it is missing, and with it the hard state";
        return Err(StoreError::damaged(disk.describe(&segment_name(first - 1)), 0, why));
    }
    Ok(scan)
}

/// Reads the records of one segment up to the first that is missing or invalid. An error says where what is wrong.
fn scan_segment(scan: &mut Scan, bytes: &Bytes, place: Place) -> Result<(), (u64, &'static str)> {
    let mut offset = HEADER_BYTES as usize;
    let first_group = scan.group.wrapping_add(1);
    let mut facts = SegmentFacts { segment: place.segment, last_index: 0, first_group };
    while let Some((at, group)) = next_group(bytes, offset, place, scan.group.wrapping_add(1)) {
        offset = at;
        let Prologue { hard_state, base, reach } = group.prologue;
        if group.number == first_group && (reach.is_none() || hard_state.is_none()) {
            return Err((offset as u64, "its first record lacks the hard state"));
        }
        match reach {
            Some(reach) if !scan.begun => scan.reach = reach,
            Some(reach) if reach != scan.reach => {
                return Err((offset as u64, "entries before this record are missing"));
            }
            _ => {}
        }
        scan.hard_state = hard_state.unwrap_or(scan.hard_state);
        if let Some((index, _)) = base {
            scan.entries.clear();
            scan.reach = index;
        }
        for entry in group.entries {
            facts.last_index = facts.last_index.max(entry.index);
            if entry.index == 0 || entry.index - 1 > scan.reach {
                return Err((offset as u64, "the entries before this record's are missing"));
            }
            scan.reach = entry.index;
            append(&mut scan.entries, entry);
        }
        scan.begun = true;
        scan.group = group.number;
        scan.witnessed = scan.witnessed.max(group.synced);
        scan.unwitnessed.push((group.number, offset as u64));
        offset += group.bytes;
    }
    scan.end = offset as u64;
    scan.facts.push(facts);
    Ok(())
}

/// The next record and where it is: here, or at the beginning of the next sector if nothing stands in between.
fn next_group(bytes: &Bytes, from: usize, place: Place, number: u64) -> Option<(usize, Group)> {
    let sector = from.next_multiple_of(SECTOR_BYTES as usize);
    let is_gap = |gap: &[u8]| gap.iter().all(|byte| *byte == 0);
    let gap = bytes.get(from..sector).filter(|gap| !gap.is_empty() && is_gap(gap));
    [Some(from), gap.map(|_| sector)].into_iter().flatten().find_map(|at| {
        let group = decode_group(&bytes.slice(at.min(bytes.len())..), place)?;
        (group.number == number).then_some((at, group))
    })
}

/// An entry at an index that is there already replaces it and all behind it.
fn append(entries: &mut Vec<LogEntry>, entry: LogEntry) {
    let kept = entries.first().map_or(0, |first| entry.index.saturating_sub(first.index));
    entries.truncate(kept as usize);
    entries.push(entry);
}

/// What stands behind the last record of a segment: nothing, a torn write, or damage? The segment's records bear witness,
/// and for one that is not the last so does the next one's first group.
fn judge_tail(
    disk: &impl Disk,
    scan: &mut Scan,
    bytes: &Bytes,
    place: Place,
    copied: bool,
) -> Result<(), StoreError> {
    let rest = bytes.get(scan.end as usize..).unwrap_or_default();
    scan.clean = rest.iter().all(|byte| *byte == 0);
    scan.note = None;
    if scan.clean {
        return Ok(());
    }
    let missing = scan.group.saturating_add(1);
    let name = disk.describe(&segment_name(place.segment));
    for later in (0..rest.len()).step_by(ALIGNMENT).filter_map(|at| rest.get(at..)) {
        let witness = decode_head(later, place).filter(|head| head.synced >= missing);
        if witness.is_some() && !is_planted(Canary::DamageTakenForEnd) {
            if copied {
                scan.erase = true;
                scan.note = Some(format!(
                    "this data directory is a copy that was taken while it was written: what came into {name} behind byte {} \
                     after the copy had begun is not whole and was cut off; all that was durable before is there",
                    scan.end
                ));
                return Ok(());
            }
            let why = format!("group {missing} was durable and can't be read any more");
            return Err(StoreError::damaged(name, scan.end, why));
        }
    }
    mark::reached(Mark::TornTailCut);
    scan.note = Some(format!(
        "{name}: a write that was under way at the end was cut off at byte {}; it had not been acknowledged as durable",
        scan.end
    ));
    Ok(())
}

type Chosen = (Option<(SnapshotMeta, Vec<Bytes>)>, Vec<snapshot::Head>);

/// The newest snapshot that is whole. An older one serves if the log reaches back to it, which `entries_after` checks.
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
    let mut chosen = None;
    while let Some(index) = indexes.pop() {
        match snapshot::load(disk, meta.storage_id, index) {
            Ok(loaded) => {
                chosen = Some(loaded);
                break;
            }
            Err(error) => {
                mark::reached(Mark::SnapshotPassedOver);
                notes.push(format!("passed over a snapshot: {error}"));
                first_error = first_error.or(Some(error));
            }
        }
    }
    let index = chosen.as_ref().map_or(0, |(head, _)| head.meta.index);
    if let Some(error) = first_error
        && !reaches_back(scan, index)
    {
        return Err(error);
    }
    let older = indexes.iter().map(|old| snapshot::load_head(disk, meta.storage_id, *old));
    let mut kept: Vec<snapshot::Head> = older.filter_map(Result::ok).collect();
    kept.extend(chosen.as_ref().map(|(head, _)| head.clone()));
    Ok((chosen.map(|(head, chunks)| (head.meta, chunks)), kept))
}

/// Whether a state at `index` and the entries found make the whole log.
fn reaches_back(scan: &Scan, index: u64) -> bool {
    scan.entries.first().map_or(scan.reach <= index, |first| first.index - 1 <= index)
}

/// Leaves the entries behind the snapshot; they must begin right there. Answers whether the log has to be told about the
/// snapshot: it was installed, and the crash came before a record said so.
fn entries_after(
    disk: &impl Disk,
    scan: &mut Scan,
    index: u64,
    term: u64,
) -> Result<bool, StoreError> {
    if !reaches_back(scan, index) {
        let first = scan.facts.first().map_or(0, |facts| facts.segment);
        let why = format!(
            "the log reaches to index {}, but what begins here does not follow a snapshot or entry at index {index}: a snapshot or a segment before it is missing",
            scan.reach
        );
        return Err(StoreError::damaged(disk.describe(&segment_name(first)), HEADER_BYTES, why));
    }
    let at_snapshot = scan.entries.iter().find(|entry| entry.index == index);
    let contradicted = at_snapshot.is_some_and(|entry| entry.term != term);
    if contradicted {
        scan.entries.clear(); // they were never committed
    }
    let covered = scan.entries.partition_point(|entry| entry.index <= index);
    scan.entries.drain(..covered);
    Ok(contradicted || scan.reach < index)
}

/// A crash between an install and its hard state leaves that behind the snapshot. Its term is behind only if no term had been entered
/// durably for the install, which raft does before it takes a leader's snapshot; no vote was given in that term then.
fn clamp(mut hard_state: HardState, index: u64, term: u64, entries: &[LogEntry]) -> HardState {
    let last_term = entries.last().map_or(term, |entry| entry.term);
    if hard_state.term < last_term {
        hard_state = HardState { term: last_term, vote: 0, commit: hard_state.commit };
    }
    let last_index = entries.last().map_or(index, |entry| entry.index);
    hard_state.commit = hard_state.commit.clamp(index, last_index);
    hard_state
}

/// Makes zeroes of what stands behind the end of the last segment.
async fn erase_behind<D: Disk>(store: &LogStore<D>, end: u64) -> Result<(), StoreError> {
    let Some(facts) = store.segments.back() else { return Ok(()) };
    let name = segment_name(facts.segment);
    let doing = || format!("write {}", store.disk.describe(&name));
    let mut file = store.disk.open(&name).doing(doing)?;
    let (zeroes, bytes) = (vec![0; PIECE_BYTES], file.len().doing(doing)?);
    let mut at = end;
    while at < bytes {
        let piece = zeroes.get(..(bytes - at).min(PIECE_BYTES as u64) as usize).unwrap_or(&zeroes);
        file.write_at(piece, at).doing(doing)?;
        at += piece.len() as u64;
    }
    file.sync().await.doing(doing)
}

/// Goes on in the last segment if only zeroes follow; else the next write begins a new one, and what stands behind
/// the cut can never be taken for valid. What nothing says was durable is written again and synced: it may have come from the
/// page cache, and if a sync of the process before failed, the system takes those pages for written and never writes them.
async fn reopen_last<D: Disk>(
    store: &mut LogStore<D>,
    unsure: Range<u64>,
    clean: bool,
) -> Result<(), StoreError> {
    store.disk.sync_directory().await.doing(|| "sync the data directory".to_owned())?;
    let Some(facts) = store.segments.back() else { return Ok(()) };
    let name = segment_name(facts.segment);
    let doing = || format!("open {}", store.disk.describe(&name));
    let mut file = store.disk.open(&name).doing(doing)?;
    let mut piece = vec![0; PIECE_BYTES];
    if !unsure.is_empty() {
        mark::reached(Mark::UnsureRewritten);
    }
    let mut at = unsure.start;
    while at < unsure.end {
        let wanted = (unsure.end - at).min(PIECE_BYTES as u64) as usize;
        let read = file.read_at(piece.get_mut(..wanted).unwrap_or_default(), at).doing(doing)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        file.write_at(bytes, at).doing(doing)?;
        at += read as u64;
    }
    file.sync().await.doing(doing)?;
    store.synced = store.group;
    if clean {
        let bytes = file.len().doing(doing)?;
        store.active = Some(Active { file, offset: unsure.end, bytes });
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
        let meta = NodeMeta { node_id: 1, storage_id: 5, incarnation: 1, ..NodeMeta::default() };
        let config = LogConfig { segment_bytes: 512, ..LogConfig::default() };
        let disk = MemoryDisk::with_files(example(meta, config, (1..=30).map(entry)));
        let state = b"state";
        let (bytes, checksum) = (state.len() as u64, crc32fast::hash(state));
        let membership = Membership::of_voters(&[1]);
        let meta = SnapshotMeta { index: 20, term: 1, membership, bytes, checksum };
        super::super::memory::at_once(snapshot::save(
            &disk,
            5,
            &meta,
            20,
            &[Bytes::from_static(state)],
        ))
        .expect("it is written");
        disk.files()
    }

    /// A vote, and what says that it was durable, are not in one sector: if that of the vote is lost, it is missed. Found by seed 13888 of
    /// the swarm at 712606a, where the node voted again in that term.
    #[test]
    fn a_lost_sector_is_missed() {
        let meta = NodeMeta { node_id: 1, storage_id: 5, incarnation: 1, ..NodeMeta::default() };
        let vote = HardState { term: 2, vote: 3, commit: 0 };
        let disk = MemoryDisk::default();
        let entry = LogEntry { index: 1, term: 2, kind: 0, payload: Bytes::from_static(b"first") };
        let written = super::super::memory::at_once(async {
            let (mut store, _) = open(disk.clone(), LogConfig::default()).await?;
            store.save_meta(meta).await?;
            let no_room = |_| StoreError::damaged(String::new(), 0, "no room");
            store.write_group(Some(vote), &[]).await.map_err(no_room)?;
            store.sync().await?;
            store.write_seal().await.map_err(no_room)?;
            store.sync().await?;
            let sealed = disk.files();
            store.write_group(None, &[entry]).await.map_err(no_room)?;
            store.sync().await?;
            Ok::<_, StoreError>((sealed, disk.files()))
        });
        let (sealed, gone_on) = written.expect("a disk in memory takes everything");
        for (mut files, entries) in [(sealed, 0), (gone_on, 1)] {
            let recovered = recover_from_bytes(files.clone()).expect("it is whole");
            assert_eq!((recovered.hard_state.vote, recovered.entries.len()), (3, entries));
            assert_eq!(recovered.notes, [""; 0], "nothing was cut off");
            let log = files.get_mut("log-0000000000000001").expect("it is there");
            let header = HEADER_BYTES as usize;
            log[header..SECTOR_BYTES as usize].fill(0);
            assert!(matches!(recover_from_bytes(files), Err(StoreError::Damaged { .. })));
        }
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
