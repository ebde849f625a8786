//! Replicas compare their states: whoever differs from most voters ends, for ever, and nobody else does.

mod world;

use steadfast_replication::gateway::{Checkpoint, Intake};
use world::{MemoryNet, Running, THREE, config, run, start_three, wait_for};

const OUTVOTED: &str = "most voters have another state";

fn reach(node: &Running, index: u64, digest: u128) {
    node.send(Intake::Checkpoint(Checkpoint { index, digest }));
}

/// Waits until it has ended, because others have outvoted it.
async fn is_outvoted(node: &Running) {
    wait_for("it ends", || node.seen.borrow().end.is_some()).await;
    let end = node.seen.borrow().end.clone();
    assert!(end.is_some_and(|end| end.is_err_and(|text| text.contains(OUTVOTED))));
}

#[test]
fn who_differs_from_most_ends_for_ever() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        nodes.iter().for_each(|node| reach(node, 64, 7));
        wait_for("all have compared", || nodes.iter().all(|n| n.status.checked_index() == 64))
            .await;
        for (node, digest) in nodes.iter().zip([8_u128 << 64, 8 << 64, 8]) {
            reach(node, 128, digest);
        }
        is_outvoted(&nodes[2]).await;
        let disk = nodes.remove(2).crash().await;
        nodes.iter_mut().for_each(|node| node.submit(100));
        wait_for("the others go on", || nodes.iter().all(Running::is_settled)).await;
        assert!(nodes.iter().all(|node| node.status.checked_index() == 128));
        let again = Running::start(&net, config(3, &THREE), disk).await;
        let refusal = again.err().expect("it does not start again").to_string();
        assert!(refusal.contains(OUTVOTED) && refusal.contains("steadfast cluster replace"));
    });
}

/// Who comes late to an index hears what the others had there, though they have agreed on it long ago.
#[test]
fn who_is_behind_is_found_out() {
    run(async {
        let net = MemoryNet::new();
        let nodes = start_three(&net).await;
        let is_led = || nodes[..2].iter().any(Running::is_leader);
        net.cut(3, 1);
        net.cut(3, 2);
        wait_for("one of the two leads", is_led).await;
        nodes[..2].iter().for_each(|node| reach(node, 64, 7));
        wait_for("the two have compared", || {
            nodes[..2].iter().all(|node| node.status.checked_index() == 64)
        })
        .await;
        net.heal();
        wait_for("all are connected", || {
            nodes[2].status.is_connected(1) && nodes[2].status.is_connected(2)
        })
        .await;
        // What it tells may be lost while the links come up.
        wait_for("it is found out", || {
            if nodes[2].seen.borrow().end.is_none() {
                reach(&nodes[2], 64, 8);
            }
            nodes[2].seen.borrow().end.is_some()
        })
        .await;
        is_outvoted(&nodes[2]).await;
        assert!(nodes[..2].iter().all(|node| node.seen.borrow().end.is_none()));
    });
}

/// One against one: nobody ends, until the third decides.
#[test]
fn two_that_differ_wait_for_the_third() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = start_three(&net).await;
        reach(&nodes[0], 64, 7);
        reach(&nodes[1], 64, 8);
        for _ in 0..3 {
            nodes.iter_mut().for_each(|node| node.submit(100));
            wait_for("all go on", || nodes.iter().all(Running::is_settled)).await;
        }
        assert!(nodes.iter().all(|node| node.status.checked_index() == 0));
        reach(&nodes[2], 64, 8);
        is_outvoted(&nodes[0]).await;
        wait_for("the others agree", || {
            nodes[1..].iter().all(|node| node.status.checked_index() == 64)
        })
        .await;
    });
}
