use std::time::{Duration, Instant};

use walbrook_replication::{ErrorKind, Session};
use walbrook_testkit::{Cluster, StopMode};

use crate::{info, newest, run};

#[test]
fn the_right_one_of_several_hosts() {
    let primary = Cluster::builder(newest()).start().unwrap();
    let standby = primary.create_standby().unwrap();
    let both = format!(
        "host=/nonexistent,{},{} port=1,{},{} user=postgres dbname=postgres",
        primary.socket_dir().display(),
        standby.socket_dir().display(),
        primary.port(),
        standby.port()
    );
    run(async {
        for (target, expected) in [
            ("any", &primary),
            ("primary", &primary),
            ("read-write", &primary),
            ("standby", &standby),
            ("read-only", &standby),
            ("prefer-standby", &standby),
        ] {
            let info = info(&format!("{both} target_session_attrs={target}"));
            for session in [Session::sql(&info).await, Session::replication(&info).await] {
                let peer = session.unwrap().peer().to_owned();
                let expected = expected.socket_dir().display().to_string();
                assert!(peer.starts_with(&expected), "{target}: {peer}");
            }
        }
        let only = format!("{} target_session_attrs=standby", primary.conninfo());
        let error = Session::sql(&info(&only)).await.unwrap_err();
        assert!(error.to_string().contains("not in hot standby mode"), "{error}");
        let only = format!("{} target_session_attrs=prefer-standby", primary.conninfo());
        Session::sql(&info(&only)).await.unwrap();
    });
}

#[test]
fn nobody_there() {
    let mut cluster = Cluster::builder(newest()).tcp().start().unwrap();
    let text = cluster.conninfo_tcp().unwrap();
    cluster.stop(StopMode::Fast).unwrap();
    let error = run(Session::replication(&info(&text))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    let error = run(Session::replication(&info("host=/nonexistent,/neither"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    assert!(text.contains("/nonexistent/.s.PGSQL.5432") && text.contains("/neither/"), "{text}");
    let error = run(Session::replication(&info("host=no-such-host.invalid"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains("no-such-host.invalid"));
}

#[test]
fn a_server_that_says_nothing_runs_into_the_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for mode in ["disable", "require"] {
        let before = Instant::now();
        let text = format!("host=127.0.0.1 port={port} connect_timeout=1 sslmode={mode}");
        let error = run(Session::replication(&info(&text))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(before.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn something_that_is_no_postgresql() {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"220 mail.example.com ESMTP ready\r\n").unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    for mode in ["disable", "require"] {
        let text = format!("host=127.0.0.1 port={port} sslmode={mode}");
        let error = run(Session::replication(&info(&text))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    server.join().unwrap();
}
