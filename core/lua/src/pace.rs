//! When garbage is collected: whole, and after so many instructions and bytes, never by the interpreter's own steps. Those follow the
//! order in which it finds its objects, and so their addresses, which differ between replicas; and with them would differ how much
//! memory is in use at a given instruction, and whether a script stays within its budget.

use std::cell::Cell;

use mlua::Lua;

use crate::meter::Meter;

/// Bytes that the interpreter allocates, or looks through for garbage, for the price of one instruction.
const BYTES_PER_INSTRUCTION: usize = 64;
/// Garbage that is not worth a collection.
const GARBAGE_BYTES: usize = 512 << 10;

/// What was in use when it was last looked, and when there is to be a collection.
#[derive(Debug)]
pub(crate) struct Pace {
    seen: Cell<usize>,
    collect_at: Cell<usize>,
    bytes_max: usize,
}

impl Pace {
    /// Stops the interpreter's own collector.
    pub(crate) fn new(lua: &Lua, memory_bytes_max: usize) -> Self {
        lua.gc_stop();
        let used = lua.used_memory();
        let bytes_max = used + memory_bytes_max;
        Self { seen: Cell::new(used), collect_at: Cell::new(used + GARBAGE_BYTES), bytes_max }
    }

    /// Counts what was allocated, and collects garbage if there may be much.
    ///
    /// # Errors
    /// The budget is used up.
    pub(crate) fn look(&self, lua: &Lua, meter: &Meter) -> mlua::Result<()> {
        let used = lua.used_memory();
        let allocated = used.saturating_sub(self.seen.replace(used));
        meter.use_up((allocated / BYTES_PER_INSTRUCTION) as u64)?;
        if used < self.collect_at.get() {
            return Ok(());
        }
        meter.use_up((used / BYTES_PER_INSTRUCTION) as u64)?;
        lua.gc_collect()?;
        lua.gc_stop();
        let live = lua.used_memory();
        self.seen.set(live);
        // When memory gets short, before it is all gone.
        let room = (self.bytes_max.saturating_sub(live) / 4).max(GARBAGE_BYTES);
        self.collect_at.set(live + live.max(GARBAGE_BYTES).min(room));
        Ok(())
    }
}
