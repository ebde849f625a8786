//! The axis of time, downwards: knots are the moments at which something worth looking at happens. Between two of them the axis grows with
//! the square root of the time, up to a bound, so that quiet times shrink; a bounded step over a long time is drawn as a break.

use std::collections::BTreeMap;
use std::time::Duration;

/// How a part of the run is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// Pixels of a millisecond; of four, twice as many.
    pub(super) root: f64,
    /// Longest step between two knots.
    pub(super) longest: f64,
}

/// Quiet times from this on are marked where they are cut.
const BREAK: Duration = Duration::from_millis(400);

/// See the file's head.
#[derive(Debug)]
pub(super) struct Axis {
    /// Time in microseconds, and its place; both rise.
    knots: Vec<(u64, f64)>,
    /// Places of breaks: from, to, and the time between.
    pub(super) breaks: Vec<(f64, f64, Duration)>,
}

impl Axis {
    /// `demands` are the knots, each with the room below it that its marks and notes need; `scale` tells how a moment is drawn.
    pub(super) fn new(
        top: f64,
        demands: &BTreeMap<Duration, f64>,
        scale: impl Fn(Duration) -> Scale,
    ) -> Self {
        let mut knots: Vec<(u64, f64)> = vec![(0, top)];
        let mut breaks = Vec::new();
        let (mut last, mut due) = (Duration::ZERO, 0.0);
        for (at, demand) in demands {
            let y = knots.last().map_or(top, |(_, y)| *y);
            let gap = at.saturating_sub(last);
            if gap.is_zero() {
                due = f64::max(due, *demand);
                continue;
            }
            let scale = scale(*at);
            let grown = scale.root * (gap.as_secs_f64() * 1000.0).sqrt();
            let step = grown.min(scale.longest).max(due);
            if grown > scale.longest && gap >= BREAK {
                breaks.push((y, y + step, gap));
            }
            knots.push((at.as_micros() as u64, y + step));
            (last, due) = (*at, *demand);
        }
        Self { knots, breaks }
    }

    /// Where a moment is.
    pub(super) fn y(&self, at: Duration) -> f64 {
        let at = at.as_micros() as u64;
        let next = self.knots.partition_point(|(time, _)| *time < at);
        let Some((time, y)) = self.knots.get(next) else { return self.bottom() };
        let Some((before, above)) = next.checked_sub(1).and_then(|at| self.knots.get(at)) else {
            return *y;
        };
        above + (y - above) * ((at - before) as f64 / (time - before) as f64)
    }

    /// Where the last moment is.
    pub(super) fn bottom(&self) -> f64 {
        self.knots.last().map_or(0.0, |(_, y)| *y)
    }

    /// Moments that can be written beside the axis: those that are wished for, and enough of the others; none too close to another.
    pub(super) fn labels(
        &self,
        wished: &[Duration],
        close: f64,
        apart: f64,
    ) -> Vec<(f64, Duration)> {
        let mut labels: Vec<(f64, Duration)> = Vec::new();
        let mut add = |at: Duration, room: f64| {
            let y = self.y(at);
            let next = labels.partition_point(|(other, _)| *other < y);
            let above = next.checked_sub(1).and_then(|above| labels.get(above));
            let is_free = above.is_none_or(|(above, _)| y - above >= room)
                && labels.get(next).is_none_or(|(below, _)| below - y >= room);
            if is_free {
                labels.insert(next, (y, at));
            }
        };
        wished.iter().for_each(|at| add(*at, close));
        self.knots.iter().for_each(|(time, _)| add(Duration::from_micros(*time), apart));
        labels
    }
}

/// Time as people read it.
pub(super) fn seconds(at: Duration) -> String {
    format!("{}.{:03} s", at.as_secs(), at.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The axis rises with time, gives room that is asked for, and cuts quiet times short.
    #[test]
    fn the_axis_rises_and_compresses() {
        let demands = [(0, 0.0), (1, 50.0), (2, 0.0), (5, 0.0), (60_005, 0.0), (60_009, 0.0)];
        let demands = demands.map(|(at, room)| (ms(at), room)).into();
        let axis = Axis::new(10.0, &demands, |_| Scale { root: 3.0, longest: 40.0 });
        let places: Vec<f64> = (0..60_020).map(|at| axis.y(ms(at))).collect();
        assert!(places.windows(2).all(|pair| pair[0] <= pair[1]), "it never falls");
        assert!((axis.y(ms(0)) - 10.0).abs() < 1e-9);
        assert!((axis.y(ms(2)) - axis.y(ms(1)) - 50.0).abs() < 1e-9, "room was asked for");
        assert!((axis.y(ms(60_005)) - axis.y(ms(5)) - 40.0).abs() < 1e-9, "a minute is cut short");
        assert!(
            (axis.y(ms(60_009)) - axis.y(ms(60_005)) - 6.0).abs() < 1e-9,
            "twice for four times"
        );
        assert_eq!(axis.breaks.len(), 1);
        assert_eq!(axis.breaks[0].2, ms(60_000));
        assert!((axis.y(ms(99_999)) - axis.bottom()).abs() < 1e-9);
    }

    /// Labels keep their distance.
    #[test]
    fn labels_do_not_touch() {
        let demands = (0..100).map(|at| (ms(at * 3), 0.0)).collect();
        let axis = Axis::new(0.0, &demands, |_| Scale { root: 1.0, longest: 9.0 });
        let labels = axis.labels(&[ms(31), ms(32), ms(150)], 5.0, 14.0);
        assert!(labels.len() > 4);
        assert!(labels.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 5.0));
        let has = |at: u64| labels.iter().any(|(_, other)| *other == ms(at));
        assert!(has(31) && !has(32) && has(150), "{labels:?}");
    }
}
