//! From bytes to a value. Everything here answers none where the bytes are no such thing.

use alloc::borrow::Cow;

use super::listpack::{self, signed};
use super::{kind, lzf, ziplist};
use crate::collections::{End, Hash, List, Set, Zset};
use crate::number::{int_bytes, parse_double};
use crate::record::Value;

/// Longest string that is unpacked: the longest there is.
const STRING_BYTES_MAX: u64 = 512 << 20;
/// Kinds of nodes in a list: one element, or a listpack of them.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

type Word<'a> = Cow<'a, [u8]>;
/// Takes a word; none if it can't be one here.
type Visit<'v, W> = &'v mut dyn FnMut(W) -> Option<()>;
/// Takes a field and its value, or a member and its score.
type VisitPair<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Option<()>;

/// What is left to be read.
pub(super) struct Reader<'a>(&'a [u8]);

/// What stands where a length is expected.
enum Length {
    Plain(u64),
    /// A string of another form.
    Special(u8),
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A type and what follows of it. Bytes behind it are left, as Redis does.
    pub(super) fn value(&mut self) -> Option<Value> {
        let kind = self.byte()?;
        match kind {
            kind::STRING => self.string().map(|text| Value::string(&text)),
            kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
                self.list(kind).map(Value::List)
            }
            kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => self.set(kind).map(Value::Set),
            kind::HASH | kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
                self.hash(kind).map(Value::Hash)
            }
            kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => {
                self.zset(kind).map(Value::Zset)
            }
            _ => None,
        }
    }

    fn list(&mut self, kind: u8) -> Option<List> {
        let mut list = List::default();
        let mut push = |word: Word<'_>| {
            list.push(End::Right, &word);
            Some(())
        };
        match kind {
            kind::LIST => self.each_string(&mut push)?,
            kind::LIST_ZIPLIST => ziplist::each_entry(&self.string()?, &mut push)?,
            kind::LIST_QUICKLIST => {
                self.each_string(&mut |node| ziplist::each_entry(&node, &mut push))?;
            }
            _ => {
                for _ in 0..self.count()? {
                    match self.count()? {
                        NODE_PLAIN => push(self.string()?)?,
                        NODE_PACKED => each_entry(&self.string()?, &mut push)?,
                        _ => return None,
                    }
                }
            }
        }
        (list.len() > 0).then_some(list)
    }

    fn set(&mut self, kind: u8) -> Option<Set> {
        let mut set = None;
        let mut add = |word: &[u8], count: u64| {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            set.get_or_insert_with(|| Set::for_members(word, count)).add(word).then_some(())
        };
        match kind {
            kind::SET => {
                let count = self.count()?;
                for _ in 0..count {
                    add(&self.string()?, count)?;
                }
            }
            kind::SET_INTSET => {
                let text = self.string()?;
                let (width, numbers) = text.split_first_chunk()?;
                let (count, numbers) = numbers.split_first_chunk()?;
                let (width, count) = (u32::from_le_bytes(*width), u32::from_le_bytes(*count));
                let bytes = u64::from(width) * u64::from(count);
                if ![2, 4, 8].contains(&width) || bytes != numbers.len() as u64 {
                    return None;
                }
                for number in numbers.chunks(width as usize) {
                    add(&int_bytes(signed(number)), count.into())?;
                }
            }
            _ => {
                let text = self.string()?;
                let mut count = 0;
                each_entry(&text, &mut |_| {
                    count += 1;
                    Some(())
                })?;
                each_entry(&text, &mut |word| add(&word, count))?;
            }
        }
        set
    }

    fn hash(&mut self, kind: u8) -> Option<Hash> {
        let mut hash = Hash::default();
        match kind {
            kind::HASH => {
                let count = self.count()?;
                // More than a small one holds are at least two bytes each.
                if count <= self.0.len() as u64 / 2 {
                    hash.expect(count as usize);
                }
                for _ in 0..count {
                    let (field, value) = (self.string()?, self.string()?);
                    hash.set(&field, &value).then_some(())?;
                }
            }
            kind::HASH_ZIPMAP => ziplist::each_of_zipmap(&self.string()?, &mut |field, value| {
                hash.set(field, value).then_some(())
            })?,
            _ => self.each_pair(kind == kind::HASH_LISTPACK, &mut |field, value| {
                hash.set(field, value).then_some(())
            })?,
        }
        (hash.len() > 0).then_some(hash)
    }

    fn zset(&mut self, kind: u8) -> Option<Zset> {
        let mut zset = Zset::default();
        let mut set = |member: &[u8], score: f64| {
            (!score.is_nan() && zset.set(member, score).is_none()).then_some(())
        };
        match kind {
            kind::ZSET | kind::ZSET_2 => {
                for _ in 0..self.count()? {
                    let member = self.string()?;
                    let score = if kind == kind::ZSET { self.score() } else { self.double() };
                    set(&member, score?)?;
                }
            }
            _ => self.each_pair(kind == kind::ZSET_LISTPACK, &mut |member, score| {
                set(member, parse_double(score)?)
            })?,
        }
        (zset.len() > 0).then_some(zset)
    }

    /// A count of strings, and they.
    fn each_string(&mut self, visit: Visit<'_, Word<'a>>) -> Option<()> {
        (0..self.count()?).try_for_each(|_| visit(self.string()?))
    }

    /// A listpack or ziplist of pairs.
    fn each_pair(&mut self, is_listpack: bool, visit: VisitPair<'_>) -> Option<()> {
        let text = self.string()?;
        let mut first: Option<Word<'_>> = None;
        let mut pair = |word: Word<'_>| match first.take() {
            None => {
                first = Some(Cow::Owned(word.into_owned()));
                Some(())
            }
            Some(first) => visit(&first, &word),
        };
        if is_listpack {
            each_entry(&text, &mut pair)?;
        } else {
            ziplist::each_entry(&text, &mut pair)?;
        }
        first.is_none().then_some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn length(&mut self) -> Option<Length> {
        let first = self.byte()?;
        Some(match first {
            0..0x40 => Length::Plain(first.into()),
            0x40..0x80 => Length::Plain(u64::from(first & 0x3F) << 8 | u64::from(self.byte()?)),
            0x80 => Length::Plain(u32::from_be_bytes(self.array()?).into()),
            0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            0x82..0xC0 => return None,
            0xC0.. => Length::Special(first & 0x3F),
        })
    }

    fn count(&mut self) -> Option<u64> {
        match self.length()? {
            Length::Plain(count) => Some(count),
            Length::Special(_) => None,
        }
    }

    fn string(&mut self) -> Option<Word<'a>> {
        let number = |number: i64| Some(Cow::Owned(int_bytes(number)));
        match self.length()? {
            Length::Plain(length) => self.take(length).map(Cow::Borrowed),
            Length::Special(0) => number(i8::from_le_bytes(self.array()?).into()),
            Length::Special(1) => number(i16::from_le_bytes(self.array()?).into()),
            Length::Special(2) => number(i32::from_le_bytes(self.array()?).into()),
            Length::Special(3) => {
                let (packed, length) = (self.count()?, self.count()?);
                let packed = self.take(packed)?;
                let length = usize::try_from(length).ok()?;
                (length as u64 <= STRING_BYTES_MAX).then_some(())?;
                lzf::decompress(packed, length).map(Cow::Owned)
            }
            Length::Special(_) => None,
        }
    }

    fn double(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A score as text, with its length in front; three lengths stand for what is no number.
    fn score(&mut self) -> Option<f64> {
        match self.byte()? {
            255 => Some(f64::NEG_INFINITY),
            254 => Some(f64::INFINITY),
            253 => None,
            length => parse_double(self.take(length.into())?),
        }
    }
}

/// Calls `visit` for every entry of a listpack.
fn each_entry<'a>(bytes: &'a [u8], visit: Visit<'_, Word<'a>>) -> Option<()> {
    let mut entries = listpack::Entries::new(bytes)?;
    while let Some(word) = entries.next()? {
        visit(word)?;
    }
    Some(())
}
