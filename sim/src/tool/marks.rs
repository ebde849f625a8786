//! How far runs get into the product: for each mark (`steadfast_core::mark`) how many seeds reached it, and which had seeds enough for
//! their rarity and were never reached. From seeds that are run now, or from outcomes that `run --json` wrote.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use steadfast_core::mark::{Mark, Rarity};

use super::outcome::Outcome;
use super::progress::Progress;
use super::runs::Runs;
use super::sweep::{Setting, sweep};
use super::{Exit, replay_command};
use crate::scenario::{self, Scenario};

/// Where outcomes come from.
#[derive(Debug)]
pub enum Source {
    /// From runs that are done now, so many at once.
    Runs(Runs, usize),
    /// From lines of JSON, as `run --json` writes them.
    File(PathBuf),
}

/// What the marks of many runs came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Runs of the swarm.
    swarm: u64,
    /// Runs of scenarios that are made for one thing.
    designed: u64,
    /// By the mark's name: runs that reached it, and how often in all.
    reached: BTreeMap<String, (u64, u64)>,
}

impl Tally {
    /// One more run. One without a verdict says nothing.
    pub fn add(&mut self, outcome: &Outcome) {
        if outcome.events == 0 {
            return;
        }
        let known = scenario::named(&outcome.scenario);
        self.designed += u64::from(known.is_some_and(Scenario::is_designed));
        self.swarm += u64::from(outcome.scenario == scenario::SWARM);
        for (name, times) in &outcome.marks {
            let (seeds, total) = self.reached.entry(name.clone()).or_default();
            *seeds += 1;
            *total += times;
        }
    }

    /// Runs of the swarm.
    pub fn seeds_of_swarm(&self) -> u64 {
        self.swarm
    }

    /// Whether a mark of this rarity had runs enough: two that reach it are expected by then, of those designed many more.
    fn is_due(&self, rarity: Rarity) -> bool {
        match rarity {
            Rarity::Common => self.swarm >= 200,
            Rarity::Rare => self.swarm >= 2000,
            Rarity::VeryRare => self.swarm >= 20_000,
            Rarity::Designed => self.designed >= 200,
        }
    }

    /// Runs that reached a mark, and how often in all.
    fn of(&self, mark: Mark) -> (u64, u64) {
        self.reached.get(mark.name()).copied().unwrap_or_default()
    }

    /// Marks that had seeds enough and were never reached.
    pub fn missing(&self) -> Vec<Mark> {
        let due = |mark: &Mark| self.is_due(mark.rarity());
        Mark::ALL.iter().copied().filter(|mark| due(mark) && self.of(*mark).0 == 0).collect()
    }

    /// What is missing, as sentences.
    pub fn missing_texts(&self) -> Vec<String> {
        let text = |mark: Mark| format!("no seed reached {}: {}", mark.name(), mark.story());
        self.missing().into_iter().map(text).collect()
    }

    /// A line a mark, the rarest first.
    pub fn table(&self) -> String {
        let mut rows: Vec<(Mark, (u64, u64))> =
            Mark::ALL.iter().map(|mark| (*mark, self.of(*mark))).collect();
        rows.sort_by_key(|(mark, (seeds, total))| (*seeds, *total, mark.name()));
        let lines = rows.into_iter().map(|(mark, (seeds, total))| {
            let found = if seeds == 0 { "NEVER".to_owned() } else { format!("{seeds}") };
            let (name, story, rarity) = (mark.name(), mark.story(), mark.rarity());
            format!(
                "{name:27} {found:>6} of {} runs, {total:>7} times, {rarity:?}: {story}\n",
                self.swarm + self.designed
            )
        });
        lines.collect()
    }
}

/// Runs seeds or reads outcomes, and prints the table.
///
/// # Errors
/// Runs can't be started, or the file can't be read.
pub fn marks(source: &Source) -> Result<Exit, String> {
    let mut tally = Tally::default();
    let failed = match source {
        Source::Runs(runs, jobs) => run_now(runs, *jobs, &mut tally)?,
        Source::File(path) => read(path, &mut tally)?,
    };
    print!("{}", tally.table());
    let missing = tally.missing_texts();
    missing.iter().for_each(|text| println!("these seeds prove too little: {text}"));
    failed.iter().for_each(|text| println!("{text}"));
    Ok(if missing.is_empty() && failed.is_empty() { Exit::Clean } else { Exit::Violated })
}

/// Answers a line for each run that failed.
fn run_now(runs: &Runs, jobs: usize, tally: &mut Tally) -> Result<Vec<String>, String> {
    let (_, plans, patience) = runs.plans();
    let mut progress = Progress::new(&runs.name(), runs.count());
    let mut failed = Vec::new();
    let setting = Setting { jobs, ..Setting::default() };
    let swept = sweep(plans, &setting, |plan, outcome| {
        progress.step(&outcome);
        tally.add(&outcome);
        if !outcome.is_clean() {
            failed.push(format!("{}: {}", outcome.failure(), replay_command(plan, None)));
        }
        patience.is_none_or(|patience| progress.elapsed() < patience)
    });
    swept?;
    progress.end();
    Ok(failed)
}

fn read(path: &Path, tally: &mut Tally) -> Result<Vec<String>, String> {
    let cannot = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = std::io::BufReader::new(std::fs::File::open(path).map_err(cannot)?);
    let mut failed = Vec::new();
    for (at, line) in file.lines().enumerate() {
        let line = line.map_err(cannot)?;
        let outcome: Outcome = serde_json::from_str(&line)
            .map_err(|error| format!("{}:{}: no outcome: {error}", path.display(), at + 1))?;
        tally.add(&outcome);
        if !outcome.is_clean() {
            failed.push(outcome.failure());
        }
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(seeds: u64, reached: &[Mark]) -> Tally {
        tally_of("swarm", seeds, reached)
    }

    fn tally_of(scenario: &str, seeds: u64, reached: &[Mark]) -> Tally {
        let marks = reached.iter().map(|mark| (mark.name().to_owned(), 3)).collect();
        let scenario = scenario.to_owned();
        let outcome = Outcome { scenario, events: 1, marks, ..Outcome::default() };
        let mut tally = Tally::default();
        (0..seeds).for_each(|_| tally.add(&outcome));
        tally
    }

    fn those(rarity: Rarity) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| mark.rarity() == rarity).collect()
    }

    /// A mark is missed once there were seeds enough for it, and not before.
    #[test]
    fn a_mark_is_missed_when_its_seeds_are_run() {
        assert_eq!(tally(199, &[]).missing(), []);
        assert_eq!(tally(200, &[]).missing(), those(Rarity::Common));
        assert_eq!(tally(1999, &those(Rarity::Common)).missing(), []);
        assert_eq!(tally(2000, &those(Rarity::Common)).missing(), those(Rarity::Rare));
        let seeds_alone = Mark::ALL.len() - those(Rarity::Designed).len();
        assert_eq!(tally(20_000, &[]).missing().len(), seeds_alone);
        assert_eq!(tally_of("torn-tail", 199, &[]).missing(), []);
        assert_eq!(tally_of("torn-tail", 200, &[]).missing(), those(Rarity::Designed));
        assert_eq!(tally_of("calm", 20_000, &[]).missing(), []);
        let texts = tally(200, &those(Rarity::Common)[1..]).missing_texts();
        assert!(matches!(&texts[..], [only] if only.contains(those(Rarity::Common)[0].name())));
    }

    /// Runs without a verdict count for nothing; what was never reached stands on top, and is said so.
    #[test]
    fn the_table_begins_with_what_was_never_reached() {
        let reached = &Mark::ALL[1..];
        let mut tally = tally(2, reached);
        tally.add(&Outcome::without_verdict("swarm", 7, "crashed", String::new()));
        let table = tally.table();
        assert_eq!(table.lines().count(), Mark::ALL.len());
        let first = table.lines().next().expect("there is a line");
        assert!(first.starts_with(Mark::ALL[0].name()) && first.contains("NEVER of 2 runs"));
        assert_eq!(table.matches("NEVER").count(), 1);
        assert_eq!(table.matches(" 6 times").count(), reached.len());
    }
}
