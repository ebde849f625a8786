//! Some thousand small scripts over `cjson`, `cmsgpack`, `struct` and `bit`, drawn by a fixed seed: two engines agree on the outcome and
//! on the instructions that it took, and where `STEADFAST_REDIS` names a redis-server, it answers the same.

mod redis;
mod script;

use std::fmt::Write as _;

use redis::Redis;
use script::Answer;
use steadfast_core::number::print_double;
use steadfast_core::reply::Reply;
use steadfast_core::script::{ScriptBudget, ScriptEngine, ScriptFailure, ScriptHost, sha1_hex};
use steadfast_lua::Engine;

const SCRIPTS: usize = 4000;
const BUDGET: ScriptBudget =
    ScriptBudget { instructions_max: 10_000_000, memory_bytes_max: 64 << 20 };

/// No script here calls it.
struct Nobody;

impl ScriptHost for Nobody {
    fn call(&mut self, _: &[&[u8]]) -> Reply<'static> {
        Reply::Nil
    }
    fn rewind(&mut self) {}
    fn seed(&self) -> u64 {
        1
    }
}

/// What is drawn, by xorshift.
struct Draw(u64);

impl Draw {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("it has 53 bits") % count
    }

    fn one<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn number(&mut self) -> String {
        match self.below(6) {
            0 => self
                .one(&["0", "1", "-1", "127", "128", "255", "256", "-32", "-33", "-128", "-129"])
                .into(),
            1 => self
                .one(&["65535", "65536", "2147483647", "2147483648", "-2147483649", "4294967296"])
                .into(),
            2 => self
                .one(&[
                    "0.1", "-1.5", "1e15", "1e16", "1e-7", "1e300", "2^53", "2^63", "-2^63", "1/3",
                ])
                .into(),
            3 => format!("{}", self.below(100_000)),
            4 => format!("-{}.{}", self.below(1000), self.below(1000)),
            _ => format!("{}", self.below(20)),
        }
    }

    /// A string literal that Lua reads back as these bytes.
    fn literal(bytes: &[u8]) -> String {
        bytes.iter().fold("'".to_owned(), |mut text, byte| {
            let _ = write!(text, "\\{byte:03}");
            text
        }) + "'"
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length)
            .map(|_| match self.below(3) {
                0 => self.below(256) as u8,
                1 => b'a' + self.below(26) as u8,
                _ => *b"\"\\/\n\t\0 \x7F".get(self.below(8)).expect("there are eight"),
            })
            .collect()
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 => self.one(&["true", "false", "cjson.null", "nil"]).into(),
            1 | 2 => self.number(),
            3 | 4 => Self::literal(&self.bytes(8)),
            5 => format!("{{{} = {}}}", self.one(&["a", "_b", "key"]), self.value(depth - 1)),
            6 => format!("{{[{}] = {}}}", self.below(14), self.value(depth - 1)),
            _ => {
                let items: Vec<String> =
                    (0..self.below(5)).map(|_| self.value(depth - 1)).collect();
                format!("{{{}}}", items.join(", "))
            }
        }
    }

    fn json(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 6 } else { 9 }) {
            0 => self.one(&["true", "false", "null", "\"\"", "[]", "{}"]).into(),
            1 => self
                .one(&["1e5", "-0", "0.5", "1E-3", "12345678901234567890", "0x1F", "1.", "-", "01"])
                .into(),
            2 => format!("{}", self.below(1000)),
            3 => self
                .one(&[
                    "\"\\u00e9\"",
                    "\"\\ud83d\\ude00\"",
                    "\"\\ud83d\"",
                    "\"\\n\\/\"",
                    "\"\\q\"",
                    "\"a",
                ])
                .into(),
            4 => self
                .one(&["inf", "-Infinity", "NaN", "nul", "+1", "tru", "'a'", " 1 ", "\t2\n"])
                .into(),
            5 => format!("\"{}\"", self.below(50)),
            6 => format!("{{\"k\": {}}}", self.json(depth - 1)),
            _ => {
                let items: Vec<String> = (0..self.below(4)).map(|_| self.json(depth - 1)).collect();
                format!("[{}]", items.join(self.one(&[",", ", ", " ,", ",", ",", ",,", " "])))
            }
        }
    }

    fn packed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..=self.below(6) {
            let kind = match self.below(4) {
                0 => 0x80 + self.below(0x40) as u8,
                1 => 0xC0 + self.below(0x20) as u8,
                _ => self.below(256) as u8,
            };
            // Lengths of four bytes are kept small: nobody waits for what they announce.
            let four = [0xDB, 0xDD, 0xDF].contains(&kind);
            bytes.push(kind);
            bytes.extend(if four { vec![0, 0, 0] } else { Vec::new() });
            bytes.extend((0..self.below(9)).map(|_| self.below(256) as u8));
        }
        bytes
    }

    fn format(&mut self) -> String {
        let options = [
            "b", "B", "h", "H", "l", "L", "T", "i", "I", "f", "d", "s", "x", " ", ">", "<", "!",
            "c",
        ];
        (0..=self.below(6)).fold(String::new(), |mut text, _| {
            text += self.one(&options);
            if self.below(4) == 0 {
                let _ = write!(
                    text,
                    "{}",
                    self.one(&["0", "1", "2", "3", "4", "5", "8", "9", "16", "33"])
                );
            }
            text
        })
    }

    fn expression(&mut self) -> String {
        match self.below(8) {
            0 => format!("cjson.encode({})", self.value(3)),
            1 => format!("cjson.encode(cjson.decode({}))", Self::literal(self.json(3).as_bytes())),
            2 => format!("cmsgpack.pack({}, {})", self.value(3), self.value(1)),
            3 => format!("cjson.encode({{cmsgpack.unpack({})}})", Self::literal(&self.packed())),
            4 => {
                let call = self.one(&["unpack_one", "unpack_limit"]);
                let (data, one, two) = (self.packed(), self.below(4), self.below(4));
                format!("cjson.encode({{cmsgpack.{call}({}, {one}, {two})}})", Self::literal(&data))
            }
            5 => {
                let words: Vec<String> = (0..self.below(7))
                    .map(|_| {
                        if self.below(4) == 0 {
                            Self::literal(&self.bytes(12))
                        } else {
                            self.number()
                        }
                    })
                    .collect();
                let comma = if words.is_empty() { "" } else { ", " };
                format!("struct.pack('{}'{comma}{})", self.format(), words.join(", "))
            }
            6 => {
                let data = Self::literal(&self.bytes(40));
                let format = self.format();
                match self.below(3) {
                    0 => format!("struct.size('{format}')"),
                    1 => format!("shown(struct.unpack('{format}', {data}))"),
                    _ => format!("shown(struct.unpack('{format}', {data}, {}))", self.below(6)),
                }
            }
            _ => {
                let name = self.one(&[
                    "tobit", "tohex", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift",
                    "rol", "ror", "bswap",
                ]);
                let words: Vec<String> = (0..self.below(4)).map(|_| self.number()).collect();
                format!("bit.{name}({})", words.join(", "))
            }
        }
    }
}

/// `shown` makes a text of what `struct.unpack` answers, so that numbers are seen whole.
const SHOWN: &str = "local function shown(...) local o = {} for i = 1, select('#', ...) do local v = select(i, ...) \
    o[i] = type(v) == 'number' and string.format('%.17g', v) or v end return table.concat(o, '|') end ";

fn answer(reply: &Reply<'_>) -> Answer {
    match reply {
        Reply::Int(number) => Answer::Int(*number),
        Reply::Bulk(bytes) => Answer::Bulk(bytes.to_vec()),
        Reply::Array(items) => Answer::Array(items.iter().map(answer).collect()),
        Reply::Error(error) => Answer::Error(error.text().to_vec()),
        Reply::Double(number) => Answer::Bulk(print_double(*number).into_bytes()),
        Reply::Nil => Answer::Nil,
        other => panic!("no script answers {other:?}"),
    }
}

fn run(engine: &mut Engine, body: &str) -> (Answer, u64) {
    let sha = sha1_hex(body.as_bytes());
    let sha = std::str::from_utf8(&sha).expect("hex");
    let outcome = engine.run(sha, body.as_bytes(), &[], &[], BUDGET, &mut Nobody);
    let answer = match outcome {
        Ok(reply) => answer(&reply),
        Err(ScriptFailure::Error(error) | ScriptFailure::BudgetExceeded(error)) => {
            Answer::Error(error.text().to_vec())
        }
    };
    (answer, engine.instructions_used())
}

/// The same script, the same answer, here and there.
#[test]
fn random_scripts_agree() {
    let mut redis = Redis::start();
    let mut wire = redis.as_mut().map(Redis::connect);
    let (mut draw, mut used, mut differences) =
        (Draw(0x5DEE_CE66_D1CE_B00B), Engine::new(), Vec::new());
    let mut fine = 0;
    for _ in 0..SCRIPTS {
        let body = format!("{SHOWN}return {{pcall(function() return {} end)}}", draw.expression());
        let (ours, instructions) = run(&mut Engine::new(), &body);
        assert_eq!(run(&mut used, &body), (ours.clone(), instructions), "{body}");
        fine += usize::from(
            matches!(&ours, Answer::Array(items) if items.first() == Some(&Answer::Int(1))),
        );
        let Some(wire) = &mut wire else { continue };
        let theirs = wire.ask(&[b"EVAL".to_vec(), body.clone().into_bytes(), b"0".to_vec()]);
        let theirs = theirs.expect("Redis answers");
        if theirs != ours {
            let body = body.strip_prefix(SHOWN).unwrap_or(&body);
            differences.push(format!(
                "{body}\n  ours:   {}\n  theirs: {}",
                ours.show(),
                theirs.show()
            ));
        }
    }
    assert!(fine > SCRIPTS / 3, "only {fine} scripts did something");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
