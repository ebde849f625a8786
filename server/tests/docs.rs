//! docs/commands.md is made from the two command tables and the differences below; a page that says something else fails here.
//! `UPDATE_GOLDENFILES=1 cargo test -p steadfast-server --test docs` writes it anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use steadfast_core::commands::{self, Arity, CommandSpec, Docs, Group};
use steadfast_server::commands::{self as local, LocalHandler};

const HEAD: &str = "\
# Commands

Made from the command tables; `server/tests/docs.rs` says how. \"Arguments\" is all that is supported. Arity counts the command's
name; `-N` means N or more. \"Since\" is the Redis release whose form it is.

What runs a command: a **read** is answered by the node that was asked, from state that a quorum confirmed
after the read came, or the leader under its lease.
A **write** goes through the log and is applied on every node. **Node** commands are about the connection or the node that was
asked, never enter the log and can't be called from scripts.

All times are log time, which follows the leader's wall clock at a bounded rate. Reads and writes can also answer
`CLUSTERDOWN`, `TRYAGAIN`, `LOADING` or `UNKNOWN`: see [consistency.md](consistency.md). Commands that are not on this page answer
`ERR unknown command`.
";

/// How a command differs from Redis 7.0, beyond what the page says of all of them.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "CLIENT|CONSISTENCY",
        "is of this server: STALE reads see what the asked node has applied, and ask nobody; RESET goes back to LINEARIZABLE",
    ),
    ("CLIENT|INFO", "has no fields about buffers, memory and file descriptors (`fd` is 0)"),
    ("CLIENT|LIST", "lists the clients of this node"),
    ("CLIENT|NO-EVICT", "nothing is ever evicted: it has no effect"),
    ("CLIENT|NO-TOUCH", "is of Redis 7.2; there is no access time to touch: it has no effect"),
    ("CLIENT|SETINFO", "is of Redis 7.2"),
    ("CLUSTER|COUNTKEYSINSLOT", "counts what the asked node has applied, in database 0"),
    ("CLUSTER|GETKEYSINSLOT", "tells what the asked node has applied, in database 0"),
    ("COMMAND|DOCS", "arguments are words of the syntax, without types"),
    ("COMMAND|LIST", "has no FILTERBY"),
    ("CONFIG|GET", "knows the parameters of this server only"),
    ("CONFIG|RESETSTAT", "resets the counters of this node only"),
    ("CONFIG|SET", "changes this node only, until it ends"),
    ("EVAL", SCRIPTS),
    ("EVALSHA", SCRIPTS),
    ("EVALSHA_RO", RO_SCRIPTS),
    ("EVAL_RO", RO_SCRIPTS),
    ("SCRIPT|DEBUG", "there is no debugger: YES and SYNC are refused"),
    (
        "SCRIPT|KILL",
        "always answers NOTBUSY: a script ends by itself or by its budget, at the same instruction everywhere",
    ),
    (
        "BGSAVE",
        "never needed for durability: the log holds what was acknowledged; saves this node only",
    ),
    ("FLUSHALL", "SYNC and ASYNC are the same"),
    ("FLUSHDB", "SYNC and ASYNC are the same"),
    ("HELLO", "the only user is `default`; not inside MULTI"),
    ("AUTH", "the only user is `default`; not inside MULTI"),
    ("HRANDFIELD", REPEATED),
    (
        "HSCAN",
        "a large hash is in another order, which is the same on every node; NOVALUES is of Redis 7.4",
    ),
    ("INFO", "has sections and fields of this server"),
    ("KEYS", "in another order"),
    (
        "OBJECT|ENCODING",
        "has the names of Redis 7.4; that of a string follows from its bytes alone, also after APPEND and SETRANGE",
    ),
    ("OBJECT|FREQ", "accesses are not counted: it is refused, as under any policy but LFU"),
    ("OBJECT|IDLETIME", "there is no access time: it is 0"),
    ("OBJECT|REFCOUNT", "is 1"),
    ("PING", "inside MULTI it answers a subscriber as everybody"),
    ("PSUBSCRIBE", SUBSCRIPTIONS),
    (
        "PUBLISH",
        "counts the receivers in the whole cluster; what a transaction sends to its own connection comes behind EXEC's reply",
    ),
    ("PUBSUB|CHANNELS", WHOLE_CLUSTER),
    ("PUBSUB|NUMPAT", WHOLE_CLUSTER),
    ("PUBSUB|NUMSUB", WHOLE_CLUSTER),
    ("PUBSUB|SHARDCHANNELS", WHOLE_CLUSTER),
    ("PUBSUB|SHARDNUMSUB", WHOLE_CLUSTER),
    ("SPUBLISH", "as PUBLISH; every node serves every shard channel"),
    ("SSUBSCRIBE", "every node serves every shard channel"),
    ("SUBSCRIBE", SUBSCRIPTIONS),
    ("SCAN", "in another order, which is the same on every node"),
    ("SCRIPT|FLUSH", "SYNC and ASYNC are the same"),
    (
        "SCRIPT|LOAD",
        "the cache is part of the state: loaded once, a script is known to every node and survives restarts",
    ),
    ("RAFT|ADD", MEMBERS),
    ("RAFT|PROMOTE", MEMBERS),
    ("RAFT|REMOVE", MEMBERS),
    ("RAFT|STEPDOWN", OWN),
    ("RAFT|TRANSFER", OWN),
    ("ROLE", "the offset is the applied index; at `--sentinel-port` it says `sentinel`"),
    (
        "SHUTDOWN",
        "SAVE, NOSAVE, NOW and FORCE are the same: every acknowledged write is in the log",
    ),
    ("SRANDMEMBER", REPEATED),
    ("SSCAN", "a large set is in another order, which is the same on every node"),
    ("TIME", "is log time"),
    ("TOUCH", "there is no access time to touch: it counts keys"),
    ("UNLINK", "is DEL"),
    ("ZRANDMEMBER", "a count below -1048576 is refused"),
    ("ZRANK", "WITHSCORE is of Redis 7.2"),
    ("ZREVRANK", "WITHSCORE is of Redis 7.2"),
    ("ZSCAN", "in another order, which is the same on every node"),
];

const REPEATED: &str = "a negative count is not below -1048576";

const OWN: &str =
    "is of this server; `steadfast cluster` finds the leader and waits until another leads";

const MEMBERS: &str = "is of this server; answers OK if it is so, or else a ticket; `steadfast cluster` finds the leader and waits until \
    it is done";

const SUBSCRIPTIONS: &str =
    "goes through the log; at `--sentinel-port` to events of the sentinel (`+switch-master`)";

const WHOLE_CLUSTER: &str = "of the whole cluster";

const SCRIPTS: &str = "is stopped by a budget of instructions and memory, and then writes nothing, instead of by time; node commands \
    (SELECT, TIME, INFO) can't be called; tables whose keys are objects have no order; settings of `cjson` last as long as the script; \
    `cjson` nests 1,000 deep when it encodes and 3,000 when it decodes, whatever is set; `redis.log` and `redis.set_repl` have no effect; \
    `os.clock` counts instructions";

const RO_SCRIPTS: &str = "goes through the log as EVAL does, and is stopped as that is";

/// One row's facts.
struct Row {
    group: Group,
    name: &'static str,
    arity: Arity,
    runs: &'static str,
    docs: Docs,
}

fn row<H>(group: Group, spec: &CommandSpec<H>, runs: &'static str) -> Row {
    Row { group, name: spec.name, arity: spec.arity, runs, docs: spec.docs }
}

/// Both tables, in their order.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in commands::FAMILIES {
        rows.extend(family.commands.iter().map(|spec| {
            let runs = if spec.is_write() { "write" } else { "read" };
            row(family.group, spec, runs)
        }));
    }
    for family in local::FAMILIES {
        let own = family.commands.iter();
        rows.extend(own.map(|spec: &CommandSpec<LocalHandler>| {
            let runs = match spec.handler {
                LocalHandler::Exec => "write",
                LocalHandler::Watch => "read",
                _ => "node",
            };
            row(family.group, spec, runs)
        }));
    }
    rows
}

fn page() -> String {
    let groups = [
        (Group::String, "Strings"),
        (Group::Hash, "Hashes"),
        (Group::List, "Lists"),
        (Group::Set, "Sets"),
        (Group::SortedSet, "Sorted sets"),
        (Group::Generic, "Keys"),
        (Group::PubSub, "Publish and subscribe"),
        (Group::Scripting, "Scripts"),
        (Group::Transactions, "Transactions"),
        (Group::Connection, "Connections"),
        (Group::Server, "Server"),
        (Group::Cluster, "Cluster"),
        (Group::Sentinel, "Sentinel"),
    ];
    let (rows, mut page) = (rows(), HEAD.to_owned());
    let mut shown = 0;
    for (group, title) in groups {
        page += &["\n## ", title, "\n\n"].concat();
        page += "| Command | Arguments | Arity | Since | Runs as | What it does | Differs from Redis 7.0 |\n";
        page += "|---|---|---|---|---|---|---|\n";
        let mut own: Vec<&Row> = rows.iter().filter(|row| row.group == group).collect();
        own.sort_by_key(|row| row.name);
        shown += own.len();
        for row in own {
            let arity = match row.arity {
                Arity::Exactly(count) => count.to_string(),
                Arity::AtLeast(count) => format!("-{count}"),
            };
            let syntax = match row.docs.syntax {
                "" => String::new(),
                syntax => format!("`{}`", syntax.replace('|', "\\|")),
            };
            let (name, docs) = (row.name.replace('|', " "), row.docs);
            let differs =
                DIFFERENCES.iter().find(|(name, _)| *name == row.name).map_or("", |(_, how)| how);
            writeln!(
                page,
                "| {name} | {syntax} | {arity} | {} | {} | {} | {differs} |",
                docs.since, row.runs, docs.summary
            )
            .expect("a string takes everything");
        }
    }
    assert_eq!(shown, rows.len(), "a group has no place on the page");
    page
}

/// The page is what the tables say.
#[test]
fn the_page_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/commands.md");
    let page = page();
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        fs::write(&path, &page).expect("the repository is writable");
    }
    let file = fs::read_to_string(path).expect("the page is part of the repository");
    for (line, (ours, theirs)) in file.lines().zip(page.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {}: UPDATE_GOLDENFILES=1 writes the page anew", line + 1);
    }
    assert_eq!(file.len(), page.len());
}

/// No command stands in the tables twice.
#[test]
fn names_are_given_once() {
    let mut names: Vec<&str> = rows().iter().map(|row| row.name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
}

/// Differences are of commands that there are, one text a command.
#[test]
fn differences_are_of_commands() {
    let rows = rows();
    for (at, (name, _)) in DIFFERENCES.iter().enumerate() {
        assert!(rows.iter().any(|row| row.name == *name), "{name} is in no table");
        assert!(!DIFFERENCES[..at].iter().any(|(other, _)| other == name), "{name} has two texts");
    }
}
