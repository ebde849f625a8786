//! INFO: this node in sections of `name:value` lines, spelled as Redis spells them.

use std::fmt::Write;

use steadfast_core::pubsub::Kind;
use steadfast_replication::gateway::{KnownMember, Role};

use crate::commands::NodeFacts;
use crate::config::address;

/// The Redis release whose behaviour clients may expect.
pub(crate) const REDIS_VERSION: &str = "7.4.1";

type Section = fn(&dyn NodeFacts, &mut String) -> std::fmt::Result;

const SECTIONS: [(&str, Section); 9] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Raft", raft),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

/// The sections asked for; all of them if none is named.
pub(crate) fn sections(node: &dyn NodeFacts, names: &[&[u8]]) -> String {
    let everything = names.is_empty()
        || names.iter().any(|name| {
            ["all", "default", "everything"]
                .iter()
                .any(|all| name.eq_ignore_ascii_case(all.as_bytes()))
        });
    let mut out = String::new();
    for (name, section) in SECTIONS {
        if everything || names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name.as_bytes())) {
            let separator = if out.is_empty() { "" } else { "\r\n" };
            let written =
                write!(out, "{separator}# {name}\r\n").and_then(|()| section(node, &mut out));
            written.expect("writing to a string does not fail");
        }
    }
    out
}

fn server(node: &dyn NodeFacts, out: &mut String) -> std::fmt::Result {
    let uptime = node.uptime_seconds();
    write!(
        out,
        "redis_version:{REDIS_VERSION}\r\nsteadfast_version:{}\r\n",
        env!("CARGO_PKG_VERSION")
    )?;
    write!(out, "redis_mode:standalone\r\nos:{}\r\narch_bits:64\r\n", std::env::consts::OS)?;
    write!(out, "process_id:{}\r\ntcp_port:{}\r\n", std::process::id(), node.config().port)?;
    write!(out, "uptime_in_seconds:{uptime}\r\nuptime_in_days:{}\r\n", uptime / 86_400)
}

fn clients(node: &dyn NodeFacts, out: &mut String) -> std::fmt::Result {
    write!(out, "connected_clients:{}\r\n", node.client_count())?;
    write!(
        out,
        "maxclients:{}\r\nblocked_clients:{}\r\n",
        node.config().maxclients,
        node.blocked_count()
    )
}

fn memory(node: &dyn NodeFacts, out: &mut String) -> std::fmt::Result {
    let used = node.machine().used_bytes();
    write!(out, "used_memory:{used}\r\nused_memory_human:{:.2}M\r\n", used as f64 / 1_048_576.0)?;
    write!(out, "used_memory_dataset:{used}\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n")
}

fn persistence(node: &dyn NodeFacts, out: &mut String) -> std::fmt::Result {
    let status = node.status();
    write!(
        out,
        "loading:{}\r\nasync_loading:0\r\nrdb_bgsave_in_progress:{}\r\nrdb_last_save_time:{}\r\nrdb_last_bgsave_status:ok\r\n",
        u8::from(!node.is_serving()),
        u8::from(node.is_saving()),
        node.last_save_ms() / 1000
    )?;
    write!(out, "aof_enabled:1\r\naof_rewrite_in_progress:0\r\naof_last_write_status:")?;
    write!(out, "{}\r\n", if status.disk_full() { "err" } else { "ok" })?;
    write!(
        out,
        "log_bytes:{}\r\nsnapshot_index:{}\r\nsnapshot_step_usec_max:{}\r\n",
        status.log_bytes(),
        status.snapshot_index(),
        node.snapshot_step_us_max()
    )
}

fn stats(node: &dyn NodeFacts, out: &mut String) -> std::fmt::Result {
    let (received, rejected, commands) = node.counters();
    let machine = node.machine().statistics();
    write!(out, "total_connections_received:{received}\r\nrejected_connections:{rejected}\r\n")?;
    write!(
        out,
        "total_commands_processed:{commands}\r\nexpired_keys:{}\r\n",
        machine.expired_keys
    )?;
    write!(out, "evicted_keys:0\r\ntotal_requests_applied:{}\r\n", machine.requests)?;
    write!(
        out,
        "requests_too_late:{}\r\ncontained_panics:{}\r\nscrub_rounds:{}\r\n",
        machine.too_late,
        machine.contained_panics,
        node.scrub_rounds()
    )?;
    let names = |kind| node.machine().subscribed_names(kind);
    write!(
        out,
        "pubsub_channels:{}\r\npubsub_patterns:{}\r\npubsubshard_channels:{}\r\n",
        names(Kind::Channel),
        names(Kind::Pattern),
        names(Kind::Shard)
    )
}

/// Every node takes writes, so each says that it is a master.
fn replication(node: &dyn NodeFacts, out: &mut String) -> std::fmt::Result {
    write!(
        out,
        "role:master\r\nconnected_slaves:0\r\nmaster_replid:{:032x}\r\n",
        node.machine().cluster_id()
    )?;
    write!(out, "master_repl_offset:{}\r\n", node.machine().applied_index())
}

fn raft(node: &dyn NodeFacts, out: &mut String) -> std::fmt::Result {
    let (status, machine) = (node.status(), node.machine());
    let role = match status.role() {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
    };
    write!(out, "raft_node_id:{}\r\nraft_role:{role}\r\n", node.node_id())?;
    write!(out, "raft_leader_id:{}\r\nraft_term:{}\r\n", status.leader_id(), status.term())?;
    write!(out, "raft_lease:{}\r\n", if node.has_lease() { "held" } else { "none" })?;
    write!(out, "raft_commit_index:{}\r\n", status.commit_index())?;
    write!(out, "raft_last_index:{}\r\n", status.last_index())?;
    write!(out, "raft_applied_index:{}\r\n", machine.applied_index())?;
    write!(out, "raft_state_digest:{:032x}\r\n", machine.digest())?;
    let (level, rounds) = (status.level(), status.disk_scrub_rounds());
    write!(out, "raft_semantics_level:{level}\r\ndisk_scrub_rounds:{rounds}\r\n")?;
    write!(out, "raft_rejoining:{}\r\n", u8::from(status.is_rejoining()))?;
    write!(out, "raft_checked_index:{}\r\n", status.checked_index())?;
    for KnownMember { id, host, port, votes } in status.members() {
        let votes = if votes { "yes" } else { "no" };
        write!(out, "raft_member_{id}:peer={},votes={votes}\r\n", address(&host, port))?;
    }
    let refusals = status.change_refusals();
    refusals
        .iter()
        .try_for_each(|(ticket, why)| write!(out, "raft_change_refused_{ticket}:{why}\r\n"))
}

/// The nodes answer cluster clients, as one shard.
fn cluster(_: &dyn NodeFacts, out: &mut String) -> std::fmt::Result {
    write!(out, "cluster_enabled:1\r\n")
}

fn keyspace(node: &dyn NodeFacts, out: &mut String) -> std::fmt::Result {
    for db in 0..steadfast_core::access::DATABASES {
        let stats = node.machine().database_stats(db);
        if stats.keys > 0 {
            write!(out, "db{db}:keys={},expires={},", stats.keys, stats.expires)?;
            write!(out, "avg_ttl={},subexpiry=0\r\n", stats.avg_ttl_ms)?;
        }
    }
    Ok(())
}
