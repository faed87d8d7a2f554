use walbrook_replication::{ErrorKind, ServerError, Session};
use walbrook_testkit::Cluster;
use walbrook_types::{SystemId, TimelineId};

use crate::{info, majors, newest, run, socket};

#[test]
fn identify_show_and_slots() {
    for installation in majors() {
        let cluster = Cluster::builder(installation).wal_segsize_mb(1).start().unwrap();
        let system = cluster.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
        let system: SystemId = system.unwrap().parse().unwrap();
        run(async {
            let mut session = Session::replication(&socket(&cluster)).await.unwrap();
            let identity = session.identify_system().await.unwrap();
            assert_eq!(identity.system_id, system);
            assert_eq!(identity.timeline, TimelineId::new(1).unwrap());
            assert_eq!(session.show("wal_segment_size").await.unwrap(), "1MB");
            assert_eq!(session.parameter("in_hot_standby"), Some("off"));
            let error = session.show("no_such_setting").await.unwrap_err();
            assert_eq!(error.server_error().unwrap().code(), "42704", "{error}");

            assert_eq!(session.read_slot("mine").await.unwrap(), None);
            let slot = session.create_physical_slot("mine", false, true).await.unwrap();
            assert!(slot.restart_lsn.is_some_and(|lsn| lsn <= identity.flushed));
            let read = session.read_slot("mine").await.unwrap().unwrap();
            assert_eq!(read, slot);
            assert_eq!(read.restart_timeline, TimelineId::new(1));
            let error = session.create_physical_slot("mine", false, false).await.unwrap_err();
            assert_eq!(error.server_error().unwrap().code(), ServerError::DUPLICATE_OBJECT);
            session.drop_slot("mine", true).await.unwrap();
            session.create_physical_slot("mine", true, false).await.unwrap();
            assert_eq!(session.read_slot("mine").await.unwrap().unwrap().restart_lsn, None);
            drop(session);
        });
        // A temporary slot goes with its session.
        let gone = || {
            let count = cluster.psql("postgres", "SELECT count(*) FROM pg_replication_slots");
            count.is_ok_and(|count| count == "0")
        };
        assert!((0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            gone()
        }));
    }
}

#[test]
fn ordinary_sql() {
    let cluster = Cluster::builder(newest()).start().unwrap();
    let text =
        format!("{} application_name='wal brook' options='-c work_mem=3MB'", cluster.conninfo());
    run(async {
        let mut session = Session::sql(&info(&text)).await.unwrap();
        let rows = session
            .simple_query("SET x.y = 'z'; SELECT 1 AS one, NULL AS two, 'drei''ß' AS three UNION ALL SELECT 2, 'b', ''")
            .await
            .unwrap();
        assert_eq!(rows.columns(), ["one", "two", "three"]);
        assert_eq!(rows.rows().len(), 2);
        assert_eq!(rows.rows()[0].get(1), None);
        assert_eq!(rows.rows()[0].get(2), Some("drei'ß"));
        assert_eq!(rows.rows()[1].get(2), Some(""));
        assert_eq!(rows.rows()[1].get(3), None);
        assert_eq!(session.show("application_name").await.unwrap(), "wal brook");
        assert_eq!(session.show("work_mem").await.unwrap(), "3MB");
        assert_eq!(session.show("x.y").await.unwrap(), "z");

        let error = session.simple_query("SELECT 1/0").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
        assert_eq!(error.server_error().unwrap().code(), "22012");
        assert_eq!(error.server_error().unwrap().severity(), "ERROR");
        assert!(session.simple_query("").await.unwrap().rows().is_empty());
        assert_eq!(session.simple_query("a\0b").await.unwrap_err().kind(), ErrorKind::Config);

        // Statements that are no plain answer are refused without hanging, and end the session.
        let error = session.simple_query("COPY pg_class TO STDOUT").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let error = session.simple_query("SELECT 1").await.unwrap_err();
        assert!(error.to_string().contains("abandoned"), "{error}");
    });
}

#[test]
fn a_backend_that_is_terminated() {
    let cluster = Cluster::builder(newest()).start().unwrap();
    run(async {
        let mut session = Session::sql(&socket(&cluster)).await.unwrap();
        let rows = session.simple_query("SELECT pg_backend_pid()").await.unwrap();
        let pid = rows.rows()[0].get(0).unwrap().to_owned();
        let kill = format!("SELECT pg_terminate_backend({pid}, 5000)");
        assert_eq!(cluster.psql("postgres", &kill).unwrap(), "t");
        let error = session.simple_query("SELECT 1").await.unwrap_err();
        assert_eq!(error.server_error().map(ServerError::code), Some("57P01"), "{error}");
    });
}

#[test]
fn copy_out_in_binary_form() {
    for installation in majors() {
        let cluster = Cluster::builder(installation).start().unwrap();
        run(async {
            let mut session = Session::sql(&socket(&cluster)).await.unwrap();
            let big = 5 << 20;
            let sql = format!(
                "COPY (SELECT n, n::int8 << 40, n = 2, CASE WHEN n <> 3 THEN \
                 convert_to(repeat(chr(96 + n), {big} / n), 'UTF8') END \
                 FROM generate_series(1, 9) n) TO STDOUT (FORMAT binary)"
            );
            let mut rows = session.copy_out(&sql).await.unwrap();
            for n in 1..10 {
                let mut row = rows.next().await.unwrap().unwrap();
                assert_eq!(
                    (row.len(), row.int4(0), row.int8(1)),
                    (4, Some(n), Some(i64::from(n) << 40))
                );
                assert_eq!(row.boolean(2), Some(n == 2));
                match row.take(3) {
                    None => assert_eq!(n, 3),
                    Some(text) => {
                        assert_eq!(text.len(), big / n as usize);
                        assert!(text.iter().all(|b| *b == 96 + n as u8));
                    }
                }
            }
            assert!(rows.next().await.unwrap().is_none());
            assert!(rows.next().await.unwrap().is_none());

            // An error in its midst, or before it, leaves the session usable; so do no rows.
            let sql =
                "COPY (SELECT 1 / (3 - n) FROM generate_series(1, 9) n) TO STDOUT (FORMAT binary)";
            let mut rows = session.copy_out(sql).await.unwrap();
            let error = loop {
                match rows.next().await {
                    Ok(row) => assert!(row.is_some()),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.server_error().unwrap().code(), "22012");
            assert!(session.copy_out("COPY nothing TO STDOUT (FORMAT binary)").await.is_err());
            let sql = "COPY (SELECT 1 WHERE false) TO STDOUT (FORMAT binary)";
            assert!(session.copy_out(sql).await.unwrap().next().await.unwrap().is_none());
            assert!(!session.show("server_version").await.unwrap().is_empty());

            // One that is left in its midst does not pass for a session that is ready.
            let sql = "COPY (SELECT generate_series(1, 9)) TO STDOUT (FORMAT binary)";
            session.copy_out(sql).await.unwrap().next().await.unwrap();
            assert!(session.show("port").await.is_err());
        });
    }
}
