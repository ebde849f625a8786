//! Other members. The leader is asked, and then watched until the change has come about; where leadership moves meanwhile, whoever has it
//! is asked again.

use std::thread::sleep;
use std::time::{Duration, Instant};

use steadfast_core::reply::Reply;
use steadfast_replication::formation::Member;

use super::{Listed, Report, ask, connect, leader_of, lost, nodes};
use crate::cli::{ClusterAction, ClusterArgs};
use crate::config::{address, parse_cluster};

/// How long a new node may take to be found, or a change to be made.
const CHANGED_WITHIN: Duration = Duration::from_secs(20);
/// How long it is watched while it catches up.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Makes the change that was asked for.
pub(super) fn change(args: &ClusterArgs, action: &ClusterAction) -> Result<String, String> {
    match action {
        ClusterAction::Add { node, learner } => {
            let new = new_member(node)?;
            add(args, &new, if *learner { &["LEARNER"] } else { &[] })?;
            if *learner {
                return Ok(format!("node {} is a learner\n", new.id));
            }
            vote(args, new.id)
        }
        ClusterAction::Promote { node } => {
            let asked = ["RAFT", "PROMOTE", &node.to_string()];
            bring_about(args, &asked, |report| votes(report, *node), || catches_up(*node))?;
            Ok(format!("node {node} is a voter\n"))
        }
        ClusterAction::Replace { old, new } => {
            let new = new_member(new)?;
            add(args, &new, &["REPLACES", &old.to_string()])?;
            let text = vote(args, new.id)?;
            watch(args, CHANGED_WITHIN, |report| is_gone(report, *old), || still_there(*old))?;
            Ok(format!("{text}node {old} is no member any more\n"))
        }
        ClusterAction::Remove { node } => {
            let asked = ["RAFT", "REMOVE", &node.to_string()];
            bring_about(args, &asked, |report| is_gone(report, *node), || still_there(*node))?;
            Ok(format!("node {node} is no member any more\n"))
        }
        ClusterAction::Status | ClusterAction::Transfer { .. } | ClusterAction::Stepdown => {
            Err("this changes no member".to_owned())
        }
    }
}

fn new_member(text: &str) -> Result<Member, String> {
    let mut members = parse_cluster(text)?;
    match (members.pop(), members.is_empty()) {
        (Some(member), true) => Ok(member),
        _ => Err(format!("`{text}` names more than one node: add one after the other")),
    }
}

fn add(args: &ClusterArgs, new: &Member, options: &[&str]) -> Result<(), String> {
    let (id, place) = (new.id.to_string(), address(&new.host, new.port));
    let asked = [&["RAFT", "ADD", &id, &place], options].concat();
    let listed = |report: &Report| report.members.iter().any(|(id, _)| *id == new.id);
    bring_about(args, &asked, listed, || {
        format!(
            "node {id} was not added yet: it may not be reachable at {place} from the leader. Nothing else was changed; see the leader's \
             log, and ask again."
        )
    })
}

fn vote(args: &ClusterArgs, id: u64) -> Result<String, String> {
    watch(args, CAUGHT_UP_WITHIN, |report| votes(report, id), || catches_up(id))?;
    Ok(format!("node {id} is a voter\n"))
}

fn votes(report: &Report, id: u64) -> bool {
    report.members.contains(&(id, true))
}

fn catches_up(id: u64) -> String {
    format!(
        "node {id} is a learner and still catches up. It becomes a voter by itself as soon as it has; see `steadfast cluster status`."
    )
}

fn is_gone(report: &Report, id: u64) -> bool {
    report.members.iter().all(|(other, _)| *other != id)
}

fn still_there(id: u64) -> String {
    format!(
        "node {id} is still a member. Nothing was lost; see `steadfast cluster status`, and ask again."
    )
}

/// Asks whoever leads until it is done, or says why not.
fn bring_about(
    args: &ClusterArgs,
    words: &[&str],
    done: impl Fn(&Report) -> bool,
    otherwise: impl Fn() -> String,
) -> Result<(), String> {
    let began = Instant::now();
    // The leader that was asked, and its ticket if there is anything to wait for.
    let mut asked: Option<(u64, Option<i64>)> = None;
    let mut none_leads = true;
    while began.elapsed() < CHANGED_WITHIN {
        if let Some((leader, report)) = leader(args) {
            none_leads = false;
            match asked {
                Some((id, ticket)) if id == leader.id => {
                    if done(&report) || ticket.is_none() {
                        return Ok(());
                    }
                    let refused = report.refusals.iter().find(|(of, _)| Some(*of) == ticket);
                    if let Some((_, why)) = refused {
                        return Err(why.clone());
                    }
                }
                _ => asked = Some((leader.id, demand(args, &leader, words)?)),
            }
        }
        sleep(LOOK_AGAIN);
    }
    Err(if none_leads { "nobody leads. Nothing was changed.".to_owned() } else { otherwise() })
}

/// Has a leader begin with something; answers its ticket, none if it is so already.
fn demand(args: &ClusterArgs, leader: &Listed, words: &[&str]) -> Result<Option<i64>, String> {
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let mut connection =
        connect(args, &leader.host, leader.port).map_err(|why| lost(leader, &why))?;
    match connection.call(&words).map_err(|why| lost(leader, &why))? {
        Reply::Error(error) => {
            let text = String::from_utf8_lossy(error.text()).into_owned();
            Err(format!("{}.", text.strip_prefix("ERR ").unwrap_or(&text)))
        }
        Reply::Int(ticket) => Ok(Some(ticket)),
        _ => Ok(None),
    }
}

/// Looks at whoever leads until it says so.
fn watch(
    args: &ClusterArgs,
    patience: Duration,
    done: impl Fn(&Report) -> bool,
    otherwise: impl Fn() -> String,
) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < patience {
        // Leaders change, and a node that was named may be the one that goes: what does not answer now is asked again.
        if leader(args).is_some_and(|(_, report)| done(&report)) {
            return Ok(());
        }
        sleep(LOOK_AGAIN);
    }
    Err(otherwise())
}

/// Who leads, and what it says.
fn leader(args: &ClusterArgs) -> Option<(Listed, Report)> {
    // The node that was named leads more often than not, and may be the only one that answers.
    let mut own = connect(args, &args.host, args.port).ok()?;
    let said = ask(&mut own).ok()?;
    if said.role == "leader" {
        let node = Listed { id: said.leader, host: args.host.clone(), port: args.port };
        return Some((node, said));
    }
    leader_of(args, nodes(args).ok()?)
}
