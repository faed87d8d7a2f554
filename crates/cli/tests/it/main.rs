//! The binaries as users run them.

mod bad_input;
mod config;
mod damage;
mod end_to_end;
mod front;
mod kill;
mod prefetch;
mod refused;
mod signals;
mod support;
mod usage;
