//! All checks by name. Each must be the only one to find some planted bug, or there is a reason why it never can be: a check that nothing
//! needs may have lost its teeth without anybody's notice.

use super::{COVERAGE, TWINS};

/// A check, as findings name it.
#[derive(Debug, Clone, Copy)]
pub struct Judge {
    /// Its name.
    pub check: &'static str,
    /// Why no planted bug is found by it alone, where that is so.
    pub never_alone_because: Option<&'static str>,
}

const fn judge(check: &'static str) -> Judge {
    Judge { check, never_alone_because: None }
}

const fn never_alone(check: &'static str, because: &'static str) -> Judge {
    Judge { check, never_alone_because: Some(because) }
}

/// All of them, in the order of the manual.
pub const JUDGES: &[Judge] = &[
    judge("one-log"),
    judge("equal-state"),
    judge("one-leader"),
    judge("promise"),
    judge("incarnations"),
    judge("durability"),
    judge("exactly-once"),
    judge("replies"),
    judge("honesty"),
    judge("real-time"),
    judge("stale-read"),
    judge("expiry"),
    judge("watch"),
    never_alone(
        "linearizable",
        "what it refuses the witness refuses, too, or both disagree, which is a finding of its own",
    ),
    never_alone(
        "transactions",
        "what it refuses the witness refuses, too, or both disagree, which is a finding of its own",
    ),
    never_alone(
        "oracle-disagreement",
        "it always stands beside the finding that the witness does not share",
    ),
    judge("total"),
    judge("lock-exclusion"),
    judge("lock-token"),
    judge("lock-kept"),
    judge("limiter-window"),
    judge("limiter-stuck"),
    judge("log-time"),
    judge("messages"),
    judge("final-state"),
    judge("protocol"),
    judge("no-panic"),
    judge("no-node-ends"),
    judge("progress"),
    judge("service"),
    judge("quiet"),
    judge("room"),
    judge("memory"),
    // No checks of a run, but proofs of the same kind.
    judge(TWINS),
    judge(COVERAGE),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the sources lie where they were built") {
            let path = entry.expect("they can be listed").path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                into.push(path);
            }
        }
    }

    /// Each is there once; and each name that stands in a finding of the sources is one of them.
    #[test]
    fn every_check_is_listed() {
        for (at, judge) in JUDGES.iter().enumerate() {
            let twice = JUDGES.iter().skip(at + 1).any(|other| other.check == judge.check);
            assert!(!twice && judge.never_alone_because != Some(""), "{}", judge.check);
        }
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        let mut named = std::collections::BTreeSet::new();
        for file in files {
            let text = fs::read_to_string(file).expect("a source is text");
            let makers = [concat!("Violation::", "new("), concat!("self.", "violated(")];
            for maker in makers {
                for found in text.split(maker).skip(1) {
                    // Some names are on the next line, some in a variable.
                    let Some(rest) = found.trim_start().strip_prefix('"') else { continue };
                    named.extend(rest.split('"').next().map(str::to_owned));
                }
            }
        }
        assert!(named.len() > 20, "{named:?}");
        for name in named {
            assert!(JUDGES.iter().any(|judge| judge.check == name), "{name} is in no list");
        }
    }
}
