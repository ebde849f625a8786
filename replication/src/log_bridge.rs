//! Raft logs with `slog`; what matters of it goes to `tracing`.

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record};

struct Bridge;

impl Drain for Bridge {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{}", record.msg()),
            Level::Warning => tracing::warn!(target: "raft", "{}", record.msg()),
            Level::Info => tracing::debug!(target: "raft", "{}", record.msg()),
            Level::Debug | Level::Trace => {}
        }
        Ok(())
    }
}

/// The logger that raft is given.
pub(crate) fn logger() -> Logger {
    Logger::root(Bridge, slog::o!())
}
