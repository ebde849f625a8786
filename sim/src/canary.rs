//! The planted bugs, each with the checks that must find it and the seeds they may take. `canary run` switches one on after the
//! other; one that is not found fails the run: then a check has lost its teeth.

use steadfast_core::canary::{self, Canary};

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// One inside the product.
    Inside(Canary),
    /// The disks of all nodes say that they synced, and did not.
    SyncLies,
    /// Clients release the lock without a look at the token.
    UncheckedRelease,
    /// The first node's wall clock is a second ahead of the others.
    ClockAhead,
    /// The tasks of connections panic after some reads.
    TaskPanics,
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
    /// The scenario that must find it.
    pub scenario: &'static str,
    /// Seeds within which it must be found.
    pub budget: u64,
}

/// All planted bugs.
pub const ALL: &[Entry] = &[
    Entry {
        name: "ack-before-fsync",
        planted: Planted::Inside(Canary::AckBeforeFsync),
        story: "entries count as durable when they are handed to the log, before its fsync",
        found_by: &["promise", "one-log", "durability"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "sync-lies",
        planted: Planted::SyncLies,
        story: "the disks say that they synced, and did not",
        found_by: &["promise", "one-log", "durability"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "answer-before-fsync",
        planted: Planted::Inside(Canary::AnswerBeforeFsync),
        story: "a follower's answer leaves before its fsync",
        found_by: &["promise"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "entry-twice",
        planted: Planted::Inside(Canary::EntryTwice),
        story: "after a restart an entry is applied twice",
        found_by: &["equal-state"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "read-without-index",
        planted: Planted::Inside(Canary::ReadWithoutIndex),
        story: "a follower reads without a ReadIndex",
        found_by: &["stale-read"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "write-overtakes-read",
        planted: Planted::Inside(Canary::WriteOvertakesRead),
        story: "a write overtakes an earlier read of its connection",
        found_by: &["replies"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "number-rebound",
        planted: Planted::Inside(Canary::NumberRebound),
        story: "the number of a batch that timed out is bound to other bytes",
        found_by: &["durability", "replies", "honesty"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "local-clock-expiry",
        planted: Planted::Inside(Canary::LocalClockExpiry),
        story: "keys end by the local clock",
        found_by: &["equal-state", "replies"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "release-without-token",
        planted: Planted::UncheckedRelease,
        story: "a lock is released without a look at the token",
        found_by: &["lock-token", "lock-exclusion", "lock-kept"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "clock-ahead",
        planted: Planted::ClockAhead,
        story: "the clock of a node that is said to be kept in time is a second ahead",
        found_by: &["log-time"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "task-panics",
        planted: Planted::TaskPanics,
        story: "the task of a connection panics",
        found_by: &["no-panic"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "resend-applied",
        planted: Planted::Inside(Canary::ResendApplied),
        story: "a batch that is sent again is applied again",
        found_by: &["replies", "exactly-once", "equal-state"],
        scenario: "swarm",
        budget: 200,
    },
    Entry {
        name: "restore-forgets",
        planted: Planted::Inside(Canary::RestoreForgets),
        story: "a leader forgets what it handed out while its state was being restored",
        found_by: &["progress"],
        scenario: "swarm",
        budget: 200,
    },
];

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
        if let Self::Inside(canary) = self {
            canary::plant(canary);
        }
        #[cfg(not(feature = "canaries"))]
        assert!(!matches!(self, Self::Inside(_)), "this build holds no planted bugs");
    }
}
