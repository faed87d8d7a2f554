//! [`Random`]: choices that can be made again.

use std::time::SystemTime;

/// Random numbers that a seed repeats.
pub(crate) struct Random(u64);

impl Random {
    /// By a seed from this variable of the environment, or else from the clock; printed.
    pub(crate) fn seeded(variable: &str) -> Self {
        let given = std::env::var(variable).ok().map(|seed| seed.parse().unwrap());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed: u64 = given.unwrap_or_else(|| now.unwrap().subsec_nanos().into());
        println!("{variable}={seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// One of `0..below`.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % below
    }

    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from) as usize) as i64
    }

    pub(crate) fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
