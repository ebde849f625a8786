//! The exact index of one database's deadlines. Decides nothing and deletes nothing: `machine` does, by the
//! entry's stamp. A replica that expired keys by itself would answer TTL differently from the others.

use alloc::collections::BTreeSet;

use crate::record::NEVER;

/// A deadline, and where its key is. The hash finds the key in its slot without a copy of it here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: u64,
    pub(crate) slot: u16,
    pub(crate) hash: u64,
}

/// Deadlines in order of time. Two keys of a slot with equal hash and deadline share one element.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    order: BTreeSet<Deadline>,
    count: u64,
    sum: u128,
}

impl Deadlines {
    pub(crate) fn add(&mut self, deadline: Deadline) {
        if deadline.at != NEVER {
            self.order.insert(deadline);
            self.count += 1;
            self.sum += u128::from(deadline.at);
        }
    }

    /// Removes one; `shared` says whether another key still has the same deadline, slot and hash.
    pub(crate) fn remove(&mut self, deadline: Deadline, shared: bool) {
        if deadline.at != NEVER {
            if !shared {
                self.order.remove(&deadline);
            }
            self.count -= 1;
            self.sum -= u128::from(deadline.at);
        }
    }

    pub(crate) fn first(&self) -> Option<Deadline> {
        self.order.first().copied()
    }

    /// Forgets the first one, of a database that is being freed; whether there was one.
    pub(crate) fn drop_first(&mut self) -> bool {
        self.order.pop_first().is_some()
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Mean remaining time at `now`, in milliseconds.
    pub(crate) fn mean_after(&self, now: u64) -> u64 {
        let mean = self.sum.checked_div(u128::from(self.count)).unwrap_or(0);
        u64::try_from(mean).unwrap_or(u64::MAX).saturating_sub(now)
    }
}
