//! What the network does to the streams of one node. The world sets it while the node runs; each stream looks at it whenever it
//! is used.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::draw::Draws;

/// Which streams of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Streams {
    /// All of them.
    #[default]
    All,
    /// Those to and from its peers.
    Peers,
    /// Those of its clients.
    Clients,
}

/// How much later bytes come than they could. Those of one stream stay in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delay {
    /// At once.
    #[default]
    None,
    /// Always as much.
    Fixed(Duration),
    /// Anything from the one to the other.
    Uniform(Duration, Duration),
    /// Exponentially distributed, with this mean; 44 times the mean at the most.
    Exponential(Duration),
    /// As much, and in one of a hundred cases fifty times that.
    Bimodal(Duration),
}

impl Delay {
    /// One delay.
    pub fn draw(self, draws: &mut Draws) -> Duration {
        let micros = |time: Duration| time.as_micros() as u64;
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed(time) => time,
            Self::Uniform(from, to) => {
                Duration::from_micros(draws.between(micros(from), micros(to)))
            }
            Self::Exponential(mean) => {
                // -log2 of a number below one: its leading zeroes, and what follows them as if the logarithm were straight there.
                let bits = draws.bits() | 1;
                let zeroes = u64::from(bits.leading_zeros());
                let follows = (bits << zeroes << 1) >> 54;
                let log2 = zeroes * 1024 + (1023 - follows);
                Duration::from_micros(micros(mean) * log2 * 693 / 1_024_000)
            }
            Self::Bimodal(time) => time * if draws.chance(1) { 50 } else { 1 },
        }
    }
}

/// One weather. The default is fair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sky {
    /// Which streams it is over.
    pub over: Streams,
    /// A read gives from 1 to so many bytes, and a write takes as many.
    pub split: Option<u64>,
    /// What comes is held back for so long and then given together.
    pub glue: Duration,
    /// So many bytes a second are read at the most.
    pub rate: Option<u64>,
    /// How much later bytes come.
    pub delay: Delay,
    /// Nothing is read; what is sent goes out.
    pub stalled: bool,
    /// Nothing is read and nothing goes out, and nobody hears of it, not even of the end of a stream. What was written before the
    /// buffers were full goes out when it is over.
    pub silent: bool,
    /// Each stream is reset after a drawn number of bytes, from 1 to so many, counted both ways.
    pub cut_within: Option<u64>,
}

#[derive(Default)]
struct State {
    sky: Sky,
    /// How often it changed.
    changes: u64,
    cut_next: Option<u64>,
    waiting: Vec<Waker>,
}

/// See the file's head. Clones are the same weather.
#[derive(Clone, Default)]
pub struct Weather(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether anybody needs to look closer.
    foul: AtomicBool,
    state: Mutex<State>,
}

impl Weather {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of the weather panics")
    }

    /// It changes. Streams that were to be cut and are not yet are spared.
    pub fn set(&self, sky: Sky) {
        let mut state = self.state();
        state.sky = sky;
        state.changes += 1;
        state.cut_next = None;
        self.0.foul.store(sky != Sky::default(), Ordering::Relaxed);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// What it is now.
    pub fn sky(&self) -> Sky {
        self.state().sky
    }

    /// The next stream under this weather that is used is reset after so many more bytes, counted both ways.
    pub fn cut_next(&self, after: u64) {
        self.state().cut_next = Some(after);
        self.0.foul.store(true, Ordering::Relaxed);
    }

    /// Whether the stream that `cut_next` meant has not been found yet.
    pub fn cut_waits(&self) -> bool {
        self.state().cut_next.is_some()
    }

    pub(super) fn is_foul(&self) -> bool {
        self.0.foul.load(Ordering::Relaxed)
    }

    /// Over a stream to a peer, or of a client.
    pub(super) fn over(&self, of_peer: bool) -> (Sky, u64) {
        let state = self.state();
        (if meets(state.sky.over, of_peer) { state.sky } else { Sky::default() }, state.changes)
    }

    /// Whether a stream is the next to be cut, and after how many bytes.
    pub(super) fn take_cut(&self, of_peer: bool) -> Option<u64> {
        let mut state = self.state();
        if !meets(state.sky.over, of_peer) {
            return None;
        }
        let after = state.cut_next.take();
        self.0.foul.store(state.sky != Sky::default(), Ordering::Relaxed);
        after
    }

    /// Wakes somebody when it changes.
    pub(super) fn wait(&self, waker: &Waker) {
        let mut state = self.state();
        if !state.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
    }
}

fn meets(over: Streams, of_peer: bool) -> bool {
    match over {
        Streams::All => true,
        Streams::Peers => of_peer,
        Streams::Clients => !of_peer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: Duration = Duration::from_millis(10);

    /// Means and tails are what they are called.
    #[test]
    fn delays_are_distributed() {
        let mut draws = Draws::new(1, "delays");
        let mut drawn = |delay: Delay| -> Vec<Duration> {
            let mut all: Vec<_> = (0..20_000).map(|_| delay.draw(&mut draws)).collect();
            all.sort_unstable();
            all
        };
        let mean = |all: &[Duration]| all.iter().sum::<Duration>() / all.len() as u32;
        let close = |found: Duration, due: Duration| found * 10 > due * 9 && found * 10 < due * 11;
        let exponential = drawn(Delay::Exponential(MEAN));
        assert!(close(mean(&exponential), MEAN), "{:?}", mean(&exponential));
        assert!(close(exponential[10_000], MEAN * 693 / 1000), "{:?}", exponential[10_000]);
        assert!(close(exponential[19_800], MEAN * 4605 / 1000), "{:?}", exponential[19_800]);
        let bimodal = drawn(Delay::Bimodal(MEAN));
        assert_eq!((bimodal[19_000], bimodal[19_999]), (MEAN, MEAN * 50));
        let uniform = drawn(Delay::Uniform(MEAN, MEAN * 3));
        assert!(close(mean(&uniform), MEAN * 2) && uniform[0] >= MEAN);
        assert_eq!(drawn(Delay::Fixed(MEAN))[0], MEAN);
    }
}
