//! The simulated disk against a real directory: as long as nothing breaks, both give the same answers to the same operations.

use std::fs;
use std::future::Future;
use std::io;
use std::task::{Context, Poll, Waker};

use steadfast_replication::ports::{Disk, File};
use steadfast_server::adapters::FileDisk;
use steadfast_sim::draw::Draws;
use steadfast_sim::ports::disk::SharedPlatter;

const SEEDS: u64 = 20;
const OPERATIONS: u64 = 300;
const NAMES: [&str; 4] = ["log-1", "log-2", "meta", "snapshot-1"];
const OPEN_MAX: usize = 6;

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a disk without delays made somebody wait"),
    }
}

/// A result as both disks can say it: texts differ, kinds do not.
fn told<T: std::fmt::Debug>(result: io::Result<T>) -> String {
    format!("{:?}", result.map_err(|error| error.kind()))
}

/// A process that does what the draws say, to one kind of disk.
struct Process<D: Disk> {
    disk: D,
    open: Vec<D::File>,
}

impl<D: Disk> Process<D> {
    fn keep(&mut self, opened: io::Result<D::File>) -> String {
        let result = told(opened.as_ref().map(drop).map_err(|error| error.kind().into()));
        self.open.extend(opened.ok());
        result
    }

    /// One operation and what came of it, in words.
    fn step(&mut self, draws: &mut Draws) -> String {
        let (name, other) = (draws.pick(&NAMES), draws.pick(&NAMES));
        let (kind, at) = (draws.below(13), draws.below(OPEN_MAX as u64) as usize);
        let (offset, length) = (draws.below(3000), draws.below(1500) as usize);
        let byte = draws.below(256) as u8;
        let came = match kind {
            0 | 1 => {
                let created = self.disk.create(name);
                self.keep(created)
            }
            2 | 3 => {
                let opened = self.disk.open(name);
                self.keep(opened)
            }
            4 => told(self.disk.rename(name, other)),
            5 => told(self.disk.remove(name)),
            6 => told(now(self.disk.sync_directory())),
            7 => told(self.disk.list().map(|mut names| {
                names.sort();
                names
            })),
            _ => self.on_file(kind, at, offset, length, byte),
        };
        if self.open.len() > OPEN_MAX {
            self.open.remove(at);
        }
        format!("{kind} {name} {other} file {at} at {offset} {length}: {came}")
    }

    fn on_file(&mut self, kind: u64, at: usize, offset: u64, length: usize, byte: u8) -> String {
        let Some(file) = self.open.get_mut(at) else { return String::new() };
        match kind {
            8 => told(file.len()),
            9 => told(file.set_len(offset)),
            10 => {
                let mut buffer = vec![0; length];
                let read = file.read_at(&mut buffer, offset);
                told(read.map(|count| buffer[..count].to_vec()))
            }
            11 => told(file.write_at(&vec![byte; length], offset)),
            _ => told(now(file.sync())),
        }
    }
}

/// Nothing breaks: the same lengths, bytes, names and kinds of errors, also of files that lost their names while they were open.
#[test]
fn a_sound_disk_is_like_a_real_one() {
    let name = format!("steadfast-sim-disk-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let (mut read, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        fs::create_dir_all(&directory).expect("it can be made");
        let path = directory.to_str().expect("its name is text");
        let disk = FileDisk::open(path).expect("it is ours");
        let mut real = Process { disk, open: Vec::new() };
        let mut simulated = Process { disk: SharedPlatter::default().mount(), open: Vec::new() };
        let (mut draws, mut same) = (Draws::new(seed, "disk"), Draws::new(seed, "disk"));
        let mut before = Vec::new();
        for _ in 0..OPERATIONS {
            let (expected, found) = (real.step(&mut draws), simulated.step(&mut same));
            assert_eq!(found, expected, "seed {seed}, after {before:#?}");
            read += u64::from(expected.contains("Ok(["));
            refused += u64::from(expected.contains("Err("));
            before.push(expected);
        }
        drop(real);
        fs::remove_dir_all(&directory).expect("it is ours");
    }
    assert!(read > OPERATIONS && refused > OPERATIONS, "read {read}, refused {refused}");
}
