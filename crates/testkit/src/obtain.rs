//! stub
use std::path::PathBuf;
/// Walbrook's cache directory.
pub fn cache_dir() -> PathBuf {
    PathBuf::from("/var/cache/walbrook")
}
pub(crate) fn builds_dir() -> PathBuf {
    cache_dir().join("postgresql")
}
