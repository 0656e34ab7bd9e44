//! The router's time: an argument, never a clock.

use std::ops::Add;
use std::time::Duration;

/// A point in time: whole microseconds since an origin the caller chooses once and keeps.
///
/// The gateway counts from its start, a simulation from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Time(u64);

impl Time {
    /// The point `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies ahead, because clocks of several threads may
    /// reach the fleet slightly out of order.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This point moved back by `by`, at most to the origin.
    #[must_use]
    pub fn saturating_before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(whole_micros(by)))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Moves ahead by `by`; saturates at the end of time (584,000 years after the origin).
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(whole_micros(by)))
    }
}

fn whole_micros(of: Duration) -> u64 {
    u64::try_from(of.as_micros()).unwrap_or(u64::MAX)
}

/// `seconds` as a duration within `min..=max`; what is not a number becomes `min`.
pub(crate) fn clamped_seconds(seconds: f64, min: Duration, max: Duration) -> Duration {
    let max = max.max(min);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(if seconds > 0.0 { max } else { min })
        .clamp(min, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_out_of_order_counts_as_no_time() {
        let (early, late) = (Time::from_micros(5), Time::from_micros(9));
        assert_eq!(late.saturating_since(early), Duration::from_micros(4));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
        assert_eq!(early.saturating_before(Duration::from_secs(1)), Time::default());
        assert_eq!(Time::from_micros(u64::MAX) + Duration::MAX, Time::from_micros(u64::MAX));
    }

    #[test]
    fn seconds_that_are_no_duration_fall_to_a_bound() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(9));
        for (seconds, expected) in [
            (f64::NAN, min),
            (-3.0, min),
            (0.5, min),
            (f64::INFINITY, max),
            (1e300, max),
            (2.5, Duration::from_millis(2500)),
        ] {
            assert_eq!(clamped_seconds(seconds, min, max), expected, "{seconds}");
        }
    }
}
