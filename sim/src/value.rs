//! Replies as a client sees them, and a small reader and writer of the simulator's own: RESP2, and what RESP3 has instead of
//! its nil and of lists of pairs.

use crate::trace::readable;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `+text`
    Simple(String),
    /// `-text`
    Error(String),
    /// `:number`
    Int(i64),
    /// `$…`
    Bulk(Vec<u8>),
    /// `$-1` and `*-1`
    Nil,
    /// `*…`
    Array(Vec<Self>),
}

/// The words of a command.
pub type Argv = Vec<Vec<u8>>;

/// Makes words of anything that has bytes.
pub fn argv<const N: usize>(words: [&[u8]; N]) -> Argv {
    words.iter().map(|word| word.to_vec()).collect()
}

/// A command as a person reads it.
pub fn readable_argv(argv: &Argv) -> String {
    let words: Vec<String> = argv.iter().map(|word| readable(word)).collect();
    words.join(" ")
}

impl Value {
    /// `+OK`
    pub fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    /// For the trace.
    pub fn readable(&self) -> String {
        match self {
            Self::Simple(text) => format!("+{text}"),
            Self::Error(text) => format!("-{text}"),
            Self::Int(number) => format!(":{number}"),
            Self::Bulk(bytes) => format!("\"{}\"", readable(bytes)),
            Self::Nil => "nil".to_owned(),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(Self::readable).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }

    /// Its length on the wire, about.
    pub fn bytes(&self) -> usize {
        const FRAME: usize = 16;
        FRAME
            + match self {
                Self::Simple(text) | Self::Error(text) => text.len(),
                Self::Int(_) | Self::Nil => 0,
                Self::Bulk(bytes) => bytes.len(),
                Self::Array(items) => items.iter().map(Self::bytes).sum(),
            }
    }

    /// Whether two replies say the same. Errors are compared by their first word: that is what clients act on.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Error(one), Self::Error(two)) => code(one) == code(two),
            (Self::Array(one), Self::Array(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.same(two))
            }
            _ => self == other,
        }
    }
}

/// Bytes from `start` to `end`, both included and counted from the back if negative, as GETRANGE takes them.
pub fn range(bytes: &[u8], start: i64, end: i64) -> Vec<u8> {
    let length = bytes.len() as i64;
    let from_front = |at: i64| if at < 0 { (length + at).max(0) } else { at };
    let (start, end) = (from_front(start), from_front(end).min(length - 1));
    bytes.get(start as usize..(end + 1).max(0) as usize).unwrap_or_default().to_vec()
}

/// Writes `new` over what is there from `offset` on, zeros in between, as SETRANGE does.
pub fn overwrite(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    bytes.resize(bytes.len().max(offset + new.len()), 0);
    if let Some(place) = bytes.get_mut(offset..offset + new.len()) {
        place.copy_from_slice(new);
    }
}

/// The first word of an error.
pub fn code(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// Appends a command as a client sends it.
pub fn encode_command(out: &mut Vec<u8>, argv: &Argv) {
    out.extend(format!("*{}\r\n", argv.len()).bytes());
    for word in argv {
        out.extend(format!("${}\r\n", word.len()).bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// What the reader makes of the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A reply and the number of bytes it took.
    Value(Value, usize),
    /// Not whole yet.
    NeedMore,
    /// No RESP2.
    Malformed,
}

/// Reads one reply off the front.
pub fn parse(bytes: &[u8]) -> Parsed {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Parsed::NeedMore;
    };
    let Some((kind, line)) = bytes.get(..end).and_then(|line| line.split_first()) else {
        return Parsed::Malformed;
    };
    let text = String::from_utf8_lossy(line).into_owned();
    let after = end + 2;
    match kind {
        b'+' => Parsed::Value(Value::Simple(text), after),
        b'-' => Parsed::Value(Value::Error(text), after),
        b':' => text
            .parse()
            .map_or(Parsed::Malformed, |number| Parsed::Value(Value::Int(number), after)),
        b'_' if line.is_empty() => Parsed::Value(Value::Nil, after), // RESP3
        b'%' => match text.parse::<i64>() {
            Ok(count @ 0..=0xFFFF) => array(bytes, after, count * 2), // RESP3; RESP2 lists its pairs
            _ => Parsed::Malformed,
        },
        b'$' | b'*' | b'>' => match (text.parse::<i64>(), kind) {
            (Ok(-1), _) => Parsed::Value(Value::Nil, after),
            (Ok(length @ 0..), b'$') => bulk(bytes, after, length as usize),
            (Ok(count @ 0..), _) => array(bytes, after, count),
            _ => Parsed::Malformed,
        },
        _ => Parsed::Malformed,
    }
}

fn bulk(bytes: &[u8], start: usize, length: usize) -> Parsed {
    match (bytes.get(start..start + length), bytes.get(start + length..start + length + 2)) {
        (Some(body), Some(b"\r\n")) => {
            Parsed::Value(Value::Bulk(body.to_vec()), start + length + 2)
        }
        (Some(_), Some(_)) => Parsed::Malformed,
        _ => Parsed::NeedMore,
    }
}

fn array(bytes: &[u8], mut at: usize, count: i64) -> Parsed {
    let mut items = Vec::new();
    for _ in 0..count {
        match parse(bytes.get(at..).unwrap_or_default()) {
            Parsed::Value(value, used) => {
                items.push(value);
                at += used;
            }
            other => return other,
        }
    }
    Parsed::Value(Value::Array(items), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every prefix of a reply asks for more, the whole is read, and rubbish is told from it.
    #[test]
    fn replies_are_read_whole() {
        let wire = b"*4\r\n$3\r\na\r\n\r\n:-5\r\n*-1\r\n+OK\r\n";
        for cut in 0..wire.len() {
            assert_eq!(parse(wire.get(..cut).expect("it is inside")), Parsed::NeedMore, "{cut}");
        }
        let items = vec![Value::Bulk(b"a\r\n".to_vec()), Value::Int(-5), Value::Nil, Value::ok()];
        assert_eq!(parse(wire), Parsed::Value(Value::Array(items), wire.len()));
        for wrong in [&b"?x\r\n"[..], b":x\r\n", b"$-2\r\n", b"$1\r\nabc", b"\r\n"] {
            assert_eq!(parse(wrong), Parsed::Malformed, "{}", wrong.escape_ascii());
        }
        assert_eq!(parse(b"_\r\n"), Parsed::Value(Value::Nil, 3));
        let pair = Value::Array(vec![Value::Int(1), Value::Nil]);
        assert_eq!(parse(b"%1\r\n:1\r\n_\r\n"), Parsed::Value(pair, 11));
        assert!(Value::Error("ERR a".into()).same(&Value::Error("ERR b".into())));
        assert!(!Value::Error("ERR a".into()).same(&Value::Error("LOADING a".into())));
    }
}
