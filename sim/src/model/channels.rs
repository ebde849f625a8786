//! The model's channels: who listens to what, and what each connection must have been told.

use std::collections::{BTreeMap, BTreeSet};

use super::command::error;
use crate::history::ConnectionId;
use crate::value::{Argv, Value};

/// See the file's head.
#[derive(Debug, Clone, Default)]
pub(super) struct Channels {
    /// By connection: whether it is a pattern, and its text. Patterns of the workloads end with their only star.
    subscriptions: BTreeMap<ConnectionId, BTreeSet<(bool, Vec<u8>)>>,
    told: BTreeMap<ConnectionId, Vec<Value>>,
}

/// Whether these calls are what a node logs when a connection ends.
pub fn ends_connection(calls: &[Argv]) -> bool {
    let names: [&[u8]; 3] = [b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE"];
    calls.len() == names.len() && calls.iter().zip(names).all(|(call, name)| *call == [name])
}

fn bulk(text: &[u8]) -> Value {
    Value::Bulk(text.to_vec())
}

impl Channels {
    /// An incarnation begins: the connections of those before it are gone.
    pub(super) fn forget_node(&mut self, node: u64) {
        self.subscriptions.retain(|connection, _| connection.node != node);
    }

    /// What a connection was to be told.
    pub(super) fn told(&self, connection: ConnectionId) -> &[Value] {
        self.told.get(&connection).map_or(&[], Vec::as_slice)
    }

    /// PUBLISH, and the commands that begin or end one subscription, or all of a kind.
    pub(super) fn command(
        &mut self,
        by: Option<ConnectionId>,
        name: &[u8],
        words: &[&[u8]],
    ) -> Value {
        let Some(by) = by else { return error("ERR nobody has sent it") };
        let own = self.subscriptions.entry(by).or_default();
        let is_pattern = name.starts_with(b"P");
        match (name, words) {
            (b"PUBLISH", [channel, payload]) => return self.publish(channel, payload),
            (b"SUBSCRIBE" | b"PSUBSCRIBE", [text]) => {
                own.insert((is_pattern, text.to_vec()));
            }
            (b"UNSUBSCRIBE" | b"PUNSUBSCRIBE", [text]) => {
                own.remove(&(is_pattern, text.to_vec()));
            }
            (b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" | b"SUNSUBSCRIBE", []) => {
                own.clear(); // they come together only, and nobody hears of it
                return Value::Nil;
            }
            _ => return error("ERR the model does not know that"),
        }
        let count = own.len() as i64;
        let text = words.first().map_or(Value::Nil, |text| bulk(text));
        Value::Array(vec![bulk(&name.to_ascii_lowercase()), text, Value::Int(count)])
    }

    fn publish(&mut self, channel: &[u8], payload: &[u8]) -> Value {
        let mut receivers = 0;
        for (connection, own) in &self.subscriptions {
            // A connection hears of the channel itself first, then by its patterns.
            for (is_pattern, text) in own {
                let start = text.strip_suffix(b"*").unwrap_or(text);
                let message = match is_pattern {
                    false if text == channel => {
                        vec![bulk(b"message"), bulk(channel), bulk(payload)]
                    }
                    true if channel.starts_with(start) => {
                        vec![bulk(b"pmessage"), bulk(text), bulk(channel), bulk(payload)]
                    }
                    _ => continue,
                };
                receivers += 1;
                self.told.entry(*connection).or_default().push(Value::Array(message));
            }
        }
        Value::Int(receivers)
    }
}
