//! Keys that end: set with short lives, prolonged, made to stay, and looked at around their end.

use crate::history::Request;

use super::Work;

impl Work {
    pub(super) async fn use_short_lives(&mut self) -> u64 {
        let depth = self.depth();
        let requests = (0..depth).map(|_| self.short_request()).collect();
        self.send(requests).await
    }

    fn short_request(&mut self) -> Request {
        let (key, value) = (self.key("short"), self.fresh());
        let ms = self.draws.between(1, 1500).to_string();
        let ms = ms.as_bytes();
        match self.draws.below(12) {
            0..3 => Request::command([b"SET", &key, &value, b"PX", ms]),
            3 => Request::command([b"SET", &key, &value, b"NX", b"PX", ms]),
            4 => Request::command([b"SET", &key, &value, b"KEEPTTL"]),
            5 => Request::command([b"PEXPIRE", &key, ms]),
            6 => Request::command([b"PERSIST", &key]),
            7 => Request::command([b"PTTL", &key]),
            8 => Request::command([b"EXISTS", &key, b"short:0"]),
            _ => Request::command([b"GET", &key]),
        }
    }
}
