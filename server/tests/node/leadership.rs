//! `steadfast cluster`: who leads is told, and handed on while clients write, without an error for any of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use steadfast_core::reply::Reply;

use crate::harness::{Node, TempDir, steadfast, wait_for};
use crate::three_nodes::{Cluster, count};

/// Runs the tool; answers whether it succeeded, and what it said.
fn tool(port: u16, words: &[&str]) -> (bool, String) {
    let port = port.to_string();
    let arguments = [&["cluster", "--port", &port], words].concat();
    let output = steadfast(&arguments).output().expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Leadership goes round while clients of all nodes, the old leader's too, count: none of them sees an error, and every count is exact.
#[test]
fn leadership_is_handed_on_without_an_error() {
    let cluster = Cluster::start(&[]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let stop = AtomicBool::new(false);
    let counted: Vec<AtomicU64> = (0..3).map(|_| AtomicU64::new(0)).collect();
    let keys: Vec<String> = (0..3).map(|at| format!("counter:{at}")).collect();
    thread::scope(|scope| {
        for ((node, key), counted) in cluster.nodes.iter().zip(&keys).zip(&counted) {
            let stop = &stop;
            scope.spawn(move || {
                let unknown = count(node, key, stop, counted);
                assert_eq!(unknown, 0, "a connection broke");
            });
        }
        let sum = || counted.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let all_count_on = || {
            let before = sum();
            wait_for("all count on", || {
                sum().iter().zip(&before).all(|(now, then)| *now > then + 20).then_some(())
            });
        };
        all_count_on();
        for round in 0..3 {
            let (leader, port) = (cluster.leader(), cluster.nodes[round % 3].port);
            let next = (leader + 1) % 3 + 1;
            let words: &[&str] =
                if round == 2 { &["stepdown"] } else { &["transfer", &next.to_string()] };
            let (done, said) = tool(port, words);
            assert!(done && said.contains(" leads in term "), "{said}");
            assert!(round == 2 || said.starts_with(&format!("node {next} leads")), "{said}");
            all_count_on();
            assert_ne!(cluster.leader(), leader);
        }
        stop.store(true, Ordering::Relaxed);
    });
    cluster.assert_equal();
    for (key, counted) in keys.iter().zip(&counted) {
        let value = cluster.nodes[0].client().call(&["GET", key]).expect("it serves");
        assert_eq!(value, Reply::bulk_owned(counted.load(Ordering::Relaxed).to_string()));
    }
    let again = (cluster.leader() + 1).to_string();
    let (done, said) = tool(cluster.nodes[0].port, &["transfer", &again]);
    assert!(done && said.contains("leads already"), "{said}");
}

/// What is seen of the nodes, and what can't be asked of them.
#[test]
fn status_tells_who_is_there() {
    let mut cluster = Cluster::start(&[]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    let port = cluster.nodes[leader].port;
    wait_for("all are up and equal", || {
        let (done, said) = tool(port, &["status"]);
        let digests: Vec<&str> =
            said.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
        let equal = digests.len() == 3 && digests.iter().all(|digest| *digest == digests[0]);
        (done && equal && said.contains("leader") && said.contains("follower")).then_some(())
    });
    let (done, said) = tool(port, &["transfer", "9"]);
    assert!(!done && said.contains("no node 9") && said.contains("Nothing was changed"), "{said}");
    let refused = cluster.nodes[follower].client().refused(&["RAFT", "STEPDOWN"]);
    assert!(refused.contains(&format!("node {} does", leader + 1)), "{refused}");
    let gone = (follower + 1).to_string();
    cluster.nodes[follower].kill();
    wait_for("the one that is gone does not answer, and can't lead", || {
        let (seen, status) = tool(port, &["status"]);
        let (done, said) = tool(port, &["transfer", &gone]);
        (seen && status.contains("does not answer") && !done && said.contains("no link"))
            .then_some(())
    });
    cluster.nodes[(leader + 2) % 3].kill();
    wait_for("nobody leads", || {
        let (done, said) = tool(port, &["status"]);
        (!done && said.contains("nobody leads")).then_some(())
    });
}

/// A node on its own has nobody to hand over to, and says so.
#[test]
fn a_node_alone_leads() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &["--requirepass", "secret"]);
    wait_for("it asks for its password", || {
        let (done, said) = tool(node.port, &["status"]);
        (!done && said.contains("NOAUTH")).then_some(())
    });
    let (done, said) = tool(node.port, &["status", "--pass", "secret"]);
    assert!(done && said.lines().count() == 2 && said.contains("leader"), "{said}");
    let (done, said) = tool(node.port, &["stepdown", "-a", "secret"]);
    assert!(!done && said.contains("on its own"), "{said}");
    let (done, said) = tool(1, &["status"]);
    assert!(!done && said.contains("127.0.0.1:1 does not say who the nodes are"), "{said}");
}
