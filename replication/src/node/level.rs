//! What entries mean: a later semantics level begins with an entry of its own, once every member runs a release that knows it.

use bytes::Bytes;
use steadfast_core::canary::{Canary, is_planted};
use steadfast_core::entry;
use steadfast_core::mark::{self, Mark};

use super::Node;

impl Node {
    /// The semantics level that the log has come to, as far as it is known to be committed; none before a restored state has told it.
    pub fn level(&self) -> Option<u32> {
        self.committed.as_ref().map(crate::session::Sessions::level)
    }

    /// A leader's part, at each tick: begins the highest level that all members know. One whose release nobody has heard knows none but the
    /// first: it may be an old one that starts again in a moment.
    pub(super) fn raise_level(&mut self) {
        let Some(reached) = self.admitted.as_ref().map(crate::session::Sessions::level) else {
            return;
        };
        if self.config.level <= reached {
            return;
        }
        let own = self.config.node_id;
        let others = self.membership().ids().into_iter().filter(|id| *id != own);
        let least = others.map(|id| self.peer_levels.get(&id).copied().unwrap_or(0)).min();
        let all_know = least.unwrap_or(u32::MAX).min(self.config.level);
        let level = if is_planted(Canary::LevelUnasked) { self.config.level } else { all_know };
        if level > reached {
            mark::reached(Mark::LevelRaised);
            self.gather(own, Bytes::from(entry::encode_level(level)));
        }
    }
}
