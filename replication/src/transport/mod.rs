//! Links between nodes: each node dials each peer for what it sends, so every direction is one ordered stream; a snapshot
//! travels on a stream of its own. Frames are bounded and checksummed. A link that is silent for too long is dropped and
//! dialled anew: TCP alone may stay dead without ever saying so.

pub mod frame;
pub mod handshake;
mod link;
mod queue;

pub use handshake::{Hello, Identity, Purpose, Welcome};
pub use link::{Links, PeerEvent};
