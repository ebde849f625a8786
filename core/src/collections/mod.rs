//! Collections: what a key holds beside strings. Each has a small form, entries packed into one allocation in the order in which they
//! came (or were sorted), and a large one, a tree. When one becomes the other is decided by Redis's thresholds, and is part of the state.
//!
//! In large hashes and sets the order is that of their entries' hashes: a function of the content alone, so that every replica agrees on
//! it, also one that was restored, and a cursor is a hash: nothing that stays is missed, nothing comes twice.
//! See docs/decisions/2026-11-28-collections.md.

mod algebra;
mod grave;
mod hash;
mod ints;
mod list;
mod packed;
mod set;
mod sorted;
mod tree;
mod zset;

pub(crate) use grave::Grave;
pub(crate) use hash::Hash;
pub(crate) use ints::Ints;
pub(crate) use list::{End, Large as ListTree, List, element_term};
pub(crate) use packed::{Packed, length_and_rest, put_length, put_number};
pub(crate) use set::{Boxed as BoxedSet, Form as SetForm, Set};
pub(crate) use sorted::{Sorted, term as entry_term};
pub(crate) use tree::Tree;
pub(crate) use zset::{Large as ZsetTree, Zset};

/// Members of a small set or sorted set: `set-max-listpack-entries` and `zset-max-listpack-entries`. Of hashes there may be more.
const SMALL_ENTRIES_MAX: usize = 128;
/// Bytes of any word in a small hash, set or sorted set: `hash-max-listpack-value` and its kin.
const SMALL_WORD_BYTES_MAX: usize = 64;
/// Members of a set of integers: `set-max-intset-entries`.
const INTS_MAX: usize = 512;

/// Whether a word may stand in a small hash, set or sorted set.
pub(crate) const fn is_small_word(word: &[u8]) -> bool {
    word.len() <= SMALL_WORD_BYTES_MAX
}
