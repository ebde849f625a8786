//! Planted bugs: each is switched on, and seeds are run until a check that must find it does.

use std::collections::{BTreeMap, BTreeSet};

use super::gates;
use super::outcome::Outcome;
use super::runs::scenario_named;
use super::sweep::{Setting, sweep};
use super::{Exit, planted_named};
use crate::canary::{self, Entry, Judge};

/// What there is to be found.
pub fn list() -> Exit {
    for entry in canary::ALL {
        let found_by = entry.found_by.join(", ");
        let alone = if entry.alone { " alone" } else { "" };
        println!(
            "{:24} {:76} found by {found_by}{alone} ({})",
            entry.name, entry.story, entry.scenario
        );
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
    let mut finders = Finders::default();
    for entry in &entries {
        let found = search(entry, jobs)?;
        let name = entry.name;
        if let Some(Finding { outcome, check }) = found {
            let all = outcome.checks().join(", ");
            println!(
                "{name:24} found by {check:14} at seed {:3} of {} of {} ({all})",
                outcome.seed, entry.budget, entry.scenario
            );
            finders.note(name, &outcome.checks());
        } else {
            missing += 1;
            let Entry { budget, scenario, story, .. } = entry;
            println!("{name:24} NOT FOUND in {budget} seeds of {scenario}: {story}");
        }
    }
    let mut idle = 0;
    if name.is_none() {
        finders.table().iter().for_each(|line| println!("{line}"));
        let unproven = finders.unproven();
        unproven.iter().for_each(|check| println!("{check:24} IS NEEDED BY NO PLANTED BUG"));
        idle = unproven.len();
    }
    println!("{} of {} planted bugs found", entries.len() - missing, entries.len());
    Ok(if missing + idle == 0 { Exit::Clean } else { Exit::NotFound })
}

/// Which planted bugs each check has found, and which it alone. A check that is the only finder of
/// none may have no teeth of its own, unless there is a reason why it never can be.
#[derive(Debug, Default)]
struct Finders {
    found: BTreeMap<String, BTreeSet<&'static str>>,
    alone: BTreeMap<String, BTreeSet<&'static str>>,
}

impl Finders {
    fn note(&mut self, bug: &'static str, checks: &[&str]) {
        for check in checks {
            self.found.entry((*check).to_owned()).or_default().insert(bug);
        }
        if let [only] = checks {
            self.alone.entry((*only).to_owned()).or_default().insert(bug);
        }
    }

    /// One line a check, its columns those of the first: what it alone has found, or why it never can.
    fn table(&self) -> Vec<String> {
        let mut lines =
            vec![format!("{:20} {:>5} {:>5}  alone, or why not", "check", "finds", "alone")];
        for Judge { check, never_alone_because } in canary::JUDGES {
            let found = self.found.get(*check).map_or(0, BTreeSet::len);
            let names: Vec<&str> = self.alone.get(*check).into_iter().flatten().copied().collect();
            let (count, names) = (names.len(), names.join(" "));
            let because = never_alone_because.filter(|_| count == 0).unwrap_or_default();
            lines.push(
                format!("{check:20} {found:5} {count:5}  {names}{because}").trim_end().to_owned(),
            );
        }
        lines
    }

    /// Checks that have found nothing alone, though nothing says why they could not.
    fn unproven(&self) -> Vec<&'static str> {
        let idle = |judge: &&Judge| {
            judge.never_alone_because.is_none() && !self.alone.contains_key(judge.check)
        };
        canary::JUDGES.iter().filter(idle).map(|judge| judge.check).collect()
    }
}

fn search(entry: &Entry, jobs: usize) -> Result<Option<Finding>, String> {
    let scenario = scenario_named(entry.scenario)?;
    let finding = |outcome: Outcome| Finding { check: entry.found_by.join(", "), outcome };
    match entry.found_by {
        [canary::TWINS] => return Ok(gates::twins(entry, scenario)?.map(finding)),
        [canary::COVERAGE] => return Ok(gates::coverage(entry, scenario, jobs)?.map(finding)),
        _ => {}
    }
    let setting = Setting { jobs, planted: Some(entry.name.to_owned()), ..Setting::default() };
    let mut found = None;
    let plans = (0..entry.budget).map(|seed| scenario.plan(seed));
    let swept = sweep(plans, &setting, |_, outcome| {
        let checks = outcome.checks();
        let counts = !entry.alone || checks.len() == 1;
        let by = checks.into_iter().find(|check| counts && entry.found_by.contains(check));
        let check = by.map(str::to_owned);
        found = check.map(|check| Finding { outcome, check });
        found.is_none()
    });
    swept?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who finds what with others is told from who finds it alone.
    #[test]
    fn only_finders_are_named() {
        let mut finders = Finders::default();
        finders.note("first", &["promise", "one-log"]);
        finders.note("second", &["promise"]);
        let line = |check: &str| {
            let table = finders.table();
            let line = table.iter().find(|line| line.split_whitespace().next() == Some(check));
            line.expect("every check has one")
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(line("one-log"), ["one-log", "1", "0"]);
        assert_eq!(line("promise"), ["promise", "2", "1", "second"]);
        assert_eq!(line("watch"), ["watch", "0", "0"], "also that of a check that found nothing");
        assert!(line("oracle-disagreement").len() > 3, "it says why it never comes alone");
    }

    /// A check that found nothing alone is named, unless there is a reason for that.
    #[test]
    fn idle_checks_are_named() {
        let mut finders = Finders::default();
        let before = finders.unproven();
        assert!(before.contains(&"promise") && before.contains(&"one-log"));
        assert!(!before.contains(&"oracle-disagreement"));
        finders.note("first", &["promise", "one-log"]);
        assert_eq!(finders.unproven(), before, "both were there, so neither was needed");
        finders.note("second", &["promise"]);
        assert!(!finders.unproven().contains(&"promise"));
    }
}
