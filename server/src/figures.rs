//! Counters of this node, for INFO. Not part of the state.

use std::time::Duration;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) started: Duration,
    /// The same on the wall clock, in milliseconds.
    pub(crate) started_ms: u64,
    pub(crate) connections_received: u64,
    pub(crate) connections_rejected: u64,
    pub(crate) commands_received: u64,
    /// The longest that a snapshot held up the event loop at a time.
    pub(crate) snapshot_step_max: Duration,
    /// Times that the whole state was read again.
    pub(crate) scrub_rounds: u64,
    seed: u64,
}

impl Figures {
    pub(crate) const fn new(started: Duration, started_ms: u64) -> Self {
        Self {
            started,
            started_ms,
            snapshot_step_max: Duration::ZERO,
            connections_received: 0,
            connections_rejected: 0,
            commands_received: 0,
            scrub_rounds: 0,
            seed: 0,
        }
    }

    pub(crate) const fn command_received(&mut self) {
        self.commands_received += 1;
    }

    /// Another seed for each read that makes a random choice.
    pub(crate) const fn read_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.seed
    }
}
