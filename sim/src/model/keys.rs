//! The model's commands on whole keys: their ends, names and types.

use super::command::{error, number};
use super::{Item, Model};
use crate::value::Value;

impl Model {
    /// Executes one of these commands.
    pub(super) fn key_command(&mut self, name: &[u8], words: &[&[u8]]) -> Value {
        match (name, words) {
            (b"PEXPIRE", [key, ms, conditions @ ..]) => self.expire(key, ms, 1, conditions),
            (b"EXPIRE", [key, seconds, conditions @ ..]) => {
                self.expire(key, seconds, 1000, conditions)
            }
            (b"PERSIST", [key]) => self.persist(key),
            (b"PTTL", [key]) => self.pttl(key),
            (b"TTL", [key]) => match self.pttl(key) {
                Value::Int(left @ 0..) => Value::Int((left + 500) / 1000),
                none => none,
            },
            (b"PEXPIRETIME", [key]) => Value::Int(match self.items.get(*key) {
                None => -2,
                Some(item) => item.deadline.map_or(-1, |deadline| deadline as i64),
            }),
            (b"TYPE", [key]) => {
                let there = self.items.contains_key(*key);
                Value::Simple(if there { "string" } else { "none" }.to_owned())
            }
            (b"RENAME", [key, new]) => match self.items.get(*key).cloned() {
                Some(item) => {
                    self.delete(key);
                    self.put(new, Some(item));
                    Value::ok()
                }
                None => error("ERR no such key"),
            },
            (b"RENAMENX", [key, new]) => match self.items.get(*key).cloned() {
                Some(_) if self.items.contains_key(*new) => Value::Int(0),
                Some(item) => {
                    self.delete(key);
                    self.put(new, Some(item));
                    Value::Int(1)
                }
                None => error("ERR no such key"),
            },
            (b"COPY", [from, to, replace @ ..]) => match self.items.get(*from).cloned() {
                _ if from == to => error("ERR source and destination objects are the same"),
                Some(item) if !replace.is_empty() || !self.items.contains_key(*to) => {
                    self.put(to, Some(item));
                    Value::Int(1)
                }
                _ => Value::Int(0),
            },
            (name, words) => self.list_command(name, words),
        }
    }

    /// EXPIRE and PEXPIRE. A key without an end counts as one that ends last of all.
    fn expire(&mut self, key: &[u8], span: &[u8], factor: i64, conditions: &[&[u8]]) -> Value {
        let Some(ms) = number(span).and_then(|span| span.checked_mul(factor)) else {
            return error("ERR value is not an integer or out of range");
        };
        let Some(item) = self.items.get(key) else { return Value::Int(0) };
        let (new, old) = (self.stamp as i64 + ms, item.deadline.map(|deadline| deadline as i64));
        let holds = |condition: &&[u8]| match *condition {
            b"NX" => old.is_none(),
            b"XX" => old.is_some(),
            b"GT" => old.is_some_and(|old| new > old),
            b"LT" => old.is_none_or(|old| new < old),
            _ => false,
        };
        if conditions.iter().all(holds) { self.expire_in(key, ms) } else { Value::Int(0) }
    }

    pub(super) fn expire_in(&mut self, key: &[u8], ms: i64) -> Value {
        let Some(mut item) = self.items.get(key).cloned() else { return Value::Int(0) };
        if ms <= 0 {
            self.delete(key);
        } else {
            item.deadline = Some(self.stamp + ms as u64);
            self.put(key, Some(item));
        }
        Value::Int(1)
    }

    pub(super) fn persist(&mut self, key: &[u8]) -> Value {
        match self.items.get(key).cloned() {
            Some(Item { value, deadline: Some(_) }) => {
                self.write(key, value, None);
                Value::Int(1)
            }
            _ => Value::Int(0),
        }
    }

    pub(super) fn pttl(&self, key: &[u8]) -> Value {
        Value::Int(match self.items.get(key) {
            None => -2,
            Some(Item { deadline: None, .. }) => -1,
            Some(Item { deadline: Some(deadline), .. }) => {
                deadline.saturating_sub(self.stamp) as i64
            }
        })
    }
}
