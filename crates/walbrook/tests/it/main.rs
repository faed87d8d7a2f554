//! The facade as an embedder meets it: on real servers, through its public interface.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod agent;
mod cancel;
mod send;
mod summaries;
