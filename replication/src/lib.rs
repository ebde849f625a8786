//! The replicated log of Steadfast: raft node, log store, transport, exactly-once outbox.

pub mod gateway;
pub mod ports;
