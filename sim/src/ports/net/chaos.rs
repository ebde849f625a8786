//! A stream under a weather, behind the gate of its process. In fair weather it hands everything on as it is.
//!
//! What is to come late is taken from the network when it comes and held here until it is due, up to a bound; what is not read at
//! all stays in the network, so that whoever sends feels it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::weather::{Sky, Weather};
use crate::draw::Draws;
use crate::ports::gate::Gate;

/// What is held of what comes and of what goes out.
const HELD_BYTES_MAX: usize = 1 << 20;
const OUT_BYTES_MAX: usize = 64 << 10;
/// Taken from the network at once.
const STEP_BYTES: usize = 16 << 10;
/// How long a slow link saves up what it did not use.
const BURST: Duration = Duration::from_millis(100);
/// Credit is counted in millionths of a byte.
const BYTE: u64 = 1_000_000;

/// See the file's head.
pub(super) struct Chaos<S> {
    /// None: it was cut.
    stream: Option<S>,
    weather: Weather,
    gate: Gate,
    draws: Draws,
    of_peer: bool,
    /// Which change of the weather was the last that it saw.
    seen: u64,
    /// Bytes until it is cut.
    left: Option<u64>,
    /// What has come, and when it is due.
    come: VecDeque<(Instant, VecDeque<u8>)>,
    held: usize,
    last_due: Option<Instant>,
    glued_until: Option<Instant>,
    /// How the other side ended, to be told after all that came before.
    ended: Option<Result<(), io::ErrorKind>>,
    /// What was written and has not gone out.
    out: VecDeque<u8>,
    credit: u64,
    credited: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Who waits to read and to write: a cut is told to both.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn note(waiting: &mut Option<Waker>, cx: &Context<'_>) {
    if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *waiting = Some(cx.waker().clone());
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Chaos<S> {
    /// Puts a stream to a peer, or of a client, under a weather.
    pub(super) fn new(
        stream: S,
        of_peer: bool,
        weather: Weather,
        gate: Gate,
        draws: Draws,
    ) -> Self {
        Self {
            stream: Some(stream),
            weather,
            gate,
            draws,
            of_peer,
            seen: 0,
            left: None,
            come: VecDeque::new(),
            held: 0,
            last_due: None,
            glued_until: None,
            ended: None,
            out: VecDeque::new(),
            credit: 0,
            credited: None,
            timer: None,
            reader: None,
            writer: None,
        }
    }

    /// The stream, if there is nothing to do but to hand on.
    fn calm(&mut self) -> Option<Pin<&mut S>> {
        let calm = !self.weather.is_foul()
            && self.left.is_none()
            && self.come.is_empty()
            && self.out.is_empty()
            && self.ended.is_none();
        self.stream.as_mut().filter(|_| calm).map(Pin::new)
    }

    fn look(&mut self) -> Sky {
        let (sky, changes) = self.weather.over(self.of_peer);
        if self.seen != changes {
            self.seen = changes;
            self.left = sky.cut_within.map(|most| self.draws.between(1, most));
        }
        if self.left.is_none() {
            self.left = self.weather.take_cut(self.of_peer);
        }
        sky
    }

    /// Bytes moved. The stream may be over with them: with what is unread the other side is told of a reset, not of an end.
    fn moved(&mut self, count: usize) {
        let Some(left) = &mut self.left else { return };
        *left = left.saturating_sub(count as u64);
        if *left == 0 {
            self.stream = None;
            self.come.clear();
            self.out.clear();
            self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
        }
    }

    /// How many of so many bytes may move at once.
    fn bound(&mut self, sky: Sky, count: usize) -> usize {
        let split = sky.split.map_or(u64::MAX, |most| self.draws.between(1, most));
        split.min(self.left.unwrap_or(u64::MAX)).max(1).min(count as u64) as usize
    }

    /// Takes what the network has.
    fn pull(&mut self, cx: &mut Context<'_>, sky: Sky) {
        let Some(stream) = &mut self.stream else { return };
        while self.ended.is_none() && self.held < HELD_BYTES_MAX {
            let mut space = vec![0; STEP_BYTES];
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => self.ended = Some(Err(error.kind())),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => self.ended = Some(Ok(())),
                Poll::Ready(Ok(())) => {
                    let bytes: VecDeque<u8> = buffer.filled().iter().copied().collect();
                    let now = Instant::now();
                    let mut due = now + sky.delay.draw(&mut self.draws);
                    if !sky.glue.is_zero() {
                        let until = self.glued_until.filter(|until| *until > now);
                        let until = until.unwrap_or(now + sky.glue);
                        self.glued_until = Some(until);
                        due = due.max(until);
                    }
                    due = due.max(self.last_due.unwrap_or(due));
                    self.last_due = Some(due);
                    self.held += bytes.len();
                    self.come.push_back((due, bytes));
                }
            }
        }
    }

    /// Bytes that a slow link lets through now, or when there will be one.
    fn credit(&mut self, rate: u64, now: Instant) -> Result<u64, Instant> {
        let rate = rate.max(1);
        let since = now - self.credited.unwrap_or(now);
        let most = (rate * BURST.as_micros() as u64).max(BYTE);
        self.credited = Some(now);
        self.credit = (self.credit + since.as_micros() as u64 * rate).min(most);
        if self.credit >= BYTE {
            return Ok(self.credit / BYTE);
        }
        Err(now + Duration::from_micros((BYTE - self.credit).div_ceil(rate)))
    }

    /// Gives what is due.
    fn give(
        &mut self,
        cx: &mut Context<'_>,
        sky: Sky,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some((due, _)) = self.come.front() else {
            return match self.ended {
                None => Poll::Pending,
                Some(Ok(())) => Poll::Ready(Ok(())),
                Some(Err(kind)) => Poll::Ready(Err(kind.into())),
            };
        };
        let (due, now) = (*due, Instant::now());
        if due > now {
            return self.wait_until(cx, due);
        }
        let mut bound = self.bound(sky, buf.remaining());
        if let Some(rate) = sky.rate {
            match self.credit(rate, now) {
                Ok(bytes) => bound = bound.min(bytes as usize),
                Err(at) => return self.wait_until(cx, at),
            }
        }
        let before = buf.filled().len();
        while let Some((_, bytes)) = self.come.front_mut().filter(|(due, _)| *due <= now) {
            let room = bound - (buf.filled().len() - before);
            let (piece, _) = bytes.as_slices();
            let piece = piece.get(..room.min(piece.len())).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            buf.put_slice(piece);
            let count = piece.len();
            bytes.drain(..count);
            if bytes.is_empty() {
                self.come.pop_front();
            }
        }
        let count = buf.filled().len() - before;
        self.held -= count;
        self.credit = self.credit.saturating_sub(count as u64 * BYTE);
        self.moved(count);
        Poll::Ready(Ok(()))
    }

    fn wait_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<io::Result<()>> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        timer.as_mut().reset(at);
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Sends what a silence has held back.
    fn send_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let Some(stream) = &mut self.stream else { break };
            let (piece, _) = self.out.as_slices();
            let count = ready!(Pin::new(stream).poll_write(cx, piece))?;
            self.out.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gate.is_closed() {
            return Poll::Pending;
        }
        note(&mut self.reader, cx);
        if let Some(stream) = self.calm() {
            return stream.poll_read(cx, buf);
        }
        let sky = self.look();
        if self.stream.is_none() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if sky.stalled || sky.silent {
            self.weather.wait(cx.waker());
            return Poll::Pending;
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(Err(error)) = self.send_held(cx) {
            return Poll::Ready(Err(error));
        }
        self.pull(cx, sky);
        self.give(cx, sky, buf)
    }

    pub(super) fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gate.is_closed() {
            return Poll::Pending;
        }
        note(&mut self.writer, cx);
        if let Some(stream) = self.calm() {
            return stream.poll_write(cx, bytes);
        }
        let sky = self.look();
        if self.stream.is_none() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if sky.silent {
            let taken = bytes.len().min(OUT_BYTES_MAX.saturating_sub(self.out.len()));
            if taken == 0 && !bytes.is_empty() {
                self.weather.wait(cx.waker());
                return Poll::Pending;
            }
            self.out.extend(bytes.iter().take(taken));
            return Poll::Ready(Ok(taken));
        }
        ready!(self.send_held(cx))?;
        let bound = self.bound(sky, bytes.len());
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        let bytes = bytes.get(..bound).unwrap_or_default();
        let count = ready!(Pin::new(stream).poll_write(cx, bytes))?;
        self.moved(count);
        Poll::Ready(Ok(count))
    }

    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gate.is_closed() {
            return Poll::Pending;
        }
        if self.is_silent() {
            return Poll::Ready(Ok(())); // it is in the system's buffers
        }
        ready!(self.send_held(cx))?;
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        Pin::new(stream).poll_flush(cx)
    }

    pub(super) fn shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gate.is_closed() {
            return Poll::Pending;
        }
        if self.is_silent() {
            return Poll::Ready(Ok(())); // nobody hears of it
        }
        ready!(self.send_held(cx))?;
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        Pin::new(stream).poll_shutdown(cx)
    }
}

impl<S> Chaos<S> {
    fn is_silent(&self) -> bool {
        self.weather.is_foul() && self.weather.over(self.of_peer).0.silent
    }
}

impl<S> Drop for Chaos<S> {
    /// A stream of the simulation says good-bye when it is dropped. Where nobody would hear of that it is left as it is.
    fn drop(&mut self) {
        if self.gate.is_dark() || self.is_silent() {
            std::mem::forget(self.stream.take());
        }
    }
}

#[cfg(test)]
mod tests;
