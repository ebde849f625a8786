//! Three nodes as processes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use steadfast_core::reply::Reply;

use crate::harness::{Node, TempDir, free_port, wait_for};

/// Three nodes, and their directories.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) dirs: Vec<TempDir>,
}

impl Cluster {
    /// Starts them; `more` are further arguments of each.
    pub(crate) fn start(more: &[&str]) -> Self {
        let members: Vec<String> =
            (1..=3).map(|id| format!("{id}=127.0.0.1:{}", free_port())).collect();
        let members = members.join(",");
        let dirs: Vec<TempDir> = (0..3).map(|_| TempDir::new()).collect();
        let nodes = (0..3)
            .map(|at| {
                let id = (at + 1).to_string();
                let mut arguments = vec!["--node-id", &id, "--cluster", &members];
                arguments.extend(more);
                Node::start(dirs[at].path(), &arguments)
            })
            .collect();
        Self { nodes, dirs }
    }

    /// Who leads, as soon as somebody does.
    pub(crate) fn leader(&self) -> usize {
        wait_for("one node leads", || {
            self.nodes.iter().position(|n| n.info("raft_role").as_deref() == Some("leader"))
        })
    }

    /// Waits until all nodes stand at the same index, and checks that they then have the same digest.
    pub(crate) fn assert_equal(&self) {
        wait_for("all nodes are equal", || {
            let mut states = self.nodes.iter().map(|node| {
                Some((node.info("raft_applied_index")?, node.info("raft_state_digest")?))
            });
            let first = states.next()??;
            states.all(|state| state.as_ref() == Some(&first)).then_some(())
        });
    }
}

/// Counts on one node until told to stop; answers how many outcomes are unknown, for the connection broke. Nobody may be refused.
pub(crate) fn count(node: &Node, key: &str, stop: &AtomicBool, acknowledged: &AtomicU64) -> u64 {
    let mut client = node.client();
    let mut unknown = 0;
    while !stop.load(Ordering::Relaxed) {
        match client.call(&["INCR", key]) {
            Ok(Reply::Int(_)) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(other) => panic!("{key}: INCR answered {other:?}"),
            Err(_) => {
                unknown += 1;
                client = node.client();
            }
        }
    }
    unknown
}
