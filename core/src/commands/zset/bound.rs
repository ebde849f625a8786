//! Ranges of a sorted set: by index, by score, or by member where all scores are one. Every range is one of ranks.

use core::ops;

use crate::collections::Zset;
use crate::error::{ReplyError, Result};
use crate::number::{parse_double_loosely, parse_int};

/// How a range is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Index,
    Score,
    Member,
}

/// A range that has been read.
pub(super) enum Range<'a> {
    /// Both ends are part of it; negative ones count from the end.
    Indexes {
        start: i64,
        stop: i64,
    },
    Scores {
        min: ScoreBound,
        max: ScoreBound,
    },
    Members {
        min: MemberBound<'a>,
        max: MemberBound<'a>,
    },
}

/// `(1` is exclusive.
pub(super) struct ScoreBound {
    score: f64,
    is_exclusive: bool,
}

/// `-`, `+`, `[member` or `(member`.
pub(super) enum MemberBound<'a> {
    Lowest,
    Highest,
    At { member: &'a [u8], is_exclusive: bool },
}

impl ScoreBound {
    fn parse(word: &[u8]) -> Option<Self> {
        let (is_exclusive, number) = match word {
            [b'(', rest @ ..] => (true, rest),
            _ => (false, word),
        };
        parse_double_loosely(number).map(|score| Self { score, is_exclusive })
    }
}

impl<'a> MemberBound<'a> {
    fn parse(word: &'a [u8]) -> Option<Self> {
        match word {
            [b'-'] | [b'-', 0, ..] => Some(Self::Lowest),
            [b'+'] | [b'+', 0, ..] => Some(Self::Highest),
            [b'[', member @ ..] => Some(Self::At { member, is_exclusive: false }),
            [b'(', member @ ..] => Some(Self::At { member, is_exclusive: true }),
            _ => None,
        }
    }

    /// How many members are below it; as an upper bound, how many it does not shut out.
    fn rank(&self, zset: &Zset, is_upper: bool) -> usize {
        match self {
            Self::Lowest => 0,
            Self::Highest => zset.len(),
            Self::At { member, is_exclusive } => {
                zset.count_lex_below(member, *is_exclusive != is_upper)
            }
        }
    }
}

impl<'a> Range<'a> {
    /// Reads the two ends of a range, the lower one first.
    pub(super) fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self> {
        match by {
            By::Index => {
                let index = |word| parse_int(word).ok_or(ReplyError::NOT_AN_INTEGER);
                Ok(Self::Indexes { start: index(min)?, stop: index(max)? })
            }
            By::Score => {
                let bounds = ScoreBound::parse(min).zip(ScoreBound::parse(max));
                let (min, max) =
                    bounds.ok_or(ReplyError::fixed("ERR min or max is not a float"))?;
                Ok(Self::Scores { min, max })
            }
            By::Member => {
                let bounds = MemberBound::parse(min).zip(MemberBound::parse(max));
                let refused = ReplyError::fixed("ERR min or max not valid string range item");
                let (min, max) = bounds.ok_or(refused)?;
                Ok(Self::Members { min, max })
            }
        }
    }

    /// The ranks that lie in it. Indexes count from the highest member on if `is_reverse`.
    pub(super) fn ranks(&self, zset: &Zset, is_reverse: bool) -> ops::Range<usize> {
        let length = zset.len();
        let ranks = match self {
            Self::Indexes { start, stop } => {
                let counted = |index: i64| if index < 0 { length as i64 + index } else { index };
                let from = counted(*start).max(0).min(length as i64) as usize;
                let to = counted(*stop).saturating_add(1).clamp(0, length as i64) as usize;
                if is_reverse { length - to..length - from } else { from..to }
            }
            Self::Scores { min, max } => {
                zset.count_below(min.score, min.is_exclusive)
                    ..zset.count_below(max.score, !max.is_exclusive)
            }
            Self::Members { min, max } => min.rank(zset, false)..max.rank(zset, true),
        };
        if ranks.start < ranks.end { ranks } else { 0..0 }
    }
}
