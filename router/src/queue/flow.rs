//! How many calls came to a queue and how many went from it to a provider, of late.

use std::time::Duration;

use crate::time::Time;

/// Parts that are remembered.
const PARTS: usize = 64;

/// Calls that came and went, part by part of a sliding window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    part_us: u64,
    /// The number of the latest part.
    latest: u64,
    parts: [Count; PARTS],
}

/// Calls that came to a queue, and that went from it to a provider.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Count {
    came: u32,
    went: u32,
}

impl Count {
    /// Whether more went than came: then waiting serves somebody, however slow the providers are.
    pub(super) fn ebbs(self) -> bool {
        self.came == 0 || self.went > self.came
    }

    /// Whether so many more came than went that it is not chance: by two standard deviations of
    /// calls that come and go at random.
    pub(super) fn is_a_flood(self) -> bool {
        let (came, went) = (f64::from(self.came), f64::from(self.went));
        came - went > 2.0 * (came + went).sqrt()
    }
}

impl Flow {
    /// None so far, remembered in parts of this length.
    pub(super) fn in_parts_of(part: Duration) -> Self {
        Self {
            part_us: u64::try_from(part.as_micros()).unwrap_or(u64::MAX).max(1),
            latest: 0,
            parts: [Count::default(); PARTS],
        }
    }

    pub(super) fn came(&mut self, now: Time) {
        let part = self.part(now);
        part.came = part.came.saturating_add(1);
    }

    pub(super) fn went(&mut self, now: Time) {
        let part = self.part(now);
        part.went = part.went.saturating_add(1);
    }

    /// Those of the last `span`, in whole parts, as far as they are remembered.
    pub(super) fn within(&self, span: Duration, now: Time) -> Count {
        let span_us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let parts = (span_us / self.part_us).clamp(1, PARTS as u64);
        let newest = self.latest.max(self.number(now));
        let oldest = (newest + 1)
            .saturating_sub(parts)
            .max((self.latest + 1).saturating_sub(PARTS as u64));
        (oldest..=self.latest).fold(Count::default(), |sum, number| {
            let part = self.parts[Self::place(number)];
            Count {
                came: sum.came.saturating_add(part.came),
                went: sum.went.saturating_add(part.went),
            }
        })
    }

    /// The part that is written now; what lay there before is forgotten.
    fn part(&mut self, now: Time) -> &mut Count {
        let number = self.number(now);
        let forgotten = number.saturating_sub(self.latest).min(PARTS as u64);
        self.latest = self.latest.max(number);
        for back in 0..forgotten {
            self.parts[Self::place(self.latest - back)] = Count::default();
        }
        &mut self.parts[Self::place(self.latest)]
    }

    fn number(&self, now: Time) -> u64 {
        now.as_micros() / self.part_us
    }

    const fn place(number: u64) -> usize {
        (number % PARTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at_ms(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn what_is_counted_is_what_happened_within_the_span() {
        let mut flow = Flow::in_parts_of(Duration::from_millis(100));
        let of_late = |flow: &Flow, span_ms, now_ms| {
            let count = flow.within(Duration::from_millis(span_ms), at_ms(now_ms));
            (count.came, count.went)
        };
        (0..50).for_each(|_| flow.came(at_ms(10)));
        (1..=9).for_each(|n| flow.went(at_ms(n * 100)));
        assert_eq!(of_late(&flow, 1000, 990), (50, 9));
        assert_eq!(of_late(&flow, 1000, 1010), (0, 9));
        assert_eq!(of_late(&flow, 300, 990), (0, 3));
        assert_eq!(of_late(&flow, 300, 2000), (0, 0));
        assert_eq!(of_late(&flow, 60_000, 2000), (50, 9), "all that is remembered");
        flow.came(at_ms(6_350));
        assert_eq!(of_late(&flow, 60_000, 6_350), (51, 9));
        flow.came(at_ms(6_400));
        assert_eq!(of_late(&flow, 60_000, 6_400), (2, 9), "the oldest part is forgotten");
        flow.came(at_ms(900_000));
        assert_eq!(of_late(&flow, 60_000, 900_000), (1, 0));
    }

    #[test]
    fn a_flood_is_more_than_chance() {
        let count = |came, went| Count { came, went };
        assert!(count(0, 0).ebbs() && count(3, 4).ebbs() && !count(1, 0).ebbs() && !count(3, 3).ebbs());
        assert!(count(30, 10).is_a_flood() && count(5, 0).is_a_flood());
        assert!(!count(3, 0).is_a_flood() && !count(12, 4).is_a_flood() && !count(50, 45).is_a_flood());
    }
}
