//! The pattern language of KEYS and SCAN, byte by byte, as Redis's `stringmatchlen` reads it. Linear space, and time bounded by
//! pattern × subject: only the last star is ever gone back to.

/// Whether `subject` matches `pattern`.
pub fn matches(pattern: &[u8], subject: &[u8]) -> bool {
    if subject.is_empty() {
        // Redis's loop over a pattern ends before it begins, except for the pattern that it does not look at.
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut p, mut s) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, s));
            p += 1;
            continue;
        }
        if s == subject.len() && p == pattern.len() {
            return true;
        }
        let step = subject.get(s).and_then(|byte| one(pattern.get(p..)?, *byte));
        if let Some(used) = step {
            (p, s) = (p + used, s + 1);
            continue;
        }
        match star {
            Some((after, at)) if at < subject.len() => {
                star = Some((after, at + 1));
                (p, s) = (after, at + 1);
            }
            _ => return false,
        }
    }
}

/// Whether one byte matches the head of a pattern; answers how long that head is.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => class(rest, byte).map(|used| used + 1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [plain, ..] => (*plain == byte).then_some(1),
    }
}

/// A class, behind its bracket; one that is not closed ends with the pattern.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match pattern.get(at..).unwrap_or_default() {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [one, b'-', other, ..] => {
                let (low, high) = (one.min(other), one.max(other));
                found |= (low..=high).contains(&&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= *plain == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of Redis's own documentation, and its corners.
    #[test]
    fn as_redis_matches() {
        for (pattern, subject, expected) in [
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h*llo", "hllo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h\\[llo", "h[llo", true),
            ("[a\\]b]", "]", true),
            ("[abc", "c", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("\\", "\\", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), subject.as_bytes()),
                expected,
                "{pattern} {subject}"
            );
        }
    }

    /// A pattern made to explode ends at once.
    #[test]
    fn hostile_patterns_end() {
        let subject = [b'a'; 5000];
        assert!(matches(&b"a*".repeat(40), &subject));
        assert!(!matches(&[&b"a*".repeat(40)[..], b"b"].concat(), &subject));
    }
}
