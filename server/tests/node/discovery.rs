//! What a node tells clients that ask for a cluster or for sentinels: itself, where they have reached it or where it was told to be,
//! and the other nodes, the leader first.

use redis::Commands as _;
use redis::cluster::ClusterClient;
use redis::sentinel::Sentinel;

use crate::harness::{Client, Node, TempDir, free_port, refusal, wait_for, words};
use crate::three_nodes::Cluster;

/// A reply as words, arrays in brackets.
fn said(client: &mut Client, argv: &[&str]) -> String {
    words(&client.call(argv).expect("the connection holds"))
}

/// A node on its own is where its client has reached it, or where it was told to be.
#[test]
fn a_node_alone_is_a_whole_cluster() {
    let (dir, told_dir) = (TempDir::new(), TempDir::new());
    let node = Node::start(dir.path(), &[]);
    let told = Node::start(
        told_dir.path(),
        &[
            "--cluster-announce-ip",
            "cache.example",
            "--cluster-announce-port",
            "7",
            "--sentinel-master",
            "locks",
        ],
    );
    let (mut client, mut other) = (node.client(), told.client());
    let port = node.port;
    let name = said(&mut client, &["CLUSTER", "MYID"]);
    assert!(name.len() == 40 && name.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    let slots = format!("[[0 16383 [127.0.0.1 {port} {name} []]]]");
    assert_eq!(said(&mut client, &["CLUSTER", "SLOTS"]), slots);
    let address = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"];
    assert_eq!(said(&mut client, &address), format!("[127.0.0.1 {port}]"));
    assert_eq!(said(&mut other, &address), "NilArray", "it has another name there");
    assert_eq!(
        said(&mut other, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "locks"]),
        "[cache.example 7]"
    );
    assert!(
        said(&mut other, &["CLUSTER", "NODES"]).contains(" cache.example:7@7 myself,master - ")
    );
    assert!(said(&mut client, &["ROLE"]).starts_with("[master "));
    assert!(said(&mut client, &["CLIENT", "INFO"]).contains(&format!(" laddr=127.0.0.1:{port} ")));
    for word in ["READONLY", "READWRITE", "ASKING"] {
        assert_eq!(said(&mut client, &[word]), "OK");
    }
}

/// Slots and their keys.
#[test]
fn slots_and_keys() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut client = node.client();
    assert_eq!(said(&mut client, &["SET", "{foo}1", "x"]), "OK");
    assert_eq!(said(&mut client, &["CLUSTER", "KEYSLOT", "{foo}1"]), "12182");
    assert_eq!(said(&mut client, &["CLUSTER", "COUNTKEYSINSLOT", "12182"]), "1");
    assert_eq!(said(&mut client, &["CLUSTER", "GETKEYSINSLOT", "12182", "9"]), "[{foo}1]");
    for (words, text) in [
        (&["CLUSTER", "COUNTKEYSINSLOT", "16384"][..], "ERR Invalid slot"),
        (&["CLUSTER", "COUNTKEYSINSLOT", "x"], "ERR value is not an integer or out of range"),
        (&["CLUSTER", "GETKEYSINSLOT", "-1", "1"], "ERR Invalid slot or number of keys"),
        (&["CLUSTER", "GETKEYSINSLOT", "0", "-1"], "ERR Invalid slot or number of keys"),
        (&["SENTINEL", "MASTER", "nobody"], "ERR No such master with that name"),
    ] {
        assert_eq!(client.refused(words), text);
    }
    for words in [&["REPLICAOF", "NO", "ONE"][..], &["SLAVEOF", "a", "1"], &["FAILOVER"]] {
        let text = client.refused(words);
        assert!(text.contains("changes nothing"), "{text}");
    }
}

/// Every node names all of them, where each has announced itself, and the same leader; one that is gone is said to be down.
#[test]
fn three_nodes_name_each_other() {
    let mut cluster = Cluster::start(&[]);
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let leader = cluster.leader();
    let place = |node: &Node| format!("[127.0.0.1 {}]", node.port);
    for node in &cluster.nodes {
        wait_for("every node is up, and known by its own port", || {
            let mut client = node.client();
            let slots = said(&mut client, &["CLUSTER", "SLOTS"]);
            let all =
                cluster.nodes.iter().all(|n| slots.contains(&format!("[127.0.0.1 {} ", n.port)));
            let master = said(&mut client, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]);
            let agreed = master == place(&cluster.nodes[leader]);
            let quorum = said(&mut client, &["SENTINEL", "CKQUORUM", "mymaster"]);
            (all && agreed && quorum.starts_with("OK 3 ")).then_some(())
        });
    }
    let follower = (leader + 1) % 3;
    let role = said(&mut cluster.nodes[follower].client(), &["ROLE"]);
    let port = cluster.nodes[leader].port;
    assert!(role.starts_with(&format!("[slave 127.0.0.1 {port} connected ")), "{role}");
    cluster.nodes[follower].kill();
    let gone = cluster.nodes[follower].port;
    let mut client = cluster.nodes[leader].client();
    wait_for("the node that is gone is said to be down", || {
        let nodes = said(&mut client, &["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| line.contains(&format!(":{gone}@")))?;
        let replicas = said(&mut client, &["SENTINEL", "REPLICAS", "mymaster"]);
        (line.contains("slave,fail? ") && replicas.contains("s_down")).then_some(())
    });
}

/// redis-rs, as a cluster and by sentinels, over the death of the leader.
#[test]
fn redis_rs_finds_the_nodes() {
    let mut cluster = Cluster::start(&[]);
    let sentinels: Vec<u16> = (0..3).map(|_| free_port()).collect();
    for (node, port) in cluster.nodes.iter_mut().zip(&sentinels) {
        node.kill();
        node.restart_once_with(&["--sentinel-port", &port.to_string()]);
    }
    cluster.nodes.iter().for_each(|node| drop(node.client()));
    let urls = |ports: &mut dyn Iterator<Item = u16>| -> Vec<String> {
        ports.map(|port| format!("redis://127.0.0.1:{port}")).collect()
    };
    let addresses = urls(&mut cluster.nodes.iter().map(|node| node.port));
    let client = ClusterClient::new(addresses).expect("the addresses are well formed");
    let mut connection = client.get_connection().expect("a node answers");
    let set: () = connection.mset(&[("{t}a", 1), ("{t}b", 2)]).expect("all slots are served");
    let mut sentinel = Sentinel::build(urls(&mut sentinels.iter().copied()))
        .expect("the addresses are well formed");
    let mut master = || -> redis::RedisResult<redis::Connection> {
        sentinel.master_for("mymaster", None)?.get_connection()
    };
    let sum: i64 = master().and_then(|mut master| master.incr("{t}a", 5)).expect("it leads");
    assert_eq!((set, sum), ((), 6));
    let leader = cluster.leader();
    cluster.nodes[leader].kill();
    wait_for("sentinels name another", || {
        master().and_then(|mut m| m.incr("{t}b", 5)).ok() as Option<i64>
    });
    // It never asks for other nodes while its own refuses it (nor does it with Redis): a new connection does.
    wait_for("the cluster client goes on", || {
        let values: Vec<i64> = client.get_connection().ok()?.mget(&["{t}a", "{t}b"]).ok()?;
        (values == [6, 7]).then_some(())
    });
}

/// An address that nobody could use is refused at the start.
#[test]
fn addresses_that_are_none_are_refused() {
    let dir = TempDir::new();
    let path = dir.path().display().to_string();
    let text = refusal(&["server", "--dir", &path, "--announce", "nowhere"]);
    assert!(text.contains("--announce nowhere") && text.contains("host:port"), "{text}");
}
