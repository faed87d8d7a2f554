//! Establishing a connection: the list of hosts, sockets, TLS and authentication.

mod certificate;
mod socket;
mod startup;
mod target;
mod tls;

use std::hash::{BuildHasher, RandomState};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use walbrook_types::PgVersion;

use self::socket::Address;
use self::startup::{Channel, Refusal};
use self::tls::Tls;
use crate::conninfo::{
    ConnInfo, Host, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs,
};
use crate::wire::{Transport, Wire};
use crate::{Error, ErrorKind, ServerError};

/// What kind of session the startup message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `replication=true`: a WAL sender, not connected to a database.
    Replication,
    /// An ordinary backend.
    Sql,
}

/// Connects to the first of the hosts that will do.
pub(crate) async fn connect(info: &ConnInfo, mode: Mode) -> Result<Wire, Error> {
    let passes: &[TargetSessionAttrs] = match info.target_session_attrs {
        TargetSessionAttrs::PreferStandby => {
            &[TargetSessionAttrs::Standby, TargetSessionAttrs::Any]
        }
        ref only => std::slice::from_ref(only),
    };
    let mut errors: Vec<Error> = Vec::new();
    for target in passes {
        errors.clear();
        for host in in_order(info) {
            match connect_host(info, host, mode, *target).await {
                Ok(wire) => return Ok(wire),
                Err(error) if another_may_do(&error) => errors.push(error),
                Err(error) => return Err(error),
            }
        }
    }
    let all = errors.iter().map(Error::to_string).collect::<Vec<_>>().join("; ");
    let several = errors.len() > 1;
    let mut last = errors.pop().unwrap_or_else(|| Error::config("there is no host to connect to"));
    if several {
        last.set_message(format!("none of the hosts will do: {all}"));
    }
    Err(last)
}

fn in_order(info: &ConnInfo) -> Vec<&Host> {
    let mut hosts: Vec<&Host> = info.hosts.iter().collect();
    if info.load_balance_hosts == LoadBalanceHosts::Random {
        let random = RandomState::new();
        hosts.sort_by_cached_key(|host| random.hash_one(host.to_string()));
    }
    hosts
}

/// As in libpq, a server that refuses who we are ends the search; one that is not there, not
/// ready, or not of the wanted kind does not.
fn another_may_do(error: &Error) -> bool {
    match error.server_error() {
        Some(server) => server.code() == ServerError::CANNOT_CONNECT_NOW,
        None => matches!(
            error.kind(),
            ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::ConnectionLost
        ),
    }
}

async fn connect_host(
    info: &ConnInfo,
    host: &Host,
    mode: Mode,
    target: TargetSessionAttrs,
) -> Result<Wire, Error> {
    let mut last = None;
    for address in socket::resolve(host).await? {
        let attempt = async {
            let mut wire = connect_address(info, host, &address, mode).await?;
            check_version(&wire)?;
            target::check(&mut wire, mode, target).await?;
            Ok(wire)
        };
        let result = match info.connect_timeout {
            None => attempt.await,
            Some(limit) => tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
                let seconds = limit.as_secs();
                let message = format!("connecting to {host} took longer than {seconds} s");
                Err(Error::new(ErrorKind::Timeout, message).with_remedy("raise connect_timeout"))
            }),
        };
        match result {
            Ok(wire) => {
                tracing::debug!(server = %wire.peer, user = %wire.user, ?mode, "connected");
                return Ok(wire);
            }
            Err(error) if another_may_do(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::new(ErrorKind::Connect, format!("{host} has no address"))))
}

fn check_version(wire: &Wire) -> Result<(), Error> {
    let text = wire.parameters.get("server_version").map(String::as_str).unwrap_or_default();
    match text.parse::<PgVersion>() {
        Ok(version) if version.major() >= PgVersion::OLDEST_MAJOR => Ok(()),
        _ => Err(Error::new(
            ErrorKind::UnsupportedVersion,
            format!(
                "{} is PostgreSQL {text:?}, and the oldest supported version is {}",
                wire.peer,
                PgVersion::OLDEST_MAJOR
            ),
        )),
    }
}

/// One attempt at one address, with the second try that `allow` and `prefer` mean.
async fn connect_address(
    info: &ConnInfo,
    host: &Host,
    address: &Address,
    mode: Mode,
) -> Result<Wire, Error> {
    let attempt = Attempt { info, host, mode };
    let address = match address {
        Address::Unix(path) => {
            let stream = socket::unix(host, path, info).await?;
            return attempt.start(Box::new(stream), false, None).await.map_err(|r| r.error);
        }
        Address::Tcp(address) => *address,
    };
    let connect = || socket::tcp(host, address, info);
    match info.tls.mode {
        SslMode::Disable => {
            attempt.start(Box::new(connect().await?), false, None).await.map_err(|r| r.error)
        }
        SslMode::Allow => match attempt.start(Box::new(connect().await?), false, None).await {
            Err(refusal) if refusal.may_retry() => {
                let tls = Tls::new(&info.tls)?;
                let second = attempt.with_tls(connect().await?, &tls, false).await;
                second.map_err(|second| both(refusal.error, second.error))
            }
            other => other.map_err(|refusal| refusal.error),
        },
        SslMode::Prefer => {
            let first = match Tls::new(&info.tls) {
                Ok(tls) => attempt.with_tls(connect().await?, &tls, true).await,
                Err(error) => Err(Refusal { error, before_authentication: true }),
            };
            match first {
                Err(refusal) if refusal.may_retry() => {
                    tracing::debug!(%host, error = %refusal.error, "trying again without TLS");
                    let second = attempt.start(Box::new(connect().await?), false, None).await;
                    second.map_err(|second| both(refusal.error, second.error))
                }
                other => other.map_err(|refusal| refusal.error),
            }
        }
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            let tls = Tls::new(&info.tls)?;
            attempt.with_tls(connect().await?, &tls, false).await.map_err(|r| r.error)
        }
    }
}

impl Refusal {
    /// Whether a connection with the other kind of encryption may be accepted.
    fn may_retry(&self) -> bool {
        let by_server = self.error.server_error().map(ServerError::code);
        match by_server {
            // A server that is starting up or full says so to everyone.
            Some(code) => self.before_authentication && code.starts_with("28"),
            None => matches!(self.error.kind(), ErrorKind::Tls),
        }
    }
}

fn both(first: Error, mut second: Error) -> Error {
    let message = format!("{first}; {second}");
    second.set_message(message);
    second
}

struct Attempt<'a> {
    info: &'a ConnInfo,
    host: &'a Host,
    mode: Mode,
}

impl Attempt<'_> {
    async fn start(
        &self,
        stream: Box<dyn Transport>,
        tls: bool,
        end_point: Option<Vec<u8>>,
    ) -> Result<Wire, Refusal> {
        let mut wire = Wire::new(stream, self.host.to_string(), self.info.user.clone());
        let channel = Channel { tls, end_point };
        startup::start(&mut wire, self.info, self.host, self.mode, channel).await?;
        Ok(wire)
    }

    /// Over TLS; over the plain stream when the server has no TLS and `or_plain` says so.
    async fn with_tls(
        &self,
        mut stream: TcpStream,
        tls: &Tls,
        or_plain: bool,
    ) -> Result<Wire, Refusal> {
        let refused = |error| Refusal { error, before_authentication: true };
        if self.info.tls.negotiation == SslNegotiation::Postgres {
            // Exactly one byte is read: whatever follows it in plain text is not taken for the
            // server's (CVE-2021-23222).
            match self.ask_for_tls(&mut stream).await.map_err(refused)? {
                b'S' => {}
                b'N' if or_plain => return self.start(Box::new(stream), false, None).await,
                b'N' => {
                    let message = format!(
                        "{} does not support TLS, but sslmode={} requires it",
                        self.host, self.info.tls.mode
                    );
                    return Err(refused(
                        Error::new(ErrorKind::Tls, message)
                            .with_remedy("set ssl = on in the server's postgresql.conf"),
                    ));
                }
                b'E' => {
                    let message =
                        format!("{} answered the request for TLS with an error", self.host);
                    return Err(refused(Error::new(ErrorKind::Tls, message)));
                }
                _ => {
                    let message = format!("{} does not speak PostgreSQL's protocol", self.host);
                    return Err(refused(Error::protocol(message)));
                }
            }
        }
        let established = tls.connect(stream, self.host).await.map_err(refused)?;
        self.start(Box::new(established.stream), true, established.end_point).await
    }

    async fn ask_for_tls(&self, stream: &mut TcpStream) -> Result<u8, Error> {
        let lost = |error: std::io::Error| {
            let message = format!("connection to {} lost: {error}", self.host);
            Error::new(ErrorKind::ConnectionLost, message).with_source(error)
        };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        stream.write_all(&request).await.map_err(lost)?;
        stream.read_u8().await.map_err(lost)
    }
}
