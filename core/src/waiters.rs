//! Requests that wait for a key: BLPOP and its kin that found nothing. They are state: whoever leads, and whatever becomes of the node
//! that its client is connected to, a push serves the one that came first. Decides nothing: `blocking` does.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_128;

use crate::record::NEVER;

/// Where a request came from: the position in the batch that ended with parcel `sequence` of a gateway's incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub(crate) node: u64,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) position: u32,
    /// The client, as its gateway numbers it.
    pub(crate) client: u64,
}

/// A request that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) source: Source,
    pub(crate) db: usize,
    /// Its words: it is run again when one of its keys may have what it waits for.
    pub(crate) argv: Vec<Box<[u8]>>,
    /// Log time at which it gives up, or [`NEVER`].
    pub(crate) deadline: u64,
    /// The keys it waits for, each once.
    keys: Vec<Box<[u8]>>,
}

/// All of them, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    all: BTreeMap<u64, Waiter>,
    by_key: BTreeMap<(usize, Box<[u8]>), BTreeSet<u64>>,
    deadlines: BTreeSet<(u64, u64)>,
    /// By node and client.
    by_client: BTreeSet<(u64, u64, u64)>,
    /// Number of the next one.
    next: u64,
    digest: u128,
}

impl Waiter {
    pub(crate) fn new(
        source: Source,
        db: usize,
        argv: Vec<Box<[u8]>>,
        deadline: u64,
        mut keys: Vec<Box<[u8]>>,
    ) -> Self {
        keys.sort_unstable();
        keys.dedup();
        Self { source, db, argv, deadline, keys }
    }

    /// Appends its bytes, as snapshots have them (`snapshot`).
    pub(crate) fn encode(&self, number: u64, out: &mut Vec<u8>) {
        let source = &self.source;
        for value in [number, source.node, source.incarnation, source.sequence, source.client] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&source.position.to_le_bytes());
        out.extend_from_slice(&self.deadline.to_le_bytes());
        out.push(self.db as u8);
        for words in [&self.keys, &self.argv] {
            out.extend_from_slice(&(words.len() as u32).to_le_bytes());
            for word in words {
                out.extend_from_slice(&(word.len() as u32).to_le_bytes());
                out.extend_from_slice(word);
            }
        }
    }

    fn term(&self, number: u64) -> u128 {
        let mut bytes = Vec::new();
        self.encode(number, &mut bytes);
        xxh3_128(&bytes)
    }
}

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) const fn digest(&self) -> u128 {
        self.digest
    }

    /// Number of the next one: part of the state, since it is a place in the line.
    pub(crate) const fn next_number(&self) -> u64 {
        self.next
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Waiter)> {
        self.all.iter().map(|(number, waiter)| (*number, waiter))
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Waiter> {
        self.all.get(&number)
    }

    /// Puts a waiter at the end of the line.
    pub(crate) fn add(&mut self, waiter: Waiter) {
        let number = self.next;
        self.next += 1;
        self.put(number, waiter);
    }

    /// Puts a waiter back as a snapshot has it; whether its number was free and below the next one.
    pub(crate) fn restore(&mut self, number: u64, waiter: Waiter) -> bool {
        let fits = number < self.next && !self.all.contains_key(&number);
        if fits {
            self.put(number, waiter);
        }
        fits
    }

    pub(crate) fn set_next_number(&mut self, next: u64) {
        self.next = next;
    }

    fn put(&mut self, number: u64, waiter: Waiter) {
        self.digest = self.digest.wrapping_add(waiter.term(number));
        for key in &waiter.keys {
            self.by_key.entry((waiter.db, key.clone())).or_default().insert(number);
        }
        if waiter.deadline != NEVER {
            self.deadlines.insert((waiter.deadline, number));
        }
        self.by_client.insert((waiter.source.node, waiter.source.client, number));
        self.all.insert(number, waiter);
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.all.remove(&number)?;
        self.digest = self.digest.wrapping_sub(waiter.term(number));
        for key in &waiter.keys {
            let place = (waiter.db, key.clone());
            if let Some(line) = self.by_key.get_mut(&place) {
                line.remove(&number);
                if line.is_empty() {
                    self.by_key.remove(&place);
                }
            }
        }
        self.deadlines.remove(&(waiter.deadline, number));
        self.by_client.remove(&(waiter.source.node, waiter.source.client, number));
        Some(waiter)
    }

    /// Whether anybody waits for this key.
    pub(crate) fn await_key(&self, db: usize, key: &[u8]) -> bool {
        !self.all.is_empty() && self.by_key.contains_key(&(db, key.into()))
    }

    /// Who waits for a key, the first one with this number or a later one.
    pub(crate) fn next_of_key(&self, db: usize, key: &[u8], from: u64) -> Option<u64> {
        self.by_key.get(&(db, key.into()))?.range(from..).next().copied()
    }

    /// Of a planted bug: who came last.
    pub(crate) fn last_of_key(&self, db: usize, key: &[u8]) -> Option<u64> {
        self.by_key.get(&(db, key.into()))?.last().copied()
    }

    /// The keys of a database that somebody waits for.
    pub(crate) fn keys_of_db(&self, db: usize) -> Vec<Box<[u8]>> {
        let places = self.by_key.keys().filter(|(own, _)| *own == db);
        places.map(|(_, key)| key.clone()).collect()
    }

    /// The earliest deadline, and whose it is.
    pub(crate) fn first_deadline(&self) -> Option<(u64, u64)> {
        self.deadlines.first().copied()
    }

    /// Those of a client of a node, in order of arrival.
    pub(crate) fn of_client(&self, node: u64, client: u64) -> Vec<u64> {
        let first = (node, client, 0);
        self.by_client.range(first..=(node, client, u64::MAX)).map(|(.., number)| *number).collect()
    }

    /// Those of a node.
    pub(crate) fn of_node(&self, node: u64) -> Vec<u64> {
        let all = self.by_client.range((node, 0, 0)..=(node, u64::MAX, u64::MAX));
        all.map(|(.., number)| *number).collect()
    }
}
