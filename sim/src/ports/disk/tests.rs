//! Tests of the simulated disk: what survives, what fails and how, what a trigger leaves behind.

use super::*;
use ports::{Disk as _, File as _};
use std::future::Future;
use std::task::{Context, Poll, Waker};

/// A future that needs no waiting.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a sync without delay waited"),
    }
}

fn bytes(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name).expect("it is there");
    let mut buffer = vec![0; file.len().expect("it has a length") as usize];
    file.read_at(&mut buffer, 0).expect("it reads");
    buffer
}

/// A killed process leaves its cache behind; its handles are dead.
#[test]
fn kill_keeps_the_cache() {
    let platter = SharedPlatter::default();
    let disk = platter.mount();
    let mut file = disk.create("a").expect("it is new");
    file.write_at(b"hello", 0).expect("there is room");
    disk.kill();
    assert!(file.write_at(b"x", 0).is_err() && now(file.sync()).is_err());
    assert_eq!(bytes(&platter.mount(), "a"), b"hello");
}

/// What was synced, name included, is always there; what was not is there in parts or not at all.
#[test]
fn a_power_cut_keeps_what_was_synced() {
    let (mut kept_whole, mut kept_part, mut name_lost) = (0, 0, 0);
    for seed in 0..200 {
        let platter = SharedPlatter::default();
        let disk = platter.mount();
        let mut file = disk.create("a").expect("it is new");
        file.write_at(&[1; 4096], 0).expect("there is room");
        now(file.sync()).expect("it syncs");
        now(disk.sync_directory()).expect("it syncs");
        file.write_at(&[2; 4096], 2048).expect("there is room");
        disk.create("b").expect("it is new");
        platter.lock().power_cut(&mut Draws::new(seed, "cut"));
        let after = bytes(&platter.mount(), "a");
        assert!(after.iter().take(2048).all(|byte| *byte == 1), "synced bytes");
        assert!(after.iter().all(|byte| *byte <= 2));
        let new = after.iter().fold(0, |sum, byte| sum + usize::from(*byte == 2));
        kept_whole += usize::from(new == 4096);
        kept_part += usize::from(new > 0 && new < 4096);
        name_lost += usize::from(platter.mount().open("b").is_err());
    }
    assert!(kept_whole > 0 && kept_part > 0 && name_lost > 0 && name_lost < 200);
}

/// After a failed sync the next one succeeds, and the bytes are gone with the power all the same.
#[test]
fn a_failed_sync_loses_bytes() {
    let platter = SharedPlatter::default();
    let disk = platter.mount();
    let mut file = disk.create("a").expect("it is new");
    file.write_at(&[1; 512], 0).expect("there is room");
    now(file.sync()).expect("it syncs");
    now(disk.sync_directory()).expect("it syncs");
    file.write_at(&[2; 512], 0).expect("there is room");
    platter.lock().faults.sync_fails_once = true;
    assert!(now(file.sync()).is_err());
    now(file.sync()).expect("the second one says that all is well");
    assert_eq!(bytes(&disk, "a"), [2; 512]);
    platter.lock().power_cut(&mut Draws::new(1, "cut"));
    assert_eq!(bytes(&platter.mount(), "a"), [1; 512]);
}

/// What is written while a sync is under way is not durable by it, and what the sync found is not before it ends.
#[test]
fn a_sync_covers_what_was_there_when_it_began() {
    let platter = SharedPlatter::default();
    let disk = platter.mount();
    let mut file = disk.create("a").expect("it is new");
    now(disk.sync_directory()).expect("it syncs");
    file.write_at(&[1; 1024], 0).expect("there is room");
    let flight = platter.lock().inode(file.inode).begin_sync();
    let early = platter.copy();
    file.write_at(&[2; 512], 512).expect("there is room");
    platter.lock().inode(file.inode).end_sync(flight);
    early.lock().lose_unsynced();
    assert_eq!(bytes(&early.mount(), "a"), b"");
    let mut kept = BTreeSet::new();
    for seed in 0..50 {
        let copy = platter.copy();
        copy.lock().power_cut(&mut Draws::new(seed, "cut"));
        let after = bytes(&copy.mount(), "a");
        assert_eq!(after.get(..512), Some(&[1; 512][..]));
        kept.insert(after.get(600).copied());
    }
    assert_eq!(kept, BTreeSet::from([Some(1), Some(2)]));
}

/// A full disk refuses growth with the error that the log store looks for.
#[test]
fn a_full_disk_refuses() {
    let platter = SharedPlatter::default();
    let disk = platter.mount();
    let mut file = disk.create("a").expect("it is new");
    file.write_at(&[1; 10], 0).expect("there is room");
    platter.lock().faults.full = true;
    let error = file.write_at(&[2; 10], 5).expect_err("it grows");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.write_at(&[2; 5], 5).expect("what is there can be overwritten");
    assert_eq!(disk.free_bytes().expect("it answers"), 0);
}

/// A disk with one file `log-1` of three sectors, durable.
fn sound() -> (SharedPlatter, SimDisk, SimFile) {
    let platter = SharedPlatter::default();
    let disk = platter.mount();
    let mut file = disk.create("log-1").expect("it is new");
    file.write_at(&[1; 1536], 0).expect("there is room");
    now(file.sync()).expect("it syncs");
    now(disk.sync_directory()).expect("it syncs");
    (platter, disk, file)
}

fn number(result: io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// A failed write leaves the prefix that arrived; a failed read and a refused open leave nothing. Each fails once.
#[test]
fn single_operations_fail() {
    let (platter, disk, mut file) = sound();
    platter.lock().faults.write_fails_once = Some(50);
    assert_eq!(number(file.write_at(&[2; 100], 0)), Some(5));
    assert_eq!(bytes(&disk, "log-1").get(49..51), Some(&[2, 1][..]));
    file.write_at(&[3; 100], 0).expect("the next one succeeds");
    platter.lock().faults.read_fails_once = true;
    assert_eq!(number(file.read_at(&mut [0; 10], 0)), Some(5));
    assert_eq!(file.read_at(&mut [0; 10], 0).expect("the next one succeeds"), 10);
    for (refusal, errno) in [(Refusal::Denied, 13), (Refusal::TooManyFiles, 24)] {
        platter.lock().faults.open_fails_once = Some(refusal);
        assert_eq!(number(disk.open("log-1")), Some(errno));
        platter.lock().faults.open_fails_once = Some(refusal);
        assert_eq!(number(disk.create("new")), Some(errno));
        assert!(disk.open("log-1").is_ok() && disk.open("new").is_err());
    }
    assert_eq!(platter.lock().take_mishaps().len(), 6);
}

/// Room is counted in bytes: what fits of a write arrives, and files that are removed make room.
#[test]
fn room_is_counted_in_bytes() {
    let (platter, disk, mut file) = sound();
    platter.lock().faults.free_bytes = Some(10);
    let error = file.write_at(&[2; 20], 1530).expect_err("4 bytes too many");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().expect("it answers"), 1546);
    assert_eq!(disk.free_bytes().expect("it answers"), 0);
    file.write_at(&[3; 100], 0).expect("nothing grows");
    assert!(file.set_len(2000).is_err());
    file.set_len(1540).expect("it shrinks");
    assert_eq!(disk.free_bytes().expect("it answers"), 6);
    let mut other = disk.create("other").expect("a name takes no room");
    other.write_at(&[4; 6], 0).expect("it fits");
    disk.remove("log-1").expect("it is there");
    assert_eq!(disk.free_bytes().expect("it answers"), 1540);
    platter.lock().faults.free_bytes = None;
    other.write_at(&[4; 4000], 0).expect("room has come back");
}

/// A lost write says that all is well; the file is as long as if it had been written.
#[test]
fn a_phantom_write_writes_nothing() {
    let (platter, disk, mut file) = sound();
    platter.lock().faults.phantom_writes = 1;
    file.write_at(&[2; 1000], 1000).expect("it says so");
    now(file.sync()).expect("it syncs");
    let expected = [&[1; 1536][..], &[0; 464]].concat();
    assert_eq!(bytes(&disk, "log-1"), expected);
    file.write_at(&[2; 1000], 1000).expect("there is room");
    assert_eq!(bytes(&disk, "log-1").get(1000), Some(&2));
}

/// A write that goes astray overwrites what is elsewhere, durably, and makes nothing longer.
#[test]
fn a_misdirected_write_lands_elsewhere() {
    let (platter, disk, mut file) = sound();
    let mut other = disk.create("log-2").expect("it is new");
    other.write_at(&[5; 600], 0).expect("there is room");
    now(other.sync()).expect("it syncs");
    now(disk.sync_directory()).expect("it syncs");
    let misdirect = |how, file: &mut SimFile| {
        platter.lock().faults.misdirect_next = Some(how);
        file.write_at(&[2; 512], 512).expect("it says so");
        platter.lock().lose_unsynced();
        let disk = platter.mount();
        (bytes(&disk, "log-1"), bytes(&disk, "log-2"), platter.lock().take_mishaps().concat())
    };
    let (one, two, told) = misdirect(Misdirection::By(512), &mut file);
    assert_eq!(
        (one.get(1000), one.get(1024), one.len(), two),
        (Some(&1), Some(&2), 1536, vec![5; 600])
    );
    assert!(told.contains("log-1 at 1024"), "{told}");
    let (one, two, told) = misdirect(Misdirection::OtherFile, &mut file);
    assert_eq!(one.get(512..1024), Some(&[1; 512][..]));
    assert_eq!((two.get(511), two.get(512), two.len()), (Some(&5), Some(&2), 600));
    assert!(told.contains("88 bytes"), "{told}");
    let (one, ..) = misdirect(Misdirection::By(-1000), &mut file);
    assert_eq!(one.get(..1024), Some(&[1; 1024][..]), "it would land in front of the file");
}

/// Rot hits durable data of the files that are meant, never zeroes that keep a place, and is found after a power cut as well.
#[test]
fn what_is_at_rest_rots() {
    let mut whole = BTreeSet::new();
    for seed in 0..100 {
        let (platter, disk, mut file) = sound();
        file.set_len(1 << 16).expect("there is room");
        file.write_at(&[7; 512], 512).expect("there is room");
        disk.create("snapshot-1").expect("it is new");
        let mut draws = Draws::new(seed, "rot");
        assert_eq!(platter.lock().rot(Rot::BitFlip, Among::Snapshots, &mut draws), None);
        let rot = draws.pick(&[Rot::BitFlip, Rot::BadSectors, Rot::ZeroedSector]);
        let told = platter.lock().rot(rot, Among::Segments, &mut draws).expect("there is data");
        assert!(told.contains("log-1"), "{told}");
        platter.lock().lose_unsynced();
        let disk = platter.mount();
        let mut file = disk.open("log-1").expect("it is there");
        let mut buffer = vec![0; 1536];
        let read = file.read_at(&mut buffer, 0);
        if rot == Rot::BadSectors {
            assert_eq!(number(read), Some(5));
            file.write_at(&[1; 1535], 0).expect("there is room");
            file.write_at(&[1; 5120], 1024).expect("there is room");
            assert!(file.read_at(&mut buffer, 0).is_ok(), "written anew");
        } else {
            assert_eq!(read.expect("it reads"), 1536);
            let rotten = buffer.iter().filter(|byte| **byte != 1).count();
            assert_eq!(rotten, if rot == Rot::BitFlip { 1 } else { 512 }, "{told}");
            assert!(buffer.get(512..1024).expect("three sectors").iter().all(|byte| *byte == 1));
        }
        whole.insert(format!("{rot:?}"));
    }
    assert_eq!(whole.len(), 3);
}

/// An old backup is what was seen when it was taken, and is durable; an empty disk is empty.
#[test]
fn disks_are_wiped_and_restored() {
    let (platter, disk, mut file) = sound();
    file.write_at(&[2; 512], 0).expect("there is room");
    let backup = platter.copy();
    file.write_at(&[3; 512], 0).expect("there is room");
    disk.create("later").expect("it is new");
    platter.lock().wipe();
    assert_eq!(platter.mount().list().expect("it answers"), Vec::<String>::new());
    platter.restore_from(&backup, Back::Copied);
    platter.lock().lose_unsynced();
    assert_eq!(platter.mount().list().expect("it answers"), ["log-1"]);
    assert_eq!(bytes(&platter.mount(), "log-1").get(511..513), Some(&[2, 1][..]));
}

/// A rename that survives a loss of power is that of its file, also where another file has the old name because what came between
/// is lost. Found by seed 11639 of the swarm at 712606a.
#[test]
fn a_rename_is_that_of_its_file() {
    let mut renamed = 0;
    for seed in 0..200 {
        let (platter, disk, _file) = sound();
        disk.remove("log-1").expect("it is there");
        let mut file = disk.create("log-1").expect("its name is free");
        file.write_at(&[7; 512], 0).expect("there is room");
        now(file.sync()).expect("it syncs");
        disk.rename("log-1", "log-2").expect("it is there");
        platter.lock().power_cut(&mut Draws::new(seed, "power"));
        let disk = platter.mount();
        if disk.open("log-2").is_ok() {
            assert_eq!(bytes(&disk, "log-2"), [7; 512], "seed {seed}");
            renamed += 1;
        }
    }
    assert!(renamed > 50, "{renamed}");
}

/// A file without a name lives as long as it is open, and takes no memory for longer.
#[test]
fn a_removed_file_lives_while_it_is_open() {
    let (platter, disk, file) = sound();
    disk.remove("log-1").expect("it is there");
    now(disk.sync_directory()).expect("it syncs");
    assert_eq!(file.read_at(&mut [0; 10], 0).expect("it reads"), 10);
    assert_eq!(platter.lock().inodes.len(), 1);
    drop(file);
    assert_eq!(platter.lock().inodes.len(), 0);
}

/// At each operation and moment: all handles die at once; what is left is the state before it or after it.
#[test]
fn a_trigger_kills_the_process() {
    use IoKind::{Create, Open, Read, Remove, Rename, SetLen, Sync, SyncDirectory, Write};
    let run = |kind, moment, nth| {
        let (platter, _, _) = sound();
        let disk = platter.mount();
        platter.lock().arm(Some(IoTrigger { kind, among: Among::Any, nth, moment }));
        let work = || -> io::Result<()> {
            let mut file = disk.open("log-1")?;
            file.read_at(&mut [0; 1], 0)?;
            file.write_at(&[2; 512], 0)?;
            file.set_len(2048)?;
            now(file.sync())?;
            disk.create("a")?;
            disk.rename("a", "b")?;
            disk.remove("b")?;
            now(disk.sync_directory())
        };
        let died = work().is_err();
        assert_eq!(died, disk.gate().is_closed() && disk.list().is_err());
        let fired = platter.lock().take_fired().map(|event| event.to_string());
        assert_eq!(died, fired.is_some() && !platter.lock().is_armed());
        (platter, fired.unwrap_or_default())
    };
    let told = [
        (Create, "Create a"),
        (Open, "Open log-1"),
        (Read, "Read log-1 1 at 0"),
        (Write, "Write log-1 512 at 0"),
        (SetLen, "SetLen log-1 to 2048"),
        (Sync, "Sync log-1"),
        (SyncDirectory, "SyncDirectory "),
        (Rename, "Rename a"),
        (Remove, "Remove b"),
    ];
    for (kind, text) in told {
        for moment in [Moment::Before, Moment::During, Moment::After] {
            assert_eq!(run(Some(kind), moment, 1).1, text);
        }
    }
    let seen = |kind, moment| {
        let (platter, _) = run(Some(kind), moment, 1);
        let cached = bytes(&platter.mount(), "log-1");
        platter.lock().lose_unsynced();
        (cached, bytes(&platter.mount(), "log-1").first().copied())
    };
    assert_eq!(seen(Write, Moment::Before), (vec![1; 1536], Some(1)));
    assert_eq!(seen(Write, Moment::After).0.first(), Some(&2));
    assert_eq!(seen(SetLen, Moment::Before).0.len(), 1536);
    assert_eq!(seen(SetLen, Moment::After).0.len(), 2048);
    assert_eq!(seen(Sync, Moment::Before).1, Some(1));
    assert_eq!(seen(Sync, Moment::During).1, Some(1));
    assert_eq!(seen(Sync, Moment::After).1, Some(2));
    assert_eq!(run(None, Moment::Before, 3).1, "Sync log-1", "opens and reads change nothing");
    assert_eq!(run(None, Moment::Before, 8).1, "", "there were seven");
}

/// Only files that are meant count; what was done is told when it is asked for.
#[test]
fn operations_are_told_and_counted() {
    let (platter, disk, mut file) = sound();
    assert!(platter.lock().take_events().is_empty(), "nobody asked");
    platter.lock().note_events(true);
    let among = Among::Named("snap");
    let trigger = IoTrigger { kind: Some(IoKind::Write), among, nth: 1, moment: Moment::After };
    platter.lock().arm(Some(trigger));
    file.write_at(&[2; 10], 20).expect("it is another file");
    let mut snapshot = disk.create("snapshot-1").expect("it is new");
    assert!(snapshot.write_at(&[3; 5], 0).is_err());
    let told: Vec<_> = platter.lock().take_events().iter().map(IoEvent::to_string).collect();
    assert_eq!(told, ["Write log-1 10 at 20", "Create snapshot-1", "Write snapshot-1 5 at 0"]);
    assert_eq!(platter.lock().count_of(IoKind::Write), 3);
    let copy = platter.copy();
    bytes(&copy.mount(), "log-1");
    assert!(copy.lock().take_events().is_empty() && platter.lock().take_events().is_empty());
}
