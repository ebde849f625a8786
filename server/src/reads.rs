//! Reads that wait: for a read index, for the state to reach it, for a tick of the log. One round trip to the quorum serves
//! all reads of a turn: those that come while a round is under way wait for the next one, because a round answers only for
//! what was invoked before it began.
//!
//! A read is kept here for as long as the cluster holds it up and no longer, with the time at which that has been enough.
//! What holds it up afterwards is its own connection: an earlier request, which has a deadline, or output that is not taken.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::stamp::UnixMillis;

/// Reads with their deadlines, which rise: a later read never has an earlier one (see `shorten`).
type Batch<R> = Vec<(Duration, R)>;

/// The reads that wait. `R` names one of them.
#[derive(Debug)]
pub(crate) struct Rounds<R> {
    round: u64,
    gathering: Batch<R>,
    underway: Option<Batch<R>>,
    /// Reads whose index is known, by index, until the state is there.
    confirmed: VecDeque<(u64, Batch<R>)>,
    /// Reads that met a key which is due by the clock and not yet by the log: the stamp they need, and their deadline.
    ticks: Vec<(UnixMillis, Duration, R)>,
}

impl<R> Rounds<R> {
    pub(crate) const fn new() -> Self {
        Self {
            round: 0,
            gathering: Vec::new(),
            underway: None,
            confirmed: VecDeque::new(),
            ticks: Vec::new(),
        }
    }

    /// A read that needs an index. It belongs to the next round, never to one that has begun.
    pub(crate) fn join(&mut self, deadline: Duration, read: R) {
        match &mut self.underway {
            Some(underway) if is_planted(Canary::ReadJoinsRound) => underway.push((deadline, read)),
            _ => self.gathering.push((deadline, read)),
        }
    }

    /// Begins a round if one is wanted and none is under way; answers its number, which is never used again.
    pub(crate) fn begin(&mut self) -> Option<u64> {
        if self.gathering.is_empty() || self.underway.is_some() {
            return None;
        }
        self.round += 1;
        self.underway = Some(std::mem::take(&mut self.gathering));
        Some(self.round)
    }

    /// `round` was answered with `index`: hands each of its reads to `confirm`, and keeps them until the state is there.
    /// Does nothing if it is not the round under way.
    pub(crate) fn finish(&mut self, round: u64, index: u64, confirm: impl FnMut(&R)) {
        if round != self.round {
            return;
        }
        let Some(reads) = self.underway.take() else { return };
        reads.iter().map(|(_, read)| read).for_each(confirm);
        let at = self.confirmed.partition_point(|(other, _)| *other <= index);
        self.confirmed.insert(at, (index, reads));
    }

    /// A read whose index is known from the beginning.
    pub(crate) fn await_index(&mut self, index: u64, deadline: Duration, read: R) {
        let at = self.confirmed.partition_point(|(other, _)| *other <= index);
        match at.checked_sub(1).and_then(|last| self.confirmed.get_mut(last)) {
            Some((other, reads)) if *other == index => reads.push((deadline, read)),
            _ => self.confirmed.insert(at, (index, vec![(deadline, read)])),
        }
    }

    /// The state is at `applied`: the next batch of reads that can run, if there is one.
    pub(crate) fn reached(&mut self, applied: u64) -> Option<impl Iterator<Item = R> + use<R>> {
        self.confirmed.front().filter(|(wanted, _)| *wanted <= applied)?;
        let (_, reads) = self.confirmed.pop_front()?;
        Some(reads.into_iter().map(|(_, read)| read))
    }

    /// A read that needs the log's time to reach `stamp`.
    pub(crate) fn await_stamp(&mut self, stamp: UnixMillis, deadline: Duration, read: R) {
        self.ticks.push((stamp, deadline, read));
    }

    /// The log's time has reached `stamp`: the reads that waited for that.
    pub(crate) fn stamped(&mut self, stamp: UnixMillis) -> impl Iterator<Item = R> + use<R> {
        let reached = self.ticks.extract_if(.., |(wanted, _, _)| *wanted <= stamp);
        reached.map(|(_, _, read)| read).collect::<Vec<_>>().into_iter()
    }

    /// Hands out the reads past their deadline. They may have gone into the log with a write meanwhile.
    pub(crate) fn overdue(&mut self, now: Duration, mut give_up: impl FnMut(R)) {
        let confirmed = self.confirmed.iter_mut().map(|(_, reads)| reads);
        let batches = confirmed.chain(self.underway.as_mut()).chain([&mut self.gathering]);
        for reads in batches {
            let due = reads.partition_point(|(deadline, _)| *deadline <= now);
            reads.drain(..due).for_each(|(_, read)| give_up(read));
        }
        self.confirmed.retain(|(_, reads)| !reads.is_empty());
        let due = self.ticks.extract_if(.., |(_, deadline, _)| *deadline <= now);
        due.for_each(|(_, _, read)| give_up(read));
    }

    /// Requests may wait less long from now on: nobody who waits already waits beyond `deadline`.
    pub(crate) fn shorten(&mut self, deadline: Duration) {
        let confirmed = self.confirmed.iter_mut().map(|(_, reads)| reads);
        let batches = confirmed.chain(self.underway.as_mut()).chain([&mut self.gathering]);
        batches.flatten().for_each(|(own, _)| *own = deadline.min(*own));
        self.ticks.iter_mut().for_each(|(_, own, _)| *own = deadline.min(*own));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    type Reads = Rounds<&'static str>;

    fn finish(rounds: &mut Reads, round: u64, index: u64) -> Vec<&'static str> {
        let mut reads = Vec::new();
        rounds.finish(round, index, |read| reads.push(*read));
        reads
    }

    fn overdue(rounds: &mut Reads, seconds: u64) -> Vec<&'static str> {
        let mut reads = Vec::new();
        rounds.overdue(at(seconds), |read| reads.push(read));
        reads
    }

    fn reached(rounds: &mut Reads, applied: u64) -> Vec<&'static str> {
        rounds.reached(applied).map_or_else(Vec::new, Iterator::collect)
    }

    /// A read that comes while a round is under way must not be answered by it.
    #[test]
    fn a_round_answers_only_for_what_came_before_it() {
        let mut rounds = Rounds::new();
        rounds.join(at(1), "early");
        assert_eq!(rounds.begin(), Some(1));
        rounds.join(at(2), "late");
        assert_eq!(rounds.begin(), None, "one round at a time");
        assert_eq!(finish(&mut rounds, 7, 1), [""; 0], "an answer to another round is nobody's");
        assert_eq!(finish(&mut rounds, 1, 5), ["early"]);
        assert_eq!(rounds.begin(), Some(2));
        assert_eq!(finish(&mut rounds, 2, 4), ["late"]);
        assert_eq!(reached(&mut rounds, 3), [""; 0]);
        assert_eq!(reached(&mut rounds, 4), ["late"]);
        assert_eq!(reached(&mut rounds, 4), [""; 0]);
        assert_eq!(reached(&mut rounds, 5), ["early"]);
    }

    /// Whatever part of the cluster holds a read up, its deadline holds; nothing is kept of a read that can run.
    #[test]
    fn every_wait_has_a_deadline() {
        let mut rounds = Rounds::new();
        rounds.join(at(1), "ran");
        rounds.begin();
        finish(&mut rounds, 1, 1);
        assert_eq!(reached(&mut rounds, 1), ["ran"]);
        rounds.join(at(1), "behind");
        rounds.begin();
        finish(&mut rounds, 2, 9);
        rounds.join(at(2), "asking");
        rounds.join(at(4), "asking too");
        rounds.begin();
        rounds.join(at(3), "gathering");
        rounds.await_stamp(UnixMillis(7), at(2), "ticking");
        assert_eq!(overdue(&mut rounds, 0), [""; 0]);
        assert_eq!(overdue(&mut rounds, 1), ["behind"]);
        assert_eq!(overdue(&mut rounds, 2), ["asking", "ticking"]);
        assert_eq!(overdue(&mut rounds, 3), ["gathering"]);
        assert_eq!(finish(&mut rounds, 3, 9), ["asking too"]);
        assert_eq!(overdue(&mut rounds, 9), ["asking too"]);
        assert_eq!(overdue(&mut rounds, 9), [""; 0]);
    }

    /// A read that needs a tick goes on at its stamp.
    #[test]
    fn ticks_let_reads_go_on() {
        let mut rounds = Rounds::new();
        for (stamp, read) in [(7, "seven"), (9, "nine")] {
            rounds.await_stamp(UnixMillis(stamp), at(1), read);
        }
        assert_eq!(rounds.stamped(UnixMillis(8)).collect::<Vec<_>>(), ["seven"]);
        assert_eq!(overdue(&mut rounds, 1), ["nine"]);
    }

    /// A shorter time-out holds for those who wait already, and leaves no early deadline behind a late one.
    #[test]
    fn a_shorter_time_out_holds_at_once() {
        let mut rounds = Rounds::new();
        rounds.join(at(10), "under way");
        rounds.begin();
        rounds.join(at(1), "sooner");
        rounds.join(at(10), "gathering");
        rounds.await_stamp(UnixMillis(7), at(10), "ticking");
        rounds.shorten(at(2));
        rounds.join(at(3), "new");
        assert_eq!(overdue(&mut rounds, 1), ["sooner"]);
        assert_eq!(overdue(&mut rounds, 2), ["under way", "gathering", "ticking"]);
        assert_eq!(overdue(&mut rounds, 3), ["new"]);
    }

    /// A read whose index is known waits for that index only, beside those of rounds.
    #[test]
    fn known_indexes_need_no_round() {
        let mut rounds = Rounds::new();
        for (index, read) in [(7, "seven"), (5, "five"), (7, "seven too")] {
            rounds.await_index(index, at(index), read);
        }
        assert_eq!(rounds.begin(), None, "nobody is to be asked");
        assert_eq!(reached(&mut rounds, 4), [""; 0]);
        assert_eq!(reached(&mut rounds, 6), ["five"]);
        assert_eq!(overdue(&mut rounds, 6), [""; 0]);
        assert_eq!(reached(&mut rounds, 7), ["seven", "seven too"]);
        rounds.await_index(9, at(1), "late");
        assert_eq!(overdue(&mut rounds, 1), ["late"]);
    }
}
