//! What a key holds: its value and the facts beside it. Kept small, since there is one per key.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::access::TypeName;

/// Stands for "no deadline" in [`Record::expires_at`].
pub(crate) const NEVER: u64 = u64::MAX;
/// Strings up to this length need no allocation.
const SHORT_BYTES_MAX: usize = 22;
/// What a key costs beside its bytes, for the memory estimate: item, table bucket, allocation.
const KEY_OVERHEAD_BYTES: u64 = 104;

/// A value. Which form a string has is not part of the state: only its bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A string that fits in here; integers always do.
    Short { length: u8, bytes: [u8; SHORT_BYTES_MAX] },
    /// A string that was set whole.
    Exact(Box<[u8]>),
    /// A string that was appended to or partly overwritten, with room to grow. The second box keeps every
    /// other record small.
    #[allow(clippy::box_collection)]
    Growing(Box<Vec<u8>>),
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

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Exact(bytes) => bytes,
            Self::Growing(bytes) => bytes,
        }
    }

    /// The bytes as something that can grow.
    pub(crate) fn growing(&mut self) -> &mut Vec<u8> {
        let bytes = match self {
            Self::Growing(_) => None,
            Self::Exact(bytes) => Some(core::mem::take(bytes).into_vec()),
            Self::Short { .. } => Some(self.bytes().to_vec()),
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

/// A key in its slot.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) hash: u64,
    pub(crate) key: Box<[u8]>,
    pub(crate) record: Record,
}

impl Item {
    /// Deterministic estimate of what it takes in memory.
    pub(crate) fn used_bytes(&self) -> u64 {
        let value = self.record.value.bytes().len();
        let outside = if value <= SHORT_BYTES_MAX { 0 } else { value };
        KEY_OVERHEAD_BYTES + (self.key.len() + outside) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stay_small() {
        assert_eq!(size_of::<Value>(), 24);
        assert_eq!(size_of::<Item>(), 72);
    }

    #[test]
    fn every_form_of_a_string_holds_its_bytes() {
        for length in [0, 1, 22, 23, 5000] {
            let bytes = alloc::vec![7; length];
            let mut value = Value::string(&bytes);
            assert_eq!(value.bytes(), bytes);
            value.growing().push(9);
            assert_eq!(value.bytes().len(), length + 1);
            assert_eq!(value.bytes()[length], 9);
        }
    }
}
