//! Days and budget periods of UTC. Which moment counts for what is the ledger's decision.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds in a day of UTC as Unix time counts them (POSIX.1, section 4.19: leap seconds do not count).
const DAY_MS: u64 = 86_400_000;
/// 9999-12-30, the last day that jiff knows whole in every time zone.
const LAST: u32 = 2_932_895;
/// The first day of Unix time was a Thursday: so many days after a Monday.
const FIRST_WEEKDAY: u32 = 3;
/// Days in a week.
const WEEK: u32 = 7;

/// A day of UTC, from 1970-01-01 to 9999-12-30. In JSON and for people: `2026-11-23`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Day(u32);

/// A text is not a day.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a day between 1970-01-01 and 9999-12-30")]
pub struct BadDay(String);

impl Day {
    /// The day that a moment in Unix milliseconds lies in.
    #[must_use]
    pub fn of(unix_ms: u64) -> Self {
        Self::number_or_last(unix_ms.checked_div(DAY_MS).unwrap_or_default())
    }

    /// The day with this number, counted from 1970-01-01.
    ///
    /// # Errors
    /// [`BadDay`] after 9999-12-30.
    pub fn new(number: u32) -> Result<Self, BadDay> {
        if number <= LAST {
            Ok(Self(number))
        } else {
            Err(BadDay(number.to_string()))
        }
    }

    /// Its number, counted from 1970-01-01.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Its first moment, in Unix milliseconds.
    #[must_use]
    pub fn start_ms(self) -> u64 {
        u64::from(self.0).saturating_mul(DAY_MS)
    }

    /// So many days later, at most 9999-12-30.
    #[must_use]
    pub fn plus(self, days: u32) -> Self {
        Self(self.0.saturating_add(days).min(LAST))
    }

    fn number_or_last(number: u64) -> Self {
        Self(u32::try_from(number).unwrap_or(LAST).min(LAST))
    }

    fn date(self) -> Date {
        let seconds = i64::try_from(self.start_ms()).unwrap_or_default().saturating_div(1_000);
        let start = Timestamp::from_second(seconds).unwrap_or_default();
        TimeZone::UTC.to_datetime(start).date()
    }

    fn minus(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.date().to_string())
    }
}

impl FromStr for Day {
    type Err = BadDay;

    fn from_str(text: &str) -> Result<Self, BadDay> {
        let bad = || BadDay(text.chars().take(40).collect());
        let date: Date = text.parse().map_err(|_| bad())?;
        let start = date.to_zoned(TimeZone::UTC).map_err(|_| bad())?.timestamp();
        let day = Self::of(u64::try_from(start.as_millisecond()).map_err(|_| bad())?);
        // One way to write a day, so that two texts never mean the same.
        if day.to_string() == text { Ok(day) } else { Err(bad()) }
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How often a budget starts anew, by UTC's calendar.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// Never: the budget is for the key's whole life.
    #[default]
    Never,
    /// At midnight.
    Day,
    /// On Monday at midnight (ISO 8601).
    Week,
    /// On the first of the month at midnight.
    Month,
}

impl Period {
    /// Its name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// When the period that `now_ms` lies in began, in Unix milliseconds; 0 for [`Period::Never`].
    #[must_use]
    pub fn start_ms(self, now_ms: u64) -> u64 {
        self.first_day(Day::of(now_ms)).start_ms()
    }

    /// When the next one begins, in Unix milliseconds.
    #[must_use]
    pub fn next_ms(self, now_ms: u64) -> Option<u64> {
        let first = self.first_day(Day::of(now_ms));
        let days = match self {
            Self::Never => return None,
            Self::Day => 1,
            Self::Week => WEEK,
            Self::Month => u32::try_from(first.date().days_in_month()).unwrap_or_default(),
        };
        Some(first.plus(days).start_ms())
    }

    fn first_day(self, day: Day) -> Day {
        match self {
            Self::Never => Day::default(),
            Self::Day => day,
            Self::Week => {
                let since_monday = day.0.saturating_add(FIRST_WEEKDAY).checked_rem(WEEK);
                day.minus(since_monday.unwrap_or_default())
            }
            Self::Month => {
                let before = u32::try_from(day.date().day()).unwrap_or(1).saturating_sub(1);
                day.minus(before)
            }
        }
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Never, Self::Day, Self::Week, Self::Month]
            .into_iter()
            .find(|period| period.as_str() == text)
            .ok_or("a period is `never`, `day`, `week` or `month`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(text: &str) -> u64 {
        text.parse::<Day>().expect("a day").start_ms()
    }

    #[test]
    fn a_day_reads_back() {
        for text in ["1970-01-01", "2000-02-29", "2026-11-23", "9999-12-30"] {
            assert_eq!(text.parse::<Day>().expect("a day").to_string(), text);
        }
        assert_eq!(Day::of(u64::MAX).to_string(), "9999-12-30");
        assert_eq!(Day::of(DAY_MS - 1).number(), 0);
        assert_eq!(Day::of(DAY_MS).to_string(), "1970-01-02");
        for text in [
            "",
            "1969-12-31",
            "2026-02-30",
            "20261123",
            "2026-11-23T00:00",
            "2026-11-3",
            "+002026-11-23",
        ] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
        assert!(Day::new(LAST + 1).is_err());
    }

    #[test]
    fn periods_begin_as_the_calendar_says() {
        let check = |period: Period, now: &str, first: &str, next: &str| {
            for now_ms in [start(now), start(now) + DAY_MS - 1] {
                let found = (period.start_ms(now_ms), period.next_ms(now_ms));
                assert_eq!(found, (start(first), Some(start(next))), "{period:?} of {now}");
            }
        };
        check(Period::Day, "2026-11-23", "2026-11-23", "2026-11-24");
        // A Sunday, a Monday, and weeks that belong to two years.
        check(Period::Week, "2026-11-22", "2026-11-16", "2026-11-23");
        check(Period::Week, "2026-11-23", "2026-11-23", "2026-11-30");
        check(Period::Week, "2027-01-01", "2026-12-28", "2027-01-04");
        check(Period::Month, "2026-11-23", "2026-11-01", "2026-12-01");
        check(Period::Month, "2024-02-29", "2024-02-01", "2024-03-01");
        check(Period::Month, "2026-12-31", "2026-12-01", "2027-01-01");
        assert_eq!(
            (Period::Never.start_ms(start("2026-11-23")), Period::Never.next_ms(5)),
            (0, None)
        );
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        for period in [Period::Never, Period::Day, Period::Week, Period::Month] {
            for now_ms in [0, 1, DAY_MS, u64::MAX] {
                assert!(period.start_ms(now_ms) <= now_ms);
                let _ = period.next_ms(now_ms);
            }
            assert_eq!(period.as_str().parse(), Ok(period));
        }
    }
}
