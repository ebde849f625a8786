//! The command line: `steadfast server` (also without a word), `steadfast cluster` and `steadfast cli`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use steadfast_replication::storage::Fsync;

use crate::config::{Config, TlsFiles, address, parse_cluster, parse_duration, parse_memory};

/// A replicated cache behind the Redis protocol whose acknowledged writes and locks hold.
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    /// What to do; `server` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of the server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node.
    Server(Box<ServerArgs>),
    /// Look at a cluster, have another node lead it, change who its members are.
    Cluster(ClusterArgs),
    /// Talk to a server: one command, or a prompt.
    #[command(disable_help_flag = true)]
    Cli(CliArgs),
}

/// When a write is answered.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FsyncArg {
    /// After it is on disk: survives power loss.
    Always,
    /// Synced once a second: power loss takes at most the last second. For a node on its own.
    Everysec,
    /// Synced when the system likes to. For a node on its own.
    No,
}

/// A switch as Redis writes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum YesNo {
    /// On.
    Yes,
    /// Off.
    No,
}

/// Flags of `steadfast server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Port for clients.
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// Address for clients.
    #[arg(long, default_value = "127.0.0.1")]
    bind: String,
    /// Data directory; made if it is missing.
    #[arg(long, default_value = "./data")]
    dir: String,
    /// Start from a copy of the data directory, although this is one of several nodes: only if the node was stopped when the copy was
    /// made and has not run since, or if all nodes go back to copies together. Not needed by a node on its own.
    #[arg(long)]
    adopt_copy: bool,
    /// This node's id in --cluster.
    #[arg(long)]
    node_id: Option<u64>,
    /// All nodes and where they reach each other: 1=host:port,2=host:port,3=host:port. A node that is named alone is a cluster of one, to
    /// which others can be added while it runs (steadfast cluster add).
    #[arg(long)]
    cluster: Option<String>,
    /// With an empty directory, wait to be added to a cluster that runs (steadfast cluster add), and form none. Later on it says nothing.
    #[arg(long, requires = "cluster")]
    join: bool,
    /// Where clients find this node, host:port, for those that ask for a cluster or for sentinels. Without it: on its host in --cluster,
    /// at --port; a node on its own is where its client has reached it.
    #[arg(long)]
    announce: Option<String>,
    /// The host of --announce alone, as Redis calls it; also --replica-announce-ip.
    #[arg(long, alias = "replica-announce-ip", conflicts_with = "announce")]
    cluster_announce_ip: Option<String>,
    /// The port of --announce alone, as Redis calls it; also --replica-announce-port.
    #[arg(long, alias = "replica-announce-port", requires = "cluster_announce_ip")]
    cluster_announce_port: Option<u16>,
    /// A second port for clients, for Sentinel clients that ask whether they have found a sentinel (redis-rs), such as 26379.
    #[arg(long, default_value_t = 0)]
    sentinel_port: u16,
    /// The name that Sentinel clients ask for.
    #[arg(long, default_value = "mymaster")]
    sentinel_master: String,
    /// When a write is answered.
    #[arg(long, value_enum, default_value_t = FsyncArg::Always)]
    appendfsync: FsyncArg,
    /// How long a request may wait for a quorum, such as 10s or 1500ms.
    #[arg(long, default_value = "10s")]
    request_timeout: String,
    /// Password of the default user.
    #[arg(long, default_value = "")]
    requirepass: String,
    /// Bytes of one request at the most.
    #[arg(long, default_value = "1gb", value_parser = bytes)]
    max_request: u64,
    /// Clients at once at the most.
    #[arg(long, default_value_t = 10_000)]
    maxclients: usize,
    /// Output that subscribers may leave untaken, as in Redis: pubsub, a hard limit, a soft one, and seconds for which that one may be
    /// exceeded.
    #[arg(long, num_args = 4, action = clap::ArgAction::Append, value_names = ["CLASS", "HARD", "SOFT", "SECONDS"])]
    client_output_buffer_limit: Vec<String>,
    /// Bytes of log after which a snapshot is taken.
    #[arg(long, default_value = "64mb", value_parser = bytes)]
    snapshot_log_bytes: u64,
    /// Bytes of one log segment.
    #[arg(long, default_value = "16mb", value_parser = bytes)]
    segment_bytes: u64,
    /// Whether a leader answers reads by itself while its lease holds. It trusts the clocks of two nodes to run apart by less than a
    /// fifth, and to go on while a machine stands still; say no on every node where they do not, and each read asks a quorum.
    #[arg(long, value_enum, default_value_t = YesNo::Yes)]
    lease_reads: YesNo,
    /// Whether nodes speak TLS with each other: all of them, or none. Each shows its certificate; who shows none of the authority's is
    /// refused. A node's certificate names the host at which --cluster says that it is.
    #[arg(long, value_enum, default_value_t = YesNo::No)]
    tls_cluster: YesNo,
    /// This node's certificate, in PEM form.
    #[arg(long)]
    tls_cert_file: Option<String>,
    /// Its private key, in PEM form.
    #[arg(long)]
    tls_key_file: Option<String>,
    /// The certificate of the authority that made all nodes' certificates, and no others, in PEM form.
    #[arg(long)]
    tls_ca_cert_file: Option<String>,
}

/// An amount of memory on the command line.
fn bytes(text: &str) -> Result<u64, String> {
    let starts_right = text.starts_with(|c: char| c.is_ascii_digit());
    parse_memory(text)
        .filter(|_| starts_right)
        .ok_or_else(|| "an amount of memory looks like 65536, 64kb or 16mb".to_owned())
}

/// Flags of `steadfast cluster`.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Any node: the others are found from it.
    #[arg(long, global = true, default_value = "127.0.0.1")]
    pub host: String,
    /// Its port for clients.
    #[arg(short, long, global = true, default_value_t = 6379)]
    pub port: u16,
    /// Password.
    #[arg(short = 'a', long = "pass", global = true)]
    pub password: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub action: ClusterAction,
}

/// What `steadfast cluster` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum ClusterAction {
    /// Print the nodes, who leads, and how far each is. Fails if nobody leads.
    Status,
    /// Have the given node lead.
    Transfer {
        /// Its id in --cluster.
        node: u64,
    },
    /// Have another node lead than the one that does.
    Stepdown,
    /// Add a new node, which was started with --join: it learns, and votes once it has caught up.
    Add {
        /// Its id, never used before, and where its peers reach it: 4=host:port.
        node: String,
        /// Keep it a learner: it serves clients, and does not count for a majority.
        #[arg(long)]
        learner: bool,
    },
    /// Make a learner a voter.
    Promote {
        /// Its id.
        node: u64,
    },
    /// Remove a node for ever. One that leads hands over first.
    Remove {
        /// Its id.
        node: u64,
    },
    /// Put a new node, which was started with --join, in the place of another one, which may be lost.
    Replace {
        /// The id of the one that goes.
        old: u64,
        /// The new one: 4=host:port.
        new: String,
    },
}

/// Flags of `steadfast cli`.
#[derive(Debug, Args)]
pub struct CliArgs {
    /// Server.
    #[arg(short = 'h', long = "host", default_value = "127.0.0.1")]
    pub host: String,
    /// Port.
    #[arg(short, long, default_value_t = 6379)]
    pub port: u16,
    /// Database.
    #[arg(short = 'n', long, default_value_t = 0)]
    pub db: usize,
    /// Password.
    #[arg(short = 'a', long = "pass")]
    pub password: Option<String>,
    /// Speak RESP3.
    #[arg(short = '3')]
    pub resp3: bool,
    /// Print replies for people even if the output is no terminal.
    #[arg(long)]
    pub no_raw: bool,
    /// Print this help.
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
    /// The command; without one, a prompt.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

impl ServerArgs {
    /// The settings that the flags make.
    ///
    /// # Errors
    /// A sentence that says which flag is wrong or contradicts which.
    pub fn config(self) -> Result<Config, String> {
        let members = match &self.cluster {
            Some(text) => parse_cluster(text).map_err(|why| format!("--cluster: {why}"))?,
            None => Vec::new(),
        };
        if self.cluster.is_some() && self.node_id.is_none() {
            return Err("--cluster needs --node-id: which of the nodes is this one?".to_owned());
        }
        if self.cluster.is_none() && self.node_id.is_some_and(|id| id != 1) {
            return Err("--node-id needs --cluster: a node on its own is node 1".to_owned());
        }
        if self.segment_bytes < 4096 {
            return Err("--segment-bytes must be 4096 or more".to_owned());
        }
        let request_timeout = parse_duration(&self.request_timeout).ok_or_else(|| {
            format!(
                "--request-timeout {}: a duration looks like 10s or 1500ms",
                self.request_timeout
            )
        })?;
        let files = (self.tls_cert_file, self.tls_key_file, self.tls_ca_cert_file);
        let tls = match (self.tls_cluster, files) {
            (YesNo::No, _) => None,
            (YesNo::Yes, (Some(certificate), Some(key), Some(authority))) => {
                Some(TlsFiles { certificate, key, authority })
            }
            (YesNo::Yes, _) => {
                return Err(
                    "--tls-cluster yes needs --tls-cert-file, --tls-key-file and --tls-ca-cert-file"
                        .to_owned(),
                );
            }
        };
        let output_limits = crate::output_limit::OutputLimits::default()
            .with(&self.client_output_buffer_limit.join(" "))
            .map_err(|why| format!("--client-output-buffer-limit: {why}"))?;
        let announced_port = self.cluster_announce_port.unwrap_or(self.port);
        let announced = self.cluster_announce_ip.map(|host| address(&host, announced_port));
        let config = Config {
            announce: self.announce.or(announced).unwrap_or_default(),
            sentinel_port: self.sentinel_port,
            sentinel_master: self.sentinel_master,
            bind: self.bind,
            port: self.port,
            dir: self.dir,
            adopt_copy: self.adopt_copy,
            node_id: self.node_id.unwrap_or(1),
            members,
            join: self.join,
            appendfsync: match self.appendfsync {
                FsyncArg::Always => Fsync::Always,
                FsyncArg::Everysec => Fsync::EverySecond,
                FsyncArg::No => Fsync::No,
            },
            request_timeout,
            max_request: self.max_request as usize,
            maxclients: self.maxclients,
            output_limits,
            requirepass: self.requirepass,
            snapshot_log_bytes: self.snapshot_log_bytes,
            segment_bytes: self.segment_bytes,
            lease_reads: matches!(self.lease_reads, YesNo::Yes),
            tls,
            ..Config::default()
        };
        config.validate()?;
        Ok(config)
    }
}
