//! Who is a member, and the links to them: what the log and the peers say of it, and how a new node is found before it is added.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use super::Running;
use crate::electorate::Electorate;
use crate::event::Input;
use crate::formation::{Exclusion, Heard, Member};
use crate::gateway::{KnownMember, MembershipChange};
use crate::node::Change;
use crate::ports::{Clock, Net};
use crate::roster::{Goal, Listed, Roster};
use crate::storage::{Barred, Damage, LogRequest, Rejoin};

/// Beats for which a new node is called before it is given up.
const COURTED_BEATS: u32 = 200;

/// A node that is to be added, and whose disk is not known yet.
pub(super) struct Courted {
    ticket: u64,
    member: Member,
    goal: Goal,
    beats: u32,
}

/// Beats between two tries to write the identity down on a full disk.
const SAVED_AGAIN_BEATS: u32 = 20;

/// What a voter says of it that this node is no member any more.
#[derive(PartialEq)]
struct Removal {
    /// Who votes, by its log.
    voters: Vec<u64>,
    /// Where those of them are whose place it knows.
    places: Vec<Member>,
}

/// What this node knows besides its log, and what it has told of it.
#[derive(Default)]
pub(super) struct Standing {
    /// Who is a member by the newest that a peer said: whoever is new in it is listened to.
    heard: Roster,
    /// A new node that is asked who it is, before it is added.
    courted: Option<Courted>,
    /// Who has said, by its own log, that this node is no member any more.
    removed_by: BTreeMap<u64, Removal>,
    /// What is wrong with the log, once that is written down.
    lost: Option<String>,
    /// Identities that are being written.
    saves: u64,
    /// Beats after which one that found no room is written again.
    again: Option<u32>,
    /// What the event loop was told of who votes.
    told_voters: Vec<u64>,
}

/// A member, where the flags say that it is, or else where it was told to be.
fn by_flags(told: Member, members: &[Member]) -> Member {
    members.iter().find(|member| member.id == told.id).cloned().unwrap_or(told)
}

/// A member, where the flags say that it is, or else where the roster does.
fn place(id: u64, listed: &Listed, members: &[Member]) -> Member {
    by_flags(Member { id, host: listed.host.clone(), port: listed.port }, members)
}

/// Everybody else whose place is known.
pub(super) fn peers(roster: &Roster, members: &[Member], own: u64) -> Vec<Member> {
    let others = roster.iter().filter(|(id, _)| *id != own);
    let peers = others.map(|(id, listed)| place(id, listed, members));
    peers.filter(|peer| !peer.host.is_empty()).collect()
}

impl<N: Net, C: Clock> Running<N, C> {
    /// A peer has said who it is, and whom it knows.
    pub(super) fn take_heard(&mut self, peer: u64, heard: Heard) -> Result<(), String> {
        match heard {
            Heard::Formed { roster, .. } => {
                if roster.is_newer_than(&self.roster) && roster.is_newer_than(&self.standing.heard)
                {
                    self.standing.heard = roster;
                    self.dial();
                }
            }
            Heard::Excluded { why: Exclusion::Removed, voters, places } => {
                return self.hear_removal(peer, voters, places);
            }
            Heard::Excluded { .. } => {}
            Heard::Forming(storage_id) => {
                if let Some(courted) =
                    self.standing.courted.take_if(|courted| courted.member.id == peer)
                {
                    let Courted { ticket, member: Member { id, host, port }, goal, .. } = courted;
                    let listed = Listed { storage_id, host, port, goal };
                    self.step(Input::Change { ticket, change: Change::Add { id, listed } });
                }
            }
        }
        Ok(())
    }

    /// A voter says that this node is no member any more, and that its own log knows that for ever. The word of most of them is needed:
    /// whichever majority of them lives on, one of it knows then, and the others can do without this node's vote. Who is not known here is
    /// asked where the voter says: all that this node knows may leave, one after the other, before most of them could say it.
    fn hear_removal(
        &mut self,
        peer: u64,
        voters: Vec<u64>,
        places: Vec<Member>,
    ) -> Result<(), String> {
        if !voters.contains(&peer) {
            return Ok(());
        }
        let places = places.into_iter().filter(|place| voters.contains(&place.id)).collect();
        let removal = Removal { voters, places };
        let is_news = self.standing.removed_by.get(&peer) != Some(&removal);
        self.standing.removed_by.insert(peer, removal);
        let says = |voter: &&u64| self.standing.removed_by.contains_key(voter);
        let is_settled = |Removal { voters, .. }: &Removal| {
            voters.iter().filter(says).count() * 2 > voters.len()
        };
        if self.standing.removed_by.values().any(is_settled) {
            return self.bar(Barred::Removed);
        }
        if is_news {
            self.dial();
        }
        Ok(())
    }

    /// The node stops for ever. That is written down first, for later starts, when nobody may be left to say so.
    pub(super) fn bar(&mut self, why: Barred) -> Result<(), String> {
        if self.meta.barred.is_none() {
            if why == Barred::Removed {
                mark::reached(Mark::RemovedNodeTold);
            }
            self.meta.barred = Some(why);
            return self.save_meta(true);
        }
        Ok(())
    }

    /// The log lacks what this node has confirmed. The next start sets it aside, if the others can make it good.
    pub(super) fn lose_log(&mut self, what: &str) -> Result<(), String> {
        if super::open::damage(&self.meta) == Damage::Refused {
            return Err(format!(
                "{what}: replace this node by a new one (steadfast cluster replace)."
            ));
        }
        self.meta.rejoin = Rejoin::Due;
        self.standing.lost = Some(format!(
            "{what}: look at its disk, and start this node again. It will set aside what it has, and get its data back from them."
        ));
        self.save_meta(true)
    }

    /// Writes the identity down. What decides how the next start begins is vital: the node must not go on, or end, as if it were written.
    pub(super) fn save_meta(&mut self, vital: bool) -> Result<(), String> {
        self.standing.saves += 1;
        self.ask_log(LogRequest::SaveMeta { meta: self.meta.clone(), vital })
    }

    /// An identity that was not vital found no room. It is needed when the log is lost, so it must not stay behind for long.
    pub(super) fn meta_without_room(&mut self) {
        self.standing.saves = self.standing.saves.saturating_sub(1);
        self.standing.again = Some(SAVED_AGAIN_BEATS);
    }

    /// One more beat.
    pub(super) fn save_meta_again(&mut self) -> Result<(), String> {
        self.standing.again = self.standing.again.map(|beats| beats.saturating_sub(1));
        match self.standing.again.take_if(|beats| *beats == 0) {
            Some(_) => self.save_meta(false),
            None => Ok(()),
        }
    }

    /// An identity is on the disk.
    pub(super) fn meta_saved(&mut self) -> Result<(), String> {
        self.standing.saves = self.standing.saves.saturating_sub(1);
        if self.standing.saves == 0
            && let Some(text) = self.standing.lost.take()
        {
            return Err(text);
        }
        match self.meta.barred {
            Some(why) if self.standing.saves == 0 => {
                Err(super::open::barred(self.meta.node_id, why))
            }
            _ => {
                if self.standing.saves == 0 && self.meta.rejoin == Rejoin::Needless {
                    self.step(Input::RejoinEnded);
                }
                Ok(())
            }
        }
    }

    /// What the log has made of the members counts from now on.
    pub(super) fn note_members(&mut self) -> Result<(), String> {
        let settled = self.node.settled_membership();
        let is_newer = settled.roster.is_newer_than(&self.roster);
        let is_own = settled.roster.version() == self.roster.version();
        let votes_anew = (is_newer || is_own) && !self.meta.electorate.is_of(settled);
        if votes_anew {
            self.meta.electorate = Electorate::of(settled);
        }
        if is_newer {
            self.roster = settled.roster.clone();
            self.meta.roster = self.roster.encode();
            self.standing.courted.take_if(|courted| self.roster.get(courted.member.id).is_some());
            self.save_meta(false)?;
            self.dial();
            self.tell_members();
            if is_planted(Canary::EndsByItsOwnLog) && self.roster.is_gone(self.meta.node_id) {
                return self.bar(Barred::Removed);
            }
            return Ok(());
        }
        // A change that was told when this node joined has reached its log.
        if self.standing.told_voters != settled.voters {
            self.tell_members();
        }
        if votes_anew {
            self.save_meta(false)?;
        }
        Ok(())
    }

    fn dial(&mut self) {
        let own = self.meta.node_id;
        let mut dialled = peers(&self.roster, &self.members, own);
        let heard = peers(&self.standing.heard, &self.members, own);
        let courted = self.standing.courted.iter().map(|courted| courted.member.clone());
        let referred = self.standing.removed_by.values().flat_map(|removal| &removal.places);
        let referred = referred.map(|told| by_flags(told.clone(), &self.members));
        for new in heard.into_iter().chain(courted).chain(referred) {
            let is_known = dialled.iter().any(|peer| peer.id == new.id);
            if !is_known && new.id != own && !self.roster.is_gone(new.id) {
                dialled.push(new);
            }
        }
        let ids: BTreeSet<u64> = dialled.iter().map(|peer| peer.id).collect();
        self.status.keep_connected(&ids);
        self.links.dial(dialled);
    }

    /// Tells the event loop who the members are, and the links what to tell peers of it.
    pub(super) fn tell_members(&mut self) {
        let own = self.meta.node_id;
        let settled = self.node.settled_membership();
        let voters = &settled.voters;
        let known = self.roster.iter().map(|(id, listed)| {
            let Member { id, host, port } = place(id, listed, &self.members);
            let votes = voters.contains(&id) || id == own && voters.is_empty();
            KnownMember { id, host, port, votes }
        });
        self.status.set_members(known.collect(), self.roster.former().collect());
        // What it was told when it joined it has from others' logs.
        let is_own = settled.roster.version() == self.roster.version();
        let vouched = if is_own { voters.clone() } else { Vec::new() };
        self.links.set_roster(self.roster.clone(), vouched);
        self.standing.told_voters.clone_from(voters);
    }

    /// An operator wants other members. A new one is called first: its disk has to be known.
    pub(super) fn take_change(&mut self, ticket: u64, change: MembershipChange) {
        let change = match change {
            MembershipChange::Promote { id } => Change::Promote { id },
            MembershipChange::Remove { id } => Change::Remove { id },
            // Nobody is called who was a member once: the node says what is wrong with that.
            MembershipChange::Add { member: Member { id, host, port }, goal }
                if self.roster.is_gone(id) =>
            {
                Change::Add { id, listed: Listed { storage_id: 0, host, port, goal } }
            }
            MembershipChange::Add { member, goal } => {
                if let Some(earlier) = self.standing.courted.take() {
                    self.status.refuse_change(
                        earlier.ticket,
                        "another node was to be added. Nothing was changed.",
                    );
                }
                self.standing.courted =
                    Some(Courted { ticket, member, goal, beats: COURTED_BEATS });
                return self.dial();
            }
        };
        self.step(Input::Change { ticket, change });
    }

    /// Gives a new node up that does not answer.
    pub(super) fn court_on(&mut self) {
        let Some(courted) = &mut self.standing.courted else { return };
        courted.beats -= 1;
        if courted.beats == 0 {
            let Member { id, host, port } = &courted.member;
            let text = format!(
                "nobody answers as the new node {id} at {host}:{port}: start it there with --node-id {id}, --join and an empty directory. \
                 Nothing was changed."
            );
            tracing::warn!("{text}");
            self.status.refuse_change(courted.ticket, &text);
            self.standing.courted = None;
            self.dial();
        }
    }
}
