//! Random commands on sorted sets: two machines that apply them agree, a snapshot is the state, and nothing panics. With
//! `STEADFAST_REDIS=/path/to/redis-server` every reply is compared with that of a real Redis. Ranges of members are asked of
//! sorted sets whose scores are all one, since Redis promises nothing of others; scores are compared as numbers, since
//! Redis 7.0 writes them with more digits.

mod redis;
mod script;
mod twins;
mod world;

use redis::{Redis, Wire};
use script::Answer;
use steadfast_core::commands::lookup;
use steadfast_core::number::{parse_double, print_double};
use steadfast_core::reply::Reply;
use steadfast_core::stamp::UnixMillis;
use twins::{Dice, Twins, plain};
use world::{Words, words};

/// Sorted sets with any scores: few members, and many.
const MIXED: [&str; 4] = ["small", "other", "large", "larger"];
/// Those whose members all have the score 0.
const FLAT: [&str; 2] = ["flat", "flatter"];
/// What else there is, or is not.
const ODD: [&str; 3] = ["text", "none", "set"];
const SCORES: [&str; 16] = [
    "0", "-0", "1", "2", "2.5", "-1", "-7.25", "100", "0.1", "1e300", "-1e300", "inf", "-inf",
    "+inf", "0x10", "3",
];
const BOUNDS: [&str; 16] = [
    "-inf", "+inf", "inf", "(inf", "(-inf", "0", "(0", "1", "(1", "2.5", "(2.5", "100", "-8", "",
    "(", "1e400",
];
const BAD: [&str; 7] = ["", "x", "nan", "1.5x", "9223372036854775808", "(x", "-"];
const NUMBERS: [&str; 18] = [
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "50",
    "150",
    "500",
    "-1",
    "-2",
    "-3",
    "-10",
    "-150",
    "-500",
    "9223372036854775807",
    "-9223372036854775807",
    "-9223372036854775808",
];

/// Draws commands.
struct Dealer(Dice);

impl Dealer {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.0.one_in(bound)
    }

    fn of(&mut self, words: &[&str]) -> String {
        self.0.one(words).to_owned()
    }

    /// One of these; now and then what does not belong there.
    fn mostly(&mut self, words: &[&str]) -> String {
        if self.one_in(60) { self.of(&BAD) } else { self.of(words) }
    }

    fn key(&mut self, keys: &[&str]) -> String {
        if self.one_in(25) { self.of(&ODD) } else { self.of(keys) }
    }

    /// A key that ranges of members may be asked of.
    fn flat_key(&mut self) -> String {
        if self.one_in(25) { "text".to_owned() } else { self.of(&FLAT) }
    }

    fn any_key(&mut self) -> String {
        let keys = if self.one_in(4) { &FLAT[..] } else { &MIXED[..] };
        self.key(keys)
    }

    /// A member that a key of this name may have.
    fn member(&mut self, key: &str) -> String {
        match key {
            "larger" | "flatter" => format!("m{}", self.below(500)),
            "large" => format!("{}", self.below(300)),
            _ if self.one_in(300) => "long".repeat(20),
            _ => format!("m{}", self.below(25)),
        }
    }

    fn score(&mut self, key: &str) -> String {
        match key {
            "flat" | "flatter" => "0".to_owned(),
            _ if self.one_in(2) => format!("{}", self.below(400)),
            _ => self.mostly(&SCORES),
        }
    }

    fn bound_of_members(&mut self) -> String {
        let bracket = self.of(&["[", "("]);
        let member = self.member("flatter");
        match self.below(12) {
            0 | 1 => "-".to_owned(),
            2 | 3 => "+".to_owned(),
            4 => self.mostly(&["[", "(", "[m", "(n"]),
            _ => bracket + &member,
        }
    }

    /// `LIMIT` and what follows, or nothing.
    fn limit(&mut self) -> Vec<String> {
        if self.one_in(2) {
            return Vec::new();
        }
        vec!["LIMIT".to_owned(), self.mostly(&NUMBERS), self.mostly(&NUMBERS)]
    }

    /// Some of these words.
    fn some(&mut self, words: &[&str], rarity: usize) -> Vec<String> {
        let words = words.iter().filter(|_| self.one_in(rarity));
        words.map(|word| (*word).to_owned()).collect()
    }

    fn zadd(&mut self, key: &str) -> Vec<String> {
        let mut argv = vec!["ZADD".to_owned(), key.to_owned()];
        argv.extend(self.some(&["NX", "XX", "GT", "LT", "CH"], 6));
        let count = match self.below(40) {
            0 => 150,
            1..5 => 1 + self.below(20),
            _ => 1,
        };
        if !key.starts_with("flat") {
            argv.extend(self.some(&["INCR"], 6));
        }
        for _ in 0..count {
            argv.extend([self.score(key), self.member(key)]);
        }
        if self.one_in(100) {
            argv.pop();
        }
        argv
    }

    /// Many members, so that large sorted sets stay large.
    fn fill(&mut self) -> Vec<String> {
        let key = self.of(&["large", "larger", "flatter"]);
        let mut argv = vec!["ZADD".to_owned(), key.clone()];
        for _ in 0..400 {
            argv.extend([self.score(&key), self.member(&key)]);
        }
        argv
    }

    /// Where a sorted set of any scores is stored; seldom in place of a large one.
    fn target(&mut self) -> String {
        let keys = if self.one_in(6) { &MIXED[..] } else { &MIXED[..2] };
        self.of(keys)
    }

    /// The two ends of a range, and whether they are bounds of scores or members.
    fn range(&mut self, command: &str) -> Vec<String> {
        let (by, is_store) = (self.below(3), command == "ZRANGESTORE");
        let (key, pair, word) = match by {
            0 => (self.any_key(), [self.mostly(&NUMBERS), self.mostly(&NUMBERS)], None),
            1 => (self.any_key(), [self.mostly(&BOUNDS), self.mostly(&BOUNDS)], Some("BYSCORE")),
            _ => {
                let pair = [self.bound_of_members(), self.bound_of_members()];
                (self.flat_key(), pair, Some("BYLEX"))
            }
        };
        let mut argv = vec![command.to_owned()];
        if is_store {
            argv.push(if key.starts_with("flat") { self.of(&FLAT) } else { self.target() });
        }
        argv.push(key);
        argv.extend(pair);
        argv.extend(word.map(str::to_owned));
        argv.extend(self.some(&["REV"], 2));
        argv.extend(self.some(&["WITHSCORES"], if is_store { 50 } else { 3 }));
        if by > 0 || self.one_in(20) {
            argv.extend(self.limit());
        }
        argv
    }

    /// Ranges whose kind is in the command's name.
    fn plain_range(&mut self) -> Vec<String> {
        let by_index = ["ZREMRANGEBYRANK", "ZREVRANGE"];
        let by_score = ["ZCOUNT", "ZRANGEBYSCORE", "ZREMRANGEBYSCORE", "ZREVRANGEBYSCORE"];
        let by_member = ["ZLEXCOUNT", "ZRANGEBYLEX", "ZREMRANGEBYLEX", "ZREVRANGEBYLEX"];
        let (name, key, one, other) = match self.below(3) {
            0 => (self.of(&by_index), self.any_key(), self.mostly(&NUMBERS), self.mostly(&NUMBERS)),
            1 => (self.of(&by_score), self.any_key(), self.mostly(&BOUNDS), self.mostly(&BOUNDS)),
            _ => {
                let (one, other) = (self.bound_of_members(), self.bound_of_members());
                (self.of(&by_member), self.flat_key(), one, other)
            }
        };
        // Whole sorted sets are not removed too often.
        let is_removal = name.starts_with("ZREM");
        let name = if is_removal && !self.one_in(6) { "ZCOUNT".to_owned() } else { name };
        let mut argv = vec![name.clone(), key, one, other];
        if name.contains("RANGE") && !is_removal {
            argv.extend(self.some(&["WITHSCORES"], 3));
            argv.extend(self.limit());
        }
        argv
    }

    fn combination(&mut self) -> Vec<String> {
        let name = self.of(&[
            "ZDIFF",
            "ZDIFFSTORE",
            "ZINTER",
            "ZINTERCARD",
            "ZINTERSTORE",
            "ZUNION",
            "ZUNIONSTORE",
        ]);
        let mut argv = vec![name.clone()];
        if name.ends_with("STORE") {
            argv.push(self.target());
        }
        let count = 1 + self.below(3);
        let number = if self.one_in(60) { self.of(&BAD) } else { count.to_string() };
        argv.push(number);
        argv.extend((0..count).map(|_| self.any_key()));
        if name.ends_with("CARD") {
            let limit = ["LIMIT".to_owned(), self.mostly(&NUMBERS)];
            argv.extend(limit.into_iter().filter(|_| !self.one_in(3)));
        } else if !name.starts_with("ZDIFF") || self.one_in(30) {
            if self.one_in(2) {
                argv.push("WEIGHTS".to_owned());
                argv.extend(
                    (0..count).map(|_| self.mostly(&["1", "0", "2", "-1", "0.5", "inf", "-inf"])),
                );
            }
            if self.one_in(2) {
                argv.extend(["AGGREGATE".to_owned(), self.mostly(&["SUM", "MIN", "max"])]);
            }
        }
        argv.extend(self.some(&["WITHSCORES"], if name.len() > 6 { 50 } else { 2 }));
        argv
    }

    fn pop(&mut self) -> Vec<String> {
        let count = if self.one_in(30) { self.of(&NUMBERS) } else { self.below(4).to_string() };
        if self.one_in(2) {
            let name = self.of(&["ZPOPMIN", "ZPOPMAX"]);
            let mut argv = vec![name, self.any_key()];
            argv.extend([count].into_iter().filter(|_| self.one_in(2)));
            return argv;
        }
        let keys = 1 + self.below(3);
        let mut argv = vec!["ZMPOP".to_owned(), keys.to_string()];
        argv.extend((0..keys).map(|_| self.any_key()));
        argv.push(self.mostly(&["MIN", "MAX", "max"]));
        argv.extend(["COUNT".to_owned(), count].into_iter().filter(|_| !self.one_in(4)));
        argv
    }

    fn single(&mut self) -> Vec<String> {
        let key = self.any_key();
        let name = self
            .of(&["ZCARD", "ZMSCORE", "ZRANK", "ZREVRANK", "ZSCORE", "ZREM", "ZINCRBY", "ZSCAN"]);
        let members = [self.member(&key), self.member(&key), self.member(&key)];
        let mut argv = vec![name.clone(), key.clone()];
        match name.as_str() {
            "ZCARD" => {}
            "ZMSCORE" | "ZREM" => argv.extend(members),
            "ZINCRBY" => {
                argv.push(self.score(&key));
                argv.extend(members.into_iter().take(1));
            }
            "ZSCAN" => {
                argv.extend(["0", "COUNT", "100000"].map(str::to_owned));
                argv.extend(self.some(&["MATCH", "m1*"], 2));
            }
            _ => argv.extend(members.into_iter().take(1)),
        }
        argv
    }

    fn random_members(&mut self) -> Vec<String> {
        let mut argv = vec!["ZRANDMEMBER".to_owned(), self.any_key()];
        // Redis would answer a count far below zero until it is out of memory.
        argv.extend(self.some(&["1", "3", "40", "120", "-4", "-60", "100000", "0", "x"], 4));
        argv.truncate(3);
        if argv.len() == 3 {
            argv.extend(self.some(&["WITHSCORES"], 2));
        }
        argv
    }

    fn command(&mut self) -> Vec<String> {
        match self.below(100) {
            0..2 => self.fill(),
            2..30 => {
                let key = self.any_key();
                self.zadd(&key)
            }
            30..45 => self.range("ZRANGE"),
            45..47 => self.range("ZRANGESTORE"),
            47..65 => self.plain_range(),
            65..75 => self.combination(),
            75..80 => self.pop(),
            80..94 => self.single(),
            94..98 => self.random_members(),
            98 => vec!["EXPIRE".to_owned(), self.any_key(), "100000".to_owned()],
            _ => vec!["TYPE".to_owned(), self.any_key()],
        }
    }
}

/// An answer with numbers written in one way.
fn with_plain_numbers(answer: Answer) -> Answer {
    match answer {
        Answer::Array(items) => Answer::Array(items.into_iter().map(with_plain_numbers).collect()),
        Answer::Bulk(bytes) => match parse_double(&bytes) {
            Some(number) => Answer::Bulk(print_double(number + 0.0).into_bytes()),
            None => Answer::Bulk(bytes),
        },
        other => other,
    }
}

/// Members by chance are members, and as many as Redis has; none comes twice that should not.
fn check_random(twins: &mut Twins, argv: &Words, ours: &Answer, theirs: Option<&Answer>) {
    let Answer::Array(items) = ours else {
        assert_eq!(std::mem::discriminant(ours), std::mem::discriminant(theirs.unwrap_or(ours)));
        return;
    };
    if let Some(Answer::Array(theirs)) = theirs {
        assert_eq!(items.len(), theirs.len(), "{argv:?}");
    }
    let step = if argv.len() == 4 { 2 } else { 1 };
    let members: Vec<&Answer> = items.iter().step_by(step).collect();
    for (at, member) in members.iter().enumerate() {
        let Answer::Bulk(bytes) = member else { panic!("{argv:?} answers {member:?}") };
        let ask = vec![b"ZSCORE".to_vec(), argv[1].clone(), bytes.clone()];
        let score = plain(&twins.ask(&ask), true);
        assert_ne!(score, Answer::Nil, "{argv:?} answers {member:?}");
        assert!(step == 1 || items.get(at * step + 1) == Some(&score), "{argv:?}");
        assert!(argv[2].starts_with(b"-") || !members[..at].contains(member), "{argv:?}");
    }
}

/// Runs commands and compares; answers how many came to more than an error.
fn run(seed: u64, commands: usize, mut redis: Option<&mut Wire>) -> usize {
    let (mut dice, mut twins, mut good) = (Dealer(Dice(seed)), Twins::new(), 0);
    let has_sets = lookup(b"SADD").is_some();
    let mut first = vec![words("SET text x")];
    first.extend(has_sets.then(|| words("SADD set m1 m2 m3 3 4 x")));
    for at in 0..commands {
        let argv = first
            .pop()
            .unwrap_or_else(|| dice.command().into_iter().map(String::into_bytes).collect());
        let theirs = redis.as_mut().map(|wire| wire.ask(&argv).expect("Redis answers"));
        let ours = plain(&twins.ask(&argv), true);
        good += usize::from(!matches!(ours, Answer::Error(_)));
        if argv[0] == b"ZRANDMEMBER" {
            check_random(&mut twins, &argv, &ours, theirs.as_ref());
        } else if let Some(theirs) = theirs {
            let (ours, theirs) = (with_plain_numbers(ours), with_plain_numbers(theirs));
            let (ours, theirs) = match &argv[0][..] {
                b"ZSCAN" => (ours.sorted(), theirs.sorted()),
                _ => (ours, theirs),
            };
            let shown: Vec<_> = argv.iter().map(|word| word.escape_ascii().to_string()).collect();
            let (ours, theirs) = (ours.show(), theirs.show());
            assert_eq!(ours, theirs, "seed {seed}, {at}: {}", shown.join(" "));
        }
        if at % 400 == 399 {
            twins.restore();
        }
    }
    twins.restore();
    twins.assert_sound();
    good
}

/// What the file's head says.
#[test]
fn random_commands_agree() {
    let mut redis = Redis::start();
    for seed in 0..6 {
        let mut wire = redis.as_mut().map(Redis::connect);
        if let Some(wire) = &mut wire {
            wire.ask(&words("FLUSHALL")).expect("Redis answers");
        }
        let good = run(seed, 4000, wire.as_mut());
        assert!(good > 3000, "most commands do something: {good}");
    }
}

/// A cursor shows every member that stays once, in large sorted sets too.
#[test]
fn a_scan_shows_everything_once() {
    let mut twins = Twins::new();
    for number in 0..1000 {
        twins.ask(&words(&format!("ZADD z {} m{number}", number % 7)));
    }
    let (mut cursor, mut seen) = (b"0".to_vec(), Vec::new());
    loop {
        let ask = [b"ZSCAN".to_vec(), b"z".to_vec(), cursor, b"COUNT".to_vec(), b"30".to_vec()];
        let Reply::Array(step) = twins.ask(&ask) else { panic!("a scan is an array") };
        let [Reply::Bulk(next), Reply::Array(pairs)] = &step[..] else { panic!("{step:?}") };
        assert!(pairs.len() < 200);
        seen.extend(pairs.iter().step_by(2).map(|it| plain(it, true)));
        cursor = next.to_vec();
        if cursor == b"0" {
            break;
        }
        let number = seen.len();
        twins.ask(&words(&format!("ZADD z {number} late{number}")));
        twins.ask(&words(&format!("ZREM z late{number}")));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1000);
}

/// What RESP3 tells apart and golden scripts do not.
#[test]
fn replies_have_the_types_of_redis() {
    let mut twins = Twins::new();
    let mut ask = |line: &str| twins.ask(&words(line));
    let (bulk, one) = (|text: &str| Reply::bulk_owned(text), Reply::Double(1.0));
    assert_eq!(ask("ZADD z INCR 1 a"), one);
    assert_eq!(ask("ZADD z 2 b 3 c 4 d 5 e"), Reply::Int(4));
    assert_eq!(ask("ZSCORE z a"), one);
    assert_eq!(ask("ZMSCORE z a x"), Reply::Array(vec![one.clone(), Reply::Nil]));
    assert_eq!(ask("ZINCRBY z 0 a"), one);
    let pairs = Reply::Pairs(vec![(bulk("a"), one.clone())]);
    for line in [
        "ZRANGE z 0 0 WITHSCORES",
        "ZREVRANGE z -1 -1 WITHSCORES",
        "ZRANGEBYSCORE z 1 1 WITHSCORES",
        "ZREVRANGEBYSCORE z 1 1 WITHSCORES",
    ] {
        assert_eq!(ask(line), pairs);
    }
    ask("ZADD y 1 a");
    for line in ["ZUNION 1 y WITHSCORES", "ZINTER 1 y WITHSCORES", "ZDIFF 1 y WITHSCORES"] {
        assert_eq!(ask(line), pairs);
    }
    assert_eq!(ask("ZRANDMEMBER y 1 WITHSCORES"), pairs);
    assert_eq!(ask("ZRANK z a WITHSCORE"), Reply::Array(vec![Reply::Int(0), one.clone()]));
    assert_eq!(ask("ZRANK z x WITHSCORE"), Reply::NilArray);
    assert_eq!(
        ask("ZSCAN y 0"),
        Reply::Array(vec![bulk("0"), Reply::Array(vec![bulk("a"), bulk("1")])])
    );
    assert_eq!(ask("ZPOPMIN y 5"), pairs);
    assert_eq!(ask("ZPOPMIN z"), Reply::Array(vec![bulk("a"), one]));
    let last = Reply::Array(vec![bulk("e"), Reply::Double(5.0)]);
    assert_eq!(ask("ZMPOP 1 z MAX"), Reply::Array(vec![bulk("z"), Reply::Array(vec![last])]));
    assert_eq!(ask("ZMPOP 1 y MAX"), Reply::NilArray);
    assert_eq!(ask("ZPOPMIN y"), Reply::Array(vec![]));
}

/// What changes nothing leaves the revision alone, so that WATCH does not see it.
#[test]
fn commands_that_change_nothing_leave_no_trace() {
    let mut twins = Twins::new();
    twins.ask(&words("ZADD z 1 a 2 b"));
    let token = |twins: &Twins| twins.world.machine.watch(0, b"z", UnixMillis(twins.world.now));
    let before = token(&twins);
    for line in [
        "ZADD z 1 a",
        "ZADD z NX 5 a",
        "ZADD z XX 5 c",
        "ZADD z GT 0 a",
        "ZADD z INCR 0 a",
        "ZADD none XX 1 a",
        "ZINCRBY z 0 a",
        "ZREM z c",
        "ZREM none c",
        "ZREMRANGEBYRANK z 5 9",
        "ZREMRANGEBYSCORE z 5 9",
        "ZREMRANGEBYLEX none - +",
        "ZPOPMIN z 0",
        "ZPOPMIN none",
        "ZMPOP 1 none MIN",
        "ZRANGESTORE none z 5 9",
        "ZUNIONSTORE none 1 nothing",
    ] {
        twins.ask(&words(line));
        assert_eq!(token(&twins), before, "{line}");
    }
}
