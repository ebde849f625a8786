//! Any faults at any time. Each seed first draws which families of faults exist in it at all: bugs hide where some kind of trouble is
//! missing as much as where it comes (swarm testing, Groce et al. 2012). One seed in ten has none, one in ten exactly one.

use crate::draw::Draws;
use crate::plan::{
    Class, ClockPlan, DiskError, Fault, Files, Plan, Planned, Target, Trouble, Ways, When, Whom,
};
use crate::ports::disk::{Back, IoKind, Moment, Rot};
use crate::ports::net::Streams;

/// How slow a message may be while a network is slow, at the most.
const SLOW_NETWORK_MS_MAX: u64 = 300;
/// How much longer a sync takes on a slow disk, at the most.
const SLOW_DISK_MS_MAX: u64 = 300;
/// How far a wall clock may be off or jump where clocks are wild.
const WILD_MS: u64 = 3_600_000;
/// How many kinds of faults there are in reports (`Fault::family`).
#[cfg(test)]
pub(super) const FAMILIES: usize = 31;

/// A family of faults that a seed may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Stop,
    StopAtIo,
    AllPower,
    Partition,
    OneWay,
    Hold,
    Late,
    Flap,
    CutClients,
    SlowNetwork,
    Pause,
    SlowDisk,
    DiskError,
    DiskFull,
    Spoil,
    Streams,
    Storm,
    ClockJump,
    ClockRate,
    ClockFrozen,
    Suspend,
}

impl Family {
    /// Whether it breaks what clocks that are kept in time promise.
    fn is_wild(self) -> bool {
        matches!(self, Self::ClockJump | Self::ClockRate | Self::ClockFrozen | Self::Suspend)
    }
}

/// Each family, its share of the seeds in percent, whether it needs peers.
const ALL: [(Family, u64, bool); 21] = [
    (Family::Stop, 55, false),
    (Family::StopAtIo, 30, false),
    (Family::AllPower, 35, false),
    (Family::Partition, 50, true),
    (Family::OneWay, 30, true),
    (Family::Hold, 25, true),
    (Family::Late, 25, true),
    (Family::Flap, 20, true),
    (Family::CutClients, 25, false),
    (Family::SlowNetwork, 25, true),
    (Family::Pause, 40, false),
    (Family::SlowDisk, 40, false),
    (Family::DiskError, 25, false),
    (Family::DiskFull, 20, false),
    (Family::Spoil, 20, true),
    (Family::Streams, 40, true),
    (Family::Storm, 15, false),
    // Where clocks are wild:
    (Family::ClockJump, 80, false),
    (Family::ClockRate, 40, false),
    (Family::ClockFrozen, 30, false),
    (Family::Suspend, 30, false),
];

pub(super) fn plan(seed: u64) -> Plan {
    let mut draws = Draws::new(seed, "swarm");
    let nodes = draws.pick(&[1, 3, 3, 3, 3, 3, 3, 3, 5, 1]);
    let mut head = super::head(seed, &mut draws, nodes);
    let wild = draws.chance(25);
    let mut families = families(&mut draws, nodes > 1);
    if wild {
        head.class = Class::WildClocks;
        head.clocks.iter_mut().for_each(|clock| *clock = wild_clock(&mut draws));
    } else {
        families.retain(|family| !family.is_wild());
    }
    if families.contains(&Family::Spoil) {
        head.class = if wild { Class::WildClocks } else { Class::StorageRot };
        head.rotten = minority(&mut draws, nodes);
    } else if nodes > 1 && draws.chance(30) {
        // A quorum must do, with the rest as broken as it is then.
        head.abandoned = minority(&mut draws, nodes);
    }
    let mut swarm = Swarm {
        pace_ms: draws.pick(&[300, 600, 1200, 2500]),
        draws: Draws::new(seed, "faults"),
        nodes,
        rotten: head.rotten.clone(),
        faults: Vec::new(),
    };
    let mut at = swarm.draws.between(500, 2500);
    while at < head.heal_ms && !families.is_empty() {
        swarm.add(&families, at);
        at += swarm.draws.between(100, swarm.pace_ms);
    }
    Plan { head, faults: swarm.faults }
}

fn families(draws: &mut Draws, peers: bool) -> Vec<Family> {
    let possible = || ALL.iter().filter(|(_, _, needs_peers)| peers || !needs_peers);
    match draws.below(10) {
        0 => Vec::new(),
        1 => {
            let possible: Vec<Family> = possible().map(|(family, ..)| *family).collect();
            vec![draws.pick(&possible)]
        }
        _ => possible()
            .filter(|(_, percent, _)| draws.chance(*percent))
            .map(|(family, ..)| *family)
            .collect(),
    }
}

/// Some nodes without which there is a quorum.
fn minority(draws: &mut Draws, nodes: u64) -> Vec<u64> {
    let count = draws.between(1, (nodes - 1) / 2);
    let first = draws.below(nodes);
    let mut minority: Vec<u64> = (0..count).map(|at| (first + at) % nodes + 1).collect();
    minority.sort_unstable();
    minority
}

fn wild_clock(draws: &mut Draws) -> ClockPlan {
    ClockPlan {
        skew_ms: draws.below(2 * WILD_MS) as i64 - WILD_MS as i64,
        ..super::kept_clock(draws)
    }
}

struct Swarm {
    draws: Draws,
    nodes: u64,
    /// Nodes whose disks may rot.
    rotten: Vec<u64>,
    pace_ms: u64,
    faults: Vec<Planned>,
}

impl Swarm {
    fn push(&mut self, when: When, lasts_ms: u64, fault: Fault) {
        let number = self.faults.len() as u32 + 1;
        self.faults.push(Planned { number, when, lasts_ms, fault });
    }

    fn some_time(&mut self) -> u64 {
        self.draws.between(50, self.pace_ms * 8 / 5)
    }

    /// Mostly any node; now and then whoever leads.
    fn target(&mut self) -> Target {
        match self.draws.below(10) {
            0..2 => Target::Leader,
            2 => Target::Follower,
            _ => Target::Node(self.draws.between(1, self.nodes)),
        }
    }

    fn stop(&mut self, node: Target) -> Fault {
        match self.draws.below(4) {
            0..2 => Fault::Kill { node },
            2 => Fault::PowerCut { node, silent: false },
            _ => Fault::PowerCut { node, silent: true },
        }
    }

    /// Whom a partition separates a node from.
    fn whom(&mut self) -> Whom {
        match self.draws.below(10) {
            0..2 => Whom::Node(self.draws.between(1, self.nodes)),
            2..4 => Whom::All,
            _ => Whom::Peers,
        }
    }

    fn add(&mut self, families: &[Family], at: u64) {
        let (node, lasts_ms, when) = (self.target(), self.some_time(), When::At(at));
        match self.draws.pick(families) {
            Family::Stop => {
                let in_order = self.draws.chance(20);
                let fault = if in_order { Fault::End { node } } else { self.stop(node) };
                self.push(when, lasts_ms, fault);
            }
            Family::StopAtIo => self.add_stop_at_io(lasts_ms),
            Family::AllPower => self.push(when, lasts_ms, Fault::PowerCutAll),
            Family::Partition => {
                let from = self.whom();
                self.push(when, lasts_ms, Fault::Cut { node, ways: Ways::Both, from, held: false });
            }
            Family::OneWay => {
                let ways = self.draws.pick(&[Ways::Out, Ways::In]);
                let from = self.whom();
                self.push(when, lasts_ms, Fault::Cut { node, ways, from, held: false });
            }
            Family::Hold => {
                let from = self.whom();
                self.push(when, lasts_ms, Fault::Cut { node, ways: Ways::Both, from, held: true });
            }
            Family::Late => self.add_late_message(),
            Family::Flap => self.add_flapping(node, at),
            Family::CutClients => {
                let ways = self.draws.pick(&[Ways::Both, Ways::Out, Ways::In]);
                let cut = Fault::Cut { node, ways, from: Whom::Clients, held: false };
                self.push(when, lasts_ms, cut);
            }
            Family::SlowNetwork => {
                let ms = self.draws.between(20, SLOW_NETWORK_MS_MAX);
                self.push(when, lasts_ms, Fault::SlowNetwork { node, ms });
            }
            Family::Pause => self.push(when, lasts_ms, Fault::Pause { node }),
            Family::SlowDisk => {
                let ms = self.draws.between(1, SLOW_DISK_MS_MAX);
                self.push(when, lasts_ms, Fault::SlowDisk { node, ms });
            }
            Family::DiskError => {
                let error = self.disk_error();
                self.push(when, 0, Fault::DiskError { node, error });
            }
            Family::DiskFull => {
                let free_bytes = self.draws.pick(&[0, 1000, 20_000]);
                self.push(when, lasts_ms, Fault::DiskFull { node, free_bytes });
            }
            Family::Spoil => self.add_spoil(when, lasts_ms),
            Family::Streams => {
                let over = self.draws.pick(&[Streams::All, Streams::Peers, Streams::Clients]);
                let trouble = self.trouble();
                self.push(when, lasts_ms, Fault::Streams { node, over, trouble });
            }
            Family::Storm => {
                let visitors = self.draws.pick(&[20, 100, 500]);
                self.push(when, lasts_ms, Fault::Storm { node, visitors });
            }
            Family::ClockRate => {
                let ppm = self.draws.below(100_000) as i64 - 50_000;
                self.push(when, lasts_ms, Fault::ClockRate { node, ppm });
            }
            Family::ClockFrozen => self.push(when, lasts_ms, Fault::ClockFrozen { node }),
            Family::Suspend => self.push(when, lasts_ms, Fault::Suspend { node }),
            Family::ClockJump => {
                let most = self.draws.pick(&[10, 1000, WILD_MS]);
                let ms = self.draws.below(2 * most) as i64 - most as i64;
                self.push(when, 0, Fault::ClockJump { node, ms });
            }
        }
    }

    /// A message of some type, and what its sender sends after it, is late by up to several election timeouts.
    fn add_late_message(&mut self) {
        let (kind, most) = self.draws.pick(&[
            ("MsgTimeoutNow", 2),
            ("MsgRequestVote", 4),
            ("MsgRequestVoteResponse", 4),
            ("MsgRequestPreVoteResponse", 6),
            ("MsgSnapshot", 3),
            ("MsgAppend", 200),
            ("MsgAppendResponse", 200),
            ("MsgHeartbeatResponse", 200),
        ]);
        let nth = self.draws.between(1, most);
        let lasts_ms = self.draws.between(100, 5000);
        let (node, ways, from) = (Target::Cause, Ways::Out, Whom::Peers);
        let when = When::Message { kind: kind.to_owned(), nth };
        self.push(when, lasts_ms, Fault::Cut { node, ways, from, held: true });
    }

    /// A stop at some operation of a disk; now and then once more while the node recovers from it.
    fn add_stop_at_io(&mut self, lasts_ms: u64) {
        let node = self.draws.between(1, self.nodes);
        let kinds =
            [None, None, None, Some(IoKind::Sync), Some(IoKind::Rename), Some(IoKind::Create)];
        let kind = self.draws.pick(&kinds);
        let files = self.draws.pick(&[Files::Any, Files::Any, Files::Segments, Files::Snapshots]);
        let rare = kind.is_some_and(|kind| kind != IoKind::Sync) || files == Files::Snapshots;
        let nth = self.draws.between(1, if rare { 6 } else { 300 });
        let moment = self.draws.pick(&[Moment::Before, Moment::During, Moment::After]);
        let fault = self.stop(Target::Cause);
        self.push(When::Io { node, kind, files, nth, moment }, lasts_ms.min(300), fault);
        if self.draws.chance(30) {
            let nth = self.draws.between(1, 25);
            let fault = self.stop(Target::Cause);
            let when = When::Io { node, kind: None, files: Files::Any, nth, moment };
            self.push(when, 100, fault);
        }
    }

    fn disk_error(&mut self) -> DiskError {
        match self.draws.below(8) {
            0..3 => DiskError::Sync,
            3..5 => DiskError::Write(self.draws.below(100)),
            5 => DiskError::Read,
            6 => DiskError::Denied,
            _ => DiskError::TooManyFiles,
        }
    }

    fn trouble(&mut self) -> Trouble {
        match self.draws.below(8) {
            0 => Trouble::Split(self.draws.pick(&[1, 3, 50, 1000])),
            1 => Trouble::Glue(self.draws.between(5, 200)),
            2 => Trouble::Rate(self.draws.pick(&[5_000, 50_000, 500_000])),
            3 => Trouble::Tail(self.draws.between(1, 60)),
            4 => Trouble::Bimodal(self.draws.between(1, 20)),
            5 => Trouble::Stalled,
            6 => Trouble::Silent,
            _ => Trouble::Reset(self.draws.pick(&[100, 1000, 20_000])),
        }
    }

    fn add_spoil(&mut self, when: When, lasts_ms: u64) {
        let fault = self.spoil();
        let node = fault.target().unwrap_or(Target::Leader);
        self.push(when, lasts_ms, fault);
        // Rot is found when it is read, which is when the node starts.
        let ms = self.draws.between(1, 500);
        let soon = When::After { fault: self.faults.len() as u32, ms };
        self.push(soon, 200, Fault::Kill { node });
    }

    /// What lies on a disk rots, or is exchanged. Only nodes that may, have it happen to them.
    fn spoil(&mut self) -> Fault {
        let node = Target::Node(self.draws.pick(&self.rotten));
        match self.draws.below(10) {
            0..2 => Fault::Wipe { node },
            2..4 => Fault::PutBack { node, way: Back::Copied },
            _ => {
                let rot = self.draws.pick(&[Rot::BitFlip, Rot::BadSectors, Rot::ZeroedSector]);
                let files = self.draws.pick(&[Files::Segments, Files::Segments, Files::Snapshots]);
                Fault::Rot { node, rot, files }
            }
        }
    }

    /// Cut off and healed again and again, at about the pace of elections.
    fn add_flapping(&mut self, node: Target, at: u64) {
        let (period, times) = (self.draws.pick(&[150, 300, 500, 1000]), self.draws.between(3, 12));
        let ways = self.draws.pick(&[Ways::Both, Ways::Out, Ways::In]);
        for flap in 0..times {
            let when = When::At(at + flap * period);
            let cut = Fault::Cut { node, ways, from: Whom::Peers, held: false };
            self.push(when, period / 2, cut);
        }
    }
}
