//! Service. Some time after everything is healed there is no reason left to refuse a request, to leave it open or to let it wait: a
//! cluster that goes on doing so is broken, even if clients that try again get through in the end.

use std::time::Duration;

use crate::check::Violation;
use crate::history::{CUT_OFF, Operation, Outcome};

/// After the healing: elections, restarts, whatever has to be caught up.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// From then on each request is answered within this time. One slow client may read a large reply for a while.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// Judges what was asked after the healing; only of runs in which all was healed.
pub fn check(operations: &[Operation], healed: Duration) -> Vec<Violation> {
    let mut later =
        operations.iter().filter(|operation| operation.invoked > healed + SETTLED_AFTER);
    let wrong = later.find_map(|operation| Some((operation, complaint(operation)?)));
    let text = |(operation, complaint): (&Operation, String)| {
        format!("all is healed since {healed:?}, and {complaint}: {}", operation.readable())
    };
    wrong.map(|wrong| Violation::new("service", text(wrong))).into_iter().collect()
}

fn complaint(operation: &Operation) -> Option<String> {
    let took = operation.returned.map(|returned| returned.saturating_sub(operation.invoked));
    match &operation.outcome {
        Outcome::Reply(_) => {
            let slow = took.filter(|took| *took > ANSWERED_WITHIN)?;
            Some(format!("a request took {slow:?}"))
        }
        Outcome::NotApplied(text) if text == CUT_OFF => None,
        Outcome::NotApplied(_) => Some("a request is refused".to_owned()),
        // Without a return its client hung up, or the run ended.
        Outcome::Unknown(_) => took.map(|_| "a request is left open".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{ConnectionId, Request};
    use crate::value::Value;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn found(invoked: u64, returned: Option<u64>, outcome: Outcome) -> bool {
        let operation = Operation {
            client: "c1".to_owned(),
            connection: ConnectionId { node: 1, incarnation: 1, client: 1 },
            request: Request::command([b"GET", b"a"]),
            invoked: at(invoked),
            applied_at_invocation: 0,
            returned: returned.map(at),
            applied_at_return: 0,
            outcome,
        };
        !check(&[operation], at(10_000)).is_empty()
    }

    /// Refusals, open outcomes and long waits are found once all is settled, and not before.
    #[test]
    fn a_settled_cluster_serves() {
        let refused = || Outcome::NotApplied("CLUSTERDOWN".to_owned());
        let open = || Outcome::Unknown("UNKNOWN".to_owned());
        assert!(!found(14_000, Some(14_500), refused()));
        assert!(found(16_000, Some(16_500), refused()));
        assert!(found(16_000, Some(16_500), open()));
        assert!(!found(16_000, None, open()), "its client hung up");
        assert!(!found(16_000, Some(16_500), Outcome::NotApplied(CUT_OFF.to_owned())));
        assert!(!found(16_000, Some(16_500), Outcome::Reply(Value::Nil)));
        assert!(found(16_000, Some(20_000), Outcome::Reply(Value::Nil)));
    }
}
