//! `string.find`, `match`, `gmatch` and `gsub` over the counted matcher.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::arguments::{bad_argument, complaint, define, type_name};
use crate::meter::{Meter, Output};
use crate::pattern::{Capture, Matcher, Stop};
use crate::{INDEX, RAW_PCALL, STEPS_PER_INSTRUCTION, THROWN};

/// Puts the functions into the table that the prelude takes them from.
pub(crate) fn install(lua: &Lua, functions: &Table, meter: &Rc<Meter>) -> mlua::Result<()> {
    for (name, whole) in [("find", true), ("match", false)] {
        let meter = Rc::clone(meter);
        define(lua, functions, name, move |words| {
            let (subject, pattern) = (words.string(1)?, words.string(2)?);
            let init = words.integer_or(3, 1)?;
            let plain = words.get(4).is_some_and(is_true);
            find(words.lua, &meter, (&subject, &pattern), init, (whole, whole && plain))
        })?;
    }
    let counted = Rc::clone(meter);
    define(lua, functions, "gmatch", move |words| {
        let (subject, pattern) = (words.string(1)?, words.string(2)?);
        let at = usize::try_from(words.integer(3)?).unwrap_or(0);
        gmatch(words.lua, &counted, &subject, &pattern, at)
    })?;
    let counted = Rc::clone(meter);
    define(lua, functions, "gsub", move |words| {
        let (subject, pattern) = (words.string(1)?, words.string(2)?);
        let by = words.get(3).unwrap_or(&Value::Nil);
        let max = if words.is_nil(4) { None } else { Some(words.integer(4)?) };
        gsub(words.lua, &counted, (&subject, &pattern), by, max)
    })
}

fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Nil | Value::Boolean(false))
}

/// Runs `work` with a matcher whose steps come out of the script's budget.
fn counted<'a, T>(
    meter: &Meter,
    subject: &'a [u8],
    pattern: &'a [u8],
    work: impl FnOnce(&mut Matcher<'a>) -> Result<T, Stop>,
) -> mlua::Result<T> {
    let left = meter.left().saturating_mul(STEPS_PER_INSTRUCTION);
    let mut matcher = Matcher::new(subject, pattern, left);
    let outcome = work(&mut matcher);
    meter.use_up((left - matcher.steps) / STEPS_PER_INSTRUCTION + 1)?;
    outcome.map_err(|stop| match stop {
        Stop::Malformed(text) => complaint(text),
        Stop::Budget => meter.stop(),
    })
}

/// The first match from `at` on: (start, end). An anchored pattern matches at `at` or nowhere.
fn search(
    matcher: &mut Matcher<'_>,
    at: usize,
    last: usize,
    anchored: bool,
) -> Result<Option<(usize, usize)>, Stop> {
    for start in at..=last {
        if let Some(end) = matcher.match_at(start)? {
            return Ok(Some((start, end)));
        }
        if anchored {
            break;
        }
    }
    Ok(None)
}

fn anchor(pattern: &[u8]) -> (bool, &[u8]) {
    pattern.strip_prefix(b"^").map_or((false, pattern), |rest| (true, rest))
}

/// The captures of a match, or the whole match if there are none.
fn captured(
    lua: &Lua,
    subject: &[u8],
    captures: &[Capture],
    whole: Option<(usize, usize)>,
) -> mlua::Result<Vec<Value>> {
    let text = |start: usize, end: usize| {
        lua.create_string(subject.get(start..end).unwrap_or_default()).map(Value::String)
    };
    let mut values = Vec::new();
    for capture in captures {
        values.push(match *capture {
            Capture::Range(start, end) => text(start, end)?,
            Capture::Position(at) => Value::Number((at + 1) as f64),
            Capture::Open(_) => return Err(complaint("unfinished capture")),
        });
    }
    if let (true, Some((start, end))) = (values.is_empty(), whole) {
        values.push(text(start, end)?);
    }
    Ok(values)
}

/// `init` as Lua counts: from 1, or from the end if negative.
fn start_of(init: i64, length: usize) -> usize {
    let distance = usize::try_from(init.unsigned_abs()).unwrap_or(usize::MAX);
    match init {
        1.. => (distance - 1).min(length),
        ..0 => length.saturating_sub(distance),
        0 => 0,
    }
}

fn find(
    lua: &Lua,
    meter: &Meter,
    (subject, pattern): (&mlua::LuaString, &mlua::LuaString),
    init: i64,
    (whole, plain): (bool, bool),
) -> mlua::Result<MultiValue> {
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let at = start_of(init, subject.len());
    let special = |byte: &u8| b"^$*+?.([%-".contains(byte);
    let position =
        |start: usize, end: usize| [Value::Number((start + 1) as f64), Value::Number(end as f64)];
    if plain || (whole && !pattern.iter().any(special)) {
        let found = find_plain(meter, subject.get(at..).unwrap_or_default(), &pattern)?;
        return Ok(match found {
            Some(found) => position(at + found, at + found + pattern.len()).into_iter().collect(),
            None => MultiValue::from_iter([Value::Nil]),
        });
    }
    let (anchored, pattern) = anchor(&pattern);
    let (found, captures) = counted(meter, &subject, pattern, |matcher| {
        let found = search(matcher, at, subject.len(), anchored)?;
        Ok((found, std::mem::take(&mut matcher.captures)))
    })?;
    let Some((start, end)) = found else { return Ok(MultiValue::from_iter([Value::Nil])) };
    let mut values: Vec<Value> = if whole { position(start, end).to_vec() } else { Vec::new() };
    values.extend(captured(lua, &subject, &captures, (!whole).then_some((start, end)))?);
    Ok(values.into_iter().collect())
}

/// The first place of a text without magic. What is compared where the first byte fits is counted.
fn find_plain(meter: &Meter, subject: &[u8], pattern: &[u8]) -> mlua::Result<Option<usize>> {
    meter.use_up_bytes(subject.len())?;
    let Some((first, rest)) = pattern.split_first() else { return Ok(Some(0)) };
    let mut at = 0;
    while let Some(behind) = subject.get(at..) {
        let Some(next) = behind.iter().position(|byte| byte == first) else { return Ok(None) };
        at += next + 1;
        let equal = subject.get(at..).unwrap_or_default().iter().zip(rest);
        let equal = equal.take_while(|(one, other)| one == other).count();
        if equal == rest.len() {
            return Ok(Some(at - 1));
        }
        meter.use_up(equal as u64 / STEPS_PER_INSTRUCTION)?;
    }
    Ok(None)
}

/// The next match of `gmatch`: where to go on, then the captures.
fn gmatch(
    lua: &Lua,
    meter: &Meter,
    subject: &mlua::LuaString,
    pattern: &mlua::LuaString,
    at: usize,
) -> mlua::Result<MultiValue> {
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    if at > subject.len() + 1 {
        return Ok(MultiValue::from_iter([Value::Nil]));
    }
    let (found, captures) = counted(meter, &subject, &pattern, |matcher| {
        let found = search(matcher, at.saturating_sub(1), subject.len(), false)?;
        Ok((found, std::mem::take(&mut matcher.captures)))
    })?;
    let Some((start, end)) = found else { return Ok(MultiValue::from_iter([Value::Nil])) };
    let next = if end == start { end + 2 } else { end + 1 };
    let mut values = vec![Value::Number(next as f64)];
    values.extend(captured(lua, &subject, &captures, Some((start, end)))?);
    Ok(values.into_iter().collect())
}

fn gsub(
    lua: &Lua,
    meter: &Meter,
    (subject, pattern): (&mlua::LuaString, &mlua::LuaString),
    by: &Value,
    max: Option<i64>,
) -> mlua::Result<MultiValue> {
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let (anchored, pattern) = anchor(&pattern);
    let max = max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(0));
    let (mut out, mut at, mut count) = (Output::new(meter), 0, 0);
    while count < max {
        let (end, captures) = counted(meter, &subject, pattern, |matcher| {
            let end = matcher.match_at(at)?;
            Ok((end, std::mem::take(&mut matcher.captures)))
        })?;
        if let Some(end) = end {
            count += 1;
            replace(lua, &mut out, by, (&subject, (at, end)), &captures)?;
        }
        match (end, subject.get(at)) {
            (Some(end), _) if end > at => at = end,
            (_, Some(byte)) => {
                out.push(*byte)?;
                at += 1;
            }
            (_, None) => break,
        }
        if anchored {
            break;
        }
    }
    out.extend(subject.get(at..).unwrap_or_default())?;
    let made = Value::String(lua.create_string(out.bytes())?);
    Ok(MultiValue::from_iter([made, Value::Number(count as f64)]))
}

/// Appends what stands in for one match: it goes from one place of the subject to another.
fn replace(
    lua: &Lua,
    out: &mut Output<'_>,
    by: &Value,
    (subject, (start, end)): (&[u8], (usize, usize)),
    captures: &[Capture],
) -> mlua::Result<()> {
    let whole = subject.get(start..end).unwrap_or_default();
    match by {
        Value::String(text) => return template(out, &text.as_bytes(), (subject, whole), captures),
        Value::Integer(_) | Value::Number(_) => {
            return template(out, &printed(lua, by)?, (subject, whole), captures);
        }
        _ => {}
    }
    let values = captured(lua, subject, captures, Some((start, end)))?;
    let first = values.first().cloned().unwrap_or(Value::Nil);
    let value = match by {
        Value::Table(_) => protected(lua, &lua.named_registry_value(INDEX)?, &[by.clone(), first])?,
        Value::Function(function) => protected(lua, function, &values)?,
        _ => {
            return Err(bad_argument(3, "string/function/table expected"));
        }
    };
    match value {
        Value::Nil | Value::Boolean(false) => out.extend(whole)?,
        Value::String(text) => out.extend(&text.as_bytes())?,
        Value::Integer(_) | Value::Number(_) => out.extend(&printed(lua, &value)?)?,
        other => {
            let text = format!("invalid replacement value (a {})", type_name(Some(&other)));
            return Err(complaint(text));
        }
    }
    Ok(())
}

/// Calls a function of the script. What it throws crosses this border as the value it is: as a text, a table would show its
/// address.
fn protected(lua: &Lua, function: &mlua::Function, values: &[Value]) -> mlua::Result<Value> {
    let raw: mlua::Function = lua.named_registry_value(RAW_PCALL)?;
    let words = [Value::Function(function.clone())].into_iter().chain(values.iter().cloned());
    let (ok, value): (bool, Value) = raw.call(words.collect::<MultiValue>())?;
    match value {
        value if ok => Ok(value),
        Value::Error(error) => Err(*error),
        thrown => {
            if crate::meter::is_out_of_memory(&thrown) {
                return Err(crate::meter::out_of_memory());
            }
            lua.set_named_registry_value(THROWN, thrown)?;
            Err(mlua::Error::external(crate::Passing))
        }
    }
}

/// A number as Lua prints it.
fn printed(lua: &Lua, number: &Value) -> mlua::Result<Vec<u8>> {
    let text = lua.coerce_string(number.clone())?;
    Ok(text.map(|text| text.as_bytes().to_vec()).unwrap_or_default())
}

/// `%0` to `%9` and `%%` in a replacement.
fn template(
    out: &mut Output<'_>,
    text: &[u8],
    (subject, whole): (&[u8], &[u8]),
    captures: &[Capture],
) -> mlua::Result<()> {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte)?;
            continue;
        }
        match bytes.next() {
            Some(b'0') => out.extend(whole)?,
            Some(b'1') if captures.is_empty() => out.extend(whole)?,
            Some(digit @ b'1'..=b'9') => match captures.get(usize::from(digit - b'1')) {
                Some(Capture::Range(start, end)) => {
                    out.extend(subject.get(*start..*end).unwrap_or_default())?;
                }
                Some(Capture::Position(at)) => out.extend((at + 1).to_string().as_bytes())?,
                Some(Capture::Open(_)) => return Err(complaint("unfinished capture")),
                None => return Err(complaint("invalid capture index")),
            },
            Some(other) => out.push(*other)?,
            None => out.push(0)?,
        }
    }
    Ok(())
}
