//! Planted bugs of those who wait for elements of queues.

use steadfast_core::canary::Canary;

use super::{Entry, Planted};

/// The one that came last is served first.
pub(super) const LAST_IN_FIRST_OUT: Entry = Entry::new(
    "waiters-last-in-first-out",
    Planted::Inside(Canary::WaitersLastInFirstOut),
    "of several clients that wait for a key, the last one is served first",
    &["replies", "durability", "final-state"],
)
.alone();

/// Clients of a node that begins anew go on waiting.
pub(super) const GHOSTS: Entry = Entry::new(
    "ghost-waiters",
    Planted::Inside(Canary::GhostWaiters),
    "what a client waited for goes on being waited for when its node begins anew",
    &["replies", "durability", "final-state"],
)
.alone();

/// They are not in snapshots.
pub(super) const LEFT_OUT_OF_SNAPSHOTS: Entry = Entry::new(
    "snapshot-lacks-waiters",
    Planted::Inside(Canary::SnapshotLacksWaiters),
    "a snapshot leaves out who waits for a key",
    &["equal-state", "replies", "final-state", "progress"],
)
.found_in("snapshot-churn", 60);
