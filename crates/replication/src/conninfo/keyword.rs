//! The keywords that libpq knows, and its `keyword = value` syntax.

use std::collections::BTreeMap;

use crate::Error;

/// Settings as text, by keyword.
pub(super) type Settings = BTreeMap<&'static str, String>;

/// Every keyword of libpq 18, with the environment variable that gives it a default.
///
/// `conninfoOptions` in libpq's `fe-connect.c`; the manual's "Parameter Key Words" and
/// "Environment Variables".
pub(super) const KEYWORDS: &[(&str, Option<&str>)] = &[
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("client_encoding", Some("PGCLIENTENCODING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("fallback_application_name", None),
    ("gssdelegation", Some("PGGSSDELEGATION")),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("gsslib", Some("PGGSSLIB")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION")),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION")),
    ("oauth_client_id", None),
    ("oauth_client_secret", None),
    ("oauth_issuer", None),
    ("oauth_scope", None),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("replication", None),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("requiressl", None),
    ("scram_client_key", None),
    ("scram_server_key", None),
    ("service", Some("PGSERVICE")),
    ("servicefile", Some("PGSERVICEFILE")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslcompression", Some("PGSSLCOMPRESSION")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslkeylogfile", None),
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslpassword", None),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslsni", Some("PGSSLSNI")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
];

/// The table's own copy of a keyword, or the error that libpq gives for an unknown one.
pub(super) fn known(keyword: &str) -> Result<&'static str, Error> {
    let found = KEYWORDS.iter().find(|(name, _)| *name == keyword);
    found.map(|(name, _)| *name).ok_or_else(|| {
        let shown: String = keyword.chars().take(64).collect();
        Error::config(format!("invalid connection option {shown:?}"))
            .with_remedy("see libpq's connection parameters for the names that are known")
    })
}

/// Parses `keyword = value` pairs; as in libpq, the last of equal keywords wins.
pub(super) fn parse(text: &str) -> Result<Settings, Error> {
    let mut settings = Settings::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (keyword, after) = rest.split_at(end);
        let Some(after) = after.trim_start().strip_prefix('=') else {
            // The text is not shown: what looks like a keyword may be half of a password.
            return Err(Error::config(
                "missing \"=\" after a keyword in the connection string",
            )
            .with_remedy("write keyword=value pairs or a postgresql:// URL; quote a value that contains blanks"));
        };
        let keyword = known(keyword)?;
        let (value, after) = value(after.trim_start())?;
        settings.insert(keyword, value);
        rest = after.trim_start();
    }
    Ok(settings)
}

/// One value, quoted or plain, and what follows it.
fn value(text: &str) -> Result<(String, &str), Error> {
    let quoted = text.strip_prefix('\'');
    let body = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted.is_some() => return Ok((value, &body[at + 1..])),
            c if quoted.is_none() && c.is_ascii_whitespace() => return Ok((value, &body[at..])),
            c => value.push(c),
        }
    }
    match quoted {
        Some(_) => Err(Error::config("unterminated quoted string in the connection string")),
        None => Ok((value, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(&'static str, String)> {
        parse(text).unwrap().into_iter().collect()
    }

    #[test]
    fn libpq_syntax() {
        let one = |k, v: &str| vec![(k, v.to_owned())];
        assert_eq!(pairs("  host = db1 "), one("host", "db1"));
        assert_eq!(pairs("password='it\\'s \\\\ here'"), one("password", "it's \\ here"));
        assert_eq!(pairs("password=a\\ b"), one("password", "a b"));
        assert_eq!(pairs("host=''"), one("host", ""));
        assert_eq!(pairs("host= port=1"), one("host", "port=1"));
        assert_eq!(pairs("port=1 port=2"), one("port", "2"));
        assert_eq!(pairs("host='a'port=2").len(), 2);
        assert_eq!(pairs("password=a=b'c"), one("password", "a=b'c"));
        assert!(pairs(" ").is_empty());
    }

    #[test]
    fn errors_name_the_keyword_but_no_value() {
        for (text, expected) in [
            ("hots=db1", "invalid connection option \"hots\""),
            ("host", "missing \"=\""),
            ("password=geheim geheimer user=x", "missing \"=\""),
            ("host='a", "unterminated quoted string"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
