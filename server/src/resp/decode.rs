//! Requests: multibulk and inline commands out of a growing buffer. Borrows, never copies, never scans a large bulk twice.

use std::ops::Range;

use steadfast_core::error::ReplyError;

use super::inline;

/// Longest inline command and longest line of a multibulk head.
const LINE_BYTES_MAX: usize = 64 * 1024;
const MULTIBULK_MAX: i64 = i32::MAX as i64;
/// What a word takes besides its bytes, counted against the size of a request: a billion empty words must not slip through.
const WORD_OVERHEAD_BYTES: usize = 24;
/// Words that a decoder keeps room for between commands.
const WORDS_KEPT: usize = 1024;
/// Words of one request before authentication.
const MULTIBULK_MAX_STRANGER: i64 = 10;
/// Bytes of one argument before authentication.
const BULK_BYTES_MAX_STRANGER: usize = 16 * 1024;

/// Limits of requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one argument (`proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Bytes of one whole request (`max-request`), its words' overhead counted in.
    pub request_bytes_max: usize,
}

/// What the buffer holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Decoded {
    /// No whole command yet.
    NeedMore,
    /// One command of `consumed` bytes; its words are in `Decoder::argv`. It may have no words.
    Command {
        /// Bytes to drop from the buffer.
        consumed: usize,
    },
    /// The stream is broken: answer this and close.
    Error(ReplyError),
}

/// The state of one connection's decoder. `decode` is always called with the same unconsumed bytes, grown or not.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// The client must still authenticate: it is given little room.
    stranger: bool,
    words: Vec<Range<usize>>,
    unquoted: Vec<u8>,
    /// How far a multibulk was read before it turned out incomplete.
    resume: Option<Resume>,
    /// Bytes that the incomplete command is known to need.
    wanted: usize,
}

#[derive(Debug, Clone, Copy)]
struct Resume {
    at: usize,
    left: usize,
}

fn error(text: &'static str) -> Decoded {
    Decoded::Error(ReplyError::fixed(text))
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            stranger: false,
            words: Vec::new(),
            unquoted: Vec::new(),
            resume: None,
            wanted: 0,
        }
    }

    /// Sets what holds from here on: settings change, and clients authenticate.
    pub fn limit(&mut self, limits: Limits, stranger: bool) {
        (self.limits, self.stranger) = (limits, stranger);
    }

    /// The words of the last command, as ranges of the buffer it was decoded from (or of `unquoted` for an inline one).
    pub fn argv(&self) -> &[Range<usize>] {
        &self.words
    }

    /// The bytes that the ranges of an inline command point into; none for a multibulk, which points into the buffer.
    pub fn unquoted(&self) -> Option<&[u8]> {
        (!self.unquoted.is_empty()).then_some(&self.unquoted)
    }

    /// How many bytes beyond `filled` the command under way is known to need.
    pub fn wanted_bytes(&self, filled: usize) -> usize {
        self.wanted.saturating_sub(filled)
    }

    /// Between commands: gives back what only huge ones need.
    pub(crate) fn trim(&mut self) {
        self.words.clear();
        self.words.shrink_to(WORDS_KEPT);
    }

    /// Words that it has room for without allocating.
    #[cfg(test)]
    pub(crate) fn words_capacity(&self) -> usize {
        self.words.capacity()
    }

    /// Decodes the command at the start of `input`.
    pub fn decode(&mut self, input: &[u8]) -> Decoded {
        if let Some(resume) = self.resume.take() {
            return self.multibulk(input, resume);
        }
        self.words.clear();
        self.unquoted.clear();
        self.wanted = 0;
        match input.first() {
            None => Decoded::NeedMore,
            Some(b'*') => {
                let (line, next) = match line(input, 1) {
                    Some(found) => found,
                    None if input.len() > LINE_BYTES_MAX => {
                        return error("ERR Protocol error: too big mbulk count string");
                    }
                    None => return Decoded::NeedMore,
                };
                match steadfast_core::number::parse_int(line) {
                    Some(count) if count > MULTIBULK_MAX => {
                        error("ERR Protocol error: invalid multibulk length")
                    }
                    Some(count) if self.stranger && count > MULTIBULK_MAX_STRANGER => {
                        error("ERR Protocol error: unauthenticated multibulk length")
                    }
                    Some(count) if count <= 0 => Decoded::Command { consumed: next },
                    Some(count) => self.multibulk(input, Resume { at: next, left: count as usize }),
                    None => error("ERR Protocol error: invalid multibulk length"),
                }
            }
            Some(_) => self.inline(input),
        }
    }

    fn multibulk(&mut self, input: &[u8], mut resume: Resume) -> Decoded {
        while resume.left > 0 {
            let Some(mark) = input.get(resume.at) else { return self.suspend(resume, 0) };
            if *mark != b'$' {
                let text = [b"ERR Protocol error: expected '$', got '", &[*mark][..], b"'"];
                return Decoded::Error(ReplyError::made(text.concat()));
            }
            let Some((head, start)) = line(input, resume.at + 1) else {
                if input.len() - resume.at > LINE_BYTES_MAX {
                    return error("ERR Protocol error: too big bulk count string");
                }
                return self.suspend(resume, 0);
            };
            let length =
                steadfast_core::number::parse_int(head).and_then(|n| usize::try_from(n).ok());
            let Some(length) = length.filter(|length| *length <= self.limits.bulk_bytes_max) else {
                return error("ERR Protocol error: invalid bulk length");
            };
            if self.stranger && length > BULK_BYTES_MAX_STRANGER {
                return error("ERR Protocol error: unauthenticated bulk length");
            }
            let end = start + length;
            if end + self.words.len() * WORD_OVERHEAD_BYTES > self.limits.request_bytes_max {
                return error(
                    "ERR Protocol error: the request is larger than max-request; it was not applied",
                );
            }
            match input.get(end..end + 2) {
                Some(b"\r\n") => {}
                Some(_) => {
                    return error("ERR Protocol error: a bulk string does not end where it should");
                }
                None => return self.suspend(resume, end + 2),
            }
            self.words.push(start..end);
            resume = Resume { at: end + 2, left: resume.left - 1 };
        }
        Decoded::Command { consumed: resume.at }
    }

    /// Goes on from here when more has come.
    fn suspend(&mut self, resume: Resume, wanted: usize) -> Decoded {
        self.resume = Some(resume);
        self.wanted = wanted;
        Decoded::NeedMore
    }

    fn inline(&mut self, input: &[u8]) -> Decoded {
        let head = input.get(..input.len().min(LINE_BYTES_MAX + 1)).unwrap_or_default();
        let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
            if input.len() > LINE_BYTES_MAX {
                return error("ERR Protocol error: too big inline request");
            }
            return Decoded::NeedMore;
        };
        let line = head.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if inline::split(line, &mut self.unquoted, &mut self.words).is_none() {
            return error("ERR Protocol error: unbalanced quotes in request");
        }
        Decoded::Command { consumed: end + 1 }
    }
}

/// The line from `at` to its CR, and where the next one begins: behind one more byte, whatever it is, as in Redis.
fn line(input: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = input.get(at..)?;
    let rest = rest.get(..rest.len().min(LINE_BYTES_MAX))?;
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    rest.get(end + 1)?;
    Some((rest.get(..end)?, at + end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bulk_bytes_max: 1000, request_bytes_max: 2000 };

    /// Feeds a stream in pieces; answers the commands.
    fn commands(stream: &[u8], piece: usize) -> Vec<Vec<Vec<u8>>> {
        let mut decoder = Decoder::new(LIMITS);
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for part in stream.chunks(piece) {
            buffer.extend_from_slice(part);
            while let Decoded::Command { consumed } = decoder.decode(&buffer) {
                let source = decoder.unquoted().unwrap_or(&buffer);
                found.push(
                    decoder.argv().iter().map(|word| source[word.clone()].to_vec()).collect(),
                );
                buffer.drain(..consumed);
            }
        }
        found
    }

    /// However a stream is cut, it holds the same commands.
    #[test]
    fn any_split_gives_the_same_commands() {
        let stream = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*0\r\n*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n$0\r\n\r\nset k \"a b\"\r\n";
        let whole = commands(stream, stream.len());
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[0], [b"GET".to_vec(), b"k".to_vec()]);
        assert_eq!(whole[3], [b"SET".to_vec(), b"\r\n".to_vec(), b"".to_vec()]);
        assert_eq!(whole[4], [b"set".to_vec(), b"k".to_vec(), b"a b".to_vec()]);
        for piece in 1..stream.len() {
            assert_eq!(commands(stream, piece), whole, "pieces of {piece}");
        }
    }

    /// Redis's own words for broken streams.
    #[test]
    fn broken_streams() {
        for (stream, text) in [
            (&b"*1\r\n+x\r\n"[..], "ERR Protocol error: expected '$', got '+'"),
            (b"*x\r\n", "ERR Protocol error: invalid multibulk length"),
            (b"*1\r\n\r\n", "ERR Protocol error: expected '$', got ' '"),
            (b"*2147483648\r\n", "ERR Protocol error: invalid multibulk length"),
            (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
            (b"*1\r\n$1001\r\n", "ERR Protocol error: invalid bulk length"),
            (b"a 'b\r\n", "ERR Protocol error: unbalanced quotes in request"),
        ] {
            let decoded = Decoder::new(LIMITS).decode(stream);
            assert_eq!(decoded, Decoded::Error(ReplyError::made(text)));
        }
    }

    /// A promise of many words takes no memory, and words that are nothing but overhead count as bytes of the request.
    #[test]
    fn words_are_bounded_by_what_they_take() {
        let mut decoder = Decoder::new(LIMITS);
        let mut stream = b"*2147483647\r\n".to_vec();
        assert_eq!(decoder.decode(&stream), Decoded::NeedMore);
        assert_eq!((decoder.words.capacity(), decoder.wanted_bytes(stream.len())), (0, 0));
        stream.extend_from_slice(&b"$0\r\n\r\n".repeat(100));
        let text = "ERR Protocol error: the request is larger than max-request; it was not applied";
        assert_eq!(decoder.decode(&stream), Decoded::Error(ReplyError::made(text)));
        assert!(stream.len() < LIMITS.request_bytes_max);
    }

    /// Strangers have little room, until they have authenticated.
    #[test]
    fn strangers_have_little_room() {
        let limits = Limits { bulk_bytes_max: 1 << 20, request_bytes_max: 1 << 21 };
        let decode = |stream: &str, stranger| {
            let mut decoder = Decoder::new(limits);
            decoder.limit(limits, stranger);
            decoder.decode(stream.as_bytes())
        };
        for (stream, text) in [
            ("*11\r\n", "ERR Protocol error: unauthenticated multibulk length"),
            ("*1\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length"),
        ] {
            assert_eq!(decode(stream, true), Decoded::Error(ReplyError::fixed(text)));
            assert_eq!(decode(stream, false), Decoded::NeedMore);
        }
        for stream in ["*10\r\n", "*1\r\n$16384\r\n"] {
            assert_eq!(decode(stream, true), Decoded::NeedMore);
        }
    }
}
