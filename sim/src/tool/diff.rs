//! The proof of determinism: each seed runs twice, in processes with other surroundings, and both must give the same events. Where they
//! do not, both run again and the first event that differs is shown with those before it.

use super::outcome::Outcome;
use super::sweep::{Setting, events, one, sweep};
use super::{Exit, progress::Progress};
use crate::scenario::Scenario;

/// Events shown before the first that differs.
const SHOWN: usize = 10;
/// Bytes that make the second process's environment, and with it its stack, another one.
const PADDING: usize = 3000;

/// Runs seeds twice.
///
/// # Errors
/// Runs can't be started.
pub fn twins(
    scenario: &Scenario,
    seeds: std::ops::Range<u64>,
    jobs: usize,
) -> Result<Exit, String> {
    let mut progress = Progress::new("twins", Some(seeds.end - seeds.start));
    let (mut pairs, mut unequal) = (0, Vec::new());
    let setting = Setting { jobs, ..Setting::default() };
    let mut failed = Ok(());
    sweep(seeds.map(|seed| scenario.plan(seed)), &setting, |plan, first| {
        match one(plan, &other_surroundings(plan.head.seed)) {
            Ok(second) => {
                pairs += 1;
                progress.step(&second);
                if differ(&first, &second) {
                    unequal.push(plan.clone());
                }
                true
            }
            Err(error) => {
                failed = Err(error);
                false
            }
        }
    })?;
    failed?;
    progress.end();
    println!("{pairs} seeds run twice, {} pairs differ", unequal.len());
    for plan in &unequal {
        println!("seed {} is not the same twice:", plan.head.seed);
        let other = other_surroundings(plan.head.seed);
        let (one, other) = (events(plan, &Setting::default())?, events(plan, &other)?);
        println!("{}", difference(&one, &other));
    }
    Ok(if unequal.is_empty() { Exit::Clean } else { Exit::Differs })
}

/// Whether two runs of a plan are not the same, or one of them says nothing.
pub(super) fn differ(first: &Outcome, second: &Outcome) -> bool {
    let part = (&first.ladder, &first.trace_hash) != (&second.ladder, &second.trace_hash);
    let verdicts = [first, second].iter().all(|outcome| outcome.has_verdict());
    part || !verdicts || first.violations != second.violations
}

/// Another address layout comes with every process; another environment and another place of the heap's blocks come from here.
pub(super) fn other_surroundings(seed: u64) -> Setting {
    let pad = "x".repeat(PADDING + seed as usize % PADDING);
    let surroundings = vec![
        ("STEADFAST_SIM_PADDING".to_owned(), pad),
        ("MALLOC_PERTURB_".to_owned(), (seed % 255 + 1).to_string()),
        ("TZ".to_owned(), "Pacific/Chatham".to_owned()),
    ];
    Setting { surroundings, ..Setting::default() }
}

/// Where two lists of events part.
pub fn difference(one: &str, other: &str) -> String {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.lines().collect(), other.lines().collect());
    let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    if same == one.len() && same == other.len() {
        return "they are the same this time: what differs comes and goes".to_owned();
    }
    let before = one.get(same.saturating_sub(SHOWN)..same).unwrap_or_default();
    let before: String = before.iter().flat_map(|line| ["    ", line, "\n"]).collect();
    let text = format!("they are the same for {same} events, of which the last are:\n{before}");
    let at = |lines: &[&str]| lines.get(same).copied().unwrap_or("(nothing more)").to_owned();
    text + &format!("  - {}\n  + {}", at(&one), at(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first line that differs is shown, with those before it.
    #[test]
    fn differences_are_shown() {
        let text = difference("a\nb\nc", "a\nb\nd");
        assert!(text.contains("    b\n") && text.ends_with("  - c\n  + d"), "{text}");
        assert!(difference("a", "a\nb").ends_with("  - (nothing more)\n  + b"));
        assert!(difference("a", "a").starts_with("they are the same this time"));
    }
}
