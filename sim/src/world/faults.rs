//! What breaks, when, for how long, and how it is mended. Faults may overlap: what two of them hold broken is whole again when
//! the last of them is over.

use std::time::Duration;

use crate::draw::Draws;
use crate::happened;

use super::World;

/// How slow a message may be while a network is slow, at the most.
const SLOW_NETWORK_MS_MAX: u64 = 300;
/// How much longer a sync takes on a slow disk, at the most.
const SLOW_DISK_MS_MAX: u64 = 300;
/// Of all stops of one process, those that take the power of its machine along, in percent.
const POWER_PERCENT: u64 = 50;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// One process ends; half of the time its machine loses power.
    Stop,
    /// All machines lose power, those that are down included.
    AllPower,
    /// A node is cut off from its peers.
    Partition,
    /// It hears them and they do not hear it, or the other way round.
    OneWay,
    Pause,
    SlowDisk,
    SlowNetwork,
}

/// Which faults exist in a run.
#[derive(Debug, Clone)]
pub(super) struct Swarm {
    families: Vec<Family>,
    /// Wall clocks are up to an hour off.
    pub(super) wild_clocks: bool,
    /// Time between two faults at the most.
    pub(super) pace_ms: u64,
}

impl Swarm {
    /// One seed in ten breaks nothing. A single node has no peers to be cut off from.
    pub(super) fn draw(draws: &mut Draws, nodes: u64) -> Self {
        const ALL: [(Family, u64, bool); 7] = [
            (Family::Stop, 60, false),
            (Family::AllPower, 40, false),
            (Family::Partition, 60, true),
            (Family::OneWay, 30, true),
            (Family::Pause, 40, false),
            (Family::SlowDisk, 40, false),
            (Family::SlowNetwork, 25, true),
        ];
        let calm = draws.chance(10);
        let mut on = |percent| !calm && draws.chance(percent);
        let wild_clocks = on(25);
        let mut families = Vec::new();
        for (family, percent, needs_peers) in ALL {
            if on(percent) && (nodes > 1 || !needs_peers) {
                families.push(family);
            }
        }
        Self { families, wild_clocks, pace_ms: draws.pick(&[400, 1000, 2500]) }
    }
}

/// What a fault holds broken; nodes by their place in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// What one node sends to another.
    Link(usize, usize),
    /// A process.
    Paused(usize),
    /// A disk.
    Disk(usize),
    /// Both ways between two nodes.
    Delay(usize, usize),
}

/// A fault under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    broken: Broken,
    /// How slow, of a disk or a delay.
    ms: u64,
    until: Duration,
}

impl World<'_> {
    /// Undoes faults whose time is over.
    pub(super) fn mend(&mut self, now: Duration) {
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(at) else { return };
            if node.down_until.is_some_and(|until| until <= now) {
                node.down_until = None;
                self.sim.bounce(node.name.as_str());
                let what = format!("{} starts", node.name);
                self.note(&what);
            }
        }
        let (over, rest): (Vec<Fault>, _) =
            std::mem::take(&mut self.faults).into_iter().partition(|fault| fault.until <= now);
        self.faults = rest;
        for fault in over {
            self.hold(fault.broken);
        }
    }

    pub(super) fn break_something(&mut self, now: Duration) {
        let families = self.swarm.families.clone();
        if families.is_empty() {
            return;
        }
        let until = self.some_time_after(now);
        let victim = self.draws.below(self.nodes.len() as u64) as usize;
        match self.draws.pick(&families) {
            Family::Stop => {
                let power = self.draws.chance(POWER_PERCENT);
                let what = if power { happened::NODE_POWER_CUTS } else { happened::KILLS };
                self.stop(victim, until, power, what);
            }
            Family::AllPower => {
                for at in 0..self.nodes.len() {
                    let until = self.some_time_after(now);
                    self.stop(at, until, true, happened::ALL_POWER_CUTS);
                }
            }
            Family::Partition => self.cut_off(victim, until, &[true, false]),
            Family::OneWay => {
                let outwards = self.draws.chance(50);
                self.cut_off(victim, until, &[outwards]);
            }
            Family::Pause => {
                if self.nodes.get(victim).is_some_and(|node| node.down_until.is_none()) {
                    self.happened.count(happened::PAUSES, 1);
                    self.begin(Fault { broken: Broken::Paused(victim), ms: 0, until });
                }
            }
            Family::SlowDisk => {
                let ms = self.draws.between(1, SLOW_DISK_MS_MAX);
                self.happened.count(happened::SLOW_DISKS, 1);
                self.begin(Fault { broken: Broken::Disk(victim), ms, until });
            }
            Family::SlowNetwork => {
                let ms = self.draws.between(20, SLOW_NETWORK_MS_MAX);
                self.happened.count(happened::SLOW_NETWORKS, 1);
                for other in (0..self.nodes.len()).filter(|other| *other != victim) {
                    let broken = Broken::Delay(victim.min(other), victim.max(other));
                    self.begin(Fault { broken, ms, until });
                }
            }
        }
    }

    fn some_time_after(&mut self, now: Duration) -> Duration {
        now + Duration::from_millis(self.draws.between(50, self.swarm.pace_ms * 8 / 5))
    }

    fn begin(&mut self, fault: Fault) {
        self.faults.push(fault);
        self.hold(fault.broken);
    }

    /// Brings something into the state that the faults under way ask for: that of the worst, or whole if there is none.
    fn hold(&self, broken: Broken) {
        let same = self.faults.iter().filter(|fault| fault.broken == broken);
        let worst = same.map(|fault| fault.ms).max();
        let name = |at: usize| self.nodes.get(at).map_or("", |node| node.name.as_str());
        match broken {
            Broken::Link(from, to) => {
                let (from, to) = (name(from), name(to));
                if worst.is_some() {
                    self.sim.partition_oneway(from, to);
                } else {
                    self.sim.repair_oneway(from, to);
                }
                let now = if worst.is_some() { "nothing reaches" } else { "is heard again by" };
                self.note(&format!("{from} {now} {to}"));
            }
            Broken::Paused(at) => {
                let Some(node) = self.nodes.get(at) else { return };
                node.switch.set(worst.is_some());
                let now = if worst.is_some() { "is paused" } else { "goes on" };
                self.note(&format!("{} {now}", node.name));
            }
            Broken::Disk(at) => {
                let Some(node) = self.nodes.get(at) else { return };
                let takes = Duration::from_millis(worst.unwrap_or(0));
                node.platter.lock().faults.sync_takes = takes;
                self.note(&format!("{}: a sync takes {takes:?} longer", node.name));
            }
            Broken::Delay(one, other) => {
                let (one, other) = (name(one), name(other));
                let latency = Duration::from_millis(worst.unwrap_or(self.latency_ms));
                self.sim.set_link_max_message_latency(one, other, latency);
                self.note(&format!("{one} and {other}: up to {latency:?} a message"));
            }
        }
    }

    /// Ends a process, if it runs; a loss of power also takes what the disk had not synced, whether it runs or not.
    fn stop(&mut self, at: usize, until: Duration, power: bool, counted_as: &str) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let was_up = node.down_until.is_none();
        if !was_up && !power {
            return;
        }
        if was_up {
            if let Some(disk) = node.mounted.borrow_mut().take() {
                disk.kill(); // nothing that the dying tasks drop can reach the disk
            }
            self.sim.crash(node.name.as_str());
            self.faults.retain(|fault| fault.broken != Broken::Paused(at));
            node.switch.set(false);
            // What it promised must be on its disk whatever happens next: the power may go right now.
            let promises = self.promises.lock().expect("no holder panics");
            self.broken.extend(promises.check(node.id, &node.platter).err());
        } else {
            self.happened.count(happened::DOWN_POWER_CUTS, 1);
        }
        self.happened.count(counted_as, 1);
        node.down_until = Some(until);
        let mut what = format!("{} is killed", node.name);
        if power {
            let lost = node.platter.lock().power_cut(&mut self.draws);
            let lossy = lost.sectors + lost.names > 0;
            self.happened.count(happened::POWER_CUTS_LOSSY, u64::from(lossy));
            self.happened.count(happened::SECTORS_LOST, lost.sectors);
            self.happened.count(happened::NAMES_LOST, lost.names);
            let state = if was_up { "" } else { " while it is down" };
            what = format!(
                "{} loses power{state}: sectors_lost {}, names_lost {}",
                node.name, lost.sectors, lost.names
            );
        }
        self.note(&what);
    }

    /// Cuts one node off from its peers: what it sends (true), what it is sent (false), or both.
    fn cut_off(&mut self, victim: usize, until: Duration, outwards: &[bool]) {
        let what = if outwards.len() == 2 { happened::PARTITIONS } else { happened::ONE_WAY };
        self.happened.count(what, 1);
        for other in (0..self.nodes.len()).filter(|other| *other != victim) {
            for outward in outwards {
                let (from, to) = if *outward { (victim, other) } else { (other, victim) };
                self.begin(Fault { broken: Broken::Link(from, to), ms: 0, until });
            }
        }
    }
}
