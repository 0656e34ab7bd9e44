//! When a key expires, as people write it.

use std::str::FromStr;

use jiff::Timestamp;

/// A time from now, or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// So many milliseconds from now.
    After(u64),
    /// At this time, in Unix milliseconds.
    At(u64),
}

impl Expiry {
    /// The moment, in Unix milliseconds.
    pub(super) fn at_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::After(ms) => now_ms.saturating_add(ms),
            Self::At(ms) => ms,
        }
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is neither a time from now (90s, 15m, 12h, 30d, 8w) nor one like 2027-01-31T00:00:00Z")
        };
        if let Ok(at) = text.parse::<Timestamp>() {
            return u64::try_from(at.as_millisecond()).map(Self::At).map_err(|_| wrong());
        }
        let unit_at = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, unit) = text.split_at(unit_at);
        let seconds: u64 = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => return Err(wrong()),
        };
        let count: u64 = count.parse().map_err(|_| wrong())?;
        // Ten thousand years are enough for anyone, and keep dates printable.
        let years_max = 10_000 * 366 * 86_400;
        count
            .checked_mul(seconds)
            .filter(|after| *after > 0 && *after < years_max)
            .map(|after| Self::After(after * 1000))
            .ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_read_as_people_write_them() {
        for (text, wanted) in [
            ("90s", Some(Expiry::After(90_000))),
            ("15m", Some(Expiry::After(900_000))),
            ("30d", Some(Expiry::After(2_592_000_000))),
            ("1w", Some(Expiry::After(604_800_000))),
            ("2027-01-31T00:00:00Z", Some(Expiry::At(1_801_353_600_000))),
            ("0d", None),
            ("-1d", None),
            ("30", None),
            ("30 d", None),
            ("d", None),
            ("1.5h", None),
            ("99999999999999999999d", None),
            ("9999999999999999w", None),
            ("1960-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Expiry>().ok(), wanted, "{text}");
        }
        assert_eq!(Expiry::After(5).at_ms(u64::MAX), u64::MAX);
    }
}
