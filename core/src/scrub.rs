//! Scrub: what memory holds is compared, piece by piece, with what was written to it.
//!
//! Every change keeps the digest of its slot up to date, so a digest tells what a slot has to hold. A bit that flips in a value, a key that
//! its table does not find any more, or a change that went past the digest, shows when the slot is read again. Replicas compare digests
//! alone, which cost nothing; this makes sure that each digest stands for what clients would read.

use alloc::vec::Vec;
use core::fmt;

use crate::access::DATABASES;
use crate::content::{Reached, read_piece};
use crate::digest::deletion_term;
use crate::hash::{SLOTS, hash_of};
use crate::keyspace::Keyspace;

/// Bytes that the facts of an item count for.
const ITEM_BYTES: usize = 64;
/// Bytes that a slot without items counts for.
const SLOT_BYTES: usize = 4;
/// Times that a slot is begun again because it has changed meanwhile, before it is left to the next round.
const RESTARTS_MAX: u32 = 8;

/// Memory does not hold what was written to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decay {
    /// The database.
    pub db: usize,
    /// The slot; none if it was not looked at slot by slot.
    pub slot: Option<usize>,
}

impl fmt::Display for Decay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory does not hold what was written to database {}", self.db)?;
        self.slot.map_or(Ok(()), |slot| write!(f, ", slot {slot}"))
    }
}

impl core::error::Error for Decay {}

/// How far a round has come.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    db: usize,
    slot: usize,
    /// The slot under way.
    begun: Option<Begun>,
    restarts: u32,
    scratch: Vec<u8>,
}

/// A slot that has been read in part.
#[derive(Debug)]
struct Begun {
    /// Its digest when it was begun: with another one it has changed.
    digest: u128,
    sum: u128,
    item: usize,
    /// How much of the item's value was read; nothing of the item was if that is nothing.
    reached: Reached,
}

impl Scrub {
    /// Reads some `budget` bytes; true at the end of a round.
    pub(crate) fn step(&mut self, keyspace: &Keyspace, budget: usize) -> Result<bool, Decay> {
        let mut spent = 0;
        while spent < budget.max(1) {
            if self.db == DATABASES {
                (self.db, self.slot) = (0, 0);
                return Ok(true);
            }
            let database = keyspace.db(self.db);
            if self.slot == 0 && self.begun.is_none() {
                let slots = database.slots().iter().map(|slot| slot.digest);
                if slots.fold(0, u128::wrapping_add) != database.digest() {
                    return Err(Decay { db: self.db, slot: None });
                }
            }
            if self.slot == SLOTS || database.slots().is_empty() {
                (self.db, self.slot) = (self.db + 1, 0);
                spent += SLOT_BYTES;
                continue;
            }
            spent += SLOT_BYTES + self.read_slot(keyspace, budget)?;
        }
        Ok(false)
    }

    /// Reads on in the slot; answers how many bytes.
    fn read_slot(&mut self, keyspace: &Keyspace, budget: usize) -> Result<usize, Decay> {
        let slot = &keyspace.db(self.db).slots()[self.slot];
        let changed = self.begun.take_if(|begun| begun.digest != slot.digest).is_some();
        self.restarts += u32::from(changed);
        if self.restarts > RESTARTS_MAX {
            (self.slot, self.restarts) = (self.slot + 1, 0);
            return Ok(0);
        }
        let mut begun = self.begun.take().unwrap_or_else(|| Begun {
            digest: slot.digest,
            sum: deletion_term(self.slot as u16, slot.deleted_at),
            item: 0,
            reached: Reached::default(),
        });
        let decay = Decay { db: self.db, slot: Some(self.slot) };
        let mut spent = 0;
        while begun.item < slot.len() {
            let item = slot.item(begun.item);
            if spent >= budget {
                self.begun = Some(begun);
                return Ok(spent);
            }
            if begun.reached.is_start() {
                let hash = hash_of(keyspace.hash_key, item.key);
                let is_found = slot.find(hash, item.key) == Some(begun.item);
                if !is_found {
                    return Err(decay);
                }
                spent += ITEM_BYTES + item.key.len();
            }
            let piece = read_piece(item, begun.reached, budget, &mut self.scratch, None);
            begun.sum = begun.sum.wrapping_add(piece.terms);
            spent += piece.bytes;
            begun.item += usize::from(piece.next.is_none());
            begun.reached = piece.next.unwrap_or_default();
        }
        if begun.sum != slot.digest {
            return Err(decay);
        }
        (self.slot, self.restarts) = (self.slot + 1, 0);
        Ok(spent)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::machine::StateMachine;
    use crate::record::{NEVER, Value};

    fn filled() -> Keyspace {
        let mut keyspace = Keyspace::new();
        for number in 0..300_u32 {
            let value = vec![number as u8; if number % 50 == 0 { 20_000 } else { 10 }];
            let expires_at = if number % 3 == 0 { 1000 } else { NEVER };
            let key = number.to_le_bytes();
            keyspace.set((number % 2) as usize * 5, &key, Value::string(&value), expires_at);
        }
        keyspace.commit();
        keyspace
    }

    /// Two whole rounds, in steps of any size.
    fn scrub(keyspace: &Keyspace, budget: usize) -> Result<(), Decay> {
        let mut scrub = Scrub::default();
        for _ in 0..2 {
            while !scrub.step(keyspace, budget)? {}
        }
        Ok(())
    }

    #[test]
    fn what_was_written_is_found() {
        for budget in [1, 100, 4095, 5000, 1 << 20] {
            assert_eq!(scrub(&filled(), budget), Ok(()));
        }
    }

    /// Any single bit of any value, key or fact.
    #[test]
    fn a_flipped_bit_is_found() {
        let keyspace = filled();
        let places: Vec<_> = (0..300_u32)
            .map(|number| ((number % 2) as usize * 5, number.to_le_bytes()))
            .map(|(db, key)| keyspace.find(db, &key).expect("it was set"))
            .collect();
        for (number, place) in places.into_iter().enumerate() {
            let mut keyspace = filled();
            let slot = keyspace.slot_to_damage(place);
            match slot.held_mut(place.position) {
                Some(value) if number % 4 == 0 => {
                    let bytes = value.growing();
                    let at = number * 67 % bytes.len();
                    bytes[at] ^= 0x80;
                }
                _ => slot.damage(place.position, number * 7, number as u8),
            }
            let found = scrub(&keyspace, 4096).map_err(|decay| decay.db);
            assert_eq!(found, Err(place.db), "{number}");
        }
    }

    /// What can't be read again does not take the place of a good snapshot.
    #[test]
    fn no_snapshot_is_written_of_what_decayed() {
        let mut machine = StateMachine::new();
        machine.keyspace = filled();
        let place = machine.keyspace.find(5, &151_u32.to_le_bytes()).expect("it was set");
        for damaged in [false, true] {
            if damaged {
                machine.keyspace.slot_to_damage(place).damage(place.position, 30, 1);
            }
            machine.begin_snapshot();
            let outcome = loop {
                match machine.step_snapshot(3000).expect("it is under way") {
                    Ok((_, false)) => {}
                    Ok((_, true)) => break None,
                    Err(decay) => break Some(decay.db),
                }
            };
            assert_eq!(outcome, damaged.then_some(5));
            assert_eq!(machine.step_snapshot(3000), None, "it has come to its end");
        }
    }

    /// A slot that changes under way is read anew, and no change is taken for decay.
    #[test]
    fn changes_are_no_decay() {
        let mut keyspace = filled();
        let mut scrub = Scrub::default();
        for round in 0..3000_u32 {
            assert!(scrub.step(&keyspace, 1000).is_ok());
            let key = (round % 300).to_le_bytes();
            let db = (round % 2) as usize * 5;
            match (round % 5, keyspace.find(db, &key)) {
                (0, Some(place)) => keyspace.remove(place),
                _ => keyspace.set(db, &key, Value::string(&[7; 9000]), NEVER),
            }
            keyspace.commit();
        }
    }
}
