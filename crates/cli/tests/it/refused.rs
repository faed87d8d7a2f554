//! What a command that refuses must do: end with the right code, say what and what to do, and
//! leave everything as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::Ran;

/// Fails unless the command ended with this code, printed no result, and said all of `words`.
/// The message is returned, for what else is to be said of it.
#[track_caller]
pub(crate) fn refused(ran: Ran, code: i32, words: &[&str]) -> String {
    let ran = ran.expect(code);
    assert_eq!(ran.stdout, "", "a result of what was refused");
    assert!(ran.stderr.contains("error: "), "no message: {:?}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "the message does not say {word:?}: {}", ran.stderr);
    }
    ran.stderr
}

/// Every path below a directory and the size of each file: equal before and after when nothing
/// was written.
pub(crate) fn tree(directory: &Path) -> BTreeMap<String, u64> {
    fn walk(directory: &Path, found: &mut BTreeMap<String, u64>) {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let size = if metadata.is_dir() { 0 } else { metadata.len() };
            found.insert(entry.path().display().to_string(), size);
            if metadata.is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(directory, &mut found);
    found
}

/// A directory is absent or has nothing in it: no server could start on it.
#[track_caller]
pub(crate) fn assert_nothing_in(directory: &Path) {
    assert_eq!(tree(directory), BTreeMap::new(), "left in {}", directory.display());
}
