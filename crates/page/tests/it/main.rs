//! Pages and control files of real clusters of every supported major version.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod cluster;
mod control;
mod mutations;
mod pages;
