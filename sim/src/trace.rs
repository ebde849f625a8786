//! What happened in a run, one line an event: simulated time, who, what. No addresses, no wall clock, no thread names:
//! the same seed gives the same bytes.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The lines of a run, and a rolling hash over them.
#[derive(Debug, Default)]
pub struct Trace {
    text: String,
    lines: u64,
    hash: u128,
}

/// Shared by all parts of a run.
pub type SharedTrace = Arc<Mutex<Trace>>;

impl Trace {
    /// Adds one event.
    pub fn event(&mut self, at: Duration, who: &str, what: &str) {
        let start = self.text.len();
        // Writing into a string cannot fail.
        let _ =
            writeln!(self.text, "{:>6}.{:06} {who:<3} {what}", at.as_secs(), at.subsec_micros());
        for byte in self.text.as_bytes().get(start..).unwrap_or_default() {
            self.hash = (self.hash ^ u128::from(*byte))
                .wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013B);
        }
        self.lines += 1;
    }

    /// All lines.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Hash over all lines.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// Number of lines.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

/// Adds an event at the present simulated time.
pub fn note(trace: &SharedTrace, who: &str, what: &str) {
    let now = turmoil::sim_elapsed().unwrap_or_default();
    trace.lock().expect("no holder of the trace panics").event(now, who, what);
}

/// Bytes as a person reads them: printable ones as they are, long ones cut with their length.
pub fn readable(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default().escape_ascii().to_string();
    if bytes.len() > SHOWN { format!("{text}..({})", bytes.len()) } else { text }
}
