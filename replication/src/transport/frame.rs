//! Frames: `length u32 · crc32 u32 (of the body) · body`. A wrong checksum or an impossible length ends the link.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest body of a frame: some entries of a megabyte each, and room.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES: usize = 8;
/// Grown in steps, so that a length that lies costs its sender more than us.
const STEP_BYTES: usize = 1 << 20;

/// Appends a frame to a buffer.
pub fn encode(out: &mut Vec<u8>, body: &[u8]) {
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(crc32fast::hash(body).to_le_bytes());
    out.extend_from_slice(body);
}

/// Writes one frame.
pub async fn write<S: AsyncWrite + Unpin>(stream: &mut S, body: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    encode(&mut bytes, body);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Reads one frame's body.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Bytes> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let [a, b, c, d, e, f, g, h] = head;
    let (length, crc) =
        (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame is longer than any can be",
        ));
    }
    let mut body = Vec::new();
    while body.len() < length {
        let start = body.len();
        body.resize((start + STEP_BYTES).min(length), 0);
        stream.read_exact(body.get_mut(start..).unwrap_or_default()).await?;
    }
    if crc32fast::hash(&body) != crc {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame's checksum does not match",
        ));
    }
    Ok(Bytes::from(body))
}
