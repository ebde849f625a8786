//! The shell of Steadfast: the Redis protocol, the event loop, node-local commands, the command line.
//! `run` is one node from its parts to its end; the simulator calls it with parts of its own.

pub mod adapters;
pub mod cli;
pub mod client_tool;
pub mod cluster_tool;
pub mod commands;
pub mod config;
pub mod resp;
pub mod scrub;
mod session;
pub mod surroundings;

mod batch;
mod blocking;
mod client;
mod connection;
mod discovery;
mod dispatch;
mod facts;
mod figures;
mod info;
mod output_limit;
mod pubsub;
mod reads;
mod refusal;
mod run;
mod shell;
mod snapshots;

pub use run::{Observer, Parts, Placement, RunError, run};
