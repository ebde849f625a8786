//! The simulator on the command line. Without arguments: a minute of new seeds of the swarm.
#![allow(clippy::print_stderr)] // a tool on the command line

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use steadfast_sim::plan::Plan;
use steadfast_sim::ports::heap::Tagged;
use steadfast_sim::tool::marks::{self, Source};
use steadfast_sim::tool::replay::{self, Show};
use steadfast_sim::tool::run::{self, Sweep};
use steadfast_sim::tool::runs::{Runs, Seeds, scenario_named, scenarios_named};
use steadfast_sim::tool::sweep::Setting;
use steadfast_sim::tool::{Exit, diff, minimize, planted, range, replay_command};
use steadfast_sim::view;

/// A run allocates much and in one thread; mimalloc took a tenth off it. No run depends on where its memory lies, and how much of it a
/// node holds is counted.
#[global_allocator]
static ALLOCATOR: Tagged<mimalloc::MiMalloc> = Tagged(mimalloc::MiMalloc);

/// Breaks a Steadfast cluster in simulation and holds it to its promises.
#[derive(Debug, Parser)]
#[command(name = "steadfast-sim", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run seeds: one with its events on standard output, or many.
    Run {
        #[command(flatten)]
        run: RunArgs,
    },
    /// Run a plan from a file (`-`: standard input).
    Replay {
        /// The file.
        plan: PathBuf,
        /// The outcome, as a line of JSON.
        #[arg(long)]
        json: bool,
        /// Do not print the events.
        #[arg(long)]
        quiet: bool,
        /// Plant this bug (`canary list`).
        #[arg(long)]
        planted: Option<String>,
    },
    /// Cut a failing plan down to few faults and little work.
    Minimize {
        #[command(flatten)]
        which: Which,
        /// Where to put the smaller plan.
        #[arg(long, short, default_value = "min.plan")]
        out: PathBuf,
        /// How long to try, in seconds.
        #[arg(long, default_value_t = 60)]
        patience: u64,
        /// Runs at once.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// Draw a run: one page of HTML that shows what broke and why.
    View {
        #[command(flatten)]
        which: Which,
        /// Where to put the page.
        #[arg(long, short, default_value = "run.html")]
        out: PathBuf,
    },
    /// Planted bugs: does the simulator find them?
    Canary {
        #[command(subcommand)]
        action: CanaryAction,
    },
    /// Which marks of the product seeds reach, and which none does.
    Marks {
        #[command(flatten)]
        runs: RunsArgs,
        /// Outcomes that were written by `run --json`, instead of seeds.
        #[arg(long, conflicts_with_all = ["scenario", "seeds", "seconds"])]
        file: Option<PathBuf>,
    },
    /// Run each seed twice, in other surroundings, and show where two runs part.
    Diff {
        /// The scenario.
        #[arg(long, default_value = "swarm")]
        scenario: String,
        /// A range of seeds, such as 0..100.
        #[arg(long, default_value = "0..50")]
        seeds: String,
        /// Runs at once.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
}

/// Many runs.
#[derive(Debug, Args)]
struct RunsArgs {
    /// The scenario, or several with commas between them; `designed`: all that are made for one thing.
    #[arg(long, default_value = "swarm")]
    scenario: String,
    /// A range of seeds, such as 0..1000. Without: new seeds, for a minute.
    #[arg(long, conflicts_with = "seconds")]
    seeds: Option<String>,
    /// How long to run new seeds, in seconds.
    #[arg(long = "for", default_value_t = 60)]
    seconds: u64,
    /// Runs at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

impl RunsArgs {
    fn runs(&self) -> Result<Runs, String> {
        let new = || Seeds::For(Duration::from_secs(self.seconds));
        let seeds =
            self.seeds.as_deref().map(|seeds| range(seeds).map(Seeds::Range)).transpose()?;
        let scenarios = scenarios_named(&self.scenario)?;
        Ok(Runs { scenarios, seeds: seeds.unwrap_or_else(new) })
    }
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    runs: RunsArgs,
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Do not print the events of one seed.
    #[arg(long)]
    quiet: bool,
    /// Outcomes as lines of JSON.
    #[arg(long)]
    json: bool,
    /// Plant this bug (`canary list`).
    #[arg(long)]
    planted: Option<String>,
    /// Put the plans of failures into this folder.
    #[arg(long)]
    plans: Option<PathBuf>,
    /// End at the first failure.
    #[arg(long)]
    until_failure: bool,
}

/// One plan: from a file, or of a seed.
#[derive(Debug, Args)]
struct Which {
    /// The plan's file (`-`: standard input).
    #[arg(required_unless_present = "seed", conflicts_with = "seed")]
    plan: Option<PathBuf>,
    /// The scenario of the seed.
    #[arg(long, default_value = "swarm")]
    scenario: String,
    /// The seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Plant this bug (`canary list`).
    #[arg(long)]
    planted: Option<String>,
}

impl Which {
    fn plan(&self) -> Result<Plan, String> {
        match (&self.plan, self.seed) {
            (Some(path), _) => replay::read(path),
            (None, seed) => Ok(scenario_named(&self.scenario)?.plan(seed.unwrap_or_default())),
        }
    }
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
    let exit = match CommandLine::parse().command.unwrap_or_else(run_new_seeds) {
        Action::Run { run } => run_seeds(run),
        Action::Replay { plan, json, quiet, planted } => {
            let show = show(json, quiet);
            replay::read(&plan).and_then(|plan| replay::replay(&plan, planted.as_deref(), show))
        }
        Action::Minimize { which, out, patience, jobs } => shrink(&which, &out, patience, jobs),
        Action::View { which, out } => draw(&which, &out),
        Action::Canary { action: CanaryAction::List } => Ok(planted::list()),
        Action::Canary { action: CanaryAction::Run { name, jobs, .. } } => {
            planted::find(name.as_deref(), jobs)
        }
        Action::Marks { file: Some(file), .. } => marks::marks(&Source::File(file)),
        Action::Marks { runs, .. } => {
            runs.runs().and_then(|of| marks::marks(&Source::Runs(of, runs.jobs)))
        }
        Action::Diff { scenario, seeds, jobs } => scenario_named(&scenario)
            .and_then(|scenario| diff::twins(scenario, range(&seeds)?, jobs)),
    };
    let exit = exit.unwrap_or_else(|text| {
        eprintln!("{text}");
        Exit::Impossible
    });
    exit.into()
}

/// What no command at all means: `run`, with all its defaults.
fn run_new_seeds() -> Action {
    let run = CommandLine::parse_from(["steadfast-sim", "run"]);
    run.command.expect("the command was just given")
}

fn show(json: bool, quiet: bool) -> Show {
    match (json, quiet) {
        (true, _) => Show::Json,
        (false, true) => Show::Verdict,
        (false, false) => Show::Events,
    }
}

fn run_seeds(args: RunArgs) -> Result<Exit, String> {
    if let Some(seed) = args.seed {
        let plan = scenario_named(&args.runs.scenario)?.plan(seed);
        return replay::replay(&plan, args.planted.as_deref(), show(args.json, args.quiet));
    }
    let runs = args.runs.runs()?;
    let setting = Setting { jobs: args.runs.jobs, planted: args.planted, ..Setting::default() };
    run::run(&Sweep {
        runs,
        setting,
        json: args.json,
        plans: args.plans,
        until_failure: args.until_failure,
    })
}

#[allow(clippy::print_stdout)]
fn draw(which: &Which, out: &Path) -> Result<Exit, String> {
    let (planted, plan) = (which.planted.as_deref(), which.plan()?);
    let (report, _) = replay::timed(&plan, planted)?;
    let file = which.plan.as_ref().map_or_else(|| "PLAN".into(), |path| path.display().to_string());
    let command = replay_command(&plan, planted).replace("PLAN", &file);
    let cannot = |error: std::io::Error| format!("{}: {error}", out.display());
    std::fs::write(out, view::page(&report, &command)).map_err(cannot)?;
    println!("{} shows {plan}", out.display());
    replay::print_violations(&report);
    Ok(replay::verdict(&report))
}

#[allow(clippy::print_stdout)]
fn shrink(which: &Which, out: &Path, patience: u64, jobs: usize) -> Result<Exit, String> {
    let plan = which.plan()?;
    let setting = Setting { jobs, planted: which.planted.clone(), ..Setting::default() };
    let small = minimize::minimize(&plan, &setting, Duration::from_secs(patience))?;
    let cannot = |error: std::io::Error| format!("{}: {error}", out.display());
    std::fs::write(out, small.plan.to_text()).map_err(cannot)?;
    let outcome = &small.outcome;
    println!(
        "{} of {} faults and {} of {} clients are left after {} runs; {} operations",
        small.plan.faults.len(),
        plan.faults.len(),
        small.plan.head.clients,
        plan.head.clients,
        small.runs,
        outcome.operations()
    );
    small.plan.faults.iter().for_each(|planned| println!("  {:4} {planned}", planned.number));
    for found in &outcome.violations {
        println!("VIOLATED {}: {}", found.check, found.text);
    }
    let command = replay_command(&small.plan, which.planted.as_deref());
    println!("{}", command.replace("PLAN", &out.display().to_string()));
    Ok(Exit::Violated)
}
