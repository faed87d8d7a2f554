//! The values that some keywords choose among.

use std::fmt;

use crate::Error;

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $keyword:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            pub(super) fn parse(text: &str) -> Result<Self, Error> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(Error::config(format!("invalid {} value: {other:?}", $keyword))
                        .with_remedy(concat!("one of", $(" ", $text),+))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)+ })
            }
        }
    };
}

choice! {
    /// Whether to use TLS and how much of the server's certificate to verify. Has no meaning for Unix sockets.
    SslMode, "sslmode" {
        /// Never TLS.
        Disable = "disable",
        /// TLS only when the server does not accept a plain connection.
        Allow = "allow",
        /// TLS when the server offers it.
        Prefer = "prefer",
        /// TLS or nothing; the certificate is verified only when there is a root certificate file.
        Require = "require",
        /// The certificate must be signed by a trusted authority.
        VerifyCa = "verify-ca",
        /// As `verify-ca`, and the certificate must be for the host that was asked for.
        VerifyFull = "verify-full",
    }
}

choice! {
    /// How TLS starts.
    SslNegotiation, "sslnegotiation" {
        /// By asking the server first: all versions.
        Postgres = "postgres",
        /// At once, one round trip less: PostgreSQL 17 and later.
        Direct = "direct",
    }
}

choice! {
    /// Which kind of server a session must be with.
    TargetSessionAttrs, "target_session_attrs" {
        /// Any server.
        Any = "any",
        /// One that accepts writes by default.
        ReadWrite = "read-write",
        /// One that does not accept writes by default.
        ReadOnly = "read-only",
        /// One that is not in recovery.
        Primary = "primary",
        /// One that is in recovery.
        Standby = "standby",
        /// A standby when there is one among the hosts, otherwise any.
        PreferStandby = "prefer-standby",
    }
}

choice! {
    /// Whether the SCRAM exchange is bound to the TLS channel it runs in.
    ChannelBinding, "channel_binding" {
        /// Never.
        Disable = "disable",
        /// When both sides can.
        Prefer = "prefer",
        /// No connection without it.
        Require = "require",
    }
}

choice! {
    /// When a client certificate is sent.
    SslCertMode, "sslcertmode" {
        /// Never, even when there is one.
        Disable = "disable",
        /// When the server asks and there is one.
        Allow = "allow",
    }
}

choice! {
    /// In which order several hosts are tried.
    LoadBalanceHosts, "load_balance_hosts" {
        /// As they are listed.
        Disable = "disable",
        /// In random order.
        Random = "random",
    }
}

choice! {
    /// An authentication method that `require_auth` can name.
    AuthMethod, "require_auth" {
        /// No authentication at all, as with `trust`.
        None = "none",
        /// The password in clear.
        Password = "password",
        /// The MD5 challenge.
        Md5 = "md5",
        /// SCRAM, with or without channel binding.
        ScramSha256 = "scram-sha-256",
        /// GSSAPI, which is not supported here.
        Gss = "gss",
        /// SSPI, which is not supported here.
        Sspi = "sspi",
        /// OAuth, which is not supported here.
        Oauth = "oauth",
    }
}

/// The methods that `require_auth` lets the server ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RequireAuth {
    listed: Vec<AuthMethod>,
    negated: bool,
}

impl RequireAuth {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut require = Self::default();
        for (index, method) in text.split(',').enumerate() {
            let negated = method.starts_with('!');
            if index > 0 && negated != require.negated {
                return Err(Error::config(
                    "require_auth can't mix methods that are required and methods that are refused",
                ));
            }
            require.negated = negated;
            require.listed.push(AuthMethod::parse(method.strip_prefix('!').unwrap_or(method))?);
        }
        Ok(require)
    }

    pub(crate) fn allows(&self, method: AuthMethod) -> bool {
        self.listed.is_empty() || self.listed.contains(&method) != self.negated
    }
}

/// Text that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn require_auth_lists() {
        let scram = RequireAuth::parse("scram-sha-256,md5").unwrap();
        assert!(scram.allows(AuthMethod::Md5) && !scram.allows(AuthMethod::None));
        let not = RequireAuth::parse("!password,!none").unwrap();
        assert!(not.allows(AuthMethod::Md5) && !not.allows(AuthMethod::Password));
        assert!(RequireAuth::parse("md5,!none").is_err());
        assert!(RequireAuth::parse("kerberos").is_err());
        assert!(RequireAuth::default().allows(AuthMethod::None));
    }
}
