//! Commands about who leads and who follows. Table first; handlers below in the same order.

use steadfast_core::commands::{Arity, CommandSpec, Docs, Family, Flags, Group, Keys};
use steadfast_core::error::ReplyError;
use steadfast_core::number::parse_int;
use steadfast_core::reply::Reply;
use steadfast_replication::gateway::{KnownMember, Role};

use super::LocalHandler::{self, Plain};
use super::{LocalOutcome, NodeFacts};
use crate::discovery;
use crate::refusal;
use crate::session::Session;

pub(super) const FAMILY: Family<LocalHandler> = Family {
    group: Group::Server,
    commands: &[
        CommandSpec {
            name: "FAILOVER",
            arity: Arity::AtLeast(1),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::STALE),
            handler: Plain(failover),
            docs: Docs {
                summary: "Is refused: leadership moves by itself, without loss.",
                syntax: "",
                since: "6.2.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "RAFT|STEPDOWN",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::NO_MULTI),
            handler: Plain(stepdown),
            docs: Docs {
                summary: "Has another node lead; asked of the leader.",
                syntax: "",
                since: "7.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "RAFT|TRANSFER",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::NO_MULTI),
            handler: Plain(transfer),
            docs: Docs {
                summary: "Has the given node lead; asked of the leader.",
                syntax: "node-id",
                since: "7.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "REPLICAOF",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::STALE),
            handler: Plain(replicaof),
            docs: Docs {
                summary: "Is refused: the nodes of a cluster replicate by themselves.",
                syntax: "host port",
                since: "5.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "ROLE",
            arity: Arity::Exactly(1),
            keys: Keys::None,
            flags: Flags::FAST,
            handler: Plain(role),
            docs: Docs {
                summary: "Returns whether the node leads, and where the leader or the others are.",
                syntax: "",
                since: "2.8.12",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "SLAVEOF",
            arity: Arity::Exactly(3),
            keys: Keys::None,
            flags: Flags::ADMIN.and(Flags::STALE),
            handler: Plain(replicaof),
            docs: Docs {
                summary: "Is refused, as REPLICAOF is.",
                syntax: "host port",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
    ],
};

fn failover(_: &mut Session, _: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    Err(refusal::NO_FAILOVER).into()
}

/// The answer says that it was asked for: who leads then, `INFO raft` tells.
fn stepdown(_: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let asked = check_leads(node).and_then(|()| {
        if node.status().members().len() <= 1 {
            return Err(refusal::NOBODY_ELSE);
        }
        node.hand_over(None);
        Ok(Reply::Ok)
    });
    asked.into()
}

fn transfer(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let id = argv.get(2).and_then(|word| parse_int(word)).and_then(|id| u64::try_from(id).ok());
    let members = node.status().members();
    let known = id.and_then(|id| members.iter().find(|member| member.id == id));
    let asked = check_leads(node).and_then(|()| {
        let Some(KnownMember { id, votes, .. }) = known.cloned() else {
            return Err(refusal::NO_SUCH_NODE);
        };
        if !votes {
            return Err(refusal::LEARNERS_DO_NOT_LEAD);
        }
        if id != node.node_id() {
            if !node.status().is_connected(id) {
                return Err(refusal::NODE_OUT_OF_REACH);
            }
            node.hand_over(Some(id));
        }
        Ok(Reply::Ok)
    });
    asked.into()
}

pub(super) fn check_leads(node: &dyn NodeFacts) -> Result<(), ReplyError> {
    if node.status().role() == Role::Leader {
        return Ok(());
    }
    Err(refusal::does_not_lead(node.status().leader_id()))
}

fn replicaof(_: &mut Session, _: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    Err(refusal::NO_REPLICAOF).into()
}

/// At its port a sentinel says that it is one. Otherwise the offset is the applied index.
/// What a follower's state is follows from whether it knows a leader.
fn role(session: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let text = |text: &str| Reply::bulk_owned(text);
    if session.ends.at_sentinel {
        let masters = Reply::Array(vec![text(&node.config().sentinel_master)]);
        return LocalOutcome::Reply(Reply::Array(vec![text("sentinel"), masters]));
    }
    let index = node.machine().applied_index();
    let offset = i64::try_from(index).unwrap_or(i64::MAX);
    let nodes = discovery::nodes(node, session);
    let Some((leader, others)) = nodes.split_first() else {
        return Err(ReplyError::fixed("ERR internal error: a node without nodes")).into();
    };
    LocalOutcome::Reply(Reply::Array(if leader.is_own {
        let others = others.iter().map(|other| {
            let words = [other.host.clone(), other.port.to_string(), index.to_string()];
            Reply::Array(words.into_iter().map(Reply::bulk_owned).collect())
        });
        vec![text("master"), Reply::Int(offset), Reply::Array(others.collect())]
    } else {
        let follows = node.status().role() == Role::Follower && node.status().leader_id() != 0;
        let state = if follows { "connected" } else { "connect" };
        let port = Reply::Int(i64::from(leader.port));
        vec![text("slave"), text(&leader.host), port, text(state), Reply::Int(offset)]
    }))
}
