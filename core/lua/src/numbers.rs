//! Numbers as C prints and reads them: `%.17g` and `strtod`, without the C library, so that every platform agrees.

/// As `printf("%.{precision}g")`.
pub(crate) fn print_general(value: f64, precision: usize) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if !value.is_finite() {
        let sign = if value.is_sign_negative() { "-" } else { "" };
        return format!("{sign}{}", if value.is_nan() { "nan" } else { "inf" });
    }
    // Most numbers are short integers, which need no search for their digits.
    if value.fract() == 0.0 && value.abs() < 10_f64.powi(precision.min(15) as i32) {
        return (value as i64).to_string();
    }
    let text = format!("{value:.*e}", precision - 1);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        let trimmed = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            text
        };
        trimmed.to_owned()
    };
    let precision = precision as i32;
    if (-4..precision).contains(&exponent) {
        trim(&format!("{value:.*}", usize::try_from(precision - 1 - exponent).unwrap_or(0)))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(digits), exponent.abs())
    }
}

/// Equal as C compares numbers, exactly.
pub(crate) fn is_equal(one: f64, other: f64) -> bool {
    one.partial_cmp(&other) == Some(std::cmp::Ordering::Equal)
}

/// The number at the start of a text, and the bytes that it takes: decimal, hexadecimal, `inf` or `nan`.
pub(crate) fn read_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let rest = text.get(sign..)?;
    let (value, length) = named(rest).or_else(|| hexadecimal(rest)).or_else(|| decimal(rest))?;
    let value = if text.first() == Some(&b'-') { -value } else { value };
    Some((value, sign + length))
}

fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn named(text: &[u8]) -> Option<(f64, usize)> {
    if starts_with(text, b"infinity") {
        return Some((f64::INFINITY, 8));
    }
    if starts_with(text, b"inf") {
        return Some((f64::INFINITY, 3));
    }
    if !starts_with(text, b"nan") {
        return None;
    }
    let inside = text.get(3..).and_then(|rest| rest.strip_prefix(b"("));
    let length = inside.and_then(|inside| {
        let end = inside.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')?;
        (inside.get(end) == Some(&b')')).then_some(3 + 1 + end + 1)
    });
    Some((f64::NAN, length.unwrap_or(3)))
}

fn digits(text: &[u8], from: usize) -> usize {
    text.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count()
}

/// The bytes of an exponent that begins with this letter at `at`, and its value.
fn exponent(text: &[u8], at: usize, letter: u8) -> (usize, i32) {
    if !text.get(at).is_some_and(|byte| byte.eq_ignore_ascii_case(&letter)) {
        return (0, 0);
    }
    let sign = usize::from(matches!(text.get(at + 1), Some(b'-' | b'+')));
    let count = digits(text, at + 1 + sign);
    if count == 0 {
        return (0, 0);
    }
    let value = text.iter().skip(at + 1 + sign).take(count).fold(0_i32, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i32::from(digit - b'0')).min(100_000)
    });
    (1 + sign + count, if text.get(at + 1) == Some(&b'-') { -value } else { value })
}

fn decimal(text: &[u8]) -> Option<(f64, usize)> {
    let whole = digits(text, 0);
    let mut length = whole;
    if text.get(whole) == Some(&b'.') {
        let behind = digits(text, whole + 1);
        if whole + behind > 0 {
            length += 1 + behind;
        }
    }
    if length == 0 {
        return None;
    }
    length += exponent(text, length, b'e').0;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    Some((text.parse().ok()?, length))
}

fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    if !starts_with(text, b"0x") {
        return None;
    }
    let (mut mantissa, mut scale, mut seen, mut point) = (0_u64, 0_i32, 0_usize, false);
    let mut at = 2;
    while let Some(&byte) = text.get(at) {
        match char::from(byte).to_digit(16) {
            Some(digit) if mantissa >> 59 == 0 => {
                mantissa = (mantissa << 4) | u64::from(digit);
                scale = scale.saturating_sub(if point { 4 } else { 0 });
                seen += 1;
            }
            Some(digit) => {
                // What is cut off only says whether it was nothing.
                mantissa |= u64::from(digit != 0);
                scale = scale.saturating_add(if point { 0 } else { 4 });
                seen += 1;
            }
            None if byte == b'.' && !point => point = true,
            None => break,
        }
        at += 1;
    }
    if seen == 0 {
        return None; // The zero alone is a decimal number.
    }
    let (length, power) = exponent(text, at, b'p');
    Some((scaled(mantissa as f64, scale.saturating_add(power)), at + length))
}

/// `value` · 2^`power`.
fn scaled(mut value: f64, mut power: i32) -> f64 {
    power = power.clamp(-3000, 3000);
    while power != 0 && value != 0.0 && value.is_finite() {
        let step = power.clamp(-1000, 1000);
        value *= f64::from_bits(((1023 + step) as u64) << 52);
        power -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `%.17g` and `%.14g` print.
    #[test]
    fn numbers_as_printf() {
        for (value, text) in [
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (1e20, "1e+20"),
            (0.0, "0"),
            (-0.0, "-0"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (9_223_372_036_854_775_808.0, "9.2233720368547758e+18"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.000_01, "1.0000000000000001e-05"),
            (1e-7, "9.9999999999999995e-08"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(print_general(value, 17), text);
        }
        for (value, text) in [(0.1, "0.1"), (1e14, "1e+14"), (1.0 / 3.0, "0.33333333333333")] {
            assert_eq!(print_general(value, 14), text);
        }
        assert_eq!(print_general(99.0, 1), "1e+02");
    }

    /// As `strtod` reads.
    #[test]
    fn numbers_as_strtod() {
        for (text, value, length) in [
            ("1", 1.0, 1),
            ("-1.5e3x", -1500.0, 6),
            ("1.", 1.0, 2),
            (".5", 0.5, 2),
            ("1e", 1.0, 1),
            ("1e+", 1.0, 1),
            ("0x10", 16.0, 4),
            ("0x1.8p1", 3.0, 7),
            ("0x", 0.0, 1),
            ("-Infinity", f64::NEG_INFINITY, 9),
            ("inf!", f64::INFINITY, 3),
            ("1e999", f64::INFINITY, 5),
            ("0x1p-1074", 5e-324, 9),
        ] {
            assert_eq!(read_number(text.as_bytes()), Some((value, length)), "{text}");
        }
        assert_eq!(
            read_number(b"nan(1x)").map(|(value, length)| (value.is_nan(), length)),
            Some((true, 7))
        );
        for text in ["", "-", ".", "x", "e5"] {
            assert_eq!(read_number(text.as_bytes()), None, "{text}");
        }
    }
}
