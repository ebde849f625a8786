//! What stands in for the outside of a node, and how it breaks: disk, network, clock, and the process itself.

pub mod clock;
pub mod disk;
pub mod gate;
pub mod heap;
pub mod net;
pub mod pause;
