//! Stamps: the leader-made time and seed that an entry carries. The core has no other clock and no other
//! source of randomness. Stamp times never run backwards along the log.

/// Milliseconds since the Unix epoch, in *log time* (see ARCHITECTURE.md, "Log clock").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This instant plus `millis` milliseconds, saturating.
    #[must_use]
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// Time and seed of one entry, drawn by the leader when it proposed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// Log time of the entry.
    pub time: UnixMillis,
    /// Seed of the entry's pseudo-random numbers.
    pub seed: u64,
}
