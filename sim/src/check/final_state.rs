//! At the end every node holds what the model holds: the same keys, values and deadlines.

use std::collections::BTreeMap;

use steadfast_core::machine::{ReadOutcome, StateMachine};
use steadfast_core::reply::Reply;
use steadfast_core::stamp::UnixMillis;

use crate::check::Violation;
use crate::evidence::LogRecord;
use crate::model::lists::joined;
use crate::model::{Item, Model, scripts};
use crate::trace::readable;

/// Keys with their values and deadlines.
pub type Items = BTreeMap<Vec<u8>, Item>;

/// All that a machine holds in its first database, the only one that clients use; read by the product's own commands, as of
/// its last entry.
pub fn items(machine: &StateMachine) -> Items {
    let read = |words: &[&[u8]]| match machine.read(0, words, UnixMillis(0), 0) {
        ReadOutcome::Reply(reply) => Some(reply),
        ReadOutcome::AwaitStamp(_) => None,
    };
    let Some(Reply::Array(keys)) = read(&[b"KEYS", b"*"]) else { return Items::new() };
    let mut items = Items::new();
    for key in keys {
        let Reply::Bulk(key) = key else { continue };
        let value = match (read(&[b"GET", &key]), read(&[b"LRANGE", &key, b"0", b"-1"])) {
            (Some(Reply::Bulk(value)), _) => value.to_vec(),
            (_, Some(Reply::Array(elements))) => joined(elements.iter().map(bytes)),
            _ => Vec::new(),
        };
        let deadline = match read(&[b"PEXPIRETIME", &key]) {
            Some(Reply::Int(at)) => u64::try_from(at).ok(), // -1: none
            _ => None,
        };
        items.insert(key.to_vec(), Item { value, deadline });
    }
    items
}

fn bytes<'r>(element: &'r Reply<'_>) -> &'r [u8] {
    if let Reply::Bulk(bytes) = element { bytes } else { b"" }
}

/// Compares what each node held, and at which index, with the model there.
pub fn check(
    log: &BTreeMap<u64, LogRecord>,
    finals: &BTreeMap<u64, (u64, Items)>,
) -> Vec<Violation> {
    let mut model = Model::default();
    for (index, record) in log {
        if model.apply(*index, &record.payload, record.revision).is_err() {
            return Vec::new(); // the witness says so
        }
    }
    let mut violations = Vec::new();
    for (node, (index, held)) in finals {
        let due = model.items_at(*index);
        let followed = |key: &&Vec<u8>| !key.starts_with(scripts::RANDOM_PREFIX);
        let keys = due.keys().chain(held.keys()).filter(followed);
        let Some(key) = keys.into_iter().find(|key| due.get(*key) != held.get(*key)) else {
            continue;
        };
        let text = format!(
            "n{node} holds {:?} as {} at entry {index}; by the log it is {:?}",
            held.get(key),
            readable(key),
            due.get(key)
        );
        violations.push(Violation::new("final-state", text));
    }
    violations
}
