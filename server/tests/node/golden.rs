//! Data directories that releases have written stay readable: `tests/golden/RELEASE` holds that of a node alone, and those of three nodes.
//!
//! Before the first release they are made anew when a format changes, with `UPDATE_GOLDENFILES=1`; those of a release never are: a format
//! that changes afterwards gets a new number, and the old one is still read.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Node, TempDir, free_port, wait_for, words};

/// The release that is being made.
const PRESENT: &str = "0.1";
/// Small files, so that there are several.
const FLAGS: [&str; 2] = ["--segment-bytes", "4096"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// What was written before the snapshot, and after it; then what must be found.
const BEFORE: &[&str] = &[
    "SET kept before",
    "SET replaced before",
    "SET gone before",
    "SET ends before EXAT 4102444800",
    "INCRBY count 40",
    "SET fence token NX PX 4000000000000",
    "EVAL return(redis.call('incr',KEYS[1])) 1 count",
];
const AFTER: &[&str] =
    &["SET replaced after", "DEL gone", "INCR count", "APPEND kept ,after", "MSET one 1 two 2"];
const FOUND: &[(&str, &str)] = &[
    ("GET kept", "before,after"),
    ("GET replaced", "after"),
    ("EXISTS gone", "0"),
    ("EXPIRETIME ends", "4102444800"),
    ("GET count", "42"),
    ("SET fence other NX", "Nil"),
    ("GET fence", "token"),
    ("EVALSHA {sha} 1 count", "43"),
    ("MGET one two", "[1 2]"),
    ("DBSIZE", "7"),
];

/// What a node answers to a line.
fn said(node: &Node, line: &str) -> String {
    let argv: Vec<&str> = line.split(' ').collect();
    words(&node.client().call(&argv).expect("the connection holds"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it is made");
    for file in fs::read_dir(from).expect("it can be listed").flatten() {
        let is_state = !["lock", "spare", "reserve"].iter().any(|name| file.file_name() == *name);
        if is_state {
            fs::copy(file.path(), to.join(file.file_name())).expect("it is copied");
        }
    }
}

/// Three nodes, or one alone, on these directories.
fn start(dirs: &[&Path], more: &[&str]) -> Vec<Node> {
    if let [dir] = dirs {
        return vec![Node::start(dir, &[&FLAGS[..], more].concat())];
    }
    let members: Vec<String> =
        (1..=3).map(|id| format!("{id}=127.0.0.1:{}", free_port())).collect();
    let members = members.join(",");
    let node = |(at, dir): (usize, &&Path)| {
        let id = (at + 1).to_string();
        let own = ["--node-id", &id, "--cluster", &members];
        Node::start(dir, &[&FLAGS[..], &own, more].concat())
    };
    dirs.iter().enumerate().map(node).collect()
}

/// Whether it has applied all that the others have.
fn settle(nodes: &[Node]) {
    wait_for("all nodes are equal", || {
        let mut indexes = nodes.iter().map(|node| node.info("raft_applied_index"));
        let first = indexes.next()??;
        indexes.all(|index| index.as_ref() == Some(&first)).then_some(())
    });
}

/// Makes the directories of the present release.
fn make(kind: &str, count: usize) {
    let dirs: Vec<TempDir> = (0..count).map(|_| TempDir::new()).collect();
    let paths: Vec<&Path> = dirs.iter().map(TempDir::path).collect();
    let mut nodes = start(&paths, &[]);
    for line in BEFORE {
        said(&nodes[0], line);
    }
    settle(&nodes);
    for node in &nodes {
        said(node, "BGSAVE");
        wait_for("it has a snapshot", || (node.info("snapshot_index")? != "0").then_some(()));
    }
    for line in AFTER {
        said(&nodes[0], line);
    }
    settle(&nodes);
    for node in &mut nodes {
        node.signal("TERM");
        node.exit_code();
    }
    let release = golden().join(PRESENT).join(kind);
    let _ = fs::remove_dir_all(&release); // there is none the first time
    for (at, path) in paths.iter().enumerate() {
        copy(path, &release.join((at + 1).to_string()));
    }
}

/// Starts on copies of what a release has written, and finds all.
fn check(release: &Path) {
    let mut kept: Vec<PathBuf> =
        fs::read_dir(release).expect("it can be listed").flatten().map(|dir| dir.path()).collect();
    kept.sort();
    let dirs: Vec<TempDir> = kept.iter().map(|_| TempDir::new()).collect();
    for (from, to) in kept.iter().zip(&dirs) {
        copy(from, to.path());
    }
    let paths: Vec<&Path> = dirs.iter().map(TempDir::path).collect();
    let nodes = start(&paths, if paths.len() > 1 { &["--adopt-copy"] } else { &[] });
    let sha = said(&nodes[0], &format!("SCRIPT LOAD {}", "return(redis.call('incr',KEYS[1]))"));
    for (line, found) in FOUND {
        assert_eq!(
            said(&nodes[0], &line.replace("{sha}", &sha)),
            *found,
            "{line} on {}",
            release.display()
        );
    }
    settle(&nodes);
    assert!(nodes.iter().all(|node| said(node, "GET count") == "43"));
}

#[test]
fn what_releases_have_written_is_read() {
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        make("alone", 1);
        make("three", 3);
    }
    let releases = fs::read_dir(golden()).expect("there are some").flatten();
    let mut checked = 0;
    for release in releases {
        for kind in fs::read_dir(release.path()).expect("it can be listed").flatten() {
            check(&kind.path());
            checked += 1;
        }
    }
    assert!(checked >= 2, "only {checked} kinds");
}
