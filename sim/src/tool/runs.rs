//! Which plans a sweep runs: scenarios, and seeds of each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::plan::Plan;
use crate::scenario::{self, Scenario};

/// The word for all scenarios that are made for one thing: all but the first two.
pub const DESIGNED: &str = "designed";

/// Which seeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seeds {
    /// These.
    Range(std::ops::Range<u64>),
    /// New ones, for so long.
    For(Duration),
}

/// Scenarios, and seeds of each.
#[derive(Debug, Clone)]
pub struct Runs {
    /// The scenarios; one at the least.
    pub scenarios: Vec<&'static Scenario>,
    /// The seeds.
    pub seeds: Seeds,
}

impl Runs {
    /// The first seed, the plans, and for how long they are run if not all are.
    pub fn plans(&self) -> (u64, impl Iterator<Item = Plan> + '_, Option<Duration>) {
        let (range, patience) = match &self.seeds {
            Seeds::Range(range) => (range.clone(), None),
            Seeds::For(patience) => (new_seeds(), Some(*patience)),
        };
        let first = range.start;
        let of_seed = |seed| self.scenarios.iter().map(move |scenario| scenario.plan(seed));
        (first, range.flat_map(of_seed), patience)
    }

    /// How many plans there are, if that is known.
    pub fn count(&self) -> Option<u64> {
        match &self.seeds {
            Seeds::Range(range) => Some((range.end - range.start) * self.scenarios.len() as u64),
            Seeds::For(_) => None,
        }
    }

    /// What to call them.
    pub fn name(&self) -> String {
        match &self.scenarios[..] {
            [one] => one.name.to_owned(),
            several => format!("{} scenarios", several.len()),
        }
    }
}

/// Seeds that nobody has run: each sweep without a range breaks new ground.
#[allow(clippy::disallowed_methods)] // the person's own time, outside every simulation
fn new_seeds() -> std::ops::Range<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let first = now.as_millis() as u64;
    first..u64::MAX
}

/// The scenario of that name.
///
/// # Errors
/// There is none.
pub fn scenario_named(name: &str) -> Result<&'static Scenario, String> {
    let names =
        || scenario::ALL.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    scenario::named(name)
        .ok_or_else(|| format!("no scenario is called {name}; there are: {}", names()))
}

/// The scenarios of these names, with commas between them; `designed` stands for all that are made for one thing.
///
/// # Errors
/// There is none of one of the names.
pub fn scenarios_named(names: &str) -> Result<Vec<&'static Scenario>, String> {
    let mut scenarios = Vec::new();
    for name in names.split(',') {
        if name == DESIGNED {
            scenarios.extend(scenario::ALL.iter().filter(|scenario| scenario.is_designed()));
        } else {
            scenarios.push(scenario_named(name)?);
        }
    }
    Ok(scenarios)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, a list of names, and the word for most of them; each seed of each scenario has its plan.
    #[test]
    fn scenarios_are_chosen_by_name() {
        let chosen = |names| scenarios_named(names).map(|all| all.len());
        assert_eq!(chosen("swarm"), Ok(1));
        assert_eq!(chosen("swarm,calm"), Ok(2));
        assert_eq!(chosen("designed"), Ok(scenario::ALL.len() - 2));
        assert_eq!(chosen("calm,designed,swarm"), Ok(scenario::ALL.len()));
        assert!(chosen("swarm,").is_err() && chosen("nothing").is_err());
        let scenarios = scenarios_named("swarm,calm").expect("both are there");
        let runs = Runs { scenarios, seeds: Seeds::Range(3..5) };
        let (first, plans, patience) = runs.plans();
        let plans: Vec<_> = plans.map(|plan| (plan.head.scenario, plan.head.seed)).collect();
        assert_eq!((first, patience, runs.count()), (3, None, Some(4)));
        let expected = [("swarm", 3), ("calm", 3), ("swarm", 4), ("calm", 4)];
        assert_eq!(plans, expected.map(|(name, seed)| (name.to_owned(), seed)));
    }
}
