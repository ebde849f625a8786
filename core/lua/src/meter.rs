//! What a run may use up, and what it has used up: instructions and bytes, never time. Shared by the hook, which counts what
//! the interpreter does, and by the library functions, which count what they do in its stead.

use std::cell::Cell;

/// Bytes that a library function reads or writes for the price of one instruction.
const BYTES_PER_INSTRUCTION: usize = 8;
/// Instructions that a library function counts for each value that it makes or looks at.
pub(crate) const VALUE_INSTRUCTIONS: u64 = 8;
/// Bytes that an output may grow by before they are counted.
const UNCOUNTED_BYTES_MAX: usize = 1024;
const STOPPED: &str = "the script ran out of its budget";
const OUT_OF_MEMORY: &str = "not enough memory";

/// The counters of one run.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    used: Cell<u64>,
    instructions_max: u64,
    memory_bytes_max: usize,
    stopped: Cell<bool>,
}

impl Meter {
    pub(crate) fn new(instructions_max: u64, memory_bytes_max: usize) -> Self {
        Self { instructions_max, memory_bytes_max, ..Self::default() }
    }

    /// Instructions used so far.
    pub(crate) fn used(&self) -> u64 {
        self.used.get()
    }

    /// Instructions that are left.
    pub(crate) fn left(&self) -> u64 {
        self.instructions_max.saturating_sub(self.used.get())
    }

    /// Whether the instructions ran out.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Counts without an error, where none can be thrown; whoever counts next throws it. True once the budget is used up.
    pub(crate) fn count(&self, instructions: u64) -> bool {
        self.used.set(self.used.get().saturating_add(instructions));
        if self.used.get() > self.instructions_max {
            self.stopped.set(true);
        }
        self.stopped.get()
    }

    /// Counts; an error once the budget is used up, and ever after.
    pub(crate) fn use_up(&self, instructions: u64) -> mlua::Result<()> {
        if self.count(instructions) { Err(mlua::Error::runtime(STOPPED)) } else { Ok(()) }
    }

    /// Counts bytes that are read or written.
    pub(crate) fn use_up_bytes(&self, bytes: usize) -> mlua::Result<()> {
        self.use_up((bytes / BYTES_PER_INSTRUCTION) as u64)
    }

    /// Ends the run as if all instructions were used up.
    pub(crate) fn stop(&self) -> mlua::Error {
        self.stopped.set(true);
        mlua::Error::runtime(STOPPED)
    }

    /// An error if so many bytes outside of the interpreter are more than the run may have inside.
    pub(crate) fn check_size(&self, bytes: usize) -> mlua::Result<()> {
        if bytes > self.memory_bytes_max { Err(out_of_memory()) } else { Ok(()) }
    }
}

pub(crate) fn out_of_memory() -> mlua::Error {
    mlua::Error::MemoryError(OUT_OF_MEMORY.to_owned())
}

/// Whether this was thrown because the memory budget ran out.
pub(crate) fn is_out_of_memory(thrown: &mlua::Value) -> bool {
    match thrown {
        mlua::Value::String(text) => *text.as_bytes() == *OUT_OF_MEMORY.as_bytes(),
        mlua::Value::Error(error) => is_memory_error(error),
        _ => false,
    }
}

pub(crate) fn is_memory_error(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. } => is_memory_error(cause),
        _ => false,
    }
}

/// Bytes that a library function makes for the script. Counted as they come, and never more than the script's memory.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    meter: &'a Meter,
    bytes: Vec<u8>,
    counted: usize,
}

impl<'a> Output<'a> {
    pub(crate) fn new(meter: &'a Meter) -> Self {
        Self { meter, bytes: Vec::new(), counted: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn meter(&self) -> &'a Meter {
        self.meter
    }

    pub(crate) fn push(&mut self, byte: u8) -> mlua::Result<()> {
        self.extend(&[byte])
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) -> mlua::Result<()> {
        let length = self.bytes.len() + bytes.len();
        if length - self.counted > UNCOUNTED_BYTES_MAX {
            self.meter.check_size(length)?;
            self.meter.use_up_bytes(length - self.counted)?;
            self.counted = length;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}
