//! Many runs, each in a process of its own, so that none sees anything of another; several at once. A plan goes in by standard
//! input, an outcome comes back as a line of JSON.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};

use crate::plan::Plan;

use super::outcome::{CRASHED, Outcome};

/// How runs are run.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// How many at once; 0 counts as 1.
    pub jobs: usize,
    /// The planted bug, by name.
    pub planted: Option<String>,
    /// Set in the processes' environment, and by no means to be seen in a run.
    pub surroundings: Vec<(String, String)>,
}

/// Runs plans in their order; `each` sees each with its outcome and ends the sweep by answering false.
///
/// # Errors
/// The own program can't be started again.
pub fn sweep(
    plans: impl IntoIterator<Item = Plan>,
    setting: &Setting,
    each: impl FnMut(&Plan, Outcome) -> bool,
) -> Result<(), String> {
    run_all(plans, setting, each).map_err(|error| cannot_start(&error))
}

fn cannot_start(error: &io::Error) -> String {
    format!("a run can't be started: {error}")
}

fn run_all(
    plans: impl IntoIterator<Item = Plan>,
    setting: &Setting,
    mut each: impl FnMut(&Plan, Outcome) -> bool,
) -> io::Result<()> {
    let mut plans = plans.into_iter();
    let mut running: VecDeque<(Plan, Child)> = VecDeque::new();
    let mut going_on = true;
    while going_on {
        while running.len() < setting.jobs.max(1) {
            let Some(plan) = plans.next() else { break };
            let child = start(&plan, setting, true)?;
            running.push_back((plan, child));
        }
        let Some((plan, child)) = running.pop_front() else { break };
        going_on = each(&plan, wait(&plan, child)?);
    }
    for (_, mut child) in running {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

/// Runs one plan.
///
/// # Errors
/// As `sweep`.
pub fn one(plan: &Plan, setting: &Setting) -> Result<Outcome, String> {
    let run = || wait(plan, start(plan, setting, true)?);
    run().map_err(|error| cannot_start(&error))
}

/// All that the run of a plan prints: its events and its verdict.
///
/// # Errors
/// As `sweep`.
pub fn events(plan: &Plan, setting: &Setting) -> Result<String, String> {
    let run = || start(plan, setting, false)?.wait_with_output();
    let ended = run().map_err(|error| cannot_start(&error))?;
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

fn start(plan: &Plan, setting: &Setting, json: bool) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["replay", "-"]).args(json.then_some("--json"));
    command.args(setting.planted.iter().flat_map(|name| ["--planted", name.as_str()]));
    command.envs(setting.surroundings.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(stdin) = &mut child.stdin {
        stdin.write_all(plan.to_text().as_bytes())?;
    }
    drop(child.stdin.take());
    Ok(child)
}

fn wait(plan: &Plan, mut child: Child) -> io::Result<Outcome> {
    let mut text = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut text)?;
    }
    let status = child.wait()?;
    Ok(serde_json::from_str(text.trim()).unwrap_or_else(|_| {
        let what = format!("the run ended with {status} and without a verdict");
        Outcome::without_verdict(&plan.head.scenario, plan.head.seed, CRASHED, what)
    }))
}
