//! From a data directory to a driver and a log writer that are ready to run.

use std::fmt;

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};
use tokio::sync::mpsc;

use super::{Driver, LOG_MESSAGES_MAX, ReplicationConfig};
use crate::electorate::Electorate;
use crate::event::Known;
use crate::formation::{Member, Record, removed};
use crate::node::NodeStart;
use crate::ports::Disk;
use crate::roster::{Goal, Roster};
use crate::storage::{
    self, Barred, Copies, Damage, HardState, LogDone, LogEntry, LogRequest, LogStore, Membership,
    NodeMeta, Recovered, Rejoin, SnapshotMeta, SnapshotWorker, StoreError, WorkerLink, write_loop,
};

/// Why a node can't start. Displayed as a sentence for people.
#[derive(Debug)]
pub enum OpenError {
    /// The data directory.
    Store(StoreError),
    /// The data directory belongs to somebody else.
    Mismatch(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error @ StoreError::Damaged { .. }) => write!(
                f,
                "{error}. This node does not start, so that it can't serve or vote on less than it promised; no file was changed. \
                 If this is one of several nodes, the others hold the data: replace this node by a new one with an empty \
                 directory (steadfast cluster replace). If it is alone, restore a backup of the directory."
            ),
            Self::Store(error) => error.fmt(f),
            Self::Mismatch(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for OpenError {}

/// A recovered data directory.
pub struct Opened<D: Disk> {
    config: ReplicationConfig,
    store: LogStore<D>,
    meta: NodeMeta,
    hard_state: HardState,
    snapshot: Option<(SnapshotMeta, Vec<Bytes>)>,
    entries: Vec<LogEntry>,
}

/// The log writer, to be run wherever `fdatasync` may block.
pub struct Writer<D: Disk> {
    store: LogStore<D>,
    worker: WorkerLink<D::File>,
    requests: mpsc::Receiver<LogRequest>,
    done: mpsc::Sender<LogDone>,
}

/// Recovers a data directory and draws a new incarnation, synced before it is used.
///
/// # Errors
/// See `OpenError`.
pub async fn open<D: Disk>(config: ReplicationConfig, disk: D) -> Result<Opened<D>, OpenError> {
    // Before anything is changed, as the message says.
    let mut log = config.log;
    if let Some(meta) = storage::identity(&disk).map_err(refused)? {
        check_owner(&config, &meta).map_err(OpenError::Mismatch)?;
        log.copies = copies(&config, &meta);
        log.damage = damage(&meta);
    }
    let drawn = disk.draw_id();
    let (mut store, mut recovered) = storage::open(disk, log).await.map_err(refused)?;
    if is_planted(Canary::RecoverySkipped) {
        recovered = Recovered { meta: recovered.meta, ..Recovered::default() };
    }
    recovered.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let mut meta = if let Some(meta) = recovered.meta {
        meta
    } else {
        // Whoever knows it can speak in this node's name, so it must not follow from what clients are told: the cluster's id
        // tells the seed.
        let from_seed =
            || (u128::from(config.seed) << 64) | u128::from(config.seed.rotate_left(17) ^ 0xA5A5);
        let storage_id = drawn.unwrap_or_else(from_seed);
        NodeMeta { node_id: config.node_id, storage_id: storage_id.max(1), ..NodeMeta::default() }
    };
    let (is_new, kept) = (meta.incarnation == 0, is_planted(Canary::IncarnationKept));
    if is_new || !kept {
        meta.incarnation = next_incarnation(meta.incarnation, config.seed);
    }
    if config.members.len() <= 1 && !config.joins && meta.formation.is_empty() {
        let record = Record::alone(meta.node_id, meta.storage_id);
        meta.formation = record.encode();
        let founders = founders(&record, &config.members, &Roster::default());
        (meta.roster, meta.electorate) = (founders.roster.encode(), Electorate::of(&founders));
    }
    if is_new || !is_planted(Canary::IncarnationNotSaved) {
        store.save_meta(meta.clone()).await.map_err(refused)?;
    }
    store.keep_reserve().await.map_err(refused)?;
    let (hard_state, snapshot, entries) =
        (recovered.hard_state, recovered.snapshot, recovered.entries);
    Ok(Opened { config, store, meta, hard_state, snapshot, entries })
}

/// The data directory can't be used.
fn refused(error: StoreError) -> OpenError {
    mark::reached(match &error {
        StoreError::Damaged { .. } => Mark::StartRefusedDamaged,
        StoreError::Io { .. } => Mark::StartRefusedByDisk,
        StoreError::Copied { .. } => Mark::StartRefusedCopy,
    });
    OpenError::Store(error)
}

/// What a node promised to others holds for it, not for a copy of its directory; a node alone promised nothing to anybody but its clients,
/// who restore a backup because they want it back as it was.
fn copies(config: &ReplicationConfig, meta: &NodeMeta) -> Copies {
    let is_one_of_several = roster_of(meta).ids().len() > 1;
    let is_refused = is_one_of_several && !config.adopt_copy && !is_planted(Canary::CopyTaken);
    if is_refused { Copies::Refused } else { Copies::Taken }
}

/// The data of one of three voters or more is with the others, who can do without it until it is made good. Of two the other could not.
pub(super) fn damage(meta: &NodeMeta) -> Damage {
    let is_with_others = meta.electorate.can_spare_one() || meta.rejoin != Rejoin::Needless;
    if is_with_others { Damage::SetAside } else { Damage::Refused }
}

/// What is left of what a node knew that has lost its log; none if it has not.
pub(super) fn known(meta: &NodeMeta) -> Option<Known> {
    let roster = roster_of(meta);
    let coming = roster.iter().filter(|(_, listed)| listed.goal != Goal::Learner);
    let coming = coming.map(|(id, _)| id).collect();
    let electorate = meta.electorate.clone();
    (meta.rejoin != Rejoin::Needless).then_some(Known { electorate, coming })
}

/// Starts are counted in the upper half; the lower half is drawn, so that a node started from an older copy of its directory
/// never speaks under a number that it has used.
fn next_incarnation(last: u64, seed: u64) -> u64 {
    (((last >> 32) + 1) << 32) | (seed & 0xFFFF_FFFF)
}

/// What a node says that never starts again.
pub(super) fn barred(node_id: u64, why: Barred) -> String {
    match why {
        Barred::Removed => format!("{}.", removed(node_id)),
        Barred::Outvoted => format!(
            "most voters have another state than node {node_id} after the same entries: its memory or its disk has failed, or one of them \
             runs another build. It has taken itself out of service, and does not start again from this directory, so that no client gets \
             a wrong answer. The other nodes hold all that was acknowledged: look at this machine, then replace this node by a new one \
             with an empty directory (steadfast cluster replace)."
        ),
    }
}

/// Whether the flags fit what the data directory says.
fn check_owner(config: &ReplicationConfig, meta: &NodeMeta) -> Result<(), String> {
    let unchanged = "Nothing was changed.";
    if meta.node_id != config.node_id {
        return Err(format!(
            "this data directory belongs to node {}, but this is node {}. {unchanged} Check --node-id and --dir.",
            meta.node_id, config.node_id
        ));
    }
    if Record::decode(&meta.formation).is_none() {
        return Ok(());
    }
    let roster = roster_of(meta);
    if let Some(why) = meta.barred {
        return Err(barred(meta.node_id, why));
    }
    let others = |ids: Vec<u64>| ids.into_iter().filter(|id| *id != meta.node_id);
    let mut named: Vec<u64> =
        others(config.members.iter().map(|member| member.id).collect()).collect();
    named.sort_unstable();
    let known: Vec<u64> = others(roster.ids()).collect();
    // Once members have changed, the flags say where they were in the beginning at the most; the log knows who they are.
    let changed = roster.version() > 0 && !config.members.is_empty();
    if named != known && !changed && !named.iter().any(|id| known.contains(id)) {
        let with_own = |ids: &[u64]| {
            let mut ids = [ids, &[meta.node_id]].concat();
            ids.sort_unstable();
            ids
        };
        return Err(format!(
            "this data directory belongs to the cluster of nodes {:?}, but the flags name {:?}. {unchanged} Start with the cluster's own \
             --cluster, or choose another --dir. To let a node on its own grow, start it with a --cluster that names it alone, and add \
             the others with `steadfast cluster add`.",
            with_own(&known),
            with_own(&named)
        ));
    }
    if named != known {
        tracing::warn!(
            "--cluster names the nodes {named:?} besides this one, but the members are {known:?} by what this node knows: these count"
        );
    }
    Ok(())
}

/// The newest roster that is written down with a node's identity.
fn roster_of(meta: &NodeMeta) -> Roster {
    Roster::decode(&meta.roster).unwrap_or_default()
}

/// The members as the cluster was formed.
pub(super) fn founders(record: &Record, members: &[Member], told: &Roster) -> Membership {
    let roster = Roster::founding(record, members, told);
    Membership { roster, ..Membership::of_voters(&record.voters()) }
}

impl<D: Disk> Opened<D> {
    /// This start's incarnation.
    pub fn incarnation(&self) -> u64 {
        self.meta.incarnation
    }

    /// The node's id.
    pub fn node_id(&self) -> u64 {
        self.meta.node_id
    }

    /// The loops to run. The snapshot worker blocks for longer than the log writer, so it wants a thread even where the others share one.
    pub fn into_parts(self) -> (SnapshotWorker<D>, Writer<D>, Driver) {
        let (worker, link) = self.store.worker();
        let (log, requests) = mpsc::channel(LOG_MESSAGES_MAX);
        let (done, log_done) = mpsc::channel(LOG_MESSAGES_MAX);
        let (snapshot, restore) = self.snapshot.unzip();
        let told = roster_of(&self.meta);
        let membership = snapshot.as_ref().map_or_else(
            || {
                let record = Record::decode(&self.meta.formation).unwrap_or_default();
                founders(&record, &self.config.members, &told)
            },
            |meta| meta.membership.clone(),
        );
        let listed = &membership.roster;
        let roster = if listed.is_newer_than(&told) { listed.clone() } else { told };
        let start =
            NodeStart { hard_state: self.hard_state, membership, snapshot, entries: self.entries };
        let (config, meta) = (self.config, self.meta);
        let driver = Driver { config, meta, roster, start, restore, log, log_done };
        (worker, Writer { store: self.store, worker: link, requests, done }, driver)
    }
}

impl<D: Disk> Writer<D> {
    /// Runs until the driver closes it.
    pub async fn run(self) {
        write_loop(self.store, self.worker, self.requests, self.done).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Listed;

    fn meta(voters: &[u64], outgoing: &[u64]) -> NodeMeta {
        let (voters, outgoing) = (voters.to_vec(), outgoing.to_vec());
        let electorate = Electorate { version: 9, voters, outgoing };
        let member = |id: u64| Member { id, host: format!("node-{id}"), port: 7000 };
        let record = Record::alone(1, 5);
        let members: Vec<Member> = (1..=3).map(member).collect();
        let listed = |id| Listed { storage_id: id, ..Listed::default() };
        let news = (1..=3).map(|id| (id, listed(id.into()))).collect();
        let founding = Roster::founding(&record, &members, &Roster::default());
        let roster = founding.after(9, news, &[1, 2, 3]).encode();
        NodeMeta { node_id: 1, roster, electorate, ..NodeMeta::default() }
    }

    /// Whoever is on the way to voting is none of those with whom the data surely is.
    #[test]
    fn damage_is_set_aside_where_the_others_can_make_it_good() {
        for (voters, outgoing, damaged) in [
            (&[1, 2, 3][..], &[][..], Damage::SetAside),
            (&[1], &[], Damage::Refused),
            (&[1, 2], &[], Damage::Refused),
            (&[1, 2, 3], &[1, 2], Damage::Refused),
            (&[1, 2, 4], &[1, 2, 3], Damage::SetAside),
            (&[], &[], Damage::Refused),
        ] {
            assert_eq!(damage(&meta(voters, outgoing)), damaged, "{voters:?} {outgoing:?}");
        }
        let meta = NodeMeta { rejoin: Rejoin::UnderWay, ..meta(&[1, 2], &[]) };
        let known = known(&meta).expect("its log is lost");
        assert_eq!((known.electorate, known.coming), (meta.electorate, [1, 2, 3].into()));
    }
}
