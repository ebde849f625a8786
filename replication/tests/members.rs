//! Members that come and go: whole nodes on a network in memory, and the node alone where a moment has to be met exactly.

mod world;

use std::time::Duration;

use raft::eraftpb::MessageType;

use steadfast_replication::event::{Input, Output};
use steadfast_replication::formation::Member;
use steadfast_replication::gateway::{Goal, Intake, MembershipChange};
use steadfast_replication::node::{Change, Node, NodeStart};
use steadfast_replication::ports::Disk as _;
use steadfast_replication::roster::{Listed, Roster};
use steadfast_replication::storage::memory::MemoryDisk;
use steadfast_replication::storage::{self, HardState, Membership};
use steadfast_replication::wire::RaftMessage;
use world::{MemoryNet, Running, THREE, config, node_config, run, start_three, wait_for};

fn place(id: u64) -> Member {
    Member { id, host: format!("node-{id}"), port: id as u16 }
}

async fn founder(net: &MemoryNet, disk: MemoryDisk) -> Running {
    Running::start(net, config(1, &[1]), disk).await.expect("it opens")
}

async fn newcomer(net: &MemoryNet, id: u64) -> Running {
    let mut joins = config(id, &[id]);
    joins.joins = true;
    Running::start(net, joins, MemoryDisk::default()).await.expect("it opens")
}

fn votes(node: &Running, id: u64) -> bool {
    node.status.members().iter().any(|member| member.id == id && member.votes)
}

fn is_listed(node: &Running, id: u64) -> bool {
    node.status.members().iter().any(|member| member.id == id)
}

fn add(leader: &Running, new: u64, goal: Goal) {
    let member = place(new);
    leader.send(Intake::Change { ticket: new, change: MembershipChange::Add { member, goal } });
}

/// What it said when it ended.
fn last_words(node: &Running) -> Option<String> {
    node.seen.borrow().end.clone().and_then(Result::err)
}

/// A node on its own takes in others, which catch up and vote; one takes the place of another, which hears of it and ends.
#[test]
fn a_cluster_grows_and_changes() {
    run(async {
        let net = MemoryNet::new();
        let mut one = founder(&net, MemoryDisk::default()).await;
        wait_for("it is registered", || one.is_registered()).await;
        assert!(one.status.sole_voter());
        for _ in 0..20 {
            one.submit(10);
        }
        wait_for("all is applied", || one.is_settled()).await;
        let two = newcomer(&net, 2).await;
        wait_for("two says so", || two.status.waiting().contains("cluster add 2")).await;
        add(&one, 2, Goal::Voter);
        wait_for("two votes", || votes(&one, 2) && votes(&two, 2)).await;
        assert!(!one.status.sole_voter());
        let three = newcomer(&net, 3).await;
        add(&one, 3, Goal::Learner);
        wait_for("three listens", || is_listed(&one, 3) && three.is_registered()).await;
        assert!(!votes(&one, 3), "nobody said that it is to vote");
        one.send(Intake::Change { ticket: 1, change: MembershipChange::Promote { id: 3 } });
        wait_for("three votes", || votes(&one, 3)).await;
        let four = newcomer(&net, 4).await;
        add(&one, 4, Goal::Replacement(3));
        wait_for("four votes for three", || votes(&one, 4) && !is_listed(&one, 3)).await;
        wait_for("three has heard of it", || last_words(&three).is_some()).await;
        assert!(
            last_words(&three).is_some_and(|text| text.contains("was removed from its cluster"))
        );
        for _ in 0..20 {
            one.submit(10);
        }
        wait_for("all are equal", || {
            one.is_settled() && one.machine() == two.machine() && one.machine() == four.machine()
        })
        .await;
        add(&one, 3, Goal::Voter);
        let other = newcomer(&net, 3).await;
        wait_for("it is refused", || {
            let refusals = one.status.change_refusals();
            refusals.iter().any(|(ticket, why)| *ticket == 3 && why.contains("never used"))
        })
        .await;
        assert!(!is_listed(&one, 3) && !other.is_registered());
    });
}

/// A node that was removed while it was cut off knows only one of those who can say so; that one says where the other is.
#[test]
fn a_removed_node_asks_voters_that_it_does_not_know() {
    run(async {
        let net = MemoryNet::new();
        let one = founder(&net, MemoryDisk::default()).await;
        wait_for("it is registered", || one.is_registered()).await;
        let (two, three) = (newcomer(&net, 2).await, newcomer(&net, 3).await);
        for (id, node) in [(2, &two), (3, &three)] {
            wait_for("it can be added", || !node.status.waiting().is_empty()).await;
            add(&one, id, Goal::Voter);
            wait_for("it votes", || votes(&one, id) && votes(node, id)).await;
        }
        for other in [1, 2, 4] {
            net.cut(3, other);
        }
        let four = newcomer(&net, 4).await;
        add(&one, 4, Goal::Replacement(2));
        wait_for("four votes for two", || votes(&four, 4) && last_words(&two).is_some()).await;
        one.send(Intake::Change { ticket: 3, change: MembershipChange::Remove { id: 3 } });
        wait_for("three is removed", || !is_listed(&one, 3) && !is_listed(&four, 3)).await;
        assert!(last_words(&three).is_none() && !is_listed(&three, 4), "it knows of nothing");
        net.heal();
        wait_for("three has heard of it", || last_words(&three).is_some()).await;
        assert!(
            last_words(&three).is_some_and(|text| text.contains("was removed from its cluster"))
        );
    });
}

/// Who votes is written down beside the log, also if there is no room for it at first.
#[test]
fn who_votes_is_written_down_once_there_is_room() {
    run(async {
        let net = MemoryNet::new();
        let nodes = start_three(&net).await;
        let noted = |node: &Running| {
            let identity = storage::identity(&node.disk).expect("it can be read");
            identity.expect("there is one").electorate.voters
        };
        let leader = nodes.iter().find(|node| node.is_leader()).expect("one leads");
        let full = nodes.iter().find(|node| !node.is_leader()).expect("the others follow");
        full.disk.remove("reserve").expect("it is there");
        full.disk.set_free_bytes(Some(0));
        let four = newcomer(&net, 4).await;
        wait_for("four waits", || !four.status.waiting().is_empty()).await;
        add(leader, 4, Goal::Voter);
        wait_for("four votes", || votes(full, 4) && noted(leader) == [1, 2, 3, 4]).await;
        assert_eq!(noted(full), THREE);
        full.disk.set_free_bytes(None);
        wait_for("it is written down", || noted(full) == [1, 2, 3, 4]).await;
    });
}

/// Two nodes are replaced at once, the leader among them, while the third is away.
#[test]
fn two_are_replaced_at_once() {
    run(async {
        let net = MemoryNet::new();
        let mut nodes = Vec::new();
        for id in 1..=3 {
            let node = Running::start(&net, config(id, &[1, 2, 3]), MemoryDisk::default()).await;
            nodes.push(node.expect("it opens"));
        }
        wait_for("one leads", || nodes.iter().any(Running::is_leader)).await;
        let at = nodes.iter().position(Running::is_leader).expect("one leads");
        wait_for("it is registered", || nodes[at].is_registered()).await;
        let leader = nodes.remove(at);
        let other = nodes.remove(0);
        let mut away = Vec::new();
        for (new, old) in [(4, leader.id), (5, other.id)] {
            let node = newcomer(&net, new).await;
            add(&leader, new, Goal::Replacement(old));
            wait_for("it is listed", || is_listed(&leader, new)).await;
            assert!(!votes(&leader, new), "it has not caught up");
            away.push((new, node.crash().await));
        }
        drop(nodes.remove(0).crash().await); // nobody but these two can lead until then
        let term = leader.status.term();
        let mut back = Vec::new();
        for (id, disk) in away {
            let mut joins = config(id, &[id]);
            joins.joins = true;
            back.push(Running::start(&net, joins, disk).await.expect("it opens"));
        }
        let four = back.remove(0);
        wait_for("both are replaced", || {
            votes(&four, 4)
                && votes(&four, 5)
                && !is_listed(&four, leader.id)
                && !is_listed(&four, other.id)
        })
        .await;
        assert!(four.status.term() < term + 5, "leadership went from hand to hand");
        for gone in [&leader, &other] {
            wait_for("it has heard of it", || last_words(gone).is_some()).await;
        }
    });
}

fn node(membership: Membership) -> Node {
    let (hard_state, entries) = (HardState::default(), Vec::new());
    let start = NodeStart { hard_state, membership, snapshot: None, entries };
    Node::new(node_config(1), start).expect("it starts")
}

/// What a peer with nothing else to do says to a message.
fn answer(asked: &RaftMessage) -> Option<RaftMessage> {
    use MessageType as Kind;
    let is = |kind: Kind| asked.msg_type == kind as i32;
    let kind = match () {
        () if is(Kind::MsgRequestPreVote) => Kind::MsgRequestPreVoteResponse,
        () if is(Kind::MsgRequestVote) => Kind::MsgRequestVoteResponse,
        () if is(Kind::MsgAppend) => Kind::MsgAppendResponse,
        () if is(Kind::MsgHeartbeat) => Kind::MsgHeartbeatResponse,
        () => return None,
    };
    Some(RaftMessage {
        msg_type: kind as i32,
        to: asked.from,
        from: asked.to,
        term: asked.term,
        index: asked.index + asked.entries.len() as u64,
        context: asked.context.clone(),
        ..RaftMessage::default()
    })
}

/// Nobody hears of other members before it is on the disk that the change is committed: a node that fell back behind it might need
/// those that went. Told too early, they were gone when the last one of two started again, which waited for their votes for ever.
#[test]
fn changes_are_told_once_they_are_durable() {
    let mut node = node(Membership::of_voters(&[1]));
    let now = Duration::from_secs(1);
    let mut held = Vec::new();
    let mut wanted = false;
    for step in 0..200_u32 {
        let now = now + Duration::from_millis(10) * step;
        node.step(now, 0, Input::Tick);
        if step == 50 {
            let listed =
                Listed { storage_id: 2, host: "two".to_owned(), port: 2, goal: Goal::Learner };
            node.step(now, 0, Input::PeerLevel { peer: 2, incarnation: 1, level: 1 });
            node.step(now, 0, Input::Change { ticket: 1, change: Change::Add { id: 2, listed } });
            wanted = true;
        }
        node.turn(now, 0);
        while let Some(output) = node.poll() {
            match output {
                Output::Persist { number, vital, hard_state, .. } => {
                    let is_known =
                        hard_state.is_some_and(|state| state.commit >= node.commit_index());
                    assert!(!vital || is_known, "the commit index goes with it");
                    held.push((number, vital));
                }
                Output::Apply { entries } => {
                    let index = entries.last().expect("it is not empty").index;
                    node.step(now, 0, Input::Applied { index, passed: 0, registered: true });
                }
                _ => {}
            }
        }
        // What makes the change known stays on its way to the disk.
        while held.first().is_some_and(|(_, vital)| !vital) {
            let (number, _) = held.remove(0);
            node.step(now, 0, Input::Persisted { number });
        }
    }
    assert!(wanted && node.membership().learners == [2], "it is committed");
    assert_eq!(node.settled_membership().learners, Vec::<u64>::new(), "and nobody knows");
    let (number, vital) = held.first().copied().expect("its commit is being written");
    assert!(vital);
    node.step(now, 0, Input::Persisted { number });
    assert_eq!(node.settled_membership().learners, [2]);
    assert!(node.settled_membership().roster.get(2).is_some_and(|two| two.port == 2));
}

/// A leader that is to be replaced makes all other changes first, and hands over to nobody who is to go as well. (Two that were to go
/// handed leadership to each other, for ever, and neither replaced anybody.)
#[test]
fn who_is_to_go_hands_over_last() {
    let listed =
        |id: u64, goal| (id, Listed { storage_id: u128::from(id), goal, ..Listed::default() });
    let news = vec![
        listed(1, Goal::Voter),
        listed(2, Goal::Voter),
        listed(3, Goal::Voter),
        listed(4, Goal::Replacement(1)),
        listed(5, Goal::Replacement(2)),
    ];
    let roster = Roster::default().after(0, news, &[1, 2, 3, 4, 5]);
    let voters = Membership::of_voters(&[1, 2, 3]);
    let mut node = node(Membership { learners: vec![4, 5], roster, ..voters });
    let mut now = Duration::ZERO;
    for _ in 0..200 {
        now += Duration::from_millis(30);
        node.step(now, 0, Input::Tick);
        node.turn(now, 0);
        while let Some(output) = node.poll() {
            match output {
                Output::Persist { number, .. } => node.step(now, 0, Input::Persisted { number }),
                Output::Apply { entries } => {
                    let index = entries.last().expect("it is not empty").index;
                    node.step(now, 0, Input::Applied { index, passed: 0, registered: true });
                }
                Output::Send { message, .. } if message.to != 3 => {
                    if message.msg_type == MessageType::MsgTimeoutNow as i32 {
                        let membership = node.membership();
                        assert_eq!((message.to, &membership.voters), (5, &vec![1, 3, 5]));
                        return;
                    }
                    if let Some(message) = answer(&message) {
                        node.step(now, 0, Input::Peer { message, word: None });
                    }
                }
                _ => {}
            }
            node.turn(now, 0);
        }
    }
    panic!("it hands over: {:?}, {:?}", node.role(), node.membership());
}
