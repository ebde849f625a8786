//! A sequence of entries in a counted B+ tree: what a large collection is made of. Its leaves are packed, its nodes shared: a clone costs
//! nothing, and a change of a shared tree copies the nodes on its way, and no others. So a snapshot and an undo list keep a tree
//! as it was for the price of what changes (Bayer 1972; Comer, "The ubiquitous B-tree", 1979; path copying: Driscoll and others, 1989).
//!
//! Entries are found by rank, and, in a tree whose owner keeps them in the order of their bytes, by bound. Which entries share a leaf is
//! not part of the state: only their order is.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::slice;

use super::packed::{Entries, Packed, size_of_entry};

/// Bytes of a leaf of several entries.
const LEAF_BYTES_MAX: usize = 1024;
/// A smaller leaf joins its neighbour.
const LEAF_BYTES_MIN: usize = LEAF_BYTES_MAX / 4;
/// What two nodes may hold that are made one.
const LEAF_BYTES_JOINED_MAX: usize = LEAF_BYTES_MAX * 3 / 4;
const CHILDREN_MAX: usize = 32;
const CHILDREN_MIN: usize = CHILDREN_MAX / 4;
const CHILDREN_JOINED_MAX: usize = CHILDREN_MAX * 3 / 4;

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: Arc<Node>,
    count: usize,
    bytes: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf(Packed),
    Inner(Vec<Child>),
}

#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) node: Arc<Node>,
    /// Entries below.
    count: usize,
    /// The first bytes of its first entry.
    head: u64,
}

/// Which ends of the tree a node is at: there, a full node is left full, since what comes next comes there too.
#[derive(Clone, Copy)]
struct Edge {
    first: bool,
    last: bool,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Packed::default())), count: 0, bytes: 0 }
    }
}

/// The first bytes of an entry, in the order of bytes.
fn head_of(entry: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = entry.len().min(head.len());
    head[..length].copy_from_slice(&entry[..length]);
    u64::from_be_bytes(head)
}

impl Child {
    fn of(node: Arc<Node>, count: usize) -> Self {
        let head = node.head();
        Self { node, count, head }
    }

    fn leaf(packed: Packed) -> Self {
        let count = packed.len();
        Self::of(Arc::new(Node::Leaf(packed)), count)
    }

    fn inner(children: Vec<Self>) -> Self {
        let count = children.iter().map(|child| child.count).sum();
        Self::of(Arc::new(Node::Inner(children)), count)
    }

    /// Whether its first entry is below `key`.
    fn begins_below(&self, key: &[u8]) -> bool {
        let head = head_of(key);
        self.head < head
            || (self.head == head && self.node.first_entry().is_some_and(|first| first < key))
    }
}

impl Node {
    fn head(&self) -> u64 {
        match self {
            Self::Leaf(packed) => packed.iter().next().map_or(0, head_of),
            Self::Inner(children) => children.first().map_or(0, |child| child.head),
        }
    }

    fn first_entry(&self) -> Option<&[u8]> {
        match self {
            Self::Leaf(packed) => packed.iter().next(),
            Self::Inner(children) => children.first()?.node.first_entry(),
        }
    }

    /// Puts an entry in front of the one at `rank`; answers the nodes that stand behind this one from now on.
    fn insert(&mut self, rank: usize, entry: &[u8], edge: Edge) -> Vec<Child> {
        match self {
            Self::Leaf(packed) => insert_into_leaf(packed, rank, entry, edge),
            Self::Inner(children) => {
                let (at, before) = child_of(children, rank);
                let edge = Edge {
                    first: edge.first && at == 0,
                    last: edge.last && at + 1 == children.len(),
                };
                let child = &mut children[at];
                let split = Arc::make_mut(&mut child.node).insert(rank - before, entry, edge);
                child.count += 1;
                child.count -= split.iter().map(|other| other.count).sum::<usize>();
                child.head = child.node.head();
                for (behind, child) in split.into_iter().enumerate() {
                    children.insert(at + 1 + behind, child);
                }
                if children.len() <= CHILDREN_MAX {
                    return Vec::new();
                }
                let middle = if edge.last { children.len() - 1 } else { children.len() / 2 };
                vec![Child::inner(children.split_off(middle))]
            }
        }
    }

    fn remove(&mut self, rank: usize) -> Vec<u8> {
        match self {
            Self::Leaf(packed) => {
                let entry = packed.get(rank).map(<[u8]>::to_vec).unwrap_or_default();
                packed.splice(rank, 1, []);
                entry
            }
            Self::Inner(children) => {
                let (at, before) = child_holding(children, rank);
                let child = &mut children[at];
                let entry = Arc::make_mut(&mut child.node).remove(rank - before);
                child.count -= 1;
                child.head = child.node.head();
                tidy_up(children, at);
                entry
            }
        }
    }

    /// Replaces an entry, if the new one has room in its leaf; answers the old one.
    fn replace(&mut self, rank: usize, entry: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Leaf(packed) => {
                let old = packed.get(rank)?.to_vec();
                let size = packed.size() - size_of_entry(old.len()) + size_of_entry(entry.len());
                if size > LEAF_BYTES_MAX && packed.len() > 1 {
                    return None;
                }
                packed.splice(rank, 1, [entry]);
                Some(old)
            }
            Self::Inner(children) => {
                let (at, before) = child_holding(children, rank);
                let child = &mut children[at];
                let old = Arc::make_mut(&mut child.node).replace(rank - before, entry);
                child.head = child.node.head();
                old
            }
        }
    }

    /// Removes entries, each of which `visit` gets to see first.
    fn remove_range(&mut self, from: usize, to: usize, visit: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Leaf(packed) => {
                packed.iter_from(from).take(to - from).for_each(visit);
                packed.splice(from, to - from, []);
            }
            Self::Inner(children) => {
                let mut before = 0;
                for child in &mut *children {
                    let (start, end) = (before.max(from), (before + child.count).min(to));
                    let (whole, first) = (child.count, before);
                    before += whole;
                    if start >= end {
                        continue;
                    }
                    if end - start == whole {
                        child.node.walk(visit);
                        child.node = Arc::new(Self::Leaf(Packed::default()));
                    } else {
                        Arc::make_mut(&mut child.node).remove_range(
                            start - first,
                            end - first,
                            visit,
                        );
                    }
                    child.count -= end - start;
                    child.head = child.node.head();
                }
                let gone = children.iter().position(|child| child.count == 0).unwrap_or(0);
                children.retain(|child| child.count > 0);
                tidy_up(children, gone.min(children.len().saturating_sub(1)));
            }
        }
    }

    fn walk(&self, visit: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Leaf(packed) => packed.iter().for_each(visit),
            Self::Inner(children) => children.iter().for_each(|child| child.node.walk(visit)),
        }
    }
}

/// The child that an entry goes into which is to stand at `rank`, and how many entries are in front of it.
fn child_of(children: &[Child], rank: usize) -> (usize, usize) {
    let mut before = 0;
    for (at, child) in children.iter().enumerate() {
        if rank <= before + child.count || at + 1 == children.len() {
            return (at, before);
        }
        before += child.count;
    }
    (0, 0)
}

/// The child with the entry at `rank`, which there is.
fn child_holding(children: &[Child], rank: usize) -> (usize, usize) {
    let (at, before) = child_of(children, rank + 1);
    (at, before)
}

fn insert_into_leaf(packed: &mut Packed, rank: usize, entry: &[u8], edge: Edge) -> Vec<Child> {
    let size = size_of_entry(entry.len());
    if packed.is_empty() || packed.size() + size <= LEAF_BYTES_MAX {
        packed.insert(rank, entry);
        return Vec::new();
    }
    let count = packed.len();
    if rank == count && (edge.last || size > LEAF_BYTES_MAX / 2) {
        return vec![Child::leaf(Packed::of([entry]))];
    }
    if rank == 0 && (edge.first || size > LEAF_BYTES_MAX / 2) {
        return vec![Child::leaf(core::mem::replace(packed, Packed::of([entry])))];
    }
    if size > LEAF_BYTES_MAX / 2 {
        // A large entry is never copied for the sake of its neighbours.
        let behind = packed.split_off(rank);
        return vec![Child::leaf(Packed::of([entry])), Child::leaf(behind)];
    }
    let middle = packed.rank_at(packed.size() / 2).clamp(1, count.max(2) - 1);
    if count == 1 {
        let behind = packed.split_off(rank.min(1));
        if behind.is_empty() {
            return vec![Child::leaf(Packed::of([entry]))];
        }
        *packed = Packed::of([entry]);
        return vec![Child::leaf(behind)];
    }
    let mut behind = packed.split_off(middle);
    if rank <= middle {
        packed.insert(rank, entry);
    } else {
        behind.insert(rank - middle, entry);
    }
    vec![Child::leaf(behind)]
}

/// A child has lost entries: it goes if it is empty, and joins a neighbour if it is small.
fn tidy_up(children: &mut Vec<Child>, at: usize) {
    let Some(child) = children.get(at) else { return };
    if child.count == 0 {
        if children.len() > 1 {
            children.remove(at);
        }
        return;
    }
    let is_small = match &*child.node {
        Node::Leaf(packed) => packed.size() < LEAF_BYTES_MIN,
        Node::Inner(below) => below.len() < CHILDREN_MIN,
    };
    if !is_small || children.len() < 2 {
        return;
    }
    let left = at.min(children.len() - 2);
    let fits = match (&*children[left].node, &*children[left + 1].node) {
        (Node::Leaf(one), Node::Leaf(other)) => one.size() + other.size() <= LEAF_BYTES_JOINED_MAX,
        (Node::Inner(one), Node::Inner(other)) => one.len() + other.len() <= CHILDREN_JOINED_MAX,
        _ => false,
    };
    if fits {
        let right = children.remove(left + 1);
        let child = &mut children[left];
        child.count += right.count;
        match (Arc::make_mut(&mut child.node), &*right.node) {
            (Node::Leaf(one), Node::Leaf(other)) => one.append(other),
            (Node::Inner(one), Node::Inner(other)) => one.extend(other.iter().cloned()),
            _ => unreachable!("all leaves are at one depth"),
        }
    }
}

impl Tree {
    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Bytes of all entries, without what their lengths take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts an entry in front of the one at `rank`.
    pub(crate) fn insert(&mut self, rank: usize, entry: &[u8]) {
        let edge = Edge { first: true, last: true };
        let mut behind = Arc::make_mut(&mut self.root).insert(rank.min(self.count), entry, edge);
        self.count += 1;
        self.bytes += entry.len();
        if !behind.is_empty() {
            let first = self.count - behind.iter().map(|child| child.count).sum::<usize>();
            behind.insert(0, Child::of(Arc::clone(&self.root), first));
            self.root = Arc::new(Node::Inner(behind));
        }
    }

    /// Takes out the entry at `rank`, which there is.
    pub(crate) fn remove(&mut self, rank: usize) -> Vec<u8> {
        let entry = Arc::make_mut(&mut self.root).remove(rank);
        self.count -= 1;
        self.bytes -= entry.len();
        self.lower_root();
        entry
    }

    /// Replaces the entry at `rank`, which there is; answers the old one.
    pub(crate) fn replace(&mut self, rank: usize, entry: &[u8]) -> Vec<u8> {
        if let Some(old) = Arc::make_mut(&mut self.root).replace(rank, entry) {
            self.bytes = self.bytes - old.len() + entry.len();
            return old;
        }
        let old = self.remove(rank);
        self.insert(rank, entry);
        old
    }

    /// Removes the entries `from..to`; `visit` gets to see each of them.
    pub(crate) fn remove_range(&mut self, from: usize, to: usize, visit: &mut dyn FnMut(&[u8])) {
        let to = to.min(self.count);
        if from >= to {
            return;
        }
        let bytes = &mut self.bytes;
        let mut seen = |entry: &[u8]| {
            *bytes -= entry.len();
            visit(entry);
        };
        Arc::make_mut(&mut self.root).remove_range(from, to, &mut seen);
        self.count -= to - from;
        self.lower_root();
    }

    /// A root with one child, or without any, is not needed.
    fn lower_root(&mut self) {
        while let Node::Inner(children) = &*self.root {
            let [child] = &children[..] else {
                if self.count == 0 {
                    *self = Self::default();
                }
                return;
            };
            self.root = Arc::clone(&child.node);
        }
    }

    pub(crate) fn get(&self, rank: usize) -> Option<&[u8]> {
        if rank >= self.count {
            return None;
        }
        let (mut node, mut rank) = (&*self.root, rank);
        loop {
            match node {
                Node::Leaf(packed) => return packed.get(rank),
                Node::Inner(children) => {
                    let (at, before) = child_holding(children, rank);
                    (node, rank) = (&*children[at].node, rank - before);
                }
            }
        }
    }

    /// In a tree in the order of its entries' bytes: how many entries are below `key`, and the first one that is not.
    pub(crate) fn seek(&self, key: &[u8]) -> (usize, Option<&[u8]>) {
        let (mut node, mut rank) = (&*self.root, 0);
        loop {
            match node {
                Node::Leaf(packed) => {
                    for entry in packed.iter() {
                        if entry >= key {
                            return (rank, Some(entry));
                        }
                        rank += 1;
                    }
                    return (rank, self.get(rank));
                }
                Node::Inner(children) => {
                    let later = children.get(1..).unwrap_or_default();
                    let at = later.partition_point(|child| child.begins_below(key));
                    rank += children[..at].iter().map(|child| child.count).sum::<usize>();
                    node = &*children[at].node;
                }
            }
        }
    }

    /// From the entry at `rank` on.
    pub(crate) fn iter_from(&self, rank: usize) -> Iter<'_> {
        let mut iter = Iter { above: Vec::new(), leaf: Entries::NONE };
        if rank < self.count {
            iter.enter(&self.root, rank);
        }
        iter
    }

    pub(crate) fn iter(&self) -> Iter<'_> {
        self.iter_from(0)
    }

    /// The entries in front of `rank`, from the last to the first.
    pub(crate) fn iter_back_from(&self, rank: usize) -> IterBack<'_> {
        let mut iter = IterBack { above: Vec::new(), leaf: Vec::new() };
        let rank = rank.min(self.count);
        if rank > 0 {
            iter.enter(&self.root, rank);
        }
        iter
    }

    /// Whether nobody else has this tree, or a part of it that begins at the root.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.root) == 1
    }

    /// Hands itself over to be freed piece by piece.
    pub(super) fn into_root(self) -> Arc<Node> {
        self.root
    }
}

/// Entries, forwards.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a> {
    above: Vec<slice::Iter<'a, Child>>,
    leaf: Entries<'a>,
}

impl<'a> Iter<'a> {
    fn enter(&mut self, node: &'a Node, rank: usize) {
        let (mut node, mut rank) = (node, rank);
        loop {
            match node {
                Node::Leaf(packed) => {
                    self.leaf = packed.iter_from(rank);
                    return;
                }
                Node::Inner(children) => {
                    let (at, before) = child_holding(children, rank);
                    self.above.push(children[at + 1..].iter());
                    (node, rank) = (&*children[at].node, rank - before);
                }
            }
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Some(entry);
            }
            match self.above.last_mut()?.next() {
                Some(child) => self.enter(&child.node, 0),
                None => {
                    self.above.pop();
                }
            }
        }
    }
}

/// Entries, backwards.
#[derive(Clone, Debug)]
pub(crate) struct IterBack<'a> {
    above: Vec<slice::Iter<'a, Child>>,
    /// Those of the leaf that are still to come.
    leaf: Vec<&'a [u8]>,
}

impl<'a> IterBack<'a> {
    /// The entries below `node` in front of `rank`, which is not 0.
    fn enter(&mut self, node: &'a Node, rank: usize) {
        let (mut node, mut rank) = (node, rank);
        loop {
            match node {
                Node::Leaf(packed) => {
                    self.leaf.clear();
                    self.leaf.extend(packed.iter().take(rank));
                    return;
                }
                Node::Inner(children) => {
                    let (at, before) = child_of(children, rank);
                    self.above.push(children[..at].iter());
                    (node, rank) = (&*children[at].node, rank - before);
                }
            }
        }
    }
}

impl<'a> Iterator for IterBack<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if let Some(entry) = self.leaf.pop() {
                return Some(entry);
            }
            match self.above.last_mut()?.next_back() {
                Some(child) => self.enter(&child.node, usize::MAX),
                None => {
                    self.above.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    type Model = Vec<Vec<u8>>;

    fn entry(rng: &mut Rng) -> Vec<u8> {
        let length = match rng.below(40) {
            0 => 3000,
            1 => 600,
            2 => 0,
            _ => 1 + rng.below(60),
        };
        (0..length).map(|_| rng.next() as u8).collect()
    }

    /// Counts, heads and sizes are right, and all leaves are at one depth. Answers the depth.
    fn check(node: &Node, is_root: bool) -> usize {
        match node {
            Node::Leaf(packed) => {
                assert!(packed.size() <= 2 * LEAF_BYTES_MAX || packed.len() == 1);
                0
            }
            Node::Inner(children) => {
                assert!((if is_root { 2 } else { 1 }..=CHILDREN_MAX).contains(&children.len()));
                let depths: Vec<usize> = children
                    .iter()
                    .map(|child| {
                        let mut count = 0;
                        child.node.walk(&mut |_| count += 1);
                        assert!(count == child.count && count > 0);
                        assert_eq!(child.head, child.node.first_entry().map_or(0, head_of));
                        check(&child.node, false)
                    })
                    .collect();
                assert!(depths.iter().all(|depth| *depth == depths[0]));
                depths[0] + 1
            }
        }
    }

    fn compare(tree: &Tree, model: &Model) {
        check(&tree.root, true);
        assert_eq!(tree.len(), model.len());
        assert_eq!(tree.bytes(), model.iter().map(Vec::len).sum::<usize>());
        assert!(tree.iter().eq(model.iter().map(Vec::as_slice)));
        assert!(tree.iter_back_from(usize::MAX).eq(model.iter().rev().map(Vec::as_slice)));
    }

    /// Every change leaves what it leaves in a vector; clones stay as they were.
    #[test]
    fn changes_are_those_of_a_vector() {
        let mut rng = Rng::seeded(11);
        for bias in [3, 5, 7] {
            let (mut tree, mut model) = (Tree::default(), Model::new());
            let mut kept: Vec<(Tree, Model)> = Vec::new();
            for round in 0..6000 {
                let length = model.len() as u64;
                let end =
                    if rng.below(3) == 0 { rng.below(2) * length } else { rng.below(length + 1) }
                        as usize;
                match rng.below(10) {
                    0 if rng.below(100) == 0 => {
                        let to = (end + rng.below(300) as usize).min(model.len());
                        let mut seen = Model::new();
                        tree.remove_range(end, to, &mut |entry| seen.push(entry.to_vec()));
                        assert_eq!(seen, model.drain(end..to).collect::<Model>());
                    }
                    0..3 if end < model.len() => {
                        let new = entry(&mut rng);
                        assert_eq!(tree.replace(end, &new), model[end]);
                        model[end] = new;
                    }
                    choice if choice >= bias && end < model.len() => {
                        assert_eq!(tree.remove(end), model.remove(end));
                    }
                    _ => {
                        let new = entry(&mut rng);
                        tree.insert(end, &new);
                        model.insert(end, new);
                    }
                }
                if round % 500 == 0 {
                    compare(&tree, &model);
                    kept.push((tree.clone(), model.clone()));
                }
                let rank = rng.below(model.len() as u64 + 1) as usize;
                assert_eq!(tree.get(rank), model.get(rank).map(Vec::as_slice));
                assert_eq!(tree.iter_from(rank).next(), model.get(rank).map(Vec::as_slice));
                let last = rank.checked_sub(1).map(|last| &*model[last]);
                assert_eq!(tree.iter_back_from(rank).next(), last);
            }
            kept.iter().for_each(|(tree, model)| compare(tree, model));
            while !model.is_empty() {
                let at = rng.below(model.len() as u64) as usize;
                assert_eq!(tree.remove(at), model.remove(at));
            }
            compare(&tree, &model);
        }
    }

    /// In a tree in order, every bound is found, also where the first bytes of all entries are equal.
    #[test]
    fn bounds_are_found() {
        let mut rng = Rng::seeded(5);
        for shared in [0, 8, 20] {
            let mut tree = Tree::default();
            let mut model = Model::new();
            for _ in 0..4000 {
                let mut key = vec![b'k'; shared];
                key.extend((0..rng.below(5)).map(|_| rng.below(6) as u8));
                let (rank, found) = tree.seek(&key);
                assert_eq!(rank, model.partition_point(|entry| *entry < key));
                assert_eq!(found, model.get(rank).map(Vec::as_slice));
                if found == Some(&key) && rng.below(3) > 0 {
                    tree.remove(rank);
                    model.remove(rank);
                } else {
                    tree.insert(rank, &key);
                    model.insert(rank, key);
                }
            }
            compare(&tree, &model);
        }
    }

    fn leaves(node: &Node) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Inner(children) => children.iter().map(|child| leaves(&child.node)).sum(),
        }
    }

    /// What is appended in order leaves full leaves behind, at either end.
    #[test]
    fn leaves_are_full_where_entries_come_in_order() {
        for at_end in [true, false] {
            let mut tree = Tree::default();
            for _ in 0..100_000 {
                tree.insert(if at_end { tree.len() } else { 0 }, &[7; 16]);
            }
            assert!(leaves(&tree.root) <= 100_000 / (LEAF_BYTES_MAX / 17) + 1);
        }
    }
}
