//! Transactions judged from the outside, by the idea of Elle's list-append: every token is appended once, so a value read tells in
//! which order its appends happened. From that follows which transaction came before which: it wrote the next version (ww), was
//! read (wr), did not see the next version yet (rw), or was over before the other began. In a right history no cycle exists.
//!
//! Judged are requests that consist of APPEND and GET on keys that begin with `list:`. One of unknown outcome counts if a read shows
//! what it appended, and says nothing otherwise. The log is never looked at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::check::Violation;
use crate::history::{ConnectionId, Operation, Outcome, Request};
use crate::value::{Argv, Value};

/// Keys that are judged here.
pub const PREFIX: &[u8] = b"list:";
/// The last byte of each token.
pub const END: u8 = b';';

type Token = Vec<u8>;

/// What a transaction did to a key.
#[derive(Debug)]
enum Act {
    Append(Token),
    Read(Vec<Token>),
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Unknown,
    Refused,
}

#[derive(Debug)]
struct Transaction<'a> {
    operation: &'a Operation,
    acts: Vec<(&'a [u8], Act)>,
    fate: Fate,
}

/// Why one transaction came before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Ww,
    Wr,
    Rw,
    Time,
}

#[derive(Debug, Clone)]
struct Edge {
    to: usize,
    kind: Kind,
    key: Vec<u8>,
}

/// Judges all transactions of a history.
pub fn check(operations: &[Operation]) -> Vec<Violation> {
    let transactions: Vec<Transaction<'_>> = operations.iter().filter_map(transaction).collect();
    let mut found = Findings { transactions: &transactions, violations: Vec::new() };
    let writers = found.writers();
    let orders = found.orders(&writers);
    if found.violations.is_empty() {
        found.lost(&orders);
    }
    if found.violations.is_empty() {
        let graph = Graph::of(&transactions, &orders, &writers);
        for component in graph.components() {
            let text = graph.name(&component, &transactions);
            found.violations.push(Violation::new("transactions", text));
        }
    }
    found.violations
}

/// A request as this judge sees it; none if it is none of its.
fn transaction(operation: &Operation) -> Option<Transaction<'_>> {
    let calls = operation.request.calls();
    let is_ours = |call: &Argv| {
        let name = call.first().map_or(&[][..], Vec::as_slice);
        let key = call.get(1).is_some_and(|key| key.starts_with(PREFIX));
        key && (name == b"APPEND" && call.len() == 3 || name == b"GET" && call.len() == 2)
    };
    if calls.is_empty() || !calls.iter().all(is_ours) {
        return None;
    }
    let replies: &[Value] = match (&operation.request, operation.outcome.reply()) {
        (Request::Transaction(_), Some(Value::Array(replies))) => replies,
        (Request::Command(_), Some(reply)) => std::slice::from_ref(reply),
        _ => &[],
    };
    let fate = match &operation.outcome {
        Outcome::Reply(Value::Nil | Value::Error(_)) if replies.is_empty() => Fate::Refused,
        Outcome::Reply(Value::Error(_)) | Outcome::NotApplied(_) => Fate::Refused,
        Outcome::Reply(_) => Fate::Done,
        Outcome::Unknown(_) => Fate::Unknown,
    };
    let mut acts = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let Some(key) = call.get(1) else { continue };
        match (call.get(2), replies.get(at)) {
            (Some(token), _) => acts.push((key.as_slice(), Act::Append(token.clone()))),
            (None, Some(Value::Bulk(text))) => acts.push((key, Act::Read(tokens(text)))),
            (None, Some(Value::Nil)) => acts.push((key, Act::Read(Vec::new()))),
            (None, _) => {}
        }
    }
    Some(Transaction { operation, acts, fate })
}

fn tokens(text: &[u8]) -> Vec<Token> {
    text.split_inclusive(|byte| *byte == END).map(<[u8]>::to_vec).collect()
}

impl Transaction<'_> {
    fn appends(&self) -> impl Iterator<Item = (&[u8], &Token)> {
        self.acts.iter().filter_map(|(key, act)| match act {
            Act::Append(token) => Some((*key, token)),
            Act::Read(_) => None,
        })
    }

    /// What it read of others: the first look at each key, before it appended there itself.
    fn reads(&self) -> Vec<(&[u8], &[Token])> {
        let mut touched = BTreeSet::new();
        let mut reads = Vec::new();
        for (key, act) in &self.acts {
            if touched.insert(*key)
                && let Act::Read(list) = act
            {
                reads.push((*key, list.as_slice()));
            }
        }
        reads
    }
}

// ---- what single reads show ------------------------------------------------------------------------------------------

/// For each token, who appends it.
type Writers = BTreeMap<Token, usize>;
/// For each key, the order of its appends as far as anybody saw it.
type Orders = BTreeMap<Vec<u8>, Vec<Token>>;

struct Findings<'a> {
    transactions: &'a [Transaction<'a>],
    violations: Vec<Violation>,
}

impl Findings<'_> {
    fn report(&mut self, name: &str, text: &str) {
        self.violations.push(Violation::new("transactions", format!("{name}: {text}")));
    }

    fn writers(&self) -> Writers {
        let all = self.transactions.iter().enumerate();
        all.flat_map(|(at, one)| one.appends().map(move |(_, token)| (token.clone(), at))).collect()
    }

    /// The orders, of which every read is the beginning.
    fn orders(&mut self, writers: &Writers) -> Orders {
        let mut orders = Orders::new();
        for (at, one) in self.transactions.iter().enumerate() {
            for (key, act) in &one.acts {
                let Act::Read(list) = act else { continue };
                let order = orders.entry(key.to_vec()).or_default();
                let shorter = order.len().min(list.len());
                if order.get(..shorter) != list.get(..shorter) {
                    let text =
                        format!("no order of appends fits the other reads and {}", one.readable());
                    self.report("incompatible orders", &text);
                } else if list.len() > order.len() {
                    order.clone_from(list);
                }
                self.judge_read(at, key, list, writers);
            }
            self.judge_own_appends(one);
        }
        orders
    }

    fn judge_read(&mut self, at: usize, key: &[u8], list: &[Token], writers: &Writers) {
        let Some(one) = self.transactions.get(at) else { return };
        let mut seen = BTreeSet::new();
        if let Some(twice) = list.iter().find(|token| !seen.insert(*token)) {
            let text = format!("{} stands there twice: {}", twice.escape_ascii(), one.readable());
            self.report("duplicate append", &text);
        }
        for token in list {
            let writer = writers.get(token).and_then(|writer| self.transactions.get(*writer));
            if writer.is_none_or(|writer| writer.fate == Fate::Refused) {
                let text = format!(
                    "{} was read, and its append was refused or never sent: {}",
                    token.escape_ascii(),
                    one.readable()
                );
                self.report("G1a (aborted read)", &text);
            }
        }
        let Some(last) = list.last() else { return };
        let Some(writer) = writers.get(last).filter(|writer| **writer != at) else { return };
        let Some(writer) = self.transactions.get(*writer) else { return };
        let final_one = writer.appends().filter(|(other, _)| *other == key).last();
        if final_one.is_some_and(|(_, token)| token != last) {
            let text = format!("{} saw half of {}", one.readable(), writer.readable());
            self.report("G1b (intermediate read)", &text);
        }
    }

    /// What a transaction has appended stands at the end of what it reads afterwards.
    fn judge_own_appends(&mut self, one: &Transaction<'_>) {
        let mut own: BTreeMap<&[u8], Vec<&Token>> = BTreeMap::new();
        for (key, act) in &one.acts {
            match act {
                Act::Append(token) => own.entry(key).or_default().push(token),
                Act::Read(list) => {
                    let mine = own.get(key).map_or(&[][..], Vec::as_slice);
                    let tail = list.len().checked_sub(mine.len()).and_then(|at| list.get(at..));
                    if !tail.is_some_and(|tail| tail.iter().eq(mine.iter().copied())) {
                        let text = format!("it does not see its own appends: {}", one.readable());
                        self.report("internal", &text);
                    }
                }
            }
        }
    }

    /// An acknowledged append that a later read does not show.
    fn lost(&mut self, orders: &Orders) {
        let mut last_read: BTreeMap<&[u8], &Transaction<'_>> = BTreeMap::new();
        for one in self.transactions {
            for (key, _) in one.reads() {
                last_read.insert(key, one); // in the order of invocation
            }
        }
        for one in self.transactions.iter().filter(|one| one.fate == Fate::Done) {
            for (key, token) in one.appends() {
                let seen = orders.get(key).is_some_and(|order| order.contains(token));
                let Some(reader) = last_read.get(key).filter(|_| !seen) else { continue };
                let over = one.operation.returned.unwrap_or(Duration::MAX);
                if over < reader.operation.invoked {
                    let text = format!("{} is not seen by {}", one.readable(), reader.readable());
                    self.report("lost append", &text);
                }
            }
        }
    }
}

impl Transaction<'_> {
    fn readable(&self) -> String {
        self.operation.readable()
    }
}

// ---- what they show together -----------------------------------------------------------------------------------------

/// Transactions, and behind them one node for each moment at which one was over: the moments are a chain, so that real time takes
/// few edges.
struct Graph {
    edges: Vec<Vec<Edge>>,
    /// Nodes below this are transactions.
    transactions: usize,
}

impl Graph {
    fn of(transactions: &[Transaction<'_>], orders: &Orders, writers: &Writers) -> Self {
        let count = transactions.len();
        let mut graph = Self { edges: vec![Vec::new(); count], transactions: count };
        // Acknowledged appends that nobody saw come behind all that was seen.
        let mut unseen: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (at, one) in transactions.iter().enumerate() {
            for (key, token) in one.appends().filter(|_| one.fate == Fate::Done) {
                if !orders.get(key).is_some_and(|order| order.contains(token)) {
                    unseen.entry(key).or_default().push(at);
                }
            }
        }
        let behind = |key: &[u8]| unseen.get(key).map_or(&[][..], Vec::as_slice);
        for (key, order) in orders {
            let chain: Vec<usize> =
                order.iter().filter_map(|token| writers.get(token).copied()).collect();
            for pair in chain.windows(2) {
                if let [from, to] = pair {
                    graph.add(*from, *to, Kind::Ww, key);
                }
            }
            if let Some(last) = chain.last() {
                behind(key).iter().for_each(|to| graph.add(*last, *to, Kind::Ww, key));
            }
        }
        for (at, one) in transactions.iter().enumerate() {
            for (key, list) in one.reads() {
                if let Some(writer) = list.last().and_then(|token| writers.get(token)) {
                    graph.add(*writer, at, Kind::Wr, key);
                }
                let next = orders.get(key).and_then(|order| order.get(list.len()));
                match next.and_then(|token| writers.get(token)) {
                    Some(writer) => graph.add(at, *writer, Kind::Rw, key),
                    None => behind(key).iter().for_each(|to| graph.add(at, *to, Kind::Rw, key)),
                }
            }
        }
        graph.add_time(transactions);
        graph
    }

    fn add(&mut self, from: usize, to: usize, kind: Kind, key: &[u8]) {
        if let Some(edges) = self.edges.get_mut(from).filter(|_| from != to) {
            edges.push(Edge { to, kind, key: key.to_vec() });
        }
    }

    fn add_time(&mut self, transactions: &[Transaction<'_>]) {
        let over = |(at, one): (usize, &Transaction<'_>)| {
            Some((one.operation.returned.filter(|_| one.fate == Fate::Done)?, at))
        };
        let mut ends: Vec<(Duration, usize)> =
            transactions.iter().enumerate().filter_map(over).collect();
        ends.sort_unstable();
        for (moment, (_, at)) in ends.iter().enumerate() {
            let node = self.edges.len();
            self.edges.push(Vec::new());
            self.add(*at, node, Kind::Time, b"");
            if moment > 0 {
                self.add(node - 1, node, Kind::Time, b"");
            }
        }
        let mut last: BTreeMap<ConnectionId, usize> = BTreeMap::new();
        for (at, one) in transactions.iter().enumerate() {
            let before = ends.partition_point(|(end, _)| *end < one.operation.invoked);
            if before > 0 {
                self.add(self.transactions + before - 1, at, Kind::Time, b"");
            }
            if one.fate == Fate::Done
                && let Some(earlier) = last.insert(one.operation.connection, at)
            {
                self.add(earlier, at, Kind::Time, b"");
            }
        }
    }

    /// Strongly connected components of more than one node: Kosaraju's two passes.
    fn components(&self) -> Vec<BTreeSet<usize>> {
        let count = self.edges.len();
        let forward: Vec<Vec<usize>> =
            self.edges.iter().map(|edges| edges.iter().map(|edge| edge.to).collect()).collect();
        let mut back = vec![Vec::new(); count];
        for (from, targets) in forward.iter().enumerate() {
            for to in targets {
                if let Some(sources) = back.get_mut(*to) {
                    sources.push(from);
                }
            }
        }
        let mut seen = vec![false; count];
        let mut finished = Vec::with_capacity(count);
        (0..count).for_each(|start| visit(start, &forward, &mut seen, &mut finished));
        let mut seen = vec![false; count];
        let mut components = Vec::new();
        for start in finished.into_iter().rev() {
            let mut component = Vec::new();
            visit(start, &back, &mut seen, &mut component);
            if component.len() > 1 {
                components.push(component.into_iter().collect());
            }
        }
        components
    }

    /// The weakest name that some cycle of a component deserves, and that cycle.
    fn name(&self, component: &BTreeSet<usize>, transactions: &[Transaction<'_>]) -> String {
        use Kind::{Rw, Time, Wr, Ww};
        let classes: [(&str, Kind, &[Kind]); 8] = [
            ("G0 (write cycle)", Ww, &[Ww]),
            ("G1c (circular information flow)", Wr, &[Ww, Wr]),
            ("G-single (read skew)", Rw, &[Ww, Wr]),
            ("G2 (anti-dependency cycle)", Rw, &[Ww, Wr, Rw]),
            ("G0 in real time", Ww, &[Ww, Time]),
            ("G1c in real time", Wr, &[Ww, Wr, Time]),
            ("G-single in real time", Rw, &[Ww, Wr, Time]),
            ("G2 in real time", Rw, &[Ww, Wr, Rw, Time]),
        ];
        for (name, first, rest) in classes {
            for from in component {
                let edges = self.edges.get(*from).map_or(&[][..], Vec::as_slice);
                for edge in edges.iter().filter(|edge| edge.kind == first) {
                    if let Some(path) = self.path(edge.to, *from, component, rest) {
                        return format!("{name}: {}", self.told(*from, edge, path, transactions));
                    }
                }
            }
        }
        "a cycle".to_owned()
    }

    /// The shortest way within a component, by edges of these kinds.
    fn path(
        &self,
        from: usize,
        to: usize,
        within: &BTreeSet<usize>,
        kinds: &[Kind],
    ) -> Option<Vec<(usize, &Edge)>> {
        let mut came: BTreeMap<usize, (usize, &Edge)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to {
                let (mut way, mut at) = (Vec::new(), to);
                while at != from {
                    let (before, edge) = came.get(&at)?;
                    way.push((*before, *edge));
                    at = *before;
                }
                way.reverse();
                return Some(way);
            }
            for edge in self.edges.get(at)?.iter().filter(|edge| kinds.contains(&edge.kind)) {
                if within.contains(&edge.to) && edge.to != from && !came.contains_key(&edge.to) {
                    came.insert(edge.to, (at, edge));
                    queue.push_back(edge.to);
                }
            }
        }
        None
    }

    /// The cycle in words; moments are left out.
    fn told(
        &self,
        from: usize,
        first: &Edge,
        path: Vec<(usize, &Edge)>,
        transactions: &[Transaction<'_>],
    ) -> String {
        let steps = std::iter::once((from, first)).chain(path);
        let mut text = String::new();
        for (from, edge) in steps {
            let key = edge.key.escape_ascii();
            let because = match edge.kind {
                Kind::Ww => format!(", before (the next append to {key}) "),
                Kind::Wr => format!(", before (it was read there, {key}) "),
                Kind::Rw => format!(", before (whose append to {key} it did not see) "),
                Kind::Time => ", before (it was over then, or sent behind it) ".to_owned(),
            };
            if let Some(one) = transactions.get(from).filter(|_| from < self.transactions) {
                text.push_str(&one.readable());
                text.push_str(&because);
            }
        }
        text + "the first"
    }
}

/// Adds what can be reached from `start` and was not seen yet, a node behind all that it leads to.
fn visit(start: usize, edges: &[Vec<usize>], seen: &mut [bool], finished: &mut Vec<usize>) {
    let mut enter = |at: usize| seen.get_mut(at).is_some_and(|seen| !std::mem::replace(seen, true));
    if !enter(start) {
        return;
    }
    let mut stack = vec![(start, 0)];
    while let Some((at, next)) = stack.last_mut() {
        if let Some(to) = edges.get(*at).and_then(|edges| edges.get(*next)).copied() {
            *next += 1;
            if enter(to) {
                stack.push((to, 0));
            }
        } else {
            finished.push(*at);
            stack.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (u64, u64, u64, &'a str, Option<&'a [&'a str]>);

    /// Rows of (client, invoked, returned, calls, reads): `+xa` appends token `a` to key `x`, `?x` reads it. Reads are lists of
    /// tokens in the order of the GETs; none for an unknown outcome, `!` for a refusal.
    fn judge(rows: &[Row<'_>]) -> Option<String> {
        let operations: Vec<Operation> = rows.iter().map(operation).collect();
        let found = check(&operations);
        found.first().map(|violation| {
            assert_eq!(violation.check, "transactions");
            violation.text.split(':').next().unwrap_or_default().to_owned()
        })
    }

    fn list(text: &str) -> Vec<u8> {
        text.bytes().flat_map(|byte| [byte, END]).collect()
    }

    fn operation(row: &Row<'_>) -> Operation {
        let (client, invoked, returned, calls, reads) = row;
        let key = |name: &str| [PREFIX, name.as_bytes()].concat();
        let calls: Vec<Argv> = calls
            .split(' ')
            .map(|call| match call.split_at(1) {
                ("+", rest) => {
                    let (name, token) = rest.split_at(1);
                    vec![b"APPEND".to_vec(), key(name), list(token)]
                }
                (_, rest) => vec![b"GET".to_vec(), key(rest)],
            })
            .collect();
        let outcome = match reads {
            None => Outcome::Unknown("?".into()),
            Some(["!"]) => Outcome::NotApplied("TRYAGAIN".into()),
            Some(reads) => {
                let mut reads = reads.iter();
                let replies = calls.iter().map(|call| match call.len() {
                    3 => Value::Int(1),
                    _ => Value::Bulk(list(reads.next().expect("a list for each GET"))),
                });
                Outcome::Reply(Value::Array(replies.collect()))
            }
        };
        Operation {
            client: format!("c{client}"),
            connection: ConnectionId { node: 1, incarnation: 1, client: *client },
            request: Request::Transaction(calls),
            invoked: Duration::from_millis(*invoked),
            applied_at_invocation: 0,
            returned: Some(Duration::from_millis(*returned)),
            applied_at_return: u64::MAX,
            outcome,
        }
    }

    /// A right history, with overlaps, an open outcome that was seen and one that was not.
    #[test]
    fn right_histories_have_no_cycle() {
        let right = judge(&[
            (1, 0, 9, "+xa +ya", Some(&[])),
            (2, 1, 8, "?x ?y", Some(&["", ""])),
            (3, 2, 8, "?x +xb ?x", Some(&["a", "ab"])),
            (4, 3, 4, "+xc", None),
            (5, 3, 4, "+yd", None),
            (1, 20, 21, "?x ?y", Some(&["abc", "a"])),
            (2, 22, 23, "?x +ze", Some(&["abc"])),
        ]);
        assert_eq!(right, None);
    }

    /// What one read shows alone.
    #[test]
    fn wrong_reads_are_named() {
        let refused = [(1, 0, 1, "+xa", Some(&["!"][..])), (2, 2, 3, "?x", Some(&["a"][..]))];
        assert_eq!(judge(&refused).as_deref(), Some("G1a (aborted read)"));
        let half = [(1, 0, 9, "+xa +xb", Some(&[][..])), (2, 2, 3, "?x", Some(&["a"][..]))];
        assert_eq!(judge(&half).as_deref(), Some("G1b (intermediate read)"));
        let twice = [(1, 0, 9, "+xa", Some(&[][..])), (2, 10, 11, "?x", Some(&["aa"][..]))];
        assert_eq!(judge(&twice).as_deref(), Some("duplicate append"));
        let lost = [(1, 0, 1, "+xa", Some(&[][..])), (2, 2, 3, "?x", Some(&[""][..]))];
        assert_eq!(judge(&lost).as_deref(), Some("lost append"));
        let blind = [(1, 0, 1, "+xa ?x", Some(&[""][..]))];
        assert_eq!(judge(&blind).as_deref(), Some("internal"));
        let orders = [
            (1, 0, 9, "+xa", Some(&[][..])),
            (2, 0, 9, "+xb", Some(&[][..])),
            (3, 10, 11, "?x", Some(&["ab"][..])),
            (4, 10, 11, "?x", Some(&["ba"][..])),
        ];
        assert_eq!(judge(&orders).as_deref(), Some("incompatible orders"));
    }

    /// What only several transactions show together.
    #[test]
    fn cycles_are_named() {
        let write_cycle = [
            (1, 0, 9, "+xa +ya", Some(&[][..])),
            (2, 0, 9, "+xb +yb", Some(&[][..])),
            (3, 0, 9, "?x", Some(&["ab"][..])),
            (4, 0, 9, "?y", Some(&["ba"][..])),
        ];
        assert_eq!(judge(&write_cycle).as_deref(), Some("G0 (write cycle)"));
        let flow = [(1, 0, 9, "+xa ?y", Some(&["b"][..])), (2, 0, 9, "+yb ?x", Some(&["a"][..]))];
        assert_eq!(judge(&flow).as_deref(), Some("G1c (circular information flow)"));
        let skew = [
            (1, 0, 9, "+xa +ya", Some(&[][..])),
            (2, 0, 9, "?x ?y", Some(&["a", ""][..])),
            (3, 0, 9, "?y", Some(&["a"][..])),
        ];
        assert_eq!(judge(&skew).as_deref(), Some("G-single (read skew)"));
        let write_skew = [
            (1, 0, 9, "?x +ya", Some(&[""][..])),
            (2, 0, 9, "?y +xb", Some(&[""][..])),
            (3, 0, 9, "?x ?y", Some(&["b", "a"][..])),
        ];
        assert_eq!(judge(&write_skew).as_deref(), Some("G2 (anti-dependency cycle)"));
        let stale = [
            (1, 0, 1, "+xa", Some(&[][..])),
            (2, 2, 3, "?x", Some(&[""][..])),
            (3, 4, 5, "?x", Some(&["a"][..])),
        ];
        assert_eq!(judge(&stale).as_deref(), Some("G-single in real time"));
        let late = [
            (1, 0, 1, "+xa", Some(&[][..])),
            (2, 2, 3, "+xb", Some(&[][..])),
            (3, 4, 5, "?x", Some(&["ba"][..])),
        ];
        assert_eq!(judge(&late).as_deref(), Some("G0 in real time"));
    }
}
