//! Publish and subscribe on this node. Who is subscribed to what is part of the replicated state, and the core says at apply which of
//! this node's clients hear a message; this file puts it into their output, and sees to it that a client's subscriptions end in the
//! log when its connection ends, when it says RESET, and when the node goes.
//!
//! At the sentinel's port there are events of this node instead: who listens to them is known here alone, and nothing is logged.

use std::collections::BTreeSet;
use std::rc::Rc;

use steadfast_core::commands::Flags;
use steadfast_core::entry;
use steadfast_core::glob;
use steadfast_core::machine::StateMachine;
use steadfast_core::pubsub::{Counts, Subscriber};
use steadfast_core::reply::Reply;
use steadfast_core::stamp::UnixMillis;
use steadfast_replication::ports::Clock;

use crate::blocking::ENDS_WAITING;
use crate::client::{Client, ExecPlan, Place};
use crate::discovery;
use crate::resp::Protocol;
use crate::session::Session;
use crate::shell::{Owner, Shell};

/// Stands for the ticket of a request that ends the subscriptions of a connection that is gone: it has no place in any line.
pub(crate) const LEAVES: u64 = u64::MAX;

/// Whether a ticket is that of a request which a node makes for a connection that is gone.
pub(crate) const fn is_farewell(ticket: u64) -> bool {
    ticket == LEAVES || ticket == ENDS_WAITING
}

/// Commands that end everything that a client is subscribed to.
const LEAVE: [&[u8]; 3] = [b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE"];

/// Whether a command begins or ends subscriptions.
pub(crate) const fn is_subscription(flags: Flags) -> bool {
    flags.has(Flags::PUB_SUB.and(Flags::NO_SCRIPT))
}

/// Whether a RESP2 client with subscriptions may run a command.
pub(crate) fn is_for_subscribers(name: &str, flags: Flags) -> bool {
    is_subscription(flags) || ["PING", "QUIT", "RESET"].contains(&name)
}

/// What PING answers a RESP2 client with subscriptions: to it, everything is a message.
pub(crate) fn pong(argv: &[&[u8]]) -> Reply<'static> {
    match argv {
        [_] => Reply::Array(vec![Reply::bulk(b"pong"), Reply::bulk(b"")]),
        [_, said] => Reply::Array(vec![Reply::bulk(b"pong"), Reply::bulk_owned(*said)]),
        _ => Reply::Error(steadfast_core::commands::wrong_arity("ping")),
    }
}

/// What a connection at the sentinel's port listens to.
#[derive(Debug, Default)]
pub struct Events {
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
}

impl Events {
    /// How many.
    pub fn counts(&self) -> Counts {
        Counts { channels: self.channels.len(), patterns: self.patterns.len(), shards: 0 }
    }

    /// SUBSCRIBE, PSUBSCRIBE, UNSUBSCRIBE and PUNSUBSCRIBE, as the core answers them; none for another command.
    pub(crate) fn change(&mut self, name: &str, argv: &[&[u8]]) -> Option<Reply<'static>> {
        let of_patterns = name.starts_with('P');
        let word = name.to_ascii_lowercase().into_bytes();
        let begins = match name {
            "SUBSCRIBE" | "PSUBSCRIBE" => true,
            "UNSUBSCRIBE" | "PUNSUBSCRIBE" => false,
            _ => return None,
        };
        let own = if of_patterns { &self.patterns } else { &self.channels };
        let mut names: Vec<Option<Vec<u8>>> =
            argv.iter().skip(1).map(|name| Some(name.to_vec())).collect();
        if names.is_empty() {
            names = own.iter().cloned().map(Some).collect();
        }
        if names.is_empty() {
            names.push(None);
        }
        let confirmed = names.into_iter().map(|name| {
            let own = if of_patterns { &mut self.patterns } else { &mut self.channels };
            if let Some(name) = &name {
                if begins {
                    own.insert(name.clone())
                } else {
                    own.remove(name)
                };
            }
            let count = self.channels.len() + self.patterns.len();
            let name = name.map_or(Reply::Nil, Reply::bulk_owned);
            Reply::Push(vec![Reply::bulk_owned(word.clone()), name, Reply::Int(count as i64)])
        });
        Some(Reply::Several(confirmed.collect()))
    }

    /// What is told of an event.
    fn messages(&self, channel: &str, payload: &str) -> Vec<Reply<'static>> {
        let said = |text: &str| Reply::bulk_owned(text.as_bytes());
        let mut messages = Vec::new();
        if self.channels.contains(channel.as_bytes()) {
            messages.push(Reply::Push(vec![said("message"), said(channel), said(payload)]));
        }
        for pattern in self.patterns.iter().filter(|it| glob::matches(it, channel.as_bytes())) {
            let pattern = Reply::bulk_owned(pattern.clone());
            messages.push(Reply::Push(vec![
                said("pmessage"),
                pattern,
                said(channel),
                said(payload),
            ]));
        }
        messages
    }
}

impl<C: Clock> Shell<C> {
    /// How much a client is subscribed to, in the state or at the sentinel's port.
    pub(crate) fn counts_of(&self, session: &Session) -> Counts {
        let who = Subscriber { node: self.origin.node, client: session.id };
        let (logged, own) = (self.machine.subscriptions_of(who), session.events.counts());
        Counts {
            channels: logged.channels + own.channels,
            patterns: logged.patterns + own.patterns,
            shards: logged.shards,
        }
    }

    /// Whether a client speaks RESP2 and has subscriptions: then it may run little else.
    pub(crate) fn only_listens(&self, client: &Client) -> bool {
        if !client.subscriber.get() {
            return false;
        }
        let session = client.session.borrow();
        let has_none = self.counts_of(&session).is_empty();
        if has_none && !client.line.borrow().subscribing {
            client.subscriber.set(false);
        }
        session.protocol == Protocol::Resp2 && !has_none
    }

    /// RESET of a client that may have subscriptions: they end in the log, then the rest of it happens here.
    pub(crate) fn reset_subscriber(&mut self, client: &Rc<Client>, protocol: Protocol) {
        let mut calls: Vec<Option<Vec<Vec<u8>>>> = LEAVE.iter().map(|_| None).collect();
        calls.push(Some(vec![b"RESET".to_vec()]));
        let exec = Some(Box::new(ExecPlan { calls, answers_last: true }));
        let id = client.id;
        self.submit(client, Place::Batched { protocol, exec }, |batch, latest| {
            push_leave(batch, id, latest);
        });
        client.line.borrow_mut().stalled = true; // what follows finds a connection as if new
    }

    /// Does so for all whose connections have gone in this turn.
    pub(crate) fn leave_departed(&mut self) {
        for client in std::mem::take(&mut self.departed) {
            self.leave(&client);
        }
    }

    /// A connection is gone, or its node goes: what it was subscribed to ends, and what it waits for, whatever becomes of its other
    /// requests.
    pub(crate) fn leave(&mut self, client: &Rc<Client>) {
        if client.may_wait.get().is_some() {
            self.stop_waiting(client);
        }
        if client.subscriber.get() && !client.session.borrow().ends.at_sentinel {
            self.stop_listening(client);
        }
    }

    fn stop_listening(&mut self, client: &Rc<Client>) {
        let (id, deadline) = (client.id, self.deadline());
        self.batches.push(deadline, (Rc::clone(client), LEAVES), |open| {
            push_leave(open, id, UnixMillis(u64::MAX));
        });
        self.wakes.flush.notify_one();
    }

    /// Requests of that kind which have waited for a number in vain wait again: the state must not keep who is gone.
    pub(crate) fn leave_again(&mut self, waited: Vec<Owner>) {
        let waited = if self.closing { Vec::new() } else { waited };
        for (client, ticket) in waited {
            match ticket {
                LEAVES => self.stop_listening(&client),
                _ => self.stop_waiting(&client),
            }
        }
    }

    /// The node goes, and says so for its subscribers, and for those who wait, while somebody leads. They hear nothing more.
    pub(crate) fn leave_all(&mut self) {
        let all: Vec<Rc<Client>> = self.clients.values().cloned().collect();
        for client in &all {
            client.line.borrow_mut().deaf |= client.subscriber.get();
            if self.status.leader_id() != 0 {
                self.leave(client);
            }
        }
    }

    /// Ends the connections of subscribers who missed messages, or whom the state has forgotten: at once, since the confirmation of an
    /// UNSUBSCRIBE that is under way would tell that nothing is missing. Those at the sentinel's port missed nothing.
    pub(crate) fn close_subscribers(&self, before: Option<&StateMachine>) {
        for client in self.clients.values().filter(|client| client.subscriber.get()) {
            let who = Subscriber { node: self.origin.node, client: client.id };
            let had = before.is_none_or(|before| !before.subscriptions_of(who).is_empty());
            let at_sentinel = client.session.borrow().ends.at_sentinel;
            if (had || !self.machine.subscriptions_of(who).is_empty()) && !at_sentinel {
                let mut line = client.line.borrow_mut();
                line.abandon();
                line.wake();
            }
        }
    }

    /// Ends connections whose output has been beyond the soft limit for too long.
    pub(crate) fn bound_subscribers(&self) {
        let (limit, now) = (self.config.output_limits.pubsub, self.clock.monotonic());
        for client in self.clients.values().filter(|client| client.subscriber.get()) {
            client.line.borrow_mut().bound(limit, now);
        }
    }

    /// Tells those who listen at the sentinel's port when another node leads.
    pub(crate) fn watch_leader(&mut self) {
        let leader = self.status.last_leader_id();
        if leader == 0 || leader == self.known_leader {
            return;
        }
        let before = std::mem::replace(&mut self.known_leader, leader);
        if before == 0 {
            return;
        }
        let limit = self.config.output_limits.pubsub;
        for client in self.clients.values() {
            let session = client.session.borrow();
            if session.events.counts().is_empty() {
                continue;
            }
            let nodes = discovery::nodes(self, &session);
            let place = |id: u64| nodes.iter().find(|node| node.id == id);
            let Some(new) = place(leader) else { continue };
            let old = place(before).unwrap_or(new); // it may have been removed
            let payload = format!(
                "{} {} {} {} {}",
                self.config.sentinel_master, old.host, old.port, new.host, new.port
            );
            let mut line = client.line.borrow_mut();
            for message in session.events.messages("+switch-master", &payload) {
                line.push(session.protocol, &message, limit, self.clock.monotonic());
            }
        }
    }
}

fn push_leave(batch: &mut Vec<u8>, client: u64, latest: UnixMillis) {
    let calls: Vec<(u8, Vec<Vec<u8>>)> =
        LEAVE.iter().map(|name| (0, vec![name.to_vec()])).collect();
    entry::push_transaction(batch, client, latest, &[], &calls);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events are subscribed to and confirmed as channels are, and reach those who named them, or a pattern.
    #[test]
    fn events_are_as_channels() {
        let mut events = Events::default();
        let mut say = |words: &[&str]| {
            let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            let mut bytes = Vec::new();
            let reply = events.change(words[0], &argv)?;
            crate::resp::encode(&reply, Protocol::Resp2, &mut bytes);
            Some(String::from_utf8_lossy(&bytes).replace("\r\n", " "))
        };
        assert_eq!(say(&["UNSUBSCRIBE"]).as_deref(), Some("*3 $11 unsubscribe $-1 :0 "));
        let told = say(&["SUBSCRIBE", "+switch-master", "x"]).expect("it is one of them");
        assert!(told.ends_with("+switch-master :1 *3 $9 subscribe $1 x :2 "), "{told}");
        assert_eq!(say(&["PSUBSCRIBE", "*"]).as_deref(), Some("*3 $10 psubscribe $1 * :3 "));
        assert_eq!(say(&["SSUBSCRIBE", "x"]), None);
        assert!(say(&["UNSUBSCRIBE"]).is_some_and(|told| told.ends_with(" x :1 ")));
        assert_eq!(events.messages("+switch-master", "p").len(), 1);
        assert_eq!(events.counts(), Counts { patterns: 1, ..Counts::default() });
    }
}
