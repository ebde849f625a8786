//! The Lua 5.1 adapter of the core's script port.

use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;
use steadfast_core::script::{ScriptBudget, ScriptEngine, ScriptFailure, ScriptHost};

/// The engine.
#[derive(Debug, Default)]
pub struct Engine;

impl Engine {
    /// A fresh one.
    pub fn new() -> Self {
        Self
    }
}

impl ScriptEngine for Engine {
    fn check(&mut self, _body: &[u8]) -> Result<(), ReplyError> {
        Ok(())
    }
    fn run(
        &mut self,
        _sha: &str,
        _body: &[u8],
        _keys: &[&[u8]],
        _argv: &[&[u8]],
        _budget: ScriptBudget,
        _host: &mut dyn ScriptHost,
    ) -> Result<Reply<'static>, ScriptFailure> {
        Ok(Reply::Nil)
    }
    fn forget(&mut self) {}
}
