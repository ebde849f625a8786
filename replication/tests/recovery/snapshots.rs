//! Snapshots that are written and read beside the log: what comes of them when they are given up, overtaken or rotten.

use std::time::Duration;

use bytes::Bytes;
use steadfast_replication::ports::{Disk as _, File as _};
use steadfast_replication::storage::memory::MemoryDisk;
use steadfast_replication::storage::{LogDone, LogRequest, PIECES_MAX, Piece};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::world::{Op, SMALL, World, look, run, snapshot_meta, state_bytes};

const APPEND: Op = Op::Append { count: 3, bytes: 40 };
const SNAPSHOT: Op = Op::Snapshot { back: 0 };

fn snapshots(disk: &MemoryDisk) -> Vec<String> {
    disk.files().into_keys().filter(|name| name.starts_with("snapshot-")).collect()
}

/// Begins to save the state at this entry; its pieces are still to come.
async fn begin(world: &mut World, index: u64) -> mpsc::Sender<Piece> {
    let mut meta = snapshot_meta(index, 1);
    (meta.bytes, meta.checksum) = (0, 0);
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    world.ask(LogRequest::SaveSnapshot { meta, pieces, compact_to: index }).await;
    sender
}

/// What the encoder hands over for the state at this entry, piece by piece.
async fn feed(pieces: &mpsc::Sender<Piece>, index: u64, mut between: impl AsyncFnMut()) {
    let chunks = state_bytes(index, 1);
    let count = chunks.len();
    for (number, bytes) in (1..).zip(chunks) {
        let _ = pieces.send(Piece { bytes, is_last: number == count }).await; // nobody may want it any more
        between().await;
    }
}

/// A newest snapshot that can't be read is not sent, and the next one takes its place: the good one before it stays.
#[test]
fn an_unreadable_snapshot_is_replaced() {
    for (offset, head_is_sound) in [(20, false), (140, true)] {
        run(replace(offset, head_is_sound));
    }
}

async fn replace(offset: u64, head_is_sound: bool) {
    let disk = MemoryDisk::default();
    let (mut world, _) = World::start(disk.clone(), SMALL).await.expect("it is new");
    for op in [APPEND, SNAPSHOT, APPEND, SNAPSHOT] {
        assert!(world.act(&op).await);
    }
    let both = snapshots(&disk);
    let [before, newest] = &both[..] else { panic!("two are kept: {both:?}") };
    let mut file = disk.open(newest).expect("it is there");
    file.write_at(&[0xA5; 8], offset).expect("there is room"); // the state begins at 124
    for is_rotten in [true, false] {
        world.ask(LogRequest::LoadSnapshot { to: 2 }).await;
        let Some(LogDone::SnapshotLoading { snapshot, .. }) = world.report().await else {
            panic!("it is answered");
        };
        assert_eq!(snapshot.is_some(), head_is_sound || !is_rotten);
        if let Some((meta, mut pieces)) = snapshot {
            let mut state = Vec::new();
            while let Some(piece) = pieces.recv().await {
                state.extend(piece);
            }
            if is_rotten {
                assert!((state.len() as u64) < meta.bytes, "what is rotten is not handed on whole");
                assert!(matches!(world.report().await, Some(LogDone::SnapshotUnreadable)));
            } else {
                assert_eq!((meta.index, state), (9, state_bytes(9, 1).concat()));
            }
        }
        assert!(world.act(&APPEND).await && world.act(&SNAPSHOT).await);
        if is_rotten {
            let kept = snapshots(&disk);
            assert!(kept.len() == 2 && kept.contains(before) && !kept.contains(newest), "{kept:?}");
        }
    }
    let recovered = look(&disk, SMALL).await.expect("what is damaged is gone");
    world.check(&recovered, world.states.len() - 1);
}

/// The log goes on while a snapshot is written; the snapshot counts once all of it is there.
#[test]
fn appends_go_on_while_a_snapshot_is_written() {
    run(async {
        let disk = MemoryDisk::default();
        let (mut world, _) = World::start(disk.clone(), SMALL).await.expect("it is new");
        assert!(world.act(&APPEND).await);
        let pieces = begin(&mut world, 3).await;
        let world = std::cell::RefCell::new(world);
        #[allow(clippy::await_holding_refcell_ref)] // one task has it
        let append = async || assert!(world.borrow_mut().act(&APPEND).await, "it is acknowledged");
        feed(&pieces, 3, append).await;
        let mut world = world.into_inner();
        while world.snapshots == 0 {
            world.report().await.expect("the log goes on");
        }
        assert!(world.act(&APPEND).await);
        let recovered = look(&disk, SMALL).await.expect("it is sound");
        assert_eq!(recovered.snapshot.as_ref().map(|(meta, _)| meta.index), Some(3));
        world.check(&recovered, world.states.len() - 1);
    });
}

/// A state that is not handed over to its end leaves nothing behind.
#[test]
fn a_snapshot_that_is_given_up_leaves_nothing() {
    run(async {
        let disk = MemoryDisk::default();
        let (mut world, _) = World::start(disk.clone(), SMALL).await.expect("it is new");
        assert!(world.act(&APPEND).await);
        let pieces = begin(&mut world, 3).await;
        let bytes = state_bytes(3, 1).remove(0);
        pieces.send(Piece { bytes, is_last: false }).await.expect("it is wanted");
        drop(pieces);
        assert!(matches!(world.report().await, Some(LogDone::SnapshotAbandoned)));
        assert_eq!(snapshots(&disk), Vec::<String>::new());
        assert!(world.act(&APPEND).await && world.act(&SNAPSHOT).await);
        let recovered = look(&disk, SMALL).await.expect("it is sound");
        world.check(&recovered, world.states.len() - 1);
    });
}

/// A leader's snapshot, of a later entry or of the very same, takes the place of an own one that is being written, wherever that one is.
#[test]
fn an_install_overtakes_an_own_snapshot() {
    for (ahead, fed_before, fed_after) in
        [(0, false, false), (0, true, false), (4, false, true), (4, true, false), (4, false, false)]
    {
        run(async {
            let disk = MemoryDisk::default();
            let (mut world, _) = World::start(disk.clone(), SMALL).await.expect("it is new");
            assert!(world.act(&APPEND).await);
            let pieces = begin(&mut world, 4).await; // of an entry that the log does not hold: as if it had come and gone
            if fed_before {
                feed(&pieces, 4, async || {}).await;
            }
            assert!(world.act(&Op::Install { ahead, contradicting: false }).await);
            if fed_after {
                feed(&pieces, 4, async || {}).await;
            }
            drop(pieces);
            for op in [APPEND, SNAPSHOT, APPEND, SNAPSHOT, APPEND] {
                assert!(world.act(&op).await, "{:?}", world.fatal);
            }
            let kept = snapshots(&disk);
            assert!(kept.len() == 2 && kept.iter().all(|name| !name.contains("part")), "{kept:?}");
            let recovered = look(&disk, SMALL).await.expect("it is sound");
            world.check(&recovered, world.states.len() - 1);
        });
    }
}

/// A large file that is not needed any more is freed a piece at a time, under a name that the next start removes.
#[test]
fn large_files_are_freed_piece_by_piece() {
    run(async {
        let disk = MemoryDisk::default();
        let (mut world, _) = World::start(disk.clone(), SMALL).await.expect("it is new");
        for round in 1..=3 {
            assert!(world.act(&APPEND).await);
            let pieces = begin(&mut world, round * 3).await;
            for is_last in [false, true] {
                let bytes = Bytes::from(vec![round as u8; 4 << 20]);
                pieces.send(Piece { bytes, is_last }).await.expect("it is wanted");
            }
            while world.snapshots < round {
                world.report().await.expect("the log goes on");
            }
        }
        let gone = |disk: &MemoryDisk| {
            let mut files = disk.files().into_iter();
            files.find(|(name, _)| name.contains(".gone")).map(|(_, bytes)| bytes.len())
        };
        let mut sizes = Vec::new();
        sleep(Duration::from_millis(1)).await;
        while let Some(size) = gone(&disk) {
            sizes.push(size);
            let recovered = look(&disk, SMALL).await.expect("it is sound at any moment");
            assert_eq!(recovered.snapshot.map(|(meta, _)| meta.index), Some(9));
            sleep(Duration::from_millis(10)).await;
        }
        assert!(sizes.len() >= 3 && sizes.is_sorted_by(|one, next| one > next), "{sizes:?}");
        assert_eq!(snapshots(&disk).len(), 2);
    });
}
