//! The planted bugs, each with the checks that must find it and the seeds they may take. `canary run` switches one on after the
//! other; one that is not found fails the run: then a check has lost its teeth.

use steadfast_core::canary::{self, Canary};

mod clients;
mod judges;
mod list;
mod messages;
mod queues;

pub use judges::{JUDGES, Judge};
pub use list::ALL;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// One inside the product.
    Inside(Canary),
    /// The disks of all nodes say that they synced, and did not.
    SyncLies,
    /// Clients release the lock without a look at the token.
    UncheckedRelease,
    /// Clients take the lock whoever has it.
    LockOverwritten,
    /// Clients prolong the lock with another token than they took it with.
    OtherTokenProlongs,
    /// Clients count a request of a limiter and set its window's end in two requests.
    LimiterInPieces,
    /// Clients take their place in a limiter's window from a look before they count.
    LimiterLooksFirst,
    /// Clients send the last whole request of a pipeline again before they hang up.
    RequestTwice,
    /// Clients move money by two single writes.
    TransferInPieces,
    /// The witness sees nothing, and the nodes read without a ReadIndex.
    BlindToStaleReads,
    /// The witness sees nothing, and transactions go into the log in pieces.
    BlindToPieces,
    /// The first node's wall clock is a second ahead of the others.
    ClockAhead,
    /// A judge takes what was left open for not applied.
    UnknownAsRefused,
    /// The tasks of connections panic after some reads.
    TaskPanics,
    /// The first node's clock has a little of the machine's own time in it.
    MachineTime,
    /// Faults are counted, and do nothing.
    IdleInjector,
}

/// What is known of a planted bug.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// The bug.
    pub planted: Planted,
    /// What is wrong, for people.
    pub story: &'static str,
    /// Checks of which one must find it.
    pub found_by: &'static [&'static str],
    /// Seeds within which one of them must.
    pub budget: u64,
    /// It is there to show that one of these checks is needed: only a run counts in which no other finds anything.
    pub alone: bool,
    /// Where it shows: plain seeds, or a scenario that is made for it.
    pub scenario: &'static str,
}

/// Seeds within which a planted bug must be found, if its entry says nothing else.
const BUDGET: u64 = 200;
/// What stands among the checks for two runs of one plan that differ (`tool/diff.rs`).
pub const TWINS: &str = "twins";
/// What stands among the checks for a sweep that proves too little (`tool/run.rs`).
pub const COVERAGE: &str = "coverage";
/// Where plain seeds are enough.
pub const SWARM: &str = "swarm";

impl Entry {
    const fn new(
        name: &'static str,
        planted: Planted,
        story: &'static str,
        found_by: &'static [&'static str],
    ) -> Self {
        Self { name, planted, story, found_by, budget: BUDGET, alone: false, scenario: SWARM }
    }

    const fn within(self, budget: u64) -> Self {
        Self { budget, ..self }
    }

    const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    const fn found_in(self, scenario: &'static str, budget: u64) -> Self {
        Self { budget, scenario, ..self }
    }
}

/// The one of that name.
pub fn named(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}

/// Whether this build holds the bugs inside the product.
pub const fn are_possible() -> bool {
    canary::POSSIBLE
}

impl Planted {
    /// Switches it on for the whole process, if it is one inside the product.
    pub fn plant(self) {
        #[cfg(feature = "canaries")]
        if let Some(canary) = self.inside() {
            canary::plant(canary);
        }
        #[cfg(not(feature = "canaries"))]
        assert!(self.inside().is_none(), "this build holds no planted bugs");
    }

    /// The bug inside the product that goes with it.
    const fn inside(self) -> Option<Canary> {
        match self {
            Self::Inside(canary) => Some(canary),
            Self::BlindToStaleReads => Some(Canary::ReadWithoutIndex),
            Self::BlindToPieces => Some(Canary::ExecInPieces),
            _ => None,
        }
    }

    /// Whether the witness's findings are thrown away: the judges that never see the log must do without it.
    pub const fn blinds_the_witness(self) -> bool {
        matches!(self, Self::BlindToStaleReads | Self::BlindToPieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each has a name of its own, a check that must find it and seeds to be found in; each inside the product is listed once.
    #[test]
    fn the_list_is_sound() {
        for (at, entry) in ALL.iter().enumerate() {
            assert!(!entry.found_by.is_empty() && entry.budget > 0, "{}", entry.name);
            assert!(crate::scenario::named(entry.scenario).is_some(), "{}", entry.name);
            for check in entry.found_by {
                let is_known = JUDGES.iter().any(|judge| judge.check == *check);
                assert!(is_known, "{}: no check is called {check}", entry.name);
            }
            for other in ALL.iter().skip(at + 1) {
                assert!(
                    entry.name != other.name && entry.planted != other.planted,
                    "{}",
                    entry.name
                );
            }
        }
    }
}
