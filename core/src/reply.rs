//! Replies, protocol-neutral. The server encodes them as RESP2 or RESP3; scripts and goldens read them as they are.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::error::ReplyError;

/// What a command answers. Borrows from the keyspace where it can, so that a read copies once, into the socket buffer.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply<'a> {
    /// `+OK`.
    Ok,
    /// A simple string other than OK. Never holds a line end.
    Status(Cow<'a, [u8]>),
    /// An integer.
    Int(i64),
    /// A bulk string.
    Bulk(Cow<'a, [u8]>),
    /// The null reply: `$-1` in RESP2, `_` in RESP3.
    Nil,
    /// The null array of RESP2 (`*-1`), `_` in RESP3: an aborted EXEC.
    NilArray,
    /// An array.
    Array(Vec<Self>),
    /// A map; a flat array in RESP2.
    Map(Vec<(Self, Self)>),
    /// Members with their scores, or fields with their values: arrays of two in an array; one flat array in RESP2.
    Pairs(Vec<(Self, Self)>),
    /// A set; an array in RESP2.
    Set(Vec<Self>),
    /// A double; a bulk string in RESP2.
    Double(f64),
    /// A boolean; 1 or 0 in RESP2.
    Bool(bool),
    /// A verbatim string of format `txt`; a bulk string in RESP2.
    Verbatim(Cow<'a, [u8]>),
    /// What is told without being asked for, and what subscriptions are confirmed with; an array in RESP2.
    Push(Vec<Self>),
    /// One reply after the other, without a head: SUBSCRIBE confirms each channel.
    Several(Vec<Self>),
    /// One of another format, of three letters.
    VerbatimAs([u8; 3], Cow<'a, [u8]>),
    /// An integer of any size, in digits; a bulk string in RESP2. Never holds a line end.
    BigNumber(Cow<'a, [u8]>),
    /// An error.
    Error(ReplyError),
}

impl<'a> Reply<'a> {
    /// The same reply, owning its bytes.
    pub fn into_owned(self) -> Reply<'static> {
        let own = |bytes: Cow<'a, [u8]>| Cow::Owned(bytes.into_owned());
        let all = |replies: Vec<Self>| replies.into_iter().map(Self::into_owned).collect();
        match self {
            Self::Ok => Reply::Ok,
            Self::Status(text) => Reply::Status(own(text)),
            Self::Int(value) => Reply::Int(value),
            Self::Bulk(bytes) => Reply::Bulk(own(bytes)),
            Self::Nil => Reply::Nil,
            Self::NilArray => Reply::NilArray,
            Self::Array(replies) => Reply::Array(all(replies)),
            Self::Map(pairs) => Reply::Map(
                pairs.into_iter().map(|(k, v)| (k.into_owned(), v.into_owned())).collect(),
            ),
            Self::Pairs(pairs) => Reply::Pairs(
                pairs.into_iter().map(|(k, v)| (k.into_owned(), v.into_owned())).collect(),
            ),
            Self::Set(replies) => Reply::Set(all(replies)),
            Self::Push(replies) => Reply::Push(all(replies)),
            Self::Several(replies) => Reply::Several(all(replies)),
            Self::Double(value) => Reply::Double(value),
            Self::Bool(value) => Reply::Bool(value),
            Self::Verbatim(text) => Reply::Verbatim(own(text)),
            Self::VerbatimAs(format, text) => Reply::VerbatimAs(format, own(text)),
            Self::BigNumber(digits) => Reply::BigNumber(own(digits)),
            Self::Error(error) => Reply::Error(error),
        }
    }

    /// A borrowed bulk string.
    pub const fn bulk(bytes: &'a [u8]) -> Self {
        Self::Bulk(Cow::Borrowed(bytes))
    }

    /// A bulk string that owns its bytes.
    pub fn bulk_owned(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bulk(Cow::Owned(bytes.into()))
    }

    /// 1 or 0.
    pub const fn flag(flag: bool) -> Self {
        Self::Int(flag as i64)
    }

    /// A fixed simple string.
    pub const fn status(text: &'static str) -> Self {
        Self::Status(Cow::Borrowed(text.as_bytes()))
    }
}
