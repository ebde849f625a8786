//! Frames: `length u32 · crc32 u32 (of the body) · body`. A wrong checksum or an impossible length ends the link.
//!
//! Patience is per step, not per frame: a slow link that moves is not a dead one, a silent one is found out within a step.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Largest body of a frame. Raft messages, forwarded ops and chunks of snapshots are all cut to about a megabyte; the rest
/// is room for later releases.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Largest body of a hello or a welcome: strangers may claim no more.
pub const GREETING_BYTES_MAX: usize = 64 << 10;
const HEAD_BYTES: usize = 8;
/// Read and written at once. Memory grows by it, so that a length that lies costs its sender more than us.
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
    for step in bytes.chunks(STEP_BYTES) {
        within(patience, stream.write_all(step)).await?;
    }
    within(patience, stream.flush()).await
}

/// Reads one frame's body of at most `longest` bytes.
///
/// # Errors
/// Those of the stream; `TimedOut` if a step takes longer than `patience`; `InvalidData` if the length is impossible or the
/// checksum does not match.
pub async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    longest: usize,
    patience: Duration,
) -> io::Result<Bytes> {
    let mut head = [0; HEAD_BYTES];
    within(patience, stream.read_exact(&mut head)).await?;
    let [a, b, c, d, e, f, g, h] = head;
    let (length, crc) =
        (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
    if length > longest {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame is longer than any can be",
        ));
    }
    let mut body = Vec::new();
    while body.len() < length {
        let start = body.len();
        body.resize((start + STEP_BYTES).min(length), 0);
        let step = body.get_mut(start..).unwrap_or_default();
        within(patience, stream.read_exact(step)).await?;
    }
    if crc32fast::hash(&body) != crc {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame's checksum does not match",
        ));
    }
    Ok(Bytes::from(body))
}

/// Bounds the wait for the other side: a stream may stay silent for ever without an error.
pub(super) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(patience, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
