use walbrook_testkit::{Cluster, fingerprint, fingerprint_all, installations, majors, sequences};

#[test]
fn equal_data_has_equal_fingerprints_and_any_change_shows() {
    let cluster = Cluster::builder(majors()[0]).start().unwrap();
    let make = "CREATE TABLE \"it's\" (t text, n float8); \
                INSERT INTO \"it's\" SELECT i::text, sqrt(i) FROM generate_series(1, 100) i ORDER BY i";
    for (database, order) in [("a", "ASC"), ("b", "DESC")] {
        cluster.psql_ok("postgres", &format!("CREATE DATABASE {database}")).unwrap();
        cluster.psql_ok(database, &format!("{make} {order}")).unwrap();
        cluster
            .psql_ok(
                database,
                "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM \"it's\"; \
                 CREATE MATERIALIZED VIEW unpopulated AS SELECT 1 WITH NO DATA; \
                 CREATE UNLOGGED TABLE u (n int); CREATE SEQUENCE s; SELECT nextval('s'); \
                 CREATE TABLE parent (n int); CREATE TABLE child () INHERITS (parent); \
                 INSERT INTO child VALUES (1); SELECT lo_from_bytea(4711, 'large')",
            )
            .unwrap();
    }
    let a = fingerprint(&cluster, "a").unwrap();
    assert_eq!(a, fingerprint(&cluster, "b").unwrap());
    let names: Vec<(&str, &str)> = a.iter().map(|(n, d)| (n.as_str(), d.size.as_str())).collect();
    let expected = [
        ("large object 4711", "5"),
        ("matview public.m", "1"),
        ("table public.\"it's\"", "100"),
        ("table public.child", "1"),
        ("table public.parent", "0"),
    ];
    assert_eq!(names, expected);
    assert_eq!(sequences(&cluster, "a").unwrap()["public.s"], 1);

    for change in [
        "UPDATE \"it's\" SET n = n + 1 WHERE t = '7'",
        "INSERT INTO \"it's\" SELECT * FROM \"it's\" WHERE t = '9'",
        "SELECT lo_put(4711, 0, 'L')",
    ] {
        let before = fingerprint(&cluster, "b").unwrap();
        cluster.psql_ok("b", change).unwrap();
        assert_ne!(before, fingerprint(&cluster, "b").unwrap(), "{change}");
    }
    let all = fingerprint_all(&cluster).unwrap();
    assert_eq!(all["a"], a);
    assert!(all[""].contains_key("role postgres"));
}

#[test]
fn contrib_is_there_where_it_is_said_to_be() {
    for installation in installations() {
        let cluster = Cluster::builder(installation).start().unwrap();
        for name in ["amcheck", "pg_visibility"] {
            let made = cluster.psql_ok("postgres", &format!("CREATE EXTENSION {name}"));
            assert_eq!(made.is_ok(), installation.has_contrib(name), "{installation} {name}");
        }
    }
}

#[test]
fn a_binary_out_of_reach_is_published() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = Cluster::builder(majors()[0]).start().unwrap();
    let reachable = std::path::Path::new("/bin/true");
    assert_eq!(
        cluster.published_binary(reachable).unwrap(),
        std::fs::canonicalize(reachable).unwrap()
    );
    // As root, a directory of root's own alone; as anybody else everything is reachable.
    let private = tempfile::tempdir().unwrap();
    std::fs::set_permissions(private.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let program = private.path().join("program");
    std::fs::copy(reachable, &program).unwrap();
    let published = cluster.published_binary(&program).unwrap();
    let command = std::process::Command::new(published);
    assert!(walbrook_testkit::run_unprivileged(command).status().unwrap().success());
}
