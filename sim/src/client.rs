//! A client of the simulation: a connection to one node, requests one at a time or as a pipeline, and a history of what became
//! of each. It never retries a request whose outcome it does not know, and leaves a connection that has become doubtful.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::check::Violation;
use crate::evidence::Evidence;
use crate::history::{CUT_OFF, ConnectionId, Listening, Outcome, Request, SharedHistory};
use crate::ports::net::ClientStream;
use crate::trace::{SharedTrace, What, Who, note, readable};
use crate::value::{Parsed, Value, argv, encode_command, parse};

/// Longer than any request may wait in a node.
const PATIENCE: Duration = Duration::from_secs(12);
/// A slow reader takes as many bytes at a time, after such a pause.
const SLOW_BYTES: usize = 512;
const SLOWNESS: Duration = Duration::from_millis(5);

/// How long a slow reader takes for so many bytes.
pub fn reading_takes(bytes: usize) -> Duration {
    SLOWNESS * bytes.div_ceil(SLOW_BYTES) as u32
}

/// What stands for a reply that is none. No node refuses anything with these words.
pub const MALFORMED: &str = "MALFORMED reply";
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);

/// Where clients note down what they do.
#[derive(Clone)]
pub struct Notebook {
    /// The operations.
    pub history: SharedHistory,
    /// What the nodes have applied.
    pub evidence: Rc<RefCell<Evidence>>,
    /// The trace.
    pub trace: SharedTrace,
}

impl Notebook {
    /// Simulated time, and the highest index that any node has applied.
    fn now(&self) -> (Duration, u64) {
        (turmoil::sim_elapsed().unwrap_or_default(), self.evidence.borrow().highest())
    }
}

struct Connection {
    stream: ClientStream,
    id: ConnectionId,
    input: Vec<u8>,
    /// What a transaction was answered that no server may answer.
    wrong: Option<String>,
    reads_slowly: bool,
}

/// See the file's head.
pub struct Client {
    name: String,
    node: u64,
    connection: Option<Connection>,
    /// Whether new connections speak RESP3. Its nil and maps are read as RESP2 has them.
    pub resp3: bool,
    /// Whether it takes its time over each piece of a reply.
    pub reads_slowly: bool,
    notebook: Notebook,
}

impl Client {
    /// A client of one node.
    pub fn new(name: String, node: u64, notebook: Notebook) -> Self {
        Self { name, node, connection: None, resp3: false, reads_slowly: false, notebook }
    }

    /// Where it is.
    pub fn node(&self) -> u64 {
        self.node
    }

    /// The connection that it has, if it has one.
    pub fn connection(&self) -> Option<ConnectionId> {
        self.connection.as_ref().map(|connection| connection.id)
    }

    /// Goes to another node.
    pub fn move_to(&mut self, node: u64) {
        (self.node, self.connection) = (node, None);
    }

    /// From now on the nodes show what they hold.
    pub fn ask_for_final_states(&self) {
        self.notebook.evidence.borrow_mut().closing = true;
    }

    /// Sends one request and waits for what becomes of it.
    pub async fn call(&mut self, request: Request) -> Outcome {
        let outcomes = self.pipeline(vec![request]).await;
        outcomes.into_iter().next().expect("one outcome for each request")
    }

    /// Sends requests at once and waits for what becomes of each.
    pub async fn pipeline(&mut self, requests: Vec<Request>) -> Vec<Outcome> {
        let mut connection = self.connected().await;
        if let Some(connection) = &mut connection {
            self.demand_silence(connection).await;
        }
        let Some(mut connection) = connection else {
            return requests.iter().map(|_| Outcome::NotApplied("no connection".into())).collect();
        };
        let until = Instant::now() + PATIENCE;
        connection.reads_slowly = self.reads_slowly;
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| encode(&mut bytes, request));
        let tickets: Vec<usize> =
            requests.iter().map(|request| self.invoke(connection.id, request)).collect();
        let mut sound = connection.stream.write_all(&bytes).await.is_ok();
        let mut outcomes = Vec::with_capacity(requests.len());
        for (request, ticket) in requests.iter().zip(tickets) {
            let outcome = if sound {
                let answer = timeout_at(until, connection.outcome(request)).await;
                answer.ok().and_then(Result::ok)
            } else {
                None
            };
            if let Some(text) = connection.wrong.take() {
                self.violated(&format!("{}: {text}", request.readable()));
            }
            sound &= outcome.is_some();
            // Also what stays open has its time: that at which the client gave up.
            let outcome = outcome.unwrap_or_else(|| Outcome::Unknown("no answer".into()));
            let now = self.notebook.now();
            self.notebook.history.borrow_mut().complete(ticket, outcome.clone(), now);
            outcomes.push(outcome);
        }
        self.note(&requests, &outcomes);
        if sound && !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Unknown(_))) {
            self.connection = Some(connection);
        }
        outcomes
    }

    /// Sends requests, the last of them without its last `short` bytes, and hangs up: it must never be executed. `twice` is a planted bug:
    /// the last whole request is sent again.
    pub async fn hang_up_inside(&mut self, requests: Vec<Request>, short: usize, twice: bool) {
        let Some(mut connection) = self.connected().await else { return };
        let mut bytes = Vec::new();
        let mut whole = 0;
        for request in &requests {
            whole = bytes.len();
            encode(&mut bytes, request);
        }
        bytes.truncate(bytes.len().saturating_sub(short.max(1)).max(whole));
        if twice && let [.., again, _] = &requests[..] {
            bytes.truncate(whole);
            encode(&mut bytes, again);
        }
        let tickets: Vec<usize> =
            requests.iter().map(|request| self.invoke(connection.id, request)).collect();
        // Whether the bytes leave or not: nobody waits for an answer.
        let _ = connection.stream.write_all(&bytes).await;
        if let Some(last) = tickets.last() {
            let outcome = Outcome::NotApplied(CUT_OFF.into());
            let now = self.notebook.now();
            self.notebook.history.borrow_mut().complete(*last, outcome, now);
        }
        self.say(format!("hangs up inside {}", listed(&requests)));
    }

    /// Subscribes, takes what it is told for a while, and ends: in words, so that nothing may be missing, or by hanging up. Answers what
    /// became of its requests.
    pub async fn listen(
        &mut self,
        begin: Request,
        end: Option<Request>,
        time: Duration,
    ) -> Vec<Outcome> {
        let Some(mut connection) = self.connected().await else {
            return vec![Outcome::NotApplied("no connection".into())];
        };
        self.demand_silence(&mut connection).await;
        let mut one = Listening {
            client: self.name.clone(),
            connection: connection.id,
            messages: Vec::new(),
            is_whole: false,
        };
        let mut outcomes = vec![self.ask(&mut connection, &begin, &mut one.messages).await];
        let is_told = |outcome: &Outcome| matches!(outcome, Outcome::Reply(Value::Array(_)));
        if outcomes.iter().all(is_told) {
            let until = Instant::now() + time;
            let mut holds = true;
            while holds && Instant::now() < until {
                match timeout_at(until, connection.value()).await {
                    Ok(Ok(message)) => one.messages.push(message),
                    Ok(Err(_)) => holds = false,
                    Err(_) => break,
                }
            }
            if let Some(end) = end.filter(|_| holds) {
                let outcome = self.ask(&mut connection, &end, &mut one.messages).await;
                one.is_whole = is_told(&outcome);
                outcomes.push(outcome);
            }
            self.say(format!("n{}: heard {} messages", self.node, one.messages.len()));
        }
        if one.is_whole {
            self.connection = Some(connection); // it is as good as any other again
        }
        self.notebook.history.borrow_mut().listenings.push(one);
        outcomes
    }

    /// Sends one request; messages that come before its answer are kept apart.
    async fn ask(
        &mut self,
        connection: &mut Connection,
        request: &Request,
        messages: &mut Vec<Value>,
    ) -> Outcome {
        let until = Instant::now() + PATIENCE;
        let mut bytes = Vec::new();
        encode(&mut bytes, request);
        let ticket = self.invoke(connection.id, request);
        let mut outcome = Outcome::Unknown("no answer".into());
        if connection.stream.write_all(&bytes).await.is_ok() {
            while let Ok(Ok(value)) = timeout_at(until, connection.value()).await {
                if is_message(&value) {
                    messages.push(value);
                } else {
                    outcome = Outcome::of(value);
                    break;
                }
            }
        }
        let now = self.notebook.now();
        self.notebook.history.borrow_mut().complete(ticket, outcome.clone(), now);
        self.note(std::slice::from_ref(request), std::slice::from_ref(&outcome));
        outcome
    }

    /// Between two requests a server has nothing to say: a reply too many would be taken for the answer to the next request.
    async fn demand_silence(&self, connection: &mut Connection) {
        connection.read_what_has_come().await;
        if !connection.input.is_empty() {
            let text = readable(&connection.input);
            self.violated(&format!("{text} came although nothing had been asked"));
        }
    }

    fn violated(&self, what: &str) {
        let text = format!("{} on n{}: {what}", self.name, self.node);
        let mut evidence = self.notebook.evidence.borrow_mut();
        evidence.violations.push(Violation::new("protocol", text));
    }

    fn invoke(&self, connection: ConnectionId, request: &Request) -> usize {
        let now = self.notebook.now();
        let mut history = self.notebook.history.borrow_mut();
        history.invoke(&self.name, connection, request.clone(), now)
    }

    fn note(&self, requests: &[Request], outcomes: &[Outcome]) {
        for (request, outcome) in requests.iter().zip(outcomes) {
            let what = format!("n{}: {} -> {}", self.node, request.readable(), outcome.readable());
            self.say(what);
        }
    }

    /// Into the trace.
    fn say(&self, what: String) {
        let number = self.name.trim_start_matches('c').parse().unwrap_or_default();
        note(&self.notebook.trace, Who::Client(number), What::Note(what));
    }

    /// The connection, taken out; a new one first asks who it is there and whether the node serves.
    async fn connected(&mut self) -> Option<Connection> {
        if let Some(connection) = self.connection.take() {
            return Some(connection);
        }
        let connect = ClientStream::connect(self.node);
        let stream = timeout(CONNECT_PATIENCE, connect).await.ok()?.ok()?;
        let id = ConnectionId { node: self.node, incarnation: 0, client: 0 };
        let mut connection =
            Connection { stream, id, input: Vec::new(), wrong: None, reads_slowly: false };
        let greeting = async {
            let mut bytes = Vec::new();
            if self.resp3 {
                encode_command(&mut bytes, &argv([b"HELLO", b"3"]));
            }
            encode_command(&mut bytes, &argv([b"CLIENT", b"ID"]));
            encode_command(&mut bytes, &argv([b"PING"]));
            connection.stream.write_all(&bytes).await?;
            if self.resp3 {
                connection.value().await?;
            }
            let id = connection.value().await?;
            io::Result::Ok((id, connection.value().await?))
        };
        let (Value::Int(client), Value::Simple(_)) =
            timeout(CONNECT_PATIENCE, greeting).await.ok()?.ok()?
        else {
            return None;
        };
        let incarnation = self.notebook.evidence.borrow().incarnation_of(self.node);
        connection.id = ConnectionId { node: self.node, incarnation, client: client as u64 };
        Some(connection)
    }
}

impl Connection {
    /// The next reply.
    async fn value(&mut self) -> io::Result<Value> {
        read_reply(&mut self.stream, &mut self.input, self.reads_slowly).await
    }

    /// Takes what lies there without waiting for more. An end of the stream shows with the next request.
    async fn read_what_has_come(&mut self) {
        let mut bytes = [0; 4096];
        let mut buffer = ReadBuf::new(&mut bytes);
        let stream = &mut self.stream;
        let read = poll_fn(|context| {
            Poll::Ready(Pin::new(&mut *stream).poll_read(context, &mut buffer).is_ready())
        });
        if read.await {
            self.input.extend_from_slice(buffer.filled());
        }
    }

    /// What became of a request: of a transaction, what EXEC says.
    async fn outcome(&mut self, request: &Request) -> io::Result<Outcome> {
        let calls = match request {
            Request::Command(_) => return self.value().await.map(Outcome::of),
            Request::Transaction(calls) | Request::Discarded(calls) => calls,
        };
        let mut before = Vec::with_capacity(calls.len() + 1);
        for _ in 0..=calls.len() {
            before.push(self.value().await?);
        }
        let exec = self.value().await?;
        self.wrong = match request {
            Request::Discarded(_) => judge_discard(&before, &exec),
            _ => judge_transaction(&before, &exec),
        };
        Ok(Outcome::of(exec))
    }
}

/// The next reply of a stream. `input` is what has been read of it and not used yet.
///
/// # Errors
/// Those of the stream; `UnexpectedEof` if it ends before the reply does.
pub async fn read_reply(
    stream: &mut ClientStream,
    input: &mut Vec<u8>,
    slowly: bool,
) -> io::Result<Value> {
    loop {
        match parse(input) {
            Parsed::Value(value, used) => {
                input.drain(..used);
                return Ok(value);
            }
            Parsed::NeedMore => {}
            // No reply at all: the witness will find that no command answers so.
            Parsed::Malformed => return Ok(Value::Error(MALFORMED.into())),
        }
        let mut buffer = [0; 4096];
        let mut room = buffer.len();
        if slowly {
            sleep(SLOWNESS).await;
            room = SLOW_BYTES;
        }
        let read = stream.read(buffer.get_mut(..room).unwrap_or_default()).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        input.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
}

/// MULTI is answered OK and every call QUEUED; a call that is refused instead makes EXEC refuse, too. A node that is about to end refuses
/// MULTI already: then it must refuse all that follows, which would run on its own otherwise. Answers what is wrong.
fn judge_transaction(before: &[Value], exec: &Value) -> Option<String> {
    let queued = Value::Simple("QUEUED".to_owned());
    let (multi, calls) = before.split_first()?;
    let is_error = |reply: &Value| matches!(reply, Value::Error(_));
    let refused = calls.iter().any(is_error);
    let strange = calls.iter().find(|reply| **reply != queued && !is_error(reply));
    if is_error(multi) && calls.iter().all(is_error) && is_error(exec) {
        None
    } else if *multi != Value::ok() {
        Some(format!("MULTI answered {}", multi.readable()))
    } else if let Some(reply) = strange {
        Some(format!("a call inside MULTI answered {}", reply.readable()))
    } else if refused && !is_error(exec) {
        Some(format!("a call inside MULTI was refused, and EXEC answered {}", exec.readable()))
    } else {
        None
    }
}

/// As with EXEC; DISCARD is answered OK, unless MULTI was refused already.
fn judge_discard(before: &[Value], discard: &Value) -> Option<String> {
    let strange = || format!("DISCARD answered {}", discard.readable());
    let refused = Value::Error(String::new());
    let none_begun =
        [before.first(), Some(discard)].iter().all(|reply| matches!(reply, Some(Value::Error(_))));
    let is_due = none_begun || *discard == Value::ok();
    judge_transaction(before, &refused).or_else(|| (!is_due).then(strange))
}

fn encode(out: &mut Vec<u8>, request: &Request) {
    match request {
        Request::Command(argv) => encode_command(out, argv),
        Request::Transaction(calls) => {
            encode_command(out, &argv([b"MULTI"]));
            calls.iter().for_each(|call| encode_command(out, call));
            encode_command(out, &argv([b"EXEC"]));
        }
        Request::Discarded(calls) => {
            encode_command(out, &argv([b"MULTI"]));
            calls.iter().for_each(|call| encode_command(out, call));
            encode_command(out, &argv([b"DISCARD"]));
        }
    }
}

fn is_message(value: &Value) -> bool {
    let Value::Array(items) = value else { return false };
    let kind = items.first();
    [&b"message"[..], b"pmessage"].iter().any(|it| kind == Some(&Value::Bulk(it.to_vec())))
}

fn listed(requests: &[Request]) -> String {
    requests.iter().map(Request::readable).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each reply inside a transaction has its one form; a refused call must end the transaction.
    #[test]
    fn replies_inside_a_transaction_are_demanded() {
        let (ok, queued) = (Value::ok(), Value::Simple("QUEUED".into()));
        let (refused, ran) = (Value::Error("LOADING".into()), Value::Array(Vec::new()));
        let aborted = Value::Error("EXECABORT".into());
        let judge = |multi: &Value, call: &Value, exec: &Value| {
            judge_transaction(&[multi.clone(), call.clone()], exec).is_none()
        };
        assert!(judge(&ok, &queued, &ran) && judge(&ok, &queued, &Value::Nil));
        assert!(judge(&ok, &refused, &aborted));
        assert!(!judge(&ok, &refused, &ran));
        assert!(judge(&refused, &refused, &aborted));
        assert!(!judge(&refused, &queued, &aborted) && !judge(&refused, &refused, &ran));
        assert!(!judge(&refused, &ran, &aborted), "it ran outside of any transaction");
        assert!(!judge(&queued, &queued, &ran));
        assert!(!judge(&ok, &ok, &ran));
        assert!(!judge(&ok, &Value::Int(1), &ran));
        let discard =
            |call: &Value, last: &Value| judge_discard(&[ok.clone(), call.clone()], last).is_none();
        assert!(discard(&queued, &ok) && discard(&refused, &ok));
        assert!(!discard(&queued, &ran) && !discard(&ok, &ok) && !discard(&queued, &refused));
        assert!(judge_discard(&[refused.clone(), refused.clone()], &refused).is_none());
    }
}
