//! Requests on their way into the log: the open batch of this turn, and the numbered batches under way.
//!
//! A request is *waiting* while it has no number: it can still be refused, definitely not applied. Numbering binds
//! its bytes to a sequence number for the incarnation's life (rule 1 of ARCHITECTURE.md): from then on only the state
//! machine can say what became of it. Generic over the owner of a request, so that the rules are tested without sockets.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::entry::{self, Part};
use steadfast_core::mark::{self, Mark};
use steadfast_replication::gateway::PARCEL_BYTES_MAX;

/// Batches under way and requests waiting for a number.
#[derive(Debug)]
pub(crate) struct Batches<O> {
    /// Encoded requests without a number, oldest first.
    open: Vec<u8>,
    waiting: VecDeque<Waiting<O>>,
    numbered: VecDeque<Numbered<O>>,
    parcels_inflight: usize,
    bytes_inflight: usize,
    next_sequence: u64,
}

#[derive(Debug)]
struct Waiting<O> {
    bytes: usize,
    deadline: Duration,
    owner: O,
}

/// A batch that has its numbers: `last_sequence` ends it.
#[derive(Debug)]
struct Numbered<O> {
    last_sequence: u64,
    parcels: usize,
    bytes: usize,
    owners: Vec<Option<(Duration, O)>>,
    /// Owners before this position were answered or gave up already.
    settled: usize,
}

/// Who numbers: the gateway and its incarnation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) node: u64,
    pub(crate) incarnation: u64,
}

impl<O> Batches<O> {
    pub(crate) const fn new() -> Self {
        Self {
            open: Vec::new(),
            waiting: VecDeque::new(),
            numbered: VecDeque::new(),
            parcels_inflight: 0,
            bytes_inflight: 0,
            next_sequence: 1,
        }
    }

    /// Puts one request behind all others; `encode` appends its bytes.
    pub(crate) fn push(&mut self, deadline: Duration, owner: O, encode: impl FnOnce(&mut Vec<u8>)) {
        let before = self.open.len();
        encode(&mut self.open);
        self.waiting.push_back(Waiting { bytes: self.open.len() - before, deadline, owner });
    }

    /// Bytes of requests without a number.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.open.len()
    }

    /// Whether requests wait for a number.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether anybody is still owed an answer.
    pub(crate) fn owes_answers(&self) -> bool {
        let owed =
            |batch: &Numbered<O>| batch.owners.iter().skip(batch.settled).any(Option::is_some);
        self.has_waiting() || self.numbered.iter().any(owed)
    }

    /// Parcels numbered and not yet passed.
    pub(crate) fn parcels_inflight(&self) -> usize {
        self.parcels_inflight
    }

    /// Bytes of those parcels.
    pub(crate) fn bytes_inflight(&self) -> usize {
        self.bytes_inflight
    }

    /// Numbers waiting requests as one batch of at most one parcel, or, if the first request alone is larger than a
    /// parcel, as the parts of that one; hands the parcels to `emit`. Does nothing if none waits.
    pub(crate) fn number(&mut self, origin: Origin, mut emit: impl FnMut(u64, Bytes)) {
        let Some(first) = self.waiting.front() else { return };
        let (mut bytes, mut count) = (first.bytes, 1);
        for request in self.waiting.iter().skip(1) {
            if bytes + request.bytes > PARCEL_BYTES_MAX {
                break;
            }
            bytes += request.bytes;
            count += 1;
        }
        let whole = bytes == self.open.len();
        let rest = if whole { Vec::new() } else { self.open.split_off(bytes) };
        let batch = std::mem::replace(&mut self.open, rest);
        let owners = self.waiting.drain(..count).map(|w| Some((w.deadline, w.owner))).collect();

        let pieces = bytes.div_ceil(PARCEL_BYTES_MAX).max(1);
        for (at, piece) in batch.chunks(PARCEL_BYTES_MAX).enumerate() {
            let part = match (pieces, at + 1 == pieces) {
                (1, _) => Part::Whole,
                (_, true) => Part::Last,
                (_, false) => Part::More,
            };
            let op = entry::encode_parcel(
                origin.node,
                origin.incarnation,
                self.next_sequence,
                part,
                piece,
            );
            emit(self.next_sequence, Bytes::from(op));
            self.next_sequence += 1;
        }
        if pieces > 1 {
            mark::reached(Mark::BatchInParcels);
        }
        self.parcels_inflight += pieces;
        self.bytes_inflight += bytes;
        let last_sequence = self.next_sequence - 1;
        let batch_facts = Numbered { last_sequence, parcels: pieces, bytes, owners, settled: 0 };
        self.numbered.push_back(batch_facts);
        if whole {
            self.open = batch;
            self.open.clear();
        }
    }

    /// The owner of request `position` of the batch that parcel `sequence` ended, if it is still owed an answer.
    pub(crate) fn settle(&mut self, sequence: u64, position: u32) -> Option<O> {
        let at = self.numbered.binary_search_by_key(&sequence, |b| b.last_sequence).ok()?;
        let batch = self.numbered.get_mut(at)?;
        batch.owners.get_mut(position as usize)?.take().map(|(_, owner)| owner)
    }

    /// The state machine has passed everything up to `sequence`: forgets those batches.
    /// Whoever is still owed an answer then (an install skipped the replies) is handed to `unanswered`.
    pub(crate) fn passed(&mut self, sequence: u64, mut unanswered: impl FnMut(O)) {
        while self.numbered.front().is_some_and(|batch| batch.last_sequence <= sequence) {
            let Some(batch) = self.numbered.pop_front() else { return };
            self.parcels_inflight -= batch.parcels;
            self.bytes_inflight -= batch.bytes;
            batch.owners.into_iter().flatten().for_each(|(_, owner)| unanswered(owner));
        }
    }

    /// Requests may wait less long from now on: nobody who waits already waits beyond `deadline`. So deadlines go on rising
    /// from the oldest request to the newest, which the queues of `refuse_waiting` and `give_up` rely on.
    pub(crate) fn shorten(&mut self, deadline: Duration) {
        let numbered = self.numbered.iter_mut().flat_map(|batch| batch.owners.iter_mut().flatten());
        let all =
            numbered.map(|(own, _)| own).chain(self.waiting.iter_mut().map(|w| &mut w.deadline));
        all.for_each(|own| *own = deadline.min(*own));
    }

    /// Takes back requests that waited for a number until their deadline: they are definitely not applied.
    pub(crate) fn refuse_waiting(&mut self, now: Duration, mut refused: impl FnMut(O)) {
        let mut bytes = 0;
        while self.waiting.front().is_some_and(|request| request.deadline <= now) {
            let Some(request) = self.waiting.pop_front() else { break };
            bytes += request.bytes;
            refused(request.owner);
        }
        self.open.drain(..bytes);
    }

    /// Owners of numbered requests past their deadline: what became of them is unknown. The batches stay.
    pub(crate) fn give_up(&mut self, now: Duration, mut unknown: impl FnMut(O)) {
        for batch in &mut self.numbered {
            while let Some(slot) = batch.owners.get_mut(batch.settled) {
                if slot.as_ref().is_some_and(|(deadline, _)| *deadline > now) {
                    return;
                }
                if let Some((_, owner)) = slot.take() {
                    unknown(owner);
                }
                batch.settled += 1;
            }
        }
        if is_planted(Canary::NumberRebound) {
            let given_up = |batch: &Numbered<O>| batch.settled == batch.owners.len();
            while self.numbered.back().is_some_and(given_up) {
                let Some(last) = self.numbered.pop_back() else { return };
                self.next_sequence = last.last_sequence + 1 - last.parcels as u64;
                self.parcels_inflight -= last.parcels;
                self.bytes_inflight -= last.bytes;
            }
        }
    }

    /// Everyone owed an answer, for a node that stops: (waiting, numbered).
    pub(crate) fn abandon(&mut self, mut refused: impl FnMut(O), unknown: impl FnMut(O)) {
        self.open.clear();
        self.waiting.drain(..).for_each(|request| refused(request.owner));
        self.passed(u64::MAX, unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { node: 1, incarnation: 1 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn push(batches: &mut Batches<u32>, deadline: u64, owner: u32, bytes: usize) {
        batches.push(at(deadline), owner, |open| open.resize(open.len() + bytes, 7));
    }

    /// Numbers once; answers (sequence, bytes) of the parcels.
    fn number(batches: &mut Batches<u32>) -> Vec<(u64, usize)> {
        let mut parcels = Vec::new();
        batches.number(ORIGIN, |sequence, op| parcels.push((sequence, op.len())));
        parcels
    }

    /// A request without a number is refused at its deadline, one with a number becomes unknown, and each only once.
    #[test]
    fn deadlines_before_and_after_numbering() {
        let mut batches = Batches::new();
        push(&mut batches, 1, 10, 8);
        push(&mut batches, 2, 11, 8);
        assert_eq!(number(&mut batches).len(), 1);
        push(&mut batches, 3, 12, 8);
        push(&mut batches, 9, 13, 8);

        let (mut refused, mut unknown) = (Vec::new(), Vec::new());
        batches.refuse_waiting(at(3), |owner| refused.push(owner));
        batches.give_up(at(1), |owner| unknown.push(owner));
        batches.give_up(at(1), |owner| unknown.push(owner));
        assert_eq!((refused, unknown), (vec![12], vec![10]));
        assert_eq!(batches.waiting_bytes(), 8);
        assert_eq!(batches.settle(1, 0), None);
        assert_eq!(batches.settle(1, 1), Some(11));
        assert_eq!(batches.parcels_inflight(), 1, "it stays until the state machine has passed it");
        batches.passed(1, |owner| panic!("{owner} was answered before"));
        assert_eq!(batches.parcels_inflight(), 0);
    }

    /// A shorter time-out holds for those who wait already, so that none of the newer ones waits for an older one's deadline.
    #[test]
    fn a_shorter_time_out_holds_at_once() {
        let mut batches = Batches::new();
        push(&mut batches, 10, 1, 8);
        number(&mut batches);
        push(&mut batches, 10, 2, 8);
        batches.shorten(at(2));
        push(&mut batches, 3, 3, 8);
        let (mut refused, mut unknown) = (Vec::new(), Vec::new());
        batches.give_up(at(2), |owner| unknown.push(owner));
        batches.refuse_waiting(at(2), |owner| refused.push(owner));
        assert_eq!((&refused[..], &unknown[..]), (&[2][..], &[1][..]));
        batches.refuse_waiting(at(3), |owner| refused.push(owner));
        assert_eq!(refused, [2, 3]);
    }

    /// Many small requests share a parcel up to its bound; a larger one travels as parts with numbers of its own.
    #[test]
    fn parcels_are_bounded() {
        let mut batches = Batches::new();
        push(&mut batches, 1, 1, PARCEL_BYTES_MAX - 10);
        push(&mut batches, 1, 2, 10);
        push(&mut batches, 1, 3, 1);
        push(&mut batches, 1, 4, 2 * PARCEL_BYTES_MAX + 5);
        assert_eq!(number(&mut batches).iter().map(|p| p.0).collect::<Vec<_>>(), [1]);
        assert_eq!(number(&mut batches).iter().map(|p| p.0).collect::<Vec<_>>(), [2]);
        assert_eq!(number(&mut batches).iter().map(|p| p.0).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(number(&mut batches).is_empty());
        assert_eq!(batches.parcels_inflight(), 5);
        assert_eq!(batches.settle(2, 0), Some(3));
        assert_eq!(batches.settle(4, 0), None, "a batch answers with its last part");
        assert_eq!(batches.settle(5, 0), Some(4));
    }

    /// After an install the state may have passed batches whose replies never came by.
    #[test]
    fn passed_without_reply_is_reported() {
        let mut batches = Batches::new();
        push(&mut batches, 1, 1, 8);
        number(&mut batches);
        push(&mut batches, 1, 2, 8);
        number(&mut batches);
        let mut lost = Vec::new();
        batches.passed(1, |owner| lost.push(owner));
        assert_eq!(lost, [1]);
        batches.abandon(|owner| panic!("{owner} had a number"), |owner| lost.push(owner));
        assert_eq!(lost, [1, 2]);
    }
}
