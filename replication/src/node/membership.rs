//! Membership: who comes and goes, one change at a time (Raft thesis, chapter 4).
//!
//! A new node is a learner first. The leader makes it a voter once it has confirmed within an election timeout what was committed when
//! that began (thesis 4.2.1); several changes at once, as where one node takes another's place, go through joint consensus. A change
//! counts from the entry on that commits it, on every node at that entry. Raft may forget to end joint consensus where leaders change
//! meanwhile, so whoever leads ends it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::StateRole;
use raft::eraftpb::{self, ConfChangeTransition, ConfChangeType};
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use super::Node;
use super::ready::is_change;
use crate::event::Output;
use crate::roster::{self, Goal, Listed, Roster};
use crate::storage::Membership;
use crate::wire::{ConfChange, ConfChangeSingle};

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new node listens, and becomes what its goal says.
    Add {
        /// Its id, never used before.
        id: u64,
        /// What is known of it.
        listed: Listed,
    },
    /// A learner is to become a voter.
    Promote {
        /// Its id.
        id: u64,
    },
    /// A node goes. Its id is never used again.
    Remove {
        /// Its id.
        id: u64,
    },
}

type Single = (ConfChangeType, u64);

/// What was asked for, and waits until it can be begun.
struct Wish {
    ticket: u64,
    change: Change,
    /// Tick at which it was asked for.
    since: u64,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Changes {
    /// What operators want.
    wishes: VecDeque<Wish>,
    /// Tick at which a peer last answered this node as the leader of its term.
    pub(super) answered: BTreeMap<u64, u64>,
    /// Committed entries behind one that takes this node out while it leads, that one first.
    pub(super) held_back: Vec<eraftpb::Entry>,
    /// Of each learner that answers: the commit index that it is to confirm, and since when.
    rounds: BTreeMap<u64, (u64, u64)>,
    /// Whom leadership was last offered to because this node is to go, and the tick from which it may be offered again.
    offered_to: u64,
    offer_from: u64,
}

impl Changes {
    /// What only leaders keep is forgotten.
    pub(super) fn end_leading(&mut self) {
        self.answered.clear();
        self.rounds.clear();
    }
}

/// Wishes that wait at once, and for how many election timeouts.
const WISHES_MAX: usize = 16;
const WISH_TIMEOUTS: u64 = 10;

impl Node {
    /// Who is a member by the committed log.
    pub fn membership(&self) -> &Membership {
        self.raw.store().membership()
    }

    /// The same, as far as it is known for ever: a node that fell back behind a change might need those that are no members any more, so
    /// nobody is told before that he is none.
    pub fn settled_membership(&self) -> &Membership {
        let settled = if is_planted(Canary::ChangeUnsettled) { u64::MAX } else { self.settled };
        self.raw.store().membership_at(settled)
    }

    pub(super) fn is_alone(&self) -> bool {
        self.membership().is_alone(self.config.node_id) && !self.is_rejoining()
    }

    pub(super) fn is_sole_voter(&self) -> bool {
        let membership = self.membership();
        membership.voters == [self.config.node_id] && !membership.is_joint()
    }

    /// Takes an operator's wish, to be begun at one of the next ticks.
    pub(super) fn wish(&mut self, ticket: u64, change: Change) {
        if self.changes.wishes.len() >= WISHES_MAX {
            return self.refuse(ticket, "too many changes wait already");
        }
        let since = self.ticks;
        self.changes.wishes.push_back(Wish { ticket, change, since });
    }

    fn refuse(&mut self, ticket: u64, why: &str) {
        let why = format!("{why}. Nothing was changed.");
        self.outputs.push_back(Output::ChangeRefused { ticket, why });
    }

    /// Refuses what can't be begun any more.
    fn drop_late_wishes(&mut self, leads: bool) {
        let oldest = self.ticks.saturating_sub(self.config.election_ticks as u64 * WISH_TIMEOUTS);
        while self.changes.wishes.front().is_some_and(|wish| !leads || wish.since < oldest) {
            let Some(late) = self.changes.wishes.pop_front() else { return };
            let why = if leads {
                "another change took too long"
            } else {
                "this node does not lead any more: ask whoever does"
            };
            self.refuse(late.ticket, why);
        }
    }

    /// Begins with the oldest wish, unless it has to wait.
    fn grant_oldest(&mut self) {
        let Some(wish) = self.changes.wishes.pop_front() else { return };
        match self.grant(&wish) {
            Ok(true) => {}
            Ok(false) => self.changes.wishes.push_front(wish),
            Err(why) => self.refuse(wish.ticket, &why),
        }
    }

    /// Whether a wish was begun or is fulfilled. An error says why it can't be.
    fn grant(&mut self, wish: &Wish) -> Result<bool, String> {
        let Membership { voters, learners, roster, .. } = self.membership();
        match &wish.change {
            Change::Add { id, listed } => match roster.storage_of(*id) {
                Some(storage) if storage == listed.storage_id => Ok(true),
                Some(_) => Err(format!("node {id} is a member already, with another disk")),
                None if roster.is_gone(*id) => Err(format!(
                    "node {id} was a member once, and what it promised then must not be forgotten: choose an id that was never used"
                )),
                None if !self.knows_level(*id) => Err(format!(
                    "node {id} runs an older release, which does not know what the log means by now: start it with the release that the \
                     others run"
                )),
                None if !roster.has_room() => Err("too many nodes were members already".to_owned()),
                None => {
                    let learns = (ConfChangeType::AddLearnerNode, *id);
                    self.propose_change(&[learns], &[(*id, listed.clone())])?;
                    Ok(true)
                }
            },
            Change::Promote { id } if voters.contains(id) => Ok(true),
            Change::Promote { id } => match roster.get(*id).filter(|_| learners.contains(id)) {
                None => Err(format!("there is no node {id}")),
                Some(listed) => {
                    let news = Listed { goal: Goal::Voter, ..listed.clone() };
                    let learns = (ConfChangeType::AddLearnerNode, *id);
                    self.propose_change(&[learns], &[(*id, news)])?;
                    Ok(true)
                }
            },
            Change::Remove { id } if roster.is_gone(*id) => Ok(true),
            Change::Remove { id } => self.remove(*id, wish.since),
        }
    }

    /// A member goes, if most of those that stay have answered since it was asked for. A leader has another one lead first.
    fn remove(&mut self, id: u64, since: u64) -> Result<bool, String> {
        if !self.membership().ids().contains(&id) {
            return Err(format!("there is no node {id}"));
        }
        let (own, asked) = (self.config.node_id, since + self.config.heartbeat_ticks as u64);
        let left: Vec<u64> =
            self.membership().voters.iter().copied().filter(|other| *other != id).collect();
        // One that gets a lost log back answers and writes, but votes for nobody: without this leader nobody could lead.
        let answers = |other: &&u64| {
            **other == own
                || self.changes.answered.get(other).is_some_and(|at| *at > asked)
                    && !self.has_peer_lost_its_log(**other)
        };
        if left.is_empty() {
            return Err(format!("node {id} is the only voter: nobody would be left"));
        }
        if left.iter().filter(answers).count() * 2 <= left.len() {
            if self.ticks <= asked + self.config.election_ticks as u64 {
                return Ok(false);
            }
            return Err(format!(
                "without node {id} the nodes that answer would be no majority of those that are left, and writes would stop"
            ));
        }
        if id == own {
            self.step_aside(); // and whoever asked has to ask that one
            return Ok(false);
        }
        self.propose_change(&[(ConfChangeType::RemoveNode, id)], &[])?;
        Ok(true)
    }

    /// A leader's part, at each tick: ends joint consensus, and makes voters of learners that have caught up.
    pub(super) fn steer_membership(&mut self) {
        let leads = self.raw.raft.state == StateRole::Leader;
        self.drop_late_wishes(leads);
        if !leads || self.is_change_under_way() {
            return;
        }
        if self.membership().is_joint() {
            if self.propose_change(&[], &[]).is_ok() {
                mark::reached(Mark::JointConsensusEnded);
            }
            return;
        }
        self.grant_oldest();
        if self.is_change_under_way() {
            return;
        }
        let in_time = self.learners_in_time();
        let (changes, leaves_itself) = self.due_changes(&in_time);
        if !changes.is_empty() {
            if self.propose_change(&changes, &[]).is_ok() {
                mark::reached(Mark::LearnerPromoted);
            }
        } else if leaves_itself {
            self.step_aside(); // whoever leads next takes it out
        }
    }

    /// Learners that have confirmed in time what they were to confirm. Those that did not get another round, with what is committed now.
    fn learners_in_time(&mut self) -> BTreeSet<u64> {
        let (committed, now) = (self.commit_index(), self.ticks);
        let learners = &self.raw.store().membership().learners;
        let changes = &mut self.changes;
        changes.rounds.retain(|id, _| learners.contains(id));
        let mut in_time = BTreeSet::new();
        for id in learners.iter().filter(|id| changes.answered.contains_key(id)) {
            let (target, since) = changes.rounds.entry(*id).or_insert((committed, now));
            let matched = self.raw.raft.prs().get(*id).map_or(0, |progress| progress.matched);
            if matched >= *target && now <= *since + self.config.election_ticks as u64 {
                in_time.insert(*id);
            } else if matched >= *target {
                (*target, *since) = (committed, now);
            }
        }
        in_time
    }

    /// What learners that have caught up are due to become, and whether that leaves this node to be replaced, which another leader has to
    /// do. A node that is the only voter has nobody to hand over to before the one that replaces it votes.
    fn due_changes(&self, in_time: &BTreeSet<u64>) -> (Vec<Single>, bool) {
        let Membership { voters, learners, roster, .. } = self.membership();
        let own = self.config.node_id;
        let (mut changes, mut gone, mut leaves_itself) = (Vec::new(), Vec::new(), false);
        for (id, listed) in roster.iter() {
            let is_learner = learners.contains(&id);
            let waits = listed.goal == Goal::Learner || !in_time.contains(&id);
            if is_learner && waits {
                continue;
            }
            let replaced = match listed.goal {
                Goal::Replacement(other) => {
                    Some(other).filter(|other| roster.get(*other).is_some())
                }
                Goal::Voter | Goal::Learner => None,
            };
            if replaced == Some(own) && voters.len() > 1 {
                leaves_itself = true;
                continue;
            }
            if is_learner {
                changes.push((ConfChangeType::AddNode, id));
            }
            if let Some(other) = replaced.filter(|other| *other != own && !gone.contains(other)) {
                changes.push((ConfChangeType::RemoveNode, other));
                gone.push(other);
            }
        }
        (changes, leaves_itself)
    }

    /// Has another node lead that is not itself to be replaced, if there is one. Who did not take it is not asked again at once: a node
    /// that restores a snapshot can't lead, and while leadership is offered nothing is written.
    pub(super) fn step_aside(&mut self) {
        if self.ticks < self.changes.offer_from || self.raw.raft.lead_transferee.is_some() {
            return;
        }
        let replaced = |id: &u64| {
            let roster = &self.membership().roster;
            roster.iter().any(|(_, listed)| listed.goal == Goal::Replacement(*id))
        };
        let last = self.changes.offered_to;
        let to = self.successor(|id| (!replaced(&id), id != last));
        if let Some(id) = to {
            self.changes.offered_to = id;
            self.changes.offer_from = self.ticks + 2 * self.config.election_ticks as u64;
            self.hand_over(Some(id));
        }
    }

    /// Whether a change is in the log and not yet applied here, or leadership is being handed over.
    fn is_change_under_way(&self) -> bool {
        let raft = &self.raw.raft;
        raft.has_pending_conf() || raft.lead_transferee.is_some() || self.admitted.is_none()
    }

    /// Puts a change into the log; nothing else may be under way.
    fn propose_change(&mut self, changes: &[Single], news: &[(u64, Listed)]) -> Result<(), String> {
        // Of several changes each moves a majority a little; only together with the old voters' one do they overlap in any case.
        let transition = match changes.len() {
            0 | 1 => ConfChangeTransition::Auto,
            _ => ConfChangeTransition::Explicit,
        };
        let context = if news.is_empty() { Vec::new() } else { roster::encode_news(news) };
        let single =
            |(kind, id): &Single| ConfChangeSingle { change_type: *kind as i32, node_id: *id };
        let change = ConfChange {
            transition: transition as i32,
            changes: changes.iter().map(single).collect(),
            context: context.into(),
        };
        let change = change.to_raft().ok_or("it is no change that raft knows")?;
        let proposed = self.raw.propose_conf_change(Vec::new(), change);
        proposed.map_err(|error| format!("raft did not take it: {error}"))
    }

    /// Whether a change takes this very node out while it leads. Raft can't bear that, and the others must learn first that the change is
    /// committed: what is committed from there on is held back until another leads.
    pub(super) fn removes_leader(&self, entry: &eraftpb::Entry) -> bool {
        if self.raw.raft.state != StateRole::Leader
            || !is_change(entry)
            || is_planted(Canary::RemovedLeaderStays)
        {
            return false;
        }
        let (own, membership) = (self.config.node_id, self.membership());
        if membership.is_joint() {
            return !membership.voters.contains(&own); // and this ends it
        }
        let removes = |single: &ConfChangeSingle| {
            single.node_id == own && single.change_type == ConfChangeType::RemoveNode as i32
        };
        let change = ConfChange::from_bytes(entry.data.clone());
        change.is_some_and(|change| change.changes.len() == 1 && change.changes.iter().any(removes))
    }

    /// A committed change counts from here on.
    pub(super) fn apply_change(&mut self, entry: &eraftpb::Entry) -> Result<(), String> {
        let broken = || {
            format!(
                "entry {} changes the members in a way that this release does not know. Nothing was lost: start this node with the \
                 release that the others run.",
                entry.index
            )
        };
        let change = ConfChange::from_bytes(entry.data.clone()).ok_or_else(broken)?;
        let news = roster::decode_news(&change.context).ok_or_else(broken)?;
        let change = change.to_raft().ok_or_else(broken)?;
        let mut conf = self.raw.apply_conf_change(&change);
        if is_planted(Canary::JointSkipped)
            && conf.as_ref().is_ok_and(|conf| !conf.voters_outgoing.is_empty())
        {
            conf = self.raw.apply_conf_change(&eraftpb::ConfChangeV2::default());
        }
        let conf = conf.map_err(|error| {
            format!(
                "raft refuses the committed change of members in entry {}: {error}. Nothing was lost; please report it.",
                entry.index
            )
        })?;
        let sorted = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        let mut membership = Membership {
            voters: sorted(&conf.voters),
            learners: sorted(&conf.learners),
            outgoing: sorted(&conf.voters_outgoing),
            learners_next: sorted(&conf.learners_next),
            roster: Roster::default(),
        };
        let ids = membership.ids();
        membership.roster = self.membership().roster.after(entry.index, news, &ids);
        tracing::info!(
            "entry {} changed the members: voters {:?}, learners {:?}",
            entry.index,
            membership.voters,
            membership.learners
        );
        mark::reached(Mark::MembershipChanged);
        self.raw.mut_store().set_membership(entry.index, membership);
        Ok(())
    }
}
