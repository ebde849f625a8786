//! One node: what was acknowledged is there after `kill -9`, and start-up needs no help.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use steadfast_core::reply::Reply;

use crate::harness::{Node, TempDir, rounds, steadfast, wait_for};

const WRITERS: usize = 4;

/// Writes counters and keys until the connection breaks; answers how many of each were acknowledged.
fn write_until_killed(node: &Node, writer: usize, from: u64, total: &AtomicU64) -> u64 {
    let mut client = node.client();
    let mut acknowledged = from;
    loop {
        let next = acknowledged + 1;
        let key = format!("w{writer}:{next}");
        let _ = client.send(&["SET", &key, &format!("value {next}")]);
        let _ = client.send(&["INCR", &format!("count{writer}")]);
        if !matches!(client.receive(), Ok(Reply::Ok)) || client.receive().is_err() {
            return acknowledged;
        }
        acknowledged = next;
        total.fetch_add(1, Ordering::Relaxed);
    }
}

/// Every acknowledged SET is found and every counter stands between acknowledged and sent, after each of many kills.
#[test]
fn acknowledged_writes_survive_kill() {
    let dir = TempDir::new();
    // Small segments and snapshots, so that kills fall into rolls and compactions too.
    let mut node =
        Node::start(dir.path(), &["--segment-bytes", "65536", "--snapshot-log-bytes", "262144"]);
    let mut acknowledged = [0_u64; WRITERS];
    for round in 0..rounds(5, 50) {
        let total = AtomicU64::new(0);
        let enough = 200 + u64::from(round) * 37 % 400;
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (node, total, from) = (&node, &total, acknowledged[writer]);
                    scope.spawn(move || write_until_killed(node, writer, from, total))
                })
                .collect();
            wait_for("enough writes", || (total.load(Ordering::Relaxed) >= enough).then_some(()));
            node.signal("KILL");
            for (writer, thread) in writers.into_iter().enumerate() {
                acknowledged[writer] = thread.join().expect("the writer does not panic");
            }
        });
        node.kill();
        node.restart();
        let mut client = node.client();
        for (writer, count) in acknowledged.iter().enumerate() {
            for at in 1..=*count {
                let value = client.call(&["GET", &format!("w{writer}:{at}")]).expect("it serves");
                let expected = Reply::bulk_owned(format!("value {at}"));
                assert_eq!(value, expected, "round {round}: w{writer}:{at} is missing");
            }
            let Reply::Bulk(counter) =
                client.call(&["GET", &format!("count{writer}")]).expect("it serves")
            else {
                panic!("round {round}: counter {writer} is missing")
            };
            let counter: u64 = String::from_utf8_lossy(&counter).parse().expect("a number");
            let sent_at_most = count + u64::from(round) + 1;
            assert!(
                (*count..=sent_at_most).contains(&counter),
                "round {round}: {counter} against {count} acknowledged"
            );
        }
    }
}

/// SIGTERM finishes what is under way, syncs and exits with 0; so does SHUTDOWN.
#[test]
fn polite_ends_exit_with_zero() {
    let dir = TempDir::new();
    let mut node = Node::start(dir.path(), &[]);
    let mut client = node.client();
    assert_eq!(client.call(&["SET", "k", "v"]).expect("it serves"), Reply::Ok);
    node.signal("TERM");
    assert_eq!(node.exit_code(), Some(0));
    node.restart();
    let mut client = node.client();
    assert_eq!(client.call(&["GET", "k"]).expect("it serves"), Reply::bulk(b"v"));
    client.send(&["SHUTDOWN"]).expect("it serves");
    assert_eq!(node.exit_code(), Some(0));
}

/// A second process on the same data directory is told so and touches nothing.
#[test]
fn a_data_directory_serves_one_process() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    node.client();
    let path = dir.path().display().to_string();
    let port = crate::harness::free_port().to_string();
    let second = steadfast(&["server", "--dir", &path, "--port", &port]).output().expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("another process"), "{said}");
    assert_eq!(node.client().call(&["SET", "k", "v"]).expect("it serves"), Reply::Ok);
}
