//! The tool as a person uses it: plans are kept, replayed, cut down and drawn; runs are the same twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use steadfast_sim::plan::{Class, Plan};
use steadfast_sim::scenario;

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

fn tool(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast-sim"));
    command.args(arguments).output().expect("the simulator starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A plan that must fail: it says that clocks are kept in time, and all of them are a second ahead.
fn wrong_plan() -> Plan {
    let swarm = scenario::named("swarm").expect("it is there");
    let mut plans = (0..).map(|seed| swarm.plan(seed));
    let usable = |plan: &Plan| {
        plan.head.class == Class::BoundedClocks && plan.nodes() == 3 && plan.faults.len() > 5
    };
    let mut plan = plans.find(usable).expect("most are");
    plan.head.clocks.iter_mut().for_each(|clock| clock.skew_ms = 1000);
    plan
}

/// Minimizing keeps the check that failed and takes away what has nothing to do with it; what is left fails when it is replayed, and
/// can be drawn.
#[test]
fn a_failure_is_cut_down_and_drawn() {
    let folder = folder("cut-down");
    let path = |name: &str| folder.join(name).display().to_string();
    let (wrong, small, page) = (path("wrong.plan"), path("small.plan"), path("run.html"));
    fs::write(&wrong, wrong_plan().to_text()).expect("it can be written");
    let cut = tool(&["minimize", &wrong, "--out", &small, "--patience", "8"]);
    assert_eq!(cut.status.code(), Some(1), "{}", text(&cut));
    let plan = Plan::read(Path::new(&small)).expect("it is a plan");
    assert!(plan.faults.is_empty(), "no fault has to do with it: {:?}", plan.faults);
    let again = tool(&["replay", &small, "--quiet"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again).contains("VIOLATED log-time"), "{}", text(&again));
    let drawn = tool(&["view", &small, "--out", &page]);
    assert_eq!(drawn.status.code(), Some(1), "{}", text(&drawn));
    let page = fs::read_to_string(page).expect("it is written");
    assert!(page.contains("log-time") && page.contains(&small), "the page says what and how");
}

/// Runs in other surroundings are the same, event by event.
#[test]
fn twins_are_equal() {
    let twins = tool(&["diff", "--seeds", "2000..2003"]);
    assert_eq!(twins.status.code(), Some(0), "{}", text(&twins));
    assert!(text(&twins).contains("3 seeds run twice, 0 pairs differ"), "{}", text(&twins));
}

/// The plan of a seed, replayed from a file, is the run of the seed.
#[test]
fn a_plan_is_its_seed() {
    let calm = scenario::named("calm").expect("it is there");
    let file = folder("plans").join("calm-3.plan");
    fs::write(&file, calm.plan(3).to_text()).expect("it can be written");
    let replayed = tool(&["replay", &file.display().to_string(), "--quiet"]);
    let run = tool(&["run", "--scenario", "calm", "--seed", "3", "--quiet"]);
    assert_eq!(text(&replayed), text(&run));
    assert!(text(&run).contains("\ntrace "), "{}", text(&run));
}

/// What can't be read is named, and nothing is run.
#[test]
fn wrong_input_is_refused() {
    let file = folder("wrong").join("broken.plan");
    fs::write(&file, "{\"plan\":1}\n").expect("it can be written");
    let broken = file.display().to_string();
    for arguments in [
        &["replay", broken.as_str()][..],
        &["replay", "nowhere.plan"],
        &["run", "--scenario", "nothing", "--seed", "1"],
        &["run", "--seed", "1", "--planted", "nothing"],
    ] {
        let refused = tool(arguments);
        assert_eq!(refused.status.code(), Some(4), "{arguments:?}");
        assert!(!refused.stderr.is_empty() && refused.stdout.is_empty(), "{arguments:?}");
    }
}
