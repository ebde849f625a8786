//! One value as Redis's RDB files have it, which is what DUMP answers and RESTORE takes: a type, the value, the version of the format and a
//! checksum.
//!
//! What is read was made by anybody: nothing is taken on trust, and no memory is reserved for what is only announced. Written is what Redis
//! 7.0 reads; read is what Redis up to 7.4 writes for the types that there are here, and what older ones did.

mod crc64;
mod listpack;
mod lzf;
mod read;
mod write;
mod ziplist;

use alloc::vec::Vec;

use crate::record::Value;
use crc64::crc64;
use read::Reader;

/// The version that is written.
const VERSION_WRITTEN: u16 = 10;
/// The last one that is read.
const VERSION_READ_MAX: u16 = 12;
/// Bytes behind the value: version and checksum.
const FOOTER_BYTES: usize = 10;

/// Types of values.
mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const SET_LISTPACK: u8 = 20;
}

/// Why a payload is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Its version is too new, or the checksum another one.
    Footer,
    /// It is no value.
    Format,
}

/// A value as a payload.
pub(crate) fn dump(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write::put_value(&mut out, value);
    finish(&mut out, VERSION_WRITTEN);
    out
}

fn finish(out: &mut Vec<u8>, version: u16) {
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&crc64(out).to_le_bytes());
}

/// The value of a payload.
///
/// # Errors
/// It is none.
pub(crate) fn restore(payload: &[u8]) -> Result<Value, Refusal> {
    let footer = payload.len().checked_sub(FOOTER_BYTES).ok_or(Refusal::Footer)?;
    let (body, footer) = payload.split_at(footer);
    let (version, sum) = footer.split_first_chunk().ok_or(Refusal::Footer)?;
    let summed = payload.get(..body.len() + version.len()).unwrap_or_default();
    if u16::from_le_bytes(*version) > VERSION_READ_MAX || crc64(summed).to_le_bytes() != *sum {
        return Err(Refusal::Footer);
    }
    Reader::new(body).value().ok_or(Refusal::Format)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;
    use crate::access::TypeName;
    use crate::collections::{End, Hash, List, Set, Zset};
    use crate::rng::Rng;

    /// Every form of every type, with words of every length class.
    fn values() -> Vec<Value> {
        let mut rng = Rng::seeded(4);
        let mut values = Vec::new();
        let long = vec![7; 70_000];
        for text in [&b""[..], b"0", b"-129", b"32768", b"-2147483649", b"012", &long] {
            values.push(Value::string(text));
        }
        for count in [1, 5, 127, 200, 3000_u64] {
            for longest in [3, 70, 5000] {
                if count * longest > 1_000_000 {
                    continue;
                }
                let mut word = |at: u64| {
                    let mut word = format!("{}", at as i64 - 3).into_bytes();
                    if rng.below(3) == 0 {
                        word.resize(word.len() + rng.below(longest) as usize, b'x');
                    }
                    word
                };
                let (mut list, mut hash) = (List::default(), Hash::default());
                let (mut set, mut ints, mut zset) =
                    (Set::for_members(b"x", 1), Set::default(), Zset::default());
                for at in 0..count {
                    list.push(End::Right, &word(at));
                    hash.set(&word(at), &word(at * 77_777));
                    set.add(&word(at));
                    ints.add(format!("{}", at * 1_000_003).as_bytes());
                    zset.set(&word(at), at as f64 * if longest == 3 { 1.0 } else { 0.1 });
                }
                zset.set(b"inf", f64::INFINITY);
                let collections =
                    [Value::List(list), Value::Hash(hash), Value::Set(set), Value::Set(ints)];
                values.extend(collections.into_iter().chain([Value::Zset(zset)]));
            }
        }
        values
    }

    /// What the value holds, whatever its form.
    fn content(value: &Value) -> Vec<(Vec<u8>, Vec<u8>)> {
        let one = |word: &[u8]| (word.to_vec(), Vec::new());
        let mut content: Vec<_> = match value {
            Value::List(list) => return list.iter_from(0).map(one).collect(),
            Value::Hash(hash) => hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect(),
            Value::Set(set) => set.iter().map(|member| one(&member)).collect(),
            Value::Zset(zset) => zset
                .iter_from(0)
                .map(|(member, score)| (member.to_vec(), score.to_be_bytes().to_vec()))
                .collect(),
            string => vec![one(string.as_string().unwrap_or_default())],
        };
        content.sort();
        content
    }

    #[test]
    fn what_was_dumped_is_restored() {
        for value in values() {
            let again = restore(&dump(&value)).expect("it was just dumped");
            assert_eq!(again.type_name(), value.type_name());
            assert_eq!(content(&again), content(&value));
            // A set of integers is one, whatever it was before.
            if value.type_name() != TypeName::Set {
                assert_eq!(again.tag(), value.tag(), "a value keeps its form");
            }
        }
    }

    /// Payloads that Redis no longer writes, and some that it never did.
    #[test]
    fn old_encodings_are_read() {
        let restored = |body: &[u8]| {
            let mut payload = body.to_vec();
            finish(&mut payload, 1);
            restore(&payload).map(|value| content(&value))
        };
        let words = |words: &[&[u8]]| words.iter().map(|w| (w.to_vec(), vec![])).collect();
        let pair = |word: &[u8], other: &[u8]| Ok(vec![(word.to_vec(), other.to_vec())]);
        assert_eq!(restored(b"\x01\x02\x01a\xC0\xFF"), Ok(words(&[b"a", b"-1"])));
        let score = |score: f64| score.to_be_bytes();
        assert_eq!(restored(b"\x03\x01\x01a\x031.5"), pair(b"a", &score(1.5)));
        assert_eq!(restored(b"\x03\x01\x01a\xFE"), pair(b"a", &score(f64::INFINITY)));
        assert_eq!(restored(b"\x03\x01\x01a\xFF"), pair(b"a", &score(f64::NEG_INFINITY)));
        assert_eq!(restored(b"\x03\x01\x01a\xFD"), Err(Refusal::Format));
        assert_eq!(restored(b"\x09\x09\x01\x01f\x02\x01vwx\xFF"), pair(b"f", b"vw"));
        // Two words: "ab" and the number 1; then all kinds of numbers.
        let ziplist = b"\x12\0\0\0\x0E\0\0\0\x02\0\0\x02ab\x04\xF2\xFF";
        let zl = |kind: u8| [&[kind, ziplist.len() as u8], &ziplist[..]].concat();
        assert_eq!(restored(&zl(10)), Err(Refusal::Format), "its length is another one");
        let ziplist = b"\x11\0\0\0\x0E\0\0\0\x02\0\0\x02ab\x04\xF2\xFF";
        let zl = |kind: u8| [&[kind, ziplist.len() as u8], &ziplist[..]].concat();
        assert_eq!(restored(&zl(10)), Ok(words(&[b"ab", b"1"])));
        assert_eq!(restored(&zl(13)), pair(b"ab", b"1"));
        assert_eq!(restored(&zl(12)), pair(b"ab", &score(1.0)));
        let twice = b"\x04\x02\x01a\x01b\x01a\x01c";
        assert_eq!(restored(twice), Err(Refusal::Format), "a field twice, which Redis lets pass");
        let quick = [&b"\x0E\x01\x11"[..], &ziplist[..]].concat();
        assert_eq!(restored(&quick), Ok(words(&[b"ab", b"1"])));
        let numbers = b"\x1F\0\0\0\x1B\0\0\0\x05\0\0\xC0\xFF\xFF\x04\xD0\0\0\x01\0\x06\xF0\0\0\x80\x05\xFE\x80\x03\xF1\xFF";
        let zl = [&[10, numbers.len() as u8], &numbers[..]].concat();
        assert_eq!(restored(&zl), Ok(words(&[b"-1", b"65536", b"-8388608", b"-128", b"0"])));
    }

    #[test]
    fn compressed_strings_are_read() {
        let restored = |body: &[u8]| {
            let mut payload = body.to_vec();
            finish(&mut payload, 10);
            restore(&payload).map(|value| content(&value)[0].0.clone())
        };
        assert_eq!(restored(b"\0\xC3\x05\x0C\x01ab\xE0\x01"), Err(Refusal::Format));
        assert_eq!(restored(b"\0\xC3\x06\x0C\x01ab\xE0\x01\x01"), Ok(b"abababababab".to_vec()));
        assert_eq!(restored(b"\0\xC3\x06\x0D\x01ab\xE0\x01\x01"), Err(Refusal::Format));
        assert_eq!(restored(b"\0\xC3\x06\x0B\x01ab\xE0\x01\x01"), Err(Refusal::Format));
        assert_eq!(restored(b"\0\xC3\x06\x0C\x01ab\xE0\x01\x02"), Err(Refusal::Format));
    }

    /// Damage is found, or makes another value; it never makes a panic, nor a value out of nothing.
    #[test]
    fn damaged_payloads_are_refused_or_read_as_another_value() {
        let mut rng = Rng::seeded(5);
        let values = values();
        let (mut refused, mut taken) = (0, 0);
        for value in &values {
            let payload = dump(value);
            let body = &payload[..payload.len() - FOOTER_BYTES];
            let rounds = if body.len() > 20_000 { 20 } else { 200 };
            for round in 0..rounds {
                let mut damaged = body.to_vec();
                match round % 4 {
                    0 => damaged.truncate(rng.below(body.len() as u64) as usize),
                    1 => damaged[0] = rng.below(24) as u8,
                    _ => {}
                }
                for _ in 0..=rng.below(3) {
                    if !damaged.is_empty() {
                        // Mostly in front, where lengths and types are.
                        let limit = damaged.len() as u64;
                        let limit = if rng.below(2) == 0 { limit } else { limit.min(16) };
                        damaged[rng.below(limit) as usize] ^= 1 << rng.below(8);
                    }
                }
                finish(&mut damaged, VERSION_WRITTEN);
                match restore(&damaged) {
                    Err(_) => refused += 1,
                    Ok(value) => {
                        taken += 1;
                        let bytes: usize = content(&value).iter().map(|(w, _)| w.len()).sum();
                        assert!(bytes <= 264 * damaged.len(), "out of nothing");
                    }
                }
            }
            let mut flipped = payload.clone();
            flipped[rng.below(payload.len() as u64) as usize] ^= 1 << rng.below(8);
            assert_eq!(restore(&flipped).err(), Some(Refusal::Footer));
        }
        assert!(refused > 1000 && taken > 1000, "{refused} {taken}");
    }
}
