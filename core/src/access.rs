//! How commands reach the state: `View` for reads, `Txn` for writes. Handlers see nothing else.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::blocking::Blocking;
use crate::canary::{Canary, is_planted};
use crate::collections::{Hash, List, Set, Zset};
use crate::commands::args::Args;
use crate::commands::{Handler, resolve_in_script};
use crate::error::{ReplyError, Result};
use crate::hash::SLOTS;
use crate::keyspace::{Keyspace, Place, ScriptSha};
use crate::pubsub::{Counts, Kind, Subscriber};
use crate::record::{ItemRef, NEVER, Value, ValueRef};
use crate::reply::Reply;
use crate::script::{Script, ScriptBudget, ScriptEngine, ScriptFailure, ScriptHost};
use crate::stamp::UnixMillis;

/// Number of databases.
pub const DATABASES: usize = 16;
/// Budgets of a script run.
const SCRIPT_BUDGET: ScriptBudget =
    ScriptBudget { instructions_max: 50_000_000, memory_bytes_max: 64 << 20 };
/// Bytes of all cached scripts together.
const SCRIPT_CACHE_BYTES_MAX: usize = 64 << 20;

/// The type of a value, as TYPE names it. Grows with the data types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeName {
    /// `string`
    String,
    /// `list`
    List,
    /// `hash`
    Hash,
    /// `set`
    Set,
    /// `zset`
    Zset,
}

/// A type of value that has elements.
pub(crate) trait Collection: Default + Into<Value> {
    /// The value as this type, if it is one.
    fn of(value: &Value) -> Option<&Self>;
    /// The same, to be changed.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// Elements, fields or members.
    fn count(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

macro_rules! collections {
    ($($kind:ident)*) => {$(
        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Self::$kind(value)
            }
        }

        impl Collection for $kind {
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$kind(value) = value { Some(value) } else { None }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$kind(value) = value { Some(value) } else { None }
            }

            fn count(&self) -> usize {
                self.len()
            }
        }
    )*};
}

collections! { List Hash Set Zset }

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
#[derive(Clone, Copy)]
pub struct View<'a> {
    keyspace: &'a Keyspace,
    db: usize,
    now: UnixMillis,
    clock: UnixMillis,
    seed: u64,
}

impl<'a> View<'a> {
    pub(crate) const fn new(
        keyspace: &'a Keyspace,
        db: usize,
        now: UnixMillis,
        clock: UnixMillis,
        seed: u64,
    ) -> Self {
        Self { keyspace, db, now, clock, seed }
    }

    /// Log time: the stamp of the entry being applied, or of the last one applied.
    pub const fn now(&self) -> UnixMillis {
        self.now
    }

    /// The selected database.
    pub const fn db(&self) -> usize {
        self.db
    }

    /// The same state seen from another database.
    #[must_use]
    pub const fn at_db(&self, db: usize) -> Self {
        Self { db, ..*self }
    }

    /// Whether an item is live; a read outside apply notes one that is due by the clock and not yet by the log.
    fn is_live(&self, item: &ItemRef<'_>) -> bool {
        let at = item.record.expires_at;
        if is_planted(Canary::ReadEndsByClock) {
            return at > self.clock.0;
        }
        let awaits = !is_planted(Canary::ReadPastDeadline);
        if awaits && at > self.now.0 && at <= self.clock.0 && at != NEVER {
            let overdue = &self.keyspace.overdue;
            overdue.set(overdue.get().max(at));
        }
        at > self.now.0
    }

    fn item(&self, key: &[u8]) -> Option<ItemRef<'a>> {
        let place = self.keyspace.find(self.db, key)?;
        let item = self.keyspace.item(place);
        self.is_live(&item).then_some(item)
    }

    /// The value at `key`.
    pub(crate) fn value(&self, key: &[u8]) -> Option<ValueRef<'a>> {
        self.item(key).map(|item| item.record.value)
    }

    /// The collection at `key`, whatever its type.
    ///
    /// # Errors
    /// WRONGTYPE if a string lives there.
    pub(crate) fn collection(&self, key: &[u8]) -> Result<Option<&'a Value>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_collection().map(Some).ok_or(ReplyError::WRONG_TYPE)
    }

    /// The string at `key`; WRONGTYPE if another type lives there.
    pub fn string(&self, key: &[u8]) -> Result<Option<Cow<'a, [u8]>>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_string().map(|bytes| Some(Cow::Borrowed(bytes))).ok_or(ReplyError::WRONG_TYPE)
    }

    /// The collection of type `T` at `key`.
    ///
    /// # Errors
    /// WRONGTYPE if another type lives there.
    pub(crate) fn get<T: Collection>(&self, key: &[u8]) -> Result<Option<&'a T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_collection().and_then(T::of).map(Some).ok_or(ReplyError::WRONG_TYPE)
    }

    /// Facts of a live key.
    pub fn facts(&self, key: &[u8]) -> Option<KeyFacts> {
        self.item(key).map(|item| KeyFacts {
            type_name: item.record.value.type_name(),
            expires_at: (item.record.expires_at != NEVER)
                .then_some(UnixMillis(item.record.expires_at)),
            changed: item.record.changed,
            granted: item.record.granted,
        })
    }

    /// What OBJECT calls the form of a live key's value.
    pub fn encoding(&self, key: &[u8]) -> Option<&'static str> {
        self.value(key).map(ValueRef::encoding)
    }

    /// Keys in this database, those counted too that are past their deadline and not yet deleted (as DBSIZE does).
    pub fn key_count(&self) -> usize {
        self.keyspace.db(self.db).key_count()
    }

    /// Calls `visit` for every live key, slot by slot, in the state's own order.
    pub fn for_each_key(&self, visit: &mut dyn FnMut(&'a [u8], TypeName)) {
        let database = self.keyspace.db(self.db);
        let slots = (0..SLOTS).map_while(|slot| database.slot(slot));
        for item in slots.flat_map(crate::slot::Slot::items).filter(|item| self.is_live(item)) {
            visit(item.key, item.record.value.type_name());
        }
    }

    /// One step of SCAN: visits about `count` keys from `cursor` and answers the next cursor, 0 at the end.
    /// Walks each slot from its end to its start; removal swaps with the last, so an element that stays
    /// from start to end of a full iteration is seen at least once.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a [u8], TypeName),
    ) -> u64 {
        // A cursor is slot · 2^32 + the number of items of it that are still to be seen, plus one.
        let mut slot = (cursor >> 32) as usize;
        let mut left = (cursor & 0xFFFF_FFFF).checked_sub(1).map(|left| left as usize);
        let (database, mut visited) = (self.keyspace.db(self.db), 0);
        while let Some(items) = database.slot(slot) {
            let mut at = left.take().unwrap_or(items.len()).min(items.len());
            while at > 0 {
                if visited >= count {
                    return ((slot as u64) << 32) | (at as u64 + 1);
                }
                at -= 1;
                visited += 1;
                let item = items.item(at);
                if self.is_live(&item) {
                    visit(item.key, item.record.value.type_name());
                }
            }
            slot += 1;
        }
        0
    }

    /// A live key, chosen uniformly by `seed`; the choice wanders on if it meets keys past their deadline.
    pub fn random_key(&self, seed: u64) -> Option<&'a [u8]> {
        let database = self.keyspace.db(self.db);
        let count = database.key_count();
        let mut rng = crate::rng::Rng::seeded(seed);
        let start = if count == 0 { return None } else { rng.below(count as u64) as usize };
        let ranks = (start..count).chain(0..start);
        ranks
            .filter_map(|rank| database.nth(rank))
            .find(|item| self.is_live(item))
            .map(|item| item.key)
    }

    /// Seed for a random choice: the entry's while applying; one from the caller of `StateMachine::read` otherwise.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether a script with this lower-case hex SHA-1 is cached.
    pub fn script_exists(&self, sha: &[u8]) -> bool {
        sha_key(sha).is_some_and(|sha| self.keyspace.scripts().contains_key(&sha))
    }

    /// Names of a kind that clients of the cluster are subscribed to, in order, with how many are.
    pub fn subscribed(&self, kind: Kind) -> impl Iterator<Item = (&'a [u8], usize)> + use<'a> {
        self.keyspace.pubsub.subscribed(kind).map(|(name, count)| (&**name, count))
    }

    /// How many clients of the cluster are subscribed to a name.
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        self.keyspace.pubsub.subscribers(kind, name)
    }
}

fn sha_key(sha: &[u8]) -> Option<ScriptSha> {
    let mut key: ScriptSha = sha.try_into().ok()?;
    key.make_ascii_lowercase();
    Some(key)
}

/// Where a running script began, and how far it is.
#[derive(Clone, Copy, Debug, Default)]
struct ScriptRun {
    /// Where the undo list stood at its start.
    mark: usize,
    /// Calls it made so far: each has a seed of its own, and the same one after a rewind.
    calls: u64,
    /// Whether its first line promises not to write.
    no_writes: bool,
}

/// Writing access while one command is applied. Every change is kept in an undo list until the command has ended.
pub struct Txn<'a> {
    keyspace: &'a mut Keyspace,
    db: usize,
    now: UnixMillis,
    seed: u64,
    caller: Subscriber,
    /// The interpreter; lent to a script while it runs.
    engine: Option<&'a mut dyn ScriptEngine>,
    script: ScriptRun,
}

impl<'a> Txn<'a> {
    /// The script cache holds no more; nothing is pushed out of it, since an EVALSHA may need it.
    pub const SCRIPT_CACHE_FULL: ReplyError =
        ReplyError::fixed("ERR the script cache is full: run SCRIPT FLUSH");
    /// Subscriptions are kept on every node, in memory.
    pub const SUBSCRIPTIONS_FULL: ReplyError =
        ReplyError::fixed("ERR there are too many subscriptions; nothing was subscribed to");
    /// Messages are kept until the script has ended.
    pub const PUBLISHED_TOO_MUCH: ReplyError =
        ReplyError::fixed("ERR the script publishes too much at once; this message is not sent");

    pub(crate) fn new(
        keyspace: &'a mut Keyspace,
        db: usize,
        now: UnixMillis,
        (seed, caller): (u64, Subscriber),
        engine: &'a mut dyn ScriptEngine,
    ) -> Self {
        let script = ScriptRun::default();
        Self { keyspace, db, now, seed, caller, engine: Some(engine), script }
    }

    /// The same state, read-only.
    pub const fn view(&self) -> View<'_> {
        let seed = self.seed.wrapping_add(self.script.calls);
        View::new(self.keyspace, self.db, self.now, self.now, seed)
    }

    /// Stamp time of the entry being applied.
    pub const fn now(&self) -> UnixMillis {
        self.now
    }

    /// The selected database.
    pub const fn db(&self) -> usize {
        self.db
    }

    fn live(&self, key: &[u8]) -> Option<(Place, ItemRef<'_>)> {
        self.keyspace.live(self.db, key, self.now.0)
    }

    /// Creates or overwrites. An overwrite of another type is fine here.
    pub fn set_string(&mut self, key: &[u8], value: &[u8], expiry: Expiry) {
        let expires_at = match expiry {
            Expiry::Keep if is_planted(Canary::KeepClears) => NEVER,
            Expiry::Keep => self.live(key).map_or(NEVER, |(_, item)| item.record.expires_at),
            Expiry::Clear => NEVER,
            Expiry::At(at) if at <= self.now => {
                self.remove(key);
                return;
            }
            Expiry::At(at) => at.0.min(NEVER - 1),
        };
        self.keyspace.set(self.db, key, Value::string(value), expires_at);
    }

    /// Appends to the string at `key` (or creates it); answers the new length. WRONGTYPE as for `View::string`.
    pub fn append(&mut self, key: &[u8], tail: &[u8]) -> Result<usize> {
        let length = self.view().string(key)?.map_or(0, |value| value.len());
        self.overwrite(key, length, tail)
    }

    /// Overwrites bytes from `offset` on, padding with zero bytes; answers the new length. WRONGTYPE as for `View::string`.
    pub fn overwrite(&mut self, key: &[u8], offset: usize, bytes: &[u8]) -> Result<usize> {
        self.view().string(key)?;
        if let Some((place, _)) = self.live(key) {
            return Ok(self.keyspace.overwrite(place, offset, bytes));
        }
        let mut value = alloc::vec![0; offset];
        value.extend_from_slice(bytes);
        self.set_string(key, &value, Expiry::Clear);
        Ok(value.len())
    }

    /// The collection of type `T` at `key`, as [`View::get`].
    pub(crate) fn get<T: Collection>(&self, key: &[u8]) -> Result<Option<&T>> {
        self.view().get(key)
    }

    /// Changes the collection of type `T` at `key`, or an empty one if there is none, by `work`, which answers whether it has changed
    /// anything. A collection that is empty afterwards is deleted, and one that was created has no expiry.
    ///
    /// # Errors
    /// WRONGTYPE if another type lives there; `work` has not run then.
    pub(crate) fn edit<T: Collection, R>(
        &mut self,
        key: &[u8],
        work: impl FnOnce(&mut T) -> (R, bool),
    ) -> Result<R> {
        self.edit_or_create(key, T::default, work)
    }

    /// The same where an empty one is made by `create`.
    ///
    /// # Errors
    /// As for [`Self::edit`].
    pub(crate) fn edit_or_create<T: Collection, R>(
        &mut self,
        key: &[u8],
        create: impl FnOnce() -> T,
        work: impl FnOnce(&mut T) -> (R, bool),
    ) -> Result<R> {
        let Some((place, item)) = self.live(key) else {
            let mut value = create();
            let (outcome, _) = work(&mut value);
            if !value.is_empty() {
                self.keyspace.set(self.db, key, value.into(), NEVER);
            }
            return Ok(outcome);
        };
        if item.record.value.as_collection().and_then(T::of).is_none() {
            return Err(ReplyError::WRONG_TYPE);
        }
        let mut is_empty = false;
        let outcome = self.keyspace.change(place, |value| {
            let value = T::of_mut(value).expect("its type was looked at above");
            let outcome = work(value);
            is_empty = value.is_empty();
            outcome
        });
        if is_empty {
            self.keyspace.remove(place);
        }
        Ok(outcome)
    }

    /// Creates or overwrites with a whole collection, without an expiry; an empty one deletes the key. Answers its length.
    pub(crate) fn store<T: Collection>(&mut self, key: &[u8], value: T) -> usize {
        let count = value.count();
        if count == 0 {
            self.remove(key);
        } else {
            self.keyspace.set(self.db, key, value.into(), NEVER);
        }
        count
    }

    /// Deletes; false if there was no live key.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let place = self.live(key).map(|(place, _)| place);
        if let Some(place) = place {
            self.keyspace.remove(place);
        }
        place.is_some()
    }

    /// Sets, moves or clears the expiry of a live key; false if there is none. A time at or before now deletes.
    /// Moves `changed`, not `granted`.
    pub fn set_expiry(&mut self, key: &[u8], expires_at: Option<UnixMillis>) -> bool {
        let Some((place, _)) = self.live(key) else { return false };
        match expires_at {
            Some(at) if at <= self.now => self.keyspace.remove(place),
            Some(at) => {
                let old = self.keyspace.item(place).record.expires_at;
                let latest = if is_planted(Canary::DeadlineOnlySooner) { old } else { NEVER };
                let late = is_planted(Canary::ScriptDeadlineLate) && self.script.calls > 0;
                let at = at.0 + u64::from(late);
                self.keyspace.set_deadline(place, at.min(latest).min(NEVER - 1));
            }
            None => self.keyspace.set_deadline(place, NEVER),
        }
        true
    }

    /// Copies value and expiry of a live key, whatever its type, to another key or database, replacing what is there.
    /// False if the source does not exist.
    pub fn copy(&mut self, from: &[u8], to_db: usize, to: &[u8]) -> bool {
        let Some((_, item)) = self.live(from) else { return false };
        let (value, expires_at) = (item.record.value.to_value(), item.record.expires_at);
        self.keyspace.set(to_db, to, value, expires_at);
        true
    }

    /// Empties one database.
    pub fn flush_db(&mut self, db: usize) {
        self.keyspace.flush(db);
    }

    /// Swaps two databases.
    pub fn swap_dbs(&mut self, one: usize, other: usize) {
        self.keyspace.swap(one, other);
    }

    /// Subscribes the calling client; false if it was.
    pub fn subscribe(&mut self, kind: Kind, name: &[u8]) -> bool {
        let change = self.keyspace.pubsub.add(kind, name, self.caller);
        self.keyspace.keep_change(change)
    }

    /// Ends a subscription of the calling client; false if it had none.
    pub fn unsubscribe(&mut self, kind: Kind, name: &[u8]) -> bool {
        let change = self.keyspace.pubsub.remove(kind, name, self.caller);
        self.keyspace.keep_change(change)
    }

    /// What the calling client is subscribed to, in order.
    pub fn subscriptions(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        self.keyspace.pubsub.names_of(kind, self.caller)
    }

    /// How much the calling client is subscribed to.
    pub fn subscription_counts(&self) -> Counts {
        self.keyspace.pubsub.counts_of(self.caller)
    }

    /// Whether there is room for subscriptions to these names.
    pub fn has_room_for(&self, names: &[&[u8]]) -> bool {
        self.keyspace.pubsub.has_room(names)
    }

    /// Sends a message, once the command has ended; answers how many receive it.
    ///
    /// # Errors
    /// [`Self::PUBLISHED_TOO_MUCH`].
    pub fn publish(&mut self, is_shard: bool, channel: &[u8], payload: &[u8]) -> Result<usize> {
        let published = self.keyspace.pubsub.publish(is_shard, channel, payload);
        let (receivers, change) = published.ok_or(Self::PUBLISHED_TOO_MUCH)?;
        self.keyspace.keep_change(change);
        Ok(receivers)
    }

    /// Puts a script that compiles into the replicated cache; answers its lower-case hex SHA-1.
    ///
    /// # Errors
    /// It does not compile, or [`Self::SCRIPT_CACHE_FULL`].
    pub fn cache_script(&mut self, body: &[u8]) -> Result<ScriptSha> {
        let sha = crate::script::sha1_hex(body);
        if self.keyspace.scripts().contains_key(&sha) {
            return Ok(sha);
        }
        if let Some(engine) = self.engine.as_deref_mut() {
            engine.check(Script::parse(body)?.code)?;
        }
        if self.keyspace.scripts_bytes() + body.len() > SCRIPT_CACHE_BYTES_MAX {
            return Err(Self::SCRIPT_CACHE_FULL);
        }
        self.keyspace.add_script(sha, body);
        Ok(sha)
    }

    /// The body of a cached script.
    pub fn cached_script(&self, sha: &[u8]) -> Option<Vec<u8>> {
        self.keyspace.scripts().get(&sha_key(sha)?).map(|body| body.to_vec())
    }

    /// Empties the script cache.
    pub fn flush_scripts(&mut self) {
        self.keyspace.flush_scripts();
        if let Some(engine) = self.engine.as_deref_mut() {
            engine.forget();
        }
    }

    /// Runs a script with this transaction as its host (EVAL, EVALSHA; those that end with _RO let it not write).
    /// A budget that ran out rolls the script's writes back, and the error says so.
    pub fn run_script(
        &mut self,
        body: &[u8],
        keys: &[&[u8]],
        argv: &[&[u8]],
        read_only: bool,
    ) -> Result<Reply<'static>> {
        let script = Script::parse(body)?;
        let script = if read_only { script.read_only()? } else { script };
        let nested = ReplyError::fixed("ERR a script can't run another one");
        let engine = self.engine.take().ok_or(nested)?;
        self.script =
            ScriptRun { mark: self.keyspace.mark(), calls: 0, no_writes: script.no_writes };
        let sha = crate::script::sha1_hex(body);
        let sha = core::str::from_utf8(&sha).unwrap_or_default();
        let outcome = engine.run(sha, script.code, keys, argv, SCRIPT_BUDGET, self);
        self.engine = Some(engine);
        match outcome {
            Ok(reply) => Ok(reply),
            Err(ScriptFailure::Error(error)) => Err(error),
            Err(ScriptFailure::BudgetExceeded(error)) => {
                self.rewind();
                Err(error)
            }
        }
    }

    /// Runs one command that may wait if it finds nothing.
    pub(crate) fn run_blocking(&mut self, handler: Handler, argv: &[&[u8]]) -> Result<Blocking> {
        match handler {
            Handler::Block { run, .. } => run(self, Args::new(argv)),
            _ => self.run(handler, argv).map(Blocking::Done),
        }
    }

    /// Runs one command handler with this access.
    pub(crate) fn run(&mut self, handler: Handler, argv: &[&[u8]]) -> Result<Reply<'static>> {
        match handler {
            Handler::Read(read) => read(&self.view(), Args::new(argv)).map(Reply::into_owned),
            Handler::Write(write) => write(self, Args::new(argv)),
            // In a script or a transaction it can't wait.
            Handler::Block { run, nothing, .. } => Ok(match run(self, Args::new(argv))? {
                Blocking::Done(reply) => reply,
                Blocking::Wait(_) => nothing.reply(),
            }),
        }
    }
}

impl ScriptHost for Txn<'_> {
    fn call(&mut self, argv: &[&[u8]]) -> Reply<'static> {
        self.script.calls += 1;
        let outcome = resolve_in_script(argv).and_then(|spec| {
            if self.script.no_writes && spec.is_write() {
                return Err(ReplyError::fixed(
                    "ERR Write commands are not allowed from read-only scripts.",
                ));
            }
            self.run(spec.handler, argv)
        });
        outcome.unwrap_or_else(Reply::Error)
    }

    fn rewind(&mut self) {
        self.keyspace.roll_back(self.script.mark);
        self.script.calls = 0;
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}
