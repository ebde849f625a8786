//! One connected client as the event loop sees it: its session, and the line of replies it is owed, in order.
//!
//! Replies leave in the order of the commands (one line per connection). A reply that is known at once goes straight
//! into the output while nothing is owed before it; otherwise it takes its place in the line. Reads that cannot run yet
//! stand in the line with their argv, so that a write behind them can take them along into its batch.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};
use steadfast_core::reply::Reply;
use steadfast_core::stamp::UnixMillis;

use crate::output_limit::OutputLimit;
use crate::pubsub::is_subscription;
use crate::resp::{Protocol, encode};
use crate::session::{Consistency, Session};

/// Replies owed at the most before the connection's input is left unread: a pipeline's depth is bounded by it.
pub(crate) const LINE_PLACES_MAX: usize = 16 * 1024;
/// Unsent output above which no further command of the connection is run.
pub(crate) const OUTPUT_BYTES_PAUSE: usize = 1 << 20;

/// Replies that a client may leave untaken before its connection ends: more than any single one can be.
pub(crate) const UNTAKEN_BYTES_MAX: usize = 1 << 30;

/// What one command is owed, while it is owed.
#[derive(Debug)]
pub(crate) enum Place {
    /// Known, but something before it is not.
    Ready(Vec<u8>),
    /// In a batch: the state machine will say.
    Batched { protocol: Protocol, exec: Option<Box<ExecPlan>> },
    /// A read that has not run.
    Read(Box<WaitingRead>),
}

/// A read that waits for its read index, for earlier commands of its connection, or for a tick.
#[derive(Debug)]
pub(crate) struct WaitingRead {
    pub(crate) protocol: Protocol,
    pub(crate) db: usize,
    pub(crate) argv: Vec<Vec<u8>>,
    /// What it may miss.
    pub(crate) consistency: Consistency,
    /// Whether this is WATCH, whose answer is a precondition kept in the session.
    pub(crate) watch: bool,
    /// The applied index that it needs, once its read round has been answered.
    pub(crate) index: Option<u64>,
    /// The stamp that it was last found to wait for, and until when it may.
    pub(crate) tick: Option<(UnixMillis, Duration)>,
}

/// An EXEC with commands that this node answers itself. They run only once the state machine has said that the transaction
/// ran: a watched key that changed, or a refusal, must leave the connection and the node as they were.
#[derive(Debug, Default)]
pub(crate) struct ExecPlan {
    /// For each queued command, in order: the words of a local one, or none for one that went into the log.
    pub(crate) calls: Vec<Option<Vec<Vec<u8>>>>,
    /// Whether the reply of the last one is all that is answered (RESET).
    pub(crate) answers_last: bool,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) session: RefCell<Session>,
    pub(crate) line: RefCell<Line>,
    /// The ticket of a command that may wait for a key, until what becomes of it is known. It may be known in the state, and not here.
    pub(crate) may_wait: Cell<Option<u64>>,
    /// Where that one stands among those that wait.
    pub(crate) waits_at: Cell<Option<(u64, u32)>>,
    /// It may have subscriptions: a command that begins some has been sent on.
    pub(crate) subscriber: Cell<bool>,
    /// Set when the connection is gone: nothing is written any more.
    pub(crate) gone: Cell<bool>,
}

/// The line of replies, and the output they end in.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(crate) struct Line {
    /// Encoded replies that may leave.
    pub(crate) output: Vec<u8>,
    /// Bytes of it that have left.
    pub(crate) sent: usize,
    places: VecDeque<Place>,
    /// Ticket of the first place. Tickets count all commands that took a place, ever.
    first: u64,
    /// Places in the line that are in a batch.
    batched: usize,
    /// Places that are reads which have not run.
    reads: usize,
    /// Reads that could run wait for output to leave.
    paused: bool,
    /// No further command is run until the line is empty (WATCH).
    pub(crate) stalled: bool,
    /// A command that begins or ends subscriptions is under way: until the line is empty it is not known what its client may run.
    pub(crate) subscribing: bool,
    /// A transaction was applied, and its reply is not filled in yet: what is told now comes behind it.
    executing: bool,
    /// It is told nothing more.
    pub(crate) deaf: bool,
    /// Since when more than the soft limit has been left untaken.
    soft_since: Option<Duration>,
    /// Close once everything owed has left.
    pub(crate) closing: bool,
    /// More is kept for the client than it may leave untaken, or it has missed what it was to be told: the connection ends.
    pub(crate) overrun: bool,
    /// Bytes of replies that wait for earlier ones.
    held_bytes: usize,
    /// The connection has run since it was last looked at.
    active: bool,
    waker: Option<Waker>,
}

impl Client {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            id: session.id,
            session: RefCell::new(session),
            line: RefCell::new(Line::default()),
            may_wait: Cell::new(None),
            waits_at: Cell::new(None),
            subscriber: Cell::new(false),
            gone: Cell::new(false),
        }
    }
}

impl Client {
    /// A command that begins or ends subscriptions has been sent on.
    pub(crate) fn begins_subscribing(&self) {
        self.subscriber.set(true);
        self.line.borrow_mut().subscribing = true;
    }

    /// Whether a command has to wait until it is known what its client is subscribed to: only in RESP2, and not one that
    /// subscribers may run in any case.
    pub(crate) fn awaits_subscriptions(&self, argv: &[&[u8]]) -> bool {
        let is_open = !self.line.borrow().subscribing;
        if is_open || self.session.borrow().protocol == Protocol::Resp3 {
            return false;
        }
        let spec = steadfast_core::commands::named(argv).and_then(Result::ok);
        !spec.is_some_and(|spec| is_subscription(spec.flags))
    }
}

impl Line {
    /// A reply that is known now.
    pub(crate) fn answer(&mut self, protocol: Protocol, reply: &Reply<'_>) {
        if self.places.is_empty() || is_planted(Canary::KnownRepliesOvertake) {
            encode(reply, protocol, &mut self.output);
        } else {
            let bytes = self.hold(protocol, reply);
            self.places.push_back(Place::Ready(bytes));
        }
    }

    /// What its client is told without asking. It stands behind everything whose effects came before it: replies of later commands
    /// are not known yet, so that is what is in the output.
    pub(crate) fn push(
        &mut self,
        protocol: Protocol,
        message: &Reply<'_>,
        limit: OutputLimit,
        now: Duration,
    ) {
        if self.deaf || self.overrun {
            return;
        }
        if self.executing {
            let bytes = self.hold(protocol, message);
            self.places.push_back(Place::Ready(bytes));
        } else {
            encode(message, protocol, &mut self.output);
        }
        self.bound(limit, now);
        self.wake();
    }

    /// Ends the connection if its client has left more untaken than it may.
    pub(crate) fn bound(&mut self, limit: OutputLimit, now: Duration) {
        let untaken = (self.unsent() + self.held_bytes) as u64;
        let exceeds = |bytes: u64| bytes > 0 && untaken > bytes;
        let mut is_over = exceeds(limit.hard_bytes);
        if exceeds(limit.soft_bytes) {
            let since = *self.soft_since.get_or_insert(now);
            is_over |= now.saturating_sub(since) > limit.soft_time;
        } else {
            self.soft_since = None;
        }
        if is_over && !self.overrun {
            self.abandon();
            self.wake();
        }
    }

    /// The connection ends, or is gone. Its output may be large, and is nobody's any more.
    pub(crate) fn abandon(&mut self) {
        self.overrun = true;
        (self.output, self.sent) = (Vec::new(), 0);
    }

    /// Bytes that may leave and have not.
    pub(crate) fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Forgets what has left, if that is most of the output: a client that takes some all the time may never take the last of it.
    pub(crate) fn forget_sent(&mut self) {
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        } else if self.sent * 2 >= self.output.len() {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Of a planted bug: the head of an array whose elements come as replies of their own.
    #[cfg(feature = "canaries")]
    pub(crate) fn answer_head(&mut self, count: usize) {
        let head = format!("*{count}\r\n").into_bytes();
        self.held_bytes += head.len();
        self.places.push_back(Place::Ready(head));
        self.release();
    }

    /// Encodes a reply that has to wait for earlier ones.
    fn hold(&mut self, protocol: Protocol, reply: &Reply<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.overrun {
            encode(reply, protocol, &mut bytes);
            self.held_bytes += bytes.len();
            self.overrun = self.held_bytes + self.unsent() > UNTAKEN_BYTES_MAX;
        }
        bytes
    }

    /// Takes a place in the line; answers its ticket.
    pub(crate) fn stand(&mut self, place: Place) -> u64 {
        match &place {
            Place::Ready(_) => {}
            Place::Batched { .. } => self.batched += 1,
            Place::Read(_) => self.reads += 1,
        }
        self.places.push_back(place);
        self.first + self.places.len() as u64 - 1
    }

    /// The plan of an EXEC that ran and whose local commands are still to run; its place stays in the line meanwhile.
    pub(crate) fn take_plan(&mut self, ticket: u64) -> Option<Box<ExecPlan>> {
        match self.place(ticket)? {
            Place::Batched { exec, .. } => {
                let plan = exec.take();
                self.executing = plan.is_some();
                plan
            }
            Place::Ready(_) | Place::Read(_) => None,
        }
    }

    /// Fills the place of a ticket, and lets everything leave that is no longer held up.
    /// Answers whether a WATCH was refused: the next EXEC must not run without it.
    pub(crate) fn fill(&mut self, ticket: u64, reply: &Reply<'_>) -> bool {
        let at = ticket.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some((at, place)) = at.and_then(|at| Some((at, self.places.get(at)?))) else {
            return false;
        };
        let (protocol, watch) = match place {
            Place::Ready(_) => return false,
            Place::Batched { protocol, .. } => {
                self.batched -= 1;
                (*protocol, false)
            }
            Place::Read(read) => {
                self.reads -= 1;
                (read.protocol, read.watch)
            }
        };
        self.executing = false;
        if at == 0 {
            self.places.pop_front();
            self.first += 1;
            if !self.overrun {
                encode(reply, protocol, &mut self.output);
            }
            self.release();
        } else {
            let bytes = self.hold(protocol, reply);
            if let Some(place) = self.places.get_mut(at) {
                *place = Place::Ready(bytes);
            }
        }
        self.overrun |= self.unsent() + self.held_bytes > UNTAKEN_BYTES_MAX;
        watch && matches!(reply, Reply::Error(_))
    }

    /// Of a planted bug: the reply of the last request in the line is known ahead of it.
    pub(crate) fn fill_last(&mut self, reply: &Reply<'_>) {
        self.fill((self.first + self.places.len() as u64).saturating_sub(1), reply);
    }

    /// Moves known replies from the head of the line into the output.
    fn release(&mut self) {
        while let Some(Place::Ready(bytes)) = self.places.front() {
            self.held_bytes -= bytes.len();
            self.output.extend_from_slice(bytes);
            self.places.pop_front();
            self.first += 1;
        }
        if self.places.is_empty() {
            (self.stalled, self.subscribing) = (false, false);
        }
    }

    /// Whether a read stands at the head of the line.
    pub(crate) fn heads_with_read(&self) -> bool {
        matches!(self.places.front(), Some(Place::Read(_)))
    }

    /// Runs the read at the head of the line, if there is one and the state at `applied` may answer it.
    /// `run` answers none if the read must go on waiting. Answers whether a read left the line.
    pub(crate) fn run_head<'m>(
        &mut self,
        applied: u64,
        run: impl FnOnce(&WaitingRead) -> Option<Reply<'m>>,
    ) -> bool {
        let Some(Place::Read(read)) = self.places.front() else { return false };
        if read.index.is_none_or(|index| index > applied) {
            return false;
        }
        if self.unsent() >= OUTPUT_BYTES_PAUSE && !is_planted(Canary::OutputUnbounded) {
            self.paused = true;
            mark::reached(Mark::OutputPaused);
            return false;
        }
        let Some(reply) = run(read) else { return false };
        encode(&reply, read.protocol, &mut self.output);
        self.places.pop_front();
        self.first += 1;
        self.reads -= 1;
        self.release();
        true
    }

    /// Notes the applied index that a waiting read needs. Nothing happens if it has left or went into a batch.
    pub(crate) fn confirm_read(&mut self, ticket: u64, index: u64) {
        if let Some(Place::Read(read)) = self.place(ticket) {
            read.index = Some(index);
        }
    }

    /// Whether reads were held up by output that has left since: they are to be run again.
    pub(crate) fn resumes(&mut self) -> bool {
        self.unsent() < OUTPUT_BYTES_PAUSE && std::mem::take(&mut self.paused)
    }

    /// Whether the ticket stands for a read that has not run. It may have run, or gone into a batch.
    pub(crate) fn is_waiting_read(&mut self, ticket: u64) -> bool {
        matches!(self.place(ticket), Some(Place::Read(_)))
    }

    /// The read at the head needs the log's time to reach `stamp`: answers its ticket and its deadline, once for each stamp.
    /// It has until `deadline` from when it first needed a tick: what held it up before may have been its own client.
    pub(crate) fn await_stamp(
        &mut self,
        stamp: UnixMillis,
        deadline: Duration,
    ) -> Option<(u64, Duration)> {
        let Some(Place::Read(read)) = self.places.front_mut() else { return None };
        let deadline = match read.tick {
            Some((known, _)) if known == stamp => return None,
            Some((_, first)) => first.min(deadline),
            None => deadline,
        };
        read.tick = Some((stamp, deadline));
        Some((self.first, deadline))
    }

    fn place(&mut self, ticket: u64) -> Option<&mut Place> {
        let at = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        self.places.get_mut(at)
    }

    /// Hands every read that has not run to `batch`, in order: a write stands behind them, and they go with it.
    pub(crate) fn batch_reads(&mut self, mut batch: impl FnMut(u64, &WaitingRead)) {
        if self.reads == 0 {
            return;
        }
        mark::reached(Mark::ReadTakenAlong);
        for (at, place) in self.places.iter_mut().enumerate() {
            if let Place::Read(read) = place {
                batch(self.first + at as u64, read);
                *place = Place::Batched { protocol: read.protocol, exec: None };
                self.batched += 1;
            }
        }
        self.reads = 0;
    }

    /// Looks whether the connection has done nothing since the last look: then it gives its buffers back.
    pub(crate) fn rest_if_idle(&mut self) {
        let idle = !std::mem::take(&mut self.active);
        if idle && self.places.is_empty() && self.output.is_empty() {
            (self.output, self.places) = (Vec::new(), VecDeque::new());
        }
    }

    /// Whether nothing is owed.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether the connection may run a further command now.
    pub(crate) fn is_open(&self) -> bool {
        !self.stalled
            && !self.closing
            && !self.overrun
            && self.places.len() < LINE_PLACES_MAX
            && (self.unsent() < OUTPUT_BYTES_PAUSE || is_planted(Canary::OutputUnbounded))
    }

    /// Remembers whom to wake when output can leave or input may be run again.
    pub(crate) fn sleep(&mut self, waker: &Waker) {
        self.active = true;
        match &mut self.waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

impl ExecPlan {
    /// Runs the local commands by `run`, in order, and puts their replies between those of the state machine.
    pub(crate) fn carry_out(
        self,
        applied: Vec<Reply<'static>>,
        mut run: impl FnMut(&[Vec<u8>]) -> Reply<'static>,
    ) -> Reply<'static> {
        let mut applied = applied.into_iter();
        let mut next = || {
            let lost = || Reply::Error(crate::refusal::unknown_outcome());
            applied.next().unwrap_or_else(lost)
        };
        let replies =
            self.calls.into_iter().map(|call| call.map_or_else(&mut next, |argv| run(&argv)));
        let mut replies: Vec<Reply<'static>> = replies.collect();
        match replies.pop() {
            Some(last) if self.answers_last => last,
            last => {
                replies.extend(last);
                Reply::Array(replies)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &[u8]) -> Place {
        Place::Read(Box::new(WaitingRead {
            protocol: Protocol::Resp2,
            db: 0,
            argv: vec![word.to_vec()],
            consistency: Consistency::Linearizable,
            watch: false,
            index: None,
            tick: None,
        }))
    }

    fn batched() -> Place {
        Place::Batched { protocol: Protocol::Resp2, exec: None }
    }

    /// A WATCH that is refused says so: the EXEC behind it must know.
    #[test]
    fn refused_watches_are_told() {
        let mut line = Line::default();
        let mut place = |watch| {
            let Place::Read(mut waiting) = read(b"WATCH") else { panic!("it is a read") };
            waiting.watch = watch;
            line.stand(Place::Read(waiting))
        };
        let (watch, other) = (place(true), place(false));
        let refusal = Reply::Error(crate::refusal::read_timed_out());
        assert!(line.fill(watch, &refusal) && !line.fill(other, &refusal));
    }

    const NO_LIMIT: OutputLimit =
        OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_time: Duration::ZERO };

    fn tell(line: &mut Line, text: &'static str, limit: OutputLimit, now: u64) {
        let message = Reply::Push(vec![Reply::bulk(text.as_bytes())]);
        line.push(Protocol::Resp2, &message, limit, Duration::from_secs(now));
    }

    /// A message is in front of replies that are not known yet, and behind that of a transaction that was applied already.
    #[test]
    fn messages_stand_where_they_were_published() {
        let mut line = Line::default();
        let write = line.stand(batched());
        line.answer(Protocol::Resp2, &Reply::Ok);
        tell(&mut line, "a", NO_LIMIT, 0);
        assert!(!line.fill(write, &Reply::Int(1)));
        assert_eq!(line.output, b"*1\r\n$1\r\na\r\n:1\r\n+OK\r\n");
        line.output.clear();
        let plan = Some(Box::new(ExecPlan::default()));
        let exec = line.stand(Place::Batched { protocol: Protocol::Resp2, exec: plan });
        tell(&mut line, "b", NO_LIMIT, 0);
        assert!(line.take_plan(exec).is_some());
        tell(&mut line, "c", NO_LIMIT, 0);
        line.fill(exec, &Reply::Int(2));
        tell(&mut line, "d", NO_LIMIT, 0);
        let expected = b"*1\r\n$1\r\nb\r\n:2\r\n*1\r\n$1\r\nc\r\n*1\r\n$1\r\nd\r\n";
        assert_eq!(line.output, expected);
    }

    /// The hard limit ends a connection at once, the soft one when it has been exceeded without a break for its time. What has left
    /// does not count.
    #[test]
    fn untaken_messages_end_the_connection() {
        let hard = OutputLimit { hard_bytes: 25, ..NO_LIMIT };
        let mut line = Line::default();
        for now in 0..2 {
            tell(&mut line, "12345", hard, now); // 15 bytes
            line.sent += 15;
            assert!(!line.overrun);
        }
        tell(&mut line, "12345", hard, 2);
        tell(&mut line, "12345", hard, 2);
        assert!(line.overrun && line.output.is_empty());
        tell(&mut line, "12345", hard, 3);
        assert!(line.output.is_empty(), "it is told nothing more");

        let soft = OutputLimit { soft_bytes: 25, soft_time: Duration::from_secs(60), ..NO_LIMIT };
        let mut line = Line::default();
        let at = Duration::from_secs;
        tell(&mut line, "12345", soft, 0);
        tell(&mut line, "12345", soft, 1);
        line.bound(soft, at(61));
        line.sent = 10;
        line.bound(soft, at(62));
        line.sent = 0;
        line.bound(soft, at(63));
        line.bound(soft, at(123));
        assert!(!line.overrun, "60 seconds are allowed, and a break begins them anew");
        line.bound(soft, at(124));
        assert!(line.overrun);
    }

    /// A client that takes some all the time, and never all, does not make its output grow.
    #[test]
    fn what_has_left_is_forgotten() {
        let mut line = Line::default();
        for now in 0..1000 {
            tell(&mut line, "12345", NO_LIMIT, now);
            line.sent += if now == 0 { 5 } else { 15 };
            line.forget_sent();
            assert_eq!(line.unsent(), 10);
        }
        assert!(line.output.len() < 50);
    }

    /// Reads stop at full output, and go on when it has left.
    #[test]
    fn reads_wait_for_output_to_leave() {
        let mut line = Line::default();
        let tickets = [line.stand(read(b"a")), line.stand(read(b"b"))];
        tickets.iter().for_each(|ticket| line.confirm_read(*ticket, 5));
        let large = vec![b'x'; OUTPUT_BYTES_PAUSE];
        assert!(line.run_head(5, |_| Some(Reply::bulk(&large))));
        assert!(!line.run_head(5, |_| panic!("the output is full")));
        assert!(!line.resumes());
        line.output.clear();
        assert!(line.resumes() && !line.resumes(), "once");
        assert!(line.run_head(5, |_| Some(Reply::Nil)) && line.is_empty());
    }

    /// A read that needs a tick is handed out once for each stamp, however often it is looked at, with the first one's deadline:
    /// also one that was held up by its own client before.
    #[test]
    fn a_read_that_needs_a_tick_has_a_deadline() {
        let (soon, later) = (UnixMillis(5), UnixMillis(6));
        let (first, second) = (Duration::from_secs(1), Duration::from_secs(2));
        let mut line = Line::default();
        let ticket = line.stand(read(b"a"));
        line.confirm_read(ticket, 5);
        line.output = vec![b'x'; OUTPUT_BYTES_PAUSE];
        assert!(!line.run_head(5, |_| panic!("the output is full")));
        line.output.clear();
        assert!(line.resumes() && !line.run_head(5, |_| None));
        assert_eq!(line.await_stamp(soon, first), Some((ticket, first)));
        assert_eq!(line.await_stamp(soon, second), None);
        assert_eq!(line.await_stamp(later, second), Some((ticket, first)));
        assert!(line.is_waiting_read(ticket));
        line.fill(ticket, &Reply::Nil);
        assert!(!line.is_waiting_read(ticket) && line.await_stamp(later, second).is_none());
    }

    /// A connection that did nothing between two looks holds no buffers; one that is owed something, or works, keeps them.
    #[test]
    fn idle_lines_hold_nothing() {
        let mut line = Line::default();
        let ticket = line.stand(batched());
        line.sleep(Waker::noop());
        line.fill(ticket, &Reply::Ok);
        (0..3).for_each(|_| line.rest_if_idle());
        assert_eq!(line.output, b"+OK\r\n", "it has not left");
        line.output.clear();
        line.sleep(Waker::noop());
        line.rest_if_idle();
        assert!(line.output.capacity() > 0, "it was at work");
        line.rest_if_idle();
        assert_eq!((line.output.capacity(), line.places.capacity()), (0, 0));
        let next = line.stand(batched());
        line.fill(next, &Reply::Int(2));
        assert_eq!((next, &line.output[..]), (ticket + 1, &b":2\r\n"[..]));
    }

    /// Replies leave in the order of their commands, whatever order they become known in.
    #[test]
    fn replies_leave_in_order() {
        let mut line = Line::default();
        let first = line.stand(batched());
        let second = line.stand(batched());
        line.answer(Protocol::Resp2, &Reply::Int(3));
        line.fill(second, &Reply::Int(2));
        assert!(line.output.is_empty());
        line.fill(first, &Reply::Int(1));
        assert_eq!(line.output, b":1\r\n:2\r\n:3\r\n");
        assert!(line.is_empty());
    }

    /// A write takes the reads before it along, in order; their read round may still be answered and is ignored.
    #[test]
    fn a_write_takes_earlier_reads_along() {
        let mut line = Line::default();
        let one = line.stand(read(b"one"));
        let two = line.stand(read(b"two"));
        let mut taken = Vec::new();
        line.batch_reads(|ticket, read| taken.push((ticket, read.argv.clone())));
        assert_eq!(taken, [(one, vec![b"one".to_vec()]), (two, vec![b"two".to_vec()])]);
        line.confirm_read(one, 5);
        assert!(!line.heads_with_read() && !line.is_waiting_read(one));
        line.fill(two, &Reply::Int(2));
        line.fill(one, &Reply::Int(1));
        assert_eq!(line.output, b":1\r\n:2\r\n");
    }

    /// The protocol that was spoken when a command came is the one its reply is written in.
    #[test]
    fn protocol_belongs_to_the_command() {
        let mut line = Line::default();
        let old = line.stand(batched());
        line.answer(Protocol::Resp3, &Reply::Nil);
        line.fill(old, &Reply::Nil);
        assert_eq!(line.output, b"$-1\r\n_\r\n");
    }

    /// EXEC: local commands run in order once it ran, and their replies stand between those of the state machine. A plan is
    /// handed out once, and a refusal ends it.
    #[test]
    fn local_commands_run_with_their_exec() {
        let mut line = Line::default();
        let exec = |line: &mut Line| {
            let local = |word: &[u8]| Some(vec![word.to_vec()]);
            let plan = ExecPlan {
                calls: vec![None, local(b"one"), None, local(b"two")],
                ..ExecPlan::default()
            };
            line.stand(Place::Batched { protocol: Protocol::Resp2, exec: Some(Box::new(plan)) })
        };
        let ran = exec(&mut line);
        let plan = line.take_plan(ran).expect("it is kept until then");
        assert!(line.take_plan(ran).is_none() && !line.is_empty(), "its reply is still owed");
        let mut order = Vec::new();
        let joined = plan.carry_out(vec![Reply::Ok, Reply::Int(9)], |argv| {
            order.push(argv.concat());
            Reply::Int(order.len() as i64)
        });
        assert_eq!(order, [b"one", b"two"]);
        line.fill(ran, &joined);
        let refused = exec(&mut line);
        line.fill(refused, &Reply::NilArray);
        assert!(line.take_plan(refused).is_none());
        assert_eq!(line.output, b"*4\r\n+OK\r\n:1\r\n:9\r\n:2\r\n*-1\r\n");
    }
}
