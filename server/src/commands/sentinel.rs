//! Sentinel's questions, which every node answers at its client port: who is the master, who are the others.
//! Table first; handlers below in the same order.

use steadfast_core::commands::{Arity, CommandSpec, Docs, Family, Flags, Group, Keys};
use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;

use super::LocalHandler::{self, Plain};
use super::{LocalOutcome, NodeFacts};
use crate::discovery::{self, KnownNode};
use crate::session::Session;

type Run = fn(&mut Session, &mut dyn NodeFacts, &[&[u8]]) -> LocalOutcome;

const fn sentinel(
    name: &'static str,
    words: usize,
    syntax: &'static str,
    summary: &'static str,
    run: Run,
) -> CommandSpec<LocalHandler> {
    let docs = Docs { summary, syntax, since: "2.8.4", complexity: "O(1)" };
    let flags = Flags::ADMIN.and(Flags::NO_SCRIPT);
    CommandSpec {
        name,
        arity: Arity::Exactly(words),
        keys: Keys::None,
        flags,
        handler: Plain(run),
        docs,
    }
}

const NAME: &str = "master-name";

pub(super) const FAMILY: Family<LocalHandler> = Family {
    group: Group::Sentinel,
    commands: &[
        sentinel("SENTINEL|CKQUORUM", 3, NAME, "Tells whether there is a quorum.", ckquorum),
        sentinel(
            "SENTINEL|GET-MASTER-ADDR-BY-NAME",
            3,
            NAME,
            "Returns the address of the leader.",
            get_master_addr_by_name,
        ),
        sentinel("SENTINEL|MASTER", 3, NAME, "Returns what is known of the leader.", master),
        sentinel("SENTINEL|MASTERS", 2, "", "Returns the leader, as the only master.", masters),
        sentinel("SENTINEL|MYID", 2, "", "Returns the name of the node.", myid),
        sentinel("SENTINEL|REPLICAS", 3, NAME, "Returns the nodes that do not lead.", replicas),
        sentinel("SENTINEL|SENTINELS", 3, NAME, "Returns the nodes but the asked one.", sentinels),
        sentinel("SENTINEL|SLAVES", 3, NAME, "Returns the nodes that do not lead.", replicas),
    ],
};

/// Whether the client names our master.
fn check_name(node: &dyn NodeFacts, argv: &[&[u8]]) -> Result<(), ReplyError> {
    if argv.get(2).is_some_and(|name| *name == node.config().sentinel_master.as_bytes()) {
        return Ok(());
    }
    Err(ReplyError::fixed("ERR No such master with that name"))
}

fn ckquorum(session: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let answer = check_name(node, argv).and_then(|()| {
        let nodes = discovery::nodes(node, session);
        let up = nodes.iter().filter(|node| node.is_up).count();
        if node.status().leader_id() != 0 && up * 2 > nodes.len() {
            let text = format!(
                "OK {up} usable Sentinels. Quorum and failover authorization can be reached"
            );
            return Ok(Reply::Status(text.into_bytes().into()));
        }
        Err(ReplyError::made(format!(
            "NOQUORUM {up} usable Sentinels. The node that was asked knows of no leader, or of no majority"
        )))
    });
    answer.into()
}

fn get_master_addr_by_name(
    session: &mut Session,
    node: &mut dyn NodeFacts,
    argv: &[&[u8]],
) -> LocalOutcome {
    if check_name(node, argv).is_err() {
        return LocalOutcome::Reply(Reply::NilArray); // as Sentinel does, and as clients expect
    }
    let nodes = discovery::nodes(node, session);
    let leader = nodes.into_iter().find(|node| node.leads);
    LocalOutcome::Reply(leader.map_or(Reply::NilArray, |leader| {
        Reply::Array(vec![
            Reply::bulk_owned(leader.host),
            Reply::bulk_owned(leader.port.to_string()),
        ])
    }))
}

fn master(session: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let leader = check_name(node, argv).and_then(|()| {
        let leader = masters_of(session, node).into_iter().next();
        leader.ok_or(ReplyError::fixed("ERR internal error: a node without nodes"))
    });
    leader.into()
}

fn masters(session: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    LocalOutcome::Reply(Reply::Array(masters_of(session, node)))
}

fn masters_of(session: &Session, node: &dyn NodeFacts) -> Vec<Reply<'static>> {
    let nodes = discovery::nodes(node, session);
    let others = nodes.len().saturating_sub(1);
    let leaders = nodes.iter().filter(|node| node.leads).map(|leader| {
        let mut facts = facts(node, leader, node.config().sentinel_master.clone(), "master");
        facts.push(("role-reported", "master".to_owned()));
        facts.push(("config-epoch", node.status().term().to_string()));
        facts.push(("num-slaves", others.to_string()));
        facts.push(("num-other-sentinels", others.to_string()));
        facts.push(("quorum", (nodes.len() / 2 + 1).to_string()));
        facts.push(("parallel-syncs", "1".to_owned()));
        map(facts)
    });
    leaders.collect()
}

fn myid(_: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let name = discovery::cluster_name(node, node.node_id());
    LocalOutcome::Reply(Reply::bulk_owned(name))
}

fn replicas(session: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let found = check_name(node, argv).map(|()| {
        let nodes = discovery::nodes(node, session);
        let leader = nodes.iter().find(|node| node.leads);
        let index = node.machine().applied_index().to_string();
        let replicas = nodes.iter().filter(|node| !node.leads).map(|replica| {
            let mut facts = facts(node, replica, replica.address(), "slave");
            facts.push(("role-reported", "slave".to_owned()));
            let link = if replica.is_up { "ok" } else { "err" };
            facts.push(("master-link-status", link.to_owned()));
            facts.extend(leader.map(|leader| ("master-host", leader.host.clone())));
            facts.extend(leader.map(|leader| ("master-port", leader.port.to_string())));
            facts.push(("slave-priority", "100".to_owned()));
            facts.push(("slave-repl-offset", index.clone()));
            map(facts)
        });
        Reply::Array(replicas.collect())
    });
    found.into()
}

fn sentinels(session: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let found = check_name(node, argv).map(|()| {
        let nodes = discovery::nodes(node, session);
        let others = nodes.iter().filter(|other| !other.is_own).map(|other| {
            let name = discovery::cluster_name(node, other.id);
            map(facts(node, other, name, "sentinel"))
        });
        Reply::Array(others.collect())
    });
    found.into()
}

/// What Sentinel says of any node.
fn facts(
    asked: &dyn NodeFacts,
    node: &KnownNode,
    name: String,
    kind: &str,
) -> Vec<(&'static str, String)> {
    let down = if node.is_up { "" } else { ",s_down,disconnected" };
    vec![
        ("name", name),
        ("ip", node.host.clone()),
        ("port", node.port.to_string()),
        ("runid", discovery::cluster_name(asked, node.id)),
        ("flags", format!("{kind}{down}")),
        ("link-pending-commands", "0".to_owned()),
        ("link-refcount", "1".to_owned()),
        ("last-ping-sent", "0".to_owned()),
        ("last-ok-ping-reply", "0".to_owned()),
        ("last-ping-reply", "0".to_owned()),
        ("down-after-milliseconds", "1500".to_owned()),
    ]
}

fn map(facts: Vec<(&'static str, String)>) -> Reply<'static> {
    let pair = |(name, value)| (Reply::bulk_owned(name), Reply::bulk_owned(value));
    Reply::Map(facts.into_iter().map(pair).collect())
}
