//! The arguments of a library function, and its complaints, in the words of Lua's own functions: `bad argument #1 to 'decode'
//! (string expected, got table)`, with the line of the script that called in front.

use std::borrow::Cow;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use crate::convert::truncate;

/// What a library function has to say; `located` says where.
#[derive(Clone, Debug)]
enum Complaint {
    /// Against its caller.
    Text(String),
    /// Against the argument at this place.
    Argument(usize, String),
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) | Self::Argument(_, text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Complaint {}

pub(crate) fn complaint(text: impl Into<String>) -> mlua::Error {
    mlua::Error::external(Complaint::Text(text.into()))
}

/// A complaint about the argument at this place, counted from 1.
pub(crate) fn bad_argument(at: usize, text: impl Into<String>) -> mlua::Error {
    mlua::Error::external(Complaint::Argument(at, text.into()))
}

/// As Lua's own functions say where an error happened: the line of the Lua function that called.
pub(crate) fn located<T>(lua: &Lua, result: mlua::Result<T>) -> mlua::Result<T> {
    result.map_err(|error| {
        let text = match error.downcast_ref() {
            None => return error,
            Some(Complaint::Text(text)) => text.clone(),
            Some(Complaint::Argument(at, text)) => {
                let name = lua.inspect_stack(0, |frame| frame.names().name.map(Cow::into_owned));
                let name = name.flatten().unwrap_or_else(|| "?".to_owned());
                format!("bad argument #{at} to '{name}' ({text})")
            }
        };
        let place = (1..4).find_map(|level| {
            lua.inspect_stack(level, |frame| {
                let source = frame.source().short_src.filter(|source| source != "prelude")?;
                Some(frame.current_line().map(|line| format!("{source}:{line}: ")))
            })
            .flatten()
        });
        mlua::Error::RuntimeError(place.flatten().unwrap_or_default() + &text)
    })
}

/// What Lua calls the type of a value.
pub(crate) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "no value",
        Some(Value::Integer(_) | Value::Number(_)) => "number",
        Some(Value::LightUserData(_) | Value::Error(_)) => "userdata",
        Some(value) => value.type_name(),
    }
}

/// A number, if that is what the value is.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// The arguments of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) lua: &'a Lua,
    words: &'a MultiValue,
}

impl<'a> Arguments<'a> {
    pub(crate) fn count(&self) -> usize {
        self.words.len()
    }

    /// The argument at this place, counted from 1.
    pub(crate) fn get(&self, at: usize) -> Option<&'a Value> {
        self.words.get(at.checked_sub(1)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.words.iter()
    }

    /// Whether nothing stands there, or nil.
    pub(crate) fn is_nil(&self, at: usize) -> bool {
        self.get(at).is_none_or(Value::is_nil)
    }

    fn unexpected(&self, at: usize, expected: &str) -> mlua::Error {
        bad_argument(at, format!("{expected} expected, got {}", type_name(self.get(at))))
    }

    /// A number, or a text that is one.
    pub(crate) fn number(&self, at: usize) -> mlua::Result<f64> {
        let value = self.get(at).cloned().unwrap_or(Value::Nil);
        self.lua.coerce_number(value)?.ok_or_else(|| self.unexpected(at, "number"))
    }

    /// A number, cut to an integer as the processor does it.
    pub(crate) fn integer(&self, at: usize) -> mlua::Result<i64> {
        self.number(at).map(truncate)
    }

    /// The same where nothing needs to stand.
    pub(crate) fn integer_or(&self, at: usize, default: i64) -> mlua::Result<i64> {
        if self.is_nil(at) { Ok(default) } else { self.integer(at) }
    }

    /// A text, or a number as one.
    pub(crate) fn string(&self, at: usize) -> mlua::Result<LuaString> {
        let value = self.get(at).cloned().unwrap_or(Value::Nil);
        self.lua.coerce_string(value)?.ok_or_else(|| self.unexpected(at, "string"))
    }
}

/// Puts a function into a table.
pub(crate) fn define<F>(lua: &Lua, table: &Table, name: &str, function: F) -> mlua::Result<()>
where
    F: Fn(Arguments<'_>) -> mlua::Result<MultiValue> + 'static,
{
    let made = lua.create_function(move |lua, words: MultiValue| {
        located(lua, function(Arguments { lua, words: &words }))
    })?;
    table.raw_set(name, made)
}

/// One value to answer.
pub(crate) fn one(value: Value) -> MultiValue {
    MultiValue::from_iter([value])
}
