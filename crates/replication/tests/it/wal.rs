use std::time::Duration;

use walbrook_replication::{ServerError, Session, WalMessage, WalStream};
use walbrook_testkit::Cluster;
use walbrook_types::{Lsn, TimelineId, WalFileName, WalSegmentSize};

use crate::{majors, newest, run, socket};

const MIB: u64 = 1 << 20;

fn tli(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

/// Reads WAL up to a position, with waits that are cancelled again and again.
async fn read_to(stream: &mut WalStream, from: Lsn, to: Lsn) -> Vec<u8> {
    let mut wal = Vec::new();
    while from + (wal.len() as u64) < to {
        let Ok(message) = tokio::time::timeout(Duration::from_micros(200), stream.next()).await
        else {
            continue;
        };
        match message.unwrap() {
            WalMessage::Data { start, bytes, end_of_server_wal, server_time } => {
                assert_eq!(start, from + wal.len() as u64);
                assert!(end_of_server_wal >= start + bytes.len() as u64);
                let age = now_micros() - server_time.unix_micros();
                assert!(age.abs() < 60_000_000, "{age}");
                wal.extend_from_slice(&bytes);
            }
            WalMessage::KeepAlive { reply_requested: true, .. } => {
                let at = from + wal.len() as u64;
                stream.send_status(at, at, at, false).await.unwrap();
            }
            WalMessage::KeepAlive { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    wal
}

#[test]
fn the_stream_is_what_is_in_pg_wal() {
    for installation in majors() {
        let cluster = Cluster::builder(installation)
            .wal_segsize_mb(1)
            .config("wal_keep_size", "200MB")
            .config("wal_sender_timeout", "3s")
            .start()
            .unwrap();
        let table = "CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 50000) g";
        cluster.psql_ok("postgres", table).unwrap();
        run(async {
            let mut session = Session::replication(&socket(&cluster)).await.unwrap();
            let flushed = session.identify_system().await.unwrap().flushed;
            let end = flushed - flushed.0 % MIB;
            let start = end - 3 * MIB;
            session.create_physical_slot("s", false, false).await.unwrap();
            let mut stream = session.start_replication(Some("s"), start, tli(1)).await.unwrap();
            let wal = read_to(&mut stream, start, end).await;
            let size = WalSegmentSize::new(MIB).unwrap();
            for index in 0..3 {
                let at = start + index * MIB;
                let name = WalFileName::containing(tli(1), at, size).to_string();
                let file = std::fs::read(cluster.wal_dir().join(&name)).unwrap();
                let from = (index * MIB) as usize;
                assert!(file == wal[from..from + MIB as usize], "{installation}: {name} differs");
            }
            // What was reported as flushed is what the slot no longer keeps.
            stream.send_status(end, end, end, true).await.unwrap();
            let answered = tokio::time::timeout(Duration::from_secs(5), async {
                while !matches!(stream.next().await.unwrap(), WalMessage::KeepAlive { .. }) {}
            });
            answered.await.unwrap();
            let restart = "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 's'";
            assert_eq!(cluster.psql("postgres", restart).unwrap(), end.to_string());

            // The server asks for a sign of life before it gives up.
            let asked = tokio::time::timeout(Duration::from_secs(5), async {
                loop {
                    if let WalMessage::KeepAlive { reply_requested: true, .. } =
                        stream.next().await.unwrap()
                    {
                        return;
                    }
                }
            });
            asked.await.unwrap();

            // With WAL still coming, stopping gives a session that works.
            cluster
                .psql_ok("postgres", "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 50000) g")
                .unwrap();
            let mut session = stream.stop().await.unwrap();
            session.identify_system().await.unwrap();
            session.drop_slot("s", true).await.unwrap();
        });
    }
}

#[test]
fn a_timeline_ends_where_the_next_begins() {
    for installation in majors() {
        let primary = Cluster::builder(installation).start().unwrap();
        let standby = primary.create_standby().unwrap();
        primary.psql_ok("postgres", "CREATE TABLE t AS SELECT generate_series(1, 10000)").unwrap();
        let at = primary.current_lsn().unwrap();
        let caught_up = format!("SELECT pg_last_wal_replay_lsn() >= '{at}'");
        while standby.psql("postgres", &caught_up).unwrap() != "t" {
            std::thread::sleep(Duration::from_millis(50));
        }
        standby.promote().unwrap();
        run(async {
            let mut session = Session::replication(&socket(&standby)).await.unwrap();
            assert_eq!(session.identify_system().await.unwrap().timeline, tli(2));
            let history = session.timeline_history(tli(2)).await.unwrap();
            assert_eq!(history.name, "00000002.history");
            let file = std::fs::read(standby.wal_dir().join(&history.name)).unwrap();
            assert_eq!(history.content, file);
            let text = String::from_utf8(file).unwrap();
            let switch: Lsn = text.split_whitespace().nth(1).unwrap().parse().unwrap();
            let error = session.timeline_history(tli(1)).await.unwrap_err();
            assert_eq!(error.server_error().unwrap().code(), ServerError::UNDEFINED_FILE);

            let start = switch - switch.0 % (16 * MIB);
            let mut stream = session.start_replication(None, start, tli(1)).await.unwrap();
            let wal = read_to(&mut stream, start, switch).await;
            assert_eq!(start + wal.len() as u64, switch);
            for _ in 0..2 {
                let ended = WalMessage::Ended { next_timeline: Some((tli(2), switch)) };
                loop {
                    match stream.next().await.unwrap() {
                        WalMessage::KeepAlive { .. } => {}
                        other => break assert_eq!(other, ended),
                    }
                }
            }
            // From the very point of the switch there is nothing to stream.
            let session = stream.stop().await.unwrap();
            let mut stream = session.start_replication(None, switch, tli(1)).await.unwrap();
            let ended = WalMessage::Ended { next_timeline: Some((tli(2), switch)) };
            assert_eq!(stream.next().await.unwrap(), ended);
            let session = stream.stop().await.unwrap();
            let mut stream = session.start_replication(None, switch, tli(2)).await.unwrap();
            read_to(&mut stream, switch, switch + 8).await;
            stream.stop().await.unwrap();
        });
    }
}

#[test]
fn wal_that_is_gone() {
    let cluster = Cluster::builder(newest()).wal_segsize_mb(1).start().unwrap();
    for _ in 0..3 {
        cluster.switch_wal().unwrap();
        cluster.psql_ok("postgres", "CHECKPOINT").unwrap();
    }
    run(async {
        let session = Session::replication(&socket(&cluster)).await.unwrap();
        let gone = async {
            let mut stream = session.start_replication(None, Lsn(MIB), tli(1)).await?;
            stream.next().await
        };
        let error = gone.await.unwrap_err();
        assert_eq!(error.server_error().unwrap().code(), ServerError::UNDEFINED_FILE, "{error}");

        let session = Session::replication(&socket(&cluster)).await.unwrap();
        let error = session.start_replication(Some("none"), Lsn(MIB), tli(1)).await.unwrap_err();
        assert_eq!(error.server_error().unwrap().code(), ServerError::UNDEFINED_OBJECT);
    });
}

#[test]
fn a_server_that_shuts_down_ends_the_stream() {
    let mut cluster = Cluster::builder(newest()).start().unwrap();
    run(async {
        let mut session = Session::replication(&socket(&cluster)).await.unwrap();
        let at = session.identify_system().await.unwrap().flushed;
        let mut stream = session.start_replication(None, at, tli(1)).await.unwrap();
        stream.send_status(at, at, at, false).await.unwrap();
        let stop = std::thread::spawn(move || {
            cluster.stop(walbrook_testkit::StopMode::Fast).unwrap();
            cluster
        });
        let mut flushed = at;
        let outcome = loop {
            match stream.next().await {
                Ok(WalMessage::Data { start, bytes, .. }) => flushed = start + bytes.len() as u64,
                Ok(WalMessage::KeepAlive { .. }) => {}
                other => break other,
            }
            // The server waits for its last WAL to be confirmed before it goes.
            if stream.send_status(flushed, flushed, flushed, false).await.is_err() {
                break stream.next().await;
            }
        };
        match outcome {
            Ok(WalMessage::Ended { next_timeline: None }) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    walbrook_replication::ErrorKind::ConnectionLost
                        | walbrook_replication::ErrorKind::Server
                ),
                "{error}"
            ),
        }
        stop.join().unwrap();
    });
}

fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}
