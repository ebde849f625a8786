//! A small run for the tests of the page: a leader is cut off, a follower loses power and what it had confirmed, a third stands still.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wire::message;
use crate::check::Violation;
use crate::evidence::LogRecord;
use crate::happened::Happened;
use crate::history::{ConnectionId, Operation, Outcome, Request};
use crate::plan::{Fault, Planned, Target, Ways, When, Whom};
use crate::trace::{Event, Message, What, Who};
use crate::value::Value;
use crate::world::Report;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn operation(
    client: &str,
    text: &[u8],
    at: u64,
    returned: Option<u64>,
    outcome: Outcome,
) -> Operation {
    Operation {
        client: client.to_owned(),
        connection: ConnectionId { node: 2, incarnation: 1, client: 1 },
        request: Request::command([b"SET", b"key", text]),
        invoked: ms(at),
        applied_at_invocation: 6,
        returned: returned.map(ms),
        applied_at_return: 7,
        outcome,
    }
}

/// Its operations: answered, open, refused.
fn operations() -> Vec<Operation> {
    vec![
        operation("c1", b"<&>", 995, Some(1012), Outcome::Reply(Value::ok())),
        operation("c2", b"2", 1005, None, Outcome::Unknown("no answer".to_owned())),
        operation("c2", b"3", 2005, Some(2010), Outcome::NotApplied("TRYAGAIN".to_owned())),
    ]
}

fn events() -> Vec<Event> {
    let append = Message { entries: 1, ..message("MsgAppend", 1, 2, 1, 6) };
    let confirms = message("MsgAppendResponse", 2, 1, 1, 7);
    let heartbeat = message("MsgHeartbeat", 1, 3, 1, 0);
    let lost = Message { entries: 1, ..message("MsgAppend", 1, 3, 1, 6) };
    let applied = |index| What::Applied { index, term: 1, bytes: 9, digest: 1 };
    let disk = |kind| What::Disk { kind, file: "log-1".to_owned(), bytes: 512 };
    let begins = |number: u32, text: &str| What::Fault { number, begins: Some(text.to_owned()) };
    let (world, n) = (Who::World, Who::Node);
    let mut events: Vec<(u64, Who, What)> = (1..=3).map(|id| (0, n(id), What::Starts)).collect();
    events.extend([
        (500, n(1), What::Sent(message("MsgRequestVote", 1, 2, 1, 0))),
        (502, n(2), What::Received(message("MsgRequestVote", 1, 2, 1, 0))),
        (600, n(1), What::Sent(heartbeat.clone())),
        (601, n(3), What::Received(heartbeat)),
        (700, n(1), applied(6)),
        (1000, n(1), What::Sent(append.clone())),
        (1001, n(1), What::Sent(lost)),
        (1004, n(2), What::Received(append)),
        (1005, n(2), disk("write")),
        (1006, n(2), What::Sent(confirms.clone())),
        (1010, n(1), What::Received(confirms)),
        (1011, n(1), applied(7)),
        (1500, world, begins(4, "the leader is cut off from its peers")),
        (1800, world, What::Fault { number: 4, begins: None }),
        (1900, world, begins(9, "n2 loses power")),
        (1900, n(2), What::Gone("loses power: sectors_lost 3, names_lost 0".to_owned())),
        (1950, world, begins(11, "n3 stands still")),
        (2400, n(2), What::Starts),
        (2500, n(2), What::Restored { index: 5, digest: 1 }),
    ]);
    let event = |(at, who, what)| Event { at: ms(at), who, what };
    events.into_iter().map(event).collect()
}

/// The run.
pub(super) fn report() -> Report {
    let mut plan = crate::scenario::named("calm").expect("it is there").plan(7);
    plan.head.clocks.truncate(3);
    plan.head.clients = 2;
    let planned = |number, fault| Planned { number, when: When::At(0), lasts_ms: 300, fault };
    let cut = Fault::Cut { node: Target::Leader, ways: Ways::Both, from: Whom::Peers, held: false };
    plan.faults = vec![
        planned(4, cut),
        planned(9, Fault::PowerCut { node: Target::Node(2), silent: false }),
        planned(11, Fault::Pause { node: Target::Node(3) }),
    ];
    let text = "n2 confirmed entry 7 in term 1; after the power cut its log ends at 5";
    let record =
        |at| LogRecord { term: 1, payload: Vec::new(), digest: 1, revision: 1, applied_at: ms(at) };
    Report {
        plan,
        violations: vec![Violation::new("promise", text)],
        events: events(),
        hash: 0,
        ladder: Vec::new(),
        operations: operations(),
        log: BTreeMap::from([(6, record(700)), (7, record(1011))]),
        steps: BTreeMap::new(),
        marks: BTreeMap::new(),
        counts: [1, 1, 1],
        simulated: ms(2500),
        happened: Happened::default(),
    }
}
