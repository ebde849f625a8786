//! Planted bugs of publish and subscribe.

use steadfast_core::canary::Canary;

use super::{Entry, Planted};

/// Delivery leaves some out.
pub(super) const SKIPPED: Entry = Entry::new(
    "message-skipped",
    Planted::Inside(Canary::MessageSkipped),
    "messages of some entries are not delivered",
    &["messages"],
)
.found_in("listeners", 20)
.alone();
/// Delivery repeats some.
pub(super) const TWICE: Entry = Entry::new(
    "message-twice",
    Planted::Inside(Canary::MessageTwice),
    "messages of some entries are delivered twice",
    &["messages", "protocol"],
)
.found_in("listeners", 20);
/// A count is wrong.
pub(super) const PATTERNS_UNCOUNTED: Entry = Entry::new(
    "patterns-uncounted",
    Planted::Inside(Canary::PatternsUncounted),
    "PUBLISH does not count those who are subscribed by a pattern",
    &["replies"],
)
.found_in("listeners", 20)
.alone();
/// What must end with an incarnation does not.
pub(super) const SUBSCRIPTIONS_OUTLIVE: Entry = Entry::new(
    "subscriptions-outlive",
    Planted::Inside(Canary::SubscriptionsOutlive),
    "subscriptions of a node stay when its next incarnation registers",
    &["replies", "messages", "protocol"],
)
.found_in("listeners", 50);
