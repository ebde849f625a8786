//! `string.find`, `match`, `gmatch` and `gsub` over the counted matcher.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::pattern::{Capture, Matcher, Stop};
use crate::{INDEX, Meter, RAW_PCALL, STEPS_PER_INSTRUCTION, THROWN, complaint, located};

/// Puts the functions into the table that the prelude takes them from.
pub(crate) fn install(lua: &Lua, functions: &Table, meter: &Rc<Meter>) -> mlua::Result<()> {
    type Arguments = (mlua::LuaString, mlua::LuaString, Option<f64>, Option<Value>);
    type Replace = (mlua::LuaString, mlua::LuaString, Value, Option<f64>);
    for (name, whole) in [("find", true), ("match", false)] {
        let meter = Rc::clone(meter);
        let function =
            lua.create_function(move |lua, (subject, pattern, init, plain): Arguments| {
                let plain =
                    plain.is_some_and(|plain| !matches!(plain, Value::Nil | Value::Boolean(false)));
                let found = find(lua, &meter, (&subject, &pattern), init, (whole, whole && plain));
                located(lua, found)
            })?;
        functions.set(name, function)?;
    }
    let counted = Rc::clone(meter);
    let gmatch = lua.create_function(
        move |lua, (subject, pattern, at): (mlua::LuaString, mlua::LuaString, usize)| {
            located(lua, gmatch(lua, &counted, &subject, &pattern, at))
        },
    )?;
    functions.set("gmatch", gmatch)?;
    let counted = Rc::clone(meter);
    let gsub = lua.create_function(move |lua, (subject, pattern, by, max): Replace| {
        located(lua, gsub(lua, &counted, (&subject, &pattern), &by, max))
    })?;
    functions.set("gsub", gsub)
}

/// Runs `work` with a matcher whose steps come out of the script's budget.
fn counted<'a, T>(
    meter: &Meter,
    subject: &'a [u8],
    pattern: &'a [u8],
    work: impl FnOnce(&mut Matcher<'a>) -> Result<T, Stop>,
) -> mlua::Result<T> {
    let left = meter.max.get().saturating_sub(meter.used.get()) * STEPS_PER_INSTRUCTION;
    let mut matcher = Matcher::new(subject, pattern, left);
    let outcome = work(&mut matcher);
    meter.use_up((left - matcher.steps) / STEPS_PER_INSTRUCTION + 1)?;
    outcome.map_err(|stop| match stop {
        Stop::Malformed(text) => complaint(text),
        Stop::Budget => {
            meter.stopped.set(true);
            mlua::Error::runtime(crate::STOPPED)
        }
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
fn start_of(init: Option<f64>, length: usize) -> usize {
    match init.unwrap_or(1.0) {
        from if from >= 1.0 => (from as usize).saturating_sub(1).min(length),
        from if from < 0.0 => length.saturating_sub((-from) as usize),
        _ => 0,
    }
}

fn find(
    lua: &Lua,
    meter: &Meter,
    (subject, pattern): (&mlua::LuaString, &mlua::LuaString),
    init: Option<f64>,
    (whole, plain): (bool, bool),
) -> mlua::Result<MultiValue> {
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let at = start_of(init, subject.len());
    let special = |byte: &u8| b"^$*+?.([%-".contains(byte);
    let position =
        |start: usize, end: usize| [Value::Number((start + 1) as f64), Value::Number(end as f64)];
    if plain || (whole && !pattern.iter().any(special)) {
        meter.use_up(subject.len() as u64 / STEPS_PER_INSTRUCTION)?;
        let rest = subject.get(at..).unwrap_or_default();
        let found = if pattern.is_empty() {
            Some(0)
        } else {
            rest.windows(pattern.len()).position(|window| window == &*pattern)
        };
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
    max: Option<f64>,
) -> mlua::Result<(mlua::LuaString, f64)> {
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let (anchored, pattern) = anchor(&pattern);
    let max = max.map_or(usize::MAX, |max| max.max(0.0) as usize);
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    while count < max {
        let (end, captures) = counted(meter, &subject, pattern, |matcher| {
            let end = matcher.match_at(at)?;
            Ok((end, std::mem::take(&mut matcher.captures)))
        })?;
        if let Some(end) = end {
            count += 1;
            let values = captured(lua, &subject, &captures, Some((at, end)))?;
            let whole = subject.get(at..end).unwrap_or_default();
            replace(lua, &mut out, by, whole, &values)?;
        }
        match (end, subject.get(at)) {
            (Some(end), _) if end > at => at = end,
            (_, Some(byte)) => {
                out.push(*byte);
                at += 1;
            }
            (_, None) => break,
        }
        if anchored {
            break;
        }
    }
    out.extend_from_slice(subject.get(at..).unwrap_or_default());
    Ok((lua.create_string(&out)?, count as f64))
}

/// Appends what stands in for one match.
fn replace(
    lua: &Lua,
    out: &mut Vec<u8>,
    by: &Value,
    whole: &[u8],
    values: &[Value],
) -> mlua::Result<()> {
    let first = values.first().cloned().unwrap_or(Value::Nil);
    let value = match by {
        Value::String(text) => return template(out, &text.as_bytes(), whole, values),
        Value::Integer(_) | Value::Number(_) => {
            return template(out, &printed(lua, by)?, whole, values);
        }
        Value::Table(_) => protected(lua, &lua.named_registry_value(INDEX)?, &[by.clone(), first])?,
        Value::Function(function) => protected(lua, function, values)?,
        _ => {
            return Err(complaint("bad argument #3 to 'gsub' (string/function/table expected)"));
        }
    };
    match value {
        Value::Nil | Value::Boolean(false) => out.extend_from_slice(whole),
        Value::String(text) => out.extend_from_slice(&text.as_bytes()),
        Value::Integer(_) | Value::Number(_) => out.extend(printed(lua, &value)?),
        other => {
            let text = format!("invalid replacement value (a {})", other.type_name());
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
            if crate::is_out_of_memory(&thrown) {
                return Err(crate::out_of_memory());
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
fn template(out: &mut Vec<u8>, text: &[u8], whole: &[u8], values: &[Value]) -> mlua::Result<()> {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => out.extend_from_slice(whole),
            Some(digit @ b'1'..=b'9') => match values.get(usize::from(digit - b'1')) {
                Some(Value::String(text)) => out.extend_from_slice(&text.as_bytes()),
                Some(Value::Number(number)) => {
                    out.extend(crate::convert::number_text(*number).into_bytes());
                }
                _ => return Err(complaint("invalid capture index")),
            },
            Some(other) => out.push(*other),
            None => out.push(0),
        }
    }
    Ok(())
}
