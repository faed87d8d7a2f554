//! WAL in and out: what `archive_command` and `restore_command` ask for.

mod fetch;
mod options;
mod prefetch;
mod push;
mod system;

pub use fetch::{FetchOutcome, fetch};
pub use options::{FetchOptions, PushOptions};
pub use prefetch::{prefetch, wants_prefetch};
pub use push::push;
