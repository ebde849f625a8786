//! The state machine's promises one by one, over its public border: time, expiry, WATCH, gateways, containment.
//! Laws over random commands: `laws.rs`.

mod world;

use steadfast_core::access::DATABASES;
use steadfast_core::entry::{
    EntryError, Part, Watched, decode_op, encode_bootstrap, encode_entry, encode_level,
    encode_parcel, encode_register, encode_retire, encode_tick, push_command,
};
use steadfast_core::hash::slot_of;
use steadfast_core::machine::{GatewayState, SEMANTICS_LEVEL, StateMachine, WatchOutcome};
use steadfast_core::stamp::{Stamp, UnixMillis};
use world::{Heard, NODE, Net, START, World, batch, snapshot_of, words};

fn watch(world: &World, key: &str) -> Watched {
    match world.machine.watch(0, key.as_bytes(), UnixMillis(world.now)) {
        WatchOutcome::Token(token) => token,
        WatchOutcome::AwaitStamp(_) => panic!("no deadline has passed"),
    }
}

/// Whether an EXEC with this precondition runs.
fn holds(world: &mut World, token: &Watched) -> bool {
    match world.exec(std::slice::from_ref(token), &[(0, words("ECHO ran"))]).as_str() {
        "[ran]" => true,
        "NilArray" => false,
        other => panic!("an EXEC answered {other}"),
    }
}

/// Time never runs back: a lower stamp is applied with the time of the last one.
#[test]
fn stamps_are_clamped() {
    let mut world = World::new();
    let (_, applied) = world.stamped(START + 500, &[encode_tick()]);
    assert_eq!(applied.stamp.time, UnixMillis(START + 500));
    let (_, applied) = world.stamped(START + 100, &[encode_tick()]);
    assert_eq!(applied.stamp.time, UnixMillis(START + 500));
    assert_eq!(world.machine.last_stamp().time, UnixMillis(START + 500));
}

/// An entry that is not the next one is refused, and raft's empty entries pass.
#[test]
fn indices_have_no_gap() {
    let mut world = World::new();
    let entry = encode_entry(Stamp::default(), []);
    let mut heard = Heard::default();
    let refused = world.machine.apply(5, &entry, &mut world.net, &mut heard);
    assert_eq!(refused, Err(EntryError::OutOfOrder { expected: 2, found: 5 }));
    let stamp = world.machine.last_stamp();
    let applied = world.machine.apply(2, &[], &mut world.net, &mut heard).expect("it is raft's");
    assert_eq!((applied.index, applied.stamp), (2, stamp));
    assert_eq!(heard, Heard::default());
}

/// An entry whose second batch cannot be read changes nothing, its first batch included.
#[test]
fn an_unreadable_entry_changes_nothing() {
    let mut world = World::new();
    let digest = world.machine.digest();
    let mut damaged = batch(0, &[words("SET b 1")]);
    damaged.pop();
    let mut unknown = batch(0, &[words("SET b 1")]);
    unknown[4] = 9;
    for (bad, why) in [(damaged, EntryError::Truncated), (unknown, EntryError::UnknownRequest(9))] {
        let ops = [
            encode_parcel(NODE, 1, 1, Part::Whole, &batch(0, &[words("SET a 1")])),
            encode_parcel(NODE, 1, 2, Part::Whole, &bad),
        ];
        let stamp = Stamp { time: UnixMillis(START + 9), seed: 0 };
        let payload = encode_entry(stamp, ops.iter().map(Vec::as_slice));
        let mut heard = Heard::default();
        assert_eq!(world.machine.apply(2, &payload, &mut world.net, &mut heard), Err(why));
        assert_eq!(heard, Heard::default());
        assert_eq!(world.machine.digest(), digest);
        assert_eq!(world.machine.applied_index(), 1);
    }
}

/// A batch in parts that cannot be read is found when its last part comes; then the machine takes nothing more.
#[test]
fn an_unreadable_batch_in_parts_stops_the_machine() {
    let mut world = World::new();
    world.entry(&[encode_parcel(NODE, 1, 1, Part::More, b"nonsense")]);
    let last = encode_parcel(NODE, 1, 2, Part::Last, b"nonsense");
    let stamp = Stamp { time: UnixMillis(START), seed: 0 };
    let payload = encode_entry(stamp, [&last[..]]);
    let tick = encode_tick();
    for payload in [payload, encode_entry(stamp, [&tick[..]])] {
        let refused = world.machine.apply(3, &payload, &mut world.net, &mut Heard::default());
        assert_eq!(refused, Err(EntryError::Truncated));
        assert_eq!(world.machine.applied_index(), 2);
    }
}

/// A whole batch drops the half of another that was left before it.
#[test]
fn a_whole_batch_ends_a_half_one() {
    let mut world = World::new();
    let bytes = batch(0, &[words("INCR n")]);
    let heard = world.entry(&[
        encode_parcel(NODE, 1, 1, Part::More, &bytes[..10]),
        encode_parcel(NODE, 1, 2, Part::Whole, &bytes),
        encode_parcel(NODE, 1, 3, Part::Last, &bytes),
    ]);
    assert_eq!((heard.words(), heard.passed.clone()), (vec![":1", ":2"], vec![1, 2, 3]));
}

/// The cluster's identity is drawn once.
#[test]
fn the_second_bootstrap_is_nothing() {
    let mut world = World::empty();
    assert_eq!(world.machine.cluster_id(), 0);
    world.entry(&[encode_bootstrap(7, [1, 2])]);
    assert_eq!(world.machine.cluster_id(), 7);
    let digest = world.machine.digest();
    world.entry(&[encode_bootstrap(8, [3, 4])]);
    assert_eq!((world.machine.cluster_id(), world.machine.digest()), (7, digest));
}

/// Keys that were there before the hash key are found after it.
#[test]
fn a_late_bootstrap_keeps_every_key() {
    let mut world = World::empty();
    world.entry(&[encode_register(NODE, 1, "")]);
    for number in 0..50 {
        world.say(&format!("SET {{t}}{number} x PX {}", 1000 + number));
    }
    world.entry(&[encode_bootstrap(7, [1, 2])]);
    assert_eq!(world.read("EXISTS {t}0 {t}25 {t}49"), ":3");
    world.now += 2000;
    world.entry(&[encode_tick()]);
    assert_eq!(world.read("DBSIZE"), ":0");
}

/// A parcel counts once, in order, for the incarnation that is registered.
#[test]
fn parcels_count_once() {
    let mut world = World::new();
    let parcel = |incarnation, sequence| {
        encode_parcel(NODE, incarnation, sequence, Part::Whole, &batch(0, &[words("INCR n")]))
    };
    assert_eq!(world.entry(&[parcel(1, 1)]).words(), [":1"]);
    for stray in [parcel(1, 1), parcel(1, 3), parcel(2, 1), parcel(0, 2)] {
        assert_eq!(world.entry(&[stray]), Heard::default());
    }
    assert_eq!(world.entry(&[parcel(1, 2), parcel(1, 3)]).words(), [":2", ":3"]);
    assert_eq!(
        world.machine.gateway(NODE),
        Some(GatewayState { incarnation: 1, passed: 3, retired: false })
    );
    world.entry(&[encode_register(NODE, 4, "")]);
    assert_eq!(world.entry(&[parcel(1, 4), parcel(4, 4)]), Heard::default());
    assert_eq!(world.entry(&[parcel(4, 1)]).words(), [":4"]);
    let statistics = world.machine.statistics();
    assert_eq!(statistics.duplicate_parcels, 1);
    assert_eq!(statistics.gap_parcels, 2);
    assert_eq!(statistics.fenced_parcels, 3);
}

/// A retired incarnation writes nothing any more; a higher one does.
#[test]
fn retired_gateways_are_fenced() {
    let mut world = World::new();
    world.entry(&[encode_retire(NODE, 2)]);
    assert_eq!(world.say("INCR n"), ":1");
    world.entry(&[encode_retire(NODE, 1), encode_register(NODE, 1, "")]);
    let parcel = world.parcel(&batch(0, &[words("INCR n")]));
    assert_eq!(world.entry(&[parcel]), Heard::default());
    assert!(world.machine.gateways().all(|(node, state)| node == NODE && state.retired));
    world.entry(&[encode_register(NODE, 2, "")]);
    let parcel = encode_parcel(NODE, 2, 1, Part::Whole, &batch(0, &[words("INCR n")]));
    assert_eq!(world.entry(&[parcel]).words(), [":2"]);
}

/// A node's address is what it said when it last started; it is part of the state, and in the snapshot.
#[test]
fn addresses_are_announced() {
    let mut world = World::new();
    assert_eq!(world.machine.announced(NODE), None, "it said none");
    let before = world.machine.digest();
    world.entry(&[encode_register(NODE, 2, "redis-1:6379")]);
    assert_eq!(world.machine.announced(NODE), Some("redis-1:6379"));
    assert_ne!(world.machine.digest(), before);
    world.entry(&[encode_register(NODE, 1, "older:1"), encode_register(7, 1, "[::1]:6380")]);
    let mut chunks = Vec::new();
    world.machine.snapshot(&mut |chunk| chunks.push(chunk));
    let restored =
        StateMachine::restore(&mut chunks.iter().map(Vec::as_slice)).expect("it is whole");
    for machine in [&world.machine, &restored] {
        assert_eq!(machine.announced(NODE), Some("redis-1:6379"));
        assert_eq!((machine.announced(7), machine.announced(8)), (Some("[::1]:6380"), None));
    }
    let mut malformed = encode_register(NODE, 3, "x");
    *malformed.last_mut().expect("it ends with the address") = 0xFF;
    assert!(matches!(decode_op(&malformed), Err(EntryError::Malformed(_))), "it is no text");
}

/// A semantics level begins at an entry, lasts, and is part of the state and of snapshots. A release that does not know it changes nothing
/// at such an entry, and goes on with no such state.
#[test]
fn levels_begin_with_an_entry() {
    let mut world = World::new();
    let known = world.machine.level();
    assert_eq!(known, SEMANTICS_LEVEL);
    let later = known + 1;
    let entry = encode_entry(Stamp::default(), [&encode_tick()[..], &encode_level(later)]);
    let (index, before) = (world.machine.applied_index() + 1, world.machine.digest());
    let mut heard = Heard::default();
    let refused = world.machine.apply(index, &entry, &mut world.net, &mut heard);
    assert_eq!(refused, Err(EntryError::LaterLevel { level: later, known }));
    assert_eq!((world.machine.applied_index() + 1, world.machine.digest()), (index, before));

    let machine = std::mem::take(&mut world.machine);
    world.machine = machine.of_release(later).expect("it knows more");
    world.entry(&[encode_level(later)]);
    assert_eq!(world.machine.level(), later);
    assert_ne!(world.machine.digest(), before);
    world.entry(&[encode_level(known)]);
    assert_eq!(world.machine.level(), later, "there is no way back");
    let restored = world.restored(100);
    assert_eq!(restored.machine.level(), later);
    let refused = restored.machine.of_release(known).err();
    assert_eq!(refused, Some(EntryError::LaterLevel { level: later, known }));
}

/// The keys of a cluster slot: those that live, in database 0.
#[test]
fn slots_tell_their_keys() {
    let mut world = World::new();
    world.say("SET {t}a 1");
    world.say("SET {t}b 1 PX 50");
    world.say("SET {t}c 1");
    let slot = usize::from(slot_of(b"t"));
    assert_eq!(world.machine.keys_of_slot(slot, 2), (vec![&b"{t}a"[..], b"{t}b"], 3));
    world.now += 1000;
    world.entry(&[encode_tick()]);
    assert_eq!(world.machine.keys_of_slot(slot, 9).1, 2);
    assert_eq!(world.machine.keys_of_slot(slot, 0), (vec![], 2));
    assert_eq!(world.machine.keys_of_slot(slot + 1, 9), (vec![], 0));
}

/// A new incarnation drops the half of a batch that the old one left.
#[test]
fn half_a_batch_dies_with_its_incarnation() {
    let mut world = World::new();
    let bytes = batch(0, &[words("SET a old")]);
    world.entry(&[encode_parcel(NODE, 1, 1, Part::More, &bytes[..10])]);
    world.entry(&[encode_register(NODE, 2, "")]);
    let fresh = batch(0, &[words("SET a new")]);
    let heard = world.entry(&[
        encode_parcel(NODE, 2, 1, Part::More, &fresh[..7]),
        encode_parcel(NODE, 2, 2, Part::Last, &fresh[7..]),
    ]);
    assert_eq!(heard.words(), ["Ok"]);
    assert_eq!(world.read("GET a"), "new");
}

/// Past its latest stamp a request is not executed, and says so.
#[test]
fn late_requests_are_not_executed() {
    let mut world = World::new();
    let mut bytes = Vec::new();
    for latest in [START + 9, START + 10, START + 11] {
        push_command(&mut bytes, 7, UnixMillis(latest), 0, &[b"INCR", b"n"]);
    }
    world.now = START + 10;
    let parcel = world.parcel(&bytes);
    let heard = world.entry(&[parcel]);
    assert_eq!(heard.words(), ["too late", ":1", ":2"]);
    assert_eq!(world.machine.statistics().too_late, 1);
}

/// A key is absent from its deadline on, and a read between the log's time and the clock's waits.
#[test]
fn a_key_ends_at_its_deadline() {
    let mut world = World::new();
    world.say("SET a 1 PX 100");
    world.say("SET b 1");
    assert_eq!(world.machine.next_deadline(), Some(UnixMillis(START + 100)));
    assert_eq!(world.read_at(START + 99, "GET a"), "1");
    assert_eq!(world.read_at(START + 100, "GET a"), "await 100");
    assert_eq!(world.read_at(START + 100, "EXISTS b"), ":1");
    assert_eq!(world.read_at(START + 100, "KEYS *"), "await 100");
    assert_eq!(
        world.machine.watch(0, b"a", UnixMillis(START + 170)),
        WatchOutcome::AwaitStamp(UnixMillis(START + 100))
    );
    world.now = START + 99;
    assert_eq!(world.say("PTTL a"), ":1");
    world.now = START + 100;
    assert_eq!(world.say("GET a"), "Nil");
    assert_eq!(world.read_at(START + 500, "GET a"), "Nil");
    assert_eq!(world.read("DBSIZE"), ":1");
    assert_eq!(world.machine.next_deadline(), None);
    assert_eq!(world.machine.statistics().expired_keys, 1);
}

/// The far ends of time: a key without a deadline outlives every stamp, and waits for no clock.
#[test]
fn the_end_of_time_deletes_nothing() {
    let mut world = World::new();
    world.say("SET a 1");
    assert_eq!(world.read_at(u64::MAX, "GET a"), "1");
    world.now = u64::MAX;
    world.entry(&[encode_tick()]);
    assert_eq!(world.read_at(u64::MAX, "GET a"), "1");
    assert_eq!(world.say("GET a"), "1");
}

/// A script is cached by EVAL and SCRIPT LOAD, survives a snapshot, and is forgotten by SCRIPT FLUSH.
#[test]
fn scripts_are_replicated_state() {
    let mut world = World::new();
    let sha = "0f1cb4e3a2c0b2a4a9d1fb0ee1a1a1a1a1a1a1a1";
    assert!(world.say(&format!("EVALSHA {sha} 0")).starts_with("-NOSCRIPT"));
    let empty = world.machine.digest();
    let load = vec![b"SCRIPT".to_vec(), b"LOAD".to_vec(), b"INCR a".to_vec()];
    let sha = world.run(0, &[load]).words()[0].to_owned();
    assert_eq!(sha.len(), 40);
    assert_ne!(world.machine.digest(), empty);
    let mut restored = world.restored(50);
    assert_eq!(restored.say(&format!("EVALSHA {} 0", sha.to_uppercase())), ":1");
    assert_eq!(restored.read(&format!("SCRIPT EXISTS {sha} x")), "[:1 :0]");
    assert_eq!(restored.say("SCRIPT FLUSH"), "Ok");
    assert!(restored.say(&format!("EVALSHA {sha} 0")).starts_with("-NOSCRIPT"));
    assert_eq!(restored.script("INCR a"), ":2");
    assert_eq!(restored.read(&format!("SCRIPT EXISTS {sha}")), "[:1]");
}

/// Many keys due at once go in bounded steps, and none of them is seen meanwhile.
#[test]
fn a_crowd_expires_in_bounded_steps() {
    let mut world = World::new();
    let count = 3000;
    let commands: Vec<_> =
        (0..count).map(|number| words(&format!("SET k{number} x PX 50"))).collect();
    world.run(0, &commands);
    assert_eq!(world.read("DBSIZE"), format!(":{count}"));
    world.now += 50;
    let mut entries = 0;
    while world.machine.next_deadline().is_some() {
        let before = world.machine.database_stats(0).keys;
        world.entry(&[encode_tick()]);
        entries += 1;
        assert!(world.machine.database_stats(0).keys < before, "each entry removes some");
        assert_eq!(world.read("KEYS *"), "[]");
        assert_eq!(world.read("GET k2999"), "Nil");
        assert_eq!(world.read("RANDOMKEY"), "Nil");
    }
    assert!(entries > 1, "one entry may not remove {count} keys");
    assert_eq!(world.read("DBSIZE"), ":0");
    assert_eq!(world.machine.statistics().expired_keys, count);
}

/// WATCH on a present key: its value, its TTL, its end and its return all count; other keys do not.
#[test]
fn watch_of_a_present_key() {
    for change in ["SET a 2", "PEXPIRE a 500", "DEL a", "FLUSHDB", "SWAPDB 0 1", "RENAME b a"] {
        let mut world = World::new();
        world.say("SET a 1");
        world.say("SET b 1");
        let token = watch(&world, "a");
        assert!(token.present);
        world.say("SET c 1");
        assert!(holds(&mut world, &token), "another key was set");
        world.say(change);
        assert!(!holds(&mut world, &token), "{change}");
    }
    let mut world = World::new();
    world.say("SET a 1 PX 10");
    let token = watch(&world, "a");
    world.now += 10;
    assert!(!holds(&mut world, &token), "it expired");
}

/// WATCH on a missing key: it must have stayed missing all the time.
#[test]
fn watch_of_a_missing_key() {
    let mut world = World::new();
    world.say("SET other 1");
    let token = watch(&world, "a");
    assert!(!token.present);
    assert!(holds(&mut world, &token));
    world.say("SET a 1");
    assert!(!holds(&mut world, &token), "it was made");
    world.say("DEL a");
    assert!(!holds(&mut world, &token), "it was made and deleted");
    let token = watch(&world, "a");
    assert!(holds(&mut world, &token), "watched anew");
    world.say("SET a 1 PX 5");
    world.now += 5;
    assert!(!holds(&mut world, &token), "it was made and expired");
    world.entry(&[encode_tick()]);
    let token = watch(&world, "a");
    world.say("SET a 1");
    world.say("FLUSHALL");
    assert!(!holds(&mut world, &token), "it was made and flushed");
    let token = watch(&world, "a");
    world.say("SWAPDB 0 1");
    world.say("SET a 1");
    world.say("SWAPDB 0 1");
    assert!(!holds(&mut world, &token), "the database was swapped");
}

/// What a token says survives a snapshot.
#[test]
fn watch_holds_across_a_snapshot() {
    let mut world = World::new();
    let token = watch(&world, "a");
    world.say("SET a 1");
    world.say("DEL a");
    assert!(!holds(&mut world.restored(100), &token));
    let token = watch(&world, "a");
    assert!(holds(&mut world.restored(100), &token));
    world.say("SWAPDB 0 1");
    assert!(!holds(&mut world.restored(100), &token));
}

/// A call that fails inside EXEC is an error in the array; the others stand.
#[test]
fn exec_keeps_errors_in_its_array() {
    let mut world = World::new();
    let calls =
        [(0, words("SET a x")), (0, words("INCR a")), (3, words("SET b y")), (0, words("GET a"))];
    assert_eq!(world.exec(&[], &calls), "[Ok -ERR value is not an integer or out of range Ok x]");
    assert_eq!(world.read("EXISTS a b"), ":1");
    assert_eq!(world.machine.database_stats(3).keys, 1);
}

/// A panic becomes the error of its own command, in a batch and in EXEC; its neighbours stand.
#[test]
fn a_panic_is_one_commands_error() {
    let mut world = World::new();
    let eval = vec![b"EVAL".to_vec(), b"SET a 1;DEL b;!panic".to_vec(), b"0".to_vec()];
    let heard = world.run(0, &[words("SET b 1"), eval.clone(), words("INCR b")]);
    assert_eq!(heard.words()[0], "Ok");
    assert!(heard.words()[1].starts_with("-ERR internal error"), "{heard:?}");
    assert_eq!(heard.words()[2], ":2");
    let reply = world.exec(&[], &[(0, words("INCR b")), (0, eval), (0, words("INCR b"))]);
    assert!(reply.starts_with("[:3 -ERR internal error") && reply.ends_with(" :4]"), "{reply}");
    assert_eq!(world.read("EXISTS a"), ":0");
    assert_eq!(world.machine.statistics().contained_panics, 2);
}

/// An uncaught error keeps what the script wrote, as in Redis; a used-up budget takes it back.
#[test]
fn scripts_that_fail() {
    let mut world = World::new();
    assert_eq!(world.script("SET a 1;!error"), "-ERR planted");
    assert_eq!(world.read("GET a"), "1");
    assert_eq!(world.script("SET a 2;SET b 2;DEL a;!budget"), "-ERR budget");
    assert_eq!(world.read("GET a"), "1");
    assert_eq!(world.read("EXISTS b"), ":0");
    assert_eq!(world.script("INCR a;!rewind;INCR a"), ":3");
    assert!(world.script("EVAL x 0").starts_with("-ERR"), "scripts do not start scripts");
    assert!(world.script("NOSUCH").starts_with("-ERR"), "unknown commands are errors");
    assert!(world.script("GET").starts_with("-ERR"), "arity is checked");
}

/// Revisions: one per mutating command; a key's own count every change.
#[test]
fn revisions_count_changes() {
    let mut world = World::new();
    let mut last = world.machine.revision();
    for (line, raises) in [
        ("SET a 1", 1),
        ("GET a", 0),
        ("MSET a 1 b 2", 1),
        ("DEL x", 0),
        ("PEXPIRE a 9000", 1),
        ("PEXPIRE x 9000", 0),
        ("PERSIST a", 1),
        ("PERSIST a", 0),
        ("DEL a b", 1),
        ("FLUSHALL", 0),
        ("INCR a", 1),
        ("FLUSHALL", 1),
    ] {
        world.say(line);
        assert_eq!(world.machine.revision() - last, raises, "{line}");
        last = world.machine.revision();
    }
}

/// The digest is that of the state, not of the way to it, but for revisions and stamps.
#[test]
fn the_digest_tells_states_apart() {
    let lines = ["SET a 1", "SET a 2", "SET b 1", "SET a 1 PX 50", "APPEND a 1", "SET a 01"];
    let mut digests: Vec<u128> = lines
        .iter()
        .map(|line| {
            let mut world = World::new();
            world.say(line);
            world.machine.digest()
        })
        .collect();
    // SET a 1 and APPEND a 1 leave the same state by different ways.
    assert_eq!(digests[0], digests[4]);
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), lines.len() - 1);
}

/// A long value that is changed in place has the digest and the snapshot of one that was set whole.
#[test]
fn long_values_change_in_place() {
    let mut patched = World::new();
    let mut whole = World::new();
    let mut value = vec![b'x'; 20_000];
    let set = |value: &[u8]| vec![b"SET".to_vec(), b"a".to_vec(), value.to_vec()];
    patched.run(0, &[set(&value)]);
    whole.run(0, &[set(&value)]);
    for offset in [0, 4095, 4096, 10_000, 19_999, 30_000] {
        if value.len() < offset + 3 {
            value.resize(offset + 3, 0);
        }
        value[offset..offset + 3].copy_from_slice(b"abc");
        patched.run(0, &[words(&format!("SETRANGE a {offset} abc"))]);
        whole.run(0, &[set(&value)]);
        assert_eq!(patched.machine.digest(), whole.machine.digest(), "at {offset}");
        assert_eq!(patched.machine.used_bytes(), whole.machine.used_bytes());
        assert_eq!(patched.snapshot(), whole.snapshot());
    }
}

/// Figures are exact, and empty again when the state is.
#[test]
fn figures_follow_the_state() {
    let mut world = World::new();
    let empty = world.machine.used_bytes();
    world.say("SET a 1 PX 100");
    world.say("SET b 1 PX 300");
    world.say("SET c 1");
    let stats = world.machine.database_stats(0);
    assert_eq!((stats.keys, stats.expires, stats.avg_ttl_ms), (3, 2, 200));
    assert!(world.machine.used_bytes() > empty);
    world.say("SWAPDB 0 15");
    assert_eq!(world.machine.database_stats(DATABASES - 1).keys, 3);
    assert_eq!(world.machine.next_deadline(), Some(UnixMillis(START + 100)));
    world.say("FLUSHALL");
    assert_eq!(world.machine.used_bytes(), empty);
    assert_eq!(world.machine.next_deadline(), None);
}

/// A machine that has seen nothing has a snapshot too.
#[test]
fn the_empty_machine_restores() {
    let empty = World::empty();
    let restored = empty.restored(3);
    assert_eq!(restored.machine.digest(), empty.machine.digest());
    assert_eq!(restored.machine.applied_index(), 0);
    assert!(StateMachine::restore(&mut [].into_iter()).is_err());
}

/// Chunks are bounded, also around a value that is larger than one.
#[test]
fn snapshot_chunks_are_bounded() {
    let mut world = World::new();
    world.run(0, &[vec![b"SET".to_vec(), b"big".to_vec(), vec![7; 3 << 20]]]);
    for number in 0..2000 {
        world.say(&format!("SET {{t}}{number} {}", "v".repeat(300)));
    }
    let mut longest = 0;
    let mut chunks = 0;
    world.machine.snapshot(&mut |chunk| {
        longest = longest.max(chunk.len());
        chunks += 1;
    });
    assert!(longest <= 4 << 20 && chunks > 2, "{chunks} chunks, the longest of {longest} bytes");
    let restored = world.restored(1 << 16);
    assert_eq!(restored.read("DBSIZE"), ":2001");
    assert_eq!(restored.snapshot(), world.snapshot());
}

/// Many keys in one slot, and values larger than a step, change and move while a snapshot is written; databases are swapped and flushed.
#[test]
fn a_snapshot_in_steps_holds_what_has_changed_since() {
    let mut world = World::new();
    for number in 0..300 {
        world.say(&format!("SET {{t}}{number} {}", "v".repeat(number * 3)));
        world.run(1, &[words(&format!("SET other{number} {number}"))]);
    }
    let start = world.snapshot();
    let index = world.machine.applied_index();
    assert_eq!(world.machine.begin_snapshot(), index);
    let (mut pieces, mut steps) = (Vec::new(), 0_usize);
    loop {
        let (piece, is_last) =
            world.machine.step_snapshot(100).expect("one is under way").expect("nothing decays");
        assert!(piece.len() < 1000, "a step is small: {}", piece.len());
        pieces.extend(piece);
        if is_last {
            break;
        }
        steps += 1;
        let number = steps * 7919 % 300;
        match steps % 4 {
            0 => drop(world.say(&format!("DEL {{t}}{number}"))),
            1 => drop(world.say(&format!("APPEND {{t}}{number} tail"))),
            2 => drop(world.say(&format!("SET {{t}}new{number} x"))),
            _ => drop(world.say(&format!("DEL {{t}}{} {{t}}{}", 299 - number, number / 2))),
        }
        match steps {
            200 => drop(world.say("SWAPDB 0 1")),
            300 => drop(world.say("FLUSHDB")),
            400 => drop(world.say("FLUSHALL")),
            _ => {}
        }
    }
    assert!(steps > 500, "{steps} steps");
    assert!(world.machine.step_snapshot(100).is_none());
    let restored = StateMachine::restore(&mut pieces.chunks(777)).expect("it is whole");
    assert!(snapshot_of(&restored) == start, "it is the state at its start");
}

/// One that is given up leaves nothing behind, and neither does one that another replaces.
#[test]
fn a_snapshot_may_be_given_up() {
    let mut world = World::new();
    (0..50).for_each(|number| drop(world.say(&format!("SET {number} x"))));
    world.machine.begin_snapshot();
    world.machine.step_snapshot(100);
    world.say("FLUSHALL");
    world.machine.abandon_snapshot();
    assert!(world.machine.step_snapshot(100).is_none());
    world.machine.begin_snapshot();
    world.say("SET a 1");
    world.machine.begin_snapshot();
    let start = world.snapshot();
    world.say("SET b 1");
    let mut pieces = Vec::new();
    while let Some(Ok((piece, _))) = world.machine.step_snapshot(1 << 20) {
        pieces.extend(piece);
    }
    assert!(pieces == start);
}

/// The order in which keys are seen is part of the state.
#[test]
fn order_is_state() {
    let mut world = World::new();
    for line in ["SET {t}1 x", "SET {t}2 x", "SET {t}3 x", "SET {t}4 x", "DEL {t}1", "SET {t}1 y"] {
        world.say(line);
    }
    let keys = world.read("KEYS *");
    assert_eq!(keys, "[{t}4 {t}2 {t}3 {t}1]");
    assert_eq!(world.restored(10).read("KEYS *"), keys);
    assert_eq!(world.script("DEL {t}2;SET {t}9 z;DEL {t}4 {t}3;SET {t}2 q;!budget"), "-ERR budget");
    assert_eq!(world.read("KEYS *"), keys);
}

/// RANDOMKEY reaches every key.
#[test]
fn random_keys_reach_everything() {
    let mut world = World::new();
    for number in 0..8 {
        world.say(&format!("SET key{number} x"));
    }
    let mut seen: Vec<String> = (0..300)
        .map(|_| {
            world.now += 1;
            world.say("RANDOMKEY")
        })
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 8);
}

/// A write that is routed as a read is refused, and unknown commands have Redis's text.
#[test]
fn reads_cannot_write() {
    let world = World::new();
    assert!(world.read("SET a 1").starts_with("-ERR"));
    assert!(world.read("NOSUCH a").starts_with("-ERR unknown command 'NOSUCH'"));
    assert_eq!(world.read("EXISTS a"), ":0");
}

/// The net in these tests does catch.
#[test]
fn the_net_catches() {
    use steadfast_core::script::Surroundings;
    assert!(!Net::default().contain(&mut |_| panic!("planted")));
    assert!(Net::default().contain(&mut |_| ()));
}
