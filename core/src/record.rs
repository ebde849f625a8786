//! What a key holds: its value and the facts beside it. Kept small, since there is one per key.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::access::TypeName;
use crate::collections::{BoxedSet, Grave, Hash, List, Set, SetForm, Tree, Zset};
use crate::number::parse_int;

/// Stands for "no deadline" in [`Record::expires_at`].
pub(crate) const NEVER: u64 = u64::MAX;
/// Strings up to this length need no allocation.
const SHORT_BYTES_MAX: usize = 22;
/// Redis keeps strings up to this length in one piece with their header.
const EMBEDDED_BYTES_MAX: usize = 44;
/// What a key costs beside its bytes, for the memory estimate: facts, place, table bucket.
const KEY_OVERHEAD_BYTES: u64 = 32;
/// The same for an entry of a tree: its length, and its share of the nodes.
const ENTRY_OVERHEAD_BYTES: usize = 4;

/// A value. Which form a string has is not part of the state: only its bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A string that fits in here; integers always do.
    Short {
        length: u8,
        bytes: [u8; SHORT_BYTES_MAX],
    },
    /// A string that was set whole.
    Exact(Box<[u8]>),
    /// A string that was appended to or partly overwritten, with room to grow. The second box keeps every
    /// other record small.
    #[allow(clippy::box_collection)]
    Growing(Box<Vec<u8>>),
    List(List),
    Hash(Hash),
    Set(Set),
    Zset(Zset),
}

/// What there is to write down of a value, whatever its type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The entries of a tree.
    Entries {
        tree: &'a Tree,
        /// Number of the first one, in a list.
        first: Option<i64>,
        /// Sum of their digest terms, as it was kept while they changed.
        sum: u128,
    },
}

/// Types and forms of values, as digest and snapshots number them (frozen once shipped).
pub(crate) mod tag {
    pub(crate) const STRING: u8 = 1;
    pub(crate) const LIST_SMALL: u8 = 2;
    pub(crate) const LIST_LARGE: u8 = 3;
    /// A large one that calls itself a quicklist.
    pub(crate) const LIST_QUICK: u8 = 4;
    pub(crate) const HASH_SMALL: u8 = 5;
    pub(crate) const HASH_LARGE: u8 = 6;
    pub(crate) const SET_INTS: u8 = 7;
    pub(crate) const SET_SMALL: u8 = 8;
    pub(crate) const SET_LARGE: u8 = 9;
    pub(crate) const ZSET_SMALL: u8 = 10;
    pub(crate) const ZSET_LARGE: u8 = 11;
}

impl Default for Value {
    fn default() -> Self {
        Self::string(b"")
    }
}

impl Value {
    pub(crate) fn string(bytes: &[u8]) -> Self {
        if bytes.len() <= SHORT_BYTES_MAX {
            let mut short = [0; SHORT_BYTES_MAX];
            short[..bytes.len()].copy_from_slice(bytes);
            Self::Short { length: bytes.len() as u8, bytes: short }
        } else {
            Self::Exact(bytes.into())
        }
    }

    /// A string's bytes.
    pub(crate) fn as_string(&self) -> Option<&[u8]> {
        match self {
            Self::Short { length, bytes } => Some(&bytes[..usize::from(*length)]),
            Self::Exact(bytes) => Some(bytes),
            Self::Growing(bytes) => Some(bytes),
            Self::List(_) | Self::Hash(_) | Self::Set(_) | Self::Zset(_) => None,
        }
    }

    pub(crate) fn tag(&self) -> u8 {
        match self {
            Self::Short { .. } | Self::Exact(_) | Self::Growing(_) => tag::STRING,
            Self::List(List::Small(_)) => tag::LIST_SMALL,
            Self::List(List::Large(large)) if large.is_quick() => tag::LIST_QUICK,
            Self::List(List::Large(_)) => tag::LIST_LARGE,
            Self::Hash(Hash::Small(_)) => tag::HASH_SMALL,
            Self::Hash(Hash::Large(_)) => tag::HASH_LARGE,
            Self::Set(set) => match set.form() {
                SetForm::Ints(_) => tag::SET_INTS,
                SetForm::Small(_) => tag::SET_SMALL,
                SetForm::Large(_) => tag::SET_LARGE,
            },
            Self::Zset(Zset::Small(_)) => tag::ZSET_SMALL,
            Self::Zset(Zset::Large(_)) => tag::ZSET_LARGE,
        }
    }

    pub(crate) fn content(&self) -> Content<'_> {
        let entries = |tree, first, sum| Content::Entries { tree, first, sum };
        match self {
            Self::Short { .. } | Self::Exact(_) | Self::Growing(_) => {
                Content::Bytes(self.as_string().unwrap_or_default())
            }
            Self::List(List::Small(packed)) => Content::Bytes(packed.bytes()),
            Self::List(List::Large(list)) => {
                entries(list.elements(), Some(list.first()), list.sum())
            }
            Self::Hash(Hash::Small(packed)) | Self::Zset(Zset::Small(packed)) => {
                Content::Bytes(packed.bytes())
            }
            Self::Hash(Hash::Large(sorted)) => entries(sorted.entries(), None, sorted.sum()),
            Self::Set(set) => match set.form() {
                SetForm::Ints(ints) => Content::Bytes(ints.bytes()),
                SetForm::Small(packed) => Content::Bytes(packed.bytes()),
                SetForm::Large(sorted) => entries(sorted.entries(), None, sorted.sum()),
            },
            Self::Zset(Zset::Large(zset)) => {
                entries(zset.order().entries(), None, zset.order().sum())
            }
        }
    }

    /// Nobody needs it any more: what takes long to free is freed later.
    pub(crate) fn bury(self, grave: &mut Grave) {
        match self {
            Self::List(List::Large(list)) => grave.bury(list.into_elements()),
            Self::Hash(Hash::Large(sorted)) => grave.bury(sorted.into_entries()),
            Self::Set(Set::Boxed(boxed)) => {
                if let BoxedSet::Large(sorted) = *boxed {
                    grave.bury(sorted.into_entries());
                }
            }
            Self::Zset(Zset::Large(zset)) => {
                zset.into_trees().into_iter().for_each(|tree| grave.bury(tree));
            }
            _ => {}
        }
    }

    /// The bytes as something that can grow.
    pub(crate) fn growing(&mut self) -> &mut Vec<u8> {
        let bytes = match self {
            Self::Growing(_) => None,
            Self::Exact(bytes) => Some(core::mem::take(bytes).into_vec()),
            _ => Some(self.as_string().unwrap_or_default().to_vec()),
        };
        if let Some(bytes) = bytes {
            *self = Self::Growing(Box::new(bytes));
        }
        match self {
            Self::Growing(bytes) => bytes,
            _ => unreachable!("it was made growing above"),
        }
    }

    pub(crate) const fn type_name(&self) -> TypeName {
        match self {
            Self::Short { .. } | Self::Exact(_) | Self::Growing(_) => TypeName::String,
            Self::List(_) => TypeName::List,
            Self::Hash(_) => TypeName::Hash,
            Self::Set(_) => TypeName::Set,
            Self::Zset(_) => TypeName::Zset,
        }
    }

    /// Deterministic estimate of what it takes in memory outside of its record.
    fn used_bytes(&self) -> usize {
        match self.content() {
            Content::Bytes(bytes) => bytes.len(),
            Content::Entries { tree, .. } => {
                let indexed = if matches!(self, Self::Zset(_)) { 2 } else { 1 };
                indexed * (tree.bytes() + ENTRY_OVERHEAD_BYTES * tree.len())
            }
        }
    }
}

/// A value where it is: a string among its slot's items, or what is held beside them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ValueRef<'a> {
    Inline(&'a [u8]),
    Held(&'a Value),
}

impl<'a> ValueRef<'a> {
    pub(crate) fn as_string(self) -> Option<&'a [u8]> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Held(value) => value.as_string(),
        }
    }

    /// The value as a collection, if it is one.
    pub(crate) fn as_collection(self) -> Option<&'a Value> {
        match self {
            Self::Inline(_) => None,
            Self::Held(value) => value.as_string().is_none().then_some(value),
        }
    }

    pub(crate) fn tag(self) -> u8 {
        match self {
            Self::Inline(_) => tag::STRING,
            Self::Held(value) => value.tag(),
        }
    }

    /// The form, as Redis calls it. Of a string this says no more than its bytes do.
    pub(crate) fn encoding(self) -> &'static str {
        match self.tag() {
            tag::LIST_SMALL
            | tag::LIST_LARGE
            | tag::HASH_SMALL
            | tag::SET_SMALL
            | tag::ZSET_SMALL => "listpack",
            tag::LIST_QUICK => "quicklist",
            tag::HASH_LARGE | tag::SET_LARGE => "hashtable",
            tag::SET_INTS => "intset",
            tag::ZSET_LARGE => "skiplist",
            _ => match self.as_string().unwrap_or_default() {
                bytes if parse_int(bytes).is_some() => "int",
                bytes if bytes.len() <= EMBEDDED_BYTES_MAX => "embstr",
                _ => "raw",
            },
        }
    }

    pub(crate) fn content(self) -> Content<'a> {
        match self {
            Self::Inline(bytes) => Content::Bytes(bytes),
            Self::Held(value) => value.content(),
        }
    }

    /// Its bytes, or none where there are entries.
    pub(crate) fn flat(self) -> &'a [u8] {
        match self.content() {
            Content::Bytes(bytes) => bytes,
            Content::Entries { .. } => &[],
        }
    }

    pub(crate) const fn type_name(self) -> TypeName {
        match self {
            Self::Inline(_) => TypeName::String,
            Self::Held(value) => value.type_name(),
        }
    }

    /// What `work` makes of the value, wherever it is.
    pub(crate) fn with<T>(self, work: impl FnOnce(&Value) -> T) -> T {
        match self {
            Self::Inline(bytes) => work(&Value::string(bytes)),
            Self::Held(value) => work(value),
        }
    }

    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Inline(bytes) => Value::string(bytes),
            Self::Held(value) => value.clone(),
        }
    }

    fn used_bytes(self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Held(value) => value.used_bytes(),
        }
    }
}

/// A key's value and facts.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) value: Value,
    /// Milliseconds of log time, or [`NEVER`].
    pub(crate) expires_at: u64,
    pub(crate) changed: u64,
    pub(crate) granted: u64,
}

/// The same, where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordRef<'a> {
    pub(crate) value: ValueRef<'a>,
    pub(crate) expires_at: u64,
    pub(crate) changed: u64,
    pub(crate) granted: u64,
}

/// A key with what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) key: Box<[u8]>,
    pub(crate) record: Record,
}

/// The same, where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemRef<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) record: RecordRef<'a>,
}

impl Item {
    pub(crate) fn as_ref(&self) -> ItemRef<'_> {
        let Record { value, expires_at, changed, granted } = &self.record;
        let value = ValueRef::Held(value);
        let (expires_at, changed, granted) = (*expires_at, *changed, *granted);
        ItemRef { key: &self.key, record: RecordRef { value, expires_at, changed, granted } }
    }
}

impl ItemRef<'_> {
    /// Deterministic estimate of what it takes in memory.
    pub(crate) fn used_bytes(&self) -> u64 {
        KEY_OVERHEAD_BYTES + (self.key.len() + self.record.value.used_bytes()) as u64
    }

    pub(crate) fn to_item(self) -> Item {
        let RecordRef { value, expires_at, changed, granted } = self.record;
        let record = Record { value: value.to_value(), expires_at, changed, granted };
        Item { key: self.key.into(), record }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_small() {
        assert_eq!(size_of::<Value>(), 24);
    }

    #[test]
    fn every_form_of_a_string_holds_its_bytes() {
        for length in [0, 1, 22, 23, 5000] {
            let bytes = alloc::vec![7; length];
            let mut value = Value::string(&bytes);
            assert_eq!(value.as_string(), Some(&*bytes));
            value.growing().push(9);
            let grown = value.as_string().expect("it is a string");
            assert_eq!((grown.len(), grown[length]), (length + 1, 9));
        }
    }
}
