//! Sweeps of a scenario over many seeds.

use std::path::PathBuf;

use super::marks::Tally;
use super::outcome::Outcome;
use super::progress::Progress;
use super::runs::Runs;
use super::sweep::{Setting, sweep};
use super::{Exit, planted_option, replay_command};
use crate::happened::Happened;
use crate::plan::Plan;

/// A sweep of so many seeds of the swarm must have met everything that can happen (`happened.rs`).
const LONG_SWEEP_SEEDS: u64 = 200;

/// What a sweep is to do.
#[derive(Debug)]
pub struct Sweep {
    /// What is run.
    pub runs: Runs,
    /// How.
    pub setting: Setting,
    /// Each outcome as a line of JSON on standard output, and nothing else.
    pub json: bool,
    /// Where plans of failures are put.
    pub plans: Option<PathBuf>,
    /// End at the first failure.
    pub until_failure: bool,
}

/// Runs it.
///
/// # Errors
/// The planted bug is not possible, runs can't be started, or plans can't be written.
pub fn run(wanted: &Sweep) -> Result<Exit, String> {
    planted_option(wanted.setting.planted.as_deref())?;
    let (first, plans, patience) = wanted.runs.plans();
    let mut progress = Progress::new(&wanted.runs.name(), wanted.runs.count());
    let mut totals = Totals::default();
    let swept = sweep(plans, &wanted.setting, |plan, outcome| {
        progress.step(&outcome);
        if wanted.json {
            println!("{}", serde_json::to_string(&outcome).expect("an outcome is plain data"));
        }
        totals.add(plan, outcome);
        let is_over = patience.is_some_and(|patience| progress.elapsed() >= patience);
        let has_failed = wanted.until_failure && !totals.failed.is_empty();
        !is_over && !has_failed
    });
    swept?;
    progress.end();
    if let Some(folder) = &wanted.plans {
        totals.keep_plans(folder)?;
    }
    let is_whole = wanted.setting.planted.is_none();
    let missing = if is_whole { totals.missing() } else { Vec::new() };
    if !wanted.json {
        println!("from seed {first}: {}", progress.line());
        totals.print(wanted.setting.planted.as_deref());
        missing.iter().for_each(|text| println!("this sweep proves too little: {text}"));
    }
    let clean = totals.failed.is_empty() && missing.is_empty();
    Ok(if clean { Exit::Clean } else { Exit::Violated })
}

/// What the runs of a sweep came to together.
#[derive(Default)]
pub(super) struct Totals {
    seeds: u64,
    operations: u64,
    least_operations: Option<u64>,
    events: u64,
    happened: Happened,
    marks: Tally,
    failed: Vec<(Plan, Outcome)>,
}

impl Totals {
    /// One more run.
    pub(super) fn add(&mut self, plan: &Plan, outcome: Outcome) {
        self.seeds += 1;
        self.operations += outcome.operations();
        let least = self.least_operations.unwrap_or(u64::MAX).min(outcome.operations());
        self.least_operations = Some(least);
        self.events += outcome.events;
        self.happened.add(&outcome.happened);
        self.marks.add(&outcome);
        if !outcome.is_clean() {
            self.failed.push((plan.clone(), outcome));
        }
    }

    /// What so many seeds should have met and did not.
    pub(super) fn missing(&self) -> Vec<String> {
        let is_long = self.marks.seeds_of_swarm() >= LONG_SWEEP_SEEDS;
        let happened = if is_long { self.happened.missing() } else { Vec::new() };
        let happened = happened.into_iter().map(str::to_owned);
        let vain = self.happened.too_often();
        happened.chain(vain).chain(self.marks.missing_texts()).collect()
    }

    fn print(&self, planted: Option<&str>) {
        println!(
            "{} seeds run, {} failed; {} operations, at least {} in a seed; {} events",
            self.seeds,
            self.failed.len(),
            self.operations,
            self.least_operations.unwrap_or(0),
            self.events
        );
        println!("{}", self.happened.readable());
        for (plan, outcome) in &self.failed {
            println!("{}: {}", outcome.failure(), replay_command(plan, planted));
        }
    }

    fn keep_plans(&self, folder: &std::path::Path) -> Result<(), String> {
        let cannot = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(folder).map_err(cannot)?;
        for (plan, outcome) in &self.failed {
            let name = format!("{}-{}.plan", outcome.scenario, outcome.seed);
            std::fs::write(folder.join(name), plan.to_text()).map_err(cannot)?;
        }
        Ok(())
    }
}
