//! What the command line does: one file a command, and what they share.
//!
//! Exit codes: 0 all promises held; 1 one did not, or a sweep proves too little; 2 two runs of a seed differ; 3 a planted bug was
//! not found; 4 what was asked for is not possible.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a tool on the command line

use std::process::ExitCode;

use crate::canary::{self, Entry, Planted};
use crate::plan::Plan;
use crate::scenario;

pub mod diff;
mod gates;
pub mod marks;
pub mod minimize;
pub mod outcome;
pub mod planted;
pub mod progress;
pub mod replay;
pub mod run;
pub mod runs;
pub mod sweep;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All promises held.
    Clean = 0,
    /// One did not, or a sweep proves too little.
    Violated = 1,
    /// Two runs of one plan differ.
    Differs = 2,
    /// A planted bug was not found.
    NotFound = 3,
    /// What was asked for makes no sense, or can't be done.
    Impossible = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The planted bug of that name, if this build can hold it.
///
/// # Errors
/// There is none of that name, or the build can't.
pub fn planted_named(name: &str) -> Result<&'static Entry, String> {
    if !canary::are_possible() {
        return Err("this build holds no planted bugs. Build the simulator with them: \
                    cargo run --release -p steadfast-sim --features canaries -- canary run --all"
            .to_owned());
    }
    canary::named(name).ok_or_else(|| format!("no planted bug is called {name}; see: canary list"))
}

/// As `planted_named`, where one may be asked for or not.
///
/// # Errors
/// As there.
pub fn planted_option(name: Option<&str>) -> Result<Option<Planted>, String> {
    name.map(|name| planted_named(name).map(|entry| entry.planted)).transpose()
}

/// A range such as 0..1000 that holds at least one seed.
///
/// # Errors
/// What is wrong with it.
pub fn range(seeds: &str) -> Result<std::ops::Range<u64>, String> {
    let parts: Option<(u64, u64)> =
        seeds.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match parts {
        None => Err(format!("--seeds {seeds}: a range looks like 0..1000")),
        Some((from, to)) if from >= to => Err(format!(
            "--seeds {seeds}: there is no seed in this range; the end is not part of it"
        )),
        Some((from, to)) => Ok(from..to),
    }
}

/// How a person runs this plan again.
pub fn replay_command(plan: &Plan, planted: Option<&str>) -> String {
    let (scenario, seed) = (&plan.head.scenario, plan.head.seed);
    let build = if planted.is_some() { " --features canaries" } else { "" };
    let more = planted.map(|name| format!(" --planted {name}")).unwrap_or_default();
    let from_seed = scenario::named(scenario).is_some_and(|known| known.plan(seed) == *plan);
    let what = if from_seed {
        format!("run --scenario {scenario} --seed {seed}")
    } else {
        "replay PLAN".to_owned()
    };
    format!("cargo run --release -p steadfast-sim{build} -- {what}{more}")
}
