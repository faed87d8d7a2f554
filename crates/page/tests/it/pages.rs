use std::fs;
use std::path::{Path, PathBuf};

use walbrook_page::{Page, PageHeader, Verdict, verify};
use walbrook_testkit::{Cluster, majors};
use walbrook_types::{Fork, RelFile};

use crate::cluster::stopped;

/// Every relation file below the data directory.
fn relation_files(cluster: &Cluster) -> Vec<(PathBuf, RelFile)> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<(PathBuf, RelFile)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if let Some(file) =
                RelFile::from_path(path.strip_prefix(root).unwrap().to_str().unwrap())
            {
                found.push((path, file));
            }
        }
    }
    let mut found = Vec::new();
    walk(cluster.data_dir(), cluster.data_dir(), &mut found);
    found
}

fn pages(path: &Path) -> Vec<Page> {
    let bytes = fs::read(path).unwrap();
    let (pages, rest) = bytes.as_chunks::<8192>();
    assert!(rest.is_empty(), "{} is not whole pages", path.display());
    pages.to_vec()
}

#[test]
fn every_page_of_a_sound_cluster_is_sound() {
    for installation in majors() {
        let cluster = stopped(installation, true);
        let (mut valid, mut new, mut forks) = (0, 0, [0; 4]);
        for (path, file) in relation_files(&cluster) {
            for (block, page) in (file.first_block()..).zip(pages(&path)) {
                match verify(&page, block, true) {
                    Verdict::Valid { lsn } => {
                        assert_eq!(lsn, PageHeader::new(&page).lsn());
                        valid += 1;
                    }
                    Verdict::New => new += 1,
                    bad => panic!("{} block {block}: {bad}", path.display()),
                }
                forks[file.fork as usize] += 1;
            }
        }
        assert!(valid > 15_000, "{installation:?}: {valid} pages valid, {new} new");
        assert!(forks.iter().all(|pages| *pages > 0), "{installation:?}: a fork is missing");
    }
}

#[test]
fn damage_that_pg_checksums_sees_is_seen() {
    for installation in majors() {
        let cluster = stopped(installation, true);
        // By name, so that all majors take a like file: the largest main fork.
        let (path, file) = relation_files(&cluster)
            .into_iter()
            .filter(|(_, file)| file.fork == Fork::Main && file.database > 0)
            .max_by_key(|(path, _)| fs::metadata(path).unwrap().len())
            .unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let (block, at) = (7u32, 7 * 8192 + 5000);
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();

        let page = pages(&path)[block as usize];
        let Verdict::ChecksumMismatch { stored, computed, .. } =
            verify(&page, file.first_block() + block, true)
        else {
            panic!("{installation:?}: the flipped bit went unseen");
        };
        let output = cluster
            .command("pg_checksums")
            .args(["--check", "-D"])
            .arg(cluster.data_dir())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        // The oracle names both values: ours must be the same.
        let want = format!("calculated checksum {computed:X} but block contains {stored:X}");
        assert!(said.contains(&want), "{installation:?}: {said} lacks {want}");
        assert!(said.contains(&format!("block {block}")), "{said}");
    }
}

#[test]
fn a_page_in_another_place_is_seen() {
    let cluster = stopped(majors()[0], true);
    let (path, file) = relation_files(&cluster)
        .into_iter()
        .max_by_key(|(path, _)| fs::metadata(path).unwrap().len())
        .unwrap();
    let pages = pages(&path);
    let moved = verify(&pages[1], file.first_block() + 2, true);
    assert!(matches!(moved, Verdict::ChecksumMismatch { .. }), "{moved}");
}

#[test]
fn without_checksums_the_header_is_judged() {
    let cluster = stopped(majors()[0], false);
    let mut seen = 0;
    for (path, file) in relation_files(&cluster) {
        for (block, page) in (file.first_block()..).zip(pages(&path)) {
            assert!(verify(&page, block, false).is_sound(), "{} {block}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10_000);
}
