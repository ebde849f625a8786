//! Copies of the directory taken file by file while the log is written, as `tar` and `cp` take them: the names first, then
//! each file from its beginning to its end, in any order, at any moments.

use std::collections::BTreeMap;

use steadfast_replication::ports::{Disk, File};
use steadfast_replication::storage::memory::{MemoryDisk, MemoryFile};

use super::world::{Draw, Op, SMALL, World, from_files, look, run};

/// A copy under way.
struct Copy {
    names: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
    open: Option<(String, MemoryFile, Vec<u8>)>,
    /// The state that was acknowledged when it began.
    since: usize,
    snapshots: u64,
}

impl Copy {
    fn begin(world: &World, draw: &mut Draw) -> Self {
        let mut names = world.disk.list().expect("a disk in memory");
        for at in (1..names.len()).rev() {
            names.swap(at, draw.below(at as u64 + 1) as usize);
        }
        let (since, snapshots) = (world.acked, world.snapshots);
        Self { names, files: BTreeMap::new(), open: None, since, snapshots }
    }

    /// Copies one file, or one piece of a file; true at the end. A file that is gone by now is left out.
    fn step(&mut self, disk: &MemoryDisk, piece: usize) -> bool {
        let (name, file, mut bytes) = match self.open.take() {
            Some(open) => open,
            None => match self.names.pop() {
                None => return true,
                Some(name) => match disk.open(&name) {
                    Ok(file) => (name, file, Vec::new()),
                    Err(_) => return false,
                },
            },
        };
        let mut buffer = vec![0; piece];
        let read = file.read_at(&mut buffer, bytes.len() as u64).expect("a disk in memory");
        bytes.extend_from_slice(&buffer[..read]);
        if read < piece {
            self.files.insert(name, bytes);
        } else {
            self.open = Some((name, file, bytes));
        }
        false
    }
}

/// Copies of a log under load; how many opened and how many were refused.
fn copies(piece: usize, seeds: u64) -> (usize, usize) {
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..seeds {
        run(async {
            let mut draw = Draw(seed);
            let (mut world, _) =
                World::start(MemoryDisk::default().born(1), SMALL).await.expect("it is new");
            let mut copy: Option<Copy> = None;
            for turn in 0..150 {
                let op = match draw.below(14) {
                    0 => Op::Snapshot { back: draw.below(3) },
                    1 => Op::NewTerm { replaced: draw.below(3) },
                    2 => Op::Meta,
                    3 => Op::Rest,
                    _ => Op::Append { count: 1 + draw.below(3), bytes: draw.below(400) as usize },
                };
                // Two snapshots while a copy is taken may delete what it still needs; the guarantee says so.
                let snapshots = copy.as_ref().map_or(0, |copy| world.snapshots - copy.snapshots);
                if !(matches!(op, Op::Snapshot { .. }) && snapshots > 0) {
                    assert!(world.act(&op).await, "{:?}", world.fatal);
                }
                let taken = copy.get_or_insert_with(|| Copy::begin(&world, &mut draw));
                let mut ended = false;
                for _ in 0..draw.below(3) {
                    ended = ended || taken.step(&world.disk, piece);
                }
                if let Some(copy) = copy.take_if(|_| ended) {
                    // The original with these bytes would be damaged.
                    refused +=
                        usize::from(look(&from_files(copy.files.clone()), SMALL).await.is_err());
                    let disk = from_files(copy.files).born(2);
                    let begun = World::start(disk.clone(), SMALL).await;
                    let (mut copied, recovered) =
                        begun.unwrap_or_else(|error| panic!("seed {seed}, turn {turn}: {error}"));
                    let found = world.check(&recovered, copy.since);
                    // It goes on from there, and is an original now.
                    assert!(copied.act(&Op::Append { count: 2, bytes: 30 }).await);
                    let again = look(&disk.after_power_cut(|| false), SMALL).await;
                    let again =
                        again.unwrap_or_else(|error| panic!("seed {seed}, turn {turn}: {error}"));
                    copied.check(&again, 1);
                    assert!(found >= copy.since);
                    opened += 1;
                }
            }
        });
    }
    (opened, refused)
}

/// When each file is read at one moment, every copy opens, with all that was acknowledged before it began.
#[test]
fn a_copy_of_whole_files_opens() {
    let (opened, refused) = copies(1 << 20, 40);
    assert!(opened > 100 && refused == 0, "{opened} opened, {refused} had holes");
}

/// When the end of the log is read in pieces while it is written, a copy can hold a later record without an earlier one. In the
/// original that is a write that the disk lost, and refused; a copy opens with all that was acknowledged before it began.
#[test]
fn a_copy_of_pieces_opens() {
    let (opened, refused) = copies(512, 160);
    assert!(opened > 400 && refused > 10, "{opened} opened, {refused} had holes");
}
