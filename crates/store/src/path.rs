//! Which paths objects may have.
//!
//! The rule is the intersection of what a POSIX file system, S3, GCS and Azure take literally, so
//! that a repository can be copied between any two of them and no name needs escaping anywhere.

use crate::{Error, ErrorKind, Result};

/// The longest path in bytes. S3 and Azure allow 1024 including the prefix of the store.
pub const MAX_PATH: usize = 768;

/// The longest segment in bytes: `NAME_MAX` of POSIX file systems.
pub const MAX_SEGMENT: usize = 255;

/// Checks the path of an object: one or more segments separated by `/`, each of `A-Z a-z 0-9 . _ -`,
/// not empty, not beginning with a dot, within [`MAX_SEGMENT`] and [`MAX_PATH`].
///
/// Names that begin with a dot are kept out because they are not ours to give: `.` and `..`, the
/// `.nfs…` files of NFS clients, `.snapshot` folders of filers, and [`LocalStore`]'s own temporary
/// files. Listings leave such names out.
///
/// Every backend calls this first; the error is of kind [`ErrorKind::InvalidPath`].
///
/// [`LocalStore`]: crate::LocalStore
pub fn check_path(path: &str) -> Result<()> {
    let why = if path.is_empty() {
        "it is empty"
    } else if path.len() > MAX_PATH {
        "it is longer than 768 bytes"
    } else {
        match path.split('/').find_map(|segment| segment_fault(segment.as_bytes())) {
            Some(why) => why,
            None => return Ok(()),
        }
    };
    // Bounded, since the path may come from outside.
    let shown: String = path.chars().take(120).collect();
    Err(Error::new(ErrorKind::InvalidPath, format!("{shown:?} can't name an object: {why}")))
}

/// Checks the folder of a listing: a path as in [`check_path`], or empty for the whole store.
pub fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() { Ok(()) } else { check_path(prefix) }
}

/// Whether `name` can be one segment of a path.
pub(crate) fn is_segment(name: &[u8]) -> bool {
    segment_fault(name).is_none()
}

fn segment_fault(segment: &[u8]) -> Option<&'static str> {
    if segment.is_empty() {
        return Some("it has an empty segment (a leading, trailing or double slash)");
    }
    if segment[0] == b'.' {
        return Some("a segment begins with a dot");
    }
    if segment.len() > MAX_SEGMENT {
        return Some("a segment is longer than 255 bytes");
    }
    if !segment.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Some("only letters, digits, '.', '_', '-' and '/' are allowed");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_repository_uses() {
        for path in ["walbrook.json", "prod/backups/20261122T040000Z-ab12/pack-1", "a/b.c/d_e-F.9"]
        {
            check_path(path).unwrap();
        }
        check_prefix("").unwrap();
        check_path(&["a"; 384].join("/")).unwrap();
    }

    #[test]
    fn refuses_everything_else() {
        let long = "a".repeat(256);
        let deep = ["ab"; 300].join("/");
        let bad = [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/.",
            ".tmp-1",
            "a/.hidden",
            "a b",
            "a\\b",
            "a\0",
            "ä",
            "a%2f",
            "a:b",
            "a\n",
            "~",
            "a*",
            &long,
            &deep,
        ];
        for path in bad {
            let e = check_path(path).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidPath, "{path:?}");
        }
    }
}
