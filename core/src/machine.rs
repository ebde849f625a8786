//! The state machine: `apply` takes the next entry of the log, `read` answers from what was applied. Nothing else
//! changes state. Same log, same state, same replies, on every replica. Laws: tests/laws.rs.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::{DATABASES, Txn, View};
use crate::blocking::Blocking;
use crate::canary::{Canary, is_planted};
use crate::commands::args::Args;
use crate::commands::{Handler, ReadHandler, resolve};
use crate::entry::{self, Body, Call, EntryError, Op, Parcel, Part, Request, Transaction, Watched};
use crate::error::{ReplyError, Result};
use crate::hash::slot_of;
use crate::keyspace::Keyspace;
use crate::mark::{self, Mark};
use crate::pubsub::{Delivery, Subscriber};
use crate::record::NEVER;
use crate::reply::Reply;
use crate::rng::Rng;
use crate::script::{ScriptEngine, Surroundings};
use crate::scrub::{Decay, Scrub};
use crate::snapshot::Encoding;
pub use crate::snapshot::SnapshotError;
use crate::stamp::{Stamp, UnixMillis};
use crate::waiters::Source;

/// Due keys deleted per entry at the most; those left are logically absent and go with the next entries.
const EXPIRED_PER_ENTRY_MAX: usize = 1000;
/// Bytes of a batch that comes in parts; nothing of a longer one is executed. The gateways refuse larger requests
/// before they number them.
const JOINED_BYTES_MAX: usize = 1 << 30;

/// How [`StateMachine::digest`] is formed. Another way has another number: digests of different releases may not be comparable.
pub const DIGEST_VERSION: u32 = 3;

/// The first semantics level.
pub const FIRST_LEVEL: u32 = 1;
/// The highest semantics level of this release: what entries mean. Another meaning has the next number, and begins with an entry of its
/// own, which is not written before every member knows that level; whatever a level changes looks at [`StateMachine::level`].
pub const SEMANTICS_LEVEL: u32 = 1;

/// Where apply puts what came out of it. Who listens to replies alone need not hear of the rest.
pub trait Sink {
    /// Whether this node answers the clients of that gateway incarnation. Replies of others are not built
    /// where that can be avoided.
    fn wants(&self, node: u64, incarnation: u64) -> bool;
    /// The outcome of request `position` (0-based within its batch) of the own gateway's batch that ended
    /// with parcel `sequence`.
    fn reply(&mut self, sequence: u64, position: u32, outcome: Outcome<'_>);
    /// That request waits for a key: its reply comes later, as `served`.
    fn blocked(&mut self, _sequence: u64, _position: u32) {}
    /// The outcome of a request that has waited.
    fn served(&mut self, _sequence: u64, _position: u32, _outcome: Outcome<'_>) {}
    /// A client of a wanted gateway is subscribed to what was published. It hears of it in front of the reply of the command that has
    /// published it, and behind that of the transaction; either is the next reply here.
    fn message(&mut self, _to: Subscriber, _message: &Reply<'_>) {}
    /// The state machine passed parcel `sequence` of a wanted gateway incarnation (after the replies, if it
    /// ended a batch).
    fn passed(&mut self, sequence: u64);
}

/// What became of a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome<'a> {
    /// It was executed and answered this.
    Reply(Reply<'a>),
    /// The entry's stamp was past the request's `latest`: definitely not applied.
    TooLate,
}

/// What apply did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The entry's index.
    pub index: u64,
    /// The stamp it was applied with: its own, with a time not before the last one's.
    pub stamp: Stamp,
}

/// What a read answers.
#[derive(Clone, PartialEq, Debug)]
pub enum ReadOutcome<'a> {
    /// The reply.
    Reply(Reply<'a>),
    /// The read met a key past its deadline by the clock, but not yet by the log: ask again when an entry
    /// with this stamp time or a later one was applied.
    AwaitStamp(UnixMillis),
}

/// What WATCH answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchOutcome {
    /// The precondition that EXEC carries.
    Token(Watched),
    /// As in [`ReadOutcome::AwaitStamp`].
    AwaitStamp(UnixMillis),
}

/// What the state knows of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GatewayState {
    /// The highest incarnation ever registered.
    pub incarnation: u64,
    /// The last parcel applied of it; 0 = none.
    pub passed: u64,
    /// Whether the leader gave it up: nothing of it is applied any more.
    pub retired: bool,
}

/// Figures of one database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DatabaseStats {
    /// Keys, those included that are past their deadline and not yet deleted.
    pub keys: u64,
    /// Keys with a deadline.
    pub expires: u64,
    /// Mean remaining time of those, by the last stamp.
    pub avg_ttl_ms: u64,
}

/// Counters since this replica was made or restored. Not part of the digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Keys deleted because their deadline passed.
    pub expired_keys: u64,
    /// Requests executed.
    pub requests: u64,
    /// Requests not executed because they came too late.
    pub too_late: u64,
    /// Parcels dropped as duplicates.
    pub duplicate_parcels: u64,
    /// Parcels dropped because one before them was missing.
    pub gap_parcels: u64,
    /// Parcels dropped because their gateway incarnation may not write.
    pub fenced_parcels: u64,
    /// Commands that panicked and were undone.
    pub contained_panics: u64,
}

/// A gateway, and the batch of it that has come in part.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) state: GatewayState,
    /// Where its clients find it, as it last said.
    pub(crate) announced: String,
    pub(crate) joined: Vec<u8>,
}

impl Gateway {
    /// The batch that ends with this parcel; empty while parts are missing.
    fn join<'p>(&mut self, parcel: &Parcel<'p>) -> Cow<'p, [u8]> {
        if parcel.part == Part::Whole {
            self.joined = Vec::new();
            return Cow::Borrowed(parcel.bytes);
        }
        let length = self.joined.len() + parcel.bytes.len();
        if length <= JOINED_BYTES_MAX {
            self.joined.extend_from_slice(parcel.bytes);
        } else {
            self.joined.resize(JOINED_BYTES_MAX + 1, 0); // marks it as too long
        }
        if parcel.part == Part::More {
            return Cow::Borrowed(&[]);
        }
        mark::reached(Mark::PartsJoined);
        let joined = if is_planted(Canary::PartsKept) {
            self.joined.clone()
        } else {
            core::mem::take(&mut self.joined)
        };
        Cow::Owned(if joined.len() > JOINED_BYTES_MAX { Vec::new() } else { joined })
    }
}

/// What a call inherits from its request.
#[derive(Clone, Copy, Debug)]
struct Origin {
    seed: u64,
    /// Whether this node answers it.
    wanted: bool,
    source: Source,
}

/// A handler that is to run, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) handler: Handler,
    pub(crate) db: usize,
    pub(crate) seed: u64,
    pub(crate) source: Source,
}

/// What became of a request in the step in which it came.
enum Handled {
    Outcome(Outcome<'static>),
    /// It waits for a key.
    Waits,
}

/// See the file's head.
#[derive(Debug)]
pub struct StateMachine {
    pub(crate) applied: u64,
    pub(crate) stamp: Stamp,
    pub(crate) cluster_id: u128,
    /// What entries mean from here on.
    pub(crate) level: u32,
    /// The highest level that is known here.
    known_level: u32,
    pub(crate) keyspace: Keyspace,
    pub(crate) gateways: BTreeMap<u64, Gateway>,
    pub(crate) statistics: Statistics,
    /// Messages that the request being applied has published, for the clients of wanted gateways.
    deliveries: Vec<Delivery>,
    /// Set when an entry failed half-way.
    failed: Option<EntryError>,
    /// A snapshot that is being written between entries.
    encoding: Option<Encoding>,
    scrub: Scrub,
}

impl Default for StateMachine {
    fn default() -> Self {
        Self::new()
    }
}

impl StateMachine {
    /// Empty, at index 0. The hash key comes with the bootstrap operation.
    pub fn new() -> Self {
        Self {
            applied: 0,
            stamp: Stamp::default(),
            cluster_id: 0,
            level: FIRST_LEVEL,
            known_level: SEMANTICS_LEVEL,
            keyspace: Keyspace::new(),
            gateways: BTreeMap::new(),
            statistics: Statistics::default(),
            deliveries: Vec::new(),
            failed: None,
            encoding: None,
            scrub: Scrub::default(),
        }
    }

    /// Applies the next entry. An empty payload is raft's own.
    ///
    /// # Errors
    /// The entry cannot be decoded: the node must stop. Nothing was changed; only where it is a batch in parts that
    /// cannot be read after its last part has come, the machine is left half-way and refuses all that follows.
    pub fn apply(
        &mut self,
        index: u64,
        payload: &[u8],
        surroundings: &mut dyn Surroundings,
        sink: &mut dyn Sink,
    ) -> Result<Applied, EntryError> {
        if index != self.applied + 1 {
            return Err(EntryError::OutOfOrder { expected: self.applied + 1, found: index });
        }
        if payload.is_empty() {
            self.applied = index;
            return Ok(Applied { index, stamp: self.stamp });
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (stamp, ops) = entry::decode_entry(payload)?;
        for op in ops.clone() {
            match op? {
                Op::Parcel(Parcel { part: Part::Whole, bytes, .. }) => entry::check_batch(bytes)?,
                Op::Level(level) => self.check_level(level)?,
                _ => {}
            }
        }
        // Time never runs back, and never reaches the number that stands for "no deadline".
        let time = stamp.time.max(self.stamp.time).min(UnixMillis(NEVER - 1));
        self.stamp = Stamp { time, seed: stamp.seed };
        let expired = self.keyspace.expire_due(self.stamp.time.0, EXPIRED_PER_ENTRY_MAX);
        self.statistics.expired_keys += expired as u64;
        self.time_out_waiters(sink);
        let mut rng = Rng::seeded(stamp.seed);
        for op in ops.flatten() {
            match op {
                Op::Bootstrap { cluster_id, hash_key } => self.bootstrap(cluster_id, hash_key),
                Op::Register { node, incarnation, announced } => {
                    self.register(node, incarnation, announced);
                }
                Op::Retire { node, incarnation } => self.retire(node, incarnation),
                Op::Tick => {}
                Op::Level(level) => self.level = self.level.max(level),
                Op::Parcel(parcel) => {
                    if let Err(error) = self.parcel(&parcel, &mut rng, surroundings, sink) {
                        self.failed = Some(error);
                        return Err(error);
                    }
                }
            }
        }
        self.applied = index;
        Ok(Applied { index, stamp: self.stamp })
    }

    /// Makes this the machine of a release that knows levels up to this one, as the simulator's releases are.
    ///
    /// # Errors
    /// The state is of a later level: this release can't go on with it.
    pub fn of_release(mut self, known_level: u32) -> Result<Self, EntryError> {
        self.known_level = known_level;
        self.check_level(self.level)?;
        Ok(self)
    }

    /// Whether it is known what a level means.
    fn check_level(&self, level: u32) -> Result<(), EntryError> {
        let known = self.known_level;
        if level > known { Err(EntryError::LaterLevel { level, known }) } else { Ok(()) }
    }

    /// What entries mean from here on.
    pub const fn level(&self) -> u32 {
        self.level
    }

    /// A planted bug: keys end by whatever clock the caller has.
    #[cfg(feature = "canaries")]
    pub fn expire_by_local_clock(&mut self, now: UnixMillis) {
        self.keyspace.expire_due(now.0, EXPIRED_PER_ENTRY_MAX);
    }

    /// A cluster is founded once; its identity is never 0.
    fn bootstrap(&mut self, cluster_id: u128, hash_key: [u64; 2]) {
        if self.cluster_id == 0 && cluster_id != 0 {
            self.cluster_id = cluster_id;
            self.keyspace.set_hash_key(hash_key);
        }
    }

    /// The state keeps, per node id for ever, the highest incarnation.
    fn register(&mut self, node: u64, incarnation: u64, announced: &str) {
        let known = self.gateways.get(&node).map_or(0, |gateway| gateway.state.incarnation);
        if incarnation > known {
            let state = GatewayState { incarnation, passed: 0, retired: false };
            let announced = String::from(announced);
            self.gateways.insert(node, Gateway { state, announced, joined: Vec::new() });
            self.forget_waiters(node);
            if !is_planted(Canary::SubscriptionsOutlive) {
                self.keyspace.pubsub.remove_node(node); // its clients were those of an earlier incarnation
            }
        }
    }

    fn retire(&mut self, node: u64, incarnation: u64) {
        let gateway = self.gateways.get_mut(&node);
        if let Some(gateway) = gateway.filter(|gateway| gateway.state.incarnation == incarnation) {
            gateway.state.retired = true;
            gateway.joined = Vec::new();
            self.forget_waiters(node);
            self.keyspace.pubsub.remove_node(node);
        }
    }

    /// The sequence check: exactly the next parcel of the registered incarnation applies.
    fn parcel(
        &mut self,
        parcel: &Parcel<'_>,
        rng: &mut Rng,
        surroundings: &mut dyn Surroundings,
        sink: &mut dyn Sink,
    ) -> Result<(), EntryError> {
        let gateway = self.gateways.get_mut(&parcel.node);
        let gateway = gateway.filter(|gateway| {
            gateway.state.incarnation == parcel.incarnation && !gateway.state.retired
        });
        let Some(gateway) = gateway else {
            self.statistics.fenced_parcels += 1;
            return Ok(());
        };
        let again = parcel.sequence <= gateway.state.passed;
        if again && !is_planted(Canary::ResendApplied) {
            self.statistics.duplicate_parcels += 1;
            return Ok(());
        }
        if parcel.sequence > gateway.state.passed + 1 {
            self.statistics.gap_parcels += 1;
            return Ok(());
        }
        gateway.state.passed = parcel.sequence.max(gateway.state.passed);
        let batch = gateway.join(parcel);
        if let Cow::Owned(joined) = &batch {
            entry::check_batch(joined)?;
        }
        let wants = sink.wants(parcel.node, parcel.incarnation);
        let Parcel { node, incarnation, sequence, .. } = *parcel;
        let source = |request: &Request<'_>, position| Source {
            node,
            incarnation,
            sequence,
            position,
            client: request.client,
        };
        let mut argv = Vec::new();
        let restarted = self.statistics.requests == 0 && parcel.sequence > 1;
        if restarted && is_planted(Canary::EntryTwice) {
            for request in entry::decode_batch(&batch).flatten() {
                let source = source(&request, 0);
                let origin = Origin { seed: rng.next(), wanted: wants, source };
                self.request(&request, origin, &mut argv, surroundings, sink);
            }
        }
        for (position, request) in entry::decode_batch(&batch).flatten().enumerate() {
            let position = position as u32;
            let source = source(&request, position);
            let origin = Origin { seed: rng.next(), wanted: wants, source };
            let handled = self.request(&request, origin, &mut argv, surroundings, sink);
            // What a transaction subscribes to is confirmed by its reply.
            let is_transaction = matches!(request.body, Body::Transaction(_));
            if !is_transaction {
                self.deliver(sink);
            }
            match handled {
                Handled::Outcome(outcome) if wants => {
                    sink.reply(parcel.sequence, position, outcome);
                }
                Handled::Waits if wants => sink.blocked(parcel.sequence, position),
                _ => {}
            }
            if is_transaction {
                self.deliver(sink);
            }
            self.serve_waiters(rng, surroundings, sink);
            self.deliver(sink);
        }
        if wants {
            sink.passed(parcel.sequence);
        }
        Ok(())
    }

    fn request<'e>(
        &mut self,
        request: &Request<'e>,
        origin: Origin,
        argv: &mut Vec<&'e [u8]>,
        surroundings: &mut dyn Surroundings,
        sink: &mut dyn Sink,
    ) -> Handled {
        if self.stamp.time > request.latest && !is_planted(Canary::LatestIgnored) {
            self.statistics.too_late += 1;
            mark::reached(Mark::TooLate);
            return Handled::Outcome(Outcome::TooLate);
        }
        self.statistics.requests += 1;
        let reply = match request.body {
            Body::Command(call) => match self.call(&call, origin, argv, surroundings, sink) {
                Blocking::Done(reply) => reply,
                Blocking::Wait(until) => {
                    self.begin_to_wait(origin.source, usize::from(call.db), argv, until);
                    return Handled::Waits;
                }
            },
            Body::Transaction(transaction) => {
                self.transaction(&transaction, origin, argv, surroundings, sink)
            }
            Body::Unblock { client, how } => {
                let gateway = (origin.source.node, origin.source.incarnation);
                Reply::flag(self.unblock(gateway, client, how, sink))
            }
        };
        Handled::Outcome(Outcome::Reply(reply))
    }

    fn transaction<'e>(
        &mut self,
        transaction: &Transaction<'e>,
        origin: Origin,
        argv: &mut Vec<&'e [u8]>,
        surroundings: &mut dyn Surroundings,
        sink: &dyn Sink,
    ) -> Reply<'static> {
        let holds = transaction.watches().all(|watch| {
            self.holds(usize::from(watch.db), watch.key, watch.present, watch.revision)
        });
        if !holds && !is_planted(Canary::WatchesIgnored) {
            mark::reached(Mark::ExecAborted);
            return Reply::NilArray;
        }
        let mut rng = Rng::seeded(origin.seed);
        let calls = transaction.calls().map(|call| {
            let origin = Origin { seed: rng.next(), ..origin };
            match self.call(&call, origin, argv, surroundings, sink) {
                Blocking::Done(reply) => reply,
                Blocking::Wait(_) => nothing_came(argv),
            }
        });
        Reply::Array(calls.collect())
    }

    /// Whether a watched key has not changed since `revision`.
    fn holds(&self, db: usize, key: &[u8], present: bool, revision: u64) -> bool {
        let Some(database) = self.keyspace.databases.get(db) else { return false };
        if database.swapped_at > revision {
            return false;
        }
        let Some(place) = self.keyspace.find(db, key) else {
            let missing = !present || is_planted(Canary::WatchMissesExpiry);
            return missing && database.deleted_at(slot_of(key)) <= revision;
        };
        // A key that is due and not yet deleted is missing; made after the watch, it was a change all the same.
        let record = self.keyspace.item(place).record;
        let live = record.expires_at > self.stamp.time.0;
        let deleted_at = if present { 0 } else { database.deleted_at(slot_of(key)) };
        present == live && record.changed.max(deleted_at) <= revision
    }

    /// One command, contained: a panic becomes its error reply, and its writes are undone.
    fn call<'e>(
        &mut self,
        call: &Call<'e>,
        origin: Origin,
        argv: &mut Vec<&'e [u8]>,
        surroundings: &mut dyn Surroundings,
        sink: &dyn Sink,
    ) -> Blocking {
        call.argv_into(argv);
        let db = usize::from(call.db);
        if db >= DATABASES {
            return Blocking::Done(Reply::Error(ReplyError::fixed("ERR DB index is out of range")));
        }
        let spec = match resolve(argv) {
            Ok(spec) => spec,
            Err(error) => return Blocking::Done(Reply::Error(error)),
        };
        if !origin.wanted && matches!(spec.handler, Handler::Read(_)) {
            return Blocking::Done(Reply::Nil); // nobody here hears it, and it changes nothing
        }
        let run = Run { handler: spec.handler, db, seed: origin.seed, source: origin.source };
        let outcome = self.execute(run, argv, surroundings, sink);
        outcome.unwrap_or_else(|error| Blocking::Done(Reply::Error(error)))
    }

    /// Runs a handler in the net.
    pub(crate) fn execute(
        &mut self,
        run: Run,
        argv: &[&[u8]],
        surroundings: &mut dyn Surroundings,
        sink: &dyn Sink,
    ) -> Result<Blocking> {
        let Run { handler, db, seed, source } = run;
        let caller = Subscriber { node: source.node, client: source.client };
        let (mut outcome, now) = (None, self.stamp.time);
        let own = is_planted(Canary::SeedOfReplica).then_some(self.statistics.requests);
        let seed = seed ^ own.unwrap_or(0);
        let keyspace = &mut self.keyspace;
        let ended = surroundings.contain(&mut |engine: &mut dyn ScriptEngine| {
            let mut txn = Txn::new(keyspace, db, now, (seed, caller), engine);
            outcome = Some(txn.run_blocking(handler, argv));
        });
        if !ended {
            self.keyspace.roll_back(0);
            self.keyspace.commit();
            self.statistics.contained_panics += 1;
            let text = "ERR internal error: the command was stopped and nothing of it was applied";
            return Err(ReplyError::fixed(text));
        }
        self.keyspace.commit();
        if self.keyspace.pubsub.has_published() {
            self.gather_deliveries(sink);
        }
        outcome.expect("the net runs its work exactly once")
    }

    /// Messages of a command that stands: for those of this node's clients who are subscribed just now.
    fn gather_deliveries(&mut self, sink: &dyn Sink) {
        let wanted = |(node, gateway): (&u64, &Gateway)| {
            sink.wants(*node, gateway.state.incarnation).then_some(*node)
        };
        let nodes: Vec<u64> = self.gateways.iter().filter_map(wanted).collect();
        self.keyspace.pubsub.deliver(&nodes, &mut self.deliveries);
    }

    fn deliver(&mut self, sink: &mut dyn Sink) {
        let is_some = self.applied.is_multiple_of(5); // of a planted bug
        for Delivery { node, clients, message } in self.deliveries.drain(..) {
            if is_some && is_planted(Canary::MessageSkipped) {
                continue;
            }
            for client in clients {
                if is_some && is_planted(Canary::MessageTwice) {
                    sink.message(Subscriber { node, client }, &message);
                }
                sink.message(Subscriber { node, client }, &message);
            }
        }
    }

    // ---- reads -------------------------------------------------------------------------------------------------

    /// Serves a read-only command. `clock` is log time by the node's estimate.
    pub fn read<'a>(
        &'a self,
        db: usize,
        argv: &[&[u8]],
        clock: UnixMillis,
        seed: u64,
    ) -> ReadOutcome<'a> {
        let handler = match resolve(argv) {
            Ok(spec) => spec.handler,
            Err(error) => return ReadOutcome::Reply(Reply::Error(error)),
        };
        let Handler::Read(read) = handler else {
            let text = "ERR internal error: a write was sent to a reader";
            return ReadOutcome::Reply(Reply::Error(ReplyError::fixed(text)));
        };
        self.read_by(read, db, argv, clock, seed)
    }

    /// The same for a caller that has resolved the command: `argv` fits the handler's arity.
    pub fn read_by<'a>(
        &'a self,
        handler: ReadHandler,
        db: usize,
        argv: &[&[u8]],
        clock: UnixMillis,
        seed: u64,
    ) -> ReadOutcome<'a> {
        let view = self.view(db, clock, seed);
        let reply = handler(&view, Args::new(argv)).unwrap_or_else(Reply::Error);
        match self.overdue() {
            Some(at) => ReadOutcome::AwaitStamp(at),
            None => ReadOutcome::Reply(reply),
        }
    }

    /// WATCH: the precondition that EXEC will carry.
    pub fn watch(&self, db: usize, key: &[u8], clock: UnixMillis) -> WatchOutcome {
        let present = self.view(db, clock, 0).facts(key).is_some();
        match self.overdue() {
            Some(at) => WatchOutcome::AwaitStamp(at),
            None => WatchOutcome::Token(Watched {
                db: db as u8,
                present,
                revision: self.keyspace.revision,
                key: key.to_vec(),
            }),
        }
    }

    fn view(&self, db: usize, clock: UnixMillis, seed: u64) -> View<'_> {
        self.keyspace.overdue.set(0);
        View::new(&self.keyspace, db.min(DATABASES - 1), self.stamp.time, clock, seed)
    }

    fn overdue(&self) -> Option<UnixMillis> {
        Some(self.keyspace.overdue.get()).filter(|at| *at > 0).map(UnixMillis)
    }

    // ---- snapshots and scrub -----------------------------------------------------------------------------------

    /// Begins a snapshot of the state as it is now, to be written with [`Self::step_snapshot`] while the state moves on; one that was under
    /// way is given up. Answers its index.
    pub fn begin_snapshot(&mut self) -> u64 {
        self.encoding = Some(Encoding::new(self));
        self.keyspace.freeze();
        self.applied
    }

    /// The next `budget` bytes (about; 256 KiB and a key at the most, but that the first have what has come of batches in parts) of the
    /// snapshot under way, and whether they are the last. None if no snapshot is under way.
    ///
    /// # Errors
    /// What was written down is not what memory has to hold. The snapshot is given up, and its last bytes never come.
    pub fn step_snapshot(&mut self, budget: usize) -> Option<Result<(Vec<u8>, bool), Decay>> {
        let step = self.encoding.as_mut()?.step_frozen(&mut self.keyspace, budget);
        match step {
            Err(_) => self.abandon_snapshot(),
            Ok((_, true)) => self.encoding = None,
            Ok(_) => {}
        }
        Some(step)
    }

    /// Gives up the snapshot under way, if there is one.
    pub fn abandon_snapshot(&mut self) {
        self.encoding = None;
        self.keyspace.thaw();
    }

    /// Writes the whole state as a snapshot at once, in chunks (see `snapshot`).
    pub fn snapshot(&self, emit: &mut dyn FnMut(Vec<u8>)) {
        crate::snapshot::encode(self, emit);
    }

    /// Frees some of what has been deleted, `units` keys or nodes of trees at the most; whether nothing is left. The state does not change.
    pub fn reclaim(&mut self, units: usize) -> bool {
        self.keyspace.reclaim(units)
    }

    /// Compares the next `budget` bytes (about) of what memory holds with what was written to it, round after round; true at the end
    /// of one.
    ///
    /// # Errors
    /// They differ.
    pub fn step_scrub(&mut self, budget: usize) -> Result<bool, Decay> {
        self.scrub.step(&self.keyspace, budget)
    }

    /// Reads a snapshot; chunk borders need not be those it was written with.
    ///
    /// # Errors
    /// The bytes are no snapshot, are damaged, or do not make the state that they promise.
    pub fn restore(
        chunks: &mut dyn Iterator<Item = &[u8]>,
    ) -> core::result::Result<Self, SnapshotError> {
        let mut machine = Self::new();
        match crate::snapshot::decode(&mut machine, chunks) {
            Ok(()) => Ok(machine),
            // What is not understood is what later levels have made of it.
            Err(_) if machine.level > machine.known_level => {
                let (level, known) = (machine.level, machine.known_level);
                Err(SnapshotError::LaterLevel { level, known })
            }
            Err(error) => Err(error),
        }
    }
}

/// What a command that may wait answers where it can't.
fn nothing_came(argv: &[&[u8]]) -> Reply<'static> {
    match resolve(argv).map(|spec| spec.handler) {
        Ok(Handler::Block { nothing, .. }) => nothing.reply(),
        _ => Reply::Nil,
    }
}
