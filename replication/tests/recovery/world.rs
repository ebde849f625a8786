//! A log writer on a disk in memory, and a model of what it was told: which states of the log may be found after a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use steadfast_replication::electorate::Electorate;
use steadfast_replication::storage::memory::MemoryDisk;
use steadfast_replication::storage::{
    Copies, Damage, Fsync, HardState, LogConfig, LogDone, LogEntry, LogRequest, Membership,
    NodeMeta, PIECES_MAX, Piece, Recovered, Rejoin, SnapshotMeta, StoreError, open, write_loop,
};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// Segments so small that every history rolls.
pub(crate) const SMALL: LogConfig = LogConfig {
    segment_bytes: 2048,
    fsync: Fsync::Always,
    reserve_bytes: 0,
    copies: Copies::Taken,
    damage: Damage::Refused,
    scrub_pause: Duration::from_secs(600),
};

/// Runs a test on one thread with a clock that only moves while nothing else can.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("no resources of the system are needed");
    LocalSet::new().block_on(&runtime, test)
}

/// Draws without end from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Draw(pub u64);

impl Draw {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// What a log holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LogState {
    pub(crate) hard_state: HardState,
    /// Index and term of the snapshot that was installed last: entries up to there are not known.
    pub(crate) base: (u64, u64),
    pub(crate) entries: Vec<LogEntry>,
}

impl LogState {
    pub(crate) fn last(&self) -> (u64, u64) {
        self.entries.last().map_or(self.base, |entry| (entry.index, entry.term))
    }

    /// The term of an entry that is known.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        let entry = self.entries.iter().find(|entry| entry.index == index);
        entry.map(|entry| entry.term).or_else(|| (index == self.base.0).then_some(self.base.1))
    }

    fn apply(&mut self, entries: &[LogEntry], hard_state: Option<HardState>) {
        if let Some(first) = entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
        }
        self.entries.extend_from_slice(entries);
        self.hard_state = hard_state.unwrap_or(self.hard_state);
    }

    /// Whether this is what was recovered: the same history, told from whichever snapshot. The commit index is a hint.
    pub(crate) fn is(&self, recovered: &Recovered) -> bool {
        let snapshot = recovered.snapshot.as_ref().map_or((0, 0), |(m, _)| (m.index, m.term));
        let expected = self.entries.iter().filter(|entry| entry.index > snapshot.0);
        let known = snapshot.0 >= self.base.0 && self.term_of(snapshot.0) == Some(snapshot.1);
        let hard_state = recovered.hard_state;
        known
            && expected.eq(&recovered.entries)
            && (hard_state.term, hard_state.vote) == (self.hard_state.term, self.hard_state.vote)
    }
}

pub(crate) fn entry(index: u64, term: u64, bytes: usize) -> LogEntry {
    let seed = (index * 31 + term * 7) as u8 | 1;
    LogEntry { index, term, kind: 0, payload: Bytes::from(vec![seed; bytes]) }
}

/// The state that a snapshot at `index` stands for.
pub(crate) fn state_bytes(index: u64, term: u64) -> Vec<Bytes> {
    (0..3).map(|chunk| Bytes::from(vec![(index + term + chunk) as u8; 300])).collect()
}

/// The same as an encoder hands it over.
pub(crate) fn state_pieces(index: u64, term: u64) -> mpsc::Receiver<Piece> {
    let chunks = state_bytes(index, term);
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let count = chunks.len();
    for (number, bytes) in (1..).zip(chunks) {
        let piece = Piece { bytes, is_last: number == count };
        pieces.try_send(piece).expect("there is room for all");
    }
    received
}

pub(crate) fn snapshot_meta(index: u64, term: u64) -> SnapshotMeta {
    let chunks = state_bytes(index, term);
    let mut hasher = crc32fast::Hasher::new();
    chunks.iter().for_each(|chunk| hasher.update(chunk));
    SnapshotMeta {
        index,
        term,
        membership: Membership::of_voters(&[1, 2, 3]),
        bytes: 900,
        checksum: hasher.finalize(),
    }
}

/// Something to do to a log.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Append so many entries of so many bytes.
    Append { count: u64, bytes: usize },
    /// A new term: a vote, and entries that replace so many uncommitted ones.
    NewTerm { replaced: u64 },
    /// Take everything as committed and save a snapshot so many entries back.
    Snapshot { back: u64 },
    /// A leader's snapshot so many entries ahead of the end, or over uncommitted entries that contradict it.
    Install { ahead: u64, contradicting: bool },
    /// Replace the identity.
    Meta,
    /// Nothing for a while.
    Rest,
}

/// A running log and its model.
pub(crate) struct World {
    pub(crate) disk: MemoryDisk,
    requests: mpsc::Sender<LogRequest>,
    done: mpsc::Receiver<LogDone>,
    number: u64,
    /// States after each request, from the one it began with.
    pub(crate) states: Vec<LogState>,
    /// Which of them was reported, and which is durable in any mode.
    pub(crate) acked: usize,
    pub(crate) durable: usize,
    committed: u64,
    incarnation: u64,
    /// What the log said when it gave up.
    pub(crate) fatal: Option<String>,
    pub(crate) snapshots: u64,
    /// How often there was no room, and room again.
    pub(crate) full: u64,
    pub(crate) returned: u64,
}

pub(crate) fn meta(incarnation: u64) -> NodeMeta {
    let (formation, roster) = (b"formed".to_vec(), b"members".to_vec());
    NodeMeta {
        node_id: 1,
        storage_id: 0xABCD,
        incarnation,
        formation,
        electorate: Electorate::default(),
        roster,
        barred: None,
        rejoin: Rejoin::Needless,
    }
}

impl World {
    /// Opens the disk as a node does at its start.
    pub(crate) async fn start(
        disk: MemoryDisk,
        config: LogConfig,
    ) -> Result<(Self, Recovered), StoreError> {
        let (mut store, recovered) = open(disk.clone(), config).await?;
        let incarnation = recovered.meta.as_ref().map_or(0, |meta| meta.incarnation) + 1;
        store.save_meta(meta(incarnation)).await?;
        let (requests, receiver) = mpsc::channel(1024);
        let (sender, done) = mpsc::channel(1024);
        let (worker, link) = store.worker();
        tokio::task::spawn_local(worker.run());
        tokio::task::spawn_local(write_loop(store, link, receiver, sender));
        let base = recovered.snapshot.as_ref().map_or((0, 0), |(m, _)| (m.index, m.term));
        let state =
            LogState { hard_state: recovered.hard_state, base, entries: recovered.entries.clone() };
        let world = Self {
            disk,
            requests,
            done,
            number: 0,
            states: vec![state],
            acked: 0,
            durable: 0,
            committed: base.0.max(recovered.hard_state.commit),
            incarnation,
            fatal: None,
            snapshots: 0,
            full: 0,
            returned: 0,
        };
        Ok((world, recovered))
    }

    pub(crate) fn now(&self) -> &LogState {
        self.states.last().expect("there is always one")
    }

    fn then(&mut self, change: impl FnOnce(&mut LogState)) {
        let mut next = self.now().clone();
        change(&mut next);
        self.states.push(next);
    }

    pub(crate) async fn ask(&mut self, request: LogRequest) {
        // An ended writer shows up as `fatal` when its reports are read.
        let _ = self.requests.send(request).await;
    }

    /// Hands over an append without waiting for it.
    pub(crate) async fn append(&mut self, entries: Vec<LogEntry>, hard_state: Option<HardState>) {
        self.then(|state| state.apply(&entries, hard_state));
        self.number += 1;
        let number = self.number;
        self.ask(LogRequest::Append { number, entries, hard_state, vital: false }).await;
    }

    /// The next report; none when the log has ended.
    pub(crate) async fn report(&mut self) -> Option<LogDone> {
        let report = self.done.recv().await;
        match &report {
            Some(LogDone::Fatal(text)) => self.fatal = Some(text.clone()),
            Some(LogDone::Appended { number } | LogDone::Installed { number, .. })
                if *number == self.number =>
            {
                self.acked = self.states.len() - 1;
            }
            Some(LogDone::SnapshotSaved { .. }) => self.snapshots += 1,
            Some(LogDone::NoSpace) => {
                // What was acknowledged is there, and nothing half-written counts.
                self.full += 1;
                let recovered = look(&self.disk, SMALL).await.expect("a full disk is not damaged");
                self.check(&recovered, self.acked);
                tokio::time::sleep(Duration::from_secs(5)).await;
                self.disk.set_free_bytes(None);
            }
            Some(LogDone::SpaceReturned) => self.returned += 1,
            _ => {}
        }
        report
    }

    /// Waits until the last request was reported; false if the log has ended.
    pub(crate) async fn settle(&mut self) -> bool {
        while self.acked + 1 < self.states.len() {
            if self.report().await.is_none() {
                return false;
            }
        }
        true
    }

    /// Does one thing and waits for its report; false if the log has ended.
    pub(crate) async fn act(&mut self, op: &Op) -> bool {
        let (last, term) = self.now().last();
        match *op {
            Op::Append { count, bytes } => {
                let term = self.now().hard_state.term.max(1);
                let hard_state = (term != self.now().hard_state.term)
                    .then_some(HardState { term, ..self.now().hard_state });
                let vital = hard_state.is_some();
                let entries = (last + 1..=last + count).map(|index| entry(index, term, bytes));
                self.append(entries.collect(), hard_state).await;
                self.settle_as(vital).await
            }
            Op::NewTerm { replaced } => {
                let hard_state = HardState {
                    term: self.now().hard_state.term + 1,
                    vote: 2,
                    commit: self.committed,
                };
                let first = (last + 1).saturating_sub(replaced).max(self.committed + 1);
                let entries = (first..first + 2).map(|index| entry(index, hard_state.term, 40));
                self.append(entries.collect(), Some(hard_state)).await;
                self.settle_as(true).await
            }
            Op::Snapshot { back } => {
                self.committed = last;
                let index = last.saturating_sub(back).max(self.now().base.0);
                let Some(at) = self.now().term_of(index).filter(|_| index > 0) else { return true };
                let mut meta = snapshot_meta(index, at);
                (meta.bytes, meta.checksum) = (0, 0); // the log fills them in
                let compact_to = index.saturating_sub(2);
                let pieces = state_pieces(index, at);
                self.ask(LogRequest::SaveSnapshot { meta, pieces, compact_to }).await;
                let ends = |done: &LogDone| {
                    matches!(done, LogDone::SnapshotSaved { .. } | LogDone::SnapshotFailed { .. })
                };
                self.wait_for(ends).await
            }
            Op::Install { ahead, contradicting } => {
                let known = if contradicting { self.committed } else { last };
                let index = known + 1 + ahead;
                let hard_state = HardState {
                    term: self.now().hard_state.term.max(term) + 1,
                    vote: 0,
                    commit: index,
                };
                let meta = snapshot_meta(index, hard_state.term);
                self.committed = index;
                self.then(|state| {
                    // What a crash in the middle may leave: the snapshot, and not yet the hard state.
                    *state = LogState { base: (index, meta.term), entries: Vec::new(), ..*state };
                    state.hard_state.term = hard_state.term;
                    state.hard_state.vote = 0;
                });
                self.number += 1;
                let chunks = state_bytes(index, meta.term);
                let number = self.number;
                let hard_state = Some(hard_state);
                self.ask(LogRequest::Install { number, meta, chunks, hard_state }).await;
                self.settle_as(true).await
            }
            Op::Meta => {
                self.incarnation += 1;
                self.ask(LogRequest::SaveMeta { meta: meta(self.incarnation), vital: true }).await;
                self.wait_for(|done| matches!(done, LogDone::MetaSaved)).await
            }
            Op::Rest => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                self.fatal.is_none()
            }
        }
    }

    async fn settle_as(&mut self, vital: bool) -> bool {
        let settled = self.settle().await;
        if settled && vital {
            self.durable = self.acked;
        }
        settled
    }

    async fn wait_for(&mut self, is_it: impl Fn(&LogDone) -> bool) -> bool {
        while let Some(done) = self.report().await {
            if is_it(&done) {
                return true;
            }
        }
        false
    }

    /// Closes the log in order.
    pub(crate) async fn close(mut self) -> Self {
        self.ask(LogRequest::Close).await;
        while self.report().await.is_some() {}
        self
    }

    /// Which state was found, if it is one that may be found: not older than `at_least`, and whole.
    #[track_caller]
    pub(crate) fn check(&self, recovered: &Recovered, at_least: usize) -> usize {
        let allowed = self.states.get(at_least..).expect("it was one of them");
        let found = allowed.iter().rposition(|state| state.is(recovered));
        if let Some((meta, chunks)) = &recovered.snapshot {
            let expected = state_bytes(meta.index, meta.term).concat();
            assert_eq!(chunks.concat(), expected, "another state than was saved");
        }
        match found {
            Some(at) => at_least + at,
            None => panic!(
                "recovered {:?} {:?} {:?}\nbut only these may be: {allowed:#?}",
                recovered.hard_state,
                recovered.snapshot.as_ref().map(|(meta, _)| meta),
                recovered.entries.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>(),
            ),
        }
    }
}

/// Opens the disk to see what it holds.
pub(crate) async fn look(disk: &MemoryDisk, config: LogConfig) -> Result<Recovered, StoreError> {
    open(MemoryDisk::with_files(disk.files()), config).await.map(|(_, recovered)| recovered)
}

pub(crate) fn from_files(files: BTreeMap<String, Vec<u8>>) -> MemoryDisk {
    MemoryDisk::with_files(files)
}
