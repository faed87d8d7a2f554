//! Expiry with a real server: [`gfs`] is a long story of backups under a policy on a clock that is made
//! up. [`Objects`] tells what a repository holds, and what of that its backups can reach.

mod clock;
mod gfs;
mod model;
mod objects;

use clock::Clock;
pub(crate) use objects::Objects;

/// Random numbers that a seed repeats.
struct Random(u64);

impl Random {
    /// By a seed from this variable of the environment, or else from the clock; printed.
    fn seeded(variable: &str) -> Self {
        let given = std::env::var(variable).ok().map(|seed| seed.parse().unwrap());
        let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
        let seed: u64 = given.unwrap_or_else(|| now.unwrap().subsec_nanos().into());
        println!("{variable}={seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// One of `0..below`.
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % below
    }

    fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from) as usize) as i64
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
