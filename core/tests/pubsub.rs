//! Subscriptions as state: whose they are, when they end, what is taken back, and what a snapshot holds of them.
//! Shared parts: `world`. What the commands answer stands in `scripts/pubsub`.

mod world;

use steadfast_core::entry::{Part, encode_parcel, encode_register, encode_retire};
use steadfast_core::machine::{DIGEST_VERSION, Outcome, Sink, StateMachine};
use steadfast_core::pubsub::{Counts, Kind, Subscriber};
use steadfast_core::reply::Reply;
use world::{Heard, NODE, World, batch_of, snapshot_of, words};

/// Another gateway than the one that the tests listen at.
const OTHER: u64 = 2;

/// Registers an incarnation of the other gateway.
fn register_other(world: &mut World, incarnation: u64) {
    world.entry(&[encode_register(OTHER, incarnation, "")]);
}

/// A command of a client of the other gateway.
fn other_says(world: &mut World, incarnation: u64, sequence: u64, line: &str) -> Heard {
    let batch = batch_of(9, 0, &[words(line)]);
    world.entry(&[encode_parcel(OTHER, incarnation, sequence, Part::Whole, &batch)])
}

fn messages(heard: &Heard) -> Vec<(u64, &str)> {
    heard.messages.iter().map(|(client, message, _)| (*client, message.as_str())).collect()
}

/// The cluster's subscribers are counted, and only those of the own gateway are told.
#[test]
fn counts_are_the_clusters_and_messages_the_gateways() {
    let mut world = World::new();
    register_other(&mut world, 1);
    world.run_as(3, "SUBSCRIBE a");
    other_says(&mut world, 1, 1, "SUBSCRIBE a");
    other_says(&mut world, 1, 2, "PSUBSCRIBE *");
    let heard = world.run_as(4, "PUBLISH a x");
    assert_eq!(heard.words(), [":3"]);
    assert_eq!(messages(&heard), [(3, ">[message a x]")]);
    let heard = other_says(&mut world, 1, 3, "PUBLISH a y");
    assert_eq!(messages(&heard), [(3, ">[message a y]")], "whoever publishes, it is told");
}

/// What a gateway's clients were subscribed to goes when its next incarnation registers, and when it is retired; nobody else's does.
#[test]
fn subscriptions_end_with_their_incarnation() {
    let mut world = World::new();
    let bare = world.machine.digest();
    register_other(&mut world, 1);
    world.run_as(3, "SUBSCRIBE a");
    other_says(&mut world, 1, 1, "SUBSCRIBE a b");
    assert_eq!(world.say("PUBSUB NUMSUB a b"), "[a :2 b :1]");
    register_other(&mut world, 2);
    assert_eq!(world.say("PUBSUB NUMSUB a b"), "[a :1 b :0]");
    other_says(&mut world, 2, 1, "SSUBSCRIBE a");
    other_says(&mut world, 2, 2, "PSUBSCRIBE a");
    world.entry(&[encode_retire(OTHER, 1)]);
    assert_eq!(world.say("PUBSUB NUMPAT"), ":1", "that one is gone already");
    world.entry(&[encode_retire(OTHER, 2)]);
    assert_eq!(world.say("PUBSUB NUMPAT"), ":0");
    assert_eq!(world.say("PUBSUB SHARDNUMSUB a"), "[a :0]");
    other_says(&mut world, 2, 3, "SUBSCRIBE late");
    assert_eq!(world.say("PUBSUB NUMSUB a late"), "[a :1 late :0]", "it is fenced");
    assert_ne!(world.machine.digest(), bare);
}

/// A command that panics, a script whose budget runs out and one that begins again publish nothing by what is taken back.
#[test]
fn what_is_taken_back_is_not_published() {
    let mut world = World::new();
    world.run_as(3, "SUBSCRIBE a");
    let digest = world.machine.digest();
    for (script, told) in [
        ("PUBLISH a 1;!panic", 0),
        ("PUBLISH a 1;!budget", 0),
        ("PUBLISH a 1;PUBLISH a 2;!rewind", 2),
        ("PUBLISH a 1;!error", 1),
        ("PUBLISH nobody 1", 0),
    ] {
        let command = vec![b"EVAL".to_vec(), script.as_bytes().to_vec(), b"0".to_vec()];
        let heard = world.run(0, &[command]);
        assert_eq!(heard.messages.len(), told, "{script}: {heard:?}");
    }
    assert_ne!(world.machine.digest(), digest, "time has gone on");
    assert_eq!(world.say("PUBSUB NUMSUB a"), "[a :1]");
}

/// A message stands in front of the reply of its command, and behind that of its transaction.
#[test]
fn messages_have_their_place_among_replies() {
    let mut world = World::new();
    world.run_as(3, "SUBSCRIBE a");
    let parcel = batch_of(3, 0, &[words("SET k 1"), words("PUBLISH a x"), words("SET k 2")]);
    let parcel = world.parcel(&parcel);
    let heard = world.entry(&[parcel]);
    assert_eq!(heard.messages, [(3, ">[message a x]".to_owned(), 1)]);
    let mut batch = Vec::new();
    let calls = [(0, words("SUBSCRIBE b")), (0, words("PUBLISH b x")), (0, words("UNSUBSCRIBE b"))];
    steadfast_core::entry::push_transaction(&mut batch, 3, world::NO_LIMIT, &[], &calls);
    let parcel = world.parcel(&batch);
    let heard = world.entry(&[parcel]);
    assert_eq!(heard.words(), ["[>[subscribe b :2] :1 >[unsubscribe b :1]]"]);
    assert_eq!(heard.messages, [(3, ">[message b x]".to_owned(), 1)]);
}

/// Neither subscriptions nor messages touch a key: no WATCH breaks by them, and no fencing token moves.
#[test]
fn the_revision_stays() {
    let mut world = World::new();
    let revision = world.machine.revision();
    world.run_as(3, "SUBSCRIBE a");
    world.run_as(4, "PUBLISH a x");
    world.run_as(3, "UNSUBSCRIBE");
    assert_eq!(world.machine.revision(), revision);
}

/// A script can't keep messages without bound, and a single one always goes.
#[test]
fn a_script_publishes_so_much_and_no_more() {
    let mut world = World::new();
    world.run_as(3, "SUBSCRIBE a");
    let large = "x".repeat(40 << 20);
    assert_eq!(world.script(&format!("PUBLISH a {large}{large}")), ":1");
    let refused = "-ERR the script publishes too much at once; this message is not sent";
    assert_eq!(world.script(&format!("PUBLISH a {large};PUBLISH a {large}")), refused);
    assert_eq!(world.script("PUBLISH a 1;PUBLISH a 2"), ":1");
}

/// Subscriptions take so much memory and no more; those that end make room.
#[test]
fn subscriptions_are_bounded() {
    let mut world = World::new();
    let large = "x".repeat(100 << 20);
    for name in ["a", "b"] {
        world.run_as(3, &format!("SUBSCRIBE {name}{large}"));
    }
    let heard = world.run_as(3, &format!("SUBSCRIBE small c{large}"));
    assert_eq!(heard.words(), ["-ERR there are too many subscriptions; nothing was subscribed to"]);
    let counts = |client| world.machine.subscriptions_of(Subscriber { node: NODE, client });
    assert_eq!(counts(3), Counts { channels: 2, ..Counts::default() });
    assert!(counts(4).is_empty());
    world.run_as(3, "UNSUBSCRIBE");
    let heard = world.run_as(4, &format!("SUBSCRIBE c{large}"));
    assert!(heard.words()[0].starts_with(">[subscribe "));
}

/// A snapshot holds every subscription, also of names that fill several sections, and the restored replica delivers by them.
#[test]
fn snapshots_hold_subscriptions() {
    let mut world = World::new();
    register_other(&mut world, 1);
    other_says(&mut world, 1, 1, "SUBSCRIBE a");
    let mut batch = Vec::new();
    for client in 1..=20_000 {
        batch.extend(batch_of(client, 0, &[words("SUBSCRIBE a")]));
    }
    batch.extend(batch_of(5, 0, &[words("PSUBSCRIBE b*"), words("SSUBSCRIBE a c")]));
    let parcel = world.parcel(&batch);
    world.entry(&[parcel]);
    let mut restored = world.restored(1000);
    assert_eq!(world.machine.digest(), restored.machine.digest());
    for world in [&mut world, &mut restored] {
        assert_eq!(world.say("PUBLISH a x"), ":20001");
        assert_eq!(world.say("PUBSUB SHARDNUMSUB a b c"), "[a :1 b :0 c :1]");
        let heard = world.run_as(1, "PUBLISH bb x");
        assert_eq!(messages(&heard), [(5, ">[pmessage b* bb x]")]);
        assert_eq!(world.machine.subscribed_names(Kind::Shard), 2);
    }
    assert_eq!(world.snapshot(), restored.snapshot());
    assert_eq!(DIGEST_VERSION, 3, "they are part of the digest");
}

/// One that is written while subscriptions begin and end holds those of when it began.
#[test]
fn snapshots_under_way_hold_what_was() {
    let mut world = World::new();
    world.run_as(3, "SUBSCRIBE a b");
    let before = world.snapshot();
    world.machine.begin_snapshot();
    world.run_as(3, "UNSUBSCRIBE a");
    world.run_as(4, "SUBSCRIBE c");
    let mut written = Vec::new();
    while let Some(step) = world.machine.step_snapshot(1) {
        let (bytes, is_last) = step.expect("memory holds what was written to it");
        written.extend(bytes);
        if is_last {
            break;
        }
    }
    let restored = StateMachine::restore(&mut [&written[..]].into_iter());
    assert_eq!(snapshot_of(&restored.expect("it is whole")), before);
}

/// Whoever wants no gateway's replies is told of no message either.
#[test]
fn a_replica_that_serves_nobody_tells_nobody() {
    struct Nobody;
    impl Sink for Nobody {
        fn wants(&self, _node: u64, _incarnation: u64) -> bool {
            false
        }
        fn reply(&mut self, _sequence: u64, _position: u32, _outcome: Outcome<'_>) {}
        fn message(&mut self, _to: Subscriber, _message: &Reply<'_>) {
            panic!("nobody wants it");
        }
        fn passed(&mut self, _sequence: u64) {}
    }
    let mut world = World::new();
    world.run_as(3, "SUBSCRIBE a");
    let parcel = world.parcel(&batch_of(4, 0, &[words("PUBLISH a x")]));
    let stamp = world.machine.last_stamp();
    let payload = steadfast_core::entry::encode_entry(stamp, [&parcel[..]]);
    let index = world.machine.applied_index() + 1;
    let applied = world.machine.apply(index, &payload, &mut world.net, &mut Nobody);
    assert!(applied.is_ok());
}
