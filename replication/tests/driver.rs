//! Whole nodes (driver, log writer, links) without a server around them: from a data directory to applied parcels.

mod world;

use steadfast_core::entry::{self, Part};
use steadfast_replication::driver;
use steadfast_replication::gateway::{Intake, PARCEL_BYTES_MAX};
use steadfast_replication::ports::Disk as _;
use steadfast_replication::storage;
use steadfast_replication::storage::memory::{Failure, MemoryDisk};
use world::{MemoryNet, Running, THREE, config, equal, run, start, start_three, wait_for};

async fn leader_of(nodes: &[Running]) -> usize {
    wait_for("one leads", || nodes.iter().any(Running::is_leader)).await;
    nodes.iter().position(Running::is_leader).expect("one leads")
}

/// All that was handed over is applied, once, everywhere, in the same order.
async fn assert_settled(nodes: &[Running]) {
    wait_for("all parcels are applied", || nodes.iter().all(Running::is_settled)).await;
    equal(nodes).await;
    let applied = nodes[0].machine().applied;
    let mut once = applied.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), applied.len(), "nothing was applied twice");
    assert_eq!(nodes[0].machine().bootstraps, 1);
}

/// A node on its own: opens, leads, applies in order, keeps everything over a stop and over a power cut, counts its starts.
#[test]
fn one_node_end_to_end() {
    run(async {
        let net = MemoryNet::new();
        let mut disk = MemoryDisk::default();
        let mut kept = Vec::new();
        for start in 1..=4 {
            let mut node = Running::start(&net, config(1, &[]), disk).await.expect("it opens");
            assert_eq!(node.incarnation >> 32, start, "starts are counted");
            wait_for("it is registered", || node.is_registered()).await;
            assert!(node.status.sole_voter() && node.is_leader());
            assert_eq!(node.machine().applied, kept, "what was applied before is there");
            (0..20).for_each(|_| node.submit(100));
            wait_for("all is applied", || node.is_settled()).await;
            kept = node.machine().applied;
            assert_eq!(kept.len() as u64, start * 20);
            node.send(Intake::Read { round: 7 });
            wait_for("the round is answered", || {
                node.seen.borrow().read_indexes.iter().any(|(round, _)| *round == 7)
            })
            .await;
            disk = if start % 2 == 0 { node.crash().await } else { node.stop().await };
        }
    });
}

/// Parcels of all three gateways reach the log through whoever leads; a read index on a follower covers what was applied
/// anywhere before it was asked for.
#[test]
fn three_nodes_apply_everything_once() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        for _ in 0..20 {
            nodes.iter_mut().for_each(|node| node.submit(100));
        }
        assert_settled(&nodes).await;
        assert_eq!(nodes[0].machine().applied.len(), 60);

        let leader = leader_of(&nodes).await;
        let follower = (leader + 1) % 3;
        nodes[leader].submit(10);
        wait_for("the leader has applied it", || nodes[leader].is_settled()).await;
        let index = nodes[leader].machine().index;
        nodes[follower].send(Intake::Read { round: 1 });
        wait_for("the round is answered", || {
            !nodes[follower].seen.borrow().read_indexes.is_empty()
        })
        .await;
        assert!(nodes[follower].seen.borrow().read_indexes[0].1 >= index);
    });
}

/// The leader loses its power again and again: the others go on, and it comes back with all that it had promised.
#[test]
fn the_leader_dies() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        for _ in 0..3 {
            let leader = leader_of(&nodes).await;
            nodes.iter_mut().for_each(|node| node.submit(1000));
            let dead = nodes.remove(leader);
            let (id, disk) = (dead.id, dead.crash().await);
            nodes.iter_mut().for_each(|node| node.submit(1000));
            wait_for("the survivors go on", || nodes.iter().all(Running::is_settled)).await;
            nodes.push(start(&net, id, disk).await);
            wait_for("it is registered anew", || nodes.iter().all(Running::is_registered)).await;
        }
        assert_settled(&nodes).await;
    });
}

/// What no replica could read never gets into the log, where every node would stop at it; the others' parcels do.
#[test]
fn an_unreadable_batch_is_not_logged() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        for node in &mut nodes {
            let op = entry::encode_parcel(node.id, node.incarnation, 1, Part::Whole, b"garbage");
            node.send(Intake::Parcel { sequence: 1, op: op.into() });
        }
        let logged = |node: &Running| node.status.last_index();
        let before: Vec<u64> = nodes.iter().map(logged).collect();
        tokio::time::sleep(std::time::Duration::from_secs(5)).await; // of simulated time: it is sent again and again
        assert_eq!(nodes.iter().map(logged).collect::<Vec<_>>(), before);
        assert!(nodes.iter().all(|node| node.seen.borrow().end.is_none()));
    });
}

/// A leader that is asked to stop hands over first: the others do not wait for an election timeout.
#[test]
fn a_leader_that_stops_hands_over() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = Vec::new();
        let patient = |id| {
            let mut config = config(id, &THREE);
            config.election_ticks = 600; // half a minute
            config
        };
        for id in THREE {
            let disk = MemoryDisk::default();
            nodes.push(Running::start(&net, patient(id), disk).await.expect("it opens"));
        }
        wait_for("all gateways are registered", || nodes.iter().all(Running::is_registered)).await;
        for _ in 0..2 {
            let leader = leader_of(&nodes).await;
            nodes.iter_mut().for_each(|node| node.submit(100));
            wait_for("all is applied", || nodes.iter().all(Running::is_settled)).await;
            let asked = tokio::time::Instant::now();
            let id = nodes[leader].id;
            let disk = nodes.remove(leader).stop().await;
            leader_of(&nodes).await;
            assert!(asked.elapsed().as_secs() < 30, "on simulated time");
            nodes.push(Running::start(&net, patient(id), disk).await.expect("it opens"));
            wait_for("it is back", || nodes.iter().all(Running::is_registered)).await;
        }
        assert_settled(&nodes).await;
    });
}

/// The leader's streams die without a word: the others elect, its own parcels are applied once the net is whole again.
#[test]
fn the_leader_is_cut_off() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        let leader = leader_of(&nodes).await;
        let own = nodes[leader].id;
        THREE.into_iter().filter(|id| *id != own).for_each(|id| net.cut(own, id));
        (0..10).for_each(|_| nodes.iter_mut().for_each(|node| node.submit(100)));
        wait_for("the others go on", || {
            nodes.iter().filter(|node| node.id != own).all(Running::is_settled)
        })
        .await;
        wait_for("the old leader steps down", || !nodes[leader].is_leader()).await;
        assert!(!nodes[leader].is_settled());
        net.heal();
        assert_settled(&nodes).await;
        assert_eq!(nodes[0].machine().applied.len(), 30);
    });
}

/// A follower that was away for longer than the log reaches back gets the state, and goes on from there.
#[test]
fn a_follower_far_behind_gets_a_snapshot() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        let leader = leader_of(&nodes).await;
        let away = nodes.remove((leader + 1) % 3);
        let reached = away.status.last_index();
        let (id, disk) = (away.id, away.stop().await);
        for node in std::mem::take(&mut nodes) {
            let (id, disk) = (node.id, node.stop().await);
            let config = driver_config_with_snapshots(id);
            nodes.push(Running::start(&net, config, disk).await.expect("it opens"));
        }
        wait_for("both are registered", || nodes.iter().all(Running::is_registered)).await;
        for _ in 0..20 {
            (0..8).for_each(|_| nodes.iter_mut().for_each(|node| node.submit(4000)));
            wait_for("all is applied", || nodes.iter().all(Running::is_settled)).await;
        }
        wait_for("snapshots are taken", || {
            nodes.iter().all(|node| node.status.snapshot_index() > reached)
        })
        .await;
        let config = driver_config_with_snapshots(id);
        nodes.push(Running::start(&net, config, disk).await.expect("it opens"));
        wait_for("it is registered", || nodes.iter().all(Running::is_registered)).await;
        assert_eq!(nodes[2].seen.borrow().restores, 1, "the state came whole");
        nodes.iter_mut().for_each(|node| node.submit(10));
        assert_settled(&nodes).await;

        // What it was sent is on its disk.
        let last = nodes.remove(2);
        let (machine, disk) = (last.machine(), last.crash().await);
        let config = driver_config_with_snapshots(id);
        nodes.push(Running::start(&net, config, disk).await.expect("it opens"));
        wait_for("it is registered", || nodes.iter().all(Running::is_registered)).await;
        assert!(nodes[2].machine().applied.starts_with(&machine.applied));
        assert_settled(&nodes).await;
    });
}

fn driver_config_with_snapshots(id: u64) -> driver::ReplicationConfig {
    let mut config = config(id, &THREE);
    config.snapshot_log_bytes = 128 << 10;
    config
}

/// Values of many parcels between nodes with a slow network are applied everywhere, and nobody misses the leader over them.
#[test]
fn slow_networks_carry_large_values() {
    run(async {
        let net = MemoryNet::new();
        net.set_rate(400_000);
        let mut nodes = start_three(&net).await;
        let leader = leader_of(&nodes).await;
        let term = nodes[leader].status.term();
        for at in [leader, (leader + 1) % 3] {
            (0..32).for_each(|_| nodes[at].submit(PARCEL_BYTES_MAX - 100));
        }
        for _ in 0..4 {
            tokio::time::sleep(std::time::Duration::from_secs(30)).await; // of simulated time: 16 MiB need 42 s
        }
        assert_settled(&nodes).await;
        assert!(nodes.iter().all(|node| node.status.term() == term), "nobody stood for leader");
    });
}

/// A node waits for the members it has not heard of, names them, and forms when the last one comes.
#[test]
fn formation_waits_for_everybody() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = vec![start(&net, 1, MemoryDisk::default()).await];
        wait_for("it waits for both", || {
            nodes[0].status.waiting().contains("waits for node 2 and 3")
        })
        .await;
        nodes.push(start(&net, 2, MemoryDisk::default()).await);
        wait_for("they wait for the third", || {
            nodes.iter().all(|node| node.status.waiting().contains("waits for node 3 "))
        })
        .await;
        assert!(
            nodes.iter().all(|node| node.status.term() == 0),
            "no raft before the cluster forms"
        );
        // A power cut while forming changes nothing: the disk keeps its id.
        let disk = nodes.remove(0).crash().await;
        nodes.insert(0, start(&net, 1, disk).await);
        nodes.push(start(&net, 3, MemoryDisk::default()).await);
        wait_for("it forms", || nodes.iter().all(Running::is_registered)).await;
        assert!(nodes.iter().all(|node| node.status.waiting().is_empty()));
        assert_settled(&nodes).await;
    });
}

/// Two of three disks are wiped: neither the wiped nodes nor the third serve, and the wiped ones say why. With one disk
/// back there is a quorum again, and the node that stays wiped still waits.
#[test]
fn wiped_nodes_never_vote() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        nodes[0].submit(10);
        assert_settled(&nodes).await;
        let mut disks = Vec::new();
        for node in nodes {
            disks.push(node.stop().await);
        }
        let one = start(&net, 1, disks.remove(0)).await;
        let mut wiped_config = config(2, &THREE);
        wiped_config.seed = 4711; // another start draws another storage id
        let two =
            Running::start(&net, wiped_config, MemoryDisk::default()).await.expect("it opens");
        let mut wiped_config = config(3, &THREE);
        wiped_config.seed = 4712;
        let three =
            Running::start(&net, wiped_config, MemoryDisk::default()).await.expect("it opens");
        for wiped in [&two, &three] {
            wait_for("it says why", || wiped.status.waiting().contains("another disk")).await;
        }
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        assert!(!one.is_leader() && !one.is_registered(), "one of three is no quorum");
        assert_eq!((two.status.term(), three.status.term()), (0, 0));

        drop(two.crash().await);
        let two = start(&net, 2, disks.remove(0)).await;
        wait_for("the two serve", || one.is_registered() && two.is_registered()).await;
        assert_eq!(two.machine().applied.len(), 1, "nothing was lost");
        assert!(three.status.waiting().contains("another disk") && three.status.term() == 0);
    });
}

/// Where the system draws a name for a new directory, that is it, and nothing that could be computed from the seed.
#[test]
fn a_directory_is_named_by_what_its_disk_draws() {
    run(async {
        let disk = MemoryDisk::default().drawing(0xF00D << 100);
        for seed in [1, 2] {
            let mut config = config(1, &[]);
            config.seed = seed;
            drop(driver::open(config, disk.clone()).await.expect("it opens"));
            let meta = storage::identity(&disk).expect("it is whole").expect("it is there");
            assert_eq!(meta.storage_id, 0xF00D << 100);
        }
    });
}

/// An older copy of a member's directory gets no word with the others, also when they have just started: their log knows.
#[test]
fn an_older_copy_of_a_member_is_refused() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        let copy = MemoryDisk::with_files(nodes[1].disk.files());
        for _ in 0..2 {
            let disk = nodes.remove(1).stop().await;
            nodes.insert(1, start(&net, 2, disk).await);
            wait_for("it is registered", || nodes.iter().all(Running::is_registered)).await;
        }
        assert_settled(&nodes).await;
        let mut disks = Vec::new();
        for node in nodes {
            disks.push(node.stop().await);
        }
        let old = start(&net, 2, copy).await;
        let one = start(&net, 1, disks.remove(0)).await;
        tokio::time::sleep(std::time::Duration::from_secs(30)).await; // of simulated time
        assert!(!one.is_registered() && !one.is_leader(), "a copy's vote is none");
        let three = start(&net, 3, disks.remove(1)).await;
        wait_for("the others go on", || one.is_registered() && three.is_registered()).await;
        assert!(!old.is_registered() && !old.is_leader());
        drop(old.crash().await);
        let two = start(&net, 2, disks.remove(0)).await;
        wait_for("the newest one is let in", || two.is_registered()).await;
    });
}

/// A copy that was made since a member's last start counts the same starts as the member: its files tell. It is opened if that is said,
/// once; then it is the original. A node on its own takes copies as they are.
#[test]
fn a_copy_of_a_member_does_not_start() {
    run(async {
        let net = MemoryNet::new();
        let born = |birth| MemoryDisk::default().born(birth);
        let mut nodes = Vec::new();
        for id in THREE {
            nodes.push(start(&net, id, born(1)).await);
        }
        wait_for("all are registered", || nodes.iter().all(Running::is_registered)).await;
        let original = nodes.remove(0).stop().await;
        let copy = MemoryDisk::with_files(original.files()).born(2);
        let before = copy.files();
        let opened = Running::start(&net, config(1, &THREE), copy.clone()).await;
        let said = opened.err().expect("it is a copy").to_string();
        assert!(said.contains("is a copy") && said.contains("--adopt-copy"), "{said}");
        assert!(copy.files() == before, "nothing was changed");
        let adopting = driver::ReplicationConfig { adopt_copy: true, ..config(1, &THREE) };
        let adopted = Running::start(&net, adopting, copy).await.expect("it was said");
        let disk = adopted.stop().await;
        drop(start(&net, 1, disk).await.stop().await);
        drop(nodes.remove(0).stop().await);

        let alone = Running::start(&net, config(1, &[]), born(1)).await.expect("it opens");
        let copy = MemoryDisk::with_files(alone.stop().await.files()).born(2);
        drop(Running::start(&net, config(1, &[]), copy).await.expect("it opens").stop().await);
    });
}

/// A directory of one node or cluster is not taken by another.
#[test]
fn foreign_directories_are_refused() {
    run(async {
        let net = MemoryNet::new();
        let node = Running::start(&net, config(1, &[]), MemoryDisk::default()).await;
        let disk = node.expect("it opens").stop().await;
        let refusal = |id: u64, members: Vec<u64>| {
            let (net, disk) = (net.clone(), disk.clone());
            async move {
                let started = Running::start(&net, config(id, &members), disk).await;
                started.err().expect("it must be refused").to_string()
            }
        };
        assert!(refusal(2, vec![]).await.contains("belongs to node 1"));
        assert!(refusal(1, vec![1, 2, 3]).await.contains("[1, 2, 3]"));
        disk.create("meta.part").expect("there is room"); // what an opened directory would lose first
        let before = disk.files();
        assert!(refusal(2, vec![]).await.contains("Nothing was changed"));
        assert!(disk.files() == before, "as it says");
    });
}

/// A disk that became full keeps no node from starting, again and again: what it kept for this is enough. Without that it says
/// what is the matter, and no word that would lead to a second data directory.
#[test]
fn a_full_disk_keeps_no_node_from_starting() {
    run(async {
        let net = MemoryNet::new();
        let mut disk = MemoryDisk::default();
        for full in [false, true, true, true] {
            let used = disk.files().values().map(|bytes| bytes.len() as u64).sum();
            disk.set_capacity(full.then_some(used));
            let mut node = Running::start(&net, config(1, &[]), disk).await.expect("it opens");
            wait_for("it is registered", || node.is_registered()).await;
            node.submit(10);
            wait_for("it is applied", || node.is_settled()).await;
            disk = node.crash().await;
        }
        disk.remove("reserve").expect("it is there");
        let used = disk.files().values().map(|bytes| bytes.len() as u64).sum();
        disk.set_capacity(Some(used));
        let refused = Running::start(&net, config(1, &[]), disk.clone()).await;
        let text = refused.err().expect("there is no room").to_string();
        for part in ["is full", "Nothing acknowledged was lost", "Make room"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("--dir"), "{text}");
        disk.set_capacity(None);
        let node = Running::start(&net, config(1, &[]), disk).await.expect("it opens");
        wait_for("it is registered", || node.is_registered()).await;
        assert_eq!(node.machine().applied.len(), 4, "nothing was lost");
    });
}

/// A sync that fails ends the node with a sentence; what was acknowledged is there at the next start.
#[test]
fn a_failed_sync_is_the_end() {
    run(async {
        let net = MemoryNet::new();
        let disk = MemoryDisk::default();
        let mut node = Running::start(&net, config(1, &[]), disk).await.expect("it opens");
        wait_for("it is registered", || node.is_registered()).await;
        node.submit(10);
        wait_for("it is applied", || node.is_settled()).await;
        node.disk.fail_at(node.disk.operations() + 1, Failure::Sync);
        node.submit(10);
        wait_for("it ends", || node.seen.borrow().end.is_some()).await;
        assert!(!node.is_settled(), "what is not durable is not applied");
        let end = node.seen.borrow().end.clone();
        let Some(Err(text)) = end else { panic!("it must say why") };
        assert!(text.contains("could not sync"), "{text}");
        let node =
            Running::start(&net, config(1, &[]), node.crash().await).await.expect("it opens");
        wait_for("it is registered", || node.is_registered()).await;
        assert!(!node.machine().applied.is_empty(), "the acknowledged one is there");
    });
}
