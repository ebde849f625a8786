//! One connection: bytes in, commands to the shell, replies out. One task a connection, and one poll function:
//! run what has arrived, write what may leave, read more. Nothing is buffered without end: while output or the line
//! of owed replies is full, or a command stalls the line, input is left in the socket.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;
use steadfast_replication::ports::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Client;
use crate::resp::{Decoded, Decoder};
use crate::shell::SharedShell;

/// Bytes asked for in one read. Larger than most requests, so that a read that returns less says "nothing more".
const READ_BYTES: usize = 16 * 1024;
/// Arguments of a command that are looked at without allocating.
const ARGUMENTS_INLINE: usize = 8;

/// Serves one connection to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin, C: Clock>(
    shell: SharedShell<C>,
    stream: S,
    address: SocketAddr,
) {
    let admitted = shell.borrow_mut().admit(address);
    let client = match admitted {
        Ok(client) => client,
        Err(refusal) => return refuse(stream, &refusal).await,
    };
    let decoder = Decoder::new(shell.borrow().config.limits());
    let mut connection = Connection {
        shell,
        client,
        stream,
        decoder,
        input: Vec::new(),
        start: 0,
        filled: 0,
        sent: 0,
        ended: false,
    };
    poll_fn(|context| connection.poll(context)).await;
}

/// Tells a client that is not taken on why, as Redis does.
async fn refuse<S: AsyncWrite + Unpin>(mut stream: S, refusal: &ReplyError) {
    use tokio::io::AsyncWriteExt;
    let text = [b"-", refusal.text(), b"\r\n"].concat();
    // It may be gone already; there is nobody else to tell.
    let _ = stream.write_all(&text).await;
    let _ = stream.shutdown().await;
}

struct Connection<S, C: Clock> {
    shell: SharedShell<C>,
    client: Rc<Client>,
    stream: S,
    decoder: Decoder,
    /// The input buffer; what has been read and not yet run stands from `start` to `filled`.
    input: Vec<u8>,
    start: usize,
    filled: usize,
    /// Bytes of the client's output that have been written.
    sent: usize,
    /// The peer sends nothing more.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: Clock> Connection<S, C> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.client.line.borrow_mut().sleep(context.waker());
        loop {
            let held_up = self.run_commands();
            if self.write(context).is_err() {
                return Poll::Ready(());
            }
            let resumes = self.client.line.borrow_mut().resumes();
            if resumes {
                self.shell.borrow_mut().run_reads(&self.client);
                continue;
            }
            let line = self.client.line.borrow();
            let (open, drained, owed) = (line.is_open(), line.output.is_empty(), !line.is_empty());
            let (closing, overrun) = (line.closing, line.overrun);
            drop(line);
            if overrun {
                return Poll::Ready(()); // its client does not take its replies
            }
            if held_up && open {
                continue; // output has left: commands that wait in the buffer can run
            }
            if (closing || self.ended && !held_up) && !owed && drained {
                return Poll::Ready(());
            }
            if !open || self.ended {
                return Poll::Pending; // output that can leave, or a reply that fills the line, wakes this task
            }
            match self.read(context) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => self.ended = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Runs the commands that have arrived whole, while the line is open; whether it was not open to the end.
    fn run_commands(&mut self) -> bool {
        if self.start == self.filled {
            return false;
        }
        let mut shell = self.shell.borrow_mut();
        while self.start < self.filled && self.client.line.borrow().is_open() {
            let rest = self.input.get(self.start..self.filled).unwrap_or_default();
            // Each time: the command before may have been AUTH, and CONFIG SET reaches open connections.
            let stranger = shell.is_stranger(&self.client);
            self.decoder.limit(shell.config.limits(), stranger);
            match self.decoder.decode(rest) {
                Decoded::NeedMore => return false,
                Decoded::Command { consumed } => {
                    let source = self.decoder.unquoted().unwrap_or(rest);
                    with_argv(source, self.decoder.argv(), |argv| {
                        shell.dispatch(&self.client, argv);
                    });
                    self.start += consumed;
                }
                Decoded::Error(text) => {
                    let protocol = self.client.session.borrow().protocol;
                    let mut line = self.client.line.borrow_mut();
                    line.answer(protocol, &Reply::Error(text));
                    line.closing = true;
                }
            }
        }
        self.start < self.filled
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), ()> {
        let mut line = self.client.line.borrow_mut();
        while self.sent < line.output.len() {
            let rest = line.output.get(self.sent..).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(()),
                Poll::Ready(Ok(written)) => self.sent += written,
                Poll::Pending => return Ok(()),
            }
        }
        line.output.clear();
        line.output.shrink_to(READ_BYTES);
        self.sent = 0;
        Ok(())
    }

    /// Reads once; false at the end of the stream.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        if self.start > 0 {
            self.input.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        }
        // A header may announce half a gigabyte: room is made for it as it arrives.
        let wanted = self.decoder.wanted_bytes(self.filled).min(self.filled);
        let room = wanted.max(READ_BYTES);
        if self.input.len() < self.filled + room.div_ceil(2) {
            self.input.resize(self.filled + room, 0);
        }
        if self.filled == 0 && self.input.len() > 2 * READ_BYTES {
            self.input.truncate(READ_BYTES);
            self.input.shrink_to_fit(); // a huge request has been run: its buffer goes
        }
        let free = self.input.get_mut(self.filled..).unwrap_or_default();
        let mut buffer = ReadBuf::new(free);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
        let bytes = buffer.filled().len();
        self.filled += bytes;
        read.map_ok(|()| bytes > 0)
    }
}

impl<S, C: Clock> Drop for Connection<S, C> {
    fn drop(&mut self) {
        self.client.gone.set(true);
        // A host that is torn down may drop its tasks while the shell is in use; the shell is then going as well.
        if let Ok(mut shell) = self.shell.try_borrow_mut() {
            shell.dismiss(self.client.id);
        }
    }
}

/// Calls `work` with the words of a command, without allocating for a short one.
fn with_argv<T>(input: &[u8], words: &[Range<usize>], work: impl FnOnce(&[&[u8]]) -> T) -> T {
    let word = |range: &Range<usize>| input.get(range.clone()).unwrap_or_default();
    if words.len() <= ARGUMENTS_INLINE {
        let mut inline: [&[u8]; ARGUMENTS_INLINE] = [&[]; ARGUMENTS_INLINE];
        for (place, range) in inline.iter_mut().zip(words) {
            *place = word(range);
        }
        work(inline.get(..words.len()).unwrap_or_default())
    } else {
        work(&words.iter().map(word).collect::<Vec<_>>())
    }
}
