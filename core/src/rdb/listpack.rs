//! Redis's listpack: a length in bytes, a count, entries with their own lengths in front and behind, and an end mark.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::number::{int_bytes, parse_int};

const HEADER_BYTES: usize = 6;
const END: u8 = 0xFF;
/// Stands for a count that has no room.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// One that is being written.
pub(super) struct Writer {
    bytes: Vec<u8>,
    count: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { bytes: [0; HEADER_BYTES].into(), count: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + 1
    }

    pub(super) fn put(&mut self, word: &[u8]) {
        let start = self.bytes.len();
        match parse_int(word) {
            Some(number) => self.put_int(number),
            None => self.put_text(word),
        }
        let size = self.bytes.len() - start;
        put_size(&mut self.bytes, size);
        self.count += 1;
    }

    fn put_int(&mut self, number: i64) {
        let wide = number.to_le_bytes();
        let (mark, bytes) = match number {
            0..=127 => return self.bytes.push(number as u8),
            -4096..=4095 => {
                let bits = number as u16;
                return self.bytes.extend([0xC0 | (bits >> 8) as u8 & 0x1F, bits as u8]);
            }
            -0x8000..=0x7FFF => (0xF1, 2),
            -0x80_0000..=0x7F_FFFF => (0xF2, 3),
            -0x8000_0000..=0x7FFF_FFFF => (0xF3, 4),
            _ => (0xF4, 8),
        };
        self.bytes.push(mark);
        self.bytes.extend_from_slice(&wide[..bytes]);
    }

    fn put_text(&mut self, word: &[u8]) {
        let length = word.len();
        match length {
            0..64 => self.bytes.push(0x80 | length as u8),
            64..4096 => self.bytes.extend([0xE0 | (length >> 8) as u8, length as u8]),
            _ => {
                self.bytes.push(0xF0);
                self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(word);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        let length = (self.bytes.len() as u32).to_le_bytes();
        self.bytes[..4].copy_from_slice(&length);
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}

/// How many bytes the size of an entry takes behind it. The limits are Redis's, one below what would fit.
const fn size_bytes(size: usize) -> u32 {
    match size {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Writes the size of an entry so that it can be read backwards.
fn put_size(out: &mut Vec<u8>, size: usize) {
    let bytes = size_bytes(size);
    for at in (0..bytes).rev() {
        let more = if at + 1 == bytes { 0 } else { 0x80 };
        out.push((size >> (7 * at)) as u8 & 0x7F | more);
    }
}

/// Entries that are being read; none if there is something wrong with the next one.
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    count: u16,
    seen: usize,
}

impl<'a> Entries<'a> {
    /// None if these bytes can't be one.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let count = u16::from_le_bytes(*count);
        let fits = u32::from_le_bytes(*length) as usize == bytes.len();
        fits.then_some(Self { rest, count, seen: 0 })
    }

    fn entry(&mut self) -> Option<Cow<'a, [u8]>> {
        let start = self.rest;
        let (&mark, rest) = start.split_first()?;
        let int = |bytes: usize| {
            let (number, rest) = rest.split_at_checked(bytes)?;
            Some((Cow::Owned(int_bytes(signed(number))), rest))
        };
        let text = |length: usize, rest: &'a [u8]| {
            rest.split_at_checked(length).map(|(text, rest)| (Cow::Borrowed(text), rest))
        };
        let (word, rest) = match mark {
            0..0x80 => (Cow::Owned(int_bytes(i64::from(mark))), rest),
            0x80..0xC0 => text(usize::from(mark & 0x3F), rest)?,
            0xC0..0xE0 => {
                let (&low, rest) = rest.split_first()?;
                let high = (mark & 0x1F) << 3;
                let number = i64::from((high as i8) >> 3) << 8 | i64::from(low);
                (Cow::Owned(int_bytes(number)), rest)
            }
            0xE0..0xF0 => {
                let (&low, rest) = rest.split_first()?;
                text(usize::from(mark & 0x0F) << 8 | usize::from(low), rest)?
            }
            0xF0 => {
                let (length, rest) = rest.split_first_chunk()?;
                text(u32::from_le_bytes(*length) as usize, rest)?
            }
            0xF1 => int(2)?,
            0xF2 => int(3)?,
            0xF3 => int(4)?,
            0xF4 => int(8)?,
            _ => return None,
        };
        let size = start.len() - rest.len();
        let mut behind = Vec::new();
        put_size(&mut behind, size);
        self.rest = rest.strip_prefix(behind.as_slice())?;
        self.seen += 1;
        Some(word)
    }

    /// The next entry; none at the end.
    #[allow(clippy::type_complexity, clippy::option_option)] // no entry, or no listpack
    pub(super) fn next(&mut self) -> Option<Option<Cow<'a, [u8]>>> {
        if self.rest == [END] {
            let fits = self.count == COUNT_UNKNOWN || usize::from(self.count) == self.seen;
            return fits.then_some(None);
        }
        self.entry().map(Some)
    }
}

/// A number of up to eight bytes, lowest first.
pub(super) fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
    let start = if negative { -1 } else { 0 };
    bytes.iter().rev().fold(start, |number, byte| number << 8 | i64::from(*byte))
}
