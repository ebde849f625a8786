//! Refusals of this node, in one place. The first word is what clients act on (docs/consistency.md): `CLUSTERDOWN` and
//! `TRYAGAIN` mean not applied, `LOADING` not served yet, `UNKNOWN` that nobody here can say.

use steadfast_core::error::ReplyError;

/// WATCH between MULTI and EXEC.
pub(crate) const WATCH_IN_MULTI: ReplyError =
    ReplyError::fixed("ERR WATCH inside MULTI is not allowed");
/// A command that can't be queued.
pub(crate) const NOT_IN_MULTI: ReplyError =
    ReplyError::fixed("ERR Command not allowed inside a transaction");
/// EXEC alone.
pub(crate) const EXEC_WITHOUT_MULTI: ReplyError = ReplyError::fixed("ERR EXEC without MULTI");
/// DISCARD alone.
pub(crate) const DISCARD_WITHOUT_MULTI: ReplyError = ReplyError::fixed("ERR DISCARD without MULTI");
/// MULTI twice.
pub(crate) const NESTED_MULTI: ReplyError = ReplyError::fixed("ERR MULTI calls can not be nested");
/// A queued command was refused.
pub(crate) const EXEC_ABORTED: ReplyError =
    ReplyError::fixed("EXECABORT Transaction discarded because of previous errors.");

/// What MULTI has queued is more than one request may be.
pub(crate) const TRANSACTION_TOO_LARGE: ReplyError = ReplyError::fixed(
    "ERR the transaction is larger than one request may be (--max-request); EXEC will refuse it, nothing was applied",
);

/// A WATCH before it was refused.
pub(crate) const EXEC_WITHOUT_ITS_WATCH: ReplyError = ReplyError::fixed(
    "EXECABORT Transaction discarded because a WATCH before it could not be carried out; nothing was applied",
);

/// EXEC itself was refused.
pub(crate) fn exec_aborted_by(error: &ReplyError) -> ReplyError {
    let text = String::from_utf8_lossy(error.text());
    let reason = text.strip_prefix("ERR ").unwrap_or(&text);
    ReplyError::made(format!("EXECABORT Transaction discarded because of: {reason}"))
}

/// No password was given yet.
pub(crate) const fn no_auth() -> ReplyError {
    ReplyError::fixed("NOAUTH Authentication required.")
}

/// This node does not serve yet.
pub(crate) fn loading(waiting: &str) -> ReplyError {
    if waiting.is_empty() {
        return ReplyError::fixed("LOADING this node is joining its cluster; nothing was applied");
    }
    ReplyError::made(format!("LOADING {waiting}; nothing was applied"))
}

/// A write waited for a leader and was never handed over.
pub(crate) const fn no_quorum() -> ReplyError {
    ReplyError::fixed("CLUSTERDOWN no quorum can be reached; the command was not applied")
}

/// A write waited too long in this node and was never handed over.
pub(crate) const fn too_busy() -> ReplyError {
    ReplyError::fixed(
        "TRYAGAIN this node has too much to write at once; the command was not applied",
    )
}

/// The disk is full.
pub(crate) const fn disk_full() -> ReplyError {
    ReplyError::fixed(
        "TRYAGAIN the disk is full; the command was not applied. Deletes are still taken",
    )
}

/// The state machine met the command after its time.
pub(crate) const fn too_late() -> ReplyError {
    ReplyError::fixed("TRYAGAIN the command came too late to be applied; it was not applied")
}

/// The node is going down.
pub(crate) const fn shutting_down() -> ReplyError {
    ReplyError::fixed("CLUSTERDOWN this node is shutting down; the command was not applied")
}

/// A read found no quorum in time.
pub(crate) const fn read_timed_out() -> ReplyError {
    ReplyError::fixed("CLUSTERDOWN no quorum answered in time; nothing was read")
}

/// A write was handed over and nothing was heard of it.
pub(crate) const fn unknown_outcome() -> ReplyError {
    ReplyError::fixed("UNKNOWN the command was handed to the cluster and may or may not be applied")
}

/// A snapshot took the place of the replies.
pub(crate) const fn reply_lost() -> ReplyError {
    ReplyError::fixed("UNKNOWN the command was applied or came too late, and its reply was lost")
}
