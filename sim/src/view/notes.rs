//! The run told in lines beside the lanes, each at its time: faults, starts and ends of processes, who leads, and every step of the
//! causal cone. The axis makes room for them.

use std::time::Duration;

use super::canvas::{Canvas, Layer};
use super::roles::Role;
use super::scene::{ROW, Scene};
use super::spans::losses;
use super::svg::{Element, px, shortened};
use super::wire::{Fate, Flight};
use crate::trace::{Message, What, Who};

/// Longest note, in characters.
const LONGEST: usize = 60;
/// Faults that are shorter have no note for their end.
const SHORT: Duration = Duration::from_secs(1);

/// One line.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) at: Duration,
    /// To whose lane it belongs.
    pub(super) who: Who,
    pub(super) text: String,
    pub(super) class: &'static str,
    /// The id of what it speaks of.
    pub(super) target: Option<String>,
}

/// All notes, by time.
pub(super) fn notes(scene: &Scene<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    world(scene, &mut notes);
    leaders(scene, &mut notes);
    messages(scene, &mut notes);
    operations(scene, &mut notes);
    if let (Some(subject), Some(violation)) = (&scene.subject, scene.report.violations.first()) {
        let text = format!("violation: {}", violation.check);
        notes.push(note(subject.at, Who::World, text, "verdict"));
    }
    notes.sort_by_key(|note| note.at);
    notes.dedup_by(|one, other| one.at == other.at && one.text == other.text);
    notes
}

fn note(at: Duration, who: Who, text: String, class: &'static str) -> Note {
    Note { at, who, text, class, target: None }
}

/// Faults, starts and ends, and what of the disk and the state machine is in the cone.
fn world(scene: &Scene<'_>, notes: &mut Vec<Note>) {
    for (at, event) in scene.report.events.iter().enumerate() {
        let is_in_cone = scene.cone.events.contains(&at);
        let class = if is_in_cone { "cone" } else { "plain" };
        let who = event.who;
        let (text, class) = match &event.what {
            What::Fault { number, begins: None } => {
                if is_short(scene, *number, event.at) {
                    continue;
                }
                (format!("fault {number} is over"), "fault")
            }
            What::Fault { number, begins: Some(text) } => {
                let begun = scene.spans.iter();
                let mut begun =
                    begun.filter(|span| (span.number, span.from) == (*number, event.at));
                let text = begun.next().map_or(text.as_str(), |span| span.text.as_str());
                (format!("fault {number}: {text}"), "fault")
            }
            What::Starts => (format!("{who} starts"), class),
            What::Gone(how) => match losses(how) {
                lost if !lost.is_empty() => (format!("{who} loses power, and {lost}"), class),
                _ if is_told(scene, who, event.at) => continue,
                _ => (format!("{who} {how}"), class),
            },
            What::Note(text) if who == Who::World && text.contains("healed") => {
                (text.clone(), "fault")
            }
            What::Restored { index, .. } if is_in_cone => {
                (format!("{who} has restored its state up to entry {index}"), class)
            }
            What::Applied { index, term, .. } if is_in_cone => {
                (format!("{who} applies entry {index} of term {term}"), class)
            }
            What::Disk { kind, file, bytes } if is_in_cone && is_subject(scene, who) => {
                let bytes = if *bytes > 0 { format!(", {bytes} bytes") } else { String::new() };
                (format!("{who} {kind} {file}{bytes}"), class)
            }
            _ => continue,
        };
        let is_drawn = is_in_cone && event.what != What::Starts;
        let target = is_drawn.then(|| format!("e{at}"));
        notes.push(Note { target, ..note(event.at, who, text, class) });
    }
}

/// Whether a fault was over so soon that its wall or bracket says enough.
fn is_short(scene: &Scene<'_>, number: u32, over: Duration) -> bool {
    let mut spans = scene.spans.iter().filter(|span| span.number == number);
    spans.any(|span| span.to == Some(over) && over.saturating_sub(span.from) < SHORT)
}

/// Whether the note of a fault says already that a process is gone.
fn is_told(scene: &Scene<'_>, who: Who, at: Duration) -> bool {
    let Who::Node(id) = who else { return false };
    scene.spans.iter().any(|span| span.is_stop() && span.from == at && span.nodes.contains(&id))
}

fn is_subject(scene: &Scene<'_>, who: Who) -> bool {
    let Who::Node(id) = who else { return false };
    scene.subject.as_ref().is_some_and(|subject| subject.nodes.contains(&id))
}

fn leaders(scene: &Scene<'_>, notes: &mut Vec<Note>) {
    for (id, stretches) in &scene.roles {
        for stretch in stretches.iter().filter(|stretch| stretch.role == Role::Leader) {
            let text = format!("n{id} leads in term {}", stretch.term);
            notes.push(note(stretch.from, Who::Node(*id), text, "plain"));
        }
    }
}

fn messages(scene: &Scene<'_>, notes: &mut Vec<Note>) {
    for flight in &scene.flights {
        let came = match flight.fate {
            Fate::Came(at) => scene.cone.events.contains(&at),
            _ => false,
        };
        if !came && !scene.cone.events.contains(&flight.sent) {
            continue;
        }
        let Some(event) = scene.report.events.get(flight.sent) else { continue };
        let text = told(flight);
        let target = Some(format!("e{}", flight.sent));
        notes.push(Note { target, ..note(event.at, event.who, text, "cone") });
    }
}

fn told(flight: &Flight<'_>) -> String {
    let Message { from, to, term, .. } = flight.message;
    let end = match flight.fate {
        Fate::Lost => ", lost",
        Fate::UnderWay => ", under way",
        Fate::Came(_) => "",
    };
    format!("n{from} \u{2192} n{to}  {}, term {term}{end}", words(flight.message))
}

/// A message in plain words.
pub(super) fn words(message: &Message) -> String {
    let Message { index, entries, reject, .. } = message;
    match (message.name(), *reject) {
        ("MsgAppend", _) if *entries == 1 => format!("entry {}", index + 1),
        ("MsgAppend", _) if *entries > 1 => {
            format!("entries {}\u{2013}{}", index + 1, index + *entries as u64)
        }
        ("MsgAppend", _) => format!("probe at {index}"),
        ("MsgAppendResponse", false) => format!("confirms up to {index}"),
        ("MsgAppendResponse", true) => format!("refuses after {index}"),
        ("MsgRequestVote", _) => "asks for a vote".to_owned(),
        ("MsgRequestPreVote", _) => "asks for a pre-vote".to_owned(),
        ("MsgRequestVoteResponse", false) => "grants its vote".to_owned(),
        ("MsgRequestVoteResponse", true) => "refuses its vote".to_owned(),
        ("MsgRequestPreVoteResponse", false) => "grants its pre-vote".to_owned(),
        ("MsgRequestPreVoteResponse", true) => "refuses its pre-vote".to_owned(),
        ("MsgSnapshot", _) => "snapshot".to_owned(),
        (name, _) => name.trim_start_matches("Msg").to_owned(),
    }
}

fn operations(scene: &Scene<'_>, notes: &mut Vec<Note>) {
    for at in &scene.cone.operations {
        let Some(operation) = scene.report.operations.get(*at) else { continue };
        let number = operation.client.trim_start_matches('c').parse().unwrap_or_default();
        let who = Who::Client(number);
        let is_named =
            scene.subject.as_ref().is_some_and(|subject| subject.operations.contains(at));
        let class = if is_named { "named" } else { "cone" };
        let (client, node) = (&operation.client, operation.connection.node);
        let asks = format!("{client} \u{2192} n{node}  {}", operation.request.readable());
        let mut line = |at: Duration, text: String| {
            let target = Some(format!("o{number}-{}", operation.invoked.as_micros()));
            notes.push(Note { target, ..note(at, who, text, class) });
        };
        line(operation.invoked, asks);
        if let Some(returned) = operation.returned {
            line(returned, format!("{client} \u{2190} n{node}  {}", operation.outcome.readable()));
        }
    }
}

/// Where each note stands: at its time, or as soon below as there is room.
pub(super) fn places(scene: &Scene<'_>) -> Vec<f64> {
    let mut free = 0.0;
    let place = |note: &Note| {
        let y = f64::max(scene.y(note.at), free);
        free = y + ROW;
        y
    };
    scene.notes.iter().map(place).collect()
}

/// Draws them, each with a hair line from its lane.
pub(super) fn draw(scene: &Scene<'_>, canvas: &mut Canvas) {
    for (note, y) in scene.notes.iter().zip(places(scene)) {
        let at = scene.y(note.at);
        let x = scene.notes_x;
        let from = scene.x(note.who).map_or(x - 10.0, |lane| lane + 9.0);
        let bend = format!(
            "M{} {}H{}L{} {}H{}",
            px(from),
            px(at),
            px(x - 14.0),
            px(x - 8.0),
            px(y),
            px(x - 3.0)
        );
        canvas.add(Layer::Ground, Element::path(&bend).class(&format!("hair {}", note.class)));
        let text = Element::text(x, y + 3.5, &shortened(&note.text, LONGEST));
        let text = text.class(&format!("note {}", note.class)).title(&note.text);
        let text = match &note.target {
            Some(target) => Element::new("a").set("href", &format!("#{target}")).holds(text),
            None => text,
        };
        canvas.add(Layer::Note, text);
    }
}
