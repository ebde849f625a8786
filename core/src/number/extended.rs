//! The 80-bit floating point in which Redis computes INCRBYFLOAT (`long double` on x86-64), in integer arithmetic: parse,
//! add, print as `%.17Lf` without trailing zeroes. A significand of 64 bits, round to nearest even.

#![allow(clippy::cast_sign_loss)] // words and shift widths, checked or masked where they are cast

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Power of ten of the largest finite number.
const POWER_MAX: i64 = 4932;
/// Power of ten of the smallest number that is not zero, and the digits up to which a number of that power is zero.
const POWER_MIN: i64 = -4951;
const ZERO_UP_TO: &[u8] = b"18225997659412373012";
/// Numbers below this power of ten add nothing to what is printed.
const POWER_SEEN: i64 = -60;
/// Decimals that can decide which way a number not below that is rounded; the rest says only that there is more.
const DECIMALS_READ: usize = 200;
const BINARY_EXPONENT_MAX: i64 = 16383;
const BINARY_EXPONENT_MIN: i64 = -16445;
/// Exponent of an infinity.
const INFINITE: i64 = i64::MAX;
/// Decimals that are printed.
const DECIMALS: usize = 17;
/// Longest text of a number: Redis's buffer.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// A number: `significand * 2^exponent`, significand normalised to 64 bits unless 0. Infinities have an exponent of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extended {
    negative: bool,
    significand: u64,
    exponent: i64,
}

/// An unsigned integer of any size, least significant word first.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Big(Vec<u32>);

impl Big {
    fn from_u64(value: u64) -> Self {
        Self(vec![value as u32, (value >> 32) as u32])
    }

    fn mul_add(&mut self, factor: u32, add: u32) {
        let mut carry = u64::from(add);
        for word in &mut self.0 {
            let product = u64::from(*word) * u64::from(factor) + carry;
            *word = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn shift_left(&mut self, bits: usize) {
        let (words, bits) = (bits / 32, bits % 32);
        if bits > 0 {
            self.mul_add(1 << bits, 0);
        }
        self.0.splice(0..0, core::iter::repeat_n(0, words));
    }

    /// Divides by a small number; answers the remainder.
    fn div_small(&mut self, divisor: u32) -> u32 {
        let mut rest = 0_u64;
        for word in self.0.iter_mut().rev() {
            let value = (rest << 32) | u64::from(*word);
            *word = (value / u64::from(divisor)) as u32;
            rest = value % u64::from(divisor);
        }
        rest as u32
    }

    fn bits(&self) -> usize {
        let top = self.0.iter().rposition(|word| *word != 0);
        top.map_or(0, |at| {
            at * 32 + 32 - self.0.get(at).map_or(32, |word| word.leading_zeros()) as usize
        })
    }

    fn bit(&self, at: usize) -> bool {
        self.0.get(at / 32).is_some_and(|word| word >> (at % 32) & 1 == 1)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let longest = self.0.len().max(other.0.len());
        let word = |big: &Self, at: usize| big.0.get(at).copied().unwrap_or(0);
        (0..longest)
            .rev()
            .map(|at| word(self, at).cmp(&word(other, at)))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn subtract(&mut self, other: &Self) {
        let mut borrow = 0_i64;
        for (at, word) in self.0.iter_mut().enumerate() {
            let difference =
                i64::from(*word) - i64::from(other.0.get(at).copied().unwrap_or(0)) - borrow;
            borrow = i64::from(difference < 0);
            *word = difference as u32;
        }
    }

    /// Quotient of two numbers, bit by bit from the top; also whether a remainder is left.
    fn divide(mut self, divisor: &Self) -> (Self, bool) {
        let (own, other) = (self.bits(), divisor.bits());
        let steps = (own + 1).saturating_sub(other);
        let mut shifted = divisor.clone();
        shifted.shift_left(steps);
        let mut quotient = Self(vec![0]);
        for _ in 0..=steps {
            quotient.mul_add(2, 0);
            if self.compare(&shifted) != Ordering::Less {
                self.subtract(&shifted);
                quotient.mul_add(1, 1);
            }
            shifted.div_small(2);
        }
        (quotient, self.bits() > 0)
    }
}

impl Extended {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, significand: 0, exponent: 0 };

    /// Parses what Redis's `getLongDoubleFromObject` takes, hexadecimal numbers and infinities with it; none for anything else,
    /// for NaN, and for what is too large or too small to be told from infinity or zero.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, rest) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, bytes),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { negative, significand: 1 << 63, exponent: INFINITE });
        }
        match rest {
            [b'0', b'x' | b'X', rest @ ..] => Self::parse_hex(negative, rest),
            _ => Self::parse_decimal(negative, rest),
        }
    }

    fn parse_hex(negative: bool, text: &[u8]) -> Option<Self> {
        let text = Text::read(text, 16, b'p')?;
        let mut big = Big(vec![0]);
        text.digits.iter().for_each(|digit| big.mul_add(16, u32::from(*digit)));
        let exponent = text.exponent - 4 * text.decimals;
        let (bits, lowest) = (big.bits(), BINARY_EXPONENT_MIN - 1);
        let top = bits as i64 - 1 + exponent;
        // Half of the smallest number is rounded to zero, like what is below.
        let is_power = (0..bits.saturating_sub(1)).all(|at| !big.bit(at));
        if bits > 0 && (top < lowest || (top == lowest && is_power)) {
            return None;
        }
        Self::round(negative, &big, exponent, false)
    }

    fn parse_decimal(negative: bool, text: &[u8]) -> Option<Self> {
        let Text { mut digits, decimals, exponent } = Text::read(text, 10, b'e')?;
        let used = digits.iter().rposition(|digit| *digit != 0).map_or(0, |at| at + 1);
        let mut exponent = exponent - decimals + (digits.len() - used) as i64;
        digits.truncate(used);
        let zero = Self { negative, significand: 0, exponent: 0 };
        let power = used as i64 + exponent - 1;
        if used == 0 {
            return Some(zero);
        }
        if power < POWER_SEEN {
            let is_zero = digits.iter().map(|digit| b'0' + digit).le(ZERO_UP_TO.iter().copied());
            return (power > POWER_MIN || (power == POWER_MIN && !is_zero)).then_some(zero);
        }
        if power > POWER_MAX {
            return None;
        }
        // What stands behind the point of a number with more than 64 bits before it can't but break a tie.
        let read = if power >= 20 { 0 } else { DECIMALS_READ };
        let cut = usize::try_from(-exponent).unwrap_or(0).saturating_sub(read);
        digits.truncate(used - cut);
        exponent += cut as i64;
        let mut big = Big(vec![0]);
        digits.iter().for_each(|digit| big.mul_add(10, u32::from(*digit)));
        Self::from_decimal(negative, big, exponent, cut > 0)
    }

    fn from_decimal(negative: bool, mut digits: Big, exponent: i64, more: bool) -> Option<Self> {
        if exponent >= 0 {
            (0..exponent).for_each(|_| digits.mul_add(10, 0));
            return Self::round(negative, &digits, 0, more);
        }
        let mut divisor = Big(vec![1]);
        (0..-exponent).for_each(|_| divisor.mul_add(10, 0));
        // Enough bits that the quotient has more than 64.
        let shift = (divisor.bits() + 66).saturating_sub(digits.bits());
        digits.shift_left(shift);
        let (quotient, rest) = digits.divide(&divisor);
        Self::round(negative, &quotient, -(shift as i64), rest || more)
    }

    /// `big * 2^exponent` (and a little more, if `sticky`) to the nearest; none if it is infinite.
    fn round(negative: bool, big: &Big, exponent: i64, sticky: bool) -> Option<Self> {
        let bits = big.bits();
        let drop = bits.saturating_sub(64);
        let mut significand =
            (drop..bits).rev().fold(0_u64, |sum, at| (sum << 1) | u64::from(big.bit(at)));
        let mut exponent = exponent + drop as i64;
        if drop > 0 {
            let half = big.bit(drop - 1);
            let below = sticky || (0..drop - 1).any(|at| big.bit(at));
            if half && (below || significand & 1 == 1) {
                if let Some(rounded) = significand.checked_add(1) {
                    significand = rounded;
                } else {
                    (significand, exponent) = (1 << 63, exponent + 1);
                }
            }
        }
        if significand == 0 {
            return Some(Self { negative, significand, exponent: 0 });
        }
        let zeros = significand.leading_zeros();
        let exponent = exponent - i64::from(zeros);
        let top = exponent + 63;
        if top > BINARY_EXPONENT_MAX {
            return None;
        }
        if top < BINARY_EXPONENT_MIN {
            return Some(Self { negative, significand: 0, exponent: 0 });
        }
        Some(Self { negative, significand: significand << zeros, exponent })
    }

    /// The sum, rounded; none if it is infinite.
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.exponent == INFINITE || other.exponent == INFINITE {
            return None;
        }
        if self.significand == 0 {
            return Some(other);
        }
        if other.significand == 0 {
            return Some(self);
        }
        let (high, low) =
            if (self.exponent, self.significand) >= (other.exponent, other.significand) {
                (self, other)
            } else {
                (other, self)
            };
        // Further apart than this, the smaller one only decides which way a tie goes.
        let apart = (high.exponent - low.exponent) as usize;
        if apart > 130 {
            return Some(high);
        }
        let (mut sum, small) = (Big::from_u64(high.significand), Big::from_u64(low.significand));
        sum.shift_left(apart);
        if high.negative == low.negative {
            sum.0.push(0);
            let mut carry = 0_u64;
            for (at, word) in sum.0.iter_mut().enumerate() {
                let total =
                    u64::from(*word) + u64::from(small.0.get(at).copied().unwrap_or(0)) + carry;
                *word = total as u32;
                carry = total >> 32;
            }
        } else {
            sum.subtract(&small);
        }
        let negative = high.negative && sum.bits() > 0;
        Self::round(negative, &sum, low.exponent, false)
    }

    /// As Redis prints it: 17 decimals, rounded, without trailing zeroes; never an exponent.
    pub fn print(self) -> Vec<u8> {
        let mut scaled = Big::from_u64(self.significand);
        (0..DECIMALS).for_each(|_| scaled.mul_add(10, 0));
        if self.exponent >= 0 {
            scaled.shift_left(self.exponent as usize);
        } else {
            let mut divisor = Big(vec![1]);
            divisor.shift_left((-self.exponent) as usize);
            let mut half = divisor.clone();
            half.div_small(2);
            let whole = shift_right(&scaled, (-self.exponent) as usize);
            let mut back = whole.clone();
            back.shift_left((-self.exponent) as usize);
            let mut rest = scaled;
            rest.subtract(&back);
            scaled = whole;
            match rest.compare(&half) {
                Ordering::Greater => scaled.mul_add(1, 1),
                Ordering::Equal if scaled.bit(0) => scaled.mul_add(1, 1),
                _ => {}
            }
        }
        let mut digits = Vec::new();
        while scaled.bits() > 0 {
            digits.push(b'0' + scaled.div_small(10) as u8);
        }
        while digits.len() <= DECIMALS {
            digits.push(b'0');
        }
        digits.reverse();
        let split = digits.len() - DECIMALS;
        let decimals = digits.split_off(split);
        let used = decimals.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1);
        if used > 0 {
            digits.push(b'.');
            digits.extend_from_slice(decimals.get(..used).unwrap_or_default());
        }
        if self.negative && digits != b"0" {
            digits.insert(0, b'-');
        }
        digits
    }
}

/// The parts of a number's text.
struct Text {
    /// Values of the digits, from the first one that is not 0.
    digits: Vec<u8>,
    /// How many of them, leading zeroes counted, stand behind the point.
    decimals: i64,
    /// What the exponent says.
    exponent: i64,
}

impl Text {
    /// Reads the digits of a base, a point among them, and an exponent behind `mark`; none if anything else is there.
    fn read(text: &[u8], base: u32, mark: u8) -> Option<Self> {
        let (mantissa, exponent) = match text.iter().position(|b| b.eq_ignore_ascii_case(&mark)) {
            Some(at) => (text.get(..at)?, parse_exponent(text.get(at + 1..)?)?),
            None => (text, 0),
        };
        let (mut digits, mut seen, mut point, mut decimals) = (Vec::new(), false, false, 0_i64);
        for byte in mantissa {
            if *byte == b'.' && !point {
                point = true;
                continue;
            }
            let digit = char::from(*byte).to_digit(base)?;
            seen = true;
            decimals += i64::from(point);
            if digit > 0 || !digits.is_empty() {
                digits.push(digit as u8);
            }
        }
        seen.then_some(Self { digits, decimals, exponent })
    }
}

fn shift_right(big: &Big, bits: usize) -> Big {
    let mut words: Vec<u32> = big.0.iter().skip(bits / 32).copied().collect();
    words.push(0);
    let mut shifted = Big(words);
    shifted.div_small(1 << (bits % 32));
    shifted
}

fn parse_exponent(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    let mut value = 0_i64;
    for digit in digits {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        if !(0..=9).contains(&digit) {
            return None;
        }
        value = (value * 10 + digit).min(100_000);
    }
    (!digits.is_empty()).then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::string::String;

    fn sum(one: &str, other: &str) -> Option<String> {
        let (one, other) = (Extended::parse(one.as_bytes())?, Extended::parse(other.as_bytes())?);
        String::from_utf8(one.plus(other)?.print()).ok()
    }

    /// Sums as redis-server answers them.
    #[test]
    fn sums_of_redis() {
        for (one, other, expected) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "-5", "-2"),
            ("1", "-1", "0"),
            ("0", "1e-17", "0.00000000000000001"),
            ("3.0", "1.000000000000000005", "4.00000000000000001"),
            ("17179869184", "1", "17179869185"),
            ("1e20", "1", "100000000000000000000"),
            ("-0.5", "0.25", "-0.25"),
        ] {
            assert_eq!(sum(one, other).as_deref(), Some(expected), "{one} + {other}");
        }
    }

    /// What is no number, or too large or too small for one, is refused.
    #[test]
    fn refused() {
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1x",
            " 1",
            "nan",
            "1e5000",
            "1.2.3",
            "0x",
            "0x.",
            "0x1p",
            "0xg",
            "0x1p16384",
            "0x1p-16446",
            "1e-4951",
            "1.822e-4951",
            "1e-99999999999999999999",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
        for text in
            ["1.823e-4951", "0x1.1p-16446", "0e99999999999999999999", "0x0p-99999", "1e4932"]
        {
            assert!(Extended::parse(text.as_bytes()).is_some(), "{text}");
        }
        assert_eq!(Extended::parse(b"1e4932").and_then(|x| x.plus(x)), None, "an infinite sum");
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1", "-Infinity"), None);
    }

    /// Digits far behind the point break ties, and only those.
    #[test]
    fn long_numbers() {
        let long =
            |head: &str, zeroes: usize, tail: &str| head.to_owned() + &"0".repeat(zeroes) + tail;
        let tie = "36893488147419103234"; // 2^65 + 2, half way between two numbers of 64 bits
        assert_eq!(sum(tie, "0").as_deref(), Some("36893488147419103232"));
        let more = sum(&long("36893488147419103234.", 2000, "1"), "0");
        assert_eq!(more.as_deref(), Some("36893488147419103236"));
        assert_eq!(sum(&long("0.5", 4000, "1"), "0").as_deref(), Some("0.5"));
        assert_eq!(sum(&long("0.", 4900, "1"), "2").as_deref(), Some("2"));
        assert_eq!(sum(&long("0.", 5000, "1"), "2"), None);
        assert_eq!(sum(&long("1", 4932, ""), "-1").map(|text| text.len()), Some(4933));
        assert_eq!(sum(&long("1", 4933, ""), "0"), None);
    }
}
