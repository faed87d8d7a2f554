//! Restored files against those of the server, which has not written since the backup.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use walbrook_testkit::Cluster;

/// Fails unless every relation file, transaction status and the like is byte for byte the server's, as
/// it was at `start`. Pages that are newer are few: sessions that only read set hint bits, and with
/// checksums these are logged. An SP-GiST index notes in its first page, unlogged, which pages had room
/// last: it is a cache that is wrong after any crash, and no way that follows the log sees it.
#[track_caller]
pub(crate) fn files(cluster: &Cluster, restored: &Path, what: &str, start: u64) {
    let (expected, found) = (list(cluster.data_dir()), list(restored));
    let unlogged: Vec<String> =
        expected.keys().filter_map(|path| path.strip_suffix("_init").map(str::to_owned)).collect();
    let (mut compared, mut excused) = (0, 0);
    for (path, file) in &expected {
        let stem = path.split(['.']).next().unwrap_or_default();
        let stem = stem.strip_suffix("_fsm").or(stem.strip_suffix("_vm")).unwrap_or(stem);
        if unlogged.iter().any(|relation| relation == stem) && !path.ends_with("_init") {
            assert!(!found.contains_key(path), "{what}: {path} is of an unlogged relation");
            continue;
        }
        let ours = found.get(path).unwrap_or_else(|| panic!("{what}: {path} is missing"));
        let (theirs, ours) = (fs::read(file).unwrap(), fs::read(ours).unwrap());
        assert_eq!(ours.len(), theirs.len(), "{what}: length of {path}");
        let pages = ours.chunks(8192).zip(theirs.chunks(8192));
        let differing: Vec<usize> =
            pages.enumerate().filter(|(_, (a, b))| a != b).map(|(block, _)| block).collect();
        let excused_page = |block: &usize| {
            let number = |at: usize| {
                let at = block * 8192 + at;
                u32::from_le_bytes(theirs[at..at + 4].try_into().unwrap())
            };
            let is_relation = !path.starts_with("pg_xact") && !path.starts_with("pg_multixact");
            let newer = (u64::from(number(0)) << 32 | u64::from(number(4))) > start;
            is_relation && (newer || *block == 0 && is_spgist(&theirs))
        };
        let (fine, differing): (Vec<_>, Vec<_>) = differing.into_iter().partition(excused_page);
        excused += fine.len();
        if let Some(block) = differing.first() {
            let page = |file: &[u8]| file[block * 8192..(block + 1) * 8192].to_vec();
            let (theirs, ours) = (page(&theirs), page(&ours));
            let bytes: Vec<_> = (0..8192)
                .filter(|at| theirs[*at] != ours[*at])
                .map(|at| (at, theirs[at], ours[at]))
                .take(24)
                .collect();
            panic!(
                "{what}, from {start:X} on: {path} differs in blocks {differing:?}, the first one \
                 in (byte, the server's, restored): {bytes:?}"
            );
        }
        compared += 1;
    }
    for path in found.keys() {
        assert!(expected.contains_key(path), "{what}: {path} is not on the server");
    }
    assert!(excused < 60, "{what}: {excused} pages are newer than the backup");
    assert!(compared > 500, "{what}: only {compared} files");
}

/// Whether a file is an SP-GiST index: its pages end with `SPGIST_PAGE_ID` (`access/spgist_private.h`).
fn is_spgist(file: &[u8]) -> bool {
    file.get(8190..8192) == Some(&0xFF82u16.to_le_bytes())
}

/// The files in question, by their paths below the data directory.
fn list(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    let mut folders: Vec<PathBuf> = ["base", "global", "pg_tblspc", "pg_xact", "pg_multixact"]
        .iter()
        .map(|folder| root.join(folder))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name == "pg_control" || name.starts_with("pg_internal.init") {
                continue;
            }
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            // A dropped relation keeps an empty file for a while. The init fork of a table is empty.
            if name.ends_with("_init") || fs::metadata(&path).unwrap().len() > 0 {
                files.insert(relative, path);
            }
        }
    }
    files
}
