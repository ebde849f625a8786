//! The library `struct`: numbers and strings to bytes and back, by a format, as Redis has it.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::arguments::{Arguments, as_number, bad_argument, complaint, define, one};
use crate::convert::truncate;
use crate::meter::{Meter, Output, VALUE_INSTRUCTIONS};

const INTEGER_BYTES_MAX: usize = 32;
const ALIGNMENT_MAX: i32 = 8;
/// Values that a call may answer: what Lua's stack holds in Redis.
const RESULTS_MAX: usize = 7997;

/// The library as a table.
pub(crate) fn library(lua: &Lua, meter: &Rc<Meter>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let counted = Rc::clone(meter);
    define(lua, &table, "pack", move |words| pack(words, &counted))?;
    let counted = Rc::clone(meter);
    define(lua, &table, "unpack", move |words| unpack(words, &counted))?;
    let counted = Rc::clone(meter);
    define(lua, &table, "size", move |words| size(words, &counted))?;
    Ok(table)
}

/// A format, being read, and what it said so far about order and alignment.
struct Format<'a> {
    text: &'a [u8],
    meter: &'a Meter,
    is_big_endian: bool,
    align: usize,
}

/// One option of a format: its letter, the bytes that it says, and those that align it.
struct Item {
    option: u8,
    size: usize,
    padding: usize,
}

impl<'a> Format<'a> {
    /// As a C string: up to the first zero byte.
    fn new(text: &'a [u8], meter: &'a Meter) -> Self {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        Self { text: text.get(..end).unwrap_or_default(), meter, is_big_endian: false, align: 1 }
    }

    fn number(&mut self, default: i32) -> mlua::Result<i32> {
        let mut number: Option<i32> = None;
        while let Some((digit @ b'0'..=b'9', rest)) = self.text.split_first() {
            let longer = number.unwrap_or(0).checked_mul(10);
            let longer = longer.and_then(|longer| longer.checked_add(i32::from(digit - b'0')));
            number = Some(longer.ok_or_else(|| complaint("integral size overflow"))?);
            self.text = rest;
        }
        Ok(number.unwrap_or(default))
    }

    /// The next option, for something that stands at `position`.
    fn next(&mut self, position: usize) -> mlua::Result<Option<Item>> {
        let Some((&option, rest)) = self.text.split_first() else { return Ok(None) };
        self.meter.use_up(VALUE_INSTRUCTIONS)?;
        self.text = rest;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'f' => 4,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'c' => self.number(1)? as usize,
            b'i' | b'I' => {
                let size = self.number(4)? as usize;
                if size > INTEGER_BYTES_MAX {
                    return Err(complaint(format!(
                        "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"
                    )));
                }
                size
            }
            _ => 0,
        };
        let step = size.min(self.align);
        let padding = if step == 0 || option == b'c' {
            0
        } else {
            (step - (position & (step - 1))) & (step - 1)
        };
        Ok(Some(Item { option, size, padding }))
    }

    /// What an option that stands for no bytes says.
    fn control(&mut self, option: u8) -> mlua::Result<()> {
        match option {
            b' ' => {}
            b'>' => self.is_big_endian = true,
            b'<' => self.is_big_endian = false,
            b'!' => {
                let align = self.number(ALIGNMENT_MAX)?;
                if align <= 0 || align & (align - 1) != 0 {
                    return Err(complaint(format!("alignment {align} is not a power of 2")));
                }
                self.align = align as usize;
            }
            _ => {
                let text = format!("invalid format option '{}'", char::from(option));
                return Err(bad_argument(1, text));
            }
        }
        Ok(())
    }

    /// Bytes of the processor's order in that of the format, or back.
    fn ordered<const N: usize>(&self, mut bytes: [u8; N]) -> [u8; N] {
        if self.is_big_endian {
            bytes.reverse();
        }
        bytes
    }
}

fn pack(words: Arguments<'_>, meter: &Meter) -> mlua::Result<MultiValue> {
    let text = words.string(1)?;
    let text = text.as_bytes();
    let (mut format, mut out, mut at) = (Format::new(&text, meter), Output::new(meter), 1);
    while let Some(Item { option, size, padding }) = format.next(out.len())? {
        out.extend(&[0; ALIGNMENT_MAX as usize * 4][..padding.min(32)])?;
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                at += 1;
                let bytes = integer_bytes(present(words, at, words.number(at))?);
                let mut bytes: Vec<u8> = bytes.into_iter().chain([0; 24]).take(size).collect();
                if format.is_big_endian {
                    bytes.reverse();
                }
                out.extend(&bytes)?;
            }
            b'x' => out.push(0)?,
            b'f' => {
                at += 1;
                let number = present(words, at, words.number(at))? as f32;
                out.extend(&format.ordered(number.to_bits().to_le_bytes()))?;
            }
            b'd' => {
                at += 1;
                let number = present(words, at, words.number(at))?;
                out.extend(&format.ordered(number.to_bits().to_le_bytes()))?;
            }
            b'c' | b's' => {
                at += 1;
                let string = present(words, at, words.string(at))?;
                let string = string.as_bytes();
                let taken = if size == 0 { Some(&*string) } else { string.get(..size) };
                out.extend(taken.ok_or_else(|| bad_argument(at + 1, "string too short"))?)?;
                if option == b's' {
                    out.push(0)?;
                }
            }
            _ => format.control(option)?,
        }
    }
    Ok(one(Value::String(words.lua.create_string(out.bytes())?)))
}

/// What is missing counts as a nil here.
fn present<T>(words: Arguments<'_>, at: usize, read: mlua::Result<T>) -> mlua::Result<T> {
    read.map_err(|error| {
        if at <= words.count() {
            return error;
        }
        bad_argument(at, error.to_string().replace("no value", "nil"))
    })
}

/// The low bytes of a number first.
fn integer_bytes(number: f64) -> [u8; 8] {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number >= LIMIT {
        (truncate(number - LIMIT) as u64 ^ (1 << 63)).to_le_bytes()
    } else {
        truncate(number).to_le_bytes()
    }
}

/// An integer of so many bytes. Those of more than eight keep their last ones, as in Redis.
fn integer_of(bytes: &[u8], is_big_endian: bool, is_signed: bool) -> f64 {
    let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
    let sum =
        if is_big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) };
    if !is_signed {
        return sum as f64;
    }
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32 * 8).wrapping_sub(1));
    (if sum & mask == 0 { sum } else { sum | mask }).cast_signed() as f64
}

fn unpack(words: Arguments<'_>, meter: &Meter) -> mlua::Result<MultiValue> {
    let (text, data) = (words.string(1)?, words.string(2)?);
    let (text, data) = (text.as_bytes(), data.as_bytes());
    let start = words.integer_or(3, 1)?;
    if start == 0 {
        return Err(bad_argument(3, "offset must be 1 or greater"));
    }
    let too_short = || bad_argument(2, "data string too short");
    let mut position = usize::try_from(start - 1).map_err(|_| too_short())?;
    let mut format = Format::new(&text, meter);
    let mut results: Vec<Value> = Vec::new();
    while let Some(Item { option, mut size, padding }) = format.next(position)? {
        position += padding;
        let take = |size| data.get(position..).and_then(|rest| rest.get(..size));
        let bytes = take(size).ok_or_else(too_short)?;
        if results.len() >= RESULTS_MAX {
            return Err(complaint("stack overflow (too many results)"));
        }
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let is_signed = option.is_ascii_lowercase();
                let number = integer_of(bytes, format.is_big_endian, is_signed);
                results.push(Value::Number(number));
            }
            b'x' => {}
            b'f' => {
                let bytes = bytes.try_into().map_err(|_| too_short())?;
                let number = f32::from_bits(u32::from_le_bytes(format.ordered(bytes)));
                results.push(Value::Number(f64::from(number)));
            }
            b'd' => {
                let bytes = bytes.try_into().map_err(|_| too_short())?;
                let number = f64::from_bits(u64::from_le_bytes(format.ordered(bytes)));
                results.push(Value::Number(number));
            }
            b'c' => {
                if size == 0 {
                    size = said_size(words.lua, results.pop())?;
                }
                let bytes = take(size).ok_or_else(too_short)?;
                meter.use_up_bytes(size)?;
                results.push(Value::String(words.lua.create_string(bytes)?));
            }
            b's' => {
                let rest = data.get(position..).unwrap_or_default();
                let end = rest.iter().position(|byte| *byte == 0);
                meter.use_up_bytes(end.unwrap_or(rest.len()))?;
                let end = end.ok_or_else(|| complaint("unfinished string in data"))?;
                let string = rest.get(..end).unwrap_or_default();
                results.push(Value::String(words.lua.create_string(string)?));
                size = end + 1;
            }
            _ => format.control(option)?,
        }
        position += size;
    }
    results.push(Value::Number((position + 1) as f64));
    Ok(results.into_iter().collect())
}

/// The size of a `c0`: the value before it.
fn said_size(lua: &Lua, value: Option<Value>) -> mlua::Result<usize> {
    let number = value.and_then(|value| match &value {
        Value::String(_) => lua.coerce_number(value).ok().flatten(),
        value => as_number(value),
    });
    let number = number.ok_or_else(|| complaint("format 'c0' needs a previous size"))?;
    Ok(u64::from_le_bytes(integer_bytes(number)) as usize)
}

fn size(words: Arguments<'_>, meter: &Meter) -> mlua::Result<MultiValue> {
    let text = words.string(1)?;
    let text = text.as_bytes();
    let (mut format, mut position) = (Format::new(&text, meter), 0_usize);
    while let Some(Item { option, size, padding }) = format.next(position)? {
        match option {
            b's' => return Err(bad_argument(1, "option 's' has no fixed size")),
            b'c' if size == 0 => return Err(bad_argument(1, "option 'c0' has no fixed size")),
            option if !option.is_ascii_alphanumeric() => format.control(option)?,
            _ => {}
        }
        position = position.wrapping_add(padding).wrapping_add(size);
    }
    Ok(one(Value::Number(position as f64)))
}
