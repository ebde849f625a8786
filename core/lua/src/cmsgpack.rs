//! The library `cmsgpack`: Lua values as MessagePack and back, as lua-cmsgpack 0.4 has it in Redis.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::arguments::{Arguments, as_number, bad_argument, complaint, define, type_name};
use crate::convert::{is_object, truncate};
use crate::meter::{Meter, Output, VALUE_INSTRUCTIONS};
use crate::numbers::is_equal;

/// Nesting that is written; deeper tables become nil.
const PACKED_DEPTH_MAX: usize = 16;
/// Nesting that is read: what Lua's stack holds in Redis.
const DEPTH_MAX: usize = 3999;
/// Values that one call answers, likewise.
const RESULTS_MAX: usize = 7999;

/// The library as a table.
pub(crate) fn library(lua: &Lua, meter: &Rc<Meter>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    let counted = Rc::clone(meter);
    define(lua, &table, "pack", move |words| pack(words, &counted))?;
    let counted = Rc::clone(meter);
    define(lua, &table, "unpack", move |words| unpack(words, &counted, 0, 0))?;
    let counted = Rc::clone(meter);
    define(lua, &table, "unpack_one", move |words| {
        unpack(words, &counted, 1, words.integer_or(2, 0)?)
    })?;
    let counted = Rc::clone(meter);
    define(lua, &table, "unpack_limit", move |words| {
        unpack(words, &counted, words.integer(2)?, words.integer_or(3, 0)?)
    })?;
    Ok(table)
}

fn pack(words: Arguments<'_>, meter: &Meter) -> mlua::Result<MultiValue> {
    if words.count() == 0 {
        return Err(bad_argument(0, "MessagePack pack needs input."));
    }
    let mut out = Output::new(meter);
    for value in words.iter() {
        write(&mut out, value, 0)?;
    }
    Ok(MultiValue::from_iter([Value::String(words.lua.create_string(out.bytes())?)]))
}

fn write(out: &mut Output<'_>, value: &Value, depth: usize) -> mlua::Result<()> {
    out.meter().use_up(VALUE_INSTRUCTIONS)?;
    match value {
        Value::String(text) => {
            let text = text.as_bytes();
            head(out, text.len(), (0xA0, 31), &[0xD9, 0xDA, 0xDB])?;
            out.extend(&text)
        }
        Value::Boolean(flag) => out.push(0xC2 + u8::from(*flag)),
        Value::Table(table) if depth < PACKED_DEPTH_MAX => write_table(out, table, depth),
        other => match as_number(other) {
            Some(number) => write_number(out, number),
            None => out.push(0xC0),
        },
    }
}

/// The length of something: in the first byte if it is small, else behind it in 1, 2 or 4 bytes (without the first of these if
/// only two kinds are known).
fn head(
    out: &mut Output<'_>,
    length: usize,
    (small, small_max): (u8, usize),
    kinds: &[u8],
) -> mlua::Result<()> {
    let (one, two, four) = match kinds {
        [one, two, four] => (Some(*one), *two, *four),
        [two, four] => (None, *two, *four),
        _ => unreachable!("there are two or three kinds"),
    };
    if length <= small_max {
        return out.push(small | length as u8);
    }
    match (one, length) {
        (Some(one), 0..=0xFF) => out.extend(&[one, length as u8]),
        (_, 0..=0xFFFF) => {
            out.push(two)?;
            out.extend(&(length as u16).to_be_bytes())
        }
        _ => {
            out.push(four)?;
            out.extend(&(length as u32).to_be_bytes())
        }
    }
}

fn write_number(out: &mut Output<'_>, number: f64) -> mlua::Result<()> {
    let integer = truncate(number);
    if number.is_infinite() || !is_equal(integer as f64, number) {
        let single = number as f32;
        if is_equal(f64::from(single), number) {
            out.push(0xCA)?;
            return out.extend(&single.to_bits().to_be_bytes());
        }
        out.push(0xCB)?;
        return out.extend(&number.to_bits().to_be_bytes());
    }
    let bytes = integer.to_be_bytes();
    let (kind, length) = match integer {
        -32..=127 => return out.push(integer as u8),
        128..=0xFF => (0xCC, 1),
        0x100..=0xFFFF => (0xCD, 2),
        0x1_0000..=0xFFFF_FFFF => (0xCE, 4),
        0x1_0000_0000.. => (0xCF, 8),
        -0x80..-32 => (0xD0, 1),
        -0x8000..-0x80 => (0xD1, 2),
        -0x8000_0000..-0x8000 => (0xD2, 4),
        _ => (0xD3, 8),
    };
    out.push(kind)?;
    out.extend(bytes.get(8 - length..).unwrap_or_default())
}

fn write_table(out: &mut Output<'_>, table: &Table, depth: usize) -> mlua::Result<()> {
    let (mut count, mut max, mut is_array) = (0_usize, 0.0_f64, true);
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        out.meter().use_up(1)?;
        count += 1;
        match as_number(&key) {
            Some(index) if index > 0.0 && is_equal(f64::from(index as i32), index) => {
                max = max.max(index);
            }
            _ => is_array = false,
        }
        if is_object(&key) {
            let kind = type_name(Some(&key));
            return Err(complaint(format!(
                "a {kind} as a key can't be packed: the order of such keys differs between replicas"
            )));
        }
    }
    if is_array && is_equal(max, count as f64) {
        head(out, count, (0x90, 15), &[0xDC, 0xDD])?;
        for at in 1..=count {
            let value: Value = table.raw_get(at)?;
            write(out, &value, depth + 1)?;
        }
        return Ok(());
    }
    head(out, count, (0x80, 15), &[0xDE, 0xDF])?;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        write(out, &key, depth + 1)?;
        write(out, &value, depth + 1)?;
    }
    Ok(())
}

fn unpack(
    words: Arguments<'_>,
    meter: &Meter,
    limit: i64,
    offset: i64,
) -> mlua::Result<MultiValue> {
    let text = words.string(1)?;
    let text = text.as_bytes();
    let length = text.len();
    if offset < 0 || limit < 0 {
        return Err(complaint(format!(
            "Invalid request to unpack with offset of {} and limit of {length}.",
            offset as i32
        )));
    }
    let left = usize::try_from(offset).ok().and_then(|offset| text.get(offset..));
    let left = left.ok_or_else(|| {
        let offset = offset as i32;
        complaint(format!("Start offset {offset} greater than input length {length}."))
    })?;
    let all = limit == 0 && offset == 0;
    let limit = if all { i64::from(i32::MAX) } else { limit };
    let mut reader = Reader { left, lua: words.lua, meter };
    let mut values: Vec<Value> = Vec::new();
    while !reader.left.is_empty() && (values.len() as i64) < limit {
        if values.len() >= RESULTS_MAX {
            return Err(complaint(
                "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)",
            ));
        }
        values.push(reader.value()?);
    }
    let next = match reader.left.len() {
        0 => -1.0,
        left => (length - left) as f64,
    };
    let next = (!all).then_some(Value::Number(next));
    Ok(next.into_iter().chain(values).collect())
}

/// A table that is being filled, and the values that it still waits for.
enum Open {
    Array { table: Table, next: usize, left: usize },
    Map { table: Table, key: Option<Value>, left: usize },
}

/// What begins at a place of the input.
enum Piece {
    Value(Value),
    Array(usize),
    Map(usize),
}

struct Reader<'a> {
    left: &'a [u8],
    lua: &'a Lua,
    meter: &'a Meter,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> mlua::Result<&'a [u8]> {
        let missing = || complaint("Missing bytes in input.");
        let (taken, left) = self.left.split_at_checked(count).ok_or_else(missing)?;
        self.left = left;
        Ok(taken)
    }

    /// An unsigned number of so many bytes.
    fn number(&mut self, bytes: usize) -> mlua::Result<u64> {
        let bytes = self.take(bytes)?;
        Ok(bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    /// A signed one.
    fn signed(&mut self, bytes: usize) -> mlua::Result<Value> {
        let shift = 64 - 8 * bytes as u32;
        let number = (self.number(bytes)? << shift).cast_signed() >> shift;
        Ok(Value::Number(number as f64))
    }

    fn string(&mut self, length: usize) -> mlua::Result<Value> {
        let bytes = self.take(length)?;
        self.meter.use_up_bytes(length)?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    /// What comes next. The length behind the first byte is looked at whole, so that a cut one is missing bytes.
    fn piece(&mut self) -> mlua::Result<Piece> {
        self.meter.use_up(VALUE_INSTRUCTIONS)?;
        let kind = self.take(1)?.first().copied().unwrap_or_default();
        Ok(match kind {
            0xDC => Piece::Array(self.number(2)? as usize),
            0xDD => Piece::Array(self.number(4)? as usize),
            0x90..=0x9F => Piece::Array(usize::from(kind & 15)),
            0xDE => Piece::Map(self.number(2)? as usize),
            0xDF => Piece::Map(self.number(4)? as usize),
            0x80..=0x8F => Piece::Map(usize::from(kind & 15)),
            _ => Piece::Value(self.simple(kind)?),
        })
    }

    fn simple(&mut self, kind: u8) -> mlua::Result<Value> {
        Ok(match kind {
            0x00..=0x7F | 0xE0..=0xFF => Value::Number(f64::from(kind.cast_signed())),
            0xA0..=0xBF => self.string(usize::from(kind & 31))?,
            0xC0 => Value::Nil,
            0xC2 => Value::Boolean(false),
            0xC3 => Value::Boolean(true),
            0xCA => Value::Number(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xCB => Value::Number(f64::from_bits(self.number(8)?)),
            0xCC..=0xCE => Value::Number(self.number(1 << (kind - 0xCC))? as f64),
            0xCF => self.signed(8)?, // beyond 2^63 too, as in Redis
            0xD0..=0xD3 => self.signed(1 << (kind - 0xD0))?,
            0xD9..=0xDB => {
                let length = self.number(1 << (kind - 0xD9))? as usize;
                self.string(length)?
            }
            _ => return Err(complaint("Bad data format in input.")),
        })
    }

    /// One value, with all that is in it.
    fn value(&mut self) -> mlua::Result<Value> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut value = match self.piece()? {
                Piece::Value(value) => value,
                Piece::Array(left) => {
                    open.push(Open::Array { table: self.lua.create_table()?, next: 1, left });
                    check_depth(open.len(), "array")?;
                    match closed(&mut open) {
                        Some(value) => value,
                        None => continue,
                    }
                }
                Piece::Map(left) => {
                    open.push(Open::Map { table: self.lua.create_table()?, key: None, left });
                    check_depth(open.len(), "hash")?;
                    match closed(&mut open) {
                        Some(value) => value,
                        None => continue,
                    }
                }
            };
            // The value goes where it belongs, and so does what it closes.
            loop {
                match open.last_mut() {
                    None => return Ok(value),
                    Some(Open::Array { table, next, left }) => {
                        table.raw_seti(*next, value)?;
                        *next += 1;
                        *left -= 1;
                    }
                    Some(Open::Map { table, key, left }) => match key.take() {
                        None => *key = Some(value),
                        Some(key) => {
                            table.raw_set(checked_key(key)?, value)?;
                            *left -= 1;
                        }
                    },
                }
                match closed(&mut open) {
                    Some(table) => value = table,
                    None => break,
                }
            }
        }
    }
}

/// The innermost table, if nothing is missing in it.
fn closed(open: &mut Vec<Open>) -> Option<Value> {
    match open.last()? {
        Open::Array { table, left: 0, .. } | Open::Map { table, left: 0, key: None } => {
            let table = Value::Table(table.clone());
            open.pop();
            Some(table)
        }
        _ => None,
    }
}

fn check_depth(depth: usize, kind: &str) -> mlua::Result<()> {
    if depth > DEPTH_MAX {
        let text = format!("stack overflow (in function mp_decode_to_lua_{kind})");
        return Err(complaint(text));
    }
    Ok(())
}

/// What may be a key. As Lua says it, without a place.
fn checked_key(key: Value) -> mlua::Result<Value> {
    match &key {
        Value::Nil => Err(mlua::Error::RuntimeError("table index is nil".to_owned())),
        key if as_number(key).is_some_and(f64::is_nan) => {
            Err(mlua::Error::RuntimeError("table index is NaN".to_owned()))
        }
        _ => Ok(key),
    }
}
