//! How often what happened in a run, for sweeps: seeds in which nothing breaks prove nothing. The counts of a run travel from its
//! process to the sweep's in one line of text.

use std::collections::BTreeMap;

/// What the line of a run begins with.
const HEAD: &str = "happened ";

/// What must happen at least once in a long sweep; one in which it did not has failed.
const DEMANDED: [(&str, &str); 8] = [
    (POWER_CUTS_LOSSY, "no power cut took anything that was written and not yet synced"),
    (NODE_POWER_CUTS, "no node lost power while the others went on"),
    (DOWN_POWER_CUTS, "no node that was down already lost what its disk had not synced"),
    (INSTALLS, "no node installed a snapshot of another"),
    (PARTITIONS, "no node was cut off"),
    (PAUSES, "no process was paused"),
    (SLOW_NETWORKS, "no network was slow"),
    (ELECTIONS, "no leader was elected after the first"),
];

/// Processes that were killed and left their cache behind.
pub const KILLS: &str = "kills";
/// Losses of power of one node alone.
pub const NODE_POWER_CUTS: &str = "node-power-cuts";
/// Losses of power of all nodes, counted by node.
pub const ALL_POWER_CUTS: &str = "all-power-cuts";
/// Those of them that came over a node that was down already.
pub const DOWN_POWER_CUTS: &str = "power-cuts-while-down";
/// Losses of power that took something.
pub const POWER_CUTS_LOSSY: &str = "power-cuts-with-losses";
/// Sectors lost.
pub const SECTORS_LOST: &str = "sectors-lost";
/// Directory operations lost.
pub const NAMES_LOST: &str = "names-lost";
/// Nodes cut off, both ways.
pub const PARTITIONS: &str = "partitions";
/// Nodes cut off one way.
pub const ONE_WAY: &str = "one-way-partitions";
/// Processes paused.
pub const PAUSES: &str = "pauses";
/// Disks made slow.
pub const SLOW_DISKS: &str = "slow-disks";
/// Nodes whose links were made slow.
pub const SLOW_NETWORKS: &str = "slow-networks";
/// Snapshots that replaced the state of a running node.
pub const INSTALLS: &str = "snapshot-installs";
/// Terms in the log after the first.
pub const ELECTIONS: &str = "elections";

/// See the file's head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

    /// The line of a run.
    pub fn line(&self) -> String {
        format!("{HEAD}{}", self.readable())
    }

    /// For people.
    pub fn readable(&self) -> String {
        let counts: Vec<String> =
            self.0.iter().map(|(what, times)| format!("{what}={times}")).collect();
        counts.join(" ")
    }

    /// Reads a line of a run; none if it is another line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut happened = Self::default();
        for count in line.strip_prefix(HEAD)?.split_whitespace() {
            let (what, times) = count.split_once('=')?;
            happened.count(what, times.parse().ok()?);
        }
        Some(happened)
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

    /// The line of a run is read back as it was; other lines are not taken for one; what never happened is named.
    #[test]
    fn counts_travel_as_text() {
        let mut happened = Happened::default();
        assert_eq!(happened.missing().len(), DEMANDED.len());
        happened.count(KILLS, 2);
        happened.count(POWER_CUTS_LOSSY, 1);
        let mut again = Happened::parse(&happened.line()).expect("it was just written");
        assert_eq!(again, happened);
        again.add(&happened);
        assert_eq!(again.readable(), "kills=4 power-cuts-with-losses=2");
        assert_eq!(Happened::parse("trace 00"), None);
        assert_eq!(again.missing().len(), DEMANDED.len() - 1);
    }
}
