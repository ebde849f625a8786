//! Who dials whom, and whether it may: the first frame each way.

use bytes::Bytes;
use prost::Message as _;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use crate::formation::{Exclusion, Heard, Member, Record, removed};
use crate::roster::Roster;

/// Version of frames and messages.
pub const PROTOCOL: u32 = 5;
/// The oldest that this release speaks as well. Who is newer than the other knows whether it still speaks the other's, so nobody refuses a
/// later version.
const PROTOCOL_OLDEST: u32 = 5;

/// What a node says when it dials.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Version.
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    /// Who dials.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// Whom it means to reach.
    #[prost(uint64, tag = "3")]
    pub to: u64,
    /// Its incarnation.
    #[prost(uint64, tag = "4")]
    pub incarnation: u64,
    /// Its storage id, 16 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub storage_id: Bytes,
    /// Its formation record; empty while forming.
    #[prost(bytes = "bytes", tag = "6")]
    pub record: Bytes,
    /// What the stream is for: 0 messages, 1 a snapshot.
    #[prost(uint32, tag = "7")]
    pub purpose: u32,
    /// Who is a member, as far as it knows; empty while forming.
    #[prost(bytes = "bytes", tag = "8")]
    pub roster: Bytes,
    /// The highest semantics level that its release knows.
    #[prost(uint32, tag = "9")]
    pub level: u32,
}

/// The answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    /// Who answers, as in `Hello`; its purpose says nothing.
    #[prost(message, optional, tag = "1")]
    pub hello: Option<Hello>,
    /// Why the stream is refused; empty if it is not.
    #[prost(string, tag = "2")]
    pub refusal: String,
    /// What a node needs to know that is no member by its disk: 1 there is a cluster, and it knows this id with another disk;
    /// 2 there is a cluster, and it does not know this id; 3 it has removed this id. 0 otherwise.
    #[prost(uint32, tag = "3")]
    pub excluded: u32,
    /// Of the cluster that says so: its record's id.
    #[prost(uint64, tag = "4")]
    pub cluster: u64,
    /// Its voters, as far as the log of who answers makes them known for ever; none if it goes by what it was told when it joined.
    #[prost(uint64, repeated, tag = "5")]
    pub voters: Vec<u64>,
    /// Where those voters are, for one that was removed: most of them must say so before it believes it.
    #[prost(message, repeated, tag = "6")]
    pub places: Vec<Place>,
}

/// Where a member is reached.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Place {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its host.
    #[prost(string, tag = "2")]
    pub host: String,
    /// Its port for peers.
    #[prost(uint32, tag = "3")]
    pub port: u32,
}

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Raft messages and ops.
    Messages,
    /// One snapshot.
    Snapshot,
}

/// Who this node is, at handshakes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Own id.
    pub node_id: u64,
    /// Own incarnation.
    pub incarnation: u64,
    /// Own storage id.
    pub storage_id: u128,
    /// The formation record, once formed.
    pub record: Option<Record>,
    /// Who is a member, as far as that is known here for ever; nobody before the cluster has formed. Peers are told this one.
    pub roster: Roster,
    /// The same by the newest that a peer told: nobody is shut out by it, but whoever is new in it is listened to.
    pub heard: Roster,
    /// The voters, as far as the own log makes them known for ever.
    pub voters: Vec<u64>,
    /// The highest semantics level that this release knows.
    pub level: u32,
    /// The one that the log has come to: who knows less can't go on with it.
    pub level_reached: u32,
}

impl Identity {
    /// The hello to a peer.
    pub fn hello(&self, to: u64, purpose: Purpose) -> Hello {
        Hello {
            protocol: PROTOCOL,
            from: self.node_id,
            to,
            incarnation: self.incarnation,
            storage_id: Bytes::copy_from_slice(&self.storage_id.to_le_bytes()),
            record: self.record.as_ref().map_or_else(Bytes::new, |record| record.encode().into()),
            purpose: u32::from(purpose == Purpose::Snapshot),
            roster: self.record.as_ref().map_or_else(Bytes::new, |_| self.roster.encode().into()),
            level: self.level,
        }
    }

    /// The answer to a peer's hello. Storage ids are told to nobody but members (who show that they are by their own), and to
    /// whoever may become one while the cluster forms: with them anybody could speak in a member's name.
    pub fn welcome(&self, hello: &Hello, refusal: String) -> Welcome {
        let excluded = self.exclusion(hello);
        let mut own = self.hello(hello.from, Purpose::Messages);
        if excluded.is_some() || !refusal.is_empty() {
            own = Hello { protocol: own.protocol, from: own.from, to: own.to, ..Hello::default() };
        }
        Welcome {
            hello: Some(own),
            refusal,
            excluded: excluded.map_or(0, |why| why as u32),
            cluster: self.record.as_ref().map_or(0, Record::id),
            voters: self.voters.clone(),
            places: if excluded == Some(Exclusion::Removed) { self.places() } else { Vec::new() },
        }
    }

    /// Where the voters are, as far as the log says it.
    fn places(&self) -> Vec<Place> {
        let voters = self.roster.iter().filter(|(id, _)| self.voters.contains(id));
        let places = voters.map(|(id, listed)| Place {
            id,
            host: listed.host.clone(),
            port: u32::from(listed.port),
        });
        places.filter(|place| !place.host.is_empty()).collect()
    }

    /// Whether this node's cluster shuts the asker out. It says nothing to members of another cluster, who may have got the wrong number.
    fn exclusion(&self, hello: &Hello) -> Option<Exclusion> {
        let own = self.record.as_ref()?;
        let theirs = Record::decode(&hello.record).map(|record| record.id());
        let is_forming = hello.record.is_empty();
        if !is_forming && theirs != Some(own.id()) || is_planted(Canary::WipedNodeTaken) {
            return None;
        }
        let storage = hello.storage();
        if let Some(known) = self.storage_of(hello.from) {
            return (storage != Some(known)).then_some(Exclusion::Replaced);
        }
        match self.roster.former_storage_of(hello.from) {
            None => Some(Exclusion::Unknown),
            Some(_) if is_planted(Canary::RemovalNotTold) => Some(Exclusion::Unknown),
            Some(former) if storage == Some(former) => Some(Exclusion::Removed),
            Some(_) => Some(Exclusion::Replaced),
        }
    }

    /// Checks what a peer says of itself; `known` is the highest incarnation heard of it.
    ///
    /// # Errors
    /// A sentence that is sent back and logged.
    pub fn check(&self, hello: &Hello, known: u64) -> Result<Heard, String> {
        let (own, peer) = (self.node_id, hello.from);
        if hello.protocol < PROTOCOL_OLDEST {
            return Err(format!(
                "node {peer} speaks version {} between nodes, this one {PROTOCOL_OLDEST} to {PROTOCOL}",
                hello.protocol
            ));
        }
        if hello.to != own {
            return Err(format!(
                "node {peer} meant to reach node {}, but this is node {own}: check --cluster",
                hello.to
            ));
        }
        if peer == own || peer == 0 {
            return Err(format!("a peer calls itself node {peer}: check --node-id"));
        }
        if hello.level < self.level_reached {
            return Err(format!(
                "node {peer} runs a release that knows semantics levels up to {}, and the cluster has come to level {}: start it with the \
                 release that the others run",
                hello.level, self.level_reached
            ));
        }
        // Starts are counted in the upper half, and each draws the lower one: two draws for one start are of two directories.
        let (start, last) = (hello.incarnation >> 32, known >> 32);
        let older =
            hello.incarnation < known || (start == last && hello.incarnation != known && last > 0);
        if older && !is_planted(Canary::OlderCopyTaken) {
            mark::reached(Mark::OlderCopyRefused);
            return Err(format!(
                "node {peer} says that this is its start number {start}, but the cluster knows another one with number {last}: \
                 its disk went back in time. Its data directory is an older copy, which has lost what it promised: start it \
                 with the newest one, or replace node {peer} by a new one with an empty directory (steadfast cluster replace)"
            ));
        }
        let storage = hello.storage().ok_or("a hello without a storage id")?;
        if hello.record.is_empty() {
            return Ok(Heard::Forming(storage));
        }
        let record = Record::decode(&hello.record).ok_or("a hello with a broken record")?;
        let roster = Roster::decode(&hello.roster).ok_or("a hello with a broken roster")?;
        if let Some(own) = &self.record
            && own.id() != record.id()
        {
            return Err(format!(
                "node {peer} belongs to another cluster: check --cluster, or wipe the data of one"
            ));
        }
        let is_new = self.record.is_none() || self.is_news(&roster);
        let told = || roster.storage_of(peer).filter(|_| is_new && !self.roster.is_gone(peer));
        match self.storage_of(peer).or_else(told) {
            Some(known) if known == storage => Ok(Heard::Formed { record, roster }),
            Some(_) if is_planted(Canary::WipedNodeTaken) => Ok(Heard::Formed { record, roster }),
            Some(_) => Err(format!("node {peer} has another disk than the one it joined with")),
            None if self.roster.is_gone(peer) => Err(removed(peer)),
            None => Err(format!("node {peer} is no member by what this node knows")),
        }
    }

    /// The disk with which a node is a member, by what is known or was told.
    pub fn storage_of(&self, id: u64) -> Option<u128> {
        let told = || self.heard.storage_of(id).filter(|_| !self.roster.is_gone(id));
        self.roster.storage_of(id).or_else(told)
    }

    /// Whether a roster that a peer tells is of a later change than all that is known: this node may have been away.
    pub fn is_news(&self, told: &Roster) -> bool {
        told.is_newer_than(&self.roster)
            && told.is_newer_than(&self.heard)
            && !is_planted(Canary::RosterNotHeard)
    }
}

impl Hello {
    /// The sender's disk.
    pub fn storage(&self) -> Option<u128> {
        let bytes: Option<[u8; 16]> = self.storage_id.as_ref().try_into().ok();
        bytes.map(u128::from_le_bytes)
    }

    /// From a frame.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    /// To a frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl Welcome {
    /// Whether a cluster shuts the asker out, and why. One that is formed listens to its own cluster only.
    pub fn excluded(&self, own: Option<&Record>) -> Option<Heard> {
        if own.is_some_and(|own| own.id() != self.cluster) {
            return None;
        }
        let all = [Exclusion::Replaced, Exclusion::Unknown, Exclusion::Removed];
        let why = all.into_iter().find(|why| *why as u32 == self.excluded)?;
        let places = self.places.iter().filter_map(|Place { id, host, port }| {
            let port = u16::try_from(*port).ok()?;
            Some(Member { id: *id, host: host.clone(), port })
        });
        Some(Heard::Excluded { why, voters: self.voters.clone(), places: places.collect() })
    }

    /// From a frame.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    /// To a frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(node_id: u64, record: Option<Record>) -> Identity {
        let roster =
            record.as_ref().map(|record| Roster::founding(record, &[], &Roster::default()));
        let (storage_id, roster) = (u128::from(node_id), roster.unwrap_or_default());
        Identity {
            node_id,
            incarnation: 5,
            storage_id,
            record,
            roster,
            heard: Roster::default(),
            voters: Vec::new(),
            level: 1,
            level_reached: 1,
        }
    }

    /// Wrong receiver, older incarnation, another cluster, another disk: each is refused in words.
    #[test]
    fn strangers_are_refused() {
        let record = Record::decode(&[&1_u64.to_le_bytes()[..], &1_u128.to_le_bytes()].concat());
        let (one, two) = (identity(1, record.clone()), identity(2, None));
        let hello = one.hello(2, Purpose::Messages);
        assert!(matches!(two.check(&hello, 5), Ok(Heard::Formed { .. })));
        let refused =
            |hello: Hello, known| two.check(&hello, known).expect_err("it must be refused");
        assert!(refused(Hello { to: 3, ..hello.clone() }, 0).contains("node 3"));
        assert!(refused(hello.clone(), 6).contains("back in time"));
        assert!(refused(Hello { protocol: 4, ..hello.clone() }, 0).contains("version 4"));
        assert!(refused(Hello { level: 0, ..hello.clone() }, 0).contains("up to 0"));
        let later = Hello { protocol: PROTOCOL + 1, level: 2, ..hello.clone() };
        assert!(two.check(&later, 5).is_ok(), "who is newer knows what this one speaks");
        let disk = Bytes::copy_from_slice(&77_u128.to_le_bytes());
        assert!(refused(Hello { storage_id: disk, ..hello.clone() }, 0).contains("another disk"));
        let other = identity(2, Some(Record::alone(2, 2)));
        assert!(other.check(&hello, 0).expect_err("another cluster").contains("another cluster"));
    }

    /// A cluster says that an id was removed to the disk that had it, and only to that; to another cluster it says nothing, and that one
    /// would not listen. (A member that got the wrong number ended for ever because another cluster had once had a node of its id.)
    #[test]
    fn removals_concern_the_own_cluster() {
        let record = Record::alone(1, 1);
        let mut one = identity(1, Some(record.clone()));
        let two = crate::roster::Listed { storage_id: 2, ..Default::default() };
        let (host, port) = ("one".to_owned(), 7);
        let own = crate::roster::Listed { storage_id: 1, host, port, ..Default::default() };
        let news = vec![(1, own), (2, two)];
        one.roster = one.roster.after(5, news, &[1, 2]).after(9, Vec::new(), &[1]);
        one.voters = vec![1];
        let said = |hello: &Hello, own: &Record| match one
            .welcome(hello, String::new())
            .excluded(Some(own))
        {
            Some(Heard::Excluded { why, .. }) => Some(why),
            _ => None,
        };
        let former = identity(2, Some(record.clone())).hello(1, Purpose::Messages);
        assert_eq!(said(&former, &record), Some(Exclusion::Removed));
        let places = one.welcome(&former, String::new()).places;
        assert_eq!(
            places,
            [Place { id: 1, host: "one".to_owned(), port: 7 }],
            "whom to ask as well"
        );
        let other_disk = Bytes::copy_from_slice(&77_u128.to_le_bytes());
        let wiped = Hello { storage_id: other_disk, record: Bytes::new(), ..former.clone() };
        let welcome = one.welcome(&wiped, String::new());
        assert_eq!((welcome.excluded, welcome.places), (Exclusion::Replaced as u32, Vec::new()));
        let other = Record::alone(2, 2);
        let stranger = identity(2, Some(other.clone())).hello(1, Purpose::Messages);
        assert_eq!(one.welcome(&stranger, String::new()).excluded, 0);
        assert_eq!(said(&former, &other), None, "it is of another cluster");
    }
}
