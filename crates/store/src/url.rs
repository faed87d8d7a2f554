use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use crate::{Error, ErrorKind, Result, Scheme, check_prefix};

/// What takes the place of a secret in messages.
const HIDDEN: &str = "***";

/// Where a store is and how to reach it.
///
/// | written as | is |
/// |---|---|
/// | `/srv/backups`, `file:///srv/backups` | a directory; a plain path is taken as it is, a URL is percent-decoded |
/// | `memory:` | a new, empty store in this process |
/// | `s3://bucket/prefix?region=eu-west-1` | S3 or what speaks its protocol |
/// | `gs://bucket/prefix` | Google Cloud Storage |
/// | `az://container/prefix?account=name` | Azure Blob Storage |
///
/// The query holds options, whose table is [`Scheme::options`]. `Display` and `Debug` show `***` for
/// the value of a secret; what `Display` writes can be parsed if there are none.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    place: Place,
    options: BTreeMap<&'static str, String>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Directory(PathBuf),
    Memory,
    Bucket { scheme: Scheme, bucket: String, prefix: String },
}

impl StoreUrl {
    /// The kind of store.
    pub fn scheme(&self) -> Scheme {
        match &self.place {
            Place::Directory(_) => Scheme::File,
            Place::Memory => Scheme::Memory,
            Place::Bucket { scheme, .. } => *scheme,
        }
    }

    /// The directory, if it is one.
    pub fn directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory(path) => Some(path),
            _ => None,
        }
    }

    /// Sets an option, in place of what the URL says.
    pub fn with_option(mut self, key: &str, value: &str) -> Result<Self> {
        let option = self.scheme().check(key, value)?;
        self.options.insert(option.name, value.to_owned());
        Ok(self)
    }

    /// The value of an option that was given.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }

    /// The same without its secrets: fit for a file or for another process, whose environment
    /// supplies them.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut url = self.clone();
        url.options.retain(|name, _| !self.is_secret(name));
        url
    }

    fn is_secret(&self, name: &str) -> bool {
        self.scheme().options().iter().any(|option| option.name == name && option.secret)
    }

    #[cfg(feature = "cloud")]
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.options
            .iter()
            .filter(|(name, _)| self.is_secret(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.starts_with('/') {
            return Ok(Self { place: Place::Directory(text.into()), options: BTreeMap::new() });
        }
        let url = Url::parse(text).map_err(|e| {
            invalid(text, "it is neither an absolute path nor a URL").with_source(e)
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(text, "it has a user or password, which end up in process lists")
                .with_remedy("give credentials by the environment or as options"));
        }
        if url.fragment().is_some() || url.port().is_some() {
            return Err(invalid(text, "it has a port or a fragment")
                .with_remedy("write # as %23; name a service's address by the option endpoint"));
        }
        let place = match url.scheme() {
            "file" => match url.to_file_path() {
                Ok(path) => Place::Directory(path),
                Err(()) => {
                    return Err(invalid(text, "it names a host")
                        .with_remedy("write file:///path, with three slashes"));
                }
            },
            "memory" if matches!(url.path(), "" | "/") && url.host().is_none() => Place::Memory,
            "memory" => return Err(invalid(text, "a memory store has no path")),
            "s3" => bucket(Scheme::S3, text, &url)?,
            "gs" => bucket(Scheme::Gcs, text, &url)?,
            "az" => bucket(Scheme::Azure, text, &url)?,
            _ => return Err(invalid(text, "its scheme is unknown")),
        };
        let mut store = Self { place, options: BTreeMap::new() };
        for (key, value) in url.query_pairs() {
            if store.option(&key).is_some() {
                let message = format!("the option {key} is given twice");
                return Err(Error::new(ErrorKind::InvalidOption, message));
            }
            store = store.with_option(&key, &value)?;
        }
        Ok(store)
    }
}

fn bucket(scheme: Scheme, text: &str, url: &Url) -> Result<Place> {
    let bucket = url.host_str().unwrap_or_default();
    if bucket.is_empty() {
        return Err(invalid(text, "it names no bucket"));
    }
    let prefix = url.path().trim_matches('/');
    check_prefix(prefix).map_err(|e| invalid(text, "its path is not plain").with_source(e))?;
    Ok(Place::Bucket { scheme, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

fn invalid(text: &str, why: &str) -> Error {
    // What comes before the options and after a user or password: the part without secrets.
    let plain = text.split(['?', '#']).next().unwrap_or_default();
    let plain = match (plain.split_once("://"), plain.rfind('@')) {
        (Some((scheme, _)), Some(at)) => format!("{scheme}://…{}", &plain[at..]),
        (None, Some(at)) => format!("…{}", &plain[at..]),
        _ => plain.to_owned(),
    };
    let shown: String = plain.chars().take(120).collect();
    Error::new(ErrorKind::InvalidUrl, format!("{shown:?} is not the location of a store: {why}"))
        .with_remedy("write /path, file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Directory(path) => write!(f, "{}", path.display())?,
            Place::Memory => f.write_str("memory:")?,
            Place::Bucket { scheme, bucket, prefix } if prefix.is_empty() => {
                write!(f, "{scheme}://{bucket}")?;
            }
            Place::Bucket { scheme, bucket, prefix } => write!(f, "{scheme}://{bucket}/{prefix}")?,
        }
        let mut separator = '?';
        for (name, value) in &self.options {
            let value = if self.is_secret(name) { HIDDEN } else { value };
            write!(f, "{separator}{name}={}", Escaped(value))?;
            separator = '&';
        }
        Ok(())
    }
}

/// A value in a query, with no more escapes than parsing needs: `http://127.0.0.1:9000` stays legible.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b if b.is_ascii_alphanumeric() || b"-._~:/*@,".contains(&b) => {
                    write!(f, "{}", char::from(b))?
                }
                b => write!(f, "%{b:02X}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> StoreUrl {
        text.parse().unwrap()
    }

    fn kind(text: &str) -> ErrorKind {
        text.parse::<StoreUrl>().unwrap_err().kind()
    }

    #[test]
    fn directories() {
        for text in ["/srv/backups", "file:///srv/backups"] {
            assert_eq!(parse(text).directory(), Some(Path::new("/srv/backups")));
            assert_eq!(parse(text).scheme(), Scheme::File);
        }
        assert_eq!(parse("/a b?c#d%20").directory(), Some(Path::new("/a b?c#d%20")));
        assert_eq!(parse("file:///a%20b").directory(), Some(Path::new("/a b")));
        assert_eq!(parse("memory:").scheme(), Scheme::Memory);
    }

    #[test]
    fn clouds_with_options() {
        let url = parse("s3://bucket/some/prefix/?endpoint=http://127.0.0.1:9000&region=eu-west-1");
        assert_eq!(url.option("endpoint"), Some("http://127.0.0.1:9000"));
        assert_eq!(
            url.to_string(),
            "s3://bucket/some/prefix?endpoint=http://127.0.0.1:9000&region=eu-west-1"
        );
        assert_eq!(parse(&url.to_string()), url);
        let url = url.with_option("region", "eu-north-1").unwrap();
        assert_eq!(url.option("region"), Some("eu-north-1"));
        assert_eq!(
            parse("az://box?account=a&access_key=x%2By%3D").option("access_key"),
            Some("x+y=")
        );
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(kind("backups"), ErrorKind::InvalidUrl);
        assert_eq!(kind(""), ErrorKind::InvalidUrl);
        assert_eq!(kind("./backups"), ErrorKind::InvalidUrl);
        assert_eq!(kind("file://host/path"), ErrorKind::InvalidUrl);
        assert_eq!(kind("sftp://host/path"), ErrorKind::InvalidUrl);
        assert_eq!(kind("s3:///prefix"), ErrorKind::InvalidUrl);
        assert_eq!(kind("s3://bucket/a//b"), ErrorKind::InvalidUrl);
        assert_eq!(kind("s3://bucket/a%20b"), ErrorKind::InvalidUrl);
        assert_eq!(kind("memory:x"), ErrorKind::InvalidUrl);
        assert_eq!(kind("s3://bucket?regoin=x"), ErrorKind::UnknownOption);
        assert_eq!(kind("file:///x?region=x"), ErrorKind::UnknownOption);
        assert_eq!(kind("s3://bucket?region=a&region=b"), ErrorKind::InvalidOption);
    }

    #[test]
    fn secrets_are_never_shown() {
        let url =
            parse("s3://bucket?access_key_id=AKIA&secret_access_key=hunter2&session_token=hunter2");
        for shown in [url.to_string(), format!("{url:?}"), url.without_secrets().to_string()] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(
            url.to_string(),
            "s3://bucket?access_key_id=AKIA&secret_access_key=***&session_token=***"
        );
        assert_eq!(url.without_secrets().to_string(), "s3://bucket?access_key_id=AKIA");
        for text in [
            "s3://key:hunter2@bucket",
            "s3://key:hunter2@bucket:x/",
            "key:hunter2@b",
            "x?secret_access_key=hunter2",
        ] {
            let e = text.parse::<StoreUrl>().unwrap_err();
            assert!(!format!("{e} {e:?}").contains("hunter2"), "{e} {e:?}");
        }
    }
}
