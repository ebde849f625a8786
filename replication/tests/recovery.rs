//! What a log finds again after crashes, power cuts, rot and full disks: everything that was acknowledged, nothing that was
//! never written, or a refusal that names file and offset.

#[path = "recovery/world.rs"]
mod world;

#[path = "recovery/copies.rs"]
mod copies;

#[path = "recovery/snapshots.rs"]
mod snapshots;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use steadfast_replication::driver::OpenError;
use steadfast_replication::storage::memory::{Failure, MemoryDisk};
use steadfast_replication::storage::{
    Fsync, HardState, LogConfig, LogDone, LogRequest, NodeMeta, Recovered, StoreError, open,
    recover_from_bytes,
};
use tokio::time::timeout;
use world::{
    Draw, LogState, Op, SMALL, World, entry, from_files, look, meta, run, snapshot_meta,
    state_pieces,
};

/// Appends over several segments, conflicts, snapshots with compaction, an install over a contradicting log, new identities.
fn history() -> Vec<Op> {
    let append = |count, bytes| Op::Append { count, bytes };
    let install = |ahead, contradicting| Op::Install { ahead, contradicting };
    vec![
        append(3, 100),
        append(5, 300),
        Op::NewTerm { replaced: 2 },
        append(4, 200),
        Op::Meta,
        Op::Snapshot { back: 1 },
        append(9, 150),
        Op::Rest,
        append(3, 900),
        Op::Snapshot { back: 0 },
        append(7, 100),
        Op::Snapshot { back: 3 },
        append(6, 10),
        install(2, true),
        append(3, 100),
        install(5, false),
        Op::NewTerm { replaced: 0 },
        append(9, 300),
        Op::Snapshot { back: 0 },
        append(8, 120),
        Op::Snapshot { back: 2 },
        append(2, 5),
        append(9, 300),
        append(9, 300),
        append(3, 50),
        Op::Meta,
    ]
}

/// Files of a log that went through the history, rested and was closed, and its last state.
async fn finished(rests: bool) -> (BTreeMap<String, Vec<u8>>, World) {
    let (mut world, _) = World::start(MemoryDisk::default(), SMALL).await.expect("it is new");
    for op in history() {
        assert!(world.act(&op).await, "{:?}", world.fatal);
    }
    if rests {
        world.act(&Op::Rest).await;
    }
    let world = world.close().await;
    (world.disk.files(), world)
}

fn damage_at(outcome: Result<Recovered, StoreError>) -> Result<Recovered, (String, u64)> {
    outcome.map_err(|error| match error {
        StoreError::Damaged { file, offset, why } => {
            assert!(!why.is_empty());
            (file, offset)
        }
        StoreError::Io { .. } | StoreError::Copied { .. } => panic!("{error}"),
    })
}

/// A closed log opens to its last state, twice the same, and opening changes nothing that counts.
#[test]
fn a_closed_log_is_whole() {
    run(async {
        let (files, world) = finished(true).await;
        let at_end = world.states.len() - 1;
        let disk = MemoryDisk::with_files(files);
        for _ in 0..3 {
            let (store, recovered) = open(disk.clone(), SMALL).await.expect("it is whole");
            assert_eq!(world.check(&recovered, at_end), at_end);
            assert_eq!(recovered.notes, Vec::<String>::new());
            assert_eq!(store.meta(), recovered.meta.as_ref().expect("it was saved"));
        }
        assert!(
            world.snapshots == 5 && disk.files().len() > 4,
            "the history is not worth its name"
        );
    });
}

/// A file that was cut short is refused, wherever it was cut: a segment has its whole length before it is used.
#[test]
fn a_cut_at_any_byte_is_refused() {
    run(async {
        let (files, world) = finished(true).await;
        let newest_snapshot = files.keys().rfind(|name| name.starts_with("snapshot-")).cloned();
        for (name, bytes) in files.iter().filter(|(name, _)| *name != "spare") {
            for cut in 0..bytes.len() {
                let mut files = files.clone();
                files.insert(name.clone(), bytes[..cut].to_vec());
                match damage_at(recover_from_bytes(files)) {
                    Err((file, offset)) => {
                        assert_eq!(file, format!("memory/{name}"));
                        assert!(offset <= cut as u64);
                    }
                    Ok(recovered) => {
                        assert!(name.starts_with("snapshot-"), "{name} cut at {cut}");
                        world.check(&recovered, world.states.len() - 1);
                        let passed_over = Some(name) == newest_snapshot.as_ref();
                        assert_eq!(recovered.notes.len(), usize::from(passed_over));
                    }
                }
            }
        }
    });
}

/// Of a file that is longer than it says of itself, nothing but its head is read: it may be longer than there is memory.
#[test]
fn a_file_longer_than_it_says_is_refused() {
    run(async {
        let (files, world) = finished(true).await;
        for name in files.keys().filter(|name| *name != "spare") {
            let mut files = files.clone();
            let bytes = files.get_mut(name).expect("it is there");
            let length = bytes.len();
            bytes.resize(length * 2, 0);
            match damage_at(recover_from_bytes(files)) {
                Err((file, offset)) => {
                    let at_end = name.starts_with("log-") || name.starts_with("snapshot-");
                    assert!(file == format!("memory/{name}"));
                    assert!(!at_end || offset == length as u64, "{name} at {offset}");
                }
                Ok(recovered) => {
                    assert!(name.starts_with("snapshot-"), "{name}");
                    world.check(&recovered, world.states.len() - 1);
                }
            }
        }
    });
}

/// A file that is gone is refused, or was not needed. (Not so the last segment: all before it is whole without it. Its name
/// was synced before it was used, so no crash takes it.)
#[test]
fn a_missing_file_is_noticed() {
    run(async {
        let (files, world) = finished(true).await;
        let last = last_segment(&files);
        let mut refused = 0;
        for name in files.keys().filter(|name| **name != last) {
            let mut files = files.clone();
            files.remove(name);
            match damage_at(recover_from_bytes(files)) {
                Err(_) => refused += 1,
                Ok(recovered) => {
                    world.check(&recovered, world.states.len() - 1);
                }
            }
        }
        assert!(refused >= 4, "{refused} of {:?}", files.keys());
        let only_meta = files.into_iter().filter(|(name, _)| name == "meta").collect();
        damage_at(recover_from_bytes(only_meta)).expect_err("the log is gone");
    });
}

/// A start remembers how far the log reached, and so does a snapshot: from then on a last segment that is gone is missed.
#[test]
fn a_missing_last_segment_is_noticed_after_a_start_or_a_snapshot() {
    run(async {
        let (files, _) = finished(true).await;
        let (started, _) = World::start(MemoryDisk::with_files(files), SMALL).await.expect("whole");
        let (mut world, _) = World::start(MemoryDisk::default(), SMALL).await.expect("it is new");
        for op in [Op::Append { count: 9, bytes: 300 }, Op::Snapshot { back: 0 }] {
            assert!(world.act(&op).await);
        }
        for mut files in [started.disk.files(), world.disk.files()] {
            files.remove(&last_segment(&files));
            damage_at(recover_from_bytes(files)).expect_err("it reached further");
        }
    });
}

fn last_segment(files: &BTreeMap<String, Vec<u8>>) -> String {
    files.keys().rfind(|name| name.starts_with("log-")).expect("it is there").clone()
}

/// A flipped bit anywhere costs nothing or is refused, once the log has rested: nothing is lost silently.
#[test]
fn a_flipped_bit_is_harmless_or_refused() {
    run(async {
        let (files, world) = finished(true).await;
        let mut refused = 0;
        for (name, bytes) in &files {
            let mut disk = files.clone();
            for at in 0..bytes.len() {
                let bit = 1 << (at % 8);
                disk.get_mut(name).expect("it is there")[at] ^= bit;
                match damage_at(recover_from_bytes(disk.clone())) {
                    Err((file, _)) => {
                        assert_eq!(file, format!("memory/{name}"));
                        refused += 1;
                    }
                    Ok(recovered) => {
                        world.check(&recovered, world.states.len() - 1);
                    }
                }
                disk.get_mut(name).expect("it is there")[at] ^= bit;
            }
        }
        assert!(refused > 2000, "only {refused} flips were noticed");
    });
}

/// Without a rest, only the very last write can be taken for a torn one; every other damage is refused.
#[test]
fn only_the_last_write_can_be_taken_for_torn() {
    run(async {
        let (mut world, _) = World::start(MemoryDisk::default(), SMALL).await.expect("it is new");
        for index in 0..5 {
            assert!(world.act(&Op::Append { count: 1, bytes: 50 + index }).await);
        }
        let files = world.disk.files();
        let name = last_segment(&files);
        let mut refused = 0;
        for at in 0..files[&name].len() {
            let mut disk = files.clone();
            disk.get_mut(&name).expect("it is there")[at] ^= 0x10;
            match damage_at(recover_from_bytes(disk)) {
                Err(_) => refused += 1,
                Ok(recovered) => {
                    let found = world.check(&recovered, world.acked - 1);
                    assert!(found == world.acked || !recovered.notes.is_empty(), "a silent loss");
                }
            }
        }
        assert!(refused > 4 * 64, "{refused}");
    });
}

/// What stands behind a crash: of all bytes and names that no sync covered, none, all, or any.
fn cuts(disk: &MemoryDisk, seed: u64) -> impl Iterator<Item = MemoryDisk> {
    let disk = disk.clone();
    (0..5).map(move |cut| {
        let mut draw = Draw(seed * 16 + cut);
        disk.after_power_cut(|| match cut {
            0 => false,
            1 => true,
            _ => draw.below(2) == 0,
        })
    })
}

/// Crashes during a history at an operation of the disk, and checks what each power cut leaves, twice opened.
/// Answers whether the history ended before the crash.
async fn crash_at(operation: u64, config: LogConfig, ops: &[Op]) -> bool {
    let disk = MemoryDisk::default();
    disk.fail_at(operation, Failure::Crash);
    let Ok((mut world, _)) = World::start(disk.clone(), config).await else {
        for disk in cuts(&disk, operation) {
            let recovered = look(&disk, config).await.expect("a first start can be cut short");
            assert!(recovered.entries.is_empty() && recovered.snapshot.is_none());
            let (world, _) = World::start(disk, config).await.expect("and tried again");
            world.close().await;
        }
        return false;
    };
    let mut whole = true;
    for op in ops {
        whole = world.act(op).await;
        if !whole {
            break;
        }
    }
    let at_least = if config.fsync == Fsync::Always { world.acked } else { world.durable };
    for (cut, after) in cuts(&disk, operation).enumerate() {
        let recovered = look(&after, config).await;
        let recovered =
            recovered.unwrap_or_else(|error| panic!("operation {operation}, cut {cut}: {error}"));
        let found = world.check(&recovered, at_least);
        crash_again(&after, config, &world, found, operation).await;
        go_on(after, config, &world.states[found]).await;
    }
    // The process was killed, the system lives: everything acknowledged is there, in every mode.
    let recovered = look(&MemoryDisk::with_files(disk.files()), config).await;
    world.check(&recovered.expect("a killed process leaves a log that opens"), world.acked);
    whole
}

/// A crash during recovery changes nothing.
async fn crash_again(
    after: &MemoryDisk,
    config: LogConfig,
    world: &World,
    found: usize,
    seed: u64,
) {
    for operation in 1.. {
        let disk = MemoryDisk::with_files(after.files());
        disk.fail_at(operation, Failure::Crash);
        let opened = open(disk.clone(), config).await.is_ok();
        let mut draw = Draw(seed + operation);
        let disk = disk.after_power_cut(|| draw.below(2) == 0);
        let recovered = look(&disk, config).await.expect("it opened before");
        assert!(world.states[found].is(&recovered), "another recovery finds another log");
        if opened {
            break;
        }
    }
}

/// A recovered log takes more, and has it after the next start: nothing behind the cut comes back.
async fn go_on(disk: MemoryDisk, config: LogConfig, found: &LogState) {
    let (mut world, _) = World::start(disk, config).await.expect("it opened before");
    assert!(found.entries.ends_with(&world.now().entries));
    for op in [Op::NewTerm { replaced: 1 }, Op::Append { count: 2, bytes: 33 }] {
        assert!(world.act(&op).await, "{:?}", world.fatal);
    }
    let world = world.close().await;
    let recovered = look(&world.disk, config).await.expect("it was closed");
    world.check(&recovered, world.states.len() - 1);
}

/// A power cut at any operation of the disk: rolls, compaction, snapshots, installs, identities, first start.
#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    run(async {
        let mut operation = 1;
        while !crash_at(operation, SMALL, &history()).await {
            operation += 1;
        }
        assert!(operation > 150, "the history is too short: {operation}");
    });
}

/// The lazy modes lose at most what they say: a vote, a term and an install never.
#[test]
fn the_lazy_modes_keep_votes_and_whole_prefixes() {
    let ops: Vec<Op> = history()
        .into_iter()
        .map(|op| if let Op::Snapshot { .. } = op { Op::Snapshot { back: 0 } } else { op })
        .collect();
    for fsync in [Fsync::EverySecond, Fsync::No] {
        run(async {
            let mut operation = 1;
            while !crash_at(operation, LogConfig { fsync, ..SMALL }, &ops).await {
                operation += 1;
            }
        });
    }
}

/// An installed snapshot ends the log it contradicts: entries acknowledged after it are found again.
#[test]
fn entries_after_an_install_over_a_contradicting_log_are_kept() {
    run(async {
        let (mut world, _) = World::start(MemoryDisk::default(), SMALL).await.expect("it is new");
        for op in [
            Op::Append { count: 8, bytes: 10 },
            Op::Install { ahead: 2, contradicting: true },
            Op::Append { count: 2, bytes: 10 },
        ] {
            assert!(world.act(&op).await);
        }
        let recovered = look(&world.disk, SMALL).await.expect("nothing happened to it");
        assert_eq!(recovered.entries.len(), 2);
        world.check(&recovered, world.acked);
    });
}

/// The vote that comes with an install is durable when the install is reported.
#[test]
fn an_install_makes_its_hard_state_durable() {
    run(async {
        let (mut world, _) = World::start(MemoryDisk::default(), SMALL).await.expect("it is new");
        assert!(world.act(&Op::Install { ahead: 4, contradicting: false }).await);
        let expected = world.now().hard_state.term;
        let recovered = look(&world.disk.after_power_cut(|| false), SMALL).await;
        assert_eq!(recovered.expect("it was synced").hard_state.term, expected);
    });
}

/// After a failed sync nothing is acknowledged any more and nothing is tried again: the log says so and ends.
#[test]
fn a_failed_sync_ends_the_log() {
    run(async {
        let mut operation = 1;
        loop {
            let disk = MemoryDisk::default();
            disk.fail_at(operation, Failure::Sync);
            let Ok((mut world, _)) = World::start(disk.clone(), SMALL).await else {
                operation += 1;
                continue;
            };
            let mut whole = true;
            for op in history() {
                let before = world.acked;
                whole = world.act(&op).await;
                if !whole {
                    assert!(world.acked == before && world.fatal.is_some(), "{op:?}");
                    let operations = disk.operations();
                    world.append(vec![entry(1, 1, 1)], None).await;
                    assert!(!world.settle().await);
                    assert_eq!(disk.operations(), operations, "it went on after a failed sync");
                    break;
                }
            }
            if whole {
                break;
            }
            operation += 1;
        }
    });
}

/// After a failed sync the system takes the pages for written. A restart that finds them in memory writes them again before it
/// relies on them: whatever it found is still there after a power cut.
#[test]
fn what_a_failed_sync_left_in_memory_is_written_again() {
    run(async {
        let mut found_in_memory = 0;
        for operation in 1..200 {
            let disk = MemoryDisk::default();
            disk.fail_at(operation, Failure::Sync);
            let Ok((mut world, _)) = World::start(disk.clone(), SMALL).await else { continue };
            for op in history() {
                if !world.act(&op).await {
                    break;
                }
            }
            let acked = world.acked;
            let (again, recovered) =
                World::start(disk.clone(), SMALL).await.expect("nothing is damaged");
            let found = world.check(&recovered, acked);
            found_in_memory += usize::from(found > acked);
            drop(again);
            let after = look(&disk.after_power_cut(|| false), SMALL).await;
            world.check(&after.expect("it was durable when the log was opened"), found);
        }
        assert!(found_in_memory > 5, "only {found_in_memory} restarts found more than was synced");
    });
}

/// A log that was closed in order holds a witness for its last record, in every mode: damage there is refused, not cut off.
#[test]
fn a_closed_log_can_not_be_taken_for_torn() {
    run(async {
        for fsync in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
            let config = LogConfig { fsync, ..SMALL };
            let disk = MemoryDisk::default();
            let (mut world, _) = World::start(disk.clone(), config).await.expect("it is new");
            for _ in 0..3 {
                assert!(world.act(&Op::Append { count: 1, bytes: 50 }).await);
            }
            let last = world.now().entries.last().expect("it was appended").payload.clone();
            world.close().await;
            let mut files = disk.files();
            let segment = files
                .values_mut()
                .find(|bytes| bytes.windows(last.len()).any(|window| window == &last[..]));
            let bytes = segment.expect("the log holds it");
            let at = bytes.windows(last.len()).position(|window| window == &last[..]);
            bytes[at.expect("it was found")] ^= 1;
            let opened = look(&from_files(files), config).await;
            assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{fsync:?}");
        }
    });
}

/// The commit index is no reason for a write of its own, but goes along with the next one.
#[test]
fn the_commit_index_goes_along() {
    run(async {
        let disk = MemoryDisk::default();
        let (mut world, _) = World::start(disk.clone(), SMALL).await.expect("it is new");
        assert!(world.act(&Op::Append { count: 5, bytes: 20 }).await);
        let term = world.now().hard_state.term;
        world.append(Vec::new(), Some(HardState { term, vote: 0, commit: 4 })).await;
        assert!(world.settle().await);
        world.append(vec![entry(6, term, 20)], None).await;
        assert!(world.settle().await);
        let recovered = look(&disk.after_power_cut(|| false), SMALL).await.expect("it is whole");
        assert_eq!(recovered.hard_state.commit, 4);
    });
}

/// Without room the log says so, keeps what it was given, and goes on by itself when there is room again.
#[test]
fn a_full_disk_is_waited_for() {
    run(async {
        let mut waited = 0;
        for free in (0..16_000).step_by(331) {
            let (mut world, _) =
                World::start(MemoryDisk::default(), SMALL).await.expect("it is new");
            world.disk.set_free_bytes(Some(free));
            for op in history() {
                assert!(world.act(&op).await, "{free} {op:?} {:?}", world.fatal);
            }
            let world = world.close().await;
            assert!(world.full - world.returned <= 1, "{} {}", world.full, world.returned);
            waited += world.full;
            let recovered = look(&world.disk, SMALL).await.expect("it was closed");
            world.check(&recovered, world.states.len() - 1);
        }
        assert!(waited > 20, "{waited}");
    });
}

/// An install that finds no room is carried out when there is room.
#[test]
fn an_install_waits_for_room() {
    run(async {
        for free in (0..2_000).step_by(97) {
            let disk = MemoryDisk::default();
            let (mut world, _) = World::start(disk.clone(), SMALL).await.expect("it is new");
            assert!(world.act(&Op::Append { count: 5, bytes: 300 }).await);
            disk.set_free_bytes(Some(free));
            let giver = tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                disk.set_free_bytes(None);
            });
            for op in
                [Op::Install { ahead: 3, contradicting: false }, Op::Append { count: 2, bytes: 10 }]
            {
                assert!(world.act(&op).await, "{free}: {:?}", world.fatal);
            }
            giver.await.expect("it only sleeps");
            let world = world.close().await;
            let recovered = look(&world.disk, SMALL).await.expect("it was closed");
            world.check(&recovered, world.states.len() - 1);
        }
    });
}

/// On a full disk a snapshot lets the log go, down to the snapshot itself, and what waited for room is written by itself.
#[test]
fn a_snapshot_makes_room_on_a_full_disk() {
    run(async {
        let disk = MemoryDisk::default();
        let (mut world, _) = World::start(disk.clone(), SMALL).await.expect("it is new");
        let used = |disk: &MemoryDisk| disk.files().values().map(|f| f.len() as u64).sum::<u64>();
        disk.set_capacity(Some(used(&disk) + 4 * SMALL.segment_bytes + 1500));
        assert!(world.act(&Op::Append { count: 1, bytes: 10 }).await);
        for round in 1..=5 {
            while world.full < round {
                let (last, _) = world.now().last();
                world.append(vec![entry(last + 1, 1, 300)], None).await;
                let report = timeout(Duration::from_secs(60), world.report()).await;
                report.expect("it is written, or there is no room").expect("the log goes on");
            }
            let written = &world.states[world.acked].entries;
            let index = written.last().expect("there was room at first").index;
            let (mut meta, pieces) = (snapshot_meta(index, 1), state_pieces(index, 1));
            (meta.bytes, meta.checksum) = (0, 0); // the log fills them in
            world.ask(LogRequest::SaveSnapshot { meta, pieces, compact_to: index }).await;
            while world.returned < round {
                let report = timeout(Duration::from_secs(60), world.report()).await;
                report.expect("there is room again").expect("the log goes on");
            }
            assert!(world.settle().await, "what waited is written");
        }
        assert_eq!(world.snapshots, 5);
        let recovered = look(&disk, SMALL).await.expect("nothing happened to it");
        world.check(&recovered, world.states.len() - 1);
    });
}

/// With a sync a second, what still fits into the segment in use is synced on a full disk, too.
#[test]
fn everysec_syncs_on_a_full_disk() {
    run(async {
        let config = LogConfig { fsync: Fsync::EverySecond, segment_bytes: 1 << 14, ..SMALL };
        let disk = MemoryDisk::default();
        let (mut world, _) = World::start(disk.clone(), config).await.expect("it is new");
        disk.set_capacity(Some(disk.files().values().map(|bytes| bytes.len() as u64).sum()));
        let (mut on_full, mut unsynced) = (0, 0);
        for at in 0..120 {
            assert!(world.act(&Op::Append { count: 1, bytes: 20 }).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let recovered = look(&disk.after_power_cut(|| false), config).await;
            let synced = recovered.expect("it was synced once").entries.len();
            assert!(synced + 12 > at, "{synced} of {at}");
            on_full += u64::from(world.full > 0);
            unsynced += u64::from(world.full > 0 && synced < at);
        }
        assert!(world.returned == 0 && on_full > 20 && unsynced > 10, "{on_full} {unsynced}");
    });
}

/// What waited for room is written in groups of a bounded size, each with a sync and a report of its own: room for one of them
/// is enough for some progress, and no segment becomes as large as all that waited.
#[test]
fn what_waited_is_written_in_groups() {
    run(async {
        let disk = MemoryDisk::default();
        let (mut world, _) = World::start(disk.clone(), SMALL).await.expect("it is new");
        let used = disk.files().values().map(|bytes| bytes.len() as u64).sum();
        disk.set_capacity(Some(used));
        for index in 1..=40 {
            // Some of them replace what waits.
            let index = if index > 20 { index - 3 } else { index };
            let term = if index > 17 { 2 } else { 1 };
            let hard_state = HardState { term, vote: 1, commit: 0 };
            world.append(vec![entry(index, term, 1 << 20)], Some(hard_state)).await;
        }
        while world.full == 0 {
            world.report().await.expect("the log waits");
        }
        disk.set_capacity(Some(used + (20 << 20)));
        let report = timeout(Duration::from_secs(60), world.report()).await;
        let report = report.expect("some of it has room").expect("the log goes on");
        let LogDone::Appended { number } = report else { panic!("{report:?}") };
        assert!((5..15).contains(&number), "{number}");
        disk.set_capacity(None);
        assert!(world.settle().await, "{:?}", world.fatal);
        assert!(disk.files().values().all(|bytes| bytes.len() < 10 << 20));
        let recovered = look(&disk.after_power_cut(|| false), SMALL).await.expect("it is whole");
        world.check(&recovered, world.states.len() - 1);
    });
}

/// With a sync a second, a load that never pauses is synced all the same.
#[test]
fn everysec_syncs_under_load() {
    run(async {
        let config = LogConfig { fsync: Fsync::EverySecond, ..SMALL };
        let config = LogConfig { segment_bytes: 1 << 20, ..config };
        let (mut world, _) = World::start(MemoryDisk::default(), config).await.expect("it is new");
        let mut synced_entries = Vec::new();
        for _ in 0..40 {
            assert!(world.act(&Op::Append { count: 1, bytes: 20 }).await);
            // There is always a request before the second is over.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let recovered = look(&world.disk.after_power_cut(|| false), config).await;
            synced_entries.push(recovered.expect("it was synced once").entries.len());
        }
        assert!(
            synced_entries.iter().enumerate().all(|(at, synced)| synced + 12 > at),
            "{synced_entries:?}"
        );
        assert!(
            synced_entries.iter().enumerate().any(|(at, synced)| *synced <= at),
            "each was synced"
        );
    });
}

/// The message of a refusal says what happened, what was not lost and what to do.
#[test]
fn a_refusal_speaks_to_a_person() {
    let damaged =
        StoreError::Damaged { file: "/data/log-1".into(), offset: 77, why: "gone".into() };
    let text = OpenError::Store(damaged).to_string();
    for part in ["/data/log-1", "byte 77", "gone", "no file was changed", "restore a backup"] {
        assert!(text.contains(part), "{text}");
    }
}

/// Another directory's files are not taken for this one's.
#[test]
fn foreign_files_are_refused() {
    run(async {
        let (files, _) = finished(true).await;
        let last = last_segment(&files);
        let logs = || files.keys().filter(|name| name.starts_with("log-") && **name != last);
        let mut swapped = files.clone();
        swapped.insert(logs().next_back().expect("there are many").clone(), files[&last].clone());
        damage_at(recover_from_bytes(swapped)).expect_err("a segment in another's place");
        let other = MemoryDisk::default();
        let (mut store, _) = open(other.clone(), SMALL).await.expect("it is new");
        let identity = NodeMeta { storage_id: 5, ..meta(1) };
        store.save_meta(identity).await.expect("there is room");
        let foreign = other.files();
        for (name, bytes) in
            [("meta", &foreign["meta"]), (&last, &foreign[&last_segment(&foreign)])]
        {
            let mut files = files.clone();
            files.insert(name.to_owned(), bytes.clone());
            damage_at(recover_from_bytes(files)).expect_err("a file of another directory");
        }
    });
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..6_u64, 0..600_usize).prop_map(|(count, bytes)| Op::Append { count, bytes }),
        2 => (0..4_u64).prop_map(|replaced| Op::NewTerm { replaced }),
        2 => (0..4_u64).prop_map(|back| Op::Snapshot { back }),
        1 => (0..5_u64, any::<bool>())
            .prop_map(|(ahead, contradicting)| Op::Install { ahead, contradicting }),
        1 => Just(Op::Meta),
        1 => Just(Op::Rest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random histories, crashes and power cuts: what was acknowledged is found.
    #[test]
    fn random_histories_survive_a_crash(
        ops in prop::collection::vec(any_op(), 1..30),
        operation in 1..400_u64,
        small in 300..3000_u64,
    ) {
        run(crash_at(operation, LogConfig { segment_bytes: small, ..SMALL }, &ops));
    }

    /// Random damage to a rested log: refused, or nothing is missing.
    #[test]
    fn random_damage_is_harmless_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255_u8, 1..600_usize), 1..4),
    ) {
        run(async {
            let (mut files, world) = finished(true).await;
            let names: Vec<String> = files.keys().cloned().collect();
            let last = last_segment(&files);
            let mut last_is_changed = false;
            for (name, at, value, length) in changes {
                let name = name.get(&names);
                // Whoever destroys the last group and the seal behind it leaves what a torn write leaves.
                let length = if *name == last { 1 } else { length };
                if *name == last && std::mem::replace(&mut last_is_changed, true) {
                    continue;
                }
                let bytes = files.get_mut(name).expect("it is there");
                let at = at.index(bytes.len());
                let end = (at + length).min(bytes.len());
                bytes[at..end].iter_mut().for_each(|byte| *byte ^= value);
            }
            if let Ok(recovered) = recover_from_bytes(files) {
                world.check(&recovered, world.states.len() - 1);
            }
        });
    }

    /// Arbitrary bytes under the names of the log never panic.
    #[test]
    fn arbitrary_files_never_panic(
        files in prop::collection::btree_map("(meta|log-000000000000000[1-3]|snapshot-000000000000000[1-3]|spare)", prop::collection::vec(any::<u8>(), 0..200), 0..5),
    ) {
        drop(recover_from_bytes(files));
    }
}
