//! The expiry options that commands share, made absolute by the stamp. Seconds and milliseconds that overflow are refused.

use alloc::format;

use super::args::Args;
use crate::access::Expiry;
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

/// What SET and GETEX are told about the deadline. An option may come again, and the last number counts; two different ones
/// contradict each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lifetime<'a> {
    /// Nothing.
    Unsaid,
    /// The word without a number: KEEPTTL of SET, PERSIST of GETEX.
    Word,
    /// An option and its number, not looked at yet: Redis reads all words before it judges numbers.
    Until(ExpiryOption, &'a [u8]),
}

impl<'a> Lifetime<'a> {
    /// Eats `word`, or an option with its number.
    ///
    /// # Errors
    /// The next word is neither, lacks its number, or contradicts what was said.
    pub(super) fn eat(&mut self, args: &mut Args<'a>, word: &str) -> Result<()> {
        *self = match *self {
            Self::Unsaid | Self::Word if args.eat(word) => Self::Word,
            Self::Word => return Err(ReplyError::SYNTAX),
            said => {
                let option = ExpiryOption::eat(args).ok_or(ReplyError::SYNTAX)?;
                if matches!(said, Self::Until(other, _) if other != option) {
                    return Err(ReplyError::SYNTAX);
                }
                Self::Until(option, args.bytes()?)
            }
        };
        Ok(())
    }

    /// What it makes of a key's deadline; `word` is what the word without a number does, `otherwise` what silence does.
    pub(super) fn expiry(
        self,
        now: UnixMillis,
        command: &str,
        word: Expiry,
        otherwise: Expiry,
    ) -> Result<Expiry> {
        Ok(match self {
            Self::Unsaid => otherwise,
            Self::Word => word,
            Self::Until(option, number) => Expiry::At(deadline(now, option, number, command)?),
        })
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
