//! `math.random` and `math.randomseed`.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::arguments::{complaint, located};

/// `math.random` as Redis has it: its own 48-bit generator, begun anew for each script.
pub(crate) fn install(lua: &Lua, functions: &Table, seed: u64) -> mlua::Result<()> {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let begin = |seed: u64| ((seed & 0xFFFF_FFFF) << 16) | 0x330E;
    let state = Rc::new(Cell::new(begin(seed)));
    let own = Rc::clone(&state);
    let random = lua.create_function(move |lua, bounds: MultiValue| {
        own.set(own.get().wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK);
        let unit = (own.get() >> 17) as f64 / f64::from(i32::MAX);
        let unit = if unit >= 1.0 { 0.0 } else { unit };
        let bounds: Vec<f64> = bounds
            .iter()
            .map(|b| b.as_f64().or_else(|| b.as_i64().map(|i| i as f64)).unwrap_or(0.0))
            .collect();
        let (low, high) = match bounds.as_slice() {
            [] => return Ok(Value::Number(unit)),
            [high] => (1.0, *high),
            [low, high] => (*low, *high),
            _ => return located(lua, Err(complaint("wrong number of arguments"))),
        };
        if low > high {
            let at = bounds.len();
            let text = format!("bad argument #{at} to 'random' (interval is empty)");
            return located(lua, Err(complaint(text)));
        }
        Ok(Value::Number((unit * (high - low + 1.0)).floor() + low))
    })?;
    functions.set("random", random)?;
    let reseed = lua.create_function(move |_, seed: f64| {
        state.set(begin(seed as i64 as u64));
        Ok(())
    })?;
    functions.set("randomseed", reseed)
}
