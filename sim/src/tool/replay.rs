//! One plan, run in this process: with its events on standard output, or its outcome as JSON.

use std::io::{self, Read};
use std::path::Path;
use std::process::exit;
use std::time::Duration;

use super::outcome::{Outcome, TIMEOUT};
use super::{Exit, planted_option};
use crate::plan::Plan;
use crate::world::{Report, simulate};

/// A run that takes longer is stuck: a thousand times what one takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Every event, and the verdict.
    Events,
    /// The verdict.
    Verdict,
    /// The outcome, as a line of JSON.
    Json,
}

/// Reads a plan from a file, or from standard input if the name is `-`.
///
/// # Errors
/// It can't be read, or is no plan.
pub fn read(path: &Path) -> Result<Plan, String> {
    let cannot = |error: io::Error| format!("{}: {error}", path.display());
    if path != Path::new("-") {
        return Plan::read(path).map_err(cannot);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(cannot)?;
    Plan::from_text(&text)
}

/// Runs it.
///
/// # Errors
/// The planted bug is not possible.
pub fn replay(plan: &Plan, planted: Option<&str>, show: Show) -> Result<Exit, String> {
    let (report, wall) = timed(plan, planted)?;
    if show == Show::Json {
        let outcome = Outcome::of(&report, wall);
        println!("{}", serde_json::to_string(&outcome).expect("an outcome is plain data"));
    } else {
        if show == Show::Events {
            report.events.iter().for_each(|event| println!("{event}"));
        }
        println!("happened {}", report.happened.readable());
        println!("trace {:032x}", report.hash);
        print_violations(&report);
    }
    Ok(verdict(&report))
}

/// What did not hold, a line each.
pub fn print_violations(report: &Report) {
    for violation in &report.violations {
        println!("VIOLATED {}: {}", violation.check, violation.text);
    }
}

/// How a command ends that ran this.
pub fn verdict(report: &Report) -> Exit {
    if report.violations.is_empty() { Exit::Clean } else { Exit::Violated }
}

/// Runs it in this process; says how long it took. Ends the process if the run does not end.
///
/// # Errors
/// The planted bug is not possible.
#[allow(clippy::disallowed_methods)] // real time, outside the simulation
pub fn timed(plan: &Plan, planted: Option<&str>) -> Result<(Report, Duration), String> {
    let planted = planted_option(planted)?;
    let (scenario, seed) = (plan.head.scenario.clone(), plan.head.seed);
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE);
        let text = format!("the run did not end within {PATIENCE:?}");
        let outcome = Outcome::without_verdict(&scenario, seed, TIMEOUT, text);
        println!("{}", serde_json::to_string(&outcome).expect("an outcome is plain data"));
        exit(i32::from(Exit::Violated as u8));
    });
    let began = std::time::Instant::now();
    let report = simulate(plan, planted);
    Ok((report, began.elapsed()))
}
