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
