use std::fmt;
use std::str::FromStr;

use jiff::fmt::friendly;
use jiff::{Span, Zoned};

use crate::error::shown;
use crate::{Error, ErrorKind, Result};

/// A length of time on the calendar: `7d`, `2w`, `12mo`, `1y 6mo`, `36h`.
///
/// Days and longer units are the calendar's in the zone of the plan: a week back from Sunday noon is
/// last Sunday noon, though the clocks were changed between. `m` is a minute, `mo` a month.
#[derive(Debug, Clone, Copy)]
pub struct Length(Span);

impl Length {
    /// That span. [`ErrorKind::Policy`] unless it is longer than nothing.
    pub fn new(span: Span) -> Result<Self> {
        if span.is_positive() {
            return Ok(Self(span));
        }
        let message = format!("{span:#} is no length of time: it must be longer than nothing");
        Err(Error::new(ErrorKind::Policy, message))
    }

    /// As a span of the calendar.
    pub fn span(self) -> Span {
        self.0
    }

    /// The moment this long before another.
    pub(crate) fn before(self, moment: &Zoned) -> Result<Zoned> {
        moment.checked_sub(self.0).map_err(|e| self.beyond(e))
    }

    /// The moment `times` as long after another, reckoned in one step: days of a long month are
    /// not lost on the way.
    pub(crate) fn after(self, moment: &Zoned, times: u32) -> Result<Zoned> {
        let span = self.0.checked_mul(i64::from(times)).map_err(|e| self.beyond(e))?;
        moment.checked_add(span).map_err(|e| self.beyond(e))
    }

    fn beyond(self, source: jiff::Error) -> Error {
        let message = format!("{self} leads out of the calendar: choose a shorter time");
        Error::new(ErrorKind::Time, message).with_source(source)
    }
}

impl PartialEq for Length {
    /// Unit by unit: 24 hours are not a day.
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

impl Eq for Length {}

static PRINTER: friendly::SpanPrinter =
    friendly::SpanPrinter::new().spacing(friendly::Spacing::None);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&PRINTER.span_to_string(&self.0))
    }
}

impl FromStr for Length {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let span = friendly::SpanParser::new().parse_span(text).map_err(|e| {
            let message =
                format!("{} is not a length of time such as 7d, 2w, 12mo or 36h", shown(text));
            Error::new(ErrorKind::Policy, message).with_source(e)
        })?;
        Self::new(span)
    }
}

/// A kind of calendar period, of each of which one backup is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum Period {
    /// From a full hour to the next. The hour that comes twice when clocks are put back is two.
    Hour,
    /// From midnight to midnight, be it 23, 24 or 25 hours.
    Day,
    /// From Monday to Sunday (ISO 8601).
    Week,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

/// Which hour, day, … a moment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeriodKey {
    period: Period,
    year: i16,
    /// Of what is left, as much as the period needs: month and day, or week, in one number.
    part: u16,
    hour: i8,
    /// Of local time from UTC in seconds: tells the two hours of the same name apart.
    offset: i32,
}

impl Period {
    /// From the shortest to the longest.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    pub(crate) fn of(self, moment: &Zoned) -> PeriodKey {
        let year = moment.year();
        let key = PeriodKey { period: self, year, part: 0, hour: 0, offset: 0 };
        let date = moment.month() as u16 * 100 + moment.day() as u16;
        match self {
            Self::Hour => PeriodKey {
                part: date,
                hour: moment.hour(),
                offset: moment.offset().seconds(),
                ..key
            },
            Self::Day => PeriodKey { part: date, ..key },
            Self::Week => {
                let week = moment.date().iso_week_date();
                PeriodKey { year: week.year(), part: week.week() as u16, ..key }
            }
            Self::Month => PeriodKey { part: moment.month() as u16, ..key },
            Self::Year => key,
        }
    }

    /// As an adverb, and as the policy's rule is called: `daily`.
    pub fn adverb(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        })
    }
}

impl fmt::Display for PeriodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = (self.year, self.part / 100, self.part % 100);
        match self.period {
            Period::Hour => {
                let sign = if self.offset < 0 { '-' } else { '+' };
                let minutes = self.offset.unsigned_abs() / 60;
                let (hours, minutes) = (minutes / 60, minutes % 60);
                write!(
                    f,
                    "{year:04}-{month:02}-{day:02}T{:02}{sign}{hours:02}:{minutes:02}",
                    self.hour
                )
            }
            Period::Day => write!(f, "{year:04}-{month:02}-{day:02}"),
            Period::Week => write!(f, "{year:04}-W{:02}", self.part),
            Period::Month => write!(f, "{year:04}-{:02}", self.part),
            Period::Year => write!(f, "{year:04}"),
        }
    }
}
