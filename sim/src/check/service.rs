//! Service. Some time after everything is healed there is no reason left to refuse a request, to leave it open or to let it wait: a
//! cluster that goes on doing so is broken, even if clients that try again get through in the end.
//!
//! One reason is left where clocks are wild: a leader whose machine stood still with its clocks lets log time lag behind what its followers
//! know. A read of a key that has ended by what they know waits until log time has caught up, and is refused if the key is set anew again
//! and again meanwhile, each time for less than the lag.

use std::time::Duration;

use crate::check::Violation;
use crate::client::reading_takes;
use crate::history::{CUT_OFF, Operation, Outcome};
use crate::value::Value;

/// After the healing: elections, restarts, whatever has to be caught up.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// From then on each request is answered within this time, and that of reading the reply.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// How the keys begin that end by themselves.
const ENDING: [&[u8]; 3] = [b"short:", b"watched:", b"lock"];
/// What a read is told that has waited too long.
const READ_NOTHING: &str = "nothing was read or changed";

/// Judges what was asked after the healing; only of runs in which all was healed.
pub fn check(operations: &[Operation], healed: Duration, keeps_time: bool) -> Vec<Violation> {
    let mut later = operations.iter().filter(|operation| {
        operation.invoked > healed + SETTLED_AFTER && (keeps_time || !waits_for_log_time(operation))
    });
    let wrong = later.find_map(|operation| Some((operation, complaint(operation, operations)?)));
    let text = |(operation, complaint): (&Operation, String)| {
        format!("all is healed since {healed:?}, and {complaint}: {}", operation.readable())
    };
    wrong.map(|wrong| Violation::new("service", text(wrong))).into_iter().collect()
}

/// Whether a read may have been refused because log time lags.
fn waits_for_log_time(operation: &Operation) -> bool {
    let Outcome::NotApplied(text) = &operation.outcome else { return false };
    let ends = |key: &Vec<u8>| ENDING.iter().any(|start| key.starts_with(start));
    let mut keys = operation.request.calls().iter().flat_map(|call| call.iter().skip(1));
    operation.request.is_read() && text.contains(READ_NOTHING) && keys.any(ends)
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
        !check(&[operation], at(10_000), true).is_empty()
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

    /// Where clocks are wild a read of a key that ends may be refused; nothing else may, and no such read where clocks are kept.
    #[test]
    fn reads_may_wait_for_log_time() {
        let refused = |words: &[&[u8]], keeps_time: bool| {
            let operation = Operation {
                client: "c1".to_owned(),
                connection: ConnectionId { node: 1, incarnation: 1, client: 1 },
                request: Request::Command(words.iter().map(|word| word.to_vec()).collect()),
                invoked: at(16_000),
                applied_at_invocation: 0,
                returned: Some(at(16_800)),
                applied_at_return: 0,
                outcome: Outcome::NotApplied(format!("CLUSTERDOWN; {READ_NOTHING}.")),
            };
            !check(&[operation], at(10_000), keeps_time).is_empty()
        };
        let read: [&[u8]; 2] = [b"GET", b"watched:2"];
        assert!(!refused(&read, false) && refused(&read, true));
        assert!(refused(&[b"GET", b"register:0"], false));
        assert!(refused(&[b"DEL", b"watched:2"], false));
    }
}
