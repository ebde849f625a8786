//! The argument cursor: a handler reads all its arguments into typed values, says `end`, and only then acts.

use crate::error::{ReplyError, Result};
use crate::number::{Extended, parse_int};

/// The words of one command, its name first.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    argv: &'a [&'a [u8]],
    next: usize,
}

impl<'a> Args<'a> {
    /// Behind the name.
    pub const fn new(argv: &'a [&'a [u8]]) -> Self {
        Self { argv, next: 1 }
    }

    /// All words, the name included.
    pub const fn argv(&self) -> &'a [&'a [u8]] {
        self.argv
    }

    /// The next word, if there is one.
    pub fn maybe(&mut self) -> Option<&'a [u8]> {
        let word = self.argv.get(self.next).copied()?;
        self.next += 1;
        Some(word)
    }

    /// The next word.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        self.maybe().ok_or(ReplyError::SYNTAX)
    }

    /// A 64-bit integer.
    pub fn int(&mut self) -> Result<i64> {
        parse_int(self.bytes()?).ok_or(ReplyError::NOT_AN_INTEGER)
    }

    /// A finite decimal number, in the precision of INCRBYFLOAT.
    pub fn extended(&mut self) -> Result<Extended> {
        Extended::parse(self.bytes()?).ok_or(ReplyError::NOT_A_FLOAT)
    }

    /// Eats the next word if it is this one, in any case.
    pub fn eat(&mut self, word: &str) -> bool {
        let is =
            self.argv.get(self.next).is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()));
        self.next += usize::from(is);
        is
    }

    /// The words that are left.
    pub fn rest(&mut self) -> &'a [&'a [u8]] {
        let rest = self.argv.get(self.next..).unwrap_or_default();
        self.next = self.argv.len();
        rest
    }

    /// Whether words are left.
    pub const fn has_more(&self) -> bool {
        self.next < self.argv.len()
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<()> {
        if self.has_more() { Err(ReplyError::SYNTAX) } else { Ok(()) }
    }
}
