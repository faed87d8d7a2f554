use std::collections::BTreeMap;

use walbrook_replication::{
    BaseBackup, BaseBackupEvent, BaseBackupOptions, Checkpoint, EntryKind, Error, ErrorKind,
    ManifestChecksums, ServerError, Session, TarEvent, TarReader,
};
use walbrook_testkit::{Cluster, StopMode};
use walbrook_types::{BackupLabel, Lsn};

use crate::{corrupt, majors, newest, run, socket};

/// What a backup contained: each file's size and CRC-32C by its path in the data directory.
#[derive(Default)]
struct Taken {
    files: BTreeMap<String, (u64, u32)>,
    links: BTreeMap<String, String>,
    label: Vec<u8>,
    manifest: Vec<u8>,
    progress: u64,
}

fn options() -> BaseBackupOptions {
    BaseBackupOptions::new()
        .label("it's a \"test\" ü")
        .checkpoint(Checkpoint::Fast)
        .wait(false)
        .progress(true)
        .manifest(Some(ManifestChecksums::Crc32c))
}

async fn take(backup: &mut BaseBackup) -> Result<Taken, Error> {
    let mut taken = Taken::default();
    let mut archive: Option<(TarReader, String)> = None;
    let mut file = (String::new(), 0_u64, 0_u32);
    while let Some(event) = backup.next().await? {
        match event {
            BaseBackupEvent::Archive { name, location } => {
                archive.take().map_or(Ok(()), |(tar, _)| tar.finish())?;
                let prefix = match location {
                    Some(_) => format!("pg_tblspc/{}/", name.strip_suffix(".tar").unwrap()),
                    None => String::new(),
                };
                archive = Some((TarReader::new(), prefix));
            }
            BaseBackupEvent::Manifest => {
                archive.take().map_or(Ok(()), |(tar, _)| tar.finish())?;
            }
            BaseBackupEvent::Data(bytes) => {
                let Some((tar, prefix)) = &mut archive else {
                    taken.manifest.extend_from_slice(&bytes);
                    continue;
                };
                tar.feed(bytes);
                while let Some(event) = tar.next()? {
                    match event {
                        TarEvent::Entry(entry) => {
                            let path = format!("{prefix}{}", entry.path.to_str().unwrap());
                            match entry.kind {
                                EntryKind::File => file = (path, entry.size, 0),
                                EntryKind::Symlink(to) => {
                                    taken.links.insert(path, to.to_str().unwrap().to_owned());
                                }
                                _ => {}
                            }
                        }
                        TarEvent::Data(bytes) => {
                            file.2 = crc32c::crc32c_append(file.2, &bytes);
                            if file.0 == "backup_label" {
                                taken.label.extend_from_slice(&bytes);
                            }
                        }
                        TarEvent::EndOfFile => {
                            taken.files.insert(std::mem::take(&mut file.0), (file.1, file.2));
                        }
                        _ => {}
                    }
                }
            }
            BaseBackupEvent::Progress(bytes) => taken.progress = taken.progress.max(bytes),
            _ => {}
        }
    }
    Ok(taken)
}

/// The manifest's files, in the form of [`Taken::files`].
fn manifest_files(manifest: &[u8]) -> BTreeMap<String, (u64, u32)> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
    let files = manifest["Files"].as_array().unwrap();
    let file = |file: &serde_json::Value| {
        assert_eq!(file["Checksum-Algorithm"], "CRC32C");
        // The server prints the bytes of the number as they are in memory.
        let hex = u32::from_str_radix(file["Checksum"].as_str().unwrap(), 16).unwrap();
        let size = file["Size"].as_u64().unwrap();
        (file["Path"].as_str().unwrap().to_owned(), (size, hex.swap_bytes()))
    };
    files.iter().map(file).collect()
}

#[test]
fn every_file_is_what_the_manifest_says() {
    for installation in majors() {
        let cluster = Cluster::builder(installation).start().unwrap();
        let location = cluster.make_dir("space").unwrap();
        let location = location.to_str().unwrap();
        cluster
            .psql_ok("postgres", &format!("CREATE TABLESPACE ts LOCATION '{location}'"))
            .unwrap();
        let tables = "CREATE TABLE a TABLESPACE ts AS SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g;
             CREATE TABLE b AS SELECT * FROM a; CREATE TABLE empty (i int);";
        cluster.psql_ok("postgres", tables).unwrap();
        run(async {
            let session = Session::replication(&socket(&cluster)).await.unwrap();
            let mut backup = session.base_backup(&options()).await.unwrap();
            let (start, timeline) = backup.start();
            let spaces = backup.tablespaces().to_vec();
            assert_eq!(spaces.len(), 2);
            assert_eq!(spaces[0].location.as_deref(), Some(location));
            assert_eq!((spaces[1].oid, spaces[1].location.clone()), (None, None));
            assert!(spaces.iter().all(|space| space.size_kib > Some(1000)), "{spaces:?}");

            let taken = take(&mut backup).await.unwrap();
            let end = backup.finish().await.unwrap();
            assert!(end.stop.0 > start && end.stop.1 == timeline);
            assert!(taken.progress > 10_000_000, "{}", taken.progress);
            assert_eq!(taken.files, manifest_files(&taken.manifest), "{installation}");
            let oid = spaces[0].oid.unwrap();
            assert_eq!(taken.links[&format!("pg_tblspc/{oid}")], location);

            let label = String::from_utf8(taken.label).unwrap();
            assert!(label.contains("LABEL: it's a \"test\" ü"), "{label}");
            BackupLabel::parse(&label).unwrap();
            assert!(label.contains(&format!("START WAL LOCATION: {start} ")), "{label}");

            // The session can go on, with another backup too.
            let mut session = end.session;
            let identity = session.identify_system().await.unwrap();
            assert!(identity.flushed >= end.stop.0);
            let mut backup = session.base_backup(&options().manifest(None)).await.unwrap();
            let taken = take(&mut backup).await.unwrap();
            assert!(taken.manifest.is_empty() && taken.files.len() > 900);
            backup.finish().await.unwrap();
        });
    }
}

/// Only what changed is sent, of files that the manifest names; and a manifest that can't be read leaves
/// the session as it was.
#[test]
fn differences_to_an_uploaded_manifest() {
    let upload = async |session: &mut Session, manifest: &[u8]| {
        let mut upload = session.upload_manifest().await?;
        for piece in manifest.chunks(1000) {
            upload.write(piece).await?;
        }
        upload.finish().await
    };
    let builder = Cluster::builder(newest()).config("summarize_wal", "on");
    let cluster = builder.config("autovacuum", "off").start().unwrap();
    // Whoever reads its rows first would mark them.
    let sql = "CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g;
        VACUUM FREEZE t";
    cluster.psql_ok("postgres", sql).unwrap();
    let path = cluster.psql("postgres", "SELECT pg_relation_filepath('t')").unwrap();
    let incremental = path.replacen("base/5/", "base/5/INCREMENTAL.", 1);
    run(async {
        let session = Session::replication(&socket(&cluster)).await.unwrap();
        let mut backup = session.base_backup(&options()).await.unwrap();
        let full = take(&mut backup).await.unwrap();
        let mut session = backup.finish().await.unwrap().session;
        cluster.psql_ok("postgres", "UPDATE t SET g = -g WHERE g % 5000 = 7").unwrap();

        for cut in [0, 70, full.manifest.len() / 2, full.manifest.len() - 10] {
            let error = upload(&mut session, &full.manifest[..cut]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Server, "{error}");
        }
        let mut changed = full.manifest.clone();
        changed[full.manifest.len() / 2] ^= 1;
        assert!(upload(&mut session, &changed).await.is_err());

        upload(&mut session, &full.manifest).await.unwrap();
        let mut backup = session.base_backup(&options().incremental(true)).await.unwrap();
        let taken = take(&mut backup).await.unwrap();
        backup.finish().await.unwrap();
        assert_eq!(taken.files, manifest_files(&taken.manifest));
        assert!(!taken.files.contains_key(&path) && taken.files.contains_key(&incremental));
        let bytes = |taken: &Taken| taken.files.values().map(|file| file.0).sum::<u64>();
        let (all, sent) = (bytes(&full), bytes(&taken));
        assert!(all > 30_000_000 && sent < all / 4, "{sent} of {all} bytes");

        // None was uploaded in this session.
        let session = Session::replication(&socket(&cluster)).await.unwrap();
        let error = session.base_backup(&options().incremental(true)).await.unwrap_err();
        assert_eq!(error.server_error().unwrap().code(), "55000", "{error}");
    });
}

#[test]
fn checksum_failures_come_after_the_stop_position() {
    for installation in majors() {
        let mut cluster = Cluster::builder(installation).data_checksums(true).start().unwrap();
        cluster.psql_ok("postgres", "CREATE TABLE t AS SELECT generate_series(1, 10000)").unwrap();
        let path = cluster.psql("postgres", "SELECT pg_relation_filepath('t')").unwrap();
        corrupt(&mut cluster, &path, 3 * 8192 + 4000);
        run(async {
            let session = Session::replication(&socket(&cluster)).await.unwrap();
            let mut backup = session.base_backup(&options()).await.unwrap();
            let start = backup.start().0;
            let taken = take(&mut backup).await.unwrap();
            assert_eq!(taken.files, manifest_files(&taken.manifest));
            let stop = backup.stop().await.unwrap();
            assert!(stop.0 > start);
            assert_eq!(backup.stop().await.unwrap(), stop);
            let warning =
                backup.warnings().iter().find(|warning| warning.message().contains(&path));
            assert!(warning.is_some_and(|warning| warning.severity() == "WARNING"));
            let error = backup.finish().await.unwrap_err();
            assert!(error.is_checksum_failure(), "{installation}: {error}");
            assert_eq!(error.server_error().unwrap().code(), ServerError::DATA_CORRUPTED);

            // The whole of it, without looking, fails just as well.
            let session = Session::replication(&socket(&cluster)).await.unwrap();
            let backup = session.base_backup(&options()).await.unwrap();
            assert!(backup.finish().await.unwrap_err().is_checksum_failure());
            let session = Session::replication(&socket(&cluster)).await.unwrap();
            let unverified = options().verify_checksums(false);
            session.base_backup(&unverified).await.unwrap().finish().await.unwrap();
        });
    }
}

#[test]
fn a_server_that_goes_in_the_middle() {
    for mode in [StopMode::Kill, StopMode::Immediate] {
        let mut cluster = Cluster::builder(newest()).start().unwrap();
        let table = "CREATE TABLE t AS SELECT g, repeat('x', 900) FROM generate_series(1, 50000) g";
        cluster.psql_ok("postgres", table).unwrap();
        run(async {
            let session = Session::replication(&socket(&cluster)).await.unwrap();
            let slow = options().max_rate(Some(2048));
            let mut backup = session.base_backup(&slow).await.unwrap();
            for _ in 0..5 {
                assert!(backup.next().await.unwrap().is_some());
            }
            cluster.stop(mode).unwrap();
            let error = backup.finish().await.unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::Server),
                "{error}"
            );
            assert!(!error.is_checksum_failure());
        });
    }
}

#[test]
fn options_that_the_server_refuses() {
    let cluster = Cluster::builder(newest()).start().unwrap();
    run(async {
        let session = Session::sql(&socket(&cluster)).await.unwrap();
        let error = session.base_backup(&options()).await.unwrap_err();
        assert_eq!(error.server_error().unwrap().code(), "42601", "{error}");
        let session = Session::replication(&socket(&cluster)).await.unwrap();
        let error = session.base_backup(&options().label("a\nb")).await;
        // A line break in the label would break the label's file: whoever notices, it is an error
        // or harmless, and never a broken protocol.
        if let Err(error) = error {
            assert_eq!(error.kind(), ErrorKind::Server, "{error}");
        }
    });
}

#[test]
fn a_cancelled_wait_loses_nothing() {
    let cluster = Cluster::builder(newest()).start().unwrap();
    run(async {
        let session = Session::replication(&socket(&cluster)).await.unwrap();
        let mut backup = session.base_backup(&options().max_rate(Some(20_000))).await.unwrap();
        let (mut tar, mut cancelled) = (TarReader::new(), 0);
        let mut files = 0;
        loop {
            let next = tokio::time::timeout(std::time::Duration::from_micros(50), backup.next());
            match next.await {
                Err(_) => cancelled += 1,
                Ok(Ok(Some(BaseBackupEvent::Data(bytes)))) => {
                    tar.feed(bytes);
                    while let Some(event) = tar.next().unwrap() {
                        files += usize::from(event == TarEvent::EndOfFile);
                    }
                }
                Ok(Ok(Some(BaseBackupEvent::Manifest))) => break,
                Ok(event) => assert!(event.unwrap().is_some()),
            }
        }
        tar.finish().unwrap();
        assert!(cancelled > 10 && files > 900, "{cancelled} {files}");
        assert!(backup.finish().await.unwrap().stop.0 > Lsn(0));
    });
}
