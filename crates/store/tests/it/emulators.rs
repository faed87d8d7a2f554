//! Emulators of the clouds, started for a test and stopped when it ends.
//!
//! Where they come from is said in the README's section on tests; where one is missing its test says so and is skipped.
//! `WALBROOK_TEST_S3`, `WALBROOK_TEST_GCS` and `WALBROOK_TEST_AZURE` name a store by its URL instead: a
//! server of one's own, or the real thing, with credentials from the environment; and
//! `WALBROOK_TEST_S3_LOCKS` a bucket with object locks.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use walbrook_store::StoreUrl;

/// Where `cargo xtask` and CI keep emulators.
const CACHE: &str = "/var/cache/walbrook-emulators";

/// Where what a server says goes, in its directory.
const LOG: &str = "emulator.log";

/// The account that every Azurite has, with the key that Microsoft publishes for it.
pub(crate) const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A shared access signature by that key, valid until 2099.
pub(crate) const AZURITE_SAS: &str = "sv=2018-11-09&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00%3A00%3A00Z&sig=CPoOux8rQhR0b5pwICKRhVPCypVOv2XSgLfWcXpc32c%3D";

/// A store to test against; its server, if it is ours, ends with it.
pub(crate) struct Emulator {
    pub(crate) url: StoreUrl,
    pub(crate) port: u16,
    server: Option<Child>,
    data: Option<tempfile::TempDir>,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Emulator {
    /// An S3 server with an empty bucket `bucket`, or nothing, with a message that says why.
    pub(crate) fn s3() -> Option<Self> {
        Self::given("WALBROOK_TEST_S3").or_else(|| {
            let program = find("moto_server", &["moto/bin/moto_server"])
                .or_else(|| skip("S3", "no moto_server; `pip install 'moto[server]'` gives one, or set WALBROOK_TEST_S3"))?;
            let emulator = Self::start(
                |port, _| {
                    let mut command = Command::new(program);
                    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
                    command
                },
                |port| {
                    format!(
                        "s3://bucket/some/prefix?endpoint=http://127.0.0.1:{port}&region=us-east-1\
                         &access_key_id=test&secret_access_key=test-secret&max_retries=2"
                    )
                },
            );
            let locked = "x-amz-bucket-object-lock-enabled: true";
            for (bucket, header) in [("PUT /bucket", "x: y"), ("PUT /locks", locked)] {
                let answer = request(emulator.port, bucket, header, "");
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
            Some(emulator)
        })
    }

    /// The URL of a bucket that has object locks: of an S3 server of ours, or `WALBROOK_TEST_S3_LOCKS`.
    pub(crate) fn with_locks(&self) -> Option<StoreUrl> {
        if let Ok(url) = std::env::var("WALBROOK_TEST_S3_LOCKS") {
            return Some(url.parse().unwrap());
        }
        let text = self.url.to_string().replace("//bucket/", "//locks/");
        let url: StoreUrl = (self.port > 0).then(|| text.parse().unwrap())?;
        Some(url.with_option("secret_access_key", "test-secret").unwrap())
    }

    /// A GCS bucket of one's own. No emulator that a registry has will do: fake-gcs-server and
    /// gcp-storage-emulator do not know the XML interface by which objects are created.
    pub(crate) fn gcs() -> Option<Self> {
        Self::given("WALBROOK_TEST_GCS")
            .or_else(|| skip("GCS", "set WALBROOK_TEST_GCS to the URL of a bucket"))
    }

    /// An Azure Blob Storage server.
    pub(crate) fn azure() -> Option<Self> {
        Self::given("WALBROOK_TEST_AZURE").or_else(|| {
            let program = find("azurite-blob", &["azurite/node_modules/.bin/azurite-blob"]).or_else(|| {
                skip("Azure", "no azurite-blob; `npm install azurite` gives one, or set WALBROOK_TEST_AZURE")
            })?;
            let emulator = Self::start(
                |port, data| {
                    let mut command = Command::new(program);
                    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
                    command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location"]);
                    command.arg(data);
                    command
                },
                |port| {
                    let key: String = AZURITE_KEY.replace('+', "%2B").replace('=', "%3D");
                    format!(
                        "az://box/some/prefix?account=devstoreaccount1&access_key={key}\
                         &endpoint=http://127.0.0.1:{port}/devstoreaccount1&max_retries=2"
                    )
                },
            );
            let create = format!("PUT /devstoreaccount1/box?restype=container&{AZURITE_SAS}");
            let answer = request(emulator.port, &create, "x: y", "");
            assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
            Some(emulator)
        })
    }

    /// The requests that a server of ours has answered, as moto logs them.
    pub(crate) fn requests(&self) -> Option<Vec<String>> {
        let log = std::fs::read_to_string(self.data.as_ref()?.path().join(LOG)).unwrap();
        Some(log.lines().filter(|line| line.contains(" HTTP/1.1\"")).map(str::to_owned).collect())
    }

    fn given(variable: &str) -> Option<Self> {
        let url = std::env::var(variable).ok()?.parse().unwrap();
        Some(Self { url, port: 0, server: None, data: None })
    }

    fn start(command: impl FnOnce(u16, &Path) -> Command, url: impl FnOnce(u16) -> String) -> Self {
        let data = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = command(port, data.path());
        let log = std::fs::File::create(data.path().join(LOG)).unwrap();
        let server = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let emulator =
            Self { url: url(port).parse().unwrap(), port, server: Some(server), data: Some(data) };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{command:?} does not listen on port {port}");
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }
}

fn skip<T>(cloud: &str, why: &str) -> Option<T> {
    eprintln!("skipped: {cloud}: {why}");
    None
}

/// A program in our cache or in the PATH.
fn find(name: &str, cached: &[&str]) -> Option<PathBuf> {
    let cached = cached.iter().map(|path| Path::new(CACHE).join(path));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = cached.chain(std::env::split_paths(&path).map(|dir| dir.join(name)));
    candidates.find(|program| program.is_file())
}

/// Credentials of anybody: nobody checks the signature, but there has to be one.
const ANYBODY: &str = "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// One HTTP request that needs no signature: what makes a bucket, and what an attacker does.
pub(crate) fn request(port: u16, line: &str, header: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{header}\r\n{ANYBODY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
