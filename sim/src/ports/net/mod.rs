//! TCP of the simulation. Frames between nodes are watched: an answer to an append and a granted vote are promises, and
//! `check::promise` holds the disk to them. Every stream stands under the weather of its node and behind the gate of its process.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use steadfast_replication::ports::Net;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::check::promise::Promises;
use crate::draw::Draws;
use crate::ports::gate::Gate;
use crate::ports::heap;

mod chaos;
mod watch;
mod weather;
mod window;

use chaos::Chaos;
pub use watch::Tap;
use watch::Watch;
pub use weather::{Delay, Sky, Streams, Weather};
pub use window::ClientStream;
use window::Window;

/// Port of the peers.
pub const PEER_PORT: u16 = 7000;
/// Port of the clients.
pub const CLIENT_PORT: u16 = 6379;

/// What one start of a node stands in.
#[derive(Clone, Default)]
pub struct Outside {
    /// Of the run.
    pub seed: u64,
    /// Which node it is.
    pub node: u64,
    /// Which of its starts.
    pub start: u64,
    /// Of the node.
    pub weather: Weather,
    /// Of this start.
    pub gate: Gate,
    /// Who else sees the frames between nodes.
    pub tap: Option<Arc<dyn Tap>>,
}

/// See the file's head.
#[derive(Clone)]
pub struct TurmoilNet {
    promises: Arc<Mutex<Promises>>,
    /// After so many reads an accepted stream panics (a planted bug).
    reads_to_panic: Option<u32>,
    outside: Outside,
    streams: Arc<AtomicU64>,
}

impl TurmoilNet {
    /// A network whose promises are noted down, in fair weather.
    pub fn new(promises: Arc<Mutex<Promises>>, reads_to_panic: Option<u32>) -> Self {
        Self { promises, reads_to_panic, outside: Outside::default(), streams: Arc::default() }
    }

    /// The same for one start of a node.
    #[must_use]
    pub fn within(self, outside: Outside) -> Self {
        Self { outside, ..self }
    }

    fn stream(&self, stream: TcpStream, of_peer: bool) -> Chaos<TcpStream> {
        let Outside { seed, node, start, weather, gate, .. } = &self.outside;
        let number = self.streams.fetch_add(1, Ordering::Relaxed) + 1;
        let draws = Draws::new(*seed, format!("stream {number} of n{node} start {start}"));
        Chaos::new(stream, of_peer, weather.clone(), gate.clone(), draws)
    }

    /// Work of a process that may be dead the next time.
    async fn alive<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let gate = &self.outside.gate;
        poll_fn(|cx| {
            let _turn = heap::outside();
            if gate.is_closed() { Poll::Pending } else { work.as_mut().poll(cx) }
        })
        .await
    }
}

impl Net for TurmoilNet {
    type Stream = WatchedStream;
    type Listener = TcpListener;

    async fn bind(&self, _host: &str, port: u16) -> io::Result<TcpListener> {
        self.alive(TcpListener::bind(("0.0.0.0", port))).await
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<(WatchedStream, SocketAddr)> {
        let of_peer = listener.local_addr()?.port() == PEER_PORT;
        let (stream, address) = self.alive(listener.accept()).await?;
        let Outside { node, tap, .. } = &self.outside;
        let watch = of_peer.then(|| Watch::accepted(*node, tap.clone())).flatten();
        let chaos = self.stream(stream, of_peer);
        let window = (!of_peer).then(|| Window::open(address));
        let reads_to_panic = self.reads_to_panic;
        Ok((WatchedStream { chaos, watch, window, reads_to_panic }, address))
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<WatchedStream> {
        let stream = self.alive(TcpStream::connect((host, port))).await?;
        let of_peer = port == PEER_PORT;
        let Outside { node, tap, .. } = &self.outside;
        let watch =
            of_peer.then(|| Watch::dialled(*node, host, Arc::clone(&self.promises), tap.clone()));
        let chaos = self.stream(stream, of_peer);
        Ok(WatchedStream { chaos, watch, window: None, reads_to_panic: None })
    }
}

/// A stream, and who watches it.
pub struct WatchedStream {
    chaos: Chaos<TcpStream>,
    watch: Option<Watch>,
    /// To a client.
    window: Option<Window>,
    reads_to_panic: Option<u32>,
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
        let _turn = heap::outside();
        let before = buf.filled().len();
        let read = self.chaos.read(cx, buf);
        if let Some(watch) = &mut self.watch {
            watch.read(buf.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let _turn = heap::outside();
        let room = self.window.as_ref().map_or(Poll::Ready(usize::MAX), |window| window.room(cx));
        let bytes = bytes.get(..ready!(room).min(bytes.len())).unwrap_or_default();
        let count = ready!(self.chaos.write(cx, bytes))?;
        if let Some(watch) = &mut self.watch {
            watch.wrote(bytes.get(..count).unwrap_or_default());
        }
        if let Some(window) = &self.window {
            window.wrote(count);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _turn = heap::outside();
        self.chaos.flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _turn = heap::outside();
        self.chaos.shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
