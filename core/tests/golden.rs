//! Runs every golden script. Each command goes through the log of two machines: one answers, the other applies
//! silently; their digests are compared after every entry. Commands that only read are read from both, too. After
//! each block the second machine is replaced by one restored from the first one's snapshot.
//! `UPDATE_GOLDENFILES=1 cargo test -p steadfast-core --test golden` writes the replies; read them before they land.
//!
//! `> COMMAND word…` runs a command, `name: > …` on another connection; `advance N` moves log time by N ms. A word `@x.lua`
//! is the file of that name in `scripts/scripting`, `#x.lua` its SHA-1. Messages stand where they are delivered, in front of a command's
//! answer or behind it, as `name ← message`; so does what a command is answered that has waited.

mod script;
mod world;

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use goldenscript::{Command, Context, Runner};
use script::{Answer, is_random, is_unordered, scripts, split, unroll};
use steadfast_core::access::DATABASES;
use steadfast_core::commands::{Handler, resolve};
use steadfast_core::entry::{Watched, encode_tick, push_command, push_transaction};
use steadfast_core::error::ReplyError;
use steadfast_core::machine::{Outcome, ReadOutcome, Sink, WatchOutcome};
use steadfast_core::pubsub::Subscriber;
use steadfast_core::reply::Reply;
use steadfast_core::stamp::UnixMillis;
use steadfast_lua::Engine;
use world::{NO_LIMIT, NODE, Net, World};

/// A queued call: its database and its words.
type Queued = (u8, Vec<Vec<u8>>);

/// What a gateway keeps per connection.
#[derive(Default)]
struct Connection {
    /// Its id; 0 until it is known.
    id: u64,
    db: u8,
    watched: Vec<Watched>,
    /// Calls queued since MULTI, and whether one of them was refused.
    queue: Option<(Vec<Queued>, bool)>,
}

struct Golden {
    world: World,
    mirror: World,
    connections: BTreeMap<String, Connection>,
    /// Messages of the last command: in front of its answer, and behind it.
    messages: [Vec<(u64, Answer)>; 2],
    /// Whose requests wait.
    waiting: BTreeMap<(u64, u32), u64>,
}

/// Keeps one outcome, and the messages in front of it and behind it.
#[derive(Default)]
struct Ear {
    answer: Option<Answer>,
    before: Vec<(u64, Answer)>,
    after: Vec<(u64, Answer)>,
    /// Requests that waited, and what they were answered.
    served: Vec<(u64, u32, Answer)>,
    blocked: Option<(u64, u32)>,
}

impl Sink for Ear {
    fn wants(&self, node: u64, _incarnation: u64) -> bool {
        node == NODE
    }

    fn reply(&mut self, _sequence: u64, _position: u32, outcome: Outcome<'_>) {
        self.answer = Some(match outcome {
            Outcome::Reply(reply) => Answer::of(&reply),
            Outcome::TooLate => Answer::Error(b"too late".to_vec()),
        });
    }

    fn blocked(&mut self, sequence: u64, position: u32) {
        self.blocked = Some((sequence, position));
        self.answer = Some(Answer::Simple(b"(waits)".to_vec()));
    }

    fn served(&mut self, sequence: u64, position: u32, outcome: Outcome<'_>) {
        let Outcome::Reply(reply) = outcome else { panic!("what waits was not too late") };
        self.served.push((sequence, position, Answer::of(&reply)));
    }

    fn message(&mut self, to: Subscriber, message: &Reply<'_>) {
        let list = if self.answer.is_some() { &mut self.after } else { &mut self.before };
        list.push((to.client, Answer::of(message)));
    }

    fn passed(&mut self, _sequence: u64) {}
}

fn error(text: &'static str) -> Answer {
    Answer::Error(text.as_bytes().to_vec())
}

impl Golden {
    fn new() -> Self {
        let world = || World::with(Net::around(|| Box::new(Engine::new())));
        let mirror = World { deaf: true, ..world() };
        let messages = [Vec::new(), Vec::new()];
        let (connections, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { world: world(), mirror, connections, messages, waiting }
    }

    /// Applies one request of a client on both machines.
    fn apply(&mut self, client: u64, batch: &[u8]) -> Answer {
        let parcel = self.world.parcel(batch);
        let ear = self.entry(&parcel);
        if let Some(place) = ear.blocked {
            self.waiting.insert(place, client);
        }
        self.messages = [ear.before, ear.after];
        self.hear_served(ear.served);
        ear.answer.expect("every request is answered, or waits")
    }

    /// What those who waited were answered stands behind everything, by the names of their connections.
    fn hear_served(&mut self, served: Vec<(u64, u32, Answer)>) {
        let told = served.into_iter().map(|(sequence, position, answer)| {
            let client = self.waiting.remove(&(sequence, position));
            (client.expect("who is served has waited"), answer)
        });
        let mut told: Vec<(u64, Answer)> = told.collect();
        told.sort_by_key(|told| self.told(told));
        self.messages[1].extend(told);
    }

    /// Applies an entry of one operation.
    fn entry(&mut self, op: &[u8]) -> Ear {
        let index = self.world.machine.applied_index() + 1;
        let stamp = steadfast_core::stamp::Stamp {
            time: UnixMillis(self.world.now),
            seed: self.world.now.wrapping_mul(index),
        };
        let payload = steadfast_core::entry::encode_entry(stamp, [op]);
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
        ear
    }

    fn compare(&self) {
        assert_eq!(
            self.world.machine.digest(),
            self.mirror.machine.digest(),
            "the replicas differ"
        );
        assert_eq!(self.world.machine.used_bytes(), self.mirror.machine.used_bytes());
    }

    /// A message, with the name of its connection.
    fn told(&self, (client, message): &(u64, Answer)) -> String {
        let mut all = self.connections.iter();
        let name = all.find(|(_, connection)| connection.id == *client);
        let name = name.map_or("", |(name, _)| name.as_str());
        format!("{name} ← {}", message.show())
    }

    /// A command of a connection, as a gateway would handle it.
    fn command(&mut self, name: &str, argv: Vec<Vec<u8>>) -> Answer {
        let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let next = self.connections.len() as u64 + 1;
        let connection = self.connections.entry(name.to_owned()).or_default();
        if connection.id == 0 {
            connection.id = next;
        }
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
                let (client, db) = (connection.id, connection.db);
                return self.plain(client, db, &words);
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
        push_transaction(&mut batch, connection.id, NO_LIMIT, &watched, &calls);
        let client = connection.id;
        self.apply(client, &batch)
    }

    fn plain(&mut self, client: u64, db: u8, argv: &[&[u8]]) -> Answer {
        let mut batch = Vec::new();
        push_command(&mut batch, client, NO_LIMIT, db, argv);
        let logged = self.apply(client, &batch);
        let is_read = resolve(argv).is_ok_and(|spec| matches!(spec.handler, Handler::Read(_)));
        if is_read {
            let read = |world: &World| {
                let clock = UnixMillis(self.world.now);
                match world.machine.read(usize::from(db), argv, clock, 5) {
                    ReadOutcome::Reply(reply) => Answer::of(&reply),
                    ReadOutcome::AwaitStamp(at) => Answer::Int(at.0.cast_signed()),
                }
            };
            let (here, there) = (read(&self.world), read(&self.mirror));
            assert_eq!(here, there, "the replicas read differently");
            if !is_random(argv[0]) {
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
            self.world.now += millis;
            self.mirror.now += millis;
            let ear = self.entry(&encode_tick());
            self.hear_served(ear.served);
            let [_, served] = std::mem::take(&mut self.messages);
            let lines: Vec<String> = served.iter().map(|told| self.told(told)).collect();
            return Ok(lines.join("\n"));
        }
        let argv = split(&unroll(&command.name));
        let unordered = is_unordered(&argv);
        let answer = self.command(context.prefix.as_deref().unwrap_or_default(), argv);
        let answer = if unordered { answer.sorted() } else { answer };
        let [before, after] = std::mem::take(&mut self.messages);
        let mut lines: Vec<String> = before.iter().map(|told| self.told(told)).collect();
        lines.push(format!("{} → {}", command.name, answer.show()));
        lines.extend(after.iter().map(|told| self.told(told)));
        Ok(lines.join("\n"))
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
