//! The databases: 16 of 16,384 slots each. Every change goes through here, keeps digest, deadlines, counts and memory
//! estimate in step, and leaves its exact inverse in the undo list. Knows nothing of commands.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use crate::access::DATABASES;
use crate::canary::{Canary, is_planted};
use crate::digest::{changes_form, chunk_terms, deletion_term, facts_term};
use crate::expiry::{Deadline, Deadlines};
use crate::hash::{SLOTS, hash_of, slot_of};
use crate::mark::{self, Mark};
use crate::pubsub::{self, PubSub};
use crate::record::{Item, NEVER, Record, Value};
use crate::slot::Slot;
use crate::snapshot::Frozen;

/// Key of the script cache: lower-case hex SHA-1.
pub(crate) type ScriptSha = [u8; 40];

/// One database.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// All slots, or none while the database was never written to.
    slots: Vec<Slot>,
    /// Fenwick tree over the slots' key counts, for uniform random keys.
    counts: Vec<u32>,
    keys: usize,
    used_bytes: u64,
    pub(crate) deadlines: Deadlines,
    digest: u128,
    /// Revision at which the whole database was swapped last.
    pub(crate) swapped_at: u64,
    /// Revision at which it was flushed last: all its slots saw a deletion then.
    pub(crate) flushed_at: u64,
    /// What a snapshot under way needs of it as it was; none once that is written.
    pub(crate) frozen: Option<Box<Frozen>>,
}

/// All databases, and what goes with them.
#[derive(Debug)]
pub(crate) struct Keyspace {
    pub(crate) databases: Vec<Database>,
    pub(crate) hash_key: [u64; 2],
    pub(crate) revision: u64,
    /// Whether the command being applied has raised the revision.
    touched: bool,
    scripts: BTreeMap<ScriptSha, Arc<[u8]>>,
    /// Bytes of all cached scripts.
    scripts_bytes: usize,
    pub(crate) pubsub: PubSub,
    undo: Vec<Undo>,
    /// Databases that were flushed before a snapshot under way had written them.
    flushed: Vec<Database>,
    /// Whether a snapshot is under way.
    is_frozen: bool,
    scratch: Vec<u8>,
    /// Set by a read that met a key due by the clock and not yet by the log.
    pub(crate) overdue: Cell<u64>,
}

/// Room for this many inverses is kept from command to command.
const UNDO_KEPT_COUNT: usize = 1024;

/// Where an item is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) db: usize,
    pub(crate) slot: u16,
    pub(crate) position: usize,
}

/// Inverses, applied in reverse order.
#[derive(Debug)]
enum Undo {
    Revision(u64),
    Pushed {
        db: usize,
        slot: u16,
    },
    Replaced {
        place: Place,
        old: Record,
    },
    /// The key's deadline and last change were these.
    Retimed {
        place: Place,
        expires_at: u64,
        changed: u64,
    },
    Removed {
        place: Place,
        old: Item,
        deleted_at: u64,
    },
    /// The string was `length` bytes long and held `bytes` from `offset` on.
    Overwritten {
        place: Place,
        facts: (u64, u64),
        length: usize,
        offset: usize,
        bytes: Box<[u8]>,
    },
    Flushed {
        db: usize,
        old: Box<Database>,
    },
    Swapped {
        one: usize,
        other: usize,
        swapped_at: (u64, u64),
    },
    ScriptAdded(ScriptSha),
    ScriptsFlushed(BTreeMap<ScriptSha, Arc<[u8]>>),
    PubSub(pubsub::Change),
}

impl Database {
    fn make_slots(&mut self) {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Slot::default);
            self.counts = vec![0; SLOTS + 1];
        }
    }

    pub(crate) fn slot(&self, slot: usize) -> Option<&Slot> {
        self.slots.get(slot)
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) const fn key_count(&self) -> usize {
        self.keys
    }

    pub(crate) const fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(crate) const fn digest(&self) -> u128 {
        self.digest
    }

    /// Revision of the last deletion that a missing key of this slot may have been part of.
    pub(crate) fn deleted_at(&self, slot: u16) -> u64 {
        self.slot(usize::from(slot)).map_or(0, |slot| slot.deleted_at).max(self.flushed_at)
    }

    fn count(&mut self, slot: u16, more: bool) {
        self.keys = if more { self.keys + 1 } else { self.keys - 1 };
        let mut at = usize::from(slot) + 1;
        while let Some(count) = self.counts.get_mut(at) {
            *count = if more { *count + 1 } else { *count - 1 };
            at += at & at.wrapping_neg();
        }
    }

    /// The `rank`-th item, slot by slot.
    pub(crate) fn nth(&self, rank: usize) -> Option<&Item> {
        let (mut at, mut left, mut step) = (0, u32::try_from(rank).ok()?, SLOTS);
        while step > 0 {
            if let Some(count) = self.counts.get(at + step).filter(|count| **count <= left) {
                left -= count;
                at += step;
            }
            step /= 2;
        }
        self.slot(at)?.items().get(left as usize)
    }

    /// A slot is about to change, and so is the item at `position` if there is one: a snapshot under way may need them.
    fn freeze(&mut self, slot: u16, position: Option<usize>) {
        let number = usize::from(slot);
        if let (Some(frozen), Some(slot)) = (&mut self.frozen, self.slots.get(number)) {
            frozen.keep(number, slot, position);
        }
    }

    /// A snapshot under way has come to this item of the database that had this number. Answers the slots that it has written since.
    fn passed(&mut self, number: usize, slot: usize, item: usize) -> Range<usize> {
        match &mut self.frozen {
            Some(frozen) if frozen.number < number => self.frozen = None,
            Some(frozen) if frozen.number == number => return frozen.passed(slot, item),
            _ => {}
        }
        0..0
    }

    fn set_deleted_at(&mut self, slot: u16, revision: u64) -> u64 {
        self.freeze(slot, None);
        let Some(facts) = self.slots.get_mut(usize::from(slot)) else { return 0 };
        let old = core::mem::replace(&mut facts.deleted_at, revision);
        self.add_terms(slot, deletion_term(slot, revision).wrapping_sub(deletion_term(slot, old)));
        old
    }

    fn add_terms(&mut self, slot: u16, terms: u128) {
        let slot = &mut self.slots[usize::from(slot)];
        slot.digest = slot.digest.wrapping_add(terms);
        self.digest = self.digest.wrapping_add(terms);
    }
}

impl Keyspace {
    pub(crate) fn new() -> Self {
        let mut databases = Vec::new();
        databases.resize_with(DATABASES, Database::default);
        Self {
            databases,
            hash_key: [0, 0],
            revision: 0,
            touched: false,
            scripts: BTreeMap::new(),
            scripts_bytes: 0,
            pubsub: PubSub::default(),
            undo: Vec::new(),
            flushed: Vec::new(),
            is_frozen: false,
            scratch: Vec::new(),
            overdue: Cell::new(0),
        }
    }

    pub(crate) fn db(&self, db: usize) -> &Database {
        &self.databases[db]
    }

    /// Where a key is, whether it is live or past its deadline.
    pub(crate) fn find(&self, db: usize, key: &[u8]) -> Option<Place> {
        self.find_hashed(db, slot_of(key), hash_of(self.hash_key, key), key)
    }

    fn find_hashed(&self, db: usize, slot: u16, hash: u64, key: &[u8]) -> Option<Place> {
        let position = self.databases[db].slot(usize::from(slot))?.find(hash, key)?;
        Some(Place { db, slot, position })
    }

    pub(crate) fn item(&self, place: Place) -> &Item {
        &self.databases[place.db].slots[usize::from(place.slot)].items()[place.position]
    }

    /// The item of a key that is live at `now`.
    pub(crate) fn live(&self, db: usize, key: &[u8], now: u64) -> Option<(Place, &Item)> {
        let place = self.find(db, key)?;
        let item = self.item(place);
        (item.record.expires_at > now).then_some((place, item))
    }

    // ---- the frame around each command -----------------------------------------------------------------

    /// A command has ended: its changes stand, and what they replaced is freed.
    pub(crate) fn commit(&mut self) {
        if self.is_frozen && !is_planted(Canary::SnapshotLosesFlushed) {
            let flushed = self.undo.drain(..).filter_map(|undo| match undo {
                Undo::Flushed { old, .. } if old.frozen.is_some() => Some(*old),
                _ => None,
            });
            let before = self.flushed.len();
            self.flushed.extend(flushed);
            if self.flushed.len() > before {
                mark::reached(Mark::SnapshotKeptDatabase);
            }
        }
        self.undo.clear();
        self.undo.shrink_to(UNDO_KEPT_COUNT);
        self.touched = false;
    }

    /// A point to roll back to.
    pub(crate) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// The revision of the command being applied: raised by its first change.
    pub(crate) fn touch(&mut self) -> u64 {
        if !self.touched {
            self.touched = true;
            self.undo.push(Undo::Revision(self.revision));
            self.revision += 1;
        }
        self.revision
    }

    /// Undoes everything since `mark`, exactly.
    pub(crate) fn roll_back(&mut self, mark: usize) {
        while self.undo.len() > mark {
            let Some(undo) = self.undo.pop() else { return };
            self.undo_one(undo);
        }
    }

    fn undo_one(&mut self, undo: Undo) {
        match undo {
            Undo::Revision(revision) => {
                self.revision = revision;
                self.touched = false;
            }
            Undo::Pushed { db, slot } => {
                let position = self.databases[db].slots[usize::from(slot)].items().len() - 1;
                self.take_out(Place { db, slot, position });
            }
            Undo::Replaced { place, old } => {
                self.leave(place, 0, usize::MAX);
                self.item_mut(place).record = old;
                self.join(place, 0, usize::MAX);
            }
            Undo::Retimed { place, expires_at, changed } => {
                self.retime(place, expires_at, changed);
            }
            Undo::Removed { place, old, deleted_at } => {
                let database = &mut self.databases[place.db];
                database.set_deleted_at(place.slot, deleted_at);
                database.freeze(place.slot, Some(place.position));
                database.slots[usize::from(place.slot)].swap_insert(place.position, old);
                database.count(place.slot, true);
                self.join(place, 0, usize::MAX);
            }
            Undo::Overwritten { place, facts, length, offset, bytes } => {
                self.leave(place, 0, usize::MAX);
                let record = &mut self.item_mut(place).record;
                (record.changed, record.granted) = facts;
                let value = record.value.growing();
                value.truncate(length);
                value[offset..offset + bytes.len()].copy_from_slice(&bytes);
                self.join(place, 0, usize::MAX);
            }
            Undo::Flushed { db, old } => self.databases[db] = *old,
            Undo::Swapped { one, other, swapped_at } => {
                self.databases.swap(one, other);
                (self.databases[one].swapped_at, self.databases[other].swapped_at) = swapped_at;
            }
            Undo::ScriptAdded(sha) => {
                let body =
                    self.scripts.remove(&sha).expect("it was added by the command that is undone");
                self.scripts_bytes -= body.len();
            }
            Undo::ScriptsFlushed(scripts) => {
                self.scripts_bytes = scripts.values().map(|body| body.len()).sum();
                self.scripts = scripts;
            }
            Undo::PubSub(change) => self.pubsub.undo(change),
        }
    }

    // ---- bookkeeping -------------------------------------------------------------------------------------

    /// For tests of what finds a change that went past everything here.
    #[cfg(test)]
    pub(crate) fn item_to_damage(&mut self, place: Place) -> &mut Item {
        self.item_mut(place)
    }

    fn item_mut(&mut self, place: Place) -> &mut Item {
        self.databases[place.db].slots[usize::from(place.slot)].item_mut(place.position)
    }

    /// Takes an item's share out of digest, deadlines and memory, before it changes in the bytes `from..to`.
    fn leave(&mut self, place: Place, from: usize, to: usize) {
        let database = &mut self.databases[place.db];
        database.freeze(place.slot, Some(place.position));
        let slot = &database.slots[usize::from(place.slot)];
        let item = &slot.items()[place.position];
        let value = item.record.value.bytes();
        let term = facts_term(&mut self.scratch, item)
            .wrapping_add(chunk_terms(&item.key, value, from, to));
        database.used_bytes -= item.used_bytes();
        if item.record.expires_at != NEVER {
            let twin = slot.has_deadline_twin(place.position);
            let deadline =
                Deadline { at: item.record.expires_at, slot: place.slot, hash: item.hash };
            database.deadlines.remove(deadline, twin);
        }
        database.add_terms(place.slot, term.wrapping_neg());
    }

    /// Puts its share back in, after the change.
    fn join(&mut self, place: Place, from: usize, to: usize) {
        let database = &mut self.databases[place.db];
        let item = &database.slots[usize::from(place.slot)].items()[place.position];
        let value = item.record.value.bytes();
        let term = facts_term(&mut self.scratch, item)
            .wrapping_add(chunk_terms(&item.key, value, from, to));
        database.used_bytes += item.used_bytes();
        let at = item.record.expires_at;
        database.deadlines.add(Deadline { at, slot: place.slot, hash: item.hash });
        database.add_terms(place.slot, term);
    }

    fn take_out(&mut self, place: Place) -> Item {
        self.leave(place, 0, usize::MAX);
        let database = &mut self.databases[place.db];
        database.count(place.slot, false);
        let last = database.slots[usize::from(place.slot)].items().len() - 1;
        database.freeze(place.slot, Some(last)); // it moves to where the other was
        database.slots[usize::from(place.slot)].swap_remove(place.position)
    }

    // ---- changes -------------------------------------------------------------------------------------------

    /// Sets a key's record, whether it exists or not.
    pub(crate) fn set(&mut self, db: usize, key: &[u8], value: Value, expires_at: u64) {
        let revision = self.touch();
        let record = Record { value, expires_at, changed: revision, granted: revision };
        let (slot, hash) = (slot_of(key), hash_of(self.hash_key, key));
        if let Some(place) = self.find_hashed(db, slot, hash, key) {
            self.leave(place, 0, usize::MAX);
            let old = core::mem::replace(&mut self.item_mut(place).record, record);
            self.join(place, 0, usize::MAX);
            self.undo.push(Undo::Replaced { place, old });
        } else {
            self.insert(db, slot, Item { hash, key: key.into(), record });
            self.undo.push(Undo::Pushed { db, slot });
        }
    }

    fn insert(&mut self, db: usize, slot: u16, item: Item) {
        let database = &mut self.databases[db];
        database.make_slots();
        database.freeze(slot, None);
        let table = &mut database.slots[usize::from(slot)];
        let position = table.items().len();
        table.push(item);
        database.count(slot, true);
        self.join(Place { db, slot, position }, 0, usize::MAX);
    }

    /// Deletes an item.
    pub(crate) fn remove(&mut self, place: Place) {
        let revision = self.touch();
        let old = self.take_out(place);
        let deleted_at = self.databases[place.db].set_deleted_at(place.slot, revision);
        self.undo.push(Undo::Removed { place, old, deleted_at });
    }

    /// Moves a deadline; `granted` stays.
    pub(crate) fn set_deadline(&mut self, place: Place, expires_at: u64) {
        let revision = self.touch();
        let record = &self.item(place).record;
        let undo = Undo::Retimed { place, expires_at: record.expires_at, changed: record.changed };
        self.retime(place, expires_at, revision);
        self.undo.push(undo);
    }

    /// Costs the same for every value: a long one's chunks are not part of it.
    fn retime(&mut self, place: Place, expires_at: u64, changed: u64) {
        self.leave(place, 0, 0);
        let record = &mut self.item_mut(place).record;
        (record.expires_at, record.changed) = (expires_at, changed);
        self.join(place, 0, 0);
    }

    /// Overwrites bytes of a string from `offset` on, zeroes in between; answers the new length.
    pub(crate) fn overwrite(&mut self, place: Place, offset: usize, bytes: &[u8]) -> usize {
        let revision = self.touch();
        let item = self.item(place);
        let (length, end) = (item.record.value.bytes().len(), offset + bytes.len());
        let new_length = length.max(end);
        let facts = (item.record.changed, item.record.granted);
        let kept = item.record.value.bytes().get(offset..end.min(length)).unwrap_or_default();
        let kept: Box<[u8]> = kept.into();
        let (from, to) = if changes_form(length, new_length) {
            (0, usize::MAX)
        } else if new_length == length {
            (offset, end)
        } else {
            (offset.min(length).saturating_sub(1), usize::MAX)
        };
        self.leave(place, from, to);
        let record = &mut self.item_mut(place).record;
        (record.changed, record.granted) = (revision, revision);
        let value = record.value.growing();
        value.resize(new_length, 0);
        value[offset..end].copy_from_slice(bytes);
        self.join(place, from, to);
        let offset = offset.min(length);
        self.undo.push(Undo::Overwritten { place, facts, length, offset, bytes: kept });
        new_length
    }

    pub(crate) fn flush(&mut self, db: usize) {
        if self.databases[db].keys == 0 {
            return;
        }
        let revision = self.touch();
        let swapped_at = self.databases[db].swapped_at;
        let empty = Database { flushed_at: revision, swapped_at, ..Database::default() };
        let old = core::mem::replace(&mut self.databases[db], empty);
        self.undo.push(Undo::Flushed { db, old: Box::new(old) });
    }

    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        let revision = self.touch();
        let swapped_at = (self.databases[one].swapped_at, self.databases[other].swapped_at);
        self.databases.swap(one, other);
        self.databases[one].swapped_at = revision;
        self.databases[other].swapped_at = revision;
        self.undo.push(Undo::Swapped { one, other, swapped_at });
    }

    pub(crate) fn add_script(&mut self, sha: ScriptSha, body: &[u8]) {
        if !self.scripts.contains_key(&sha) {
            self.scripts_bytes += body.len();
            self.scripts.insert(sha, body.into());
            self.undo.push(Undo::ScriptAdded(sha));
        }
    }

    /// The replicated script cache.
    pub(crate) const fn scripts(&self) -> &BTreeMap<ScriptSha, Arc<[u8]>> {
        &self.scripts
    }

    /// Bytes of all cached scripts.
    pub(crate) const fn scripts_bytes(&self) -> usize {
        self.scripts_bytes
    }

    pub(crate) fn flush_scripts(&mut self) {
        let scripts = core::mem::take(&mut self.scripts);
        self.scripts_bytes = 0;
        self.undo.push(Undo::ScriptsFlushed(scripts));
    }

    /// Keeps the inverse of a change of subscriptions, or of a message; whether there was one. The revision stays: no key is touched.
    pub(crate) fn keep_change(&mut self, change: Option<pubsub::Change>) -> bool {
        let is_one = change.is_some();
        self.undo.extend(change.map(Undo::PubSub));
        is_one
    }

    /// Deletes keys whose deadline has come, at most `max`; answers how many. Not undone. The keys were logically
    /// absent already, so the revision stays; the slot remembers the key's own last change as its deletion, which
    /// is what breaks a WATCH that found the key missing before it was made.
    pub(crate) fn expire_due(&mut self, now: u64, max: usize) -> usize {
        let mut expired = 0;
        for db in 0..DATABASES {
            while expired < max
                && let Some(due) = self.databases[db].deadlines.first().filter(|due| due.at <= now)
            {
                if due.at == now {
                    mark::reached(Mark::ExpiredAtDeadline);
                }
                let slot = &self.databases[db].slots[usize::from(due.slot)];
                let position = slot.find_deadline(due.hash, due.at);
                let position = position.expect("every deadline in the index has its key");
                let item = self.take_out(Place { db, slot: due.slot, position });
                let database = &mut self.databases[db];
                let deleted_at = database.slots[usize::from(due.slot)].deleted_at;
                database.set_deleted_at(due.slot, deleted_at.max(item.record.changed));
                expired += 1;
            }
        }
        expired
    }

    /// The bootstrap entry draws the hash key; keys that are there already move to it.
    pub(crate) fn set_hash_key(&mut self, hash_key: [u64; 2]) {
        self.hash_key = hash_key;
        for database in &mut self.databases {
            database.deadlines = Deadlines::default();
            for (number, slot) in database.slots.iter_mut().enumerate() {
                slot.rehash(|key| hash_of(hash_key, key));
                for item in slot.items() {
                    let (at, hash) = (item.record.expires_at, item.hash);
                    database.deadlines.add(Deadline { at, slot: number as u16, hash });
                }
            }
        }
    }

    // ---- snapshots -----------------------------------------------------------------------------------------

    /// From now on what changes is kept as it was, for a snapshot under way.
    pub(crate) fn freeze(&mut self) {
        self.thaw();
        self.is_frozen = true;
        for (number, database) in self.databases.iter_mut().enumerate() {
            let is_used = !database.slots.is_empty();
            database.frozen = is_used.then(|| Box::new(Frozen::new(number)));
        }
    }

    /// No snapshot is under way any more.
    pub(crate) fn thaw(&mut self) {
        self.is_frozen = false;
        self.flushed.clear();
        self.databases.iter_mut().for_each(|database| database.frozen = None);
    }

    /// The database that had this number when the keyspace was frozen, if something of it is still to be written.
    pub(crate) fn frozen(&self, number: usize) -> Option<&Database> {
        let mut all = self.databases.iter().chain(&self.flushed);
        all.find(|database| database.frozen.as_ref().is_some_and(|it| it.number == number))
    }

    /// The snapshot under way has come to this item: what stands before it need not be kept.
    pub(crate) fn passed(&mut self, number: usize, slot: usize, item: usize) {
        for database in &mut self.databases {
            database.passed(number, slot, item);
        }
        self.flushed.retain_mut(|database| {
            for written in database.passed(number, slot, item) {
                database.slots[written] = Slot::default(); // so it is freed piece by piece
            }
            database.frozen.is_some()
        });
    }

    /// Puts an item back as a snapshot has it.
    pub(crate) fn restore_item(
        &mut self,
        db: usize,
        slot: u16,
        key: &[u8],
        record: Record,
    ) -> bool {
        let hash = hash_of(self.hash_key, key);
        if slot_of(key) != slot || self.find_hashed(db, slot, hash, key).is_some() {
            return false;
        }
        self.insert(db, slot, Item { hash, key: key.into(), record });
        true
    }

    /// Puts a slot's last deletion back as a snapshot has it.
    pub(crate) fn restore_deletion(&mut self, db: usize, slot: u16, revision: u64) {
        self.databases[db].make_slots();
        self.databases[db].set_deleted_at(slot, revision);
    }
}
