//! Three nodes without I/O over a seeded network that loses, repeats, delays and reorders, on disks that finish late, have no
//! room at times and lose at a crash what they had not finished, with applying that lags, several inputs a turn, and leaders
//! that hand over. Thousands of turns a seed, no runtime: what is wrong with the node itself shows here first.

mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use steadfast_core::entry::{self, Part};
use steadfast_core::stamp::UnixMillis;
use steadfast_replication::event::{Input, Output};
use steadfast_replication::gateway::{Committed, Role};
use steadfast_replication::node::{Node, NodeConfig, NodeStart};
use steadfast_replication::storage::{HardState, LogEntry, Membership, SnapshotMeta};
use steadfast_replication::wire::{self, RaftMessage};
use world::{Machine, node_config, turn};

const VOTERS: [u64; 3] = [1, 2, 3];
const STEPS: u64 = 6000;

/// A draw for each number (SplitMix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// What a disk holds for good.
#[derive(Default, Clone)]
struct Disk {
    hard_state: HardState,
    snapshot: Option<(SnapshotMeta, Vec<Bytes>)>,
    entries: Vec<LogEntry>,
}

/// What it was asked to do, in order; a crash forgets what is not done.
enum Request {
    Append(u64, Vec<LogEntry>, Option<HardState>),
    Install(u64, SnapshotMeta, Vec<Bytes>, Option<HardState>),
    Save(SnapshotMeta, Vec<Bytes>, u64),
}

/// What the event loop was handed.
enum ToApply {
    Entries(Vec<Committed>),
    Restore(Vec<Bytes>),
    Snapshot,
}

struct Process {
    node: Node,
    machine: Machine,
    requests: VecDeque<Request>,
    to_apply: VecDeque<ToApply>,
    /// The state that is being saved.
    encoded: Option<Vec<Bytes>>,
    incarnation: u64,
    submitted: u64,
    answered: Vec<(u64, u64)>,
    round: u64,
    /// Inputs were stepped and their turn has not ended.
    in_turn: bool,
    /// Its disk has no room.
    full: bool,
    /// Its lease and commit index as they were published at the end of its last turn.
    published: (Option<Duration>, u64),
}

struct World {
    draw: Draw,
    /// Node 1 alone ever crashes, and its wall clock is an hour fast.
    fast_clock: bool,
    /// Log time minus real time at the first stamp.
    log_time: Option<u64>,
    now: u64,
    disks: BTreeMap<u64, Disk>,
    starts: BTreeMap<u64, u64>,
    processes: BTreeMap<u64, Process>,
    /// Inputs on their way, by receiver.
    network: Vec<(u64, Input)>,
    /// The log, as whoever applied it first saw it.
    log: BTreeMap<u64, (u64, Bytes)>,
    leaders: BTreeMap<u64, BTreeSet<u64>>,
    /// Parcels that were passed: they must stay so.
    acknowledged: BTreeSet<(u64, u64, u64)>,
    crashes: u64,
    installs: u64,
    /// Entries sent to this node are lost, and nothing else.
    starved: Option<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            draw: Draw(seed),
            fast_clock: seed % 4 == 1,
            log_time: None,
            now: 1000,
            disks: VOTERS.into_iter().map(|id| (id, Disk::default())).collect(),
            starts: BTreeMap::new(),
            processes: BTreeMap::new(),
            network: Vec::new(),
            log: BTreeMap::new(),
            leaders: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            crashes: 0,
            installs: 0,
            starved: None,
        };
        VOTERS.into_iter().for_each(|id| world.start(id));
        world
    }

    fn start(&mut self, id: u64) {
        let disk = self.disks.get(&id).expect("it has one").clone();
        let incarnation = self.starts.entry(id).and_modify(|count| *count += 1).or_insert(1);
        let config = NodeConfig {
            incarnation: *incarnation,
            seed: id * 1000 + *incarnation,
            ..node_config(id)
        };
        let (snapshot, chunks) = disk.snapshot.unzip();
        let membership = Membership::of_voters(&VOTERS);
        let start =
            NodeStart { hard_state: disk.hard_state, membership, snapshot, entries: disk.entries };
        let process = Process {
            node: Node::new(config, start).expect("the disk holds what was written"),
            machine: Machine::default(),
            requests: VecDeque::new(),
            to_apply: chunks.map(ToApply::Restore).into_iter().collect(),
            encoded: None,
            incarnation: *incarnation,
            submitted: 0,
            answered: Vec::new(),
            round: 0,
            in_turn: false,
            full: false,
            published: (None, 0),
        };
        self.processes.insert(id, process);
    }

    fn input(&mut self, id: u64, input: Input) {
        let (now, wall) = (Duration::from_millis(self.now), self.wall(id));
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.node.step(now, wall, input);
        process.in_turn = true;
        if self.draw.below(3) > 0 {
            self.end_turn(id);
        }
    }

    fn end_turn(&mut self, id: u64) {
        let (now, wall) = (Duration::from_millis(self.now), self.wall(id));
        let Some(process) = self.processes.get_mut(&id).filter(|process| process.in_turn) else {
            return;
        };
        process.in_turn = false;
        process.node.turn(now, wall);
        process.published = (process.node.lease_until(), process.node.commit_index());
        self.carry_out(id);
    }

    fn wall(&self, id: u64) -> u64 {
        self.now + if self.fast_clock && id == 1 { 3_600_000 } else { 0 }
    }

    /// Log time goes on at the pace of real time, whoever leads: some member always knew it. It is seen when it is applied.
    fn watch_stamp(&mut self, payload: &[u8]) {
        let Ok((stamp, _)) = entry::decode_entry(payload) else { return };
        let ahead = stamp.time.0.saturating_sub(self.now);
        let first = *self.log_time.get_or_insert(ahead);
        assert!(
            !self.fast_clock || ahead <= first + STEPS, // the first may have been applied late
            "log time jumped by {} ms",
            ahead - first
        );
    }

    /// The disk of a node has no room, or has room again.
    fn set_full(&mut self, id: u64, full: bool) {
        if let Some(process) = self.processes.get_mut(&id).filter(|process| process.full != full) {
            process.full = full;
            self.input(id, Input::NoSpace(full));
        }
    }

    fn carry_out(&mut self, id: u64) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.node.role() == Role::Leader {
            let of_term = self.leaders.entry(process.node.term()).or_default();
            of_term.insert(id);
            assert_eq!(of_term.len(), 1, "two led in term {}", process.node.term());
        }
        while let Some(output) = process.node.poll() {
            match output {
                Output::Persist { number, entries, hard_state, .. } => {
                    process.requests.push_back(Request::Append(number, entries, hard_state));
                }
                Output::Install { number, meta, chunks, hard_state } => {
                    process.requests.push_back(Request::Install(number, meta, chunks, hard_state));
                }
                Output::SaveSnapshot { meta, compact_to } => {
                    let chunks = process.encoded.take().expect("it was encoded");
                    process.requests.push_back(Request::Save(meta, chunks, compact_to));
                }
                Output::Send { message, word } => {
                    assert_eq!(message.from, id, "nobody speaks in another's name");
                    self.network.push((message.to, Input::Peer { message, word }));
                }
                Output::Forward { to, ops } => {
                    self.network.push((to, Input::Forwarded { from: id, ops }));
                }
                Output::SendSnapshot { mut message } => {
                    let stored = self.disks.get(&id).and_then(|disk| disk.snapshot.clone());
                    let (meta, chunks) = stored.expect("raft sends what was saved");
                    let metadata = wire::SnapshotMetadata::from_meta(&meta);
                    let announced = message.snapshot.as_mut().expect("it announces one");
                    announced.metadata = Some(metadata);
                    let to = message.to;
                    self.network.push((to, Input::SnapshotReceived { message, meta, chunks }));
                }
                Output::Apply { entries } => process.to_apply.push_back(ToApply::Entries(entries)),
                Output::ReadIndex { round, index } => process.answered.push((round, index)),
                Output::TakeSnapshot => process.to_apply.push_back(ToApply::Snapshot),
                Output::AbandonSnapshot => process.encoded = None,
                Output::ChangeRefused { ticket, why } => panic!("nobody asked for {ticket}: {why}"),
                Output::Tell { .. }
                | Output::AskRejoin
                | Output::TellRejoin { .. }
                | Output::Rejoined => {
                    unreachable!("no state was compared, and no log lost")
                }
                Output::Outvoted(text) | Output::LogLost(text) | Output::Fatal(text) => {
                    panic!("node {id}: {text}")
                }
            }
        }
    }

    /// The disk of a node finishes its oldest request.
    fn finish_request(&mut self, id: u64) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.full && !matches!(process.requests.front(), Some(Request::Save(..))) {
            return;
        }
        let failed = process.full || self.starved.is_none() && self.draw.below(10) == 0;
        let Some(request) = process.requests.pop_front() else { return };
        let disk = self.disks.get_mut(&id).expect("it has one");
        match request {
            Request::Append(number, entries, hard_state) => {
                if let Some(first) = entries.first() {
                    disk.entries.retain(|entry| entry.index < first.index);
                }
                disk.entries.extend(entries);
                disk.hard_state = hard_state.unwrap_or(disk.hard_state);
                self.input(id, Input::Persisted { number });
            }
            Request::Install(number, meta, chunks, hard_state) => {
                disk.entries.clear();
                disk.snapshot = Some((meta, chunks.clone()));
                disk.hard_state = hard_state.unwrap_or(disk.hard_state);
                self.installs += 1;
                process.to_apply.push_back(ToApply::Restore(chunks));
                self.input(id, Input::Persisted { number });
            }
            Request::Save(..) if failed => self.input(id, Input::SnapshotFailed),
            Request::Save(meta, chunks, compact_to) => {
                // The log on disk keeps what is behind the snapshot; a longer tail would be skipped at the next start.
                disk.entries.retain(|entry| entry.index > meta.index);
                disk.snapshot = Some((meta.clone(), chunks));
                self.input(id, Input::SnapshotSaved { meta, compacted_to: compact_to });
            }
        }
    }

    /// The event loop of a node takes its next messages, and says then how far it is.
    fn apply(&mut self, id: u64) {
        for _ in 0..=self.draw.below(3) {
            self.take_message(id);
        }
        if self.draw.below(4) == 0 {
            return; // its turn is long: other inputs come in between
        }
        let Some(process) = self.processes.get(&id) else { return };
        let own = process.machine.gateways.get(&id).filter(|(inc, _)| *inc == process.incarnation);
        let (passed, registered) = (own.map_or(0, |(_, passed)| *passed), own.is_some());
        for number in 1..=passed {
            self.acknowledged.insert((id, process.incarnation, number));
        }
        let index = process.machine.index;
        self.input(id, Input::Applied { index, passed, registered });
    }

    fn take_message(&mut self, id: u64) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(message) = process.to_apply.pop_front() else { return };
        let mut news = Vec::new();
        match message {
            ToApply::Entries(entries) => {
                for entry in entries {
                    process.machine.apply(entry.index, &entry.payload);
                    if !self.log.contains_key(&entry.index) {
                        news.push(entry.payload.clone());
                    }
                    let seen = (entry.term, entry.payload.clone());
                    let known = self.log.entry(entry.index).or_insert_with(|| seen.clone());
                    assert_eq!(*known, seen, "node {id}: one log for all, at {}", entry.index);
                }
            }
            ToApply::Restore(chunks) => {
                process.machine = Machine::decode(&chunks);
                let gateways = process.machine.gateways.iter();
                let gateways =
                    gateways.map(|(node, (inc, passed))| (*node, *inc, *passed)).collect();
                let index = process.machine.index;
                self.input(id, Input::Restored { index, stamp_ms: 0, level: 1, gateways });
            }
            ToApply::Snapshot => {
                process.encoded = Some(vec![process.machine.encode()]);
                let index = process.machine.index;
                self.input(id, Input::SnapshotBegun { index });
            }
        }
        news.iter().for_each(|payload| self.watch_stamp(payload));
    }

    fn submit(&mut self, id: u64) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.submitted += 1;
        let (sequence, incarnation) = (process.submitted, process.incarnation);
        let mut batch = Vec::new();
        let value = [b'x'; 60];
        entry::push_command(&mut batch, 1, UnixMillis(u64::MAX), 0, &[b"SET", b"k", &value]);
        let op = entry::encode_parcel(id, incarnation, sequence, Part::Whole, &batch);
        self.input(id, Input::Parcel { sequence, op: op.into() });
    }

    /// A read: what was applied anywhere when it began must be covered by its index.
    fn read(&mut self, id: u64) -> Option<(u64, u64, u64)> {
        let applied = self.processes.values().map(|process| process.machine.index).max()?;
        let process = self.processes.get_mut(&id)?;
        process.round += 1;
        let round = process.round;
        self.input(id, Input::Read { round });
        Some((id, round, applied))
    }

    /// Under a lease that holds, the commit index covers what was applied anywhere. Answers how many leases hold.
    fn check_leases(&self, seed: u64) -> u64 {
        let now = Duration::from_millis(self.now);
        let applied = self.processes.values().map(|process| process.machine.index).max();
        let mut holding = 0;
        for (id, process) in &self.processes {
            let (until, index) = process.published;
            if until.is_some_and(|until| now < until) {
                assert!(Some(index) >= applied, "seed {seed}: the lease of node {id} is void");
                holding += 1;
            }
        }
        holding
    }

    fn deliver(&mut self, lossy: bool) {
        if self.network.is_empty() {
            return;
        }
        let at = self.draw.below(self.network.len().min(40) as u64) as usize;
        let (to, input) = self.network.swap_remove(at);
        let fate = self.draw.below(100);
        let lost = lossy && fate < 6;
        let again = match &input {
            Input::Peer { message, word } => {
                Some(Input::Peer { message: message.clone(), word: *word })
            }
            Input::Forwarded { from, ops } => {
                Some(Input::Forwarded { from: *from, ops: ops.clone() })
            }
            _ => None,
        };
        self.network.extend(again.filter(|_| (6..10).contains(&fate)).map(|input| (to, input)));
        self.arrive(to, input, lost);
    }

    /// The end of a message's way. Whoever sent a snapshot learns in any case what became of it.
    fn arrive(&mut self, to: u64, input: Input, lost: bool) {
        let sender = match &input {
            Input::SnapshotReceived { message, .. } => Some(message.from),
            _ => None,
        };
        let is_append = matches!(&input, Input::Peer { message, .. } if message.msg_type == APPEND);
        let starves = is_append && self.starved == Some(to);
        if !lost && !starves {
            self.input(to, input);
        }
        if let Some(sender) = sender {
            self.input(sender, Input::SnapshotSent { to, arrived: !lost });
        }
    }

    /// Everybody gets on; a tick each twenty rounds.
    fn round(&mut self, round: u64) {
        self.now += 1;
        if round.is_multiple_of(20) {
            VOTERS.into_iter().for_each(|id| self.input(id, Input::Tick));
        }
        for _ in 0..self.network.len() {
            self.deliver(false);
        }
        for id in VOTERS {
            self.finish_request(id);
            self.apply(id);
            self.end_turn(id);
        }
    }

    fn leader(&self) -> Option<u64> {
        let leads = |(id, process): (&u64, &Process)| {
            (process.node.role() == Role::Leader).then_some((process.node.term(), *id))
        };
        self.processes.iter().filter_map(leads).max().map(|(_, id)| id)
    }

    fn crash(&mut self, id: u64) {
        self.crashes += 1;
        self.processes.remove(&id);
        let (lost, rest) =
            std::mem::take(&mut self.network).into_iter().partition(|(to, _)| *to == id);
        self.network = rest;
        let lost: Vec<(u64, Input)> = lost;
        lost.into_iter().for_each(|(to, input)| self.arrive(to, input, true));
        self.start(id);
    }
}

/// Runs one seed; answers (entries applied, crashes, snapshots installed, steps under a lease).
fn run_seed(seed: u64) -> (u64, u64, u64, u64) {
    let mut world = World::new(seed);
    let mut reads: Vec<(u64, u64, u64)> = Vec::new();
    let mut leased = 0;
    let (crash_rate, slow_disk, slow_apply) =
        (world.draw.below(4), 1 + world.draw.below(4), 1 + world.draw.below(4));
    for step in 0..STEPS {
        world.now += 1;
        let calm = step > STEPS * 2 / 3;
        let id = 1 + world.draw.below(3);
        match world.draw.below(100) {
            0..45 => world.deliver(!calm),
            45..55 => world.input(id, Input::Tick),
            55..72 if world.draw.below(slow_disk) == 0 || calm => world.finish_request(id),
            72..89 if world.draw.below(slow_apply) == 0 || calm => world.apply(id),
            89..95 if !calm => world.submit(id),
            95..98 => {
                let busy = reads.iter().any(|(of, _, _)| *of == id);
                reads.extend(if busy { None } else { world.read(id) });
            }
            98 if !calm && world.draw.below(10) < crash_rate => {
                let id = if world.fast_clock { 1 } else { id };
                world.crash(id);
                reads.retain(|(of, _, _)| *of != id);
            }
            99 if !calm => match world.draw.below(6) {
                0..3 => world.set_full(id, world.draw.0.is_multiple_of(4)),
                3 => world.input(id, Input::HandOver { to: None }),
                _ => {}
            },
            _ => {}
        }
        if world.draw.below(4) == 0 {
            world.end_turn(id);
        }
        leased += world.check_leases(seed);
        reads.retain(|(of, round, applied)| {
            let answered = &world.processes.get(of).expect("it runs").answered;
            let answer = answered.iter().find(|(known, _)| known == round);
            if let Some((_, index)) = answer {
                assert!(index >= applied, "seed {seed}: a read of node {of} is behind the past");
            }
            answer.is_none()
        });
    }
    VOTERS.into_iter().for_each(|id| world.set_full(id, false));
    settle(seed, &mut world);
    (world.log.len() as u64, world.crashes, world.installs, leased)
}

/// Without faults all parcels are applied once, everywhere, and what was acknowledged is among them.
fn settle(seed: u64, world: &mut World) {
    for round in 0.. {
        assert!(round < 20_000, "seed {seed}: the nodes never settled");
        world.round(round);
        let processes: Vec<&Process> = world.processes.values().collect();
        let settled = processes.iter().zip(VOTERS).all(|(process, id)| {
            let own = (process.incarnation, process.submitted);
            process.machine.gateways.get(&id) == Some(&own)
        });
        if settled && processes.windows(2).all(|pair| pair[0].machine == pair[1].machine) {
            break;
        }
    }
    let machine = &world.processes.values().next().expect("three").machine;
    let applied: BTreeSet<_> =
        machine.applied.iter().map(|(node, inc, number, _)| (*node, *inc, *number)).collect();
    assert_eq!(applied.len(), machine.applied.len(), "seed {seed}: once each");
    let lost: Vec<_> = world.acknowledged.difference(&applied).collect();
    assert!(lost.is_empty(), "seed {seed}: acknowledged and lost: {lost:?}");
    assert_eq!(machine.bootstraps, 1, "seed {seed}");
}

/// Many seeds: one leader a term, one log, every acknowledged parcel applied once, no read behind the past, and in the end
/// everybody agrees. The seeds as a whole must have seen what they are for.
#[test]
fn three_nodes_agree_whatever_happens() {
    let (mut entries, mut crashes, mut installs, mut leased) = (0, 0, 0, 0);
    for seed in 0..600 {
        let seen = run_seed(seed);
        entries += seen.0;
        crashes += seen.1;
        installs += seen.2;
        leased += seen.3;
    }
    assert!(entries > 2000 && crashes > 100 && installs > 10, "{entries} {crashes} {installs}");
    assert!(leased > 600 * STEPS / 4, "{leased}");
}

/// Disks of both followers stand still for many election timeouts: nothing is committed, and the leader goes on leading.
#[test]
fn slow_disks_elect_nobody() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        settle(seed, &mut world);
        let leader = world.leader().expect("they have settled");
        let term = world.processes[&leader].node.term();
        let followers = || VOTERS.into_iter().filter(|id| *id != leader);
        for id in followers() {
            world.processes.get_mut(&id).expect("it runs").full = true;
        }
        world.submit(leader);
        let rounds = if seed == 0 { 200_000 } else { 3000 }; // more heartbeats than readies that may wait
        for round in 0..rounds {
            world.round(round);
        }
        let waits =
            |id| world.processes[&id].requests.iter().any(|r| matches!(r, Request::Append(..)));
        assert!(followers().all(waits), "seed {seed}: their disks had nothing to do");
        let now = (world.leader(), world.processes[&leader].node.term());
        assert_eq!(now, (Some(leader), term), "seed {seed}");
    }
}

/// A node that learned of its full disk before it led steps aside once that keeps it from writing: the others have room.
#[test]
fn a_leader_without_room_steps_aside() {
    let mut world = World::new(7);
    settle(7, &mut world);
    let before = world.leader().expect("they have settled");
    world.input(if before == 1 { 2 } else { 1 }, Input::NoSpace(true));
    world.input(before, Input::HandOver { to: None });
    let mut rounds = 0..20_000;
    let full = loop {
        world.round(rounds.next().expect("it hands over"));
        if let Some(leader) = world.leader().filter(|leader| *leader != before) {
            break leader;
        }
    };
    world.processes.get_mut(&full).expect("it runs").full = true;
    world.submit(before);
    while world.leader() == Some(full) {
        world.round(rounds.next().expect("it steps aside"));
    }
    world.set_full(full, false);
    settle(7, &mut world);
}

/// A member that is heard of and behind is kept log for, up to four times what makes a snapshot due; beyond that it gets the state.
#[test]
fn a_connected_member_finds_its_log() {
    for seed in 0..20 {
        for (parcels, installs) in [(60, 0), (250, 1)] {
            let mut world = World::new(seed);
            settle(seed, &mut world);
            let (leader, before) = (world.leader().expect("they have settled"), world.installs);
            world.starved = Some(if leader == 1 { 2 } else { 1 });
            for round in 1..=parcels * 20 {
                if round % 20 == 0 {
                    world.submit(leader);
                }
                world.round(round);
            }
            assert_eq!(world.leader(), Some(leader), "heartbeats get through");
            let snapshot = world.processes[&leader].node.snapshot_index();
            assert!(snapshot > 25, "snapshots were taken: {snapshot}");
            world.starved = None;
            settle(seed, &mut world);
            assert_eq!(world.installs - before, installs, "seed {seed}, {parcels} parcels");
        }
    }
}

/// `MsgAppend`, `MsgAppendResponse`, `MsgSnapshot`, `MsgHeartbeat` and its answer of eraftpb.
const APPEND: i32 = 3;
const APPEND_RESPONSE: i32 = 4;
const SNAPSHOT: i32 = 7;
const HEARTBEAT: i32 = 8;
const HEARTBEAT_RESPONSE: i32 = 9;

/// What a node puts out now: numbers to report for a snapshot and for entries, and entries that it confirms.
fn put_out(node: &mut Node) -> (Option<u64>, Option<u64>, Vec<u64>) {
    let (mut installed, mut persisted, mut confirmed) = (None, None, Vec::new());
    while let Some(output) = node.poll() {
        match output {
            Output::Install { number, .. } => installed = Some(number),
            Output::Persist { number, .. } => persisted = Some(number),
            Output::Send { message, .. } if message.msg_type == APPEND_RESPONSE => {
                confirmed.push(message.index);
            }
            _ => {}
        }
    }
    (installed, persisted, confirmed)
}

/// The number to report for what is to be written.
fn to_persist(outputs: &[Output]) -> u64 {
    let numbers = outputs.iter().filter_map(|output| match output {
        Output::Persist { number, .. } | Output::Install { number, .. } => Some(*number),
        _ => None,
    });
    numbers.last().expect("something is to be written")
}

/// A leader's announcement of a snapshot, and what of it each node's input needs.
fn announced(index: u64) -> (RaftMessage, SnapshotMeta) {
    let meta = SnapshotMeta {
        index,
        term: 4,
        membership: Membership::of_voters(&VOTERS),
        bytes: 0,
        checksum: 0,
    };
    let metadata = Some(wire::SnapshotMetadata::from_meta(&meta));
    let snapshot = Some(wire::Snapshot { data: Bytes::new(), metadata });
    (RaftMessage { msg_type: SNAPSHOT, snapshot, ..of_leader() }, meta)
}

/// What all messages of node 2 say, which leads in term 5.
fn of_leader() -> RaftMessage {
    RaftMessage { from: 2, to: 1, term: 5, ..RaftMessage::default() }
}

/// An entry of term 5 behind an entry of another term.
fn appended(index: u64, log_term: u64, data: &[u8]) -> Input {
    let data = Bytes::copy_from_slice(data);
    let entry = wire::Entry { term: 5, index, data, ..wire::Entry::default() };
    let (index, entries) = (index - 1, vec![entry]);
    let message = RaftMessage { msg_type: APPEND, log_term, index, entries, ..of_leader() };
    Input::Peer { message, word: None }
}

/// A snapshot and entries behind it may come in one turn: that the snapshot is durable does not confirm the entries.
#[test]
fn entries_behind_a_snapshot_are_confirmed_when_they_are_durable() {
    let mut world = World::new(1);
    let node = &mut world.processes.get_mut(&1).expect("it runs").node;
    let now = Duration::from_secs(1);
    let (message, meta) = announced(100);
    node.step(now, 1000, Input::SnapshotReceived { message, meta, chunks: Vec::new() });
    node.step(now, 1000, appended(101, 4, b""));
    node.turn(now, 1000);
    let (installed, persisted, _) = put_out(node);
    let (installed, persisted) = (installed.expect("it came"), persisted.expect("they came"));
    node.step(now, 1000, Input::Persisted { number: installed });
    node.turn(now, 1000);
    assert!(put_out(node).2.iter().all(|index| *index <= 100));
    node.step(now, 1000, Input::Persisted { number: persisted });
    node.turn(now, 1000);
    assert!(put_out(node).2.contains(&101));
}

/// Answers to heartbeats wait for their term to be durable, and for nothing else.
#[test]
fn heartbeats_are_answered_in_durable_terms() {
    let mut world = World::new(1);
    let node = &mut world.processes.get_mut(&1).expect("it runs").node;
    let answers = |outputs: &[Output]| {
        let answers = outputs.iter().filter(|output| {
            let Output::Send { message, .. } = output else { return false };
            message.msg_type == HEARTBEAT_RESPONSE
        });
        answers.count()
    };
    let beat = || {
        let message = RaftMessage { msg_type: HEARTBEAT, ..of_leader() };
        Input::Peer { message, word: None }
    };
    let outputs = turn(node, beat());
    assert_eq!(answers(&outputs), 0, "its term is not durable");
    let number = to_persist(&outputs);
    assert_eq!(answers(&turn(node, beat())), 0, "nor now");
    assert_eq!(answers(&turn(node, Input::Persisted { number })), 2);
    to_persist(&turn(node, appended(1, 0, b"")));
    assert_eq!(answers(&turn(node, beat())), 1, "the entry is not durable, the term is");
}

/// Two snapshots may come in one turn, when the first was long under way. The one that raft takes on is installed, with its own state.
#[test]
fn of_two_snapshots_the_newer_is_installed() {
    for order in [[100, 120], [120, 100]] {
        let mut world = World::new(1);
        let node = &mut world.processes.get_mut(&1).expect("it runs").node;
        let now = Duration::from_secs(1);
        for index in order {
            let (message, meta) = announced(index);
            let chunks = vec![Bytes::from(index.to_string())];
            node.step(now, 1000, Input::SnapshotReceived { message, meta, chunks });
        }
        node.turn(now, 1000);
        let installs = std::iter::from_fn(|| node.poll()).filter_map(|output| match output {
            Output::Install { meta, chunks, .. } => Some((meta.index, chunks)),
            _ => None,
        });
        assert_eq!(installs.collect::<Vec<_>>(), [(120, vec![Bytes::from("120")])]);
    }
}

/// An own snapshot may still be on its way to the disk when a leader's newer one is taken on: it does not become the newest again. The log
/// does not reach back to it, and with it the old state would be asked for at once, again and again.
#[test]
fn an_own_snapshot_does_not_replace_a_newer_one() {
    let mut world = World::new(1);
    let node = &mut world.processes.get_mut(&1).expect("it runs").node;
    let is_asked_for =
        |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::TakeSnapshot));
    let mut asked = false;
    for index in 1..=2 {
        let mut input = appended(index, 5 * (index - 1), &[b'x'; 2000]);
        if let Input::Peer { message, .. } = &mut input {
            message.commit = index;
        }
        let outputs = turn(node, input);
        asked |= is_asked_for(&outputs);
        turn(node, Input::Persisted { number: to_persist(&outputs) });
        turn(node, Input::Applied { index, passed: 0, registered: false });
    }
    assert!(asked, "there is log enough for a snapshot");
    let saved = turn(node, Input::SnapshotBegun { index: 1 });
    let own = saved.into_iter().find_map(|output| match output {
        Output::SaveSnapshot { meta, .. } => Some(meta),
        _ => None,
    });
    let (message, meta) = announced(100);
    turn(node, Input::SnapshotReceived { message, meta, chunks: Vec::new() });
    turn(node, appended(101, 4, &[b'x'; 4000]));
    let own = own.expect("the state was encoded");
    let outputs = turn(node, Input::SnapshotSaved { meta: own, compacted_to: 0 });
    assert_eq!(node.snapshot_index(), 100);
    assert!(!is_asked_for(&outputs));
}
