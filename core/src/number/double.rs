//! Doubles, as Redis reads and writes them: scores, and what is computed from them.

use alloc::format;
use alloc::string::String;

/// Integers of this size and below are written as integers.
const INTEGER_MAX: f64 = 4_503_599_627_370_495.0;
/// Significant digits that are written of a number in exponent form.
const EXPONENT_DIGITS_MAX: usize = 18;

/// A double as C's `strtod` reads one, with Redis's restrictions: the whole text, no blanks in front, no NaN, nothing that is too
/// large or too small. Infinity is fine.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let text = core::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(digits) = hex_digits(unsigned) {
        let (value, vanished) = parse_hex(digits)?;
        let value = if text.starts_with('-') { -value } else { value };
        return (value.is_finite() && !vanished).then_some(value);
    }
    let is_number = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let value: f64 = text.parse().ok().filter(|value: &f64| !value.is_nan())?;
    let mantissa = unsigned.split(['e', 'E']).next().unwrap_or_default();
    let vanished = value == 0.0 && mantissa.contains(|digit| matches!(digit, '1'..='9'));
    (!is_number || (value.is_finite() && !vanished)).then_some(value)
}

/// The same as Redis reads the bounds of ranges of scores, which is what `strtod` reads to its end: up to a NUL, blanks in front
/// are fine, nothing at all is zero, and what is too large or too small for a double is infinite or zero.
pub fn parse_double_loosely(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let is_blank = |byte: char| byte == ' ' || ('\t'..='\r').contains(&byte);
    let text = core::str::from_utf8(text).ok()?.trim_start_matches(is_blank);
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(digits) = hex_digits(unsigned) {
        let (value, _) = parse_hex(digits)?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    text.parse().ok().filter(|value: &f64| !value.is_nan())
}

fn hex_digits(unsigned: &str) -> Option<&str> {
    unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"))
}

/// Hexadecimal digits with an optional point and a binary exponent; and whether they say more than zero, and come to that.
fn parse_hex(text: &str) -> Option<(f64, bool)> {
    let (digits, exponent) = match text.split_once(['p', 'P']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // 60 bits are exact; of those behind, it only matters for rounding whether there is one.
    let (mut mantissa, mut scale) = (0_u64, exponent);
    for (at, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        scale = scale.checked_sub(if at < whole.len() { 0 } else { 4 })?;
        if mantissa >> 60 == 0 {
            mantissa = (mantissa << 4) | digit;
        } else {
            mantissa |= u64::from(digit != 0);
            scale = scale.checked_add(4)?;
        }
    }
    let mut value = mantissa as f64;
    let step = if scale < 0 { 0.5 } else { 2.0 };
    for _ in 0..scale.unsigned_abs().min(2400) {
        value *= step;
    }
    Some((value, value == 0.0 && mantissa != 0))
}

/// A double as Redis 7.2 and later write it: the fewest digits that read back as the same one.
pub fn print_double(value: f64) -> String {
    if value.is_nan() {
        return String::from("nan");
    }
    if value.is_infinite() {
        return String::from(if value > 0.0 { "inf" } else { "-inf" });
    }
    if value == 0.0 {
        return String::from(if value.is_sign_negative() { "-0" } else { "0" });
    }
    if (-INTEGER_MAX..=INTEGER_MAX).contains(&value)
        && value.to_bits() == (value as i64 as f64).to_bits()
    {
        return format!("{}", value as i64);
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let count = digits.len() as i32;
    let shift = exponent + 1 - count; // the digits times ten to this
    if shift >= 0 && exponent.abs() < count + 7 {
        return format!("{sign}{digits}{}", "0".repeat(shift as usize));
    }
    if shift < 0 && (shift > -7 || exponent.abs() < 4) {
        let point = count + shift;
        return if point <= 0 {
            format!("{sign}0.{}{digits}", "0".repeat(-point as usize))
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            format!("{sign}{whole}.{fraction}")
        };
    }
    let digits = &digits[..digits.len().min(EXPONENT_DIGITS_MAX - sign.len())];
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let mark = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{mark}{}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn doubles_are_read_as_by_redis() {
        for (text, value) in [
            ("1", Some(1.0)),
            ("-1.5", Some(-1.5)),
            ("+3", Some(3.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("0x10", Some(16.0)),
            ("-0X1.8p1", Some(-3.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("0e999999", Some(0.0)),
            ("4.9e-324", Some(5e-324)),
            ("1e-400", None),
            ("1e400", None),
            ("nan", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("0x", None),
            ("0xg", None),
            ("0x1p99999", None),
            ("--1", None),
        ] {
            assert_eq!(parse_double(text.as_bytes()), value, "{text:?}");
        }
        assert_eq!(parse_double(b"0x1fffffffffffff8"), Some(144_115_188_075_855_872.0));
    }

    #[test]
    fn bounds_are_read_as_by_strtod() {
        for (text, value) in [
            ("", Some(0.0)),
            ("\0", Some(0.0)),
            ("1\0x", Some(1.0)),
            (" \t\x0b1.5", Some(1.5)),
            ("-1e400", Some(f64::NEG_INFINITY)),
            ("1e-400", Some(0.0)),
            ("0x1p99999", Some(f64::INFINITY)),
            ("-0x1p-99999", Some(0.0)),
            ("+inf", Some(f64::INFINITY)),
            ("-INFINITY", Some(f64::NEG_INFINITY)),
            (" ", None),
            ("1 ", None),
            ("nan", None),
            ("x", None),
            ("--1", None),
            ("(1", None),
        ] {
            assert_eq!(parse_double_loosely(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_written_as_by_redis() {
        for (value, text) in [
            (3.0, "3"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (-0.0, "-0"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (12_345_678_901_234_567_890.0, "12345678901234567000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.001, "0.001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(print_double(value), text);
        }
        let mut rng = Rng::seeded(1);
        for _ in 0..20_000 {
            let value = f64::from_bits(rng.next());
            if !value.is_nan() {
                assert_eq!(parse_double(print_double(value).as_bytes()), Some(value));
            }
        }
    }
}
