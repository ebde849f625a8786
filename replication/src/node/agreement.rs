//! Compares this node's state with its peers' (`checkpoints`).

use steadfast_core::mark::{self, Mark};

use super::Node;
use crate::checkpoints::{Checkpoint, Finding};
use crate::event::Output;

impl Node {
    /// The highest index at which this node and most voters had the same state.
    pub fn checked_index(&self) -> u64 {
        self.checkpoints.checked()
    }

    /// The own state has come to an index at which all compare theirs.
    pub(super) fn reach_checkpoint(&mut self, own: Checkpoint) {
        self.checkpoints.reach(own);
        let own_id = self.config.node_id;
        let peers = self.raw.raft.prs().iter().map(|(id, _)| *id).filter(|id| *id != own_id);
        let mut peers: Vec<u64> = peers.collect();
        peers.sort_unstable(); // raft keeps them in no order
        let tell = |to| Output::Tell { to, checkpoint: own };
        self.outputs.extend(peers.into_iter().map(tell));
        self.judge(own.index);
    }

    /// A peer's state at an index.
    pub(super) fn hear_checkpoint(&mut self, from: u64, said: Checkpoint) {
        if let Some(checkpoint) = self.checkpoints.hear(from, said) {
            self.outputs.push_back(Output::Tell { to: from, checkpoint });
        }
        self.judge(said.index);
    }

    fn judge(&mut self, index: u64) {
        if self.ended {
            return;
        }
        let tracker = self.raw.raft.prs();
        let is_most = |nodes: &[u64]| tracker.has_quorum(&nodes.iter().copied().collect());
        match self.checkpoints.judge(self.config.node_id, index, is_most) {
            Finding::Disputed(peers) if self.checkpoints.is_news(index) => tracing::error!(
                "node {} has another state at entry {index} than {peers:?}, and it can't be told yet who is right: compare \
                 raft_state_digest of all nodes (INFO raft), and bring the others back",
                self.config.node_id
            ),
            Finding::Open | Finding::Disputed(_) => {}
            Finding::Checked => mark::reached(Mark::StatesCompared),
            Finding::Outvoted(peers) => {
                self.outputs.push_back(Output::Outvoted(format!(
                    "node {} has another state at entry {index} than nodes {peers:?}, which agree",
                    self.config.node_id
                )));
                self.ended = true;
            }
        }
    }
}
