//! What is kept of a run: one line of JSON, by which runs in processes of their own report, and which `--json` prints.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::happened::Happened;
use crate::world::Report;

/// Version of this form.
const SCHEMA: u32 = 1;
/// What stands for a run that ended without a verdict.
pub const CRASHED: &str = "crashed";
/// What stands for a run that did not end in time.
pub const TIMEOUT: &str = "timeout";

/// See the file's head.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Version of this form.
    pub schema: u32,
    /// Version of the simulator.
    pub version: String,
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Hash over the plan's text.
    pub plan_hash: String,
    /// Hash over all events.
    pub trace_hash: String,
    /// Its rungs (`trace::RUNG_EVENTS`).
    pub ladder: Vec<String>,
    /// How many events there were.
    pub events: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Real milliseconds.
    pub wall_ms: u64,
    /// Operations answered.
    pub answered: u64,
    /// Operations refused.
    pub refused: u64,
    /// Operations that were left open.
    pub unknown: u64,
    /// How many steps each client took.
    pub steps: BTreeMap<String, u64>,
    /// How often what happened.
    pub happened: Happened,
    /// How often the product came by its marks, by name.
    #[serde(default)]
    pub marks: BTreeMap<String, u64>,
    /// What did not hold.
    pub violations: Vec<Found>,
}

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The check.
    pub check: String,
    /// What it saw.
    pub text: String,
}

impl Outcome {
    /// Of a run that took so long.
    pub fn of(report: &Report, wall: Duration) -> Self {
        let [answered, refused, unknown] = report.counts;
        let found = report.violations.iter();
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: report.plan.head.scenario.clone(),
            seed: report.plan.head.seed,
            plan_hash: hex(xxhash_rust::xxh3::xxh3_128(report.plan.to_text().as_bytes())),
            trace_hash: hex(report.hash),
            ladder: report.ladder.iter().copied().map(hex).collect(),
            events: report.events.len() as u64,
            simulated_ms: report.simulated.as_millis() as u64,
            wall_ms: wall.as_millis() as u64,
            answered,
            refused,
            unknown,
            steps: report.steps.clone(),
            happened: report.happened.clone(),
            marks: report.marks.clone(),
            violations: found
                .map(|violation| Found {
                    check: violation.check.to_owned(),
                    text: violation.text.clone(),
                })
                .collect(),
        }
    }

    /// Of a run that said nothing: it crashed, or took too long.
    pub fn without_verdict(scenario: &str, seed: u64, check: &str, text: String) -> Self {
        let found = Found { check: check.to_owned(), text };
        Self {
            schema: SCHEMA,
            scenario: scenario.to_owned(),
            seed,
            violations: vec![found],
            ..Self::default()
        }
    }

    /// Whether the run came to its end.
    pub fn has_verdict(&self) -> bool {
        !self.trace_hash.is_empty()
    }

    /// Whether all promises held.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Names of the checks that found something, the first first, each once.
    pub fn checks(&self) -> Vec<&str> {
        let mut checks: Vec<&str> = Vec::new();
        for found in &self.violations {
            if !checks.contains(&found.check.as_str()) {
                checks.push(&found.check);
            }
        }
        checks
    }

    /// That it failed, and by which checks, for people.
    pub fn failure(&self) -> String {
        format!("seed {} failed ({})", self.seed, self.checks().join(", "))
    }

    /// Operations in all.
    pub fn operations(&self) -> u64 {
        self.answered + self.refused + self.unknown
    }
}

fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}
