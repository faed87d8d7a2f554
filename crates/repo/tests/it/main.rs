//! The repository format as its users see it: golden files, invariants, crashes.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod by_hand;
mod crash;
mod expiry;
mod golden;
mod invariants;
mod locks;
mod marks;
mod memory;
mod runs;
mod sample;
mod shared;
