//! The password file, as the manual's "The Password File" has it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Secret;

/// What a line of the file is matched with.
pub(crate) struct Wanted<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) databases: &'a [&'a str],
    pub(crate) user: &'a str,
}

/// What became of the look-up; the file's absence is no error.
pub(crate) enum Lookup {
    Found(Secret),
    NotFound,
    /// The file is there but was not used, for this reason.
    Ignored(String),
}

/// Looks a password up in `file`, as libpq does: a file that others may read is not used.
pub(crate) fn look_up(file: &Path, wanted: &Wanted<'_>) -> Lookup {
    let ignored = |why: String| {
        let why = format!("password file {}: {why}", file.display());
        tracing::warn!("{why}");
        Lookup::Ignored(why)
    };
    let Ok(metadata) = std::fs::metadata(file) else { return Lookup::NotFound };
    if !metadata.is_file() {
        return ignored("is not a plain file".to_owned());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return ignored(
            "has group or world access; permissions should be u=rw (0600) or less".to_owned(),
        );
    }
    match std::fs::read(file) {
        Ok(bytes) => match find(&String::from_utf8_lossy(&bytes), wanted) {
            Some(password) => Lookup::Found(password),
            None => Lookup::NotFound,
        },
        Err(error) => ignored(error.to_string()),
    }
}

fn find(text: &str, wanted: &Wanted<'_>) -> Option<Secret> {
    let port = wanted.port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (host, rest) = field(line)?;
        let (line_port, rest) = field(rest)?;
        let (database, rest) = field(rest)?;
        let (user, rest) = field(rest)?;
        let matches = |field: &Field, value: &str| field.any || field.text == value;
        let all = matches(&host, wanted.host)
            && matches(&line_port, &port)
            && wanted.databases.iter().any(|name| matches(&database, name))
            && matches(&user, wanted.user);
        // A colon after the password ends it; an escaped one belongs to it.
        let password = field(rest).map_or_else(|| unescape(rest), |(field, _)| field.text);
        (all && !password.is_empty()).then(|| Secret::new(password))
    })
}

struct Field {
    text: String,
    /// An unescaped lone asterisk.
    any: bool,
}

/// The text before the next colon that is not escaped, and what follows the colon.
fn field(text: &str) -> Option<(Field, &str)> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b':' if !escaped => {
                let raw = &text[..at];
                return Some((Field { text: unescape(raw), any: raw == "*" }, &text[at + 1..]));
            }
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        let wanted =
            Wanted { host: "db1", port: 5432, databases: &["replication", "app"], user: "bob" };
        find(text, &wanted).map(|secret| secret.reveal().to_owned())
    }

    #[test]
    fn first_match_wins() {
        for (text, expected) in [
            ("db1:5432:app:bob:one", Some("one")),
            ("*:*:*:*:any", Some("any")),
            (
                "db2:*:*:*:no\n#db1:5432:app:bob:no\ndb1:*:replication:bob:two\n*:*:*:*:three",
                Some("two"),
            ),
            ("db1:5433:app:bob:no", None),
            ("db1:5432:app:bo\\b:esc", Some("esc")),
            ("db1:5432:app:bob:p\\:w\\\\d", Some("p:w\\d")),
            ("db1:5432:app:bob:pw\r\n", Some("pw")),
            ("db1:5432:app:bob", None),
            ("\\*:5432:app:bob:no", None),
            ("garbage\n\ndb1:5432:*:bob:late", Some("late")),
        ] {
            assert_eq!(found(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_readable_file_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pass");
        std::fs::write(&file, "*:*:*:*:pw\n").unwrap();
        let wanted = Wanted { host: "h", port: 1, databases: &["d"], user: "u" };
        for (mode, used) in [(0o644, false), (0o640, false), (0o600, true), (0o400, true)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(matches!(look_up(&file, &wanted), Lookup::Found(_)), used, "{mode:o}");
        }
        assert!(matches!(look_up(directory.path(), &wanted), Lookup::Ignored(_)));
        assert!(matches!(look_up(&directory.path().join("no"), &wanted), Lookup::NotFound));
    }
}
