//! Clients that wait for a key: who is served, in which order, on whatever node, and who takes nothing any more.

use crate::harness::{Client, Node, TempDir, heard, said, wait_for, words};
use crate::three_nodes::Cluster;

/// A new client of a node that waits; it is so many there then.
fn waits(node: &Node, line: &str, count: usize) -> Client {
    let mut client = node.client();
    let argv: Vec<&str> = line.split(' ').collect();
    client.send(&argv).expect("it takes requests");
    wait_for_blocked(node, count);
    client
}

fn wait_for_blocked(node: &Node, count: usize) {
    let count = count.to_string();
    wait_for("clients wait", || {
        (node.info("blocked_clients").as_deref() == Some(&count)).then_some(())
    });
}

/// Whatever node they are on, who came first is served first; what a served one moves serves the next.
#[test]
fn who_came_first_is_served_first_on_all_nodes() {
    let cluster = Cluster::start(&[]);
    let [one, two, three] = [0, 1, 2].map(|at| &cluster.nodes[at]);
    let mut first = waits(one, "BLPOP other q 0", 1);
    let mut second = waits(two, "BLMOVE q next LEFT LEFT 0", 1);
    let mut last = waits(three, "BRPOP next 0", 1);
    let mut pusher = two.client();
    assert_eq!(said(&mut pusher, "RPUSH q a b c"), "3");
    assert_eq!(heard(&mut first), "[q a]");
    assert_eq!(heard(&mut second), "b");
    assert_eq!(heard(&mut last), "[next b]");
    assert_eq!(said(&mut pusher, "LRANGE q 0 -1"), "[c]");
    cluster.assert_equal();
}

/// The log's time ends it, though nobody writes.
#[test]
fn time_passes_for_those_who_wait() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut client = node.client();
    assert_eq!(said(&mut client, "BLPOP q 0.1"), "NilArray");
    assert_eq!(said(&mut client, "BZPOPMIN q 0.1"), "NilArray");
    assert_eq!(said(&mut client, "PING"), "PONG");
}

/// What a client sends behind a command that waits runs after it, and is neither lost nor early.
#[test]
fn commands_behind_one_that_waits_wait() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut other = node.client();
    let mut client = node.client();
    client.send_raw(b"BLPOP q 0\r\nSET k 1\r\nBLPOP q 0\r\nGET k\r\n").expect("it takes requests");
    wait_for_blocked(&node, 1);
    assert_eq!(said(&mut other, "GET k"), "Nil");
    assert!(said(&mut other, "CLIENT LIST").lines().any(|line| line.contains(" flags=b ")));
    assert_eq!(said(&mut other, "RPUSH q x y"), "2");
    for reply in ["[q x]", "OK", "[q y]", "1"] {
        assert_eq!(heard(&mut client), reply);
    }
    wait_for_blocked(&node, 0);
}

/// A connection that ends, in either way, takes nothing any more.
#[test]
fn a_connection_that_has_ended_takes_nothing() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut other = node.client();
    let gone = waits(&node, "BLPOP q 0", 1);
    let half = waits(&node, "BLPOP q 0", 2);
    drop(gone);
    wait_for_blocked(&node, 1);
    half.finish().expect("it can be shut");
    wait_for_blocked(&node, 0);
    assert_eq!(said(&mut other, "RPUSH q x"), "1");
    assert_eq!(said(&mut other, "LLEN q"), "1");
}

#[test]
fn clients_are_unblocked() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut other = node.client();
    let id = |client: &mut Client| said(client, "CLIENT ID");
    let mut client = node.client();
    let number = id(&mut client);
    for (how, told) in [
        ("", "NilArray"),
        (" TIMEOUT", "NilArray"),
        (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        client.send(&["BLPOP", "q", "0"]).expect("it takes requests");
        wait_for_blocked(&node, 1);
        assert_eq!(said(&mut other, &format!("CLIENT UNBLOCK {number}{how}")), "1");
        assert_eq!(heard(&mut client), told);
    }
    assert_eq!(said(&mut other, &format!("CLIENT UNBLOCK {number}")), "0");
    assert_eq!(said(&mut other, "CLIENT UNBLOCK 99999"), "0");
    assert_eq!(
        said(&mut other, "CLIENT UNBLOCK x"),
        "-ERR value is not an integer or out of range"
    );
    assert_eq!(
        said(&mut other, "CLIENT UNBLOCK 1 NOW"),
        "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"
    );
    assert_eq!(said(&mut client, "PING"), "PONG");
}

/// Waiting outlives the leader. A node that begins anew waits for nobody, and one that is told to end lets go of those who wait.
#[test]
fn waiting_outlives_the_leader_and_not_the_own_node() {
    let mut cluster = Cluster::start(&[]);
    let leader = cluster.leader();
    let [near, far] = [1, 2].map(|step| (leader + step) % 3);
    let mut client = waits(&cluster.nodes[near], "BLPOP q 0", 1);
    let killed = waits(&cluster.nodes[leader], "BLPOP p 0", 1);
    cluster.nodes[leader].kill();
    let mut pusher = cluster.nodes[far].client();
    assert_eq!(said(&mut pusher, "RPUSH q x"), "1");
    assert_eq!(heard(&mut client), "[q x]");

    cluster.nodes[leader].restart();
    drop(killed);
    let mut pusher = cluster.nodes[leader].client();
    assert_eq!(said(&mut pusher, "RPUSH p x"), "1");
    assert_eq!(said(&mut pusher, "LLEN p"), "1", "who waited there is gone");

    let ended = waits(&cluster.nodes[near], "BLPOP r 0", 1);
    cluster.nodes[near].signal("TERM");
    wait_for("it ends", || cluster.nodes[near].exit_code());
    assert_eq!(said(&mut pusher, "RPUSH r x"), "1");
    assert_eq!(said(&mut pusher, "LLEN r"), "1", "it has said that nobody waits there");
    drop(ended);
}

/// A client that has sent all that it has to say is answered what is there; only one that would wait is given up.
#[test]
fn a_half_closed_connection_gets_what_is_there() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut other = node.client();
    for round in 0..20 {
        said(&mut other, "RPUSH q x");
        let mut client = node.client();
        client.send_raw(b"BLPOP q 1\r\nPING\r\n").expect("it takes requests");
        client.finish().expect("it can be shut");
        assert_eq!(
            (heard(&mut client), heard(&mut client)),
            ("[q x]".into(), "PONG".into()),
            "{round}"
        );
    }
}

/// Connections that end before their request is known to wait leave nothing behind, neither in the state nor in the node.
#[test]
fn connections_that_end_at_once_leave_nothing_behind() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    for _ in 0..50 {
        let mut client = node.client();
        client.send(&["BLPOP", "q", "0"]).expect("it takes requests");
    }
    let mut other = node.client();
    wait_for("all have left", || {
        (node.info("connected_clients").as_deref() == Some("2")).then_some(())
    });
    assert_eq!(said(&mut other, "RPUSH q x"), "1");
    assert_eq!(said(&mut other, "LLEN q"), "1");
    wait_for_blocked(&node, 0);
}

/// What was given up as unknown may begin to wait later: its connection ends with the answer, and so does its waiting.
#[test]
fn what_is_given_up_as_unknown_takes_nothing() {
    let cluster = Cluster::start(&["--request-timeout", "1s"]);
    let leader = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    let mut client = cluster.nodes[leader].client();
    assert_eq!(said(&mut client, "PING"), "PONG");
    others.iter().for_each(|at| cluster.nodes[*at].pause());
    client.send(&["BLPOP", "q", "0"]).expect("it takes requests");
    let told = heard(&mut client);
    assert!(told.starts_with("-UNKNOWN"), "{told}");
    assert!(client.receive().is_err(), "its connection has ended");
    others.iter().for_each(|at| cluster.nodes[*at].signal("CONT"));
    wait_for("the cluster takes writes", || {
        let mut pusher = cluster.nodes[leader].client();
        let reply = words(&pusher.call(&["RPUSH", "q", "x"]).ok()?);
        (reply == "1" || reply == "2").then_some(())
    });
    let mut reader = cluster.nodes[leader].client();
    assert_ne!(said(&mut reader, "LLEN q"), "0");
}
