//! WAL of real servers of every supported major version, against `pg_waldump`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod crafted;
mod crash;
mod facts;
mod images;
mod meanings;
mod mutations;
mod naive;
mod names;
mod oracle;
mod resync;
mod server;
mod stats;
mod summary;
mod summary_cuts;
mod summary_pg;
mod summary_props;
mod timelines;
mod waldump;
mod workload;
mod writer;
