use proptest::prelude::*;
use walbrook_types::{BackupLabel, Fork, Lsn, ParseErrorKind, RelFile, Tablespace};

#[test]
fn relation_files_are_told_from_others() {
    let file = RelFile::from_path("pg_tblspc/16400/PG_17_202406281/5/16500_init").unwrap();
    assert_eq!(file.tablespace, Tablespace::Other(16400));
    assert_eq!((file.database, file.number, file.fork, file.segment), (5, 16500, Fork::Init, 0));
    let file = RelFile::from_path("global/1262_fsm").unwrap();
    assert_eq!((file.tablespace, file.database), (Tablespace::Global, 0));
    let file = RelFile::from_path("base/1/2619.3").unwrap();
    assert_eq!((file.segment, file.first_block()), (3, 3 * 131_072));
    for other in [
        "",
        "base",
        "base/5",
        "base/5/PG_VERSION",
        "base/5/pg_filenode.map",
        "base/5/pg_internal.init",
        "base/5/t3_16384",
        "base/5/16384.0",
        "base/5/16384.01",
        "base/5/016384",
        "base/5/0",
        "base/5/16384_",
        "base/5/16384_vm_",
        "base/5/16384.1_vm",
        "base/5/16384.vm",
        "base/5/4294967296",
        "base/5/16384/x",
        "/base/5/16384",
        "./base/5/16384",
        "base//16384",
        "base/pgsql_tmp/pgsql_tmp1.0",
        "global/pg_control",
        "pg_tblspc/16400",
        "pg_tblspc/16400/5/16384",
        "pg_wal/000000010000000000000001",
    ] {
        assert_eq!(RelFile::from_path(other), None, "{other:?}");
    }
}

const LABEL: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
    CHECKPOINT LOCATION: 0/2000060\n\
    BACKUP METHOD: streamed\n\
    BACKUP FROM: standby\n\
    START TIME: 2026-11-22 04:00:00 UTC\n\
    LABEL: pg_basebackup base backup\n\
    START TIMELINE: 7\n";

#[test]
fn labels_are_read() {
    let label = BackupLabel::parse(LABEL).unwrap();
    assert_eq!(label.start_lsn, Lsn(0x200_0028));
    assert_eq!(label.checkpoint_lsn, Lsn(0x200_0060));
    assert_eq!(label.start_timeline.get(), 7);
    assert!(label.from_standby);
    assert_eq!(label.label, "pg_basebackup base backup");
    for missing in ["START WAL LOCATION", "CHECKPOINT LOCATION", "START TIMELINE"] {
        let error = BackupLabel::parse(&LABEL.replace(missing, "SOMETHING ELSE")).unwrap_err();
        assert_eq!(error.kind(), ParseErrorKind::BackupLabel);
        assert!(error.to_string().contains(missing), "{error}");
    }
    assert!(BackupLabel::parse(&LABEL.replace("0/2000028", "nowhere")).is_err());
    assert!(!BackupLabel::parse(&LABEL.replace("standby", "primary")).unwrap().from_standby);
}

proptest! {
    #[test]
    fn paths_survive(
        database in 1u32.., number in 1u32.., segment in any::<u32>(), tablespace in any::<Option<u32>>(),
        fork in proptest::sample::select(
            vec![Fork::Main, Fork::FreeSpaceMap, Fork::VisibilityMap, Fork::Init],
        ),
    ) {
        let tablespace = match tablespace {
            Some(oid) if oid > 0 => Tablespace::Other(oid),
            _ => Tablespace::Default,
        };
        let file = RelFile { tablespace, database, number, fork, segment };
        let dir = match tablespace {
            Tablespace::Other(oid) => format!("pg_tblspc/{oid}/PG_18_202506291/{database}"),
            _ => format!("base/{database}"),
        };
        prop_assert_eq!(RelFile::from_path(&format!("{dir}/{file}")), Some(file));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}|(base|global)/[0-9a-z_./]{0,30}") {
        let _ = RelFile::from_path(&text).map(|file| file.first_block());
        let _ = BackupLabel::parse(&text);
        let _ = BackupLabel::parse(&format!("{LABEL}{text}"));
    }
}
