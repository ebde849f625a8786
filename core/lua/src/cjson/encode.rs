//! `cjson.encode`: Lua values as JSON. It goes down by recursion, as deep as `DEPTH_MAX`, and no further for any setting.

use mlua::{MultiValue, Table, Value};

use super::{Invalid, Settings};
use crate::arguments::{Arguments, as_number, bad_argument, complaint, one, type_name};
use crate::convert::is_object;
use crate::meter::{Meter, Output, VALUE_INSTRUCTIONS};
use crate::numbers::{is_equal, print_general};

/// Nesting that `encode_max_depth` can't raise: the default.
const DEPTH_MAX: i32 = 1000;

/// `cjson.encode(value)`.
pub(super) fn encode(
    words: Arguments<'_>,
    settings: &Settings,
    meter: &Meter,
) -> mlua::Result<MultiValue> {
    let value = match words.get(1) {
        Some(value) if words.count() == 1 => value,
        _ => return Err(bad_argument(1, "expected 1 argument")),
    };
    let mut encoder = Encoder { settings, out: Output::new(meter) };
    encoder.value(value, 0)?;
    Ok(one(Value::String(words.lua.create_string(encoder.out.bytes())?)))
}

struct Encoder<'a> {
    settings: &'a Settings,
    out: Output<'a>,
}

fn refused(value: &Value, why: &str) -> mlua::Error {
    complaint(format!("Cannot serialise {}: {why}", type_name(Some(value))))
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value, depth: i32) -> mlua::Result<()> {
        self.out.meter().use_up(VALUE_INSTRUCTIONS)?;
        match value {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Boolean(true) => self.out.extend(b"true"),
            Value::Boolean(false) => self.out.extend(b"false"),
            Value::Nil => self.out.extend(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend(b"null"),
            Value::Table(table) => self.table(table, depth + 1),
            other => match as_number(other) {
                Some(number) => self.number(number),
                None => Err(refused(other, "type not supported")),
            },
        }
    }

    fn number(&mut self, number: f64) -> mlua::Result<()> {
        if !number.is_finite() {
            match self.settings.encode_invalid.get() {
                Invalid::Refused => {
                    return Err(refused(&Value::Number(number), "must not be NaN or Inf"));
                }
                Invalid::Written if number.is_nan() => return self.out.extend(b"nan"),
                Invalid::Written => {}
                Invalid::Null => return self.out.extend(b"null"),
            }
        }
        let precision = usize::try_from(self.settings.precision.get()).unwrap_or(1);
        self.out.extend(print_general(number, precision).as_bytes())
    }

    fn string(&mut self, text: &[u8]) -> mlua::Result<()> {
        self.out.push(b'"')?;
        let is_plain = |byte: &u8| *byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'/' | 0x7F);
        for run in text.chunk_by(|one, next| is_plain(one) && is_plain(next)) {
            match run {
                [b'"'] => self.out.extend(b"\\\"")?,
                [b'\\'] => self.out.extend(b"\\\\")?,
                [b'/'] => self.out.extend(b"\\/")?,
                [8] => self.out.extend(b"\\b")?,
                [b'\t'] => self.out.extend(b"\\t")?,
                [b'\n'] => self.out.extend(b"\\n")?,
                [12] => self.out.extend(b"\\f")?,
                [b'\r'] => self.out.extend(b"\\r")?,
                [byte] if !is_plain(byte) => {
                    self.out.extend(format!("\\u{byte:04x}").as_bytes())?;
                }
                run => self.out.extend(run)?,
            }
        }
        self.out.push(b'"')
    }

    fn table(&mut self, table: &Table, depth: i32) -> mlua::Result<()> {
        if depth > self.settings.encode_depth_max.get().min(DEPTH_MAX) {
            return Err(complaint(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        match self.array_length(table)? {
            Some(length) => self.array(table, length, depth),
            None => self.object(table, depth),
        }
    }

    /// The highest index, if the table is to be an array: all its keys are indices, most of which are there.
    fn array_length(&self, table: &Table) -> mlua::Result<Option<i32>> {
        let (mut max, mut items, mut is_array) = (0_i32, 0_i32, true);
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            self.out.meter().use_up(1)?;
            match as_number(&key) {
                Some(index) if is_equal(index.floor(), index) && index >= 1.0 => {
                    if index > f64::from(max) {
                        // As the processor cuts it: what is too large becomes the smallest.
                        max = if index > f64::from(i32::MAX) { i32::MIN } else { index as i32 };
                    }
                    items = items.wrapping_add(1);
                }
                _ => is_array = false,
            }
            // Which one of several is met first is up to their addresses, so that the first look at a table finds them all.
            if is_object(&key) {
                return Err(refused(&key, "table key must be a number or string"));
            }
        }
        if !is_array {
            return Ok(None);
        }
        let ratio = self.settings.sparse_ratio.get();
        if ratio > 0 && max > items.wrapping_mul(ratio) && max > self.settings.sparse_safe.get() {
            if !self.settings.sparse_to_object.get() {
                return Err(complaint("Cannot serialise table: excessively sparse array"));
            }
            return Ok(None);
        }
        Ok((max > 0).then_some(max))
    }

    fn array(&mut self, table: &Table, length: i32, depth: i32) -> mlua::Result<()> {
        self.out.push(b'[')?;
        for at in 1..=length {
            if at > 1 {
                self.out.push(b',')?;
            }
            let value: Value = table.raw_get(at)?;
            self.value(&value, depth)?;
        }
        self.out.push(b']')
    }

    fn object(&mut self, table: &Table, depth: i32) -> mlua::Result<()> {
        self.out.push(b'{')?;
        let mut is_first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !std::mem::take(&mut is_first) {
                self.out.push(b',')?;
            }
            match (&key, as_number(&key)) {
                (Value::String(text), _) => self.string(&text.as_bytes())?,
                (_, Some(number)) => {
                    self.out.push(b'"')?;
                    self.number(number)?;
                    self.out.push(b'"')?;
                }
                _ => return Err(refused(&key, "table key must be a number or string")),
            }
            self.out.push(b':')?;
            self.value(&value, depth)?;
        }
        self.out.push(b'}')
    }
}
