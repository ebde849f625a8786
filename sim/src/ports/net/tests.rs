//! Tests of weather, gate and tap on the simulated network itself.

use super::window::WINDOW_BYTES;
use super::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use steadfast_replication::transport::{Hello, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use turmoil::{Builder, Sim};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Notes(Mutex<Vec<(bool, u64, u64, usize)>>);

impl Tap for Notes {
    fn sent(&self, from: u64, to: u64, body: &[u8]) {
        self.0.lock().expect("no holder panics").push((true, from, to, body.len()));
    }

    fn received(&self, from: u64, to: u64, body: &[u8]) {
        self.0.lock().expect("no holder panics").push((false, from, to, body.len()));
    }
}

/// A network of two nodes; the first sends back each frame that it is sent. Both have the same tap.
struct Two {
    sim: Sim<'static>,
    outside: Outside,
    notes: Arc<Notes>,
}

fn net(outside: &Outside, node: u64) -> TurmoilNet {
    let outside = Outside { node, ..outside.clone() };
    TurmoilNet::new(Arc::default(), None).within(outside)
}

fn two(seed: u64) -> Two {
    let mut builder = Builder::new();
    builder.rng_seed(seed).simulation_duration(PATIENCE * 10);
    let mut sim = builder.tick_duration(Duration::from_millis(1)).build();
    let notes = Arc::new(Notes::default());
    let tap: Arc<dyn Tap> = Arc::<Notes>::clone(&notes);
    let outside = Outside { seed, start: 1, tap: Some(tap), ..Outside::default() };
    let first = outside.clone();
    sim.host("n1", move || {
        let net = net(&first, 1);
        async move {
            let mut listener = net.bind("n1", PEER_PORT).await?;
            loop {
                let (mut stream, _) = net.accept(&mut listener).await?;
                while let Ok(body) = frame::read(&mut stream, 1 << 20, PATIENCE).await {
                    if frame::write(&mut stream, &body, PATIENCE).await.is_err() {
                        break;
                    }
                }
            }
        }
    });
    Two { sim, outside, notes }
}

/// Frames survive any weather, and the tap sees each of them twice on each way, with the right names.
#[test]
fn frames_survive_the_weather() {
    for seed in 0..10 {
        let Two { mut sim, outside, notes } = two(seed);
        let mut draws = Draws::new(seed, "weather");
        let mean = Duration::from_millis(draws.between(1, 30));
        outside.weather.set(Sky {
            split: Some(draws.between(1, 500)),
            glue: draws.pick(&[Duration::ZERO, mean]),
            rate: Some(50_000),
            delay: draws.pick(&[Delay::Fixed(mean), Delay::Exponential(mean)]),
            ..Sky::default()
        });
        let second = Outside { gate: Gate::default(), ..outside };
        sim.client("n2", async move {
            let mut stream = net(&second, 2).connect("n1", PEER_PORT).await?;
            let hello = Hello { from: 2, to: 1, ..Hello::default() }.to_bytes();
            for body in [hello, vec![7; 5000], Vec::new()] {
                frame::write(&mut stream, &body, PATIENCE).await?;
                assert_eq!(frame::read(&mut stream, 1 << 20, PATIENCE).await?, body);
            }
            Ok(())
        });
        sim.run().expect("all frames come back");
        let seen = notes.0.lock().expect("no holder panics");
        for (sent, from, to) in [(true, 2, 1), (false, 2, 1), (true, 1, 2), (false, 1, 2)] {
            let of_way = seen.iter().filter(|note| (note.0, note.1, note.2) == (sent, from, to));
            let lengths: Vec<usize> = of_way.map(|note| note.3).collect();
            assert_eq!(lengths.get(1..), Some(&[5000, 0][..]), "sent {sent}, {from} to {to}");
        }
    }
}

/// What the second node sees of the first one's end: an end if its process dies, nothing if its power goes, a reset or an end if the
/// network cuts the stream.
#[test]
fn ends_are_seen_or_not() {
    let seen = |end: &dyn Fn(&Outside)| {
        let Two { mut sim, outside, .. } = two(1);
        let came = Rc::new(RefCell::new(String::new()));
        let (told, second) = (Rc::clone(&came), Outside::default());
        sim.client("n2", async move {
            let mut stream = net(&second, 2).connect("n1", PEER_PORT).await?;
            let mut bytes = Vec::new();
            frame::encode(&mut bytes, &[7; 100]);
            stream.write_all(&bytes).await?;
            let mut answer = [0; 108];
            stream.read_exact(&mut answer).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            stream.write_all(&bytes).await?;
            let next = timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await;
            *told.borrow_mut() = next.map_or_else(
                |_| "nothing".to_owned(),
                |read| read.map_or_else(|error| format!("{:?}", error.kind()), |_| "more".into()),
            );
            Ok(())
        });
        while sim.elapsed() < Duration::from_millis(500) {
            sim.step().expect("nothing ends yet");
        }
        end(&outside);
        while sim.elapsed() < Duration::from_millis(1500) {
            sim.step().expect("nothing ends yet");
        }
        if outside.gate.is_closed() {
            sim.crash("n1");
        }
        sim.run().expect("the client ends");
        came.take()
    };
    assert_eq!(seen(&|_| {}), "more");
    assert_eq!(seen(&|outside| outside.gate.cut_power()), "nothing");
    let ended = ["UnexpectedEof", "ConnectionReset"];
    assert!(ended.contains(&seen(&|outside| outside.gate.close()).as_str()));
    assert!(ended.contains(&seen(&|outside| outside.weather.cut_next(130)).as_str()));
    let silent = Sky { silent: true, ..Sky::default() };
    assert_eq!(seen(&|outside| outside.weather.set(silent)), "nothing");
}

/// Who writes to a client that does not read waits once the buffers are full, goes on as far as the client reads, and hears of its end.
#[test]
fn a_client_that_does_not_read_is_waited_for() {
    let mut builder = Builder::new();
    let mut sim = builder.tick_duration(Duration::from_millis(1)).build();
    let written = Rc::new(Cell::new(0));
    let (counted, ended) = (Rc::clone(&written), Rc::new(Cell::new(false)));
    let told = Rc::clone(&ended);
    sim.host("n1", move || {
        let (net, counted, told) =
            (net(&Outside::default(), 1), Rc::clone(&counted), Rc::clone(&told));
        async move {
            let mut listener = net.bind("n1", CLIENT_PORT).await?;
            let (mut stream, _) = net.accept(&mut listener).await?;
            while let Ok(count) = stream.write(&[7; 10_000]).await {
                counted.set(counted.get() + count);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            told.set(true);
            std::future::pending().await
        }
    });
    let seen = Rc::clone(&written);
    sim.client("clients", async move {
        let second = Duration::from_secs(1);
        let mut stream = ClientStream::connect(1).await?;
        tokio::time::sleep(second).await;
        assert_eq!(seen.get(), WINDOW_BYTES);
        stream.read_exact(&mut vec![0; 30_000]).await?;
        tokio::time::sleep(second).await;
        assert_eq!(seen.get(), WINDOW_BYTES + 30_000);
        drop(stream);
        tokio::time::sleep(second).await;
        Ok(())
    });
    sim.run().expect("the client ends");
    assert!(ended.get(), "who waited was told");
}
