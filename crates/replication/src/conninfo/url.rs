//! `postgresql://` URLs, as libpq's "Connection URIs" defines them.

use super::keyword::{Settings, known};
use crate::Error;

/// What follows the scheme, when `text` is a connection URL.
pub(super) fn strip_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// Parses what follows the scheme: `[user[:password]@][host[:port],…][/dbname][?keyword=value&…]`.
pub(super) fn parse(rest: &str) -> Result<Settings, Error> {
    let mut settings = Settings::new();
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    // An "@" counts only before the path; the password itself must be percent-encoded.
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, Some(path)),
        None => (rest, None),
    };
    let hosts = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => {
            let (user, password) = match userinfo.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (userinfo, None),
            };
            put(&mut settings, "user", &decode(user)?);
            put(&mut settings, "password", &decode(password.unwrap_or_default())?);
            hosts
        }
        None => authority,
    };
    parse_hosts(hosts, &mut settings)?;
    put(&mut settings, "dbname", &decode(path.unwrap_or_default())?);
    for parameter in query.unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) if !value.contains('=') => (decode(name)?, decode(value)?),
            Some((name, _)) => {
                let name = decode(name)?;
                return Err(Error::config(format!("extra \"=\" in URL query parameter {name:?}")));
            }
            None => return Err(Error::config("missing \"=\" in a URL query parameter")),
        };
        // JDBC's spelling, which libpq honours too.
        if name == "ssl" && value == "true" {
            settings.insert("sslmode", "require".to_owned());
        } else {
            settings.insert(known(&name)?, value);
        }
    }
    Ok(settings)
}

fn put(settings: &mut Settings, keyword: &'static str, value: &str) {
    if !value.is_empty() {
        settings.insert(keyword, value.to_owned());
    }
}

fn parse_hosts(text: &str, settings: &mut Settings) -> Result<(), Error> {
    if text.is_empty() {
        return Ok(());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for one in text.split(',') {
        let (host, after) = match one.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or_else(|| {
                Error::config("missing \"]\" after an IPv6 address in the connection URL")
            })?,
            None => one.split_at(one.find(':').unwrap_or(one.len())),
        };
        let port = match after.strip_prefix(':') {
            Some(port) => port,
            None if after.is_empty() => "",
            None => {
                return Err(Error::config(
                    "unexpected text after an IPv6 address in the connection URL",
                ));
            }
        };
        hosts.push(decode(host)?);
        ports.push(decode(port)?);
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        settings.insert("host", hosts.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        settings.insert("port", ports.join(","));
    }
    Ok(())
}

/// Percent-decoding; unlike in HTML forms, a plus sign is itself.
fn decode(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|two| {
            Some((char::from(two[0]).to_digit(16)? * 16 + char::from(two[1]).to_digit(16)?) as u8)
        });
        match digits {
            Some(0) => return Err(Error::config("forbidden %00 in the connection URL")),
            Some(byte) => bytes.push(byte),
            None => return Err(Error::config("invalid percent-encoding in the connection URL")),
        }
        rest = &after[2..];
    }
    String::from_utf8(bytes)
        .map_err(|_| Error::config("percent-encoded text in the connection URL is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let settings = parse(strip_scheme(url).unwrap()).unwrap();
        settings.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    }

    /// The examples of the manual's section on connection URIs, and libpq's own uri tests.
    #[test]
    fn the_manuals_examples() {
        for (url, expected) in [
            ("postgresql://", ""),
            ("postgresql://localhost", "host=localhost"),
            ("postgresql://localhost:5433", "host=localhost port=5433"),
            ("postgresql://localhost/mydb", "dbname=mydb host=localhost"),
            ("postgresql://user@localhost", "host=localhost user=user"),
            ("postgresql://user:secret@localhost", "host=localhost password=secret user=user"),
            (
                "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
                "application_name=myapp connect_timeout=10 dbname=otherdb host=localhost user=other",
            ),
            (
                "postgresql://host1:123,host2:456/somedb?target_session_attrs=any&application_name=myapp",
                "application_name=myapp dbname=somedb host=host1,host2 port=123,456 target_session_attrs=any",
            ),
            ("postgresql:///mydb?host=localhost&port=5433", "dbname=mydb host=localhost port=5433"),
            ("postgresql://[2001:db8::1234]/database", "dbname=database host=2001:db8::1234"),
            ("postgres://[::1]:99", "host=::1 port=99"),
            (
                "postgresql:///dbname?host=/var/lib/postgresql",
                "dbname=dbname host=/var/lib/postgresql",
            ),
            (
                "postgresql://%2Fvar%2Flib%2Fpostgresql/dbname",
                "dbname=dbname host=/var/lib/postgresql",
            ),
            ("postgresql://uri-user:secr%40t+x@", "password=secr@t+x user=uri-user"),
            ("postgresql://host?ssl=true", "host=host sslmode=require"),
            ("postgresql://a,b:2", "host=a,b port=,2"),
            ("postgresql://:5433", "port=5433"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn errors() {
        for (url, expected) in [
            ("postgres://h?zzz=1", "invalid connection option \"zzz\""),
            ("postgres://h?user", "missing \"=\""),
            ("postgres://h?user=a=b", "extra \"=\""),
            ("postgres://[::1", "missing \"]\""),
            ("postgres://[::1]x", "unexpected text"),
            ("postgres://%zz", "invalid percent-encoding"),
            ("postgres://%1", "invalid percent-encoding"),
            ("postgres://a%00b", "%00"),
            ("postgres://%ff", "not UTF-8"),
        ] {
            let error = parse(strip_scheme(url).unwrap()).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}
