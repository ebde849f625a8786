//! What the nodes applied, gathered by an observer in each of them, and compared at once: one log for all, one state for
//! each index.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use steadfast_core::machine::StateMachine;
use steadfast_server::Observer;

use crate::check::Violation;
use crate::trace::{SharedTrace, note};

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
        if self.log.get(&index).is_some_and(|known| known.digest != digest) {
            let text = format!(
                "n{node} restored a snapshot of index {index} whose state is not the state there"
            );
            self.violations.push(Violation::new("equal-state", text));
        }
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

impl Observer for NodeObserver {
    fn opened(&self, incarnation: u64) {
        self.evidence.borrow_mut().incarnations.insert(self.node, incarnation);
    }

    fn applied(&self, index: u64, term: u64, payload: &[u8], machine: &StateMachine) {
        let digest = machine.digest();
        let record =
            LogRecord { term, payload: payload.to_vec(), digest, revision: machine.revision() };
        self.evidence.borrow_mut().applied(self.node, index, record);
        let what =
            format!("applied {index} (term {term}, {} bytes) state {digest:032x}", payload.len());
        note(&self.trace, &format!("n{}", self.node), &what);
    }

    fn restored(&self, machine: &StateMachine) {
        let (index, digest) = (machine.applied_index(), machine.digest());
        self.evidence.borrow_mut().restored(self.node, index, digest);
        note(
            &self.trace,
            &format!("n{}", self.node),
            &format!("restored {index} state {digest:032x}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8], digest: u128) -> LogRecord {
        LogRecord { term: 1, payload: payload.to_vec(), digest, revision: 0 }
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
}
