//! From settings as text to a [`ConnInfo`]: service file, variables, defaults, and checks.

use std::path::PathBuf;
use std::time::Duration;

use super::keyword::{KEYWORDS, Settings};
use super::settings::{RequireAuth, Secret, SslCertMode};
use super::{
    ChannelBinding, ConnInfo, Environment, Host, HostAddress, Keepalive, LoadBalanceHosts,
    RootCert, SslMode, SslNegotiation, TargetSessionAttrs, TlsSettings, service,
};
use crate::Error;

/// PostgreSQL's port when none is given.
const DEFAULT_PORT: u16 = 5432;

/// Settings that libpq has and this crate has not: only these values change nothing.
const UNSUPPORTED: &[(&str, &[&str], &str)] = &[
    ("gssencmode", &["disable", "prefer"], "GSSAPI encryption is not supported; use TLS (sslmode)"),
    ("gssdelegation", &["0"], "GSSAPI is not supported"),
    ("sslcompression", &["0"], "TLS compression is insecure and not supported"),
    ("sslcrl", &[], "certificate revocation lists are not supported"),
    ("sslcrldir", &[], "certificate revocation lists are not supported"),
    ("sslkeylogfile", &[], "logging TLS keys is not supported"),
    ("sslpassword", &[], "encrypted client keys are not supported; use a key without a passphrase"),
    ("scram_client_key", &[], "SCRAM keys are not supported; use a password"),
    ("scram_server_key", &[], "SCRAM keys are not supported; use a password"),
    ("oauth_client_id", &[], "OAuth is not supported"),
    ("oauth_client_secret", &[], "OAuth is not supported"),
    ("oauth_issuer", &[], "OAuth is not supported"),
    ("oauth_scope", &[], "OAuth is not supported"),
    ("min_protocol_version", &["3.0"], "only protocol 3.0 is spoken"),
];

pub(super) fn resolve(settings: Settings, env: &Environment) -> Result<ConnInfo, Error> {
    let settings = Source { settings: complete(settings, env)? };
    for (keyword, harmless, why) in UNSUPPORTED {
        if let Some(value) = settings.get(keyword).filter(|value| !harmless.contains(value)) {
            // Some of these are secrets, and none needs to be shown.
            let shown = if harmless.is_empty() { String::new() } else { format!("={value}") };
            return Err(Error::config(format!("connection option {keyword}{shown}: {why}")));
        }
    }
    let user = match (settings.get("user"), env.user()) {
        (Some(user), _) | (None, Some(user)) => user.to_owned(),
        (None, None) => {
            return Err(Error::config("no user name is known").with_remedy("set user= or PGUSER"));
        }
    };
    let in_home = |path: &str| env.home().map(|home| home.join(path));
    let passfile = settings.path("passfile").or_else(|| in_home(".pgpass"));
    let client_encoding = match settings.get("client_encoding") {
        None | Some("auto") => "UTF8".to_owned(),
        Some(encoding) => encoding.to_owned(),
    };
    let connect_timeout = match settings.integer("connect_timeout")? {
        Some(seconds) if seconds > 0 => Some(Duration::from_secs(seconds as u64)),
        _ => None,
    };
    Ok(ConnInfo {
        hosts: hosts(&settings, env)?,
        dbname: settings.get("dbname").unwrap_or(&user).to_owned(),
        dbname_is_default: settings.get("dbname").is_none(),
        user,
        password: settings.get("password").map(Secret::new),
        passfile,
        application_name: settings.get("application_name").map(str::to_owned),
        fallback_application_name: settings.get("fallback_application_name").map(str::to_owned),
        options: settings.get("options").map(str::to_owned),
        client_encoding,
        connect_timeout,
        keepalive: keepalive(&settings)?,
        target_session_attrs: settings
            .choice("target_session_attrs", TargetSessionAttrs::parse)?
            .unwrap_or(TargetSessionAttrs::Any),
        load_balance_hosts: settings
            .choice("load_balance_hosts", LoadBalanceHosts::parse)?
            .unwrap_or(LoadBalanceHosts::Disable),
        channel_binding: settings
            .choice("channel_binding", ChannelBinding::parse)?
            .unwrap_or(ChannelBinding::Prefer),
        require_auth: settings.choice("require_auth", RequireAuth::parse)?.unwrap_or_default(),
        requirepeer: settings.get("requirepeer").map(str::to_owned),
        tls: tls(&settings, env)?,
    })
}

/// Adds what the string leaves open: from the service, then from the variables.
fn complete(mut settings: Settings, env: &Environment) -> Result<Settings, Error> {
    let or_variable = |settings: &Settings, keyword: &str, variable: &str| {
        let given = settings.get(keyword).filter(|value| !value.is_empty()).cloned();
        given.or_else(|| env.variable(variable).map(str::to_owned))
    };
    if let Some(name) = or_variable(&settings, "service", "PGSERVICE") {
        let file = or_variable(&settings, "servicefile", "PGSERVICEFILE");
        for (keyword, value) in service::load(&name, file.as_deref(), env)? {
            settings.entry(keyword).or_insert(value);
        }
    }
    for (keyword, variable) in KEYWORDS {
        let value = variable.and_then(|variable| env.variable(variable));
        if let (Some(value), false) = (value, settings.contains_key(keyword)) {
            settings.insert(keyword, value.to_owned());
        }
    }
    let requiressl = settings.get("requiressl").map(String::as_str);
    let old_style = requiressl.or_else(|| env.variable("PGREQUIRESSL"));
    if old_style == Some("1") && !settings.contains_key("sslmode") {
        settings.insert("sslmode", "require".to_owned());
    }
    Ok(settings)
}

struct Source {
    settings: Settings,
}

impl Source {
    /// A value; an empty one counts as not given.
    fn get(&self, keyword: &str) -> Option<&str> {
        self.settings.get(keyword).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn path(&self, keyword: &str) -> Option<PathBuf> {
        self.get(keyword).map(PathBuf::from)
    }

    fn choice<T>(
        &self,
        keyword: &str,
        parse: impl Fn(&str) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.get(keyword).map(parse).transpose()
    }

    fn integer(&self, keyword: &str) -> Result<Option<i32>, Error> {
        let parse = |text: &str| {
            text.trim().parse().map_err(|_| {
                Error::config(format!(
                    "invalid integer value {text:?} for connection option {keyword:?}"
                ))
            })
        };
        self.get(keyword).map(parse).transpose()
    }

    fn boolean(&self, keyword: &str, default: bool) -> Result<bool, Error> {
        match self.get(keyword) {
            None => Ok(default),
            Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(other) => Err(Error::config(format!("invalid {keyword} value: {other:?}"))
                .with_remedy("one of 0 1")),
        }
    }
}

fn hosts(settings: &Source, env: &Environment) -> Result<Vec<Host>, Error> {
    let list = |keyword| -> Vec<&str> {
        settings
            .get(keyword)
            .map(|text| text.split(',').map(str::trim).collect())
            .unwrap_or_default()
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    if !addresses.is_empty() && !names.is_empty() && names.len() != addresses.len() {
        return Err(Error::config(format!(
            "could not match {} host names to {} hostaddr values",
            names.len(),
            addresses.len()
        )));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(Error::config(format!(
            "could not match {} port numbers to {count} hosts",
            ports.len()
        )));
    }
    (0..count)
        .map(|index| {
            let nth = |list: &[&str]| {
                list.get(index).filter(|text| !text.is_empty()).map(|text| (*text).to_owned())
            };
            let port = match ports.get(if ports.len() == 1 { 0 } else { index }) {
                None | Some(&"") => DEFAULT_PORT,
                Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                    Error::config(format!("invalid port number: {text:?}"))
                        .with_remedy("a number from 1 to 65535")
                })?,
            };
            let name = nth(&names);
            let address = match nth(&addresses) {
                Some(ip) => {
                    HostAddress::Ip(ip.parse().map_err(|_| {
                        Error::config(format!("hostaddr {ip:?} is not an IP address"))
                    })?)
                }
                None => match &name {
                    None => HostAddress::Socket(env.socket_directory().display().to_string()),
                    Some(path) if path.starts_with(['/', '@']) => HostAddress::Socket(path.clone()),
                    Some(name) => HostAddress::Name(name.clone()),
                },
            };
            Ok(Host { address, name, port })
        })
        .collect()
}

fn keepalive(settings: &Source) -> Result<Keepalive, Error> {
    let positive = |keyword| {
        Ok(settings.integer(keyword)?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0))
    };
    Ok(Keepalive {
        enabled: settings.integer("keepalives")?.unwrap_or(1) != 0,
        idle: positive("keepalives_idle")?.map(Duration::from_secs),
        interval: positive("keepalives_interval")?.map(Duration::from_secs),
        count: positive("keepalives_count")?.and_then(|n| u32::try_from(n).ok()),
        user_timeout: positive("tcp_user_timeout")?.map(Duration::from_millis),
    })
}

fn tls(settings: &Source, env: &Environment) -> Result<TlsSettings, Error> {
    let in_home = |file: &str| env.home().map(|home| home.join(".postgresql").join(file));
    let mode = settings.choice("sslmode", SslMode::parse)?;
    let root = match settings.get("sslrootcert") {
        Some("system") => RootCert::System,
        Some(file) => RootCert::File(PathBuf::from(file)),
        None => in_home("root.crt").map_or(RootCert::None, RootCert::File),
    };
    // The public authorities sign for anybody: only the host's name makes their word worth something.
    let mode = match (&root, mode) {
        (RootCert::System, None | Some(SslMode::VerifyFull)) => SslMode::VerifyFull,
        (RootCert::System, Some(weak)) => {
            return Err(Error::config(format!(
                "weak sslmode {weak} may not be used with sslrootcert=system"
            ))
            .with_remedy("use sslmode=verify-full"));
        }
        (_, mode) => mode.unwrap_or(SslMode::Prefer),
    };
    let negotiation = settings
        .choice("sslnegotiation", SslNegotiation::parse)?
        .unwrap_or(SslNegotiation::Postgres);
    if negotiation == SslNegotiation::Direct
        && matches!(mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer)
    {
        return Err(Error::config(format!(
            "weak sslmode {mode} may not be used with sslnegotiation=direct"
        ))
        .with_remedy("use sslmode=require, verify-ca or verify-full"));
    }
    let version = |keyword: &str| match settings.get(keyword) {
        None => Ok(None),
        Some(text) => match text.to_ascii_lowercase().as_str() {
            "tlsv1" | "tlsv1.1" => Ok(Some(11)),
            "tlsv1.2" => Ok(Some(12)),
            "tlsv1.3" => Ok(Some(13)),
            _ => Err(Error::config(format!("invalid {keyword} value: {text:?}"))
                .with_remedy("one of TLSv1.2 TLSv1.3")),
        },
    };
    let (min, max) = (version("ssl_min_protocol_version")?, version("ssl_max_protocol_version")?);
    if max == Some(11) || max.zip(min).is_some_and(|(max, min)| max < min) {
        return Err(Error::config(
            "ssl_max_protocol_version leaves no TLS version from 1.2 to 1.3 to use",
        ));
    }
    if settings.get("sslcertmode") == Some("require") {
        return Err(Error::config("connection option sslcertmode=require: is not supported")
            .with_remedy(
                "use sslcertmode=allow; the server's pg_hba.conf can demand a certificate",
            ));
    }
    Ok(TlsSettings {
        mode,
        negotiation,
        root,
        default_crl: in_home("root.crl"),
        cert: settings.path("sslcert").or_else(|| in_home("postgresql.crt")),
        key: settings.path("sslkey").or_else(|| in_home("postgresql.key")),
        cert_mode: settings
            .choice("sslcertmode", SslCertMode::parse)?
            .unwrap_or(SslCertMode::Allow),
        sni: settings.boolean("sslsni", true)?,
        require_tls13: min == Some(13),
        at_most_tls12: max == Some(12),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Environment {
        Environment::empty()
            .with_user("osuser")
            .with_home("/home/o")
            .with_socket_directory("/run/pg")
    }

    fn parse(text: &str) -> ConnInfo {
        ConnInfo::parse(text, &env()).unwrap()
    }

    fn error(text: &str) -> String {
        ConnInfo::parse(text, &env()).unwrap_err().to_string()
    }

    #[test]
    fn defaults() {
        let info = parse("");
        assert_eq!((info.user(), info.dbname()), ("osuser", "osuser"));
        assert_eq!(info.hosts()[0].to_string(), "/run/pg/.s.PGSQL.5432");
        assert_eq!(info.sslmode(), SslMode::Prefer);
        assert_eq!(info.passfile(), Some("/home/o/.pgpass".as_ref()));
        assert_eq!(info.connect_timeout(), None);
        assert_eq!(parse("user=bob").dbname(), "bob");
        assert_eq!(parse("user=bob").with_fallback_dbname("postgres").dbname(), "postgres");
        assert_eq!(parse("user=bob dbname=d").with_fallback_dbname("postgres").dbname(), "d");
        assert!(ConnInfo::parse("", &Environment::empty()).is_err());
    }

    #[test]
    fn host_lists() {
        for (text, expected) in [
            ("host=a,b port=1,2", "a:1 b:2"),
            ("host=a,b port=7", "a:7 b:7"),
            ("host=a,,/s port=,2,", "a:5432 /run/pg/.s.PGSQL.2 /s/.s.PGSQL.5432"),
            ("hostaddr=::1 port=9", "[::1]:9"),
            ("host=a hostaddr=127.0.0.1", "a:5432 (127.0.0.1)"),
            ("postgres://h1,h2:3/x", "h1:5432 h2:3"),
            ("postgres://%2Fs/x", "/s/.s.PGSQL.5432"),
        ] {
            let hosts: Vec<String> = parse(text).hosts().iter().map(Host::to_string).collect();
            assert_eq!(hosts.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn the_string_beats_the_service_beats_the_variables() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("services");
        std::fs::write(&file, "[s]\nuser=from_service\nport=2\ndbname=from_service\n").unwrap();
        let env = env()
            .with_variable("PGSERVICEFILE", file.to_str().unwrap())
            .with_variable("PGUSER", "from_variable")
            .with_variable("PGDATABASE", "from_variable")
            .with_variable("PGHOST", "from_variable")
            .with_variable("PGSSLMODE", "disable");
        let info = ConnInfo::parse("service=s user=from_string", &env).unwrap();
        assert_eq!((info.user(), info.dbname()), ("from_string", "from_service"));
        assert_eq!(info.hosts()[0].to_string(), "from_variable:2");
        assert_eq!(info.sslmode(), SslMode::Disable);
        let by_variable = env.with_variable("PGSERVICE", "s");
        assert_eq!(ConnInfo::parse("", &by_variable).unwrap().user(), "from_service");
    }

    #[test]
    fn settings_that_can_not_be_are_named() {
        for (text, expected) in [
            ("hots=x", "\"hots\""),
            ("sslmode=strict", "invalid sslmode value: \"strict\""),
            ("port=0", "invalid port number"),
            ("port=70000", "invalid port number"),
            ("port=1,2", "could not match 2 port numbers to 1 hosts"),
            ("host=a,b hostaddr=::1", "could not match 2 host names to 1 hostaddr"),
            ("hostaddr=db1", "not an IP address"),
            ("sslcrl=/x", "revocation"),
            ("gssencmode=require", "gssencmode=require"),
            ("sslrootcert=system sslmode=require", "weak sslmode require"),
            ("sslnegotiation=direct", "weak sslmode prefer"),
            ("connect_timeout=soon", "invalid integer value"),
            ("target_session_attrs=master", "target_session_attrs"),
            ("sslpassword=geheim", "passphrase"),
            ("ssl_max_protocol_version=TLSv1.1", "ssl_max_protocol_version"),
            ("sslcertmode=require", "sslcertmode"),
        ] {
            let error = error(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("geheim"));
        }
    }

    #[test]
    fn settings_that_change_nothing_are_accepted() {
        parse("gssencmode=disable krbsrvname=x client_encoding=auto sslcompression=0 sslcrl=''");
        parse("keepalives=0 keepalives_idle=5 tcp_user_timeout=1000 options='-c geqo=off'");
        assert_eq!(parse("sslrootcert=system").sslmode(), SslMode::VerifyFull);
        assert_eq!(parse("requiressl=1").sslmode(), SslMode::Require);
    }

    #[test]
    fn debug_shows_no_password() {
        let info = ConnInfo::parse("password=geheim", &env()).unwrap();
        assert!(info.has_password());
        assert!(!format!("{info:?}").contains("geheim"));
        let env = env().with_variable("PGPASSWORD", "geheim");
        assert!(!format!("{env:?}").contains("geheim"));
        assert!(!format!("{:?}", ConnInfo::from_environment(&env).unwrap()).contains("geheim"));
    }
}
