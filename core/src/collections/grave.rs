//! What has been deleted and is not freed yet. A tree of a million entries takes long to free: it is taken apart here, piece by piece,
//! between turns. Nothing in here is part of the state.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::tree::{Node, Tree};

/// Nodes that are freed at once, where they are: more are left for later.
const NODES_AT_ONCE: usize = 64;

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct Grave(Vec<Arc<Node>>);

impl Grave {
    /// Takes a tree that nobody needs any more.
    pub(crate) fn bury(&mut self, tree: Tree) {
        if tree.is_unshared() {
            self.0.push(tree.into_root());
        }
    }

    /// Frees what is small at once, so that nothing waits where nothing large is deleted.
    pub(crate) fn settle(&mut self) {
        if !self.0.is_empty() {
            self.step(NODES_AT_ONCE);
        }
    }

    /// Of tests: nodes that are not freed yet, as far as they have been come to.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Frees some `nodes`; whether nothing is left.
    pub(crate) fn step(&mut self, nodes: usize) -> bool {
        for _ in 0..nodes {
            let Some(node) = self.0.pop() else { break };
            if let Some(Node::Inner(children)) = Arc::into_inner(node) {
                let nodes = children.into_iter().map(|child| child.node);
                self.0.extend(nodes.filter(|node| Arc::strong_count(node) == 1));
            }
        }
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        self.0.is_empty()
    }
}
