use std::fmt;
use std::str::FromStr;

use crate::error::parse_decimal;
use crate::{ParseError, ParseErrorKind};

/// A cluster's system identifier: made by `initdb`, shared by a primary and its standbys, and new
/// after `pg_upgrade`. Printed in decimal, as `pg_controldata` and `IDENTIFY_SYSTEM` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SystemId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_decimal(text, ParseErrorKind::SystemId).map(Self)
    }
}
