//! Marks: places that a long simulation must have come by. A path that nothing reaches is tested by nothing, and nobody sees that
//! from tests that pass; here it shows, for each mark counts how often it was reached (`steadfast-sim marks`).
//!
//! The counters are in every build. They are no state that anything depends on: nothing in the product reads them, so no reply, no
//! entry and no digest can follow from them. One relaxed increment costs little, but a contended cache line is not free: marks stand
//! only where a request does not usually come by.

use core::sync::atomic::{AtomicU32, Ordering};

/// In how many seeds of a long sweep a mark must be reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rarity {
    /// At least one in 100.
    Common,
    /// At least one in 1000.
    Rare,
    /// At least one in 10 000.
    VeryRare,
    /// In one of a few of a scenario that is made for it: the swarm comes by too rarely, or must not draw what leads there.
    Designed,
}

macro_rules! marks {
    ($($mark:ident $rarity:ident $name:literal $story:literal;)*) => {
        /// A place in the product; see the file's head.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Mark {
            $(#[doc = $story] $mark,)*
        }

        impl Mark {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$mark),*];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$mark => $name,)* }
            }

            /// When it is reached.
            pub const fn story(self) -> &'static str {
                match self { $(Self::$mark => $story,)* }
            }

            /// How often it must be reached.
            pub const fn rarity(self) -> Rarity {
                match self { $(Self::$mark => Rarity::$rarity,)* }
            }

            /// The name of the variant, as it stands where the mark is set.
            pub const fn variant(self) -> &'static str {
                match self { $(Self::$mark => stringify!($mark),)* }
            }
        }
    };
}

marks! {
    // Elections, and the log among peers.
    ElectionLost Common "election-lost" "A candidate did not become leader.";
    PreVoteRefused Common "pre-vote-refused" "A node that would have stood for leader heard that it could not win.";
    QuorumMissed Common "quorum-missed" "A leader that no quorum answered stepped down.";
    OldTermEntries Common "old-term-entries" "A new leader held entries of earlier terms that were not committed.";
    LeadingForgone VeryRare "leading-forgone" "A node let its election time pass because its state was not restored yet.";
    LeadershipOffered Common "leadership-offered" "A leader began to hand leadership over.";
    LeadershipTaken Common "leadership-taken" "A node was told by the leader to stand at once.";
    ProposalDropped Rare "proposal-dropped" "An entry was refused while leadership was handed over.";
    ConflictTruncated Common "conflict-truncated" "A follower's log lost two entries or more to a later leader's.";
    AppendRefused Common "append-refused" "A follower refused an append and hinted where its log ends.";
    FollowerLeftBehind Common "follower-left-behind" "A leader's log was compacted past what a follower has.";
    SnapshotOvertaken Rare "snapshot-overtaken" "A leader's snapshot was taken on while an own, older one was being saved.";
    ConfirmedEntryLost Designed "confirmed-entry-lost" "A node found that its disk had lost what it had confirmed, and stopped.";
    HandedOutWhileRestoring Common "handed-out-while-restoring" "Entries were handed out while the state before them was restored.";

    // Who is a member.
    MembershipChanged Designed "membership-changed" "A committed change of members took effect.";
    LearnerPromoted Designed "learner-promoted" "A leader made a voter of a learner that had caught up.";
    JointConsensusEnded Designed "joint-consensus-ended" "A leader ended the time in which two sets of voters count.";
    RosterHeard Designed "roster-heard" "A node heard of members that its own log did not know yet.";
    DamageSetAside Designed "damage-set-aside" "A damaged directory was set aside, and the log began anew.";
    NodeRejoined Designed "node-rejoined" "A node that had lost its log has it back, and votes again.";
    RotFound Designed "rot-found" "What lies on a disk was read again, and some of it had rotted.";
    StatesCompared Common "states-compared" "A node found that most voters have the same state as it.";
    StateScrubbed Common "state-scrubbed" "All that a node holds in memory was read again.";
    LevelRaised Designed "level-raised" "All members run a release that knows a later semantics level, and it began.";
    RemovedNodeTold Designed "removed-node-told" "A node learned that it is no member any more, and ended.";

    // Gateways and their parcels.
    ParcelResent Common "parcel-resent" "Parcels that had been sent and not heard of were sent again.";
    ParcelDeduplicated Common "parcel-deduplicated" "A leader dropped a parcel that its log held already.";
    DeduplicatedAfterRestore Common "deduplicated-after-restore" "The same by a leader whose state came from a snapshot.";
    ParcelGap Common "parcel-gap" "A leader dropped a parcel because one before it was missing.";
    BatchInParcels Rare "batch-in-parcels" "A request was so large that it took several parcels.";
    PartsJoined Rare "parts-joined" "The last part of a batch came to the state machine.";
    TooLate Common "too-late" "A request came into the log after its latest time, and was not executed.";
    UnknownAnswered Common "unknown-answered" "A client was told that the outcome is unknown, because time was up.";
    ReplyLost Designed "reply-lost" "A snapshot had passed a request whose client was still owed its reply.";

    // Reads.
    ReadRetried Common "read-retried" "A read round that was not answered was asked again.";
    ReadDropped Common "read-dropped" "A read round under way lost its leader, and was asked of the next one.";
    ReadAwaitedTick Common "read-awaited-tick" "A read met a key that was due by the clock and not by the log.";
    ReadTakenAlong Common "read-taken-along" "A read that had not run went into the log with a write behind it.";
    ReadGivenUp Common "read-given-up" "A read that waited was refused: it found no quorum in time, or the node had to stop.";

    PeersReadByLease Common "peers-read-by-lease" "A leader answered a follower's read from its lease.";
    LeaseOver Common "lease-over" "A leader's read found that the lease had ended, and went the long way.";
    LeaseGivenUp Common "lease-given-up" "A leader with a lease handed leadership over.";
    VoteWithheld Common "vote-withheld" "A node did not vote because a leader may have relied on it.";

    // The disk.
    TornTailCut Common "torn-tail-cut" "A write that was under way at the end was cut off at the next start.";
    DamageFound Rare "damage-found" "Bytes on disk were not what had been written.";
    StartRefusedDamaged Rare "start-refused-damaged" "A node did not start because its directory was damaged.";
    StartRefusedByDisk Common "start-refused-by-disk" "A node did not start because its disk gave an error.";
    SnapshotPassedOver Rare "snapshot-passed-over" "The newest snapshot was damaged, and an older one or the log served.";
    CompactionResumed VeryRare "compaction-resumed" "Segments were found that an interrupted compaction had left.";
    PartRemoved Common "part-removed" "A snapshot or identity that was never finished was removed.";
    FirstStartRepeated Rare "first-start-repeated" "A directory was found whose first start had been cut short.";
    InstallUnlogged Rare "install-unlogged" "A snapshot was found that had been installed without a record in the log.";
    UnsureRewritten Common "unsure-rewritten" "What nothing said was durable was written once more at a start.";
    SyncFailed Common "sync-failed" "A sync of the log failed.";
    LogStopped Common "log-stopped" "The log could not go on, and the node stopped.";
    DiskFilled Common "disk-filled" "The log found no room.";
    RoomReturned Common "room-returned" "The log found room again.";
    RefusedDiskFull Common "refused-disk-full" "A write was refused because the disk was full.";
    ReserveSpent Rare "reserve-spent" "A start on a full disk took the room that was kept for it.";
    EntriesReplaced VeryRare "entries-replaced" "Entries that waited for the disk were replaced before they were written.";

    // Snapshots.
    SnapshotWhileWriting Common "snapshot-while-writing" "A snapshot was taken while own requests were under way.";
    SnapshotWithDeadlines Common "snapshot-with-deadlines" "A snapshot held keys with deadlines.";
    SnapshotWithParts Designed "snapshot-with-parts" "A snapshot held a batch of which parts had come.";
    SnapshotWithWaiters Rare "snapshot-with-waiters" "A snapshot held requests that wait for a key.";
    Blocked Common "blocked" "A request found nothing and began to wait.";
    WaiterServed Common "waiter-served" "A request that waited was served.";
    WaiterTimedOut Common "waiter-timed-out" "A request that waited got nothing in its time.";
    WaiterForgotten Rare "waiter-forgotten" "Requests waited when their gateway began anew or was given up.";
    SnapshotKeptKey Common "snapshot-kept-key" "A key changed before a snapshot under way had written it.";
    SnapshotKeptDatabase Designed "snapshot-kept-database" "A database was flushed before a snapshot under way had written it.";
    SnapshotCutValue Rare "snapshot-cut-value" "A snapshot held a value in pieces.";
    SnapshotUnreadable Rare "snapshot-unreadable" "A leader could not read the snapshot that a follower needed, and took another.";
    SnapshotNotSaved Common "snapshot-not-saved" "There was no room for a snapshot of the own state.";
    SnapshotNotDelivered Rare "snapshot-not-delivered" "A snapshot did not reach the follower that it was sent to.";
    InstallCutShort Rare "install-cut-short" "The stream of a snapshot ended before the snapshot was whole.";
    InstallAwaitedRoom VeryRare "install-awaited-room" "There was no room for a received snapshot.";
    InstalledOverState Common "installed-over-state" "A snapshot of the leader replaced the state of a running node.";

    // Log time.
    JumpClamped Common "jump-clamped" "A leader's wall clock was a second off log time or more, which followed slowly.";
    OldWordsDropped Common "old-words-dropped" "A node that had been stopped did not believe what it heard first.";
    VotersBelieved Rare "voters-believed" "A node that had been stopped believed the voters that answered it.";
    LedByOwnClock Common "led-by-own-clock" "A leader whose log has stamps had heard nothing of log time, and went on from its own wall clock.";
    StampHeldBack Common "stamp-held-back" "A new leader's time was behind the last stamp of its log.";
    LogTimeBehind Common "log-time-behind" "A node's estimate of log time was later than its leader can be, and went back.";
    WallWithinBounds Common "wall-within-bounds" "A new leader's wall clock counted where words about log time left room.";

    // What commands do.
    ExpiredAtDeadline Common "expired-at-deadline" "A key ended in the very millisecond of its deadline.";
    ExecAborted Common "exec-aborted" "A watched key had changed, and EXEC did nothing.";
    NoScript Common "no-script" "EVALSHA named a script that is not in the cache.";
    WatchRefused Rare "watch-refused" "EXEC was refused because a WATCH before it had been.";

    // Connections of clients.
    RequestCutShort Common "request-cut-short" "A connection ended in the middle of a request.";
    OutputPaused Designed "output-paused" "A read waited because its client did not take its replies.";
    RefusedLoading Common "refused-loading" "A node that did not serve yet said LOADING.";
    RefusedNoQuorum Rare "refused-no-quorum" "A write that no leader took said CLUSTERDOWN.";
    RefusedBusy Rare "refused-busy" "A write that waited too long behind others said TRYAGAIN.";
    RefusedAtEnd Rare "refused-at-end" "A node that had to stop refused what it had not handed over.";

    // Links between nodes.
    LinkRefused Designed "link-refused" "A peer was refused by what it said of itself.";
    StartRefusedCopy Rare "start-refused-copy" "A member did not start because its data directory was a copy.";
    OlderCopyRefused Designed "older-copy-refused" "A peer was found to run on an older copy of its directory.";
    WipedNodeRefused Rare "wiped-node-refused" "A node with an empty or other disk heard that it may not vote in its old name.";
    StreamSilent Common "stream-silent" "A stream between nodes was given up because nothing moved on it.";
    StreamReplaced Rare "stream-replaced" "A peer's older stream ended because a newer one had taken its place.";
    LaterStartKnown VeryRare "later-start-known" "A stream ended because the log knew a later start of its peer.";
}

static COUNTS: [AtomicU32; Mark::ALL.len()] = [const { AtomicU32::new(0) }; Mark::ALL.len()];

/// Counts that this place was reached.
pub fn reached(mark: Mark) {
    if let Some(count) = COUNTS.get(mark as usize) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often each was reached in this process.
pub fn counts() -> impl Iterator<Item = (Mark, u32)> {
    Mark::ALL.iter().copied().zip(COUNTS.iter().map(|count| count.load(Ordering::Relaxed)))
}

/// Begins to count anew.
pub fn reset() {
    COUNTS.iter().for_each(|count| count.store(0, Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    /// A name stands for one mark, and is written as names are in reports.
    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = Mark::ALL.iter().map(|mark| mark.name()).collect();
        assert_eq!(names.len(), Mark::ALL.len());
        let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(names.iter().all(|name| plain(name)));
        assert!(Mark::ALL.iter().all(|mark| mark.story().ends_with('.')));
    }

    /// Each mark has a counter of its own.
    #[test]
    fn marks_are_counted_apart() {
        let count = |wanted| counts().find(|(mark, _)| *mark == wanted).map(|(_, count)| count);
        let last = *Mark::ALL.last().expect("there are marks");
        let (one, other) = (count(Mark::ElectionLost), count(last));
        reached(last);
        assert_eq!(count(Mark::ElectionLost), one);
        assert_eq!(count(last), other.map(|other| other + 1));
        reset();
        assert_eq!(count(last), Some(0));
    }
}
