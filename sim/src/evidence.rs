//! What the nodes applied, gathered by an observer in each of them, and compared at once: one log for all, one state for
//! each index.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use steadfast_core::machine::StateMachine;
use steadfast_server::Observer;

use crate::check::Violation;
use crate::check::final_state::{self, Items};
use crate::ports::heap;
use crate::trace::{SharedTrace, What, Who, note};

/// One entry of the log, as the first node that applied it saw it.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Its term.
    pub term: u64,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The state's digest after it.
    pub digest: u128,
    /// The state's revision after it.
    pub revision: u64,
    /// When.
    pub applied_at: Duration,
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The committed log.
    pub log: BTreeMap<u64, LogRecord>,
    /// Applied index and digest of each node, in its present start.
    pub applied: BTreeMap<u64, (u64, u128)>,
    /// Incarnation of each node's present start.
    pub incarnations: BTreeMap<u64, u64>,
    /// What was found wrong while it ran, the first first.
    pub violations: Vec<Violation>,
    /// Snapshots of another node that replaced the state of a running one.
    pub installs: u64,
    /// All clients have finished: from now on the nodes show all they hold.
    pub closing: bool,
    /// What each node held at last, and at which index.
    pub finals: BTreeMap<u64, (u64, Items)>,
}

impl Evidence {
    /// Highest index that any node has applied.
    pub fn highest(&self) -> u64 {
        self.log.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// Incarnation of a node's present start; 0 before its first.
    pub fn incarnation_of(&self, node: u64) -> u64 {
        self.incarnations.get(&node).copied().unwrap_or(0)
    }

    /// A node's disk was exchanged: what it had before binds it no longer.
    pub fn forgets(&mut self, node: u64) {
        self.incarnations.remove(&node);
        self.applied.remove(&node);
    }

    /// A start has drawn its incarnation, which must be above all that its node had before.
    fn opened(&mut self, node: u64, incarnation: u64) {
        let before = self.incarnations.insert(node, incarnation);
        if let Some(before) = before.filter(|before| *before >= incarnation) {
            let text = format!("n{node} starts with incarnation {incarnation} after {before}");
            self.violations.push(Violation::new("incarnations", text));
        }
    }

    fn applied(&mut self, node: u64, index: u64, record: LogRecord) {
        self.applied.insert(node, (index, record.digest));
        let Some(known) = self.log.get(&index) else {
            if index > self.highest() + 1 {
                let gap =
                    format!("n{node} applied entry {index}, but nobody applied the one before");
                self.violations.push(Violation::new("one-log", gap));
            }
            self.log.insert(index, record);
            return;
        };
        if (known.term, &known.payload) != (record.term, &record.payload) {
            let text = format!(
                "n{node} applied at index {index} an entry of term {} ({} bytes); another was applied there before, of term {} \
                 ({} bytes)",
                record.term,
                record.payload.len(),
                known.term,
                known.payload.len()
            );
            self.violations.push(Violation::new("one-log", text));
        } else if (known.digest, known.revision) != (record.digest, record.revision) {
            let text = format!(
                "n{node} has another state at index {index} than the first node that applied it"
            );
            self.violations.push(Violation::new("equal-state", text));
        }
    }

    fn restored(&mut self, node: u64, index: u64, digest: u128) {
        // The first state of a start is the node's own, from its disk.
        let is_install = self.applied.insert(node, (index, digest)).is_some();
        self.installs += u64::from(is_install);
        let text = match self.log.get(&index) {
            Some(known) if known.digest == digest => return,
            Some(_) => format!(
                "n{node} restored a snapshot of index {index} whose state is not the state there"
            ),
            None => format!(
                "n{node} restored a snapshot of index {index}, where nobody had applied anything"
            ),
        };
        self.violations.push(Violation::new("equal-state", text));
    }
}

/// The observer of one start of one node.
pub struct NodeObserver {
    /// The node.
    pub node: u64,
    /// Where it reports.
    pub evidence: Rc<RefCell<Evidence>>,
    /// The trace.
    pub trace: SharedTrace,
}

impl NodeObserver {
    /// At the end of a run: all that the node holds.
    fn show(&self, machine: &StateMachine) {
        if self.evidence.borrow().closing {
            let held = (machine.applied_index(), final_state::items(machine));
            self.evidence.borrow_mut().finals.insert(self.node, held);
        }
    }
}

impl Observer for NodeObserver {
    fn opened(&self, incarnation: u64) {
        let _turn = heap::outside();
        self.evidence.borrow_mut().opened(self.node, incarnation);
        note(&self.trace, Who::Node(self.node), What::Opened { incarnation });
    }

    fn applied(&self, index: u64, term: u64, payload: &[u8], machine: &StateMachine) {
        let _turn = heap::outside();
        let digest = machine.digest();
        let record = LogRecord {
            term,
            payload: payload.to_vec(),
            digest,
            revision: machine.revision(),
            applied_at: turmoil::sim_elapsed().unwrap_or_default(),
        };
        self.evidence.borrow_mut().applied(self.node, index, record);
        self.show(machine);
        let what = What::Applied { index, term, bytes: payload.len(), digest };
        note(&self.trace, Who::Node(self.node), what);
    }

    fn restored(&self, machine: &StateMachine) {
        let _turn = heap::outside();
        let (index, digest) = (machine.applied_index(), machine.digest());
        self.evidence.borrow_mut().restored(self.node, index, digest);
        self.show(machine);
        note(&self.trace, Who::Node(self.node), What::Restored { index, digest });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8], digest: u128) -> LogRecord {
        LogRecord {
            term: 1,
            payload: payload.to_vec(),
            digest,
            revision: 0,
            applied_at: Duration::ZERO,
        }
    }

    /// Another entry at an index, another state at an index, a gap: each is found, under its own name.
    #[test]
    fn forks_are_found() {
        let check = |index, record| {
            let mut evidence = Evidence::default();
            evidence.applied(1, 1, self::record(b"a", 1));
            evidence.applied(2, index, record);
            evidence.violations.first().map(|violation| violation.check)
        };
        assert_eq!(check(1, record(b"a", 1)), None);
        assert_eq!(check(1, record(b"b", 1)), Some("one-log"));
        assert_eq!(check(1, record(b"a", 2)), Some("equal-state"));
        assert_eq!(check(2, record(b"b", 2)), None);
        assert_eq!(check(3, record(b"b", 2)), Some("one-log"));
    }

    /// An incarnation that does not rise, and a snapshot of a state that nobody had, are found.
    #[test]
    fn impossible_starts_are_found() {
        let opened = |incarnations: &[u64]| {
            let mut evidence = Evidence::default();
            incarnations.iter().for_each(|incarnation| evidence.opened(1, *incarnation));
            evidence.violations.first().map(|violation| violation.check)
        };
        assert_eq!(opened(&[3, 4, 9]), None);
        assert_eq!(opened(&[3, 3]), Some("incarnations"));
        assert_eq!(opened(&[3, 2]), Some("incarnations"));
        let restored = |index, digest| {
            let mut evidence = Evidence::default();
            evidence.applied(1, 1, record(b"a", 1));
            evidence.restored(2, index, digest);
            evidence.violations.first().map(|violation| violation.check)
        };
        assert_eq!(restored(1, 1), None);
        assert_eq!(restored(1, 2), Some("equal-state"));
        assert_eq!(restored(2, 1), Some("equal-state"));
    }
}
