//! Redis judges the model: random requests of the workloads, on the model and on a real redis-server (`STEADFAST_REDIS`), must be
//! answered the same. Without one there is nothing to compare with; `judges.rs` holds the model to the product.

use std::time::{SystemTime, UNIX_EPOCH};

use steadfast_core::entry::{self, Part};
use steadfast_core::stamp::{Stamp, UnixMillis};
use steadfast_sim::draw::Draws;
use steadfast_sim::history::Request;
use steadfast_sim::model::{Model, scripts};
use steadfast_sim::value::{Argv, Value, argv};
use steadfast_sim::workload::{Mix, expiry, registers};

#[path = "../../core/tests/redis/mod.rs"]
mod redis;
#[path = "../../core/tests/script/mod.rs"]
mod script;

use redis::{Redis, Wire};
use script::Answer;

/// Lives are this much longer than in the workloads: nothing ends while two answers are compared.
const LONGER: i64 = 1_000_000;
/// What times may differ by.
const TOLERANCE_MS: i64 = 20_000;

fn value(answer: Answer) -> Value {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match answer {
        Answer::Simple(bytes) => Value::Simple(text(bytes)),
        Answer::Error(bytes) => Value::Error(text(bytes)),
        Answer::Int(number) => Value::Int(number),
        Answer::Bulk(bytes) => Value::Bulk(bytes),
        Answer::Nil | Answer::NilArray => Value::Nil,
        Answer::Array(items) | Answer::Several(items) => {
            Value::Array(items.into_iter().map(value).collect())
        }
    }
}

/// A call whose spans of time are long.
fn prolonged(mut call: Argv) -> Argv {
    let name = call.first().cloned().unwrap_or_default();
    let by_place = [&b"PEXPIRE"[..], b"EXPIRE", b"SETEX", b"PSETEX"].contains(&&name[..]);
    let place = if by_place { Some(2) } else { call.iter().position(|word| word == b"PX") };
    let place = place.map(|at| if by_place { at } else { at + 1 });
    if let Some(word) = place.and_then(|at| call.get_mut(at)) {
        let span: i64 = String::from_utf8_lossy(word).parse().expect("it is a number");
        *word = (span * LONGER).to_string().into_bytes();
    }
    call
}

/// The model with a log of its own, which goes with real time.
struct Logged {
    model: Model,
    index: u64,
}

impl Logged {
    fn apply(&mut self, op: &[u8]) -> Option<Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let stamp = Stamp { time: UnixMillis(now.as_millis() as u64), seed: 0 };
        self.index += 1;
        let payload = entry::encode_entry(stamp, [op]);
        let executed = self.model.apply(self.index, &payload, self.index).expect("it decodes");
        executed.into_iter().next_back().and_then(|request| request.reply)
    }

    fn ask(&mut self, calls: &[Argv], transaction: bool) -> Value {
        let (mut batch, latest) = (Vec::new(), UnixMillis(u64::MAX));
        if transaction {
            let calls: Vec<_> = calls.iter().map(|call| (0, call.clone())).collect();
            entry::push_transaction(&mut batch, 7, latest, &[], &calls);
        } else {
            let words: Vec<&[u8]> = calls[0].iter().map(Vec::as_slice).collect();
            entry::push_command(&mut batch, 7, latest, 0, &words);
        }
        let parcel = entry::encode_parcel(1, 1, self.index, Part::Whole, &batch);
        self.apply(&parcel).expect("one request, one reply")
    }
}

fn ask_redis(wire: &mut Wire, calls: &[Argv], transaction: bool) -> Value {
    let mut ask = |call: &Argv| value(wire.ask(call).expect("Redis answers"));
    if !transaction {
        return ask(&calls[0]);
    }
    ask(&argv([b"MULTI"]));
    calls.iter().for_each(|call| drop(ask(call)));
    ask(&argv([b"EXEC"]))
}

/// Whether two replies say the same, times nearly so.
fn agree(call: &Argv, one: &Value, other: &Value) -> bool {
    let tolerance = match call[0].as_slice() {
        b"PTTL" | b"PEXPIRETIME" => TOLERANCE_MS,
        b"TTL" => TOLERANCE_MS / 1000,
        _ => 0,
    };
    match (one, other) {
        (Value::Int(one), Value::Int(other)) if *one > 0 && *other > 0 => {
            (one - other).abs() <= tolerance
        }
        _ => one.same(other),
    }
}

fn request(draws: &mut Draws, mix: &Mix, step: u64) -> Request {
    let (value, by) = (format!("v{step}").into_bytes(), draws.below(5).to_string());
    match draws.below(9) {
        0..4 => registers::request(mix, draws, &value),
        4..7 => expiry::request(mix, draws, &value),
        7 => Request::command([b"EVAL", scripts::LIMIT.as_bytes(), b"1", b"p", b"99000000"]),
        _ => {
            let body = scripts::TRANSFER.as_bytes();
            Request::command([b"EVAL", body, b"2", b"p", b"q", by.as_bytes()])
        }
    }
}

/// The model answers as Redis does.
#[test]
fn the_model_answers_as_redis() {
    let Some(mut redis) = Redis::start() else { return };
    let mut wire = redis.connect();
    let mix = Mix::everything();
    for seed in 0..30 {
        wire.ask(&argv([b"FLUSHALL"])).expect("Redis answers");
        let mut logged = Logged { model: Model::default(), index: 0 };
        logged.apply(&entry::encode_register(1, 1, ""));
        let mut draws = Draws::new(seed, "redis");
        for step in 0..500 {
            let request = request(&mut draws, &mix, step);
            let calls: Vec<Argv> = request.calls().iter().cloned().map(prolonged).collect();
            let transaction = matches!(request, Request::Transaction(_));
            if calls.is_empty() {
                continue; // discarded
            }
            let (due, given) =
                (ask_redis(&mut wire, &calls, transaction), logged.ask(&calls, transaction));
            let text = request.readable();
            assert!(
                agree(&calls[0], &due, &given),
                "seed {seed} step {step}: {text} Redis {due:?} model {given:?}"
            );
        }
    }
}
