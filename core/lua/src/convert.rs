//! Replies to Lua values and back, and error texts, as Redis does it.

use mlua::{Lua, Table, Value};
use steadfast_core::error::ReplyError;
use steadfast_core::number::print_double;
use steadfast_core::reply::Reply;

use crate::arguments::as_number;
use crate::meter::{Meter, VALUE_INSTRUCTIONS};
use crate::{Refused, Thrown};

/// Nesting that is followed.
const DEPTH_MAX: usize = 128;

/// A reply as a script sees it, by the rules of RESP2 or RESP3.
pub(crate) fn to_lua(
    lua: &Lua,
    reply: &Reply<'_>,
    resp3: bool,
    meter: &Meter,
) -> mlua::Result<Value> {
    let string = |bytes: &[u8]| {
        meter.use_up_bytes(bytes.len())?;
        lua.create_string(bytes).map(Value::String)
    };
    let inner = |reply: &Reply<'_>| to_lua(lua, reply, resp3, meter);
    meter.use_up(VALUE_INSTRUCTIONS)?;
    Ok(match reply {
        Reply::Ok => field(lua, "ok", b"OK")?,
        Reply::Status(text) => field(lua, "ok", text)?,
        Reply::Error(error) => error_table(lua, error)?,
        Reply::Int(value) => Value::Number(*value as f64),
        Reply::Bulk(bytes) => string(bytes)?,
        Reply::Nil | Reply::NilArray if resp3 => Value::Nil,
        Reply::Nil | Reply::NilArray => Value::Boolean(false),
        Reply::Double(value) if resp3 => marked(lua, "double", Value::Number(*value))?,
        Reply::Double(value) => string(print_double(*value).as_bytes())?,
        Reply::Bool(value) if resp3 => Value::Boolean(*value),
        Reply::Bool(value) => Value::Number(f64::from(u8::from(*value))),
        Reply::BigNumber(digits) if resp3 => marked(lua, "big_number", string(digits)?)?,
        Reply::BigNumber(digits) => string(digits)?,
        Reply::Verbatim(text) if resp3 => verbatim(lua, b"txt", string(text)?)?,
        Reply::VerbatimAs(format, text) if resp3 => verbatim(lua, format, string(text)?)?,
        Reply::Verbatim(text) | Reply::VerbatimAs(_, text) => string(text)?,
        Reply::Set(replies) if resp3 => {
            let set = lua.create_table()?;
            for member in replies {
                set_field(&set, inner(member)?, Value::Boolean(true))?;
            }
            marked(lua, "set", Value::Table(set))?
        }
        Reply::Array(replies)
        | Reply::Set(replies)
        | Reply::Push(replies)
        | Reply::Several(replies) => {
            let table = lua.create_table_with_capacity(replies.len(), 0)?;
            for (at, reply) in replies.iter().enumerate() {
                table.raw_seti(at + 1, inner(reply)?)?;
            }
            Value::Table(table)
        }
        Reply::Map(pairs) if resp3 => {
            let map = lua.create_table()?;
            for (key, value) in pairs {
                set_field(&map, inner(key)?, inner(value)?)?;
            }
            marked(lua, "map", Value::Table(map))?
        }
        Reply::Pairs(pairs) if resp3 => {
            let table = lua.create_table_with_capacity(pairs.len(), 0)?;
            for (at, (key, value)) in pairs.iter().enumerate() {
                let pair = lua.create_sequence_from([inner(key)?, inner(value)?])?;
                table.raw_seti(at + 1, pair)?;
            }
            Value::Table(table)
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            let table = lua.create_table()?;
            for (key, value) in pairs {
                table.raw_push(inner(key)?)?;
                table.raw_push(inner(value)?)?;
            }
            Value::Table(table)
        }
    })
}

/// A key that Lua can't have is left out.
fn set_field(table: &Table, key: Value, value: Value) -> mlua::Result<()> {
    let impossible = key.is_nil() || as_number(&key).is_some_and(f64::is_nan);
    if impossible { Ok(()) } else { table.raw_set(key, value) }
}

/// A value that its only field tells from others.
fn marked(lua: &Lua, name: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn verbatim(lua: &Lua, format: &[u8], text: Value) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set("format", lua.create_string(format)?)?;
    table.raw_set("string", text)?;
    marked(lua, "verbatim_string", Value::Table(table))
}

fn field(lua: &Lua, name: &str, text: &[u8]) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set(name, lua.create_string(text)?)?;
    Ok(Value::Table(table))
}

/// An error reply as a script sees it.
pub(crate) fn error_table(lua: &Lua, error: &ReplyError) -> mlua::Result<Value> {
    field(lua, "err", error.text())
}

/// What `redis.error_reply` makes of a text: one word alone is no code and gets the general one.
pub(crate) fn error_text(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let blank = text.iter().position(|byte| *byte == b' ');
    let (code, message) = blank.map_or((&b"ERR"[..], text), |at| (&text[..at], &text[at + 1..]));
    let mut message = message;
    while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = message {
        message = rest;
    }
    [code, b" ", message].concat()
}

/// The command's error at the bottom of what was thrown, however often it crossed the border.
pub(crate) fn refusal(thrown: &Value) -> Option<ReplyError> {
    let Value::Error(error) = thrown else { return None };
    let mut error: &mlua::Error = error;
    while let mlua::Error::CallbackError { cause, .. } = error {
        error = cause;
    }
    error.downcast_ref::<Refused>().map(|refused| refused.0.clone())
}

/// Whether a value is compared by its address.
pub(crate) fn is_object(value: &Value) -> bool {
    matches!(
        value,
        Value::Table(_)
            | Value::Function(_)
            | Value::Thread(_)
            | Value::UserData(_)
            | Value::Error(_)
    )
}

/// As x86-64 makes an integer of a number: what does not fit becomes the smallest one.
pub(crate) fn truncate(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}

/// What a script returned, as a reply.
///
/// # Errors
/// The reply is larger than the script's budgets, or has an order that differs between replicas.
pub(crate) fn to_reply(value: &Value, resp3: bool, meter: &Meter) -> mlua::Result<Reply<'static>> {
    let mut conversion = Conversion { resp3, meter, bytes: 0 };
    conversion.value(value, DEPTH_MAX)
}

/// A value on its way to be a reply. The same table may stand in it many times: what that comes to is counted.
struct Conversion<'a> {
    resp3: bool,
    meter: &'a Meter,
    bytes: usize,
}

impl Conversion<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<Reply<'static>> {
        let Some(depth) = depth.checked_sub(1) else {
            return Ok(Reply::Error(ReplyError::fixed("ERR reached lua stack limit")));
        };
        self.meter.use_up(VALUE_INSTRUCTIONS)?;
        self.take(size_of::<Reply<'_>>())?;
        Ok(match value {
            Value::Boolean(flag) if self.resp3 => Reply::Bool(*flag),
            Value::Boolean(true) => Reply::Int(1),
            Value::Integer(number) => Reply::Int(*number),
            Value::Number(number) => Reply::Int(truncate(*number)),
            Value::String(text) => Reply::bulk_owned(self.bytes_of(text)?),
            Value::Table(table) => self.table(table, depth)?,
            _ => Reply::Nil,
        })
    }

    fn take(&mut self, bytes: usize) -> mlua::Result<()> {
        self.bytes += bytes;
        self.meter.check_size(self.bytes)
    }

    fn bytes_of(&mut self, text: &mlua::LuaString) -> mlua::Result<Vec<u8>> {
        let text = text.as_bytes();
        self.take(text.len())?;
        self.meter.use_up_bytes(text.len())?;
        Ok(text.to_vec())
    }

    /// The same without line ends.
    fn line_of(&mut self, text: &mlua::LuaString) -> mlua::Result<Vec<u8>> {
        let blank = |byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        Ok(self.bytes_of(text)?.into_iter().map(blank).collect())
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<Reply<'static>> {
        if let Value::String(text) = table.raw_get::<Value>("err")? {
            return Ok(Reply::Error(ReplyError::made(self.bytes_of(&text)?)));
        }
        if let Value::String(text) = table.raw_get::<Value>("ok")? {
            return Ok(Reply::Status(self.line_of(&text)?.into()));
        }
        if let Some(number) = as_number(&table.raw_get::<Value>("double")?) {
            return Ok(Reply::Double(number));
        }
        if let Value::String(digits) = table.raw_get::<Value>("big_number")? {
            return Ok(Reply::BigNumber(self.line_of(&digits)?.into()));
        }
        if let Value::Table(verbatim) = table.raw_get::<Value>("verbatim_string")?
            && let Value::String(format) = verbatim.raw_get::<Value>("format")?
            && let Value::String(text) = verbatim.raw_get::<Value>("string")?
        {
            return self.verbatim(&format, &text);
        }
        if let Value::Table(map) = table.raw_get::<Value>("map")? {
            return self.map(&map, depth);
        }
        if let Value::Table(set) = table.raw_get::<Value>("set")? {
            return self.set(&set, depth);
        }
        let mut replies = Vec::new();
        for at in 1.. {
            match table.raw_get::<Value>(at)? {
                Value::Nil => break,
                value => replies.push(self.value(&value, depth)?),
            }
        }
        Ok(Reply::Array(replies))
    }

    fn verbatim(
        &mut self,
        format: &mlua::LuaString,
        text: &mlua::LuaString,
    ) -> mlua::Result<Reply<'static>> {
        let format = format.as_bytes();
        let end = format.iter().position(|byte| *byte == 0).unwrap_or(format.len());
        let mut letters = [b' '; 3];
        letters.iter_mut().zip(format.iter().take(end)).for_each(|(own, letter)| *own = *letter);
        let text = self.bytes_of(text)?.into();
        Ok(if letters == *b"txt" {
            Reply::Verbatim(text)
        } else {
            Reply::VerbatimAs(letters, text)
        })
    }

    fn map(&mut self, map: &Table, depth: usize) -> mlua::Result<Reply<'static>> {
        let mut pairs = Vec::new();
        for pair in map.pairs::<Value, Value>() {
            let (key, value) = pair?;
            check_order(&key)?;
            pairs.push((self.value(&key, depth)?, self.value(&value, depth)?));
        }
        Ok(Reply::Map(pairs))
    }

    fn set(&mut self, set: &Table, depth: usize) -> mlua::Result<Reply<'static>> {
        let mut members = Vec::new();
        for pair in set.pairs::<Value, Value>() {
            let (key, _) = pair?;
            check_order(&key)?;
            members.push(self.value(&key, depth)?);
        }
        Ok(Reply::Set(members))
    }
}

/// Keys that are compared by address come in an order that only this process knows.
fn check_order(key: &Value) -> mlua::Result<()> {
    if is_object(key) {
        let text = "the order of a table whose keys are objects differs between replicas";
        return Err(mlua::Error::RuntimeError(text.to_owned()));
    }
    Ok(())
}

/// The text for the client of something that a script threw and nobody caught.
pub(crate) fn uncaught(thrown: &Thrown, sha: &str) -> ReplyError {
    let (value, line) = (&thrown.value, thrown.line);
    if let Some(error) = refusal(value) {
        return located(error.text(), line, sha);
    }
    match value {
        Value::Table(table) => {
            let text = table.raw_get::<Value>("err").ok();
            let text = text.and_then(|text| text.as_string().map(|s| s.as_bytes().to_vec()));
            located(&text.unwrap_or_else(|| b"ERR unknown error".to_vec()), line, sha)
        }
        Value::String(text) => uncaught_text(&text.as_bytes(), line, sha),
        Value::Error(error) => uncaught_text(innermost(error).as_bytes(), line, sha),
        Value::Boolean(flag) => uncaught_text(flag.to_string().as_bytes(), line, sha),
        other => uncaught_text(other.type_name().as_bytes(), line, sha),
    }
}

/// Where Redis 7 says that an error happened.
fn located(text: &[u8], line: usize, sha: &str) -> ReplyError {
    let place = format!(" script: {sha}, on @user_script:{line}.");
    ReplyError::made([text, place.as_bytes()].concat())
}

/// The message at the bottom of an error that crossed the border several times.
pub(crate) fn innermost(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => innermost(cause),
        mlua::Error::RuntimeError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// As Redis 7 words a runtime error. What a function of the prelude says against its arguments happened in the script.
pub(crate) fn uncaught_text(text: &[u8], line: usize, sha: &str) -> ReplyError {
    let own = without_place(text);
    let place =
        if own.len() < text.len() { format!("user_script:{line}: ") } else { String::new() };
    located(&[b"ERR ", place.as_bytes(), own].concat(), line, sha)
}

/// A text without a place in the prelude in front of it.
pub(crate) fn without_place(text: &[u8]) -> &[u8] {
    let Some(rest) = text.strip_prefix(b"prelude:") else { return text };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest.get(digits..).and_then(|rest| rest.strip_prefix(b": ")).unwrap_or(text)
}
