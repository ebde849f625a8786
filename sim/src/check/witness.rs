//! The log as witness. The committed log is replayed through the independent model; every operation of every client must have
//! its place in it: what was acknowledged stands there once, what was refused does not, each reply is the model's, the order is
//! that of real time and of each connection. Reads served without the log must fit some state between what was
//! acknowledged before they began and what was applied when they returned.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::check::Violation;
use crate::check::log_time::{self, Clocks};
use crate::evidence::LogRecord;
use crate::history::{ConnectionId, Operation, Outcome};
use crate::model::{Executed, Model, ends_connection};
use crate::value::Value;

/// Judges a run. Where all clocks are kept in time, real time has a say in what a client may see of keys that end.
pub fn check(
    operations: &[Operation],
    log: &BTreeMap<u64, LogRecord>,
    clocks: Clocks,
) -> Vec<Violation> {
    let mut model = Model::default();
    let mut executed: BTreeMap<ConnectionId, Vec<Executed>> = BTreeMap::new();
    for (index, record) in log {
        match model.apply(*index, &record.payload, record.revision) {
            Ok(done) => {
                // That a connection has ended is logged by its node.
                for request in done.into_iter().filter(|it| !ends_connection(&it.calls)) {
                    executed.entry(request.connection()).or_default().push(request);
                }
            }
            Err(text) => return vec![Violation::new("one-log", text)],
        }
    }
    for request in model.still_waiting() {
        executed.entry(request.connection()).or_default().push(request.clone());
    }
    let mut connections: BTreeMap<ConnectionId, Vec<usize>> = BTreeMap::new();
    for (at, operation) in operations.iter().enumerate() {
        connections.entry(operation.connection).or_default().push(at);
    }
    let mut violations = Vec::new();
    let mut places = vec![None; operations.len()];
    for (connection, own) in &connections {
        let logged = executed.remove(connection).unwrap_or_default();
        let sent: Vec<&Operation> = own.iter().filter_map(|at| operations.get(*at)).collect();
        match align(&sent, &logged) {
            Ok(found) => {
                for (at, place) in own.iter().zip(found) {
                    if let Some(slot) = places.get_mut(*at) {
                        *slot = place;
                    }
                }
            }
            Err(violation) => violations.push(violation),
        }
    }
    for request in executed.values().flatten() {
        let text = format!("{} stands in the log, but nobody sent it", request.readable());
        violations.push(Violation::new("exactly-once", text));
    }
    if violations.is_empty() {
        violations.extend(log_time::check(log, &sent_until(operations, &places), clocks));
    }
    if violations.is_empty() {
        let reads = Reads { operations, model: &model, bounded_clocks: clocks.are_kept() };
        violations.extend(reads.check(&places, &connections));
    }
    violations
}

/// When the last of the requests in each entry was sent.
fn sent_until(operations: &[Operation], places: &[Option<usize>]) -> BTreeMap<u64, Duration> {
    let mut sent: BTreeMap<u64, Duration> = BTreeMap::new();
    for (operation, place) in operations.iter().zip(places) {
        if let Some(index) = place {
            let last = sent.entry(*index as u64).or_default();
            *last = (*last).max(operation.invoked);
        }
    }
    sent
}

// ---- what stands in the log ------------------------------------------------------------------------------------------

/// Whether a logged request may be that operation, and if not, which promise that breaks.
fn fits(operation: &Operation, request: &Executed) -> Result<(), &'static str> {
    if request.calls != operation.request.calls() {
        return Err("durability");
    }
    let index = request.at.0;
    match (&operation.outcome, &request.reply) {
        (Outcome::Reply(given), Some(due)) if given.same(due) => {}
        (Outcome::Unknown(_), _) | (Outcome::NotApplied(_), None) => {}
        (Outcome::NotApplied(_), Some(_)) => return Err("honesty"),
        (Outcome::Reply(_), _) => return Err("replies"),
    }
    // What was left open may be applied long after its client was told so.
    let answered = operation.outcome.reply().is_some();
    let is_early = index <= operation.applied_at_invocation;
    if is_early || answered && request.done > operation.applied_at_return {
        return Err("real-time");
    }
    Ok(())
}

/// Whether an operation may have no place in the log.
fn may_be_missing(operation: &Operation) -> bool {
    operation.outcome.reply().is_none() || operation.request.is_read()
}

/// Finds for each operation of a connection its place in the log, in order, so that nothing is left over on either side. An operation
/// takes the next request that it fits; where that leads to no end, it is tried without. What led to no end once is not tried again.
fn align(sent: &[&Operation], logged: &[Executed]) -> Result<Vec<Option<usize>>, Violation> {
    let mut dead: BTreeSet<(usize, usize)> = BTreeSet::new();
    // For each operation so far: whether it took a request.
    let mut taken: Vec<bool> = Vec::with_capacity(sent.len());
    let mut next = 0;
    loop {
        let at = taken.len();
        let Some(operation) = sent.get(at).filter(|_| !dead.contains(&(at, next))) else {
            if at == sent.len() && next == logged.len() {
                break;
            }
            dead.insert((at, next));
            if !step_back(&mut taken, &mut next, sent, &mut dead) {
                return Err(explain(sent, logged));
            }
            continue;
        };
        if logged.get(next).is_some_and(|request| fits(operation, request).is_ok()) {
            taken.push(true);
            next += 1;
        } else if may_be_missing(operation) {
            taken.push(false);
        } else {
            dead.insert((at, next));
        }
    }
    let mut rest = logged.iter();
    let places = taken.iter().map(|takes| {
        let request = if *takes { rest.next() } else { None };
        request.map(|request| request.at.0 as usize)
    });
    Ok(places.collect())
}

/// Back to the last operation that took a request and may go without; it goes without. False if there is none.
fn step_back(
    taken: &mut Vec<bool>,
    next: &mut usize,
    sent: &[&Operation],
    dead: &mut BTreeSet<(usize, usize)>,
) -> bool {
    while let Some(took) = taken.pop() {
        *next -= usize::from(took);
        if took && sent.get(taken.len()).is_some_and(|operation| may_be_missing(operation)) {
            taken.push(false);
            return true;
        }
        dead.insert((taken.len(), *next));
    }
    false
}

/// Says what does not fit: the first operation at which a walk from the front comes to its end.
fn explain(sent: &[&Operation], logged: &[Executed]) -> Violation {
    let mut rest = logged.iter().peekable();
    for operation in sent {
        let Some(request) = rest.peek() else {
            if may_be_missing(operation) {
                continue;
            }
            let text = format!("{}: acknowledged, and not in the log", operation.readable());
            return Violation::new("durability", text);
        };
        match fits(operation, request) {
            Ok(()) => {
                rest.next();
            }
            Err("durability") if may_be_missing(operation) => {}
            Err("replies" | "real-time") if operation.request.is_read() => {}
            Err("durability") => {
                let text = format!(
                    "{}: acknowledged; in the log its connection goes on with {}",
                    operation.readable(),
                    request.readable()
                );
                return Violation::new("durability", text);
            }
            Err(check) => {
                let due = request
                    .reply
                    .as_ref()
                    .map_or_else(|| "not to be applied".into(), Value::readable);
                let text = format!(
                    "{}: in the log at {} it is {due} (applied {} when sent, {} when answered)",
                    operation.readable(),
                    request.at.0,
                    operation.applied_at_invocation,
                    operation.applied_at_return
                );
                return Violation::new(check, text);
            }
        }
    }
    let extra = rest.next().map_or_else(String::new, Executed::readable);
    Violation::new("exactly-once", format!("{extra} is in the log more often than it was sent"))
}

// ---- reads without the log -------------------------------------------------------------------------------------------

/// Milliseconds of log time between which a read ran, as far as clocks that are kept in time can say.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// A key that ended before this is gone.
    pub from_ms: u64,
    /// No clock was further than this.
    pub to_ms: u64,
}

impl Window {
    fn of(operation: &Operation) -> Self {
        let returned = operation.returned.unwrap_or(Duration::MAX / 2);
        Self {
            from_ms: log_time::real_ms(operation.invoked).saturating_sub(log_time::LAG_MS),
            to_ms: log_time::real_ms(returned) + log_time::deviation_ms(returned),
        }
    }
}

/// The highest state that was acknowledged up to each moment; it rises with time.
#[derive(Debug, Default)]
struct Returned(BTreeMap<Duration, u64>);

impl Returned {
    fn before(&self, when: Duration) -> u64 {
        self.0.range(..when).next_back().map_or(0, |(_, index)| *index)
    }

    fn note(&mut self, when: Duration, index: u64) {
        if self.0.range(..=when).next_back().is_some_and(|(_, known)| *known >= index) {
            return;
        }
        let lower = |(_, known): &(&Duration, &u64)| **known <= index;
        let covered: Vec<Duration> =
            self.0.range(when..).take_while(lower).map(|(at, _)| *at).collect();
        for at in covered {
            self.0.remove(&at);
        }
        self.0.insert(when, index);
    }
}

struct Reads<'a> {
    operations: &'a [Operation],
    model: &'a Model,
    bounded_clocks: bool,
}

impl Reads<'_> {
    /// Gives each read the earliest state that it fits, in the order of invocation: if that fails, no choice succeeds,
    /// since an earlier state for one read never takes a state from another.
    fn check(
        &self,
        places: &[Option<usize>],
        connections: &BTreeMap<ConnectionId, Vec<usize>>,
    ) -> Vec<Violation> {
        let before_next_write = self.ceilings(places, connections);
        let mut floors: BTreeMap<ConnectionId, u64> = BTreeMap::new();
        let mut returned = Returned::default();
        let mut watching: BTreeMap<ConnectionId, Vec<Watching<'_>>> = BTreeMap::new();
        for (at, operation) in self.operations.iter().enumerate() {
            let own = floors.entry(operation.connection).or_default();
            let floor = returned.before(operation.invoked).max(*own);
            let place = places.get(at).copied().flatten().map(|index| index as u64);
            let ceiling = before_next_write.get(at).copied().unwrap_or(u64::MAX);
            let ceiling = ceiling.min(operation.applied_at_return);
            let index = match (place, &operation.outcome) {
                (Some(index), _) => index,
                (None, Outcome::Reply(reply)) if operation.request.is_read() => {
                    match self.state_of(operation, reply, floor, ceiling) {
                        Ok(index) => index,
                        Err(violation) => return vec![violation],
                    }
                }
                _ => floor,
            };
            // Only an answer says which of several like requests stands there: one that was refused or left open may have been
            // given the place of a later one.
            if operation.outcome.reply().is_some() {
                *own = index;
                if let Some(when) = operation.returned {
                    returned.note(when, index);
                }
            }
            let watched = watching.entry(operation.connection).or_default();
            match operation.request.name() {
                b"WATCH" if operation.outcome.reply().is_some() => {
                    let keys =
                        operation.request.calls().iter().flat_map(|call| call.iter().skip(1));
                    watched.extend(keys.map(|key| Watching { key, from: floor, to: ceiling }));
                }
                b"EXEC" => {
                    let watched = std::mem::take(watched);
                    if let Some(text) =
                        place.and_then(|at| self.watch_broken(operation, at, &watched))
                    {
                        return vec![Violation::new("watch", text)];
                    }
                }
                b"UNWATCH" | b"DISCARD" => watched.clear(),
                _ => {}
            }
        }
        Vec::new()
    }

    /// For each operation: the last state before its connection's next request in the log.
    fn ceilings(
        &self,
        places: &[Option<usize>],
        connections: &BTreeMap<ConnectionId, Vec<usize>>,
    ) -> Vec<u64> {
        let mut ceilings = vec![u64::MAX; self.operations.len()];
        for own in connections.values() {
            let mut ceiling = u64::MAX;
            for at in own.iter().rev() {
                if let Some(slot) = ceilings.get_mut(*at) {
                    *slot = ceiling;
                }
                let answered =
                    self.operations.get(*at).is_some_and(|o| o.outcome.reply().is_some());
                if let Some(index) = places.get(*at).copied().flatten().filter(|_| answered) {
                    ceiling = index as u64 - 1;
                }
            }
        }
        ceilings
    }

    /// The earliest state from `floor` to `ceiling` that gives this reply.
    fn state_of(
        &self,
        operation: &Operation,
        reply: &Value,
        floor: u64,
        ceiling: u64,
    ) -> Result<u64, Violation> {
        let Some(call) = operation.request.calls().first() else { return Ok(floor) };
        let keys = call.get(1..).unwrap_or_default();
        let changes = self.model.changes(keys, floor, ceiling);
        let fitting = std::iter::once(floor).chain(changes);
        let fitting: Vec<u64> = fitting.filter(|index| *index <= ceiling).collect();
        let real = self.bounded_clocks.then(|| Window::of(operation));
        let fits = |index: u64, real| self.model.reads_as(call, index, reply, real);
        if let Some(index) = fitting.iter().find(|index| fits(**index, real)) {
            return Ok(*index);
        }
        if fitting.iter().any(|index| fits(*index, None)) {
            let text =
                format!("{}: its key had ended well before, or ends later", operation.readable());
            return Err(Violation::new("expiry", text));
        }
        let mut older = self.model.changes(keys, 0, floor).into_iter();
        let stale = older.any(|index| fits(index, None));
        let text = format!(
            "{}: no state from entry {floor} to {ceiling} answers so{}",
            operation.readable(),
            if stale { "; an earlier one does" } else { "" }
        );
        Err(Violation::new(if stale { "stale-read" } else { "replies" }, text))
    }

    /// EXEC is nil if and only if a watched key changed since it was watched.
    fn watch_broken(&self, exec: &Operation, at: u64, watched: &[Watching<'_>]) -> Option<String> {
        let reply = exec.outcome.reply()?;
        let changed = |from: u64, watching: &Watching<'_>| {
            !self.model.changes(std::slice::from_ref(watching.key), from, at - 1).is_empty()
        };
        // A key that ended may have been seen as gone when it was watched, and then its end changes nothing.
        let surely = watched.iter().find(|watching| {
            let keys = std::slice::from_ref(watching.key);
            let changes = self.model.changes(keys, watching.to, at - 1);
            changes.iter().any(|index| !self.model.ended_at(watching.key, *index))
        });
        let perhaps = watched.iter().any(|watching| {
            changed(watching.from, watching) || self.model.changed_within(watching.key, at)
        });
        match (reply, surely) {
            (Value::Array(_), Some(_)) => {
                Some(format!("{}: ran although a watched key had changed", exec.readable()))
            }
            (Value::Nil, _) if !perhaps => {
                Some(format!("{}: aborted although no watched key had changed", exec.readable()))
            }
            _ => None,
        }
    }
}

/// A key that a connection watches; it was looked at in one of these states.
#[derive(Debug, Clone, Copy)]
struct Watching<'a> {
    key: &'a Vec<u8>,
    from: u64,
    to: u64,
}
