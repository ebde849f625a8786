//! The independent model: the committed log replayed through a map, written without a look at the product's own commands. It
//! knows what the workloads send. Its answers are what the clients must have seen.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::entry::{self, Body, Op, Part};

use crate::check::witness::Window;
use crate::history::ConnectionId;
use crate::value::{Argv, Value, range, readable_argv};

mod channels;
mod command;
mod keys;
pub mod lists;
pub mod scripts;

pub use channels::ends_connection;

/// A key's life between two changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The value.
    pub value: Vec<u8>,
    /// Gone from this stamp on.
    pub deadline: Option<u64>,
}

/// Where something stands in the log: index, then number of the request within the whole log.
pub type Position = (u64, u64);

/// A request that the log held and the sequence check let through.
#[derive(Debug, Clone)]
pub struct Executed {
    /// Where.
    pub at: Position,
    /// Its gateway.
    pub node: u64,
    /// Its gateway's incarnation.
    pub incarnation: u64,
    /// The client's id there.
    pub client: u64,
    /// The calls; one, unless it is a transaction.
    pub calls: Vec<Argv>,
    /// What it must have been answered; none if it came too late and was not executed, or waits.
    pub reply: Option<Value>,
    /// The entry at which that was known: a later one than its own if it has waited.
    pub done: u64,
}

impl Executed {
    /// The connection that it came by.
    pub fn connection(&self) -> ConnectionId {
        ConnectionId { node: self.node, incarnation: self.incarnation, client: self.client }
    }

    /// For messages.
    pub fn readable(&self) -> String {
        let calls: Vec<String> = self.calls.iter().map(readable_argv).collect();
        format!("entry {}: {} (n{})", self.at.0, calls.join("; "), self.node)
    }
}

#[derive(Debug, Clone, Default)]
struct Gateway {
    incarnation: u64,
    passed: u64,
    joined: Vec<u8>,
}

/// See the file's head.
#[derive(Debug, Clone, Default)]
pub struct Model {
    items: BTreeMap<Vec<u8>, Item>,
    /// Position of the last change of a key, but for its end.
    changed: BTreeMap<Vec<u8>, Position>,
    scripts: BTreeSet<Vec<u8>>,
    channels: channels::Channels,
    /// Whose request is executed.
    caller: Option<ConnectionId>,
    gateways: BTreeMap<u64, Gateway>,
    stamp: u64,
    position: Position,
    /// Stamp after each index.
    stamps: BTreeMap<u64, u64>,
    /// The first index after which the product counted each revision.
    first_with: BTreeMap<u64, u64>,
    /// Where the last change of a key at an index was its end.
    ends: BTreeSet<(Vec<u8>, u64)>,
    /// Each key at each index where it changed.
    past: BTreeMap<Vec<u8>, BTreeMap<u64, Option<Item>>>,
    /// Requests that wait, in order of arrival.
    waiting: Vec<lists::Waiting>,
    /// Lists that were made by the request under way.
    ready: Vec<Vec<u8>>,
}

impl Model {
    /// Replays the next entry. `revision` is the product's revision after it, to which WATCH refers.
    ///
    /// # Errors
    /// What can't be decoded.
    pub fn apply(
        &mut self,
        index: u64,
        payload: &[u8],
        revision: u64,
    ) -> Result<Vec<Executed>, String> {
        let mut executed = Vec::new();
        self.position.0 = index;
        if !payload.is_empty() {
            let wrong = |error: entry::EntryError| format!("entry {index}: {error}");
            let (stamp, ops) = entry::decode_entry(payload).map_err(wrong)?;
            self.stamp = self.stamp.max(stamp.time.0);
            self.end_keys();
            self.time_out(&mut executed);
            for op in ops {
                match op.map_err(wrong)? {
                    Op::Register { node, incarnation, .. } => {
                        self.register(node, incarnation, &mut executed);
                    }
                    Op::Parcel(parcel) => self.parcel(&parcel, &mut executed).map_err(wrong)?,
                    Op::Bootstrap { .. } | Op::Retire { .. } | Op::Tick | Op::Level(_) => {}
                }
            }
        }
        self.stamps.insert(index, self.stamp);
        self.first_with.entry(revision).or_insert(index);
        Ok(executed)
    }

    fn register(&mut self, node: u64, incarnation: u64, executed: &mut Vec<Executed>) {
        let gateway = self.gateways.entry(node).or_default();
        if incarnation > gateway.incarnation {
            *gateway = Gateway { incarnation, ..Gateway::default() };
            self.forget_waiting(executed, |request| request.node == node);
            self.channels.forget_node(node);
        }
    }

    fn parcel(
        &mut self,
        parcel: &entry::Parcel<'_>,
        executed: &mut Vec<Executed>,
    ) -> Result<(), entry::EntryError> {
        let Some(gateway) = self.gateways.get_mut(&parcel.node) else { return Ok(()) };
        if gateway.incarnation != parcel.incarnation || gateway.passed + 1 != parcel.sequence {
            return Ok(());
        }
        gateway.passed = parcel.sequence;
        gateway.joined.extend_from_slice(parcel.bytes);
        if parcel.part == Part::More {
            return Ok(());
        }
        let batch = std::mem::take(&mut gateway.joined);
        for request in entry::decode_batch(&batch) {
            let request = request?;
            self.position.1 += 1;
            if let Body::Unblock { client, .. } = request.body {
                let whose = ConnectionId { client, ..connection_of(parcel, &request) };
                self.forget_waiting(executed, |waiting| waiting.connection() == whose);
                continue;
            }
            let calls = calls(&request.body);
            self.caller = Some(connection_of(parcel, &request));
            let mut done = Executed {
                at: self.position,
                node: parcel.node,
                incarnation: parcel.incarnation,
                client: request.client,
                calls,
                reply: None,
                done: self.position.0,
            };
            let in_time = self.stamp <= request.latest.0;
            let until = match (&request.body, done.calls.first()) {
                (Body::Command(_), Some(call)) if in_time => self.waits(call),
                _ => None,
            };
            if let Some(until) = until {
                self.begin_to_wait(done, until);
                continue;
            }
            done.reply = in_time.then(|| self.request(&request.body, &done.calls));
            executed.push(done);
            self.serve(executed);
        }
        Ok(())
    }

    fn request(&mut self, body: &Body<'_>, calls: &[Argv]) -> Value {
        let Body::Transaction(transaction) = body else {
            return calls.first().map_or(Value::Nil, |call| self.command(call));
        };
        let broken = transaction.watches().any(|watch| {
            watch.present != self.items.contains_key(watch.key)
                || self.has_changed_since(watch.key, watch.revision)
        });
        if broken {
            return Value::Nil;
        }
        Value::Array(calls.iter().map(|call| self.command(call)).collect())
    }

    /// Whether a key was changed after the state had this revision. That it ended is not counted: a key that was watched when it
    /// had ended may be removed later.
    fn has_changed_since(&self, key: &[u8], revision: u64) -> bool {
        let seen = self.first_with.range(revision..).next().map_or(u64::MAX, |(_, index)| *index);
        self.changed.get(key).is_some_and(|(index, _)| *index > seen)
    }

    /// What a connection was to be told without asking.
    pub fn told(&self, connection: ConnectionId) -> &[Value] {
        self.channels.told(connection)
    }

    /// Indexes above `from`, up to `to`, at which one of these keys changed.
    pub fn changes(&self, keys: &[Vec<u8>], from: u64, to: u64) -> BTreeSet<u64> {
        let past = keys.iter().filter_map(|key| self.past.get(key));
        past.filter(|_| from < to)
            .flat_map(|past| past.range(from + 1..=to).map(|(index, _)| *index))
            .collect()
    }

    /// Whether a key changed at exactly this index.
    pub fn changed_within(&self, key: &[u8], index: u64) -> bool {
        self.past.get(key).is_some_and(|past| past.contains_key(&index))
    }

    /// Whether the last change of a key at this index was its end.
    pub fn ended_at(&self, key: &[u8], index: u64) -> bool {
        self.ends.contains(&(key.to_vec(), index))
    }

    /// Whether a read of the state after `index` may answer this; `real` says when it ran, where clocks are kept in time.
    pub fn reads_as(&self, call: &Argv, index: u64, reply: &Value, real: Option<Window>) -> bool {
        let item = |key: &Vec<u8>| self.item_at(key, index);
        let get =
            |key: &Vec<u8>| item(key).map_or(Value::Nil, |item| Value::Bulk(item.value.clone()));
        let Some((name, keys)) = call.split_first() else { return false };
        let deadline = |key: &Vec<u8>| item(key).and_then(|item| item.deadline);
        if let Some(Window { from_ms, .. }) = real
            && keys.iter().filter_map(deadline).any(|deadline| deadline < from_ms)
        {
            return false; // a key that ended well before is not there, whatever the log has got to
        }
        match (name.as_slice(), keys) {
            (b"GET", [key]) => get(key).same(reply),
            (b"MGET", keys) => Value::Array(keys.iter().map(get).collect()).same(reply),
            (b"EXISTS" | b"TOUCH", keys) => {
                Value::Int(keys.iter().filter(|key| item(key).is_some()).count() as i64).same(reply)
            }
            (b"STRLEN", [key]) => {
                Value::Int(item(key).map_or(0, |item| item.value.len() as i64)).same(reply)
            }
            (b"LLEN", [key]) => {
                let count = item(key).map_or(0, |item| lists::elements(&item.value).len());
                Value::Int(count as i64).same(reply)
            }
            (b"LRANGE", [key, ..]) => item(key)
                .map_or(Value::Array(Vec::new()), |item| lists::all(&item.value))
                .same(reply),
            (b"GETRANGE", [key, start, end]) => {
                let number = |word: &Vec<u8>| command::number(word).unwrap_or(0);
                let value = item(key).map_or(&[][..], |item| item.value.as_slice());
                Value::Bulk(range(value, number(start), number(end))).same(reply)
            }
            (b"TYPE", [key]) => {
                let kind = if item(key).is_some() { "string" } else { "none" };
                Value::Simple(kind.to_owned()).same(reply)
            }
            (b"PTTL" | b"TTL" | b"PEXPIRETIME", [key]) => {
                self.end_reads_as(name, item(key), index, reply, real)
            }
            (b"WATCH" | b"UNWATCH", _) => Value::ok().same(reply),
            _ => false,
        }
    }

    /// PTTL, TTL and PEXPIRETIME of a key.
    fn end_reads_as(
        &self,
        name: &[u8],
        item: Option<&Item>,
        index: u64,
        reply: &Value,
        real: Option<Window>,
    ) -> bool {
        let deadline = match (item, reply) {
            (None, reply) => return reply.same(&Value::Int(-2)),
            (Some(Item { deadline: None, .. }), reply) => return reply.same(&Value::Int(-1)),
            (Some(Item { deadline: Some(deadline), .. }), _) => *deadline,
        };
        let Value::Int(answer) = reply else { return false };
        if name == b"PEXPIRETIME" {
            return *answer == deadline as i64;
        }
        // The clock has gone on since the entry, but not further than real time.
        let latest = real.map_or(u64::MAX, |real| real.to_ms);
        let least = deadline.saturating_sub(latest) as i64;
        let most = deadline.saturating_sub(self.stamp_at(index)) as i64;
        let rounded = |ms: i64| if name == b"TTL" { (ms + 500) / 1000 } else { ms };
        (rounded(least)..=rounded(most)).contains(answer)
    }

    fn stamp_at(&self, index: u64) -> u64 {
        self.stamps.range(..=index).next_back().map_or(0, |(_, stamp)| *stamp)
    }

    fn item_at(&self, key: &[u8], index: u64) -> Option<&Item> {
        let past = self.past.get(key)?;
        past.range(..=index).next_back().and_then(|(_, item)| item.as_ref())
    }

    /// All keys as they were after `index`.
    pub fn items_at(&self, index: u64) -> BTreeMap<Vec<u8>, Item> {
        let item = |key: &Vec<u8>| Some((key.clone(), self.item_at(key, index)?.clone()));
        self.past.keys().filter_map(item).collect()
    }

    fn end_keys(&mut self) {
        let due = |item: &Item| item.deadline.is_some_and(|deadline| deadline <= self.stamp);
        let gone: Vec<Vec<u8>> =
            self.items.iter().filter(|(_, item)| due(item)).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.items.remove(&key);
            self.past.entry(key.clone()).or_default().insert(self.position.0, None);
            self.ends.insert((key, self.position.0));
        }
    }

    fn put(&mut self, key: &[u8], item: Option<Item>) {
        self.changed.insert(key.to_vec(), self.position);
        self.ends.remove(&(key.to_vec(), self.position.0));
        self.past.entry(key.to_vec()).or_default().insert(self.position.0, item.clone());
        match item {
            Some(item) => self.items.insert(key.to_vec(), item),
            None => self.items.remove(key),
        };
    }
}

fn connection_of(parcel: &entry::Parcel<'_>, request: &entry::Request<'_>) -> ConnectionId {
    let entry::Parcel { node, incarnation, .. } = *parcel;
    ConnectionId { node, incarnation, client: request.client }
}

fn calls(body: &Body<'_>) -> Vec<Argv> {
    let owned = |call: &entry::Call<'_>| {
        let mut words = Vec::new();
        call.argv_into(&mut words);
        words.iter().map(|word| word.to_vec()).collect()
    };
    match body {
        Body::Command(call) => vec![owned(call)],
        Body::Transaction(transaction) => transaction.calls().map(|call| owned(&call)).collect(),
        Body::Unblock { .. } => Vec::new(),
    }
}
