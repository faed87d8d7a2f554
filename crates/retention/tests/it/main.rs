//! What policies keep, against an oracle that replays WAL, and against what other tools' documents
//! say that theirs keep.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod calendar;
mod clocks;
mod oracle;
mod peers;
mod policies;
mod properties;
mod scale;
mod simulated;
mod support;
mod timelines;
mod world;
