//! Two machines that apply the same commands, and dice that draw them: for tests of random commands.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part of this

use steadfast_core::entry::{encode_entry, push_command};
use steadfast_core::machine::{Outcome, Sink};
use steadfast_core::reply::Reply;
use steadfast_core::stamp::{Stamp, UnixMillis};

use crate::script::Answer;
use crate::world::{Heard, NO_LIMIT, NODE, World};

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("it is below a usize")
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub fn one<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Keeps one reply.
#[derive(Default)]
struct Ear(Option<Reply<'static>>);

impl Sink for Ear {
    fn wants(&self, node: u64, _incarnation: u64) -> bool {
        node == NODE
    }

    fn reply(&mut self, _sequence: u64, _position: u32, outcome: Outcome<'_>) {
        let Outcome::Reply(reply) = outcome else { panic!("nothing has a limit") };
        self.0 = Some(reply.into_owned());
    }

    fn passed(&mut self, _sequence: u64) {}
}

/// A machine that answers, and one that only applies.
pub struct Twins {
    pub world: World,
    mirror: World,
}

impl Twins {
    pub fn new() -> Self {
        Self { world: World::new(), mirror: World { deaf: true, ..World::new() } }
    }

    /// Applies a command on both, which must agree.
    pub fn ask(&mut self, argv: &[Vec<u8>]) -> Reply<'static> {
        let mut batch = Vec::new();
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        push_command(&mut batch, 1, NO_LIMIT, 0, &argv);
        let parcel = self.world.parcel(&batch);
        let index = self.world.machine.applied_index() + 1;
        let seed = index.wrapping_mul(0xabcd_ef97);
        let stamp = Stamp { time: UnixMillis(self.world.now), seed };
        let payload = encode_entry(stamp, [&parcel[..]]);
        let (mut ear, mut deaf) = (Ear::default(), Heard { deaf: true, ..Heard::default() });
        let (world, mirror) = (&mut self.world, &mut self.mirror);
        world.machine.apply(index, &payload, &mut world.net, &mut ear).expect("it is well formed");
        mirror.machine.apply(index, &payload, &mut mirror.net, &mut deaf).expect("it is too");
        assert_eq!(world.machine.digest(), mirror.machine.digest(), "the replicas differ");
        ear.0.expect("every request is answered")
    }

    /// From here on the second one is one that was restored.
    pub fn restore(&mut self) {
        let restored = World { deaf: true, ..self.world.restored(1021) };
        assert_eq!(restored.snapshot(), self.mirror.snapshot(), "a snapshot is the state");
        assert_eq!(restored.machine.digest(), self.world.machine.digest());
        assert_eq!(restored.machine.used_bytes(), self.mirror.machine.used_bytes());
        self.mirror = restored;
    }

    /// Nothing that was asked has panicked.
    pub fn assert_sound(&self) {
        assert_eq!(self.world.machine.statistics().contained_panics, 0);
    }
}

/// A reply as RESP2 has it, of commands that answer no maps and sets, and doubles and pairs only with `scores`.
pub fn plain(reply: &Reply<'_>, scores: bool) -> Answer {
    check(reply, scores);
    Answer::of(reply)
}

fn check(reply: &Reply<'_>, scores: bool) {
    match reply {
        Reply::Array(items) => items.iter().for_each(|item| check(item, scores)),
        Reply::Pairs(pairs) if scores => {
            pairs.iter().flat_map(|(one, other)| [one, other]).for_each(|it| check(it, scores));
        }
        Reply::Double(_) => assert!(scores, "none of these commands answers a double"),
        Reply::Ok
        | Reply::Status(_)
        | Reply::Int(_)
        | Reply::Bulk(_)
        | Reply::Nil
        | Reply::NilArray
        | Reply::Error(_) => {}
        other => panic!("none of these commands answers {other:?}"),
    }
}
