//! The library `cjson`, as lua-cjson 2.1 has it in Redis: this file holds its settings, `encode` and `decode` do the work.
//! Settings last as long as the script that makes them: each run has an interpreter of its own.

mod decode;
mod encode;

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::arguments::{Arguments, bad_argument, define, one};
use crate::meter::Meter;

/// What a script may set.
#[derive(Debug)]
struct Settings {
    sparse_to_object: Cell<bool>,
    sparse_ratio: Cell<i32>,
    sparse_safe: Cell<i32>,
    encode_depth_max: Cell<i32>,
    decode_depth_max: Cell<i32>,
    precision: Cell<i32>,
    keep_buffer: Cell<bool>,
    encode_invalid: Cell<Invalid>,
    decode_invalid: Cell<bool>,
}

/// What becomes of numbers that JSON has no word for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sparse_to_object: Cell::new(false),
            sparse_ratio: Cell::new(2),
            sparse_safe: Cell::new(10),
            encode_depth_max: Cell::new(1000),
            decode_depth_max: Cell::new(1000),
            precision: Cell::new(14),
            keep_buffer: Cell::new(true),
            encode_invalid: Cell::new(Invalid::Refused),
            decode_invalid: Cell::new(true),
        }
    }
}

/// The library as a table, with settings of its own.
pub(crate) fn library(lua: &Lua, meter: &Rc<Meter>) -> mlua::Result<Table> {
    let cjson = lua.create_table()?;
    let settings = Rc::new(Settings::default());
    cjson.raw_set("null", Value::NULL)?;
    cjson.raw_set("_NAME", "cjson")?;
    cjson.raw_set("_VERSION", "2.1.0")?;
    let (set, counted) = (Rc::clone(&settings), Rc::clone(meter));
    define(lua, &cjson, "encode", move |words| encode::encode(words, &set, &counted))?;
    let (set, counted) = (Rc::clone(&settings), Rc::clone(meter));
    define(lua, &cjson, "decode", move |words| decode::decode(words, &set, &counted))?;
    let counted = Rc::clone(meter);
    define(lua, &cjson, "new", move |words| Ok(one(Value::Table(library(words.lua, &counted)?))))?;
    define_settings(lua, &cjson, &settings)?;
    Ok(cjson)
}

fn define_settings(lua: &Lua, cjson: &Table, settings: &Rc<Settings>) -> mlua::Result<()> {
    type Setting = fn(Arguments<'_>, &Settings) -> mlua::Result<MultiValue>;
    let all: [(&str, usize, Setting); 7] = [
        ("encode_sparse_array", 3, |words, set| {
            let convert = flag(words, &set.sparse_to_object)?;
            let ratio = integer(words, 2, &set.sparse_ratio, (0, i32::MAX))?;
            let safe = integer(words, 3, &set.sparse_safe, (0, i32::MAX))?;
            Ok([convert, ratio, safe].into_iter().collect())
        }),
        ("encode_max_depth", 1, |words, set| {
            integer(words, 1, &set.encode_depth_max, (1, i32::MAX)).map(one)
        }),
        ("decode_max_depth", 1, |words, set| {
            integer(words, 1, &set.decode_depth_max, (1, i32::MAX)).map(one)
        }),
        ("encode_number_precision", 1, |words, set| {
            integer(words, 1, &set.precision, (1, 14)).map(one)
        }),
        ("encode_keep_buffer", 1, |words, set| flag(words, &set.keep_buffer).map(one)),
        ("decode_invalid_numbers", 1, |words, set| flag(words, &set.decode_invalid).map(one)),
        ("encode_invalid_numbers", 1, encode_invalid_numbers),
    ];
    for (name, count, work) in all {
        let settings = Rc::clone(settings);
        define(lua, cjson, name, move |words| {
            if words.count() > count {
                return Err(bad_argument(count + 1, "found too many arguments"));
            }
            work(words, &settings)
        })?;
    }
    Ok(())
}

/// Sets an integer to the argument at this place, if there is one; answers it.
fn integer(
    words: Arguments<'_>,
    at: usize,
    setting: &Cell<i32>,
    (min, max): (i32, i32),
) -> mlua::Result<Value> {
    if !words.is_nil(at) {
        let value = words.integer(at)? as i32;
        if !(min..=max).contains(&value) {
            return Err(bad_argument(at, format!("expected integer between {min} and {max}")));
        }
        setting.set(value);
    }
    Ok(Value::Integer(i64::from(setting.get())))
}

/// One of the words that a setting knows, or a flag. The place of the word.
fn choice(words: Arguments<'_>, options: &[&str]) -> mlua::Result<Option<usize>> {
    match words.get(1) {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::Boolean(flag)) => Ok(Some(usize::from(*flag))),
        Some(_) => {
            let word = words.string(1)?;
            let place = options.iter().position(|option| *option.as_bytes() == *word.as_bytes());
            let invalid =
                || bad_argument(1, format!("invalid option '{}'", word.to_string_lossy()));
            place.map(Some).ok_or_else(invalid)
        }
    }
}

fn flag(words: Arguments<'_>, setting: &Cell<bool>) -> mlua::Result<Value> {
    if let Some(chosen) = choice(words, &["off", "on"])? {
        setting.set(chosen == 1);
    }
    Ok(Value::Boolean(setting.get()))
}

fn encode_invalid_numbers(words: Arguments<'_>, settings: &Settings) -> mlua::Result<MultiValue> {
    const CHOICES: [Invalid; 3] = [Invalid::Refused, Invalid::Written, Invalid::Null];
    let chosen = choice(words, &["off", "on", "null"])?.and_then(|place| CHOICES.get(place));
    if let Some(chosen) = chosen {
        settings.encode_invalid.set(*chosen);
    }
    Ok(one(match settings.encode_invalid.get() {
        Invalid::Refused => Value::Boolean(false),
        Invalid::Written => Value::Boolean(true),
        Invalid::Null => Value::String(words.lua.create_string("null")?),
    }))
}
