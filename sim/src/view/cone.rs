//! The causal cone of a violation: what it speaks of, when it became true, and the events before that can have led to it. Walked
//! backwards over the order of each process and over messages, over what matters only: heartbeats and other entries are passed by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::spans::named_nodes;
use super::wire::{Fate, Flight, is_heartbeat};
use crate::history::{Operation, Outcome};
use crate::trace::{Event, Message, What, Who};
use crate::world::Report;

/// Most events of a cone: more than fit into one look are no help.
const MOST_EVENTS: usize = 64;
/// Most operations of a cone besides those that the violation names.
const MOST_OPERATIONS: usize = 6;
/// Operations on disk that are kept in front of an event that matters.
const DISK_BEFORE: usize = 3;
/// A confirmation this far behind an entry still speaks of it.
const NEAR: u64 = 1;

/// What a violation speaks of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) nodes: BTreeSet<u64>,
    pub(super) entries: BTreeSet<u64>,
    /// Places in the report's operations.
    pub(super) operations: BTreeSet<usize>,
    /// When it became true.
    pub(super) at: Duration,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Cone {
    /// Places in the report's events.
    pub(super) events: BTreeSet<usize>,
    /// Places in the report's operations.
    pub(super) operations: BTreeSet<usize>,
}

/// Finds the subject in the text of the violation; none without a violation.
pub(super) fn subject(report: &Report) -> Option<Subject> {
    let violation = report.violations.first()?;
    let text = violation.text.as_str();
    let end = report.events.last().map_or(report.simulated, |event| event.at);
    let named = |(_, operation): &(usize, &Operation)| text.contains(&operation.readable());
    let mut operations: BTreeSet<usize> =
        report.operations.iter().enumerate().filter(named).map(|(at, _)| at).collect();
    if operations.is_empty() {
        operations.extend(last_of_client(report, text));
    }
    let mut entries = named_entries(text);
    let first = operations.first().and_then(|at| report.operations.get(*at));
    let stamped = entries.first().and_then(|index| report.log.get(index));
    let at = match (first, violation.check) {
        (Some(operation), _) => operation.returned.unwrap_or(operation.invoked),
        (None, "log-time") => stamped.map_or(end, |record| record.applied_at),
        _ => end,
    };
    entries.extend(first.into_iter().flat_map(own_entries));
    let mut nodes: BTreeSet<u64> = named_nodes(text, report.plan.nodes()).into_iter().collect();
    nodes.extend(first.map(|operation| operation.connection.node));
    Some(Subject { nodes, entries, operations, at: at.min(end) })
}

/// Of a client that the text begins with: what was answered last.
fn last_of_client(report: &Report, text: &str) -> Option<usize> {
    let name = text.split(|letter: char| !letter.is_ascii_alphanumeric()).next()?;
    let own = |operation: &Operation| operation.client == name && operation.returned.is_some();
    let own = report.operations.iter().enumerate().filter(|(_, operation)| own(operation));
    own.max_by_key(|(_, operation)| operation.returned).map(|(at, _)| at)
}

/// Numbers behind words that announce an entry.
fn named_entries(text: &str) -> BTreeSet<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_word = |word: &str| matches!(word, "entry" | "entries" | "index" | "at");
    let number = |word: &str| word.trim_matches(|at: char| at.is_ascii_punctuation()).parse().ok();
    let pairs = words.windows(2).filter_map(|pair| match pair {
        [word, next] if is_word(word) => number(next),
        _ => None,
    });
    pairs.collect()
}

/// The entries of which one holds an answered write, if they are few.
fn own_entries(operation: &Operation) -> Vec<u64> {
    const FEW: u64 = 3;
    let (from, to) = (operation.applied_at_invocation, operation.applied_at_return);
    let answered = matches!(operation.outcome, Outcome::Reply(_));
    let is_write = !operation.request.is_read();
    if answered && is_write && to > from && to - from <= FEW {
        (from + 1..=to).collect()
    } else {
        Vec::new()
    }
}

/// What the walk looks at.
struct Walk<'a> {
    events: &'a [Event],
    subject: &'a Subject,
    /// Each process's events.
    processes: BTreeMap<Who, Vec<usize>>,
    /// The sending of what an event received.
    origins: BTreeMap<usize, usize>,
    is_about_a_read: bool,
}

/// Walks back from the subject.
pub(super) fn cone(report: &Report, flights: &[Flight<'_>], subject: &Subject) -> Cone {
    let events = report.events.as_slice();
    let mut processes: BTreeMap<Who, Vec<usize>> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        processes.entry(event.who).or_default().push(at);
    }
    let came = flights.iter().filter_map(|flight| match flight.fate {
        Fate::Came(at) => Some((at, flight.sent)),
        _ => None,
    });
    let mut named = subject.operations.iter().filter_map(|at| report.operations.get(*at));
    let is_about_a_read = named.any(|operation| operation.request.is_read());
    let walk = Walk { events, subject, processes, origins: came.collect(), is_about_a_read };
    Cone { events: walk.back(report.plan.nodes()), operations: operations(report, subject) }
}

impl Walk<'_> {
    /// The events of the cone; the latest are walked first, so that the bound cuts off the oldest.
    fn back(&self, nodes: u64) -> BTreeSet<usize> {
        let end = self.events.partition_point(|event| event.at <= self.subject.at);
        let named: Vec<u64> = if self.subject.nodes.is_empty() {
            (1..=nodes).collect()
        } else {
            self.subject.nodes.iter().copied().collect()
        };
        let mut found = BTreeSet::new();
        let mut waiting: BTreeSet<usize> = BTreeSet::new();
        for id in named {
            self.push_before(Who::Node(id), end, &mut waiting, &mut found);
        }
        while let Some(at) = waiting.pop_last() {
            if found.len() >= MOST_EVENTS {
                break;
            }
            found.insert(at);
            let Some(event) = self.events.get(at) else { continue };
            waiting.extend(self.origins.get(&at).filter(|origin| !found.contains(origin)));
            self.push_before(event.who, at, &mut waiting, &mut found);
        }
        found
    }

    /// The last event of a process before a place that matters, and what the disk did in between.
    fn push_before(
        &self,
        who: Who,
        before: usize,
        waiting: &mut BTreeSet<usize>,
        found: &mut BTreeSet<usize>,
    ) {
        let own = self.processes.get(&who).map_or(&[][..], Vec::as_slice);
        let mut disk = 0;
        for at in own.iter().rev().skip_while(|at| **at >= before) {
            let Some(event) = self.events.get(*at) else { return };
            if matches!(event.what, What::Disk { .. }) && disk < DISK_BEFORE {
                disk += 1;
                found.insert(*at);
            } else if self.matters(&event.what) {
                if !found.contains(at) {
                    waiting.insert(*at);
                }
                return;
            }
        }
    }

    fn matters(&self, what: &What) -> bool {
        let entries = &self.subject.entries;
        match what {
            What::Sent(message) | What::Received(message) => self.message_matters(message),
            What::Applied { index, .. } => entries.contains(index),
            What::Starts | What::Gone(_) | What::Restored { .. } => true,
            _ => false,
        }
    }

    fn message_matters(&self, message: &Message) -> bool {
        let entries = &self.subject.entries;
        if is_heartbeat(message) {
            return false;
        }
        let index = message.index;
        match message.name() {
            "MsgAppend" if entries.is_empty() => message.entries > 0,
            "MsgAppend" => {
                let last = index + message.entries as u64;
                entries.range(index + 1..=last.max(index + 1)).any(|entry| *entry <= last)
            }
            "MsgAppendResponse" if entries.is_empty() => true,
            "MsgAppendResponse" => {
                entries.range(index.saturating_sub(NEAR)..=index).next().is_some()
            }
            // They order reads, and nothing else.
            "MsgReadIndex" | "MsgReadIndexResp" => self.is_about_a_read,
            _ => true,
        }
    }
}

/// The operations that the violation names, and the last ones before it that touch the same keys.
fn operations(report: &Report, subject: &Subject) -> BTreeSet<usize> {
    let mut found = subject.operations.clone();
    let keys = |at: &usize| {
        let calls =
            report.operations.get(*at).map_or(&[][..], |operation| operation.request.calls());
        calls.iter().filter_map(|call| call.get(1)).cloned().collect::<BTreeSet<_>>()
    };
    let own: BTreeSet<Vec<u8>> = found.iter().flat_map(keys).collect();
    let before = (0..report.operations.len()).rev().filter(|at| {
        let operation = report.operations.get(*at);
        operation.is_some_and(|operation| operation.invoked <= subject.at)
            && !subject.operations.contains(at)
            && !keys(at).is_disjoint(&own)
    });
    found.extend(before.take(MOST_OPERATIONS));
    found
}

#[cfg(test)]
mod tests {
    use super::super::{sample, wire};
    use super::*;

    /// The subject is found in the text, and the cone holds the way of the entry and nothing of the rest.
    #[test]
    fn the_cone_follows_the_entry() {
        let report = sample::report();
        let subject = subject(&report).expect("there is a violation");
        assert_eq!((subject.nodes.len(), subject.entries.len()), (1, 2));
        assert!(subject.entries.contains(&7) && subject.nodes.contains(&2));
        assert_eq!(subject.at, Duration::from_millis(2500));
        let flights = wire::flights(&report.events);
        let cone = cone(&report, &flights, &subject);
        let lines: Vec<String> =
            cone.events.iter().map(|at| report.events[*at].to_string()).collect();
        let holds = |text: &str| lines.iter().any(|line| line.contains(text));
        assert!(holds("loses power") && holds("write log-1") && holds("restored 5"), "{lines:#?}");
        assert!(holds("sent MsgAppend n1->n2") && holds("received MsgAppend n1->n2"), "{lines:#?}");
        assert!(holds("sent MsgAppendResponse"), "{lines:#?}");
        assert!(
            !holds("received MsgAppendResponse"),
            "it came after the last look at n1: {lines:#?}"
        );
        assert!(!holds("MsgHeartbeat") && !holds("applied 6"), "{lines:#?}");
    }

    /// An operation that is quoted is found, with others on its key and the time of its answer.
    #[test]
    fn an_operation_is_a_subject() {
        let mut report = sample::report();
        let text = format!("{}: acknowledged, and not in the log", report.operations[0].readable());
        report.violations[0] = crate::check::Violation::new("durability", text);
        let subject = subject(&report).expect("there is a violation");
        assert_eq!(subject.at, Duration::from_millis(1012));
        assert_eq!(subject.entries, [7].into(), "the only one between invocation and return");
        let cone = cone(&report, &[], &subject);
        assert_eq!(cone.operations, [0, 1].into(), "the later one comes too late");
    }

    /// A client that begins the text stands for what it was answered last.
    #[test]
    fn a_client_is_a_subject() {
        let mut report = sample::report();
        let violation = |text: &str| crate::check::Violation::new("lock-kept", text);
        report.violations[0] = violation("c2: the lock is gone");
        assert_eq!(subject(&report).expect("there is a violation").operations, [2].into());
        report.violations[0] = violation("nobody: the lock is gone");
        assert!(subject(&report).expect("there is a violation").operations.is_empty());
    }

    /// Entries are numbers behind their word; times are none.
    #[test]
    fn entries_are_found() {
        let text =
            "c1 on n2 at 1.25s: GET a -> 3: no state from entry 17 to 19; in the log at 4 it is 5";
        assert_eq!(named_entries(text), [4, 17].into());
    }
}
