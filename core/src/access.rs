//! How commands reach the state: `View` for reads, `Txn` for writes. Handlers see nothing else.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::error::{ReplyError, Result};
use crate::reply::Reply;
use crate::stamp::UnixMillis;

/// Number of databases.
pub const DATABASES: usize = 16;

/// The type of a value, as TYPE names it. Grows with the data types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeName {
    /// `string`
    String,
}

/// What a write does to the expiry of the key it sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// The old key's expiry stays (KEEPTTL).
    Keep,
    /// No expiry.
    Clear,
    /// Expires at this log time; at or before `now()` means that the key is deleted at once.
    At(UnixMillis),
}

/// Facts of a live key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyFacts {
    /// Type of its value.
    pub type_name: TypeName,
    /// When it expires.
    pub expires_at: Option<UnixMillis>,
    /// Revision of the last change, TTL changes included (WATCH).
    pub changed: u64,
    /// Revision of the last creation or overwrite of the value (the later fencing token).
    pub granted: u64,
}

/// Read-only access at one applied index. Expired keys are logically absent from their deadline on.
pub struct View<'a> {
    _todo: &'a (),
}

impl<'a> View<'a> {
    /// Log time: the stamp of the entry being applied, or of the last one applied.
    pub fn now(&self) -> UnixMillis {
        todo!()
    }
    /// The selected database.
    pub fn db(&self) -> usize {
        todo!()
    }
    /// The same state seen from another database.
    pub fn at_db(&self, _db: usize) -> View<'a> {
        todo!()
    }
    /// The string at `key`; WRONGTYPE if another type lives there. (Integers are stored packed, hence `Cow`.)
    pub fn string(&self, _key: &[u8]) -> Result<Option<Cow<'a, [u8]>>> {
        todo!()
    }
    /// Facts of a live key.
    pub fn facts(&self, _key: &[u8]) -> Option<KeyFacts> {
        todo!()
    }
    /// Keys in this database, those counted too that are past their deadline and not yet deleted (as DBSIZE does).
    pub fn key_count(&self) -> usize {
        todo!()
    }
    /// Calls `visit` for every live key, slot by slot, in the state's own order.
    pub fn for_each_key(&self, _visit: &mut dyn FnMut(&'a [u8], TypeName)) {
        todo!()
    }
    /// One step of SCAN: visits about `count` keys from `cursor` and answers the next cursor, 0 at the end.
    /// Walks each slot from its end to its start; removal swaps with the last, so an element that stays
    /// from start to end of a full iteration is seen at least once.
    pub fn scan(
        &self,
        _cursor: u64,
        _count: usize,
        _visit: &mut dyn FnMut(&'a [u8], TypeName),
    ) -> u64 {
        todo!()
    }
    /// A live key, chosen uniformly by `seed`.
    pub fn random_key(&self, _seed: u64) -> Option<&'a [u8]> {
        todo!()
    }
    /// Seed for a random choice: the entry's while applying; one from the caller of `StateMachine::read` otherwise.
    pub fn seed(&self) -> u64 {
        todo!()
    }
    /// Whether a script with this lower-case hex SHA-1 is cached.
    pub fn script_exists(&self, _sha: &[u8]) -> bool {
        todo!()
    }
}

/// Writing access while one command is applied. Every change is kept in an undo list until the command has ended.
pub struct Txn<'a> {
    _todo: &'a mut (),
}

impl Txn<'_> {
    /// The same state, read-only.
    pub fn view(&self) -> View<'_> {
        todo!()
    }
    /// Stamp time of the entry being applied.
    pub fn now(&self) -> UnixMillis {
        todo!()
    }
    /// The selected database.
    pub fn db(&self) -> usize {
        todo!()
    }
    /// Runs `work` with another database selected (MOVE, COPY DB).
    pub fn at_db<T>(&mut self, _db: usize, _work: impl FnOnce(&mut Txn<'_>) -> T) -> T {
        todo!()
    }
    /// Creates or overwrites. A canonical decimal integer may be stored packed. An overwrite of another type is fine here.
    pub fn set_string(&mut self, _key: &[u8], _value: &[u8], _expiry: Expiry) {
        todo!()
    }
    /// Appends to the string at `key` (or creates it); answers the new length. WRONGTYPE as for `View::string`.
    pub fn append(&mut self, _key: &[u8], _tail: &[u8]) -> Result<usize> {
        todo!()
    }
    /// Overwrites bytes from `offset` on, padding with zero bytes; answers the new length.
    pub fn overwrite(&mut self, _key: &[u8], _offset: usize, _bytes: &[u8]) -> Result<usize> {
        todo!()
    }
    /// Deletes; false if there was no live key.
    pub fn remove(&mut self, _key: &[u8]) -> bool {
        todo!()
    }
    /// Sets, moves or clears the expiry of a live key; false if there is none. A time at or before now deletes.
    /// Moves `changed`, not `granted`.
    pub fn set_expiry(&mut self, _key: &[u8], _expires_at: Option<UnixMillis>) -> bool {
        todo!()
    }
    /// Copies value and expiry of a live key, whatever its type, to another key or database, replacing what is there.
    /// False if the source does not exist.
    pub fn copy(&mut self, _from: &[u8], _to_db: usize, _to: &[u8]) -> bool {
        todo!()
    }
    /// Empties one database.
    pub fn flush_db(&mut self, _db: usize) {
        todo!()
    }
    /// Swaps two databases.
    pub fn swap_dbs(&mut self, _one: usize, _other: usize) {
        todo!()
    }
    /// Puts a script into the replicated cache; answers its lower-case hex SHA-1.
    pub fn cache_script(&mut self, _body: &[u8]) -> Result<[u8; 40]> {
        todo!()
    }
    /// The body of a cached script.
    pub fn cached_script(&self, _sha: &[u8]) -> Option<Vec<u8>> {
        todo!()
    }
    /// Empties the script cache.
    pub fn flush_scripts(&mut self) {
        todo!()
    }
    /// Runs a script with this transaction as its host (EVAL, EVALSHA).
    /// A budget that ran out rolls the script's writes back, and the error says so.
    pub fn run_script(
        &mut self,
        _body: &[u8],
        _keys: &[&[u8]],
        _argv: &[&[u8]],
    ) -> Result<Reply<'static>, ReplyError> {
        todo!()
    }
}
