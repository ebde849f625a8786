//! Every mark stands somewhere in the product, and a run counts those that it comes by.

use std::fs;
use std::path::Path;

use steadfast_core::mark::Mark;
use steadfast_sim::{scenario, world};

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("it is readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("core/src/mark.rs")
        {
            found.push_str(&fs::read_to_string(&path).expect("it is text"));
        }
    }
}

/// A mark without a place in the product could never be reached.
#[test]
fn every_mark_has_a_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = String::new();
    for folder in ["core/src", "replication/src", "server/src"] {
        sources(&root.join(folder), &mut text);
    }
    for mark in Mark::ALL {
        let site = format!("Mark::{}", mark.variant());
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric());
        let found = text.match_indices(&site).any(|(at, _)| ends(&text[at + site.len()..]));
        assert!(found, "{site} stands nowhere");
    }
}

/// A run says which marks it came by, and how often.
#[test]
fn runs_report_their_marks() {
    let swarm = scenario::named("swarm").expect("there is a swarm");
    let mut seeds = (0..10).map(|seed| world::simulate(&swarm.plan(seed), None));
    assert!(seeds.any(|report| report.marks.get("read-retried").is_some_and(|times| *times > 0)));
}
