//! What faults under way hold broken. They may overlap: what two of them hold is whole again when the last of them is over.

use std::time::Duration;

use super::World;
use crate::plan::Trouble;
use crate::ports::net::{Delay, Sky, Streams};
use crate::trace::{What, Who};

/// Until when something holds that only the end of the run can end.
const FOR_EVER: Duration = Duration::MAX;

/// What a fault holds broken; nodes by their place in the world, other hosts by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// What one host sends to another is lost.
    Link(String, String),
    /// What two hosts send each other waits.
    Held(String, String),
    /// Messages between two hosts are slow.
    Delay(String, String),
    /// A process stands still.
    Paused(usize),
    /// And so does its machine's time.
    Suspended(usize),
    /// A disk is slow.
    Disk(usize),
    /// A disk is full but for so many bytes.
    Full(usize, u64),
    /// The streams of a node are in trouble.
    Streams(usize, Streams, Trouble),
    /// A wall clock stands still.
    Frozen(usize),
    /// A clock runs at another rate.
    Rate(usize, i64),
}

/// Something that a fault under way holds broken.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    /// The fault's number.
    pub(super) number: u32,
    pub(super) broken: Broken,
    /// The node that it was meant for.
    pub(super) node: usize,
    /// How slow, of a disk or a delay.
    pub(super) ms: u64,
    pub(super) until: Duration,
}

/// Streams that end after some bytes, again and again. A leader over them for ever carries heartbeats and no large value, and nobody
/// can finish who has one to write; no quorum can tell that it should not lead.
fn carries_heartbeats_only(broken: &Broken) -> bool {
    matches!(broken, Broken::Streams(_, _, Trouble::Reset(_)))
}

impl World<'_> {
    /// Starts what has been down long enough, and undoes faults whose time is over.
    pub(super) fn mend(&mut self, now: Duration) {
        self.put_back(now);
        self.start_due(now);
        self.end_faults(|holding| holding.until <= now);
    }

    /// Everything is mended, or a quorum is: the rest stays as it is for ever.
    pub(super) fn heal(&mut self) {
        self.waiting.clear();
        self.backups.clear();
        let abandoned = self.plan.head.abandoned.clone();
        for node in &mut self.nodes {
            let mut platter = node.platter.lock();
            platter.arm(None);
            platter.spare();
            if abandoned.contains(&node.id) {
                node.down_until = node.down_until.map(|_| FOR_EVER);
            } else if node.down_until.is_some() {
                node.down_until = Some(Duration::ZERO);
            }
        }
        let ids: Vec<u64> = self.nodes.iter().map(|node| node.id).collect();
        let is_abandoned = |at: usize| ids.get(at).is_some_and(|id| abandoned.contains(id));
        self.faults.iter_mut().for_each(|holding| {
            let stays = is_abandoned(holding.node) && !carries_heartbeats_only(&holding.broken);
            holding.until = if stays { FOR_EVER } else { Duration::ZERO };
        });
        self.mend(Duration::ZERO);
        let lost = self.lost();
        let what = if lost.is_empty() {
            "everything is healed".to_owned()
        } else {
            format!("everything is healed but for {lost:?}")
        };
        self.note(what);
    }

    fn end_faults(&mut self, is_over: impl Fn(&Holding) -> bool) {
        let (over, rest): (Vec<Holding>, _) =
            std::mem::take(&mut self.faults).into_iter().partition(is_over);
        self.faults = rest;
        let mut last = None;
        for holding in over {
            self.hold(&holding.broken);
            let again = self.faults.iter().any(|other| other.number == holding.number);
            if last != Some(holding.number) && !again {
                self.event(Who::World, What::Fault { number: holding.number, begins: None });
            }
            last = Some(holding.number);
        }
    }

    pub(super) fn start_holding(&mut self, holding: Holding) {
        let broken = holding.broken.clone();
        self.faults.push(holding);
        self.hold(&broken);
    }

    /// Brings something into the state that the faults under way ask for: that of the worst, or whole if there is none.
    fn hold(&mut self, broken: &Broken) {
        let now = self.sim.elapsed();
        let same = self.faults.iter().filter(|holding| holding.broken == *broken);
        let worst = same.map(|holding| holding.ms).max();
        let held = worst.is_some();
        let node = |at: &usize| self.nodes.get(*at);
        match broken {
            Broken::Link(from, to) | Broken::Held(from, to) => self.hold_link(from, to),
            Broken::Delay(one, other) => {
                let ms = worst.unwrap_or(self.plan.head.latency_ms);
                let latency = Duration::from_millis(ms);
                self.sim.set_link_max_message_latency(one.as_str(), other.as_str(), latency);
            }
            Broken::Paused(at) => node(at).into_iter().for_each(|node| node.switch.set(held)),
            Broken::Suspended(at) => {
                node(at).into_iter().for_each(|node| node.clock.suspend(held, now));
            }
            Broken::Frozen(at) => {
                node(at).into_iter().for_each(|node| node.clock.freeze_wall(held, now));
            }
            Broken::Rate(at, _) => {
                let mut rates = self.faults.iter().filter_map(|holding| match holding.broken {
                    Broken::Rate(other, ppm) if other == *at => Some(ppm),
                    _ => None,
                });
                let own = self.plan.head.clocks.get(*at).map_or(0, |clock| clock.drift_ppm);
                let ppm = rates.next_back().unwrap_or(own);
                node(at).into_iter().for_each(|node| node.clock.set_drift(ppm, now));
            }
            Broken::Disk(at) => {
                let takes = Duration::from_millis(worst.unwrap_or(0));
                node(at).into_iter().for_each(|node| node.platter.lock().faults.sync_takes = takes);
            }
            Broken::Full(at, _) => {
                let left = self.faults.iter().filter_map(|holding| match holding.broken {
                    Broken::Full(other, free_bytes) if other == *at => Some(free_bytes),
                    _ => None,
                });
                let free = left.min();
                node(at).into_iter().for_each(|node| node.platter.lock().faults.free_bytes = free);
            }
            Broken::Streams(at, ..) => {
                let sky = self.sky_over(*at);
                node(at).into_iter().for_each(|node| node.weather.set(sky));
            }
        }
    }

    /// All troubles of a node's streams together.
    fn sky_over(&self, at: usize) -> Sky {
        let mut sky = Sky::default();
        let mut first = true;
        for holding in &self.faults {
            let Broken::Streams(other, over, trouble) = holding.broken else { continue };
            if other != at {
                continue;
            }
            // Troubles over different streams meet all of them.
            sky.over = if first || sky.over == over { over } else { Streams::All };
            first = false;
            match trouble {
                Trouble::Split(bytes) => sky.split = Some(bytes),
                Trouble::Glue(ms) => sky.glue = Duration::from_millis(ms),
                Trouble::Rate(bytes) => sky.rate = Some(bytes),
                Trouble::Tail(ms) => sky.delay = Delay::Exponential(Duration::from_millis(ms)),
                Trouble::Bimodal(ms) => sky.delay = Delay::Bimodal(Duration::from_millis(ms)),
                Trouble::Stalled => sky.stalled = true,
                Trouble::Silent => sky.silent = true,
                Trouble::Reset(bytes) => sky.cut_within = Some(bytes),
            }
        }
        sky
    }

    /// Whether anything between two hosts is lost or waits.
    pub(super) fn is_cut(&self, one: &str, other: &str) -> bool {
        self.faults.iter().any(|holding| match &holding.broken {
            Broken::Link(a, b) | Broken::Held(a, b) => {
                [(one, other), (other, one)].contains(&(a.as_str(), b.as_str()))
            }
            _ => false,
        })
    }

    /// A link is cut, each way of its own, or its messages wait both ways, or it is sound. What waited when it is cut comes before the
    /// cut: a network that loses packets may still deliver some.
    fn hold_link(&mut self, one: &str, other: &str) {
        let wanted = |broken: Broken| self.faults.iter().any(|holding| holding.broken == broken);
        let link = |a: &str, b: &str| Broken::Link(a.to_owned(), b.to_owned());
        let lost = [wanted(link(one, other)), wanted(link(other, one))];
        let is_wait = |a: &str, b: &str| wanted(Broken::Held(a.to_owned(), b.to_owned()));
        let waits = lost == [false; 2] && (is_wait(one, other) || is_wait(other, one));
        let pair = (one.min(other).to_owned(), one.max(other).to_owned());
        if waits {
            if self.held.insert(pair) {
                self.sim.hold(one, other);
            }
            return;
        }
        if self.held.remove(&pair) {
            self.sim.release(one, other);
        }
        for ((from, to), lost) in [(one, other), (other, one)].into_iter().zip(lost) {
            if lost {
                self.sim.partition_oneway(from, to);
            } else {
                self.sim.repair_oneway(from, to);
            }
        }
    }

    /// A process that is gone is not paused any more; its next one runs.
    pub(super) fn wake(&mut self, at: usize) {
        self.faults.retain(|holding| {
            holding.broken != Broken::Paused(at) && holding.broken != Broken::Suspended(at)
        });
        self.hold(&Broken::Paused(at));
        self.hold(&Broken::Suspended(at));
    }
}
