//! A handful of seeds under plain `cargo test`; `steadfast-sim run --seeds` runs as many as one likes.

use std::process::Command;

use steadfast_sim::canary::Planted;
use steadfast_sim::scenario;
use steadfast_sim::world::{Report, simulate};

/// A seed of a scenario, in a thread of its own: nothing of one run can be seen by the next.
fn run_of(scenario: &str, seed: u64, planted: Option<Planted>) -> Report {
    let scenario = scenario::named(scenario).expect("it is there");
    let run = move || simulate(&scenario.plan(seed), planted);
    std::thread::spawn(run).join().expect("a run does not panic")
}

fn run(seed: u64, planted: Option<Planted>) -> Report {
    run_of("swarm", seed, planted)
}

fn clean(seed: u64) -> u128 {
    let report = run(seed, None);
    assert!(report.violations.is_empty(), "seed {seed}: {:?}", report.violations);
    assert!(report.counts[0] >= 1000, "seed {seed}: the clients did not do their work");
    report.hash
}

/// All promises hold.
#[test]
fn a_handful_of_seeds() {
    (1000..1012).for_each(|seed| assert_ne!(clean(seed), 0));
}

/// A process whose disk fails says so when it ends, also when a request comes at that moment and finds nobody to take it (seed 0 was
/// told that a thread had ended unexpectedly).
#[test]
fn ends_say_why() {
    for seed in 0..3 {
        let report = run_of("fsyncgate", seed, None);
        assert!(report.violations.is_empty(), "seed {seed}: {:?}", report.violations);
    }
}

/// The same seed gives the same trace in another process, byte for byte, and another seed another one.
#[test]
fn runs_repeat() {
    let trace = |seed: u64| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast-sim"));
        let ran = command.args(["run", "--seed", &seed.to_string()]).output();
        let ran = ran.expect("the simulator starts");
        assert!(ran.status.success(), "seed {seed}");
        ran.stdout
    };
    let traces: Vec<Vec<u8>> = (1..6).map(trace).collect();
    assert!(traces.iter().all(|trace| trace.len() > 10_000), "a trace tells what happened");
    assert!((1..6).map(trace).eq(traces.iter().cloned()));
    assert!(traces.windows(2).all(|pair| pair[0] != pair[1]));
}

/// A range without a seed, and what is no range, are refused with exit code 4.
#[test]
fn an_empty_range_is_refused() {
    for seeds in ["5..5", "7..3", "x"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast-sim"));
        let ran = command.args(["run", "--seeds", seeds]).output().expect("the simulator starts");
        assert_eq!((ran.status.code(), ran.stderr.is_empty()), (Some(4), false), "{seeds}");
    }
}

/// The task of a connection that panics fails its seed.
#[test]
fn a_panicking_task_fails_its_seed() {
    let report = run(3, Some(Planted::TaskPanics));
    assert!(report.violations.iter().any(|violation| violation.check == "no-panic"));
}
