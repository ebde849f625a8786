//! Many runs, each in a process of its own, so that none sees anything of another; several at once.

use std::io::{IsTerminal, Read, Write};
use std::process::{Child, Command, Stdio};

use crate::happened::Happened;

/// How one run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The seed.
    pub seed: u64,
    /// The checks that found something, the first first; empty if all promises held.
    pub found: Vec<String>,
    /// How often what happened in it.
    pub happened: Happened,
}

const VIOLATED: &str = "VIOLATED ";
/// What stands for a run that ended without a verdict.
pub const CRASHED: &str = "crashed";

/// Runs the seeds `from..to`, `jobs` at once, in their order; ends early when `each` says so.
///
/// # Errors
/// The own program can't be started again.
pub fn sweep(
    (from, to): (u64, u64),
    jobs: usize,
    planted: Option<&str>,
    mut each: impl FnMut(&Ended) -> bool,
) -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    let mut running: std::collections::VecDeque<(u64, Child)> = std::collections::VecDeque::new();
    let mut next = from;
    let mut going_on = true;
    while going_on && (next < to || !running.is_empty()) {
        while next < to && running.len() < jobs.max(1) {
            let mut command = Command::new(&own);
            command.args(["run", "--quiet", "--seed", &next.to_string()]);
            command.args(planted.iter().flat_map(|name| ["--planted", *name]));
            command.stdout(Stdio::piped()).stderr(Stdio::null());
            running.push_back((next, command.spawn()?));
            next += 1;
        }
        let Some((seed, child)) = running.pop_front() else { break };
        going_on = each(&wait(seed, child)?);
    }
    for (_, mut child) in running {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

fn wait(seed: u64, mut child: Child) -> std::io::Result<Ended> {
    let mut text = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut text)?;
    }
    let status = child.wait()?;
    let checks = text.lines().filter_map(|line| line.strip_prefix(VIOLATED)?.split(':').next());
    let mut found: Vec<String> = checks.map(str::to_owned).collect();
    if !status.success() && found.is_empty() {
        found.push(CRASHED.to_owned());
    }
    let happened = text.lines().find_map(Happened::parse).unwrap_or_default();
    Ok(Ended { seed, found, happened })
}

/// A progress bar on a terminal; nothing elsewhere.
pub struct Progress {
    of: u64,
    done: u64,
    failed: u64,
    since: std::time::Instant,
}

impl Progress {
    /// For so many runs.
    #[allow(clippy::disallowed_methods)] // the person's own time, outside every simulation
    pub fn new(of: u64) -> Self {
        Self { of, done: 0, failed: 0, since: std::time::Instant::now() }
    }

    /// One more.
    pub fn step(&mut self, failed: bool) {
        const WIDTH: u64 = 30;
        self.done += 1;
        self.failed += u64::from(failed);
        let mut out = std::io::stdout();
        if !out.is_terminal() {
            return;
        }
        let full = (self.done * WIDTH / self.of.max(1)) as usize;
        let bar = "#".repeat(full) + &"-".repeat(WIDTH as usize - full);
        let per_minute = self.done as f64 * 60.0 / self.since.elapsed().as_secs_f64().max(0.001);
        // A progress line that can't be shown is no failure.
        let _ = write!(
            out,
            "\r{bar} {}/{} seeds, {per_minute:.0}/min, {} failed ",
            self.done, self.of, self.failed
        );
        let _ = out.flush();
    }

    /// The line is over.
    pub fn end(&self) {
        if std::io::stdout().is_terminal() {
            let _ = std::io::stdout().write_all(b"\r\x1b[K"); // as above
        }
    }
}
