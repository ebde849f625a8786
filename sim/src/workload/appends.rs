//! Lists as strings: transactions and single commands that append tokens, each once, and read whole lists (`check/cycles.rs`).

use crate::check::cycles;
use crate::history::Request;
use crate::value::{Argv, argv};

use super::Work;

/// Steps after which a client goes on to new keys, so that lists stay short.
const STEPS_PER_GENERATION: u64 = 40;

impl Work {
    pub(super) async fn append(&mut self) {
        let depth = self.depth();
        let requests = (0..depth).map(|_| self.append_request()).collect();
        self.send(requests).await;
    }

    fn append_request(&mut self) -> Request {
        if self.draws.chance(40) {
            return Request::Command(self.append_call());
        }
        let calls = self.draws.between(2, 5);
        Request::Transaction((0..calls).map(|_| self.append_call()).collect())
    }

    fn append_call(&mut self) -> Argv {
        let generation = self.at.0 / STEPS_PER_GENERATION;
        let mut key = cycles::PREFIX.to_vec();
        key.extend(format!("{generation}:{}", self.draws.below(4)).bytes());
        if self.draws.chance(45) {
            return argv([b"GET", &key]);
        }
        let mut token = self.fresh();
        token.push(cycles::END);
        argv([b"APPEND", &key, &token])
    }
}
