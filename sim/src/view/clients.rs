//! The lanes of the clients: a bar for each operation, from its invocation to its return. Open ones have no lower end, refused ones are
//! hollow with a cross. Answered ones far from what matters are drawn together.

use std::time::Duration;

use super::axis::seconds;
use super::canvas::{Canvas, Layer, Rank};
use super::scene::Scene;
use super::svg::{Element, px};
use crate::history::{Operation, Outcome};
use crate::trace::Who;

/// Width of a bar; those of a pipeline stand side by side.
const BAR: f64 = 7.0;
/// Most bars side by side.
const SIDES: usize = 3;
/// How far the end of an open operation reaches below its last sign.
const OPEN: f64 = 18.0;
/// Bars closer than this are drawn together.
const CLOSE: f64 = 2.0;

pub(super) fn draw(scene: &Scene<'_>, canvas: &mut Canvas) {
    for number in 1..=scene.report.plan.head.clients {
        let Some(x) = scene.x(Who::Client(number)) else { continue };
        let axis = Element::line((x, scene.y(Duration::ZERO)), (x, scene.axis.bottom()));
        canvas.add(Layer::Ground, axis.class("thread"));
        client(scene, canvas, number, x);
    }
}

/// Operations that are drawn as one.
#[derive(Default)]
struct Busy {
    from: f64,
    to: f64,
    many: usize,
}

impl Busy {
    fn flush(&mut self, canvas: &mut Canvas, x: f64, faint: &str) {
        if self.many > 0 {
            let bar = Element::rect(x - 2.0, self.from, 4.0, (self.to - self.from).max(1.5));
            let bar = bar.class(&format!("busy{faint}"));
            let bar = bar.title(&format!("{} operations, answered", self.many));
            canvas.add_some((Layer::Lane, Rank::Near), "bars of answered operations", bar);
        }
        *self = Self::default();
    }
}

fn client(scene: &Scene<'_>, canvas: &mut Canvas, number: u64, x: f64) {
    let mut busy = Busy::default();
    let mut sides = [Duration::ZERO; SIDES];
    for (at, operation) in scene.operations(number) {
        let is_in_cone = scene.cone.operations.contains(&at);
        let is_answered = matches!(operation.outcome, Outcome::Reply(_));
        let until = operation.returned.unwrap_or(operation.invoked);
        let (top, bottom) = (scene.y(operation.invoked), scene.y(until));
        if is_answered && !is_in_cone && !scene.is_near(until) {
            if busy.many > 0 && top - busy.to > CLOSE {
                busy.flush(canvas, x, scene.faint(false));
            }
            busy.from = if busy.many == 0 { top } else { busy.from };
            busy.to = f64::max(busy.to, bottom);
            busy.many += 1;
            continue;
        }
        let side = sides.iter().position(|taken| *taken <= operation.invoked).unwrap_or(SIDES - 1);
        if let Some(taken) = sides.get_mut(side) {
            *taken = until.max(operation.invoked + Duration::from_micros(1));
        }
        let left = x - BAR / 2.0 + (BAR + 1.5) * side as f64;
        let bar = bar(operation, left, (top, (bottom - top).max(3.0)));
        let named = scene.subject.as_ref().is_some_and(|subject| subject.operations.contains(&at));
        let class = format!("{}{}", if named { " named" } else { "" }, scene.faint(is_in_cone));
        let returned = operation.returned.map_or_else(|| "open".to_owned(), seconds);
        let tip =
            format!("{} \u{2013} {returned}: {}", seconds(operation.invoked), operation.readable());
        let id = format!("o{number}-{}", operation.invoked.as_micros());
        let group = Element::new("g").class(&format!("operation{class}")).title(&tip);
        let group = if is_in_cone && side == 0 { group.set("id", &id) } else { group };
        let rank = if is_in_cone { Rank::Must } else { Rank::Near };
        canvas.add_some((Layer::Lane, rank), "operations", group.holds(bar));
    }
    busy.flush(canvas, x, scene.faint(false));
}

fn bar(operation: &Operation, x: f64, (y, height): (f64, f64)) -> Element {
    match &operation.outcome {
        Outcome::Reply(_) => Element::rect(x, y, BAR, height).num("rx", 1.5).class("answered"),
        Outcome::NotApplied(_) => {
            let middle = y + height / 2.0;
            let shape = format!(
                "M{x} {y}h{BAR}v{height}h-{BAR}zM{x} {}l{BAR} {BAR}m0-{BAR}l-{BAR} {BAR}",
                px(middle - BAR / 2.0),
                x = px(x),
                y = px(y),
                height = px(height)
            );
            Element::path(&shape).class("refused")
        }
        Outcome::Unknown(_) => {
            let (long, x, y) = (px(height + OPEN), px(x), px(y));
            let shape = format!("M{x} {y}m0 {long}v-{long}h{BAR}v{long}");
            Element::path(&shape).class("unknown")
        }
    }
}
