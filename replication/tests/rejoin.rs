//! A member of three whose directory is damaged starts anew, gets its data back from the others, and votes again only then.

mod world;

use std::time::Duration;

use steadfast_replication::driver::{self, OpenError};
use steadfast_replication::gateway::{Checkpoint, Intake};
use steadfast_replication::ports::{Disk as _, File as _};
use steadfast_replication::storage::memory::{Failure, MemoryDisk};
use steadfast_replication::storage::{self, Copies, Damage, LogConfig, Rejoin};
use tokio::time::sleep;
use world::{MemoryNet, Running, THREE, config, equal, run, start, start_three, wait_for};

/// Flips a byte in the middle of what the first segment holds.
fn damage(disk: &MemoryDisk) {
    let mut file = disk.open("log-0000000000000001").expect("it is there");
    let mut byte = [0];
    file.read_at(&mut byte, 4500).expect("it can be read");
    file.write_at(&[byte[0] ^ 0x55], 4500).expect("it can be written");
}

fn rejoin(disk: &MemoryDisk) -> Rejoin {
    storage::identity(disk).expect("it can be read").expect("there is one").rejoin
}

/// Of a store that sets damage aside.
fn taken_apart() -> LogConfig {
    LogConfig { damage: Damage::SetAside, ..config(2, &THREE).log }
}

fn aside(disk: &MemoryDisk) -> usize {
    let names = disk.list().expect("it can be listed");
    names.iter().filter(|name| name.starts_with("damaged-")).count()
}

async fn write(nodes: &mut [Running], parcels: usize) {
    for _ in 0..parcels {
        nodes.iter_mut().for_each(|node| node.submit(300));
        wait_for("all is applied", || nodes.iter().all(Running::is_settled)).await;
    }
}

/// Three nodes that have written something; the second has ended since, and its log is damaged.
async fn damaged_second(net: &MemoryNet) -> (Vec<Running>, MemoryDisk) {
    let mut nodes = start_three(net).await;
    write(&mut nodes, 20).await;
    let disk = nodes.remove(1).crash().await;
    damage(&disk);
    (nodes, disk)
}

#[test]
fn a_damaged_log_is_made_good() {
    run(async {
        let net = MemoryNet::new();
        let (mut nodes, disk) = damaged_second(&net).await;
        let node = start(&net, 2, disk).await;
        assert_eq!(rejoin(&node.disk), Rejoin::UnderWay);
        assert!(aside(&node.disk) > 0, "what was damaged is kept");
        wait_for("it has rejoined", || rejoin(&node.disk) == Rejoin::Needless).await;
        nodes.push(node);
        write(&mut nodes, 3).await;
        equal(&nodes).await;
        // It is a member like any other: with it and one more there is a quorum, and it may lead.
        let gone = nodes.remove(0).crash().await;
        write(&mut nodes, 3).await;
        nodes.push(start(&net, 1, gone).await);
        equal(&nodes).await;
        // The next start has no use any more for what was set aside.
        let kept = nodes[1].machine().applied.len();
        let again = start(&net, 2, nodes.remove(1).crash().await).await;
        assert_eq!((aside(&again.disk), rejoin(&again.disk)), (0, Rejoin::Needless));
        wait_for("it has its log", || again.machine().applied.len() >= kept).await;
    });
}

/// As long as one voter has said nothing it listens to nobody: two that have lost their logs, or one and one that is away, elect nobody.
#[test]
fn it_waits_for_all_voters() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        write(&mut nodes, 20).await;
        let mut disks = Vec::new();
        for node in nodes {
            disks.push(node.crash().await);
        }
        let [one, two, three] = <[MemoryDisk; 3]>::try_from(disks).expect("there are three");
        damage(&two);
        damage(&three);
        let mut nodes = vec![start(&net, 1, one).await];
        for (id, disk) in [(2, two), (3, three)] {
            nodes.push(start(&net, id, disk).await);
        }
        wait_for("all are connected", || {
            THREE[1..].iter().all(|id| nodes[0].status.is_connected(*id))
        })
        .await;
        wait_for("they say whom they wait for", || {
            let says = |node: usize, of: &str| nodes[node].status.waiting().contains(of);
            says(1, "node 3") && says(2, "node 2")
        })
        .await;
        sleep(Duration::from_secs(30)).await; // of the test's own time: many election timeouts
        assert!(nodes.iter().all(|node| node.status.leader_id() == 0));
        assert!(nodes[1..].iter().all(|node| rejoin(&node.disk) == Rejoin::UnderWay));
    });
}

/// One of two could not do without the other: it refuses to start, and changes nothing.
#[test]
fn one_of_two_refuses() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = Vec::new();
        for id in [1, 2] {
            let node = Running::start(&net, config(id, &[1, 2]), MemoryDisk::default()).await;
            nodes.push(node.expect("it opens"));
        }
        wait_for("both are registered", || nodes.iter().all(Running::is_registered)).await;
        write(&mut nodes, 20).await;
        let disk = nodes.remove(1).crash().await;
        damage(&disk);
        let before = disk.files();
        let refused = Running::start(&net, config(2, &[1, 2]), disk.clone()).await;
        assert!(matches!(refused, Err(OpenError::Store(storage::StoreError::Damaged { .. }))));
        assert_eq!(disk.files(), before);
    });
}

/// What a later damage is about is set aside in the place of what an earlier one left behind.
#[test]
fn the_newest_damage_is_kept() {
    run(async {
        let net = MemoryNet::new();
        let (_nodes, disk) = damaged_second(&net).await;
        for (rejoin, before) in [(Rejoin::Needless, "older"), (Rejoin::Due, "old")] {
            let disk = MemoryDisk::with_files(disk.files());
            let old = disk.create("damaged-log-0000000000000001");
            old.and_then(|mut file| file.write_at(before.as_bytes(), 0)).expect("it is written");
            let now = disk.files().remove("log-0000000000000001").expect("it is there");
            let (mut store, recovered) =
                storage::open(disk.clone(), taken_apart()).await.expect("it opens");
            assert_eq!(disk.files().get("damaged-log-0000000000000001"), Some(&now));
            // The same, if the node had found out itself that something is missing.
            let meta = recovered.meta.expect("there is one");
            store.save_meta(storage::NodeMeta { rejoin, ..meta }).await.expect("it is saved");
            let now = disk.files().remove("log-0000000000000001").expect("it is there");
            if rejoin == Rejoin::Due {
                storage::open(disk.clone(), taken_apart()).await.expect("it opens");
                assert_eq!(disk.files().get("damaged-log-0000000000000001"), Some(&now));
            }
        }
    });
}

/// A copy is none the less a copy because its log is to be set aside.
#[test]
fn a_copy_that_is_to_be_set_aside_is_refused() {
    run(async {
        let net = MemoryNet::new();
        let (_nodes, disk) = damaged_second(&net).await;
        for rejoin in [Rejoin::Due, Rejoin::SettingAside] {
            let disk = MemoryDisk::with_files(disk.files()).born(1);
            let (mut store, recovered) =
                storage::open(disk.clone(), taken_apart()).await.expect("it opens");
            let meta = recovered.meta.expect("there is one");
            store.save_meta(storage::NodeMeta { rejoin, ..meta }).await.expect("it is saved");
            let copy = MemoryDisk::with_files(disk.files()).born(2);
            let before = copy.files();
            let config = LogConfig { copies: Copies::Refused, ..taken_apart() };
            let refused = storage::open(copy.clone(), config).await.err();
            assert!(matches!(refused, Some(storage::StoreError::Copied { .. })), "{rejoin:?}");
            assert_eq!(copy.files(), before);
        }
    });
}

/// Who must stop because its state is wrong does not end as if that were written down, if it can't be.
#[test]
fn what_is_not_written_down_is_not_taken_for_written() {
    run(async {
        let net = MemoryNet::new();
        let nodes = start_three(&net).await;
        nodes[2].disk.set_free_bytes(Some(0));
        nodes[2].disk.remove("reserve").expect("it is there");
        for (node, digest) in nodes.iter().zip([7, 7, 8]) {
            node.send(Intake::Checkpoint(Checkpoint { index: 64, digest }));
        }
        wait_for("it ends", || nodes[2].seen.borrow().end.is_some()).await;
        let end = nodes[2].seen.borrow().end.clone().expect("it has ended");
        assert!(end.is_err_and(|text| text.contains("is full")));
        let identity = storage::identity(&nodes[2].disk).expect("it can be read");
        assert_eq!(identity.expect("there is one").barred, None);
    });
}

/// Beside its log each node writes down who votes: with less than three its log is not set aside.
#[test]
fn who_votes_is_written_down() {
    run(async {
        let net = MemoryNet::new();
        for node in start_three(&net).await {
            let identity = storage::identity(&node.disk).expect("it can be read");
            assert_eq!(identity.expect("there is one").electorate.voters, THREE);
        }
    });
}

/// A crash while the damaged files are set aside: the next start goes on with it.
#[test]
fn setting_aside_goes_on_after_a_crash() {
    run(async {
        let net = MemoryNet::new();
        let (mut nodes, disk) = damaged_second(&net).await;
        let mut operation = 0;
        let disk = loop {
            operation += 1;
            let cut_short = MemoryDisk::with_files(disk.files());
            cut_short.fail_at(operation, Failure::Crash);
            if driver::open(config(2, &THREE), cut_short.clone()).await.is_ok() {
                break cut_short;
            }
            let after = cut_short.after_power_cut(|| operation % 2 == 0);
            let opened = driver::open(config(2, &THREE), after.clone()).await;
            opened.expect("the next start opens it");
            assert_eq!(rejoin(&after), Rejoin::UnderWay, "{operation}");
            assert!(aside(&after) > 0, "{operation}");
        };
        assert!(operation > 10, "only {operation} places to crash at");
        let disk = MemoryDisk::with_files(disk.files());
        let node = start(&net, 2, disk).await;
        wait_for("it has rejoined", || rejoin(&node.disk) == Rejoin::Needless).await;
        nodes.push(node);
        write(&mut nodes, 3).await;
        equal(&nodes).await;
    });
}
