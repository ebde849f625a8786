//! When a process may end by itself: soon after its disk failed it, or because of what lies on a disk that was spoilt. And it says so: an
//! end for another reason is none the better for a disk that failed as well.

use std::time::Duration;

/// A process that can't go on has ended so long after its disk failed it, if it was not paused meanwhile.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// What is said of a disk whose operations fail.
const SAID_OF_ERRORS: [&str; 2] = ["cannot use the data directory", IS_FULL];
/// What is said of one that has rotted: what is read is wrong, or can't be read; or the last that was written is, which is no other than
/// what a loss of power leaves, and then a leader knows that it was there.
const SAID_OF_ROT: [&str; 3] =
    ["is damaged at byte", "cannot use the data directory: read", LOST_WHAT_IT_PROMISED];
/// What is said of one that was put back or exchanged: by the node itself, by its peers, by a leader.
const SAID_OF_COPIES: [&str; 3] =
    ["this data directory is a copy", "its disk went back in time", LOST_WHAT_IT_PROMISED];
/// What a node says that is no member any more.
pub(super) const SAID_OF_REMOVED: &str = "was removed from its cluster";
/// What is said of one without room. One that was exchanged may have become full before the node could keep some for a start.
const IS_FULL: &str = "the disk of the data directory is full";
const LOST_WHAT_IT_PROMISED: &str = "Its disk has lost what it promised";

/// What was done to a disk behind its node's back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spoils {
    /// What lies on it has rotted.
    pub(super) rotten: bool,
    /// It was put back to an older state, or emptied.
    pub(super) exchanged: bool,
}

impl Spoils {
    /// Whether a process may end and say this, at any time. On a bare disk nothing is kept for a start without room.
    fn excuses(self, said: &str, is_bare: bool) -> bool {
        let says = |known: &[&str]| known.iter().any(|known| said.contains(known));
        self.rotten && says(&SAID_OF_ROT)
            || self.exchanged && (says(&SAID_OF_COPIES) || is_bare && says(&[IS_FULL]))
    }
}

/// The last time that a disk failed its process, as long as it is an excuse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mishap(Option<Duration>);

impl Mishap {
    /// So much time has passed; the disk has failed again, or not; the process stands still, or not.
    pub(super) fn pass(&mut self, now: Duration, fails: bool, is_paused: bool) {
        let known = self.0.filter(|at| now <= *at + ENDS_WITHIN);
        self.0 = if fails || is_paused && known.is_some() { Some(now) } else { known };
    }

    /// Whether a process may end now and say this, with a disk that was spoilt or not, and is bare or not.
    pub(super) fn excuses(self, said: &str, spoils: Option<Spoils>, is_bare: bool) -> bool {
        self.0.is_some() && SAID_OF_ERRORS.iter().any(|known| said.contains(known))
            || spoils.is_some_and(|spoils| spoils.excuses(said, is_bare))
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
        assert!(!mishap.excuses(said, None, false));
        mishap.pass(ms(100), true, false);
        mishap.pass(ms(1000), false, false);
        assert!(mishap.excuses(said, None, false) && !mishap.excuses("a task ended", None, false));
        for at in 10..50 {
            mishap.pass(ms(at * 100), false, true);
        }
        mishap.pass(ms(5500), false, false);
        assert!(mishap.excuses(said, None, false), "it stood still");
        mishap.pass(ms(6500), false, false);
        assert!(!mishap.excuses(said, None, false));
    }

    /// A spoilt disk excuses at any time what is said of just that.
    #[test]
    fn spoils_excuse_their_own() {
        let rotten = Spoils { rotten: true, ..Spoils::default() };
        let exchanged = Spoils { exchanged: true, ..Spoils::default() };
        let said = "the disk of the data directory is full: write disk/meta: no";
        for (spoils, bare, excused) in
            [(exchanged, true, true), (exchanged, false, false), (rotten, true, false)]
        {
            let excuses = Mishap::default().excuses(said, Some(spoils), bare);
            assert_eq!(excuses, excused, "{spoils:?} {bare}");
        }
        for (said, by_rot, by_copy) in [
            ("log-1 is damaged at byte 7: a checksum", true, false),
            ("this data directory is a copy: identity was made", false, true),
            ("cannot use the data directory: read log-1: no", true, false),
            ("cannot use the data directory: write log-1: no", false, false),
            ("a task ended", false, false),
        ] {
            let mishap = Mishap::default();
            assert_eq!(mishap.excuses(said, Some(rotten), false), by_rot, "{said}");
            assert_eq!(mishap.excuses(said, Some(exchanged), false), by_copy, "{said}");
            assert!(!mishap.excuses(said, None, false), "{said}");
        }
    }
}
