//! The ports of `replication` on the real outside: files, TCP by tokio, the system's clocks.

mod clock;
mod disk;
mod entropy;
mod limits;
mod net;
mod tls;

pub use clock::SystemClock;
pub use disk::{FileDisk, OpenedFile};
pub use entropy::draw_entropy;
pub use limits::fit_open_files;
pub use net::TokioNet;
pub use tls::PeerNet;
