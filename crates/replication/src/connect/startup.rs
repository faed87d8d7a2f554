//! The startup message, authentication, and what the server says before it is ready.

use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as ScramBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use super::Mode;
use crate::conninfo::{
    AuthMethod, ChannelBinding, ConnInfo, Host, HostAddress, Lookup, Secret, Wanted, look_up,
};
use crate::wire::{Incoming, Wire, garbled};
use crate::{Error, ErrorKind, ServerError};

const DURING: &str = "authentication";

/// How secure the stream is that authentication runs over.
pub(super) struct Channel {
    pub(super) tls: bool,
    pub(super) end_point: Option<Vec<u8>>,
}

/// Why startup failed, and whether the server refused before it asked for anything: then it may
/// accept the same connection with, or without, TLS.
pub(super) struct Refusal {
    pub(super) error: Error,
    pub(super) before_authentication: bool,
}

/// Runs startup until the session is ready for its first command.
pub(super) async fn start(
    wire: &mut Wire,
    info: &ConnInfo,
    host: &Host,
    mode: Mode,
    channel: Channel,
) -> Result<(), Refusal> {
    let mut exchange =
        Exchange { info, host, mode, channel, asked: false, bound: false, used_passfile: false };
    exchange.run(wire).await.map_err(|error| Refusal {
        error: exchange.explain(error),
        before_authentication: !exchange.asked,
    })
}

struct Exchange<'a> {
    info: &'a ConnInfo,
    host: &'a Host,
    mode: Mode,
    channel: Channel,
    /// Whether the server asked for authentication, or waived it.
    asked: bool,
    /// Whether SCRAM with channel binding went through.
    bound: bool,
    used_passfile: bool,
}

impl Exchange<'_> {
    async fn run(&mut self, wire: &mut Wire) -> Result<(), Error> {
        self.send_startup(wire).await?;
        let incoming = wire.receive(DURING).await?;
        let Incoming::Message(message) = incoming else {
            return Err(incoming.unexpected(DURING));
        };
        self.asked = true;
        match message {
            Message::AuthenticationOk => {
                self.allow(AuthMethod::None)?;
            }
            Message::AuthenticationCleartextPassword => {
                self.allow(AuthMethod::Password)?;
                let password = self.password()?;
                let bytes = password.reveal().as_bytes();
                wire.put(|buffer| frontend::password_message(bytes, buffer))?;
                wire.flush().await?;
                self.expect_ok(wire).await?;
            }
            Message::AuthenticationMd5Password(body) => {
                self.allow(AuthMethod::Md5)?;
                let password = self.password()?;
                let user = self.info.user.as_bytes();
                let hash = md5_hash(user, password.reveal().as_bytes(), body.salt());
                wire.put(|buffer| frontend::password_message(hash.as_bytes(), buffer))?;
                wire.flush().await?;
                self.expect_ok(wire).await?;
            }
            Message::AuthenticationSasl(body) => {
                self.allow(AuthMethod::ScramSha256)?;
                let mut offered = Vec::new();
                let mut mechanisms = body.mechanisms();
                while let Some(mechanism) = mechanisms.next().map_err(garbled)? {
                    offered.push(mechanism.to_owned());
                }
                self.scram(wire, &offered).await?;
                self.expect_ok(wire).await?;
            }
            Message::AuthenticationGss | Message::AuthenticationSspi => {
                return Err(self
                    .failed("the server asks for GSSAPI authentication, which is not supported")
                    .with_remedy("let pg_hba.conf ask for scram-sha-256"));
            }
            Message::AuthenticationKerberosV5 | Message::AuthenticationScmCredential => {
                return Err(self.failed("the server asks for an obsolete authentication method"));
            }
            other => return Err(Incoming::Message(other).unexpected(DURING)),
        }
        if self.info.channel_binding == ChannelBinding::Require && !self.bound {
            return Err(self.failed(
                "channel binding required, but the server authenticated the client without it",
            ));
        }
        wire.trusted = true;
        wire.until_ready("startup").await
    }

    async fn send_startup(&self, wire: &mut Wire) -> Result<(), Error> {
        let info = self.info;
        let mut parameters = vec![("user", info.user.as_str())];
        match self.mode {
            // pg_hba.conf and password files know physical replication by this name.
            Mode::Replication => {
                parameters.extend([("database", "replication"), ("replication", "true")]);
            }
            Mode::Sql => parameters.push(("database", info.dbname.as_str())),
        }
        parameters.push(("client_encoding", info.client_encoding.as_str()));
        parameters.extend(info.application_name().map(|name| ("application_name", name)));
        parameters.extend(info.options.as_deref().map(|options| ("options", options)));
        wire.put(|buffer| frontend::startup_message(parameters, buffer))?;
        wire.flush().await
    }

    async fn expect_ok(&self, wire: &mut Wire) -> Result<(), Error> {
        match wire.receive(DURING).await? {
            Incoming::Message(Message::AuthenticationOk) => Ok(()),
            other => Err(other.unexpected(DURING)),
        }
    }

    async fn scram(&mut self, wire: &mut Wire, offered: &[String]) -> Result<(), Error> {
        let offers = |name: &str| offered.iter().any(|mechanism| mechanism == name);
        if offers(SCRAM_SHA_256_PLUS) && !self.channel.tls {
            return Err(self.failed("the server offered channel binding over a plain connection"));
        }
        let wanted = self.info.channel_binding;
        let end_point = match wanted {
            ChannelBinding::Disable => None,
            ChannelBinding::Prefer | ChannelBinding::Require => self.channel.end_point.take(),
        };
        let (mechanism, binding) = match end_point {
            Some(digest) if offers(SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, ScramBinding::tls_server_end_point(digest))
            }
            _ if wanted == ChannelBinding::Require => {
                let why = match self.channel.tls {
                    true => {
                        "channel binding required, but the server or its certificate does not support it"
                    }
                    false => "channel binding required, but TLS is not in use",
                };
                return Err(self.failed(why));
            }
            // Telling the server that it could have offered it defeats whoever removed its offer.
            Some(_) => (SCRAM_SHA_256, ScramBinding::unrequested()),
            None => (SCRAM_SHA_256, ScramBinding::unsupported()),
        };
        if !offers(mechanism) {
            return Err(self
                .failed(&format!(
                    "none of the server's SASL mechanisms is supported: {}",
                    offered.join(", ")
                ))
                .with_remedy("let pg_hba.conf ask for scram-sha-256"));
        }
        let password = self.password()?;
        let mut scram = ScramSha256::new(password.reveal().as_bytes(), binding);
        wire.put(|buffer| frontend::sasl_initial_response(mechanism, scram.message(), buffer))?;
        wire.flush().await?;
        match wire.receive(DURING).await? {
            Incoming::Message(Message::AuthenticationSaslContinue(body)) => {
                scram.update(body.data()).map_err(|error| self.scram_failed(error))?;
            }
            other => return Err(other.unexpected(DURING)),
        }
        wire.put(|buffer| frontend::sasl_response(scram.message(), buffer))?;
        wire.flush().await?;
        match wire.receive(DURING).await? {
            // Verifies that the server knows the password too.
            Incoming::Message(Message::AuthenticationSaslFinal(body)) => {
                scram.finish(body.data()).map_err(|error| self.scram_failed(error))?;
            }
            other => return Err(other.unexpected(DURING)),
        }
        self.bound = mechanism == SCRAM_SHA_256_PLUS;
        Ok(())
    }

    /// Refuses a method that `require_auth` or `channel_binding` rules out, before any secret is sent.
    fn allow(&self, method: AuthMethod) -> Result<(), Error> {
        if !self.info.require_auth.allows(method) {
            return Err(self.failed(&format!(
                "require_auth does not allow the authentication method that the server wants: {method}"
            )));
        }
        if self.info.channel_binding == ChannelBinding::Require && method != AuthMethod::ScramSha256
        {
            return Err(self.failed(&format!(
                "channel binding required, but the server wants authentication by {method}"
            )));
        }
        Ok(())
    }

    fn password(&mut self) -> Result<Secret, Error> {
        if let Some(password) = &self.info.password {
            return Ok(password.clone());
        }
        let name = match &self.host.address {
            // As in libpq, a socket in the default directory goes by this name.
            HostAddress::Socket(_) if self.host.name.is_none() => "localhost".to_owned(),
            HostAddress::Socket(directory)
                if ["/var/run/postgresql", "/tmp"].contains(&directory.as_str()) =>
            {
                "localhost".to_owned()
            }
            _ => self.host.name(),
        };
        let databases: &[&str] = match self.mode {
            Mode::Replication => &["replication", &self.info.dbname],
            Mode::Sql => &[&self.info.dbname],
        };
        let (port, user) = (self.host.port, self.info.user.as_str());
        let wanted = Wanted { host: &name, port, databases, user };
        let lookup = self.info.passfile.as_deref().map(|file| look_up(file, &wanted));
        let why = match lookup {
            Some(Lookup::Found(password)) => {
                self.used_passfile = true;
                return Ok(password);
            }
            Some(Lookup::Ignored(why)) => format!("; {why}"),
            Some(Lookup::NotFound) | None => String::new(),
        };
        Err(self
            .failed(&format!("the server asks for a password, and there is none{why}"))
            .with_remedy(
                "set PGPASSWORD or password=, or add a line to the password file (~/.pgpass)",
            ))
    }

    fn failed(&self, why: &str) -> Error {
        let user = &self.info.user;
        Error::new(ErrorKind::Authentication, format!("{} as {user:?}: {why}", self.host))
    }

    fn scram_failed(&self, error: std::io::Error) -> Error {
        self.failed(&format!("SCRAM exchange failed: {error}")).with_source(error)
    }

    /// Adds what the user can do to what the server said.
    fn explain(&self, error: Error) -> Error {
        let Some(server) = error.server_error() else { return error };
        let user = &self.info.user;
        match server.code() {
            ServerError::INVALID_AUTHORIZATION if server.message().contains("pg_hba.conf") => {
                let database =
                    if self.mode == Mode::Replication { "replication" } else { &self.info.dbname };
                let line = match self.host.is_unix_socket() {
                    true => format!("local {database} {user} scram-sha-256"),
                    false => {
                        format!("hostssl {database} {user} <this host's address> scram-sha-256")
                    }
                };
                error.with_remedy(format!(
                    "add a line like \"{line}\" to the server's pg_hba.conf and reload it"
                ))
            }
            ServerError::INVALID_PASSWORD if self.used_passfile => {
                let file = self.info.passfile.as_deref().unwrap_or("".as_ref());
                error.with_remedy(format!("the password came from the file {}", file.display()))
            }
            _ => error,
        }
    }
}
