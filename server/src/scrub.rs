//! Reads the state again, a little at a time, and ends the node where memory does not hold what was written to it (`core::scrub`).
//!
//! It costs some 100 us of the event loop every 50 ms: 100 MB of keys are read in two minutes. The disk needs nothing of the kind to be
//! trusted: a snapshot is only finished if what it holds is what memory had to hold.

use std::time::Duration;

use steadfast_core::mark::{self, Mark};
use steadfast_core::scrub::Decay;
use steadfast_replication::ports::Clock;

use crate::shell::Shell;

/// Bytes read at a time, and how often.
const STEP_BYTES: usize = 64 << 10;
const STEP_EVERY: Duration = Duration::from_millis(50);
/// Rest after a round.
const ROUND_EVERY: Duration = Duration::from_secs(10);

impl<C: Clock> Shell<C> {
    /// One step, if it is time.
    pub(crate) fn scrub(&mut self, now: Duration) {
        if now < self.scrub_from {
            return;
        }
        match self.machine.step_scrub(STEP_BYTES) {
            Ok(is_round) => {
                if is_round {
                    mark::reached(Mark::StateScrubbed);
                    self.figures.scrub_rounds += 1;
                }
                self.scrub_from = now + if is_round { ROUND_EVERY } else { STEP_EVERY };
            }
            Err(decay) => self.decayed(decay),
        }
    }

    /// Nothing is read any more that may be wrong.
    pub(crate) fn decayed(&mut self, decay: Decay) {
        self.stop(Err(format!(
            "{decay}: the memory of this machine has failed, or this is a bug. The log and the newest snapshot on disk are as they were \
             written, and hold all that was acknowledged: test the memory of this machine, then start this node again."
        )));
    }
}
