//! What can be asked of the state machine beside reads: figures, its own and the gateways' whereabouts, and the digest of all of it.

use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_128;

use crate::keyspace::Database;
use crate::machine::{DatabaseStats, GatewayState, StateMachine, Statistics};
use crate::pubsub::{Counts, Kind, Subscriber};
use crate::slot::Slot;
use crate::stamp::{Stamp, UnixMillis};

impl StateMachine {
    /// Index of the last entry applied.
    pub const fn applied_index(&self) -> u64 {
        self.applied
    }

    /// Stamp of the last entry applied.
    pub const fn last_stamp(&self) -> Stamp {
        self.stamp
    }

    /// The revision counter.
    pub const fn revision(&self) -> u64 {
        self.keyspace.revision
    }

    /// The cluster's identity; 0 before bootstrap.
    pub const fn cluster_id(&self) -> u128 {
        self.cluster_id
    }

    /// What the state knows of a gateway.
    pub fn gateway(&self, node: u64) -> Option<GatewayState> {
        self.gateways.get(&node).map(|gateway| gateway.state)
    }

    /// All gateways, by node id.
    pub fn gateways(&self) -> impl Iterator<Item = (u64, GatewayState)> {
        self.gateways.iter().map(|(node, gateway)| (*node, gateway.state))
    }

    /// Where clients find a node, `host:port`, as it said when it last started; none if it never said.
    pub fn announced(&self, node: u64) -> Option<&str> {
        let gateway = self.gateways.get(&node)?;
        Some(&*gateway.announced).filter(|address| !address.is_empty())
    }

    /// The keys of a slot that live by the last stamp, `count` at the most, with the number of all of them. A cluster client
    /// means database 0.
    pub fn keys_of_slot(&self, slot: usize, count: usize) -> (Vec<&[u8]>, usize) {
        let items = self.keyspace.databases[0].slot(slot).into_iter().flat_map(Slot::items);
        let now = self.stamp.time.0;
        let live = items.filter(|item| item.record.expires_at > now);
        (live.clone().take(count).map(|item| item.key).collect(), live.count())
    }

    /// How much a client is subscribed to.
    pub fn subscriptions_of(&self, who: Subscriber) -> Counts {
        self.keyspace.pubsub.counts_of(who)
    }

    /// How many names of a kind clients of the cluster are subscribed to.
    pub fn subscribed_names(&self, kind: Kind) -> usize {
        self.keyspace.pubsub.count(kind)
    }

    /// The earliest deadline of any key or request that waits, for the tick that the leader proposes.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        let firsts = self.keyspace.databases.iter().filter_map(|db| db.deadlines.first());
        let waiter = self.keyspace.waiters.first_deadline().map(|(deadline, _)| deadline);
        firsts.map(|deadline| deadline.at).chain(waiter).min().map(UnixMillis)
    }

    /// Order-free digest of the whole state: equal applied index means equal digest.
    pub fn digest(&self) -> u128 {
        let mut facts = Vec::new();
        let mut put = |number: u128| facts.extend_from_slice(&number.to_le_bytes());
        put(u128::from(self.stamp.time.0));
        put(u128::from(self.stamp.seed));
        put(self.cluster_id);
        put(u128::from(self.level));
        put(u128::from(self.keyspace.revision));
        self.keyspace.hash_key.iter().for_each(|word| put(u128::from(*word)));
        for database in &self.keyspace.databases {
            put(database.digest());
            put(u128::from(database.swapped_at));
            put(u128::from(database.flushed_at));
        }
        for (node, gateway) in &self.gateways {
            put(u128::from(*node));
            put(u128::from(gateway.state.incarnation));
            put(u128::from(gateway.state.passed));
            put(u128::from(gateway.state.retired));
            put(xxh3_128(gateway.announced.as_bytes()));
            put(xxh3_128(&gateway.joined));
        }
        put(self.keyspace.waiters.digest());
        put(u128::from(self.keyspace.waiters.next_number()));
        self.keyspace.scripts().keys().for_each(|sha| put(xxh3_128(sha)));
        put(self.keyspace.pubsub.digest());
        xxh3_128(&facts)
    }

    /// Figures of one database, for INFO.
    pub fn database_stats(&self, db: usize) -> DatabaseStats {
        let Some(database) = self.keyspace.databases.get(db) else {
            return DatabaseStats::default();
        };
        DatabaseStats {
            keys: database.key_count() as u64,
            expires: database.deadlines.count(),
            avg_ttl_ms: database.deadlines.mean_after(self.stamp.time.0),
        }
    }

    /// Counters since this replica was made or restored.
    pub const fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Deterministic estimate of the bytes that keys and values take.
    pub fn used_bytes(&self) -> u64 {
        self.keyspace.databases.iter().map(Database::used_bytes).sum()
    }
}
