//! `steadfast cluster`: what an operator asks of the nodes as a whole. It asks one node for the others, and each for itself, as any
//! client could; it changes nothing by itself. `members` holds what changes who is a member.
#![allow(clippy::print_stdout)] // a tool on the command line

mod members;

use std::fmt::Write as _;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use steadfast_core::reply::Reply;

use crate::cli::{ClusterAction, ClusterArgs};
use crate::client_tool::Connection;
use crate::config::{address, parse_address};

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it may take until another leads: some election timeouts.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Runs the tool to its end.
pub fn run(args: &ClusterArgs) -> ExitCode {
    let done = match &args.action {
        ClusterAction::Status => status(args),
        ClusterAction::Transfer { node } => hand_over(args, Some(*node)),
        ClusterAction::Stepdown => hand_over(args, None),
        change => members::change(args, change),
    };
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("steadfast: {text}");
            ExitCode::FAILURE
        }
    }
}

/// A node, by its line of CLUSTER NODES.
struct Listed {
    id: u64,
    host: String,
    port: u16,
}

/// What a node says of itself.
struct Report {
    role: String,
    term: String,
    leader: u64,
    applied: u64,
    digest: String,
    /// The members as it knows them, and whether they vote.
    members: Vec<(u64, bool)>,
    /// Changes of members that it did not make, by ticket, and why.
    refusals: Vec<(i64, String)>,
}

fn status(args: &ClusterArgs) -> Result<String, String> {
    let nodes = nodes(args)?;
    let reports: Vec<_> = nodes.iter().map(|node| report(args, node)).collect();
    let newest = reports.iter().flatten().map(|report| report.applied).max().unwrap_or(0);
    let mut table = format!(
        "{:<6}{:<28}{:<11}{:<8}{:<12}{:<9}digest\n",
        "node", "address", "role", "term", "applied", "behind"
    );
    for (node, report) in nodes.iter().zip(&reports) {
        let (id, place) = (node.id, address(&node.host, node.port));
        let line = match report {
            Ok(Report { role, term, applied, digest, .. }) => {
                let (behind, digest) = (newest - applied, digest.get(..8).unwrap_or(digest));
                format!("{id:<6}{place:<28}{role:<11}{term:<8}{applied:<12}{behind:<9}{digest}")
            }
            Err(why) => format!("{id:<6}{place:<28}does not answer: {why}"),
        };
        writeln!(table, "{line}").expect("a string takes everything");
    }
    if reports.iter().flatten().any(|report| report.role == "leader") {
        return Ok(table);
    }
    Err(format!(
        "nobody leads: writes and reads wait or are refused, and nothing acknowledged is lost. Start the nodes that do not answer, or mend \
         the network between them.\n{table}"
    ))
}

/// Has the given node lead, or any other; answers once somebody else does.
fn hand_over(args: &ClusterArgs, to: Option<u64>) -> Result<String, String> {
    let nodes = nodes(args)?;
    if let Some(to) = to
        && !nodes.iter().any(|node| node.id == to)
    {
        let known: Vec<u64> = nodes.iter().map(|node| node.id).collect();
        return Err(format!(
            "there is no node {to}; the nodes are {known:?}. Nothing was changed."
        ));
    }
    let leader = leader_of(args, nodes);
    let (leader, _) = leader.ok_or("nobody leads. Nothing was changed.")?;
    let leader = &leader;
    if to == Some(leader.id) {
        return Ok(format!("node {} leads already\n", leader.id));
    }
    let mut connection =
        connect(args, &leader.host, leader.port).map_err(|why| lost(leader, &why))?;
    let words: Vec<Vec<u8>> = match to {
        Some(to) => vec![b"RAFT".into(), b"TRANSFER".into(), to.to_string().into()],
        None => vec![b"RAFT".into(), b"STEPDOWN".into()],
    };
    let began = Instant::now();
    if let Reply::Error(error) = connection.call(&words).map_err(|why| lost(leader, &why))? {
        return Err(String::from_utf8_lossy(error.text()).into_owned());
    }
    while began.elapsed() < HANDED_OVER_WITHIN {
        let now = ask(&mut connection).map_err(|why| lost(leader, &why))?;
        if now.leader != 0 && now.leader != leader.id {
            let (id, term, ms) = (now.leader, now.term, began.elapsed().as_millis());
            if to.is_none_or(|to| to == id) {
                return Ok(format!("node {id} leads in term {term}, after {ms} ms\n"));
            }
            return Err(format!("node {id} leads in term {term}, though another was asked for"));
        }
        sleep(LOOK_AGAIN);
    }
    Err(format!(
        "node {} still leads: the other may lack entries that it could not get in time, or be out of reach. Nothing was lost; see \
         `steadfast cluster status`, and ask again.",
        leader.id
    ))
}

/// Who of these says that it leads, and what else it says.
fn leader_of(args: &ClusterArgs, nodes: Vec<Listed>) -> Option<(Listed, Report)> {
    nodes.into_iter().find_map(|node| {
        let report = report(args, &node).ok().filter(|report| report.role == "leader")?;
        Some((node, report))
    })
}

fn lost(node: &Listed, why: &io::Error) -> String {
    format!("node {} does not answer any more: {why}. See `steadfast cluster status`.", node.id)
}

/// The nodes by the one that was named, in the order of their ids.
fn nodes(args: &ClusterArgs) -> Result<Vec<Listed>, String> {
    let place = address(&args.host, args.port);
    let failed = |why: String| format!("{place} does not say who the nodes are: {why}");
    let mut connection =
        connect(args, &args.host, args.port).map_err(|why| failed(why.to_string()))?;
    let reply = connection.call(&[b"CLUSTER".into(), b"NODES".into()]);
    let text = match reply.map_err(|why| failed(why.to_string()))? {
        Reply::Bulk(text) => String::from_utf8_lossy(&text).into_owned(),
        Reply::Error(error) => {
            return Err(failed(String::from_utf8_lossy(error.text()).into_owned()));
        }
        _ => return Err(failed("it answers something else".to_owned())),
    };
    let mut nodes: Vec<Listed> = text.lines().filter_map(listed).collect();
    nodes.sort_by_key(|node| node.id);
    Ok(nodes)
}

/// `name host:port@port ...`; a name ends with the id of its node.
fn listed(line: &str) -> Option<Listed> {
    let mut words = line.split(' ');
    let (name, place) = (words.next()?, words.next()?);
    let id = u64::from_str_radix(name.get(32..)?, 16).ok()?;
    let (host, port) = parse_address(place.split_once('@')?.0)?;
    Some(Listed { id, host, port })
}

fn report(args: &ClusterArgs, node: &Listed) -> io::Result<Report> {
    ask(&mut connect(args, &node.host, node.port)?)
}

fn ask(connection: &mut Connection) -> io::Result<Report> {
    let text = match connection.call(&[b"INFO".into(), b"raft".into()])? {
        Reply::Bulk(text) | Reply::Verbatim(text) => String::from_utf8_lossy(&text).into_owned(),
        Reply::Error(error) => {
            return Err(io::Error::other(String::from_utf8_lossy(error.text()).into_owned()));
        }
        _ => return Err(io::Error::other("it answers something else")),
    };
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::to_owned).ok_or_else(|| io::Error::other(format!("it tells no {name}")))
    };
    let number = |name: &str| {
        field(name)?.parse().map_err(|_| io::Error::other(format!("its {name} is no number")))
    };
    Ok(Report {
        role: field("raft_role")?,
        term: field("raft_term")?,
        leader: number("raft_leader_id")?,
        applied: number("raft_applied_index")?,
        digest: field("raft_state_digest")?,
        members: text.lines().filter_map(member).collect(),
        refusals: text.lines().filter_map(refusal).collect(),
    })
}

/// `raft_member_ID:peer=host:port,votes=yes`.
fn member(line: &str) -> Option<(u64, bool)> {
    let (id, facts) = line.strip_prefix("raft_member_")?.split_once(':')?;
    Some((id.parse().ok()?, facts.trim_end().ends_with("votes=yes")))
}

/// `raft_change_refused_TICKET:why`.
fn refusal(line: &str) -> Option<(i64, String)> {
    let (ticket, why) = line.strip_prefix("raft_change_refused_")?.split_once(':')?;
    Some((ticket.parse().ok()?, why.trim_end().to_owned()))
}

fn connect(args: &ClusterArgs, host: &str, port: u16) -> io::Result<Connection> {
    let mut failed = io::Error::other("the name has no address");
    for place in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                let mut connection = Connection::new(stream);
                if let Some(password) = &args.password
                    && let Reply::Error(error) =
                        connection.call(&[b"AUTH".into(), password.clone().into_bytes()])?
                {
                    let text = String::from_utf8_lossy(error.text()).into_owned();
                    return Err(io::Error::other(text));
                }
                return Ok(connection);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
