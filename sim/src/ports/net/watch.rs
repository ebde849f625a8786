//! Who sees the frames between nodes: `check::promise`, and whoever the world puts at the wire. Only whole frames are seen, in
//! the order in which they were handed to the network, or by it to the process.

use std::sync::{Arc, Mutex};

use steadfast_replication::transport::Hello;

use crate::check::promise::Promises;

/// Somebody at the wire.
pub trait Tap: Send + Sync {
    /// A node has handed a whole frame to the network. What is behind it in the same write has been handed over as well.
    fn sent(&self, from: u64, to: u64, body: &[u8]);
    /// A node was given a whole frame.
    fn received(&self, from: u64, to: u64, body: &[u8]);
}

/// Bytes of one direction that do not make a frame yet.
#[derive(Default)]
struct Pieces(Vec<u8>);

impl Pieces {
    fn add(&mut self, bytes: &[u8], mut whole: impl FnMut(&[u8])) {
        self.0.extend_from_slice(bytes);
        let mut rest = self.0.as_slice();
        while let Some((head, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*head) as usize;
            // The head's other half is the checksum.
            let Some(body) = behind.get(4..4 + length) else { break };
            whole(body);
            rest = behind.get(4 + length..).unwrap_or_default();
        }
        let seen = self.0.len() - rest.len();
        self.0.drain(..seen);
    }
}

/// Watches one stream between nodes.
pub(super) struct Watch {
    /// Whose end it is.
    node: u64,
    /// Who is at the other end. On a stream that was accepted its hello tells.
    peer: Option<u64>,
    promises: Option<Arc<Mutex<Promises>>>,
    tap: Option<Arc<dyn Tap>>,
    out: Pieces,
    come: Pieces,
}

impl Watch {
    /// Of a stream that was dialled: what it carries are promises.
    pub(super) fn dialled(
        node: u64,
        host: &str,
        promises: Arc<Mutex<Promises>>,
        tap: Option<Arc<dyn Tap>>,
    ) -> Self {
        let peer = host.strip_prefix('n').and_then(|id| id.parse().ok());
        let (out, come) = (Pieces::default(), Pieces::default());
        Self { node, peer, promises: Some(promises), tap, out, come }
    }

    /// Of a stream that was accepted: only worth while if there is somebody to tell.
    pub(super) fn accepted(node: u64, tap: Option<Arc<dyn Tap>>) -> Option<Self> {
        let (out, come) = (Pieces::default(), Pieces::default());
        tap.map(|tap| Self { node, peer: None, promises: None, tap: Some(tap), out, come })
    }

    pub(super) fn wrote(&mut self, bytes: &[u8]) {
        let Self { node, peer, promises, tap, out, .. } = self;
        out.add(bytes, |body| {
            if let Some(promises) = promises {
                promises.lock().expect("no holder panics").sent(body);
            }
            if let Some(tap) = tap {
                tap.sent(*node, peer.unwrap_or(0), body);
            }
        });
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        let Self { node, peer, tap, come, .. } = self;
        let Some(tap) = tap else { return };
        come.add(bytes, |body| {
            let from = *peer.get_or_insert_with(|| {
                let hello = Hello::from_bytes(body.to_vec().into());
                hello.map_or(0, |hello| hello.from)
            });
            tap.received(from, *node, body);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_replication::transport::frame;

    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Tap for Notes {
        fn sent(&self, from: u64, to: u64, body: &[u8]) {
            self.0.lock().expect("no holder panics").push(format!("{from}>{to} {}", body.len()));
        }

        fn received(&self, from: u64, to: u64, body: &[u8]) {
            self.0.lock().expect("no holder panics").push(format!("{to}<{from} {}", body.len()));
        }
    }

    /// Frames are seen once and whole, however their bytes are cut; who sends is known by the host dialled or by the hello.
    #[test]
    fn frames_are_seen_whole() {
        let mut bytes = Vec::new();
        let hello = Hello { from: 2, to: 1, ..Hello::default() }.to_bytes();
        for body in [&hello[..], &[7; 300], &[]] {
            frame::encode(&mut bytes, body);
        }
        let lengths = [hello.len(), 300, 0];
        for piece in [1, 3, 8, 100, bytes.len()] {
            let notes = Arc::new(Notes::default());
            let tap: Arc<dyn Tap> = Arc::<Notes>::clone(&notes);
            let mut dialled = Watch::dialled(2, "n1", Arc::default(), Some(Arc::clone(&tap)));
            let mut accepted = Watch::accepted(1, Some(tap)).expect("there is somebody to tell");
            bytes.chunks(piece).for_each(|bytes| dialled.wrote(bytes));
            bytes.chunks(piece).for_each(|bytes| accepted.read(bytes));
            accepted.wrote(&bytes);
            let said = |head: &str| lengths.map(|length| format!("{head} {length}")).to_vec();
            let expected = [said("2>1"), said("1<2"), said("1>2")].concat();
            assert_eq!(*notes.0.lock().expect("no holder panics"), expected, "by {piece}");
        }
    }
}
