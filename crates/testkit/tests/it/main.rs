//! The testkit's own proof: servers start, answer, restart and are gone afterwards.

// clippy.toml allows this in #[test] functions, but not in their helpers.
#![allow(clippy::unwrap_used)]

mod compare;
mod lifecycle;
mod recovery;
