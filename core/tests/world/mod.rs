//! A machine with what surrounds it in tests: a gateway that numbers its parcels, a sink that keeps every
//! outcome, and an interpreter whose scripts are lists of commands, so that only tests that ask for Lua depend on it.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part of this

use std::panic::{AssertUnwindSafe, catch_unwind};

use steadfast_core::entry::{
    Part, Watched, encode_bootstrap, encode_entry, encode_parcel, encode_register, push_command,
    push_transaction,
};
use steadfast_core::error::ReplyError;
use steadfast_core::machine::{Applied, Outcome, ReadOutcome, Sink, StateMachine};
use steadfast_core::pubsub::Subscriber;
use steadfast_core::reply::Reply;
use steadfast_core::script::{ScriptBudget, ScriptEngine, ScriptFailure, ScriptHost, Surroundings};
use steadfast_core::stamp::{Stamp, UnixMillis};

/// The node whose gateway the tests drive.
pub const NODE: u64 = 1;
/// The client that all of its requests are of, unless a test says otherwise.
pub const CLIENT: u64 = 7;
/// Log time of the bootstrap.
pub const START: u64 = 1_700_000_000_000;
/// A `latest` that never comes.
pub const NO_LIMIT: UnixMillis = UnixMillis(u64::MAX);

/// Commands separated by `;`, words by spaces. `!panic`, `!budget` and `!error` end the script in that way;
/// `!rewind` makes it start again, once.
#[derive(Default)]
pub struct WordEngine;

impl ScriptEngine for WordEngine {
    fn check(&mut self, _body: &[u8]) -> Result<(), ReplyError> {
        Ok(())
    }

    fn run(
        &mut self,
        _sha: &str,
        body: &[u8],
        _keys: &[&[u8]],
        _argv: &[&[u8]],
        _budget: ScriptBudget,
        host: &mut dyn ScriptHost,
    ) -> Result<Reply<'static>, ScriptFailure> {
        let mut last = Reply::Nil;
        let mut rewound = false;
        let seed = host.seed();
        'again: loop {
            for line in body.split(|&byte| byte == b';') {
                let words: Vec<&[u8]> =
                    line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
                assert_eq!(host.seed(), seed, "the seed is the same during one run");
                match words.first().copied() {
                    None => {}
                    Some(b"!panic") => panic!("planted"),
                    Some(b"!budget") => {
                        return Err(ScriptFailure::BudgetExceeded(ReplyError::fixed("ERR budget")));
                    }
                    Some(b"!error") => {
                        return Err(ScriptFailure::Error(ReplyError::fixed("ERR planted")));
                    }
                    Some(b"!rewind") if rewound => {}
                    Some(b"!rewind") => {
                        rewound = true;
                        host.rewind();
                        continue 'again;
                    }
                    Some(_) => last = host.call(&words),
                }
            }
            return Ok(last);
        }
    }

    fn forget(&mut self) {}
}

/// Makes an interpreter.
pub type MakeEngine = fn() -> Box<dyn ScriptEngine>;

/// The net under panics, around an interpreter.
pub struct Net {
    engine: Box<dyn ScriptEngine>,
    make: MakeEngine,
}

impl Net {
    pub fn around(make: MakeEngine) -> Self {
        Self { engine: make(), make }
    }
}

/// The word engine.
impl Default for Net {
    fn default() -> Self {
        Self::around(|| Box::new(WordEngine))
    }
}

impl Surroundings for Net {
    fn contain(&mut self, work: &mut dyn FnMut(&mut dyn ScriptEngine)) -> bool {
        catch_unwind(AssertUnwindSafe(|| work(&mut *self.engine))).is_ok()
    }
}

/// Every outcome, in words.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Heard {
    pub deaf: bool,
    pub outcomes: Vec<(u64, u32, String)>,
    pub passed: Vec<u64>,
    /// To which client which message went, after how many outcomes.
    pub messages: Vec<(u64, String, usize)>,
    /// Requests that began to wait.
    pub blocked: Vec<(u64, u32)>,
    /// What such were answered later, in order.
    pub served: Vec<(u64, u32, String)>,
}

fn in_words(outcome: &Outcome<'_>) -> String {
    match outcome {
        Outcome::Reply(reply) => show(reply),
        Outcome::TooLate => "too late".to_owned(),
    }
}

impl Sink for Heard {
    fn wants(&self, node: u64, _incarnation: u64) -> bool {
        node == NODE && !self.deaf
    }

    fn reply(&mut self, sequence: u64, position: u32, outcome: Outcome<'_>) {
        self.outcomes.push((sequence, position, in_words(&outcome)));
    }

    fn blocked(&mut self, sequence: u64, position: u32) {
        self.blocked.push((sequence, position));
    }

    fn served(&mut self, sequence: u64, position: u32, outcome: Outcome<'_>) {
        self.served.push((sequence, position, in_words(&outcome)));
    }

    fn message(&mut self, to: Subscriber, message: &Reply<'_>) {
        assert!(to.node == NODE && !self.deaf, "nobody here wants it");
        self.messages.push((to.client, show(message), self.outcomes.len()));
    }

    fn passed(&mut self, sequence: u64) {
        self.passed.push(sequence);
    }
}

impl Heard {
    /// The outcomes alone.
    pub fn words(&self) -> Vec<&str> {
        self.outcomes.iter().map(|(_, _, words)| words.as_str()).collect()
    }
}

/// A reply in words.
pub fn show(reply: &Reply<'_>) -> String {
    match reply {
        Reply::Bulk(bytes) if bytes.len() > 64 => {
            format!(
                "{}… of {} bytes, sum {}",
                String::from_utf8_lossy(&bytes[..8]),
                bytes.len(),
                sum(bytes)
            )
        }
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Status(text) => format!("+{}", String::from_utf8_lossy(text)),
        Reply::Error(error) => format!("-{}", String::from_utf8_lossy(error.text())),
        Reply::Int(number) => format!(":{number}"),
        Reply::Array(replies) => {
            format!("[{}]", replies.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Reply::Push(replies) => {
            format!(">[{}]", replies.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Reply::Several(replies) => replies.iter().map(show).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum: u64, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

/// A command, as its words.
pub type Words = Vec<Vec<u8>>;

/// A command from a line.
pub fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// A batch of commands in one database, all of one client.
pub fn batch(db: u8, commands: &[Words]) -> Vec<u8> {
    batch_of(CLIENT, db, commands)
}

/// The same of the client of this id.
pub fn batch_of(client: u64, db: u8, commands: &[Words]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands {
        let argv: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        push_command(&mut bytes, client, NO_LIMIT, db, &argv);
    }
    bytes
}

/// A state as one piece: equal bytes mean equal state, order included.
pub fn snapshot_of(machine: &StateMachine) -> Vec<u8> {
    let mut bytes = Vec::new();
    machine.snapshot(&mut |chunk| bytes.extend(chunk));
    bytes
}

/// A machine and the gateway that feeds it.
pub struct World {
    pub machine: StateMachine,
    pub net: Net,
    pub now: u64,
    pub sequence: u64,
    pub deaf: bool,
}

impl World {
    /// After bootstrap and registration.
    pub fn new() -> Self {
        Self::with(Net::default())
    }

    /// The same with an interpreter of the test's choice.
    pub fn with(net: Net) -> Self {
        let mut world = Self { net, ..Self::empty() };
        let ops = [encode_bootstrap(0xC1, [11, 22]), encode_register(NODE, 1, "")];
        world.entry(&ops);
        world
    }

    /// A machine that has applied nothing.
    pub fn empty() -> Self {
        Self {
            machine: StateMachine::new(),
            net: Net::default(),
            now: START,
            sequence: 0,
            deaf: false,
        }
    }

    /// This world's twin on a machine restored from its snapshot, cut into pieces of `cut` bytes.
    pub fn restored(&self, cut: usize) -> Self {
        let bytes = self.snapshot();
        let machine = StateMachine::restore(&mut bytes.chunks(cut)).expect("it was just written");
        Self {
            machine,
            net: Net::around(self.net.make),
            now: self.now,
            sequence: self.sequence,
            deaf: self.deaf,
        }
    }

    /// See `snapshot_of`.
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot_of(&self.machine)
    }

    /// Applies the next entry, stamped now.
    pub fn entry(&mut self, ops: &[Vec<u8>]) -> Heard {
        self.stamped(self.now, ops).0
    }

    /// Applies the next entry with this stamp time.
    pub fn stamped(&mut self, time: u64, ops: &[Vec<u8>]) -> (Heard, Applied) {
        let index = self.machine.applied_index() + 1;
        let stamp = Stamp { time: UnixMillis(time), seed: time ^ 0x5eed };
        let payload = encode_entry(stamp, ops.iter().map(Vec::as_slice));
        let mut heard = Heard { deaf: self.deaf, ..Heard::default() };
        let applied = self
            .machine
            .apply(index, &payload, &mut self.net, &mut heard)
            .expect("the entry is well formed");
        assert_eq!(applied.index, index);
        assert_eq!(self.machine.applied_index(), index);
        (heard, applied)
    }

    /// The next parcel, a whole batch.
    pub fn parcel(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        encode_parcel(NODE, 1, self.sequence, Part::Whole, bytes)
    }

    /// Applies commands as one batch in one entry.
    pub fn run(&mut self, db: u8, commands: &[Words]) -> Heard {
        let parcel = self.parcel(&batch(db, commands));
        self.entry(&[parcel])
    }

    /// Applies one command of a client.
    pub fn run_as(&mut self, client: u64, line: &str) -> Heard {
        let parcel = self.parcel(&batch_of(client, 0, &[words(line)]));
        self.entry(&[parcel])
    }

    /// Applies one command in database 0 and answers its reply in words.
    pub fn say(&mut self, line: &str) -> String {
        let heard = self.run(0, &[words(line)]);
        heard.words().first().expect("every request is answered").to_string()
    }

    /// Applies a script of the word engine and answers its reply in words.
    pub fn script(&mut self, body: &str) -> String {
        let command = vec![b"EVAL".to_vec(), body.as_bytes().to_vec(), b"0".to_vec()];
        let heard = self.run(0, &[command]);
        heard.words().first().expect("every request is answered").to_string()
    }

    /// Applies a transaction.
    pub fn exec(&mut self, watched: &[Watched], calls: &[(u8, Words)]) -> String {
        let mut bytes = Vec::new();
        push_transaction(&mut bytes, CLIENT, NO_LIMIT, watched, calls);
        let parcel = self.parcel(&bytes);
        let heard = self.entry(&[parcel]);
        heard.words().first().expect("every request is answered").to_string()
    }

    /// Reads in database 0 with the clock at log time.
    pub fn read(&self, line: &str) -> String {
        self.read_at(self.now, line)
    }

    /// Reads in database 0 with the clock at `clock`.
    pub fn read_at(&self, clock: u64, line: &str) -> String {
        let command = words(line);
        let argv: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        match self.machine.read(0, &argv, UnixMillis(clock), 42) {
            ReadOutcome::Reply(reply) => show(&reply),
            ReadOutcome::AwaitStamp(time) => format!("await {}", time.0 - START),
        }
    }
}
