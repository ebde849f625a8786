//! One connection: bytes in, commands to the shell, replies out. One task a connection, and one poll function:
//! run what has arrived, let the other connections of this turn do the same, write what may leave, read more. Nothing is
//! buffered without end: while output or the line of owed replies is full, or a command stalls the line, input is left in the
//! socket. A connection that waits with nothing unread has no input buffer: all connections of the thread pass one on.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::error::ReplyError;
use steadfast_core::mark::{self, Mark};
use steadfast_core::reply::Reply;
use steadfast_replication::ports::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Client;
use crate::resp::{Decoded, Decoder, Limits};
use crate::session::Ends;
use crate::shell::SharedShell;

/// Bytes asked for in one read. Larger than most requests, so that a read that returns less says "nothing more".
const READ_BYTES: usize = 16 * 1024;
/// Output up to this length waits for the end of the turn.
const OUTPUT_BYTES_HELD: usize = 16 * 1024;
/// Input that is taken from a client while a command of it may wait for a key.
const WAITING_INPUT_MAX: usize = 1 << 20;
/// Arguments of a command that are looked at without allocating.
const ARGUMENTS_INLINE: usize = 8;

/// Serves one connection to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin, C: Clock>(
    shell: SharedShell<C>,
    stream: S,
    ends: Ends,
) {
    let admitted = shell.borrow_mut().admit(ends);
    let client = match admitted {
        Ok(client) => client,
        Err(refusal) => return refuse(stream, &refusal).await,
    };
    let mut connection = Connection { shell, client, stream, reader: None, ended: false };
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
    /// Input that has not been run; none while there is none.
    reader: Option<Box<Reader>>,
    /// The peer sends nothing more.
    ended: bool,
}

/// What input is read into and decoded with. Once all of it has been run nothing in it belongs to the connection.
#[derive(Debug)]
pub(crate) struct Reader {
    decoder: Decoder,
    /// What has been read and not yet run stands from `start` to `filled`.
    input: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Reader {
    fn new(limits: Limits) -> Self {
        Self { decoder: Decoder::new(limits), input: Vec::new(), start: 0, filled: 0 }
    }

    /// Makes room for one read. A header may announce half a gigabyte: room is made for it as it arrives.
    fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.input.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        }
        let wanted = self.decoder.wanted_bytes(self.filled).min(self.filled);
        let room = wanted.max(READ_BYTES);
        if self.input.len() < self.filled + room.div_ceil(2) {
            self.input.resize(self.filled + room, 0);
        }
        self.input.get_mut(self.filled..).unwrap_or_default()
    }

    /// All has been run: a huge request leaves no huge buffers behind.
    fn trim(&mut self) {
        (self.start, self.filled) = (0, 0);
        if self.input.len() > 2 * READ_BYTES {
            self.input.truncate(READ_BYTES);
            self.input.shrink_to_fit();
        }
        self.decoder.trim();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: Clock> Connection<S, C> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.client.line.borrow_mut().sleep(context.waker());
        loop {
            let fresh = self.client.line.borrow().output.is_empty();
            let held_up = self.run_commands();
            if self.client.line.borrow().overrun {
                return Poll::Ready(()); // its client does not take its replies, or has missed some: nothing more is sent
            }
            if fresh && self.hold_output(context) {
                self.rest();
                return Poll::Pending;
            }
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
            let closing = line.closing;
            drop(line);
            if held_up && open {
                continue; // output has left: commands that wait in the buffer can run
            }
            if (closing || self.ended && !held_up) && !owed && drained {
                return Poll::Ready(());
            }
            if owed && self.client.may_wait.get().is_some() {
                match self.read_waiting(context) {
                    Poll::Ready(Ok(true)) => continue,
                    Poll::Ready(Ok(false)) => self.ended = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
                if self.ended && self.client.session.borrow().blocked {
                    return Poll::Ready(()); // nobody would hear what it gets
                }
            }
            if !open || self.ended {
                self.rest();
                return Poll::Pending; // output that can leave, or a reply that fills the line, wakes this task
            }
            match self.read(context) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => self.ended = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    self.rest();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Passes the reader on if nothing is left in it.
    fn rest(&mut self) {
        if let Some(mut reader) = self.reader.take_if(|reader| reader.start == reader.filled) {
            reader.trim();
            self.shell.borrow_mut().spare_reader = Some(reader);
        }
    }

    /// Runs the commands that have arrived whole, while the line is open; whether it was not open to the end.
    fn run_commands(&mut self) -> bool {
        let Some(reader) = &mut self.reader else { return false };
        let mut shell = self.shell.borrow_mut();
        while reader.start < reader.filled && self.client.line.borrow().is_open() {
            let rest = reader.input.get(reader.start..reader.filled).unwrap_or_default();
            // Each time: the command before may have been AUTH, and CONFIG SET reaches open connections.
            let stranger = shell.is_stranger(&self.client);
            reader.decoder.limit(shell.config.limits(), stranger);
            match reader.decoder.decode(rest) {
                Decoded::NeedMore => return false,
                Decoded::Command { consumed } => {
                    let source = reader.decoder.unquoted().unwrap_or(rest);
                    let ran = with_argv(source, reader.decoder.argv(), |argv| {
                        !self.client.awaits_subscriptions(argv) && {
                            shell.dispatch(&self.client, argv);
                            true
                        }
                    });
                    if !ran {
                        self.client.line.borrow_mut().stalled = true; // it is decoded again
                        break;
                    }
                    reader.start += consumed;
                }
                Decoded::Error(text) => {
                    let protocol = self.client.session.borrow().protocol;
                    let mut line = self.client.line.borrow_mut();
                    line.answer(protocol, &Reply::Error(text));
                    line.closing = true;
                }
            }
        }
        reader.start < reader.filled
    }

    /// Puts this task behind all others that are ready before it writes its first output: so the replies of a turn leave
    /// together. One by one, each would find its client asleep, and waking it costs more than the command did.
    fn hold_output(&self, context: &Context<'_>) -> bool {
        let held = (1..=OUTPUT_BYTES_HELD).contains(&self.client.line.borrow().output.len());
        if held {
            context.waker().wake_by_ref();
        }
        held
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), ()> {
        let mut line = self.client.line.borrow_mut();
        while line.unsent() > 0 {
            let rest = line.output.get(line.sent..).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(()),
                Poll::Ready(Ok(written)) => line.sent += written,
                Poll::Pending => {
                    line.forget_sent();
                    return Ok(());
                }
            }
        }
        line.forget_sent();
        line.output.shrink_to(READ_BYTES);
        Ok(())
    }

    /// Reads what comes while a command may wait for a key, and runs none of it: to see the end of a client that would be served for
    /// nothing. False at that end.
    fn read_waiting(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        let unread = self.reader.as_ref().map_or(0, |reader| reader.filled - reader.start);
        if self.ended || unread >= WAITING_INPUT_MAX {
            return Poll::Pending;
        }
        self.read(context)
    }

    /// Reads once; false at the end of the stream.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        let reader = self.reader.get_or_insert_with(|| {
            let mut shell = self.shell.borrow_mut();
            let spare = shell.spare_reader.take();
            spare.unwrap_or_else(|| Box::new(Reader::new(shell.config.limits())))
        });
        let mut buffer = ReadBuf::new(reader.room());
        let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
        let bytes = buffer.filled().len();
        reader.filled += bytes;
        read.map_ok(|()| bytes > 0)
    }
}

impl<S, C: Clock> Drop for Connection<S, C> {
    fn drop(&mut self) {
        self.client.gone.set(true);
        if self.reader.as_ref().is_some_and(|reader| reader.start < reader.filled) {
            mark::reached(Mark::RequestCutShort);
        }
        // A host that is torn down may drop its tasks while the shell is in use; the shell is then going as well.
        if let Ok(mut shell) = self.shell.try_borrow_mut() {
            shell.dismiss(self.client.id);
            if let Some(reader) = self.reader.take_if(|_| is_planted(Canary::InputLeaks)) {
                shell.spare_reader = Some(reader);
            }
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use steadfast_replication::gateway::Status;
    use tokio::io::{DuplexStream, duplex};
    use tokio::sync::mpsc;

    use super::*;
    use crate::adapters::SystemClock;
    use crate::batch::Origin;
    use crate::config::Config;
    use crate::shell::Shell;

    type Shared = SharedShell<SystemClock>;

    fn shell() -> Shared {
        let (intake, _) = mpsc::channel(1);
        let origin = Origin { node: 1, incarnation: 1 };
        let (config, status) = (Config::default(), Arc::new(Status::default()));
        let shell = Shell::new(config, SystemClock, status, intake, origin, Rc::new(()));
        Rc::new(RefCell::new(shell))
    }

    /// A connection, and its client's end.
    fn connect(shell: &Shared) -> (Connection<DuplexStream, SystemClock>, DuplexStream) {
        let ends = Ends { client: ([127, 0, 0, 1], 1).into(), own: None, at_sentinel: false };
        let client = shell.borrow_mut().admit(ends).expect("there is room");
        let (stream, peer) = duplex(1 << 20);
        let shell = Rc::clone(shell);
        (Connection { shell, client, stream, reader: None, ended: false }, peer)
    }

    /// Whether the task asked to run again.
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Sends bytes, lets the connection run, and answers what came back.
    fn say(
        (connection, peer): &mut (Connection<DuplexStream, SystemClock>, DuplexStream),
        bytes: &[u8],
    ) -> String {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let context = &mut Context::from_waker(&waker);
        let written = Pin::new(&mut *peer).poll_write(context, bytes);
        assert!(matches!(written, Poll::Ready(Ok(length)) if length == bytes.len()));
        while woken.0.swap(false, Ordering::Relaxed) {
            assert!(connection.poll(context).is_pending()); // what it answers waits for the end of the turn
        }
        let mut answer = vec![0; 1 << 20];
        let mut buffer = ReadBuf::new(&mut answer);
        let _ = Pin::new(peer).poll_read(context, &mut buffer);
        String::from_utf8_lossy(buffer.filled()).into_owned()
    }

    /// One buffer serves all connections that have run what they read; a half request keeps its own until it is whole, and a
    /// huge one leaves no huge buffer behind.
    #[test]
    fn idle_connections_have_no_input_buffer() {
        let shell = shell();
        let (mut one, mut other) = (connect(&shell), connect(&shell));
        let spare = || shell.borrow().spare_reader.as_ref().map(|reader| reader.input.as_ptr());
        assert_eq!(say(&mut one, b"CLIENT ID\r\n"), ":1\r\n");
        let first = spare();
        assert!(one.0.reader.is_none() && first.is_some());
        assert_eq!(say(&mut other, b"CLIENT ID\r\n"), ":2\r\n");
        assert_eq!(spare(), first, "it is the same one");

        assert_eq!(say(&mut one, b"CLIENT ID\r\n*2\r\n$6\r\nCLI"), ":1\r\n");
        assert!(one.0.reader.is_some() && spare().is_none());
        assert_eq!(say(&mut other, b"CLIENT ID\r\n"), ":2\r\n");
        assert_eq!(say(&mut one, b"ENT\r\n$2\r\nID\r\n"), ":1\r\n");
        assert!(one.0.reader.is_none() && other.0.reader.is_none());

        let huge = [
            &b"CLIENT ID\r\n*9000\r\n"[..],
            &b"$30\r\n012345678901234567890123456789\r\n".repeat(9000),
        ]
        .concat();
        assert!(say(&mut one, &huge).starts_with(":1\r\n-ERR unknown command"));
        let shell = shell.borrow();
        let reader = shell.spare_reader.as_ref().expect("it was passed on");
        assert!(reader.input.capacity() <= 2 * READ_BYTES, "{}", reader.input.capacity());
        assert!(reader.decoder.words_capacity() < 9000);
    }
}
