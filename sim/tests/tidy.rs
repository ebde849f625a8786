//! The house rules that a machine can hold: dependency arrows, lengths, file heads, words, names of decision records.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const COLUMNS_MAX: usize = 140;
/// Words that say a thing is not finished, or name a drawer instead of a thing.
const BANNED: [&str; 6] = ["todo!(", "unimplemented!(", "FIXME", "dbg!(", "#[ignore", "HACK"];
const DRAWERS: [&str; 5] = ["util", "utils", "helpers", "common", "manager"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is there")
}

/// All files below the source folders, sorted.
fn files() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("it is a folder") {
            let path = entry.expect("it is readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["core", "replication", "server", "sim", "fuzz", "docs"] {
        walk(&root().join(folder), &mut found);
    }
    found.sort();
    found
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| (path.clone(), fs::read_to_string(path).expect("it is text"))).collect()
}

/// Dependencies point one way: server → replication → core; sim may see all; nothing sees sim or fuzz.
#[test]
fn dependencies_point_one_way() {
    let allowed: [(&str, &[&str]); 6] = [
        ("core", &[]),
        ("core/lua", &["steadfast-core"]),
        ("replication", &["steadfast-core"]),
        ("server", &["steadfast-core", "steadfast-lua", "steadfast-replication"]),
        ("sim", &["steadfast-core", "steadfast-lua", "steadfast-replication", "steadfast-server"]),
        ("fuzz", &["steadfast-core", "steadfast-lua", "steadfast-replication", "steadfast-server"]),
    ];
    for (folder, may) in allowed {
        let manifest =
            fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("it is there");
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let is_own = section == "[dependencies]" && line.starts_with("steadfast-");
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(!is_own || may.contains(&name), "{folder} must not depend on {name}");
        }
    }
}

/// Every source file opens with its contract and stays short enough to read.
#[test]
fn files_open_with_their_contract_and_stay_short() {
    for (path, text) in rust_files() {
        assert!(
            text.starts_with("//!"),
            "{}: the first line says what the file is",
            path.display()
        );
        let lines = text.lines().count();
        assert!(
            lines <= FILE_LINES_MAX,
            "{}: {lines} lines are more than one topic",
            path.display()
        );
        for (at, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            let is_text = line.contains('"'); // texts are not broken for the eye
            assert!(
                is_text || columns <= COLUMNS_MAX,
                "{}:{}: {columns} columns",
                path.display(),
                at + 1
            );
        }
    }
}

/// Nothing is left unfinished, and no file is a drawer.
#[test]
fn nothing_is_left_unfinished() {
    for (path, text) in rust_files() {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(
            !DRAWERS.contains(&stem.as_str()),
            "{}: name the thing, not the drawer",
            path.display()
        );
        if stem == "tidy" {
            continue; // this list itself
        }
        for word in BANNED {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

/// Decision records are named by date, so that parallel work cannot clash.
#[test]
fn decision_records_are_named_by_date() {
    for path in
        files().iter().filter(|path| path.parent().is_some_and(|p| p.ends_with("decisions")))
    {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let date: Vec<bool> =
            name.chars().take(10).map(|c| c.is_ascii_digit() || c == '-').collect();
        let dated = date.len() == 10 && date.iter().all(|ok| *ok);
        assert!(dated && name.as_bytes().ends_with(b".md"), "{name}: YYYY-MM-DD-title.md");
    }
}

/// No planted bug can reach a release: the feature that holds them is never on by default.
#[test]
fn planted_bugs_stay_out_of_releases() {
    for folder in ["core", "core/lua", "replication", "server"] {
        let manifest =
            fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("it is there");
        let on =
            manifest.lines().any(|line| line.starts_with("default") && line.contains("canaries"));
        assert!(!on, "{folder} switches planted bugs on by default");
    }
}
