use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use walbrook_replication::{ConnInfo, Environment, Error, ErrorKind, Session};
use walbrook_testkit::{Cluster, StopMode};

use crate::{env, majors, run};

const HBA: &str = "\
local all,replication postgres trust
hostssl all,replication certuser 127.0.0.1/32 cert
hostssl all,replication scram 127.0.0.1/32 scram-sha-256
hostssl all,replication postgres 127.0.0.1/32 trust
hostnossl all,replication plain 127.0.0.1/32 trust
";

/// Certificates made by the openssl program.
struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Option<Self> {
        let authority = Self { directory: tempfile::tempdir().unwrap() };
        if Command::new("openssl").arg("version").output().is_err() {
            println!("SKIPPED: there is no openssl program to make certificates with");
            return None;
        }
        let this = &authority;
        this.self_signed(
            "ca",
            "/CN=Walbrook test authority",
            &["-addext", "basicConstraints=critical,CA:TRUE"],
        );
        this.self_signed(
            "other",
            "/CN=Another authority",
            &["-addext", "basicConstraints=critical,CA:TRUE"],
        );
        // As in the manual's quick start: no subject alternative name, its own authority.
        this.self_signed("quick", "/CN=quick.test", &[]);
        this.issue(
            "server",
            "/CN=irrelevant",
            "subjectAltName=DNS:db.test,DNS:*.wild.test,IP:127.0.0.1",
            "-sha256",
        );
        this.issue("named", "/CN=cn.test", "basicConstraints=CA:FALSE", "-sha512");
        this.issue("client", "/CN=certuser", "basicConstraints=CA:FALSE", "-sha256");
        Some(authority)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(&self.directory).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn self_signed(&self, name: &str, subject: &str, more: &[&str]) {
        let (key, crt) = (format!("{name}.key"), format!("{name}.crt"));
        let mut all = vec!["req", "-new", "-x509", "-days", "2", "-nodes", "-newkey", "rsa:2048"];
        all.extend(["-keyout", &key, "-out", &crt, "-subj", subject]);
        all.extend(more);
        self.openssl(&all);
    }

    fn issue(&self, name: &str, subject: &str, extension: &str, digest: &str) {
        let (key, csr, crt) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        std::fs::write(self.path("ext"), format!("{extension}\n")).unwrap();
        self.openssl(&[
            "req", "-new", "-nodes", "-newkey", "rsa:2048", "-keyout", &key, "-out", &csr, "-subj",
            subject,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-days",
            "2",
            digest,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "ext",
            "-out",
            &crt,
        ]);
    }

    /// A server with this certificate, or `None` when its build has no TLS.
    fn server(&self, installation: &walbrook_testkit::Installation, name: &str) -> Option<Cluster> {
        let mut cluster = Cluster::builder(installation)
            .tcp()
            .file("server.crt", self.text(&format!("{name}.crt")))
            .file("server.key", self.text(&format!("{name}.key")))
            .file("ca.crt", self.text("ca.crt"))
            .start()
            .unwrap();
        if cluster.psql("postgres", "SHOW ssl_library").unwrap().is_empty() {
            println!("SKIPPED: {installation} was built without TLS");
            return None;
        }
        let roles = "CREATE ROLE certuser LOGIN REPLICATION; CREATE ROLE plain LOGIN REPLICATION;
             CREATE ROLE scram LOGIN REPLICATION PASSWORD 'geheim';";
        cluster.psql_ok("postgres", roles).unwrap();
        std::fs::write(cluster.data_dir().join("pg_hba.conf"), HBA).unwrap();
        cluster.append_config(&[("ssl", "on"), ("ssl_ca_file", "ca.crt")]).unwrap();
        cluster.restart(StopMode::Fast).unwrap();
        Some(cluster)
    }
}

fn connect_in(env: &Environment, cluster: &Cluster, settings: &str) -> Result<bool, Error> {
    let base =
        format!("hostaddr=127.0.0.1 port={} dbname=postgres connect_timeout=20", cluster.port());
    let info = ConnInfo::parse(&format!("{base} {settings}"), env).unwrap();
    run(async {
        Session::replication(&info).await?.identify_system().await?;
        let mut session = Session::sql(&info).await?;
        let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(session.simple_query(ssl).await?.rows()[0].get(0) == Some("t"))
    })
}

/// Whether the session has TLS, or the error.
fn connect(cluster: &Cluster, settings: &str) -> Result<bool, Error> {
    connect_in(&env(), cluster, settings)
}

fn refused(cluster: &Cluster, settings: &str, kind: ErrorKind, says: &str) {
    let error = connect(cluster, settings).unwrap_err();
    assert_eq!(error.kind(), kind, "{settings}: {error}");
    assert!(error.to_string().contains(says), "{settings}: {error}");
}

fn root(path: &Path) -> String {
    format!("sslrootcert={}", path.display())
}

#[test]
fn sslmode_means_what_it_means_in_libpq() {
    let Some(authority) = Authority::new() else { return };
    let (ca, other) = (root(&authority.path("ca.crt")), root(&authority.path("other.crt")));
    for installation in majors() {
        let Some(cluster) = authority.server(installation, "server") else { continue };
        let ok = |settings: &str, tls: bool| match connect(&cluster, settings) {
            Ok(got) => assert_eq!(got, tls, "{installation}: {settings}"),
            Err(error) => panic!("{installation}: {settings}: {error}"),
        };
        for mode in ["allow", "prefer", "require"] {
            ok(&format!("host=wrong.test sslmode={mode}"), true);
            ok(&format!("host=wrong.test sslmode={mode} {ca}"), true);
            ok(&format!("host=wrong.test sslmode={mode} sslrootcert=/nonexistent"), true);
        }
        refused(&cluster, "host=db.test sslmode=disable", ErrorKind::Authentication, "pg_hba.conf");
        // A role that only plain connections are open to.
        ok("host=db.test user=plain sslmode=disable", false);
        ok("host=db.test user=plain sslmode=allow", false);
        ok("host=db.test user=plain sslmode=prefer", false);
        refused(
            &cluster,
            "host=db.test user=plain sslmode=require",
            ErrorKind::Authentication,
            "pg_hba.conf",
        );

        // With a root certificate file, even the weaker modes verify the chain.
        refused(
            &cluster,
            &format!("host=db.test sslmode=require {other}"),
            ErrorKind::Tls,
            "UnknownIssuer",
        );
        ok(&format!("host=db.test user=plain sslmode=prefer {other}"), false);
        ok(&format!("host=wrong.test sslmode=verify-ca {ca}"), true);
        refused(
            &cluster,
            &format!("host=db.test sslmode=verify-ca {other}"),
            ErrorKind::Tls,
            "UnknownIssuer",
        );
        refused(&cluster, "host=db.test sslmode=verify-ca", ErrorKind::Tls, "root certificate");
        refused(
            &cluster,
            "host=db.test sslmode=verify-full sslrootcert=/nonexistent",
            ErrorKind::Tls,
            "/nonexistent",
        );
        ok(&format!("host=db.test sslmode=verify-full {ca}"), true);
        ok(&format!("host=a.wild.test sslmode=verify-full {ca}"), true);
        ok(&format!("host=127.0.0.1 sslmode=verify-full {ca}"), true);
        refused(
            &cluster,
            &format!("host=wrong.test sslmode=verify-full {ca}"),
            ErrorKind::Tls,
            "wrong.test",
        );
        refused(
            &cluster,
            &format!("host=irrelevant sslmode=verify-full {ca}"),
            ErrorKind::Tls,
            "irrelevant",
        );
        refused(
            &cluster,
            &format!("host=127.0.0.2 sslmode=verify-full {ca}"),
            ErrorKind::Tls,
            "127.0.0.2",
        );
        refused(
            &cluster,
            &format!("sslmode=verify-full {ca}"),
            ErrorKind::Config,
            "host name must be specified",
        );
        refused(&cluster, "host=db.test sslrootcert=system", ErrorKind::Tls, "");
        ok(
            &format!("host=db.test sslmode=verify-full {ca} ssl_min_protocol_version=TLSv1.3"),
            true,
        );
        ok(
            &format!(
                "host=db.test sslmode=verify-full {ca} ssl_max_protocol_version=TLSv1.2 sslsni=0"
            ),
            true,
        );

        let direct = format!("host=db.test sslmode=verify-full sslnegotiation=direct {ca}");
        match installation.major() >= 17 {
            true => ok(&direct, true),
            false => assert!(connect(&cluster, &direct).is_err()),
        }

        // Channel binding: the server checks what the client binds to.
        for binding in ["disable", "prefer", "require"] {
            let settings =
                format!("user=scram password=geheim host=db.test channel_binding={binding}");
            ok(&format!("{settings} sslmode=require"), true);
            ok(&format!("{settings} sslmode=require ssl_max_protocol_version=TLSv1.2"), true);
        }
        refused(
            &cluster,
            "user=scram password=falsch host=db.test sslmode=prefer",
            ErrorKind::Authentication,
            "password",
        );
    }
}

#[test]
fn certificates_by_common_name_and_the_manuals_quick_start() {
    let Some(authority) = Authority::new() else { return };
    let mut tested = 0;
    for installation in majors() {
        let Some(cluster) = authority.server(installation, "named") else { continue };
        tested += 1;
        let ca = root(&authority.path("ca.crt"));
        connect(&cluster, &format!("host=cn.test sslmode=verify-full {ca}")).unwrap();
        refused(
            &cluster,
            &format!("host=db.test sslmode=verify-full {ca}"),
            ErrorKind::Tls,
            "db.test",
        );
        // Signed with SHA-512, which the channel is then bound with.
        let bound =
            "host=cn.test user=scram password=geheim sslmode=require channel_binding=require";
        connect(&cluster, bound).unwrap();

        let Some(cluster) = authority.server(installation, "quick") else { continue };
        let own = root(&authority.path("quick.crt"));
        connect(&cluster, &format!("host=x sslmode=verify-ca {own}")).unwrap();
        connect(&cluster, &format!("host=quick.test sslmode=verify-full {own}")).unwrap();
        refused(&cluster, &format!("host=db.test sslmode=verify-full {own}"), ErrorKind::Tls, "");
        refused(&cluster, &format!("host=x sslmode=verify-ca {ca}"), ErrorKind::Tls, "");
    }
    assert!(tested > 0, "no server with TLS was found");
}

#[test]
fn client_certificates_and_default_files() {
    let Some(authority) = Authority::new() else { return };
    let Some(cluster) = majors().into_iter().rev().find_map(|i| authority.server(i, "server"))
    else {
        panic!("no server with TLS was found")
    };
    let (cert, key) = (authority.path("client.crt"), authority.path("client.key"));
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&key, 0o600);
    let user = "user=certuser host=db.test sslmode=require";
    let with = format!("{user} sslcert={} sslkey={}", cert.display(), key.display());
    assert!(connect(&cluster, &with).unwrap());
    refused(&cluster, user, ErrorKind::Authentication, "certificate");
    refused(
        &cluster,
        &format!("{with} sslcertmode=disable"),
        ErrorKind::Authentication,
        "certificate",
    );
    refused(
        &cluster,
        &format!("{user} sslcert={} sslkey=/none", cert.display()),
        ErrorKind::Tls,
        "/none",
    );
    mode(&key, 0o644);
    refused(&cluster, &with, ErrorKind::Tls, "group or world access");

    // Everything from ~/.postgresql.
    let home = tempfile::tempdir().unwrap();
    let files = home.path().join(".postgresql");
    std::fs::create_dir(&files).unwrap();
    for (from, to) in
        [("client.crt", "postgresql.crt"), ("client.key", "postgresql.key"), ("ca.crt", "root.crt")]
    {
        std::fs::copy(authority.path(from), files.join(to)).unwrap();
    }
    mode(&files.join("postgresql.key"), 0o600);
    let env = env().with_home(home.path());
    let full = "user=certuser host=db.test sslmode=verify-full";
    assert!(connect_in(&env, &cluster, full).unwrap());
    std::fs::copy(authority.path("other.crt"), files.join("root.crt")).unwrap();
    assert!(connect_in(&env, &cluster, full).is_err());
    assert!(connect_in(&env, &cluster, "user=certuser host=db.test sslmode=require").is_err());
    std::fs::copy(authority.path("ca.crt"), files.join("root.crt")).unwrap();
    std::fs::write(files.join("root.crl"), "").unwrap();
    let error = connect_in(&env, &cluster, full).unwrap_err().to_string();
    assert!(error.contains("revocation"), "{error}");
}

#[test]
fn a_server_without_tls() {
    let cluster = Cluster::builder(crate::newest()).tcp().start().unwrap();
    assert!(!connect(&cluster, "host=db.test sslmode=prefer").unwrap());
    refused(&cluster, "host=db.test sslmode=require", ErrorKind::Tls, "does not support TLS");
    // The socket never has TLS, whatever the mode.
    let text = format!("{} sslmode=verify-full", cluster.conninfo());
    run(Session::replication(&crate::info(&text))).unwrap();
}
