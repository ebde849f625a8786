//! Room on disks. What a node keeps is bounded by the size of its state and by the settings, not by how long it has run: the log goes
//! when snapshots make it needless, and so do older snapshots. Judged where nothing breaks: a disk that fails or followers that are
//! away let a log grow for good reasons.

use crate::check::Violation;
use crate::plan::Head;

/// Snapshots at rest, and one that is being written.
const SNAPSHOTS_MAX: usize = 3;
/// The log may be so many times as long as what makes a node save a snapshot: a leader keeps four of those for followers that it hears
/// of, one may fill up before the next snapshot, one while that is being written, and what the snapshot before the newest needs stays.
const SPANS_MAX: u64 = 7;
/// Segments that are not full: the one that is written, the spare one, and the oldest, of which a part is needed.
const SEGMENTS_MAX: u64 = 3;

/// Judges the files of a node, by name and length.
pub fn check(head: &Head, node: u64, files: &[(String, u64)]) -> Option<Violation> {
    let of = |kind: &'static str| files.iter().filter(move |(name, _)| name.starts_with(kind));
    let snapshots = of("snapshot-").count();
    let log_bytes: u64 = of("log-").map(|(_, bytes)| bytes).sum();
    let log_max = head.snapshot_log_bytes * SPANS_MAX + head.segment_bytes * SEGMENTS_MAX;
    let sparse = head.mix.parcels || head.mix.big_percent > 0; // one value may be longer than all of that
    let text = if snapshots > SNAPSHOTS_MAX {
        format!("n{node} keeps {snapshots} snapshots")
    } else if log_bytes > log_max && !sparse {
        format!("n{node} keeps {log_bytes} bytes of log, where {log_max} are more than it can need")
    } else {
        return None;
    };
    Some(Violation::new("room", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Snapshots that pile up and a log that grows for ever are found; what a node may need is not.
    #[test]
    fn what_piles_up_is_found() {
        let mut head = crate::scenario::named("calm").expect("it is there").plan(0).head;
        (head.segment_bytes, head.snapshot_log_bytes) = (4096, 8192);
        (head.mix.parcels, head.mix.big_percent) = (false, 0);
        let found = |files: &[(&str, u64)]| {
            let files: Vec<(String, u64)> =
                files.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
            check(&head, 1, &files).is_some()
        };
        let snapshot = |at| ["snapshot-1", "snapshot-2", "snapshot-3.part", "snapshot-4"][at];
        assert!(!found(&[("log-1", 60_000), (snapshot(0), 1 << 30), (snapshot(1), 1 << 30)]));
        assert!(found(&[("log-1", 60_000), ("log-2", 60_000)]));
        assert!(found(&[0, 1, 2, 3].map(|at| (snapshot(at), 10))));
    }
}
