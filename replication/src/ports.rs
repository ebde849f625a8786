//! Ports: what replication needs of the outside, declared here, implemented by `server` with tokio and files and by
//! `sim` with turmoil and faults. There is no simulation switch in this crate: what is simulated is what ships.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

/// Time. The monotonic clock must go on counting while the machine is suspended; it drives leases, log time and timeouts.
pub trait Clock: Clone + Send + 'static {
    /// Time since an arbitrary origin, never running backwards.
    fn monotonic(&self) -> Duration;
    /// Wall-clock milliseconds since the Unix epoch. May jump; used only to anchor log time.
    fn wall_ms(&self) -> u64;
}

/// TCP, or what runs on it. Where streams are secured, an error of the kind `PermissionDenied`, also of a read, says that the other end is
/// not to be trusted.
pub trait Net: Clone + Send + 'static {
    /// A connected byte stream.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;
    /// A bound listener.
    type Listener: 'static;
    /// Binds `host:port`.
    fn bind(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Listener>>;
    /// Accepts one connection.
    fn accept(
        &self,
        listener: &mut Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;
    /// The address at which an accepted stream has reached this node, if the network can tell.
    fn own_address(&self, _stream: &Self::Stream) -> Option<SocketAddr> {
        None
    }
    /// Resolves the host anew, then connects. Callers wrap it in a timeout.
    fn connect(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// The data directory: a flat set of named files, held exclusively by this process, and used by two threads of it.
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: File;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Creates a file that must not exist. Its name is durable only after `sync_directory`.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// The names of all files, in any order: callers sort.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Renames, replacing `to`. Durable only after `sync_directory`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes. Durable only after `sync_directory`.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all creations, renames and removals before the call durable.
    fn sync_directory(&self) -> impl Future<Output = io::Result<()>>;
    /// Bytes that can still be written, for the reserve that keeps a full disk recoverable.
    fn free_bytes(&self) -> io::Result<u64>;
    /// What tells a file from every copy of it, if the system can say: a copy has another one, also elsewhere.
    ///
    /// # Errors
    /// As `open`.
    fn birth(&self, _name: &str) -> io::Result<Option<u128>> {
        Ok(None)
    }
    /// A name for a new data directory that nobody can guess: 128 bits of the system's entropy. None if all that is drawn has to
    /// come from the seed, as in a simulation.
    fn draw_id(&self) -> Option<u128> {
        None
    }
    /// How a person finds the file: the path for error messages.
    fn describe(&self, name: &str) -> String;
}

/// One open file. Positioned access only. A write is durable once a `sync` that began after it has succeeded.
#[allow(clippy::len_without_is_empty)] // a length to seek by, not a collection
pub trait File: Send + 'static {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Drops what the system keeps of it in memory, if that is on the disk as well: what is read next comes from the disk.
    fn forget_cached(&self) {}
    /// Cuts or extends with zeroes.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
    /// Reads up to `buffer.len()` bytes; 0 means end of file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// `fdatasync`. An error here is never retried: the node stops (fsync failures drop dirty pages).
    fn sync(&mut self) -> impl Future<Output = io::Result<()>>;
}
