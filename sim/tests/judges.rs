//! The judges are judged: the model against the product's own commands, and the witness against histories that are wrong in one
//! point each.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_core::entry::{self, Part};
use steadfast_core::machine::{Outcome as Applied, Sink, StateMachine};
use steadfast_core::reply::Reply;
use steadfast_core::stamp::{Stamp, UnixMillis};
use steadfast_server::surroundings::LuaSurroundings;
use steadfast_sim::check::log_time::Clocks;
use steadfast_sim::check::{Opinions, final_state, witness};
use steadfast_sim::draw::Draws;
use steadfast_sim::evidence::LogRecord;
use steadfast_sim::history::{ConnectionId, Operation, Outcome, Request};
use steadfast_sim::model::{Item, Model, scripts};
use steadfast_sim::ports::clock::EPOCH_MS;
use steadfast_sim::value::{Value, argv};
use steadfast_sim::workload::{Mix, expiry, registers};

/// Clocks that say anything.
const WILD: Clocks = Clocks::Wild { new_leader_ms: 0 };

/// A log of one gateway, an entry a request.
struct Log {
    records: BTreeMap<u64, LogRecord>,
    machine: StateMachine,
    surroundings: LuaSurroundings,
    replies: Replies,
    sequence: u64,
    stamp: u64,
}

#[derive(Default)]
struct Replies(Vec<Value>);

impl Sink for Replies {
    fn wants(&self, _node: u64, _incarnation: u64) -> bool {
        true
    }

    fn reply(&mut self, _sequence: u64, _position: u32, outcome: Applied<'_>) {
        if let Applied::Reply(reply) = outcome {
            self.0.push(value(&reply));
        }
    }

    fn passed(&mut self, _sequence: u64) {}
}

fn value(reply: &Reply<'_>) -> Value {
    match reply {
        Reply::Ok => Value::ok(),
        Reply::Status(text) => Value::Simple(String::from_utf8_lossy(text).into_owned()),
        Reply::Int(number) => Value::Int(*number),
        Reply::Bulk(bytes) => Value::Bulk(bytes.to_vec()),
        Reply::Nil | Reply::NilArray => Value::Nil,
        Reply::Array(items) => Value::Array(items.iter().map(value).collect()),
        Reply::Error(error) => Value::Error(String::from_utf8_lossy(error.text()).into_owned()),
        other => panic!("no command of the workloads answers {other:?}"),
    }
}

impl Log {
    fn new() -> Self {
        Self::starting_at(1000)
    }

    fn starting_at(stamp: u64) -> Self {
        let mut log = Self {
            records: BTreeMap::new(),
            machine: StateMachine::new(),
            surroundings: LuaSurroundings::new(),
            replies: Replies::default(),
            sequence: 0,
            stamp,
        };
        log.append(&entry::encode_register(1, 1, ""));
        log
    }

    fn append(&mut self, op: &[u8]) {
        let stamp = Stamp { time: UnixMillis(self.stamp), seed: 0 };
        let payload = entry::encode_entry(stamp, [op]);
        let index = self.machine.applied_index() + 1;
        let applied =
            self.machine.apply(index, &payload, &mut self.surroundings, &mut self.replies);
        applied.expect("it was just encoded");
        let (digest, revision) = (self.machine.digest(), self.machine.revision());
        let applied_at = Duration::from_secs(index);
        let record = LogRecord { term: 1, payload, digest, revision, applied_at };
        self.records.insert(index, record);
    }

    /// Logs a request of a client and answers what the product says.
    fn request(&mut self, client: u64, request: &Request) -> Value {
        let mut batch = Vec::new();
        let latest = UnixMillis(u64::MAX);
        match request {
            Request::Command(words) => {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                entry::push_command(&mut batch, client, latest, 0, &words);
            }
            Request::Transaction(calls) => {
                let calls: Vec<_> = calls.iter().map(|call| (0, call.clone())).collect();
                entry::push_transaction(&mut batch, client, latest, &[], &calls);
            }
            Request::Discarded(_) => panic!("it never enters the log"),
        }
        self.sequence += 1;
        self.append(&entry::encode_parcel(1, 1, self.sequence, Part::Whole, &batch));
        self.replies.0.pop().expect("one request, one reply")
    }
}

fn command(draws: &mut Draws) -> Request {
    let (key, other) = (draws.pick(&[b"a", b"b", b"c"]), draws.pick(&[b"a", b"b", b"c"]));
    let text = draws.below(30).to_string();
    let (ms, token) = (text.as_bytes(), draws.pick(&[b"x", b"y"]));
    let (release, extend, reacquire) = (
        scripts::sha(scripts::RELEASE.as_bytes()),
        scripts::sha(scripts::EXTEND.as_bytes()),
        scripts::REACQUIRE,
    );
    let body = draws.pick(&[scripts::RELEASE, scripts::EXTEND, scripts::REACQUIRE]);
    match draws.below(32) {
        0 => Request::command([b"GET", key]),
        1 | 2 => Request::command([b"SET", key, ms]),
        3 => Request::command([b"SET", key, token, b"PX", ms]),
        4 => Request::command([b"SET", key, ms, b"NX", b"EX", b"1"]),
        5 => Request::command([b"SET", key, token, b"XX", b"GET"]),
        6 => Request::command([b"SET", key, ms, b"KEEPTTL"]),
        7 => Request::command([b"GETSET", key, ms]),
        8 => Request::command([b"APPEND", key, b"1"]),
        9 => Request::command([b"STRLEN", key]),
        10 => Request::command([b"INCR", key]),
        11 => Request::command([b"DECR", key]),
        12 => Request::command([b"INCRBY", key, ms]),
        13 => Request::command([b"DEL", key, other]),
        14 => Request::command([b"EXISTS", key, other]),
        15 => Request::command([b"MGET", key, other]),
        16 => Request::command([b"MSET", key, ms, other, token]),
        17 => Request::command([b"PEXPIRE", key, ms]),
        18 => Request::command([b"PERSIST", key]),
        19 | 20 => Request::command([b"PTTL", key]),
        21 => Request::command([b"SCRIPT", b"LOAD", body.as_bytes()]),
        22 => Request::command([b"SCRIPT", b"FLUSH"]),
        23 | 24 => Request::command([b"EVALSHA", &release, b"1", key, token]),
        25 => Request::command([b"EVALSHA", &extend, b"1", key, token, ms, b"0"]),
        26 => Request::command([b"EVALSHA", &extend, b"1", key, token, ms, b"1"]),
        27 => Request::command([b"EVAL", reacquire.as_bytes(), b"1", key, token, ms]),
        28 => Request::command([b"SET", key, token, b"NX", b"PX", ms]),
        _ => Request::Transaction(vec![
            argv([b"INCR", key]),
            argv([b"SET", other, token]),
            argv([b"MGET", key, other]),
        ]),
    }
}

/// A key too many, one too few, another value or deadline: each is found.
#[test]
fn a_wrong_final_state_is_found() {
    let mut log = Log::new();
    log.request(7, &Request::command([b"SET", b"a", b"1", b"PX", b"500"]));
    log.request(7, &Request::command([b"SET", b"b", b"2"]));
    let held = final_state::items(&log.machine);
    assert_eq!(held.get(&b"a"[..]).and_then(|item| item.deadline), Some(1500));
    let verdict = |change: &dyn Fn(&mut final_state::Items)| {
        let mut held = held.clone();
        change(&mut held);
        let found = final_state::check(&log.records, &BTreeMap::from([(1, (3, held))]));
        found.first().map(|violation| violation.check)
    };
    let item = |value: &[u8], deadline| Item { value: value.to_vec(), deadline };
    assert_eq!(verdict(&|_| {}), None);
    assert_eq!(verdict(&|held| drop(held.remove(&b"a"[..]))), Some("final-state"));
    assert_eq!(
        verdict(&|held| drop(held.insert(b"c".to_vec(), item(b"3", None)))),
        Some("final-state")
    );
    assert_eq!(
        verdict(&|held| drop(held.insert(b"b".to_vec(), item(b"3", None)))),
        Some("final-state")
    );
    assert_eq!(
        verdict(&|held| drop(held.insert(b"a".to_vec(), item(b"1", Some(1501))))),
        Some("final-state")
    );
}

/// What the model must have answered to the last request of a log.
fn due(model: &mut Model, seen: &mut u64, log: &Log) -> Value {
    let mut due = Vec::new();
    for (index, record) in log.records.range(*seen + 1..) {
        due = model.apply(*index, &record.payload, record.revision).expect("it decodes");
        *seen = *index;
    }
    due.pop().and_then(|executed| executed.reply).expect("one request, one reply")
}

/// A request of any kind of the workloads that can be made without a client.
fn any_request(draws: &mut Draws, mix: &Mix, step: u64) -> Request {
    let value = format!("v{step}").into_bytes();
    let (one, other) = (draws.pick(&[b"p", b"q"]), draws.pick(&[b"p", b"q"]));
    let by = draws.below(5).to_string();
    match draws.below(8) {
        0..3 => registers::request(mix, draws, &value),
        3..6 => expiry::request(mix, draws, &value),
        6 => Request::command([b"EVAL", scripts::LIMIT.as_bytes(), b"1", one, b"9"]),
        _ if draws.chance(50) => Request::command([b"DECRBY", one, b"-3"]),
        _ => {
            let body = scripts::TRANSFER.as_bytes();
            Request::command([b"EVAL", body, b"2", one, other, by.as_bytes()])
        }
    }
}

/// The model and the product answer the same, over many short lives of a few keys.
#[test]
fn the_model_answers_as_the_product() {
    let mix = Mix::everything();
    for seed in 0..40 {
        let (mut draws, mut log, mut model) =
            (Draws::new(seed, "model"), Log::new(), Model::default());
        let mut seen = 0;
        for step in 0..600 {
            log.stamp += draws.below(10);
            let request = match step % 2 {
                0 => command(&mut draws),
                _ => any_request(&mut draws, &mix, step),
            };
            if matches!(request, Request::Discarded(_)) {
                continue;
            }
            let given = log.request(7, &request);
            let due = due(&mut model, &mut seen, &log);
            assert!(
                due.same(&given),
                "seed {seed} step {step}: {} {due:?} {given:?}",
                request.readable()
            );
        }
        let held = (seen, final_state::items(&log.machine));
        let finals = BTreeMap::from([(1, held)]);
        assert_eq!(final_state::check(&log.records, &finals), [], "seed {seed}");
    }
}

const CONNECTION: ConnectionId = ConnectionId { node: 1, incarnation: 1, client: 7 };

/// An operation of connection 7 that was sent when `sent` was applied, and answered when `answered` was.
fn operation(request: Request, outcome: Outcome, sent: u64, answered: u64) -> Operation {
    Operation {
        client: "c1".into(),
        connection: CONNECTION,
        request,
        invoked: Duration::from_secs(sent),
        applied_at_invocation: sent,
        returned: Some(Duration::from_millis(answered * 1000 + 500)),
        applied_at_return: answered,
        outcome,
    }
}

fn set(value: &[u8]) -> Request {
    Request::command([b"SET", b"k", value])
}

fn get(value: &[u8], sent: u64, answered: u64) -> Operation {
    let reply = Outcome::Reply(Value::Bulk(value.to_vec()));
    operation(Request::command([b"GET", b"k"]), reply, sent, answered)
}

fn verdict(operations: &[Operation], log: &Log) -> Option<&'static str> {
    witness::check(operations, &log.records, WILD).first().map(|violation| violation.check)
}

fn ok() -> Outcome {
    Outcome::Reply(Value::ok())
}

/// Entries 2 and 3 set `k` to 1 and to 2.
fn two_sets() -> (Log, Operation, Operation) {
    let mut log = Log::new();
    log.request(7, &set(b"1"));
    log.request(7, &set(b"2"));
    (log, operation(set(b"1"), ok(), 1, 2), operation(set(b"2"), ok(), 2, 3))
}

/// A lost write, one too many, one that was refused, another reply, a place in the log before it was sent or after it was
/// answered: each has its name, and a right history has none.
#[test]
fn a_wrong_history_of_writes_is_found() {
    let (log, first, second) = two_sets();
    let both = [first.clone(), second.clone()];
    assert_eq!(verdict(&both, &log), None);
    let lost = operation(set(b"3"), ok(), 3, 4);
    assert_eq!(verdict(&[first.clone(), second.clone(), lost], &log), Some("durability"));
    assert_eq!(verdict(std::slice::from_ref(&first), &log), Some("exactly-once"));
    let with = |outcome: Outcome, sent, answered| {
        verdict(&[first.clone(), operation(set(b"2"), outcome, sent, answered)], &log)
    };
    assert_eq!(with(Outcome::NotApplied("TRYAGAIN".into()), 2, 3), Some("honesty"));
    assert_eq!(with(Outcome::Reply(Value::Nil), 2, 3), Some("replies"));
    assert_eq!(with(ok(), 3, 4), Some("real-time"), "sent after it was applied");
    assert_eq!(with(ok(), 2, 2), Some("real-time"), "answered before it was applied");
    assert_eq!(with(Outcome::Unknown("UNKNOWN".into()), 2, 2), None, "it may be applied later");
    let stranger = Operation { connection: ConnectionId { client: 8, ..CONNECTION }, ..second };
    assert_eq!(verdict(&[first, stranger], &log), Some("exactly-once"));
}

/// A read fits the states between what was acknowledged before it and what was applied when it returned, and none before the
/// read that came before it.
#[test]
fn a_wrong_history_of_reads_is_found() {
    let (log, first, second) = two_sets();
    let with = |reads: &[Operation]| {
        let other = ConnectionId { client: 8, ..CONNECTION };
        let reads = reads.iter().map(|read| Operation { connection: other, ..read.clone() });
        let mut all: Vec<Operation> =
            [first.clone(), second.clone()].into_iter().chain(reads).collect();
        all.sort_by_key(|operation| operation.invoked);
        verdict(&all, &log)
    };
    assert_eq!(with(&[get(b"1", 2, 2)]), None);
    assert_eq!(with(&[get(b"1", 2, 3)]), None, "the second write was under way");
    assert_eq!(with(&[get(b"2", 2, 3)]), None);
    assert_eq!(with(&[get(b"1", 4, 4)]), Some("stale-read"));
    assert_eq!(with(&[get(b"2", 1, 2)]), Some("replies"), "from the future");
    assert_eq!(with(&[get(b"7", 4, 4)]), Some("replies"));
    let early = Operation { returned: Some(Duration::from_millis(2100)), ..get(b"2", 2, 3) };
    let late = Operation { invoked: Duration::from_millis(2200), ..get(b"1", 2, 3) };
    assert_eq!(with(&[early, late]), Some("stale-read"), "time runs backwards");
}

/// Where clocks are kept in time, a key that ended well before is gone, and a PTTL can't be far below what is left.
#[test]
fn reads_of_keys_that_end_are_judged_by_real_time() {
    let with = |request: Request, reply: Value, seconds: u64, bounded_clocks| {
        let mut log = Log::starting_at(EPOCH_MS + 1000);
        log.stamp = EPOCH_MS + 2000;
        let set = Request::command([b"SET", b"k", b"1", b"PX", b"3000"]);
        log.request(7, &set);
        let read = Operation {
            invoked: Duration::from_secs(seconds),
            returned: Some(Duration::from_millis(seconds * 1000 + 100)),
            ..operation(request, Outcome::Reply(reply), 2, 2)
        };
        let operations = [operation(set, ok(), 1, 2), read];
        let clocks = if bounded_clocks { Clocks::Kept } else { WILD };
        let found = witness::check(&operations, &log.records, clocks);
        found.first().map(|violation| violation.check)
    };
    let get = || Request::command([b"GET", b"k"]);
    let value = || Value::Bulk(b"1".to_vec());
    assert_eq!(with(get(), value(), 3, true), None);
    assert_eq!(with(get(), value(), 20, false), None);
    assert_eq!(with(get(), value(), 20, true), Some("expiry"));
    let pttl = || Request::command([b"PTTL", b"k"]);
    assert_eq!(with(pttl(), Value::Int(1950), 3, true), None);
    assert_eq!(with(pttl(), Value::Int(1500), 3, false), None);
    assert_eq!(with(pttl(), Value::Int(1500), 3, true), Some("expiry"));
    assert_eq!(with(pttl(), Value::Int(3001), 3, true), Some("replies"));
}

/// On one connection a read sees the writes before it, and not those behind it.
#[test]
fn a_write_must_not_overtake_a_read() {
    let (log, first, second) = two_sets();
    let pipelined = |value: &[u8]| {
        let read = Operation { applied_at_return: 3, ..get(value, 1, 3) };
        verdict(&[first.clone(), read, second.clone()], &log)
    };
    assert_eq!(pipelined(b"1"), None);
    assert_eq!(pipelined(b"2"), Some("replies"));
}

/// Which of two like requests of unknown outcome stands in the log nobody can say: an answered one between them is not held to
/// that. (Seed 921 showed it, at commit 3efc3d6.)
#[test]
fn an_open_request_says_nothing_of_its_place() {
    let mut log = Log::new();
    log.request(7, &set(b"1"));
    log.request(7, &Request::command([b"GET", b"k"]));
    let first = operation(set(b"1"), ok(), 1, 2);
    let open = |sent, answered| {
        let outcome = Outcome::Unknown("UNKNOWN".into());
        operation(Request::command([b"GET", b"k"]), outcome, sent, answered)
    };
    let history = |between| [first.clone(), open(2, 2), between, open(2, 3)];
    assert_eq!(verdict(&history(get(b"1", 2, 2)), &log), None);
    assert_eq!(verdict(&history(get(b"7", 2, 2)), &log), Some("replies"));
}

/// EXEC runs only if no watched key has changed, and aborts only if one has.
#[test]
fn exec_must_tell_the_truth_about_watched_keys() {
    let table: [(&[u8], u64, bool, Option<&str>); 4] = [
        (b"k", 1, true, Some("watch")),
        (b"k", 1, false, None),
        (b"q", 1, true, None),
        (b"k", 2, false, Some("watch")), // it was watched after the change
    ];
    for (key, watched_at, ran, verdict_due) in table {
        let mut log = Log::new();
        log.request(8, &set(b"1"));
        let exec = Request::Transaction(vec![argv([b"SET", b"z", b"1"])]);
        if ran {
            log.request(7, &exec);
        } else {
            log.aborted(7, key, &exec);
        }
        let writer = ConnectionId { client: 8, ..CONNECTION };
        let reply = if ran { Value::Array(vec![Value::ok()]) } else { Value::Nil };
        let mut operations = [
            operation(Request::command([b"WATCH", key]), ok(), watched_at, watched_at),
            Operation {
                connection: writer,
                returned: Some(Duration::from_millis(1500)),
                ..operation(set(b"1"), ok(), 1, 2)
            },
            operation(exec, Outcome::Reply(reply), 2, 3),
        ];
        operations.sort_by_key(|operation| operation.invoked);
        let found = verdict(&operations, &log);
        assert_eq!(found, verdict_due, "{} {watched_at} {ran}", key.escape_ascii());
    }
}

impl Log {
    /// Logs a transaction whose precondition does not hold, whatever its key.
    fn aborted(&mut self, client: u64, key: &[u8], request: &Request) {
        let watched = entry::Watched { db: 0, present: true, revision: 0, key: key.to_vec() };
        let calls: Vec<_> = request.calls().iter().map(|call| (0, call.clone())).collect();
        let mut batch = Vec::new();
        entry::push_transaction(&mut batch, client, UnixMillis(u64::MAX), &[watched], &calls);
        self.sequence += 1;
        self.append(&entry::encode_parcel(1, 1, self.sequence, Part::Whole, &batch));
    }
}

/// A judge that takes open outcomes as not applied contradicts the witness, and the contradiction is reported; a sound judge agrees.
#[test]
fn judges_that_contradict_each_other_are_found() {
    let mut log = Log::new();
    log.request(7, &set(b"1"));
    let open = operation(set(b"1"), Outcome::Unknown("UNKNOWN".into()), 1, 2);
    let operations = [open, get(b"1", 2, 2)];
    let witnessed = || witness::check(&operations, &log.records, WILD);
    assert_eq!(Opinions::of(&operations, witnessed(), false).together(), []);
    let found = Opinions::of(&operations, witnessed(), true).together();
    let checks: Vec<&str> = found.iter().map(|violation| violation.check).collect();
    assert_eq!(checks, ["linearizable", "oracle-disagreement"]);
}
