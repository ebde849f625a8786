//! The script engine against a small host: conversions, sandbox, budgets, and that nothing shows but the script.

use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;
use steadfast_core::script::{ScriptBudget, ScriptEngine, ScriptFailure, ScriptHost, sha1_hex};
use steadfast_lua::Engine;

/// Answers a few made-up commands.
struct Host;

impl ScriptHost for Host {
    fn call(&mut self, argv: &[&[u8]]) -> Reply<'static> {
        match argv {
            [b"echo", word] => Reply::bulk_owned(*word),
            [b"int"] => Reply::Int(42),
            [b"nil"] => Reply::Nil,
            [b"ok"] => Reply::Ok,
            [b"list"] => Reply::Array(vec![Reply::Int(1), Reply::Nil, Reply::bulk(b"x")]),
            _ => Reply::Error(ReplyError::fixed("ERR no such command")),
        }
    }
    fn rewind(&mut self) {}
    fn seed(&self) -> u64 {
        7
    }
}

const BUDGET: ScriptBudget =
    ScriptBudget { instructions_max: 2_000_000, memory_bytes_max: 8 << 20 };

fn run_in(engine: &mut Engine, body: &str) -> Result<Reply<'static>, ScriptFailure> {
    let sha = sha1_hex(body.as_bytes());
    let sha = std::str::from_utf8(&sha).expect("hex");
    engine.run(sha, body.as_bytes(), &[b"k1", b"k2"], &[b"a1"], BUDGET, &mut Host)
}

fn run(body: &str) -> Result<Reply<'static>, ScriptFailure> {
    run_in(&mut Engine::new(), body)
}

/// The text of the error that a script must end with.
fn error_of(body: &str) -> String {
    match run(body) {
        Err(ScriptFailure::Error(error)) => String::from_utf8_lossy(error.text()).into_owned(),
        other => panic!("{body}: {other:?}"),
    }
}

/// Lua values become replies, and replies Lua values, by Redis's rules.
#[test]
fn conversions() {
    let text = |text: &str| Reply::bulk_owned(text);
    for (body, expected) in [
        ("return 3.99", Reply::Int(3)),
        ("return 'x'", text("x")),
        ("return true", Reply::Int(1)),
        ("return false", Reply::Nil),
        ("return nil", Reply::Nil),
        ("return {1, 2, nil, 4}", Reply::Array(vec![Reply::Int(1), Reply::Int(2)])),
        ("return {ok = 'fine'}", Reply::Status(b"fine".to_vec().into())),
        ("return redis.status_reply('fine')", Reply::Status(b"fine".to_vec().into())),
        ("return redis.error_reply('MY error')", Reply::Error(ReplyError::fixed("MY error"))),
        (
            "return {KEYS[2], ARGV[1], #KEYS}",
            Reply::Array(vec![text("k2"), text("a1"), Reply::Int(2)]),
        ),
        ("return redis.call('int') + 1", Reply::Int(43)),
        ("return redis.call('nil') == false", Reply::Int(1)),
        ("return redis.call('ok').ok", text("OK")),
        ("return redis.call('echo', 7)", text("7")),
        ("return redis.call('echo', 0.1)", text("0.10000000000000001")),
        (
            "local l = redis.call('list') return {l[1], tostring(l[2]), l[3]}",
            Reply::Array(vec![Reply::Int(1), text("false"), text("x")]),
        ),
        ("return redis.pcall('nope').err", text("ERR no such command")),
        ("return redis.sha1hex('')", text("da39a3ee5e6b4b0d3255bfef95601890afd80709")),
        (
            "return {pcall(redis.call, 'nope')}",
            Reply::Array(vec![Reply::Nil, text("ERR no such command")]),
        ),
    ] {
        assert_eq!(run(body), Ok(expected), "{body}");
    }
}

/// Errors carry the words of Redis 7: the message, the script, the line.
#[test]
fn error_texts() {
    let body = "\nlocal reply = redis.call('nope')\nreturn reply";
    let sha = String::from_utf8_lossy(&sha1_hex(body.as_bytes())).into_owned();
    assert_eq!(error_of(body), format!("ERR no such command script: {sha}, on @user_script:2."));
    let body = "return nosuch";
    let sha = String::from_utf8_lossy(&sha1_hex(body.as_bytes())).into_owned();
    assert_eq!(
        error_of(body),
        format!(
            "ERR user_script:1: Script attempted to access nonexistent global variable 'nosuch' script: {sha}, on @user_script:1."
        )
    );
    assert!(
        error_of("return {")
            .starts_with("ERR Error compiling script (new function): user_script:1:")
    );
    assert!(error_of("error({err = 'MINE x'})").starts_with("MINE x script: "));
    assert!(error_of("error('plain')").contains("plain"));
    assert!(
        error_of("return ('a'):gsub('a', function() error({}) end)").starts_with("ERR unknown")
    );
    assert!(!error_of("error(function() end)").contains("0x"), "no address shows");
}

/// What a script must not reach is not there.
#[test]
fn sandbox() {
    for name in
        ["io", "debug", "package", "require", "dofile", "loadfile", "print", "newproxy", "getfenv"]
    {
        assert!(error_of(&format!("return {name}")).contains("nonexistent global"), "{name}");
    }
    assert!(error_of("x = 1").contains("readonly"));
    assert_eq!(run("return string.dump == nil"), Ok(Reply::Int(1)));
    assert_eq!(run("return loadstring('\\27Lua') == nil"), Ok(Reply::Int(1)));
    assert_eq!(run("return loadstring('return 5')()"), Ok(Reply::Int(5)));
    assert!(error_of("return getmetatable('').__index").contains("index"));
    assert!(error_of("local t = {} t[t] = 1 for k in pairs(t) do end").contains("order"));
    for thrown in [
        "{}",
        "select(2, pcall(string.gsub, 'a', 'a', function() error({}) end))",
        "select(2, pcall(string.gsub, 'a', 'a', setmetatable({}, {__index = function() error({}) end})))",
        "select(2, coroutine.resume(coroutine.create(function() error({}) end)))",
    ] {
        assert_eq!(
            run(&format!("return tostring({thrown})")),
            Ok(Reply::bulk(b"table: 0x0")),
            "{thrown}"
        );
    }
}

/// Budgets stop every script, and no script can catch that.
#[test]
fn budgets() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() end) end",
        "local function f() return pcall(f) end while true do f() end",
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(100000) .. #t end) end",
        "return ('x'):rep(1e9)",
        "return (('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b')",
        "return (('a'):rep(30000)):gsub(('a*'):rep(20) .. 'b', '')",
        "while true do redis.call('int') end",
    ] {
        assert!(
            matches!(run(body), Err(ScriptFailure::BudgetExceeded(_))),
            "{body}: {:?}",
            run(body)
        );
    }
}

/// Deep recursion and hostile calls are errors, not the end of the process.
#[test]
fn hostile_scripts_are_contained() {
    for body in [
        "local function f() return 1 + f() end return f()",
        "return unpack({}, 1, 1e8)",
        "return string.format('%99999d', 1)",
        "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
        "return ('x'):gsub('(', '%1')",
        "return ('x'):find('[')",
        "return redis.call()",
        "return redis.call({})",
    ] {
        assert!(run(body).is_err() || matches!(run(body), Ok(Reply::Error(_))), "{body}");
    }
}

/// The same script has the same outcome in a fresh engine and in a used one, random numbers and loop order included.
#[test]
fn outcomes_depend_on_the_script_alone() {
    let mut used = Engine::new();
    let nasty = [
        "return {math.random(1000), math.random(1000), tostring(math.random())}",
        "math.randomseed(5) return math.random(1000000)",
        "local t = {} for i = 1, 50 do t['k' .. i * 7] = i end local o = '' for k, v in pairs(t) do o = o .. k end return o",
        "local o = {} for w in ('a b c'):gmatch('%a') do o[#o + 1] = w end return o",
        "return {('x=1, y=2'):gsub('(%w)=(%w)', '%2=%1')}",
        "return error(setmetatable({}, {__tostring = function() return 'x' end}))",
        "return tostring(print_me or 1)",
    ];
    for body in nasty {
        let fresh = run(body);
        let _ = run_in(&mut used, "local t = {} for i = 1, 1000 do t[i] = {} end return 1");
        assert_eq!(run_in(&mut used, body), fresh, "{body}");
        assert_eq!(run_in(&mut used, body), fresh, "{body}");
    }
}

/// `string.find` and friends answer as Lua 5.1's own do.
#[test]
fn string_library() {
    let list =
        |items: &[&str]| Reply::Array(items.iter().map(|item| Reply::bulk_owned(*item)).collect());
    let int =
        |values: &[i64]| Reply::Array(values.iter().map(|value| Reply::Int(*value)).collect());
    for (body, expected) in [
        ("return {('hello'):find('l')}", int(&[3, 3])),
        ("return {('hello'):find('l', -1)}", Reply::Array(vec![])),
        ("return {('a.b'):find('.', 1, true)}", int(&[2, 2])),
        ("return {('k=v'):match('(%w+)=(%w+)')}", list(&["k", "v"])),
        ("return {('  trim '):match('^%s*(.-)%s*$')}", list(&["trim"])),
        (
            "return {('abc'):gsub('%w', '%0%0')}",
            Reply::Array(vec![Reply::bulk(b"aabbcc"), Reply::Int(3)]),
        ),
        (
            "return {('abc'):gsub('', '-')}",
            Reply::Array(vec![Reply::bulk(b"-a-b-c-"), Reply::Int(4)]),
        ),
        (
            "return {('abc'):gsub('b', {b = 'X'})}",
            Reply::Array(vec![Reply::bulk(b"aXc"), Reply::Int(1)]),
        ),
        (
            "return {('abc'):gsub('^a', 'X', 1)}",
            Reply::Array(vec![Reply::bulk(b"Xbc"), Reply::Int(1)]),
        ),
        ("return #('x'):rep(10)", Reply::Int(10)),
    ] {
        assert_eq!(run(body), Ok(expected), "{body}");
    }
}
