//! A key's content, read piece by piece, with the digest terms of what was read: for snapshots, which write it down, and for the scrub.
//!
//! Bytes are a stream as they are; so are entries, each with its length in front. A piece may end anywhere, also in the middle of an entry.
//! Read to its end, the terms of all pieces and of the facts make the item's share of its slot's digest. What a tree says of the
//! sum of its entries is taken off again, so that a tree whose entries are not those that were written does not come out even.

use alloc::vec::Vec;

use crate::collections::{Zset, element_term, entry_term, put_length};
use crate::digest::{chunk_terms_begun, facts_term};
use crate::record::{Content, ItemRef, Value, ValueRef};

/// Bytes that looking a member up counts for, where that is done.
const LOOKUP_BYTES: usize = 256;

/// How far an item has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reached {
    /// Entries that were read whole.
    entries: usize,
    /// Bytes of what comes next that were read.
    offset: usize,
}

impl Reached {
    /// Whether nothing of the content was read yet.
    pub(crate) fn is_start(self) -> bool {
        self == Self::default()
    }
}

/// What a piece holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) terms: u128,
    pub(crate) bytes: usize,
    /// Where the next one begins; none at the end.
    pub(crate) next: Option<Reached>,
}

/// Reads about `room` bytes, at least one where there is one, and appends them to `out` if they are asked for. Otherwise what stands
/// beside the content, and is not written down, is compared with it.
pub(crate) fn read_piece(
    item: ItemRef<'_>,
    from: Reached,
    room: usize,
    scratch: &mut Vec<u8>,
    out: Option<&mut Vec<u8>>,
) -> Piece {
    let facts = if from.is_start() { facts_term(scratch, item) } else { 0 };
    let mut piece = match item.record.value.content() {
        Content::Bytes(bytes) => {
            let to = bytes.len().min(from.offset + room.max(1));
            if let Some(out) = out {
                out.extend_from_slice(&bytes[from.offset..to]);
            }
            let next = Reached { offset: to, ..from };
            Piece {
                terms: chunk_terms_begun(item.key, bytes, from.offset, to),
                bytes: to - from.offset,
                next: (to < bytes.len()).then_some(next),
            }
        }
        Content::Entries { tree, first, sum } => {
            let mut piece = read_entries(item, tree, first, from, room.max(1), out);
            if piece.next.is_none() {
                piece.terms = piece.terms.wrapping_sub(sum);
            }
            piece
        }
    };
    piece.terms = piece.terms.wrapping_add(facts);
    piece
}

fn read_entries(
    item: ItemRef<'_>,
    tree: &crate::collections::Tree,
    first: Option<i64>,
    from: Reached,
    room: usize,
    mut out: Option<&mut Vec<u8>>,
) -> Piece {
    let (mut reached, mut terms, mut bytes, mut prefix) = (from, 0_u128, 0, Vec::new());
    for entry in tree.iter_from(from.entries) {
        if bytes >= room {
            return Piece { terms, bytes, next: Some(reached) };
        }
        prefix.clear();
        put_length(&mut prefix, entry.len());
        let (start, whole) = (reached.offset, prefix.len() + entry.len());
        let end = whole.min(start + room - bytes);
        if let Some(out) = &mut out {
            let split = prefix.len();
            out.extend_from_slice(prefix.get(start..end.min(split)).unwrap_or_default());
            out.extend_from_slice(
                entry.get(start.max(split) - split..end.max(split) - split).unwrap_or_default(),
            );
        } else if let ValueRef::Held(Value::Zset(Zset::Large(zset))) = item.record.value {
            bytes += LOOKUP_BYTES;
            terms = terms.wrapping_add(u128::from(!zset.agrees(entry)));
        }
        bytes += end - start;
        if end < whole {
            reached.offset = end;
            return Piece { terms, bytes, next: Some(reached) };
        }
        terms = terms.wrapping_add(match first {
            Some(first) => element_term(first.wrapping_add(reached.entries as i64), entry),
            None => entry_term(entry),
        });
        reached = Reached { entries: reached.entries + 1, offset: 0 };
    }
    // A tree that holds fewer than it says is found out by its sum.
    Piece { terms, bytes, next: None }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::collections::{End, Hash, List, Set};
    use crate::keyspace::{Keyspace, Place};
    use crate::machine::StateMachine;
    use crate::record::NEVER;
    use crate::rng::Rng;
    use crate::stamp::UnixMillis;

    const KEYS: u64 = 12;

    fn word(rng: &mut Rng) -> Vec<u8> {
        let length = [1, 2, 9, 30, 70, 900][rng.below(6) as usize] * (1 + rng.below(20) / 19 * 5);
        let first = rng.below(200) as u8;
        let mut word = vec![first; length as usize];
        if rng.below(3) == 0 {
            word = crate::number::int_bytes(rng.below(700) as i64);
        }
        word
    }

    /// One change of a collection by chance; of a large one sometimes many at once.
    fn change(value: &mut Value, rng: &mut Rng) {
        for _ in 0..[1, 1, 1, 3, 200][rng.below(5) as usize] {
            let (one, other) = (word(rng), word(rng));
            match value {
                Value::List(list) => {
                    let rank = rng.below(list.len() as u64 + 1) as usize;
                    match rng.below(8) {
                        0 if rank < list.len() => drop(list.remove(rank)),
                        1 if rank < list.len() => list.replace(rank, &one),
                        2 if rng.below(40) == 0 => list.trim(rank / 3, rank),
                        3 | 4 => list.push(End::Left, &one),
                        5 => list.insert(rank, &one),
                        _ => list.push(End::Right, &one),
                    }
                }
                Value::Hash(hash) if rng.below(3) == 0 => drop(hash.remove(&one)),
                Value::Hash(hash) => drop(hash.set(&one, &other)),
                Value::Set(set) if rng.below(3) == 0 => drop(set.remove(&one)),
                Value::Set(set) => drop(set.add(&one)),
                Value::Zset(zset) if rng.below(3) == 0 => drop(zset.remove(&one)),
                Value::Zset(zset) => drop(zset.set(&one, rng.below(50) as f64)),
                _ => unreachable!("it is a collection"),
            }
        }
    }

    fn empty(kind: u64) -> Value {
        match kind % 4 {
            0 => Value::List(List::default()),
            1 => Value::Hash(Hash::default()),
            2 => Value::Set(Set::default()),
            _ => Value::Zset(Zset::default()),
        }
    }

    /// A frame of some commands by chance, as a script makes one.
    fn frame(keyspace: &mut Keyspace, rng: &mut Rng) {
        for _ in 0..=rng.below(4) {
            let number = rng.below(KEYS);
            let (db, key) = (rng.below(2) as usize, number.to_le_bytes());
            let place: Option<Place> = keyspace.find(db, &key);
            match (rng.below(30), place) {
                (0, Some(place)) => keyspace.remove(place),
                (1, Some(place)) => keyspace.set_deadline(place, 1 + rng.below(9)),
                (2, Some(place)) => {
                    let value = keyspace.item(place).record.value.to_value();
                    keyspace.set(db, &rng.below(KEYS).to_le_bytes(), value, NEVER);
                }
                (3, _) if rng.below(20) == 0 => keyspace.flush(db),
                (4, _) if rng.below(9) == 0 => keyspace.swap(0, 1),
                (_, Some(place)) => {
                    let is_string = keyspace.item(place).record.value.as_string().is_some();
                    if is_string {
                        let bytes = word(rng);
                        keyspace.overwrite(place, rng.below(20) as usize, &bytes);
                    } else {
                        keyspace.change(place, |value| (change(value, rng), true));
                    }
                }
                (5, None) => keyspace.set(db, &key, Value::string(&word(rng)), 40),
                (_, None) => {
                    let mut value = empty(number);
                    change(&mut value, rng);
                    keyspace.set(db, &key, value, NEVER);
                }
            }
        }
    }

    fn written(machine: &StateMachine) -> Vec<u8> {
        let mut bytes = Vec::new();
        machine.snapshot(&mut |chunk| bytes.extend(chunk));
        bytes
    }

    /// Reads everything again, in steps of any size; a digest that is not that of the content is found.
    fn scrub(keyspace: &Keyspace, budget: usize) {
        let mut scrub = crate::scrub::Scrub::default();
        while !scrub.step(keyspace, budget).expect("it holds what was written to it") {}
    }

    /// What is rolled back leaves no trace; digest, memory estimate and content agree after every frame; and a snapshot that is written
    /// meanwhile is that of the moment in which it began, and makes the same state, wherever it is cut.
    #[test]
    fn collections_are_undone_written_and_read_again_exactly() {
        for seed in 0..12 {
            let mut rng = Rng::seeded(seed);
            let mut machine = StateMachine::new();
            machine.stamp.time = UnixMillis(0);
            let mut under_way: Option<(Vec<u8>, Vec<u8>)> = None;
            for round in 0..300 {
                let before = (machine.digest(), machine.used_bytes());
                let is_undone = rng.below(3) == 0;
                let bytes = (is_undone && round % 10 == 0).then(|| written(&machine));
                frame(&mut machine.keyspace, &mut rng);
                if is_undone {
                    machine.keyspace.roll_back(0);
                    assert_eq!((machine.digest(), machine.used_bytes()), before, "{seed} {round}");
                    bytes.into_iter().for_each(|bytes| assert!(written(&machine) == bytes));
                }
                machine.keyspace.commit();
                if under_way.is_none() && rng.below(20) == 0 {
                    under_way = Some((written(&machine), Vec::new()));
                    machine.begin_snapshot();
                }
                if let Some((expected, bytes)) = &mut under_way {
                    let budget = 1 + rng.below(3000) as usize;
                    let step = machine.step_snapshot(budget).expect("it is under way");
                    let (piece, is_last) = step.expect("nothing has decayed");
                    bytes.extend(piece);
                    if is_last {
                        let mut chunks = bytes.chunks(1 + rng.below(5000) as usize);
                        let restored = StateMachine::restore(&mut chunks).expect("it is whole");
                        assert!(written(&restored) == *expected, "{seed} {round}");
                        scrub(&restored.keyspace, budget);
                        under_way = None;
                    }
                }
                if round % 20 == 0 {
                    scrub(&machine.keyspace, 1 + rng.below(9000) as usize);
                }
                machine.reclaim(rng.below(40) as usize);
            }
            while !machine.reclaim(1000) {}
        }
    }

    /// A script that changes one key again and again keeps its first value and its last, and none between.
    #[test]
    fn versions_within_a_command_are_freed() {
        let mut keyspace = Keyspace::new();
        let mut value = empty(0);
        (0..3000).for_each(|_| change(&mut value, &mut Rng::seeded(1)));
        keyspace.set(0, b"key", value, NEVER);
        keyspace.commit();
        let place = keyspace.find(0, b"key").expect("it was set");
        for _ in 0..5000 {
            keyspace.change(place, |value| {
                if let Value::List(list) = value {
                    list.push(End::Right, b"one more");
                }
                ((), true)
            });
            assert!(keyspace.buried() < 100);
        }
    }

    /// A bit that flips anywhere in a tree is found, and so is one in what stands beside a sorted set.
    #[test]
    fn entries_that_change_by_themselves_are_found() {
        for kind in 0..4 {
            let mut rng = Rng::seeded(kind);
            let mut keyspace = Keyspace::new();
            let mut value = empty(kind);
            (0..3000).for_each(|_| change(&mut value, &mut rng));
            keyspace.set(0, b"key", value, NEVER);
            keyspace.commit();
            scrub(&keyspace, 5000);
            let place = keyspace.find(0, b"key").expect("it was set");
            let slot = keyspace.slot_to_damage(place);
            match slot.held_mut(place.position).expect("it is large") {
                Value::List(List::Large(list)) => list.damage(),
                Value::Hash(Hash::Large(sorted)) => sorted.damage(),
                Value::Set(Set::Boxed(set)) => match &mut **set {
                    crate::collections::BoxedSet::Large(sorted) => sorted.damage(),
                    crate::collections::BoxedSet::Ints(_) => panic!("it is large"),
                },
                Value::Zset(Zset::Large(zset)) => zset.damage(),
                _ => panic!("it is large"),
            }
            let mut scrub = crate::scrub::Scrub::default();
            let found = loop {
                match scrub.step(&keyspace, 3000) {
                    Ok(false) => {}
                    outcome => break outcome.is_err(),
                }
            };
            assert!(found, "{kind}");
        }
    }
}
