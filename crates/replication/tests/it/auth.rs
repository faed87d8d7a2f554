use std::os::unix::fs::PermissionsExt;

use walbrook_replication::{ConnInfo, ErrorKind, ServerError, Session};
use walbrook_testkit::Cluster;

use crate::{env, info, majors, newest, run, socket};

const HBA: &str = "\
local all,replication md5_user,plain_user,scram_user,norep scram-sha-256
host all,replication scram_user,norep 127.0.0.1/32 scram-sha-256
host all,replication md5_user 127.0.0.1/32 md5
host all,replication plain_user 127.0.0.1/32 password
host all,replication trust_user 127.0.0.1/32 trust
host all hba_user 127.0.0.1/32 trust
";

fn cluster(installation: &walbrook_testkit::Installation) -> Cluster {
    let cluster = Cluster::builder(installation).tcp().hba(HBA).start().unwrap();
    let roles = "
        SET password_encryption = 'scram-sha-256';
        CREATE ROLE scram_user LOGIN REPLICATION PASSWORD 'pä ss''wörd';
        CREATE ROLE plain_user LOGIN REPLICATION PASSWORD 'plain';
        CREATE ROLE norep LOGIN PASSWORD 'norep';
        CREATE ROLE trust_user LOGIN REPLICATION;
        CREATE ROLE hba_user LOGIN REPLICATION;
        SET password_encryption = 'md5';
        CREATE ROLE md5_user LOGIN REPLICATION PASSWORD 'geheim';";
    cluster.psql_ok("postgres", roles).unwrap();
    cluster
}

#[test]
fn every_method_that_is_supported() {
    for installation in majors() {
        let cluster = cluster(installation);
        let port = cluster.port();
        let tcp = format!("host=127.0.0.1 port={port} dbname=postgres sslmode=disable");
        let unix = format!("host={} port={port} dbname=postgres", cluster.socket_dir().display());
        run(async {
            for text in [
                format!("{tcp} user=trust_user"),
                format!("{tcp} user=trust_user require_auth=none"),
                format!("{tcp} user=plain_user password=plain require_auth=password"),
                format!("{tcp} user=md5_user password=geheim require_auth=md5"),
                format!("{tcp} user=scram_user password='pä ss\\'wörd'"),
                format!(
                    "{unix} user=scram_user password='pä ss\\'wörd' require_auth=scram-sha-256"
                ),
                format!(
                    "postgresql://scram_user:p%C3%A4%20ss%27w%C3%B6rd@127.0.0.1:{port}/postgres?sslmode=disable"
                ),
            ] {
                let info = info(&text);
                let mut session = Session::replication(&info).await.unwrap();
                session.identify_system().await.unwrap();
                assert_eq!(session.server_version().major(), installation.major());
                let mut session = Session::sql(&info).await.unwrap();
                let rows = session.simple_query("SELECT session_user").await.unwrap();
                assert_eq!(rows.rows()[0].get(0), Some(info.user()));
            }
        });
    }
}

#[test]
fn refusals_say_what_to_do() {
    let cluster = cluster(newest());
    let tcp = format!("host=127.0.0.1 port={} dbname=postgres sslmode=disable", cluster.port());
    run(async {
        let fails = async |settings: &str| {
            let error =
                Session::replication(&info(&format!("{tcp} {settings}"))).await.unwrap_err();
            let text = error.to_string();
            assert!(
                !text.contains("wrong-secret") && !format!("{error:?}").contains("wrong-secret")
            );
            (error, text)
        };
        let (error, text) = fails("user=scram_user password=wrong-secret").await;
        assert_eq!(error.kind(), ErrorKind::Authentication, "{text}");
        assert_eq!(error.server_error().unwrap().code(), ServerError::INVALID_PASSWORD);
        assert!(text.contains(&format!("127.0.0.1:{}", cluster.port())), "{text}");

        let (error, text) = fails("user=scram_user").await;
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(text.contains("PGPASSWORD") && text.contains("scram_user"), "{text}");

        let (error, text) = fails("user=norep password=norep").await;
        assert_eq!(error.kind(), ErrorKind::Server, "{text}");
        assert_eq!(error.server_error().unwrap().code(), ServerError::INSUFFICIENT_PRIVILEGE);
        assert!(text.contains("ALTER ROLE \"norep\" REPLICATION"), "{text}");

        let (error, text) = fails("user=hba_user").await;
        assert_eq!(error.kind(), ErrorKind::Authentication, "{text}");
        assert!(text.contains("pg_hba.conf") && text.contains("replication hba_user"), "{text}");

        let (error, text) =
            fails("user=plain_user password=wrong-secret require_auth=scram-sha-256").await;
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(error.server_error().is_none() && text.contains("require_auth"), "{text}");

        let (_, text) = fails("user=trust_user require_auth=!none").await;
        assert!(text.contains("require_auth"), "{text}");
        let (_, text) =
            fails("user=scram_user password=wrong-secret channel_binding=require").await;
        assert!(text.contains("channel binding required"), "{text}");
        let (_, text) = fails("user=trust_user channel_binding=require").await;
        assert!(text.contains("channel binding required"), "{text}");
    });
}

#[test]
fn password_files_are_used_for_each_kind_of_session() {
    let cluster = cluster(newest());
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".pgpass");
    let port = cluster.port();
    std::fs::write(
        &file,
        format!(
            "127.0.0.1:{port}:replication:norep:wrong\n127.0.0.1:{port}:postgres:norep:norep\n\
             127.0.0.1:{port}:replication:plain_user:plain\n"
        ),
    )
    .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let env = env().with_home(home.path()).with_variable("PGSSLMODE", "disable");
    let parse = |user: &str| {
        let text = format!("host=127.0.0.1 port={port} dbname=postgres user={user}");
        ConnInfo::parse(&text, &env).unwrap()
    };
    run(async {
        Session::replication(&parse("plain_user")).await.unwrap();
        Session::sql(&parse("norep")).await.unwrap();
        let error = Session::sql(&parse("plain_user")).await.unwrap_err().to_string();
        assert!(error.contains("there is none"), "{error}");
        let error = Session::replication(&parse("norep")).await.unwrap_err().to_string();
        assert!(error.contains("the password came from the file"), "{error}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Session::sql(&parse("norep")).await.unwrap_err().to_string();
        assert!(error.contains("0600"), "{error}");
    });
}

#[test]
fn requirepeer() {
    let cluster = cluster(newest());
    run(async {
        let error = Session::sql(&info(&format!("{} requirepeer=nobody-here", cluster.conninfo())))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
        Session::sql(&socket(&cluster)).await.unwrap();
    });
}
