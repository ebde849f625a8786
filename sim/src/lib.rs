//! The simulator: the product's own `server::run` on a simulated network, disks and clocks, broken by a seed.

pub mod canary;
pub mod check;
pub mod client;
pub mod draw;
pub mod evidence;
pub mod happened;
pub mod history;
pub mod model;
pub mod panics;
pub mod plan;
pub mod ports;
pub mod scenario;
pub mod tool;
pub mod trace;
pub mod value;
pub mod view;
pub mod workload;
pub mod world;
