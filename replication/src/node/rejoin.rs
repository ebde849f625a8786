//! A node that has lost its log, and its peers towards it (`crate::rejoin`).

use std::collections::BTreeSet;

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use super::Node;
use crate::electorate::Electorate;
use crate::event::Output;
use crate::gateway::Role;
use crate::rejoin::{RejoinWord, Rejoining, Step};

/// Ticks between two questions, and those after which one that asks no more is taken to have all: some may get lost.
const ASK_TICKS: u64 = 4;
const ASKED_TICKS: u64 = 4 * ASK_TICKS;

impl Node {
    /// Whether this node has lost its log and not yet got back all that it may have promised.
    pub fn is_rejoining(&self) -> bool {
        self.rejoining.is_some()
    }

    /// What it waits for, for people; nothing if it has all.
    pub fn rejoin_waits_for(&self) -> String {
        let Some(rejoining) = &self.rejoining else { return String::new() };
        let name = |id: &u64| {
            let lost = rejoining.forgetful().contains(id);
            format!("node {id}{}", if lost { " (whose log was lost as well)" } else { "" })
        };
        let names = |ids: &BTreeSet<u64>| ids.iter().map(name).collect::<Vec<_>>().join(", ");
        let what = match rejoining.step() {
            Step::Alone => {
                return "the log of this node was damaged, and it is the only voter by what the others know: nobody can make its log good. \
                        What it had is in the files damaged-* of its directory; restore a backup of all nodes"
                    .to_owned();
            }
            Step::Deaf(missing) if missing.is_empty() => {
                "waits for a word of any other node".to_owned()
            }
            Step::Deaf(missing) => format!(
                "waits for a word of {}, since all voters, and those on their way to voting, must say what they know before it may take part \
                 (remove or replace one that is gone for good)",
                names(missing)
            ),
            Step::Follows if !rejoining.are_few() => format!(
                "waits for a leader; there may never be one, since {} may have to vote for it: if none leads for long, restore a backup of \
                 all nodes",
                names(rejoining.forgetful())
            ),
            Step::Follows => "waits for a leader".to_owned(),
            Step::Needs { index, .. } => format!("gets its data back, up to entry {index}"),
        };
        format!(
            "the log of this node was damaged, and it {what}; until it has all it votes for nobody"
        )
    }

    /// It takes no message in yet: it does not know in which terms it has been.
    pub(super) fn is_deaf(&self) -> bool {
        self.rejoining.as_ref().is_some_and(Rejoining::is_deaf)
    }

    /// Asks again until it has all.
    pub(super) fn ask_to_rejoin(&mut self) {
        if self.rejoining.is_some() && self.ticks % ASK_TICKS == 1 {
            self.outputs.push_back(Output::AskRejoin);
        }
    }

    /// A peer has lost its log. A leader forgets what it believes of it, once for each of its starts, before it says where its own log
    /// ends: nothing behind that is ever confirmed by what was lost. Who has lost its own vouches for nothing.
    pub(super) fn rejoin_asked(&mut self, from: u64, incarnation: u64) {
        self.rejoining_peers.insert(from, self.ticks);
        if let Some(rejoining) = &mut self.rejoining {
            let term = rejoining.asked(from);
            return self.listen(term);
        }
        if self.settled_membership().roster.version() != self.membership().roster.version() {
            return; // whom it may still vote for is known in a moment, and it is asked again
        }
        let term = self.raw.raft.term;
        let mut leads_to = 0;
        if self.role() == Role::Leader {
            leads_to = self.raw.raft.raft_log.last_index();
            let progress = self.raw.raft.mut_prs().get_mut(from);
            if self.forgotten.insert(from, (term, incarnation)) != Some((term, incarnation))
                && let Some(progress) = progress
                && !is_planted(Canary::LostLogStillCounts)
            {
                progress.become_probe();
                (progress.matched, progress.next_idx, progress.committed_index) = (0, 1, 0);
            }
        }
        let electorate = Electorate::of(self.membership());
        let word = RejoinWord { incarnation, term, leads_to, electorate };
        self.outputs.push_back(Output::TellRejoin { to: from, word });
    }

    /// Whether a peer has asked of late: it votes for nobody, and leads nobody.
    pub(super) fn has_peer_lost_its_log(&self, id: u64) -> bool {
        self.rejoining_peers.get(&id).is_some_and(|at| self.ticks < *at + ASKED_TICKS)
    }

    /// A peer has answered.
    pub(super) fn rejoin_told(&mut self, from: u64, word: &RejoinWord) {
        let Some(rejoining) = &mut self.rejoining else { return };
        let term = rejoining.hear(from, word);
        self.listen(term);
    }

    /// From now on it listens. In the term that is taken on the own vote may be given away: it counts as given to itself.
    fn listen(&mut self, term: Option<u64>) {
        if let Some(term) = term {
            let raft = &mut self.raw.raft;
            raft.become_follower(term.max(raft.term), 0);
            raft.vote = raft.id;
        }
    }

    /// Whether it has all, and it is durable: then its identity can say so. It votes only once that has been written.
    pub(super) fn end_rejoin(&mut self) {
        let log = &self.raw.raft.raft_log;
        let durable = log.committed.min(log.persisted).min(self.handed_out);
        let is_done = self.rejoining.as_ref().is_some_and(|rejoining| rejoining.is_done(durable));
        if !is_done || self.rejoined {
            return;
        }
        // Later terms than the one taken on have come, perhaps: in this one, too, it may have voted before.
        let raft = &mut self.raw.raft;
        if raft.vote == 0 {
            raft.vote = raft.id;
        } else if self.durable_vote == (raft.term, raft.vote) {
            self.rejoined = true;
            self.outputs.push_back(Output::Rejoined);
        }
    }

    /// The identity says that this node has all again.
    pub(super) fn rejoin_ended(&mut self) {
        if self.rejoining.take_if(|_| self.rejoined).is_some() {
            mark::reached(Mark::NodeRejoined);
        }
    }
}
