//! The ports of `replication` on the real outside: files, TCP by tokio, the system's clocks.

mod clock;
mod disk;
mod net;

pub use clock::SystemClock;
pub use disk::{FileDisk, OpenedFile};
pub use net::TokioNet;
