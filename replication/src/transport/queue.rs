//! What waits for a peer: two lanes, bounded; log time goes on in it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::formation::Member;
use crate::wire::PeerFrame;

/// Frames and bytes of a lane; beyond them the newest frames are dropped, and raft or the outbox sends again.
const QUEUE_FRAMES_MAX: usize = 4096;
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The way into a peer's queue. It has two lanes, each in order and with room of its own: raft's messages pass the parcels of
/// gateways, for a leader that hears its followers' answers only behind megabytes of a large request steps down.
pub(super) struct Queue {
    pub(super) peer: Member,
    raft: Lane,
    ops: Lane,
    monotonic: Monotonic,
}

/// A frame in a queue. Log time does not stand still while it waits there.
struct Queued {
    bytes: Vec<u8>,
    /// The log time in it, and when that was so.
    log_time: Option<(u64, Duration)>,
}

/// Monotonic time, by the clock that log time runs by.
pub(super) type Monotonic = Rc<dyn Fn() -> Duration>;

impl Queued {
    fn of(frame: &PeerFrame, monotonic: &Monotonic) -> Self {
        let log_time = (frame.log_time_ms > 0).then(|| (frame.log_time_ms, monotonic()));
        Self { bytes: frame.to_bytes(), log_time }
    }

    /// The frame as it leaves the queue now. A peer that has just started has no other word to measure this one by: were it old, it
    /// might lead by it, and locks would end before their time when log time catches up. `echo_us` lets it tell how old it may be.
    fn leave(self, monotonic: &Monotonic, echo_us: u64) -> Vec<u8> {
        let Self { mut bytes, log_time } = self;
        if let Some((log_time_ms, since)) = log_time {
            let waited_ms = monotonic().saturating_sub(since).as_millis() as u64;
            let log_time_ms = if waited_ms > 0 { log_time_ms.saturating_add(waited_ms) } else { 0 };
            // Of a field that comes twice the last one counts (protobuf, "Last One Wins"); what is 0 does not come.
            bytes.extend(PeerFrame { log_time_ms, echo_us, ..PeerFrame::default() }.to_bytes());
        }
        bytes
    }
}

struct Lane {
    frames: mpsc::Sender<Queued>,
    waiting_bytes: Rc<Cell<usize>>,
}

/// The way out of it.
pub(super) struct Waiting {
    raft: LaneEnd,
    ops: LaneEnd,
    monotonic: Monotonic,
    /// The peer's clock as its last sign of life on the present stream told it, in microseconds.
    pub(super) echo_us: Rc<Cell<u64>>,
}

struct LaneEnd {
    frames: mpsc::Receiver<Queued>,
    waiting_bytes: Rc<Cell<usize>>,
}

impl Queue {
    pub(super) fn of(peer: Member, monotonic: Monotonic) -> (Self, Waiting) {
        let ((raft, raft_end), (ops, ops_end)) = (Lane::open(), Lane::open());
        let clock = Rc::clone(&monotonic);
        let echo_us = Rc::default();
        let waiting = Waiting { raft: raft_end, ops: ops_end, monotonic: clock, echo_us };
        (Self { peer, raft, ops, monotonic }, waiting)
    }

    pub(super) fn push(&self, frame: &PeerFrame) {
        let lane = if frame.raft.is_some() { &self.raft } else { &self.ops };
        lane.push(Queued::of(frame, &self.monotonic));
    }
}

impl Lane {
    fn open() -> (Self, LaneEnd) {
        let (sender, frames) = mpsc::channel(QUEUE_FRAMES_MAX);
        let waiting_bytes = Rc::new(Cell::new(0));
        let end = LaneEnd { frames, waiting_bytes: Rc::clone(&waiting_bytes) };
        (Self { frames: sender, waiting_bytes }, end)
    }

    fn push(&self, frame: Queued) {
        let bytes = self.waiting_bytes.get() + frame.bytes.len();
        if bytes <= QUEUE_BYTES_MAX && self.frames.try_send(frame).is_ok() {
            self.waiting_bytes.set(bytes);
        }
    }
}

impl Waiting {
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        let frame = tokio::select! {
            biased;
            frame = self.raft.next() => frame,
            frame = self.ops.next() => frame,
        };
        frame.map(|frame| frame.leave(&self.monotonic, self.echo_us.get()))
    }

    pub(super) fn try_next(&mut self) -> Option<Vec<u8>> {
        let frame = self.raft.try_next().or_else(|| self.ops.try_next());
        frame.map(|frame| frame.leave(&self.monotonic, self.echo_us.get()))
    }
}

impl LaneEnd {
    /// May be dropped at any time: a frame that was taken is always answered.
    async fn next(&mut self) -> Option<Queued> {
        let frame = self.frames.recv().await;
        self.left(frame)
    }

    fn try_next(&mut self) -> Option<Queued> {
        let frame = self.frames.try_recv().ok();
        self.left(frame)
    }

    fn left(&self, frame: Option<Queued>) -> Option<Queued> {
        let bytes = frame.as_ref().map_or(0, |frame| frame.bytes.len());
        self.waiting_bytes.set(self.waiting_bytes.get() - bytes);
        frame
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message as _;

    use super::*;
    use crate::wire::RaftMessage;

    fn frame(raft: bool, ops: &[u8]) -> PeerFrame {
        let ops = vec![Bytes::copy_from_slice(ops)];
        PeerFrame { raft: raft.then(RaftMessage::default), ops, ..PeerFrame::default() }
    }

    fn queue(now: &Rc<Cell<Duration>>) -> (Queue, Waiting) {
        let now = Rc::clone(now);
        let peer = Member { id: 2, host: "two".to_owned(), port: 1 };
        Queue::of(peer, Rc::new(move || now.get()))
    }

    /// Raft's messages do not wait behind a large request, nor for room that it takes; each lane keeps its order.
    #[test]
    fn raft_passes_parcels() {
        let (queue, mut waiting) = queue(&Rc::default());
        let large = frame(false, &vec![7; QUEUE_BYTES_MAX / 4]);
        let mut expected = vec![frame(true, b"a"), frame(true, b"b"), large.clone(), large.clone()];
        for pushed in [&large, &expected[0], &large, &expected[1], &large] {
            queue.push(pushed);
        }
        expected.push(large.clone());
        queue.push(&large); // no room: its head counts, too
        for due in expected {
            assert_eq!(waiting.try_next(), Some(due.to_bytes()));
        }
        assert_eq!(waiting.try_next(), None);
        queue.push(&large);
        assert_eq!(waiting.try_next(), Some(large.to_bytes()), "there is room again");
    }

    /// What waits for its link says the log time of the moment at which it leaves; what says none goes on saying none.
    #[test]
    fn log_time_goes_on_in_the_queue() {
        let now = Rc::new(Cell::new(Duration::from_secs(5)));
        let (queue, mut waiting) = queue(&now);
        let old = PeerFrame { log_time_ms: 7_000, ..frame(true, b"a") };
        let silent = frame(true, b"b");
        queue.push(&old);
        queue.push(&silent);
        now.set(now.get() + Duration::from_millis(817));
        queue.push(&old);
        let mut next = || {
            let bytes = waiting.try_next().expect("three wait");
            PeerFrame::decode(&bytes[..]).expect("it is a frame")
        };
        assert_eq!(next(), PeerFrame { log_time_ms: 7_817, ..old.clone() });
        assert_eq!(next(), silent);
        assert_eq!(next(), old, "it did not wait");
        assert_eq!(queue.raft.waiting_bytes.get(), 0);
    }
}
