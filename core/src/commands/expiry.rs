//! The expiry options that commands share, made absolute by the stamp. Seconds and milliseconds that overflow are refused.

use alloc::format;

use super::args::Args;
use crate::error::{ReplyError, Result};
use crate::number::parse_int;
use crate::stamp::UnixMillis;

/// EX, PX, EXAT, PXAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ExpiryOption {
    Ex,
    Px,
    ExAt,
    PxAt,
}

impl ExpiryOption {
    /// Eats an option's name.
    pub(super) fn eat(args: &mut Args<'_>) -> Option<Self> {
        let options =
            [("EX", Self::Ex), ("PX", Self::Px), ("EXAT", Self::ExAt), ("PXAT", Self::PxAt)];
        options.into_iter().find(|(word, _)| args.eat(word)).map(|(_, option)| option)
    }
}

/// The deadline that an option and its number name; it must be positive.
pub(super) fn deadline(
    now: UnixMillis,
    option: ExpiryOption,
    number: &[u8],
    command: &str,
) -> Result<UnixMillis> {
    let value = parse_int(number).ok_or(ReplyError::NOT_AN_INTEGER)?;
    if value <= 0 {
        return Err(invalid(command));
    }
    deadline_or_past(now, option, number, command)
}

/// The same for the EXPIRE family, where a time in the past deletes.
pub(super) fn deadline_or_past(
    now: UnixMillis,
    option: ExpiryOption,
    number: &[u8],
    command: &str,
) -> Result<UnixMillis> {
    let value = parse_int(number).ok_or(ReplyError::NOT_AN_INTEGER)?;
    let millis = match option {
        ExpiryOption::Ex | ExpiryOption::ExAt => value.checked_mul(1000),
        ExpiryOption::Px | ExpiryOption::PxAt => Some(value),
    };
    let at = match option {
        ExpiryOption::Ex | ExpiryOption::Px => millis.and_then(|ms| ms.checked_add(now.0 as i64)),
        ExpiryOption::ExAt | ExpiryOption::PxAt => millis,
    };
    let at = at.ok_or_else(|| invalid(command))?;
    Ok(UnixMillis(u64::try_from(at).unwrap_or(0)))
}

fn invalid(command: &str) -> ReplyError {
    ReplyError::made(format!("ERR invalid expire time in '{command}' command"))
}
