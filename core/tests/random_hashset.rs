//! Random commands on hashes and sets: two machines that apply them agree, a snapshot is the state, and nothing panics. With
//! `STEADFAST_REDIS=/path/to/redis-server` every reply is compared with that of a real Redis. What a command chooses by chance is looked up
//! in Redis instead, and what SPOP takes away is taken away there, too.

mod redis;
mod script;
mod twins;
mod world;

use std::collections::BTreeSet;

use redis::{Redis, Wire};
use script::{Answer, is_random, is_unordered};
use steadfast_core::commands::lookup;
use steadfast_core::machine::ReadOutcome;
use steadfast_core::stamp::UnixMillis;
use twins::{Dice, Twins};
use world::{Words, World, words};

const HASHES: [&str; 4] = ["hash", "counters", "wide", "odd"];
const SETS: [&str; 6] = ["set", "other", "ints", "many", "more", "mixed"];
/// What else there is, or is not.
const STRANGE: [&str; 3] = ["text", "missing", "hash"];
const BAD: [&str; 6] = ["", "x", "1.5", "9223372036854775808", "-", "-9223372036854775808"];
const NUMBERS: [&str; 8] = [
    "1",
    "-1",
    "0",
    "7",
    "-300",
    "9223372036854775807",
    "-9223372036854775807",
    "4611686018427387904",
];
const FLOATS: [&str; 10] =
    ["1", "0.5", "-3.25", "1e3", "inf", "-inf", "nan", "0x10", "1e-5", "3.0e10"];
const COUNTS: [&str; 12] =
    ["0", "1", "2", "3", "9", "60", "400", "-1", "-3", "-200", "9223372036854775807", "5000"];

/// Draws commands.
struct Dealer(Dice);

impl Dealer {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.0.one_in(bound)
    }

    fn of(&mut self, words: &[&str]) -> Vec<u8> {
        self.0.one(words).as_bytes().to_vec()
    }

    /// One of these; now and then what does not belong there.
    fn mostly(&mut self, words: &[&str]) -> Vec<u8> {
        if self.one_in(40) { self.of(&BAD) } else { self.of(words) }
    }

    fn key(&mut self, keys: &[&str]) -> Vec<u8> {
        if self.one_in(25) { self.of(&STRANGE) } else { self.of(keys) }
    }

    /// A field or member that a key of this name may have.
    fn member(&mut self, key: &[u8]) -> Vec<u8> {
        match key {
            b"wide" | b"many" => format!("m{}", self.below(900)).into_bytes(),
            b"more" => format!("{}", self.below(900)).into_bytes(),
            b"ints" => match self.below(30) {
                0 => self.of(&NUMBERS),
                1 => format!("{}", 40_000 + self.below(9)).into_bytes(),
                _ => format!("{}", self.below(60)).into_bytes(),
            },
            b"odd" | b"mixed" => match self.below(40) {
                0 => vec![b'w'; 60 + self.below(10)],
                1 => vec![0xFF, 0, b'\r', b'\n'],
                2 => Vec::new(),
                3 => b"m1".repeat(100),
                _ => format!("{}", self.below(200)).into_bytes(),
            },
            _ => format!("f{}", self.below(20)).into_bytes(),
        }
    }

    fn members(&mut self, key: &[u8]) -> Words {
        let count = match self.below(60) {
            0 => 200,
            1..4 => 40,
            _ => 1 + self.below(4),
        };
        (0..count).map(|_| self.member(key)).collect()
    }

    fn value(&mut self, key: &[u8]) -> Vec<u8> {
        match key {
            b"counters" if self.one_in(2) => self.of(&FLOATS),
            b"counters" => self.of(&NUMBERS),
            b"odd" if self.one_in(60) => vec![b'v'; 60 + self.below(10)],
            _ => format!("v{}", self.below(1000)).into_bytes(),
        }
    }

    fn hash_write(&mut self) -> Words {
        let key = self.key(&HASHES);
        let name = self.of(&[
            "HSET",
            "HSET",
            "HSET",
            "HMSET",
            "HSETNX",
            "HINCRBY",
            "HINCRBYFLOAT",
            "HDEL",
            "HDEL",
        ]);
        let mut argv = vec![name.clone(), key.clone()];
        match name.as_slice() {
            b"HDEL" => argv.extend(self.members(&key)),
            b"HSETNX" => argv.extend([self.member(&key), self.value(&key)]),
            b"HINCRBY" => argv.extend([self.member(&key), self.mostly(&NUMBERS)]),
            b"HINCRBYFLOAT" => argv.extend([self.member(&key), self.mostly(&FLOATS)]),
            _ => {
                for field in self.members(&key) {
                    argv.extend([field, self.value(&key)]);
                }
                if self.one_in(60) {
                    argv.pop();
                }
            }
        }
        argv
    }

    fn hash_read(&mut self) -> Words {
        let key = self.key(&HASHES);
        let name =
            self.of(&["HEXISTS", "HGET", "HSTRLEN", "HMGET", "HGETALL", "HKEYS", "HVALS", "HLEN"]);
        let mut argv = vec![name.clone(), key.clone()];
        match name.as_slice() {
            b"HMGET" => argv.extend(self.members(&key)),
            b"HEXISTS" | b"HGET" | b"HSTRLEN" => argv.push(self.member(&key)),
            _ => {}
        }
        argv
    }

    fn scan(&mut self) -> Words {
        let (name, keys) =
            if self.one_in(2) { ("HSCAN", &HASHES[..]) } else { ("SSCAN", &SETS[..]) };
        let mut argv = vec![name.as_bytes().to_vec(), self.key(keys), b"0".to_vec()];
        argv.extend(words("COUNT 100000"));
        if self.one_in(2) {
            argv.extend([b"match".to_vec(), self.of(&["*1", "f*", "m?[1-3]*", "*", "", "\\"])]);
        }
        if self.one_in(20) {
            argv.push(self.of(&["COUNT", "MATCH", "TYPE", "x"]));
        }
        argv
    }

    fn set_write(&mut self) -> Words {
        let key = self.key(&SETS);
        let name = self.of(&["SADD", "SADD", "SADD", "SADD", "SREM", "SMOVE"]);
        let mut argv = vec![name.clone(), key.clone()];
        if name == b"SMOVE" {
            argv.push(self.key(&SETS));
            argv.push(self.member(&key));
        } else {
            argv.extend(self.members(&key));
        }
        argv
    }

    fn set_read(&mut self) -> Words {
        let key = self.key(&SETS);
        let name = self.of(&["SISMEMBER", "SMISMEMBER", "SMEMBERS", "SCARD"]);
        let mut argv = vec![name.clone(), key.clone()];
        match name.as_slice() {
            b"SISMEMBER" => argv.push(self.member(&key)),
            b"SMISMEMBER" => argv.extend(self.members(&key)),
            _ => {}
        }
        argv
    }

    fn algebra(&mut self) -> Words {
        let name = self.of(&[
            "SDIFF",
            "SDIFFSTORE",
            "SINTER",
            "SINTERCARD",
            "SINTERSTORE",
            "SUNION",
            "SUNIONSTORE",
        ]);
        let count = 1 + self.below(4);
        let mut argv = vec![name.clone()];
        if name.ends_with(b"STORE") {
            argv.push(self.of(&["set", "other", "mixed"]));
        }
        if name == b"SINTERCARD" {
            let number = count.to_string();
            argv.push(self.mostly(&[&number]));
        }
        argv.extend((0..count).map(|_| self.key(&SETS)));
        if name == b"SINTERCARD" && self.one_in(2) {
            argv.extend([b"LIMIT".to_vec(), self.mostly(&["0", "1", "5", "-1"])]);
        }
        argv
    }

    fn chance(&mut self) -> Words {
        let name = self.of(&["HRANDFIELD", "SRANDMEMBER", "SPOP"]);
        let keys = if name == b"HRANDFIELD" { &HASHES[..] } else { &SETS[..] };
        let mut argv = vec![name.clone(), self.key(keys)];
        if !self.one_in(4) {
            argv.push(self.mostly(&COUNTS));
        }
        if argv.len() == 3 && name == b"HRANDFIELD" && self.one_in(2) {
            argv.push(self.mostly(&["WITHVALUES"]));
        }
        // A set is not emptied too often.
        let empties = argv.get(2).is_some_and(|count| count.len() > 2 && count[0] != b'-');
        if name == b"SPOP" && empties && !self.one_in(4) {
            argv[0] = b"SRANDMEMBER".to_vec();
        }
        argv
    }

    fn command(&mut self) -> Words {
        match self.below(100) {
            0..25 => self.hash_write(),
            25..40 => self.hash_read(),
            40..65 => self.set_write(),
            65..73 => self.set_read(),
            73..85 => self.algebra(),
            85..88 => self.scan(),
            88..95 => self.chance(),
            95 => vec![b"EXPIRE".to_vec(), self.key(&SETS), b"100000".to_vec()],
            96 => vec![b"DEL".to_vec(), self.of(&["set", "odd", "mixed", "counters", "ints"])],
            _ => vec![b"TYPE".to_vec(), self.key(&SETS)],
        }
    }
}

/// What both answer.
fn answer(twins: &mut Twins, argv: &[Vec<u8>]) -> Answer {
    Answer::of(&twins.ask(argv))
}

fn items(answer: &Answer) -> &[Answer] {
    if let Answer::Array(items) = answer { items } else { std::slice::from_ref(answer) }
}

fn bytes_of(answer: &Answer) -> Vec<u8> {
    let Answer::Bulk(bytes) = answer else { panic!("{} is no element", answer.show()) };
    bytes.clone()
}

/// What was chosen by chance, against what Redis has and would choose; SPOP is done there.
fn compare_chance(wire: &mut Wire, argv: &[Vec<u8>], ours: &Answer) {
    let (name, key) = (&argv[0][..], &argv[1]);
    let mut ask = |argv: Words| wire.ask(&argv).expect("Redis answers");
    let chosen: Words = match ours {
        Answer::Array(items) => items.iter().map(bytes_of).collect(),
        Answer::Bulk(bytes) => vec![bytes.clone()],
        _ => Vec::new(),
    };
    if chosen.is_empty() {
        assert_eq!(ours, &ask(argv.to_vec()), "{argv:?}");
        return;
    }
    let mut asked = argv.to_vec();
    if name == b"SPOP" {
        asked[0] = b"SRANDMEMBER".to_vec();
    }
    let theirs = ask(asked);
    assert_eq!(items(ours).len(), items(&theirs).len(), "{argv:?}");
    assert_eq!(matches!(ours, Answer::Array(_)), matches!(theirs, Answer::Array(_)), "{argv:?}");
    let step = if argv.len() == 4 { 2 } else { 1 };
    let elements: Words = chosen.iter().step_by(step).cloned().collect();
    if !argv.get(2).is_some_and(|count| count.starts_with(b"-")) {
        let distinct: BTreeSet<_> = elements.iter().collect();
        assert_eq!(distinct.len(), elements.len(), "{argv:?}: one comes twice");
    }
    let count = elements.len() as i64;
    let by = |command: &[u8]| [vec![command.to_vec(), key.clone()], elements.clone()].concat();
    match name {
        b"SPOP" => assert_eq!(ask(by(b"SREM")), Answer::Int(count), "{argv:?}"),
        b"HRANDFIELD" => {
            let values = ask(by(b"HMGET"));
            assert!(!items(&values).contains(&Answer::Nil), "{argv:?}");
            if step == 2 {
                let own: Words = chosen.iter().skip(1).step_by(2).cloned().collect();
                assert_eq!(items(&values).iter().map(bytes_of).collect::<Words>(), own, "{argv:?}");
            }
        }
        _ => {
            let found = ask(by(b"SMISMEMBER"));
            assert!(items(&found).iter().all(|found| *found == Answer::Int(1)), "{argv:?}");
        }
    }
}

/// What OBJECT says of a key.
fn form_of(twins: &mut Twins, key: &[u8]) -> Answer {
    answer(twins, &[&b"OBJECT"[..], b"ENCODING", key].map(<[u8]>::to_vec))
}

/// The same key's form here and there, as far as Redis 7.0 has the same ones. Where it has, the order is the same, too.
fn compare_form(wire: &mut Wire, twins: &mut Twins, key: &[u8]) {
    let argv = [&b"OBJECT"[..], b"ENCODING", key].map(<[u8]>::to_vec);
    let (ours, theirs) = (form_of(twins, key), wire.ask(&argv).expect("Redis answers"));
    let is = |answer: &Answer, form: &str| *answer == Answer::Bulk(form.as_bytes().to_vec());
    let kind = answer(twins, &[b"TYPE".to_vec(), key.to_vec()]);
    let is_set = kind == Answer::Simple(b"set".to_vec());
    if is_set {
        assert_eq!(is(&ours, "intset"), is(&theirs, "intset"), "{ours:?} or {theirs:?}");
    } else {
        assert_eq!(ours, theirs);
    }
    let command = match is_set {
        true if is(&ours, "intset") => "SMEMBERS",
        false if is(&ours, "listpack") => "HGETALL",
        _ => return,
    };
    let argv = [command.as_bytes().to_vec(), key.to_vec()];
    assert_eq!(answer(twins, &argv), wire.ask(&argv).expect("Redis answers"), "{argv:?}");
}

/// Answers which forms there were, by type.
fn run(seed: u64, steps: usize, redis: Option<&mut Redis>) -> BTreeSet<String> {
    let (mut dice, mut twins, mut forms) = (Dealer(Dice(seed)), Twins::new(), BTreeSet::new());
    let mut wire = redis.map(Redis::connect);
    if let Some(wire) = &mut wire {
        wire.ask(&words("FLUSHALL")).expect("Redis answers");
    }
    for step in 0..steps {
        let argv = if step == 0 { words("SET text 1") } else { dice.command() };
        assert!(lookup(&argv[0]).is_some(), "{argv:?}");
        let ours = answer(&mut twins, &argv);
        if let Some(wire) = &mut wire {
            if is_random(&argv[0]) {
                compare_chance(wire, &argv, &ours);
            } else {
                let theirs = wire.ask(&argv).expect("Redis answers");
                let arrange = |it: Answer| if is_unordered(&argv) { it.sorted() } else { it };
                let shown: Vec<_> =
                    argv.iter().map(|word| word.escape_ascii().to_string()).collect();
                assert_eq!(arrange(ours), arrange(theirs), "seed {seed} step {step}: {shown:?}");
            }
            let key = argv.get(1).filter(|_| step % 10 == 0);
            key.into_iter().for_each(|key| compare_form(wire, &mut twins, key));
        }
        if step % 250 == 249 {
            for key in HASHES.iter().chain(&SETS) {
                let kind = answer(&mut twins, &words(&format!("TYPE {key}")));
                forms.insert(format!(
                    "{} {}",
                    kind.show(),
                    form_of(&mut twins, key.as_bytes()).show()
                ));
            }
            twins.restore();
        }
    }
    twins.restore();
    twins.assert_sound();
    forms
}

#[test]
fn random_commands_answer_as_redis_does() {
    let mut redis = Redis::start();
    let steps = if redis.is_some() { 8000 } else { 3000 };
    let forms: BTreeSet<_> = (1..=6).flat_map(|seed| run(seed, steps, redis.as_mut())).collect();
    for form in [
        "hash \"hashtable\"",
        "hash \"listpack\"",
        "set \"hashtable\"",
        "set \"intset\"",
        "set \"listpack\"",
    ] {
        assert!(forms.contains(form), "no {form} in {forms:?}");
    }
}

/// Which replies are maps, sets and pairs, as RESP3 shows them.
#[test]
fn replies_have_the_shape_that_redis_gives_them() {
    let mut world = World::new();
    for line in ["HSET h f v", "SADD s 1", "SADD w x", "SADD o 1"] {
        world.say(line);
    }
    for (line, shape) in [
        ("HGETALL h", "Map"),
        ("HGETALL missing", "Map"),
        ("HKEYS h", "Array"),
        ("HVALS missing", "Array"),
        ("HMGET h f", "Array"),
        ("HRANDFIELD h", "Bulk"),
        ("HRANDFIELD missing", "Nil"),
        ("HRANDFIELD h 1", "Array"),
        ("HRANDFIELD h 1 WITHVALUES", "Pairs"),
        ("HRANDFIELD missing 1", "Array"),
        ("HSCAN h 0", "Array"),
        ("SMEMBERS s", "Set"),
        ("SMEMBERS missing", "Set"),
        ("SINTER s o", "Set"),
        ("SINTER s missing", "Set"),
        ("SDIFF s o", "Set"),
        ("SUNION s w", "Set"),
        ("SUNION s", "Set"),
        ("SRANDMEMBER s", "Bulk"),
        ("SRANDMEMBER missing", "Nil"),
        ("SRANDMEMBER s 1", "Array"),
        ("SMISMEMBER s 1", "Array"),
    ] {
        let (argv, clock) = (words(line), UnixMillis(world.now));
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let ReadOutcome::Reply(reply) = world.machine.read(0, &argv, clock, 7) else {
            panic!("{line} waits");
        };
        assert_eq!(format!("{reply:?}").split('(').next(), Some(shape), "{line}");
    }
    for (line, shape) in [("SPOP s 1", "Set("), ("SPOP missing 1", "Set("), ("SPOP w", "x")] {
        assert!(world.say(line).starts_with(shape), "{line}");
    }
}
