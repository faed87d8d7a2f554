use std::fmt;
use std::str::FromStr;

use crate::error::shown;
use crate::{Error, ErrorKind};

/// How many backups a rule keeps: none (the rule is off), a number, or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Count(u32);

impl Count {
    /// The rule is off.
    pub const NONE: Self = Self(0);

    /// Every one there is.
    pub const ALL: Self = Self(u32::MAX);

    /// This many; zero switches the rule off.
    pub const fn new(count: u32) -> Self {
        Self(count)
    }

    /// The number; the greatest there is for [`Count::ALL`].
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether the rule is off.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Whether the item of this rank, counted from 1, is among them.
    pub fn covers(self, rank: usize) -> bool {
        self == Self::ALL || rank as u64 <= u64::from(self.0)
    }
}

impl From<u32> for Count {
    fn from(count: u32) -> Self {
        Self(count)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => f.write_str("all"),
            Self(count) => count.fmt(f),
        }
    }
}

impl FromStr for Count {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "all" {
            return Ok(Self::ALL);
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().map(Self).ok_or_else(|| {
            let message = format!("{} is not a number of backups, nor \"all\"", shown(text));
            Error::new(ErrorKind::Policy, message)
        })
    }
}
