//! Single values: written, read and overwritten in pipelines, in which a write must neither overtake the reads before it nor be
//! overtaken by those behind it.

use crate::history::Request;

use super::Work;

impl Work {
    pub(super) async fn use_registers(&mut self) -> u64 {
        let depth = self.depth();
        let requests = (0..depth).map(|_| self.register_request()).collect();
        self.send(requests).await
    }

    fn register_request(&mut self) -> Request {
        let (key, value) = (self.key("register"), self.fresh());
        match self.draws.below(16) {
            0..5 => Request::command([b"GET", &key]),
            5..8 => Request::command([b"SET", &key, &value]),
            8 => Request::command([b"SET", &key, &value, b"NX"]),
            9 => Request::command([b"SET", &key, &value, b"XX", b"GET"]),
            10 => Request::command([b"GETSET", &key, &value]),
            11 => Request::command([b"APPEND", &key, b"+"]),
            12 => Request::command([b"STRLEN", &key]),
            13 => Request::command([b"DEL", &key]),
            14 => Request::command([b"MSET", b"register:0", &value, b"register:1", &value]),
            _ => Request::command([b"MGET", b"register:0", b"register:1", b"register:2"]),
        }
    }
}
