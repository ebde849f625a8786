//! A designed plan in the making: settings that bring much about in a short time, and faults one after the other.

use crate::draw::Draws;
use crate::plan::{Fault, Head, Plan, Planned, Target, Ways, When, Whom};
use crate::workload::Kind;

/// When the faults of a designed scenario end: there are few of them, and they come early.
pub(super) const HEAL_MS: u64 = 8_000;
/// When a cluster has formed and leads itself.
pub(crate) const FORMED_MS: u64 = 1_500;

/// See the file's head.
pub(super) struct Sketch {
    pub(super) head: Head,
    pub(super) draws: Draws,
    faults: Vec<Planned>,
}

impl Sketch {
    /// Nothing breaks yet. Files are small, so that they are cut off and snapshots travel.
    pub(super) fn new(seed: u64, name: &str, nodes: u64) -> Self {
        let mut draws = Draws::new(seed, name);
        let mut head = super::head(seed, &mut draws, nodes);
        head.segment_bytes = 4096;
        head.snapshot_log_bytes = 8 * 1024;
        head.heal_ms = HEAL_MS;
        Self { head, draws, faults: Vec::new() }
    }

    /// The clients do this and nothing else.
    pub(super) fn work(&mut self, kinds: &[Kind]) {
        self.head.mix.kinds = kinds.to_vec();
    }

    /// Single values, each command on its own or in short pipelines.
    pub(super) fn registers(&mut self, commands: &[&'static str]) {
        self.work(&[Kind::Registers]);
        self.head.mix.registers = commands.to_vec();
    }

    /// One more fault; answers its number.
    pub(super) fn add(&mut self, when: When, lasts_ms: u64, fault: Fault) -> u32 {
        let number = self.faults.len() as u32 + 1;
        self.faults.push(Planned { number, when, lasts_ms, fault });
        number
    }

    /// One more, so long after another.
    pub(super) fn after(&mut self, fault: u32, ms: u64, lasts_ms: u64, next: Fault) -> u32 {
        self.add(When::After { fault, ms }, lasts_ms, next)
    }

    /// Any of the nodes.
    pub(super) fn node(&mut self) -> u64 {
        self.draws.between(1, self.head.clocks.len() as u64)
    }

    pub(super) fn plan(self) -> Plan {
        Plan { head: self.head, faults: self.faults }
    }
}

/// A node is cut off from its peers.
pub(super) fn cut(node: Target, ways: Ways) -> Fault {
    Fault::Cut { node, ways, from: Whom::Peers, held: false }
}

/// What a node and its peers send each other waits.
pub(super) fn hold(node: Target) -> Fault {
    Fault::Cut { node, ways: Ways::Both, from: Whom::Peers, held: true }
}
