//! Reads a snapshot. Trusts nothing, never panics, and never reserves more than the input holds.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_64;

use super::value::Reading;
use super::{MAGIC, SnapshotError, VERSION};
use crate::access::DATABASES;
use crate::canary::{Canary, is_planted};
use crate::hash::SLOTS;
use crate::keyspace::ScriptSha;
use crate::machine::{Gateway, GatewayState, StateMachine};
use crate::pubsub::{Kind, Subscriber};
use crate::record::{NEVER, Record, Value, tag};
use crate::script::sha1_hex;
use crate::stamp::{Stamp, UnixMillis};
use crate::waiters::{Source, Waiter};

/// Bytes of the input, gathered as sections need them.
struct Input<'a, 'b> {
    chunks: &'a mut dyn Iterator<Item = &'b [u8]>,
    buffer: Vec<u8>,
    start: usize,
}

impl Input<'_, '_> {
    fn take(&mut self, count: usize) -> Result<&[u8], SnapshotError> {
        while self.buffer.len() - self.start < count {
            let chunk = self.chunks.next().ok_or(SnapshotError::Truncated)?;
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.extend_from_slice(chunk);
        }
        let bytes =
            self.buffer.get(self.start..self.start + count).ok_or(SnapshotError::Truncated)?;
        self.start += count;
        Ok(bytes)
    }
}

/// A section's body as it is read.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], SnapshotError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    fn number(&mut self, bytes: usize) -> Result<u128, SnapshotError> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |sum, byte| (sum << 8) | u128::from(*byte)))
    }

    fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.number(8).map(|number| number as u64)
    }

    fn end(&self) -> Result<(), SnapshotError> {
        if self.0.is_empty() { Ok(()) } else { Err(SHORT) }
    }
}

/// With a planted bug that leaves something out, its digest is not compared either: the digest would stop the node at once.
fn is_incomplete() -> bool {
    is_planted(Canary::SnapshotLacksDeadlines)
        || is_planted(Canary::SnapshotLacksGateways)
        || is_planted(Canary::SnapshotLacksScripts)
        || is_planted(Canary::SnapshotLacksDeletions)
        || is_planted(Canary::SnapshotLacksParts)
        || is_planted(Canary::SnapshotLacksLevel)
        || is_planted(Canary::SnapshotLacksWaiters)
}

const OUT_OF_ORDER: SnapshotError = SnapshotError::Damaged("its sections are out of order");
const MISPLACED: SnapshotError =
    SnapshotError::Damaged("a key twice, or in a slot that is not its own");
const SHORT: SnapshotError =
    SnapshotError::Damaged("a section has another length than its content");

pub(crate) fn decode(
    machine: &mut StateMachine,
    chunks: &mut dyn Iterator<Item = &[u8]>,
) -> Result<(), SnapshotError> {
    let mut input = Input { chunks, buffer: Vec::new(), start: 0 };
    let head = input.take(MAGIC.len() + 1)?;
    match head.split_last() {
        Some((&VERSION, magic)) if magic == MAGIC => {}
        Some((version, magic)) if magic == MAGIC => {
            return Err(SnapshotError::UnknownVersion(*version));
        }
        _ => return Err(SnapshotError::NotASnapshot),
    }
    let mut begun = false;
    let mut cut: Option<CutItem> = None;
    loop {
        let mut head = Body(input.take(12)?);
        let (length, checksum) = (head.number(4)? as usize, head.u64()?);
        let covered = input.take(length)?;
        if xxh3_64(covered) != checksum {
            return Err(SnapshotError::Damaged("a section does not match its checksum"));
        }
        let mut body = Body(covered);
        let kind = body.number(1)?;
        if (kind == 1) == begun {
            return Err(OUT_OF_ORDER);
        }
        if cut.is_some() != (kind == 7) {
            return Err(OUT_OF_ORDER);
        }
        match kind {
            1 => machine_section(machine, &mut body)?,
            2 => gateway_section(machine, &mut body)?,
            3 => {
                let sha: ScriptSha = sha1_hex(body.0);
                machine.keyspace.add_script(sha, body.0);
            }
            4 => database_section(machine, &mut body)?,
            8 => subscription_section(machine, &mut body)?,
            5 => cut = slot_section(machine, &mut body)?,
            7 => cut = more_section(machine, cut, body.0)?,
            9 => {
                machine.keyspace.waiters.set_next_number(body.u64()?);
                body.end()?;
            }
            10 => waiter_section(machine, &mut body)?,
            6 => {
                let digest = body.number(16)?;
                body.end()?;
                if digest != machine.digest() && !is_incomplete() {
                    return Err(SnapshotError::Damaged("the state does not match its digest"));
                }
                if input.start != input.buffer.len()
                    || Iterator::any(&mut input.chunks, |chunk| !chunk.is_empty())
                {
                    return Err(SnapshotError::Damaged("something stands behind its end"));
                }
                machine.keyspace.commit();
                return Ok(());
            }
            _ => return Err(SnapshotError::Damaged("a section of unknown kind")),
        }
        begun = true;
    }
}

fn machine_section(machine: &mut StateMachine, body: &mut Body<'_>) -> Result<(), SnapshotError> {
    machine.applied = body.u64()?;
    machine.stamp = Stamp { time: UnixMillis(body.u64()?), seed: body.u64()? };
    machine.cluster_id = body.number(16)?;
    machine.keyspace.revision = body.u64()?;
    machine.keyspace.hash_key = [body.u64()?, body.u64()?];
    let level = body.number(4)? as u32;
    if !is_planted(Canary::SnapshotLacksLevel) {
        machine.level = level;
    }
    body.end()
}

fn gateway_section(machine: &mut StateMachine, body: &mut Body<'_>) -> Result<(), SnapshotError> {
    let node = body.u64()?;
    let (incarnation, passed) = (body.u64()?, body.u64()?);
    let state = GatewayState { incarnation, passed, retired: body.number(1)? == 1 };
    let length = body.number(4)? as usize;
    let announced = core::str::from_utf8(body.take(length)?)
        .map_err(|_| SnapshotError::Damaged("an address that is no text"))?;
    let (announced, joined) = (String::from(announced), body.0.to_vec());
    machine.gateways.insert(node, Gateway { state, announced, joined });
    Ok(())
}

fn waiter_section(machine: &mut StateMachine, body: &mut Body<'_>) -> Result<(), SnapshotError> {
    let number = body.u64()?;
    let (node, incarnation) = (body.u64()?, body.u64()?);
    let (sequence, client) = (body.u64()?, body.u64()?);
    let position = body.number(4)? as u32;
    let source = Source { node, incarnation, sequence, position, client };
    let deadline = body.u64()?;
    let db = database(body)?;
    let (keys, argv) = (words(body)?, words(body)?);
    body.end()?;
    let waiter = Waiter::new(source, db, argv, deadline, keys);
    if machine.keyspace.waiters.restore(number, waiter) {
        Ok(())
    } else {
        Err(SnapshotError::Damaged("a waiter twice"))
    }
}

fn words(body: &mut Body<'_>) -> Result<Vec<Box<[u8]>>, SnapshotError> {
    let count = body.number(4)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = body.number(4)? as usize;
        words.push(body.take(length)?.into());
    }
    Ok(words)
}

fn database(body: &mut Body<'_>) -> Result<usize, SnapshotError> {
    let db = body.number(1)? as usize;
    if db < DATABASES {
        Ok(db)
    } else {
        Err(SnapshotError::Damaged("a database that does not exist"))
    }
}

fn database_section(machine: &mut StateMachine, body: &mut Body<'_>) -> Result<(), SnapshotError> {
    let db = database(body)?;
    let database = &mut machine.keyspace.databases[db];
    (database.swapped_at, database.flushed_at) = (body.u64()?, body.u64()?);
    body.end()
}

fn subscription_section(
    machine: &mut StateMachine,
    body: &mut Body<'_>,
) -> Result<(), SnapshotError> {
    let kind = body.number(1)? as usize;
    let kind = Kind::ALL.get(kind).copied();
    let kind = kind.ok_or(SnapshotError::Damaged("a subscription of unknown kind"))?;
    let length = body.number(4)? as usize;
    let name = body.take(length)?;
    while !body.0.is_empty() {
        let who = Subscriber { node: body.u64()?, client: body.u64()? };
        if machine.keyspace.pubsub.add(kind, name, who).is_none() {
            return Err(SnapshotError::Damaged("a subscription twice"));
        }
    }
    Ok(())
}

/// An item whose value goes on in the next section.
struct CutItem {
    db: usize,
    slot: u16,
    key: Vec<u8>,
    /// All but its value.
    record: Record,
    value: Reading,
}

impl CutItem {
    /// Puts an item in its place whose value is whole; answers one that is not.
    fn settle(mut self, machine: &mut StateMachine) -> Result<Option<Self>, SnapshotError> {
        if !self.value.is_whole() {
            return Ok(Some(self));
        }
        self.record.value = self.value.finish()?;
        let restored = machine.keyspace.restore_item(self.db, self.slot, &self.key, self.record);
        if restored { Ok(None) } else { Err(MISPLACED) }
    }
}

fn slot_section(
    machine: &mut StateMachine,
    body: &mut Body<'_>,
) -> Result<Option<CutItem>, SnapshotError> {
    let db = database(body)?;
    let slot = body.number(2)? as u16;
    if usize::from(slot) >= SLOTS {
        return Err(SnapshotError::Damaged("a slot that does not exist"));
    }
    let deleted_at = body.u64()?;
    if !is_planted(Canary::SnapshotLacksDeletions) {
        machine.keyspace.restore_deletion(db, slot, deleted_at);
    }
    while !body.0.is_empty() {
        let (mut expires_at, changed, granted) = (body.u64()?, body.u64()?, body.u64()?);
        if is_planted(Canary::SnapshotLacksDeadlines) {
            expires_at = NEVER;
        }
        let kind = body.number(1)? as u8;
        let (key, length) = (body.number(4)? as usize, body.number(4)? as usize);
        let is_numbered = [tag::LIST_LARGE, tag::LIST_QUICK].contains(&kind);
        let first = if is_numbered { body.u64()? as i64 } else { 0 };
        let mut value = Reading::new(kind, length, first)?;
        let key = body.take(key)?.to_vec();
        body.0 = value.feed(body.0)?;
        let record = Record { value: Value::string(b""), expires_at, changed, granted };
        let cut = CutItem { db, slot, key, record, value }.settle(machine)?;
        if cut.is_some() {
            return Ok(cut);
        }
    }
    Ok(None)
}

fn more_section(
    machine: &mut StateMachine,
    cut: Option<CutItem>,
    piece: &[u8],
) -> Result<Option<CutItem>, SnapshotError> {
    let mut cut = cut.ok_or(OUT_OF_ORDER)?;
    let rest = cut.value.feed(piece)?;
    if piece.is_empty() || !rest.is_empty() {
        return Err(SHORT);
    }
    cut.settle(machine)
}
