//! Inline commands: words split and unquoted as Redis's `sdssplitargs` does it.

use std::ops::Range;

/// Splits a line; the words are put one after another into `out` and named by ranges. None if quotes do not match.
pub(super) fn split(line: &[u8], out: &mut Vec<u8>, words: &mut Vec<Range<usize>>) -> Option<()> {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && (first.is_ascii_whitespace() || *first == 0)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(());
        }
        let start = out.len();
        rest = word(rest, out)?;
        words.push(start..out.len());
    }
}

/// Reads one word; answers what follows.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return Some(rest),
            [first, ..] if first.is_ascii_whitespace() || *first == 0 => return Some(rest),
            [b'"', tail @ ..] => return closed(double_quoted(tail, out)?),
            [b'\'', tail @ ..] => return closed(single_quoted(tail, out)?),
            [first, tail @ ..] => {
                out.push(*first);
                tail
            }
        };
    }
}

/// A closing quote must be followed by a space or nothing.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(u8::is_ascii_whitespace).then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |hex: u8| char::from(hex).to_digit(16).unwrap_or(0) as u8;
                out.push(digit(*high) * 16 + digit(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                tail
            }
            [plain, tail @ ..] => {
                out.push(*plain);
                tail
            }
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'\'', tail @ ..] => return Some(tail),
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                tail
            }
            [plain, tail @ ..] => {
                out.push(*plain);
                tail
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let (mut out, mut ranges) = (Vec::new(), Vec::new());
        split(line.as_bytes(), &mut out, &mut ranges)?;
        Some(ranges.into_iter().map(|r| String::from_utf8_lossy(&out[r]).into_owned()).collect())
    }

    /// Quotes and escapes.
    #[test]
    fn as_redis_splits() {
        let some =
            |list: &[&str]| Some(list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words("  a  b\tc "), some(&["a", "b", "c"]));
        assert_eq!(words(r#"set "a b" 'c "d"' """#), some(&["set", "a b", "c \"d\"", ""]));
        assert_eq!(words(r#""\x41\n\"""#), some(&["A\n\""]));
        assert_eq!(words(r#""a"b"#), None);
        assert_eq!(words("'a"), None);
    }
}
