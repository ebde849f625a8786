//! Writes the state down while commands go on: in steps between turns of the event loop, each small enough that no client notices,
//! and no faster than the disk takes them. What changes meanwhile is kept as it was by the state machine.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::mark::{self, Mark};
use steadfast_replication::gateway::{Intake, Piece};
use steadfast_replication::ports::Clock;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::shell::{SharedShell, Shell};

/// Rest after each step, in multiples of what the step took: the event loop spends at most a quarter of its time on a snapshot.
const REST: u32 = 3;
const REST_MIN: Duration = Duration::from_millis(1);

/// Writes one snapshot after another, as they begin.
pub(crate) async fn write<C: Clock>(shell: SharedShell<C>, begun: Rc<Notify>) {
    loop {
        begun.notified().await;
        loop {
            let Some(pieces) = shell.borrow().snapshot.clone() else { break };
            let room = pieces.clone().reserve_owned().await;
            let Some(took) = shell.borrow_mut().step_snapshot(&pieces, room.ok()) else { break };
            sleep((took * REST).max(REST_MIN)).await;
        }
    }
}

impl<C: Clock> Shell<C> {
    /// Begins to write down the state as it is now.
    pub(crate) fn begin_snapshot(&mut self, pieces: mpsc::Sender<Piece>) {
        if self.batches.parcels_inflight() > 0 {
            mark::reached(Mark::SnapshotWhileWriting);
        }
        if self.machine.next_deadline().is_some() {
            mark::reached(Mark::SnapshotWithDeadlines);
        }
        self.save_asked = false;
        let began = self.clock.monotonic();
        let index = self.machine.begin_snapshot();
        self.note_step(began);
        self.send(Intake::SnapshotBegun { index });
        self.snapshot = Some(pieces);
        self.wakes.snapshot.notify_one();
    }

    /// One step of the snapshot that goes into `pieces`; answers what it took, or none at the end, or if that one is of no use any more.
    fn step_snapshot(
        &mut self,
        pieces: &mpsc::Sender<Piece>,
        room: Option<mpsc::OwnedPermit<Piece>>,
    ) -> Option<Duration> {
        let current = self.snapshot.as_ref()?;
        if !current.same_channel(pieces) {
            return Some(Duration::ZERO); // another has begun meanwhile
        }
        let Some(room) = room else {
            self.machine.abandon_snapshot();
            self.snapshot = None;
            return None;
        };
        let began = self.clock.monotonic();
        let step = self.machine.step_snapshot(self.config.snapshot_step_bytes)?;
        let (bytes, is_last) = match step {
            Ok(step) => step,
            Err(decay) => {
                self.snapshot = None;
                self.decayed(decay);
                return None;
            }
        };
        let took = self.note_step(began);
        if !bytes.is_empty() || is_last {
            room.send(Piece { bytes: Bytes::from(bytes), is_last });
        }
        if is_last {
            self.snapshot = None;
            return None;
        }
        Some(took)
    }

    fn note_step(&mut self, began: Duration) -> Duration {
        let took = self.clock.monotonic().saturating_sub(began);
        self.figures.snapshot_step_max = self.figures.snapshot_step_max.max(took);
        took
    }
}
