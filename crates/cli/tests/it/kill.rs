//! The commands are killed (SIGKILL) at random moments, and whatever the moment is: the repository
//! is valid, `walbrook-list` shows no backup that can't be restored, and a second run succeeds.
//!
//! A few rounds run with the other tests; `cargo xtask soak` asks for many by
//! `WALBROOK_KILL_ROUNDS`. `WALBROOK_KILL_SEED` repeats a run's delays.

mod audit;
mod backup;
mod expire;
mod restore;
mod rounds;
mod wal;
