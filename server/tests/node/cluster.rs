//! Three nodes as processes: the leader dies and clients of the others see a pause, nothing else; a minority says
//! honestly what it did not do; a cluster forms once.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use steadfast_core::reply::Reply;

use crate::harness::{Client, Node, rounds, wait_for};
use crate::three_nodes::{Cluster, count};

/// The leader is killed again and again under load: clients of the surviving nodes get no error, and every counter ends
/// at exactly the number of acknowledged increments (for those of killed nodes: up to the unknown ones more).
#[test]
fn clients_of_survivors_see_no_error_when_the_leader_dies() {
    let mut cluster =
        Cluster::start(&["--snapshot-log-bytes", "1048576", "--segment-bytes", "262144"]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    for round in 0..rounds(2, 20) {
        let leader = cluster.leader();
        let stop = AtomicBool::new(false);
        let acknowledged: Vec<AtomicU64> = (0..3).map(|_| AtomicU64::new(0)).collect();
        let unknown: Vec<u64> = thread::scope(|scope| {
            let clients: Vec<_> = (0..3)
                .map(|at| {
                    let (node, stop, acknowledged) = (&cluster.nodes[at], &stop, &acknowledged[at]);
                    let key = format!("round{round}:node{at}");
                    // Clients of the node that will be killed end with it.
                    scope.spawn(move || {
                        if at == leader {
                            count_until_broken(node, &key, acknowledged)
                        } else {
                            count(node, &key, stop, acknowledged)
                        }
                    })
                })
                .collect();
            let sum = || acknowledged.iter().map(|a| a.load(Ordering::Relaxed)).collect::<Vec<_>>();
            wait_for("clients of all nodes write", || sum().iter().all(|a| *a >= 50).then_some(()));
            cluster.nodes[leader].signal("KILL");
            let killed = Instant::now();
            let before = sum();
            let grown = |at: usize, by: u64| sum()[at] >= before[at] + by;
            wait_for("survivors go on", || {
                (0..3).all(|at| at == leader || grown(at, 2)).then_some(())
            });
            println!(
                "round {round}: writes answered again {} ms after the kill",
                killed.elapsed().as_millis()
            );
            wait_for("survivors write on", || {
                (0..3).all(|at| at == leader || grown(at, 50)).then_some(())
            });
            stop.store(true, Ordering::Relaxed);
            clients.into_iter().map(|c| c.join().expect("no client saw an error reply")).collect()
        });
        cluster.nodes[leader].kill();
        cluster.nodes[leader].restart();
        let mut client = cluster.nodes[leader].client();
        for at in 0..3 {
            let reply =
                client.call(&["GET", &format!("round{round}:node{at}")]).expect("it serves");
            let Reply::Bulk(text) = reply else { panic!("counter of node {at} is missing") };
            let value: u64 = String::from_utf8_lossy(&text).parse().expect("a number");
            let acknowledged = acknowledged[at].load(Ordering::Relaxed);
            assert!(at == leader || unknown[at] == 0, "a survivor's connection broke");
            assert!(
                (acknowledged..=acknowledged + unknown[at]).contains(&value),
                "round {round}, node {at}: {value} against {acknowledged} acknowledged, {} unknown",
                unknown[at]
            );
        }
    }
    cluster.assert_equal();
}

/// As `count`, but the first broken connection ends it: one unknown outcome.
fn count_until_broken(node: &Node, key: &str, acknowledged: &AtomicU64) -> u64 {
    let mut client = node.client();
    loop {
        match client.call(&["INCR", key]) {
            Ok(Reply::Int(_)) => acknowledged.fetch_add(1, Ordering::Relaxed),
            Ok(other) => panic!("{key}: INCR answered {other:?}"),
            Err(_) => return 1,
        };
    }
}

/// A node cut off from the others answers after the request time-out, never with stale data, and catches up when healed.
#[test]
fn a_minority_is_honest() {
    let cluster = Cluster::start(&["--request-timeout", "1500ms"]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    for lonely in 0..3 {
        let others: Vec<usize> = (0..3).filter(|at| *at != lonely).collect();
        let mut client = cluster.nodes[lonely].client();
        assert_eq!(client.call(&["SET", "k", "before"]).expect("it serves"), Reply::Ok);
        others.iter().for_each(|at| cluster.nodes[*at].pause());
        cluster.nodes[lonely].outlive_lease();

        let read = client.refused(&["GET", "k"]);
        assert!(is_not_applied(&read), "a read without a quorum answered {read}");
        let mut outcomes = Vec::new();
        wait_for("the node knows that it has no quorum", || {
            let refusal = client.refused(&["SET", "k", &format!("during{}", outcomes.len())]);
            let definite = is_not_applied(&refusal);
            assert!(definite || refusal.starts_with("UNKNOWN "), "{refusal}");
            outcomes.push(definite);
            definite.then_some(())
        });
        for line in [&["MULTI"][..], &["CLIENT", "SETNAME", "renamed"], &["SET", "k", "exec"]] {
            assert!(matches!(client.call(line), Ok(Reply::Ok | Reply::Status(_))));
        }
        let refusal = client.refused(&["EXEC"]);
        assert!(is_not_applied(&refusal), "{refusal}");
        let name = client.call(&["CLIENT", "GETNAME"]).expect("the connection holds");
        assert_eq!(name, Reply::Nil, "an EXEC that was refused has done nothing here either");

        others.iter().for_each(|at| cluster.nodes[*at].signal("CONT"));
        let mut other = Client::connect(cluster.nodes[others[0]].port).expect("it runs");
        wait_for("the cluster serves again", || {
            matches!(other.call(&["SET", "k", "after"]), Ok(Reply::Ok)).then_some(())
        });
        wait_for("the lonely node serves again", || {
            let reply = client.call(&["GET", "k"]).expect("the connection held");
            match reply {
                Reply::Error(_) => None,
                value => {
                    assert_eq!(value, Reply::bulk(b"after"), "stale data after healing");
                    Some(())
                }
            }
        });
        cluster.assert_equal();
    }
}

/// A time-out that CONFIG SET lowers holds for what waits already, and for what comes behind it.
#[test]
fn a_shorter_time_out_holds_at_once() {
    let cluster = Cluster::start(&["--request-timeout", "60m"]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let lonely = &cluster.nodes[0];
    let mut clients = [lonely.client(), lonely.client(), lonely.client()];
    cluster.nodes[1..].iter().for_each(Node::pause);
    lonely.outlive_lease();
    clients[0].send(&["SET", "k", "waits"]).expect("the connection holds");
    clients[1].send(&["GET", "k"]).expect("the connection holds");
    let lower = ["CONFIG", "SET", "request-timeout", "100"];
    assert_eq!(clients[2].call(&lower).expect("it needs no quorum"), Reply::Ok);
    clients[2].send(&["SET", "k", "behind"]).expect("the connection holds");
    for client in &mut clients {
        let reply = client.receive().expect("it is answered long before an hour");
        assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    }
}

/// A node that is told to stop without a quorum, with a write under way, says that its outcome is unknown and exits with 0.
#[test]
fn a_minority_can_be_stopped() {
    let mut cluster = Cluster::start(&["--request-timeout", "1500ms"]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let leader = cluster.leader();
    let mut client = cluster.nodes[leader].client();
    assert_eq!(client.call(&["SET", "k", "before"]).expect("it serves"), Reply::Ok);
    (0..3).filter(|at| *at != leader).for_each(|at| cluster.nodes[at].pause());
    client.send(&["SET", "k", "during"]).expect("the connection holds");
    wait_for("the write is in the log", || {
        let info = |name| cluster.nodes[leader].info(name)?.parse::<u64>().ok();
        (info("raft_last_index")? > info("raft_commit_index")?).then_some(())
    });
    cluster.nodes[leader].signal("TERM");
    let reply = client.receive().expect("it is answered before the node ends");
    assert!(
        matches!(&reply, Reply::Error(error) if error.text().starts_with(b"UNKNOWN ")),
        "{reply:?}"
    );
    assert_eq!(cluster.nodes[leader].exit_code(), Some(0));
}

/// A read that still waits for a quorum when its node is told to stop is told so.
#[test]
fn waiting_reads_are_told_of_the_end() {
    let mut cluster = Cluster::start(&["--request-timeout", "60m"]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let mut client = cluster.nodes[0].client();
    cluster.nodes[1..].iter().for_each(Node::pause);
    cluster.nodes[0].outlive_lease();
    client.send(&["GET", "k"]).expect("the connection holds");
    cluster.nodes[0].signal("TERM");
    let reply = client.receive().expect("it is answered before the node ends");
    let Reply::Error(error) = reply else { panic!("{reply:?} without a quorum") };
    assert!(error.text().starts_with(b"CLUSTERDOWN this node is shutting down;"), "{error:?}");
    assert_eq!(cluster.nodes[0].exit_code(), Some(0));
}

/// A client of a follower that asks for more than it takes gets everything, in order, as it takes it.
#[test]
fn replies_wait_for_slow_readers() {
    let cluster = Cluster::start(&[]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let follower = (cluster.leader() + 1) % 3;
    let mut client = cluster.nodes[follower].client();
    let large = "0123456789".repeat(100_000);
    assert_eq!(client.call(&["SET", "large", &large]).expect("it serves"), Reply::Ok);
    assert_eq!(client.call(&["SET", "small", "s"]).expect("it serves"), Reply::Ok);
    for _ in 0..50 {
        client.send(&["GET", "large"]).expect("it takes requests");
        client.send(&["GET", "small"]).expect("it takes requests");
    }
    for _ in 0..50 {
        assert!(client.receive().expect("it answers") == Reply::bulk(large.as_bytes()));
        assert_eq!(client.receive().expect("it answers"), Reply::bulk(b"s"));
    }
}

/// A leader reads from its lease. A node that is cut off reads what it has if its client wants that, and nothing otherwise.
#[test]
fn reads_are_as_consistent_as_asked_for() {
    let cluster = Cluster::start(&["--request-timeout", "500ms"]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let leader = cluster.leader();
    let (mut client, mut other) = (cluster.nodes[leader].client(), cluster.nodes[leader].client());
    assert_eq!(client.call(&["SET", "k", "v"]).expect("it serves"), Reply::Ok);
    wait_for("the leader has a lease", || {
        (cluster.nodes[leader].info("raft_lease")? == "held").then_some(())
    });
    (0..3).filter(|at| *at != leader).for_each(|at| cluster.nodes[at].pause());
    cluster.nodes[leader].outlive_lease();
    assert_eq!(client.call(&["CLIENT", "CONSISTENCY", "stale"]).expect("it holds"), Reply::Ok);
    assert_eq!(client.call(&["GET", "k"]).expect("it asks nobody"), Reply::bulk(b"v"));
    assert!(is_not_applied(&other.refused(&["GET", "k"])), "it asked for the state of now");
    assert_eq!(client.call(&["RESET"]).expect("it holds"), Reply::status("RESET"));
    assert!(is_not_applied(&client.refused(&["GET", "k"])), "RESET asks for the state of now");
    assert_eq!(client.refused(&["CLIENT", "CONSISTENCY", "eventual"]), "ERR syntax error");
}

fn is_not_applied(refusal: &str) -> bool {
    refusal.starts_with("CLUSTERDOWN ") || refusal.starts_with("TRYAGAIN ")
}

/// Two of three nodes that lost their disks do not form a second cluster: they wait, and say so.
#[test]
fn a_cluster_forms_once() {
    let mut cluster = Cluster::start(&[]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    assert_eq!(cluster.nodes[0].client().call(&["SET", "k", "v"]).expect("it serves"), Reply::Ok);
    for at in 1..3 {
        cluster.nodes[at].kill();
        for file in fs::read_dir(cluster.dirs[at].path()).expect("it is there") {
            fs::remove_file(file.expect("it is there").path()).expect("it is a file");
        }
        cluster.nodes[at].restart();
    }
    for at in 1..3 {
        wait_for("the wiped node says what is wrong", || {
            let mut client = Client::connect(cluster.nodes[at].port).ok()?;
            let Reply::Error(error) = client.call(&["GET", "k"]).ok()? else {
                panic!("a wiped node answered a read")
            };
            let text = String::from_utf8_lossy(error.text()).into_owned();
            (text.starts_with("LOADING ") && text.contains("disk")).then_some(())
        });
    }
    // The one that kept its disk has no quorum and serves nothing, but its data is there.
    assert_ne!(cluster.nodes[0].info("raft_applied_index").as_deref(), Some("0"));
}

/// A member does not start from a copy of its directory until it is told that nothing is missing in it.
#[test]
fn a_copy_of_a_member_does_not_start() {
    let mut cluster = Cluster::start(&[]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    cluster.nodes[0].kill();
    let dir = cluster.dirs[0].path();
    let tells_birth = fs::metadata(dir).expect("it is there").created().is_ok();
    for file in fs::read_dir(dir).expect("it is there") {
        let path = file.expect("it is there").path();
        let aside = path.with_extension("copy");
        fs::copy(&path, &aside).expect("there is room");
        fs::rename(&aside, &path).expect("it is ours");
    }
    if tells_birth {
        let said = cluster.nodes[0].refused();
        assert!(said.contains("origin") && said.contains("--adopt-copy"), "{said}");
        cluster.nodes[0].restart_once_with(&["--adopt-copy"]);
        drop(cluster.nodes[0].client());
        cluster.nodes[0].kill();
    }
    cluster.nodes[0].restart();
    drop(cluster.nodes[0].client());
}
