//! A second opinion that never sees the log: whether what the clients saw can be put into one order that respects real time and
//! each connection (linearizability), by the search of Wing and Gong with Lowe's memory of configurations seen.
//!
//! Keys that some write touches together form one object; each object is judged by itself, reads of several objects by their
//! part in each. Objects whose value depends on time (deadlines, scripts) are left to the witness. It must accept all that the witness
//! accepts. A search that grows too large is given up and says so: that is no verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::check::Violation;
use crate::history::{ConnectionId, Operation, Outcome, Request};
use crate::value::{Argv, Value, overwrite, range};

/// Configurations looked at for one object at the most.
const CONFIGURATIONS_MAX: usize = 20_000;

/// What was found out about a history.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Objects for which there is no order.
    pub violations: Vec<Violation>,
    /// Objects judged.
    pub judged: usize,
    /// Objects whose search was given up.
    pub undecided: usize,
}

/// Values of the keys of one object.
type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// An operation as one object sees it.
#[derive(Debug)]
struct Step {
    calls: Vec<Argv>,
    transaction: bool,
    /// What the client was answered; none if it does not know, and then it may also never have happened.
    reply: Option<Value>,
    invoked: Duration,
    returned: Duration,
    connection: ConnectionId,
    readable: String,
}

/// Judges all objects of a history.
pub fn check(operations: &[Operation]) -> Verdict {
    let mut verdict = Verdict::default();
    let objects = Objects::of(operations);
    let roots: BTreeSet<&Vec<u8>> =
        objects.parent.keys().filter(|key| objects.root(key) == *key).collect();
    for root in roots {
        if objects.timed.contains(root) {
            continue;
        }
        let steps: Vec<Step> =
            operations.iter().filter_map(|operation| objects.step(operation, root)).collect();
        verdict.judged += 1;
        match search(&steps) {
            Search::Order => {}
            Search::NoOrder(stuck) => {
                let text = format!(
                    "no order of the operations on {} fits what the clients saw; the longest one ends before {stuck}",
                    root.escape_ascii()
                );
                verdict.violations.push(Violation::new("linearizable", text));
            }
            Search::GaveUp => verdict.undecided += 1,
        }
    }
    verdict
}

// ---- objects ---------------------------------------------------------------------------------------------------------

/// Which keys belong together.
#[derive(Debug, Default)]
struct Objects {
    parent: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Roots of objects that are not judged here.
    timed: BTreeSet<Vec<u8>>,
}

impl Objects {
    fn of(operations: &[Operation]) -> Self {
        let mut objects = Self::default();
        let mut timed = BTreeSet::new();
        for request in operations.iter().map(|operation| &operation.request) {
            let keys: Vec<&Vec<u8>> = request.calls().iter().flat_map(keys_of).collect();
            for key in &keys {
                objects.parent.entry((*key).clone()).or_insert_with(|| (*key).clone());
            }
            if let Some(first) = keys.first().filter(|_| !is_spread(request)) {
                keys.iter().for_each(|key| objects.join(first, key));
            }
            if request.calls().iter().any(|call| !is_judged(call)) {
                timed.extend(keys.into_iter().cloned());
            }
        }
        objects.timed = timed.iter().map(|key| objects.root(key).clone()).collect();
        objects
    }

    fn root<'a>(&'a self, key: &'a Vec<u8>) -> &'a Vec<u8> {
        let mut at = key;
        while let Some(up) = self.parent.get(at).filter(|up| *up != at) {
            at = up;
        }
        at
    }

    fn join(&mut self, one: &Vec<u8>, other: &Vec<u8>) {
        let (one, other) = (self.root(one).clone(), self.root(other).clone());
        self.parent.insert(other, one);
    }

    /// The part of an operation that concerns one object.
    fn step(&self, operation: &Operation, root: &Vec<u8>) -> Option<Step> {
        let reply = match &operation.outcome {
            Outcome::Reply(Value::Nil) if matches!(operation.request, Request::Transaction(_)) => {
                return None; // a transaction that WATCH kept from running
            }
            Outcome::Reply(reply) => Some(reply.clone()),
            Outcome::Unknown(_) if !operation.request.is_read() => None,
            Outcome::Unknown(_) | Outcome::NotApplied(_) => return None,
        };
        let is_ours = |key: &&Vec<u8>| self.root(key) == root;
        let calls = operation.request.calls();
        let step = |calls: Vec<Argv>, reply: Option<Value>| Step {
            calls,
            transaction: matches!(operation.request, Request::Transaction(_)),
            returned: if reply.is_none() {
                Duration::MAX
            } else {
                operation.returned.unwrap_or(Duration::MAX)
            },
            reply,
            invoked: operation.invoked,
            connection: operation.connection,
            readable: operation.readable(),
        };
        if is_spread(&operation.request) {
            let keys = calls.first().map(keys_of).unwrap_or_default();
            let Some(Value::Array(items)) = reply else { return None };
            let (ours, seen): (Vec<&Vec<u8>>, Vec<Value>) =
                keys.into_iter().zip(items).filter(|(key, _)| is_ours(key)).unzip();
            let call: Argv = [b"MGET".to_vec()]
                .into_iter()
                .chain(ours.iter().map(|key| (*key).clone()))
                .collect();
            return (!ours.is_empty()).then(|| step(vec![call], Some(Value::Array(seen))));
        }
        let concerns = calls.iter().flat_map(keys_of).any(|key| is_ours(&key));
        concerns.then(|| step(calls.to_vec(), reply))
    }
}

/// Whether a request only reads, key by key: each object can judge its part.
fn is_spread(request: &Request) -> bool {
    matches!(request, Request::Command(_)) && request.name() == b"MGET"
}

fn keys_of(call: &Argv) -> Vec<&Vec<u8>> {
    let words = || call.iter().skip(1);
    match call.first().map(Vec::as_slice) {
        Some(b"MGET" | b"DEL" | b"EXISTS" | b"UNLINK" | b"TOUCH") => words().collect(),
        Some(b"MSET" | b"MSETNX") => words().step_by(2).collect(),
        Some(b"RENAME" | b"RENAMENX" | b"COPY") => words().take(2).collect(),
        Some(b"EVAL" | b"EVALSHA") => {
            let keys = call.get(2).and_then(|count| number(count)).unwrap_or(0);
            words().skip(2).take(keys as usize).collect()
        }
        Some(b"WATCH" | b"UNWATCH" | b"SCRIPT") | None => Vec::new(),
        Some(_) => words().take(1).collect(),
    }
}

/// Whether this judge knows what a call does.
fn is_judged(call: &Argv) -> bool {
    let known: [&[u8]; 24] = [
        b"GET",
        b"SET",
        b"GETSET",
        b"APPEND",
        b"STRLEN",
        b"INCR",
        b"INCRBY",
        b"DEL",
        b"EXISTS",
        b"MGET",
        b"MSET",
        b"DECR",
        b"DECRBY",
        b"GETDEL",
        b"SETNX",
        b"GETRANGE",
        b"SETRANGE",
        b"RENAME",
        b"RENAMENX",
        b"COPY",
        b"TYPE",
        b"MSETNX",
        b"UNLINK",
        b"TOUCH",
    ];
    let timed: [&[u8]; 3] = [b"PX", b"EX", b"KEEPTTL"];
    let name = call.first().map_or(&[][..], Vec::as_slice);
    let options = if name == b"SET" { call.get(3..).unwrap_or_default() } else { &[] };
    (known.contains(&name) || [&b"WATCH"[..], b"UNWATCH", b"SCRIPT"].contains(&name))
        && !options.iter().any(|option| timed.contains(&option.as_slice()))
}

// ---- what a call does ------------------------------------------------------------------------------------------------

fn run(state: &mut State, call: &Argv) -> Value {
    let get = |state: &State, key: &Vec<u8>| {
        state.get(key).map_or(Value::Nil, |value| Value::Bulk(value.clone()))
    };
    let Some((name, words)) = call.split_first() else { return Value::Nil };
    match (name.as_slice(), words) {
        (b"GET", [key]) => get(state, key),
        (b"MGET", keys) => Value::Array(keys.iter().map(|key| get(state, key)).collect()),
        (b"STRLEN", [key]) => Value::Int(state.get(key).map_or(0, |value| value.len() as i64)),
        (b"EXISTS" | b"TOUCH", keys) => {
            Value::Int(keys.iter().filter(|key| state.contains_key(*key)).count() as i64)
        }
        (b"DEL" | b"UNLINK", keys) => {
            Value::Int(keys.iter().filter(|key| state.remove(*key).is_some()).count() as i64)
        }
        (b"GETSET", [key, value]) => {
            state.insert(key.clone(), value.clone()).map_or(Value::Nil, Value::Bulk)
        }
        (b"SET", [key, value, options @ ..]) => {
            let has = |word: &[u8]| options.iter().any(|option| option == word);
            let old = get(state, key);
            let blocked = has(b"NX") && old != Value::Nil || has(b"XX") && old == Value::Nil;
            if !blocked {
                state.insert(key.clone(), value.clone());
            }
            match (has(b"GET"), blocked) {
                (true, _) => old,
                (false, true) => Value::Nil,
                (false, false) => Value::ok(),
            }
        }
        (b"MSET", pairs) => {
            let pairs =
                pairs.chunks_exact(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?)));
            pairs.for_each(|(key, value)| drop(state.insert(key.clone(), value.clone())));
            Value::ok()
        }
        (b"APPEND", [key, tail]) => {
            let value = state.entry(key.clone()).or_default();
            value.extend_from_slice(tail);
            Value::Int(value.len() as i64)
        }
        (b"INCR", [key]) => add(state, key, Some(1)),
        (b"INCRBY", [key, by]) => add(state, key, number(by)),
        (b"DECR", [key]) => add(state, key, Some(-1)),
        (b"DECRBY", [key, by]) => add(state, key, number(by).and_then(i64::checked_neg)),
        _ => run_more(state, name, words),
    }
}

fn run_more(state: &mut State, name: &[u8], words: &[Vec<u8>]) -> Value {
    let not_judged = || Value::Error("ERR not judged here".to_owned());
    match (name, words) {
        (b"GETDEL", [key]) => state.remove(key).map_or(Value::Nil, Value::Bulk),
        (b"TYPE", [key]) => {
            let kind = if state.contains_key(key) { "string" } else { "none" };
            Value::Simple(kind.to_owned())
        }
        (b"SETNX" | b"MSETNX", pairs) => {
            let is_free = pairs.iter().step_by(2).all(|key| !state.contains_key(key));
            for pair in pairs.chunks_exact(2).filter(|_| is_free) {
                if let [key, value] = pair {
                    state.insert(key.clone(), value.clone());
                }
            }
            Value::Int(i64::from(is_free))
        }
        (b"GETRANGE", [key, start, end]) => {
            let value = state.get(key).map_or(&[][..], Vec::as_slice);
            let number = |word: &Vec<u8>| number(word).unwrap_or(0);
            Value::Bulk(range(value, number(start), number(end)))
        }
        (b"SETRANGE", [key, offset, new]) => {
            let Some(offset) = number(offset).filter(|_| !new.is_empty()) else {
                return not_judged();
            };
            let value = state.entry(key.clone()).or_default();
            overwrite(value, offset as usize, new);
            Value::Int(value.len() as i64)
        }
        (b"RENAME" | b"RENAMENX" | b"COPY", [from, to, options @ ..]) => {
            let Some(value) = state.get(from).cloned() else {
                let copied = name == b"COPY" && from != to;
                return if copied { Value::Int(0) } else { Value::Error("ERR no such key".into()) };
            };
            if name == b"COPY" && from == to {
                return Value::Error("ERR the same".into());
            }
            if name != b"RENAME" && options.is_empty() && state.contains_key(to) {
                return Value::Int(0);
            }
            if name != b"COPY" {
                state.remove(from);
            }
            state.insert(to.clone(), value);
            if name == b"RENAME" { Value::ok() } else { Value::Int(1) }
        }
        _ => not_judged(),
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn add(state: &mut State, key: &[u8], by: Option<i64>) -> Value {
    let old = state.get(key).map_or(Some(0), |value| number(value));
    let Some(sum) = old.and_then(|old| old.checked_add(by?)) else {
        return Value::Error("ERR value is not an integer or out of range".to_owned());
    };
    state.insert(key.to_vec(), sum.to_string().into_bytes());
    Value::Int(sum)
}

// ---- the search ------------------------------------------------------------------------------------------------------

/// Which steps have happened. Most have happened in the order of their invocation, so that few are named.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Happened {
    /// All answered ones before this one have.
    all_before: usize,
    /// Those behind it that have, and those of unknown outcome.
    others: BTreeSet<usize>,
}

/// A way so far: which steps have happened, what the state is then, and which step is to be tried next.
struct Way {
    happened: Happened,
    state: State,
    next: usize,
}

/// What the search came to.
enum Search {
    Order,
    /// There is none: no way gets past this step.
    NoOrder(String),
    GaveUp,
}

/// The steps of an object in the order of their invocation, answered ones apart from those of unknown outcome.
struct Steps<'a> {
    all: &'a [Step],
    answered: Vec<usize>,
    unknown: Vec<usize>,
}

impl<'a> Steps<'a> {
    fn of(all: &'a [Step]) -> Self {
        let (answered, unknown) =
            (0..all.len()).partition(|at| all.get(*at).is_some_and(|step| step.reply.is_some()));
        Self { all, answered, unknown }
    }

    /// Answered steps that have not happened, each with its place among all.
    fn open<'b>(&'b self, happened: &'b Happened) -> impl Iterator<Item = (usize, &'a Step)> + 'b {
        let rest = self.answered.get(happened.all_before..).unwrap_or_default();
        rest.iter()
            .filter(|at| !happened.others.contains(at))
            .filter_map(|at| Some((*at, self.all.get(*at)?)))
    }

    /// The open step that returned first: nothing that was invoked later may come before it.
    fn due(&self, happened: &Happened) -> Option<(usize, &'a Step)> {
        let mut due: Option<(usize, &Step)> = None;
        for (at, step) in self.open(happened) {
            if due.is_some_and(|(_, due)| step.invoked > due.returned) {
                break;
            }
            if due.is_none_or(|(_, due)| step.returned < due.returned) {
                due = Some((at, step));
            }
        }
        due
    }

    /// The steps that may come next, before `by` has returned; of a connection only the first that is open.
    fn candidates(&self, happened: &Happened, by: Duration) -> Vec<usize> {
        let mut first: BTreeMap<ConnectionId, usize> = BTreeMap::new();
        for (at, step) in self.open(happened).take_while(|(_, step)| step.invoked <= by) {
            first.entry(step.connection).or_insert(at);
        }
        let mut found: Vec<usize> = first.values().copied().collect();
        found.sort_unstable();
        let unknown = self.unknown.iter().filter(|at| !happened.others.contains(at));
        let unknown = unknown.filter_map(|at| Some((*at, self.all.get(*at)?)));
        let unknown = unknown.take_while(|(_, step)| step.invoked <= by);
        let is_next = |(at, step): &(usize, &Step)| {
            first.get(&step.connection).is_none_or(|first| first > at)
        };
        found.extend(unknown.filter(is_next).map(|(at, _)| at));
        found
    }

    fn with(&self, happened: &Happened, at: usize) -> Happened {
        let mut happened = happened.clone();
        happened.others.insert(at);
        while let Some(next) = self.answered.get(happened.all_before)
            && happened.others.remove(next)
        {
            happened.all_before += 1;
        }
        happened
    }
}

fn search(all: &[Step]) -> Search {
    let steps = Steps::of(all);
    let mut seen: BTreeSet<(Happened, State)> = BTreeSet::new();
    let start = Happened { all_before: 0, others: BTreeSet::new() };
    let mut ways = vec![Way { happened: start, state: State::new(), next: 0 }];
    let mut furthest: (usize, Option<usize>) = (0, None);
    while let Some(way) = ways.last_mut() {
        let Some((due, by)) = steps.due(&way.happened) else { return Search::Order };
        let length = way.happened.all_before + way.happened.others.len();
        if length >= furthest.0 {
            furthest = (length, Some(due));
        }
        let candidates = steps.candidates(&way.happened, by.returned);
        let Some((at, step)) = candidates.get(way.next).and_then(|at| Some((*at, all.get(*at)?)))
        else {
            ways.pop();
            continue;
        };
        way.next += 1;
        let mut state = way.state.clone();
        let replies: Vec<Value> = step.calls.iter().map(|call| run(&mut state, call)).collect();
        let reply = if step.transaction {
            Value::Array(replies)
        } else {
            replies.into_iter().next().unwrap_or(Value::Nil)
        };
        if step.reply.as_ref().is_some_and(|given| !given.same(&reply)) {
            continue;
        }
        if seen.len() >= CONFIGURATIONS_MAX {
            return Search::GaveUp;
        }
        let happened = steps.with(&way.happened, at);
        if seen.insert((happened.clone(), state.clone())) {
            ways.push(Way { happened, state, next: 0 });
        }
    }
    let stuck = furthest.1.and_then(|at| all.get(at));
    Search::NoOrder(stuck.map_or_else(String::new, |step| step.readable.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history of (client, invoked, returned, command, reply); no reply means unknown.
    fn judge(rows: &[(u64, u64, u64, &str, Option<Value>)]) -> Verdict {
        let operation =
            |(client, invoked, returned, command, reply): &(u64, u64, u64, &str, Option<Value>)| {
                let words = |text: &str| -> Argv {
                    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
                };
                let request = match command.strip_prefix("MULTI ") {
                    Some(calls) => Request::Transaction(calls.split("; ").map(words).collect()),
                    None => Request::Command(words(command)),
                };
                Operation {
                    client: format!("c{client}"),
                    connection: ConnectionId { node: 1, incarnation: 1, client: *client },
                    request,
                    invoked: Duration::from_millis(*invoked),
                    applied_at_invocation: 0,
                    returned: reply.as_ref().map(|_| Duration::from_millis(*returned)),
                    applied_at_return: u64::MAX,
                    outcome: reply
                        .clone()
                        .map_or_else(|| Outcome::Unknown("?".into()), Outcome::Reply),
                }
            };
        check(&rows.iter().map(operation).collect::<Vec<_>>())
    }

    fn bulk(text: &str) -> Option<Value> {
        Some(Value::Bulk(text.into()))
    }

    fn is_fine(rows: &[(u64, u64, u64, &str, Option<Value>)]) -> bool {
        let verdict = judge(rows);
        assert_eq!(verdict.undecided, 0);
        verdict.violations.is_empty()
    }

    /// What overlaps may be seen either way; what is over may not be unseen.
    #[test]
    fn stale_reads_are_found() {
        let ok = Some(Value::ok());
        assert!(is_fine(&[
            (1, 0, 9, "SET k a", ok.clone()),
            (2, 1, 2, "GET k", bulk("a")),
            (3, 3, 4, "GET k", bulk("a"))
        ]));
        assert!(is_fine(&[(1, 0, 9, "SET k a", ok.clone()), (2, 1, 2, "GET k", Some(Value::Nil))]));
        assert!(!is_fine(&[
            (1, 0, 1, "SET k a", ok.clone()),
            (2, 2, 3, "GET k", Some(Value::Nil))
        ]));
        assert!(!is_fine(&[
            (1, 0, 9, "SET k a", ok),
            (2, 1, 2, "GET k", bulk("a")),
            (3, 3, 4, "GET k", Some(Value::Nil))
        ]));
    }

    /// An operation of unknown outcome may have happened, once, at any time after it was sent, or never.
    #[test]
    fn unknown_outcomes_are_free_but_happen_once() {
        let five = [(1, 0, 1, "SET n 5", Some(Value::ok())), (2, 2, 0, "INCR n", None)];
        let with = |more: &[(u64, u64, u64, &'static str, Option<Value>)]| {
            is_fine(&[&five[..], more].concat())
        };
        assert!(with(&[(3, 50, 51, "GET n", bulk("5"))]));
        assert!(with(&[(3, 50, 51, "GET n", bulk("5")), (3, 60, 61, "GET n", bulk("6"))]));
        assert!(!with(&[(3, 50, 51, "GET n", bulk("6")), (3, 60, 61, "GET n", bulk("5"))]));
        assert!(!with(&[(3, 50, 51, "GET n", bulk("7"))]));
    }

    /// A transaction is seen whole, and commands of one connection in their order.
    #[test]
    fn transactions_and_pipelines_are_ordered() {
        let both = |a, b| Some(Value::Array(vec![Value::Int(a), Value::Int(b)]));
        let pair = |a: &str, b: &str| {
            Some(Value::Array(vec![Value::Bulk(a.into()), Value::Bulk(b.into())]))
        };
        let exec = (1, 0, 9, "MULTI INCRBY x 1; INCRBY y 1", both(1, 1));
        let again = (1, 10, 19, "MULTI INCRBY x 1; INCRBY y 1", both(2, 2));
        assert!(is_fine(&[exec.clone(), again.clone(), (2, 12, 13, "MGET x y", pair("1", "1"))]));
        assert!(!is_fine(&[exec, again, (2, 12, 13, "MGET x y", pair("1", "2"))]));
        let set = (1, 0, 9, "SET k a", Some(Value::ok()));
        assert!(is_fine(&[set.clone(), (1, 0, 9, "GET k", bulk("a"))]));
        assert!(
            !is_fine(&[set, (1, 0, 9, "GET k", Some(Value::Nil))]),
            "a read overtook the write before it"
        );
    }

    /// What depends on time is not judged; the rest of the history still is.
    #[test]
    fn timed_keys_are_left_out() {
        let ok = Some(Value::ok());
        let lock = (1, 0, 1, "SET lock t NX PX 100", ok.clone());
        let verdict = judge(&[
            lock.clone(),
            (1, 2, 3, "GET lock", Some(Value::Nil)),
            (2, 0, 1, "SET k a", ok),
        ]);
        assert_eq!((verdict.judged, verdict.violations.len()), (1, 0));
        let everything = Some(Value::Array(vec![Value::Nil, Value::Nil]));
        let stale = judge(&[
            lock,
            (2, 0, 1, "SET k a", Some(Value::ok())),
            (2, 2, 3, "MGET k lock", everything),
        ]);
        assert_eq!(stale.violations.len(), 1, "the part of a read that can be judged is");
    }
}
