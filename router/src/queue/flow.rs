//! How many calls came to a queue and how many went from it to a provider, of late.

use std::time::Duration;

use crate::time::Time;

/// Parts that the time looked at is cut into.
const PARTS: usize = 8;

/// Calls that came and went within a sliding window, to an eighth of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    part_us: u64,
    /// The number of the latest part.
    latest: u64,
    /// Came and went, part by part.
    parts: [(u32, u32); PARTS],
}

impl Flow {
    /// None so far, in a window of this length.
    pub(super) fn over(window: Duration) -> Self {
        let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        Self {
            part_us: (window_us / PARTS as u64).max(1),
            latest: 0,
            parts: [(0, 0); PARTS],
        }
    }

    pub(super) fn came(&mut self, now: Time) {
        let part = self.part(now);
        part.0 = part.0.saturating_add(1);
    }

    pub(super) fn went(&mut self, now: Time) {
        let part = self.part(now);
        part.1 = part.1.saturating_add(1);
    }

    /// Whether more went than came, or none came at all: then waiting serves somebody, however slow the providers are.
    pub(super) fn is_ebbing(&self, now: Time) -> bool {
        let mut flow = *self;
        flow.advance(now);
        let (came, went) = flow.parts.iter().fold((0, 0), |(came, went), part| {
            (came + u64::from(part.0), went + u64::from(part.1))
        });
        came == 0 || went > came
    }

    fn part(&mut self, now: Time) -> &mut (u32, u32) {
        self.advance(now);
        &mut self.parts[Self::place(self.latest)]
    }

    /// Forgets what is older than the window.
    fn advance(&mut self, now: Time) {
        let number = now.as_micros() / self.part_us;
        let forgotten = number.saturating_sub(self.latest).min(PARTS as u64);
        self.latest = self.latest.max(number);
        for back in 0..forgotten {
            self.parts[Self::place(self.latest - back)] = (0, 0);
        }
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
    fn what_came_before_the_window_is_forgotten() {
        let mut flow = Flow::over(Duration::from_secs(1));
        (0..50).for_each(|_| flow.came(at_ms(10)));
        (1..=9).for_each(|n| flow.went(at_ms(n * 100)));
        assert!(!flow.is_ebbing(at_ms(990)), "fifty came, nine went");
        assert!(flow.is_ebbing(at_ms(1010)));
        assert!(flow.is_ebbing(at_ms(3000)), "nobody came");
        flow.came(at_ms(3000));
        assert!(!flow.is_ebbing(at_ms(3000)), "one came, none went");
    }

    #[test]
    fn a_steady_surplus_never_ebbs() {
        let mut flow = Flow::over(Duration::from_secs(1));
        for n in 1..1000 {
            flow.came(at_ms(n * 10));
            if n % 3 == 0 {
                flow.went(at_ms(n * 10));
            }
            assert!(!flow.is_ebbing(at_ms(n * 10)));
        }
    }
}
