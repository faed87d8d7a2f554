#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "cloud")]
mod cloud;
pub mod conformance;
mod error;
mod local;
mod locking;
mod memory;
mod open;
mod options;
mod path;
mod payload;
mod store;
mod url;

pub use error::{Error, ErrorKind, Result};
pub use local::LocalStore;
pub use locking::{LockUntil, LockingStore};
pub use memory::MemoryStore;
pub use open::open;
pub use options::{OptionInfo, Scheme};
pub use path::{MAX_PATH, MAX_SEGMENT, check_path, check_prefix};
pub use payload::Payload;
pub use store::{Children, Lock, ObjectMeta, Store};
pub use url::StoreUrl;

/// What [`Store::list`] returns; the type of the `futures` crate.
pub use futures::stream::BoxStream;
