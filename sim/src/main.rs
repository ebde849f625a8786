//! The simulator's command line: `run --seed N` prints one run's trace, `run --seeds A..B` runs many, each in a process of its
//! own. Exit code 0: all promises held; 1: one did not, with the command that shows it again.
#![allow(clippy::print_stdout)] // a tool on the command line

use std::io::{IsTerminal, Write};
use std::process::{Child, Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use steadfast_sim::world::simulate;

#[derive(Debug, Parser)]
#[command(name = "steadfast-sim", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run seeds.
    Run {
        /// One seed, with its trace on standard output.
        #[arg(long, conflicts_with = "seeds")]
        seed: Option<u64>,
        /// A range of seeds, such as 0..1000.
        #[arg(long, default_value = "0..100")]
        seeds: String,
        /// Runs at once.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
}

fn main() -> ExitCode {
    let Action::Run { seed, seeds, jobs } = CommandLine::parse().command;
    if let Some(seed) = seed {
        return run_one(seed);
    }
    let range =
        seeds.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let Some((from, to)) = range else {
        eprintln!("--seeds {seeds}: a range looks like 0..1000");
        return ExitCode::from(4);
    };
    run_many(from, to, jobs.max(1))
}

fn run_one(seed: u64) -> ExitCode {
    let report = simulate(seed);
    print!("{}", report.trace);
    println!("trace {:032x}", report.hash);
    for violation in &report.violations {
        println!("VIOLATED {}: {}", violation.check, violation.text);
    }
    ExitCode::from(u8::from(!report.violations.is_empty()))
}

/// Each seed in a process of its own, so that none sees anything of another.
fn run_many(from: u64, to: u64, jobs: usize) -> ExitCode {
    let own = std::env::current_exe().expect("the running binary has a path");
    let mut running: Vec<(u64, Child)> = Vec::new();
    let (mut next, mut done, mut failed) = (from, 0, Vec::new());
    while next < to || !running.is_empty() {
        while next < to && running.len() < jobs {
            let mut command = Command::new(&own);
            command
                .args(["run", "--seed", &next.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            running.push((next, command.spawn().expect("the own binary runs")));
            next += 1;
        }
        let (seed, mut child) = running.remove(0);
        let status = child.wait().expect("it is our child");
        done += 1;
        if !status.success() {
            failed.push(seed);
        }
        if std::io::stdout().is_terminal() {
            print!("\r{done}/{} seeds, {} failed", to - from, failed.len());
            let _ = std::io::stdout().flush(); // a progress line that can't be shown is no failure
        }
    }
    println!("\r{done} seeds run, {} failed", failed.len());
    for seed in &failed {
        println!(
            "seed {seed} failed; see it with: cargo run --release -p steadfast-sim -- run --seed {seed}"
        );
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}
