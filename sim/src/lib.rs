//! The simulator: the product's own `server::run` on a simulated network, disks and clocks, broken by a seed.

pub mod check;
pub mod client;
pub mod clock;
pub mod disk;
pub mod draw;
pub mod evidence;
pub mod net;
pub mod pause;
pub mod trace;
pub mod workload;
pub mod world;
