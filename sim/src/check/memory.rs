//! The heap of a node is bounded by what it holds and by how many clients it has, whatever they do: who asks for much and takes nothing,
//! who sends half a command, a thousand who come at once. (P37)

use crate::check::Violation;
use crate::plan::{Fault, Plan, Planned, When};
use crate::workload::storm::GREEDY;

/// A node with all that the clients who work make it hold: keys, the entries since a snapshot, requests under way, and what waits for
/// peers that were away (a link holds up to 64 MiB for each, most of it shared with the log).
const NODE_BYTES: u64 = 48 << 20;
/// So much more where values are of several hundred kilobytes.
const BIG_VALUES_BYTES: u64 = 24 << 20;
/// A visitor of a storm: the buffer that its command is read into, and what is kept of a connection.
const VISITOR_BYTES: u64 = 20 << 10;
/// One that asks for much and takes nothing: the output at which a node pauses, and the reply that went over it.
const GREEDY_BYTES: u64 = 2 << 20;

/// So long after the end of a storm its last visitors may still be there.
const LEAVES_MS: u64 = 500;

/// What a node may hold at the most in a run of this plan.
pub fn limit_bytes(plan: &Plan) -> u64 {
    let mix = &plan.head.mix;
    let big = if mix.parcels || mix.big_percent > 0 { BIG_VALUES_BYTES } else { 0 };
    NODE_BYTES + big + crowd_bytes(&plan.faults)
}

/// What the visitors of storms may cost who are there at once. A storm that does not come at a time of its own may come at any.
fn crowd_bytes(faults: &[Planned]) -> u64 {
    let storms = faults.iter().filter_map(|planned| match (&planned.when, &planned.fault) {
        (When::At(ms), Fault::Storm { visitors, .. }) => {
            Some((*ms, *ms + planned.lasts_ms + LEAVES_MS, *visitors))
        }
        (_, Fault::Storm { visitors, .. }) => Some((0, u64::MAX, *visitors)),
        _ => None,
    });
    let storms: Vec<(u64, u64, u64)> = storms.collect();
    let cost = |visitors: u64| visitors * VISITOR_BYTES + visitors.min(GREEDY) * GREEDY_BYTES;
    let there = |at: u64| {
        let there = storms.iter().filter(move |(from, to, _)| (*from..=*to).contains(&at));
        there.map(|(.., visitors)| cost(*visitors)).sum()
    };
    storms.iter().map(|(from, ..)| there(*from)).max().unwrap_or(0)
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
    use crate::plan::Target;

    /// What a node may hold follows from who comes; more is found.
    #[test]
    fn more_than_the_work_asks_for_is_found() {
        let mut plan = crate::scenario::named("calm").expect("it is there").plan(0);
        (plan.head.mix.parcels, plan.head.mix.big_percent) = (false, 0);
        let quiet = limit_bytes(&plan);
        let fault = Fault::Storm { node: Target::Leader, visitors: 100 };
        for at in [1000, 9000] {
            let (when, fault) = (When::At(at), fault.clone());
            plan.faults.push(Planned { number: at as u32, when, lasts_ms: 900, fault });
        }
        let stormy = limit_bytes(&plan);
        assert!(check(2, quiet, quiet).is_none() && check(2, quiet + 1, quiet).is_some());
        assert_eq!(stormy - quiet, 100 * VISITOR_BYTES + GREEDY * GREEDY_BYTES);
        assert!(check(2, quiet + 1, stormy).is_none());
        plan.faults.push(Planned { number: 3, when: When::At(1800), lasts_ms: 100, fault });
        assert_eq!(limit_bytes(&plan) - quiet, 2 * (stormy - quiet), "two of them meet");
    }
}
