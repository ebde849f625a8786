//! What entries mean: a later semantics level begins with an entry of its own, once every member runs a release that knows it.

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::entry;
use steadfast_core::mark::{self, Mark};

use super::Node;
use crate::session::Sessions;

impl Node {
    /// The semantics level that the log has come to, as far as it is known to be committed; none before a restored state has told it.
    pub fn level(&self) -> Option<u32> {
        self.committed.as_ref().map(Sessions::level)
    }

    /// What a peer's release knows; of its starts the last one counts.
    pub(super) fn hear_level(&mut self, peer: u64, incarnation: u64, level: u32) {
        let known = self.peer_levels.entry(peer).or_default();
        if incarnation >= known.0 {
            *known = (incarnation, level);
        }
    }

    fn level_of(&self, peer: u64) -> u32 {
        self.peer_levels.get(&peer).map_or(0, |(_, level)| *level)
    }

    /// Whether a new node's release knows the level that begins, or has begun.
    pub(super) fn knows_level(&self, new: u64) -> bool {
        let admitted = self.admitted.as_ref().map_or(0, Sessions::level);
        self.level_of(new) >= admitted
    }

    /// A leader's part, at each tick: begins the highest level that all members know. One whose release nobody has heard knows none but the
    /// first: it may be an old one that starts again in a moment.
    pub(super) fn raise_level(&mut self) {
        let Some(reached) = self.admitted.as_ref().map(Sessions::level) else {
            return;
        };
        // A change of members that is not applied yet may bring one in.
        if self.config.level <= reached || self.raw.raft.has_pending_conf() {
            return;
        }
        let own = self.config.node_id;
        let others = self.membership().ids().into_iter().filter(|id| *id != own);
        let least = others.map(|id| self.level_of(id)).min();
        let all_know = least.unwrap_or(u32::MAX).min(self.config.level);
        let level = if is_planted(Canary::LevelUnasked) { self.config.level } else { all_know };
        if level > reached {
            mark::reached(Mark::LevelRaised);
            self.gather(own, Bytes::from(entry::encode_level(level)));
        }
    }
}
