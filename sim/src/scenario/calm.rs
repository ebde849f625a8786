//! Nothing breaks. What is found here is a false alarm, or a bug that needs no fault at all.

use crate::draw::Draws;
use crate::plan::Plan;

pub(super) fn plan(seed: u64) -> Plan {
    let mut draws = Draws::new(seed, "calm");
    let mut head = super::head(seed, &mut draws, 3);
    head.request_timeout_ms = 5000; // nothing waits that long
    Plan { head, faults: Vec::new() }
}
