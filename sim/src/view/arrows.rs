//! Messages of raft between the lanes: an arrow from its sending to its coming, bent where it had to wait, with a cross where it was lost.
//! Heartbeats are ticks at the lane of their sender.

use std::collections::BTreeMap;
use std::time::Duration;

use super::axis::seconds;
use super::canvas::{Canvas, Layer, Rank};
use super::lanes::HALF;
use super::notes::words;
use super::scene::Scene;
use super::svg::{Element, px};
use super::wire::{Fate, Flight, is_heartbeat};
use crate::trace::Who;

/// A message that is this long under way has waited somewhere.
const WAITED: Duration = Duration::from_millis(40);
/// Messages of one link that are closer than this are one arrow where nothing depends on them.
const DENSE: f64 = 5.0;
/// Heartbeats closer than this are one tick.
const TICK: f64 = 3.0;

pub(super) fn draw(scene: &Scene<'_>, canvas: &mut Canvas) {
    let mut last_tick = BTreeMap::new();
    let mut last_arrow = BTreeMap::new();
    for flight in &scene.flights {
        let (from, to) = (Who::Node(flight.message.from), Who::Node(flight.message.to));
        let (Some(from_x), Some(to_x)) = (scene.x(from), scene.x(to)) else { continue };
        let Some(sent) = scene.report.events.get(flight.sent).map(|event| event.at) else {
            continue;
        };
        let side = if to_x > from_x { 1.0 } else { -1.0 };
        let (start, y) = (from_x + side * HALF, scene.y(sent));
        if is_heartbeat(flight.message) {
            let above = last_tick.entry((from, to)).or_insert(f64::MIN);
            if y - *above < TICK {
                canvas.leave_out("heartbeats", 1);
                continue;
            }
            *above = y;
            let lost = if flight.fate == Fate::Lost { " lost" } else { "" };
            let tick = Element::line((start, y), (start + side * 5.0, y + 1.0));
            let tick = tick.class(&format!("tick{lost}{}", scene.faint(false)));
            let rank = if scene.is_near(sent) { Rank::Near } else { Rank::Far };
            canvas.add_some((Layer::Message, rank), "heartbeats", tick);
            continue;
        }
        let ends = ((start, y), to_x - side * HALF, side);
        let above = last_arrow.entry((from, to)).or_insert(f64::MIN);
        arrow(scene, canvas, flight, (sent, ends), above);
    }
}

type Ends = ((f64, f64), f64, f64);

fn arrow(
    scene: &Scene<'_>,
    canvas: &mut Canvas,
    flight: &Flight<'_>,
    (sent, ends): (Duration, Ends),
    above: &mut f64,
) {
    let ((x, y), end, side) = ends;
    let came = match flight.fate {
        Fate::Came(at) => Some(at),
        _ => None,
    };
    let is_in_cone = scene.cone.events.contains(&flight.sent)
        || came.is_some_and(|at| scene.cone.events.contains(&at));
    let came_at = came.and_then(|at| scene.report.events.get(at)).map(|event| event.at);
    let soon = sent + Duration::from_millis(scene.report.plan.head.latency_ms);
    let (mut shape, fate) = match (came_at, flight.fate) {
        (Some(at), _) if at.saturating_sub(sent) >= WAITED => {
            let near = (end - side * 12.0, scene.y(soon.min(at)));
            (
                format!(
                    "M{} {}L{} {}L{} {}",
                    px(x),
                    px(y),
                    px(near.0),
                    px(near.1),
                    px(end),
                    px(scene.y(at))
                ),
                "",
            )
        }
        (Some(at), _) => (format!("M{} {}L{} {}", px(x), px(y), px(end), px(scene.y(at))), ""),
        (None, fate) => {
            let stop = (x + (end - x) * 0.6, y + (scene.y(soon) - y) * 0.6);
            let line = format!("M{} {}L{} {}", px(x), px(y), px(stop.0), px(stop.1));
            if fate == Fate::UnderWay {
                (line, " under-way")
            } else {
                let cross = format!("M{} {}l6 6m0-6l-6 6", px(stop.0 - 3.0), px(stop.1 - 3.0));
                (line + &cross, " lost")
            }
        }
    };
    if let Some(at) = came_at {
        // The head, drawn along: markers would not take the line's colour everywhere.
        let (back, tip) = (px(side * -5.0), format!("{} {}", px(end), px(scene.y(at))));
        shape.extend(["m", &back, " -2.6L", &tip, "l", &back, " 2.6"]);
    }
    let to = came_at.map_or_else(|| "never came".to_owned(), |at| format!("came {}", seconds(at)));
    let tip = format!("{} {} ({}), {to}", seconds(sent), flight.message, words(flight.message));
    let class = format!("message{fate}{}", scene.faint(is_in_cone));
    let element = Element::path(&shape).class(&class).title(&tip);
    let is_close = if scene.subject.is_some() { scene.is_close(sent) } else { scene.is_near(sent) };
    let rank = match (is_in_cone, is_close || fate == " lost") {
        (true, _) => Rank::Must,
        (_, true) => Rank::Near,
        _ => Rank::Far,
    };
    let apart = match rank {
        Rank::Far => DENSE,
        Rank::Near if scene.subject.is_none() => DENSE / 2.0,
        _ => 0.0,
    };
    if y - *above < apart {
        canvas.leave_out("messages", 1);
        return;
    }
    *above = y;
    let element = element.set("id", &format!("e{}", flight.sent));
    canvas.add_some((Layer::Message, rank), "messages", element);
}
