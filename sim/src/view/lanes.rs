//! The lanes of the nodes: what each was, what struck it, and what its disk did.

use std::collections::BTreeMap;
use std::time::Duration;

use super::axis::seconds;
use super::canvas::{Canvas, Layer, Rank};
use super::roles::{Role, Stretch};
use super::scene::Scene;
use super::spans::{Span, losses};
use super::svg::{Element, px};
use crate::plan::{Fault, Whom};
use crate::trace::{What, Who};

/// Half a lane's width.
pub(super) const HALF: f64 = 8.0;
/// How far walls stand from the middle of a lane, and how thick they are.
const WALL: f64 = 21.0;
const WALL_WIDTH: f64 = 7.0;
/// Where the first bracket stands, and the next ones.
const BRACKET: f64 = 36.0;
const BRACKET_PITCH: f64 = 9.0;
/// Shortest stretch that holds its letter.
const LETTER: f64 = 11.0;
/// Marks of one kind that are closer than this are one mark, near what matters and elsewhere.
const CLOSE: f64 = 4.0;
const DENSE: f64 = 8.0;
/// Height of a label beside a bracket.
const LABEL: f64 = 13.0;

pub(super) fn draw(scene: &Scene<'_>, canvas: &mut Canvas) {
    for (id, stretches) in &scene.roles {
        let Some(x) = scene.x(Who::Node(*id)) else { continue };
        let mut before = None;
        for (at, stretch) in stretches.iter().enumerate() {
            let to = stretches.get(at + 1).map_or(scene.end, |next| next.from);
            lane(scene, canvas, x, *stretch, to);
            if before.is_some_and(|term| term != stretch.term) && stretch.role != Role::Down {
                let y = scene.y(stretch.from) + 9.0;
                let text = Element::text(x - HALF - 2.5, y, &format!("t{}", stretch.term));
                canvas.add_some((Layer::Note, Rank::Near), "terms", text.class("term"));
            }
            before = Some(stretch.term);
        }
        struck(scene, canvas, *id, x);
    }
    disks(scene, canvas);
}

fn lane(scene: &Scene<'_>, canvas: &mut Canvas, x: f64, stretch: Stretch, to: Duration) {
    let (top, bottom) = (scene.y(stretch.from), scene.y(to));
    let role = stretch.role;
    let tip = format!(
        "{}, term {}, {} \u{2013} {}",
        role.class(),
        stretch.term,
        seconds(stretch.from),
        seconds(to)
    );
    let bar = Element::rect(x - HALF, top, HALF * 2.0, (bottom - top).max(1.0));
    let bar = bar.class(&format!("lane {}", role.class())).title(&tip);
    canvas.add(Layer::Lane, bar);
    if bottom - top >= LETTER {
        let letter = Element::text(x, top + 9.5, role.letter());
        canvas.add(Layer::Mark, letter.class(&format!("letter {}", role.class())));
    }
}

/// Draws the faults of a node: walls, brackets, and their names.
fn struck(scene: &Scene<'_>, canvas: &mut Canvas, id: u64, x: f64) {
    let mut free = f64::MIN;
    let mut columns: Vec<Duration> = Vec::new(); // until when each is taken
    for span in scene.spans.iter().filter(|span| span.nodes.contains(&id)) {
        let to = span.to.unwrap_or(scene.end);
        let (top, bottom) = (scene.y(span.from), scene.y(to).max(scene.y(span.from) + 3.0));
        let tip = format!(
            "fault {}: {}, {} \u{2013} {}",
            span.number,
            span.text,
            seconds(span.from),
            seconds(to)
        );
        let side = if span.is_cut() {
            walls(canvas, (span, id, x), (top, bottom), &tip);
            x - WALL - WALL_WIDTH / 2.0
        } else {
            let column = columns.iter().position(|until| *until <= span.from);
            let column = column.unwrap_or(columns.len());
            columns.resize(columns.len().max(column + 1), Duration::ZERO);
            if let Some(until) = columns.get_mut(column) {
                *until = to;
            }
            let side = x - BRACKET - BRACKET_PITCH * column.min(3) as f64;
            let bottom = if span.is_moment() { top + 3.0 } else { bottom };
            let hook = format!("M{} {}h-5V{}h5", px(side + 5.0), px(top), px(bottom));
            canvas.add(Layer::Mark, Element::path(&hook).class("bracket").title(&tip));
            side
        };
        if span.is_pause() {
            let faded = Element::rect(x - HALF - 1.0, top, HALF * 2.0 + 2.0, bottom - top);
            canvas.add(Layer::Mark, faded.class("paused").title(&tip));
        }
        let y = f64::max(top, free);
        free = y + LABEL;
        label(canvas, span, side.min(x - BRACKET) - 9.0, y);
    }
}

/// A fault's number in a circle, and its few words left of it.
fn label(canvas: &mut Canvas, span: &Span, x: f64, y: f64) {
    let number = span.number.to_string();
    let half = 3.5 + 3.0 * number.len() as f64;
    let circle = Element::rect(x - half, y - 5.5, half * 2.0, 11.0).num("rx", 5.5).class("badge");
    canvas.add(Layer::Note, circle.title(&span.text));
    canvas.add(Layer::Note, Element::text(x, y + 3.2, &number).class("number"));
    canvas.add(Layer::Note, Element::text(x - half - 3.0, y + 3.2, &span.short()).class("what"));
}

fn walls(
    canvas: &mut Canvas,
    (span, id, x): (&Span, u64, f64),
    (top, bottom): (f64, f64),
    tip: &str,
) {
    let Some(Fault::Cut { from, held, .. }) = &span.fault else { return };
    let sides: &[f64] = match from {
        Whom::Node(other) if *other > id => &[1.0],
        Whom::Node(_) => &[-1.0],
        _ => &[-1.0, 1.0],
    };
    let kind = match (from, held) {
        (_, true) => "wall held",
        (Whom::Clients, false) => "wall clients",
        _ => "wall",
    };
    for side in sides {
        // Behind the last node stand the clients: only a wall against them stands there.
        let left = x + side * WALL - WALL_WIDTH / 2.0;
        let wall = Element::rect(left, top, WALL_WIDTH, bottom - top).num("rx", 2.0);
        canvas.add(Layer::Wall, wall.class(kind).title(tip));
    }
}

/// Marks of what disks did, and of what they lost.
fn disks(scene: &Scene<'_>, canvas: &mut Canvas) {
    let mut last: BTreeMap<(Who, &str), f64> = BTreeMap::new();
    for (at, event) in scene.report.events.iter().enumerate() {
        let Some(x) = scene.x(event.who) else { continue };
        let (y, is_in_cone) = (scene.y(event.at), scene.cone.events.contains(&at));
        let tip = format!("{} {}", seconds(event.at), event.what);
        match &event.what {
            What::Disk { kind, .. } => {
                let above = last.entry((event.who, kind)).or_insert(f64::MIN);
                let near = is_in_cone || scene.is_near(event.at);
                if !is_in_cone && y - *above < if near { CLOSE } else { DENSE } {
                    canvas.leave_out("operations of disks", 1);
                    continue;
                }
                *above = y;
                let mark = disk_mark(kind, x + HALF + 4.0, y).title(&tip);
                let mark = mark.set("id", &format!("e{at}"));
                let mark = mark.class(&format!("disk {kind}{}", scene.faint(is_in_cone)));
                let rank = if near { Rank::Near } else { Rank::Far };
                canvas.add_some((Layer::Mark, rank), "operations of disks", mark);
            }
            What::Applied { .. } | What::Restored { .. } if is_in_cone => {
                let mark = Element::new("circle").num("cx", x).num("cy", y).num("r", 3.5);
                let mark = mark.set("id", &format!("e{at}")).class("applied").title(&tip);
                canvas.add(Layer::Note, mark);
            }
            What::Gone(how) => end_of_process(canvas, how, (x, y), &format!("e{at}"), &tip),
            _ => {}
        }
    }
}

fn disk_mark(kind: &str, x: f64, y: f64) -> Element {
    match kind {
        "write" => Element::rect(x, y - 2.5, 5.0, 5.0),
        "sync" => Element::rect(x + 7.0, y - 2.5, 5.0, 5.0),
        _ => Element::path(&format!("M{} {}h5", px(x), px(y))),
    }
}

/// A flash where the power went, with scissors if it took something; a cross where a process ended otherwise.
fn end_of_process(canvas: &mut Canvas, how: &str, (x, y): (f64, f64), id: &str, tip: &str) {
    let is_power = how.contains("loses power");
    let shape = if is_power {
        format!("M{} {}l-6 8h4.5l-3 7l8.5-9.5h-4.5l3-5.5z", px(x + 1.0), px(y - 8.0))
    } else {
        format!("M{} {}l9 9m0-9l-9 9", px(x - 4.5), px(y - 4.5))
    };
    let class = if is_power { "flash" } else { "killed" };
    canvas.add(Layer::Note, Element::path(&shape).set("id", id).class(class).title(tip));
    let lost = losses(how);
    if !lost.is_empty() {
        let (left, top) = (x + HALF + 4.0, y - 4.0);
        let scissors = format!(
            "M{} {}l8 6m0-6l-8 6m-1.5 1.2a1.6 1.6 0 1 0 .1 0zm0-8.4a1.6 1.6 0 1 0 .1 0z",
            px(left + 2.0),
            px(top + 1.0)
        );
        canvas.add(Layer::Note, Element::path(&scissors).class("scissors").title(tip));
        let text = Element::text(left + 13.0, y + 3.5, &lost).class("lost-sectors");
        canvas.add(Layer::Note, text);
    }
}
