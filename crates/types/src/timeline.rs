use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::error::parse_decimal;
use crate::{ParseError, ParseErrorKind};

/// A timeline: one line of a cluster's history, numbered from 1. A promotion begins a new one.
///
/// `TimeLineID` in PostgreSQL's `access/xlogdefs.h`. Printed in decimal, as `pg_controldata` does;
/// in file names it is eight hexadecimal digits, which [`WalFileName`](crate::WalFileName) writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimelineId(NonZeroU32);

impl TimelineId {
    /// The timeline that `initdb` begins.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The timeline with this number; zero is no timeline.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Its number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TimelineId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_decimal(text, ParseErrorKind::Timeline).map(Self)
    }
}
