//! RESP2 and RESP3, sans-IO: bytes in, commands out; replies in, bytes out. Limits on every length.

mod decode;
mod encode;
mod inline;
mod reply;

pub use decode::{Decoded, Decoder, Limits};
pub use encode::encode;
pub use reply::{ReplyDecodeError, read_reply};

/// The protocol that a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// RESP2.
    #[default]
    Resp2,
    /// RESP3, after HELLO 3.
    Resp3,
}
