//! The snapshot format, version 2. Slot by slot, in the state's own order, every section checksummed, the digest at the end.
//!
//! ```text
//! snapshot = magic "SFSTATE" · version u8 · section* , the last one of kind 6
//! section  = length u32 (of kind and body) · checksum u64 (XXH3 of kind and body) · kind u8 · body
//!   1 machine   applied u64 · stamp time u64 · stamp seed u64 · cluster id u128 · revision u64 · hash key u64 u64
//!   2 gateway   node u64 · incarnation u64 · passed u64 · retired u8 · announced length u32 · announced address · joined bytes
//!   3 script    body
//!   4 database  db u8 · swapped at u64 · flushed at u64
//!   5 slot      db u8 · slot u16 · deleted at u64 · (expires at u64 · changed u64 · granted u64 · type u8 · key length u32 ·
//!               value length u32 · key · value)*
//!   6 end       digest u128
//! ```
//!
//! All integers are little-endian. Decoding trusts nothing, never panics, and never reserves more than the input holds.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::access::DATABASES;
use crate::canary::{Canary, is_planted};
use crate::hash::SLOTS;
use crate::keyspace::ScriptSha;
use crate::machine::{Gateway, GatewayState, StateMachine};
use crate::mark::{self, Mark};
use crate::record::{NEVER, Record, Value};
use crate::script::sha1_hex;
use crate::stamp::{Stamp, UnixMillis};

const MAGIC: &[u8; 7] = b"SFSTATE";
const VERSION: u8 = 2;
const CHUNK_BYTES: usize = 256 * 1024;
const TYPE_STRING: u8 = 1;

/// Why a snapshot cannot be restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotError {
    /// It ends too early.
    Truncated,
    /// It is no snapshot.
    NotASnapshot,
    /// Its format version is not known here.
    UnknownVersion(u8),
    /// A checksum, the digest, or something that the format promises does not hold.
    Damaged(&'static str),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the snapshot ends too early"),
            Self::NotASnapshot => f.write_str("this is not a snapshot"),
            Self::UnknownVersion(version) => {
                write!(f, "the snapshot has unknown format version {version}")
            }
            Self::Damaged(what) => write!(f, "the snapshot is damaged: {what}"),
        }
    }
}

impl core::error::Error for SnapshotError {}

/// Gathers sections into chunks.
struct Output<'a> {
    chunk: Vec<u8>,
    emit: &'a mut dyn FnMut(Vec<u8>),
}

impl Output<'_> {
    fn section(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.chunk.len();
        self.chunk.extend_from_slice(&[0; 12]);
        self.chunk.push(kind);
        body(&mut self.chunk);
        let covered = &self.chunk[start + 12..];
        let length = u32::try_from(covered.len()).expect("values are bounded far below 4 GiB");
        let checksum = xxh3_64(covered);
        self.chunk[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.chunk[start + 4..start + 12].copy_from_slice(&checksum.to_le_bytes());
        if self.chunk.len() >= CHUNK_BYTES {
            (self.emit)(core::mem::take(&mut self.chunk));
        }
    }
}

fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

pub(crate) fn encode(machine: &StateMachine, emit: &mut dyn FnMut(Vec<u8>)) {
    let mut out = Output { chunk: MAGIC.to_vec(), emit };
    out.chunk.push(VERSION);
    let keyspace = &machine.keyspace;
    out.section(1, |body| {
        put(body, &[machine.applied, machine.stamp.time.0, machine.stamp.seed]);
        body.extend_from_slice(&machine.cluster_id.to_le_bytes());
        put(body, &[keyspace.revision, keyspace.hash_key[0], keyspace.hash_key[1]]);
    });
    let gateways = machine.gateways.iter();
    for (node, gateway) in gateways.filter(|_| !is_planted(Canary::SnapshotLacksGateways)) {
        out.section(2, |body| {
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
    let scripts = keyspace.scripts().values();
    for script in scripts.filter(|_| !is_planted(Canary::SnapshotLacksScripts)) {
        out.section(3, |body| body.extend_from_slice(script));
    }
    for (db, database) in keyspace.databases.iter().enumerate() {
        out.section(4, |body| {
            body.push(db as u8);
            put(body, &[database.swapped_at, database.flushed_at]);
        });
        for number in 0..SLOTS {
            let Some(slot) = database.slot(number) else { break };
            if slot.items().is_empty() && slot.deleted_at == 0 {
                continue;
            }
            // A slot of many bytes becomes several sections; they are joined in order.
            let mut items = slot.items().iter().peekable();
            loop {
                out.section(5, |body| {
                    body.push(db as u8);
                    body.extend_from_slice(&(number as u16).to_le_bytes());
                    put(body, &[slot.deleted_at]);
                    let start = body.len();
                    while let Some(item) = items.next_if(|_| body.len() - start < CHUNK_BYTES) {
                        let (record, value) = (&item.record, item.record.value.bytes());
                        put(body, &[record.expires_at, record.changed, record.granted]);
                        body.push(TYPE_STRING);
                        body.extend_from_slice(&(item.key.len() as u32).to_le_bytes());
                        body.extend_from_slice(&(value.len() as u32).to_le_bytes());
                        body.extend_from_slice(&item.key);
                        body.extend_from_slice(value);
                    }
                });
                if items.peek().is_none() {
                    break;
                }
            }
        }
    }
    out.section(6, |body| body.extend_from_slice(&machine.digest().to_le_bytes()));
    (out.emit)(out.chunk);
}

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
}

const SHORT: SnapshotError =
    SnapshotError::Damaged("a section has another length than its content");

pub(crate) fn decode(
    chunks: &mut dyn Iterator<Item = &[u8]>,
) -> Result<StateMachine, SnapshotError> {
    let mut input = Input { chunks, buffer: Vec::new(), start: 0 };
    let head = input.take(MAGIC.len() + 1)?;
    match head.split_last() {
        Some((&VERSION, magic)) if magic == MAGIC => {}
        Some((version, magic)) if magic == MAGIC => {
            return Err(SnapshotError::UnknownVersion(*version));
        }
        _ => return Err(SnapshotError::NotASnapshot),
    }
    let mut machine = StateMachine::new();
    let mut begun = false;
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
            return Err(SnapshotError::Damaged("its sections are out of order"));
        }
        match kind {
            1 => machine_section(&mut machine, &mut body)?,
            2 => gateway_section(&mut machine, &mut body)?,
            3 => {
                let sha: ScriptSha = sha1_hex(body.0);
                machine.keyspace.add_script(sha, body.0);
            }
            4 => database_section(&mut machine, &mut body)?,
            5 => slot_section(&mut machine, &mut body)?,
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
                return Ok(machine);
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

fn slot_section(machine: &mut StateMachine, body: &mut Body<'_>) -> Result<(), SnapshotError> {
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
        if body.number(1)? != u128::from(TYPE_STRING) {
            return Err(SnapshotError::Damaged("a value of unknown type"));
        }
        let (key, value) = (body.number(4)? as usize, body.number(4)? as usize);
        let (key, value) = (body.take(key)?, body.take(value)?);
        let record = Record { value: Value::string(value), expires_at, changed, granted };
        if !machine.keyspace.restore_item(db, slot, key, record) {
            return Err(SnapshotError::Damaged("a key twice, or in a slot that is not its own"));
        }
    }
    Ok(())
}
