//! Writes a snapshot, in steps of a bounded size. Between them the state moves on: what is not written yet is kept as it was (`frozen`).

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_64;

use super::{CHUNK_BYTES, Frozen, MAGIC, VERSION};
use crate::access::DATABASES;
use crate::canary::{Canary, is_planted};
use crate::content::{Reached, read_piece};
use crate::digest::deletion_term;
use crate::hash::SLOTS;
use crate::keyspace::{Database, Keyspace};
use crate::machine::StateMachine;
use crate::mark::{self, Mark};
use crate::pubsub::Piece;
use crate::record::{Content, Item, ItemRef};
use crate::scrub::Decay;

/// Slots without a key that cost as much as a byte written.
const SLOTS_PER_BYTE: usize = 4;

/// Clients of one name in a section.
const SUBSCRIBERS_MAX: usize = 8192;

/// A snapshot that is being written.
#[derive(Debug)]
pub(crate) struct Encoding {
    /// What is small, encoded at the start.
    front: Vec<u8>,
    scripts: vec::IntoIter<Arc<[u8]>>,
    subscriptions: vec::IntoIter<Piece>,
    cursor: Cursor,
    digest: u128,
    /// The digests that the databases had, and the sum of what was written of the one under way.
    digests: Vec<u128>,
    sum: u128,
    scratch: Vec<u8>,
    ended: bool,
}

/// What is to be written next.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    db: usize,
    slot: usize,
    item: usize,
    /// How much of the item's value is written; none of the item is if that is nothing.
    reached: Reached,
}

/// A database as it is to be written.
struct View<'a> {
    database: &'a Database,
    frozen: Option<&'a Frozen>,
}

/// The whole state at once, as it is.
pub(crate) fn encode(machine: &StateMachine, emit: &mut dyn FnMut(Vec<u8>)) {
    let mut encoding = Encoding::new(machine);
    while !encoding.ended {
        let chunk = encoding.step(CHUNK_BYTES, |db| {
            let database = machine.keyspace.db(db);
            Some(View { database, frozen: None })
        });
        let Ok(chunk) = chunk else { return }; // it lacks its end: nobody takes it for a snapshot
        if !chunk.is_empty() {
            emit(chunk);
        }
    }
}

impl Encoding {
    /// Of the state as it is now.
    pub(crate) fn new(machine: &StateMachine) -> Self {
        let scripts: Vec<Arc<[u8]>> = machine.keyspace.scripts().values().cloned().collect();
        let scripts = if is_planted(Canary::SnapshotLacksScripts) { Vec::new() } else { scripts };
        Self {
            front: front(machine),
            scripts: scripts.into_iter(),
            subscriptions: machine.keyspace.pubsub.pieces(SUBSCRIBERS_MAX).into_iter(),
            cursor: Cursor::default(),
            digest: machine.digest(),
            digests: machine.keyspace.databases.iter().map(Database::digest).collect(),
            sum: 0,
            scratch: Vec::new(),
            ended: false,
        }
    }

    /// Some `budget` bytes more of the state as it was when the keyspace was frozen, and whether they are the last.
    pub(crate) fn step_frozen(
        &mut self,
        keyspace: &mut Keyspace,
        budget: usize,
    ) -> Result<(Vec<u8>, bool), Decay> {
        let source = &*keyspace;
        let bytes = self.step(budget, |db| {
            let database = source.frozen(db)?;
            Some(View { database, frozen: database.frozen.as_deref() })
        })?;
        if self.ended {
            keyspace.thaw();
        } else {
            keyspace.passed(self.cursor.db, self.cursor.slot, self.cursor.item);
        }
        Ok((bytes, self.ended))
    }

    fn step<'a>(
        &mut self,
        budget: usize,
        view: impl Fn(usize) -> Option<View<'a>>,
    ) -> Result<Vec<u8>, Decay> {
        let budget = budget.clamp(1, CHUNK_BYTES);
        let mut out = core::mem::take(&mut self.front);
        while out.len() < budget
            && let Some(script) = self.scripts.next()
        {
            section(&mut out, 3, |body| body.extend_from_slice(&script));
        }
        while out.len() < budget
            && let Some(piece) = self.subscriptions.next()
        {
            section(&mut out, 8, |body| put_subscription(body, &piece));
        }
        let mut spent = 0;
        while self.cursor.db < DATABASES && out.len() + spent / SLOTS_PER_BYTE < budget {
            match view(self.cursor.db) {
                Some(view) if self.cursor.slot < SLOTS && view.database.slot(0).is_some() => {
                    spent += 1;
                    self.slot(&view, &mut out, budget);
                }
                _ => {
                    self.end_database()?;
                    self.cursor = Cursor { db: self.cursor.db + 1, ..Cursor::default() };
                }
            }
        }
        if self.cursor.db == DATABASES && out.len() < budget && !self.ended {
            section(&mut out, 6, |body| body.extend_from_slice(&self.digest.to_le_bytes()));
            self.ended = true;
        }
        Ok(out)
    }

    /// What was written of the database must be what it had to hold: otherwise it would replace a good snapshot, and could not be read.
    fn end_database(&mut self) -> Result<(), Decay> {
        let sum = core::mem::take(&mut self.sum);
        if self.digests.get(self.cursor.db).is_some_and(|digest| *digest != sum) {
            return Err(Decay { db: self.cursor.db, slot: None });
        }
        Ok(())
    }

    /// One section of the slot at the cursor.
    fn slot(&mut self, view: &View<'_>, out: &mut Vec<u8>, budget: usize) {
        let Cursor { db, slot, mut item, mut reached } = self.cursor;
        let (count, deleted_at) = view.slot(slot);
        let next_slot = Cursor { db, slot: slot + 1, ..Cursor::default() };
        if count == 0 && deleted_at == 0 {
            self.cursor = next_slot;
            return;
        }
        let (mut sum, scratch) = (self.sum, &mut self.scratch);
        if reached.is_start() {
            section(out, 5, |body| {
                body.push(db as u8);
                body.extend_from_slice(&(slot as u16).to_le_bytes());
                put(body, &[deleted_at]);
                let first = item; // a section without an item would never come to an end
                if first == 0 {
                    sum = sum.wrapping_add(deletion_term(slot as u16, deleted_at));
                }
                while item < count && reached.is_start() && (item == first || body.len() < budget) {
                    let next = view.item(slot, item);
                    put_head(body, next);
                    let piece = read_piece(next, reached, budget, scratch, Some(body));
                    sum = sum.wrapping_add(piece.terms);
                    (item, reached) = behind(item, piece.next);
                }
            });
        } else {
            section(out, 7, |body| {
                let piece = read_piece(view.item(slot, item), reached, budget, scratch, Some(body));
                sum = sum.wrapping_add(piece.terms);
                (item, reached) = behind(item, piece.next);
            });
        }
        self.sum = sum;
        self.cursor = if item == count { next_slot } else { Cursor { db, slot, item, reached } };
    }
}

/// What comes behind a piece of an item.
fn behind(item: usize, next: Option<Reached>) -> (usize, Reached) {
    match next {
        Some(reached) => {
            mark::reached(Mark::SnapshotCutValue);
            (item, reached)
        }
        None => (item + 1, Reached::default()),
    }
}

impl View<'_> {
    /// Count of items and last deletion.
    fn slot(&self, number: usize) -> (usize, u64) {
        let frozen = self.frozen.and_then(|frozen| frozen.slot(number));
        frozen.unwrap_or_else(|| {
            let slot = self.database.slot(number);
            slot.map_or((0, 0), |slot| (slot.len(), slot.deleted_at))
        })
    }

    fn item(&self, slot: usize, position: usize) -> ItemRef<'_> {
        let items = &self.database.slots()[slot];
        let frozen = self.frozen.and_then(|frozen| frozen.item(slot, position));
        let is_lost = |_: &&Item| is_planted(Canary::SnapshotUnfrozen) && position < items.len();
        let frozen = frozen.filter(|item| !is_lost(item));
        frozen.map_or_else(|| items.item(position), Item::as_ref)
    }
}

/// Magic, version, machine, gateways, and what stands above the slots of the databases.
fn front(machine: &StateMachine) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    let keyspace = &machine.keyspace;
    section(&mut out, 1, |body| {
        put(body, &[machine.applied, machine.stamp.time.0, machine.stamp.seed]);
        body.extend_from_slice(&machine.cluster_id.to_le_bytes());
        put(body, &[keyspace.revision, keyspace.hash_key[0], keyspace.hash_key[1]]);
        body.extend_from_slice(&machine.level.to_le_bytes());
    });
    let gateways = machine.gateways.iter();
    for (node, gateway) in gateways.filter(|_| !is_planted(Canary::SnapshotLacksGateways)) {
        section(&mut out, 2, |body| {
            put(body, &[*node, gateway.state.incarnation, gateway.state.passed]);
            body.push(u8::from(gateway.state.retired));
            body.extend_from_slice(&(gateway.announced.len() as u32).to_le_bytes());
            body.extend_from_slice(gateway.announced.as_bytes());
            if !is_planted(Canary::SnapshotLacksParts) {
                if !gateway.joined.is_empty() {
                    mark::reached(Mark::SnapshotWithParts);
                }
                body.extend_from_slice(&gateway.joined);
            }
        });
    }
    let waiters = &keyspace.waiters;
    if !is_planted(Canary::SnapshotLacksWaiters) {
        section(&mut out, 9, |body| put(body, &[waiters.next_number()]));
        for (number, waiter) in waiters.iter() {
            mark::reached(Mark::SnapshotWithWaiters);
            section(&mut out, 10, |body| waiter.encode(number, body));
        }
    }
    for (db, database) in keyspace.databases.iter().enumerate() {
        section(&mut out, 4, |body| {
            body.push(db as u8);
            put(body, &[database.swapped_at, database.flushed_at]);
        });
    }
    out
}

fn put_subscription(body: &mut Vec<u8>, piece: &Piece) {
    body.push(piece.kind as u8);
    body.extend_from_slice(&(piece.name.len() as u32).to_le_bytes());
    body.extend_from_slice(&piece.name);
    piece.subscribers.iter().for_each(|who| put(body, &[who.node, who.client]));
}

/// What stands in front of an item's value.
fn put_head(body: &mut Vec<u8>, item: ItemRef<'_>) {
    let record = item.record;
    put(body, &[record.expires_at, record.changed, record.granted]);
    body.push(record.value.tag());
    let (length, first) = match record.value.content() {
        Content::Bytes(bytes) => (bytes.len(), None),
        Content::Entries { tree, first, .. } => (tree.len(), first),
    };
    body.extend_from_slice(&(item.key.len() as u32).to_le_bytes());
    body.extend_from_slice(&(length as u32).to_le_bytes());
    if let Some(first) = first {
        body.extend_from_slice(&first.to_le_bytes());
    }
    body.extend_from_slice(item.key);
}

fn section(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 12]);
    out.push(kind);
    body(out);
    let covered = &out[start + 12..];
    let length = u32::try_from(covered.len()).expect("a section is far below 4 GiB");
    let checksum = xxh3_64(covered);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 12].copy_from_slice(&checksum.to_le_bytes());
}

fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}
