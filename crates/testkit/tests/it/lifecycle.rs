use std::time::Duration;

use walbrook_testkit::{Cluster, ErrorKind, StopMode, alive, installations, majors, wait_for};

#[test]
fn every_supported_major_is_here() {
    // `cargo xtask test` says what is missing; without any server no test means anything.
    assert!(!majors().is_empty(), "no PostgreSQL: run `cargo xtask pg`");
}

#[test]
fn each_installation_serves_and_is_gone_when_dropped() {
    for installation in installations() {
        let mut cluster = Cluster::builder(installation)
            .data_checksums(true)
            .wal_segsize_mb(1)
            .config("application_name", "it's quoted")
            .start()
            .unwrap();
        let version = cluster.psql("postgres", "SHOW server_version_num").unwrap();
        let (major, minor) = installation.version;
        assert_eq!(version, format!("{}", major * 10000 + minor));
        assert_eq!(cluster.psql("postgres", "SHOW data_checksums").unwrap(), "on");
        assert_eq!(cluster.psql("postgres", "SHOW wal_segment_size").unwrap(), "1MB");
        assert_eq!(cluster.psql("postgres", "SHOW listen_addresses").unwrap(), "");

        cluster.psql_ok("postgres", "CREATE TABLE t AS SELECT generate_series(1, 10) n").unwrap();
        for mode in [StopMode::Fast, StopMode::Immediate, StopMode::Kill] {
            let before = cluster.pid().expect("runs");
            cluster.restart(mode).unwrap();
            assert_ne!(cluster.pid(), Some(before), "{mode:?}");
            assert_eq!(cluster.psql("postgres", "SELECT sum(n) FROM t").unwrap(), "55");
        }

        let pid = cluster.pid().expect("runs");
        let data_dir = cluster.data_dir().to_path_buf();
        assert!(alive(pid));
        drop(cluster);
        assert!(!alive(pid), "{installation}: {pid} survived");
        assert!(!data_dir.exists() || std::env::var_os("WALBROOK_KEEP").is_some());
    }
}

#[test]
fn stock_is_what_initdb_left() {
    for installation in majors() {
        let cluster = Cluster::stock(installation).unwrap();
        let changed = cluster
            .query_rows(
                "postgres",
                "SELECT name, source FROM pg_settings WHERE source = 'command line' ORDER BY name",
            )
            .unwrap();
        let names: Vec<&str> = changed.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(names, ["port", "unix_socket_directories"], "{installation}");
        for (name, value) in
            [("fsync", "on"), ("archive_mode", "off"), ("listen_addresses", "localhost")]
        {
            assert_eq!(cluster.psql("postgres", &format!("SHOW {name}")).unwrap(), value);
        }
        let tcp = cluster.conninfo_tcp().expect("listens");
        let mut psql = cluster.command("psql");
        assert!(psql.args(["-d", &tcp, "-c", "SELECT 1"]).output().unwrap().status.success());
    }
}

#[test]
fn sql_errors_have_the_servers_text() {
    let cluster = Cluster::builder(majors()[0]).start().unwrap();
    let error = cluster.psql("postgres", "SELECT 1; SELECT * FROM absent; SELECT 2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Sql);
    assert!(error.to_string().contains("relation \"absent\" does not exist"), "{error}");

    let rows =
        cluster.query_rows("postgres", "SELECT 'a|b', NULL, E'c\\nd' UNION ALL SELECT '1','2','3'");
    assert_eq!(rows.unwrap(), [["a|b", "", "c\nd"], ["1", "2", "3"]]);
    assert!(cluster.query_rows("postgres", "SELECT 1 WHERE false").unwrap().is_empty());
}

#[test]
fn a_server_that_cannot_start_tells_why() {
    let error =
        Cluster::builder(majors()[0]).config("shared_buffers", "nonsense").start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(
        error.to_string().contains("invalid value for parameter \"shared_buffers\""),
        "{error}"
    );
}

#[test]
fn hba_and_tcp() {
    let cluster = Cluster::builder(majors()[0])
        .tcp()
        .hba("host all all 127.0.0.1/32 reject")
        .start()
        .unwrap();
    let mut psql = cluster.command("psql");
    let output =
        psql.args(["-d", &cluster.conninfo_tcp().unwrap(), "-c", "SELECT 1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("rejects connection"));
    assert_eq!(cluster.psql("postgres", "SELECT 1").unwrap(), "1");
}

#[test]
fn a_killed_test_process_leaves_nothing() {
    // This test runs itself anew as a child that gets SIGKILL while its server runs.
    const CHILD: &str = "WALBROOK_TESTKIT_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let cluster = Cluster::builder(majors()[0]).start().unwrap();
        println!("\nserver {} {}", cluster.pid().unwrap(), cluster.data_dir().display());
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    use std::io::{BufRead as _, BufReader};
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::a_killed_test_process_leaves_nothing", "--nocapture"])
        .env(CHILD, "1")
        .env_remove("WALBROOK_KEEP")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with("server "))
        .expect("the child tells its server");
    let words: Vec<&str> = line.split(' ').collect();
    let pid: u32 = words[1].parse().unwrap();
    assert!(alive(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the watchdog ends the server", Duration::from_secs(20), || !alive(pid)).unwrap();
    let dir = std::path::Path::new(words[2]).parent().unwrap();
    wait_for("the directory goes", Duration::from_secs(20), || !dir.exists()).unwrap();
}
