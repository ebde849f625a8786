//! All planted bugs: what is wrong, the checks of which one must find it, and where. Those of the swarm are found by plain seeds; the
//! others need the scenario that is named beside them.

use steadfast_core::canary::Canary;

use super::{COVERAGE, Entry, Planted, TWINS, clients, messages, queues};

/// All planted bugs.
pub const ALL: &[Entry] = &[
    Entry::new(
        "ack-before-fsync",
        Planted::Inside(Canary::AckBeforeFsync),
        "entries count as durable when they are handed to the log, before its fsync",
        &["promise", "one-log", "durability"],
    ),
    Entry::new(
        "answer-before-fsync",
        Planted::Inside(Canary::AnswerBeforeFsync),
        "a follower's answer leaves before its fsync",
        &["promise"],
    ),
    Entry::new(
        "entry-twice",
        Planted::Inside(Canary::EntryTwice),
        "after a restart an entry is applied twice",
        &["equal-state"],
    ),
    Entry::new(
        "read-without-index",
        Planted::Inside(Canary::ReadWithoutIndex),
        "a follower reads without a ReadIndex",
        &["stale-read"],
    ),
    Entry::new(
        "write-overtakes-read",
        Planted::Inside(Canary::WriteOvertakesRead),
        "a write overtakes an earlier read of its connection",
        &["replies"],
    ),
    Entry::new(
        "number-rebound",
        Planted::Inside(Canary::NumberRebound),
        "the number of a batch that timed out is bound to other bytes",
        &["durability", "replies", "honesty"],
    ),
    Entry::new(
        "local-clock-expiry",
        Planted::Inside(Canary::LocalClockExpiry),
        "keys end by the local clock",
        &["equal-state", "replies"],
    ),
    Entry::new(
        "resend-applied",
        Planted::Inside(Canary::ResendApplied),
        "a batch that is sent again is applied again",
        &["replies", "exactly-once", "equal-state"],
    ),
    Entry::new(
        "restore-forgets",
        Planted::Inside(Canary::RestoreForgets),
        "a leader forgets what it handed out while its state was being restored",
        &["progress"],
    )
    .found_in("snapshot-churn", 600),
    Entry::new(
        "sync-lies",
        Planted::SyncLies,
        "the disks say that they synced, and did not",
        &["promise", "one-log", "durability"],
    ),
    clients::RELEASE_WITHOUT_TOKEN,
    clients::LOCK_OVERWRITTEN,
    clients::OTHER_TOKEN_PROLONGS,
    clients::LIMITER_IN_PIECES,
    clients::LIMITER_LOOKS_FIRST,
    Entry::new(
        "transfer-in-pieces",
        Planted::TransferInPieces,
        "money is moved by two writes that are no transaction",
        &["total"],
    )
    .within(50)
    .alone(),
    Entry::new(
        "request-twice",
        Planted::RequestTwice,
        "a client's driver sends its last whole request again before it hangs up",
        &["exactly-once"],
    )
    .within(50)
    .alone(),
    Entry::new(
        "blind-to-stale-reads",
        Planted::BlindToStaleReads,
        "the witness is blind, and reads are served without a ReadIndex",
        &["linearizable"],
    )
    .within(50),
    Entry::new(
        "blind-to-pieces",
        Planted::BlindToPieces,
        "the witness is blind, and a transaction's commands go into the log one by one",
        &["transactions"],
    )
    .within(200),
    Entry::new(
        "unknown-as-refused",
        Planted::UnknownAsRefused,
        "a judge takes what was left open for not applied",
        &["oracle-disagreement"],
    )
    .within(50),
    Entry::new(
        "clock-ahead",
        Planted::ClockAhead,
        "the clock of a node that is said to be kept in time is a second ahead",
        &["log-time"],
    ),
    Entry::new(
        "task-panics",
        Planted::TaskPanics,
        "the task of a connection panics",
        &["no-panic"],
    ),
    Entry::new(
        "machine-time",
        Planted::MachineTime,
        "a clock of the simulation has a little of the machine's own time in it",
        &[TWINS],
    )
    .within(5),
    Entry::new(
        "idle-injector",
        Planted::IdleInjector,
        "faults are counted, and do nothing",
        &[COVERAGE],
    ),
    // ---- elections and the log among peers ---------------------------------------------------------------------------
    Entry::new(
        "vote-before-fsync",
        Planted::Inside(Canary::VoteBeforeFsync),
        "votes and requests for them leave before the hard state is durable",
        &["promise", "one-leader"],
    ),
    Entry::new(
        "vote-forgotten",
        Planted::Inside(Canary::VoteForgotten),
        "the last vote is not found again after a restart",
        &["promise", "one-leader"],
    ),
    Entry::new(
        "vote-not-vital",
        Planted::Inside(Canary::VoteNotVital),
        "a vote in a term that the disk knows already is not written down",
        &["promise", "one-leader"],
    )
    .found_in("split-votes", 50),
    Entry::new(
        "vote-refusal-lost",
        Planted::Inside(Canary::VoteRefusalLost),
        "a refused vote is read as a granted one",
        &["one-leader"],
    )
    .found_in("split-votes", 50)
    .alone(),
    Entry::new(
        "append-refusal-lost",
        Planted::Inside(Canary::AppendRefusalLost),
        "a refused append is read as a confirmed one",
        &["one-log", "durability", "no-node-ends"],
    ),
    Entry::new(
        "no-check-quorum",
        Planted::Inside(Canary::NoCheckQuorum),
        "a leader that no quorum answers does not step down",
        &["quiet", "progress"],
    )
    .found_in("clinging-leader", 10),
    Entry::new(
        "no-pre-vote",
        Planted::Inside(Canary::NoPreVote),
        "a node that heard nobody raises the term without asking",
        &["quiet"],
    )
    .found_in("flapping-node", 10),
    Entry::new(
        "beats-await-disk",
        Planted::Inside(Canary::BeatsAwaitDisk),
        "answers to heartbeats wait for what is being written",
        &["quiet"],
    )
    .found_in("slow-disks", 10),
    Entry::new(
        "conflict-keeps-one",
        Planted::Inside(Canary::ConflictKeepsOne),
        "one entry of a conflicting suffix stays where it should be overwritten",
        &["one-log", "no-panic"],
    )
    .alone(),
    Entry::new(
        "refused-counts-as-logged",
        Planted::Inside(Canary::RefusedCountsAsLogged),
        "what was refused while leadership was handed over counts as logged",
        &["service"],
    )
    .found_in("full-disk", 200)
    .alone(),
    Entry::new(
        "resend-skips-one",
        Planted::Inside(Canary::ResendSkipsOne),
        "what is sent again begins one parcel too late",
        &["progress"],
    ),
    Entry::new(
        "forms-by-majority",
        Planted::Inside(Canary::FormsByMajority),
        "a cluster forms as soon as a majority was heard",
        &["progress", "no-node-ends"],
    ),
    Entry::new(
        "older-copy-taken",
        Planted::Inside(Canary::OlderCopyTaken),
        "an older copy of a member's directory is taken for the member",
        &["promise", "one-log", "durability", "no-node-ends"],
    )
    .found_in("back-in-time", 10),
    Entry::new(
        "copy-taken",
        Planted::Inside(Canary::CopyTaken),
        "a member starts from a copy of its directory as if it were the directory",
        &["promise", "one-log", "durability", "no-node-ends"],
    )
    .found_in("copied-back", 10),
    Entry::new(
        "wiped-node-taken",
        Planted::Inside(Canary::WipedNodeTaken),
        "a member with an empty disk is taken for the member that it was",
        &["one-log", "promise", "durability", "one-leader"],
    )
    .found_in("wiped-disk", 10),
    Entry::new(
        "snapshot-of-earlier-members",
        Planted::Inside(Canary::SnapshotOfEarlierMembers),
        "a snapshot names the members of the one before it",
        &["no-node-ends", "no-panic", "progress", "one-log"],
    )
    .found_in("member-carousel", 100),
    Entry::new(
        "joint-skipped",
        Planted::Inside(Canary::JointSkipped),
        "a new set of voters counts alone as soon as the change to it is committed",
        &["one-log", "durability", "one-leader", "promise"],
    )
    .found_in("cut-while-joint", 300),
    Entry::new(
        "any-snapshot-sent",
        Planted::Inside(Canary::AnySnapshotSent),
        "a newcomer is sent whatever snapshot there is",
        &["progress", "no-panic", "no-node-ends"],
    )
    .found_in("member-carousel", 100),
    Entry::new(
        "removed-leader-stays",
        Planted::Inside(Canary::RemovedLeaderStays),
        "a leader that finds itself removed goes on",
        &["no-panic"],
    )
    .found_in("member-carousel", 400),
    Entry::new(
        "ends-by-its-own-log",
        Planted::Inside(Canary::EndsByItsOwnLog),
        "a node that finds itself removed in its own log ends before the others know it",
        &["progress"],
    )
    .found_in("shrinks", 100),
    Entry::new(
        "roster-not-heard",
        Planted::Inside(Canary::RosterNotHeard),
        "a node that was away while members changed goes by what it knew",
        &["progress", "service"],
    )
    .found_in("strangers", 20),
    Entry::new(
        "change-unsettled",
        Planted::Inside(Canary::ChangeUnsettled),
        "a member is told that it was removed before that is known for ever",
        &["progress"],
    )
    .found_in("shrinks", 100),
    Entry::new(
        "removal-not-told",
        Planted::Inside(Canary::RemovalNotTold),
        "a member that was removed is not told so",
        &["progress"],
    )
    .found_in("shrinks", 20),
    Entry::new(
        "unreadable-snapshot-kept",
        Planted::Inside(Canary::UnreadableSnapshotKept),
        "a leader whose newest snapshot can't be read waits until another is due",
        &["progress", "service"],
    )
    .found_in("rotten-snapshot", 200),
    Entry::new(
        "lost-log-votes",
        Planted::Inside(Canary::LostLogVotes),
        "a node whose damaged log began anew votes and confirms at once",
        &["promise", "one-log"],
    )
    .found_in("bit-rot", 50),
    Entry::new(
        "one-word-is-enough",
        Planted::Inside(Canary::OneWordIsEnough),
        "a node that has lost its log listens as soon as one voter has answered",
        &["promise", "one-log", "durability"],
    )
    .found_in("forgotten-term", 100),
    Entry::new(
        "rejoins-without-log",
        Planted::Inside(Canary::RejoinsWithoutLog),
        "a node that has lost its log votes as soon as all have answered",
        &["promise", "one-log"],
    )
    .found_in("minority-rot", 100),
    Entry::new(
        "lost-log-still-counts",
        Planted::Inside(Canary::LostLogStillCounts),
        "a leader goes on believing that a node has what its lost log had confirmed",
        &["progress"],
    )
    .found_in("minority-rot", 100),
    Entry::new(
        "level-unasked",
        Planted::Inside(Canary::LevelUnasked),
        "a leader of the next release begins its semantics level without asking who knows it",
        &["no-node-ends", "progress", "service"],
    )
    .found_in("upgrade-roulette", 20),
    Entry::new(
        "snapshot-lacks-level",
        Planted::Inside(Canary::SnapshotLacksLevel),
        "a restored state is of the first semantics level",
        &["equal-state"],
    )
    .found_in("upgrade-roulette", 50),
    // ---- reads -------------------------------------------------------------------------------------------------------
    Entry::new(
        "read-lease",
        Planted::Inside(Canary::ReadLease),
        "reads trust the leader's lease",
        &["stale-read", "linearizable"],
    )
    .found_in("paused-leader-read", 10),
    Entry::new(
        "lease-too-long",
        Planted::Inside(Canary::LeaseTooLong),
        "a lease holds for longer than voters abstain",
        &["stale-read", "linearizable"],
    )
    .found_in("lease-cut-off", 100),
    Entry::new(
        "lease-from-answer",
        Planted::Inside(Canary::LeaseFromAnswer),
        "a lease runs from when its round was answered",
        &["stale-read", "linearizable"],
    )
    .found_in("lease-cut-off", 100),
    Entry::new(
        "lease-at-election",
        Planted::Inside(Canary::LeaseAtElection),
        "a new leader has a lease before it knows what is committed",
        &["stale-read", "linearizable"],
    )
    .found_in("lease-at-election", 100),
    Entry::new(
        "lease-in-transfer",
        Planted::Inside(Canary::LeaseInTransfer),
        "a lease survives that leadership is handed over",
        &["stale-read", "linearizable"],
    )
    .found_in("transfer-in-lease", 10),
    Entry::new(
        "lease-without-clock",
        Planted::Inside(Canary::LeaseWithoutClock),
        "a read relies on a lease without a look at the clock",
        &["stale-read", "linearizable"],
    )
    .found_in("paused-leader-read", 10),
    Entry::new(
        "lease-reads-applied",
        Planted::Inside(Canary::LeaseReadsApplied),
        "a read under a lease is served from what is applied, not from what is committed",
        &["stale-read", "linearizable"],
    )
    .found_in("lease-cut-off", 10),
    Entry::new(
        "vote-after-start",
        Planted::Inside(Canary::VoteAfterStart),
        "a node that has just started votes at once",
        &["stale-read", "linearizable"],
    )
    .found_in("restart-in-lease", 50),
    Entry::new(
        "read-context-reused",
        Planted::Inside(Canary::ReadContextReused),
        "each round numbers its contexts from the beginning",
        &["stale-read", "linearizable"],
    )
    .found_in("slow-rounds", 10),
    Entry::new(
        "earlier-read-answer",
        Planted::Inside(Canary::EarlierReadAnswer),
        "an answer to an earlier round ends the round under way",
        &["stale-read", "linearizable"],
    )
    .found_in("slow-rounds", 10),
    Entry::new(
        "read-joins-round",
        Planted::Inside(Canary::ReadJoinsRound),
        "a read joins the round that is under way",
        &["stale-read", "linearizable"],
    )
    .found_in("slow-rounds", 10),
    Entry::new(
        "read-before-applied",
        Planted::Inside(Canary::ReadBeforeApplied),
        "the read index is fetched, and not waited for",
        &["stale-read", "linearizable"],
    ),
    Entry::new(
        "serves-too-early",
        Planted::Inside(Canary::ServesTooEarly),
        "clients are served before the own registration was applied",
        &["stale-read", "linearizable"],
    )
    .found_in("lone-node", 20),
    Entry::new(
        "read-past-deadline",
        Planted::Inside(Canary::ReadPastDeadline),
        "a read does not wait for the log at a deadline that has passed",
        &["expiry"],
    )
    .within(500),
    Entry::new(
        "read-ends-by-clock",
        Planted::Inside(Canary::ReadEndsByClock),
        "a key is gone when the reading node's clock says so",
        &["replies", "expiry", "stale-read"],
    ),
    // ---- the disk ----------------------------------------------------------------------------------------------------
    Entry::new(
        "fsync-error-ignored",
        Planted::Inside(Canary::FsyncErrorIgnored),
        "a failed sync is noted down, and the log goes on",
        &["promise", "durability", "one-log"],
    )
    .found_in("fsyncgate", 10),
    Entry::new(
        "segment-name-unsynced",
        Planted::Inside(Canary::SegmentNameUnsynced),
        "the name of a new segment is not made durable",
        &["promise"],
    ),
    Entry::new(
        "snapshot-unsynced",
        Planted::Inside(Canary::SnapshotUnsynced),
        "a snapshot gets its name before its bytes are durable",
        &["promise"],
    ),
    Entry::new(
        "half-snapshot-chosen",
        Planted::Inside(Canary::HalfSnapshotChosen),
        "a snapshot is written in place, and half of one is chosen",
        &["no-node-ends", "equal-state"],
    )
    .found_in("torn-snapshot", 10),
    Entry::new(
        "identity-unsynced",
        Planted::Inside(Canary::IdentityUnsynced),
        "the identity gets its name before its bytes are durable",
        &["promise", "no-node-ends"],
    ),
    Entry::new(
        "torn-tail-accepted",
        Planted::Inside(Canary::TornTailAccepted),
        "a record of the log counts whatever its checksum says",
        &["one-log", "equal-state", "promise", "no-node-ends"],
    )
    .found_in("torn-tail", 10),
    Entry::new(
        "damage-taken-for-end",
        Planted::Inside(Canary::DamageTakenForEnd),
        "what can't be read in the middle of the log counts as its end",
        &["promise", "durability", "one-log"],
    )
    .found_in("bit-rot", 10),
    Entry::new(
        "compacts-too-much",
        Planted::Inside(Canary::CompactsTooMuch),
        "compaction removes entries behind the snapshot",
        &["promise", "no-node-ends"],
    ),
    Entry::new(
        "log-kept",
        Planted::Inside(Canary::LogKept),
        "compaction removes no segments",
        &["room"],
    )
    .found_in("calm", 10),
    Entry::new(
        "install-not-saved",
        Planted::Inside(Canary::InstallNotSaved),
        "a snapshot of the leader is used and not written down",
        &["promise", "no-node-ends"],
    ),
    Entry::new(
        "recovery-skipped",
        Planted::Inside(Canary::RecoverySkipped),
        "a node begins with an empty log, whatever its disk holds",
        &["one-log", "promise", "durability", "no-node-ends"],
    )
    .within(50),
    Entry::new(
        "incarnation-kept",
        Planted::Inside(Canary::IncarnationKept),
        "a start takes up the incarnation of the last one",
        &["incarnations"],
    )
    .within(50),
    Entry::new(
        "incarnation-not-saved",
        Planted::Inside(Canary::IncarnationNotSaved),
        "an incarnation is used and not written down",
        &["incarnations"],
    )
    .within(50),
    // ---- snapshots of the state --------------------------------------------------------------------------------------
    Entry::new(
        "snapshot-lacks-deadlines",
        Planted::Inside(Canary::SnapshotLacksDeadlines),
        "snapshots lack deadlines",
        &["equal-state"],
    )
    .within(50),
    Entry::new(
        "snapshot-lacks-gateways",
        Planted::Inside(Canary::SnapshotLacksGateways),
        "snapshots lack what is known of gateways",
        &["equal-state"],
    )
    .within(50),
    Entry::new(
        "snapshot-lacks-parts",
        Planted::Inside(Canary::SnapshotLacksParts),
        "snapshots lack batches that have come in part",
        &["equal-state"],
    )
    .found_in("big-values", 10),
    Entry::new(
        "snapshot-lacks-scripts",
        Planted::Inside(Canary::SnapshotLacksScripts),
        "snapshots lack the script cache",
        &["equal-state"],
    )
    .within(50),
    Entry::new(
        "snapshot-lacks-deletions",
        Planted::Inside(Canary::SnapshotLacksDeletions),
        "snapshots lack the deletions that WATCH has to see",
        &["equal-state"],
    )
    .within(50),
    Entry::new(
        "snapshot-unfrozen",
        Planted::Inside(Canary::SnapshotUnfrozen),
        "what changes while a snapshot is written is written as it is then",
        &["no-node-ends"],
    )
    .within(50),
    Entry::new(
        "snapshot-loses-flushed",
        Planted::Inside(Canary::SnapshotLosesFlushed),
        "a database that is flushed while a snapshot is written is missing in it",
        &["no-node-ends"],
    )
    .found_in("flushed-state", 20),
    // ---- log time ----------------------------------------------------------------------------------------------------
    Entry::new(
        "clock-steps-back",
        Planted::Inside(Canary::ClockStepsBack),
        "a new leader goes on from its own clock, also behind the last stamp",
        &["log-time"],
    ),
    Entry::new(
        "leader-trusts-its-clock",
        Planted::Inside(Canary::LeaderTrustsItsClock),
        "a new leader goes on from its own clock",
        &["log-time", "lock-kept", "expiry"],
    )
    .found_in("clock-jump", 10),
    Entry::new(
        "clock-follows-jumps",
        Planted::Inside(Canary::ClockFollowsJumps),
        "log time follows a jump of the leader's clock at once",
        &["log-time", "lock-kept", "expiry"],
    )
    .found_in("clock-jump", 10),
    Entry::new(
        "late-words-count",
        Planted::Inside(Canary::LateWordsCount),
        "what was heard last of log time counts, as if it had had no way",
        &["log-time", "lock-kept"],
    ),
    Entry::new(
        "old-words-believed",
        Planted::Inside(Canary::OldWordsBelieved),
        "a node that was stopped believes what waited in its buffers",
        &["log-time", "lock-kept"],
    )
    .found_in("paused-newcomer", 600),
    // ---- what commands do --------------------------------------------------------------------------------------------
    Entry::new(
        "latest-ignored",
        Planted::Inside(Canary::LatestIgnored),
        "the latest time of a request is not looked at",
        &["replies", "final-state", "honesty"],
    ),
    Entry::new(
        "parts-kept",
        Planted::Inside(Canary::PartsKept),
        "the first batch in parts stays in front of the next one",
        &["replies", "stale-read", "exactly-once", "durability", "no-node-ends"],
    )
    .found_in("big-values", 12),
    Entry::new(
        "seed-of-replica",
        Planted::Inside(Canary::SeedOfReplica),
        "random choices depend on what this replica has executed",
        &["equal-state", "replies"],
    )
    .found_in("random-writes", 10),
    Entry::new(
        "keep-clears",
        Planted::Inside(Canary::KeepClears),
        "a command that keeps the deadline clears it",
        &["replies", "final-state", "expiry"],
    )
    .within(50),
    Entry::new(
        "deadline-only-sooner",
        Planted::Inside(Canary::DeadlineOnlySooner),
        "a deadline can be moved to sooner only",
        &["replies", "final-state", "expiry", "lock-kept"],
    )
    .within(50),
    Entry::new(
        "watches-ignored",
        Planted::Inside(Canary::WatchesIgnored),
        "EXEC does not look at the watched keys",
        &["watch", "replies", "linearizable", "transactions"],
    )
    .within(50),
    Entry::new(
        "watch-misses-expiry",
        Planted::Inside(Canary::WatchMissesExpiry),
        "a watched key that ended by its deadline has not changed",
        &["replies"],
    )
    .found_in("watched-deadlines", 10),
    Entry::new(
        "watch-not-awaited",
        Planted::Inside(Canary::WatchNotAwaited),
        "what follows WATCH does not wait for its precondition",
        &["durability", "replies"],
    )
    .found_in("watched-deadlines", 10),
    Entry::new(
        "exec-in-pieces",
        Planted::Inside(Canary::ExecInPieces),
        "the commands of a transaction go into the log one by one",
        &["durability", "exactly-once", "linearizable", "transactions"],
    )
    .within(50),
    Entry::new(
        "discard-keeps-watches",
        Planted::Inside(Canary::DiscardKeepsWatches),
        "DISCARD leaves the keys watched",
        &["watch"],
    )
    .found_in("watched-deadlines", 10)
    .alone(),
    Entry::new(
        "script-deadline-late",
        Planted::Inside(Canary::ScriptDeadlineLate),
        "a deadline that a script sets is a millisecond late",
        &["stale-read", "replies", "final-state"],
    )
    .within(50),
    Entry::new(
        "keys-lack-last",
        Planted::Inside(Canary::KeysLackLast),
        "a list of keys lacks the last",
        &["final-state"],
    )
    .within(10)
    .alone(),
    messages::SKIPPED,
    messages::TWICE,
    messages::PATTERNS_UNCOUNTED,
    messages::SUBSCRIPTIONS_OUTLIVE,
    queues::LAST_IN_FIRST_OUT,
    queues::GHOSTS,
    queues::LEFT_OUT_OF_SNAPSHOTS,
    // ---- connections -------------------------------------------------------------------------------------------------
    Entry::new(
        "handed-over-refused",
        Planted::Inside(Canary::HandedOverRefused),
        "what was handed over and is not heard of is answered as not applied",
        &["honesty"],
    )
    .within(50)
    .alone(),
    Entry::new(
        "known-replies-overtake",
        Planted::Inside(Canary::KnownRepliesOvertake),
        "replies that are known overtake those that are owed",
        &["replies", "protocol"],
    )
    .within(50),
    Entry::new(
        "output-unbounded",
        Planted::Inside(Canary::OutputUnbounded),
        "commands run on while their client takes no replies",
        &["memory"],
    )
    .found_in("storms", 5)
    .alone(),
    Entry::new(
        "discard-answers-twice",
        Planted::Inside(Canary::DiscardAnswersTwice),
        "DISCARD is answered twice",
        &["protocol"],
    )
    .found_in("watched-deadlines", 10)
    .alone(),
    Entry::new(
        "accept-ends",
        Planted::Inside(Canary::AcceptEnds),
        "the listener is closed when a crowd comes",
        &["service"],
    )
    .within(100),
    Entry::new(
        "answers-ahead",
        Planted::Inside(Canary::AnswersAhead),
        "a plain SET is answered when it is handed over, not when it was applied",
        &["real-time"],
    )
    .found_in("calm", 200)
    .alone(),
    Entry::new(
        "input-leaks",
        Planted::Inside(Canary::InputLeaks),
        "half a command of a lost connection stands before the next one's",
        &["protocol", "replies", "exactly-once", "durability"],
    )
    .within(50),
];
