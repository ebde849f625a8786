//! What lies on a disk is read again while its node runs, and what has rotted is written anew from memory.

mod world;

use std::time::Duration;

use steadfast_replication::ports::{Disk as _, File as _};
use steadfast_replication::storage::memory::MemoryDisk;
use tokio::time::sleep;
use world::{MemoryNet, Running, config, run, wait_for};

const PAUSE: Duration = Duration::from_secs(5);

/// A node on its own, whose segments hold a few entries each.
async fn start(disk: MemoryDisk) -> Running {
    let mut alone = config(1, &[]);
    alone.log.segment_bytes = 4096;
    alone.log.scrub_pause = PAUSE;
    Running::start(&MemoryNet::new(), alone, disk).await.expect("it opens")
}

async fn write(node: &mut Running, parcels: usize) {
    for _ in 0..parcels {
        node.submit(300);
        wait_for("it is applied", || node.is_settled()).await;
    }
}

fn names(node: &Running, kind: &str) -> Vec<String> {
    let mut names = node.disk.list().expect("it can be listed");
    names.retain(|name| name.starts_with(kind) && !name.contains(".part"));
    names.sort();
    names
}

/// Flips a bit of a file, in the middle of what it holds, or where there are zeroes: before a record that begins a sector, or at the end.
async fn rot(node: &Running, name: &str, place: Place) {
    let mut file = node.disk.open(name).expect("it is there");
    let mut bytes = vec![0; file.len().expect("it has a length") as usize];
    file.read_at(&mut bytes, 0).expect("it can be read");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("it holds something");
    let sealed = || (512..used).step_by(512).find(|at| bytes[at - 1] == 0 && bytes[*at] != 0);
    let at = match place {
        Place::Middle => used / 2,
        Place::Gap => sealed().expect("a record begins a sector") - 1,
        Place::End => bytes.len() - 1,
    };
    file.write_at(&[bytes[at] ^ 4], at as u64).expect("it can be written");
    file.sync().await.expect("it can be synced");
}

#[derive(Clone, Copy)]
enum Place {
    Middle,
    Gap,
    End,
}

async fn snapshot(node: &mut Running) {
    let before = node.status.snapshot_index();
    node.send(steadfast_replication::gateway::Intake::Save);
    wait_for("it has a snapshot", || node.status.snapshot_index() > before).await;
}

/// Each kind of file rots, is found, and the next start finds a whole directory with all in it, also if hardly anything was written since.
#[test]
fn what_rots_is_written_anew() {
    run(async {
        for (kind, place) in [
            ("log-", Place::Middle),
            ("log-", Place::Gap),
            ("log-", Place::End),
            ("snapshot-", Place::Middle),
            ("meta", Place::Middle),
        ] {
            let mut node = start(MemoryDisk::default()).await;
            wait_for("it is registered", || node.is_registered()).await;
            write(&mut node, 40).await;
            snapshot(&mut node).await;
            write(&mut node, 40).await;
            snapshot(&mut node).await;
            for _ in 0..20 {
                write(&mut node, 2).await;
                sleep(Duration::from_millis(300)).await; // of the test's own time: the log is sealed
            }
            let all = names(&node, kind);
            let name = if kind == "log-" { &all[all.len() / 2] } else { &all[all.len() - 1] };
            rot(&node, name, place).await;
            let rotten = node.disk.files().remove(name);
            let rounds = node.status.disk_scrub_rounds();
            wait_for("it was read again", || node.status.disk_scrub_rounds() > rounds + 1).await;
            sleep(Duration::from_secs(1)).await; // of the test's own time: the snapshot is written
            let kept = node.machine();
            let disk = node.crash().await;
            assert_ne!(disk.files().remove(name), rotten, "{name} is as it was");
            let again = start(disk).await;
            wait_for("all is there", || again.machine().applied == kept.applied).await;
        }
    });
}

/// Round after round finds nothing where nothing rots, while segments and snapshots come and go.
#[test]
fn what_is_whole_is_left_alone() {
    run(async {
        let mut node = start(MemoryDisk::default()).await;
        wait_for("it is registered", || node.is_registered()).await;
        for _ in 0..20 {
            write(&mut node, 10).await;
            snapshot(&mut node).await;
            sleep(PAUSE / 2).await; // of the test's own time
        }
        assert!(node.status.disk_scrub_rounds() >= 5);
        for _ in 0..20 {
            write(&mut node, 3).await;
            sleep(Duration::from_millis(300)).await; // of the test's own time: the log is sealed
        }
        let index = node.status.snapshot_index();
        sleep(PAUSE * 3).await; // of the test's own time: nobody asks for a snapshot
        assert_eq!(node.status.snapshot_index(), index);
    });
}

/// A disk that is full for long keeps nobody busy, and what has rotted on it waits for room.
#[test]
fn a_full_disk_is_waited_for() {
    run(async {
        let mut node = start(MemoryDisk::default()).await;
        wait_for("it is registered", || node.is_registered()).await;
        node.disk.set_free_bytes(Some(0));
        for _ in 0..20 {
            node.submit(300);
            sleep(Duration::from_millis(100)).await; // of the test's own time
        }
        assert!(!node.is_settled(), "there is no room for all");
        let (rounds, operations) = (node.status.disk_scrub_rounds(), node.disk.operations());
        sleep(PAUSE * 4).await; // of the test's own time
        assert!(node.status.disk_scrub_rounds() > rounds + 1);
        assert!(node.disk.operations() < operations + 500, "it tries again now and then");
        node.disk.set_free_bytes(None);
        wait_for("all is written", || node.is_settled()).await;
    });
}
