//! Streams of random list commands, SORT, DUMP and RESTORE on two machines, which must agree, and with `STEADFAST_REDIS` also on a real
//! Redis, which must answer the same. Sets, hashes and sorted sets, which SORT reads, come as payloads.

mod redis;
mod script;
mod twins;
mod world;

use redis::{Redis, Wire};
use script::Answer;
use twins::{Dice, Twins, plain};
use world::words;

const STREAMS: u64 = 8;
const STEPS: usize = 2500;
const LISTS: [&str; 4] = ["a", "b", "c", "d"];
/// Keys of every type, and one that is not there.
const ALL: [&str; 9] = ["a", "b", "c", "d", "str", "set", "zset", "hash", "missing"];
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "2",
    "3",
    "5",
    "-1",
    "-2",
    "-3",
    "-7",
    "100",
    "9223372036854775807",
    "-9223372036854775807",
    "x",
    "",
];

/// Draws words.
struct Dealer(Dice);

impl Dealer {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    fn one<'a>(&mut self, from: &[&'a str]) -> &'a str {
        self.0.one(from)
    }

    fn word(&mut self, from: &[&str]) -> Vec<u8> {
        self.one(from).as_bytes().to_vec()
    }

    fn list(&mut self) -> Vec<u8> {
        if self.below(12) == 0 { self.word(&ALL) } else { self.word(&LISTS) }
    }

    fn number(&mut self) -> Vec<u8> {
        let wide = self.below(3) > 0;
        if wide {
            (self.below(24) as i64 - 12).to_string().into_bytes()
        } else {
            self.word(&NUMBERS)
        }
    }

    /// Mostly one of few, so that elements are found again.
    fn element(&mut self) -> Vec<u8> {
        match self.below(40) {
            0 => vec![b'L'; 3000 + self.below(7000)],
            // No NUL: Redis ends texts there when it sorts them.
            1 => vec![1 + self.below(255) as u8; self.below(90)],
            2 => self.0.next().cast_signed().to_string().into_bytes(),
            3 => (self.0.next().cast_signed() >> self.below(64)).to_string().into_bytes(),
            4 => Vec::new(),
            5 | 6 => self.word(&["aa", "1.5", "-0", "1e1", "0x10", "B", "b"]),
            _ => self.below(20).to_string().into_bytes(),
        }
    }

    fn elements(&mut self) -> Vec<Vec<u8>> {
        let count = if self.below(30) == 0 { 300 } else { 1 + self.below(4) };
        (0..count).map(|_| self.element()).collect()
    }
}

/// CRC-64 as payloads have it, bit by bit.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte), |sum: u64, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0x95ac_9329_ac4b_c9b5 } else { 0 }
        })
    })
}

/// RESTORE of a set, hash or sorted set with up to 300 members, each of them once.
fn collection(rng: &mut Dealer) -> Vec<Vec<u8>> {
    let (kind, key) = [(2, "set"), (4, "hash"), (5, "zset")][rng.below(3)];
    let most = if rng.below(2) == 0 { 10 } else { 300 };
    let (count, start) = (1 + rng.below(most), rng.below(10));
    let mut body = vec![kind, 0x40 | (count >> 8) as u8, count as u8];
    for at in start..start + count {
        let member = at.to_string();
        body.push(member.len() as u8);
        body.extend_from_slice(member.as_bytes());
        match kind {
            4 => body.extend([1, b'0' + rng.below(10) as u8]),
            5 => body.extend((rng.below(5) as f64).to_le_bytes()),
            _ => {}
        }
    }
    body.extend([10, 0]);
    let sum = checksum(&body);
    body.extend(sum.to_le_bytes());
    let mut command = words(&format!("RESTORE {key} 0"));
    command.extend([body, b"REPLACE".to_vec()]);
    command
}

/// SORT, and whether its order is open.
fn sort(rng: &mut Dealer) -> (Vec<Vec<u8>>, bool) {
    let name = if rng.below(3) == 0 { "SORT_RO" } else { "SORT" };
    let key = if rng.below(3) == 0 { rng.word(&["set", "zset"]) } else { rng.list() };
    let mut command = vec![name.as_bytes().to_vec(), key.clone()];
    let by = rng.one(&["", "", "nosort", "w_*", "hash->*", "*->f", "w_*->"]);
    if !by.is_empty() {
        command.extend(words(&format!("BY {by}")));
    }
    let alpha = rng.below(2) == 0;
    if alpha {
        command.push(b"alpha".to_vec());
    }
    if rng.below(2) == 0 {
        command.push(rng.word(&["DESC", "ASC"]));
    }
    for _ in 0..rng.below(3) {
        command
            .extend([b"GET".to_vec(), rng.word(&["#", "w_*", "*", "hash->x", "has*->1", "s*r"])]);
    }
    // Equal weights; or members in Redis's own order.
    let is_open = alpha && by.contains('*') || key == b"set" && by == "nosort";
    if !is_open && rng.below(2) == 0 {
        command.extend([b"LIMIT".to_vec(), rng.number(), rng.number()]);
    }
    if !is_open && rng.below(4) == 0 {
        command.extend([b"STORE".to_vec(), rng.list()]);
    }
    (command, is_open)
}

fn options(rng: &mut Dealer, command: &mut Vec<Vec<u8>>, known: &[&str]) {
    for _ in 0..rng.below(3) {
        let option = rng.word(known);
        command.extend([option, rng.number()]);
    }
}

fn list_command(rng: &mut Dealer) -> Vec<Vec<u8>> {
    let key = rng.list();
    let with = |name: &str, args: Vec<Vec<u8>>| {
        [vec![name.as_bytes().to_vec()], args].into_iter().flatten().collect()
    };
    match rng.below(21) {
        0..5 => {
            let name = rng.one(&["LPUSH", "RPUSH", "RPUSH", "LPUSHX", "RPUSHX"]);
            with(name, [vec![key], rng.elements()].concat())
        }
        5..8 => {
            let mut args = vec![key];
            if rng.below(2) == 0 {
                args.push(rng.number());
            }
            with(rng.one(&["LPOP", "RPOP"]), args)
        }
        8 => with("LINDEX", vec![key, rng.number()]),
        9 => with("LLEN", vec![key]),
        10 => with("LRANGE", vec![key, rng.number(), rng.number()]),
        11 => {
            let side = rng.word(&["BEFORE", "after", "AFTER", "BESIDE"]);
            with("LINSERT", vec![key, side, rng.element(), rng.element()])
        }
        12 => with("LSET", vec![key, rng.number(), rng.element()]),
        13 => with("LREM", vec![key, rng.number(), rng.element()]),
        14 if rng.below(3) == 0 => with("LTRIM", vec![key, rng.number(), rng.number()]),
        14 | 15 => {
            let mut command = with("LPOS", vec![key, rng.element()]);
            options(rng, &mut command, &["RANK", "COUNT", "maxlen"]);
            command
        }
        16 => with("RPOPLPUSH", vec![key, rng.list()]),
        17 | 18 => {
            let ends = ["LEFT", "RIGHT", "left", "UP"];
            with("LMOVE", vec![key, rng.list(), rng.word(&ends[..3]), rng.word(&ends)])
        }
        _ => {
            let count = 1 + rng.below(3);
            let said = if rng.below(9) == 0 {
                rng.word(&["0", "-1", "4", "x"])
            } else {
                count.to_string().into()
            };
            let mut command = with("LMPOP", vec![said]);
            command.extend((0..count).map(|_| rng.list()));
            command.push(rng.word(&["LEFT", "RIGHT", "right"]));
            options(rng, &mut command, &["COUNT"]);
            command
        }
    }
}

/// A command, and whether the order of its answer is open.
fn command(rng: &mut Dealer) -> (Vec<Vec<u8>>, bool) {
    let (key, other) = (rng.one(&LISTS), rng.one(&ALL));
    let (mut command, is_open) = match rng.below(34) {
        0..5 => sort(rng),
        5 => (collection(rng), false),
        6 => (words(&format!("SET w_{} {}", rng.below(20), rng.below(9))), false),
        7 => (words(&format!("COPY {key} {} REPLACE", rng.one(&LISTS))), false),
        8 if other != "missing" => (words(&format!("RENAME {key} {}", rng.one(&LISTS))), false),
        9 => (words(&format!("EXPIRE {key} 10000")), false),
        10 => (words(&format!("PERSIST {key}")), false),
        11 => (words(&format!("TYPE {other}")), false),
        12 if rng.below(4) == 0 => (words(&format!("DEL {key}")), false),
        _ => (list_command(rng), false),
    };
    match rng.below(60) {
        0 if command.len() > 2 => drop(command.pop()),
        1 => command.push(b"MORE".to_vec()),
        _ => {}
    }
    (command, is_open)
}

/// Two machines, and Redis beside them.
struct Stream {
    twins: Twins,
    redis: Option<Wire>,
    rng: Dealer,
}

impl Stream {
    fn ours(&mut self, argv: &[Vec<u8>]) -> Answer {
        plain(&self.twins.ask(argv), false)
    }

    fn say(&mut self, argv: &[Vec<u8>], is_open: bool) {
        let ours = self.ours(argv);
        let Some(redis) = &mut self.redis else { return };
        let theirs = redis.ask(argv).expect("Redis answers");
        let same =
            if is_open { ours.clone().sorted() == theirs.clone().sorted() } else { ours == theirs };
        let line: Vec<String> = argv.iter().map(|word| script::quote(word)).collect();
        assert!(same, "{}\n  ours:   {}\n  theirs: {}", line.join(" "), ours.show(), theirs.show());
    }

    /// What one side dumps is restored on both.
    fn hand_over(&mut self) {
        let key = self.rng.word(&ALL);
        let dump = vec![b"DUMP".to_vec(), key.clone()];
        let mut payloads = vec![self.ours(&dump)];
        if let Some(redis) = &mut self.redis {
            payloads.push(redis.ask(&dump).expect("Redis answers"));
        }
        for payload in payloads {
            let Answer::Bulk(payload) = payload else {
                assert_eq!(payload, Answer::Nil);
                continue;
            };
            let restore = [b"RESTORE", &key[..], b"0", &payload, b"REPLACE"].map(<[u8]>::to_vec);
            self.say(&restore, false);
            self.contents(&key);
        }
    }

    /// All that a key holds.
    fn contents(&mut self, key: &[u8]) {
        let key = String::from_utf8_lossy(key).into_owned();
        match key.as_str() {
            "set" => self.say(&words("SORT set ALPHA"), false),
            "zset" => self.say(&words("SORT zset BY nosort"), false),
            "hash" => {
                // Each field of the hash, of the one key that the empty element makes.
                let names = (0..310).flat_map(|field| words(&format!("GET hash*->{field}")));
                let sort = words("SORT empty BY nosort").into_iter().chain(names);
                let sort: Vec<Vec<u8>> = sort.collect();
                self.say(&sort, false);
            }
            "str" => self.say(&words("GET str"), false),
            key => self.say(&words(&format!("LRANGE {key} 0 -1")), false),
        }
    }

    fn run(&mut self, steps: usize) {
        for line in
            ["SET str v", "RPUSH empty ", "MSET w_1 4 w_2 3 w_3 2 w_4 text w_12 7 w_aa 1 w_-> 5"]
        {
            self.say(&words(line), false);
        }
        for step in 0..steps {
            let (command, is_open) = command(&mut self.rng);
            self.say(&command, is_open);
            if step % 20 == 0 {
                self.hand_over();
            }
            if step % 100 == 0 {
                for key in ALL {
                    self.contents(key.as_bytes());
                }
                self.twins.restore();
            }
        }
        self.twins.assert_sound();
    }
}

/// Whatever is asked, the replicas agree, and Redis answers the same.
#[test]
fn random_streams_are_answered_as_by_redis() {
    let mut server = Redis::start();
    for seed in 0..STREAMS {
        let mut redis = server.as_mut().map(Redis::connect);
        if let Some(redis) = &mut redis {
            redis.ask(&words("FLUSHALL")).expect("Redis answers");
        }
        Stream { twins: Twins::new(), redis, rng: Dealer(Dice(seed)) }.run(STEPS);
    }
}
