//! What subscribers were told, against the log. From the confirmation of its subscription on a connection must be told every message
//! that the log holds for it, in the log's order, each once and no other. Where it has ended its subscriptions in words that is all
//! until then; where it has broken off, what it was told last may have been lost on the way.

use std::collections::BTreeMap;

use crate::check::Violation;
use crate::evidence::LogRecord;
use crate::history::{ConnectionId, Listening};
use crate::model::Model;
use crate::value::Value;

/// Judges all that was listened to.
pub fn check(listenings: &[Listening], log: &BTreeMap<u64, LogRecord>) -> Vec<Violation> {
    if listenings.is_empty() {
        return Vec::new();
    }
    let mut model = Model::default();
    for (index, record) in log {
        if model.apply(*index, &record.payload, record.revision).is_err() {
            return Vec::new(); // the witness says so
        }
    }
    let mut connections: BTreeMap<ConnectionId, Listening> = BTreeMap::new();
    for one in listenings {
        let Some(all) = connections.get_mut(&one.connection) else {
            connections.insert(one.connection, one.clone());
            continue;
        };
        all.messages.extend_from_slice(&one.messages);
        all.is_whole = one.is_whole;
    }
    connections.values().filter_map(|all| judge(all, model.told(all.connection))).collect()
}

fn judge(one: &Listening, due: &[Value]) -> Option<Violation> {
    let told = &one.messages;
    let differs = told.iter().zip(due).position(|(told, due)| told != due);
    let shown = |from: &[Value], at: usize| {
        from.get(at).map_or_else(|| "nothing".to_owned(), Value::readable)
    };
    let at = match differs {
        Some(at) => at,
        None if told.len() > due.len() => due.len(),
        None if one.is_whole && told.len() < due.len() => told.len(),
        None => return None,
    };
    let text = format!(
        "{} on n{}, message {}: it was told {}, and the log has {} for it",
        one.client,
        one.connection.node,
        at + 1,
        shown(told, at),
        shown(due, at)
    );
    Some(Violation::new("messages", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that is missing, comes twice, out of order or from nowhere is found; one that was lost with its connection is not.
    #[test]
    fn what_is_told_is_compared() {
        let all = |text: &str| -> Vec<Value> {
            text.chars().map(|one| Value::Simple(one.to_string())).collect()
        };
        let due = all("abc");
        let finds = |told: &str, is_whole: bool| {
            let connection = ConnectionId { node: 1, incarnation: 1, client: 1 };
            let messages = all(told);
            let one = Listening { client: "c1".to_owned(), connection, messages, is_whole };
            judge(&one, &due).is_some()
        };
        assert!(!finds("abc", true) && !finds("abc", false) && !finds("ab", false));
        for told in ["ab", "ac", "abbc", "bac", "abcd", "xbc", "bc"] {
            assert!(finds(told, true), "{told}");
        }
        assert!(finds("ac", false) && finds("abcc", false));
    }
}
