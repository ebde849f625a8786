//! The simulator's command line. Exit codes: 0 all promises held, 1 one did not or a long sweep proved nothing, 2 the command line
//! makes no sense, 3 a planted bug was not found, 4 the build does not allow what was asked for.
#![allow(clippy::print_stdout)] // a tool on the command line

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use steadfast_sim::canary::{self, Entry};
use steadfast_sim::happened::Happened;
use steadfast_sim::sweep::{Progress, sweep};
use steadfast_sim::world::simulate;

const VIOLATED: u8 = 1;
const SENSELESS: u8 = 2;
const NOT_FOUND: u8 = 3;
const NOT_POSSIBLE: u8 = 4;
/// A sweep of so many seeds must have met everything that can happen (`happened.rs`).
const LONG_SWEEP_SEEDS: u64 = 200;

#[derive(Debug, Parser)]
#[command(name = "steadfast-sim", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run seeds: one with its trace on standard output, or many.
    Run {
        /// One seed.
        #[arg(long, conflicts_with = "seeds")]
        seed: Option<u64>,
        /// A range of seeds, such as 0..1000.
        #[arg(long, default_value = "0..100")]
        seeds: String,
        /// Runs at once.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Do not print the trace.
        #[arg(long)]
        quiet: bool,
        /// Plant this bug (`canary list`).
        #[arg(long)]
        planted: Option<String>,
    },
    /// Planted bugs: does the simulator find them?
    Canary {
        #[command(subcommand)]
        action: CanaryAction,
    },
}

#[derive(Debug, Subcommand)]
enum CanaryAction {
    /// What there is to be found, and by which checks.
    List,
    /// Plant one, or all one after the other, and run seeds until it is found.
    Run {
        /// Its name.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        /// All of them.
        #[arg(long)]
        all: bool,
        /// Runs at once.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
}

fn main() -> ExitCode {
    let code = match CommandLine::parse().command {
        Action::Run { seed: Some(seed), quiet, planted, .. } => run_one(seed, quiet, planted),
        Action::Run { seeds, jobs, planted, .. } => run_many(&seeds, jobs, planted.as_deref()),
        Action::Canary { action: CanaryAction::List } => list(),
        Action::Canary { action: CanaryAction::Run { name, jobs, .. } } => {
            find_planted(name.as_deref(), jobs)
        }
    };
    ExitCode::from(code.unwrap_or_else(|text| {
        eprintln!("{text}");
        NOT_POSSIBLE
    }))
}

/// The planted bug of that name, if this build can hold it.
fn entry(name: &str) -> Result<&'static Entry, String> {
    if !canary::are_possible() {
        return Err("this build holds no planted bugs. Build the simulator with them: \
                    cargo run --release -p steadfast-sim --features canaries -- canary run --all"
            .to_owned());
    }
    canary::named(name).ok_or_else(|| format!("no planted bug is called {name}; see: canary list"))
}

fn run_one(seed: u64, quiet: bool, planted: Option<String>) -> Result<u8, String> {
    let planted = planted.map(|name| entry(&name)).transpose()?.map(|entry| entry.planted);
    let report = simulate(seed, planted);
    if !quiet {
        print!("{}", report.trace);
    }
    println!("{}", report.happened.line());
    println!("trace {:032x}", report.hash);
    for violation in &report.violations {
        println!("VIOLATED {}: {}", violation.check, violation.text);
    }
    Ok(if report.violations.is_empty() { 0 } else { VIOLATED })
}

/// A range such as 0..1000 that holds at least one seed.
fn range(seeds: &str) -> Result<(u64, u64), String> {
    let parts: Option<(u64, u64)> =
        seeds.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match parts {
        None => Err(format!("--seeds {seeds}: a range looks like 0..1000")),
        Some((from, to)) if from >= to => Err(format!(
            "--seeds {seeds}: there is no seed in this range; the end is not part of it"
        )),
        Some(range) => Ok(range),
    }
}

fn run_many(seeds: &str, jobs: usize, planted: Option<&str>) -> Result<u8, String> {
    let (from, to) = match range(seeds) {
        Ok(range) => range,
        Err(text) => {
            eprintln!("{text}");
            return Ok(SENSELESS);
        }
    };
    planted.map(entry).transpose()?;
    let mut progress = Progress::new(to - from);
    let (mut failed, mut happened) = (Vec::new(), Happened::default());
    let swept = sweep((from, to), jobs, planted, |ended| {
        progress.step(!ended.found.is_empty());
        happened.add(&ended.happened);
        if !ended.found.is_empty() {
            failed.push(ended.clone());
        }
        true
    });
    swept.map_err(|error| format!("a run can't be started: {error}"))?;
    progress.end();
    println!("{} seeds run, {} failed", to - from, failed.len());
    println!("{}", happened.readable());
    let build = if planted.is_some() { " --features canaries" } else { "" };
    let more = planted.map(|name| format!(" --planted {name}")).unwrap_or_default();
    for ended in &failed {
        println!(
            "seed {} failed ({}); see it with: cargo run --release -p steadfast-sim{build} -- run --seed {}{more}",
            ended.seed,
            ended.found.join(", "),
            ended.seed
        );
    }
    let is_long = to - from >= LONG_SWEEP_SEEDS && planted.is_none();
    let missing = if is_long { happened.missing() } else { Vec::new() };
    for text in &missing {
        println!("this sweep proves too little: {text}");
    }
    Ok(if failed.is_empty() && missing.is_empty() { 0 } else { VIOLATED })
}

fn list() -> Result<u8, String> {
    for entry in &canary::ALL {
        println!("{:22} {:68} found by {}", entry.name, entry.story, entry.found_by.join(", "));
    }
    Ok(0)
}

fn find_planted(name: Option<&str>, jobs: usize) -> Result<u8, String> {
    let entries = match name {
        Some(name) => vec![entry(name)?],
        None => canary::ALL.iter().map(|any| entry(any.name)).collect::<Result<Vec<_>, _>>()?,
    };
    let mut missing = 0;
    for entry in entries {
        let mut found = None;
        let swept = sweep((0, canary::SEEDS), jobs, Some(entry.name), |ended| {
            let by = ended.found.iter().find(|check| entry.found_by.contains(&check.as_str()));
            found = by.map(|check| (ended.seed, check.clone()));
            found.is_none()
        });
        swept.map_err(|error| format!("a run can't be started: {error}"))?;
        let name = entry.name;
        if let Some((seed, check)) = found {
            println!("{name:22} found by {check:14} at seed {seed:3} of {}", canary::SEEDS);
        } else {
            missing += 1;
            println!("{name:22} NOT FOUND in {} seeds: {}", canary::SEEDS, entry.story);
        }
    }
    Ok(if missing == 0 { 0 } else { NOT_FOUND })
}
