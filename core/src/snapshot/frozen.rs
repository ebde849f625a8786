//! What a snapshot under way still has to write of a database as it was when the snapshot began: copy on write, key by key.
//!
//! Everything in front of `next` is written; behind it, a key that is about to change, or to move (as the last of a slot does when another
//! is removed), is kept here first. So the state moves on at once, and no more is copied than changes before it is written.

use alloc::collections::BTreeMap;
use core::ops::Range;

use crate::collections::Grave;
use crate::mark::{self, Mark};
use crate::record::Item;
use crate::slot::Slot;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// Number that the database had: SWAPDB may give it another.
    pub(crate) number: usize,
    /// The first slot, and item of it, that is not written yet.
    next: (usize, usize),
    slots: BTreeMap<usize, FrozenSlot>,
}

/// A slot that has changed since.
#[derive(Debug)]
struct FrozenSlot {
    count: usize,
    deleted_at: u64,
    /// By position. What is not here has not changed.
    items: BTreeMap<usize, Item>,
}

impl FrozenSlot {
    fn bury(self, grave: &mut Grave) {
        self.items.into_values().for_each(|item| item.record.value.bury(grave));
    }
}

impl Frozen {
    pub(crate) const fn new(number: usize) -> Self {
        Self { number, next: (0, 0), slots: BTreeMap::new() }
    }

    /// The slot is about to change, and so is the item at `position` if there is one.
    pub(crate) fn keep(&mut self, number: usize, slot: &Slot, position: Option<usize>) {
        if number < self.next.0 {
            return;
        }
        let kept = self.slots.entry(number).or_insert_with(|| FrozenSlot {
            count: slot.len(),
            deleted_at: slot.deleted_at,
            items: BTreeMap::new(),
        });
        let Some(position) = position.filter(|at| *at < kept.count) else { return };
        if (number, position) >= self.next
            && !kept.items.contains_key(&position)
            && position < slot.len()
        {
            mark::reached(Mark::SnapshotKeptKey);
            kept.items.insert(position, slot.item(position).to_item());
        }
    }

    /// Everything in front of this item of this slot is written. Answers the slots that are written now and were not before.
    pub(crate) fn passed(&mut self, slot: usize, item: usize, grave: &mut Grave) -> Range<usize> {
        let written = self.next.0..slot;
        self.next = (slot, item);
        while let Some(kept) = self.slots.first_entry().filter(|kept| *kept.key() < slot) {
            kept.remove().bury(grave);
        }
        if let Some(kept) = self.slots.get_mut(&slot) {
            while let Some(kept) = kept.items.first_entry().filter(|kept| *kept.key() < item) {
                kept.remove().record.value.bury(grave);
            }
        }
        written
    }

    /// Nothing of it is needed any more.
    pub(crate) fn bury(self, grave: &mut Grave) {
        self.slots.into_values().for_each(|kept| kept.bury(grave));
    }

    /// Count of items and last deletion, if the slot has changed.
    pub(crate) fn slot(&self, number: usize) -> Option<(usize, u64)> {
        self.slots.get(&number).map(|kept| (kept.count, kept.deleted_at))
    }

    /// An item, if it has changed.
    pub(crate) fn item(&self, slot: usize, position: usize) -> Option<&Item> {
        self.slots.get(&slot)?.items.get(&position)
    }
}
