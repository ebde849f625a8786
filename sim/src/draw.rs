//! All chance of a run. A draw is a function of (seed, stream, number), so that leaving one stream's draws out leaves
//! every other stream as it was. Integers only: the same on every machine.

/// SplitMix64's finalizer.
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The draw number `n` of a stream of a seed.
pub fn draw(seed: u64, stream: &str, n: u64) -> u64 {
    let name = stream.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    mix(mix(seed ^ mix(name)).wrapping_add(mix(n)))
}

/// The draws of one stream, one after the other.
#[derive(Debug, Clone)]
pub struct Draws {
    seed: u64,
    stream: String,
    n: u64,
}

impl Draws {
    /// The stream `stream` of `seed`, from its beginning.
    pub fn new(seed: u64, stream: impl Into<String>) -> Self {
        Self { seed, stream: stream.into(), n: 0 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.n += 1;
        draw(self.seed, &self.stream, self.n)
    }

    /// From 0 to `end`, exclusive; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let bits = u128::from(self.bits());
        ((bits * u128::from(end)) >> 64) as u64
    }

    /// From `from` to `to`, both inclusive.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from) + 1)
    }

    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64) as usize;
        *choices.get(at).expect("there is something to pick from")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams do not touch each other, and a draw depends on its number alone.
    #[test]
    fn streams_are_independent() {
        let mut one = Draws::new(7, "net");
        let first = [one.bits(), one.bits(), one.bits()];
        assert_eq!(first, [draw(7, "net", 1), draw(7, "net", 2), draw(7, "net", 3)]);
        assert_ne!(draw(7, "net", 1), draw(7, "disk", 1));
        assert_ne!(draw(7, "net", 1), draw(8, "net", 1));
        assert!((0..1000).all(|_| (3..=5).contains(&one.between(3, 5))));
        assert_eq!(one.below(0), 0);
    }
}
