//! The log of each node as a column: to the right the index, downwards time, coloured by the term of the entries. A dashed line is what any
//! node has applied. What a node had applied or confirmed and lacks afterwards is a hole.

use std::collections::BTreeMap;
use std::time::Duration;

use super::canvas::{Canvas, Layer};
use super::scene::{LOG_WIDTH, Scene};
use super::svg::{Element, px};
use crate::trace::{What, Who};

/// Entries of terms take turns in so many colours.
const COLOURS: u64 = 6;
/// Entries drawn before the first that matters.
const BEFORE: u64 = 4;

/// How far a node's state was, from a moment on; none: it is not there.
type Steps = Vec<(Duration, Option<u64>)>;

/// The part of the log that is drawn.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: u64,
    to: u64,
}

impl Range {
    /// The place of an entry's right edge in its column.
    fn x(self, index: u64) -> f64 {
        let at = index.clamp(self.from, self.to) - self.from;
        LOG_WIDTH * at as f64 / (self.to - self.from).max(1) as f64
    }
}

pub(super) fn draw(scene: &Scene<'_>, canvas: &mut Canvas) {
    let mut steps: BTreeMap<u64, Steps> = scene.nodes().map(|id| (id, Vec::new())).collect();
    let mut highest: Steps = Vec::new();
    let mut terms: BTreeMap<u64, u64> = BTreeMap::new();
    terms.extend(scene.report.log.iter().map(|(index, record)| (*index, record.term)));
    for event in &scene.report.events {
        let Who::Node(id) = event.who else { continue };
        let Some(own) = steps.get_mut(&id) else { continue };
        match event.what {
            What::Applied { index, .. } | What::Restored { index, .. } => {
                own.push((event.at, Some(index)));
                let above = highest.last().and_then(|(_, index)| *index);
                if above.is_none_or(|above| above < index) {
                    highest.push((event.at, Some(index)));
                }
            }
            What::Gone(_) => own.push((event.at, None)),
            _ => {}
        }
    }
    let until = scene.subject.as_ref().map_or(scene.end, |subject| subject.at);
    let before = highest.iter().rfind(|(at, _)| *at <= until);
    let to = before.and_then(|(_, index)| *index).unwrap_or(0);
    let from = first(scene, &steps);
    let range = Range { from, to: to.max(from + 1) };
    for (id, own) in &steps {
        let x = scene.log_x(*id);
        frame(scene, canvas, x, range);
        for (term, entries) in stretches(&terms, range) {
            let path = filled(scene, own, x, (range, entries));
            let tip =
                format!("n{id}: entries {}\u{2013}{} of term {term}", entries.0 + 1, entries.1);
            let class = format!("log term-{}", term % COLOURS);
            canvas.add(Layer::Log, Element::path(&path).class(&class).title(&tip));
        }
        missing(scene, canvas, own, (*id, x, range));
        let commit = line(scene, &highest, x, range);
        canvas
            .add(Layer::Mark, Element::path(&commit).class("commit").title("applied by any node"));
        lost(scene, canvas, (*id, x, range));
    }
}

/// The first entry worth a look: of a failure, what the laggards had when the window began.
fn first(scene: &Scene<'_>, steps: &BTreeMap<u64, Steps>) -> u64 {
    let Some(subject) = &scene.subject else { return 0 };
    let begun = |own: &Steps| {
        let inside = own.iter().find(|(at, index)| scene.is_in_window(*at) && index.is_some());
        inside.and_then(|(_, index)| *index)
    };
    let lowest = steps.values().filter_map(begun).chain(subject.entries.iter().copied()).min();
    lowest.unwrap_or(0).saturating_sub(BEFORE)
}

fn frame(scene: &Scene<'_>, canvas: &mut Canvas, x: f64, range: Range) {
    let (top, bottom) = (scene.y(Duration::ZERO), scene.axis.bottom());
    let frame = Element::rect(x, top, LOG_WIDTH, bottom - top);
    canvas.add(Layer::Ground, frame.class("column"));
    for (at, index, anchor) in [(x, range.from, "start"), (x + LOG_WIDTH, range.to, "end")] {
        let text = Element::text(at, top - 4.0, &index.to_string()).set("text-anchor", anchor);
        canvas.add(Layer::Note, text.class("index"));
    }
}

/// Runs of entries of one term: the entry before the first, and the last.
fn stretches(terms: &BTreeMap<u64, u64>, range: Range) -> Vec<(u64, (u64, u64))> {
    let mut stretches: Vec<(u64, (u64, u64))> = Vec::new();
    for (index, term) in terms.range(range.from + 1..=range.to) {
        match stretches.last_mut() {
            Some((last, entries)) if last == term => entries.1 = *index,
            _ => stretches.push((*term, (index - 1, *index))),
        }
    }
    stretches
}

/// Each time with one extent: from, to, how far.
fn rows(scene: &Scene<'_>, steps: &Steps) -> Vec<(f64, f64, Option<u64>)> {
    let mut rows = Vec::new();
    for (at, (from, index)) in steps.iter().enumerate() {
        let to = steps.get(at + 1).map_or(scene.end, |(to, _)| *to);
        rows.push((scene.y(*from), scene.y(to), *index));
    }
    rows
}

/// The area that entries fill while the node had them.
fn filled(
    scene: &Scene<'_>,
    steps: &Steps,
    x: f64,
    (range, entries): (Range, (u64, u64)),
) -> String {
    let left = range.x(entries.0);
    let mut path = String::new();
    let mut open: Option<(f64, f64, f64)> = None; // extent, from, to
    for (top, bottom, index) in rows(scene, steps) {
        let extent = index.map_or(0.0, |index| range.x(index.min(entries.1)) - left).max(0.0);
        match &mut open {
            Some((last, _, to)) if (*last - extent).abs() < 0.4 => *to = bottom,
            _ => {
                path += &open.map_or_else(String::new, |row| block(x + left, row));
                open = Some((extent, top, bottom));
            }
        }
    }
    path + &open.map_or_else(String::new, |row| block(x + left, row))
}

fn block(x: f64, (extent, from, to): (f64, f64, f64)) -> String {
    if extent <= 0.0 || to <= from {
        return String::new();
    }
    format!("M{} {}h{}V{}H{}z", px(x), px(from), px(extent), px(to), px(x))
}

/// What a node had applied before and has not applied again.
fn missing(
    scene: &Scene<'_>,
    canvas: &mut Canvas,
    steps: &Steps,
    (id, x, range): (u64, f64, Range),
) {
    let (mut best, mut path) = (0, String::new());
    for (top, bottom, index) in rows(scene, steps) {
        let Some(index) = index else { continue };
        best = best.max(index);
        let (left, right) = (range.x(index), range.x(best));
        path += &block(x + left, (right - left, top, bottom));
    }
    if !path.is_empty() {
        let tip = format!("n{id} had applied this before, and has not again");
        canvas.add(Layer::Log, Element::path(&path).class("missing").title(&tip));
    }
}

fn line(scene: &Scene<'_>, steps: &Steps, x: f64, range: Range) -> String {
    let mut path = String::new();
    let mut last = f64::MIN;
    for (top, bottom, index) in rows(scene, steps) {
        let at = x + range.x(index.unwrap_or(0));
        if path.is_empty() {
            path.extend(["M", &px(at), " ", &px(top)]);
            last = at;
        } else if at - last >= 0.4 {
            path.extend(["H", &px(at)]);
            last = at;
        }
        path.extend(["V", &px(bottom)]);
    }
    path
}

/// What a node had confirmed and its disk lacks, if the violation says so.
fn lost(scene: &Scene<'_>, canvas: &mut Canvas, (id, x, range): (u64, f64, Range)) {
    let (Some(subject), Some(violation)) = (&scene.subject, scene.report.violations.first()) else {
        return;
    };
    let Some((confirmed, ends)) =
        lost_suffix(&violation.text).filter(|_| subject.nodes.contains(&id))
    else {
        return;
    };
    let (left, right) = (x + range.x(ends), x + range.x(confirmed));
    let y = scene.y(subject.at);
    let tip = format!("n{id} confirmed entry {confirmed}; its log ends at {ends}");
    let hole = Element::rect(left, y - 12.0, (right - left).max(5.0), 12.0);
    canvas.add(Layer::Note, hole.class("hole").title(&tip));
    let words = if confirmed == ends + 1 {
        format!("{confirmed} lost")
    } else {
        format!("{}\u{2013}{confirmed} lost", ends + 1)
    };
    let text = Element::text(x, y + 11.0, &words);
    canvas.add(Layer::Note, text.class("hole-text"));
}

/// The entry that was confirmed, and the one at which the log ends.
fn lost_suffix(text: &str) -> Option<(u64, u64)> {
    let number = |after: &str| {
        let digits = text.split_once(after)?.1;
        digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    let (confirmed, ends) = (number("confirmed entry ")?, number("its log ends at ")?);
    (confirmed > ends).then_some((confirmed, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lost suffix is read from the words of its violation.
    #[test]
    fn a_lost_suffix_is_found() {
        let text = "n2 confirmed entry 7 in term 1; after the power cut its log ends at 5";
        assert_eq!(lost_suffix(text), Some((7, 5)));
        assert_eq!(lost_suffix("n2 confirmed entry 7 in term 1; its term is 0"), None);
    }

    /// Runs of one term follow each other without a gap, and entries lie within their column.
    #[test]
    fn terms_make_stretches() {
        let terms = [(1, 1), (2, 1), (3, 2), (4, 4), (5, 4)].into();
        let range = Range { from: 1, to: 5 };
        assert_eq!(stretches(&terms, range), [(1, (1, 2)), (2, (2, 3)), (4, (3, 5))]);
        assert!((range.x(0) - 0.0).abs() < 1e-9 && (range.x(99) - LOG_WIDTH).abs() < 1e-9);
        assert!((range.x(3) - LOG_WIDTH / 2.0).abs() < 1e-9);
    }
}
