//! Whether anything that a process does still reaches the outside. Its disk, its streams and the process itself share one gate:
//! once it is closed, all of them are dead at the same instant, and nothing that runs while the process is torn down has an
//! effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const DARK: u8 = 2;

/// See the file's head; open at first. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<AtomicU8>);

impl Gate {
    /// The process is dead. Its kernel lives on and tells the other sides when the streams are dropped.
    pub fn close(&self) {
        self.0.fetch_max(CLOSED, Ordering::Relaxed);
    }

    /// The machine is without power: nobody tells the other sides anything.
    pub fn cut_power(&self) {
        self.0.fetch_max(DARK, Ordering::Relaxed);
    }

    /// Whether the process is dead.
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed) != OPEN
    }

    /// Whether its machine is without power as well.
    pub fn is_dark(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DARK
    }
}
