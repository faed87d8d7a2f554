//! Full-page images of real servers under every `wal_compression`, against the pages that `pg_waldump
//! --save-fullpage` writes.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use walbrook_testkit::{Cluster, Installation, StopMode, majors};
use walbrook_types::Fork;
use walbrook_wal::{BlockRef, Compression, ErrorKind, PageImage, Record};

use crate::oracle::decode;
use crate::server::read;

/// As `pg_waldump` names the file of an image.
fn name(record: &Record, block: &BlockRef<'_>) -> String {
    let (lsn, r) = (record.lsn.0, block.relation);
    let fork = match block.fork {
        Fork::Main => "main",
        Fork::FreeSpaceMap => "fsm",
        Fork::VisibilityMap => "vm",
        Fork::Init => "init",
    };
    format!(
        "00000001-{:08X}-{:08X}.{}.{}.{}.{}_{fork}",
        lsn >> 32,
        lsn as u32,
        r.tablespace_oid,
        r.database,
        r.number,
        block.block
    )
}

/// That the page has the header that the image's hole was cut out by.
fn assert_header(page: &[u8; 8192], image: &PageImage<'_>) {
    let field = |at: usize| usize::from(u16::from_le_bytes([page[at], page[at + 1]]));
    let (lower, upper, special) = (field(12), field(14), field(16));
    if image.hole_len > 0 {
        assert_eq!(lower, usize::from(image.hole_offset));
        assert_eq!(upper, lower + usize::from(image.hole_len));
        assert!(upper <= special && special <= 8192);
        assert_eq!(field(18), 8192 | 4, "page size and layout");
    }
}

fn check(installation: &Installation) {
    let major = installation.major();
    let mut cluster = Cluster::builder(installation)
        .config("autovacuum", "off")
        .config("wal_keep_size", "2GB")
        .start()
        .unwrap();
    let methods = cluster
        .psql("postgres", "SELECT unnest(enumvals) FROM pg_settings WHERE name = 'wal_compression'")
        .unwrap();
    let methods: Vec<&str> =
        methods.lines().filter(|method| ["pglz", "lz4", "zstd", "off"].contains(method)).collect();
    let fill = "
        CREATE TABLE t (n int PRIMARY KEY, s text);
        INSERT INTO t SELECT n, repeat(md5(n::text), 1 + n % 20) FROM generate_series(1, 6000) AS n;
        CREATE INDEX ON t (s); VACUUM t;";
    cluster.psql_ok("postgres", fill).unwrap();
    for method in &methods {
        let sql = format!(
            "SET wal_compression = {method}; CHECKPOINT;
             UPDATE t SET s = upper(s) || 'x' WHERE n % 3 = 0;
             CREATE INDEX again ON t (s, n); DROP INDEX again; VACUUM t"
        );
        cluster.psql_ok("postgres", &sql).unwrap();
    }
    cluster.stop(StopMode::Fast).unwrap();

    let wal = read(&cluster, major, 16);
    let saved = cluster.make_dir("images").unwrap().join("saved");
    if major >= 16 {
        let output = cluster
            .command("pg_waldump")
            .arg("-q")
            .arg("-p")
            .arg(cluster.wal_dir())
            .arg("-s")
            .arg(wal.start().to_string())
            .arg(format!("--save-fullpage={}", saved.display()))
            .output()
            .unwrap();
        assert!(saved.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for record in decode(&wal, &Bytes::from(wal.read()), 1 << 20) {
        for block in record.parts().unwrap().blocks() {
            let Some(image) = block.image else { continue };
            let mut page = [0xAA; 8192];
            image.restore(&mut page).unwrap();
            assert_header(&page, &image);
            if major >= 16 {
                let name = name(&record, &block);
                let theirs = fs::read(saved.join(&name)).unwrap();
                assert!(theirs == page, "{major}: {name} ({:?})", image.compression);
            }
            *seen.entry(format!("{:?}", image.compression)).or_default() += 1;
            if image.compression != Compression::None {
                damaged(&image);
            }
        }
    }
    for method in methods {
        let method = match method {
            "off" => "None",
            "pglz" => "Pglz",
            "lz4" => "Lz4",
            _ => "Zstd",
        };
        assert!(seen.get(method).is_some_and(|count| *count > 50), "{major}: {method}: {seen:?}");
    }
    assert!(seen.contains_key("Pglz"));
}

/// Neither a cut nor a changed byte does any harm, and what is cut is always seen.
fn damaged(image: &PageImage<'_>) {
    let mut page = [0; 8192];
    let cut = PageImage { bytes: &image.bytes[..image.bytes.len() / 2], ..*image };
    assert_eq!(cut.restore(&mut page).unwrap_err().kind(), ErrorKind::BadImage);
    let mut bytes = image.bytes.to_vec();
    let at = usize::from(image.hole_offset) % bytes.len();
    bytes[at] ^= 0x55;
    let _ = PageImage { bytes: &bytes, ..*image }.restore(&mut page);
    let hole = PageImage { hole_offset: 8000, hole_len: 400, ..*image };
    assert_eq!(hole.restore(&mut page).unwrap_err().kind(), ErrorKind::BadImage);
}

#[test]
fn images_are_the_pages_that_pg_waldump_saves() {
    for installation in majors() {
        check(installation);
    }
}
