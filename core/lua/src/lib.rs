//! The Lua 5.1 adapter of the core's script port: sandbox (`prelude.lua`), budgets, conversions.
//!
//! Each run has a fresh interpreter, so that nothing an earlier script left behind can show, and what a script uses up
//! is a function of the script alone. Counted, never timed: instructions by a hook, memory by the interpreter's own allocator
//! limit, steps of pattern matching by `pattern`. docs/decisions/2026-11-22-scripts-in-fresh-interpreters.md says why.

mod convert;
mod pattern;
mod strings;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::OnceLock;

use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};
use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;
use steadfast_core::script::{ScriptBudget, ScriptEngine, ScriptFailure, ScriptHost, sha1_hex};

const PRELUDE: &str = include_str!("prelude.lua");
const CHUNK_NAME: &str = "@user_script";
/// Instructions between two looks at the budget.
const HOOK_INSTRUCTIONS: u32 = 1000;
/// Steps of pattern matching that count as one instruction.
const STEPS_PER_INSTRUCTION: u64 = 4;
/// Lua's own `xpcall`, kept where no script finds it.
const RAW_XPCALL: &str = "raw_xpcall";
/// Lua's own `pcall`, likewise.
pub(crate) const RAW_PCALL: &str = "raw_pcall";
/// A function that indexes a table, kept where no script finds it.
pub(crate) const INDEX: &str = "index";
/// What a function of the script threw while a library function ran it.
pub(crate) const THROWN: &str = "thrown";
const OUT_OF_MEMORY: &[u8] = b"not enough memory";
const STOPPED: &str = "the script ran out of its budget";

/// What a run has used up. Shared by the hook and the library functions.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    used: Cell<u64>,
    max: Cell<u64>,
    stopped: Cell<bool>,
}

impl Meter {
    /// Counts; an error once the budget is used up, and ever after.
    pub(crate) fn use_up(&self, instructions: u64) -> mlua::Result<()> {
        self.used.set(self.used.get().saturating_add(instructions));
        if self.used.get() > self.max.get() {
            self.stopped.set(true);
        }
        if self.stopped.get() { Err(mlua::Error::runtime(STOPPED)) } else { Ok(()) }
    }
}

/// The interpreter's factory.
#[derive(Debug, Default)]
pub struct Engine {}

impl Engine {
    /// An engine; each run gets an interpreter of its own.
    pub fn new() -> Self {
        Self {}
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
        let meter = Rc::new(Meter::default());
        meter.max.set(budget.instructions_max);
        let script = compile(&lua, body).map_err(ScriptFailure::Error)?;
        let outcome = run_sandboxed(&lua, &script, (keys, argv), budget, &meter, host);
        let out_of_memory = match &outcome {
            Err(error) => is_memory_error(error),
            Ok(Err(thrown)) => is_out_of_memory(&thrown.value),
            Ok(Ok(_)) => false,
        };
        if meter.stopped.get() || out_of_memory {
            let what = if out_of_memory { "memory" } else { "instructions" };
            return Err(ScriptFailure::BudgetExceeded(ReplyError::made(format!(
                "ERR the script was stopped: it used up its budget of {what}; nothing that it wrote was kept"
            ))));
        }
        match outcome {
            Ok(Ok(value)) => convert::to_reply(&value).map_err(|error| failed(&error)),
            Ok(Err(thrown)) => Err(ScriptFailure::Error(convert::uncaught(&thrown, sha))),
            Err(error) => Err(ScriptFailure::Error(convert::uncaught_text(
                error.to_string().as_bytes(),
                1,
                sha,
            ))),
        }
    }

    fn forget(&mut self) {}
}

fn internal(error: &mlua::Error) -> ReplyError {
    ReplyError::made(format!("ERR the interpreter failed: {error}"))
}

pub(crate) fn out_of_memory() -> mlua::Error {
    mlua::Error::MemoryError(String::from_utf8_lossy(OUT_OF_MEMORY).into_owned())
}

/// Whether this was thrown because the memory budget ran out.
pub(crate) fn is_out_of_memory(thrown: &Value) -> bool {
    match thrown {
        Value::String(text) => *text.as_bytes() == *OUT_OF_MEMORY,
        Value::Error(error) => is_memory_error(error),
        _ => false,
    }
}

fn is_memory_error(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. } => is_memory_error(cause),
        _ => false,
    }
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

/// What a library function has to say against its arguments; `located` says where.
#[derive(Clone, Debug)]
struct Complaint(String);

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Complaint {}

pub(crate) fn complaint(text: impl Into<String>) -> mlua::Error {
    mlua::Error::external(Complaint(text.into()))
}

/// As Lua's own functions say where an error happened: the line of the Lua function that called.
pub(crate) fn located<T>(lua: &Lua, result: mlua::Result<T>) -> mlua::Result<T> {
    result.map_err(|error| {
        let Some(Complaint(text)) = error.downcast_ref() else { return error };
        let place = (1..3).find_map(|level| {
            lua.inspect_stack(level, |frame| {
                let source = frame.source().short_src.filter(|source| source != "prelude")?;
                Some(frame.current_line().map(|line| format!("{source}:{line}: ")))
            })
            .flatten()
        });
        mlua::Error::RuntimeError(place.flatten().unwrap_or_default() + text)
    })
}

/// Runs the script in its sandbox: what it returned, or what it threw.
fn run_sandboxed(
    lua: &Lua,
    script: &Function,
    (keys, argv): (&[&[u8]], &[&[u8]]),
    budget: ScriptBudget,
    meter: &Rc<Meter>,
    host: &mut dyn ScriptHost,
) -> mlua::Result<Result<Value, Thrown>> {
    let functions = lua.create_table()?;
    functions.set("keys", words(lua, keys)?)?;
    functions.set("argv", words(lua, argv)?)?;
    strings::install(lua, &functions, meter)?;
    install_random(lua, &functions, host.seed())?;
    install_check(lua, &functions, meter)?;
    let sha1 = lua.create_function(|lua, words: MultiValue| {
        let refused =
            || mlua::Error::external(Refused(ReplyError::fixed("ERR wrong number of arguments")));
        let [text] = words.as_slices().0 else { return Err(refused()) };
        let text = lua.coerce_string(text.clone())?;
        lua.create_string(sha1_hex(&text.map(|text| text.as_bytes().to_vec()).unwrap_or_default()))
    })?;
    functions.set("sha1hex", sha1)?;
    let error_text = lua.create_function(|lua, text: mlua::LuaString| {
        lua.create_string(convert::error_text(&text.as_bytes()))
    })?;
    functions.set("error_text", error_text)?;
    let host = RefCell::new(host);
    let line = Rc::new(Cell::new(1));
    let seen = Rc::clone(&line);
    let handler = lua.create_function(move |lua, thrown: Value| {
        seen.set(current_line(lua).unwrap_or(1));
        Ok(thrown)
    })?;
    lua.scope(|scope| {
        let run = |words: &MultiValue| -> mlua::Result<Reply<'static>> {
            meter.use_up(10)?;
            Ok(call(&mut **host.borrow_mut(), words).unwrap_or_else(Reply::Error))
        };
        let call = scope.create_function(move |lua, words: MultiValue| match run(&words)? {
            Reply::Error(error) => Err(mlua::Error::external(Refused(error))),
            reply => convert::to_lua(lua, &reply),
        })?;
        functions.set("call", call)?;
        let pcall = scope.create_function(move |lua, words: MultiValue| {
            run(&words).and_then(|reply| convert::to_lua(lua, &reply))
        })?;
        functions.set("pcall", pcall)?;
        let prelude = lua.load(prelude_code()).set_mode(ChunkMode::Binary);
        prelude.call::<()>(functions.clone())?;
        lua.set_named_registry_value(INDEX, functions.get::<Function>("index")?)?;
        let counted = Rc::clone(meter);
        let triggers = HookTriggers::new().every_nth_instruction(HOOK_INSTRUCTIONS);
        lua.set_global_hook(triggers, move |_, _| {
            counted.use_up(u64::from(HOOK_INSTRUCTIONS)).map(|()| VmState::Continue)
        })?;
        lua.set_memory_limit(lua.used_memory() + budget.memory_bytes_max)?;
        let raw: Function = lua.named_registry_value(RAW_XPCALL)?;
        let (ok, value): (bool, Value) = raw.call((script, handler))?;
        lua.remove_global_hook();
        if ok {
            return Ok(Ok(value));
        }
        Ok(Err(Thrown { value: arrived(lua, value)?, line: line.get() }))
    })
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

/// Runs the command that `redis.call` or `redis.pcall` was given.
fn call(host: &mut dyn ScriptHost, words: &MultiValue) -> Result<Reply<'static>, ReplyError> {
    if words.is_empty() {
        return Err(ReplyError::fixed(
            "ERR Please specify at least one argument for this redis lib call",
        ));
    }
    let mut argv: Vec<Vec<u8>> = Vec::with_capacity(words.len());
    for word in words {
        argv.push(match word {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Integer(number) => convert::number_text(*number as f64).into_bytes(),
            Value::Number(number) => convert::number_text(*number).into_bytes(),
            _ => {
                return Err(ReplyError::fixed(
                    "ERR Lua redis lib command arguments must be strings or integers",
                ));
            }
        });
    }
    let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    Ok(host.call(&argv))
}

/// `math.random` as Redis has it: its own 48-bit generator, begun anew for each script.
fn install_random(lua: &Lua, functions: &Table, seed: u64) -> mlua::Result<()> {
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
            Value::Error(error) => lua.create_string(convert::innermost(error)).map(Value::String),
            _ => Ok(thrown),
        }
    })?;
    functions.set("thrown", thrown)
}
