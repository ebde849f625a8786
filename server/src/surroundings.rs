//! What the state machine needs of its surroundings: the Lua interpreter, and the net under panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use steadfast_core::error::ReplyError;
use steadfast_core::machine::ReadOutcome;
use steadfast_core::reply::Reply;
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

/// A read, contained as a write is: a panic becomes its error reply. A read changes nothing, so there is nothing to undo.
pub(crate) fn contain_read<'m>(read: impl FnOnce() -> ReadOutcome<'m>) -> ReadOutcome<'m> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let text = "ERR internal error: the command was stopped; it had nothing to apply";
        ReadOutcome::Reply(Reply::Error(ReplyError::fixed(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A read that panics is answered; one that does not is left alone.
    #[test]
    fn a_read_that_panics_is_answered() {
        let answered = contain_read(|| ReadOutcome::Reply(Reply::Int(1)));
        assert_eq!(answered, ReadOutcome::Reply(Reply::Int(1)));
        let stopped = contain_read(|| panic!("a bug"));
        assert!(matches!(stopped, ReadOutcome::Reply(Reply::Error(_))));
    }
}
