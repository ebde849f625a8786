//! Which nodes there are, where clients find them, and who leads: what CLUSTER, SENTINEL and ROLE answer from. To a client that asks
//! for a cluster, they are one shard that owns all slots; to one that asks for sentinels, one master with replicas. Every node takes
//! reads and writes all the same: whoever follows these answers saves a hop, and whoever does not misses nothing.

use crate::commands::NodeFacts;
use crate::config::{address, parse_address};
use crate::session::Session;
use steadfast_replication::gateway::KnownMember;

/// A node as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownNode {
    /// Its id.
    pub(crate) id: u64,
    /// Where clients find it: the host.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// Whether it leads, or led last if nobody is known to.
    pub(crate) leads: bool,
    /// Whether it is the one that was asked.
    pub(crate) is_own: bool,
    /// Whether the node that was asked has a link to it.
    pub(crate) is_up: bool,
}

impl KnownNode {
    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        address(&self.host, self.port)
    }
}

/// All nodes, the leader first, then by id. There is one that leads.
pub(crate) fn nodes(node: &dyn NodeFacts, session: &Session) -> Vec<KnownNode> {
    let own = node.node_id();
    let leader = match node.status().last_leader_id() {
        0 => own, // a node that serves has known one
        leader => leader,
    };
    let members = node.status().members();
    let others = members.iter().filter(|member| member.id != own);
    let known = |member: &KnownMember| {
        let (id, (host, port)) = (member.id, place(node, member));
        let is_up = node.status().is_connected(id);
        KnownNode { id, host, port, leads: id == leader, is_own: false, is_up }
    };
    let mut nodes: Vec<KnownNode> = others.map(known).collect();
    // Whoever leads may be known by hearsay, and an own removal may not have come yet.
    let (host, port) = own_place(node, session);
    let leads = !nodes.iter().any(|node| node.leads);
    nodes.push(KnownNode { id: own, host, port, leads, is_own: true, is_up: true });
    nodes.sort_by_key(|node| (!node.leads, node.id));
    nodes
}

/// Where another node is: as it said when it started, or else on its host, at the port that this one has.
fn place(node: &dyn NodeFacts, member: &KnownMember) -> (String, u16) {
    let announced = node.machine().announced(member.id).and_then(parse_address);
    announced.unwrap_or_else(|| (member.host.clone(), node.config().port))
}

/// Where the own node is: as it announces itself, or else where this very client has reached it.
fn own_place(node: &dyn NodeFacts, session: &Session) -> (String, u16) {
    let config = node.config();
    parse_address(&config.announced()).unwrap_or_else(|| match session.ends.own {
        Some(own) if session.ends.at_sentinel => (own.ip().to_string(), config.port),
        Some(own) => (own.ip().to_string(), own.port()),
        None => (config.bind.clone(), config.port),
    })
}

/// The name of a node in cluster answers: 40 hexadecimal digits that are the same on every node.
pub(crate) fn cluster_name(node: &dyn NodeFacts, id: u64) -> String {
    // Ids fit into 8 digits: see `parse_cluster`.
    format!("{:032x}{id:08x}", node.machine().cluster_id())
}
