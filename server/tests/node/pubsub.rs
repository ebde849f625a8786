//! Publish and subscribe: what subscribers hear, on whatever node, in which order, and when they are counted no more.

use std::io;
use std::thread;

use crate::harness::{Client, Node, TempDir, free_port, heard, said, wait_for, words};
use crate::three_nodes::Cluster;

/// Sends lines in one write.
fn send(client: &mut Client, lines: &[&str]) {
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\r\n")).collect();
    client.send_raw(lines.concat().as_bytes()).expect("it takes requests");
}

/// How many the cluster counts on a channel.
fn wait_for_count(client: &mut Client, channel: &str, count: u32) {
    let line = format!("PUBSUB NUMSUB {channel}");
    let wanted = format!("[{channel} {count}]");
    wait_for("the count", || (said(client, &line) == wanted).then_some(()));
}

/// RESP2 gets arrays and may run little else meanwhile; RESP3 gets pushes and may go on.
#[test]
fn both_protocols_are_told() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let (mut old, mut new, mut publisher) = (node.client(), node.client(), node.client());
    assert!(said(&mut new, "HELLO 3").starts_with("Map"));
    send(&mut old, &["SUBSCRIBE a b", "GET k", "PING", "PING x", "PSUBSCRIBE c*", "UNSUBSCRIBE b"]);
    assert_eq!(heard(&mut old), "[subscribe a 1]");
    assert_eq!(heard(&mut old), "[subscribe b 2]");
    let refused = heard(&mut old);
    assert!(refused.starts_with("-ERR Can't execute 'get': only (P|S)SUBSCRIBE / "), "{refused}");
    for told in ["[pong ]", "[pong x]", "[psubscribe c* 3]", "[unsubscribe b 2]"] {
        assert_eq!(heard(&mut old), told);
    }
    send(&mut new, &["SUBSCRIBE a", "SET k v", "GET k", "PUBLISH a 1", "PING"]);
    for told in [">[subscribe a 1]", "OK", "v", ">[message a 1]", "2", "PONG"] {
        assert_eq!(heard(&mut new), told, "its own message comes in front of its reply");
    }
    assert_eq!(heard(&mut old), "[message a 1]");
    assert_eq!(said(&mut publisher, "PUBLISH cc 2"), "1");
    assert_eq!(heard(&mut old), "[pmessage c* cc 2]");
    let list = said(&mut publisher, "CLIENT LIST TYPE pubsub");
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains(" flags=P db=0 sub=1 psub=1 ssub=0 "), "{list}");
    assert_eq!(node.info("pubsub_channels").as_deref(), Some("1"));
    assert_eq!(node.info("pubsub_patterns").as_deref(), Some("1"));
    send(&mut old, &["UNSUBSCRIBE", "PUNSUBSCRIBE", "GET k"]);
    for told in ["[unsubscribe a 1]", "[punsubscribe c* 0]", "v"] {
        assert_eq!(heard(&mut old), told);
    }
    send(&mut old, &["SUBSCRIBE a", "SSUBSCRIBE s", "MULTI", "RESET", "GET k", "UNSUBSCRIBE"]);
    assert_eq!(
        (heard(&mut old), heard(&mut old)),
        ("[subscribe a 1]".into(), "[ssubscribe s 1]".into())
    );
    assert!(heard(&mut old).starts_with("-ERR Can't execute 'multi'"));
    for told in ["RESET", "v", "[unsubscribe Nil 0]"] {
        assert_eq!(heard(&mut old), told);
    }
    assert_eq!(said(&mut publisher, "PUBSUB SHARDCHANNELS"), "[]");
    assert_eq!(said(&mut publisher, "PUBLISH a 3"), "1", "the other one still listens");
}

/// A transaction subscribes and publishes only if it runs, and what it tells comes behind its reply; so with commands that the
/// node answers itself.
#[test]
fn transactions_subscribe_and_publish() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let (mut client, mut other) = (node.client(), node.client());
    let begin = ["MULTI", "SUBSCRIBE a", "PUBLISH a 1", "CLIENT SETNAME me", "EXEC", "PING"];
    send(&mut client, &begin);
    for told in
        ["OK", "QUEUED", "QUEUED", "QUEUED", "[[subscribe a 1] 1 OK]", "[message a 1]", "[pong ]"]
    {
        assert_eq!(heard(&mut client), told);
    }
    assert_eq!(said(&mut other, "WATCH k"), "OK");
    assert_eq!(said(&mut node.client(), "SET k v"), "OK");
    send(&mut other, &["MULTI", "SUBSCRIBE b", "PUBLISH a 2", "EXEC", "GET k"]);
    for told in ["OK", "QUEUED", "QUEUED", "NilArray", "v"] {
        assert_eq!(heard(&mut other), told);
    }
    assert_eq!(said(&mut other, "EVAL return(redis.call('publish','a','3')) 0"), "1");
    assert_eq!(heard(&mut client), "[message a 3]");
}

/// Everybody hears everything, wherever it is published, in one order; PUBLISH counts the whole cluster.
#[test]
fn three_nodes_tell_in_one_order() {
    let cluster = Cluster::start(&[]);
    let mut listeners: Vec<Client> = cluster.nodes.iter().map(Node::client).collect();
    for (at, listener) in listeners.iter_mut().enumerate() {
        if at == 1 {
            said(listener, "HELLO 3");
        }
        assert!(said(listener, "SUBSCRIBE news").contains("subscribe news 1"));
    }
    let heard_by = thread::scope(|scope| {
        for (at, node) in cluster.nodes.iter().enumerate() {
            scope.spawn(move || {
                let mut publisher = node.client();
                for number in 0..200 {
                    assert_eq!(said(&mut publisher, &format!("PUBLISH news {at}:{number}")), "3");
                }
            });
        }
        let each = listeners.iter_mut().map(|listener| {
            let all: Vec<String> =
                (0..600).map(|_| heard(listener).trim_start_matches('>').to_owned()).collect();
            all
        });
        each.collect::<Vec<_>>()
    });
    assert!(heard_by[0] == heard_by[1] && heard_by[1] == heard_by[2], "orders differ");
    for at in 0..3 {
        let own: Vec<&String> =
            heard_by[0].iter().filter(|m| m.contains(&format!(" {at}:"))).collect();
        let wanted: Vec<String> = (0..200).map(|n| format!("[message news {at}:{n}]")).collect();
        assert_eq!(own, wanted.iter().collect::<Vec<_>>(), "publishers' orders hold");
    }
    cluster.assert_equal();
}

/// A connection that ends is counted no more, on any node, however it ends; nor are those of a node that ends or begins again.
#[test]
fn who_is_gone_is_not_counted() {
    let mut cluster = Cluster::start(&[]);
    let mut asks = cluster.nodes[0].client();
    let listen = |node: &Node| {
        let mut client = node.client();
        said(&mut client, "SUBSCRIBE a");
        assert_eq!(said(&mut client, "PSUBSCRIBE p*"), "[psubscribe p* 2]");
        client
    };
    let (one, mut two, three) =
        (listen(&cluster.nodes[1]), listen(&cluster.nodes[2]), listen(&cluster.nodes[2]));
    wait_for_count(&mut asks, "a", 3);
    drop(one);
    wait_for_count(&mut asks, "a", 2);
    assert_eq!(said(&mut two, "QUIT"), "OK");
    wait_for_count(&mut asks, "a", 1);
    assert_eq!(said(&mut asks, "PUBLISH a x"), "1");
    // Snapshots hold the counts: a node that begins from one knows them, and only what its own clients had goes.
    let other = listen(&cluster.nodes[1]);
    for at in [1, 2] {
        let mut client = cluster.nodes[at].client();
        said(&mut client, "BGSAVE");
        let node = &cluster.nodes[at];
        wait_for("it has a snapshot", || (node.info("snapshot_index")? != "0").then_some(()));
    }
    cluster.nodes[2].kill();
    assert_eq!(said(&mut asks, "PUBSUB NUMSUB a"), "[a 2]", "nobody has said so yet");
    cluster.nodes[2].restart();
    drop(cluster.nodes[2].client());
    wait_for_count(&mut asks, "a", 1);
    assert_eq!(said(&mut cluster.nodes[2].client(), "PUBSUB NUMSUB a"), "[a 1]");
    cluster.nodes[1].signal("TERM");
    cluster.nodes[1].exit_code();
    wait_for_count(&mut asks, "a", 0);
    assert_eq!(said(&mut asks, "PUBSUB NUMPAT"), "0");
    drop((other, three));
    cluster.nodes[1].restart();
    drop(cluster.nodes[1].client());
    cluster.assert_equal();
}

/// Publishes until a slow listener has been cut off; answers how many messages that took.
fn publish_until_cut_off(publisher: &mut Client, payload: &str) -> usize {
    let line = format!("PUBLISH a {payload}");
    wait_for("the slow one is cut off", || {
        let mut sent = 0;
        while said(publisher, &line) == "2" {
            sent += 1;
            if sent == 200 {
                return None;
            }
        }
        Some(sent)
    })
}

/// A subscriber that takes nothing is cut off beyond the hard limit, or after its time beyond the soft one; others hear everything.
#[test]
fn slow_subscribers_are_cut_off() {
    let dir = TempDir::new();
    let limit = ["--client-output-buffer-limit", "pubsub", "4mb", "0", "0"];
    let node = Node::start(dir.path(), &limit);
    let mut publisher = node.client();
    let settings = said(&mut publisher, "CONFIG GET client-output-buffer-limit");
    assert!(settings.contains("pubsub 4194304 0 0"), "{settings}");
    let payload = "x".repeat(64 << 10);
    for soft in [false, true] {
        if soft {
            let set = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 4mb 1"];
            assert_eq!(words(&publisher.call(&set).expect("it serves")), "OK");
        }
        let (mut slow, mut quick) = (node.client(), node.client());
        assert_eq!(said(&mut slow, "SUBSCRIBE a"), "[subscribe a 1]");
        assert_eq!(said(&mut quick, "SUBSCRIBE a"), "[subscribe a 1]");
        thread::scope(|scope| {
            let listens = scope.spawn(move || {
                let mut count = 0_u64;
                while heard(&mut quick) != "[message a end]" {
                    count += 1;
                }
                count
            });
            publish_until_cut_off(&mut publisher, &payload);
            assert_eq!(said(&mut publisher, "PUBLISH a end"), "1");
            assert!(listens.join().expect("it hears everything") > 64);
        });
        let end = loop {
            if let Err(error) = slow.receive() {
                break error;
            }
        };
        let ends = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        assert!(ends.contains(&end.kind()), "{end}");
        wait_for_count(&mut publisher, "a", 0);
    }
}

/// A node that catches up by a snapshot has skipped messages: its subscribers are told by the end of their connections.
#[test]
fn subscribers_of_a_node_that_skipped_messages_are_closed() {
    let cluster = Cluster::start(&["--snapshot-log-bytes", "65536", "--segment-bytes", "16384"]);
    let leader = cluster.leader();
    let (behind, mut publisher) =
        (&cluster.nodes[(leader + 1) % 3], cluster.nodes[leader].client());
    let mut listener = behind.client();
    assert_eq!(said(&mut listener, "SUBSCRIBE a"), "[subscribe a 1]");
    behind.pause();
    // More than sockets and queues between the nodes hold, so that it must be given a snapshot.
    let large = "x".repeat(1 << 20);
    for _ in 0..64 {
        assert_eq!(said(&mut publisher, "PUBLISH a skipped"), "1");
        assert_eq!(said(&mut publisher, &format!("SET large {large}")), "OK");
    }
    behind.signal("CONT");
    let ended = wait_for("its connection ends", || listener.receive().err());
    assert!(
        ended.kind() == io::ErrorKind::UnexpectedEof
            || ended.kind() == io::ErrorKind::ConnectionReset
    );
    wait_for_count(&mut publisher, "a", 0);
    cluster.assert_equal();
}

/// Sentinel clients hear of a new leader, by name and address.
#[test]
fn sentinels_tell_of_a_new_leader() {
    let mut cluster = Cluster::start(&[]);
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    for (node, port) in cluster.nodes.iter_mut().zip(&ports) {
        node.kill();
        node.restart_once_with(&["--sentinel-port", &port.to_string()]);
    }
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let leader = cluster.leader();
    let asks = (leader + 1) % 3;
    let mut listener = Client::connect(ports[asks]).expect("it serves");
    assert_eq!(said(&mut listener, "SUBSCRIBE +switch-master"), "[subscribe +switch-master 1]");
    assert_eq!(said(&mut listener, "PSUBSCRIBE +switch*"), "[psubscribe +switch* 2]");
    assert_eq!(said(&mut listener, "PING"), "[pong ]");
    assert!(said(&mut listener, "SSUBSCRIBE x").starts_with("-ERR at this port"));
    assert!(said(&mut listener, "GET x").starts_with("-ERR Can't execute 'get'"));
    let mut client = cluster.nodes[asks].client();
    assert_eq!(said(&mut client, "PUBSUB CHANNELS"), "[]", "it is known to this node alone");
    assert_eq!(said(&mut client, "PUBLISH +switch-master x"), "0");
    cluster.nodes[leader].kill();
    let told = heard(&mut listener);
    let old = cluster.nodes[leader].port;
    let start = format!("[message +switch-master mymaster 127.0.0.1 {old} 127.0.0.1 ");
    let new = told.strip_prefix(&start).unwrap_or_else(|| panic!("{told}"));
    assert!(cluster.nodes.iter().any(|node| new == format!("{}]", node.port)), "{told}");
    assert!(heard(&mut listener).starts_with("[pmessage +switch* +switch-master mymaster "));
    cluster.nodes[leader].restart();
}
