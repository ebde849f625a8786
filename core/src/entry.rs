//! The byte format of a log entry's payload, of the gateways' parcels in it, and of the requests in those.
//! Frozen once shipped (rule 11 of CONTRIBUTING.md). All integers are little-endian.
//!
//! ```text
//! entry    = version u8 (1) · time u64 · seed u64 · op*
//! op       = length u32 (of what follows) · kind u8 · body
//!   1 bootstrap  cluster id u128 · hash key u64 u64
//!   2 register   node u64 · incarnation u64 · announced client address (UTF-8 `host:port`, may be empty)
//!   3 retire     node u64 · incarnation u64
//!   4 tick       (empty)
//!   5 parcel     node u64 · incarnation u64 · sequence u64 · part u8 (0 whole, 1 more follows, 2 last) · bytes
//!   6 level      level u32
//! batch    = request*                              (the bytes of a whole parcel, or of all its parts joined)
//! request  = length u32 (of what follows) · kind u8 · client u64 · latest u64 · body
//!   1 command      call
//!   2 transaction  watch count u32 · watch* · call count u32 · call*
//!   3 unblock      client u64 (of the same gateway) · how u8 (0 gone, 1 time-out, 2 error)
//! watch    = db u8 · present u8 · revision u64 · key length u32 · key
//! call     = db u8 · argument count u32 (at least 1) · (length u32 · bytes)*
//! ```
//!
//! Decoding borrows, never allocates more than the input holds, and never panics. Tests: `tests/laws.rs`, `fuzz`.

use alloc::vec::Vec;
use core::fmt;

use crate::access::DATABASES;
use crate::stamp::{Stamp, UnixMillis};

/// Version of the entry format.
pub const ENTRY_VERSION: u8 = 1;

const HEADER_BYTES: usize = 17;
const PARCEL_HEADER_BYTES: usize = 26;

/// Why an entry cannot be decoded: it was made by newer software, or by a bug. The node must stop, since
/// other nodes may understand it; a disk's damage is caught earlier, by the log's checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryError {
    /// The bytes end in the middle of something, or a length reaches past its container.
    Truncated,
    /// The entry's format version is not known here.
    UnknownVersion(u8),
    /// An operation of a kind that is not known here.
    UnknownOp(u8),
    /// A request of a kind that is not known here.
    UnknownRequest(u8),
    /// From here on entries mean what a later release says that they mean.
    LaterLevel {
        /// The semantics level that begins.
        level: u32,
        /// The highest one that is known here.
        known: u32,
    },
    /// A value that the format forbids.
    Malformed(&'static str),
    /// The entry is not the one after the last applied.
    OutOfOrder {
        /// The index that would have been next.
        expected: u64,
        /// The index that came.
        found: u64,
    },
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the entry ends in the middle of something"),
            Self::UnknownVersion(version) => {
                write!(
                    f,
                    "the entry has format version {version}; this software reads {ENTRY_VERSION}"
                )
            }
            Self::UnknownOp(kind) => {
                write!(f, "the entry holds an operation of unknown kind {kind}")
            }
            Self::UnknownRequest(kind) => {
                write!(f, "the entry holds a request of unknown kind {kind}")
            }
            Self::LaterLevel { level, known } => {
                write!(
                    f,
                    "semantics level {level} begins here; this release knows levels up to {known}"
                )
            }
            Self::Malformed(what) => write!(f, "the entry is malformed: {what}"),
            Self::OutOfOrder { expected, found } => {
                write!(f, "entry {found} was to be applied where {expected} is next")
            }
        }
    }
}

impl core::error::Error for EntryError {}

/// A WATCH as EXEC carries it: the precondition on one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    /// Its database.
    pub db: u8,
    /// Whether the key lived when it was watched.
    pub present: bool,
    /// The state's revision when it was watched.
    pub revision: u64,
    /// The key.
    pub key: Vec<u8>,
}

/// Where a parcel stands in its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The parcel is a whole batch.
    Whole,
    /// More parts follow.
    More,
    /// The last part.
    Last,
}

/// A numbered piece of a gateway's batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parcel<'a> {
    /// The gateway's node id.
    pub node: u64,
    /// Its incarnation.
    pub incarnation: u64,
    /// The parcel's number, from 1 in each incarnation.
    pub sequence: u64,
    /// Where it stands in its batch.
    pub part: Part,
    /// The batch, or a piece of it.
    pub bytes: &'a [u8],
}

/// One operation of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op<'a> {
    /// The first operation of a cluster's life.
    Bootstrap {
        /// The cluster's identity; never 0.
        cluster_id: u128,
        /// Key of the keyspace's hash tables.
        hash_key: [u64; 2],
    },
    /// A gateway incarnation starts.
    Register {
        /// Its node id.
        node: u64,
        /// The new incarnation.
        incarnation: u64,
        /// Where it says that clients find it, `host:port`; empty if it does not say.
        announced: &'a str,
    },
    /// A gateway incarnation is given up by the leader.
    Retire {
        /// Its node id.
        node: u64,
        /// The incarnation that ends.
        incarnation: u64,
    },
    /// Time passes.
    Tick,
    /// A semantics level begins: every member runs a release that knows it.
    Level(u32),
    /// Requests.
    Parcel(Parcel<'a>),
}

/// One call: a command in a database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call<'a> {
    /// The database selected.
    pub db: u8,
    arguments: Reader<'a>,
}

impl<'a> Call<'a> {
    /// Puts the words of the call, its name first, into `argv`.
    pub fn argv_into(&self, argv: &mut Vec<&'a [u8]>) {
        argv.clear();
        let mut rest = self.arguments;
        while let Ok(word) = rest.bytes() {
            argv.push(word);
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// One command.
    Command(Call<'a>),
    /// A transaction.
    Transaction(Transaction<'a>),
    /// The end of what a client of this gateway waits for.
    Unblock {
        /// The client, as the gateway numbers it.
        client: u64,
        /// What it is answered.
        how: Unblock,
    },
}

/// How a client is ended that waits for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unblock {
    /// Its connection is gone: it is answered nothing.
    Gone,
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error,
}

/// The preconditions and calls of one EXEC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transaction<'a> {
    watches: Reader<'a>,
    watch_count: u32,
    calls: Reader<'a>,
    call_count: u32,
}

/// A precondition, borrowed: see [`Watched`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watch<'a> {
    /// Its database.
    pub db: u8,
    /// Whether the key lived when it was watched.
    pub present: bool,
    /// The state's revision when it was watched.
    pub revision: u64,
    /// The key.
    pub key: &'a [u8],
}

impl<'a> Transaction<'a> {
    /// The preconditions.
    pub fn watches(&self) -> impl Iterator<Item = Watch<'a>> + use<'a> {
        let (mut rest, count) = (self.watches, self.watch_count);
        (0..count).map_while(move |_| rest.watch().ok())
    }

    /// The calls, in order.
    pub fn calls(&self) -> impl Iterator<Item = Call<'a>> + use<'a> {
        let (mut rest, count) = (self.calls, self.call_count);
        (0..count).map_while(move |_| rest.call().ok())
    }
}

/// One request of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// The client's id at its gateway.
    pub client: u64,
    /// Past this log time it is not executed.
    pub latest: UnixMillis,
    /// What it asks for.
    pub body: Body<'a>,
}

// --- encoding -----------------------------------------------------------------------------------------

fn put_length(into: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length)
        .expect("requests are bounded far below 4 GiB before they are encoded");
    into.extend_from_slice(&length.to_le_bytes());
}

/// Writes `length u32`, then what `body` writes.
fn framed(into: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    into.extend_from_slice(&[0; 4]);
    body(into);
    let length = u32::try_from(into.len() - start - 4)
        .expect("requests are bounded far below 4 GiB before they are encoded");
    into[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn put_call<W: AsRef<[u8]>>(into: &mut Vec<u8>, db: u8, argv: &[W]) {
    into.push(db);
    put_length(into, argv.len());
    for word in argv {
        put_length(into, word.as_ref().len());
        into.extend_from_slice(word.as_ref());
    }
}

/// Appends a request that is one command. `argv` holds its name at least.
pub fn push_command(batch: &mut Vec<u8>, client: u64, latest: UnixMillis, db: u8, argv: &[&[u8]]) {
    framed(batch, |batch| {
        batch.push(1);
        batch.extend_from_slice(&client.to_le_bytes());
        batch.extend_from_slice(&latest.0.to_le_bytes());
        put_call(batch, db, argv);
    });
}

/// Appends a request of `client` that ends what `target`, a client of the same gateway, waits for.
pub fn push_unblock(
    batch: &mut Vec<u8>,
    client: u64,
    latest: UnixMillis,
    target: u64,
    how: Unblock,
) {
    framed(batch, |batch| {
        batch.push(3);
        batch.extend_from_slice(&client.to_le_bytes());
        batch.extend_from_slice(&latest.0.to_le_bytes());
        batch.extend_from_slice(&target.to_le_bytes());
        batch.push(match how {
            Unblock::Gone => 0,
            Unblock::Timeout => 1,
            Unblock::Error => 2,
        });
    });
}

/// Appends a request that is a transaction: its preconditions, then its calls as (database, argv).
pub fn push_transaction(
    batch: &mut Vec<u8>,
    client: u64,
    latest: UnixMillis,
    watched: &[Watched],
    calls: &[(u8, Vec<Vec<u8>>)],
) {
    framed(batch, |batch| {
        batch.push(2);
        batch.extend_from_slice(&client.to_le_bytes());
        batch.extend_from_slice(&latest.0.to_le_bytes());
        put_length(batch, watched.len());
        for watch in watched {
            batch.push(watch.db);
            batch.push(u8::from(watch.present));
            batch.extend_from_slice(&watch.revision.to_le_bytes());
            put_length(batch, watch.key.len());
            batch.extend_from_slice(&watch.key);
        }
        put_length(batch, calls.len());
        for (db, argv) in calls {
            put_call(batch, *db, argv);
        }
    });
}

fn encode_op(kind: u8, capacity: usize, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut op = Vec::with_capacity(5 + capacity);
    framed(&mut op, |op| {
        op.push(kind);
        body(op);
    });
    op
}

/// A parcel as an encoded operation, its length included.
pub fn encode_parcel(
    node: u64,
    incarnation: u64,
    sequence: u64,
    part: Part,
    bytes: &[u8],
) -> Vec<u8> {
    encode_op(5, PARCEL_HEADER_BYTES + bytes.len(), |op| {
        op.extend_from_slice(&node.to_le_bytes());
        op.extend_from_slice(&incarnation.to_le_bytes());
        op.extend_from_slice(&sequence.to_le_bytes());
        op.push(match part {
            Part::Whole => 0,
            Part::More => 1,
            Part::Last => 2,
        });
        op.extend_from_slice(bytes);
    })
}

/// A tick as an encoded operation.
pub fn encode_tick() -> Vec<u8> {
    encode_op(4, 0, |_| ())
}

/// A registration as an encoded operation.
pub fn encode_register(node: u64, incarnation: u64, announced: &str) -> Vec<u8> {
    encode_op(2, 16 + announced.len(), |op| {
        op.extend_from_slice(&node.to_le_bytes());
        op.extend_from_slice(&incarnation.to_le_bytes());
        op.extend_from_slice(announced.as_bytes());
    })
}

/// The beginning of a semantics level as an encoded operation.
pub fn encode_level(level: u32) -> Vec<u8> {
    encode_op(6, 4, |op| op.extend_from_slice(&level.to_le_bytes()))
}

/// A retirement as an encoded operation.
pub fn encode_retire(node: u64, incarnation: u64) -> Vec<u8> {
    encode_op(3, 16, |op| {
        op.extend_from_slice(&node.to_le_bytes());
        op.extend_from_slice(&incarnation.to_le_bytes());
    })
}

/// A bootstrap as an encoded operation.
pub fn encode_bootstrap(cluster_id: u128, hash_key: [u64; 2]) -> Vec<u8> {
    encode_op(1, 32, |op| {
        op.extend_from_slice(&cluster_id.to_le_bytes());
        op.extend_from_slice(&hash_key[0].to_le_bytes());
        op.extend_from_slice(&hash_key[1].to_le_bytes());
    })
}

/// An entry of operations that are already encoded: they are joined, not encoded again.
pub fn encode_entry<'a>(stamp: Stamp, ops: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut entry = Vec::with_capacity(HEADER_BYTES);
    entry.push(ENTRY_VERSION);
    entry.extend_from_slice(&stamp.time.0.to_le_bytes());
    entry.extend_from_slice(&stamp.seed.to_le_bytes());
    for op in ops {
        entry.extend_from_slice(op);
    }
    entry
}

// --- decoding -----------------------------------------------------------------------------------------

/// Takes values off the front of borrowed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], EntryError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(EntryError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(EntryError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, EntryError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, EntryError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, EntryError> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], EntryError> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| EntryError::Truncated)?)
    }

    /// All that is left, as text.
    fn text(&mut self) -> Result<&'a str, EntryError> {
        let bytes = core::mem::take(&mut self.rest);
        core::str::from_utf8(bytes).map_err(|_| EntryError::Malformed("a text that is no UTF-8"))
    }

    fn end(&self) -> Result<(), EntryError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(EntryError::Malformed("bytes after the end"))
        }
    }

    fn db(&mut self) -> Result<u8, EntryError> {
        let db = self.u8()?;
        if usize::from(db) < DATABASES {
            Ok(db)
        } else {
            Err(EntryError::Malformed("a database that does not exist"))
        }
    }

    fn call(&mut self) -> Result<Call<'a>, EntryError> {
        let db = self.db()?;
        let count = self.u32()?;
        if count == 0 {
            return Err(EntryError::Malformed("a call without a command"));
        }
        let start = self.rest;
        for _ in 0..count {
            self.bytes()?;
        }
        let used = start.len() - self.rest.len();
        Ok(Call { db, arguments: Reader { rest: &start[..used] } })
    }

    fn watch(&mut self) -> Result<Watch<'a>, EntryError> {
        let db = self.db()?;
        let present = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(EntryError::Malformed("a flag that is neither 0 nor 1")),
        };
        Ok(Watch { db, present, revision: self.u64()?, key: self.bytes()? })
    }

    fn transaction(&mut self) -> Result<Transaction<'a>, EntryError> {
        let watch_count = self.u32()?;
        let watches = *self;
        for _ in 0..watch_count {
            self.watch()?;
        }
        let call_count = self.u32()?;
        let calls = *self;
        for _ in 0..call_count {
            self.call()?;
        }
        Ok(Transaction { watches, watch_count, calls, call_count })
    }

    fn request(&mut self) -> Result<Request<'a>, EntryError> {
        let mut body = Reader { rest: self.bytes()? };
        let kind = body.u8()?;
        let (client, latest) = (body.u64()?, UnixMillis(body.u64()?));
        let what = match kind {
            1 => Body::Command(body.call()?),
            2 => Body::Transaction(body.transaction()?),
            3 => Body::Unblock {
                client: body.u64()?,
                how: match body.u8()? {
                    0 => Unblock::Gone,
                    1 => Unblock::Timeout,
                    2 => Unblock::Error,
                    _ => return Err(EntryError::Malformed("an unknown way to unblock")),
                },
            },
            other => return Err(EntryError::UnknownRequest(other)),
        };
        body.end()?;
        Ok(Request { client, latest, body: what })
    }

    fn op(&mut self) -> Result<Op<'a>, EntryError> {
        let mut body = Reader { rest: self.bytes()? };
        let op = match body.u8()? {
            1 => Op::Bootstrap {
                cluster_id: u128::from_le_bytes(body.array()?),
                hash_key: [body.u64()?, body.u64()?],
            },
            2 => Op::Register {
                node: body.u64()?,
                incarnation: body.u64()?,
                announced: body.text()?,
            },
            3 => Op::Retire { node: body.u64()?, incarnation: body.u64()? },
            4 => Op::Tick,
            5 => Op::Parcel(Parcel {
                node: body.u64()?,
                incarnation: body.u64()?,
                sequence: body.u64()?,
                part: match body.u8()? {
                    0 => Part::Whole,
                    1 => Part::More,
                    2 => Part::Last,
                    _ => return Err(EntryError::Malformed("an unknown part of a batch")),
                },
                bytes: core::mem::take(&mut body.rest),
            }),
            6 => Op::Level(body.u32()?),
            other => return Err(EntryError::UnknownOp(other)),
        };
        body.end()?;
        Ok(op)
    }
}

/// The operations of an entry. Ends after the first error.
#[derive(Clone, Debug)]
pub struct OpIter<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for OpIter<'a> {
    type Item = Result<Op<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.rest.is_empty() {
            return None;
        }
        let op = self.rest.op();
        if op.is_err() {
            self.rest.rest = &[];
        }
        Some(op)
    }
}

/// The requests of a batch. Ends after the first error.
#[derive(Clone, Debug)]
pub struct RequestIter<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for RequestIter<'a> {
    type Item = Result<Request<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.rest.is_empty() {
            return None;
        }
        let request = self.rest.request();
        if request.is_err() {
            self.rest.rest = &[];
        }
        Some(request)
    }
}

/// The stamp and the operations of an entry's payload, which is not empty.
pub fn decode_entry(payload: &[u8]) -> Result<(Stamp, OpIter<'_>), EntryError> {
    let mut rest = Reader { rest: payload };
    let version = rest.u8()?;
    if version != ENTRY_VERSION {
        return Err(EntryError::UnknownVersion(version));
    }
    let stamp = Stamp { time: UnixMillis(rest.u64()?), seed: rest.u64()? };
    Ok((stamp, OpIter { rest }))
}

/// One encoded operation, its length included, and nothing after it.
pub fn decode_op(bytes: &[u8]) -> Result<Op<'_>, EntryError> {
    let mut rest = Reader { rest: bytes };
    let op = rest.op()?;
    rest.end()?;
    Ok(op)
}

/// Whether every request of a batch can be decoded.
pub fn check_batch(bytes: &[u8]) -> Result<(), EntryError> {
    decode_batch(bytes).try_for_each(|request| request.map(drop))
}

/// The requests of a batch.
pub fn decode_batch(bytes: &[u8]) -> RequestIter<'_> {
    RequestIter { rest: Reader { rest: bytes } }
}
