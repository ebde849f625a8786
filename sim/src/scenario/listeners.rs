//! The faults of the swarm, over clients that publish and listen: nodes end and are cut off with subscribers on them, and snapshots take
//! the place of messages.

use super::swarm;
use crate::plan::Plan;
use crate::workload::Kind;

pub(super) fn plan(seed: u64) -> Plan {
    let mut plan = swarm::plan(seed);
    plan.head.mix.kinds = vec![Kind::Messages, Kind::Messages, Kind::Messages, Kind::Counters];
    plan
}
