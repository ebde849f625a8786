//! Scenarios: each expands a seed into a plan. What is drawn here is drawn before the run begins; the run follows the plan.

use std::collections::BTreeMap;

use crate::draw::Draws;
use crate::plan::{Class, ClockPlan, Head, Plan, VERSION};
use crate::ports::clock::{DRIFT_PPM, SKEW_MS};
use crate::workload::Mix;

mod calm;
mod swarm;

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
        name: "swarm",
        story: "any faults at any time; each seed draws which kinds of faults and of work exist at all",
        plan: swarm::plan,
    },
    Scenario {
        name: "calm",
        story: "nothing breaks: no election after the first, no refusal, no open outcome",
        plan: calm::plan,
    },
];

/// The one of that name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
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
        latency_ms: draws.between(1, 15),
        segment_bytes: if small { 4096 } else { 1 << 20 },
        snapshot_log_bytes: if small { 8 * 1024 } else { 4 << 20 },
        // Sometimes shorter than the faults last, so that requests time out in every state.
        request_timeout_ms: draws.pick(&[800, 1500, 5000]),
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
