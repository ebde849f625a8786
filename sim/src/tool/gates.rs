//! Planted bugs that no check of a run can see: what only two runs of a plan show, and what only a whole sweep does.

use super::diff;
use super::outcome::{Found, Outcome};
use super::run::Totals;
use super::sweep::{Setting, one, sweep};
use crate::canary::{COVERAGE, Entry, TWINS};
use crate::scenario::Scenario;

/// The first seed whose two runs differ.
pub(super) fn twins(entry: &Entry, scenario: &Scenario) -> Result<Option<Outcome>, String> {
    let planted = || Some(entry.name.to_owned());
    for seed in 0..entry.budget {
        let plan = scenario.plan(seed);
        let first = one(&plan, &Setting { planted: planted(), ..Setting::default() })?;
        let surroundings = diff::other_surroundings(seed);
        let second = one(&plan, &Setting { planted: planted(), ..surroundings })?;
        if diff::differ(&first, &second) {
            return Ok(Some(found(first, TWINS, "two runs of this seed differ".to_owned())));
        }
    }
    Ok(None)
}

/// A sweep over all seeds of the budget that proves too little, as its last run.
pub(super) fn coverage(
    entry: &Entry,
    scenario: &Scenario,
    jobs: usize,
) -> Result<Option<Outcome>, String> {
    let setting = Setting { jobs, planted: Some(entry.name.to_owned()), ..Setting::default() };
    let mut totals = Totals::default();
    let mut last = Outcome::default();
    sweep((0..entry.budget).map(|seed| scenario.plan(seed)), &setting, |plan, outcome| {
        last = outcome.clone();
        totals.add(plan, outcome);
        true
    })?;
    let missing = totals.missing().into_iter().next();
    Ok(missing.map(|missing| found(last, COVERAGE, missing)))
}

/// What was found stands with what the run itself found.
fn found(mut outcome: Outcome, check: &str, text: String) -> Outcome {
    outcome.violations.push(Found { check: check.to_owned(), text });
    outcome
}
