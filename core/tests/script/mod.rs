//! What golden scripts are made of: `> COMMAND word…` lines, their words split as redis-cli splits them, and replies
//! in words. Shared by `golden.rs` (the core) and `differential.rs` (a real Redis), so that one file serves both.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part of this

use std::fs;
use std::path::{Path, PathBuf};

use steadfast_core::number::print_double;
use steadfast_core::reply::Reply;
use steadfast_core::script::sha1_hex;

/// Where the scripts are, a folder a group of commands.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

/// Every script, in order of path.
pub fn scripts() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for family in fs::read_dir(root()).expect("the scripts are part of the repository").flatten() {
        let files = fs::read_dir(family.path()).expect("families are folders").flatten();
        found.extend(
            files
                .map(|file| file.path())
                .filter(|path| path.extension().is_some_and(|e| e == "golden")),
        );
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Splits a line as redis-cli does: blanks part words; `"…"` knows `\n`, `\r`, `\t`, `\\`, `\"` and `\xHH`.
/// `@x.lua` without quotes is that file, `#x.lua` its SHA-1.
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut bytes) = (Vec::new(), line.bytes().peekable());
    loop {
        while bytes.next_if_eq(&b' ').is_some() {}
        if bytes.peek().is_none() {
            return words;
        }
        let mut word = Vec::new();
        if bytes.next_if_eq(&b'"').is_some() {
            loop {
                match bytes.next().expect("a quote is closed") {
                    b'"' => break,
                    b'\\' => word.push(match bytes.next().expect("an escape is whole") {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'x' => {
                            let mut digit = || {
                                let byte = bytes.next().expect("\\x has two digits");
                                (byte as char).to_digit(16).expect("\\x has hex digits") as u8
                            };
                            digit() << 4 | digit()
                        }
                        other => other,
                    }),
                    other => word.push(other),
                }
            }
        } else {
            while let Some(byte) = bytes.next_if(|byte| *byte != b' ') {
                word.push(byte);
            }
            word = lua_file(&word).unwrap_or(word);
        }
        words.push(word);
    }
}

/// What `@x.lua` and `#x.lua` stand for, so that scripts of many lines, and what they are called by, can be read.
fn lua_file(word: &[u8]) -> Option<Vec<u8>> {
    let (kind, name) = std::str::from_utf8(word).ok()?.split_at_checked(1)?;
    if !["@", "#"].contains(&kind) || Path::new(name).extension() != Some("lua".as_ref()) {
        return None;
    }
    let body = fs::read(root().join("scripting").join(name)).expect("it stands beside the scripts");
    Some(if kind == "@" { body } else { sha1_hex(&body).to_vec() })
}

/// Repeats `{N*x}` as N times x, so that scripts can hold long values.
pub fn unroll(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once("{*") {
        let (inside, behind) = after.split_once('}').expect("{*count text} is closed");
        let (count, text) = inside.split_once(' ').expect("{*count text} has both");
        out.push_str(before);
        out.push_str(&text.repeat(count.parse().expect("the count is a number")));
        rest = behind;
    }
    out + rest
}

/// A bulk string in quotes, as redis-cli shows it; long ones are cut.
pub fn quote(bytes: &[u8]) -> String {
    if bytes.len() > 120 {
        return format!("{}… {} bytes", quote(&bytes[..20]), bytes.len());
    }
    format!("\"{}\"", bytes.escape_ascii())
}

/// Commands whose answer has an order that is no promise.
const UNORDERED: [&str; 12] = [
    "HGETALL", "HKEYS", "HSCAN", "HVALS", "KEYS", "SCAN", "SDIFF", "SINTER", "SMEMBERS", "SSCAN",
    "SUNION", "ZSCAN",
];
/// Commands that choose by the seed that they run with.
const RANDOM: [&str; 5] = ["HRANDFIELD", "RANDOMKEY", "SPOP", "SRANDMEMBER", "ZRANDMEMBER"];

fn is_one_of(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// Whether the order of a command's answer is no promise: it is shown sorted.
pub fn is_unordered(argv: &[Vec<u8>]) -> bool {
    argv.first().is_some_and(|name| is_one_of(&UNORDERED, name) || is_random(name))
}

/// Whether a command answers by chance, so that to read it twice is not to read the same.
pub fn is_random(name: &[u8]) -> bool {
    is_one_of(&RANDOM, name)
}

/// A reply, as far as RESP2 tells replies apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    NilArray,
    Array(Vec<Self>),
    /// One after the other, as SUBSCRIBE answers several channels.
    Several(Vec<Self>),
}

impl Answer {
    /// What the core answers.
    pub fn of(reply: &Reply<'_>) -> Self {
        let all = |items: &[Reply<'_>]| items.iter().map(Self::of).collect();
        match reply {
            Reply::Ok => Self::Simple(b"OK".to_vec()),
            Reply::Status(text) => Self::Simple(text.to_vec()),
            Reply::Int(number) => Self::Int(*number),
            Reply::Bool(flag) => Self::Int(i64::from(*flag)),
            Reply::Bulk(bytes)
            | Reply::Verbatim(bytes)
            | Reply::VerbatimAs(_, bytes)
            | Reply::BigNumber(bytes) => Self::Bulk(bytes.to_vec()),
            Reply::Nil => Self::Nil,
            Reply::NilArray => Self::NilArray,
            Reply::Several(items) => Self::Several(all(items)),
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => Self::Array(all(items)),
            Reply::Map(pairs) | Reply::Pairs(pairs) => Self::Array(
                pairs.iter().flat_map(|(key, value)| [Self::of(key), Self::of(value)]).collect(),
            ),
            Reply::Double(number) => Self::Bulk(print_double(*number).into_bytes()),
            Reply::Error(error) => Self::Error(error.text().to_vec()),
        }
    }

    /// In words.
    pub fn show(&self) -> String {
        match self {
            Self::Simple(text) => String::from_utf8_lossy(text).into_owned(),
            Self::Error(text) => format!("(error) {}", String::from_utf8_lossy(text)),
            Self::Int(number) => number.to_string(),
            Self::Bulk(bytes) => quote(bytes),
            Self::Nil => "nil".to_owned(),
            Self::NilArray => "nil array".to_owned(),
            Self::Several(items) => items.iter().map(Self::show).collect::<Vec<_>>().join(" then "),
            Self::Array(items) => {
                format!("[{}]", items.iter().map(Self::show).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// The same with every array in order.
    pub fn sorted(self) -> Self {
        let Self::Array(items) = self else { return self };
        let is_scan = matches!(items.as_slice(), [Self::Bulk(_), Self::Array(_)]);
        let mut items: Vec<Self> = items.into_iter().map(Self::sorted).collect();
        if !is_scan {
            items.sort();
        }
        Self::Array(items)
    }
}
