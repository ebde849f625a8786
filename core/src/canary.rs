//! Planted bugs: mistakes that systems like this one have made, each a line at the place where it would be made. The simulator
//! switches one on and must find it; a check that finds none proves nothing. Only builds with the feature `canaries` hold
//! them: without it `is_planted` is the constant false, and the `steadfast` program does not compile with it.

/// A mistake that can be switched on. Which check must find it is the simulator's business (`sim/src/canary/list.rs`).
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
    /// Answers to heartbeats wait for what is being written.
    BeatsAwaitDisk,

    // ---- elections and the log among peers ---------------------------------------------------------------------
    /// Votes, and requests for them, leave before the hard state is durable; answers to appends wait for it.
    VoteBeforeFsync,
    /// The vote of the last term is not found again after a restart.
    VoteForgotten,
    /// A vote in a term that the disk knows already counts as no change of the hard state.
    VoteNotVital,
    /// A refused vote is read as a granted one.
    VoteRefusalLost,
    /// A refused append is read as a confirmed one.
    AppendRefusalLost,
    /// A leader that no quorum answers does not step down.
    NoCheckQuorum,
    /// A node that heard nobody raises the term without asking whether it could win.
    NoPreVote,
    /// Where an append overwrites a conflicting suffix, the first entry of the old suffix stays.
    ConflictKeepsOne,
    /// A parcel that was refused while leadership was handed over counts as logged.
    RefusedCountsAsLogged,
    /// What is sent again to the next leader begins one parcel too late.
    ResendSkipsOne,
    /// A cluster forms as soon as a majority of its members was heard.
    FormsByMajority,
    /// An older copy of a member's directory is taken for the member.
    OlderCopyTaken,
    /// A member starts from a copy of its directory as if it were the directory.
    CopyTaken,
    /// A member with an empty disk is taken for the member that it was.
    WipedNodeTaken,
    /// A leader whose newest snapshot can't be read waits until another is due anyhow. (This one was real; seed 13258 showed it at
    /// commit b527f01.)
    UnreadableSnapshotKept,

    // ---- who is a member ---------------------------------------------------------------------------------------------
    /// A snapshot names the members of the one before it.
    SnapshotOfEarlierMembers,
    /// A new set of voters counts alone as soon as the change to it is committed.
    JointSkipped,
    /// A newcomer is sent whatever snapshot there is.
    AnySnapshotSent,
    /// A leader that finds itself removed goes on.
    RemovedLeaderStays,
    /// A node that finds itself removed in its own log ends, whether the others know it or not.
    EndsByItsOwnLog,
    /// A node that was away while members changed goes by what it knew.
    RosterNotHeard,
    /// A member is told that it was removed before that is known for ever.
    ChangeUnsettled,
    /// A member that was removed is not told so.
    RemovalNotTold,

    // ---- reads -----------------------------------------------------------------------------------------------------
    /// Where a quorum should be asked, raft trusts that whoever leads by its ticks still leads.
    ReadLease,
    /// A lease holds for longer than voters abstain.
    LeaseTooLong,
    /// A lease runs from when its round was answered.
    LeaseFromAnswer,
    /// A new leader has a lease at once, before it knows what is committed.
    LeaseAtElection,
    /// A lease survives that leadership is handed over.
    LeaseInTransfer,
    /// A read does not look at the clock before it relies on a lease.
    LeaseWithoutClock,
    /// A read under a lease is served from what is applied, not from what is committed.
    LeaseReadsApplied,
    /// A node that has just started votes at once.
    VoteAfterStart,
    /// Each round numbers its contexts from the beginning.
    ReadContextReused,
    /// An answer to an earlier round's context ends the round under way.
    EarlierReadAnswer,
    /// A read joins the round that is under way.
    ReadJoinsRound,
    /// The read index is fetched, and not waited for.
    ReadBeforeApplied,
    /// Clients are served before the own registration was applied.
    ServesTooEarly,
    /// A read does not wait for the log at a deadline that its clock has passed.
    ReadPastDeadline,
    /// A read takes a key for gone when its own clock says so.
    ReadEndsByClock,

    // ---- releases --------------------------------------------------------------------------------------------------
    /// A leader of a new release begins its semantics level without asking who knows it.
    LevelUnasked,
    /// A restored state has the first semantics level.
    SnapshotLacksLevel,
    /// A snapshot leaves out who waits for a key.
    SnapshotLacksWaiters,
    /// Of several that wait for a key, the one that came last is served first.
    WaitersLastInFirstOut,
    /// Requests of a gateway that is gone go on waiting, and take what nobody hears of.
    GhostWaiters,

    // ---- a lost log ------------------------------------------------------------------------------------------------
    /// A node whose damaged log began anew votes and confirms at once.
    LostLogVotes,
    /// It listens as soon as one voter has answered.
    OneWordIsEnough,
    /// It votes as soon as all have, whatever it has got back by then.
    RejoinsWithoutLog,
    /// The leader goes on believing that the node has what it once confirmed.
    LostLogStillCounts,

    // ---- the disk --------------------------------------------------------------------------------------------------
    /// A failed sync of the log is noted down, and the log goes on.
    FsyncErrorIgnored,
    /// The name of a new segment is not made durable.
    SegmentNameUnsynced,
    /// A snapshot gets its name before its bytes are durable.
    SnapshotUnsynced,
    /// A snapshot is written under its final name, and read without a look at its length and checksum.
    HalfSnapshotChosen,
    /// The new identity gets its name before its bytes are durable.
    IdentityUnsynced,
    /// A record of the log counts if it is long enough, whatever its checksum says.
    TornTailAccepted,
    /// What can't be read in the middle of the log counts as its end.
    DamageTakenForEnd,
    /// Compaction looks at the group at which the newest snapshot was taken, not at the entries behind it.
    CompactsTooMuch,
    /// Compaction removes no segment, though nothing needs it any more.
    LogKept,
    /// A snapshot of the leader is used and not written down.
    InstallNotSaved,
    /// The node begins with an empty log, whatever its disk holds.
    RecoverySkipped,
    /// A start takes up the incarnation of the last one.
    IncarnationKept,
    /// An incarnation is drawn and used, and not written down.
    IncarnationNotSaved,

    // ---- snapshots of the state --------------------------------------------------------------------------------------
    /// A key that changes while a snapshot is being written is written as it is then.
    SnapshotUnfrozen,
    /// A database that is flushed while a snapshot is being written is missing in it.
    SnapshotLosesFlushed,
    /// They lack deadlines.
    SnapshotLacksDeadlines,
    /// They lack what is known of gateways.
    SnapshotLacksGateways,
    /// They lack batches that have come in part.
    SnapshotLacksParts,
    /// They lack the script cache.
    SnapshotLacksScripts,
    /// They lack the deletions that WATCH has to see.
    SnapshotLacksDeletions,

    // ---- log time ------------------------------------------------------------------------------------------------------
    /// A new leader goes on from its own wall clock, also behind the last stamp.
    ClockStepsBack,
    /// A new leader goes on from its own wall clock, though not behind the last stamp.
    LeaderTrustsItsClock,
    /// Log time follows a jump of the leader's wall clock at once.
    ClockFollowsJumps,
    /// What was heard last of log time counts, as if it had had no way.
    LateWordsCount,
    /// A node that was stopped believes what waited in its buffers.
    OldWordsBelieved,

    // ---- what commands do ------------------------------------------------------------------------------------------------
    /// The latest time of a request is not looked at.
    LatestIgnored,
    /// The first batch in parts stays in front of the next one.
    PartsKept,
    /// Random choices depend on how much this replica has executed since its start.
    SeedOfReplica,
    /// A command that keeps the deadline clears it.
    KeepClears,
    /// A deadline can be moved to sooner, not to later.
    DeadlineOnlySooner,
    /// EXEC does not look at the watched keys.
    WatchesIgnored,
    /// A watched key that ended by its deadline has not changed.
    WatchMissesExpiry,
    /// What follows WATCH does not wait for its precondition.
    WatchNotAwaited,
    /// The commands of a transaction go into the log one by one.
    ExecInPieces,
    /// DISCARD leaves the keys watched.
    DiscardKeepsWatches,
    /// A deadline that a script sets is a millisecond late.
    ScriptDeadlineLate,
    /// A list of keys lacks the last.
    KeysLackLast,

    // ---- connections -------------------------------------------------------------------------------------------------------
    /// A command that was handed over and is not heard of is answered as not applied.
    HandedOverRefused,
    /// Replies that are known at once do not wait for those that are owed before them.
    KnownRepliesOvertake,
    /// Commands run on while their client takes no replies.
    OutputUnbounded,
    /// Half a command of a connection that ended stays in the buffer that the next one gets.
    InputLeaks,
    /// DISCARD is answered twice.
    DiscardAnswersTwice,
    /// The listener is closed when a crowd comes.
    AcceptEnds,
    /// A plain SET is answered when it is handed over, not when it was applied.
    AnswersAhead,
    /// Messages of some entries are not delivered.
    MessageSkipped,
    /// Messages of some entries are delivered twice.
    MessageTwice,
    /// PUBLISH does not count those who are subscribed by a pattern.
    PatternsUncounted,
    /// Subscriptions of a node stay when its next incarnation registers.
    SubscriptionsOutlive,
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
