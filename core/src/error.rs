//! Every error text that the state machine can answer, in one place. The first word is the code that
//! clients act on. These errors are deterministic: every replica answers the same one.

use alloc::borrow::Cow;
use alloc::vec::Vec;

/// An error reply: code word, space, message; without the leading `-` and without line ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplyError(Cow<'static, [u8]>);

/// What a command handler returns.
pub type Result<T, E = ReplyError> = core::result::Result<T, E>;

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl ReplyError { $($(#[$doc])* pub const $name: Self = Self::fixed($text);)* }
    };
}

texts! {
    /// Options that do not parse.
    SYNTAX = "ERR syntax error";
    /// The key holds another type.
    WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    /// An argument or value is no 64-bit integer.
    NOT_AN_INTEGER = "ERR value is not an integer or out of range";
    /// An argument or value is no finite number.
    NOT_A_FLOAT = "ERR value is not a valid float";
    /// RENAME and friends.
    NO_SUCH_KEY = "ERR no such key";
    /// EVALSHA of an unknown script; redis-py's fallback depends on the first word.
    NO_SCRIPT = "NOSCRIPT No matching script. Please use EVAL.";
}

impl ReplyError {
    /// An error with a text known at compile time.
    pub const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }

    /// An error with a text made at run time. Line ends become spaces, so it can't break the protocol.
    pub fn made(text: impl Into<Vec<u8>>) -> Self {
        let mut text: Vec<u8> = text.into();
        for byte in &mut text {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        Self(Cow::Owned(text))
    }

    /// The whole text, code word first.
    pub fn text(&self) -> &[u8] {
        &self.0
    }
}
