//! The binaries as users run them.

mod config;
mod end_to_end;
mod front;
mod kill;
mod prefetch;
mod signals;
mod support;
mod usage;
