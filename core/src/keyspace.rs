//! The databases: 16 of 16,384 slots each. Every change goes through here, keeps digest, deadlines, counts and memory
//! estimate in step, and leaves its exact inverse in the undo list. Knows nothing of commands.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use crate::access::DATABASES;
use crate::canary::{Canary, is_planted};
use crate::collections::Grave;
use crate::digest::{changes_form, chunk_terms, deletion_term, facts_term};
use crate::expiry::{Deadline, Deadlines};
use crate::hash::{SLOTS, hash_of, slot_of};
use crate::mark::{self, Mark};
use crate::pubsub::{self, PubSub};
use crate::reclaim::Reclaim;
use crate::record::{Item, ItemRef, NEVER, Record, Value};
use crate::slot::Slot;
use crate::snapshot::Frozen;
use crate::waiters::Waiters;

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
    /// What has been deleted and is not freed yet.
    reclaim: Reclaim,
    /// Requests that wait for keys.
    pub(crate) waiters: Waiters,
    /// Keys that somebody waits for, and that may have got what they wait for, in that order.
    ready: VecDeque<(usize, Box<[u8]>)>,
    signalled: BTreeSet<(usize, Box<[u8]>)>,
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
    pub(crate) fn nth(&self, rank: usize) -> Option<ItemRef<'_>> {
        let (mut at, mut left, mut step) = (0, u32::try_from(rank).ok()?, SLOTS);
        while step > 0 {
            if let Some(count) = self.counts.get(at + step).filter(|count| **count <= left) {
                left -= count;
                at += step;
            }
            step /= 2;
        }
        let slot = self.slot(at)?;
        let position = left as usize;
        (position < slot.len()).then(|| slot.item(position))
    }

    /// A slot is about to change, and so is the item at `position` if there is one: a snapshot under way may need them.
    fn freeze(&mut self, slot: u16, position: Option<usize>) {
        let number = usize::from(slot);
        if let (Some(frozen), Some(slot)) = (&mut self.frozen, self.slots.get(number)) {
            frozen.keep(number, slot, position);
        }
    }

    /// A snapshot under way has come to this item of the database that had this number. Answers the slots that it has written since.
    fn passed(
        &mut self,
        number: usize,
        slot: usize,
        item: usize,
        grave: &mut Grave,
    ) -> Range<usize> {
        match &mut self.frozen {
            Some(frozen) if frozen.number < number => self.thaw(grave),
            Some(frozen) if frozen.number == number => return frozen.passed(slot, item, grave),
            _ => {}
        }
        0..0
    }

    fn thaw(&mut self, grave: &mut Grave) {
        if let Some(frozen) = self.frozen.take() {
            frozen.bury(grave);
        }
    }

    /// Frees some `items`, with what belongs to them; whether nothing is left.
    pub(crate) fn free_piece(&mut self, items: usize, grave: &mut Grave) -> bool {
        self.thaw(grave);
        let mut freed = 0;
        while freed < items && self.deadlines.drop_first() {
            freed += 1;
        }
        while freed < items
            && let Some(slot) = self.slots.pop()
        {
            freed += 1 + slot.len();
            slot.into_held().for_each(|value| value.bury(grave));
        }
        self.slots.is_empty() && self.deadlines.first().is_none()
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
            reclaim: Reclaim::default(),
            waiters: Waiters::default(),
            ready: VecDeque::new(),
            signalled: BTreeSet::new(),
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

    pub(crate) fn item(&self, place: Place) -> ItemRef<'_> {
        self.databases[place.db].slots[usize::from(place.slot)].item(place.position)
    }

    /// The item of a key that is live at `now`.
    pub(crate) fn live(&self, db: usize, key: &[u8], now: u64) -> Option<(Place, ItemRef<'_>)> {
        let place = self.find(db, key)?;
        let item = self.item(place);
        (item.record.expires_at > now).then_some((place, item))
    }

    // ---- the frame around each command -----------------------------------------------------------------

    /// A command has ended: its changes stand, and what they replaced is freed.
    pub(crate) fn commit(&mut self) {
        let keeps_flushed = self.is_frozen && !is_planted(Canary::SnapshotLosesFlushed);
        for undo in self.undo.drain(..) {
            match undo {
                Undo::Flushed { old, .. } if keeps_flushed && old.frozen.is_some() => {
                    self.flushed.push(*old);
                    mark::reached(Mark::SnapshotKeptDatabase);
                }
                Undo::Flushed { old, .. } => self.reclaim.raze(*old),
                Undo::Replaced { old, .. } => old.value.bury(&mut self.reclaim.grave),
                Undo::Removed { old, .. } => old.record.value.bury(&mut self.reclaim.grave),
                _ => {}
            }
        }
        self.undo.shrink_to(UNDO_KEPT_COUNT);
        self.touched = false;
        self.reclaim.settle();
    }

    /// Frees some of what has been deleted; whether nothing is left. Nothing of the state depends on it.
    pub(crate) fn reclaim(&mut self, units: usize) -> bool {
        self.reclaim.step(units)
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
                let position = self.databases[db].slots[usize::from(slot)].len() - 1;
                let item = self.take_out(Place { db, slot, position });
                item.record.value.bury(&mut self.reclaim.grave);
            }
            Undo::Replaced { place, old } => {
                let new = self.exchange(place, old);
                new.value.bury(&mut self.reclaim.grave);
            }
            Undo::Retimed { place, expires_at, changed } => {
                self.retime(place, expires_at, changed);
            }
            Undo::Removed { place, old, deleted_at } => {
                let database = &mut self.databases[place.db];
                database.set_deleted_at(place.slot, deleted_at);
                database.freeze(place.slot, Some(place.position));
                let slot = &mut database.slots[usize::from(place.slot)];
                slot.swap_insert(self.hash_key, place.position, old);
                database.count(place.slot, true);
                self.join(place, 0, usize::MAX);
            }
            Undo::Overwritten { place, facts, length, offset, bytes } => {
                self.leave(place, 0, usize::MAX);
                let expires_at = self.item(place).record.expires_at;
                let slot = self.slot_mut(place);
                slot.edit_string(place.position, length, offset, &bytes);
                slot.set_facts(place.position, (expires_at, facts.0, facts.1));
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

    /// Of tests: nodes of trees that wait to be freed.
    #[cfg(test)]
    pub(crate) fn buried(&self) -> usize {
        self.reclaim.grave.len()
    }

    /// For tests of what finds a change that went past everything here.
    #[cfg(test)]
    pub(crate) fn slot_to_damage(&mut self, place: Place) -> &mut Slot {
        self.slot_mut(place)
    }

    fn slot_mut(&mut self, place: Place) -> &mut Slot {
        &mut self.databases[place.db].slots[usize::from(place.slot)]
    }

    /// Gives an item other contents; answers those that it had.
    fn exchange(&mut self, place: Place, record: Record) -> Record {
        self.leave(place, 0, usize::MAX);
        let old = self.slot_mut(place).replace(place.position, record);
        self.join(place, 0, usize::MAX);
        old
    }

    /// Takes an item's share out of digest, deadlines and memory, before it changes in the bytes `from..to`.
    fn leave(&mut self, place: Place, from: usize, to: usize) {
        let database = &mut self.databases[place.db];
        database.freeze(place.slot, Some(place.position));
        let slot = &database.slots[usize::from(place.slot)];
        let item = slot.item(place.position);
        let value = item.record.value.flat();
        let term = facts_term(&mut self.scratch, item)
            .wrapping_add(chunk_terms(item.key, value, from, to));
        database.used_bytes -= item.used_bytes();
        let at = item.record.expires_at;
        if at != NEVER {
            let twin = slot.has_deadline_twin(self.hash_key, place.position);
            let hash = hash_of(self.hash_key, item.key);
            database.deadlines.remove(Deadline { at, slot: place.slot, hash }, twin);
        }
        database.add_terms(place.slot, term.wrapping_neg());
    }

    /// Puts its share back in, after the change.
    fn join(&mut self, place: Place, from: usize, to: usize) {
        let database = &mut self.databases[place.db];
        let item = database.slots[usize::from(place.slot)].item(place.position);
        let value = item.record.value.flat();
        let term = facts_term(&mut self.scratch, item)
            .wrapping_add(chunk_terms(item.key, value, from, to));
        database.used_bytes += item.used_bytes();
        let at = item.record.expires_at;
        if at != NEVER {
            let hash = hash_of(self.hash_key, item.key);
            database.deadlines.add(Deadline { at, slot: place.slot, hash });
        }
        database.add_terms(place.slot, term);
    }

    fn take_out(&mut self, place: Place) -> Item {
        self.leave(place, 0, usize::MAX);
        let database = &mut self.databases[place.db];
        database.count(place.slot, false);
        let last = database.slots[usize::from(place.slot)].len() - 1;
        database.freeze(place.slot, Some(last)); // it moves to where the other was
        database.slots[usize::from(place.slot)].swap_remove(self.hash_key, place.position)
    }

    // ---- changes -------------------------------------------------------------------------------------------

    /// Sets a key's record, whether it exists or not.
    pub(crate) fn set(&mut self, db: usize, key: &[u8], value: Value, expires_at: u64) {
        let revision = self.touch();
        if self.waiters.await_key(db, key) {
            self.signal(db, key);
        }
        let record = Record { value, expires_at, changed: revision, granted: revision };
        let (slot, hash) = (slot_of(key), hash_of(self.hash_key, key));
        if let Some(place) = self.find_hashed(db, slot, hash, key) {
            let old = self.exchange(place, record);
            self.undo.push(Undo::Replaced { place, old });
        } else {
            self.insert(db, slot, key, record);
            self.undo.push(Undo::Pushed { db, slot });
        }
    }

    /// A key that somebody waits for has a new value.
    fn signal(&mut self, db: usize, key: &[u8]) {
        if self.signalled.insert((db, key.into())) {
            self.ready.push_back((db, key.into()));
        }
    }

    /// The next key whose waiters may be served.
    pub(crate) fn next_ready(&mut self) -> Option<(usize, Box<[u8]>)> {
        let next = self.ready.pop_front()?;
        self.signalled.remove(&next);
        Some(next)
    }

    fn insert(&mut self, db: usize, slot: u16, key: &[u8], record: Record) {
        let database = &mut self.databases[db];
        database.make_slots();
        database.freeze(slot, None);
        let table = &mut database.slots[usize::from(slot)];
        let position = table.len();
        table.push(self.hash_key, key, record);
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
        let record = self.item(place).record;
        let undo = Undo::Retimed { place, expires_at: record.expires_at, changed: record.changed };
        self.retime(place, expires_at, revision);
        self.undo.push(undo);
    }

    /// Costs the same for every value: a long one's chunks are not part of it.
    fn retime(&mut self, place: Place, expires_at: u64, changed: u64) {
        self.leave(place, 0, 0);
        let granted = self.item(place).record.granted;
        self.slot_mut(place).set_facts(place.position, (expires_at, changed, granted));
        self.join(place, 0, 0);
    }

    /// Changes a collection by `work`, which answers whether it has changed anything. It works on a copy, which costs little: should it
    /// panic, nothing has happened. What was there before the command stays in the undo list, once however often the command changes it.
    pub(crate) fn change<T>(
        &mut self,
        place: Place,
        work: impl FnOnce(&mut Value) -> (T, bool),
    ) -> T {
        let mut value = self.item(place).record.value.to_value();
        let (outcome, has_changed) = work(&mut value);
        if !has_changed {
            return outcome;
        }
        let revision = self.touch();
        let record = self.item(place).record;
        let is_kept = record.granted == revision; // its old value is in the undo list, or there was none
        let expires_at = record.expires_at;
        let new = Record { value, expires_at, changed: revision, granted: revision };
        let old = self.exchange(place, new);
        if is_kept {
            old.value.bury(&mut self.reclaim.grave);
            self.reclaim.settle(); // a script may do so a million times
        } else {
            self.undo.push(Undo::Replaced { place, old });
        }
        outcome
    }

    /// Overwrites bytes of a string from `offset` on, zeroes in between; answers the new length.
    pub(crate) fn overwrite(&mut self, place: Place, offset: usize, bytes: &[u8]) -> usize {
        let revision = self.touch();
        let item = self.item(place);
        let old = item.record.value.as_string().unwrap_or_default();
        let (length, end) = (old.len(), offset + bytes.len());
        let new_length = length.max(end);
        let facts = (item.record.changed, item.record.granted);
        let kept = old.get(offset..end.min(length)).unwrap_or_default();
        let kept: Box<[u8]> = kept.into();
        let (from, to) = if changes_form(length, new_length) {
            (0, usize::MAX)
        } else if new_length == length {
            (offset, end)
        } else {
            (offset.min(length).saturating_sub(1), usize::MAX)
        };
        self.leave(place, from, to);
        let expires_at = self.item(place).record.expires_at;
        let slot = self.slot_mut(place);
        slot.edit_string(place.position, new_length, offset, bytes);
        slot.set_facts(place.position, (expires_at, revision, revision));
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
        for db in [one, other] {
            self.waiters.keys_of_db(db).iter().for_each(|key| self.signal(db, key));
        }
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
                let position = slot.find_deadline(self.hash_key, due.hash, due.at);
                let position = position.expect("every deadline in the index has its key");
                let item = self.take_out(Place { db, slot: due.slot, position });
                let database = &mut self.databases[db];
                let deleted_at = database.slots[usize::from(due.slot)].deleted_at;
                database.set_deleted_at(due.slot, deleted_at.max(item.record.changed));
                item.record.value.bury(&mut self.reclaim.grave);
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
                slot.rehash(hash_key);
                for item in slot.items() {
                    let (at, hash) = (item.record.expires_at, hash_of(hash_key, item.key));
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
        self.flushed.drain(..).for_each(|database| self.reclaim.raze(database));
        self.databases.iter_mut().for_each(|database| database.thaw(&mut self.reclaim.grave));
    }

    /// The database that had this number when the keyspace was frozen, if something of it is still to be written.
    pub(crate) fn frozen(&self, number: usize) -> Option<&Database> {
        let mut all = self.databases.iter().chain(&self.flushed);
        all.find(|database| database.frozen.as_ref().is_some_and(|it| it.number == number))
    }

    /// The snapshot under way has come to this item: what stands before it need not be kept.
    pub(crate) fn passed(&mut self, number: usize, slot: usize, item: usize) {
        let grave = &mut self.reclaim.grave;
        for database in &mut self.databases {
            database.passed(number, slot, item, grave);
        }
        for database in &mut self.flushed {
            for written in database.passed(number, slot, item, grave) {
                let slot = core::mem::take(&mut database.slots[written]); // so it is freed piece by piece
                slot.into_held().for_each(|value| value.bury(grave));
            }
        }
        let (kept, done) =
            self.flushed.drain(..).partition(|database: &Database| database.frozen.is_some());
        self.flushed = kept;
        let done: Vec<Database> = done;
        done.into_iter().for_each(|database| self.reclaim.raze(database));
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
        self.insert(db, slot, key, record);
        true
    }

    /// Puts a slot's last deletion back as a snapshot has it.
    pub(crate) fn restore_deletion(&mut self, db: usize, slot: u16, revision: u64) {
        self.databases[db].make_slots();
        self.databases[db].set_deleted_at(slot, revision);
    }
}
