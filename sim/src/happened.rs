//! How often what happened in a run, for sweeps: seeds in which nothing breaks prove nothing. Faults are counted by their family
//! (`Fault::family`), what they led to by the names here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What must happen at least once in a long sweep; one in which it did not has failed.
const DEMANDED: [(&str, &str); 9] = [
    (POWER_CUTS_LOSSY, "no power cut took anything that was written and not yet synced"),
    ("power-cut", "no node lost power while the others went on"),
    (DOWN_POWER_CUTS, "no node that was down already lost what its disk had not synced"),
    (INSTALLS, "no node installed a snapshot of another"),
    (LEFT, "no process ended because it was told to"),
    ("cut", "no node was cut off"),
    ("pause", "no process was paused"),
    ("slow-network", "no network was slow"),
    (ELECTIONS, "no leader was elected after the first"),
];

/// Losses of power that came over a node that was down already.
pub const DOWN_POWER_CUTS: &str = "power-cuts-while-down";
/// Losses of power that took something.
pub const POWER_CUTS_LOSSY: &str = "power-cuts-with-losses";
/// Sectors lost.
pub const SECTORS_LOST: &str = "sectors-lost";
/// Directory operations lost.
pub const NAMES_LOST: &str = "names-lost";
/// Errors of disks that hit.
pub const MISHAPS: &str = "disk-errors-that-hit";
/// Processes that ended by themselves because of one.
pub const ENDED: &str = "ended-by-themselves";
/// Processes that were told to end, and did.
pub const LEFT: &str = "ended-as-told";
/// Snapshots that replaced the state of a running node.
pub const INSTALLS: &str = "snapshot-installs";
/// Objects whose operations a judge that never sees the log tried to bring into an order.
pub const SEARCHED: &str = "objects-searched";
/// Of those, the ones for which it gave up: no verdict is no proof.
pub const UNDECIDED: &str = "objects-undecided";
/// Of a hundred objects so many may stay undecided; of fewer than that many objects nothing is said.
const UNDECIDED_MAX_PERCENT: u64 = 2;
const SEARCHED_MIN: u64 = 500;
/// Terms in the log after the first.
pub const ELECTIONS: &str = "elections";

/// See the file's head.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened(BTreeMap<String, u64>);

impl Happened {
    /// So many more of something.
    pub fn count(&mut self, what: &str, times: u64) {
        *self.0.entry(what.to_owned()).or_default() += times;
    }

    /// Those of another run.
    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| self.count(what, *times));
    }

    /// For people.
    pub fn readable(&self) -> String {
        let counts: Vec<String> =
            self.0.iter().map(|(what, times)| format!("{what}={times}")).collect();
        counts.join(" ")
    }

    /// What was looked at in vain too often.
    pub fn too_often(&self) -> Option<String> {
        let of = |what: &str| self.0.get(what).copied().unwrap_or(0);
        let (searched, undecided) = (of(SEARCHED), of(UNDECIDED));
        let many = searched >= SEARCHED_MIN && undecided * 100 > searched * UNDECIDED_MAX_PERCENT;
        many.then(|| {
            format!("the search for an order was given up for {undecided} of {searched} objects")
        })
    }

    /// What should have happened in many runs and did not.
    pub fn missing(&self) -> Vec<&'static str> {
        let never = |what: &str| self.0.get(what).copied().unwrap_or(0) == 0;
        DEMANDED.iter().filter(|(what, _)| never(what)).map(|(_, text)| *text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts add up; what never happened is named.
    #[test]
    fn what_is_missing_is_named() {
        let mut happened = Happened::default();
        assert_eq!(happened.missing().len(), DEMANDED.len());
        happened.count("kill", 2);
        happened.count(POWER_CUTS_LOSSY, 1);
        happened.add(&happened.clone());
        let mut vain = Happened::default();
        vain.count(SEARCHED, 1000);
        vain.count(UNDECIDED, 20);
        assert_eq!(vain.too_often(), None);
        vain.count(UNDECIDED, 1);
        assert!(vain.too_often().is_some_and(|text| text.contains("21 of 1000")));
        assert_eq!(happened.readable(), "kill=4 power-cuts-with-losses=2");
        assert_eq!(happened.missing().len(), DEMANDED.len() - 1);
    }
}
