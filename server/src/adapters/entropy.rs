//! The system's entropy.

use std::hash::{BuildHasher, Hasher, RandomState};

/// 64 bits of it, by the only door that the standard library leaves open: each hasher has keys of its own, and what it answers
/// does not tell them.
pub fn draw_entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}
