//! Peace. Where nothing breaks there is one leader, and every request is answered. A follower that comes and goes is no reason to elect
//! anybody, nor are slow disks. And whatever broke before, once all is healed few elections are enough for a leader that stays.

use std::time::Duration;

use crate::check::Violation;
use crate::history::{CUT_OFF, Operation, Outcome};
use crate::plan::{Fault, Plan, Target};

/// Elections after the healing, at the most.
const ELECTIONS_HEALED_MAX: usize = 3;
/// Terms that they may be apart.
const TERMS_HEALED_MAX: u64 = 10;
/// When a cluster in which nothing breaks has formed, and answers.
const FORMED: Duration = Duration::from_secs(2);
/// What requests wait in a run in which nothing may be left open: longer than anything takes.
const PATIENT_MS: u64 = 5000;

/// A leader that was heard of for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// When.
    pub at: Duration,
    /// Its term.
    pub term: u64,
}

/// Judges a run by its leaders, in the order of their terms' beginnings, and by what the clients saw.
pub fn check(plan: &Plan, leads: &[Lead], operations: &[Operation]) -> Vec<Violation> {
    let calm = plan.faults.is_empty();
    let mut found = Vec::new();
    if leads.len() > 1 && plan.faults.iter().all(|planned| spares_leaders(&planned.fault)) {
        found.push(format!("nothing happened to a leader, and yet {} led: {leads:?}", leads.len()));
    }
    let healed = Duration::from_millis(plan.head.heal_ms);
    let later: Vec<&Lead> = leads.iter().filter(|lead| lead.at > healed).collect();
    let terms = || later.iter().map(|lead| lead.term);
    let terms = terms().max().unwrap_or(0) - terms().min().unwrap_or(0);
    if later.len() > ELECTIONS_HEALED_MAX || terms > TERMS_HEALED_MAX {
        let text = format!(
            "after the healing {} led, in terms that are {terms} apart: {later:?}",
            later.len()
        );
        found.push(text);
    }
    if calm && plan.head.request_timeout_ms >= PATIENT_MS {
        found.extend(operations.iter().find(|operation| is_disturbed(operation)).map(
            |operation| {
                format!("nothing broke, and yet there is no answer: {}", operation.readable())
            },
        ));
    }
    found.into_iter().map(|text| Violation::new("quiet", text)).collect()
}

/// Whether a fault leaves alone whoever leads.
fn spares_leaders(fault: &Fault) -> bool {
    match fault {
        Fault::Cut { node, .. } => *node == Target::Follower,
        Fault::Storm { .. } | Fault::SlowDisk { .. } => true,
        _ => false,
    }
}

/// Whether a client was refused, or left without an answer that it waited for.
fn is_disturbed(operation: &Operation) -> bool {
    let by_itself = match &operation.outcome {
        Outcome::Reply(_) => return false,
        Outcome::NotApplied(text) => text == CUT_OFF,
        Outcome::Unknown(_) => operation.returned.is_none(),
    };
    operation.invoked >= FORMED && !by_itself
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{ConnectionId, Request};
    use crate::plan::{Planned, Ways, When, Whom};
    use crate::scenario;

    fn plan() -> Plan {
        scenario::named("calm").expect("it is there").plan(1)
    }

    fn leads(ms: &[u64]) -> Vec<Lead> {
        let lead = |(term, at): (u64, &u64)| Lead { at: Duration::from_millis(*at), term };
        (1..).zip(ms).map(lead).collect()
    }

    /// Where nothing breaks there is one leader; where a follower is cut off as well; where a leader is, there are several.
    #[test]
    fn leaders_that_nothing_happened_to_stay() {
        let mut plan = plan();
        assert!(check(&plan, &leads(&[700]), &[]).is_empty());
        assert_eq!(check(&plan, &leads(&[700, 3000]), &[]).len(), 1);
        for (node, quiet) in [(Target::Follower, true), (Target::Leader, false)] {
            let fault = Fault::Cut { node, ways: Ways::Both, from: Whom::Peers, held: false };
            plan.faults = vec![Planned { number: 1, when: When::At(1), lasts_ms: 1, fault }];
            assert_eq!(!check(&plan, &leads(&[700, 3000]), &[]).is_empty(), quiet);
        }
    }

    /// After the healing a few elections are enough, and their terms are near each other.
    #[test]
    fn elections_come_to_an_end() {
        let mut plan = plan();
        let fault = Fault::PowerCutAll;
        plan.faults = vec![Planned { number: 1, when: When::At(1), lasts_ms: 1, fault }];
        plan.head.heal_ms = 5000;
        assert!(check(&plan, &leads(&[1, 2, 3, 4, 5, 6000, 7000, 8000]), &[]).is_empty());
        assert_eq!(check(&plan, &leads(&[6000, 7000, 8000, 9000]), &[]).len(), 1);
        let mut far = leads(&[6000, 7000]);
        far[1].term = 40;
        assert_eq!(check(&plan, &far, &[]).len(), 1);
    }

    /// What a client was refused is found, but not what it cut off itself, nor what came before there was a cluster.
    #[test]
    fn refusals_are_found() {
        let operation = |ms: u64, outcome: Outcome, returned: bool| Operation {
            client: "c1".to_owned(),
            connection: ConnectionId { node: 1, incarnation: 1, client: 1 },
            request: Request::command([b"GET", b"a"]),
            invoked: Duration::from_millis(ms),
            applied_at_invocation: 0,
            returned: returned.then_some(Duration::from_millis(ms + 1)),
            applied_at_return: 0,
            outcome,
        };
        let refused = || Outcome::NotApplied("CLUSTERDOWN".to_owned());
        let open = || Outcome::Unknown("UNKNOWN".to_owned());
        for (operation, disturbed) in [
            (operation(3000, refused(), true), true),
            (operation(3000, open(), true), true),
            (operation(300, refused(), true), false),
            (operation(3000, Outcome::NotApplied(CUT_OFF.to_owned()), true), false),
            (operation(3000, open(), false), false),
        ] {
            let found = check(&plan(), &leads(&[700]), std::slice::from_ref(&operation));
            assert_eq!(!found.is_empty(), disturbed, "{operation:?}");
        }
    }
}
