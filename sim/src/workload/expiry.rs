//! Keys that end: set with short lives, prolonged, made to stay, and looked at around their end. Some are watched across it.

use std::time::Duration;

use tokio::time::sleep;

use crate::draw::Draws;
use crate::history::Request;
use crate::value::argv;

use super::{Mix, Work};

/// What can be done with them.
pub(super) const COMMANDS: [&str; 20] = [
    "GET",
    "SET PX",
    "GET",
    "SET PX",
    "SET NX PX",
    "SET KEEPTTL",
    "PEXPIRE",
    "PERSIST",
    "PTTL",
    "EXISTS",
    "GETEX",
    "SETEX",
    "PSETEX",
    "EXPIRE",
    "PEXPIRE NX",
    "PEXPIRE XX",
    "PEXPIRE GT",
    "PEXPIRE LT",
    "TTL",
    "PEXPIRETIME",
];

impl Work {
    pub(super) async fn use_short_lives(&mut self) {
        let depth = self.depth();
        let requests = (0..depth)
            .map(|_| {
                let value = self.fresh();
                request(&self.mix, &mut self.draws, &value)
            })
            .collect();
        self.send(requests).await;
    }

    /// WATCH on a key that may end, or be deleted, before EXEC; now and then EXEC goes to another node, where nothing is watched.
    pub(super) async fn watch_what_ends(&mut self) {
        let (key, value, new) = (self.key("watched"), self.fresh(), self.fresh());
        let ms = self.draws.between(20, 400).to_string();
        match self.draws.below(4) {
            0 => drop(self.call(Request::command([b"DEL", &key])).await),
            1 => {}
            _ => drop(
                self.call(Request::command([b"SET", &key, &value, b"PX", ms.as_bytes()])).await,
            ),
        }
        let watch = Request::command([b"WATCH", &key]);
        let percent = self.mix.piped_watch_percent;
        let watched = if percent > 0 && self.draws.chance(percent) {
            // What stands behind WATCH must not take its place in the log before there is a precondition.
            let behind = Request::command([b"INCR", b"tally"]);
            self.send(vec![watch, behind]).await.into_iter().next()
        } else {
            Some(self.call(watch).await)
        };
        if watched.is_none_or(|watched| watched.reply().is_none()) {
            return;
        }
        if self.draws.chance(70) {
            let span = self.draws.between(1, 400);
            sleep(Duration::from_millis(span)).await;
        }
        self.call(Request::command([b"GET", &key])).await;
        if self.draws.chance(8) {
            let node = self.draws.between(1, self.nodes);
            self.client.move_to(node);
        }
        let calls = vec![argv([b"SET", &key, &new, b"PX", ms.as_bytes()]), argv([b"GET", &key])];
        let request = if self.draws.chance(10) {
            Request::Discarded(calls)
        } else {
            Request::Transaction(calls)
        };
        self.call(request).await;
    }
}

/// One request on keys that end; if it writes, then `value`.
pub fn request(mix: &Mix, draws: &mut Draws, value: &[u8]) -> Request {
    let key = format!("short:{}", draws.below(3)).into_bytes();
    let ms = draws.between(1, 1500).to_string();
    let ms = ms.as_bytes();
    match draws.pick(&mix.short) {
        "SET PX" => Request::command([b"SET", &key, value, b"PX", ms]),
        "SET NX PX" => Request::command([b"SET", &key, value, b"NX", b"PX", ms]),
        "SET KEEPTTL" => Request::command([b"SET", &key, value, b"KEEPTTL"]),
        "PEXPIRE" => Request::command([b"PEXPIRE", &key, ms]),
        "PEXPIRE NX" => Request::command([b"PEXPIRE", &key, ms, b"NX"]),
        "PEXPIRE XX" => Request::command([b"PEXPIRE", &key, ms, b"XX"]),
        "PEXPIRE GT" => Request::command([b"PEXPIRE", &key, ms, b"GT"]),
        "PEXPIRE LT" => Request::command([b"PEXPIRE", &key, ms, b"LT"]),
        "EXPIRE" => Request::command([b"EXPIRE", &key, b"1"]),
        "PERSIST" => Request::command([b"PERSIST", &key]),
        "PTTL" => Request::command([b"PTTL", &key]),
        "TTL" => Request::command([b"TTL", &key]),
        "PEXPIRETIME" => Request::command([b"PEXPIRETIME", &key]),
        "EXISTS" => Request::command([b"EXISTS", &key, b"short:0"]),
        "GETEX" if draws.chance(30) => Request::command([b"GETEX", &key, b"PERSIST"]),
        "GETEX" => Request::command([b"GETEX", &key, b"PX", ms]),
        "SETEX" => Request::command([b"SETEX", &key, b"1", value]),
        "PSETEX" => Request::command([b"PSETEX", &key, ms, value]),
        _ => Request::command([b"GET", &key]),
    }
}
