//! A run as a page that a person can read: what was promised and not kept, what broke before it, and a drawing of all nodes and clients
//! with what led to it at full ink. One file without anything from outside; the same report gives the same bytes.

use std::time::Duration;

use crate::world::Report;

mod arrows;
mod axis;
mod canvas;
mod clients;
mod cone;
mod lanes;
mod logs;
mod notes;
mod roles;
#[cfg(test)]
mod sample;
mod scene;
mod spans;
mod story;
mod svg;
mod wire;

use axis::seconds;
use canvas::{Canvas, Layer};
use scene::Scene;
use svg::{Element, escape, px};

/// Most elements of a drawing; of a failure there is more to see.
const BUDGET: usize = 4_000;
const BUDGET_OF_FAILURES: usize = 7_000;
const STYLE: &str = include_str!("style.css");
/// A click pins what was clicked: its name becomes the address's fragment.
const SCRIPT: &str = "document.addEventListener('click',e=>{const t=e.target.closest('svg [id]');\
if(t&&!e.target.closest('a'))location.hash=t.id})";
/// Height of the lanes' names.
const NAMES: f64 = 30.0;
/// Height of a piece of the drawing on paper, as a share of its width: A4 across.
const SLICE: f64 = 0.66;

/// The page of a run. `command` replays it.
pub fn page(report: &Report, command: &str) -> String {
    let scene = Scene::new(report);
    let held = scene.subject.is_none();
    let budget = if held { BUDGET } else { BUDGET_OF_FAILURES };
    let (drawing, left_out) = drawing(&scene).finish(budget);
    let title = report.violations.first().map_or("every promise held", |first| first.check);
    let title = escape(title);
    let left_out: Vec<String> =
        left_out.iter().map(|(kind, many)| format!("{many} {kind}")).collect();
    let left_out = if left_out.is_empty() {
        String::new()
    } else {
        format!("<p class=\"run\">Not drawn one by one: {}.</p>\n", escape(&left_out.join(", ")))
    };
    let (scenario, seed) = (escape(&report.plan.head.scenario), report.plan.head.seed);
    let head = story::head(&scene, command) + &story::legend(&scene);
    let class = if held { "whole" } else { "failed" };
    let (width, height) = (px(scene.width), px(scene.height()));
    let (names, slices) = (names(&scene), slices(&scene));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{scenario}, seed {seed}: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<header>\n{head}</header>\n<main style=\"min-width:{width}px\">\n\
         <svg class=\"names\" viewBox=\"0 0 {width} {NAMES}\" width=\"{width}\">\n\
         <g id=\"names\">{names}</g>\n</svg>\n\
         <svg class=\"run\" viewBox=\"0 0 {width} {height}\" width=\"{width}\">\n{PATTERNS}\
         <g id=\"drawing\" class=\"{class}\">\n{drawing}\n</g>\n</svg>\n</main>\n\
         {slices}<footer>{left_out}</footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// Hatching; what looks alike without colour must differ in it.
const PATTERNS: &str = "<defs>\
<pattern id=\"hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<path d=\"M0 0V5\" class=\"hatching\"/></pattern>\
<pattern id=\"gap\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(-45)\">\
<path d=\"M0 0V4\" class=\"gapping\"/></pattern></defs>\n";

fn drawing(scene: &Scene<'_>) -> Canvas {
    let mut canvas = Canvas::default();
    time(scene, &mut canvas);
    lanes::draw(scene, &mut canvas);
    arrows::draw(scene, &mut canvas);
    clients::draw(scene, &mut canvas);
    logs::draw(scene, &mut canvas);
    notes::draw(scene, &mut canvas);
    canvas
}

/// The axis: moments, breaks, and the moment of the failure across all lanes.
fn time(scene: &Scene<'_>, canvas: &mut Canvas) {
    let right = scene.notes_x - 14.0;
    let wished: Vec<Duration> = scene.notes.iter().map(|note| note.at).collect();
    for (y, at) in scene.axis.labels(&wished, 12.0, 40.0) {
        canvas.add(Layer::Ground, Element::line((54.0, y), (60.0, y)).class("grid"));
        canvas.add(Layer::Ground, Element::text(50.0, y + 3.0, &seconds(at)).class("time"));
    }
    for (top, bottom, quiet) in &scene.axis.breaks {
        let y = f64::midpoint(*top, *bottom);
        let zigzag = format!("M{} {}l4 -4l4 8l4 -8l4 8l4 -4", px(54.0), px(y));
        let tip = format!("{} with nothing to tell", seconds(*quiet));
        canvas.add(Layer::Ground, Element::path(&zigzag).class("break").title(&tip));
    }
    if let Some(subject) = &scene.subject {
        let y = scene.y(subject.at);
        canvas.add(Layer::Note, Element::line((54.0, y), (right, y)).class("verdict-line"));
    }
}

/// The drawing cut into pieces that fit on paper, each under the names of its lanes; a screen does not show them.
fn slices(scene: &Scene<'_>) -> String {
    let (width, height) = (scene.width, scene.height());
    let step = width * SLICE - NAMES;
    let mut html = String::from("<div class=\"paper\">\n");
    let mut top = 0.0;
    while top + scene::ROW < height {
        let part = step.min(height - top);
        let names = format!("<use href=\"#names\" y=\"{}\"/>", px(top - NAMES));
        let view = format!("0 {} {} {}", px(top - NAMES), px(width), px(part + NAMES));
        // Nothing of the piece before may show behind the names.
        let cut = Element::rect(0.0, top - NAMES * 2.0, width, NAMES * 2.0);
        let cut = cut.class("cover").done();
        html.extend(["<svg viewBox=\"", &view, "\"><use href=\"#drawing\"/>", &cut, &names]);
        html += "</svg>\n";
        top += step - scene::ROW; // no line may be cut in two
    }
    html + "</div>\n"
}

/// The names of the lanes, which stay in view.
fn names(scene: &Scene<'_>) -> String {
    let mut names = vec![Element::text(50.0, 20.0, "time").class("time")];
    for (who, x) in &scene.lanes {
        names.push(Element::text(*x, 20.0, &who.to_string()).class("name"));
    }
    names.push(Element::text(scene.notes_x, 20.0, "what happened").class("head"));
    for id in scene.nodes() {
        names.push(Element::text(scene.log_x(id), 20.0, &format!("log n{id}")).class("head"));
    }
    names.into_iter().map(Element::done).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: &str = "cargo run --release -p steadfast-sim -- replay a<b.plan";

    /// The page says what was broken and by what, has each lane, stays itself, and lets nothing of the run out of its place.
    #[test]
    fn a_page_is_whole() {
        let report = sample::report();
        let page = page(&report, COMMAND);
        assert_eq!(page, super::page(&report, COMMAND));
        let has = |text: &str| assert!(page.contains(text), "it lacks {text}");
        has("<b>promise</b>: a node broke its word");
        has("n2 confirmed entry 7 in term 1; after the power cut its log ends at 5");
        has(
            "<li value=\"4\"><time>1.500 s</time> the leader (n1) is cut off from its peers, for 0.300 s.",
        );
        has("<li value=\"9\"><time>1.900 s</time> n2 loses power, for 0.500 s.");
        has("replay a&lt;b.plan</code>");
        for name in ["n1", "n2", "n3", "c1", "c2"] {
            has(&format!("class=\"name\">{name}</text>"));
        }
        has("class=\"lane leader\"");
        has("class=\"wall\"");
        has("class=\"paused\"");
        has("class=\"flash\"");
        has("<use href=\"#drawing\"/>");
        has("3 sectors</text>");
        has("6\u{2013}7 lost</text>");
        has("SET key &lt;&amp;&gt;");
        assert!(!page.contains("<&"), "what a run says is escaped");
    }

    /// Every element that is opened is closed, in order; void elements of HTML stand only in the head.
    #[test]
    fn elements_are_nested() {
        let page = page(&sample::report(), COMMAND);
        let body = page.split_once("<body>").expect("it has a body").1;
        let body = body.split_once("<script>").expect("it has a script").0;
        let mut open: Vec<&str> = Vec::new();
        for tag in body.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("every tag ends");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split_whitespace().next().expect("every tag has a name"));
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    /// Names in the drawing are unique, and every reference meets one.
    #[test]
    fn references_meet() {
        let page = page(&sample::report(), COMMAND);
        let values = |key: &str| -> Vec<String> {
            let all = page.split(key).skip(1).filter_map(|rest| rest.split('"').next());
            all.map(str::to_owned).collect()
        };
        let ids = values(" id=\"");
        let unique: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len());
        let targets = values(" href=\"#");
        assert!(!targets.is_empty());
        assert!(targets.iter().all(|target| unique.contains(target)), "{targets:?} {ids:?}");
    }

    /// Without a violation there is no cone: all is at normal ink, and said so.
    #[test]
    fn a_run_that_held_has_no_cone() {
        let mut report = sample::report();
        report.violations.clear();
        let page = page(&report, COMMAND);
        assert!(page.contains("Every promise held."));
        assert!(!page.contains(" faint\"") && !page.contains(" cone\""));
    }

    /// A long run stays within the budget, and the page counts what it lacks.
    #[test]
    fn a_long_run_is_thinned_out() {
        let mut report = sample::report();
        report.violations.clear();
        let heartbeat = wire::message("MsgHeartbeat", 1, 3, 1, 0);
        let append = wire::message("MsgAppend", 1, 2, 1, 0);
        for at in 0..9_000 {
            let at = Duration::from_millis(2500 + at);
            let who = crate::trace::Who::Node(1);
            for message in [&heartbeat, &append] {
                let what = crate::trace::What::Sent(message.clone());
                report.events.push(crate::trace::Event { at, who, what });
            }
        }
        let page = page(&report, COMMAND);
        let drawn = page.matches("<path ").count() + page.matches("<line ").count();
        assert!(drawn < BUDGET + 200, "{drawn} elements");
        assert!(page.contains("Not drawn one by one:") && page.contains(" heartbeats, "));
        assert!(page.len() < 3 << 20);
    }
}
