//! The binaries as users run them.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![allow(clippy::print_stdout, reason = "shown when a test fails, and read by cargo xtask soak")]

mod bad_input;
mod compaction;
mod config;
mod damage;
mod end_to_end;
mod expire;
mod front;
mod incremental;
mod interrupted;
mod kill;
mod prefetch;
mod ransom;
mod refused;
mod signals;
mod sources;
mod standbys;
mod support;
mod usage;
mod wal;
