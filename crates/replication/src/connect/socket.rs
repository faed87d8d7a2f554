//! TCP and Unix sockets, with the keepalive settings of libpq.

use std::net::SocketAddr;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use crate::conninfo::{ConnInfo, Host, HostAddress, Keepalive, passwd_entry};
use crate::{Error, ErrorKind};

/// Where one attempt goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Unix(String),
    Tcp(SocketAddr),
}

/// All addresses of a host.
pub(super) async fn resolve(host: &Host) -> Result<Vec<Address>, Error> {
    match &host.address {
        HostAddress::Socket(directory) => {
            Ok(vec![Address::Unix(format!("{directory}/.s.PGSQL.{}", host.port))])
        }
        HostAddress::Ip(ip) => Ok(vec![Address::Tcp(SocketAddr::new(*ip, host.port))]),
        HostAddress::Name(name) => {
            let failed = |why: String| {
                let message =
                    format!("could not translate host name {name:?} to an address: {why}");
                Error::new(ErrorKind::Connect, message)
            };
            let found = tokio::net::lookup_host((name.as_str(), host.port)).await;
            let mut found: Vec<_> = found
                .map_err(|error| failed(error.to_string()).with_source(error))?
                .map(Address::Tcp)
                .collect();
            found.dedup();
            if found.is_empty() { Err(failed("no address".to_owned())) } else { Ok(found) }
        }
    }
}

fn refused(host: &Host, address: impl std::fmt::Display, error: std::io::Error) -> Error {
    let message = format!("could not connect to {host} at {address}: {error}");
    Error::new(ErrorKind::Connect, message)
        .with_remedy("is the server running there and accepting connections?")
        .with_source(error)
}

pub(super) async fn tcp(
    host: &Host,
    address: SocketAddr,
    info: &ConnInfo,
) -> Result<TcpStream, Error> {
    let failed = |error| refused(host, address, error);
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    keep_alive(&stream, &info.keepalive).map_err(failed)?;
    Ok(stream)
}

fn keep_alive(stream: &TcpStream, settings: &Keepalive) -> std::io::Result<()> {
    let socket = SockRef::from(stream);
    if settings.enabled {
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = settings.idle {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = settings.interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(count) = settings.count {
            keepalive = keepalive.with_retries(count);
        }
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(target_os = "linux")]
    if settings.user_timeout.is_some() {
        socket.set_tcp_user_timeout(settings.user_timeout)?;
    }
    Ok(())
}

pub(super) async fn unix(host: &Host, path: &str, info: &ConnInfo) -> Result<UnixStream, Error> {
    let failed = |error| refused(host, path, error);
    // tokio takes a leading NUL for Linux' abstract namespace, which libpq writes as "@".
    let name = match path.strip_prefix('@') {
        Some(name) => format!("\0{name}"),
        None => path.to_owned(),
    };
    let stream = UnixStream::connect(name).await.map_err(failed)?;
    if let Some(wanted) = &info.requirepeer {
        let uid = stream.peer_cred().map_err(failed)?.uid();
        let owner = passwd_entry(|entry| entry.uid == uid);
        if owner.as_ref().map(|owner| owner.name.as_str()) != Some(wanted) {
            return Err(Error::new(
                ErrorKind::Authentication,
                format!(
                    "requirepeer specifies {wanted:?}, but the server at {path} runs as {}",
                    owner.map_or_else(
                        || format!("user ID {uid}"),
                        |owner| format!("{:?}", owner.name)
                    )
                ),
            ));
        }
    }
    Ok(stream)
}
