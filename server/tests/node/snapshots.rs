//! BGSAVE and LASTSAVE: a snapshot on demand, while commands go on.

use steadfast_core::reply::Reply;

use crate::harness::{Node, TempDir, wait_for};

/// Changes made while a snapshot is written are in the log and not in it; what a start finds is both.
#[test]
fn a_snapshot_is_taken_on_demand_while_writes_go_on() {
    let dir = TempDir::new();
    let mut node = Node::start(dir.path(), &[]);
    let mut client = node.client();
    let value = "v".repeat(1000);
    for first in (0..5000).step_by(100) {
        let keys: Vec<String> =
            (first..first + 100).map(|number| format!("key:{number}")).collect();
        let pairs = keys.iter().flat_map(|key| [key.as_str(), value.as_str()]);
        let words: Vec<&str> = std::iter::once("MSET").chain(pairs).collect();
        assert_eq!(client.call(&words).expect("it serves"), Reply::Ok);
    }
    for round in 1..=3 {
        let before = node.info("snapshot_index").expect("it is told");
        let started = client.call(&["BGSAVE"]).expect("it serves");
        assert_eq!(started, Reply::Status(b"Background saving started".as_slice().into()));
        let mut written = 0;
        wait_for("it is saved", || {
            let key = format!("key:{}", written * 7 % 5000);
            assert_eq!(
                client.call(&["SET", &key, &format!("round {round}")]).expect("it serves"),
                Reply::Ok
            );
            written += 1;
            (node.info("rdb_bgsave_in_progress").as_deref() == Some("0")).then_some(())
        });
        assert_ne!(node.info("snapshot_index"), Some(before));
        let saved = node.info("rdb_last_save_time").expect("it is told");
        let Reply::Int(last) = client.call(&["LASTSAVE"]).expect("it serves") else {
            panic!("LASTSAVE answers a number")
        };
        assert_eq!(saved, last.to_string());
        node.kill();
        node.restart();
        client = node.client();
        for number in 0..5000 {
            let times = (0..written).filter(|at| at * 7 % 5000 == number).count();
            let found = client.call(&["GET", &format!("key:{number}")]).expect("it serves");
            if times > 0 {
                assert_eq!(found, Reply::bulk_owned(format!("round {round}")), "key:{number}");
            } else {
                let Reply::Bulk(bytes) = found else { panic!("key:{number} is missing") };
                assert!(*bytes == *value.as_bytes() || bytes.starts_with(b"round "));
            }
        }
    }
    let refused = client.refused(&["BGSAVE", "NOW"]);
    assert_eq!(refused, "ERR syntax error");
    let scheduled = client.call(&["BGSAVE", "SCHEDULE"]).expect("it serves");
    assert_eq!(scheduled, Reply::Status(b"Background saving scheduled".as_slice().into()));
}
