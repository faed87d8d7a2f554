//! Policies as a line of text.

use std::fmt;
use std::str::FromStr;

use crate::error::shown;
use crate::{Count, Error, ErrorKind, Policy, Result, WalRule};

const KEYS: &str = "keep-last, window, hourly, daily, weekly, monthly, yearly, min-redundancy, wal, \
                    hold-annotations, max-silence";

impl FromStr for Policy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut policy = Self::default();
        let mut seen = Vec::new();
        for rule in text.split([' ', ',', '\t', '\n']).filter(|rule| !rule.is_empty()) {
            let Some((key, value)) = rule.split_once('=') else {
                let message = format!("{} is not a rule such as daily=14", shown(rule));
                return Err(Error::new(ErrorKind::Policy, message));
            };
            if seen.contains(&key) {
                let message = format!("{} is in the policy twice: say it once", shown(key));
                return Err(Error::new(ErrorKind::Policy, message));
            }
            seen.push(key);
            policy.set(key, value)?;
        }
        Ok(policy)
    }
}

impl Policy {
    /// Sets one rule by its name, as in text. Zero switches a count off.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "keep-last" => self.keep_last = value.parse()?,
            "window" => self.window = Some(value.parse()?),
            "hourly" => self.hourly = value.parse()?,
            "daily" => self.daily = value.parse()?,
            "weekly" => self.weekly = value.parse()?,
            "monthly" => self.monthly = value.parse()?,
            "yearly" => self.yearly = value.parse()?,
            "min-redundancy" => self.min_redundancy = value.parse()?,
            "wal" => self.wal = Some(value.parse()?),
            "hold-annotations" => {
                self.hold_annotations =
                    value.split('+').filter(|n| !n.is_empty()).map(str::to_owned).collect();
            }
            "max-silence" => self.max_silence = Some(value.parse()?),
            _ => {
                let message = format!("a policy has no rule {}: there are {KEYS}", shown(key));
                return Err(Error::new(ErrorKind::Policy, message));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rules = Vec::new();
        if !self.keep_last.is_none() {
            rules.push(format!("keep-last={}", self.keep_last));
        }
        if let Some(window) = self.window {
            rules.push(format!("window={window}"));
        }
        for period in crate::Period::ALL {
            let count = self.periodic(period);
            if !count.is_none() {
                rules.push(format!("{}={count}", period.adverb()));
            }
        }
        if !self.min_redundancy.is_none() {
            rules.push(format!("min-redundancy={}", self.min_redundancy));
        }
        if let Some(wal) = self.wal {
            rules.push(format!("wal={wal}"));
        }
        if self.hold_annotations != [Self::LEGAL_HOLD] {
            rules.push(format!("hold-annotations={}", self.hold_annotations.join("+")));
        }
        if let Some(silence) = self.max_silence {
            rules.push(format!("max-silence={silence}"));
        }
        f.write_str(&rules.join(" "))
    }
}

impl fmt::Display for WalRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Newest(count) => write!(f, "newest:{count}"),
            Self::Standalone => f.write_str("standalone"),
        }
    }
}

impl FromStr for WalRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.strip_prefix("newest:")) {
            ("all", _) => return Ok(Self::All),
            ("standalone", _) => return Ok(Self::Standalone),
            (_, Some(count)) => match count.parse::<Count>() {
                Ok(Count::ALL) => return Ok(Self::All),
                Ok(count) if !count.is_none() => return Ok(Self::Newest(count.get())),
                _ => {}
            },
            _ => {}
        }
        let message = format!("{} is not one of all, newest:N and standalone", shown(text));
        Err(Error::new(ErrorKind::Policy, message))
    }
}
