//! What Redis Cluster's clients ask: the nodes are one shard that owns all slots, so no client is ever sent elsewhere.
//! Table first; handlers below in the same order.

use std::fmt::Write as _;

use steadfast_core::commands::{Arity, CommandSpec, Docs, Family, Flags, Group, Keys};
use steadfast_core::error::ReplyError;
use steadfast_core::hash::{SLOTS, slot_of};
use steadfast_core::number::parse_int;
use steadfast_core::reply::Reply;

use super::LocalHandler::{self, Plain};
use super::{LocalOutcome, NodeFacts};
use crate::discovery::{self, KnownNode};
use crate::session::Session;

type Run = fn(&mut Session, &mut dyn NodeFacts, &[&[u8]]) -> LocalOutcome;

const fn command(
    name: &'static str,
    words: usize,
    (syntax, since): (&'static str, &'static str),
    summary: &'static str,
    run: Run,
) -> CommandSpec<LocalHandler> {
    let docs = Docs { summary, syntax, since, complexity: "O(1)" };
    let (arity, flags) = (Arity::Exactly(words), Flags::NONE);
    CommandSpec { name, arity, keys: Keys::None, flags, handler: Plain(run), docs }
}

pub(super) const FAMILY: Family<LocalHandler> = Family {
    group: Group::Cluster,
    commands: &[
        command("ASKING", 1, ("", "3.0.0"), "Has no effect: no slot ever moves.", accepted),
        command(
            "CLUSTER|COUNTKEYSINSLOT",
            3,
            ("slot", "3.0.0"),
            "Returns the number of keys in a hash slot.",
            count_keys_in_slot,
        ),
        command(
            "CLUSTER|GETKEYSINSLOT",
            4,
            ("slot count", "3.0.0"),
            "Returns the key names in a hash slot.",
            get_keys_in_slot,
        ),
        command("CLUSTER|INFO", 2, ("", "3.0.0"), "Returns the state of the cluster.", info),
        command(
            "CLUSTER|KEYSLOT",
            3,
            ("key", "3.0.0"),
            "Returns the hash slot for a key.",
            keyslot,
        ),
        command("CLUSTER|MYID", 2, ("", "3.0.0"), "Returns the name of the node.", myid),
        command("CLUSTER|NODES", 2, ("", "3.0.0"), "Returns the nodes of the cluster.", nodes),
        command(
            "CLUSTER|SHARDS",
            2,
            ("", "7.0.0"),
            "Returns the mapping of all slots to the one shard.",
            shards,
        ),
        command(
            "CLUSTER|SLOTS",
            2,
            ("", "3.0.0"),
            "Returns the mapping of all slots to the nodes.",
            slots,
        ),
        command(
            "READONLY",
            1,
            ("", "3.0.0"),
            "Has no effect: every node reads, linearizably.",
            accepted,
        ),
        command("READWRITE", 1, ("", "3.0.0"), "Has no effect: every node writes.", accepted),
    ],
};

const LAST_SLOT: usize = SLOTS - 1;

fn accepted(_: &mut Session, _: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    LocalOutcome::Reply(Reply::Ok)
}

/// The slot that a client names.
fn slot(argv: &[&[u8]], refusal: &'static str) -> Result<usize, ReplyError> {
    let number = argv.get(2).and_then(|word| parse_int(word)).ok_or(ReplyError::NOT_AN_INTEGER)?;
    let slot = usize::try_from(number).ok().filter(|slot| *slot < SLOTS);
    slot.ok_or_else(|| ReplyError::fixed(refusal))
}

fn integer(number: usize) -> Reply<'static> {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn count_keys_in_slot(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    slot(argv, "ERR Invalid slot")
        .map(|slot| integer(node.machine().keys_of_slot(slot, 0).1))
        .into()
}

fn get_keys_in_slot(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let keys = slot(argv, "ERR Invalid slot or number of keys").and_then(|slot| {
        let count =
            argv.get(3).and_then(|word| parse_int(word)).ok_or(ReplyError::NOT_AN_INTEGER)?;
        let count = usize::try_from(count)
            .map_err(|_| ReplyError::fixed("ERR Invalid slot or number of keys"))?;
        let (keys, _) = node.machine().keys_of_slot(slot, count);
        Ok(Reply::Array(keys.into_iter().map(Reply::bulk_owned).collect()))
    });
    keys.into()
}

fn info(session: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let known = discovery::nodes(node, session).len();
    let state = if node.status().leader_id() == 0 { "fail" } else { "ok" };
    let term = node.status().term();
    LocalOutcome::Reply(Reply::bulk_owned(format!(
        "cluster_enabled:1\r\ncluster_state:{state}\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{known}\r\ncluster_size:1\r\n\
         cluster_current_epoch:{term}\r\ncluster_my_epoch:{term}\r\n"
    )))
}

fn keyslot(_: &mut Session, _: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let key = argv.get(2).copied().unwrap_or_default();
    LocalOutcome::Reply(Reply::Int(i64::from(slot_of(key))))
}

fn myid(_: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let name = discovery::cluster_name(node, node.node_id());
    LocalOutcome::Reply(Reply::bulk_owned(name))
}

/// Lines of `name host:port@bus-port flags master ping-sent pong-received epoch link-state slots`. There is no bus for clients to reach:
/// the port is said twice.
fn nodes(session: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let (nodes, term) = (discovery::nodes(node, session), node.status().term());
    let master = nodes.iter().find(|node| node.leads).map(|leader| leader.id);
    let mut lines = String::new();
    for known in &nodes {
        let own = if known.is_own { "myself," } else { "" };
        let role = if known.leads { "master" } else { "slave" };
        let down = if known.is_up { "" } else { ",fail?" };
        let link = if known.is_up { "connected" } else { "disconnected" };
        let name = discovery::cluster_name(node, known.id);
        let of = master.filter(|_| !known.leads).map(|id| discovery::cluster_name(node, id));
        let of = of.unwrap_or_else(|| "-".to_owned());
        let slots = if known.leads { format!(" 0-{LAST_SLOT}") } else { String::new() };
        let (address, port) = (known.address(), known.port);
        let line = writeln!(
            lines,
            "{name} {address}@{port} {own}{role}{down} {of} 0 0 {term} {link}{slots}"
        );
        line.expect("writing to a string does not fail");
    }
    LocalOutcome::Reply(Reply::bulk_owned(lines))
}

fn shards(session: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let text = |text: &str| Reply::bulk_owned(text);
    let offset = node.machine().applied_index();
    let nodes = discovery::nodes(node, session);
    let nodes = nodes.iter().map(|known| {
        Reply::Map(vec![
            (text("id"), Reply::bulk_owned(discovery::cluster_name(node, known.id))),
            (text("port"), Reply::Int(i64::from(known.port))),
            (text("ip"), text(&known.host)),
            (text("endpoint"), text(&known.host)),
            (text("role"), text(if known.leads { "master" } else { "replica" })),
            (text("replication-offset"), Reply::Int(i64::try_from(offset).unwrap_or(i64::MAX))),
            (text("health"), text(if known.is_up { "online" } else { "fail" })),
        ])
    });
    let slots = Reply::Array(vec![Reply::Int(0), integer(LAST_SLOT)]);
    let nodes = Reply::Array(nodes.collect());
    let shard = Reply::Map(vec![(text("slots"), slots), (text("nodes"), nodes)]);
    LocalOutcome::Reply(Reply::Array(vec![shard]))
}

/// A node to which there is no link is left out, unless it leads: clients would only run into it.
fn slots(session: &mut Session, node: &mut dyn NodeFacts, _: &[&[u8]]) -> LocalOutcome {
    let nodes = discovery::nodes(node, session);
    let node_of = |known: &KnownNode| {
        let name = discovery::cluster_name(node, known.id);
        Reply::Array(vec![
            Reply::bulk_owned(known.host.clone()),
            Reply::Int(i64::from(known.port)),
            Reply::bulk_owned(name),
            Reply::Array(Vec::new()),
        ])
    };
    let nodes = nodes.iter().filter(|known| known.is_up || known.leads).map(node_of);
    let range = [Reply::Int(0), integer(LAST_SLOT)].into_iter().chain(nodes);
    LocalOutcome::Reply(Reply::Array(vec![Reply::Array(range.collect())]))
}
