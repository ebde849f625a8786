//! Queues: elements, each once in the whole run, are pushed, waited for, moved and popped. The witness knows who must get which one: at
//! most one client, the one that came first, and none is lost.

use crate::history::Request;
use crate::model::lists::PREFIX;
use crate::value::{Argv, argv};

use super::Work;

/// Queues of a run.
const QUEUES: u64 = 3;

impl Work {
    pub(super) async fn use_queues(&mut self) {
        let depth = self.depth();
        let requests = (0..depth).map(|_| self.queue_request()).collect();
        self.send(requests).await;
    }

    fn queue_request(&mut self) -> Request {
        Request::Command(match self.draws.below(100) {
            0..20 => self.push_call(),
            20..27 => {
                let calls = [self.push_call(), self.pop_call(), self.push_call()];
                let calls = calls.into_iter().take(self.draws.between(2, 3) as usize).collect();
                return Request::Transaction(calls);
            }
            27..62 => self.wait_call(),
            62..72 => {
                let (from, to, seconds) = (self.queue(), self.queue(), self.seconds());
                let (out, into) = (self.end(), self.end());
                argv([b"BLMOVE", &from, &to, out, into, &seconds])
            }
            72..88 => self.pop_call(),
            88..94 => argv([b"LLEN", &self.queue()]),
            _ => argv([b"LRANGE", &self.queue(), b"0", b"-1"]),
        })
    }

    fn queue(&mut self) -> Vec<u8> {
        [PREFIX, self.draws.below(QUEUES).to_string().as_bytes()].concat()
    }

    fn end(&mut self) -> &'static [u8] {
        if self.draws.chance(50) { b"LEFT" } else { b"RIGHT" }
    }

    fn push_call(&mut self) -> Argv {
        let name: &[u8] = if self.draws.chance(60) { b"RPUSH" } else { b"LPUSH" };
        let mut call = argv([name, &self.queue()]);
        for _ in 0..self.draws.between(1, 2) {
            call.push(self.fresh());
        }
        call
    }

    fn pop_call(&mut self) -> Argv {
        match self.draws.below(3) {
            0 => argv([b"LPOP", &self.queue()]),
            1 => argv([b"RPOP", &self.queue()]),
            _ => {
                let (from, to, out, into) = (self.queue(), self.queue(), self.end(), self.end());
                argv([b"LMOVE", &from, &to, out, into])
            }
        }
    }

    fn wait_call(&mut self) -> Argv {
        let name: &[u8] = if self.draws.chance(60) { b"BLPOP" } else { b"BRPOP" };
        let mut call = argv([name, &self.queue()]);
        if self.draws.chance(30) {
            call.push(self.queue());
        }
        call.push(self.seconds());
        call
    }

    /// How long a client waits.
    fn seconds(&mut self) -> Vec<u8> {
        format!("0.{:03}", self.draws.between(5, 600)).into_bytes()
    }
}
