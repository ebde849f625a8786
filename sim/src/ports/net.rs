//! TCP of the simulation. Streams that a node dials to a peer are watched: an answer to an append and a granted vote are
//! promises, and `check::promise` holds the disk to them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use steadfast_replication::ports::Net;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::check::promise::Promises;

/// Port of the peers.
pub const PEER_PORT: u16 = 7000;
/// Port of the clients.
pub const CLIENT_PORT: u16 = 6379;

/// See the file's head.
#[derive(Debug, Clone)]
pub struct TurmoilNet {
    promises: Arc<Mutex<Promises>>,
    /// After so many reads an accepted stream panics (a planted bug).
    reads_to_panic: Option<u32>,
}

impl TurmoilNet {
    /// A network whose promises are noted down.
    pub fn new(promises: Arc<Mutex<Promises>>, reads_to_panic: Option<u32>) -> Self {
        Self { promises, reads_to_panic }
    }
}

impl Net for TurmoilNet {
    type Stream = WatchedStream;
    type Listener = TcpListener;

    async fn bind(&self, _host: &str, port: u16) -> io::Result<TcpListener> {
        TcpListener::bind(("0.0.0.0", port)).await
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<(WatchedStream, SocketAddr)> {
        let (stream, address) = listener.accept().await?;
        Ok((WatchedStream { stream, watch: None, reads_to_panic: self.reads_to_panic }, address))
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<WatchedStream> {
        let stream = TcpStream::connect((host, port)).await?;
        let watch = (port == PEER_PORT)
            .then(|| Watch { promises: Arc::clone(&self.promises), unread: Vec::new() });
        Ok(WatchedStream { stream, watch, reads_to_panic: None })
    }
}

/// Bytes sent to a peer that do not make a frame yet.
#[derive(Debug)]
struct Watch {
    promises: Arc<Mutex<Promises>>,
    unread: Vec<u8>,
}

/// A stream, and who watches it.
#[derive(Debug)]
pub struct WatchedStream {
    stream: TcpStream,
    watch: Option<Watch>,
    reads_to_panic: Option<u32>,
}

impl Watch {
    fn saw(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        while let Some((head, rest)) = self.unread.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*head) as usize;
            // The head's other half is the checksum.
            let Some(body) = rest.get(4..4 + length) else { return };
            self.promises.lock().expect("no holder panics").sent(body);
            self.unread.drain(..8 + length);
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(reads) = &mut self.reads_to_panic {
            *reads = reads.checked_sub(1).expect("planted: this connection's task panics");
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let (Poll::Ready(Ok(count)), Some(watch)) = (&written, &mut self.watch) {
            watch.saw(bytes.get(..*count).unwrap_or_default());
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
