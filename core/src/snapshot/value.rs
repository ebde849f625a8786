//! Values as a snapshot has them: bytes, or a stream of entries that may be cut anywhere. Nothing is taken that the value's type could
//! not have made.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::SnapshotError;
use crate::collections::{
    BoxedSet, Hash, Ints, List, ListTree, Packed, Set, Sorted, Zset, ZsetTree, length_and_rest,
};
use crate::record::{Value, tag};

/// A value that is being read.
#[derive(Debug)]
pub(super) enum Reading {
    Bytes {
        tag: u8,
        length: usize,
        bytes: Vec<u8>,
    },
    Entries {
        value: Value,
        left: usize,
        /// The beginning of the next one.
        part: Vec<u8>,
    },
}

const UNKNOWN: SnapshotError = SnapshotError::Damaged("a value of unknown type");
const NO_VALUE: SnapshotError = SnapshotError::Damaged("a value that is none of its type");

impl Reading {
    /// The value of a type and form; `first` numbers the elements of a list that is a tree.
    pub(super) fn new(tag: u8, length: usize, first: i64) -> Result<Self, SnapshotError> {
        let value = match tag {
            tag::STRING
            | tag::LIST_SMALL
            | tag::HASH_SMALL
            | tag::SET_INTS
            | tag::SET_SMALL
            | tag::ZSET_SMALL => None,
            tag::LIST_LARGE | tag::LIST_QUICK => {
                let list = ListTree::numbered_from(first, tag == tag::LIST_QUICK);
                Some(Value::List(List::Large(Box::new(list))))
            }
            tag::HASH_LARGE => Some(Value::Hash(Hash::Large(Box::<Sorted>::default()))),
            tag::SET_LARGE => Some(Value::Set(Set::of_sorted(Sorted::default()))),
            tag::ZSET_LARGE => Some(Value::Zset(Zset::Large(Box::<ZsetTree>::default()))),
            _ => return Err(UNKNOWN),
        };
        Ok(match value {
            None => Self::Bytes { tag, length, bytes: Vec::new() },
            Some(value) => Self::Entries { value, left: length, part: Vec::new() },
        })
    }

    /// Takes what there is of it; answers what stands behind it.
    pub(super) fn feed<'b>(&mut self, piece: &'b [u8]) -> Result<&'b [u8], SnapshotError> {
        match self {
            Self::Bytes { length, bytes, .. } => {
                let (own, rest) = piece.split_at(piece.len().min(*length - bytes.len()));
                bytes.extend_from_slice(own);
                Ok(rest)
            }
            Self::Entries { value, left, part } => {
                let mut rest = piece;
                while *left > 0 && !rest.is_empty() {
                    rest = feed_entry(value, left, part, rest)?;
                }
                Ok(rest)
            }
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Bytes { length, bytes, .. } => bytes.len() == *length,
            Self::Entries { left, .. } => *left == 0,
        }
    }

    /// The value, which is whole.
    pub(super) fn finish(self) -> Result<Value, SnapshotError> {
        match self {
            Self::Bytes { tag, bytes, .. } => of_bytes(tag, &bytes).ok_or(NO_VALUE),
            Self::Entries { value, .. } => Ok(value),
        }
    }
}

/// Takes one entry, or what there is of it.
fn feed_entry<'b>(
    value: &mut Value,
    left: &mut usize,
    part: &mut Vec<u8>,
    piece: &'b [u8],
) -> Result<&'b [u8], SnapshotError> {
    if part.is_empty()
        && let Some((length, rest)) = length_and_rest(piece)
        && let Some((entry, rest)) = rest.split_at_checked(length)
    {
        *left -= 1;
        return if push_entry(value, entry) { Ok(rest) } else { Err(NO_VALUE) };
    }
    // It was cut: gathered first its length, then the rest of it.
    let missing = match length_and_rest(part) {
        Some((length, have)) => length - have.len(),
        None if part.len() < 5 => 1,
        None => return Err(NO_VALUE),
    };
    let (own, rest) = piece.split_at(missing.min(piece.len()));
    part.extend_from_slice(own);
    if let Some((length, entry)) = length_and_rest(part)
        && entry.len() == length
    {
        *left -= 1;
        if !push_entry(value, entry) {
            return Err(NO_VALUE);
        }
        part.clear();
    }
    Ok(rest)
}

fn push_entry(value: &mut Value, entry: &[u8]) -> bool {
    match value {
        Value::List(List::Large(list)) => {
            list.push(entry);
            true
        }
        Value::Hash(Hash::Large(sorted)) => Sorted::is_entry(entry, true) && sorted.push(entry),
        Value::Set(Set::Boxed(boxed)) => match &mut **boxed {
            BoxedSet::Large(sorted) => Sorted::is_entry(entry, false) && sorted.push(entry),
            BoxedSet::Ints(_) => false,
        },
        Value::Zset(Zset::Large(zset)) => zset.push(entry),
        _ => false,
    }
}

fn of_bytes(tag: u8, bytes: &[u8]) -> Option<Value> {
    match tag {
        tag::STRING => Some(Value::string(bytes)),
        tag::SET_INTS => Some(Value::Set(Set::of_ints(Ints::checked(bytes)?))),
        tag::ZSET_SMALL => Some(Value::Zset(Zset::checked(bytes)?)),
        _ => {
            let (packed, count) = Packed::checked(bytes)?;
            match tag {
                tag::LIST_SMALL => Some(Value::List(List::Small(packed))),
                tag::SET_SMALL => Some(Value::Set(Set::Small(packed))),
                tag::HASH_SMALL if count.is_multiple_of(2) => {
                    Some(Value::Hash(Hash::Small(packed)))
                }
                _ => None,
            }
        }
    }
}
