//! Single values: written, read and overwritten in pipelines, in which a write must neither overtake the reads before it nor be
//! overtaken by those behind it. Transactions stand among them, and some are discarded.

use crate::draw::Draws;
use crate::history::Request;
use crate::value::argv;

use super::{Mix, Work};

/// What can be done; GET and SET are twice as likely.
pub(super) const COMMANDS: [&str; 27] = [
    "GET",
    "SET",
    "GET",
    "SET",
    "SET NX",
    "SET XX GET",
    "GETSET",
    "APPEND",
    "STRLEN",
    "DEL",
    "MSET",
    "MGET",
    "DECR",
    "DECRBY",
    "GETDEL",
    "SETNX",
    "GETRANGE",
    "SETRANGE",
    "RENAME",
    "RENAMENX",
    "COPY",
    "TYPE",
    "MSETNX",
    "UNLINK",
    "TOUCH",
    "MULTI",
    "DISCARD",
];

impl Work {
    pub(super) async fn use_registers(&mut self) {
        let depth = self.depth();
        let requests = (0..depth)
            .map(|_| {
                let value = self.sized();
                request(&self.mix, &mut self.draws, &value)
            })
            .collect();
        self.send(requests).await;
    }
}

fn key(draws: &mut Draws) -> Vec<u8> {
    format!("register:{}", draws.below(3)).into_bytes()
}

/// One request on the registers; if it writes, then `value`.
pub fn request(mix: &Mix, draws: &mut Draws, value: &[u8]) -> Request {
    let (key, other) = (key(draws), key(draws));
    let number = draws.between(0, 12).to_string();
    let number = number.as_bytes();
    match draws.pick(&mix.registers) {
        "SET" => Request::command([b"SET", &key, value]),
        "SET NX" => Request::command([b"SET", &key, value, b"NX"]),
        "SET XX GET" => Request::command([b"SET", &key, value, b"XX", b"GET"]),
        "GETSET" => Request::command([b"GETSET", &key, value]),
        "APPEND" => Request::command([b"APPEND", &key, b"+"]),
        "STRLEN" => Request::command([b"STRLEN", &key]),
        "DEL" => Request::command([b"DEL", &key, &other]),
        "UNLINK" => Request::command([b"UNLINK", &key]),
        "TOUCH" => Request::command([b"TOUCH", &key, &other]),
        "MSET" => Request::command([b"MSET", b"register:0", value, b"register:1", value]),
        "MSETNX" => Request::command([b"MSETNX", b"register:0", value, b"register:1", value]),
        "MGET" => Request::command([b"MGET", b"register:0", b"register:1", b"register:2"]),
        "DECR" => Request::command([b"DECR", &key]),
        "DECRBY" => Request::command([b"DECRBY", &key, number]),
        "GETDEL" => Request::command([b"GETDEL", &key]),
        "SETNX" => Request::command([b"SETNX", &key, value]),
        "GETRANGE" => Request::command([b"GETRANGE", &key, number, b"-2"]),
        "SETRANGE" => Request::command([b"SETRANGE", &key, number, b"@@"]),
        "RENAME" => Request::command([b"RENAME", &key, &other]),
        "RENAMENX" => Request::command([b"RENAMENX", &key, &other]),
        "COPY" if draws.chance(50) => Request::command([b"COPY", &key, &other, b"REPLACE"]),
        "COPY" => Request::command([b"COPY", &key, &other]),
        "TYPE" => Request::command([b"TYPE", &key]),
        "MULTI" => Request::Transaction(vec![
            argv([b"GET", &key]),
            argv([b"SET", &other, value]),
            argv([b"GET", &key]),
        ]),
        "DISCARD" => Request::Discarded(vec![argv([b"SET", &key, value]), argv([b"GET", &key])]),
        _ => Request::command([b"GET", &key]),
    }
}
