//! What is to be drawn, in layers, and what may be left out when it is too much: the least important first, evenly over the run.

use std::collections::BTreeMap;

use super::svg::Element;

/// From the back to the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Ground,
    Wall,
    Log,
    Message,
    Lane,
    Mark,
    Note,
}

/// How much a reader would miss it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It is always drawn.
    Must,
    /// It is close to what matters.
    Near,
    /// It is one of many.
    Far,
}

#[derive(Debug)]
struct Item {
    layer: Layer,
    rank: Rank,
    kind: &'static str,
    svg: String,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    items: Vec<Item>,
    left_out: BTreeMap<&'static str, usize>,
}

impl Canvas {
    /// Something that is always drawn.
    pub(super) fn add(&mut self, layer: Layer, element: Element) {
        self.items.push(Item { layer, rank: Rank::Must, kind: "", svg: element.done() });
    }

    /// Something that may be left out; `kind` names it in the plural.
    pub(super) fn add_some(
        &mut self,
        (layer, rank): (Layer, Rank),
        kind: &'static str,
        element: Element,
    ) {
        self.items.push(Item { layer, rank, kind, svg: element.done() });
    }

    /// Something that was left out from the first.
    pub(super) fn leave_out(&mut self, kind: &'static str, many: usize) {
        *self.left_out.entry(kind).or_default() += many;
    }

    /// The drawing within a budget of elements, and how many of what it lacks.
    pub(super) fn finish(self, budget: usize) -> (String, BTreeMap<&'static str, usize>) {
        let Self { items, mut left_out } = self;
        let count = |rank: Rank| items.iter().filter(|item| item.rank == rank).count();
        let mut room = budget.saturating_sub(count(Rank::Must));
        let mut kept: Vec<Item> = Vec::new();
        let shares = [Rank::Must, Rank::Near, Rank::Far].map(|rank| {
            let all = count(rank);
            let share = if rank == Rank::Must { all } else { all.min(room) };
            room -= if rank == Rank::Must { 0 } else { share };
            (all, share)
        });
        let mut seen = [0_usize; 3];
        for item in items {
            let rank = item.rank as usize;
            let (Some((all, share)), Some(seen)) = (shares.get(rank), seen.get_mut(rank)) else {
                continue;
            };
            let keep = *seen * share / all != (*seen + 1) * share / all;
            *seen += 1;
            if keep {
                kept.push(item);
            } else {
                *left_out.entry(item.kind).or_default() += 1;
            }
        }
        kept.sort_by_key(|item| item.layer);
        let lines: Vec<String> = kept.into_iter().map(|item| item.svg).collect();
        left_out.retain(|_, many| *many > 0);
        (lines.join("\n"), left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least important goes first, evenly; what must be there stays; layers lie as they should; the rest is counted.
    #[test]
    fn a_budget_is_kept() {
        let mut canvas = Canvas::default();
        for at in 0..100 {
            let tick = |class: &str| Element::new("i").num("x", f64::from(at)).class(class);
            canvas.add_some((Layer::Mark, Rank::Far), "ticks", tick("far"));
            canvas.add_some((Layer::Mark, Rank::Near), "arrows", tick("near"));
            canvas.add(Layer::Ground, tick("must"));
        }
        canvas.leave_out("dots", 3);
        canvas.leave_out("none", 0);
        let (svg, left_out) = canvas.finish(210);
        let count = |class: &str| svg.matches(class).count();
        assert_eq!((count("must"), count("near"), count("far")), (100, 100, 10));
        assert_eq!(left_out, [("dots", 3), ("ticks", 90)].into());
        let first = svg.find("near").expect("it is there");
        assert!(svg.rfind("must").is_some_and(|last| last < first), "the ground lies behind");
        let halves = svg.split_once("x=\"50\" class=\"near\"").expect("it is there");
        assert_eq!(halves.0.matches("far").count(), 5, "evenly");
    }
}
