use std::fmt;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;

/// An error or a notice as the server sent it.
///
/// The fields are those of `ErrorResponse` and `NoticeResponse` in the manual's chapter "Error and
/// Notice Message Fields".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerError {
    severity: String,
    code: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl ServerError {
    /// SQLSTATE of corrupted data, such as pages that fail their checksum.
    pub const DATA_CORRUPTED: &'static str = "XX001";
    /// SQLSTATE of a missing privilege.
    pub const INSUFFICIENT_PRIVILEGE: &'static str = "42501";
    /// SQLSTATE of a wrong password.
    pub const INVALID_PASSWORD: &'static str = "28P01";
    /// SQLSTATE of a connection that `pg_hba.conf` does not allow, among others.
    pub const INVALID_AUTHORIZATION: &'static str = "28000";
    /// SQLSTATE of a server that is starting up, shutting down or in recovery without hot standby.
    pub const CANNOT_CONNECT_NOW: &'static str = "57P03";
    /// SQLSTATE of a missing object, such as a replication slot.
    pub const UNDEFINED_OBJECT: &'static str = "42704";
    /// SQLSTATE of an object that exists already.
    pub const DUPLICATE_OBJECT: &'static str = "42710";
    /// SQLSTATE of a missing file, such as a WAL segment that was removed.
    pub const UNDEFINED_FILE: &'static str = "58P01";
    /// SQLSTATE of something that another session is using, such as a replication slot.
    pub const OBJECT_IN_USE: &'static str = "55006";

    pub(crate) fn from_fields(mut fields: ErrorFields<'_>) -> std::io::Result<Self> {
        let mut error = Self::default();
        let mut localized = None;
        while let Some(field) = fields.next()? {
            // Before the encoding is agreed on, a message may come in any.
            let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'V' => error.severity = value,
                b'S' => localized = Some(value),
                b'C' => error.code = value,
                b'M' => error.message = value,
                b'D' => error.detail = Some(value),
                b'H' => error.hint = Some(value),
                _ => {}
            }
        }
        if error.severity.is_empty() {
            error.severity = localized.unwrap_or_default();
        }
        Ok(error)
    }

    /// `ERROR`, `FATAL`, `PANIC`, or for notices `WARNING`, `NOTICE` and so on; never translated.
    pub fn severity(&self) -> &str {
        &self.severity
    }

    /// The five characters of the SQLSTATE code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The primary message, in the server's language.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// More about the problem.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// What the server suggests.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.severity, self.message, self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, "; detail: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}
