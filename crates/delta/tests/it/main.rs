//! Maps against a model of a server, and incremental files against the servers that write them.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod incremental;
mod model;
mod mutations;
mod server;
