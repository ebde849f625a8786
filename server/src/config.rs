//! Settings: one declaration each, read by the command line and by CONFIG GET and SET. Contradictions are found before
//! anything starts, with one clear message.

use std::time::Duration;

use steadfast_core::error::ReplyError;
use steadfast_core::glob;
use steadfast_core::machine::SEMANTICS_LEVEL;
use steadfast_replication::driver::ReplicationConfig;
use steadfast_replication::formation::Member;
use steadfast_replication::gateway::{CHANNEL_MESSAGES_MAX, PARCEL_BYTES_MAX};
use steadfast_replication::storage::{Fsync, LogConfig};

use crate::output_limit::OutputLimits;
use crate::resp::Limits;

/// Bytes of one request, whatever the flags say: its parts must fit into the way to replication, which is never waited for.
const MAX_REQUEST_MAX: usize = CHANNEL_MESSAGES_MAX / 2 * PARCEL_BYTES_MAX;

/// All settings of a node. Made by `cli`, or by the simulator from `Config::default()`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address for clients.
    pub bind: String,
    /// Port for clients.
    pub port: u16,
    /// Data directory.
    pub dir: String,
    /// Whether a member of a cluster of several may start from a copy of its data directory.
    pub adopt_copy: bool,
    /// Own id; 1 for a node on its own.
    pub node_id: u64,
    /// All nodes; empty for a node on its own.
    pub members: Vec<Member>,
    /// Whether a node with an empty directory waits to be added to a cluster, and forms none.
    pub join: bool,
    /// Where clients find this node, `host:port`; empty to follow from the other settings.
    pub announce: String,
    /// A second port for clients, at which ROLE says `sentinel`; 0 for none.
    pub sentinel_port: u16,
    /// The name that Sentinel clients know the cluster by.
    pub sentinel_master: String,
    /// Durability.
    pub appendfsync: Fsync,
    /// How long a request may wait.
    pub request_timeout: Duration,
    /// Bytes of one request.
    pub max_request: usize,
    /// Bytes of one argument.
    pub proto_max_bulk_len: usize,
    /// Clients at once.
    pub maxclients: usize,
    /// Output that clients may leave untaken, by class.
    pub output_limits: OutputLimits,
    /// Password of the default user; empty for none.
    pub requirepass: String,
    /// Bytes of log after which a snapshot is taken.
    pub snapshot_log_bytes: u64,
    /// Bytes of a snapshot that are encoded between two turns of the event loop. No flag: the simulator makes it small.
    pub snapshot_step_bytes: usize,
    /// Bytes of one log segment.
    pub segment_bytes: u64,
    /// What nodes prove to each other by who they are; without it they speak plain TCP.
    pub tls: Option<TlsFiles>,
    /// Length of a raft tick.
    pub tick: Duration,
    /// Whether a leader answers reads by itself while its lease holds.
    pub lease_reads: bool,
    /// Pause between two rounds in which all that lies on the disk is read again. No flag: the simulator makes it short.
    pub scrub_pause: Duration,
    /// The highest semantics level that is known. No flag: it is that of the release, and the simulator has releases of its own.
    pub level: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1".to_owned(),
            port: 6379,
            dir: "./data".to_owned(),
            adopt_copy: false,
            node_id: 1,
            members: Vec::new(),
            join: false,
            announce: String::new(),
            sentinel_port: 0,
            sentinel_master: "mymaster".to_owned(),
            appendfsync: Fsync::Always,
            request_timeout: Duration::from_secs(10),
            max_request: 1 << 30,
            proto_max_bulk_len: 512 << 20,
            maxclients: 10_000,
            output_limits: OutputLimits::default(),
            requirepass: String::new(),
            snapshot_log_bytes: 64 << 20,
            snapshot_step_bytes: 128 << 10,
            segment_bytes: 16 << 20,
            tls: None,
            tick: Duration::from_millis(50),
            lease_reads: true,
            scrub_pause: Duration::from_secs(600),
            level: SEMANTICS_LEVEL,
        }
    }
}

/// Files in PEM form, for TLS between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// This node's certificate, with those that lead from it to the authority.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The authority whose certificates make a node a node of this cluster.
    pub authority: String,
}

/// Silence on an accepted connection after which the system asks whether the other end is still there: Redis's default.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(300);

/// Ticks in the election timeout and between heartbeats: 0.7 s (an election begins 0.8 to 1.35 s after the leader's last word), and 0.1 s.
/// Nodes with other ones speak another `PROTOCOL`, for leases rely on it.
const ELECTION_TICKS: usize = 14;
const HEARTBEAT_TICKS: usize = 2;

impl Config {
    /// Checks what no single flag can.
    ///
    /// # Errors
    /// A sentence that says what contradicts what.
    pub fn validate(&self) -> Result<(), String> {
        if self.max_request > MAX_REQUEST_MAX {
            return Err(format!(
                "--max-request {} is more than this server can take on at once: it may be {MAX_REQUEST_MAX} bytes at the most",
                self.max_request
            ));
        }
        if !self.announce.is_empty() && parse_address(&self.announce).is_none() {
            return Err(format!("--announce {} is not of the form host:port", self.announce));
        }
        if self.sentinel_port == self.port && self.port != 0 {
            return Err(format!(
                "--sentinel-port {} is also --port, where Sentinel clients are answered in any case: choose another, or leave it out",
                self.port
            ));
        }
        if self.members.is_empty() && self.join {
            return Err(
                "--join needs --cluster with this node in it: where do the others reach it?"
                    .to_owned(),
            );
        }
        if self.members.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<u64> = self.members.iter().map(|member| member.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != self.members.len() {
            return Err("--cluster names a node id twice".to_owned());
        }
        let Some(own) = self.members.iter().find(|member| member.id == self.node_id) else {
            return Err(format!(
                "--node-id {} is not among the nodes {ids:?} of --cluster: each node must find its own address there",
                self.node_id
            ));
        };
        let mut addresses: Vec<(&str, u16)> =
            self.members.iter().map(|member| (member.host.as_str(), member.port)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.len() != self.members.len() {
            return Err("--cluster names an address twice".to_owned());
        }
        if own.port == self.sentinel_port {
            return Err(format!(
                "--sentinel-port {} is also this node's peer port in --cluster: clients and peers need a port each",
                own.port
            ));
        }
        if own.port == self.port {
            return Err(format!(
                "--port {} is also this node's peer port in --cluster: clients and peers need a port each",
                self.port
            ));
        }
        if self.appendfsync != Fsync::Always {
            return Err("--appendfsync everysec and no are for a node on its own: in a cluster an unsynced vote or \
                        acknowledged entry that a power cut takes back makes two histories"
                .to_owned());
        }
        Ok(())
    }

    /// Where this node says that clients find it, `host:port`. One of several is on the host that the others know; of a node on its own
    /// only its clients can tell.
    pub fn announced(&self) -> String {
        let own = self.members.iter().find(|member| member.id == self.node_id);
        match own {
            Some(own) if self.announce.is_empty() => address(&own.host, self.port),
            _ => self.announce.clone(),
        }
    }

    /// Address for clients.
    pub fn bind(&self) -> &str {
        &self.bind
    }

    /// Port for clients.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How long a request may wait.
    pub const fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Limits of requests.
    pub const fn limits(&self) -> Limits {
        Limits { bulk_bytes_max: self.proto_max_bulk_len, request_bytes_max: self.max_request }
    }

    /// Replication's part.
    pub fn replication(&self, seed: u64) -> ReplicationConfig {
        ReplicationConfig {
            node_id: self.node_id,
            members: self.members.clone(),
            joins: self.join,
            announced: self.announced(),
            log: LogConfig {
                segment_bytes: self.segment_bytes,
                fsync: self.appendfsync,
                scrub_pause: self.scrub_pause,
                ..LogConfig::default()
            },
            snapshot_log_bytes: self.snapshot_log_bytes,
            adopt_copy: self.adopt_copy,
            tail_bytes: self.snapshot_log_bytes / 4,
            tick: self.tick,
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: HEARTBEAT_TICKS,
            lease_reads: self.lease_reads,
            level: self.level,
            seed,
        }
    }

    /// Every setting with its value, as CONFIG GET names them; sorted.
    fn all(&self) -> [(&'static str, String); 33] {
        let file =
            |of: fn(&TlsFiles) -> &String| self.tls.as_ref().map(of).cloned().unwrap_or_default();
        let fsync = match self.appendfsync {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
            Fsync::No => "no",
        };
        let cluster: Vec<String> =
            self.members.iter().map(|m| format!("{}={}:{}", m.id, m.host, m.port)).collect();
        [
            ("announce", self.announce.clone()),
            ("appendfsync", fsync.to_owned()),
            ("appendonly", "yes".to_owned()),
            ("bind", self.bind.clone()),
            ("client-output-buffer-limit", self.output_limits.show()),
            ("cluster", cluster.join(",")),
            ("cluster-enabled", "yes".to_owned()),
            ("databases", "16".to_owned()),
            ("dir", self.dir.clone()),
            ("lease-reads", if self.lease_reads { "yes" } else { "no" }.to_owned()),
            ("max-request", self.max_request.to_string()),
            ("maxclients", self.maxclients.to_string()),
            ("maxmemory", "0".to_owned()),
            ("maxmemory-policy", "noeviction".to_owned()),
            ("node-id", self.node_id.to_string()),
            ("notify-keyspace-events", String::new()),
            ("port", self.port.to_string()),
            ("proto-max-bulk-len", self.proto_max_bulk_len.to_string()),
            ("request-timeout", self.request_timeout.as_millis().to_string()),
            ("requirepass", self.requirepass.clone()),
            ("save", String::new()),
            ("segment-bytes", self.segment_bytes.to_string()),
            ("sentinel-master", self.sentinel_master.clone()),
            ("sentinel-port", self.sentinel_port.to_string()),
            ("slave-read-only", "no".to_owned()),
            ("snapshot-log-bytes", self.snapshot_log_bytes.to_string()),
            ("tcp-keepalive", TCP_KEEPALIVE.as_secs().to_string()),
            ("tick", self.tick.as_millis().to_string()),
            ("timeout", "0".to_owned()),
            ("tls-ca-cert-file", file(|files| &files.authority)),
            ("tls-cert-file", file(|files| &files.certificate)),
            ("tls-cluster", if self.tls.is_some() { "yes" } else { "no" }.to_owned()),
            ("tls-key-file", file(|files| &files.key)),
        ]
    }

    /// CONFIG GET.
    pub fn matching(&self, patterns: &[&[u8]]) -> Vec<(&'static str, String)> {
        let fits = |name: &str| {
            let lower =
                |pattern: &&[u8]| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes());
            patterns.iter().any(lower)
        };
        self.all().into_iter().filter(|(name, _)| fits(name)).collect()
    }

    /// CONFIG SET of one setting.
    ///
    /// # Errors
    /// Redis's texts for a setting that is not known, can't be changed while running, or does not take the value.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), ReplyError> {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let value = String::from_utf8_lossy(value).into_owned();
        let failed = |why: &str| {
            ReplyError::made(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"
            ))
        };
        let range = |number: Option<u64>, least: u64, most: u64| {
            number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
                failed(&format!("argument must be between {least} and {most} inclusive"))
            })
        };
        let number = |least: u64, most: u64| {
            let number = value
                .parse::<i64>()
                .map_err(|_| failed("argument couldn't be parsed into an integer"))?;
            range(u64::try_from(number).ok(), least, most)
        };
        let memory = |text: &str| {
            parse_memory(text).ok_or_else(|| failed("argument must be a memory value"))
        };
        match name.as_str() {
            "client-output-buffer-limit" => {
                self.output_limits = self.output_limits.with(&value).map_err(failed)?;
            }
            "maxclients" => self.maxclients = number(1, u64::from(u32::MAX))? as usize,
            "proto-max-bulk-len" => {
                let bytes = memory(&value)?;
                self.proto_max_bulk_len = range(Some(bytes), 1 << 20, i64::MAX as u64)? as usize;
            }
            "request-timeout" => {
                self.request_timeout =
                    parse_duration(&value).ok_or_else(|| failed("argument is no duration"))?;
            }
            "requirepass" if value.contains(char::REPLACEMENT_CHARACTER) => {
                return Err(failed("argument is no UTF-8 text"));
            }
            "requirepass" => self.requirepass = value,
            known => {
                let old = self.all().into_iter().find(|(name, _)| *name == known);
                let Some((_, old)) = old else {
                    return Err(ReplyError::made(format!(
                        "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                    )));
                };
                let same = if MEMORY.contains(&known) {
                    memory(&value)?.to_string() == old
                } else {
                    value == old
                };
                if !same {
                    return Err(failed("can't set immutable config"));
                }
            }
        }
        Ok(())
    }
}

/// Settings that can't be changed and are amounts of memory.
const MEMORY: [&str; 4] = ["max-request", "maxmemory", "segment-bytes", "snapshot-log-bytes"];

/// Bytes as Redis writes them: a plain number, or one with `k`, `m`, `g` (thousands) or `kb`, `mb`, `gb` (of 1024), in any
/// case. As there, no digits are 0, and what is too large to count is as much as can be counted.
pub fn parse_memory(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    let number = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) };
    Some(number.saturating_mul(unit))
}

/// `1500ms`, `10s`, `2m`, or a plain number of milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "" | "ms" => number,
        "s" => number.checked_mul(1000)?,
        "m" => number.checked_mul(60_000)?,
        _ => return None,
    };
    (millis > 0).then(|| Duration::from_millis(millis))
}

/// `host:port` for people and clients; an IPv6 address stands in brackets.
pub fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The host and the port of `host:port` or `[host]:port`; none if it is neither.
pub fn parse_address(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    is_host.then_some((host, port))
}

/// `1=host:port,2=host:port,3=host:port`.
///
/// # Errors
/// A sentence that quotes the entry that is wrong.
pub fn parse_cluster(text: &str) -> Result<Vec<Member>, String> {
    let member = |entry: &str| {
        let (id, address) = entry.split_once('=')?;
        let (host, port) = parse_address(address)?;
        // Cluster clients get 32 bits of it in a node's name.
        let id = id.trim().parse().ok().filter(|id| (1..=u64::from(u32::MAX)).contains(id))?;
        Some(Member { id, host, port })
    };
    let entries = text.split(',').map(str::trim);
    entries
        .map(|entry| {
            member(entry).ok_or_else(|| {
                format!(
                    "`{entry}` is not of the form id=host:port, with an id from 1 to 4294967295"
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(text: &str) -> Config {
        Config { members: parse_cluster(text).expect("it parses"), ..Config::default() }
    }

    /// Each contradiction is named.
    #[test]
    fn contradictions_are_named() {
        let three = "1=a:1,2=b:1,3=c:1";
        assert_eq!(cluster(three).validate(), Ok(()));
        let refused = |config: Config, word: &str| {
            let text = config.validate().expect_err("it must be refused");
            assert!(text.contains(word), "{text}");
        };
        refused(Config { node_id: 9, ..cluster(three) }, "9");
        refused(Config { appendfsync: Fsync::No, ..cluster(three) }, "appendfsync");
        refused(Config { port: 1, ..cluster(three) }, "peer port");
        refused(Config { sentinel_port: 1, ..cluster(three) }, "peer port");
        refused(Config { sentinel_port: 6379, ..cluster(three) }, "also --port");
        assert_eq!(cluster("1=a:1").validate(), Ok(()), "it can grow");
        refused(Config { join: true, ..Config::default() }, "--join");
        refused(Config { max_request: 8 << 30, ..Config::default() }, "max-request");
        refused(cluster("1=a:1,1=b:1,3=c:1"), "twice");
        refused(cluster("1=a:1,2=a:1,3=c:1"), "address twice");
        for wrong in ["x", "1=", "0=a:1", "4294967296=a:1", "1=a", "1=:5", "1=a:x"] {
            assert!(parse_cluster(wrong).is_err(), "{wrong}");
        }
    }

    /// Where clients find a node: as it is told, or else on the host that its peers know, at its own port.
    #[test]
    fn addresses_follow() {
        assert_eq!(Config::default().announced(), "");
        let three = cluster("1=a:1,2=[::1]:1,3=c:1");
        assert_eq!(three.announced(), "a:6379");
        let two = Config { node_id: 2, ..three.clone() };
        assert_eq!(two.announced(), "[::1]:6379");
        assert_eq!(parse_address(&two.announced()), Some(("::1".to_owned(), 6379)));
        let told = Config { announce: "redis.example:7".to_owned(), ..three };
        assert_eq!((told.announced().as_str(), told.validate()), ("redis.example:7", Ok(())));
        for wrong in ["a", "a:", ":1", "a:x", "a:70000", "a b:1", "a:0"] {
            let told = Config { announce: wrong.to_owned(), ..Config::default() };
            assert!(told.validate().is_err_and(|why| why.contains(wrong)), "{wrong}");
        }
    }

    /// CONFIG GET takes patterns; CONFIG SET refuses what is unknown or fixed.
    #[test]
    fn get_and_set() {
        let mut config = Config::default();
        assert!(config.matching(&[b"MAXMEMORY*"]).len() == 2);
        assert!(config.set(b"maxclients", b"5").is_ok() && config.maxclients == 5);
        assert!(config.set(b"port", b"1").is_err());
        assert!(config.set(b"max-request", b"1GB").is_ok(), "it is what it was");
        assert!(config.set(b"max-request", b"2gb").is_err());
        assert!(config.set(b"save", b"").is_ok(), "setting what is set changes nothing");
        assert!(config.set(b"nonsense", b"1").is_err());
        let names: Vec<_> = config.all().iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted());
    }

    /// Amounts of memory in Redis's units, refused in its words.
    #[test]
    fn memory_has_units() {
        let mut config = Config::default();
        for (text, bytes) in [
            ("1mb", 1 << 20),
            ("2g", 2_000_000_000),
            ("2GB", 2 << 30),
            ("3M", 3_000_000),
            ("2000k", 2_000_000),
            ("1024Kb", 1 << 20),
            ("1048576b", 1 << 20),
            ("1048577", (1 << 20) + 1),
        ] {
            assert_eq!(config.set(b"proto-max-bulk-len", text.as_bytes()), Ok(()), "{text}");
            assert_eq!(config.proto_max_bulk_len, bytes, "{text}");
        }
        let range = "argument must be between 1048576 and 9223372036854775807 inclusive";
        let memory = "argument must be a memory value";
        for (text, why) in [
            ("1k", range),
            ("", range),
            ("mb", range),
            ("99999999999999999999", range),
            ("8589934592gb", range),
            ("1mbx", memory),
            ("-1", memory),
            ("1.5mb", memory),
            ("1 mb", memory),
        ] {
            let error = config.set(b"proto-max-bulk-len", text.as_bytes()).expect_err(text);
            let start =
                "ERR CONFIG SET failed (possibly related to argument 'proto-max-bulk-len') - ";
            assert_eq!(error.text(), format!("{start}{why}").as_bytes(), "{text}");
        }
    }
}
