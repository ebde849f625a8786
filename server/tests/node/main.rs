//! The product as processes: the binary itself on loopback, killed, stopped, fed with garbage. Needs nothing but Rust.
//! `STEADFAST_ROUNDS` raises the number of kills (the full check of `.ci/run`).

mod blocking;
mod cluster;
mod discovery;
mod durability;
mod golden;
mod handshake;
mod harness;
mod input;
mod leadership;
mod pipelines;
mod pubsub;
mod snapshots;
mod three_nodes;
mod tls;
