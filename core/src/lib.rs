//! The pure state machine of Steadfast: it applies log entries and answers reads.
//! It is told everything (time, randomness, order) by the entry and looks at nothing: no I/O, clock, randomness or thread.
#![no_std]

extern crate alloc;

pub mod access;
pub mod canary;
pub mod commands;
pub mod entry;
pub mod error;
pub mod glob;
pub mod hash;
pub mod machine;
pub mod mark;
pub mod number;
pub mod pubsub;
pub mod reply;
pub mod script;
pub mod scrub;
pub mod snapshot;
pub mod stamp;

mod blocking;
mod collections;
mod content;
mod digest;
mod expiry;
mod facts;
mod keyspace;
mod lcs;
mod rdb;
mod reclaim;
mod record;
mod rng;
mod slot;
mod waiters;
