//! Every text form, forth and back, and what must be refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod files;
mod positions;
#[cfg(feature = "serde")]
mod serialised;
mod times;
