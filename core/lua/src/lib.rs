//! The Lua 5.1 adapter of the core's script port: sandbox (`prelude.lua`), budgets, conversions.
//!
//! Each run has a fresh interpreter, so that nothing an earlier script left behind can show, and what a script uses up
//! is a function of the script alone. Counted, never timed: instructions by a hook, memory by the interpreter's own allocator
//! limit and by collections of garbage at counted instructions (`pace`), steps of pattern matching by `pattern`, what library
//! functions go through by `meter`. docs/decisions/2026-11-22-scripts-in-fresh-interpreters.md says why.

mod arguments;
mod bit;
mod calls;
mod cjson;
mod cmsgpack;
mod convert;
mod meter;
mod numbers;
mod pace;
mod pattern;
mod random;
mod strings;
mod structs;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::OnceLock;

use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};
use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;
use steadfast_core::script::{ScriptBudget, ScriptEngine, ScriptFailure, ScriptHost};

use crate::meter::{Meter, is_memory_error, is_out_of_memory, out_of_memory};
use crate::pace::Pace;

const PRELUDE: &str = include_str!("prelude.lua");
const CHUNK_NAME: &str = "@user_script";
/// Instructions between two looks at the budget.
const HOOK_INSTRUCTIONS: u32 = 100;
/// Steps of pattern matching that count as one instruction.
pub(crate) const STEPS_PER_INSTRUCTION: u64 = 4;
/// Lua's own `xpcall`, kept where no script finds it.
const RAW_XPCALL: &str = "raw_xpcall";
/// Lua's own `pcall`, likewise.
pub(crate) const RAW_PCALL: &str = "raw_pcall";
/// A function that indexes a table, kept where no script finds it.
pub(crate) const INDEX: &str = "index";
/// What a function of the script threw while a library function ran it.
pub(crate) const THROWN: &str = "thrown";
/// Instructions of a second, as `os.clock` counts them.
const INSTRUCTIONS_PER_SECOND: f64 = 1e8;

/// The interpreter's factory.
#[derive(Debug, Default)]
pub struct Engine {
    instructions_used: u64,
}

impl Engine {
    /// An engine; each run gets an interpreter of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the last run used up of its instructions: a function of the script and of what its calls answered.
    pub const fn instructions_used(&self) -> u64 {
        self.instructions_used
    }
}

fn compile(lua: &Lua, body: &[u8]) -> Result<Function, ReplyError> {
    let chunk = lua.load(body).set_name(CHUNK_NAME).set_mode(ChunkMode::Text);
    chunk.into_function().map_err(|error| {
        let text = match &error {
            mlua::Error::SyntaxError { message, .. } => message.clone(),
            other => other.to_string(),
        };
        let line = text.lines().next().unwrap_or_default();
        ReplyError::made(format!("ERR Error compiling script (new function): {line}"))
    })
}

/// A new interpreter. The handle that made it collects all garbage when it is dropped, which is of no use right before the whole
/// interpreter goes. So that one is dropped at once: there is little to look at yet, and the collector rests while the sandbox is set up.
fn interpreter() -> mlua::Result<Lua> {
    let maker = Lua::new_with(
        StdLib::TABLE | StdLib::STRING | StdLib::MATH,
        LuaOptions::new().catch_rust_panics(false),
    )?;
    maker.gc_stop();
    Ok(maker.clone())
}

/// The prelude as Lua compiles it, once for all runs: compiling it anew cost a run more than all else. Lines and names stay in it, for
/// error texts.
fn prelude_code() -> &'static [u8] {
    static CODE: OnceLock<Vec<u8>> = OnceLock::new();
    CODE.get_or_init(|| {
        let lua = interpreter().expect("there is memory for an interpreter");
        let compiled = lua.load(PRELUDE).set_name("=prelude").into_function();
        compiled.expect("the prelude is a part of the program, and compiles").dump(false)
    })
}

impl ScriptEngine for Engine {
    fn check(&mut self, body: &[u8]) -> Result<(), ReplyError> {
        let lua = interpreter().map_err(|error| internal(&error))?;
        compile(&lua, body).map(drop)
    }

    fn run(
        &mut self,
        sha: &str,
        body: &[u8],
        keys: &[&[u8]],
        argv: &[&[u8]],
        budget: ScriptBudget,
        host: &mut dyn ScriptHost,
    ) -> Result<Reply<'static>, ScriptFailure> {
        let failed = |error: &mlua::Error| ScriptFailure::Error(internal(error));
        let lua = interpreter().map_err(|error| failed(&error))?;
        let meter = Rc::new(Meter::new(budget.instructions_max, budget.memory_bytes_max));
        let script = compile(&lua, body).map_err(ScriptFailure::Error)?;
        let outcome = run_sandboxed(&lua, &script, (keys, argv), budget, &meter, host);
        self.instructions_used = meter.used();
        let out_of_memory = match &outcome {
            Err(error) => is_memory_error(error),
            Ok(Err(thrown)) => is_out_of_memory(&thrown.value),
            Ok(Ok(_)) => false,
        };
        if meter.is_stopped() || out_of_memory {
            let what =
                if out_of_memory { "memory" } else { "instructions (script-instructions-max)" };
            return Err(ScriptFailure::BudgetExceeded(ReplyError::made(format!(
                "ERR the script was stopped: it used up its budget of {what}; nothing that it wrote was kept"
            ))));
        }
        match outcome {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(thrown)) => Err(ScriptFailure::Error(convert::uncaught(&thrown, sha))),
            Err(error) => {
                let text = convert::innermost(&error);
                Err(ScriptFailure::Error(convert::uncaught_text(text.as_bytes(), 1, sha)))
            }
        }
    }

    fn forget(&mut self) {}
}

fn internal(error: &mlua::Error) -> ReplyError {
    ReplyError::made(format!("ERR the interpreter failed: {error}"))
}

/// What a script threw and nobody caught, and the script's line at that time.
pub(crate) struct Thrown {
    pub(crate) value: Value,
    pub(crate) line: usize,
}

/// The error of a command in flight through the interpreter, from `redis.call` to whoever catches it.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) ReplyError);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0.text()))
    }
}

impl std::error::Error for Refused {}

/// Stands for the value under `THROWN` in flight through a library function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passing;

impl std::fmt::Display for Passing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an error of the script")
    }
}

impl std::error::Error for Passing {}

/// Runs the script in its sandbox: what it answered, or what it threw.
fn run_sandboxed(
    lua: &Lua,
    script: &Function,
    (keys, argv): (&[&[u8]], &[&[u8]]),
    budget: ScriptBudget,
    meter: &Rc<Meter>,
    host: &mut dyn ScriptHost,
) -> mlua::Result<Result<Reply<'static>, Thrown>> {
    let functions = lua.create_table()?;
    functions.set("keys", words(lua, keys)?)?;
    functions.set("argv", words(lua, argv)?)?;
    functions.set("nothing", Value::NULL)?;
    strings::install(lua, &functions, meter)?;
    random::install(lua, &functions, host.seed())?;
    install_check(lua, &functions, meter)?;
    install_counters(lua, &functions, meter)?;
    let resp3 = calls::install(lua, &functions, meter)?;
    let host = RefCell::new(host);
    let line = Rc::new(Cell::new(1));
    let seen = Rc::clone(&line);
    let handler = lua.create_function(move |lua, thrown: Value| {
        seen.set(current_line(lua).unwrap_or(1));
        Ok(thrown)
    })?;
    lua.scope(|scope| {
        calls::install_calls(scope, &functions, (meter, &resp3), &host)?;
        let prelude = lua.load(prelude_code()).set_mode(ChunkMode::Binary);
        let globals: Table = prelude.call(functions.clone())?;
        lua.set_named_registry_value(INDEX, functions.get::<Function>("index")?)?;
        lua.set_globals(globals.clone())?;
        script.set_environment(globals)?;
        lua.set_memory_limit(lua.used_memory() + budget.memory_bytes_max)?;
        let pace = Pace::new(lua, budget.memory_bytes_max);
        let counted = Rc::clone(meter);
        let triggers = HookTriggers::new().every_nth_instruction(HOOK_INSTRUCTIONS);
        lua.set_global_hook(triggers, move |lua, _| {
            counted.use_up(u64::from(HOOK_INSTRUCTIONS))?;
            pace.look(lua, &counted).map(|()| VmState::Continue)
        })?;
        let raw: Function = lua.named_registry_value(RAW_XPCALL)?;
        let (ok, value): (bool, Value) = raw.call((script, handler))?;
        lua.remove_global_hook();
        if ok {
            return convert::to_reply(&value, resp3.get(), meter).map(Ok);
        }
        Ok(Err(Thrown { value: arrived(lua, value)?, line: line.get() }))
    })
}

/// What the prelude counts with, and makes libraries with.
fn install_counters(lua: &Lua, functions: &Table, meter: &Rc<Meter>) -> mlua::Result<()> {
    let counted = Rc::clone(meter);
    let steps = lua.create_function(move |_, steps: f64| counted.use_up(steps as u64))?;
    functions.set("steps", steps)?;
    let counted = Rc::clone(meter);
    let bytes = lua.create_function(move |_, bytes: f64| counted.use_up_bytes(bytes as usize))?;
    functions.set("bytes", bytes)?;
    let counted = Rc::clone(meter);
    let clock = lua.create_function(move |_, ()| {
        counted.use_up(1)?;
        Ok(counted.used() as f64 / INSTRUCTIONS_PER_SECOND)
    })?;
    functions.set("clock", clock)?;
    let counted = Rc::clone(meter);
    let library = lua.create_function(move |lua, name: String| match name.as_str() {
        "bit" => bit::library(lua),
        "cjson" => cjson::library(lua, &counted),
        "cmsgpack" => cmsgpack::library(lua, &counted),
        _ => structs::library(lua, &counted),
    })?;
    functions.set("library", library)
}

/// What was thrown, if it comes out of a library function that ran a function of the script.
fn arrived(lua: &Lua, thrown: Value) -> mlua::Result<Value> {
    let is_passing =
        matches!(&thrown, Value::Error(error) if error.downcast_ref::<Passing>().is_some());
    if is_passing { lua.named_registry_value(THROWN) } else { Ok(thrown) }
}

/// The line of the innermost function of the script.
fn current_line(lua: &Lua) -> Option<usize> {
    (0..16).find_map(|level| {
        lua.inspect_stack(level, |frame| {
            let own = frame.source().short_src.is_some_and(|source| source == "user_script");
            own.then(|| frame.current_line()).flatten()
        })
        .flatten()
    })
}

fn words(lua: &Lua, words: &[&[u8]]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(words.len(), 0)?;
    for word in words {
        table.raw_push(lua.create_string(word)?)?;
    }
    Ok(table)
}

/// Called wherever an error was caught: a budget that ran out is thrown again; what a command answered becomes a table.
fn install_check(lua: &Lua, functions: &Table, meter: &Rc<Meter>) -> mlua::Result<()> {
    for (name, slot) in [("xpcall", RAW_XPCALL), ("pcall", RAW_PCALL)] {
        lua.set_named_registry_value(slot, lua.globals().get::<Function>(name)?)?;
    }
    let meter = Rc::clone(meter);
    let check = lua.create_function(move |_, (ok, thrown): (bool, Value)| {
        if !ok && is_out_of_memory(&thrown) {
            return Err(out_of_memory());
        }
        meter.use_up(0)
    })?;
    functions.set("check", check)?;
    let thrown = lua.create_function(|lua, thrown: Value| {
        let thrown = arrived(lua, thrown)?;
        if let Some(error) = convert::refusal(&thrown) {
            return convert::error_table(lua, &error);
        }
        match &thrown {
            Value::Error(error) => {
                let text = convert::innermost(error);
                lua.create_string(convert::without_place(text.as_bytes())).map(Value::String)
            }
            Value::String(text) => {
                let bytes = text.as_bytes();
                let own = convert::without_place(&bytes);
                if own.len() == bytes.len() {
                    return Ok(thrown.clone());
                }
                lua.create_string(own).map(Value::String)
            }
            _ => Ok(thrown),
        }
    })?;
    functions.set("thrown", thrown)
}
