//! The library `bit`: numbers as 32 bits, as LuaBitOp has them.

use mlua::{Lua, MultiValue, Table, Value};

use crate::arguments::{Arguments, define, one};

/// 2^52 + 2^51: added to a number, it leaves its lowest 32 bits in those of the sum.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

type Unary = fn(u32) -> u32;
type Binary = fn(u32, u32) -> u32;

/// The library as a table.
pub(crate) fn library(lua: &Lua) -> mlua::Result<Table> {
    let bit = lua.create_table()?;
    let unary: [(&str, Unary); 3] =
        [("tobit", |bits| bits), ("bnot", |bits| !bits), ("bswap", u32::swap_bytes)];
    for (name, work) in unary {
        define(lua, &bit, name, move |words| Ok(answer(work(bits(words, 1)?))))?;
    }
    let folds: [(&str, Binary); 3] =
        [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, work) in folds {
        define(lua, &bit, name, move |words| {
            let mut result = bits(words, 1)?;
            for at in (2..=words.count()).rev() {
                result = work(result, bits(words, at)?);
            }
            Ok(answer(result))
        })?;
    }
    let shifts: [(&str, Binary); 5] = [
        ("lshift", u32::wrapping_shl),
        ("rshift", u32::wrapping_shr),
        ("arshift", |bits, by| bits.cast_signed().wrapping_shr(by).cast_unsigned()),
        ("rol", |bits, by| bits.rotate_left(by & 31)),
        ("ror", |bits, by| bits.rotate_right(by & 31)),
    ];
    for (name, work) in shifts {
        define(lua, &bit, name, move |words| {
            let value = bits(words, 1)?;
            Ok(answer(work(value, bits(words, 2)?)))
        })?;
    }
    define(lua, &bit, "tohex", to_hex)?;
    Ok(bit)
}

fn bits(words: Arguments<'_>, at: usize) -> mlua::Result<u32> {
    Ok((words.number(at)? + ROUNDER).to_bits() as u32)
}

fn answer(bits: u32) -> MultiValue {
    one(Value::Number(f64::from(bits.cast_signed())))
}

/// The lowest digits, as many as are asked for; in capitals if that number is negative.
fn to_hex(words: Arguments<'_>) -> mlua::Result<MultiValue> {
    let value = bits(words, 1)?;
    let digits = match words.count() {
        0 | 1 => 8,
        _ => bits(words, 2)?.cast_signed(),
    };
    let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let length = digits.unsigned_abs().min(8) as usize;
    Ok(one(Value::String(words.lua.create_string(&text[8 - length..])?)))
}
