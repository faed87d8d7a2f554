use std::error::Error as StdError;
use std::fmt;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of trouble an [`Error`] is, for code that must decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store answered, and the object is not there. Nothing else is ever reported as this: not an
    /// unmounted disk, a missing bucket, refused credentials or a network that is down.
    NotFound,
    /// [`Store::create`](crate::Store::create) found something at the path, and left it as it was.
    AlreadyExists,
    /// The store itself is not there: no such directory (a disk that is not mounted?) or bucket.
    StoreMissing,
    /// The operating system or the cloud refuses this user or these credentials.
    PermissionDenied,
    /// The file system is mounted read-only, or the store was opened as it was in the past.
    ReadOnly,
    /// No space, or the quota is used up. Nothing of the object is left behind.
    StorageFull,
    /// The path can't name an object; see [`check_path`](crate::check_path).
    InvalidPath,
    /// The bytes asked for are not all in the object.
    OutOfRange,
    /// The location of a store is not a URL or path that Walbrook knows.
    InvalidUrl,
    /// A store has no such option.
    UnknownOption,
    /// An option has a value that it can't have, or a needed one is missing.
    InvalidOption,
    /// Trouble that may pass: the network, a time-out, an overloaded server, a stale NFS handle. The
    /// backend's own retries are used up.
    Unavailable,
    /// The store can't do what is needed, such as creating an object only when there is none.
    Unsupported,
    /// Somebody has replaced an object, or deleted it and created it anew.
    Tampered,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// What is wrong, and what to do about it; both in words that need no knowledge of the code.
    fn explain(self) -> (&'static str, &'static str) {
        match self {
            Self::NotFound => ("there is no such object", ""),
            Self::AlreadyExists => ("an object of this name is already there", ""),
            Self::StoreMissing => {
                ("the store does not exist", "mount or create it, or correct the location")
            }
            Self::PermissionDenied => {
                ("permission denied", "check the credentials and what they are allowed to do")
            }
            Self::ReadOnly => (
                "the file system is read-only",
                "remount it read-write, or see in the kernel's log why it changed",
            ),
            Self::StorageFull => {
                ("no space left, or the quota is used up", "free or add space, then try again")
            }
            Self::InvalidPath => ("not a valid object path", ""),
            Self::OutOfRange => (
                "the object is shorter than the range asked for",
                "it may have been cut short; verify the repository",
            ),
            Self::InvalidUrl => ("not a location of a store", ""),
            Self::UnknownOption => ("unknown option", ""),
            Self::InvalidOption => ("invalid option", ""),
            Self::Unavailable => ("the store does not answer as it should", "try again later"),
            Self::Unsupported => ("the store can't do this", ""),
            Self::Tampered => (
                "somebody has replaced it",
                "find out who writes there; the option as_of reads what there was before",
            ),
            Self::Other => ("unexpected trouble", ""),
        }
    }
}

/// An operation on a store that failed.
///
/// Displays what failed, on which object of which store, and what to do. The cause in the words of the
/// operating system or the cloud is the [`source`](StdError::source). Holds no secrets.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    remedy: Option<String>,
    operation: Option<&'static str>,
    path: Option<String>,
    location: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`, explained by `message`: lower case, no period. For those who implement
    /// [`Store`](crate::Store); an empty message is replaced by the general one of the kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner {
            kind,
            message,
            remedy: None,
            operation: None,
            path: None,
            location: None,
            source: None,
        }))
    }

    /// Says what was being done: a verb such as `create` or `read`.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Names the object.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Names the store, as in [`Store::location`](crate::Store::location): without secrets.
    #[must_use]
    pub fn with_location(mut self, location: impl Into<String>) -> Self {
        self.0.location = Some(location.into());
        self
    }

    /// Says what the user should do, in place of the general advice for the kind.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Adds the cause. It must not hold secrets.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The object concerned, if there is one.
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// The store concerned.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// Whether the same call may succeed later with nothing changed by anyone: of kind
    /// [`ErrorKind::Unavailable`]. After a transient error of [`create`](crate::Store::create) the
    /// object may or may not be there.
    pub fn is_transient(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, remedy, operation, path, location, .. } = &*self.0;
        let (general, advice) = kind.explain();
        let message = if message.is_empty() { general } else { message };
        if let Some(operation) = operation {
            write!(f, "cannot {operation}")?;
            match (path, location) {
                (Some(path), Some(location)) if !path.is_empty() => {
                    write!(f, " {path} in {location}")?
                }
                (Some(path), None) => write!(f, " {path}")?,
                (_, Some(location)) => write!(f, " {location}")?,
                (None, None) => {}
            }
            f.write_str(": ")?;
        }
        f.write_str(message)?;
        match remedy.as_deref().unwrap_or(advice) {
            "" => Ok(()),
            remedy => write!(f, "; {remedy}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.to_string())
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_failed_on_what_and_what_to_do() {
        let e = Error::new(ErrorKind::StorageFull, "")
            .during("create")
            .with_path("prod/pack-1")
            .with_location("/srv/backups");
        assert_eq!(
            e.to_string(),
            "cannot create prod/pack-1 in /srv/backups: no space left, or the quota is used up; \
             free or add space, then try again"
        );
        assert!(!e.is_transient());
    }

    #[test]
    fn is_small_and_can_cross_threads() {
        fn sendable<T: Send + Sync + 'static>() {}
        sendable::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
