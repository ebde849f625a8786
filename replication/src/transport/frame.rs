//! Frames: `length u32 · crc32 u32 (of the body) · body`. A wrong checksum or an impossible length ends the link.
//!
//! Patience is for one step of a stream, be it a single byte, and not for a frame: a slow link that moves is not a dead one, a
//! silent one is found out within a step.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::mark::{self, Mark};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Largest body of a frame. Raft messages, forwarded ops and chunks of snapshots are all cut to about 256 KiB; the rest is room
/// for later releases.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Largest body of a hello or a welcome: strangers may claim no more.
pub const GREETING_BYTES_MAX: usize = 64 << 10;
const HEAD_BYTES: usize = 8;
/// Read at once at the most. Memory grows by it, so that a length that lies costs its sender more than us.
const STEP_BYTES: usize = 256 << 10;

/// Appends a frame to a buffer.
pub fn encode(out: &mut Vec<u8>, body: &[u8]) {
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(crc32fast::hash(body).to_le_bytes());
    out.extend_from_slice(body);
}

/// Writes one frame.
///
/// # Errors
/// Those of the stream; `TimedOut` if a step takes longer than `patience`.
pub async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    body: &[u8],
    patience: Duration,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    encode(&mut bytes, body);
    write_encoded(stream, &bytes, patience).await
}

/// Writes frames that are encoded already.
///
/// # Errors
/// As `write`.
pub async fn write_encoded<S: AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: &[u8],
    patience: Duration,
) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = within(patience, stream.write(rest)).await?;
        rest = rest.get(written..).filter(|_| written > 0).ok_or(io::ErrorKind::WriteZero)?;
    }
    within(patience, stream.flush()).await
}

/// Reads one frame's body of at most `longest` bytes.
///
/// # Errors
/// As `Incoming::step`.
pub async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    longest: usize,
    patience: Duration,
) -> io::Result<Bytes> {
    let mut incoming = Incoming::default();
    loop {
        if let Some(body) = incoming.step(stream, longest, patience).await? {
            return Ok(body);
        }
    }
}

/// A frame on its way in. It is read step by step, so that whoever waits for a large one sees that it moves.
#[derive(Debug, Default)]
pub struct Incoming {
    head: [u8; HEAD_BYTES],
    body: Vec<u8>,
    /// Bytes that have come, head and body.
    come: usize,
}

impl Incoming {
    /// Reads what comes next; answers the frame's body once it is whole, and is ready for the next frame then.
    ///
    /// # Errors
    /// Those of the stream; `TimedOut` if nothing comes within `patience`; `InvalidData` if the length is impossible or the
    /// checksum does not match.
    pub async fn step<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        longest: usize,
        patience: Duration,
    ) -> io::Result<Option<Bytes>> {
        let buffer = match self.come.checked_sub(HEAD_BYTES) {
            None => self.head.get_mut(self.come..),
            Some(filled) => {
                if filled == self.body.len() {
                    self.body.resize((filled + STEP_BYTES).min(self.length()), 0);
                }
                self.body.get_mut(filled..)
            }
        };
        let read = within(patience, stream.read(buffer.unwrap_or_default())).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.come += read;
        if self.come >= HEAD_BYTES && self.length() > longest {
            return Err(invalid("a frame is longer than any can be"));
        }
        if self.come < HEAD_BYTES || self.come - HEAD_BYTES < self.length() {
            return Ok(None);
        }
        let Self { head, body, .. } = std::mem::take(self);
        if crc32fast::hash(&body) != word(head, 4) {
            return Err(invalid("a frame's checksum does not match"));
        }
        Ok(Some(Bytes::from(body)))
    }

    /// The body's length, as the head says.
    fn length(&self) -> usize {
        word(self.head, 0) as usize
    }
}

fn word(head: [u8; HEAD_BYTES], at: usize) -> u32 {
    let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

/// What came makes no sense; whoever sent it is not talked to any further.
pub(super) fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Bounds the wait for the other side: a stream may stay silent for ever without an error.
pub(super) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(patience, work).await.unwrap_or_else(|_| {
        mark::reached(Mark::StreamSilent);
        Err(io::ErrorKind::TimedOut.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::at_once;

    fn read_all(mut bytes: &[u8], longest: usize) -> io::Result<Bytes> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime, for its timers");
        let _entered = runtime.enter();
        at_once(read(&mut bytes, longest, Duration::from_secs(1)))
    }

    /// Bodies of any size come back; a changed bit anywhere, a cut, a length that lies do not.
    #[test]
    fn frames_are_whole_or_refused() {
        for length in [0, 1, STEP_BYTES, STEP_BYTES + 1] {
            let body: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut bytes = Vec::new();
            encode(&mut bytes, &body);
            assert_eq!(read_all(&bytes, FRAME_BYTES_MAX).expect("it is whole"), body);
        }
        let mut bytes = Vec::new();
        encode(&mut bytes, b"a body");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read_all(&changed, FRAME_BYTES_MAX).is_err(), "byte {at} was changed");
            assert!(read_all(&bytes[..at], FRAME_BYTES_MAX).is_err(), "cut at {at}");
        }
        assert!(read_all(&bytes, 5).is_err(), "longer than allowed here");
        let lie = [&u32::MAX.to_le_bytes()[..], &[0; 100]].concat();
        let error = read_all(&lie, FRAME_BYTES_MAX).expect_err("no frame is that long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
