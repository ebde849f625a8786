//! Commands that change who is a member; asked of the leader. They answer OK if it is so already, or else a ticket: how it goes, `INFO
//! raft` tells, which lists the members, and by its ticket why a change was not made. Table first; handlers below in the same order.

use steadfast_core::commands::{Arity, CommandSpec, Docs, Family, Flags, Group, Keys};
use steadfast_core::error::ReplyError;
use steadfast_core::number::parse_int;
use steadfast_core::reply::Reply;
use steadfast_replication::formation::Member;
use steadfast_replication::gateway::{Goal, HOST_BYTES_MAX, KnownMember, MembershipChange};

use super::LocalHandler::{self, Plain};
use super::replication::check_leads;
use super::{LocalOutcome, NodeFacts};
use crate::config::{address, parse_address};
use crate::refusal;
use crate::session::Session;

type Run = fn(&mut Session, &mut dyn NodeFacts, &[&[u8]]) -> LocalOutcome;

const fn command(
    name: &'static str,
    arity: Arity,
    syntax: &'static str,
    summary: &'static str,
    run: Run,
) -> CommandSpec<LocalHandler> {
    let docs = Docs { summary, syntax, since: "7.0.0", complexity: "O(1)" };
    let flags = Flags::ADMIN.and(Flags::NO_MULTI);
    CommandSpec { name, arity, keys: Keys::None, flags, handler: Plain(run), docs }
}

pub(super) const FAMILY: Family<LocalHandler> = Family {
    group: Group::Server,
    commands: &[
        command(
            "RAFT|ADD",
            Arity::AtLeast(4),
            "node-id host:port [LEARNER | REPLACES node-id]",
            "Has a new node join, and vote once it has caught up; asked of the leader.",
            add,
        ),
        command(
            "RAFT|PROMOTE",
            Arity::Exactly(3),
            "node-id",
            "Has a learner vote once it has caught up; asked of the leader.",
            promote,
        ),
        command(
            "RAFT|REMOVE",
            Arity::Exactly(3),
            "node-id",
            "Has a node leave for ever; asked of the leader.",
            remove,
        ),
    ],
};

/// A node's id.
fn id(word: Option<&&[u8]>) -> Result<u64, ReplyError> {
    let id = word.and_then(|word| parse_int(word)).and_then(|id| u64::try_from(id).ok());
    id.filter(|id| (1..=u64::from(u32::MAX)).contains(id)).ok_or(refusal::NO_NEW_MEMBER)
}

fn add(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let asked = check_leads(node).and_then(|()| {
        let place = argv.get(3).and_then(|word| core::str::from_utf8(word).ok());
        let place = place.and_then(parse_address).filter(|(host, _)| host.len() <= HOST_BYTES_MAX);
        let (id, (host, port)) = (id(argv.get(2))?, place.ok_or(refusal::NO_NEW_MEMBER)?);
        let option = argv.get(4).map(|word| word.to_ascii_uppercase());
        let goal = match (option.as_deref(), argv.get(5..).unwrap_or_default()) {
            (None, _) => Goal::Voter,
            (Some(b"LEARNER"), []) => Goal::Learner,
            (Some(b"REPLACES"), [other]) => Goal::Replacement(member(node, Some(other))?.id),
            _ => return Err(ReplyError::SYNTAX),
        };
        if goal == Goal::Replacement(id) {
            return Err(refusal::REPLACES_ITSELF);
        }
        if node.config().members.is_empty() {
            return Err(refusal::NO_PEER_ADDRESS);
        }
        if node.status().is_former_member(id) {
            return Err(refusal::was_a_member(id));
        }
        match node.status().members().into_iter().find(|member| member.id == id) {
            Some(known) if (&known.host, known.port) != (&host, port) => {
                Err(refusal::is_elsewhere(id, &address(&known.host, known.port)))
            }
            Some(known) if known.votes && goal == Goal::Learner => Err(refusal::votes_already(id)),
            Some(_) => Ok(Reply::Ok),
            None => {
                let member = Member { id, host, port };
                Ok(ticket(node.change_members(MembershipChange::Add { member, goal })))
            }
        }
    });
    asked.into()
}

fn ticket(number: u64) -> Reply<'static> {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn promote(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let asked = check_leads(node).and_then(|()| {
        let KnownMember { id, votes, .. } = member(node, argv.get(2))?;
        let promoted = |node: &mut dyn NodeFacts| {
            ticket(node.change_members(MembershipChange::Promote { id }))
        };
        Ok(if votes { Reply::Ok } else { promoted(node) })
    });
    asked.into()
}

/// A leader that is to go has another one lead, and refuses what it was asked for then: whoever leads is to be asked.
fn remove(_: &mut Session, node: &mut dyn NodeFacts, argv: &[&[u8]]) -> LocalOutcome {
    let asked = check_leads(node).and_then(|()| {
        if node.status().is_former_member(id(argv.get(2))?) {
            return Ok(Reply::Ok);
        }
        let KnownMember { id, .. } = member(node, argv.get(2))?;
        if node.status().members().len() == 1 {
            return Err(refusal::LAST_ONE_STAYS);
        }
        Ok(ticket(node.change_members(MembershipChange::Remove { id })))
    });
    asked.into()
}

/// A member by its id.
fn member(node: &dyn NodeFacts, word: Option<&&[u8]>) -> Result<KnownMember, ReplyError> {
    let (id, members) = (id(word)?, node.status().members());
    members.into_iter().find(|member| member.id == id).ok_or(refusal::NO_SUCH_NODE)
}
