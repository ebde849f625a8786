//! Planted bugs: each is switched on, and seeds are run until a check that must find it does.

use super::outcome::Outcome;
use super::sweep::{Setting, sweep};
use super::{Exit, planted_named, scenario_named};
use crate::canary::{self, Entry};

/// What there is to be found.
pub fn list() -> Exit {
    for entry in canary::ALL {
        println!("{:24} {:76} found by {}", entry.name, entry.story, entry.found_by.join(", "));
    }
    Exit::Clean
}

/// How one was found.
struct Finding {
    outcome: Outcome,
    check: String,
}

/// Plants one, or all one after the other.
///
/// # Errors
/// It is not possible in this build, or runs can't be started.
pub fn find(name: Option<&str>, jobs: usize) -> Result<Exit, String> {
    let entries = match name {
        Some(name) => vec![planted_named(name)?],
        None => canary::ALL.iter().map(|any| planted_named(any.name)).collect::<Result<_, _>>()?,
    };
    let mut missing = 0;
    for entry in &entries {
        let found = search(entry, jobs)?;
        let name = entry.name;
        if let Some(Finding { outcome, check }) = found {
            let all = outcome.checks().join(", ");
            println!(
                "{name:24} found by {check:14} at seed {:3} of {} ({all})",
                outcome.seed, entry.budget
            );
        } else {
            missing += 1;
            println!("{name:24} NOT FOUND in {} seeds: {}", entry.budget, entry.story);
        }
    }
    println!("{} of {} planted bugs found", entries.len() - missing, entries.len());
    Ok(if missing == 0 { Exit::Clean } else { Exit::NotFound })
}

fn search(entry: &Entry, jobs: usize) -> Result<Option<Finding>, String> {
    let scenario = scenario_named(entry.scenario)?;
    let setting = Setting { jobs, planted: Some(entry.name.to_owned()), ..Setting::default() };
    let mut found = None;
    let plans = (0..entry.budget).map(|seed| scenario.plan(seed));
    let swept = sweep(plans, &setting, |_, outcome| {
        let by = outcome.checks().into_iter().find(|check| entry.found_by.contains(check));
        let check = by.map(str::to_owned);
        found = check.map(|check| Finding { outcome, check });
        found.is_none()
    });
    swept.map_err(|error| format!("a run can't be started: {error}"))?;
    Ok(found)
}
