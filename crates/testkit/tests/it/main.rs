//! The testkit's own proof: servers start, answer, restart and are gone afterwards.

mod lifecycle;
mod recovery;
