//! What a seed's clients do, drawn as a whole: which kinds of work exist, which commands, how large values get and how long pipelines.
//! What is left out in most seeds leaves room for what is rare in the rest.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::draw::Draws;

use super::{Kind, expiry, registers};

/// See the file's head.
#[allow(clippy::struct_excessive_bools)] // each is drawn on its own
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    /// Kinds of work.
    pub kinds: Vec<Kind>,
    /// Commands on registers.
    #[serde(deserialize_with = "registers_named")]
    pub registers: Vec<&'static str>,
    /// Commands on keys that end.
    #[serde(deserialize_with = "short_named")]
    pub short: Vec<&'static str>,
    /// Whether some values have kilobytes.
    pub kilobytes: bool,
    /// Whether a few values need several parcels.
    pub parcels: bool,
    /// Of a hundred values, how many need several parcels whatever else is drawn.
    #[serde(default, skip_serializing_if = "is_none")]
    pub big_percent: u64,
    /// Of a hundred WATCHes, how many stand in one pipeline with what follows them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub piped_watch_percent: u64,
    /// Requests that a pipeline holds at the most.
    pub depth_max: u64,
    /// Whether some connections speak RESP3.
    pub resp3: bool,
}

impl Mix {
    /// Each kind and each command is there in every second seed, and always one at least.
    pub fn draw(draws: &mut Draws) -> Self {
        Self {
            kinds: some(draws, &Kind::ALL),
            registers: some(draws, &registers::COMMANDS),
            short: some(draws, &expiry::COMMANDS),
            kilobytes: draws.chance(30),
            parcels: draws.chance(10),
            big_percent: 0,
            piped_watch_percent: 0,
            depth_max: if draws.chance(15) { 50 } else { 6 },
            resp3: draws.chance(30),
        }
    }

    /// All there is, with small values.
    pub fn everything() -> Self {
        Self {
            kinds: Kind::ALL.to_vec(),
            registers: registers::COMMANDS.to_vec(),
            short: expiry::COMMANDS.to_vec(),
            kilobytes: false,
            parcels: false,
            big_percent: 0,
            piped_watch_percent: 0,
            depth_max: 6,
            resp3: false,
        }
    }

    /// How many bytes a value is made longer by.
    pub fn padding(&self, draws: &mut Draws) -> usize {
        if self.big_percent > 0 && draws.chance(self.big_percent) {
            return draws.between(300_000, 600_000) as usize;
        }
        let bytes = match draws.below(1000) {
            0..10 if self.parcels => draws.between(100_000, 600_000),
            10..87 if self.kilobytes => draws.between(1000, 4000),
            _ => 0,
        };
        bytes as usize
    }
}

// What serde asks for: a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(percent: &u64) -> bool {
    *percent == 0
}

fn registers_named<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<&'static str>, D::Error> {
    named(deserializer, &registers::COMMANDS)
}

fn short_named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'static str>, D::Error> {
    named(deserializer, &expiry::COMMANDS)
}

/// Names that are in a list.
fn named<'de, D: Deserializer<'de>>(
    deserializer: D,
    all: &[&'static str],
) -> Result<Vec<&'static str>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let known = |name: &String| all.iter().find(|known| **known == name.as_str()).copied();
    let unknown = |name: &String| D::Error::custom(format!("no command is called {name}"));
    names.iter().map(|name| known(name).ok_or_else(|| unknown(name))).collect()
}

fn some<T: Copy>(draws: &mut Draws, all: &[T]) -> Vec<T> {
    let some: Vec<T> = all.iter().copied().filter(|_| draws.chance(50)).collect();
    if some.is_empty() { vec![draws.pick(all)] } else { some }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is in every seed, everything is in some, and never is there nothing to do.
    #[test]
    fn every_kind_is_drawn_and_left_out() {
        let mixes: Vec<Mix> = (0..60).map(|seed| Mix::draw(&mut Draws::new(seed, "m"))).collect();
        for kind in Kind::ALL {
            let with = mixes.iter().filter(|mix| mix.kinds.contains(&kind)).count();
            assert!((10..50).contains(&with), "{kind:?}: {with}");
        }
        let empty =
            |mix: &Mix| mix.kinds.is_empty() || mix.registers.is_empty() || mix.short.is_empty();
        assert!(!mixes.iter().any(empty));
    }
}
