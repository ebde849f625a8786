//! What SCAN, HSCAN and SSCAN have in common: cursors, options and the shape of the reply.

use alloc::vec::Vec;

use super::args::Args;
use crate::error::{ReplyError, Result};
use crate::glob;
use crate::reply::Reply;

/// What is scanned: some options are for one thing only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    Keys,
    Hash,
    Members,
}

/// Options of a scan.
pub(super) struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    /// About how many are visited.
    pub(super) count: usize,
    /// TYPE.
    pub(super) wanted: Option<&'a [u8]>,
    pub(super) no_values: bool,
}

impl<'a> ScanOptions<'a> {
    pub(super) fn parse(args: &mut Args<'a>, scanned: Scanned) -> Result<Self> {
        let mut options = Self { pattern: None, count: 10, wanted: None, no_values: false };
        while args.has_more() {
            if args.eat("MATCH") {
                options.pattern = Some(args.bytes()?);
            } else if args.eat("COUNT") {
                let count = args.int()?;
                if count < 1 {
                    return Err(ReplyError::SYNTAX);
                }
                options.count = usize::try_from(count).unwrap_or(usize::MAX);
            } else if scanned == Scanned::Keys && args.eat("TYPE") {
                options.wanted = Some(args.bytes()?);
            } else if args.eat("NOVALUES") {
                if scanned != Scanned::Hash {
                    return Err(ReplyError::fixed("ERR NOVALUES option can only be used in HSCAN"));
                }
                options.no_values = true;
            } else {
                return Err(ReplyError::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Whether the pattern, if there is one, matches.
    pub(super) fn fits(&self, word: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, word))
    }
}

/// The next cursor, and what was found.
pub(super) fn reply(next: u64, found: Vec<Reply<'_>>) -> Reply<'_> {
    let next = alloc::format!("{next}").into_bytes();
    Reply::Array([Reply::bulk_owned(next), Reply::Array(found)].into())
}

/// Reads as C's `strtoul` does, with its end at a NUL and the wrap of a minus; blanks before the number are refused.
pub(super) fn cursor(args: &mut Args<'_>) -> Result<u64> {
    parse_cursor(args.bytes()?).ok_or(ReplyError::fixed("ERR invalid cursor"))
}

fn parse_cursor(word: &[u8]) -> Option<u64> {
    let text = word.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { value.wrapping_neg() } else { value })
}
