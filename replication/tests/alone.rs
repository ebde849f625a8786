//! A node that is the whole quorum.

mod world;

use steadfast_core::entry::{self, Part};
use steadfast_replication::event::{Input, Output};
use steadfast_replication::node::{Node, NodeStart};
use steadfast_replication::storage::{HardState, Membership};
use world::{node_config, turn};

/// Entries that are applied while a snapshot is written do not make it one that was overtaken, also not where a node alone forgets its log
/// at once: otherwise it would take snapshot after snapshot under load.
#[test]
fn a_snapshot_counts_though_the_log_has_moved_on() {
    let start = NodeStart {
        hard_state: HardState::default(),
        membership: Membership::of_voters(&[1]),
        snapshot: None,
        entries: Vec::new(),
    };
    let mut node = Node::new(node_config(1), start).expect("it is new");
    let (mut applied, mut asked, mut saved) = (0, 0, Vec::new());
    for round in 0..40 {
        let (number, op) = (round + 1, vec![b'x'; 500]);
        let parcel = entry::encode_parcel(1, 1, number, Part::More, &op);
        let mut outputs = turn(&mut node, Input::Parcel { sequence: number, op: parcel.into() });
        while !outputs.is_empty() {
            let mut next = Vec::new();
            for output in outputs {
                let input = match output {
                    Output::Persist { number, .. } => Input::Persisted { number },
                    Output::Apply { entries } => {
                        applied = entries.last().expect("there are some").index;
                        Input::Applied { index: applied, passed: number, registered: true }
                    }
                    Output::TakeSnapshot => {
                        asked += 1;
                        Input::SnapshotBegun { index: applied }
                    }
                    Output::SaveSnapshot { meta, .. } => {
                        saved.push((round, meta));
                        continue;
                    }
                    _ => continue,
                };
                next.extend(turn(&mut node, input));
            }
            outputs = next;
        }
        // It takes the disk some rounds.
        if let Some((_, meta)) = saved.pop_if(|(begun, _)| *begun + 3 < round) {
            let index = meta.index;
            assert!(index < applied);
            turn(&mut node, Input::SnapshotSaved { meta, compacted_to: index });
            assert_eq!(node.snapshot_index(), index);
        }
    }
    assert!((1..8).contains(&asked), "{asked} snapshots of 20,000 bytes of log");
}
