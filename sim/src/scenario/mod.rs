//! Scenarios: each expands a seed into a plan. What is drawn here is drawn before the run begins; the run follows the plan.

use std::collections::BTreeMap;

use crate::draw::Draws;
use crate::plan::{Class, ClockPlan, Head, Plan, SCRUB_PAUSE_MS, VERSION};
use crate::ports::clock::{DRIFT_PPM, SKEW_MS};
use crate::workload::Mix;

mod big_values;
mod calm;
mod clinging_leader;
mod clock_jump;
mod expiry_handover;
mod figure_8;
mod flapping_node;
mod flushed_state;
mod fsyncgate;
mod full_disk;
mod leases;
mod listeners;
mod lock_under_gc;
mod lone_node;
mod members;
mod paused_leader_read;
mod paused_newcomer;
mod power_cut_all;
mod random_writes;
mod sketch;
mod slow_disks;
mod slow_rounds;
mod snapshot_churn;
mod split_votes;
mod spoilt;
mod storms;
mod swarm;
mod torn_snapshot;
mod torn_tail;
mod upgrade_roulette;
mod watched_deadlines;

pub(crate) use sketch::FORMED_MS;

/// The scenario of any faults at any time.
pub const SWARM: &str = "swarm";

/// A scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about, for people.
    pub story: &'static str,
    /// Expands a seed.
    plan: fn(u64) -> Plan,
}

/// All scenarios.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: SWARM,
        story: "any faults at any time; each seed draws which kinds of faults and of work exist at all",
        plan: swarm::plan,
    },
    Scenario {
        name: "calm",
        story: "nothing breaks: no election after the first, no refusal, no open outcome",
        plan: calm::plan,
    },
    Scenario {
        name: "listeners",
        story: "the faults of the swarm, over clients that publish messages and listen to them",
        plan: listeners::plan,
    },
    Scenario {
        name: "power-cut-all",
        story: "all machines lose power at once, again and again",
        plan: power_cut_all::plan,
    },
    Scenario {
        name: "paused-leader-read",
        story: "a leader stands still while another is elected, and then meets the reads that waited for it",
        plan: paused_leader_read::plan,
    },
    Scenario {
        name: "lease-cut-off",
        story: "a leader is cut off while its lease runs, after answers that came late or writes that its own disk took late",
        plan: leases::is_cut_off,
    },
    Scenario {
        name: "transfer-in-lease",
        story: "a leader hands over, its word comes late, and just then it is cut off",
        plan: leases::hands_over,
    },
    Scenario {
        name: "restart-in-lease",
        story: "a voter that has just answered the leader starts again, and is asked for its vote",
        plan: leases::voter_restarts,
    },
    Scenario {
        name: "lease-at-election",
        story: "leaders change over a slow network, and the next one does not know yet what is committed",
        plan: leases::follows_another,
    },
    Scenario {
        name: "upgrade-roulette",
        story: "nodes get the next release and the present one again, and its semantics level begins once all have it",
        plan: upgrade_roulette::plan,
    },
    Scenario {
        name: "figure-8",
        story: "each leader reaches one other node only and ends: figure 8 of the Raft paper",
        plan: figure_8::plan,
    },
    Scenario {
        name: "fsyncgate",
        story: "a sync fails, and then the power goes",
        plan: fsyncgate::plan,
    },
    Scenario {
        name: "torn-tail",
        story: "the power goes while records longer than a sector are written",
        plan: torn_tail::plan,
    },
    Scenario {
        name: "torn-snapshot",
        story: "a process ends while it writes a snapshot",
        plan: torn_snapshot::plan,
    },
    Scenario {
        name: "snapshot-churn",
        story: "snapshots at every turn, and nodes that are away or end meanwhile",
        plan: snapshot_churn::plan,
    },
    Scenario {
        name: "full-disk",
        story: "a leader without space hands over to a peer that does not answer",
        plan: full_disk::plan,
    },
    Scenario {
        name: "storms",
        story: "nothing breaks, and hundreds of clients connect at once, again and again, most of them to no good",
        plan: storms::plan,
    },
    Scenario {
        name: "bit-rot",
        story: "a node's log rots when the two others need it most",
        plan: spoilt::rots,
    },
    Scenario {
        name: "minority-rot",
        story: "logs and snapshots of a minority rot again and again, and are made good by the others, who have troubles of their own",
        plan: spoilt::minority_rots,
    },
    Scenario {
        name: "forgotten-term",
        story: "a node forgets that it has voted a leader out, and hears nobody but that leader",
        plan: spoilt::forgets_a_term,
    },
    Scenario {
        name: "back-in-time",
        story: "a node's volume is rolled back when the two others need it most",
        plan: spoilt::is_rolled_back,
    },
    Scenario {
        name: "found-out",
        story: "a follower's volume is rolled back, and passes for the member's until the leader speaks to it",
        plan: spoilt::is_found_out,
    },
    Scenario {
        name: "rotten-snapshot",
        story: "the snapshot that a follower needs rots on the leader's disk, and nobody writes any more",
        plan: spoilt::snapshot_rots,
    },
    Scenario {
        name: "copied-back",
        story: "a node's directory is replaced by a copy of it when the two others need it most",
        plan: spoilt::is_copied_back,
    },
    Scenario {
        name: "wiped-disk",
        story: "a node's disk is wiped when the two others need it most",
        plan: spoilt::is_wiped,
    },
    Scenario {
        name: "member-carousel",
        story: "nodes join, go and take each other's places, while others end, stand still or are cut off",
        plan: members::carousel,
    },
    Scenario {
        name: "strangers",
        story: "a node is away until the two others have been replaced",
        plan: members::strangers,
    },
    Scenario {
        name: "cut-while-joint",
        story: "a node takes another's place, and just then the leader is heard by the new one only",
        plan: members::cut_while_joint,
    },
    Scenario {
        name: "shrinks",
        story: "of two nodes one goes, and the other ends while it writes down that it is alone",
        plan: members::shrinks,
    },
    Scenario {
        name: "clock-jump",
        story: "wall clocks jump by hours and leaders change; log time does not notice",
        plan: clock_jump::plan,
    },
    Scenario {
        name: "expiry-handover",
        story: "fast and slow clocks, at the limits of what is kept in time, take log time over from each other",
        plan: expiry_handover::plan,
    },
    Scenario {
        name: "lock-under-gc",
        story: "locks on nodes that stand still now and then",
        plan: lock_under_gc::plan,
    },
    Scenario {
        name: "paused-newcomer",
        story: "a node stands still before it has heard anything, and then hears what is old",
        plan: paused_newcomer::plan,
    },
    Scenario {
        name: "clinging-leader",
        story: "a leader reaches one node only, for good, and that node is needed by the others",
        plan: clinging_leader::plan,
    },
    Scenario {
        name: "flapping-node",
        story: "a follower comes and goes; nobody is to be elected for it",
        plan: flapping_node::plan,
    },
    Scenario {
        name: "split-votes",
        story: "several stand for leader in one term, and voters lose power right after their vote",
        plan: split_votes::plan,
    },
    Scenario {
        name: "slow-disks",
        story: "all disks are slower than an election timeout; nobody is to be elected for it",
        plan: slow_disks::plan,
    },
    Scenario {
        name: "slow-rounds",
        story: "read indexes are asked for over a slow network, again and again",
        plan: slow_rounds::plan,
    },
    Scenario {
        name: "big-values",
        story: "values in several parcels, and nodes that end right after a snapshot",
        plan: big_values::plan,
    },
    Scenario {
        name: "watched-deadlines",
        story: "keys end while they are watched; WATCH in one pipeline with what follows",
        plan: watched_deadlines::plan,
    },
    Scenario {
        name: "lone-node",
        story: "a node on its own starts again and again on a slow disk",
        plan: lone_node::plan,
    },
    Scenario {
        name: "flushed-state",
        story: "databases are flushed, and keys change, while snapshots of them are written",
        plan: flushed_state::plan,
    },
    Scenario {
        name: "random-writes",
        story: "scripts write what they draw by chance, and nodes start again",
        plan: random_writes::plan,
    },
];

/// The one of that name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// Whether it is made for one thing: neither the swarm nor calm.
    pub fn is_designed(&self) -> bool {
        ![SWARM, "calm"].contains(&self.name)
    }

    /// The plan of a seed.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut plan = (self.plan)(seed);
        self.name.clone_into(&mut plan.head.scenario);
        plan
    }
}

/// When faults end, unless a scenario says otherwise.
const HEAL_MS: u64 = 12_000;

/// The settings that most scenarios begin with: so many nodes, clocks that are kept in time, all kinds of work.
fn head(seed: u64, draws: &mut Draws, nodes: u64) -> Head {
    let small = draws.chance(85); // big files are never cut off, nor does a snapshot ever travel
    Head {
        plan: VERSION,
        scenario: String::new(),
        seed,
        class: Class::BoundedClocks,
        clocks: (0..nodes).map(|_| kept_clock(draws)).collect(),
        spares: 0,
        latency_ms: draws.between(1, 15),
        segment_bytes: if small { 4096 } else { 1 << 20 },
        snapshot_log_bytes: if small { 8 * 1024 } else { 4 << 20 },
        // Sometimes shorter than the faults last, so that requests time out in every state.
        request_timeout_ms: draws.pick(&[800, 1500, 5000]),
        scrub_pause_ms: SCRUB_PAUSE_MS,
        clients: draws.between(4, 6),
        mix: Mix::draw(draws),
        steps: BTreeMap::new(),
        skipped: BTreeMap::new(),
        heal_ms: HEAL_MS,
        abandoned: Vec::new(),
        rotten: Vec::new(),
    }
}

/// A clock that is kept in time; its rate is always a little off.
fn kept_clock(draws: &mut Draws) -> ClockPlan {
    ClockPlan {
        skew_ms: draws.between(0, 2 * SKEW_MS) as i64 - SKEW_MS as i64,
        drift_ppm: draws.below(2 * DRIFT_PPM) as i64 - DRIFT_PPM as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A seed gives one plan, other seeds give others, and every plan can be written and read.
    #[test]
    fn plans_repeat() {
        for scenario in ALL {
            let plans: Vec<Plan> = (0..40).map(|seed| scenario.plan(seed)).collect();
            for (seed, plan) in (0..).zip(&plans) {
                assert_eq!(scenario.plan(seed), *plan, "{} {seed}", scenario.name);
                assert_eq!(Plan::from_text(&plan.to_text()).as_ref(), Ok(plan));
            }
            assert!(plans.windows(2).all(|pair| pair[0].to_text() != pair[1].to_text()));
        }
    }

    /// The swarm draws every kind of fault, and some seeds without any.
    #[test]
    fn the_swarm_is_wide() {
        let swarm = named("swarm").expect("it is there");
        let plans: Vec<Plan> = (0..300).map(|seed| swarm.plan(seed)).collect();
        let families: BTreeSet<&str> = plans
            .iter()
            .flat_map(|plan| plan.faults.iter().map(|planned| planned.fault.family()))
            .collect();
        assert_eq!(families.len(), swarm::FAMILIES, "{families:?}");
        assert!(plans.iter().any(|plan| plan.faults.is_empty()));
        assert!(plans.iter().any(|plan| !plan.head.abandoned.is_empty()));
    }
}
