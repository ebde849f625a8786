//! What a connection is: selected database, protocol, name, authentication, and an open MULTI with its watched keys.

use std::net::SocketAddr;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::entry::Watched;
use steadfast_core::pubsub::Counts;
use steadfast_core::reply::Reply;

use crate::pubsub::Events;
use crate::refusal;
use crate::resp::Protocol;

/// What a word takes besides its bytes.
const WORD_OVERHEAD_BYTES: usize = 24;
/// Calls kept for one EXEC.
const QUEUED_CALLS_MAX: usize = 1 << 20;

/// What reads of a connection may miss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Nothing that was acknowledged before they were sent, on any node.
    #[default]
    Linearizable,
    /// What this node has not applied yet; it answers without asking anybody, also if it is cut off from the others.
    Stale,
}

/// Where a connection goes from and to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Where the client is.
    pub client: SocketAddr,
    /// Where it has reached this node, if the network can tell.
    pub own: Option<SocketAddr>,
    /// Whether that is the port of the sentinel.
    pub at_sentinel: bool,
}

/// See the file's head.
#[derive(Debug)]
pub struct Session {
    /// Unique in this process.
    pub id: u64,
    /// Selected database.
    pub db: usize,
    /// Protocol.
    pub protocol: Protocol,
    /// Whether commands may run.
    pub authenticated: bool,
    /// CLIENT CONSISTENCY.
    pub consistency: Consistency,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub library: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Vec<u8>,
    /// Where the client is, and where it has reached this node.
    pub ends: Ends,
    /// Wall clock at the start.
    pub created_ms: u64,
    /// Name of the last command.
    pub last_command: &'static str,
    /// What it listens to at the sentinel's port.
    pub events: Events,
    /// An open transaction.
    pub multi: Option<Multi>,
    /// Preconditions of the next EXEC.
    pub watched: Vec<Watched>,
    /// A command of it waits for a key.
    pub blocked: bool,
    /// A WATCH could not be carried out: the next EXEC refuses.
    pub watch_refused: bool,
}

/// An open transaction.
#[derive(Debug, Default)]
pub struct Multi {
    /// What was queued.
    pub calls: Vec<QueuedCall>,
    /// Bytes of its words.
    pub bytes: usize,
    /// Whether something could not be queued: EXEC will refuse.
    pub failed: bool,
}

/// One queued command.
#[derive(Debug)]
pub struct QueuedCall {
    /// Whether this node answers it.
    pub local: bool,
    /// Whether it begins or ends subscriptions.
    pub subscribes: bool,
    /// Its words.
    pub argv: Vec<Vec<u8>>,
}

impl Session {
    /// A new connection.
    pub fn new(id: u64, ends: Ends, authenticated: bool, created_ms: u64) -> Self {
        Self {
            id,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated,
            consistency: Consistency::Linearizable,
            name: Vec::new(),
            library: Vec::new(),
            library_version: Vec::new(),
            ends,
            created_ms,
            last_command: "NULL",
            events: Events::default(),
            multi: None,
            watched: Vec::new(),
            blocked: false,
            watch_refused: false,
        }
    }

    /// WATCH: a key that is watched already keeps its first precondition.
    pub fn watch(&mut self, tokens: Vec<Watched>) {
        for token in tokens {
            let known = |other: &Watched| (other.db, &other.key) == (token.db, &token.key);
            if !self.watched.iter().any(known) {
                self.watched.push(token);
            }
        }
    }

    /// UNWATCH.
    pub fn unwatch(&mut self) {
        self.watched.clear();
        self.watch_refused = false;
    }

    /// MULTI.
    pub fn begin_multi(&mut self) -> Reply<'static> {
        if self.multi.is_some() {
            return Reply::Error(refusal::NESTED_MULTI);
        }
        self.multi = Some(Multi::default());
        Reply::Ok
    }

    /// DISCARD.
    pub fn discard(&mut self) -> Reply<'static> {
        if self.multi.take().is_none() {
            return Reply::Error(refusal::DISCARD_WITHOUT_MULTI);
        }
        if !is_planted(Canary::DiscardKeepsWatches) {
            self.unwatch();
        }
        Reply::Ok
    }

    /// Keeps a command for EXEC. The whole transaction becomes one request, of `bytes_max` at the most.
    pub fn queue(&mut self, call: QueuedCall, bytes_max: usize) -> Reply<'static> {
        let Some(multi) = &mut self.multi else {
            return Reply::Error(refusal::EXEC_WITHOUT_MULTI);
        };
        multi.bytes += call.argv.iter().map(|word| word.len() + WORD_OVERHEAD_BYTES).sum::<usize>();
        let watched: usize =
            self.watched.iter().map(|watch| watch.key.len() + WORD_OVERHEAD_BYTES).sum();
        if multi.calls.len() >= QUEUED_CALLS_MAX || multi.bytes + watched > bytes_max {
            multi.failed = true;
            multi.calls.clear(); // EXEC will refuse: nobody needs them any more
            return Reply::Error(refusal::TRANSACTION_TOO_LARGE);
        }
        multi.calls.push(call);
        Reply::status("QUEUED")
    }

    /// EXEC will refuse.
    pub fn fail_multi(&mut self) {
        if let Some(multi) = &mut self.multi {
            multi.failed = true;
        }
    }

    /// RESET: as if newly connected.
    pub fn reset(&mut self, authenticated: bool) {
        let old =
            std::mem::replace(self, Self::new(self.id, self.ends, authenticated, self.created_ms));
        (self.library, self.library_version) = (old.library, old.library_version);
    }

    fn flags(&self, subscribed: bool) -> String {
        let all = [(subscribed, 'P'), (self.multi.is_some(), 'x'), (self.blocked, 'b')];
        let flags: String =
            all.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).collect();
        if flags.is_empty() { "N".to_owned() } else { flags }
    }

    /// One line of CLIENT LIST; `subscriptions` is what the state says that it is subscribed to.
    pub fn line(&self, now_ms: u64, subscriptions: Counts) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!(
            "id={} addr={} laddr={} fd=0 name={} age={} idle=0 flags={} db={} sub={} psub={} ssub={} multi={} watch={} cmd={} \
             user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
            self.id,
            self.ends.client,
            self.ends.own.map(|own| own.to_string()).unwrap_or_default(),
            text(&self.name),
            now_ms.saturating_sub(self.created_ms) / 1000,
            self.flags(!subscriptions.is_empty()),
            self.db,
            subscriptions.channels,
            subscriptions.patterns,
            subscriptions.shards,
            self.multi.as_ref().map_or(-1, |multi| multi.calls.len() as i64),
            self.watched.len(),
            self.last_command.to_ascii_lowercase(),
            if self.protocol == Protocol::Resp3 { 3 } else { 2 },
            text(&self.library),
            text(&self.library_version),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that is watched again keeps its first precondition, in its own database.
    #[test]
    fn keys_are_watched_once() {
        let mut session = Session::new(
            1,
            Ends { client: SocketAddr::from(([127, 0, 0, 1], 1)), own: None, at_sentinel: false },
            true,
            0,
        );
        let token = |db, revision| Watched { db, present: true, revision, key: b"k".to_vec() };
        session.watch(vec![token(0, 1), token(1, 2)]);
        session.watch(vec![token(0, 3), token(1, 4)]);
        assert_eq!(session.watched, [token(0, 1), token(1, 2)]);
        session.watch_refused = true;
        session.unwatch();
        assert!(session.watched.is_empty() && !session.watch_refused);
    }
}
