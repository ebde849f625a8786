//! Planted bugs of clients: locks and limiters that are used in a wrong way.

use super::{Entry, Planted};

pub(super) const RELEASE_WITHOUT_TOKEN: Entry = Entry::new(
    "release-without-token",
    Planted::UncheckedRelease,
    "a lock is released without a look at the token",
    &["lock-token"],
)
.within(50)
.alone();
pub(super) const LOCK_OVERWRITTEN: Entry = Entry::new(
    "lock-overwritten",
    Planted::LockOverwritten,
    "a lock is taken whoever has it, by SET without NX",
    &["lock-exclusion"],
)
.within(50)
.alone();
pub(super) const OTHER_TOKEN_PROLONGS: Entry = Entry::new(
    "other-token-prolongs",
    Planted::OtherTokenProlongs,
    "a lock is prolonged with another token than it was taken with",
    &["lock-kept"],
)
.within(50)
.alone();
pub(super) const LIMITER_IN_PIECES: Entry = Entry::new(
    "limiter-in-pieces",
    Planted::LimiterInPieces,
    "a limiter's window gets its end by a request of its own, which may not come",
    &["limiter-stuck"],
)
.within(50)
.alone();
pub(super) const LIMITER_LOOKS_FIRST: Entry = Entry::new(
    "limiter-looks-first",
    Planted::LimiterLooksFirst,
    "a place in a limiter's window is taken from a look before the count",
    &["limiter-window"],
)
.within(50)
.alone();
