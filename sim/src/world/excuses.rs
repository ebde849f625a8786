//! When a process may end by itself: soon after its disk failed it, or because of what lies on a disk that was spoilt. And it says so: an
//! end for another reason is none the better for a disk that failed as well.

use std::time::Duration;

/// A process that can't go on has ended so long after its disk failed it, if it was not paused meanwhile.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// What is said of disks: errors of the system, damage, and copies that the node or its peers refuse.
const SAID_OF_DISKS: [&str; 5] = [
    "cannot use the data directory",
    "the disk of the data directory is full",
    "is damaged at byte",
    "this data directory is a copy",
    "its disk went back in time",
];

/// The last time that a disk failed its process, as long as it is an excuse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mishap(Option<Duration>);

impl Mishap {
    /// So much time has passed; the disk has failed again, or not; the process stands still, or not.
    pub(super) fn pass(&mut self, now: Duration, fails: bool, is_paused: bool) {
        let known = self.0.filter(|at| now <= *at + ENDS_WITHIN);
        self.0 = if fails || is_paused && known.is_some() { Some(now) } else { known };
    }

    /// Whether a process may end now and say this, with a disk that was spoilt or not.
    pub(super) fn excuses(self, said: &str, spoilt: bool) -> bool {
        (self.0.is_some() || spoilt) && SAID_OF_DISKS.iter().any(|known| said.contains(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of the disk excuses an end soon after it, or after a pause; not one that comes later or says nothing of the disk.
    #[test]
    fn excuses_pass() {
        let ms = Duration::from_millis;
        let said = "the log can't go on: cannot use the data directory: write disk/log-1: no";
        let mut mishap = Mishap::default();
        assert!(!mishap.excuses(said, false) && mishap.excuses(said, true));
        mishap.pass(ms(100), true, false);
        mishap.pass(ms(1000), false, false);
        assert!(mishap.excuses(said, false) && !mishap.excuses("a task ended", true));
        for at in 10..50 {
            mishap.pass(ms(at * 100), false, true);
        }
        mishap.pass(ms(5500), false, false);
        assert!(mishap.excuses(said, false), "it stood still");
        mishap.pass(ms(6500), false, false);
        assert!(!mishap.excuses(said, false));
    }
}
