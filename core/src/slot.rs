//! One of a database's 16,384 tables: its keys in insertion order, with removal by swapping with the last.
//! The order is part of the state; the hash table beside it only finds positions.

use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::record::Item;

/// A table of keys.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    items: Vec<Item>,
    positions: HashTable<u32>,
    /// Revision of the last deletion: a watched missing key holds only if there was none since.
    pub(crate) deleted_at: u64,
    /// Sum of the digest terms of this slot.
    pub(crate) digest: u128,
}

impl Slot {
    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(crate) fn into_items(self) -> impl Iterator<Item = Item> {
        self.items.into_iter()
    }

    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.positions.find(hash, |&at| *self.items[at as usize].key == *key).map(|&at| at as usize)
    }

    /// The position of a key with this hash and this deadline.
    pub(crate) fn find_deadline(&self, hash: u64, expires_at: u64) -> Option<usize> {
        self.positions
            .find(hash, |&at| {
                let item = &self.items[at as usize];
                item.hash == hash && item.record.expires_at == expires_at
            })
            .map(|&at| at as usize)
    }

    pub(crate) fn item_mut(&mut self, position: usize) -> &mut Item {
        &mut self.items[position]
    }

    /// Appends an item whose key is not there.
    pub(crate) fn push(&mut self, item: Item) {
        let items = &self.items;
        let position =
            u32::try_from(items.len()).expect("memory ends long before 2^32 keys of one slot");
        self.positions.insert_unique(item.hash, position, |&at| items[at as usize].hash);
        self.items.push(item);
    }

    /// Takes an item out; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, position: usize) -> Item {
        let hash = self.items[position].hash;
        self.forget_position(hash, position);
        let last = self.items.len() - 1;
        if position != last {
            let moved = self.items[last].hash;
            self.move_position(moved, last, position);
        }
        self.items.swap_remove(position)
    }

    /// The exact inverse of [`Self::swap_remove`].
    pub(crate) fn swap_insert(&mut self, position: usize, item: Item) {
        self.push(item);
        let last = self.items.len() - 1;
        if position == last {
            return;
        }
        let (one, other) = (self.items[position].hash, self.items[last].hash);
        self.forget_position(other, last);
        self.move_position(one, position, last);
        let items = &self.items;
        self.positions.insert_unique(other, position as u32, |&at| items[at as usize].hash);
        self.items.swap(position, last);
    }

    /// Whether another key has the hash and the deadline of the item at `position`.
    pub(crate) fn has_deadline_twin(&self, position: usize) -> bool {
        let item = &self.items[position];
        let twin = self.positions.find(item.hash, |&at| {
            let other = &self.items[at as usize];
            at as usize != position
                && other.hash == item.hash
                && other.record.expires_at == item.record.expires_at
        });
        twin.is_some()
    }

    /// Gives every key a new hash.
    pub(crate) fn rehash(&mut self, hash_of: impl Fn(&[u8]) -> u64) {
        self.positions.clear();
        for item in &mut self.items {
            item.hash = hash_of(&item.key);
        }
        let items = &self.items;
        for (position, item) in items.iter().enumerate() {
            self.positions.insert_unique(item.hash, position as u32, |&at| items[at as usize].hash);
        }
    }

    fn forget_position(&mut self, hash: u64, position: usize) {
        let found = self.positions.find_entry(hash, |&at| at as usize == position);
        found.expect("every item has its position in the table").remove();
    }

    fn move_position(&mut self, hash: u64, from: usize, to: usize) {
        let found = self.positions.find_mut(hash, |&at| at as usize == from);
        *found.expect("every item has its position in the table") = to as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{NEVER, Record, Value};
    use crate::rng::Rng;

    /// Few hashes, so that most keys collide.
    fn item(key: u64, expires_at: u64) -> Item {
        let record = Record { value: Value::string(b"x"), expires_at, changed: 0, granted: 0 };
        Item { hash: key % 3, key: key.to_le_bytes().into(), record }
    }

    fn keys(slot: &Slot) -> Vec<Vec<u8>> {
        slot.items().iter().map(|item| item.key.to_vec()).collect()
    }

    #[test]
    fn every_key_is_found_and_every_removal_is_undone() {
        let (mut slot, mut rng) = (Slot::default(), Rng::seeded(7));
        for number in 0..2000 {
            if slot.items().len() < 40 || rng.below(2) == 0 {
                slot.push(item(number, NEVER));
                continue;
            }
            let before = keys(&slot);
            let position = rng.below(before.len() as u64) as usize;
            let taken = slot.swap_remove(position);
            let after = keys(&slot);
            assert_eq!(slot.find(taken.hash, &taken.key), None);
            slot.swap_insert(position, taken);
            assert_eq!(keys(&slot), before, "the order is back");
            slot.swap_remove(position);
            assert_eq!(keys(&slot), after);
            for (position, item) in slot.items().iter().enumerate() {
                assert_eq!(slot.find(item.hash, &item.key), Some(position));
            }
        }
    }

    #[test]
    fn equal_hashes_with_equal_deadlines_are_twins() {
        let mut slot = Slot::default();
        slot.push(item(1, 50));
        slot.push(item(4, 60));
        assert!(!slot.has_deadline_twin(0), "the hashes are equal, the deadlines are not");
        slot.push(item(7, 50));
        assert!(
            slot.has_deadline_twin(0) && slot.has_deadline_twin(2) && !slot.has_deadline_twin(1)
        );
        assert!(slot.find_deadline(1, 50).is_some_and(|at| at != 1));
        slot.swap_remove(0);
        assert_eq!(slot.find_deadline(1, 50), Some(0));
        assert_eq!(slot.find_deadline(2, 50), None);
    }
}
