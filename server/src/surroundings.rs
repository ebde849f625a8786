//! What the state machine needs of its surroundings: the Lua interpreter, and the net under panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use steadfast_core::script::{ScriptEngine, Surroundings};
use steadfast_lua::Engine;

/// The one adapter of both, also in the simulator.
pub struct LuaSurroundings {
    engine: Engine,
}

impl LuaSurroundings {
    /// A fresh interpreter.
    pub fn new() -> Self {
        Self { engine: Engine::new() }
    }
}

impl Default for LuaSurroundings {
    fn default() -> Self {
        Self::new()
    }
}

impl Surroundings for LuaSurroundings {
    fn contain(&mut self, work: &mut dyn FnMut(&mut dyn ScriptEngine)) -> bool {
        let engine = &mut self.engine;
        // Sound to go on after a panic: the core undoes what the command wrote before it answers.
        catch_unwind(AssertUnwindSafe(|| work(engine))).is_ok()
    }
}
