//! Replies to Lua values and back, and error texts, as Redis does it.

use mlua::{Lua, Table, Value};
use steadfast_core::error::ReplyError;
use steadfast_core::number::print_double;
use steadfast_core::reply::Reply;

use crate::{Refused, Thrown};

/// Nesting that is followed.
const DEPTH_MAX: usize = 128;

/// A reply as a script sees it (RESP2 rules).
pub(crate) fn to_lua(lua: &Lua, reply: &Reply<'_>) -> mlua::Result<Value> {
    let string = |bytes: &[u8]| lua.create_string(bytes).map(Value::String);
    Ok(match reply {
        Reply::Ok => field(lua, "ok", b"OK")?,
        Reply::Status(text) => field(lua, "ok", text)?,
        Reply::Error(error) => error_table(lua, error)?,
        Reply::Int(value) => Value::Number(*value as f64),
        Reply::Bulk(bytes) | Reply::Verbatim(bytes) => string(bytes)?,
        Reply::Nil | Reply::NilArray => Value::Boolean(false),
        Reply::Double(value) => string(print_double(*value).as_bytes())?,
        Reply::Bool(value) => Value::Number(f64::from(u8::from(*value))),
        Reply::Array(replies)
        | Reply::Set(replies)
        | Reply::Push(replies)
        | Reply::Several(replies) => {
            let table = lua.create_table_with_capacity(replies.len(), 0)?;
            for reply in replies {
                table.raw_push(to_lua(lua, reply)?)?;
            }
            Value::Table(table)
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            let table = lua.create_table()?;
            for (key, value) in pairs {
                table.raw_push(to_lua(lua, key)?)?;
                table.raw_push(to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
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

/// A number as Redis hands it on: `%.17g`.
pub(crate) fn number_text(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if !value.is_finite() {
        return if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let text = format!("{value:.16e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        let trimmed = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            text
        };
        trimmed.to_owned()
    };
    if (-4..17).contains(&exponent) {
        trim(&format!("{value:.*}", usize::try_from(16 - exponent).unwrap_or(0)))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(digits), exponent.abs())
    }
}

/// What a script returned, as a reply.
pub(crate) fn to_reply(value: &Value) -> mlua::Result<Reply<'static>> {
    convert(value, DEPTH_MAX)
}

fn convert(value: &Value, depth: usize) -> mlua::Result<Reply<'static>> {
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(Reply::Error(ReplyError::fixed("ERR reached lua stack limit")));
    };
    Ok(match value {
        Value::Boolean(true) => Reply::Int(1),
        Value::Integer(number) => Reply::Int(*number),
        Value::Number(number) => Reply::Int(truncate(*number)),
        Value::String(text) => Reply::bulk_owned(text.as_bytes().to_vec()),
        Value::Table(table) => convert_table(table, depth)?,
        _ => Reply::Nil,
    })
}

/// As x86-64 makes an integer of a number: what does not fit becomes the smallest one.
fn truncate(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}

fn convert_table(table: &Table, depth: usize) -> mlua::Result<Reply<'static>> {
    if let Value::String(text) = table.raw_get::<Value>("err")? {
        return Ok(Reply::Error(ReplyError::made(text.as_bytes().to_vec())));
    }
    if let Value::String(text) = table.raw_get::<Value>("ok")? {
        let line = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
        return Ok(Reply::Status(text.as_bytes().iter().map(line).collect::<Vec<u8>>().into()));
    }
    if let Value::Number(number) = table.raw_get::<Value>("double")? {
        return Ok(Reply::Double(number));
    }
    let mut replies = Vec::new();
    for at in 1.. {
        match table.raw_get::<Value>(at)? {
            Value::Nil => break,
            value => replies.push(convert(&value, depth)?),
        }
    }
    Ok(Reply::Array(replies))
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

/// As Redis 7 words a runtime error.
pub(crate) fn uncaught_text(text: &[u8], line: usize, sha: &str) -> ReplyError {
    located(&[b"ERR ", text].concat(), line, sha)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `%.17g` prints.
    #[test]
    fn numbers_as_printf() {
        for (value, text) in [
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (1e20, "1e+20"),
            (0.0, "0"),
            (-0.0, "-0"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (9_223_372_036_854_775_808.0, "9.2233720368547758e+18"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.000_01, "1.0000000000000001e-05"),
            (1e-7, "9.9999999999999995e-08"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number_text(value), text);
        }
    }
}
