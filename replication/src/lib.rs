//! The replicated log of Steadfast: raft node, log store, transport, exactly-once outbox.
//!
//! `driver::open` recovers a data directory and answers the two loops that `server` (or `sim`) runs: the log writer and the
//! driver. The border to the event loop is `gateway`; what is needed of the outside are the ports.

pub mod driver;
pub mod electorate;
pub mod event;
pub mod formation;
pub mod gateway;
pub mod node;
pub mod ports;
pub mod roster;
pub mod storage;
pub mod transport;
pub mod wire;

mod checkpoints;
mod lease;
mod log_bridge;
mod log_clock;
mod log_view;
mod milestones;
mod outbox;
mod read;
mod rejoin;
mod session;
