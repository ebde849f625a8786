//! Refusals of this node, in one place. The first word is what clients act on (docs/consistency.md): `CLUSTERDOWN` and
//! `TRYAGAIN` mean not applied, `LOADING` not served yet, `UNKNOWN` that nobody here can say. The rest is for people: what
//! happened, what became of the command, what to do.

use steadfast_core::error::ReplyError;

/// REPLICAOF and SLAVEOF.
pub(crate) const NO_REPLICAOF: ReplyError = ReplyError::fixed(
    "ERR REPLICAOF is not needed here and changes nothing: the nodes named by --cluster replicate by themselves, and each takes writes",
);
/// FAILOVER.
pub(crate) const NO_FAILOVER: ReplyError = ReplyError::fixed(
    "ERR FAILOVER is not needed here and changes nothing: `steadfast cluster stepdown` has another node lead, and a leader that is \
     stopped (SIGTERM, SHUTDOWN) hands over first",
);
/// RAFT STEPDOWN of a node on its own.
pub(crate) const NOBODY_ELSE: ReplyError =
    ReplyError::fixed("ERR this node is on its own: nobody else can lead. Nothing was changed");
/// RAFT TRANSFER.
pub(crate) const NO_SUCH_NODE: ReplyError = ReplyError::fixed(
    "ERR no node has that id: CLUSTER NODES and INFO raft tell them. Nothing was changed",
);
/// RAFT TRANSFER.
pub(crate) const NODE_OUT_OF_REACH: ReplyError = ReplyError::fixed(
    "ERR the leader has no link to that node: start it, or mend the network between them. Nothing was changed",
);

/// RAFT TRANSFER.
pub(crate) const LEARNERS_DO_NOT_LEAD: ReplyError = ReplyError::fixed(
    "ERR that node is a learner: it can lead once it is a voter (RAFT PROMOTE). Nothing was changed",
);
/// RAFT ADD.
pub(crate) const NO_PEER_ADDRESS: ReplyError = ReplyError::fixed(
    "ERR this node was started without --cluster, so no other could reach it: start it with --cluster 1=host:port, which names where \
     others reach it, and add them then. Nothing was changed",
);
/// RAFT ADD.
pub(crate) const NO_NEW_MEMBER: ReplyError = ReplyError::fixed(
    "ERR a node has an id from 1 to 4294967295 and a place host:port, where its peers reach it. Nothing was changed",
);
/// RAFT REMOVE.
pub(crate) const LAST_ONE_STAYS: ReplyError =
    ReplyError::fixed("ERR this node is the only one: nobody would be left. Nothing was changed");
/// RAFT ADD.
pub(crate) const REPLACES_ITSELF: ReplyError = ReplyError::fixed(
    "ERR a node is replaced by another one, with an id that was never used. Nothing was changed",
);

/// RAFT ADD of a former member.
pub(crate) fn was_a_member(id: u64) -> ReplyError {
    ReplyError::made(format!(
        "ERR node {id} was a member once, and what it promised then must not be forgotten: choose an id that was never used. \
         Nothing was changed"
    ))
}

/// RAFT ADD of a member.
pub(crate) fn is_elsewhere(id: u64, place: &str) -> ReplyError {
    ReplyError::made(format!(
        "ERR node {id} is a member already, at {place}. If it has moved, start the others with a --cluster that says where it is. \
         Nothing was changed"
    ))
}

/// RAFT ADD of a learner that is none.
pub(crate) fn votes_already(id: u64) -> ReplyError {
    ReplyError::made(format!("ERR node {id} is a voter already. Nothing was changed"))
}

/// RAFT STEPDOWN and TRANSFER.
pub(crate) fn does_not_lead(leader: u64) -> ReplyError {
    let who = match leader {
        0 => "nobody is known to lead".to_owned(),
        leader => format!("node {leader} does: ask it"),
    };
    ReplyError::made(format!("ERR this node does not lead, {who}. Nothing was changed"))
}

/// WATCH between MULTI and EXEC.
pub(crate) const WATCH_IN_MULTI: ReplyError =
    ReplyError::fixed("ERR WATCH inside MULTI is not allowed");
/// A command that can't be queued.
pub(crate) const NOT_IN_MULTI: ReplyError =
    ReplyError::fixed("ERR Command not allowed inside a transaction");
/// Subscriptions at the port of the sentinel that it has none of.
pub(crate) const NOT_AT_SENTINEL: ReplyError = ReplyError::fixed(
    "ERR at this port there are events of the sentinel alone, without shard channels and transactions; nothing was subscribed to",
);
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
    "ERR the transaction is larger than one request may be (--max-request); EXEC will refuse it, nothing was applied. Send it in parts",
);

/// A WATCH before it was refused.
pub(crate) const EXEC_WITHOUT_ITS_WATCH: ReplyError = ReplyError::fixed(
    "EXECABORT Transaction discarded because a WATCH before it could not be carried out; nothing was applied. Begin again with WATCH",
);

/// EXEC itself was refused.
pub(crate) fn exec_aborted_by(error: &ReplyError) -> ReplyError {
    let text = String::from_utf8_lossy(error.text());
    let reason = text.strip_prefix("ERR ").unwrap_or(&text);
    ReplyError::made(format!("EXECABORT Transaction discarded because of: {reason}"))
}

/// A RESP2 client with subscriptions runs another command.
pub(crate) fn only_listens(name: &str) -> ReplyError {
    let name = name.to_ascii_lowercase();
    ReplyError::made(format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    ))
}

/// No password was given yet.
pub(crate) const fn no_auth() -> ReplyError {
    ReplyError::fixed("NOAUTH Authentication required.")
}

/// This node does not serve yet.
pub(crate) fn loading(waiting: &str) -> ReplyError {
    if waiting.is_empty() {
        return ReplyError::fixed(
            "LOADING this node is joining its cluster; nothing was applied. Try again shortly, or on another node",
        );
    }
    ReplyError::made(format!(
        "LOADING {waiting}; nothing was applied. Try again later, or on another node"
    ))
}

/// A write waited for a leader and was never handed over.
pub(crate) const fn no_quorum() -> ReplyError {
    ReplyError::fixed(
        "CLUSTERDOWN no quorum can be reached; the command was not applied. Try again, also on another node",
    )
}

/// A write waited too long in this node and was never handed over.
pub(crate) const fn too_busy() -> ReplyError {
    ReplyError::fixed(
        "TRYAGAIN this node has too much to write at once; the command was not applied. Send less at once, and try again",
    )
}

/// The disk is full.
pub(crate) const fn disk_full() -> ReplyError {
    ReplyError::fixed(
        "TRYAGAIN the disk is full; the command was not applied, and nothing that was acknowledged is lost. Deletes are still \
         taken: free space on the disk, and try again",
    )
}

/// The state machine met the command after its time.
pub(crate) const fn too_late() -> ReplyError {
    ReplyError::fixed(
        "TRYAGAIN the command came to the log after its time (--request-timeout); it was not applied. Try again",
    )
}

/// The node is going down.
pub(crate) const fn shutting_down() -> ReplyError {
    ReplyError::fixed(
        "CLUSTERDOWN this node is shutting down; the command was not applied. Go on with another node, or when it is back",
    )
}

/// The node has ended, and how: what those are told whose commands it will not take on any more.
pub(crate) const fn ended(end: &Result<(), String>) -> ReplyError {
    match end {
        Ok(()) => shutting_down(),
        Err(_) => ReplyError::fixed(
            "CLUSTERDOWN this node had to stop, and its own log says why; the command was not applied. Go on with another \
             node, or when it is back",
        ),
    }
}

/// A read found no quorum in time.
pub(crate) const fn read_timed_out() -> ReplyError {
    ReplyError::fixed(
        "CLUSTERDOWN no quorum answered in time; nothing was read or changed. Try again, also on another node",
    )
}

/// A write was handed over and nothing was heard of it.
pub(crate) const fn unknown_outcome() -> ReplyError {
    ReplyError::fixed(
        "UNKNOWN the command was handed to the cluster, and whether it is applied was not heard in time; what was answered \
         before holds. Look before you send it again",
    )
}

/// A snapshot took the place of the replies.
pub(crate) const fn reply_lost() -> ReplyError {
    ReplyError::fixed(
        "UNKNOWN the command was applied or came too late, and its reply was lost when this node caught up by a snapshot; \
         what was answered before holds. Look before you send it again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every refusal says by its first word what clients may assume, then what became of the command and what to do.
    #[test]
    fn refusals_say_what_to_do() {
        let failed = Err("the disk failed".to_owned());
        let definite = [
            ("LOADING ", loading("")),
            ("LOADING ", loading("it waits for node 2")),
            ("CLUSTERDOWN ", no_quorum()),
            ("TRYAGAIN ", too_busy()),
            ("TRYAGAIN ", disk_full()),
            ("TRYAGAIN ", too_late()),
            ("CLUSTERDOWN ", shutting_down()),
            ("CLUSTERDOWN ", ended(&failed)),
            ("CLUSTERDOWN ", read_timed_out()),
            ("EXECABORT ", EXEC_WITHOUT_ITS_WATCH),
            ("ERR ", TRANSACTION_TOO_LARGE),
        ];
        let text = |error: &ReplyError| String::from_utf8_lossy(error.text()).into_owned();
        let advice = ["Try again", "try again", "Go on", "Begin again", "Send it in parts"];
        for (word, error) in definite {
            let text = text(&error);
            assert!(text.starts_with(word), "{text}");
            assert!(text.contains("not applied") || text.contains("nothing was"), "{text}");
            assert!(advice.iter().any(|advice| text.contains(advice)), "{text}");
        }
        for error in [unknown_outcome(), reply_lost()] {
            let text = text(&error);
            assert!(
                text.starts_with("UNKNOWN ") && text.contains("what was answered before holds")
            );
            assert!(text.ends_with("Look before you send it again"), "{text}");
        }
    }

    /// A node that ends says why, and blames no quorum.
    #[test]
    fn the_end_has_its_cause() {
        assert_eq!(ended(&Ok(())), shutting_down());
        let failed = ended(&Err("the disk failed".to_owned()));
        assert!(failed != shutting_down() && failed != no_quorum());
    }
}
