//! The heap of a node is bounded by what it holds and by how many clients it has, whatever they do: who asks for much and takes nothing,
//! who sends half a command, a thousand who come at once. (P37)

use crate::check::Violation;
use crate::plan::{Fault, Plan};
use crate::workload::storm::GREEDY;

/// A node with all that the clients who work make it hold: keys, the entries since a snapshot, requests under way.
const NODE_BYTES: u64 = 16 << 20;
/// So much more where values are of several hundred kilobytes.
const BIG_VALUES_BYTES: u64 = 24 << 20;
/// A visitor of a storm: the buffer that its command is read into, and what is kept of a connection.
const VISITOR_BYTES: u64 = 20 << 10;
/// One that asks for much and takes nothing: the output at which a node pauses, and the reply that went over it.
const GREEDY_BYTES: u64 = 2 << 20;

/// What a node may hold at the most in a run of this plan, if all its storms came at once.
pub fn limit_bytes(plan: &Plan) -> u64 {
    let storms = plan.faults.iter().map(|planned| match planned.fault {
        Fault::Storm { visitors, .. } => {
            visitors * VISITOR_BYTES + visitors.min(GREEDY) * GREEDY_BYTES
        }
        _ => 0,
    });
    let big = if plan.head.mix.big_percent > 0 { BIG_VALUES_BYTES } else { 0 };
    NODE_BYTES + big + storms.sum::<u64>()
}

/// Judges the most that a node has held at once.
pub fn check(node: u64, peak_bytes: u64, limit_bytes: u64) -> Option<Violation> {
    (peak_bytes > limit_bytes).then(|| {
        let text = format!(
            "n{node} has held {peak_bytes} bytes of heap, where {limit_bytes} are more than it can need"
        );
        Violation::new("memory", text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Planned, Target, When};

    /// What a node may hold follows from who comes; more is found.
    #[test]
    fn more_than_the_work_asks_for_is_found() {
        let mut plan = crate::scenario::named("calm").expect("it is there").plan(0);
        plan.head.mix.big_percent = 0;
        let quiet = limit_bytes(&plan);
        let fault = Fault::Storm { node: Target::Leader, visitors: 100 };
        plan.faults.push(Planned { number: 1, when: When::At(0), lasts_ms: 9, fault });
        let stormy = limit_bytes(&plan);
        assert!(check(2, quiet, quiet).is_none() && check(2, quiet + 1, quiet).is_some());
        assert_eq!(stormy - quiet, 100 * VISITOR_BYTES + GREEDY * GREEDY_BYTES);
        assert!(check(2, quiet + 1, stormy).is_none());
    }
}
