//! Lua 5.1 patterns, step by counted step. The interpreter's own matcher can't be interrupted, and one hostile pattern
//! in it would stop every replica for minutes.

/// Captures of one match at the most, as in Lua.
const CAPTURES_MAX: usize = 32;
/// Depth of recursion.
const DEPTH_MAX: usize = 200;

/// Why a match ended without an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The pattern is wrong: Lua's words.
    Malformed(&'static str),
    /// The budget of steps is used up.
    Budget,
}

/// A capture: where it begins, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Capture {
    /// `(...)`, closed.
    Range(usize, usize),
    /// `()`: a position.
    Position(usize),
    /// Not closed yet.
    Open(usize),
}

/// One subject and pattern.
pub(crate) struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    pub(crate) captures: Vec<Capture>,
    /// Steps that are left.
    pub(crate) steps: u64,
}

type Outcome = Result<Option<usize>, Stop>;

impl<'a> Matcher<'a> {
    pub(crate) fn new(subject: &'a [u8], pattern: &'a [u8], steps: u64) -> Self {
        Self { subject, pattern, captures: Vec::new(), steps }
    }

    /// Matches at exactly this position of the subject; answers the end.
    pub(crate) fn match_at(&mut self, at: usize) -> Outcome {
        self.captures.clear();
        self.run(at, 0, DEPTH_MAX)
    }

    fn step(&mut self) -> Result<(), Stop> {
        self.steps = self.steps.checked_sub(1).ok_or(Stop::Budget)?;
        Ok(())
    }

    fn p(&self, at: usize) -> Option<u8> {
        self.pattern.get(at).copied()
    }

    fn run(&mut self, mut s: usize, mut p: usize, depth: usize) -> Outcome {
        let deeper = depth.checked_sub(1).ok_or(Stop::Malformed("pattern too complex"))?;
        loop {
            self.step()?;
            match self.p(p) {
                None => return Ok(Some(s)),
                Some(b'(') => {
                    let (capture, p) = if self.p(p + 1) == Some(b')') {
                        (Capture::Position(s), p + 2)
                    } else {
                        (Capture::Open(s), p + 1)
                    };
                    return self.open(capture, s, p, deeper);
                }
                Some(b')') => return self.close(s, p + 1, deeper),
                Some(b'$') if p + 1 == self.pattern.len() => {
                    return Ok((s == self.subject.len()).then_some(s));
                }
                Some(b'%') if self.p(p + 1) == Some(b'b') => match self.balance(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                Some(b'%') if self.p(p + 1) == Some(b'f') => match self.frontier(s, p + 2)? {
                    Some(next) => p = next,
                    None => return Ok(None),
                },
                Some(b'%') if self.p(p + 1).is_some_and(|c| c.is_ascii_digit()) => {
                    match self.back_reference(s, p + 1)? {
                        Some(end) => (s, p) = (end, p + 2),
                        None => return Ok(None),
                    }
                }
                Some(_) => {
                    let end = self.item_end(p)?;
                    match self.p(end) {
                        Some(b'?') => {
                            if self.single(s, p, end)
                                && let Some(found) = self.run(s + 1, end + 1, deeper)?
                            {
                                return Ok(Some(found));
                            }
                            p = end + 1;
                        }
                        Some(b'*') => return self.greedy(s, p, end, 0, deeper),
                        Some(b'+') => return self.greedy(s, p, end, 1, deeper),
                        Some(b'-') => return self.lazy(s, p, end, deeper),
                        _ if self.single(s, p, end) => (s, p) = (s + 1, end),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    fn open(&mut self, capture: Capture, s: usize, p: usize, depth: usize) -> Outcome {
        if self.captures.len() >= CAPTURES_MAX {
            return Err(Stop::Malformed("too many captures"));
        }
        self.captures.push(capture);
        let level = self.captures.len();
        let found = self.run(s, p, depth)?;
        if found.is_none() {
            self.captures.truncate(level - 1);
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize, depth: usize) -> Outcome {
        let at = self.captures.iter().rposition(|capture| matches!(capture, Capture::Open(_)));
        let at = at.ok_or(Stop::Malformed("invalid pattern capture"))?;
        let Some(place) = self.captures.get_mut(at) else { return Ok(None) };
        let Capture::Open(start) = *place else { return Ok(None) };
        *place = Capture::Range(start, s);
        let found = self.run(s, p, depth)?;
        if found.is_none()
            && let Some(place) = self.captures.get_mut(at)
        {
            *place = Capture::Open(start);
        }
        Ok(found)
    }

    fn greedy(&mut self, s: usize, p: usize, end: usize, least: usize, depth: usize) -> Outcome {
        let mut count = 0;
        while self.single(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        while count >= least {
            if let Some(found) = self.run(s + count, end + 1, depth)? {
                return Ok(Some(found));
            }
            match count.checked_sub(1) {
                Some(fewer) => count = fewer,
                None => break,
            }
        }
        Ok(None)
    }

    fn lazy(&mut self, mut s: usize, p: usize, end: usize, depth: usize) -> Outcome {
        loop {
            if let Some(found) = self.run(s, end + 1, depth)? {
                return Ok(Some(found));
            }
            if !self.single(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    /// Where a single item of the pattern ends.
    fn item_end(&self, p: usize) -> Result<usize, Stop> {
        match self.p(p) {
            Some(b'%') if self.p(p + 1).is_none() => {
                Err(Stop::Malformed("malformed pattern (ends with '%')"))
            }
            Some(b'%') => Ok(p + 2),
            Some(b'[') => {
                let mut at = p + 1;
                if self.p(at) == Some(b'^') {
                    at += 1;
                }
                loop {
                    match self.p(at) {
                        None => return Err(Stop::Malformed("malformed pattern (missing ']')")),
                        Some(b'%') => at += 2,
                        Some(_) => at += 1,
                    }
                    if self.p(at) == Some(b']') {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    fn single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(byte) = self.subject.get(s) else { return false };
        match self.p(p) {
            Some(b'.') => true,
            Some(b'%') => self.p(p + 1).is_some_and(|class| in_class(*byte, class)),
            Some(b'[') => self.in_set(*byte, p, end),
            other => other == Some(*byte),
        }
    }

    fn in_set(&self, byte: u8, p: usize, end: usize) -> bool {
        let mut at = p + 1;
        let negated = self.p(at) == Some(b'^');
        at += usize::from(negated);
        let last = end - 1;
        while at < last {
            if self.p(at) == Some(b'%') {
                if self.p(at + 1).is_some_and(|class| in_class(byte, class)) {
                    return !negated;
                }
                at += 2;
            } else if self.p(at + 1) == Some(b'-') && at + 2 < last {
                if self.p(at).is_some_and(|low| low <= byte)
                    && self.p(at + 2).is_some_and(|high| byte <= high)
                {
                    return !negated;
                }
                at += 3;
            } else {
                if self.p(at) == Some(byte) {
                    return !negated;
                }
                at += 1;
            }
        }
        negated
    }

    fn balance(&mut self, s: usize, p: usize) -> Outcome {
        let (Some(open), Some(close)) = (self.p(p), self.p(p + 1)) else {
            return Err(Stop::Malformed("unbalanced pattern"));
        };
        if self.subject.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for at in s + 1..self.subject.len() {
            self.step()?;
            match self.subject.get(at) {
                Some(byte) if *byte == close => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(Some(at + 1));
                    }
                }
                Some(byte) if *byte == open => depth += 1,
                _ => {}
            }
        }
        Ok(None)
    }

    fn frontier(&self, s: usize, p: usize) -> Outcome {
        if self.p(p) != Some(b'[') {
            return Err(Stop::Malformed("missing '[' after '%f' in pattern"));
        }
        let end = self.item_end(p)?;
        let before = s.checked_sub(1).and_then(|at| self.subject.get(at)).copied().unwrap_or(0);
        let here = self.subject.get(s).copied().unwrap_or(0);
        Ok((!self.in_set(before, p, end) && self.in_set(here, p, end)).then_some(end))
    }

    fn back_reference(&self, s: usize, p: usize) -> Outcome {
        let number = usize::from(self.p(p).unwrap_or(b'0') - b'0');
        let capture = number.checked_sub(1).and_then(|at| self.captures.get(at));
        let Some(Capture::Range(start, end)) = capture else {
            return Err(Stop::Malformed("invalid capture index"));
        };
        let text = self.subject.get(*start..*end).unwrap_or_default();
        let rest = self.subject.get(s..).unwrap_or_default();
        Ok(rest.starts_with(text).then_some(s + text.len()))
    }
}

/// A character class of the C locale.
fn in_class(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0B,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(subject: &str, pattern: &str) -> Option<(usize, usize)> {
        let mut matcher = Matcher::new(subject.as_bytes(), pattern.as_bytes(), 1_000_000);
        let mut starts = 0..=subject.len();
        starts.find_map(|at| matcher.match_at(at).expect("it is well formed").map(|end| (at, end)))
    }

    /// As Lua's manual describes each item.
    #[test]
    fn as_lua_matches() {
        for (subject, pattern, expected) in [
            ("hello world", "wor", Some((6, 9))),
            ("key=value", "(%w+)=(%w+)", Some((0, 9))),
            ("abc123", "%d+", Some((3, 6))),
            ("[[x]]", "%[%[.-%]%]", Some((0, 5))),
            ("f(a(b)c)d", "%b()", Some((1, 8))),
            ("THE (quick) fox", "%f[%a]%a+%f[%A]", Some((0, 3))),
            ("aXXa", "(a)X*%1", Some((0, 4))),
            ("x-y", "[%w-]+", Some((0, 3))),
            ("abc", "^b", None),
            ("ab]", "[]]", Some((2, 3))),
            ("abc", "c$", Some((2, 3))),
        ] {
            let pattern = pattern
                .strip_prefix('^')
                .map_or_else(|| pattern.to_owned(), |p| format!("\u{1}{p}"));
            assert_eq!(find(subject, &pattern), expected, "{subject} {pattern}");
        }
    }

    /// The pattern that keeps the stock matcher busy for minutes ends by its budget.
    #[test]
    fn hostile_patterns_are_stopped() {
        let (subject, pattern) = ("a".repeat(30), "a?".repeat(30) + &"a".repeat(30));
        let hard = pattern + "b";
        let mut matcher = Matcher::new(subject.as_bytes(), hard.as_bytes(), 100_000);
        assert_eq!(matcher.match_at(0), Err(Stop::Budget));
    }
}
