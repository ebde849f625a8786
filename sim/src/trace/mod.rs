//! What happened in a run, event by event, with a rolling hash over all of them. No addresses, no wall clock, no thread names: the
//! same seed gives the same events. A ladder of the hash, one rung every so many events, shows where two runs part.

use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use crate::ports::heap;

mod event;

pub use event::{Event, Message, What, Who};

/// Events between two rungs of the ladder.
pub const RUNG_EVENTS: usize = 1024;

/// See the file's head.
#[derive(Debug, Default)]
pub struct Trace {
    events: Vec<Event>,
    hash: u128,
    ladder: Vec<u128>,
    buffer: event::Bytes,
}

/// Shared by all parts of a run.
pub type SharedTrace = Arc<Mutex<Trace>>;

impl Trace {
    /// Adds one event.
    pub fn push(&mut self, event: Event) {
        self.buffer.0.clear();
        self.buffer.0.extend_from_slice(&self.hash.to_le_bytes());
        event.hash(&mut self.buffer);
        self.hash = xxh3_128(&self.buffer.0);
        self.events.push(event);
        if self.events.len().is_multiple_of(RUNG_EVENTS) {
            self.ladder.push(self.hash);
        }
    }

    /// All events so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Hash over all events.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// The hash after each `RUNG_EVENTS` events.
    pub fn ladder(&self) -> &[u128] {
        &self.ladder
    }

    /// Takes the events out.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

/// Adds an event at the present simulated time.
pub fn note(trace: &SharedTrace, who: Who, what: What) {
    let at = turmoil::sim_elapsed().unwrap_or_default();
    note_at(trace, at, who, what);
}

/// Adds an event of the world, which stands outside the simulated time.
pub fn note_at(trace: &SharedTrace, at: Duration, who: Who, what: What) {
    let _turn = heap::outside();
    trace.lock().expect("no holder of the trace panics").push(Event { at, who, what });
}

/// Bytes as a person reads them: printable ones as they are, long ones cut with their length.
pub fn readable(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default().escape_ascii().to_string();
    if bytes.len() > SHOWN { format!("{text}..({})", bytes.len()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal events give equal hashes and ladders; one that differs changes every rung behind it and none before.
    #[test]
    fn the_ladder_shows_where_runs_part() {
        let run = |odd: usize| {
            let mut trace = Trace::default();
            for at in 0..3 * RUNG_EVENTS {
                let text = if at == odd { "odd" } else { "even" };
                let what = What::Note(text.to_owned());
                trace.push(Event { at: Duration::ZERO, who: Who::World, what });
            }
            (trace.hash(), trace.ladder().to_vec())
        };
        let (hash, ladder) = run(usize::MAX);
        assert_eq!(run(usize::MAX), (hash, ladder.clone()));
        let (other, parted) = run(RUNG_EVENTS + 5);
        assert_ne!(hash, other);
        let equal: Vec<bool> = ladder.iter().zip(&parted).map(|(a, b)| a == b).collect();
        assert_eq!(equal, [true, false, false]);
    }
}
