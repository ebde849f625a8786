//! Links between nodes: strangers, garbage, silence and slow networks.

mod world;

use std::time::Duration;

use bytes::Bytes;
use steadfast_replication::formation::{Exclusion, Heard, Member, Record};
use steadfast_replication::ports::{Clock, Net};
use steadfast_replication::roster::Roster;
use steadfast_replication::storage::SnapshotMeta;
use steadfast_replication::transport::frame::{self, FRAME_BYTES_MAX, GREETING_BYTES_MAX};
use steadfast_replication::transport::{Hello, Identity, Links, PeerEvent, Purpose, Welcome};
use steadfast_replication::wire::{PeerFrame, RaftMessage, Snapshot, SnapshotMetadata};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use world::{MemoryNet, TestClock, Wire, run};

const PATIENCE: Duration = Duration::from_secs(5);

/// Nodes 1 and 2 joined with disks 11 and 22.
fn record() -> Record {
    let pair = |node: u64, disk: u128| [&node.to_le_bytes()[..], &disk.to_le_bytes()].concat();
    Record::decode(&[pair(1, 11), pair(2, 22)].concat()).expect("a record")
}

fn identity(node_id: u64) -> Identity {
    let storage_id = u128::from(node_id) * 11;
    let roster = Roster::founding(&record(), &[], &Roster::default());
    let heard = Roster::default();
    let (record, voters) = (Some(record()), vec![1, 2]);
    let (level, level_reached) = (1, 1);
    Identity {
        node_id,
        incarnation: 5,
        storage_id,
        record,
        roster,
        heard,
        voters,
        level,
        level_reached,
    }
}

/// A clock that stands still.
#[derive(Clone)]
struct Still;

impl Clock for Still {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        0
    }
}

fn member(id: u64) -> Member {
    Member { id, host: format!("node-{id}"), port: id as u16 }
}

async fn links(
    net: &MemoryNet,
    own: u64,
    peer: u64,
) -> (Links<MemoryNet>, mpsc::Receiver<PeerEvent>) {
    links_by(Still, net, own, peer).await
}

async fn links_by(
    clock: impl Clock,
    net: &MemoryNet,
    own: u64,
    peer: u64,
) -> (Links<MemoryNet>, mpsc::Receiver<PeerEvent>) {
    let net = net.of(own);
    let listener = net.bind("", own as u16).await.expect("the port is free");
    let (sender, events) = mpsc::channel(1024);
    let peers = vec![member(peer)];
    let initial = Some([own, peer].into());
    let mut links = Links::start(net, clock, identity(own), initial, Some(listener), sender);
    links.dial(peers);
    (links, events)
}

/// Says hello to node 1 by hand.
async fn greet(net: &MemoryNet, hello: &Hello) -> (Wire, Welcome) {
    let mut wire = net.of(2).connect("", 1).await.expect("it listens");
    frame::write(&mut wire, &hello.to_bytes(), PATIENCE).await.expect("it is read");
    let welcome = frame::read(&mut wire, GREETING_BYTES_MAX, PATIENCE).await.expect("an answer");
    (wire, Welcome::from_bytes(welcome).expect("a welcome"))
}

fn op(number: u8) -> PeerFrame {
    PeerFrame { ops: vec![Bytes::from(vec![number])], ..PeerFrame::default() }
}

async fn next_op(events: &mut mpsc::Receiver<PeerEvent>) -> u8 {
    loop {
        let event = timeout(PATIENCE, events.recv()).await.expect("in time").expect("links live");
        if let PeerEvent::Frame { frame, .. } = event {
            return frame.ops[0][0];
        }
    }
}

fn excluded(why: Exclusion) -> Option<Heard> {
    Some(Heard::Excluded { why, voters: vec![1, 2], places: Vec::new() })
}

/// Whoever knows a storage id can speak in that node's name: strangers learn none.
fn assert_tells_no_storage(welcome: &Welcome) {
    let bytes = welcome.to_bytes();
    for storage in [11_u128, 22] {
        let told = bytes.windows(16).any(|window| window == storage.to_le_bytes());
        assert!(!told, "{welcome:?}");
    }
}

/// Whoever does not belong here is answered in words and nothing else; who does is let in all the same.
#[test]
fn strangers_are_refused_in_words() {
    run(async {
        let net = MemoryNet::new();
        let (_links, mut events) = links(&net, 1, 2).await;
        let good = identity(2).hello(1, Purpose::Messages);
        let other_record = Record::alone(2, 22).encode();
        let forged = Hello {
            storage_id: Bytes::copy_from_slice(&[9; 16]),
            incarnation: 999,
            ..good.clone()
        };
        let cases = [
            (Hello { to: 3, ..good.clone() }, "meant to reach node 3"),
            (Hello { from: 1, ..good.clone() }, "calls itself node 1"),
            (Hello { from: 0, ..good.clone() }, "calls itself node 0"),
            (Hello { protocol: 1, ..good.clone() }, "version 1"),
            (Hello { record: other_record.into(), ..good.clone() }, "another cluster"),
            (Hello { record: Bytes::from_static(b"broken"), ..good.clone() }, "broken record"),
            (Hello { storage_id: Bytes::from_static(b"short"), ..good.clone() }, "storage id"),
            (forged.clone(), "another disk"),
        ];
        let unknown = Hello { from: 7, record: Bytes::new(), ..good.clone() };
        let (_, welcome) = greet(&net, &unknown).await;
        assert_eq!(welcome.excluded(None), excluded(Exclusion::Unknown));
        assert_tells_no_storage(&welcome);
        for (hello, words) in cases {
            let (mut wire, welcome) = greet(&net, &hello).await;
            assert!(welcome.refusal.contains(words), "{words}: {}", welcome.refusal);
            assert_tells_no_storage(&welcome);
            let end = timeout(PATIENCE, wire.read(&mut [0; 1])).await.expect("it is closed");
            assert_eq!(end.expect("an end"), 0);
        }
        // A wiped disk is heard out and learns that it was replaced, but its stream ends; what it claims changes nothing.
        let (mut wire, welcome) = greet(&net, &Hello { record: Bytes::new(), ..forged }).await;
        assert_eq!(welcome.refusal, "");
        assert_eq!(welcome.excluded(None), excluded(Exclusion::Replaced));
        assert_tells_no_storage(&welcome);
        assert_eq!(wire.read(&mut [0; 1]).await.expect("an end"), 0);

        let (mut wire, welcome) = greet(&net, &good).await;
        assert_eq!(welcome.refusal, "");
        frame::write(&mut wire, &op(1).to_bytes(), PATIENCE).await.expect("it is read");
        assert_eq!(next_op(&mut events).await, 1);

        let (_, welcome) = greet(&net, &Hello { incarnation: 4, ..good.clone() }).await;
        assert!(welcome.refusal.contains("back in time"), "{}", welcome.refusal);
        let (_, welcome) = greet(&net, &Hello { incarnation: 6, ..good }).await;
        assert_eq!(welcome.refusal, "");
    });
}

/// What the log says of a member's starts counts from the first word on: an older copy of its directory is refused, also one
/// that has been started as often.
#[test]
fn older_copies_are_refused() {
    run(async {
        let net = MemoryNet::new();
        let (one, _events) = links(&net, 1, 2).await;
        one.learn([(2, (7 << 32) | 5), (9, 1)].into_iter());
        let good = identity(2).hello(1, Purpose::Messages);
        for old in [(6 << 32) | 9, (7 << 32) | 4, (7 << 32) | 6] {
            let (_, welcome) = greet(&net, &Hello { incarnation: old, ..good.clone() }).await;
            assert!(welcome.refusal.contains("back in time"), "{old:x} {}", welcome.refusal);
        }
        for new in [(7 << 32) | 5, 8 << 32] {
            let (_, welcome) = greet(&net, &Hello { incarnation: new, ..good.clone() }).await;
            assert_eq!(welcome.refusal, "");
        }
        // Nor does one go on that came before the log had said so.
        let (mut wire, _) = greet(&net, &Hello { incarnation: 8 << 32, ..good }).await;
        one.learn([(2, 9 << 32)].into_iter());
        frame::write(&mut wire, &op(1).to_bytes(), PATIENCE).await.expect("it may be read");
        assert_eq!(wire.read(&mut [0; 1]).await.expect("an end"), 0);
    });
}

/// Bytes that mean nothing, at any moment, end the stream that they came on and nothing else.
#[test]
fn garbage_ends_its_stream_only() {
    run(async {
        let net = MemoryNet::new();
        let (_links, mut events) = links(&net, 1, 2).await;
        let framed = |body: &[u8]| {
            let mut bytes = Vec::new();
            frame::encode(&mut bytes, body);
            bytes
        };
        let noise: Vec<u8> =
            (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let hello = framed(&identity(2).hello(1, Purpose::Messages).to_bytes());
        let to_snapshots = framed(&identity(2).hello(1, Purpose::Snapshot).to_bytes());
        let impostor = RaftMessage { from: 1, ..Default::default() };
        let impostor = PeerFrame { raft: Some(impostor), ..PeerFrame::default() };
        let cases = [
            noise.clone(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![0xFF; 64],
            framed(&noise[..1000]),
            (GREETING_BYTES_MAX as u32 + 1).to_le_bytes().repeat(4),
            [&hello[..], &noise].concat(),
            [&hello[..], &framed(&noise[..1000])].concat(),
            [&hello[..], &(FRAME_BYTES_MAX as u32 + 1).to_le_bytes().repeat(4)].concat(),
            [&hello[..], &framed(&impostor.to_bytes())].concat(),
            [&to_snapshots[..], &framed(&noise[..1000])].concat(),
            [&to_snapshots[..], &framed(b"")].concat(),
        ];
        for (case, bytes) in cases.into_iter().enumerate() {
            let mut wire = net.of(2).connect("", 1).await.expect("it listens");
            let _ = timeout(PATIENCE, wire.write_all(&bytes)).await; // it may be closed before it is read
            let mut rest = Vec::new();
            let ended = timeout(PATIENCE, wire.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "case {case} is closed");
        }
        while let Ok(event) = events.try_recv() {
            let is_greeting = matches!(event, PeerEvent::Greeted { .. } | PeerEvent::Heard { .. });
            assert!(is_greeting, "{event:?}");
        }
        let (mut wire, welcome) = greet(&net, &identity(2).hello(1, Purpose::Messages)).await;
        assert_eq!(welcome.refusal, "");
        frame::write(&mut wire, &op(1).to_bytes(), PATIENCE).await.expect("it is read");
        assert_eq!(next_op(&mut events).await, 1);
    });
}

/// Who knocks and says nothing is shown out; so is a stream that falls silent.
#[test]
fn silence_ends_a_stream() {
    run(async {
        let net = MemoryNet::new();
        let (_links, _events) = links(&net, 1, 2).await;
        let mut silent = net.of(2).connect("", 1).await.expect("it listens");
        let (mut greeted, _) = greet(&net, &identity(2).hello(1, Purpose::Messages)).await;
        for wire in [&mut silent, &mut greeted] {
            let end = timeout(PATIENCE, wire.read(&mut [0; 1])).await.expect("it is closed");
            assert_eq!(end.expect("an end"), 0);
        }
    });
}

/// Many who knock at once do not keep a member out for longer than their silence is borne.
#[test]
fn knocking_does_not_keep_members_out() {
    run(async {
        let net = MemoryNet::new();
        let (_links, mut events) = links(&net, 1, 2).await;
        let mut knocking = Vec::new();
        for _ in 0..1000 {
            knocking.push(net.of(2).connect("", 1).await.expect("it listens"));
        }
        sleep(PATIENCE).await;
        let (mut wire, _) = greet(&net, &identity(2).hello(1, Purpose::Messages)).await;
        frame::write(&mut wire, &op(1).to_bytes(), PATIENCE).await.expect("it is read");
        assert_eq!(next_op(&mut events).await, 1);
    });
}

/// When a peer has dialled anew, what its old stream still holds is not taken any more: messages keep their order.
#[test]
fn the_newest_stream_counts() {
    run(async {
        let net = MemoryNet::new();
        let (_links, mut events) = links(&net, 1, 2).await;
        let hello = identity(2).hello(1, Purpose::Messages);
        let (mut old, _) = greet(&net, &hello).await;
        frame::write(&mut old, &op(1).to_bytes(), PATIENCE).await.expect("it is read");
        assert_eq!(next_op(&mut events).await, 1);
        let (mut new, _) = greet(&net, &hello).await;
        frame::write(&mut new, &op(2).to_bytes(), PATIENCE).await.expect("it is read");
        assert_eq!(next_op(&mut events).await, 2);
        let _ = frame::write(&mut old, &op(3).to_bytes(), PATIENCE).await;
        frame::write(&mut new, &op(4).to_bytes(), PATIENCE).await.expect("it is read");
        assert_eq!(next_op(&mut events).await, 4);
    });
}

/// Who hears of log time hears as well how long that may have been on its way, on its own clock, whatever the other's says.
#[test]
fn frames_tell_after_what_they_left() {
    #[derive(Clone)]
    struct Ahead(TestClock, Duration);
    impl Clock for Ahead {
        fn monotonic(&self) -> Duration {
            self.0.monotonic() + self.1
        }
        fn wall_ms(&self) -> u64 {
            0
        }
    }
    run(async {
        let net = MemoryNet::new();
        let own = Ahead(TestClock::new(), Duration::from_secs(500));
        let other = Ahead(TestClock::new(), Duration::from_secs(3));
        let (_one, mut events) = links_by(own.clone(), &net, 1, 2).await;
        let (two, _events) = links_by(other, &net, 2, 1).await;
        sleep(PATIENCE).await;
        two.send(1, &PeerFrame { log_time_ms: 7, slack_ms: 40, ..op(1) });
        two.send(1, &op(2));
        let mut words = Vec::new();
        while words.len() < 2 {
            let event = timeout(PATIENCE, events.recv()).await.expect("in time");
            if let PeerEvent::Frame { frame, .. } = event.expect("links live") {
                words.push(frame.word());
            }
        }
        let word = words[0].expect("it tells log time");
        assert_eq!((word.log_time_ms, word.slack), (7, Some(Duration::from_millis(40))));
        let after = word.left_after.expect("there were signs of life");
        let way = own.monotonic().checked_sub(after).expect("the clock was read before");
        assert!(way <= Duration::from_millis(300), "{way:?}");
        assert_eq!(words[1], None, "it tells none");
    });
}

/// A stream that dies without a word is found out and dialled anew; what is sent after that arrives.
#[test]
fn dead_streams_are_dialled_anew() {
    run(async {
        let net = MemoryNet::new();
        let (_one, mut events) = links(&net, 1, 2).await;
        let (two, mut downs) = links(&net, 2, 1).await;
        let mut number = 0;
        for _ in 0..3 {
            sleep(PATIENCE).await;
            number += 1;
            two.send(1, &op(number));
            assert_eq!(next_op(&mut events).await, number);
            net.cut(1, 2);
            let begun = Instant::now();
            while !matches!(downs.recv().await, Some(PeerEvent::Down { peer: 1 })) {
                assert!(begun.elapsed() < PATIENCE, "it is found out in time");
            }
            net.heal();
        }
    });
}

/// A slow network is not a dead one: a backlog of many seconds gets through in order, and the link never goes down.
#[test]
fn slow_networks_carry_a_backlog() {
    run(async {
        let net = MemoryNet::new();
        net.set_rate(1 << 20);
        let (_one, mut events) = links(&net, 1, 2).await;
        let (two, mut others) = links(&net, 2, 1).await;
        sleep(PATIENCE).await;
        for number in 0..30 {
            let large =
                PeerFrame { ops: vec![vec![number; 1 << 20].into()], ..PeerFrame::default() };
            two.send(1, &large);
        }
        let begun = Instant::now();
        for number in 0..30 {
            assert_eq!(next_op(&mut events).await, number);
        }
        assert!(begun.elapsed() > Duration::from_secs(20), "it was slow indeed");
        while let Ok(event) = others.try_recv() {
            assert!(!matches!(event, PeerEvent::Down { .. }), "the link held");
        }
    });
}

/// One value may be larger than what a slow link carries while silence is borne: it gets through, be it that the system takes it
/// at once or byte by byte, and the link never goes down.
#[test]
fn slow_networks_carry_a_large_value() {
    for (rate, buffer) in [(200_000, 8 << 20), (200_000, 64 << 10), (50_000, 64 << 10)] {
        run(async {
            let net = MemoryNet::new();
            net.set_rate(rate);
            net.set_buffer(buffer);
            let (_one, mut events) = links(&net, 1, 2).await;
            let (two, mut others) = links(&net, 2, 1).await;
            sleep(PATIENCE).await;
            let large = Bytes::from(vec![7; 8 << 20]);
            two.send(1, &PeerFrame { ops: vec![large.clone()], ..PeerFrame::default() });
            two.send(1, &op(8));
            let mut arrived = Vec::new();
            while arrived.len() < 2 {
                let event = timeout(Duration::from_secs(200), events.recv()).await;
                let event = event.expect("it gets through").expect("links live");
                if let PeerEvent::Frame { frame, .. } = event {
                    arrived.extend(frame.ops);
                }
            }
            assert!(arrived == [large, Bytes::from_static(&[8])]);
            while let Ok(event) = others.try_recv() {
                assert!(!matches!(event, PeerEvent::Down { .. }), "the link held");
            }
        });
    }
}

/// So does a snapshot that the system has taken off the sender's hands long before it has arrived.
#[test]
fn slow_networks_carry_a_snapshot() {
    run(async {
        let net = MemoryNet::new();
        net.set_rate(200_000);
        let (_one, mut events) = links(&net, 1, 2).await;
        let (two, mut others) = links(&net, 2, 1).await;
        sleep(PATIENCE).await;
        let chunks: Vec<Bytes> = (0..16).map(|n| Bytes::from(vec![n; 256 << 10])).collect();
        let mut meta = SnapshotMeta { index: 7, term: 1, bytes: 4 << 20, ..Default::default() };
        meta.checksum = crc32fast::hash(&chunks.concat());
        let announced = SnapshotMetadata::from_meta(&meta);
        let announced = Snapshot { metadata: Some(announced), ..Default::default() };
        let message =
            RaftMessage { from: 2, to: 1, snapshot: Some(announced), ..Default::default() };
        let (pieces, received) = mpsc::channel(chunks.len());
        for chunk in &chunks {
            pieces.try_send(chunk.clone()).expect("there is room");
        }
        drop(pieces);
        two.send_snapshot(message, meta, received);
        loop {
            if let PeerEvent::SnapshotSent { arrived, .. } = others.recv().await.expect("it lives")
            {
                assert!(arrived, "whoever sends it learns that it arrived");
                break;
            }
        }
        let received = loop {
            if let PeerEvent::SnapshotReceived { chunks, .. } =
                events.recv().await.expect("it lives")
            {
                break chunks;
            }
        };
        assert_eq!(received, chunks);
    });
}

/// A large value that stops in the middle is no sign of life: both ends find out within the silence that is borne.
#[test]
fn silence_amid_a_large_value_ends_a_stream() {
    run(async {
        let net = MemoryNet::new();
        let (_one, _events) = links(&net, 1, 2).await;
        let (mut wire, _) = greet(&net, &identity(2).hello(1, Purpose::Messages)).await;
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, &vec![7; 8 << 20]);
        wire.write_all(&bytes[..3 << 20]).await.expect("it is read");
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, wire.read_to_end(&mut rest)).await;
        ended.expect("it is closed").expect("an end");

        net.set_rate(200_000);
        let (two, mut downs) = links(&net, 2, 1).await;
        sleep(PATIENCE).await;
        let large = Bytes::from(vec![7; 8 << 20]);
        two.send(1, &PeerFrame { ops: vec![large], ..PeerFrame::default() });
        sleep(PATIENCE).await;
        net.cut(1, 2);
        let begun = Instant::now();
        while !matches!(downs.recv().await, Some(PeerEvent::Down { peer: 1 })) {}
        assert!(begun.elapsed() < PATIENCE, "it is found out in time");
    });
}

/// A greeting that drips in byte by byte is not waited for: strangers hold no stream for longer than that.
#[test]
fn dripping_greetings_are_shown_out() {
    run(async {
        let net = MemoryNet::new();
        let (_links, _events) = links(&net, 1, 2).await;
        let mut wire = net.of(2).connect("", 1).await.expect("it listens");
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, &identity(2).hello(1, Purpose::Messages).to_bytes());
        let begun = Instant::now();
        for byte in bytes.chunks(1) {
            if wire.write_all(byte).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
        assert!(begun.elapsed() < PATIENCE, "it was closed");
    });
}

/// When the driver is gone, its streams end: peers must not take a stopped node for a living one.
#[test]
fn streams_end_with_the_driver() {
    run(async {
        let net = MemoryNet::new();
        let (links, events) = links(&net, 1, 2).await;
        let (mut wire, _) = greet(&net, &identity(2).hello(1, Purpose::Messages)).await;
        frame::write(&mut wire, &[], PATIENCE).await.expect("it is read");
        frame::read(&mut wire, FRAME_BYTES_MAX, PATIENCE).await.expect("a sign of life");
        drop((links, events));
        let end = timeout(Duration::from_secs(1), wire.read(&mut [0; 1])).await;
        assert_eq!(end.expect("at once, not after a silence").expect("an end"), 0);
    });
}
