//! One of a database's 16,384 tables: its keys in insertion order, with removal by swapping with the last. The order is part of the state;
//! the hash table beside it only finds positions, and where in memory an item stands is nobody's business.
//!
//! Up to 128 keys, which is what a slot has of two million, are found by one byte of their hashes each, eight at a time; more by a table.
//!
//! There may be a hundred million keys, so an item has no allocation of its own: the items of a slot stand in one arena, one behind the
//! other. What an item leaves behind when it goes, or grows, is closed up when it is a quarter of the arena. Long strings and
//! collections are held beside it.
//!
//! ```text
//! item = flags u8 · key length · value length, or number of what is held · changed · [granted] · [expires at] · key · [value]
//! ```
//! All numbers have 7 bits a byte, lowest first. `granted` stands there if it is not `changed`, `expires at` if there is a deadline.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::collections::put_number;
use crate::hash::hash_of;
use crate::record::{Item, ItemRef, NEVER, Record, RecordRef, Value, ValueRef};

/// Strings up to this length stand in the arena.
const INLINE_BYTES_MAX: usize = 256;
/// Keys up to this many need no table. One that exists stays until half as many are left.
const TAGGED_MAX: usize = 128;
/// Less than this is not closed up.
const DEAD_BYTES_MIN: usize = 256;

const HAS_GRANTED: u8 = 1;
const HAS_DEADLINE: u8 = 2;
const IS_HELD: u8 = 4;
const FLAGS_MAX: u8 = HAS_GRANTED | HAS_DEADLINE | IS_HELD;

/// A table of keys.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    arena: Vec<u8>,
    /// Where in the arena each item begins.
    starts: Vec<u32>,
    /// One byte of each item's hash, while there are few.
    tags: Vec<u8>,
    /// Positions by hash, while there are many.
    table: Option<Box<HashTable<u32>>>,
    held: Option<Box<Held>>,
    /// Bytes of the arena that belong to no item.
    dead: usize,
    /// Revision of the last deletion: a watched missing key holds only if there was none since.
    pub(crate) deleted_at: u64,
    /// Sum of the digest terms of this slot.
    pub(crate) digest: u128,
}

/// Values that are not in the arena.
#[derive(Debug, Default)]
struct Held {
    values: Vec<Value>,
    free: Vec<u32>,
}

impl Held {
    fn put(&mut self, value: Value) -> u32 {
        if let Some(number) = self.free.pop() {
            self.values[number as usize] = value;
            return number;
        }
        self.values.push(value);
        self.values.len() as u32 - 1
    }

    fn take(&mut self, number: u32) -> Value {
        if number as usize + 1 == self.values.len() {
            return self.values.pop().unwrap_or_default();
        }
        self.free.push(number);
        core::mem::take(&mut self.values[number as usize])
    }
}

/// An item as it stands in the arena.
struct Parts<'a> {
    key: &'a [u8],
    expires_at: u64,
    changed: u64,
    granted: u64,
    /// Bytes in the arena, or the number of what is held.
    value: Result<&'a [u8], u32>,
    /// Bytes of all of it.
    size: usize,
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7F) << shift;
        if *first < 0x80 {
            return Some(number);
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
    }
}

impl<'a> Parts<'a> {
    /// Reads what begins here. None only where memory has failed.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let flags = number(&mut rest).filter(|flags| *flags <= u64::from(FLAGS_MAX))? as u8;
        let (key, value) = (number(&mut rest)? as usize, number(&mut rest)? as usize);
        let changed = number(&mut rest)?;
        let granted = if flags & HAS_GRANTED == 0 { changed } else { number(&mut rest)? };
        let expires_at = if flags & HAS_DEADLINE == 0 { NEVER } else { number(&mut rest)? };
        let (key, rest) = rest.split_at_checked(key)?;
        let (value, rest) = if flags & IS_HELD == 0 {
            let (value, rest) = rest.split_at_checked(value)?;
            (Ok(value), rest)
        } else {
            (Err(value as u32), rest)
        };
        let size = bytes.len() - rest.len();
        Some(Self { key, expires_at, changed, granted, value, size })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let granted = if self.granted == self.changed { 0 } else { HAS_GRANTED };
        let deadline = if self.expires_at == NEVER { 0 } else { HAS_DEADLINE };
        let held = if self.value.is_ok() { 0 } else { IS_HELD };
        out.push(granted | deadline | held);
        put_number(out, self.key.len() as u64);
        put_number(out, self.value.map_or_else(u64::from, |bytes| bytes.len() as u64));
        put_number(out, self.changed);
        if granted != 0 {
            put_number(out, self.granted);
        }
        if deadline != 0 {
            put_number(out, self.expires_at);
        }
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value.unwrap_or_default());
    }
}

impl Slot {
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    fn parts(&self, position: usize) -> Parts<'_> {
        let start = self.starts[position] as usize;
        let failed =
            Parts { key: &[], expires_at: NEVER, changed: 0, granted: 0, value: Ok(&[]), size: 0 };
        self.arena.get(start..).and_then(Parts::read).unwrap_or(failed)
    }

    pub(crate) fn item(&self, position: usize) -> ItemRef<'_> {
        let parts = self.parts(position);
        let value = match parts.value {
            Ok(bytes) => ValueRef::Inline(bytes),
            Err(number) => self.held(number).map_or(ValueRef::Inline(&[]), ValueRef::Held),
        };
        let Parts { key, expires_at, changed, granted, .. } = parts;
        ItemRef { key, record: RecordRef { value, expires_at, changed, granted } }
    }

    fn held(&self, number: u32) -> Option<&Value> {
        self.held.as_ref()?.values.get(number as usize)
    }

    pub(crate) fn items(&self) -> impl ExactSizeIterator<Item = ItemRef<'_>> + Clone {
        (0..self.len()).map(|position| self.item(position))
    }

    /// The values that take long to free; the rest goes with the slot.
    pub(crate) fn into_held(self) -> impl Iterator<Item = Value> {
        self.held.into_iter().flat_map(|held| held.values)
    }

    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.find_by(hash, |parts, _| parts.key == key)
    }

    /// The position of the item with this hash for which `is_meant` holds.
    fn find_by(&self, hash: u64, is_meant: impl Fn(&Parts<'_>, usize) -> bool) -> Option<usize> {
        if let Some(table) = &self.table {
            let found = table.find(hash, |&at| is_meant(&self.parts(at as usize), at as usize));
            return found.map(|&at| at as usize);
        }
        find_tag(&self.tags, tag_of(hash), |at| is_meant(&self.parts(at), at))
    }

    /// The position of a key with this hash and this deadline.
    pub(crate) fn find_deadline(
        &self,
        hash_key: [u64; 2],
        hash: u64,
        expires_at: u64,
    ) -> Option<usize> {
        self.find_by(hash, |parts, _| {
            parts.expires_at == expires_at && hash_of(hash_key, parts.key) == hash
        })
    }

    /// Whether another key has the hash and the deadline of the item at `position`.
    pub(crate) fn has_deadline_twin(&self, hash_key: [u64; 2], position: usize) -> bool {
        let own = self.parts(position);
        let hash = hash_of(hash_key, own.key);
        let twin = self.find_by(hash, |other, at| {
            at != position
                && other.expires_at == own.expires_at
                && hash_of(hash_key, other.key) == hash
        });
        twin.is_some()
    }

    /// Appends an item whose key is not there.
    pub(crate) fn push(&mut self, hash_key: [u64; 2], key: &[u8], record: Record) {
        let position = self.len();
        let start = self.append(key, record);
        if self.starts.len() == self.starts.capacity() {
            let room = allocation_size(4 * (position + position / 16 + 1)) / 4;
            self.starts.reserve_exact(room - position);
        }
        self.starts.push(start);
        self.note_position(hash_key, hash_of(hash_key, key), position);
    }

    /// Takes an item out; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, hash_key: [u64; 2], position: usize) -> Item {
        let last = self.len() - 1;
        if self.table.is_some() {
            self.forget_position(hash_of(hash_key, self.parts(position).key), position);
            if position != last {
                self.move_position(hash_of(hash_key, self.parts(last).key), last, position);
            }
        } else {
            self.tags.swap_remove(position);
        }
        let key = self.parts(position).key.into();
        let record = self.take(position);
        self.starts.swap_remove(position);
        if self.table.is_some() && self.len() <= TAGGED_MAX / 2 {
            self.rehash(hash_key);
        }
        self.close_up();
        Item { key, record }
    }

    /// The exact inverse of [`Self::swap_remove`].
    pub(crate) fn swap_insert(&mut self, hash_key: [u64; 2], position: usize, item: Item) {
        let last = self.len();
        let hash = hash_of(hash_key, &item.key);
        self.push(hash_key, &item.key, item.record);
        if position == last {
            return;
        }
        if self.table.is_some() {
            self.forget_position(hash, last);
            self.move_position(hash_of(hash_key, self.parts(position).key), position, last);
            self.note_position(hash_key, hash, position);
        } else {
            self.tags.swap(position, last);
        }
        self.starts.swap(position, last);
    }

    /// Gives an item other contents; answers those that it had.
    pub(crate) fn replace(&mut self, position: usize, record: Record) -> Record {
        let old = self.take(position);
        let start = self.starts[position] as usize;
        let key: Box<[u8]> = self.parts(position).key.into();
        self.put_back(position, start, &key, record);
        old
    }

    /// The same for all but the value.
    pub(crate) fn set_facts(&mut self, position: usize, facts: (u64, u64, u64)) {
        let (expires_at, changed, granted) = facts;
        let mut out = Vec::new();
        let parts = self.parts(position);
        let (start, size) = (self.starts[position] as usize, parts.size);
        Parts { expires_at, changed, granted, ..parts }.write(&mut out);
        self.dead += size;
        self.settle(position, start, size, &out);
    }

    /// Makes a string `length` bytes long, zeroes at the end, and puts `bytes` into it from `offset` on. Other facts stay.
    pub(crate) fn edit_string(
        &mut self,
        position: usize,
        length: usize,
        offset: usize,
        bytes: &[u8],
    ) {
        let Parts { expires_at, changed, granted, value, .. } = self.parts(position);
        let mut string = match value.map(<[u8]>::to_vec) {
            Ok(string) => string,
            Err(number) => {
                let held = self.held.as_mut().and_then(|it| it.values.get_mut(number as usize));
                let Some(string) = held.map(Value::growing) else { return };
                string.resize(length, 0);
                string[offset..offset + bytes.len()].copy_from_slice(bytes);
                return;
            }
        };
        string.resize(length, 0);
        string[offset..offset + bytes.len()].copy_from_slice(bytes);
        let value = if length > INLINE_BYTES_MAX {
            Value::Growing(Box::new(string))
        } else {
            Value::string(&string)
        };
        self.replace(position, Record { value, expires_at, changed, granted });
    }

    /// Gives every key a new hash, and the slot the way to find them that fits their number.
    pub(crate) fn rehash(&mut self, hash_key: [u64; 2]) {
        self.tags = Vec::new();
        self.table = (self.len() > TAGGED_MAX).then(Box::default);
        for position in 0..self.len() {
            let hash = hash_of(hash_key, self.parts(position).key);
            self.note_position(hash_key, hash, position);
        }
    }

    // ---- the arena -----------------------------------------------------------------------------------------

    /// Takes an item's contents; its bytes are dead from now on, and still there.
    fn take(&mut self, position: usize) -> Record {
        let parts = self.parts(position);
        let Parts { expires_at, changed, granted, size, .. } = parts;
        let value = match parts.value {
            Ok(bytes) => Value::string(bytes),
            Err(number) => self.held.as_mut().map(|held| held.take(number)).unwrap_or_default(),
        };
        self.dead += size;
        Record { value, expires_at, changed, granted }
    }

    fn encode(&mut self, key: &[u8], record: Record) -> Vec<u8> {
        let Record { value, expires_at, changed, granted } = record;
        let mut out = Vec::with_capacity(key.len() + 64);
        let write = |value: Result<&[u8], u32>, out: &mut Vec<u8>| {
            Parts { key, expires_at, changed, granted, value, size: 0 }.write(out);
        };
        match value.as_string() {
            Some(bytes) if bytes.len() <= INLINE_BYTES_MAX => write(Ok(bytes), &mut out),
            _ => {
                let number = self.held.get_or_insert_default().put(value);
                write(Err(number), &mut out);
            }
        }
        out
    }

    fn append(&mut self, key: &[u8], record: Record) -> u32 {
        let bytes = self.encode(key, record);
        self.append_bytes(&bytes)
    }

    fn append_bytes(&mut self, bytes: &[u8]) -> u32 {
        let needed = self.arena.len() + bytes.len();
        if needed > self.arena.capacity() {
            let room = allocation_size(needed + needed / 16);
            self.arena.reserve_exact(room - self.arena.len());
        }
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        u32::try_from(start).expect(
            "an arena holds keys and short strings: memory ends long before 4 GiB of one slot",
        )
    }

    fn put_back(&mut self, position: usize, start: usize, key: &[u8], record: Record) {
        let size = self.parts(position).size;
        let bytes = self.encode(key, record);
        self.settle(position, start, size, &bytes);
    }

    /// Puts an item's new bytes where the old ones were, which are dead, or behind all others.
    fn settle(&mut self, position: usize, start: usize, size: usize, bytes: &[u8]) {
        if bytes.len() == size {
            self.arena[start..start + size].copy_from_slice(bytes);
            self.dead -= size;
            return;
        }
        self.starts[position] = self.append_bytes(bytes);
        self.close_up();
    }

    /// Closes the gaps, if they are a quarter of the arena.
    fn close_up(&mut self) {
        if self.starts.is_empty() {
            (self.arena, self.starts, self.tags) = Default::default();
            (self.table, self.held, self.dead) = (None, None, 0);
            return;
        }
        if self.dead < DEAD_BYTES_MIN || self.dead * 4 < self.arena.len() {
            return;
        }
        let live = self.arena.len() - self.dead;
        let mut arena = Vec::with_capacity(allocation_size(live + live / 16));
        for position in 0..self.len() {
            let start = self.starts[position] as usize;
            let size = self.parts(position).size;
            self.starts[position] = arena.len() as u32;
            arena.extend_from_slice(&self.arena[start..start + size]);
        }
        (self.arena, self.dead) = (arena, 0);
    }

    // ---- the table -----------------------------------------------------------------------------------------

    /// The last item has no place in tags or table yet.
    fn note_position(&mut self, hash_key: [u64; 2], hash: u64, position: usize) {
        let Some(table) = &mut self.table else {
            if position < TAGGED_MAX {
                if self.tags.len() == self.tags.capacity() {
                    self.tags.reserve_exact(allocation_size(position + 1) - position);
                }
                self.tags.push(tag_of(hash));
            } else {
                self.rehash(hash_key);
            }
            return;
        };
        let position =
            u32::try_from(position).expect("memory ends long before 2^32 keys of one slot");
        let (arena, starts) = (&self.arena, &self.starts);
        table.insert_unique(hash, position, |&at| {
            let parts = arena.get(starts[at as usize] as usize..).and_then(Parts::read);
            parts.map_or(0, |parts| hash_of(hash_key, parts.key))
        });
    }

    fn forget_position(&mut self, hash: u64, position: usize) {
        if let Some(table) = &mut self.table {
            let found = table.find_entry(hash, |&at| at as usize == position);
            found.expect("every item has its position in the table").remove();
        }
    }

    fn move_position(&mut self, hash: u64, from: usize, to: usize) {
        if let Some(table) = &mut self.table {
            let found = table.find_mut(hash, |&at| at as usize == from);
            *found.expect("every item has its position in the table") = to as u32;
        }
    }

    /// Of tests: a bit of an item's bytes, or of its held value, changes by itself.
    #[cfg(test)]
    pub(crate) fn damage(&mut self, position: usize, byte: usize, bit: u8) {
        let (start, size) = (self.starts[position] as usize, self.parts(position).size);
        self.arena[start + byte % size] ^= 1 << (bit % 8);
    }

    /// Of tests: what is held of an item, to be damaged.
    #[cfg(test)]
    pub(crate) fn held_mut(&mut self, position: usize) -> Option<&mut Value> {
        let number = self.parts(position).value.err()?;
        self.held.as_mut()?.values.get_mut(number as usize)
    }
}

/// The byte of a hash that tags have: not one that the slot's number depends on, nor one that a table looks at first.
const fn tag_of(hash: u64) -> u8 {
    (hash >> 24) as u8
}

/// The first of the bytes that is `tag` and means what is looked for.
fn find_tag(tags: &[u8], tag: u8, is_meant: impl Fn(usize) -> bool) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let wanted = LOW * u64::from(tag);
    let (eights, rest) = tags.as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        // A byte of zeroes is one that is equal; one behind it may be taken for another, and is looked at in vain.
        let difference = u64::from_le_bytes(*eight) ^ wanted;
        let mut equal = difference.wrapping_sub(LOW) & !difference & HIGH;
        while equal != 0 {
            let position = 8 * at + equal.trailing_zeros() as usize / 8;
            if is_meant(position) {
                return Some(position);
            }
            equal &= equal - 1;
        }
    }
    let from = tags.len() - rest.len();
    (from..tags.len()).find(|position| tags[*position] == tag && is_meant(*position))
}

/// What an allocator gives for so many bytes: four sizes for each doubling. Asking for it whole wastes nothing.
fn allocation_size(bytes: usize) -> usize {
    let bytes = bytes.max(64);
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::rng::Rng;

    const HASH_KEY: [u64; 2] = [3, 4];

    fn record(rng: &mut Rng, round: u64) -> Record {
        let length = [0, 3, 22, 23, 100, 256, 257, 4000][rng.below(8) as usize];
        let value = match rng.below(9) {
            0 => Value::List(crate::collections::List::default()),
            _ => Value::string(&vec![round as u8; length]),
        };
        let expires_at = if rng.below(2) == 0 { NEVER } else { round };
        let granted = if rng.below(2) == 0 { round } else { rng.next() };
        Record { value, expires_at, changed: round, granted }
    }

    /// Key, tag, bytes and facts.
    type Words = (Vec<u8>, u8, Vec<u8>, [u64; 3]);

    fn words(item: &ItemRef<'_>) -> Words {
        let ItemRef { key, record } = *item;
        let facts = [record.expires_at, record.changed, record.granted];
        (key.to_vec(), record.value.tag(), record.value.flat().to_vec(), facts)
    }

    /// Every change leaves what it leaves in a vector; every removal is undone exactly; the arena wastes little.
    #[test]
    fn changes_are_those_of_a_vector() {
        let (mut slot, mut rng) = (Slot::default(), Rng::seeded(7));
        let mut forms = [0, 0];
        let mut model: Vec<Words> = Vec::new();
        for round in 0..6000_u64 {
            let position = rng.below(model.len() as u64 + 1) as usize;
            match rng.below(8) {
                0..2 if position < model.len() => {
                    let before: Vec<_> = slot.items().map(|item| words(&item)).collect();
                    let taken = slot.swap_remove(HASH_KEY, position);
                    assert_eq!(slot.find(hash_of(HASH_KEY, &taken.key), &taken.key), None);
                    slot.swap_insert(HASH_KEY, position, taken);
                    assert!(slot.items().map(|item| words(&item)).eq(before));
                    slot.swap_remove(HASH_KEY, position);
                    model.swap_remove(position);
                }
                2 if position < model.len() => {
                    let old = slot.replace(position, record(&mut rng, round));
                    let (_, tag, bytes, _) = &model[position];
                    assert_eq!(
                        (old.value.tag(), ValueRef::Held(&old.value).flat()),
                        (*tag, &**bytes)
                    );
                    model[position] = words(&slot.item(position));
                }
                3 if position < model.len() => {
                    slot.set_facts(position, (round, round + 1, rng.below(3)));
                    let expected = &mut model[position];
                    expected.3 = [round, round + 1, slot.item(position).record.granted];
                }
                4 if position < model.len() && model[position].1 == 1 => {
                    let string = &mut model[position].2;
                    let length = string.len() + rng.below(40) as usize;
                    let offset = rng.below(length as u64 + 1) as usize;
                    let bytes = vec![1; (length - offset).min(5)];
                    slot.edit_string(position, length, offset, &bytes);
                    string.resize(length, 0);
                    string[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                _ => {
                    slot.push(HASH_KEY, &round.to_le_bytes(), record(&mut rng, round));
                    model.push(words(&slot.item(model.len())));
                }
            }
            forms[usize::from(slot.table.is_some())] += 1;
            if round % 64 == 0 {
                assert!(slot.items().map(|item| words(&item)).eq(model.iter().cloned()));
                for (position, (key, ..)) in model.iter().enumerate() {
                    assert_eq!(slot.find(hash_of(HASH_KEY, key), key), Some(position));
                }
                let used: usize = (0..slot.len()).map(|at| slot.parts(at).size).sum();
                assert_eq!(used + slot.dead, slot.arena.len());
                assert!(slot.dead <= DEAD_BYTES_MIN.max(slot.arena.len() / 4));
            }
            if round % 1500 == 1499 {
                while slot.len() > 40 {
                    slot.swap_remove(HASH_KEY, 3);
                    model.swap_remove(3);
                }
            }
        }
        assert!(forms.iter().all(|rounds| *rounds > 500), "with and without a table: {forms:?}");
    }

    /// Two keys of one slot with equal hash and deadline are told apart from others.
    #[test]
    fn deadlines_are_found() {
        let mut slot = Slot::default();
        for (key, expires_at) in [(b"a", 50), (b"b", 60), (b"c", 50), (b"d", NEVER)] {
            let value = Value::string(b"x");
            slot.push(HASH_KEY, key, Record { value, expires_at, changed: 1, granted: 1 });
        }
        let hash = hash_of(HASH_KEY, b"c");
        assert_eq!(slot.find_deadline(HASH_KEY, hash, 50), Some(2));
        assert_eq!(slot.find_deadline(HASH_KEY, hash, 60), None);
        assert!((0..4).all(|position| !slot.has_deadline_twin(HASH_KEY, position)));
        slot.rehash([9, 9]);
        assert_eq!(slot.find(hash_of([9, 9], b"b"), b"b"), Some(1));
    }

    /// A bit that flips in an item's bytes makes no reader leave the arena.
    #[test]
    fn failed_memory_is_read_without_a_panic() {
        let mut slot = Slot::default();
        let value = Value::string(&[7; 40]);
        slot.push(HASH_KEY, b"key", Record { value, expires_at: 5, changed: 300, granted: 2 });
        let size = slot.arena.len();
        for byte in 0..size {
            for bit in 0..8 {
                let before = words(&slot.item(0));
                slot.arena[byte] ^= 1 << bit;
                assert_ne!(words(&slot.item(0)), before, "{byte} {bit}");
                slot.arena[byte] ^= 1 << bit;
            }
        }
    }
}
