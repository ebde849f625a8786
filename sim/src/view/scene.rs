//! All that the drawing needs to know, found once: who stands where, what happened to whom, and how time runs down the page.

use std::collections::BTreeMap;
use std::time::Duration;

use super::axis::{Axis, Scale};
use super::cone::{self, Cone, Subject};
use super::notes::{self, Note};
use super::roles::{self, Stretch};
use super::spans::{self, Span};
use super::wire::{self, Flight};
use crate::history::Operation;
use crate::trace::{What, Who};
use crate::world::Report;

/// The last time before a failure, in full detail.
const WINDOW: Duration = Duration::from_secs(3);
/// The end of it, in finer detail still.
const CLOSE: Duration = Duration::from_millis(500);
/// Between two knots that a run without a failure has anyway while its clients work.
const STRIDE: Duration = Duration::from_millis(250);
/// This close to a fault's begin or end things are kept when others are thinned out.
const NEAR_FAULT: Duration = Duration::from_millis(250);
/// Room between the upper edge and the first moment.
const TOP: f64 = 16.0;
/// Room for one note.
pub(super) const ROW: f64 = 14.0;
/// Where the first lane's middle is, and how far lanes are apart.
const FIRST: f64 = 214.0;
const NODE_PITCH: f64 = 164.0;
const CLIENT_PITCH: f64 = 36.0;
const NOTES_WIDTH: f64 = 350.0;
/// Width of a node's log column.
pub(super) const LOG_WIDTH: f64 = 64.0;
const LOG_PITCH: f64 = 82.0;

/// See the file's head.
pub(super) struct Scene<'a> {
    pub(super) report: &'a Report,
    pub(super) flights: Vec<Flight<'a>>,
    pub(super) roles: BTreeMap<u64, Vec<Stretch>>,
    pub(super) spans: Vec<Span>,
    pub(super) subject: Option<Subject>,
    pub(super) cone: Cone,
    pub(super) notes: Vec<Note>,
    pub(super) axis: Axis,
    /// Where each node's and each client's lane is.
    pub(super) lanes: BTreeMap<Who, f64>,
    pub(super) notes_x: f64,
    pub(super) logs_x: f64,
    pub(super) width: f64,
    pub(super) end: Duration,
}

impl<'a> Scene<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        let flights = wire::flights(&report.events);
        let roles = roles::roles(report.plan.nodes(), &report.events);
        let spans = spans::spans(&report.plan, &report.events);
        let subject = cone::subject(report);
        let cone = subject
            .as_ref()
            .map_or_else(Cone::default, |subject| cone::cone(report, &flights, subject));
        let (nodes, clients) = (report.plan.nodes(), report.plan.head.clients);
        let mut lanes = BTreeMap::new();
        let mut x = FIRST;
        for id in 1..=nodes {
            lanes.insert(Who::Node(id), x);
            x += NODE_PITCH;
        }
        x -= NODE_PITCH / 2.0 - 14.0;
        for number in 1..=clients {
            lanes.insert(Who::Client(number), x);
            x += CLIENT_PITCH;
        }
        let notes_x = x + 8.0;
        let logs_x = notes_x + NOTES_WIDTH;
        let last = report.events.last().map_or(Duration::ZERO, |event| event.at);
        let end = report.simulated.max(last);
        let mut scene = Self {
            report,
            flights,
            roles,
            spans,
            subject,
            cone,
            notes: Vec::new(),
            axis: Axis::new(TOP, &BTreeMap::new(), |_| Scale { root: 1.0, longest: 1.0 }),
            lanes,
            notes_x,
            logs_x,
            width: logs_x + LOG_PITCH * nodes as f64 + 8.0,
            end,
        };
        scene.notes = notes::notes(&scene);
        scene.axis = scene.axis();
        scene
    }

    fn axis(&self) -> Axis {
        let mut demands: BTreeMap<Duration, f64> = BTreeMap::new();
        for note in &self.notes {
            *demands.entry(note.at).or_default() += ROW;
        }
        for span in &self.spans {
            demands.entry(span.from).or_default();
            demands.extend(span.to.map(|to| (to, 0.0)).filter(|(to, _)| !demands.contains_key(to)));
        }
        for operation in &self.report.operations {
            for at in std::iter::once(operation.invoked).chain(operation.returned) {
                if self.is_in_window(at) {
                    demands.entry(at).or_default();
                }
            }
        }
        if self.subject.is_none() {
            let mut last = Duration::ZERO;
            for at in self.report.operations.iter().map(|operation| operation.invoked) {
                if at >= last + STRIDE {
                    demands.entry(at).or_default();
                    last = at;
                }
            }
        }
        demands.entry(self.end).or_default();
        let (fine, detail) =
            (Scale { root: 2.8, longest: 44.0 }, Scale { root: 0.7, longest: 40.0 });
        let quick = Scale { root: 1.2, longest: 34.0 };
        let whole = Scale { root: 2.2, longest: 96.0 };
        Axis::new(TOP, &demands, |at| match self.subject {
            None => whole,
            Some(_) if self.is_close(at) => fine,
            Some(_) if self.is_in_window(at) => detail,
            Some(_) => quick,
        })
    }

    /// Whether a moment is in the time before the failure that is drawn in full.
    pub(super) fn is_in_window(&self, at: Duration) -> bool {
        let subject = self.subject.as_ref();
        subject.is_some_and(|subject| at <= subject.at && at + WINDOW >= subject.at)
    }

    /// Whether a moment is right before the failure.
    pub(super) fn is_close(&self, at: Duration) -> bool {
        let subject = self.subject.as_ref();
        self.is_in_window(at) && subject.is_some_and(|subject| at + CLOSE >= subject.at)
    }

    /// Whether a moment matters more than most.
    pub(super) fn is_near(&self, at: Duration) -> bool {
        let close = |moment: Duration| at.abs_diff(moment) <= NEAR_FAULT;
        self.is_in_window(at)
            || self.subject.is_none()
                && self.spans.iter().any(|span| close(span.from) || span.to.is_some_and(close))
    }

    /// The class of something that lies outside the cone, if there is a cone.
    pub(super) fn faint(&self, is_in_cone: bool) -> &'static str {
        match (&self.subject, is_in_cone) {
            (None, _) => "",
            (Some(_), true) => " cone",
            (Some(_), false) => " faint",
        }
    }

    pub(super) fn x(&self, who: Who) -> Option<f64> {
        self.lanes.get(&who).copied()
    }

    pub(super) fn y(&self, at: Duration) -> f64 {
        self.axis.y(at)
    }

    /// Height of the drawing, which ends below the last note.
    pub(super) fn height(&self) -> f64 {
        let last = notes::places(self).last().copied().unwrap_or(0.0);
        self.axis.bottom().max(last) + 24.0
    }

    pub(super) fn log_x(&self, node: u64) -> f64 {
        self.logs_x + LOG_PITCH * (node as f64 - 1.0)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.report.plan.nodes()
    }

    /// The operations of a client, with their places.
    pub(super) fn operations(&self, client: u64) -> Vec<(usize, &'a Operation)> {
        let name = format!("c{client}");
        let all = self.report.operations.iter().enumerate();
        all.filter(|(_, operation)| operation.client == name).collect()
    }

    /// Whether the run kept any message of raft.
    pub(super) fn has_messages(&self) -> bool {
        self.report.events.iter().any(|event| matches!(event.what, What::Sent(_)))
    }
}
