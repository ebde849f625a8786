//! Planted bugs: mistakes that systems like this one have made, each a line at the place where it would be made. The simulator
//! switches one on and must find it; a check that finds none proves nothing. Only builds with the feature `canaries` hold
//! them: without it `is_planted` is the constant false, and the `steadfast` program does not compile with it.

/// A mistake that can be switched on. Which check must find it is the simulator's business (`sim/src/canary.rs`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Canary {
    /// Entries count as durable as soon as they are handed to the log.
    AckBeforeFsync = 1,
    /// A follower's answers and votes leave before what they promise is durable.
    AnswerBeforeFsync,
    /// The first batch after a restart from a snapshot is executed twice.
    EntryTwice,
    /// Reads are answered from whatever was applied, on every node.
    ReadWithoutIndex,
    /// A write does not take the reads before it on its connection along.
    WriteOvertakesRead,
    /// The number of a batch that timed out is given to the next one.
    NumberRebound,
    /// Keys end by the node's own clock instead of the log's.
    LocalClockExpiry,
    /// A batch that was sent again is executed again.
    ResendApplied,
    /// A leader restarted from a snapshot forgets the parcels that it handed out while the state was being restored, and takes
    /// the gateways' next ones for gaps, for ever. (This one was real; seeds 9, 22, 77 and 230 showed it at commit 36edf18.)
    RestoreForgets,
}

/// Whether a build can hold planted bugs at all.
pub const POSSIBLE: bool = cfg!(feature = "canaries");

#[cfg(feature = "canaries")]
static PLANTED: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);

/// Switches one on, for the whole process.
#[cfg(feature = "canaries")]
pub fn plant(canary: Canary) {
    PLANTED.store(canary as u8, core::sync::atomic::Ordering::Relaxed);
}

/// Whether this one is switched on.
#[cfg(feature = "canaries")]
pub fn is_planted(canary: Canary) -> bool {
    PLANTED.load(core::sync::atomic::Ordering::Relaxed) == canary as u8
}

/// Whether this one is switched on: never, in this build.
#[cfg(not(feature = "canaries"))]
pub const fn is_planted(_canary: Canary) -> bool {
    false
}
