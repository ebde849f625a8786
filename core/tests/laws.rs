//! Laws of the state machine, over random commands, entries and damage. Shared parts: `world`.

mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use steadfast_core::entry::{
    Body, EntryError, Op, Parcel, Part, Watched, decode_batch, decode_entry, decode_op,
    encode_bootstrap, encode_entry, encode_level, encode_parcel, encode_register, encode_retire,
    encode_tick, push_command, push_transaction,
};
use steadfast_core::machine::StateMachine;
use steadfast_core::stamp::{Stamp, UnixMillis};
use world::{Heard, NODE, Words, World, batch, snapshot_of, words};

const KEYS: [&str; 7] = ["a", "b", "{t}1", "{t}2", "{t}3", "{t}4", "{t}5"];

fn key() -> impl Strategy<Value = &'static str> {
    select(&KEYS[..])
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{0,6}",
        3 => any::<i32>().prop_map(|number| number.to_string()),
        1 => (20_usize..30).prop_map(|length| "m".repeat(length)),
        1 => (1000_usize..1050).prop_map(|length| "l".repeat(length)),
        1 => (4000_usize..9000).prop_map(|length| "h".repeat(length)),
    ]
}

/// Commands that touch every kind of change there is.
fn command() -> impl Strategy<Value = Words> {
    let pair = || (key(), value());
    let two = || (key(), key());
    let many = prop_oneof![
        8 => pair().prop_map(|(key, value)| vec!["SET".into(), key.into(), value]),
        2 => (pair(), 1_u32..80).prop_map(|((key, value), ms)| {
            vec!["SET".into(), key.into(), value, "PX".into(), ms.to_string()]
        }),
        2 => pair().prop_map(|(key, value)| vec!["SET".into(), key.into(), value, "KEEPTTL".into()]),
        2 => pair().prop_map(|(key, value)| vec!["SETNX".into(), key.into(), value]),
        2 => key().prop_map(|key| vec!["INCR".into(), key.into()]),
        3 => pair().prop_map(|(key, value)| vec!["APPEND".into(), key.into(), value]),
        2 => (pair(), 0_u32..6000).prop_map(|((key, value), at)| {
            vec!["SETRANGE".into(), key.into(), at.to_string(), value]
        }),
        4 => two().prop_map(|(one, two)| vec!["DEL".into(), one.into(), two.into()]),
        3 => (key(), 0_u32..80).prop_map(|(key, ms)| {
            vec!["PEXPIRE".into(), key.into(), ms.to_string()]
        }),
        1 => key().prop_map(|key| vec!["PERSIST".into(), key.into()]),
        1 => two().prop_map(|(one, two)| vec!["RENAME".into(), one.into(), two.into()]),
        1 => two().prop_map(|(one, two)| vec!["COPY".into(), one.into(), two.into(), "REPLACE".into()]),
        1 => key().prop_map(|key| vec!["MOVE".into(), key.into(), "1".into()]),
        1 => Just(vec!["SWAPDB".into(), "0".into(), "1".into()]),
        1 => Just(vec!["FLUSHDB".into()]),
        1 => key().prop_map(|key| vec!["GET".into(), key.into()]),
        1 => key().prop_map(|key| vec!["PTTL".into(), key.into()]),
        1 => Just(vec!["KEYS".into(), "*".into()]),
        1 => Just(vec!["SCAN".into(), "0".into()]),
        1 => Just(vec!["RANDOMKEY".into()]),
        1 => Just(vec!["NOSUCH".into(), "x".into()]),
        2 => (key(), key()).prop_map(|(one, two)| vec!["SUBSCRIBE".into(), one.into(), two.into()]),
        1 => key().prop_map(|key| vec!["PSUBSCRIBE".into(), format!("{key}*")]),
        1 => key().prop_map(|key| vec!["UNSUBSCRIBE".into(), key.into()]),
        1 => Just(vec!["PUNSUBSCRIBE".into()]),
        2 => pair().prop_map(|(key, value)| vec!["PUBLISH".into(), key.into(), value]),
    ];
    many.prop_map(|command: Vec<String>| command.into_iter().map(String::into_bytes).collect())
}

/// One entry: how far time goes before it, its database, its commands.
#[derive(Clone, Debug)]
struct Step {
    millis: u64,
    db: u8,
    commands: Vec<Words>,
    transaction: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0_u64..40, 0_u8..2, vec(command(), 1..8), any::<bool>())
        .prop_map(|(millis, db, commands, transaction)| Step { millis, db, commands, transaction })
}

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 0..count)
}

/// Applies a step; a transaction watches its first key as missing, so that some abort.
fn take(world: &mut World, step: &Step) -> Heard {
    world.now += step.millis;
    if !step.transaction {
        return world.run(step.db, &step.commands);
    }
    let watched = Watched { db: step.db, present: false, revision: 5, key: b"a".to_vec() };
    let calls: Vec<(u8, Words)> =
        step.commands.iter().map(|call| (step.db, call.clone())).collect();
    let mut bytes = Vec::new();
    push_transaction(&mut bytes, 7, world::NO_LIMIT, &[watched], &calls);
    let parcel = world.parcel(&bytes);
    world.entry(&[parcel])
}

fn op() -> impl Strategy<Value = Vec<u8>> {
    let part = select(vec![Part::Whole, Part::More, Part::Last]);
    prop_oneof![
        (any::<u128>(), any::<[u64; 2]>()).prop_map(|(id, key)| encode_bootstrap(id, key)),
        (0_u64..3, 0_u64..4, "[a-zä:0-9]{0,6}").prop_map(|(node, incarnation, announced)| {
            encode_register(node, incarnation, &announced)
        }),
        (0_u64..3, 0_u64..4).prop_map(|(node, incarnation)| encode_retire(node, incarnation)),
        Just(encode_tick()),
        any::<u32>().prop_map(encode_level),
        (0_u64..3, 0_u64..4, 0_u64..4, part, vec(command(), 0..4)).prop_map(
            |(node, incarnation, sequence, part, commands)| {
                encode_parcel(node, incarnation, sequence, part, &batch(0, &commands))
            }
        ),
    ]
}

fn is_part(op: &Result<Op<'_>, EntryError>) -> bool {
    matches!(op, Ok(Op::Parcel(Parcel { part: Part::More | Part::Last, .. })))
}

/// Walks everything that can be reached in a payload.
fn walk(payload: &[u8]) {
    let _ = decode_op(payload);
    let parcels = decode_entry(payload).into_iter().flat_map(|(_, ops)| ops);
    let batches = parcels.filter_map(|op| match op {
        Ok(Op::Parcel(parcel)) => Some(parcel.bytes),
        _ => None,
    });
    let mut argv = Vec::new();
    for bytes in batches.chain([payload]) {
        for request in decode_batch(bytes).flatten() {
            match request.body {
                Body::Command(call) => call.argv_into(&mut argv),
                Body::Transaction(transaction) => {
                    assert!(transaction.watches().count() <= payload.len());
                    transaction.calls().for_each(|call| call.argv_into(&mut argv));
                }
                Body::Unblock { .. } => {}
            }
            assert!(argv.len() <= payload.len(), "nothing is made of nothing");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every operation that was put into an entry comes out of it.
    #[test]
    fn entries_decode_to_what_was_encoded(
        time in any::<u64>(), seed in any::<u64>(), ops in vec(op(), 0..6),
    ) {
        let stamp = Stamp { time: UnixMillis(time), seed };
        let payload = encode_entry(stamp, ops.iter().map(Vec::as_slice));
        let (decoded, iter) = decode_entry(&payload).expect("it was just encoded");
        prop_assert_eq!(decoded, stamp);
        let again: Vec<Vec<u8>> = iter
            .map(|op| match op.expect("it was just encoded") {
                Op::Bootstrap { cluster_id, hash_key } => encode_bootstrap(cluster_id, hash_key),
                Op::Register { node, incarnation, announced } => {
                    encode_register(node, incarnation, announced)
                }
                Op::Retire { node, incarnation } => encode_retire(node, incarnation),
                Op::Tick => encode_tick(),
                Op::Level(level) => encode_level(level),
                Op::Parcel(Parcel { node, incarnation, sequence, part, bytes }) => {
                    encode_parcel(node, incarnation, sequence, part, bytes)
                }
            })
            .collect();
        prop_assert_eq!(again, ops);
    }

    /// Every request that was put into a batch comes out of it.
    #[test]
    fn batches_decode_to_what_was_encoded(
        client in any::<u64>(),
        latest in any::<u64>(),
        db in 0_u8..16,
        calls in vec(vec(vec(any::<u8>(), 0..9), 1..5), 1..5),
        watches in vec((0_u8..16, any::<bool>(), any::<u64>(), vec(any::<u8>(), 0..9)), 0..4),
    ) {
        let watched: Vec<Watched> = watches
            .into_iter()
            .map(|(db, present, revision, key)| Watched { db, present, revision, key })
            .collect();
        let calls: Vec<(u8, Words)> = calls.into_iter().map(|argv| (db, argv)).collect();
        let mut bytes = Vec::new();
        let first: Vec<&[u8]> = calls[0].1.iter().map(Vec::as_slice).collect();
        push_command(&mut bytes, client, UnixMillis(latest), db, &first);
        push_transaction(&mut bytes, client, UnixMillis(latest), &watched, &calls);

        let requests: Vec<_> = decode_batch(&bytes).map(|request| request.expect("encoded")).collect();
        prop_assert_eq!(requests.len(), 2);
        for request in &requests {
            prop_assert_eq!((request.client, request.latest.0), (client, latest));
        }
        let mut argv = Vec::new();
        let Body::Command(call) = requests[0].body else { panic!("a command was encoded") };
        call.argv_into(&mut argv);
        prop_assert_eq!((call.db, &argv), (db, &first));
        let Body::Transaction(transaction) = requests[1].body else { panic!("it was a transaction") };
        let again: Vec<Watched> = transaction
            .watches()
            .map(|watch| Watched {
                db: watch.db, present: watch.present, revision: watch.revision, key: watch.key.to_vec(),
            })
            .collect();
        prop_assert_eq!(again, watched);
        let again: Vec<(u8, Words)> = transaction
            .calls()
            .map(|call| {
                call.argv_into(&mut argv);
                (call.db, argv.iter().map(|word| word.to_vec()).collect())
            })
            .collect();
        prop_assert_eq!(again, calls);
    }

    /// Bytes from anywhere never panic, and an entry that is refused changes nothing.
    #[test]
    fn hostile_entries_are_refused_whole(
        ops in vec(op(), 0..5),
        noise in vec((any::<Index>(), any::<u8>()), 0..4),
        cut in any::<Index>(),
        raw in vec(any::<u8>(), 0..80),
    ) {
        let stamp = Stamp { time: UnixMillis(world::START), seed: 1 };
        let mut payload = encode_entry(stamp, ops.iter().map(Vec::as_slice));
        for (at, byte) in noise {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        payload.truncate(cut.index(payload.len() * 2).max(1));
        for payload in [payload, raw] {
            walk(&payload);
            let mut world = World::new();
            world.run(0, &[words("SET a 1")]);
            let (digest, before) = (world.machine.digest(), world.snapshot());
            let index = world.machine.applied_index() + 1;
            if world.machine.apply(index, &payload, &mut world.net, &mut Heard::default()).is_ok() {
                continue;
            }
            if decode_entry(&payload).is_ok_and(|(_, mut ops)| ops.any(|op| is_part(&op))) {
                // A batch in parts may turn out unreadable half-way; then the machine takes no more.
                if world.machine.digest() != digest {
                    let good = encode_entry(stamp, []);
                    let refused = world.machine.apply(index, &good, &mut world.net, &mut Heard::default());
                    prop_assert!(refused.is_err());
                }
                continue;
            }
            prop_assert_eq!(world.machine.digest(), digest);
            prop_assert_eq!(world.snapshot(), before);
        }
    }

    /// The same log makes the same state, whether or not a replica builds the replies.
    #[test]
    fn the_same_log_makes_the_same_state(steps in steps(12)) {
        let (mut one, mut other) = (World::new(), World::new());
        other.deaf = true;
        for step in &steps {
            take(&mut one, step);
            let silent = take(&mut other, step);
            prop_assert!(silent.outcomes.is_empty() && silent.passed.is_empty());
            prop_assert_eq!(one.machine.digest(), other.machine.digest());
        }
        prop_assert_eq!(one.snapshot(), other.snapshot());
    }

    /// A batch has the outcome of its requests one by one: in parcels of their own, in entries of their own.
    #[test]
    fn a_batch_is_its_requests_one_by_one(before in steps(4), commands in vec(command(), 1..10)) {
        let random = |command: &Words| command[0] == b"RANDOMKEY";
        let commands: Vec<Words> = commands.into_iter().filter(|command| !random(command)).collect();
        let (mut batched, mut parcels, mut entries) = (World::new(), World::new(), World::new());
        for step in &before {
            take(&mut batched, step);
            take(&mut parcels, step);
            take(&mut entries, step);
        }
        let first = batched.run(0, &commands);
        let each: Vec<Vec<u8>> =
            commands.iter().map(|command| parcels.parcel(&batch(0, std::slice::from_ref(command)))).collect();
        let second = parcels.entry(&each);
        let mut third = Vec::new();
        for command in &commands {
            let heard = entries.run(0, std::slice::from_ref(command));
            third.extend(heard.words().into_iter().map(str::to_owned));
        }
        prop_assert_eq!(first.words(), second.words());
        prop_assert_eq!(second.words(), third);
        if !commands.is_empty() {
            prop_assert_eq!(parcels.machine.digest(), entries.machine.digest());
        }
        prop_assert_eq!(batched.machine.revision(), entries.machine.revision());
        for line in ["KEYS *", "DBSIZE", "SCAN 0 COUNT 1000"] {
            prop_assert_eq!(batched.read(line), entries.read(line));
        }
    }

    /// A restored replica is the replica it was taken from, and stays it.
    #[test]
    fn a_restored_replica_has_the_same_future(
        before in steps(10), after in steps(10), cut in prop_oneof![1_usize..50, 1000_usize..300_000],
    ) {
        let mut original = World::new();
        for step in &before {
            take(&mut original, step);
        }
        let mut restored = original.restored(cut);
        prop_assert_eq!(original.machine.digest(), restored.machine.digest());
        prop_assert_eq!(original.machine.used_bytes(), restored.machine.used_bytes());
        prop_assert_eq!(original.machine.applied_index(), restored.machine.applied_index());
        prop_assert_eq!(original.machine.next_deadline(), restored.machine.next_deadline());
        for db in 0..2 {
            prop_assert_eq!(original.machine.database_stats(db), restored.machine.database_stats(db));
        }
        for step in &after {
            prop_assert_eq!(take(&mut original, step), take(&mut restored, step));
            prop_assert_eq!(original.machine.digest(), restored.machine.digest());
        }
        prop_assert_eq!(original.snapshot(), restored.snapshot());
    }

    /// A snapshot that is written while the state moves on holds the state as it was when it began.
    #[test]
    fn a_snapshot_holds_the_state_at_its_start(
        before in steps(20), during in steps(20), budget in prop_oneof![1_usize..30, 30_usize..2000], flush in any::<bool>(),
    ) {
        let mut world = World::new();
        for step in &before {
            take(&mut world, step);
        }
        let start = world.snapshot();
        let mut steps = during.iter();
        prop_assert_eq!(world.machine.begin_snapshot(), world.machine.applied_index());
        if flush {
            world.say("FLUSHALL");
        }
        let mut pieces = Vec::new();
        while let Some(Ok((piece, is_last))) = world.machine.step_snapshot(budget) {
            pieces.push(piece);
            if !is_last && let Some(step) = steps.next() {
                take(&mut world, step);
            }
        }
        steps.for_each(|step| drop(take(&mut world, step)));
        let restored = StateMachine::restore(&mut pieces.iter().map(|piece| &piece[..]));
        prop_assert!(snapshot_of(&restored.expect("it is whole")) == start);
        // And the state is none the worse for it.
        let mut twin = World::new();
        before.iter().for_each(|step| drop(take(&mut twin, step)));
        if flush {
            twin.say("FLUSHALL");
        }
        during.iter().for_each(|step| drop(take(&mut twin, step)));
        prop_assert!(twin.snapshot() == world.snapshot());
    }

    /// A command that panicked, and a script past its budget, leave nothing behind, not even an order.
    #[test]
    fn what_is_rolled_back_leaves_nothing(
        before in steps(8),
        commands in vec(command(), 0..8),
        end in select(vec!["!panic", "!budget"]),
    ) {
        let mut body: Vec<u8> = commands.iter().flat_map(|command| {
            let mut line = command.join(&b' ');
            line.push(b';');
            line
        }).collect();
        body.extend_from_slice(end.as_bytes());
        let (mut touched, mut untouched) = (World::new(), World::new());
        for step in &before {
            take(&mut touched, step);
            take(&mut untouched, step);
        }
        // Both cache the script: EVAL does so before it runs, and a panic takes even that back.
        let eval = vec![b"EVAL".to_vec(), body.clone(), b"0".to_vec()];
        if end == "!budget" {
            let load = vec![b"SCRIPT".to_vec(), b"LOAD".to_vec(), body];
            untouched.run(0, std::slice::from_ref(&load));
            touched.run(0, &[load]);
        }
        let heard = touched.run(0, &[eval]);
        prop_assert!(heard.words()[0].starts_with("-ERR"), "{:?}", heard);
        untouched.run(0, &[words("PING")]);
        prop_assert_eq!(touched.machine.revision(), untouched.machine.revision());
        prop_assert_eq!(touched.machine.digest(), untouched.machine.digest());
        prop_assert_eq!(touched.machine.used_bytes(), untouched.machine.used_bytes());
        prop_assert_eq!(touched.snapshot(), untouched.snapshot());
    }

    /// A script that is run again from its start has the outcome of one run.
    #[test]
    fn a_script_that_rewinds_runs_once(before in steps(8), commands in vec(command(), 1..8)) {
        let lines: Vec<Vec<u8>> = commands.iter().map(|command| command.join(&b' ')).collect();
        let body = lines.join(&b';');
        let (mut plain, mut rewound) = (World::new(), World::new());
        for step in &before {
            take(&mut plain, step);
            take(&mut rewound, step);
        }
        let body = String::from_utf8(body).expect("commands are ASCII here");
        let again = rewound.script(&format!("{body};!rewind"));
        prop_assert_eq!(plain.script(&body), again);
        prop_assert_eq!(plain.machine.revision(), rewound.machine.revision());
        for line in ["KEYS *", "DBSIZE", "SCAN 0 COUNT 1000"] {
            prop_assert_eq!(plain.read(line), rewound.read(line));
        }
        for key in KEYS {
            prop_assert_eq!(plain.read(&format!("GET {key}")), rewound.read(&format!("GET {key}")));
            prop_assert_eq!(plain.read(&format!("PTTL {key}")), rewound.read(&format!("PTTL {key}")));
        }
    }

    /// Parcels that came twice, too early, or from an incarnation that may not write, change nothing.
    #[test]
    fn only_the_next_parcel_counts(
        before in vec(step(), 1..6), commands in vec(command(), 1..5),
        node in 0_u64..3, incarnation in 0_u64..3, sequence in 0_u64..12,
        part in select(vec![Part::Whole, Part::More, Part::Last]),
    ) {
        let (mut one, mut other) = (World::new(), World::new());
        for step in &before {
            take(&mut one, step);
            take(&mut other, step);
        }
        prop_assume!((node, incarnation, sequence) != (NODE, 1, one.sequence + 1));
        let stray = encode_parcel(node, incarnation, sequence, part, &batch(0, &commands));
        let heard = one.entry(&[stray, encode_register(NODE, 1, ""), encode_register(NODE, 0, "")]);
        other.entry(&[encode_tick()]);
        prop_assert_eq!(heard, Heard::default());
        prop_assert_eq!(one.machine.digest(), other.machine.digest());
        prop_assert_eq!(one.snapshot(), other.snapshot());
    }

    /// A batch in parts is the whole batch, wherever it is cut, also across entries and a snapshot.
    #[test]
    fn a_batch_in_parts_is_the_batch(commands in vec(command(), 1..6), cuts in [any::<Index>(), any::<Index>()]) {
        let bytes = batch(0, &commands);
        let (mut one, mut two) = (cuts[0].index(bytes.len() + 1), cuts[1].index(bytes.len() + 1));
        if one > two {
            std::mem::swap(&mut one, &mut two);
        }
        let mut whole = World::new();
        let heard = whole.run(0, &commands);
        let mut parts = World::new();
        let first = encode_parcel(NODE, 1, 1, Part::More, &bytes[..one]);
        prop_assert_eq!(parts.entry(&[first]).passed, vec![1]);
        let mut parts = parts.restored(97);
        let second = encode_parcel(NODE, 1, 2, Part::More, &bytes[one..two]);
        let third = encode_parcel(NODE, 1, 3, Part::Last, &bytes[two..]);
        let joined = parts.entry(&[second, third]);
        prop_assert_eq!(heard.words(), joined.words());
        prop_assert!(joined.outcomes.iter().all(|(sequence, _, _)| *sequence == 3));
        prop_assert_eq!(joined.passed, vec![2, 3]);
        prop_assert_eq!(whole.read("KEYS *"), parts.read("KEYS *"));
        prop_assert_eq!(whole.machine.revision(), parts.machine.revision());
    }

    /// A snapshot that lost its tail or a bit is refused, in words, without a panic.
    #[test]
    fn damaged_snapshots_are_refused(
        before in steps(6), at in any::<Index>(), bit in 0_u8..8, cut in any::<Index>(), extra in any::<u8>(),
    ) {
        let mut world = World::new();
        for step in &before {
            take(&mut world, step);
        }
        let good = world.snapshot();
        let mut flipped = good.clone();
        flipped[at.index(good.len())] ^= 1 << bit;
        let mut longer = good.clone();
        longer.push(extra);
        for bad in [&flipped[..], &good[..cut.index(good.len())], &longer[..]] {
            prop_assert!(StateMachine::restore(&mut bad.chunks(1000)).is_err());
        }
    }

    /// Whatever is handed over as a snapshot, restoring never panics.
    #[test]
    fn restoring_noise_never_panics(noise in vec(any::<u8>(), 0..300), keep in 0_usize..200) {
        let mut world = World::new();
        world.run(0, &[words("SET a 1"), words("SET b 2 PX 5")]);
        let mut bytes = world.snapshot();
        bytes.truncate(keep);
        bytes.extend_from_slice(&noise);
        prop_assert!(StateMachine::restore(&mut bytes.chunks(7)).is_err());
    }
}

/// An element that stays from the start to the end of a full iteration is seen, whatever else comes and goes.
#[test]
fn scan_never_misses_a_key_that_stays() {
    proptest!(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() },
    |(count in 1_usize..5, churn in vec(vec((0_u8..40, any::<bool>()), 0..6), 1..40))| {
        let mut world = World::new();
        let stay: Vec<String> = (0..20).map(|number| format!("{{t}}stay{number}")).collect();
        for (number, key) in stay.iter().enumerate() {
            world.say(&format!("SET {{t}}go{number} x"));
            world.say(&format!("SET {key} x"));
        }
        let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
        let mut churn = churn.iter().cycle();
        for round in 0.. {
            prop_assert!(round < 10_000, "a full iteration ends");
            let reply = world.read(&format!("SCAN {cursor} COUNT {count}"));
            let mut parts = reply.trim_matches(['[', ']']).split([' ', '[']).filter(|word| !word.is_empty());
            cursor = parts.next().expect("SCAN answers a cursor").to_owned();
            seen.extend(parts.map(str::to_owned));
            if cursor == "0" {
                break;
            }
            for (number, set) in churn.next().expect("it cycles") {
                let verb = if *set { format!("SET {{t}}go{number} y") } else { format!("DEL {{t}}go{number}") };
                world.say(&verb);
            }
        }
        for key in stay {
            prop_assert!(seen.contains(&key), "{} was missed", key);
        }
    });
}
