//! The pure state machine of Steadfast: it applies log entries and answers reads.
//! It is told everything (time, randomness, order) by the entry and looks at nothing: no I/O, clock, randomness or thread.
#![no_std]

extern crate alloc;

pub mod stamp;
pub mod error;
pub mod reply;
pub mod entry;
pub mod access;
pub mod script;
pub mod commands;
pub mod machine;
