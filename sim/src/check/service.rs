//! Service. Some time after everything is healed there is no reason left to refuse a request, to leave it open or to let it wait: a
//! cluster that goes on doing so is broken, even if clients that try again get through in the end.

use std::time::Duration;

use crate::check::Violation;
use crate::client::reading_takes;
use crate::history::{CUT_OFF, Operation, Outcome};
use crate::value::Value;

/// After the healing: elections, restarts, whatever has to be caught up.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// From then on each request is answered within this time, and that of reading the reply.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Judges what was asked after the healing; only of runs in which all was healed.
pub fn check(operations: &[Operation], healed: Duration) -> Vec<Violation> {
    let mut later =
        operations.iter().filter(|operation| operation.invoked > healed + SETTLED_AFTER);
    let wrong = later.find_map(|operation| Some((operation, complaint(operation, operations)?)));
    let text = |(operation, complaint): (&Operation, String)| {
        format!("all is healed since {healed:?}, and {complaint}: {}", operation.readable())
    };
    wrong.map(|wrong| Violation::new("service", text(wrong))).into_iter().collect()
}

fn complaint(operation: &Operation, all: &[Operation]) -> Option<String> {
    let took = operation.returned.map(|returned| returned.saturating_sub(operation.invoked));
    match &operation.outcome {
        Outcome::Reply(_) => {
            let slow = took.filter(|took| *took > ANSWERED_WITHIN)?;
            let too_slow = slow > ANSWERED_WITHIN + reading_takes(bytes_meanwhile(operation, all));
            too_slow.then(|| format!("a request took {slow:?}"))
        }
        Outcome::NotApplied(text) if text == CUT_OFF => None,
        Outcome::NotApplied(_) => Some("a request is refused".to_owned()),
        // Without a return its client hung up, or the run ended.
        Outcome::Unknown(_) => took.map(|_| "a request is left open".to_owned()),
    }
}

/// What its connection had to read until it was answered: its own reply, and those before it in its pipeline.
fn bytes_meanwhile(operation: &Operation, all: &[Operation]) -> usize {
    let meanwhile = all.iter().filter(|other| {
        other.connection == operation.connection
            && other.client == operation.client
            && other.returned >= Some(operation.invoked)
            && other.returned <= operation.returned
    });
    meanwhile.filter_map(|other| other.outcome.reply()).map(Value::bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{ConnectionId, Request};

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
        let large = || Outcome::Reply(Value::Bulk(vec![b'x'; 200_000]));
        assert!(!found(16_000, Some(20_000), large()), "its client may read slowly");
        assert!(found(16_000, Some(22_000), large()));
    }
}
