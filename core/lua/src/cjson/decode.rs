//! `cjson.decode`: JSON as Lua values. What is open stands in a list, not on the stack of the process.

use mlua::{Lua, MultiValue, Table, Value};

use super::Settings;
use crate::arguments::{Arguments, bad_argument, complaint, one};
use crate::meter::{Meter, VALUE_INSTRUCTIONS};
use crate::numbers::read_number;

/// Nesting that `decode_max_depth` can't raise: each open table is held by one or two of the some 8,000 references that there are.
const DEPTH_MAX: i32 = 3000;

/// `cjson.decode(text)`.
pub(super) fn decode(
    words: Arguments<'_>,
    settings: &Settings,
    meter: &Meter,
) -> mlua::Result<MultiValue> {
    if words.count() != 1 {
        return Err(bad_argument(1, "expected 1 argument"));
    }
    let text = words.string(1)?;
    let text = text.as_bytes();
    if text.len() >= 2 && text.iter().take(2).any(|byte| *byte == 0) {
        return Err(complaint("JSON parser does not support UTF-16 or UTF-32"));
    }
    meter.use_up_bytes(text.len())?;
    let mut parser = Parser { text: &text, at: 0, settings, meter };
    let value = parser.document(words.lua)?;
    match parser.token()? {
        (Token::End, _) => Ok(one(value)),
        (token, at) => Err(unexpected("the end", &token, at)),
    }
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

fn unexpected(expected: &str, token: &Token, at: usize) -> mlua::Error {
    let found = match token {
        Token::ObjectBegin => "T_OBJ_BEGIN",
        Token::ObjectEnd => "T_OBJ_END",
        Token::ArrayBegin => "T_ARR_BEGIN",
        Token::ArrayEnd => "T_ARR_END",
        Token::String(_) => "T_STRING",
        Token::Number(_) => "T_NUMBER",
        Token::Boolean(_) => "T_BOOLEAN",
        Token::Null => "T_NULL",
        Token::Colon => "T_COLON",
        Token::Comma => "T_COMMA",
        Token::End => "T_END",
        Token::Error(what) => what,
    };
    complaint(format!("Expected {expected} but found {found} at character {}", at + 1))
}

/// A table that is being filled: where the next value goes.
enum Open {
    Array(Table, usize),
    Object(Table, Value),
}

/// What follows a value: the token of the next one, or nothing.
enum Settled {
    Next((Token, usize)),
    Whole(Value),
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    settings: &'a Settings,
    meter: &'a Meter,
}

impl Parser<'_> {
    /// One value, with all that is in it.
    fn document(&mut self, lua: &Lua) -> mlua::Result<Value> {
        let mut open: Vec<Open> = Vec::new();
        let mut next = self.token()?;
        loop {
            let (token, at) = next;
            let value = match token {
                Token::String(text) => Value::String(lua.create_string(&text)?),
                Token::Number(number) => Value::Number(number),
                Token::Boolean(flag) => Value::Boolean(flag),
                Token::Null => Value::NULL,
                Token::ObjectBegin => {
                    self.descend(open.len())?;
                    let table = lua.create_table()?;
                    match self.token()? {
                        (Token::ObjectEnd, _) => Value::Table(table),
                        first => {
                            let key = self.key(lua, first)?;
                            open.push(Open::Object(table, key));
                            next = self.token()?;
                            continue;
                        }
                    }
                }
                Token::ArrayBegin => {
                    self.descend(open.len())?;
                    let table = lua.create_table()?;
                    match self.token()? {
                        (Token::ArrayEnd, _) => Value::Table(table),
                        first => {
                            open.push(Open::Array(table, 1));
                            next = first;
                            continue;
                        }
                    }
                }
                other => return Err(unexpected("value", &other, at)),
            };
            next = match self.settle(lua, &mut open, value)? {
                Settled::Whole(value) => return Ok(value),
                Settled::Next(next) => next,
            };
        }
    }

    /// Puts a value where it belongs, and what it closes too.
    fn settle(
        &mut self,
        lua: &Lua,
        open: &mut Vec<Open>,
        mut value: Value,
    ) -> mlua::Result<Settled> {
        loop {
            match open.pop() {
                None => return Ok(Settled::Whole(value)),
                Some(Open::Array(table, index)) => {
                    table.raw_seti(index, value)?;
                    match self.token()? {
                        (Token::ArrayEnd, _) => value = Value::Table(table),
                        (Token::Comma, _) => {
                            open.push(Open::Array(table, index + 1));
                            return self.token().map(Settled::Next);
                        }
                        (other, at) => return Err(unexpected("comma or array end", &other, at)),
                    }
                }
                Some(Open::Object(table, key)) => {
                    table.raw_set(key, value)?;
                    match self.token()? {
                        (Token::ObjectEnd, _) => value = Value::Table(table),
                        (Token::Comma, _) => {
                            let first = self.token()?;
                            let key = self.key(lua, first)?;
                            open.push(Open::Object(table, key));
                            return self.token().map(Settled::Next);
                        }
                        (other, at) => return Err(unexpected("comma or object end", &other, at)),
                    }
                }
            }
        }
    }

    fn descend(&self, depth: usize) -> mlua::Result<()> {
        let depth = depth + 1;
        if depth > self.settings.decode_depth_max.get().min(DEPTH_MAX) as usize {
            let at = self.at;
            let text = format!("Found too many nested data structures ({depth}) at character {at}");
            return Err(complaint(text));
        }
        Ok(())
    }

    /// A key and its colon.
    fn key(&mut self, lua: &Lua, (token, at): (Token, usize)) -> mlua::Result<Value> {
        let Token::String(text) = token else {
            return Err(unexpected("object key string", &token, at));
        };
        let key = Value::String(lua.create_string(&text)?);
        match self.token()? {
            (Token::Colon, _) => Ok(key),
            (other, at) => Err(unexpected("colon", &other, at)),
        }
    }

    /// The byte at a place; zero behind the end, as in a C string.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// The next token, and where it stands.
    fn token(&mut self) -> mlua::Result<(Token, usize)> {
        self.meter.use_up(VALUE_INSTRUCTIONS / 2)?;
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let at = self.at;
        let rest = self.text.get(at..).unwrap_or_default();
        let (token, length) = match self.byte(at) {
            0 => (Token::End, 0),
            b'{' => (Token::ObjectBegin, 1),
            b'}' => (Token::ObjectEnd, 1),
            b'[' => (Token::ArrayBegin, 1),
            b']' => (Token::ArrayEnd, 1),
            b',' => (Token::Comma, 1),
            b':' => (Token::Colon, 1),
            b'"' => return Ok(self.string(at)),
            b'-' | b'0'..=b'9' => {
                if !self.settings.decode_invalid.get() && is_invalid_number(rest) {
                    (Token::Error("invalid number"), 0)
                } else {
                    number(rest)
                }
            }
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => self.word(rest),
            _ => (Token::Error("invalid token"), 0),
        };
        self.at += length;
        Ok((token, at))
    }

    fn word(&self, rest: &[u8]) -> (Token, usize) {
        if rest.starts_with(b"true") {
            (Token::Boolean(true), 4)
        } else if rest.starts_with(b"false") {
            (Token::Boolean(false), 5)
        } else if rest.starts_with(b"null") {
            (Token::Null, 4)
        } else if self.settings.decode_invalid.get() && is_invalid_number(rest) {
            number(rest)
        } else {
            (Token::Error("invalid token"), 0)
        }
    }

    /// A string, its quote at `at`. An error in it stands at its own place.
    fn string(&mut self, at: usize) -> (Token, usize) {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let plain = self.text.get(self.at..).unwrap_or_default();
            let end = plain.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0));
            let plain = plain.get(..end.unwrap_or(plain.len())).unwrap_or_default();
            text.extend_from_slice(plain);
            self.at += plain.len();
            match self.byte(self.at) {
                b'"' => break,
                0 => return (Token::Error("unexpected end of string"), self.at),
                _ => {}
            }
            let escaped = match self.byte(self.at + 1) {
                b'u' => match unicode(self.text.get(self.at..).unwrap_or_default()) {
                    Some((character, length)) => {
                        text.extend_from_slice(character.as_slice());
                        self.at += length;
                        continue;
                    }
                    None => return (Token::Error("invalid unicode escape code"), self.at),
                },
                byte @ (b'"' | b'\\' | b'/') => byte,
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'f' => 12,
                b'r' => b'\r',
                _ => return (Token::Error("invalid escape code"), self.at),
            };
            text.push(escaped);
            self.at += 2;
        }
        self.at += 1;
        (Token::String(text), at)
    }
}

fn number(rest: &[u8]) -> (Token, usize) {
    match read_number(rest) {
        Some((number, length)) => (Token::Number(number), length),
        None => (Token::Error("invalid number"), 0),
    }
}

/// Numbers that JSON does not have, though C reads them.
fn is_invalid_number(text: &[u8]) -> bool {
    if text.first() == Some(&b'+') {
        return true;
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    if text.first() == Some(&b'0') {
        return text.get(1).is_some_and(|next| matches!(next, b'x' | b'X' | b'0'..=b'9'));
    }
    let named = |word: &[u8]| text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(word));
    named(b"inf") || named(b"nan")
}

/// The UTF-8 bytes of an escape like `\u00e4`, or of a pair of them, and the bytes that it takes.
fn unicode(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let unit = |from: usize| -> Option<u32> {
        let digits = text.get(from..from + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
    };
    let first = unit(0)?;
    let (code, length) = match first {
        0xD800..0xDC00 => {
            let second = unit(6).filter(|second| (0xDC00..0xE000).contains(second))?;
            (0x10000 + ((first & 0x3FF) << 10 | second & 0x3FF), 12)
        }
        code => (code, 6),
    };
    let character = char::from_u32(code)?;
    Some((character.encode_utf8(&mut [0; 4]).as_bytes().to_vec(), length))
}
