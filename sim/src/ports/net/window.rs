//! What is on its way from a node to a client. The simulated network takes whatever is written; a real one takes what fits into the
//! buffers of the two systems, and whoever writes to somebody who does not read has to wait.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use super::CLIENT_PORT;

/// So many bytes fit into the buffers of both systems.
pub(super) const WINDOW_BYTES: usize = 256 << 10;

thread_local! {
    /// By the client's address. A run has one thread.
    static WINDOWS: RefCell<BTreeMap<SocketAddr, Window>> = const { RefCell::new(BTreeMap::new()) };
}

/// See the file's head. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Window(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Written and not read.
    unread: usize,
    writer: Option<Waker>,
    /// The client is gone: the network itself says what becomes of what is written.
    closed: bool,
}

impl Window {
    /// Of the stream to this client. A node accepts it before the client knows that it is connected.
    pub(super) fn open(client: SocketAddr) -> Self {
        let window = Self::default();
        WINDOWS.with_borrow_mut(|windows| windows.insert(client, window.clone()));
        window
    }

    /// How many bytes may be written; pending if none.
    pub(super) fn room(&self, context: &Context<'_>) -> Poll<usize> {
        let mut state = self.0.lock().expect("no holder panics");
        let room =
            if state.closed { usize::MAX } else { WINDOW_BYTES.saturating_sub(state.unread) };
        if room == 0 {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(room)
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.0.lock().expect("no holder panics").unread += bytes;
    }

    fn read(&self, bytes: usize) {
        self.change(|state| state.unread = state.unread.saturating_sub(bytes));
    }

    fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let writer = {
            let mut state = self.0.lock().expect("no holder panics");
            change(&mut state);
            state.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }
}

/// A client's stream to a node.
pub struct ClientStream {
    stream: TcpStream,
    address: SocketAddr,
    window: Option<Window>,
}

impl ClientStream {
    /// Connects to a node.
    ///
    /// # Errors
    /// Those of the network.
    pub async fn connect(node: u64) -> io::Result<Self> {
        let stream = TcpStream::connect((format!("n{node}"), CLIENT_PORT)).await?;
        let address = stream.local_addr()?;
        let window = WINDOWS.with_borrow(|windows| windows.get(&address).cloned());
        Ok(Self { stream, address, window })
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if let Some(window) = &self.window {
            window.close();
            WINDOWS.with_borrow_mut(|windows| windows.remove(&self.address));
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(window) = &self.window {
            window.read(buffer.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
