//! A progress line on a terminal; nothing elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::outcome::Outcome;

/// See the file's head. Also knows how fast it goes.
pub struct Progress {
    of: Option<u64>,
    done: u64,
    failed: u64,
    simulated: Duration,
    since: Instant,
    what: String,
}

impl Progress {
    /// For so many runs, if that is known.
    #[allow(clippy::disallowed_methods)] // the person's own time, outside every simulation
    pub fn new(what: &str, of: Option<u64>) -> Self {
        let (done, failed, simulated) = (0, 0, Duration::ZERO);
        Self { of, done, failed, simulated, since: Instant::now(), what: what.to_owned() }
    }

    /// One more.
    pub fn step(&mut self, outcome: &Outcome) {
        self.done += 1;
        self.failed += u64::from(!outcome.is_clean());
        self.simulated += Duration::from_millis(outcome.simulated_ms);
        let mut out = std::io::stderr();
        if out.is_terminal() {
            // A progress line that can't be shown is no failure.
            let _ = write!(out, "\r{} ", self.line());
            let _ = out.flush();
        }
    }

    /// How long it has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// How far it has got, and how fast.
    pub fn line(&self) -> String {
        const WIDTH: u64 = 20;
        let seconds = self.elapsed().as_secs_f64().max(0.001);
        let bar = self.of.map_or_else(String::new, |of| {
            let full = (self.done * WIDTH / of.max(1)) as usize;
            format!("{}{} ", "#".repeat(full), "-".repeat(WIDTH as usize - full))
        });
        let of = self.of.map(|of| format!("/{of}")).unwrap_or_default();
        format!(
            "{} {bar}{}{of} seeds, {:.0}/min, {:.0}x real time, {} failed",
            self.what,
            self.done,
            self.done as f64 * 60.0 / seconds,
            self.simulated.as_secs_f64() / seconds,
            self.failed
        )
    }

    /// The line is over.
    pub fn end(&self) {
        let mut out = std::io::stderr();
        if out.is_terminal() {
            let _ = out.write_all(b"\r\x1b[K"); // as above
        }
    }
}
