//! Messages of raft on their way: what was sent, matched to what came. Messages that look alike come in the order in which they were sent.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::trace::{Event, Message, What, Who};

/// A message that was sent less long before the end than this may still be under way.
const UNDER_WAY: Duration = Duration::from_millis(20);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It came, as this event.
    Came(usize),
    /// It never came.
    Lost,
    /// The run ended before it could.
    UnderWay,
}

/// A message and its way.
#[derive(Debug)]
pub(super) struct Flight<'a> {
    pub(super) message: &'a Message,
    /// The event of its sending.
    pub(super) sent: usize,
    pub(super) fate: Fate,
}

/// The messages that were sent, in that order.
pub(super) fn flights(events: &[Event]) -> Vec<Flight<'_>> {
    type Likeness = (u64, u64, i32, u64, u64);
    let end = events.last().map_or(Duration::ZERO, |event| event.at);
    let mut flights: Vec<Flight<'_>> = Vec::new();
    let mut waiting: BTreeMap<Likeness, VecDeque<usize>> = BTreeMap::new();
    let likeness = |m: &Message| (m.from, m.to, m.kind, m.term, m.index);
    for (at, event) in events.iter().enumerate() {
        match (&event.what, event.who) {
            (What::Sent(message), _) => {
                waiting.entry(likeness(message)).or_default().push_back(flights.len());
                let late = end.saturating_sub(event.at) < UNDER_WAY;
                let fate = if late { Fate::UnderWay } else { Fate::Lost };
                flights.push(Flight { message, sent: at, fate });
            }
            (What::Received(message), _) => {
                let first = waiting.get_mut(&likeness(message)).and_then(VecDeque::pop_front);
                if let Some(flight) = first.and_then(|first| flights.get_mut(first)) {
                    flight.fate = Fate::Came(at);
                }
            }
            // Its connections are gone with it: what was on its way to it never comes.
            (What::Gone(_), Who::Node(id)) => waiting.retain(|likeness, _| likeness.1 != id),
            _ => {}
        }
    }
    flights
}

/// Whether it only says that somebody is there.
pub(super) fn is_heartbeat(message: &Message) -> bool {
    matches!(message.name(), "MsgHeartbeat" | "MsgHeartbeatResponse")
}

#[cfg(test)]
pub(super) fn message(name: &str, from: u64, to: u64, term: u64, index: u64) -> Message {
    let kind = Message::kind_named(name).expect("a name of raft's");
    Message { from, to, kind, term, index, entries: 0, commit: 0, reject: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64, node: u64, what: What) -> Event {
        Event { at: Duration::from_millis(at), who: Who::Node(node), what }
    }

    /// Like messages are matched in order; what has no match is lost, or under way at the very end; nothing outlives its receiver.
    #[test]
    fn messages_are_matched() {
        let append = message("MsgAppend", 1, 2, 3, 7);
        let other = Message { index: 8, ..append.clone() };
        let events = [
            event(0, 1, What::Sent(append.clone())),
            event(1, 1, What::Sent(append.clone())),
            event(2, 1, What::Sent(other.clone())),
            event(5, 2, What::Received(append.clone())),
            event(6, 2, What::Received(append.clone())),
            event(7, 2, What::Gone("is killed".to_owned())),
            event(8, 2, What::Received(other)),
            event(100, 1, What::Sent(append)),
        ];
        let fates: Vec<Fate> = flights(&events).iter().map(|flight| flight.fate).collect();
        assert_eq!(fates, [Fate::Came(3), Fate::Came(4), Fate::Lost, Fate::UnderWay]);
    }

    /// Heartbeats are told from what carries something.
    #[test]
    fn heartbeats_are_known() {
        assert!(is_heartbeat(&message("MsgHeartbeatResponse", 1, 2, 3, 0)));
        assert!(!is_heartbeat(&message("MsgAppend", 1, 2, 3, 0)));
    }
}
