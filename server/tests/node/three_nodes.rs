//! Three nodes as processes.

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
