use std::path::PathBuf;

/// `KEY=VALUE`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The value may be a secret.
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", self.key)
    }
}

/// Splits at the first equals sign.
pub(crate) fn pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok(Pair { key: key.to_owned(), value: value.to_owned() })
        }
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// A new place for a tablespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TablespaceMapping {
    /// Its directory on the server that was backed up, or its OID.
    pub(crate) old: String,
    /// Its directory from now on.
    pub(crate) new: PathBuf,
}

/// `OLD=NEW`, where `\=` is an equals sign within a path, as for `pg_basebackup`'s
/// `--tablespace-mapping`.
pub(crate) fn tablespace_mapping(text: &str) -> Result<TablespaceMapping, String> {
    let mut sides = Vec::new();
    let mut side = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => side.push(chars.next_if_eq(&'=').unwrap_or('\\')),
            '=' => sides.push(std::mem::take(&mut side)),
            c => side.push(c),
        }
    }
    sides.push(side);
    let [old, new] = &sides[..] else {
        return Err("write OLD=NEW, and \\= for an equals sign within a path".to_owned());
    };
    let is_oid = !old.is_empty() && old.bytes().all(|b| b.is_ascii_digit());
    if !is_oid && !old.starts_with('/') {
        return Err(format!("{old:?} is neither an absolute path nor an OID"));
    }
    if !new.starts_with('/') {
        return Err(format!("the new place {new:?} must be an absolute path"));
    }
    let old = if is_oid { old } else { trim_slashes(old) };
    Ok(TablespaceMapping { old: old.to_owned(), new: trim_slashes(new).into() })
}

/// PostgreSQL keeps a tablespace's directory without a slash at its end.
fn trim_slashes(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let one = pair("token=a=b").unwrap();
        assert_eq!((&*one.key, &*one.value), ("token", "a=b"));
        assert!(!format!("{one:?}").contains("a=b"));
        assert!(pair("token").is_err() && pair("=x").is_err());
    }

    #[test]
    fn tablespaces() {
        let map = |text| tablespace_mapping(text).map(|m| (m.old, m.new));
        assert_eq!(map("/ts/a/=/new"), Ok(("/ts/a".to_owned(), PathBuf::from("/new"))));
        assert_eq!(map("16385=/new/"), Ok(("16385".to_owned(), PathBuf::from("/new"))));
        assert_eq!(map(r"/a\=b=/c\=d"), Ok(("/a=b".to_owned(), PathBuf::from("/c=d"))));
        assert_eq!(map(r"/a\b=/c"), Ok((r"/a\b".to_owned(), PathBuf::from("/c"))));
        for wrong in ["/a", "/a=b=c", "/a=", "=/b", "a=/b", "/a=b", ""] {
            assert!(map(wrong).is_err(), "{wrong}");
        }
    }
}
