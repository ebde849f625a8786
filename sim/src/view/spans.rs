//! The faults of a run with their times and the nodes that they struck. A fault that names its node by what it was, such as the leader,
//! is resolved from the messages before it as the world does, or from who died by it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::plan::{Fault, Plan, Planned, When};
use crate::trace::{Event, What, Who};

/// A fault under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) number: u32,
    pub(super) from: Duration,
    /// None: only the end of the run.
    pub(super) to: Option<Duration>,
    /// What it does, with the node's name.
    pub(super) text: String,
    pub(super) fault: Option<Fault>,
    /// Whom it struck; none, if nobody can tell.
    pub(super) nodes: Vec<u64>,
    /// What it did to each node at once, such as what a disk lost.
    pub(super) outcome: Vec<String>,
}

/// How the texts of faults call nodes that have no name there.
const CALLED: [&str; 3] = ["the leader", "a follower", "the node that did it"];

/// What the world watches in order to find a fault's node.
#[derive(Debug, Default)]
struct Watched {
    leads: Vec<(u64, u64)>,
    last_sender: BTreeMap<&'static str, u64>,
}

impl Watched {
    fn sees(&mut self, what: &What) {
        let What::Sent(message) = what else { return };
        self.last_sender.insert(message.name(), message.from);
        let leads = matches!(message.name(), "MsgAppend" | "MsgHeartbeat") && !message.reject;
        if leads && !self.leads.iter().any(|(term, _)| *term == message.term) {
            self.leads.push((message.term, message.from));
        }
    }

    fn leader(&self) -> Option<u64> {
        self.leads.last().map(|(_, node)| *node)
    }

    fn cause(&self, planned: Option<&Planned>) -> Option<u64> {
        match &planned?.when {
            When::Leads(_) => self.leader(),
            When::Message { kind, .. } => self.last_sender.get(kind.as_str()).copied(),
            When::Io { node, .. } => Some(*node),
            _ => None,
        }
    }
}

/// All faults that began, in that order.
pub(super) fn spans(plan: &Plan, events: &[Event]) -> Vec<Span> {
    let mut watched = Watched::default();
    let mut spans: Vec<Span> = Vec::new();
    let mut down: Vec<BTreeSet<u64>> = Vec::new(); // whom each has stopped until now
    for (at, event) in events.iter().enumerate() {
        watched.sees(&event.what);
        match &event.what {
            What::Fault { number, begins: Some(text) } => {
                let died = died_by(events.get(at + 1..).unwrap_or_default(), event.at);
                let span = span(plan, &watched, (*number, event.at, text), &died);
                let ids = span.nodes.iter().filter(|_| span.is_stop());
                down.push(ids.copied().collect());
                spans.push(span);
            }
            What::Fault { number, begins: None } => {
                let begun = spans.iter_mut().rev().find(|span| span.number == *number);
                if let Some(span) = begun {
                    span.to = Some(event.at);
                }
            }
            What::Starts => {
                let Who::Node(id) = event.who else { continue };
                for (span, down) in spans.iter_mut().zip(&mut down) {
                    if down.remove(&id) {
                        span.to = Some(event.at); // of a loss of power everywhere the last start is the end
                    }
                }
            }
            _ => {}
        }
    }
    spans
}

/// Who died at this moment, and how, before the next fault began.
fn died_by(events: &[Event], at: Duration) -> Vec<(u64, &str)> {
    let same = events.iter().take_while(|event| {
        event.at == at && !matches!(event.what, What::Fault { begins: Some(_), .. })
    });
    let died = same.filter_map(|event| match (event.who, &event.what) {
        (Who::Node(id), What::Gone(how)) if !how.starts_with("ended") => Some((id, how.as_str())),
        _ => None,
    });
    died.collect()
}

fn span(
    plan: &Plan,
    watched: &Watched,
    (number, from, text): (u32, Duration, &str),
    died: &[(u64, &str)],
) -> Span {
    let planned = plan.faults.iter().find(|planned| planned.number == number);
    let fault = planned.map(|planned| planned.fault.clone());
    let named = named_nodes(text, plan.nodes()).first().copied();
    let called = CALLED.iter().position(|name| text.contains(name));
    let node = match called {
        Some(0) => watched.leader(),
        Some(1) => watched.leader().map(|id| id % plan.nodes().max(1) + 1),
        Some(_) => watched.cause(planned),
        None => named,
    };
    let stops = fault.as_ref().is_some_and(ends_processes);
    let died = if stops { died } else { &[] };
    let mut nodes: Vec<u64> = died.iter().map(|(id, _)| *id).collect();
    if nodes.is_empty() {
        nodes.extend(node);
    }
    let mut text = text.to_owned();
    if let (Some(called), [id]) = (called.and_then(|at| CALLED.get(at)), nodes.as_slice()) {
        text = text.replacen(called, &format!("{called} (n{id})"), 1);
    }
    let lost = |(id, how): &(u64, &str)| {
        let lost = losses(how);
        (!lost.is_empty()).then(|| format!("n{id} loses {lost}"))
    };
    let outcome = died.iter().filter_map(lost).collect();
    Span { number, from, to: None, text, fault, nodes, outcome }
}

/// What a loss of power took, in words; empty if it took nothing.
pub(super) fn losses(how: &str) -> String {
    let lost = [("sectors_lost ", "sector"), ("names_lost ", "name")].map(|(key, what)| {
        let digits = how.split_once(key).map_or("", |(_, rest)| rest);
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        (digits.parse().unwrap_or(0_u64), what)
    });
    let counted = |(many, what): &(u64, &str)| {
        let plural = if *many == 1 { "" } else { "s" };
        (*many > 0).then(|| format!("{many} {what}{plural}"))
    };
    lost.iter().filter_map(counted).collect::<Vec<_>>().join(", ")
}

/// The nodes that a text names, in its order.
pub(super) fn named_nodes(text: &str, nodes: u64) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    let ids = words.filter_map(|word| word.strip_prefix('n')?.parse().ok());
    ids.filter(|id| (1..=nodes).contains(id) && seen.insert(*id)).collect()
}

impl Span {
    /// Whether the node is cut off in one way or another.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self.fault, Some(Fault::Cut { .. }))
    }

    /// Whether it ends processes.
    pub(super) fn is_stop(&self) -> bool {
        self.fault.as_ref().is_some_and(ends_processes)
    }

    /// Whether it is over as soon as it has begun.
    pub(super) fn is_moment(&self) -> bool {
        matches!(self.fault, Some(Fault::ClockJump { .. }))
    }

    pub(super) fn is_pause(&self) -> bool {
        matches!(self.fault, Some(Fault::Pause { .. }))
    }

    /// Few words for its place in the drawing.
    pub(super) fn short(&self) -> String {
        use crate::plan::{Ways, Whom};
        match &self.fault {
            Some(Fault::Cut { ways, from, held, .. }) => {
                let from = match from {
                    Whom::Peers => "peers".to_owned(),
                    Whom::Clients => "clients".to_owned(),
                    Whom::All => "all".to_owned(),
                    Whom::Node(id) => format!("n{id}"),
                };
                let way = match ways {
                    Ways::Both => "cut from",
                    Ways::Out => "unheard by",
                    Ways::In => "deaf to",
                };
                let held = if *held { ", held" } else { "" };
                format!("{way} {from}{held}")
            }
            Some(Fault::SlowNetwork { ms, .. }) => format!("links \u{2264}{ms} ms"),
            Some(Fault::SlowDisk { ms, .. }) => format!("syncs +{ms} ms"),
            Some(Fault::ClockJump { ms, .. }) => format!("clock {ms:+} ms"),
            Some(fault) => fault.family().replace('-', " "),
            None => super::svg::shortened(&self.text, 18),
        }
    }
}

fn ends_processes(fault: &Fault) -> bool {
    use Fault::{End, Kill, PowerCut, PowerCutAll};
    matches!(fault, End { .. } | Kill { .. } | PowerCut { .. } | PowerCutAll)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// Faults have their times and their nodes: by name, by who led, or by who died.
    #[test]
    fn faults_are_resolved() {
        let report = sample::report();
        let spans = spans(&report.plan, &report.events);
        let short: Vec<String> = spans.iter().map(Span::short).collect();
        assert_eq!(short, ["cut from peers", "power cut", "pause"]);
        let nodes: Vec<&[u64]> = spans.iter().map(|span| span.nodes.as_slice()).collect();
        assert_eq!(nodes, [&[1], &[2], &[3]]);
        assert_eq!(spans[0].text, "the leader (n1) is cut off from its peers");
        assert!(spans[0].to.is_some_and(|to| to > spans[0].from));
        assert_eq!(spans[1].outcome, ["n2 loses 3 sectors"]);
        assert_eq!(spans[2].to, None, "nothing ended it");
    }

    /// A node that loses power while it is down was struck twice, and its start ends both; of two nodes the last start counts.
    #[test]
    fn a_start_ends_all_stops() {
        let mut report = sample::report();
        let mut planned = report.plan.faults[1].clone();
        planned.fault = Fault::PowerCutAll;
        report.plan.faults.push(Planned { number: 12, ..planned });
        let event = |at, who, what| Event { at: Duration::from_millis(at), who, what };
        let begins = Some("all machines lose power".to_owned());
        let gone =
            || What::Gone("loses power while it is down: sectors_lost 0, names_lost 0".to_owned());
        let starts = report.events.iter().position(|event| event.at.as_millis() == 2400);
        let starts = starts.expect("n2 starts then");
        let more = [
            event(2000, Who::World, What::Fault { number: 12, begins }),
            event(2000, Who::Node(1), gone()),
            event(2000, Who::Node(2), gone()),
        ];
        report.events.splice(starts..starts, more);
        report.events.push(event(2600, Who::Node(1), What::Starts));
        report.events.push(event(2700, Who::Node(2), What::Starts));
        let spans = spans(&report.plan, &report.events);
        let ends = |at: usize| spans[at].to.map(|to| to.as_millis());
        assert_eq!((ends(1), ends(3)), (Some(2400), Some(2600)));
        assert_eq!(spans[3].nodes, [1, 2]);
    }

    /// Losses are told in words, if there are any.
    #[test]
    fn losses_are_words() {
        assert_eq!(losses("loses power: sectors_lost 8, names_lost 1"), "8 sectors, 1 name");
        assert_eq!(losses("loses power: sectors_lost 0, names_lost 0"), "");
        assert_eq!(losses("is killed"), "");
    }

    /// Names of nodes are found in texts, each once, and only of nodes that there are.
    #[test]
    fn nodes_are_found_by_name() {
        assert_eq!(named_nodes("c1 on n2: n1->n2, n9 and nine", 3), [2, 1]);
    }
}
