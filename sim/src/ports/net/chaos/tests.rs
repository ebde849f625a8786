//! Tests of streams under a weather, with an in-memory stream in the place of the network.

use super::super::weather::{Delay, Streams};
use super::*;
use std::future::{Future, poll_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{advance, sleep, timeout};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Under {
    stream: Chaos<DuplexStream>,
    other: DuplexStream,
    weather: Weather,
    gate: Gate,
}

impl Under {
    fn new(seed: u64) -> Self {
        let (stream, other) = duplex(1 << 22);
        let (weather, gate) = (Weather::default(), Gate::default());
        let draws = Draws::new(seed, "stream");
        let stream = Chaos::new(stream, true, weather.clone(), gate.clone(), draws);
        Self { stream, other, weather, gate }
    }

    async fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let count = poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = self.stream.read(cx, &mut buffer);
            read.map_ok(|()| buffer.filled().len())
        });
        let count = count.await?;
        bytes.truncate(count);
        Ok(bytes)
    }

    async fn read_all(&mut self, wanted: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < wanted {
            let read = self.read(1 << 16).await.expect("nothing is cut");
            assert!(!read.is_empty(), "it ended after {}", all.len());
            all.extend(read);
        }
        all
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.stream.write(cx, bytes)).await
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.other.write_all(bytes).await.expect("there is room");
    }
}

fn run(work: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(work);
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Whatever the weather, and however it changes: all bytes come, once, in order, and then the end.
#[test]
fn nothing_is_lost_or_turned_round() {
    for seed in 0..60 {
        run(async {
            let mut draws = Draws::new(seed, "weather");
            let mut under = Under::new(seed);
            let sent = pattern(20_000);
            let (mut come, mut gone, mut at) = (Vec::new(), Vec::new(), 0);
            while come.len() < sent.len() || gone.len() < sent.len() {
                let some = draws.between(1, 3000) as usize;
                let piece = sent.get(at..(at + some).min(sent.len())).expect("it is in there");
                under.send(piece).await;
                at += piece.len();
                let mean = ms(draws.between(1, 40));
                under.weather.set(Sky {
                    over: draws.pick(&[Streams::All, Streams::Peers, Streams::Clients]),
                    split: draws.chance(50).then_some(draws.between(1, 700)),
                    glue: ms(draws.pick(&[0, 0, 20])),
                    rate: draws.chance(30).then_some(100_000),
                    delay: draws.pick(&[
                        Delay::None,
                        Delay::Exponential(mean),
                        Delay::Bimodal(mean),
                    ]),
                    stalled: draws.chance(10),
                    silent: draws.chance(10),
                    cut_within: None,
                });
                let rest = sent.get(gone.len()..).expect("it is in there");
                if let Ok(count) = timeout(ms(50), under.write(rest)).await {
                    let count = count.expect("nothing is cut");
                    gone.extend_from_slice(rest.get(..count).expect("no more than there is"));
                }
                if let Ok(read) = timeout(ms(50), under.read(4096)).await {
                    come.extend(read.expect("nothing is cut"));
                }
            }
            under.weather.set(Sky::default());
            poll_fn(|cx| under.stream.flush(cx)).await.expect("nothing is cut");
            assert!(come == sent, "seed {seed}");
            let mut arrived = vec![0; sent.len()];
            under.other.read_exact(&mut arrived).await.expect("all has gone out");
            assert!(arrived == sent, "seed {seed}");
            drop(std::mem::replace(&mut under.other, duplex(1).0));
            assert!(under.read(10).await.expect("an end is no error").is_empty());
        });
    }
}

/// In fair weather bytes come and go in one piece; under a split sky they do not.
#[test]
fn pieces_are_small_under_a_split_sky() {
    run(async {
        let mut under = Under::new(1);
        under.send(&pattern(1000)).await;
        assert_eq!(under.read(1000).await.expect("it reads").len(), 1000);
        assert_eq!(under.write(&pattern(1000)).await.expect("it writes"), 1000);
        under.weather.set(Sky { split: Some(3), ..Sky::default() });
        under.send(&pattern(1000)).await;
        for _ in 0..100 {
            assert!((1..=3).contains(&under.read(1000).await.expect("it reads").len()));
            assert!((1..=3).contains(&under.write(&[0; 1000]).await.expect("it writes")));
        }
        under.weather.set(Sky { split: Some(1), over: Streams::Clients, ..Sky::default() });
        assert_eq!(under.write(&pattern(1000)).await.expect("it writes"), 1000, "another's sky");
    });
}

/// What comes within a while is given together; what is delayed comes that much later; what is slow takes its time.
#[test]
fn bytes_come_late() {
    run(async {
        let mut under = Under::new(1);
        let start = Instant::now();
        under.weather.set(Sky { glue: ms(100), ..Sky::default() });
        under.send(b"one").await;
        assert!(timeout(ms(50), under.read(100)).await.is_err());
        under.send(b"two").await;
        assert_eq!(under.read(100).await.expect("it reads"), b"onetwo");
        assert_eq!(start.elapsed(), ms(100));
        under.weather.set(Sky { delay: Delay::Fixed(ms(70)), ..Sky::default() });
        under.send(b"three").await;
        assert_eq!(under.read(100).await.expect("it reads"), b"three");
        assert_eq!(start.elapsed(), ms(170));
        under.weather.set(Sky { rate: Some(1000), ..Sky::default() });
        under.send(&pattern(2000)).await;
        assert_eq!(under.read_all(2000).await, pattern(2000));
        assert!((ms(2070)..ms(2370)).contains(&start.elapsed()), "{:?}", start.elapsed());
    });
}

/// Whoever is stalled reads nothing and sends; in a silence nothing goes either way, nobody hears of it, and later all is there.
#[test]
fn a_silence_ends_without_a_trace() {
    run(async {
        let mut under = Under::new(1);
        under.weather.set(Sky { stalled: true, ..Sky::default() });
        under.send(b"held").await;
        under.write(b"sent").await.expect("it writes");
        let mut arrived = [0; 4];
        under.other.read_exact(&mut arrived).await.expect("it was sent");
        assert!(timeout(ms(5000), under.read(100)).await.is_err());
        under.weather.set(Sky { silent: true, ..Sky::default() });
        assert_eq!(under.write(b"kept").await.expect("a buffer takes it"), 4);
        assert!(timeout(ms(5000), under.other.read_exact(&mut arrived)).await.is_err());
        let mut written = 0;
        while let Ok(count) = timeout(ms(100), under.write(&[0; 10_000])).await {
            written += count.expect("nobody hears of it");
        }
        assert_eq!(written, OUT_BYTES_MAX - 4);
        let weather = under.weather.clone();
        let over = async move {
            sleep(ms(300)).await;
            weather.set(Sky::default());
        };
        let (read, ()) = tokio::join!(under.read(100), over);
        assert_eq!(read.expect("it reads"), b"held", "whoever waits is woken");
        under.other.read_exact(&mut arrived).await.expect("it has gone out");
        assert_eq!(&arrived, b"kept");
    });
}

/// A stream is cut after so many bytes, in the middle of whatever they are; whoever waits hears of it, and so does the other side.
#[test]
fn a_stream_is_cut() {
    run(async {
        for after in 1..20 {
            let mut under = Under::new(1);
            under.weather.cut_next(after);
            assert!(under.weather.cut_waits());
            under.send(&[7; 100]).await;
            let split = after as usize / 2;
            if split > 0 {
                assert_eq!(under.write(&pattern(split)).await.expect("it writes"), split);
            }
            let rest = under.read(100).await.expect("there is something left").len();
            assert_eq!((split + rest) as u64, after);
            assert!(!under.weather.cut_waits() && !under.weather.is_foul());
            let reset = under.read(100).await.expect_err("it is cut").kind();
            let broken = under.write(&[1]).await.expect_err("it is cut").kind();
            assert_eq!(
                (reset, broken),
                (io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe)
            );
            let mut seen = Vec::new();
            under.other.read_to_end(&mut seen).await.expect("an end");
            assert_eq!(seen.len(), split);
        }
        let mut under = Under::new(2);
        under.weather.set(Sky { cut_within: Some(50), ..Sky::default() });
        under.send(&[7; 100]).await;
        let read = under.read_to_cut().await;
        assert!((1..=50).contains(&read), "{read}");
        let mut spared = Under::new(2);
        spared.weather.set(Sky { cut_within: Some(50), split: Some(1), ..Sky::default() });
        spared.send(&[7; 100]).await;
        assert_eq!(spared.read(100).await.expect("it reads").len(), 1);
        spared.weather.set(Sky::default());
        assert_eq!(spared.read_all(99).await.len(), 99);
    });
}

impl Under {
    async fn read_to_cut(&mut self) -> usize {
        let mut read = 0;
        while let Ok(bytes) = self.read(100).await {
            read += bytes.len();
        }
        read
    }
}

/// Whoever waits to read when a write meets the cut is woken.
#[test]
fn a_cut_wakes_the_other_half() {
    struct Flag(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    run(async {
        let mut under = Under::new(1);
        let flag = std::sync::Arc::new(Flag(false.into()));
        let waker = Waker::from(std::sync::Arc::clone(&flag));
        let mut space = [0; 10];
        let mut buffer = ReadBuf::new(&mut space);
        assert!(under.stream.read(&mut Context::from_waker(&waker), &mut buffer).is_pending());
        under.weather.cut_next(3);
        assert_eq!(under.write(b"hello").await.expect("it writes"), 3);
        assert!(flag.0.load(std::sync::atomic::Ordering::Relaxed));
    });
}

/// Behind a closed gate nothing moves and nothing fails; the other side hears of the end unless the power is gone.
#[test]
fn nothing_passes_a_closed_gate() {
    for dark in [false, true] {
        run(async {
            let mut under = Under::new(1);
            under.send(b"unread").await;
            if dark {
                under.gate.cut_power();
            }
            under.gate.close();
            assert_eq!(under.gate.is_dark(), dark);
            assert!(timeout(ms(1000), under.read(100)).await.is_err());
            assert!(timeout(ms(1000), under.write(b"late")).await.is_err());
            advance(ms(1)).await;
            let Under { stream, mut other, .. } = under;
            drop(stream);
            let mut seen = Vec::new();
            let end = timeout(ms(1000), other.read_to_end(&mut seen)).await;
            assert_eq!((end.is_err(), seen.len()), (dark, 0));
        });
    }
}
