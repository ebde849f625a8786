//! A node that has lost its log, and its peers towards it (`crate::rejoin`).

use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::mark::{self, Mark};

use super::Node;
use crate::event::Output;
use crate::gateway::Role;
use crate::rejoin::{RejoinWord, Rejoining, Step};

/// Ticks between two questions.
const ASK_TICKS: u64 = 4;

impl Node {
    /// Whether this node has lost its log and not yet got back all that it may have promised.
    pub fn is_rejoining(&self) -> bool {
        self.rejoining.is_some()
    }

    /// What it waits for, for people; nothing if it has all.
    pub fn rejoin_waits_for(&self) -> String {
        let what = match self.rejoining.as_ref().map(Rejoining::step) {
            None => return String::new(),
            Some(Step::Deaf(missing)) => {
                let who =
                    missing.iter().map(|id| format!("node {id}")).collect::<Vec<_>>().join(", ");
                let who = if who.is_empty() { "any other node".to_owned() } else { who };
                format!(
                    "waits for a word of {who}, since all voters must say what they know before it may take part"
                )
            }
            Some(Step::Follows) => "waits for a leader".to_owned(),
            Some(Step::Needs(index)) => format!("gets its data back, up to entry {index}"),
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
        if let Some(rejoining) = &mut self.rejoining {
            let term = rejoining.asked(from);
            return self.listen(term);
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
        let mut voters: Vec<u64> = self.raw.raft.prs().conf().voters().ids().iter().collect();
        voters.sort_unstable(); // raft keeps them in no order
        let word = RejoinWord { incarnation, term, leads_to, voters };
        self.outputs.push_back(Output::TellRejoin { to: from, word });
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
        let durable = log.committed.min(log.persisted);
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
