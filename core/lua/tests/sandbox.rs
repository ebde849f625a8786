//! Scripts that try to get out, to go on for ever or to take all memory. Whatever they do, two engines agree on the outcome and on the
//! instructions that it took, in bounded time, and nothing panics.

use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;
use steadfast_core::script::{ScriptBudget, ScriptEngine, ScriptFailure, ScriptHost, sha1_hex};
use steadfast_lua::Engine;

/// Answers with what it was asked for, as often as it was asked.
struct Host;

impl ScriptHost for Host {
    fn call(&mut self, argv: &[&[u8]]) -> Reply<'static> {
        match argv {
            [b"fail"] => Reply::Error(ReplyError::fixed("ERR on purpose")),
            _ => Reply::Int(argv.len() as i64),
        }
    }
    fn rewind(&mut self) {}
    fn seed(&self) -> u64 {
        7
    }
}

const BUDGET: ScriptBudget =
    ScriptBudget { instructions_max: 3_000_000, memory_bytes_max: 16 << 20 };
/// Where it is memory that is to run out first.
const LONG: ScriptBudget = ScriptBudget { instructions_max: 50_000_000, ..BUDGET };

type Outcome = Result<Reply<'static>, ScriptFailure>;

fn run_in(engine: &mut Engine, body: &str, budget: ScriptBudget) -> (Outcome, u64) {
    let sha = sha1_hex(body.as_bytes());
    let sha = std::str::from_utf8(&sha).expect("hex");
    let outcome = engine.run(sha, body.as_bytes(), &[b"k"], &[], budget, &mut Host);
    (outcome, engine.instructions_used())
}

/// The outcome, which is the same in a fresh engine, and in one that ran other things before.
fn run(body: &str) -> Outcome {
    run_with(body, BUDGET)
}

fn run_with(body: &str, budget: ScriptBudget) -> Outcome {
    let fresh = run_in(&mut Engine::new(), body, budget);
    let mut used = Engine::new();
    let other = "local t = {} for i = 1, 1000 do t[i] = {i .. 'x'} end error(t)";
    assert!(run_in(&mut used, other, BUDGET).0.is_err());
    assert_eq!(run_in(&mut used, body, budget), fresh, "{body}");
    fresh.0
}

/// The text of the error that ends a script, or that it answers.
fn error_of(body: &str) -> String {
    let error = match run(body) {
        Err(ScriptFailure::Error(error)) | Ok(Reply::Error(error)) => error,
        other => panic!("{body}: {other:?}"),
    };
    String::from_utf8_lossy(error.text()).into_owned()
}

fn budget_error_of(body: &str, budget: ScriptBudget) -> String {
    match run_with(body, budget) {
        Err(ScriptFailure::BudgetExceeded(error)) => {
            String::from_utf8_lossy(error.text()).into_owned()
        }
        other => panic!("{body}: {other:?}"),
    }
}

/// No bytecode gets in or out.
#[test]
fn no_bytecode() {
    for body in [
        "return string.dump == nil",
        "return (loadstring('\\27Lua')) == nil",
        "return (load(function() return nil end))() == nil",
        "local n = 0 return (load(function() n = n + 1 return ({'\\27L', 'ua'})[n] end)) == nil",
        "return (loadstring(('\\27Lua'):rep(3), 'x')) == nil",
    ] {
        assert_eq!(run(body), Ok(Reply::Int(1)), "{body}");
    }
}

/// What scripts share by name can't be changed, and its metatables can't be had.
#[test]
fn shared_tables_stay() {
    let libraries = [
        "_G",
        "string",
        "table",
        "math",
        "coroutine",
        "os",
        "redis",
        "cjson",
        "cmsgpack",
        "struct",
        "bit",
    ];
    for library in libraries {
        for body in [
            "@.x = 1",
            "rawset(@, 'x', 1)",
            "setmetatable(@, {})",
            "table.insert(@, 1)",
            "for k in pairs(@) do @[k] = nil end",
        ] {
            let body = body.replace('@', library);
            assert!(error_of(&body).contains("Attempt to modify a readonly table"), "{body}");
        }
        assert_eq!(run(&format!("return getmetatable({library}) == nil")), Ok(Reply::Int(1)));
    }
    for body in [
        "getmetatable('').__index = {}",
        "getmetatable('').x = 1",
        "setmetatable('', {})",
        "return getmetatable('').__index.len",
        "string.gsub = nil",
        "return debug.sethook()",
        "return newproxy(true)",
        "return getfenv(0)",
        "return setfenv(1, {})",
        "return ('x').y.z",
    ] {
        error_of(body);
    }
}

/// Budgets can't be caught, slept through in coroutines, or spent inside of one library function.
#[test]
fn instructions_run_out() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() return pcall(f) end while true do f() end",
        "local c = coroutine.wrap(function() while true do end end) while true do pcall(c) end",
        "while true do coroutine.wrap(function() for i = 1, 300 do end end)() end",
        "while true do coroutine.resume(coroutine.create(function() coroutine.yield() end)) end",
        "local s = ('x'):rep(100000) while true do s:gsub('x', function() return 'y' end) end",
        "while true do (''):rep(1e9) end",
        "local t = {} for i = 1, 1e5 do t[i] = '' end while true do table.concat(t) end",
        "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
        "local t = {} for i = 1, 1e4 do t[i] = i end while true do table.sort(t, function(a, b) return a > b end) end",
        "local t = {} for i = 1, 1e4 do t[i] = -i end while true do table.sort(t) end",
        "local s = ('x'):rep(1e6) while true do local x = s .. 'y' end",
        "local s = ('x'):rep(1e6) while true do local x = s:upper() end",
        "local s = ('x'):rep(1e6) while true do local x = s:sub(2) end",
        "local s = ('0'):rep(1e6) while true do local x = tonumber(s) end",
        "local s = ('x'):rep(1e6) while true do redis.sha1hex(s) end",
        "local s = ('x'):rep(1e6) while true do redis.call('echo', s) end",
        "local s = ('x'):rep(1e6) while true do cjson.encode(s) end",
        "local s = '\"' .. ('x'):rep(1e6) .. '\"' while true do cjson.decode(s) end",
        "local s = ('x'):rep(1e6) while true do cmsgpack.unpack(cmsgpack.pack(s)) end",
        "local s = ('x'):rep(1e6) while true do struct.pack('s', s) end",
        "local s = ('x'):rep(1e6) .. '\\0' while true do struct.unpack('s', s) end",
        "local s, p = ('a'):rep(1e5), ('a'):rep(5e4) .. 'b' while true do s:find(p, 1, true) end",
        "return (('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b')",
        "local t = {} for i = 1, 20 do t = {t, t} end return cjson.encode(t)",
        "local t = {} for i = 1, 15 do t = {t, t, t, t} end return cmsgpack.pack(t)",
        "while os.clock() < 1 do end",
        "while true do loadstring('return ' .. ('1 + '):rep(1000) .. '1') end",
    ] {
        let text = budget_error_of(body, BUDGET);
        assert!(text.contains("script-instructions-max"), "{body}: {text}");
    }
}

/// Nor is there memory beyond the budget, inside of the interpreter or out of it.
#[test]
fn memory_runs_out() {
    for body in [
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(100000) .. #t end) end",
        "local s = 'x' while true do s = s .. s end",
        "local s = ('x'):rep(1e6) return (s:gsub('x', s))",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 100 do t[i] = s end return redis.call(unpack(t))",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 100 do t[i] = s end return t",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 100 do t[i] = s end return cjson.encode(t)",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 100 do t[i] = s end return cmsgpack.pack(unpack(t))",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 100 do t[i] = s end return struct.pack(('s'):rep(100), unpack(t))",
        "local t = {} for i = 1, 19 do t = {t, t} end return t",
        "cjson.encode_sparse_array(false, 0) return cjson.encode({[2147483647] = 1})",
        "return table.concat(setmetatable({}, {}), 'x', 1, 0) .. ('x'):rep(20e6)",
    ] {
        let text = budget_error_of(body, LONG);
        assert!(text.contains("budget of memory"), "{body}: {text}");
    }
}

/// Depth is bounded, whichever way down there is.
#[test]
fn depth_runs_out() {
    for (body, expected) in [
        ("local function f() return 1 + f() end return f()", "stack overflow"),
        (
            "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
            "overflow",
        ),
        ("local function f(s) return (s:gsub('.', f)) end return f('x')", "overflow"),
        ("local t = {} t.t = t return cjson.encode(t)", "excessive nesting (1001)"),
        (
            "cjson.encode_max_depth(1e9) local t = {} t.t = t return cjson.encode(t)",
            "excessive nesting",
        ),
        ("return cjson.decode(('['):rep(1e6))", "too many nested data structures (1001)"),
        ("cjson.decode_max_depth(1e9) return cjson.decode(('['):rep(1e5))", "too many nested"),
        (
            "cjson.decode_max_depth(1e9) return cjson.decode(('{\"a\":'):rep(2e4))",
            "too many nested",
        ),
        ("return cmsgpack.unpack(('\\145'):rep(1e5))", "stack overflow"),
        ("return cmsgpack.unpack(('\\129\\1'):rep(1e5))", "stack overflow"),
        ("return cmsgpack.unpack(('a'):rep(1e4))", "too many return values at once"),
        ("return struct.unpack(('b'):rep(9000), ('b'):rep(9000))", "too many results"),
        ("return unpack({}, 1, 1e8)", "too many results to unpack"),
        ("return string.byte(('x'):rep(1e4), 1, -1)", "string slice too long"),
        (
            "local t = {} for i = 1, 9 do t[i] = i end table.sort(t, function() return true end)",
            "invalid order function",
        ),
    ] {
        let text = error_of(body);
        assert!(text.contains(expected), "{body}: {text}");
    }
    assert!(run("local t = {} for i = 1, 1000 do t = {t} end return t").is_ok());
    assert!(run("local function f() return pcall(f) end return f()").is_ok());
}

/// As many arguments and results as fit are fine, and one more is an error, never a panic.
#[test]
fn references_run_out() {
    for count in (7900..8010).step_by(7) {
        for call in [
            "redis.pcall",
            "redis.acl_check_cmd",
            "cmsgpack.pack",
            "bit.band",
            "math.random",
            "string.find",
        ] {
            let body = format!(
                "local t = {{}} for i = 1, {count} do t[i] = i .. '' end return (select('#', {call}(unpack(t))))"
            );
            let _ = run(&body);
        }
        let _ = run(&format!("return #{{cmsgpack.unpack(('\\161a'):rep({count}))}}"));
        let _ = run(&format!("return #{{struct.unpack(('c1'):rep({count}), ('x'):rep({count}))}}"));
    }
}

/// Nothing that an address decides shows: not in texts, nor in what follows an order.
#[test]
fn addresses_stay_inside() {
    for body in [
        "return tostring({}) .. tostring(print_me or function() end) .. tostring(coroutine.create(function() end))",
        "error({})",
        "error(function() end)",
        "error(setmetatable({}, {__tostring = function() return 'mine' end}))",
        "return tostring(setmetatable({}, {__tostring = function() return 'mine' end}))",
        "local t = {} for i = 1, 20 do t[{}] = i end return {map = t}",
        "local t = {} for i = 1, 20 do t[{}] = i end return {set = t}",
        "local t = {} for i = 1, 20 do t[{}] = i end return cjson.encode(t)",
        "local t = {} for i = 1, 20 do t[{}] = i end return cmsgpack.pack(t)",
        "local t = {} for i = 1, 20 do t[{}] = i end table.foreach(t, function(k, v) return v end)",
        "local t = {} for i = 1, 20 do t[{}] = i end for k, v in next, t do return v end",
        "return {pcall(error, {}), collectgarbage('count'), gcinfo()}",
        "return pcall(string.rep)",
        "return select(2, pcall(table.concat, {{}}))",
    ] {
        let shown = format!("{:?}", run(body));
        let address = shown.find("0x").filter(|at| !shown[*at..].starts_with("0x0"));
        assert!(address.is_none(), "{body}: {shown}");
        assert!(!shown.contains("prelude"), "{body}: {shown}");
    }
}
