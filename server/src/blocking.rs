//! Clients that wait for a key. That they wait, for what and for how long is part of the replicated state, and whoever feeds the key serves
//! them there; this file keeps who is owed the reply, and sees to it that nobody waits in the state whose connection is gone.
//!
//! No further command of a connection is run while one of it may wait: it would overtake it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use steadfast_core::commands;
use steadfast_core::entry::{self, Unblock};
use steadfast_core::error::ReplyError;
use steadfast_core::mark::{self, Mark};
use steadfast_core::number::parse_int;
use steadfast_core::reply::Reply;
use steadfast_core::stamp::UnixMillis;
use steadfast_replication::ports::Clock;

use crate::client::{Client, Place};
use crate::refusal;
use crate::shell::{Owner, Shell, fill};

/// Who is owed the replies of requests that wait, by the place that they had: (sequence, position).
pub(crate) type Waiting = BTreeMap<(u64, u32), Owner>;

/// Stands for the ticket of a request that ends what a connection waits for that is gone: it has no place in any line.
pub(crate) const ENDS_WAITING: u64 = u64::MAX - 1;

/// The state has said that a request waits. For a connection that is gone the end of that is on its way.
pub(crate) fn begin_to_wait(waiting: &mut Waiting, place: (u64, u32), owner: Owner) {
    let client = &owner.0;
    if client.gone.get() {
        return;
    }
    client.waits_at.set(Some(place));
    client.session.borrow_mut().blocked = true;
    client.line.borrow_mut().wake(); // its connection may have ended while this was not known
    waiting.insert(place, owner);
}

/// What it waited for has come, or it has waited long enough.
pub(crate) fn end_waiting(client: &Client) {
    client.may_wait.set(None);
    client.waits_at.set(None);
    client.session.borrow_mut().blocked = false;
}

/// What CLIENT UNBLOCK asks for: whom, and how.
///
/// # Errors
/// Redis's own texts.
pub(crate) fn unblock_asked(argv: &[&[u8]]) -> Result<(u64, Unblock), ReplyError> {
    let how = match argv.get(3) {
        None => Unblock::Timeout,
        Some(word) if word.eq_ignore_ascii_case(b"TIMEOUT") => Unblock::Timeout,
        Some(word) if word.eq_ignore_ascii_case(b"ERROR") => Unblock::Error,
        Some(_) => {
            let text = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
            return Err(ReplyError::fixed(text));
        }
    };
    if argv.len() > 4 {
        return Err(commands::wrong_arity("client|unblock"));
    }
    let id = argv.get(2).and_then(|word| parse_int(word)).ok_or(ReplyError::NOT_AN_INTEGER)?;
    Ok((u64::try_from(id).unwrap_or(0), how))
}

impl<C: Clock> Shell<C> {
    /// CLIENT UNBLOCK: the state knows whether it waits, and may have served it meanwhile.
    pub(crate) fn unblock(&mut self, client: &Rc<Client>, place: Place, argv: &[&[u8]]) {
        let protocol = client.session.borrow().protocol;
        match unblock_asked(argv) {
            Ok((target, _)) if !self.clients.contains_key(&target) => {
                client.line.borrow_mut().answer(protocol, &Reply::Int(0));
            }
            Ok((target, how)) => {
                let id = client.id;
                self.submit(client, place, |batch, latest| {
                    entry::push_unblock(batch, id, latest, target, how);
                });
            }
            Err(error) => client.line.borrow_mut().answer(protocol, &Reply::Error(error)),
        }
    }

    /// The connection is gone, or its node goes: what it waits for would be lost with it. While it is there it is owed the reply of what
    /// serves it meanwhile.
    pub(crate) fn stop_waiting(&mut self, client: &Rc<Client>) {
        if client.gone.get()
            && let Some(place) = client.waits_at.take()
        {
            self.waiting.remove(&place);
        }
        let (id, deadline) = (client.id, self.deadline());
        self.batches.push(deadline, (Rc::clone(client), ENDS_WAITING), |open| {
            entry::push_unblock(open, id, UnixMillis(u64::MAX), id, Unblock::Gone);
        });
        self.wakes.flush.notify_one();
    }

    /// A snapshot was installed: of this node's requests that waited, or were on their way, the state says which wait now. The others
    /// were served or ended by what went by unseen.
    pub(crate) fn wait_as_restored(&mut self) {
        let still = self.machine.waiting(self.origin.node, self.origin.incarnation);
        let still: BTreeSet<(u64, u32)> = still.into_iter().collect();
        for (sequence, position) in &still {
            if let Some(owner) = self.batches.settle(*sequence, *position) {
                begin_to_wait(&mut self.waiting, (*sequence, *position), owner);
            }
        }
        let lost = |place: &(u64, u32)| !still.contains(place);
        let places: Vec<(u64, u32)> = self.waiting.keys().copied().filter(lost).collect();
        for place in places {
            let Some((client, ticket)) = self.waiting.remove(&place) else { continue };
            mark::reached(Mark::ReplyLost);
            end_waiting(&client);
            fill(&mut self.stirred, &client, ticket, &Reply::Error(refusal::reply_lost()));
        }
    }
}
