//! Runs every golden script. Each command goes through the log of two machines: one answers, the other applies
//! silently; their digests are compared after every entry. Commands that only read are read from both, too. After
//! each block the second machine is replaced by one restored from the first one's snapshot.
//! `UPDATE_GOLDENFILES=1 cargo test -p steadfast-core --test golden` writes the replies; read them before they land.
//!
//! `> COMMAND word…` runs a command, `name: > …` on another connection; `advance N` moves log time by N ms. A word `@x.lua`
//! is the file of that name in `scripts/scripting`, `#x.lua` its SHA-1.

mod script;
mod world;

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use goldenscript::{Command, Context, Runner};
use script::{Answer, is_unordered, scripts, split, unroll};
use steadfast_core::access::DATABASES;
use steadfast_core::commands::{Handler, resolve};
use steadfast_core::entry::{Watched, encode_tick, push_command, push_transaction};
use steadfast_core::error::ReplyError;
use steadfast_core::machine::{Outcome, ReadOutcome, Sink, WatchOutcome};
use steadfast_core::number::print_double;
use steadfast_core::reply::Reply;
use steadfast_core::stamp::UnixMillis;
use steadfast_lua::Engine;
use world::{NO_LIMIT, NODE, Net, World};

/// A queued call: its database and its words.
type Queued = (u8, Vec<Vec<u8>>);

/// What a gateway keeps per connection.
#[derive(Default)]
struct Connection {
    db: u8,
    watched: Vec<Watched>,
    /// Calls queued since MULTI, and whether one of them was refused.
    queue: Option<(Vec<Queued>, bool)>,
}

struct Golden {
    world: World,
    mirror: World,
    connections: BTreeMap<String, Connection>,
}

/// Keeps one outcome.
#[derive(Default)]
struct Ear(Option<Answer>);

impl Sink for Ear {
    fn wants(&self, node: u64, _incarnation: u64) -> bool {
        node == NODE
    }

    fn reply(&mut self, _sequence: u64, _position: u32, outcome: Outcome<'_>) {
        self.0 = Some(match outcome {
            Outcome::Reply(reply) => answer(&reply),
            Outcome::TooLate => Answer::Error(b"too late".to_vec()),
        });
    }

    fn passed(&mut self, _sequence: u64) {}
}

fn answer(reply: &Reply<'_>) -> Answer {
    match reply {
        Reply::Ok => Answer::Simple(b"OK".to_vec()),
        Reply::Status(text) => Answer::Simple(text.to_vec()),
        Reply::Int(number) => Answer::Int(*number),
        Reply::Bool(flag) => Answer::Int(i64::from(*flag)),
        Reply::Bulk(bytes)
        | Reply::Verbatim(bytes)
        | Reply::VerbatimAs(_, bytes)
        | Reply::BigNumber(bytes) => Answer::Bulk(bytes.to_vec()),
        Reply::Nil => Answer::Nil,
        Reply::NilArray => Answer::NilArray,
        Reply::Array(items) | Reply::Set(items) => {
            Answer::Array(items.iter().map(answer).collect())
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => Answer::Array(
            pairs.iter().flat_map(|(key, value)| [answer(key), answer(value)]).collect(),
        ),
        Reply::Double(number) => Answer::Bulk(print_double(*number).into_bytes()),
        Reply::Error(error) => Answer::Error(error.text().to_vec()),
    }
}

fn error(text: &'static str) -> Answer {
    Answer::Error(text.as_bytes().to_vec())
}

impl Golden {
    fn new() -> Self {
        let world = || World::with(Net::around(|| Box::new(Engine::new())));
        let mirror = World { deaf: true, ..world() };
        Self { world: world(), mirror, connections: BTreeMap::new() }
    }

    /// Applies one request on both machines.
    fn apply(&mut self, batch: &[u8]) -> Answer {
        let parcel = self.world.parcel(batch);
        let index = self.world.machine.applied_index() + 1;
        let stamp = steadfast_core::stamp::Stamp {
            time: UnixMillis(self.world.now),
            seed: self.world.now.wrapping_mul(index),
        };
        let payload = steadfast_core::entry::encode_entry(stamp, [&parcel[..]]);
        let mut ear = Ear::default();
        let world = &mut self.world;
        world.machine.apply(index, &payload, &mut world.net, &mut ear).expect("it is well formed");
        let (mirror, mut silent) =
            (&mut self.mirror, world::Heard { deaf: true, ..Default::default() });
        mirror
            .machine
            .apply(index, &payload, &mut mirror.net, &mut silent)
            .expect("it is well formed");
        self.compare();
        ear.0.expect("every request is answered")
    }

    fn compare(&self) {
        assert_eq!(
            self.world.machine.digest(),
            self.mirror.machine.digest(),
            "the replicas differ"
        );
        assert_eq!(self.world.machine.used_bytes(), self.mirror.machine.used_bytes());
    }

    /// A command of a connection, as a gateway would handle it.
    fn command(&mut self, name: &str, argv: Vec<Vec<u8>>) -> Answer {
        let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let connection = self.connections.entry(name.to_owned()).or_default();
        let upper = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        match (upper.as_slice(), &words[1..], &mut connection.queue) {
            (b"MULTI", [], Some(_)) => return error("ERR MULTI calls can not be nested"),
            (b"WATCH", [_, ..], Some(_)) => return error("ERR WATCH inside MULTI is not allowed"),
            (b"MULTI", [], queue @ None) => *queue = Some((Vec::new(), false)),
            (b"EXEC", [], None) => return error("ERR EXEC without MULTI"),
            (b"DISCARD", [], None) => return error("ERR DISCARD without MULTI"),
            (b"EXEC", [], Some(_)) => return self.exec(name),
            (b"DISCARD", [], queue @ Some(_)) => {
                *queue = None;
                connection.watched.clear();
            }
            (b"UNWATCH", [], None) => connection.watched.clear(),
            (b"WATCH", [_, ..], None) => return self.watch(name, &words[1..]),
            (b"SELECT", [db], None) => {
                let db = std::str::from_utf8(db).ok().and_then(|text| text.parse::<u8>().ok());
                let Some(db) = db.filter(|db| usize::from(*db) < DATABASES) else {
                    return error("ERR DB index is out of range");
                };
                connection.db = db;
            }
            (_, _, Some((calls, refused))) => {
                if let Err(error) = resolve(&words) {
                    *refused = true;
                    return Answer::Error(error.text().to_vec());
                }
                calls.push((connection.db, argv));
                return Answer::Simple(b"QUEUED".to_vec());
            }
            _ => {
                let db = connection.db;
                return self.plain(db, &words);
            }
        }
        Answer::Simple(b"OK".to_vec())
    }

    fn watch(&mut self, name: &str, keys: &[&[u8]]) -> Answer {
        let (clock, connection) =
            (UnixMillis(self.world.now), self.connections.entry(name.to_owned()).or_default());
        for key in keys {
            match self.world.machine.watch(usize::from(connection.db), key, clock) {
                WatchOutcome::Token(token) => connection.watched.push(token),
                WatchOutcome::AwaitStamp(_) => panic!("scripts advance time by a tick"),
            }
        }
        Answer::Simple(b"OK".to_vec())
    }

    fn exec(&mut self, name: &str) -> Answer {
        let connection = self.connections.entry(name.to_owned()).or_default();
        let (calls, refused) = connection.queue.take().expect("it was just seen");
        let watched = std::mem::take(&mut connection.watched);
        if refused {
            return error("EXECABORT Transaction discarded because of previous errors.");
        }
        let mut batch = Vec::new();
        push_transaction(&mut batch, 1, NO_LIMIT, &watched, &calls);
        self.apply(&batch)
    }

    fn plain(&mut self, db: u8, argv: &[&[u8]]) -> Answer {
        let mut batch = Vec::new();
        push_command(&mut batch, 1, NO_LIMIT, db, argv);
        let logged = self.apply(&batch);
        let is_read = resolve(argv).is_ok_and(|spec| matches!(spec.handler, Handler::Read(_)));
        if is_read {
            let read = |world: &World| {
                let clock = UnixMillis(self.world.now);
                match world.machine.read(usize::from(db), argv, clock, 5) {
                    ReadOutcome::Reply(reply) => answer(&reply),
                    ReadOutcome::AwaitStamp(at) => Answer::Int(at.0.cast_signed()),
                }
            };
            let (here, there) = (read(&self.world), read(&self.mirror));
            assert_eq!(here, there, "the replicas read differently");
            if !argv[0].eq_ignore_ascii_case(b"RANDOMKEY") {
                assert_eq!(here, logged, "read and applied differ");
            }
        }
        logged
    }
}

impl Runner for Golden {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        if command.name == "advance" {
            let mut args = command.consume_args();
            let millis: u64 = args.next_pos().ok_or("advance by how much?")?.parse()?;
            for world in [&mut self.world, &mut self.mirror] {
                world.now += millis;
                world.entry(&[encode_tick()]);
            }
            self.compare();
            return Ok(String::new());
        }
        let argv = split(&unroll(&command.name));
        let unordered = is_unordered(&argv);
        let answer = self.command(context.prefix.as_deref().unwrap_or_default(), argv);
        let answer = if unordered { answer.sorted() } else { answer };
        Ok(format!("{} → {}", command.name, answer.show()))
    }

    fn end_block(&mut self, _block: &goldenscript::Block) -> Result<String, Box<dyn Error>> {
        let mut restored = self.world.restored(4099);
        restored.deaf = true;
        assert_eq!(restored.snapshot(), self.mirror.snapshot(), "a snapshot is the state");
        self.mirror = restored;
        self.compare();
        Ok(String::new())
    }
}

/// Every script answers what it says.
#[test]
fn scripts_answer_what_they_say() {
    let mut failed = Vec::new();
    for path in scripts() {
        let run = catch_unwind(AssertUnwindSafe(|| goldenscript::run(&mut Golden::new(), &path)));
        match run {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed.push(format!("{}: {error}", path.display())),
            Err(_) => failed.push(format!("{}: see above", path.display())),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The errors that only the gateway makes are spelled as the core's are.
#[test]
fn error_texts_have_a_code() {
    for error in
        [ReplyError::SYNTAX, ReplyError::WRONG_TYPE, ReplyError::NO_SCRIPT, ReplyError::NO_SUCH_KEY]
    {
        let first =
            error.text().split(|byte| *byte == b' ').next().expect("split answers one at least");
        assert!(first.iter().all(u8::is_ascii_uppercase));
    }
}
