//! The model's lists, and who waits for their elements: in order of arrival, and served when the request that brought something is done.
//! A list is kept as its elements, each with a line end, in the item's value.

use super::command::error;
use super::{Executed, Item, Model};
use crate::value::{Argv, Value};

/// What the keys of lists begin with.
pub const PREFIX: &[u8] = b"queue:";
const END: u8 = b'\n';

/// A request that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub(super) request: Executed,
    /// Stamp at which it gives up.
    deadline: u64,
}

/// A list as an item's value.
pub fn joined<'e>(elements: impl IntoIterator<Item = &'e [u8]>) -> Vec<u8> {
    elements.into_iter().flat_map(|element| [element, &[END]].concat()).collect()
}

/// The elements of an item's value.
pub(super) fn elements(value: &[u8]) -> Vec<Vec<u8>> {
    let whole = value.strip_suffix(&[END]).map(|rest| rest.split(|byte| *byte == END));
    whole.map(|parts| parts.map(<[u8]>::to_vec).collect()).unwrap_or_default()
}

/// All of a list.
pub(super) fn all(value: &[u8]) -> Value {
    Value::Array(elements(value).into_iter().map(Value::Bulk).collect())
}

fn is_left(end: &[u8]) -> bool {
    end == b"LEFT"
}

impl Model {
    fn list(&self, key: &[u8]) -> Vec<Vec<u8>> {
        self.items.get(key).map_or_else(Vec::new, |item| elements(&item.value))
    }

    fn put_list(&mut self, key: &[u8], list: &[Vec<u8>]) {
        let was_there = self.items.contains_key(key);
        if list.is_empty() {
            self.delete(key);
            return;
        }
        if !was_there && !self.ready.iter().any(|ready| ready == key) {
            self.ready.push(key.to_vec());
        }
        let value = joined(list.iter().map(Vec::as_slice));
        self.put(key, Some(Item { value, deadline: None }));
    }

    fn push_element(&mut self, key: &[u8], element: &[u8], left: bool) -> usize {
        let mut list = self.list(key);
        let at = if left { 0 } else { list.len() };
        list.insert(at, element.to_vec());
        self.put_list(key, &list);
        list.len()
    }

    fn pop_element(&mut self, key: &[u8], left: bool) -> Option<Vec<u8>> {
        let mut list = self.list(key);
        let last = list.len().checked_sub(1)?;
        let element = list.remove(if left { 0 } else { last });
        self.put_list(key, &list);
        Some(element)
    }

    fn move_element(&mut self, from: &[u8], to: &[u8], out: &[u8], into: &[u8]) -> Value {
        let Some(element) = self.pop_element(from, is_left(out)) else { return Value::Nil };
        self.push_element(to, &element, is_left(into));
        Value::Bulk(element)
    }

    /// Executes one of the commands on lists. One that would wait answers that nothing came.
    pub(super) fn list_command(&mut self, name: &[u8], words: &[&[u8]]) -> Value {
        match (name, words) {
            (b"LPUSH" | b"RPUSH", [key, new @ ..]) => {
                let lengths = new.iter().map(|it| self.push_element(key, it, name == b"LPUSH"));
                Value::Int(lengths.last().unwrap_or(0) as i64)
            }
            (b"LPOP" | b"RPOP", [key]) => {
                self.pop_element(key, name == b"LPOP").map_or(Value::Nil, Value::Bulk)
            }
            (b"LLEN", [key]) => Value::Int(self.list(key).len() as i64),
            (b"LRANGE", [key, b"0", b"-1"]) => {
                self.items.get(*key).map_or(Value::Array(Vec::new()), |item| all(&item.value))
            }
            (b"LMOVE", [from, to, out, into]) | (b"BLMOVE", [from, to, out, into, _]) => {
                self.move_element(from, to, out, into)
            }
            (b"BLPOP" | b"BRPOP", [keys @ .., _]) => {
                for key in keys {
                    if let Some(element) = self.pop_element(key, name == b"BLPOP") {
                        return Value::Array(vec![Value::Bulk(key.to_vec()), Value::Bulk(element)]);
                    }
                }
                Value::Nil
            }
            _ => error("MODEL does not know this command"),
        }
    }

    /// Whether a command waits, where it stands alone: then until when, the last of all stamps if for ever.
    pub(super) fn waits(&self, call: &Argv) -> Option<u64> {
        let keys = awaited(call)?;
        let finds = keys.iter().any(|key| self.items.contains_key(*key));
        let seconds: f64 = std::str::from_utf8(call.last()?).ok()?.parse().ok()?;
        let ms = (seconds * 1000.0).ceil() as u64;
        (!finds).then(|| if ms > 0 { self.stamp + ms } else { u64::MAX })
    }

    pub(super) fn begin_to_wait(&mut self, request: Executed, deadline: u64) {
        self.waiting.push(Waiting { request, deadline });
    }

    /// Serves who waits for what the last request has brought.
    pub(super) fn serve(&mut self, executed: &mut Vec<Executed>) {
        while !self.ready.is_empty() {
            let key = self.ready.remove(0);
            let mut at = 0;
            while let Some(waiting) = self.waiting.get(at) {
                let call = waiting.request.calls.first().cloned().unwrap_or_default();
                let awaits = awaited(&call).is_some_and(|keys| keys.contains(&&key[..]));
                if !awaits || !self.items.contains_key(&key) {
                    at += 1;
                    continue;
                }
                let mut request = self.waiting.remove(at).request;
                (request.reply, request.done) = (Some(self.command(&call)), self.position.0);
                executed.push(request);
            }
        }
    }

    /// Ends those whose time is over.
    pub(super) fn time_out(&mut self, executed: &mut Vec<Executed>) {
        let (stamp, index) = (self.stamp, self.position.0);
        let is_due = |waiting: &Waiting| waiting.deadline <= stamp;
        self.waiting.retain_mut(|waiting| {
            if is_due(waiting) {
                (waiting.request.reply, waiting.request.done) = (Some(Value::Nil), index);
                executed.push(waiting.request.clone());
            }
            !is_due(waiting)
        });
    }

    /// Ends those for which `is_meant` holds: nobody hears of them any more.
    pub(super) fn forget_waiting(
        &mut self,
        executed: &mut Vec<Executed>,
        is_meant: impl Fn(&Executed) -> bool,
    ) {
        self.waiting.retain(|waiting| {
            if is_meant(&waiting.request) {
                executed.push(waiting.request.clone());
            }
            !is_meant(&waiting.request)
        });
    }

    /// Those who wait at the end.
    pub fn still_waiting(&self) -> impl Iterator<Item = &Executed> {
        self.waiting.iter().map(|waiting| &waiting.request)
    }
}

/// The keys that a command waits for, if it is one that waits.
fn awaited(call: &Argv) -> Option<Vec<&[u8]>> {
    let words: Vec<&[u8]> = call.iter().map(Vec::as_slice).collect();
    match words.as_slice() {
        [b"BLPOP" | b"BRPOP", keys @ .., _] => Some(keys.to_vec()),
        [b"BLMOVE", from, ..] => Some(vec![*from]),
        _ => None,
    }
}
