//! What each node was, and when: told from what it sent and heard. Who sends entries or heartbeats leads, who asks for votes is a
//! candidate, who answers or hears of a later term follows. A run that keeps no messages knows only who was up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::trace::{Event, Message, What, Who};

/// See the file's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Down,
    Up,
    Follower,
    Candidate,
    Leader,
}

/// A time during which a node was the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: Duration,
    pub(super) role: Role,
    pub(super) term: u64,
}

impl Role {
    /// Its class in the drawing; the letter says the same without colour.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }

    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::Down => "\u{d7}",
            Self::Up => "",
            Self::Follower => "F",
            Self::Candidate => "C",
            Self::Leader => "L",
        }
    }
}

/// Each node's stretches; every node begins down.
pub(super) fn roles(nodes: u64, events: &[Event]) -> BTreeMap<u64, Vec<Stretch>> {
    let down = Stretch { from: Duration::ZERO, role: Role::Down, term: 0 };
    let mut roles: BTreeMap<u64, Vec<Stretch>> = (1..=nodes).map(|id| (id, vec![down])).collect();
    for event in events {
        let Who::Node(id) = event.who else { continue };
        let Some(stretches) = roles.get_mut(&id) else { continue };
        let Some(last) = stretches.last().copied() else { continue };
        let Some((role, term)) = after(last, &event.what) else { continue };
        if (role, term) == (last.role, last.term) {
            continue;
        }
        if last.from == event.at {
            stretches.pop();
        }
        stretches.push(Stretch { from: event.at, role, term });
    }
    roles
}

/// What a node is after an event; none: what it was.
fn after(last: Stretch, what: &What) -> Option<(Role, u64)> {
    match what {
        What::Starts => Some((Role::Up, last.term)),
        What::Gone(_) => Some((Role::Down, last.term)),
        What::Sent(message) if last.role != Role::Down => sender(last, message),
        What::Received(message) if last.role != Role::Down => receiver(last, message),
        _ => None,
    }
}

fn sender(last: Stretch, message: &Message) -> Option<(Role, u64)> {
    let term = message.term;
    match message.name() {
        "MsgAppend" | "MsgHeartbeat" | "MsgSnapshot" => Some((Role::Leader, term)),
        "MsgRequestVote" | "MsgRequestPreVote" => Some((Role::Candidate, term)),
        // A pre-vote is answered in a term that nobody has yet.
        "MsgAppendResponse" | "MsgHeartbeatResponse" | "MsgRequestVoteResponse"
            if term > last.term || last.role == Role::Up =>
        {
            Some((Role::Follower, term.max(last.term)))
        }
        _ => None,
    }
}

fn receiver(last: Stretch, message: &Message) -> Option<(Role, u64)> {
    let term = message.term;
    let is_leaders = matches!(message.name(), "MsgAppend" | "MsgHeartbeat" | "MsgSnapshot");
    let is_pre = matches!(message.name(), "MsgRequestPreVote" | "MsgRequestPreVoteResponse");
    let follows = is_leaders && term >= last.term && last.role != Role::Leader;
    (follows || !is_pre && term > last.term).then_some((Role::Follower, term))
}

#[cfg(test)]
mod tests {
    use super::super::wire::message;
    use super::*;

    /// A node starts, asks for votes, leads, hears of a later term, and dies; another only follows; a third never starts.
    #[test]
    fn roles_are_told_from_messages() {
        let at =
            |ms, node, what| Event { at: Duration::from_millis(ms), who: Who::Node(node), what };
        let events = [
            at(0, 1, What::Starts),
            at(0, 2, What::Starts),
            at(10, 1, What::Sent(message("MsgRequestPreVote", 1, 2, 2, 0))),
            at(11, 1, What::Sent(message("MsgRequestVote", 1, 2, 2, 0))),
            at(12, 2, What::Received(message("MsgRequestVote", 1, 2, 2, 0))),
            at(13, 1, What::Sent(message("MsgAppend", 1, 2, 2, 0))),
            at(14, 1, What::Sent(message("MsgHeartbeat", 1, 2, 2, 0))),
            at(15, 2, What::Received(message("MsgHeartbeat", 1, 2, 2, 0))),
            at(20, 1, What::Received(message("MsgRequestPreVote", 3, 1, 9, 0))),
            at(21, 1, What::Received(message("MsgRequestVote", 3, 1, 3, 0))),
            at(30, 1, What::Gone("is killed".to_owned())),
            at(31, 1, What::Sent(message("MsgHeartbeat", 1, 2, 3, 0))),
        ];
        let roles = roles(3, &events);
        let of = |id: u64| -> Vec<(u64, Role, u64)> {
            let each =
                |stretch: &Stretch| (stretch.from.as_millis() as u64, stretch.role, stretch.term);
            roles[&id].iter().map(each).collect()
        };
        let one = [
            (0, Role::Up, 0),
            (10, Role::Candidate, 2),
            (13, Role::Leader, 2),
            (21, Role::Follower, 3),
            (30, Role::Down, 3),
        ];
        assert_eq!(of(1), one);
        assert_eq!(of(2), [(0, Role::Up, 0), (12, Role::Follower, 2)]);
        assert_eq!(of(3), [(0, Role::Down, 0)]);
    }
}
