//! Replies read back: for `steadfast cli`, the tests and the simulator's clients.

use steadfast_core::error::ReplyError;
use steadfast_core::number::parse_int;
use steadfast_core::reply::Reply;

/// Nesting that is followed.
const DEPTH_MAX: usize = 32;

/// The bytes are no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyDecodeError;

/// The reply at the start of `input` and its length; none if it has not come whole.
///
/// # Errors
/// The bytes are no reply.
pub fn read_reply(input: &[u8]) -> Result<Option<(Reply<'static>, usize)>, ReplyDecodeError> {
    let mut cursor = Cursor { input, at: 0 };
    match cursor.reply(DEPTH_MAX) {
        Ok(reply) => Ok(Some((reply, cursor.at))),
        Err(Stop::NeedMore) => Ok(None),
        Err(Stop::Broken) => Err(ReplyDecodeError),
    }
}

enum Stop {
    NeedMore,
    Broken,
}

struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::NeedMore)?;
        self.at += end + 2;
        rest.get(..end).ok_or(Stop::Broken)
    }

    fn length(line: &[u8]) -> Result<Option<usize>, Stop> {
        match parse_int(line) {
            Some(-1) => Ok(None),
            Some(value) => usize::try_from(value).map(Some).map_err(|_| Stop::Broken),
            None => Err(Stop::Broken),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(length).ok_or(Stop::Broken)?;
        let bytes = self.input.get(self.at..end).ok_or(Stop::NeedMore)?;
        match self.input.get(end..end + 2) {
            Some(b"\r\n") => self.at = end + 2,
            Some(_) => return Err(Stop::Broken),
            None => return Err(Stop::NeedMore),
        }
        Ok(bytes)
    }

    fn reply(&mut self, depth: usize) -> Result<Reply<'static>, Stop> {
        let depth = depth.checked_sub(1).ok_or(Stop::Broken)?;
        let line = self.line()?;
        let (mark, rest) = line.split_first().ok_or(Stop::Broken)?;
        Ok(match mark {
            b'+' if rest == b"OK" => Reply::Ok,
            b'+' => Reply::Status(rest.to_vec().into()),
            b'-' => Reply::Error(ReplyError::made(rest)),
            b':' => Reply::Int(parse_int(rest).ok_or(Stop::Broken)?),
            b'(' => Reply::BigNumber(rest.to_vec().into()),
            b'_' => Reply::Nil,
            b'#' => Reply::Bool(rest == b"t"),
            b',' => {
                let text = std::str::from_utf8(rest).map_err(|_| Stop::Broken)?;
                Reply::Double(text.parse().map_err(|_| Stop::Broken)?)
            }
            b'$' => match Self::length(rest)? {
                None => Reply::Nil,
                Some(length) => Reply::bulk_owned(self.bytes(length)?),
            },
            b'=' => {
                let length = Self::length(rest)?.ok_or(Stop::Broken)?;
                let text = self.bytes(length)?;
                match text.split_at_checked(4).ok_or(Stop::Broken)? {
                    (b"txt:", text) => Reply::Verbatim(text.to_vec().into()),
                    ([format @ .., b':'], text) => {
                        let format = format.try_into().map_err(|_| Stop::Broken)?;
                        Reply::VerbatimAs(format, text.to_vec().into())
                    }
                    _ => return Err(Stop::Broken),
                }
            }
            b'*' => match Self::length(rest)? {
                None => Reply::NilArray,
                Some(count) => Reply::Array(self.replies(count, depth)?),
            },
            b'~' => {
                let count = Self::length(rest)?.ok_or(Stop::Broken)?;
                Reply::Set(self.replies(count, depth)?)
            }
            b'>' => {
                let count = Self::length(rest)?.ok_or(Stop::Broken)?;
                Reply::Push(self.replies(count, depth)?)
            }
            b'%' => {
                let count = Self::length(rest)?.ok_or(Stop::Broken)?;
                let mut flat =
                    self.replies(count.checked_mul(2).ok_or(Stop::Broken)?, depth)?.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                    pairs.push((key, value));
                }
                Reply::Map(pairs)
            }
            _ => return Err(Stop::Broken),
        })
    }

    fn replies(&mut self, count: usize, depth: usize) -> Result<Vec<Reply<'static>>, Stop> {
        let mut replies = Vec::new();
        for _ in 0..count {
            replies.push(self.reply(depth)?);
        }
        Ok(replies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Protocol, encode};

    /// What is encoded in RESP3 is read back the same; cut short, it is not whole yet.
    #[test]
    fn round_trip() {
        let reply = Reply::Array(vec![
            Reply::Ok,
            Reply::status("PONG"),
            Reply::Int(-7),
            Reply::bulk(b"a\r\nb"),
            Reply::Nil,
            Reply::Map(vec![(Reply::bulk(b"k"), Reply::Double(1.5))]),
            Reply::Set(vec![Reply::Bool(true)]),
            Reply::Push(vec![Reply::bulk(b"message"), Reply::bulk(b"c"), Reply::bulk(b"m")]),
            Reply::Verbatim(b"text".to_vec().into()),
            Reply::VerbatimAs(*b"mkd", b"*text*".to_vec().into()),
            Reply::BigNumber(b"-12345678901234567890123".to_vec().into()),
            Reply::Error(ReplyError::SYNTAX),
        ]);
        let mut bytes = Vec::new();
        encode(&reply, Protocol::Resp3, &mut bytes);
        assert_eq!(read_reply(&bytes), Ok(Some((reply, bytes.len()))));
        for cut in 0..bytes.len() {
            assert_eq!(read_reply(&bytes[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(read_reply(b"!x\r\n"), Err(ReplyDecodeError));
        assert_eq!(read_reply(&b"*1\r\n".repeat(100)), Err(ReplyDecodeError));
    }
}
