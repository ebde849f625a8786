//! A plan: all that decides a run. A scenario expands a seed into one; a run follows it to the letter; a plan file holds it, so that a
//! failure can be replayed, cut down and kept when scenarios have changed.
//!
//! A plan file is lines of JSON: the head first, then one line a fault. A line that is left out leaves all others as they
//! were: what a fault draws while it holds comes from a stream of its own, named by its number.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::workload::Mix;

mod fault;
mod fit;

pub use crate::ports::disk::Back;
pub use fault::{DiskError, Fault, Files, Members, Planned, Target, Trouble, Ways, When, Whom};

/// Version of the plan's form and of what the simulator makes of it.
pub const VERSION: u32 = 1;

/// See the file's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Settings.
    #[serde(flatten)]
    pub head: Head,
    /// What breaks.
    #[serde(skip)]
    pub faults: Vec<Planned>,
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// `VERSION`.
    pub plan: u32,
    /// The scenario that drew it.
    pub scenario: String,
    /// Of all streams of chance.
    pub seed: u64,
    /// Which promises must hold.
    pub class: Class,
    /// The nodes' clocks, one a node: there are as many nodes.
    pub clocks: Vec<ClockPlan>,
    /// Of these the last ones form no cluster: they wait to be added.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spares: u64,
    /// How slow a message may be on a sound network.
    pub latency_ms: u64,
    /// Size of a segment file.
    pub segment_bytes: u64,
    /// Bytes of log between two snapshots.
    pub snapshot_log_bytes: u64,
    /// How long requests wait.
    pub request_timeout_ms: u64,
    /// Pause between two rounds in which a node reads its disk again.
    #[serde(default = "scrub_pause_ms", skip_serializing_if = "is_scrub_pause_ms")]
    pub scrub_pause_ms: u64,
    /// How many clients work.
    pub clients: u64,
    /// What they do.
    pub mix: Mix,
    /// How many steps each client takes, where that is limited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<String, u64>,
    /// Steps that clients leave out, by client: ranges, both ends included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, Vec<(u64, u64)>>,
    /// When faults end and healing begins.
    pub heal_ms: u64,
    /// Nodes that are not healed: whatever holds them then holds them to the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<u64>,
    /// Nodes whose disks may rot or be exchanged: a minority, with the abandoned ones. If others are abandoned or have exchanged disks,
    /// nothing is asked of them from then on but that they do no harm; otherwise they come back from rot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotten: Vec<u64>,
}

/// So short that disks are read again while snapshots come and go.
pub(crate) const SCRUB_PAUSE_MS: u64 = 700;

fn scrub_pause_ms() -> u64 {
    SCRUB_PAUSE_MS
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants it so
fn is_scrub_pause_ms(ms: &u64) -> bool {
    *ms == SCRUB_PAUSE_MS
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants it so
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockPlan {
    /// How far its wall clock is off at the start.
    pub skew_ms: i64,
    /// How many microseconds a second it gains.
    pub drift_ppm: i64,
}

/// What may be broken, and with it which promises must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Networks, processes, power, errors of disks; clocks are kept in time (skew, drift). All promises hold.
    BoundedClocks,
    /// The same, and what lies on the disks of a minority rots. No other promise is weaker for it; a node whose disk was emptied or put
    /// back may stop for good.
    StorageRot,
    /// The same, and any clock may say anything. All promises hold but those that speak of real time.
    WildClocks,
}

impl Class {
    /// Whether clocks are true enough for promises about real time.
    pub fn keeps_time(self) -> bool {
        self != Self::WildClocks
    }

    /// Its name in plan files.
    fn name(self) -> &'static str {
        match self {
            Self::BoundedClocks => "bounded-clocks",
            Self::StorageRot => "storage-rot",
            Self::WildClocks => "wild-clocks",
        }
    }
}

impl Plan {
    /// The text of a plan file.
    ///
    /// # Panics
    /// Never: all of it can be written as JSON.
    pub fn to_text(&self) -> String {
        let head = serde_json::to_string(&self.head).expect("a head is plain data");
        let mut text = head + "\n";
        for fault in &self.faults {
            text += &serde_json::to_string(fault).expect("a fault is plain data");
            text.push('\n');
        }
        text
    }

    /// Reads a plan file's text.
    ///
    /// # Errors
    /// Which line can't be read, and why; or what in the plan does not fit together.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let (_, head) = lines.next().ok_or("the plan is empty")?;
        let head: Head = serde_json::from_str(head).map_err(|error| format!("line 1: {error}"))?;
        if head.plan != VERSION {
            return Err(format!(
                "it is a plan of version {}; this simulator follows version {VERSION}. Check out the commit that wrote it",
                head.plan
            ));
        }
        let fault = |(at, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| format!("line {at}: {error}"))
        };
        let plan = Self { head, faults: lines.map(fault).collect::<Result<_, String>>()? };
        fit::check(&plan)?;
        Ok(plan)
    }

    /// Reads a plan file.
    ///
    /// # Errors
    /// The file can't be read, or is no plan.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        Self::from_text(&text).map_err(|text| io::Error::new(io::ErrorKind::InvalidData, text))
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> u64 {
        self.head.clocks.len() as u64
    }

    /// What the clients do, in words.
    fn work(&self) -> String {
        let kinds = self.head.mix.kinds.iter().map(|kind| format!("{kind:?}").to_lowercase());
        kinds.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.head;
        write!(
            f,
            "scenario {}, seed {}: {} nodes, {} clients ({}), {} faults, latency up to {} ms, segments of {} bytes, requests wait {} ms",
            head.scenario,
            head.seed,
            self.nodes(),
            head.clients,
            self.work(),
            self.faults.len(),
            head.latency_ms,
            head.segment_bytes,
            head.request_timeout_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::disk::{IoKind, Moment};

    fn plan() -> Plan {
        let head = Head {
            plan: VERSION,
            scenario: "swarm".to_owned(),
            seed: 7,
            class: Class::BoundedClocks,
            clocks: vec![ClockPlan { skew_ms: -3, drift_ppm: 100 }; 3],
            spares: 0,
            latency_ms: 5,
            segment_bytes: 4096,
            snapshot_log_bytes: 8192,
            request_timeout_ms: 800,
            scrub_pause_ms: SCRUB_PAUSE_MS,
            clients: 4,
            mix: Mix::everything(),
            steps: BTreeMap::new(),
            skipped: BTreeMap::from([("c1".to_owned(), vec![(3, 5)])]),
            heal_ms: 12_000,
            abandoned: Vec::new(),
            rotten: Vec::new(),
        };
        let cut =
            Fault::Cut { node: Target::Leader, ways: Ways::Out, from: Whom::Peers, held: false };
        let kill = Fault::Kill { node: Target::Cause };
        let on_io = When::Io {
            node: 2,
            kind: Some(IoKind::Sync),
            files: Files::Snapshots,
            nth: 3,
            moment: Moment::During,
        };
        let faults = vec![
            Planned { number: 4, when: When::At(1500), lasts_ms: 700, fault: cut },
            Planned { number: 9, when: on_io, lasts_ms: 100, fault: kill },
        ];
        Plan { head, faults }
    }

    /// What is written is read back, a line that is taken out takes out its fault alone, and wrong lines are named.
    #[test]
    fn plans_are_text() {
        let plan = plan();
        let text = plan.to_text();
        assert_eq!(Plan::from_text(&text).as_ref(), Ok(&plan));
        let shorter: Vec<&str> = text.lines().take(2).collect();
        let shorter = Plan::from_text(&shorter.join("\n")).expect("it is a plan");
        assert_eq!((shorter.head, shorter.faults.as_slice()), (plan.head, &plan.faults[..1]));
        let error = Plan::from_text(&format!("{text}{{}}")).expect_err("that is no fault");
        assert!(error.starts_with("line 4:"), "{error}");
        let error = Plan::from_text(&text.replace("\"plan\":1", "\"plan\":0")).expect_err("old");
        assert!(error.contains("version 0"), "{error}");
    }
}
