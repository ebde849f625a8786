//! The model's commands, each as a page of Redis's documentation says it.

use super::{Item, Model, scripts};
use crate::value::{Argv, Value, overwrite, range};

pub(super) fn error(text: &str) -> Value {
    Value::Error(text.to_owned())
}

pub(super) fn number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl Model {
    /// Executes one call at the present position.
    pub(super) fn command(&mut self, argv: &Argv) -> Value {
        let name = argv.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        let words: Vec<&[u8]> = argv.iter().skip(1).map(Vec::as_slice).collect();
        match (name.as_slice(), words.as_slice()) {
            (b"GET", [key]) => self.get(key),
            (b"SET", [key, value, options @ ..]) => self.set(key, value, options),
            (b"GETSET", [key, value]) => {
                let old = self.get(key);
                self.write(key, value.to_vec(), None);
                old
            }
            (b"APPEND", [key, value]) => self.append(key, value),
            (b"GETDEL", [key]) => {
                let old = self.get(key);
                self.delete(key);
                old
            }
            (b"GETEX", [key, options @ ..]) => self.getex(key, options),
            (b"SETNX", [key, value]) => {
                Value::Int(i64::from(self.set(key, value, &[b"NX"]) == Value::ok()))
            }
            (b"SETEX", [key, seconds, value]) => self.set(key, value, &[b"EX", seconds]),
            (b"PSETEX", [key, ms, value]) => self.set(key, value, &[b"PX", ms]),
            (b"MSETNX", pairs) => {
                let taken = pairs.iter().step_by(2).any(|key| self.items.contains_key(*key));
                for pair in pairs.chunks_exact(2).filter(|_| !taken) {
                    if let [key, value] = pair {
                        self.write(key, value.to_vec(), None);
                    }
                }
                Value::Int(i64::from(!taken))
            }
            (b"DEL" | b"UNLINK", keys) => {
                Value::Int(keys.iter().map(|key| i64::from(self.delete(key))).sum())
            }
            (b"EXISTS" | b"TOUCH", keys) => {
                Value::Int(keys.iter().map(|key| i64::from(self.items.contains_key(*key))).sum())
            }
            (b"MGET", keys) => Value::Array(keys.iter().map(|key| self.get(key)).collect()),
            (b"MSET", pairs) => {
                for pair in pairs.chunks_exact(2) {
                    if let [key, value] = pair {
                        self.write(key, value.to_vec(), None);
                    }
                }
                Value::ok()
            }
            (b"SCRIPT", [load, body]) if load.eq_ignore_ascii_case(b"LOAD") => {
                let sha = scripts::sha(body);
                self.scripts.insert(sha.clone());
                Value::Bulk(sha)
            }
            (b"SCRIPT", [flush]) if flush.eq_ignore_ascii_case(b"FLUSH") => {
                self.scripts.clear();
                Value::ok()
            }
            (b"EVALSHA", [sha, _, words @ ..]) => self.evalsha(sha, words),
            (b"EVAL", [body, _, words @ ..]) => {
                let sha = scripts::sha(body);
                self.scripts.insert(sha.clone());
                self.evalsha(&sha, words)
            }
            (name, words) => self.part_command(name, words),
        }
    }

    /// Commands that see a value as a number or take part of it.
    fn part_command(&mut self, name: &[u8], words: &[&[u8]]) -> Value {
        match (name, words) {
            (b"STRLEN", [key]) => {
                Value::Int(self.items.get(*key).map_or(0, |item| item.value.len() as i64))
            }
            (b"INCR", [key]) => self.add(key, 1),
            (b"DECR", [key]) => self.add(key, -1),
            (b"INCRBY", [key, by]) => {
                number(by).map_or_else(|| error("ERR by"), |by| self.add(key, by))
            }
            (b"DECRBY", [key, by]) => match number(by).and_then(i64::checked_neg) {
                Some(by) => self.add(key, by),
                None => error("ERR by"),
            },
            (b"GETRANGE", [key, start, end]) => match (number(start), number(end)) {
                (Some(start), Some(end)) => {
                    let value = self.items.get(*key).map_or(&[][..], |item| &item.value);
                    Value::Bulk(range(value, start, end))
                }
                _ => error("ERR range"),
            },
            (b"SETRANGE", [key, offset, new]) => self.set_range(key, offset, new),
            _ if name.ends_with(b"SUBSCRIBE") || name == b"PUBLISH" => {
                self.channels.command(self.caller, name, words)
            }
            _ => self.key_command(name, words),
        }
    }

    fn get(&self, key: &[u8]) -> Value {
        self.items.get(key).map_or(Value::Nil, |item| Value::Bulk(item.value.clone()))
    }

    pub(super) fn write(&mut self, key: &[u8], value: Vec<u8>, deadline: Option<u64>) {
        self.put(key, Some(Item { value, deadline }));
    }

    fn set(&mut self, key: &[u8], value: &[u8], options: &[&[u8]]) -> Value {
        let old = self.items.get(key).cloned();
        let (mut deadline, mut permitted, mut wants_old) = (None, true, false);
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            match option.to_ascii_uppercase().as_slice() {
                b"NX" => permitted = old.is_none(),
                b"XX" => permitted = old.is_some(),
                b"GET" => wants_old = true,
                b"KEEPTTL" => deadline = old.as_ref().and_then(|item| item.deadline),
                unit @ (b"PX" | b"EX") => {
                    let factor = if unit == b"EX" { 1000 } else { 1 };
                    let Some(span) =
                        rest.next().and_then(|span| number(span)).filter(|span| *span > 0)
                    else {
                        return error("ERR invalid expire time in 'set' command");
                    };
                    deadline = Some(self.stamp + span as u64 * factor);
                }
                _ => return error("ERR syntax error"),
            }
        }
        if permitted {
            self.write(key, value.to_vec(), deadline);
        }
        match (wants_old, permitted) {
            (true, _) => old.map_or(Value::Nil, |item| Value::Bulk(item.value)),
            (false, true) => Value::ok(),
            (false, false) => Value::Nil,
        }
    }

    fn append(&mut self, key: &[u8], tail: &[u8]) -> Value {
        let mut item =
            self.items.get(key).cloned().unwrap_or(Item { value: Vec::new(), deadline: None });
        item.value.extend_from_slice(tail);
        let length = item.value.len() as i64;
        self.put(key, Some(item));
        Value::Int(length)
    }

    fn add(&mut self, key: &[u8], by: i64) -> Value {
        let mut item = self
            .items
            .get(key)
            .cloned()
            .unwrap_or_else(|| Item { value: b"0".to_vec(), deadline: None });
        let Some(sum) = number(&item.value).and_then(|old| old.checked_add(by)) else {
            return error("ERR value is not an integer or out of range");
        };
        item.value = sum.to_string().into_bytes();
        self.put(key, Some(item));
        Value::Int(sum)
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> bool {
        let there = self.items.contains_key(key);
        if there {
            self.put(key, None);
        }
        there
    }

    fn getex(&mut self, key: &[u8], options: &[&[u8]]) -> Value {
        let old = self.get(key);
        match options {
            [] => {}
            [b"PERSIST"] => drop(self.persist(key)),
            [unit @ (b"PX" | b"EX"), span] => {
                let factor = if *unit == b"EX" { 1000 } else { 1 };
                match number(span).filter(|span| *span > 0) {
                    Some(span) => drop(self.expire_in(key, span * factor)),
                    None => return error("ERR invalid expire time in 'getex' command"),
                }
            }
            _ => return error("ERR syntax error"),
        }
        old
    }

    fn set_range(&mut self, key: &[u8], offset: &[u8], new: &[u8]) -> Value {
        let Some(offset) = number(offset).filter(|offset| *offset >= 0) else {
            return error("ERR offset is out of range");
        };
        let mut item =
            self.items.get(key).cloned().unwrap_or(Item { value: Vec::new(), deadline: None });
        if !new.is_empty() {
            overwrite(&mut item.value, offset as usize, new);
            self.put(key, Some(item.clone()));
        }
        Value::Int(item.value.len() as i64)
    }

    /// The scripts of the workloads, by what they do: their keys, then their arguments.
    fn evalsha(&mut self, sha: &[u8], words: &[&[u8]]) -> Value {
        let Some((key, arguments)) = words.split_first() else { return error("ERR no key") };

        let sha = sha.to_ascii_lowercase();
        if !self.scripts.contains(&sha) {
            return error("NOSCRIPT No matching script.");
        }
        let Some(script) = scripts::named(&sha) else {
            return error("MODEL does not know this script");
        };
        match (script, arguments) {
            (scripts::LIMIT, [ms]) => {
                let count = self.add(key, 1);
                if let (Value::Int(1), Some(ms)) = (&count, number(ms)) {
                    self.expire_in(key, ms);
                }
                return count;
            }
            (scripts::TRANSFER, [to, by]) => return self.transfer(key, to, by),
            (scripts::RANDOM | scripts::FLUSH, _) => return Value::Int(1),
            _ => {}
        }
        let mine = self
            .items
            .get(*key)
            .is_some_and(|item| Some(item.value.as_slice()) == arguments.first().copied());
        if !mine && script != scripts::RELEASE_UNCHECKED {
            return Value::Int(0);
        }
        match script {
            scripts::EXTEND => {
                let Value::Int(left) = self.pttl(key) else { return Value::Int(0) };
                if left < 0 {
                    return Value::Int(0);
                }
                let span = arguments.get(1).and_then(|ms| number(ms)).unwrap_or(0);
                let replaces = arguments.get(2) != Some(&&b"0"[..]);
                self.expire_in(key, if replaces { span } else { span + left })
            }
            scripts::REACQUIRE => {
                self.expire_in(key, arguments.get(1).and_then(|ms| number(ms)).unwrap_or(0));
                Value::Int(1)
            }
            _ => {
                self.delete(key);
                Value::Int(1)
            }
        }
    }

    fn transfer(&mut self, from: &[u8], to: &[u8], by: &[u8]) -> Value {
        let have = self.items.get(from).map_or(Some(0), |item| number(&item.value));
        match (have, number(by)) {
            (Some(have), Some(by)) if have >= by => {
                self.add(from, -by);
                self.add(to, by);
                Value::Int(1)
            }
            (Some(_), Some(_)) => Value::Int(0),
            _ => error("ERR a script compared what is no number"),
        }
    }
}
