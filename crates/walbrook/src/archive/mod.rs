//! WAL in and out: what `archive_command` and `restore_command` ask for.

mod fetch;
mod options;
mod push;
mod system;

pub use fetch::{FetchOutcome, fetch};
pub use options::{FetchOptions, PushOptions};
pub use push::push;
