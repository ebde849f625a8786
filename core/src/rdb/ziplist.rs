//! What small collections were before there were listpacks: ziplists, and zipmaps before those. Only read.

use alloc::borrow::Cow;

use super::listpack::signed;
use crate::number::int_bytes;

const END: u8 = 0xFF;
/// Stands before a length of four bytes.
const LONG: u8 = 0xFE;
/// Length in bytes, place of the last entry, count.
const HEADER_BYTES: usize = 10;
/// Stands for a count that has no room.
const COUNT_UNKNOWN: u16 = u16::MAX;

type Word<'a> = Cow<'a, [u8]>;

/// Calls `visit` for every entry of a ziplist; none if it is none, or `visit` says so.
pub(super) fn each_entry<'a>(
    bytes: &'a [u8],
    visit: &mut dyn FnMut(Word<'a>) -> Option<()>,
) -> Option<()> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let length = u32::from_le_bytes(*header.first_chunk()?);
    let count = u16::from_le_bytes(*header.last_chunk()?);
    if length as usize != bytes.len() {
        return None;
    }
    let (mut seen, mut previous) = (0, 0);
    while rest != [END] {
        let start = rest.len();
        let (said, behind) = previous_size(rest)?;
        if said != previous {
            return None;
        }
        let (word, behind) = entry(behind)?;
        visit(word)?;
        rest = behind;
        (seen, previous) = (seen + 1, start - behind.len());
    }
    (count == COUNT_UNKNOWN || usize::from(count) == seen).then_some(())
}

fn previous_size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first != LONG {
        return (first < LONG).then_some((usize::from(first), rest));
    }
    let (size, rest) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*size) as usize, rest))
}

fn entry(bytes: &[u8]) -> Option<(Word<'_>, &[u8])> {
    let (&mark, rest) = bytes.split_first()?;
    let int = |bytes: usize| {
        let (number, rest) = rest.split_at_checked(bytes)?;
        Some((Cow::Owned(int_bytes(signed(number))), rest))
    };
    let (length, rest) = match mark {
        0..0x40 => (usize::from(mark), rest),
        0x40..0x80 => {
            let (&low, rest) = rest.split_first()?;
            (usize::from(mark & 0x3F) << 8 | usize::from(low), rest)
        }
        0x80 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u32::from_be_bytes(*length) as usize, rest)
        }
        0xC0 => return int(2),
        0xD0 => return int(4),
        0xE0 => return int(8),
        0xF0 => return int(3),
        0xFE => return int(1),
        0xF1..=0xFD => return Some((Cow::Owned(int_bytes(i64::from(mark & 0x0F) - 1)), rest)),
        _ => return None,
    };
    rest.split_at_checked(length).map(|(text, rest)| (Cow::Borrowed(text), rest))
}

/// Calls `visit` for every field of a zipmap, with its value; none if it is none, or `visit` says so.
pub(super) fn each_of_zipmap<'a>(
    bytes: &'a [u8],
    visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> Option<()>,
) -> Option<()> {
    // The first byte is a count, or says that it has no room; nobody needs it.
    let (_, mut rest) = bytes.split_first()?;
    while rest != [END] {
        let (length, behind) = previous_size(rest)?;
        let (field, behind) = behind.split_at_checked(length)?;
        let (length, behind) = previous_size(behind)?;
        let (&unused, behind) = behind.split_first()?;
        let (value, behind) = behind.split_at_checked(length)?;
        visit(field, value)?;
        rest = behind.get(usize::from(unused)..)?;
    }
    Some(())
}
