//! Who is subscribed to what, on every node of the cluster, and the messages that a command has published. Part of the replicated
//! state: a subscription begins and ends by a command of the log, so every replica counts the same receivers for a message, and
//! knows whom of its own clients it is for. Kept in order of names; a change answers its inverse, which the undo list keeps.
//!
//! The names of a node's clients hold for one incarnation of its gateway: what an earlier one has left goes when the next registers.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::canary::{Canary, is_planted};
use crate::glob;
use crate::reply::Reply;

/// Bytes that all subscriptions together may take.
const SUBSCRIPTIONS_BYTES_MAX: usize = 256 << 20;
/// What a subscription takes beside its name.
const SUBSCRIPTION_BYTES: usize = 96;
/// Bytes of messages beyond the first that one command (a script) may publish.
const PUBLISHED_BYTES_MAX: usize = 64 << 20;

/// What a subscription is to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A channel by its name (SUBSCRIBE).
    Channel,
    /// All channels whose name matches (PSUBSCRIBE).
    Pattern,
    /// A shard channel by its name (SSUBSCRIBE).
    Shard,
}

impl Kind {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];
}

/// A client of the gateway that is registered for a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subscriber {
    /// The gateway's node id.
    pub node: u64,
    /// The client's id there.
    pub client: u64,
}

impl Subscriber {
    /// The least of a node's clients.
    const fn first_of(node: u64) -> Self {
        Self { node, client: 0 }
    }

    /// The greatest of them.
    const fn last_of(node: u64) -> Self {
        Self { node, client: u64::MAX }
    }
}

/// A message for the clients of one node, as it is delivered.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Delivery {
    pub(crate) node: u64,
    pub(crate) clients: Vec<u64>,
    /// What they are told.
    pub(crate) message: Reply<'static>,
}

/// How many subscriptions a client has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// To channels.
    pub channels: usize,
    /// To patterns.
    pub patterns: usize,
    /// To shard channels.
    pub shards: usize,
}

impl Counts {
    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.channels + self.patterns + self.shards == 0
    }
}

/// What was changed; `PubSub::undo` takes it back.
#[derive(Debug)]
pub(crate) enum Change {
    Added(Kind, Arc<[u8]>, Subscriber),
    Removed(Kind, Arc<[u8]>, Subscriber),
    Published,
}

/// A message that a command has published and that nobody has heard yet.
#[derive(Debug)]
struct Published {
    is_shard: bool,
    channel: Box<[u8]>,
    payload: Box<[u8]>,
}

type Names = BTreeMap<Arc<[u8]>, BTreeSet<Subscriber>>;

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct PubSub {
    /// By kind: who is subscribed to a name. No set is empty.
    names: [Names; 3],
    /// By client: what it is subscribed to, of each kind. No client is without any.
    clients: BTreeMap<Subscriber, [BTreeSet<Arc<[u8]>>; 3]>,
    bytes: usize,
    digest: u128,
    published: Vec<Published>,
    published_bytes: usize,
}

impl PubSub {
    // ---- changes -------------------------------------------------------------------------------------------

    /// Begins a subscription; none if there is one already.
    pub(crate) fn add(&mut self, kind: Kind, name: &[u8], who: Subscriber) -> Option<Change> {
        let names = &mut self.names[kind as usize];
        let name = match names.get_key_value(name) {
            Some((_, all)) if all.contains(&who) => return None,
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(name),
        };
        names.entry(Arc::clone(&name)).or_default().insert(who);
        self.clients.entry(who).or_default()[kind as usize].insert(Arc::clone(&name));
        self.bytes += cost(&name);
        self.digest = self.digest.wrapping_add(term(kind, &name, who));
        Some(Change::Added(kind, name, who))
    }

    /// Ends a subscription; none if there is none.
    pub(crate) fn remove(&mut self, kind: Kind, name: &[u8], who: Subscriber) -> Option<Change> {
        let names = &mut self.names[kind as usize];
        let (known, _) = names.get_key_value(name)?;
        let name = Arc::clone(known);
        let all = names.get_mut(&name)?;
        if !all.remove(&who) {
            return None;
        }
        if all.is_empty() {
            names.remove(&name);
        }
        if let Some(own) = self.clients.get_mut(&who) {
            own[kind as usize].remove(&name);
            if own.iter().all(BTreeSet::is_empty) {
                self.clients.remove(&who);
            }
        }
        self.bytes -= cost(&name);
        self.digest = self.digest.wrapping_sub(term(kind, &name, who));
        Some(Change::Removed(kind, name, who))
    }

    /// The clients of a node's gateway are gone, and all that they were subscribed to.
    pub(crate) fn remove_node(&mut self, node: u64) {
        let range = Subscriber::first_of(node)..=Subscriber::last_of(node);
        let gone: Vec<Subscriber> = self.clients.range(range).map(|(who, _)| *who).collect();
        for who in gone {
            for kind in Kind::ALL {
                for name in self.names_of(kind, who) {
                    self.remove(kind, &name, who);
                }
            }
        }
    }

    /// Keeps a message for whoever is subscribed now, and answers how many receive it: those subscribed to the channel, and once
    /// more each one subscribed to a pattern that it matches. None if the command has published too much.
    pub(crate) fn publish(
        &mut self,
        is_shard: bool,
        channel: &[u8],
        payload: &[u8],
    ) -> Option<(usize, Option<Change>)> {
        let by_name = if is_shard { Kind::Shard } else { Kind::Channel };
        let named = self.subscribers(by_name, channel);
        let mut receivers = named;
        if !is_shard {
            receivers += self.matching(channel).map(|(_, all)| all.len()).sum::<usize>();
        }
        if receivers == 0 {
            return Some((0, None));
        }
        let bytes = channel.len() + payload.len();
        if !self.published.is_empty() && self.published_bytes + bytes > PUBLISHED_BYTES_MAX {
            return None;
        }
        self.published_bytes += bytes;
        self.published.push(Published {
            is_shard,
            channel: channel.into(),
            payload: payload.into(),
        });
        let told = if is_planted(Canary::PatternsUncounted) { named } else { receivers };
        Some((told, Some(Change::Published)))
    }

    /// Takes a change back.
    pub(crate) fn undo(&mut self, change: Change) {
        match change {
            Change::Added(kind, name, who) => drop(self.remove(kind, &name, who)),
            Change::Removed(kind, name, who) => drop(self.add(kind, &name, who)),
            Change::Published => {
                if let Some(last) = self.published.pop() {
                    self.published_bytes -= last.channel.len() + last.payload.len();
                }
            }
        }
    }

    // ---- delivery ------------------------------------------------------------------------------------------

    /// Whether a command has published something that nobody has heard yet.
    pub(crate) const fn has_published(&self) -> bool {
        !self.published.is_empty()
    }

    /// What was published, for the clients of these nodes as they are subscribed now.
    pub(crate) fn deliver(&mut self, nodes: &[u64], into: &mut Vec<Delivery>) {
        self.published_bytes = 0;
        for message in core::mem::take(&mut self.published) {
            let Published { is_shard, channel, payload } = &message;
            let (kind, word) = if *is_shard {
                (Kind::Shard, &b"smessage"[..])
            } else {
                (Kind::Channel, &b"message"[..])
            };
            for node in nodes {
                if let Some(all) = self.names[kind as usize].get(&**channel) {
                    into.extend(delivery(*node, all, &[word, channel, payload]));
                }
                if *is_shard {
                    continue;
                }
                for (pattern, all) in self.matching(channel) {
                    into.extend(delivery(*node, all, &[b"pmessage", pattern, channel, payload]));
                }
            }
        }
    }

    fn matching<'a>(
        &'a self,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (&'a Arc<[u8]>, &'a BTreeSet<Subscriber>)> {
        let patterns = self.names[Kind::Pattern as usize].iter();
        patterns.filter(move |(pattern, _)| glob::matches(pattern, channel))
    }

    // ---- facts ---------------------------------------------------------------------------------------------

    /// Names of a kind that somebody is subscribed to, in order, with how many are.
    pub(crate) fn subscribed(&self, kind: Kind) -> impl Iterator<Item = (&Arc<[u8]>, usize)> {
        self.names[kind as usize].iter().map(|(name, all)| (name, all.len()))
    }

    /// How many names of a kind somebody is subscribed to.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.names[kind as usize].len()
    }

    /// How many are subscribed to a name.
    pub(crate) fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        self.names[kind as usize].get(name).map_or(0, BTreeSet::len)
    }

    /// What a client is subscribed to, in order.
    pub(crate) fn names_of(&self, kind: Kind, who: Subscriber) -> Vec<Arc<[u8]>> {
        let own = self.clients.get(&who).map(|own| own[kind as usize].iter().cloned().collect());
        own.unwrap_or_default()
    }

    /// How much a client is subscribed to.
    pub(crate) fn counts_of(&self, who: Subscriber) -> Counts {
        let own = self.clients.get(&who);
        own.map_or_else(Counts::default, |[channels, patterns, shards]| Counts {
            channels: channels.len(),
            patterns: patterns.len(),
            shards: shards.len(),
        })
    }

    /// Whether there is room for subscriptions to these names.
    pub(crate) fn has_room(&self, names: &[&[u8]]) -> bool {
        let more: usize = names.iter().map(|name| cost(name)).sum();
        self.bytes + more <= SUBSCRIPTIONS_BYTES_MAX
    }

    /// Share of the state digest: a sum of one term a subscription.
    pub(crate) const fn digest(&self) -> u128 {
        self.digest
    }

    /// Every subscription, in pieces of one name and at most `count` clients.
    pub(crate) fn pieces(&self, count: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for kind in Kind::ALL {
            for (name, all) in &self.names[kind as usize] {
                let all: Vec<Subscriber> = all.iter().copied().collect();
                pieces.extend(all.chunks(count.max(1)).map(|subscribers| Piece {
                    kind,
                    name: Arc::clone(name),
                    subscribers: subscribers.to_vec(),
                }));
            }
        }
        pieces
    }
}

/// Some of those who are subscribed to a name, as a snapshot has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    pub(crate) name: Arc<[u8]>,
    pub(crate) subscribers: Vec<Subscriber>,
}

/// A message of these words for those of a node; none if there are none.
fn delivery(node: u64, all: &BTreeSet<Subscriber>, words: &[&[u8]]) -> Option<Delivery> {
    let range = Subscriber::first_of(node)..=Subscriber::last_of(node);
    let clients: Vec<u64> = all.range(range).map(|who| who.client).collect();
    let message = || Reply::Push(words.iter().map(|word| Reply::bulk_owned(*word)).collect());
    (!clients.is_empty()).then(|| Delivery { node, clients, message: message() })
}

fn cost(name: &[u8]) -> usize {
    name.len() + SUBSCRIPTION_BYTES
}

fn term(kind: Kind, name: &[u8], who: Subscriber) -> u128 {
    let mut fact = [0; 26];
    (fact[0], fact[1]) = (3, kind as u8); // 1 and 2 are those of `digest`
    fact[2..10].copy_from_slice(&xxh3_64(name).to_le_bytes());
    fact[10..18].copy_from_slice(&who.node.to_le_bytes());
    fact[18..].copy_from_slice(&who.client.to_le_bytes());
    xxh3_128(&fact)
}
