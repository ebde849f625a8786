//! Redis's strict numbers: what parses, and how it prints. Platform-free, so that every replica agrees.

mod double;
mod extended;

use alloc::vec::Vec;

pub use double::{parse_double, parse_double_loosely, print_double};
pub use extended::Extended;

/// A canonical decimal 64-bit integer, as Redis's `string2ll` takes it: no spaces, no plus sign, no leading zeroes.
pub fn parse_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: i64 = 0;
    for digit in digits {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        if !(0..=9).contains(&digit) {
            return None;
        }
        value = value.checked_mul(10)?;
        value = if negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
    }
    Some(value)
}

/// Appends a decimal integer.
pub fn push_int(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        if let Some(place) = digits.get_mut(at) {
            *place = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// A decimal integer as bytes.
pub fn int_bytes(value: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    push_int(&mut out, value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exactly what Redis takes for an integer.
    #[test]
    fn integers_are_strict() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_int(text.as_bytes()), value, "{text:?}");
        }
        for value in [0, 7, -7, i64::MAX, i64::MIN] {
            assert_eq!(parse_int(&int_bytes(value)), Some(value));
        }
    }
}
