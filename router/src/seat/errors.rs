//! How often a provider failed lately.

use crate::time::Time;

/// Seconds in which a failure fades to 1/e. Source: ROUTING, "err_i decays with τ = 60 s".
const FADE_S: f64 = 60.0;

/// More failures than this weigh no more: the breaker does the rest.
const WEIGHT_MAX: f64 = 16.0;

/// Failures, each fading exponentially.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Errors {
    weight: f64,
    at: Time,
}

impl Errors {
    pub(crate) fn failed(&mut self, now: Time) {
        self.weight = (self.weight(now) + 1.0).min(WEIGHT_MAX);
        self.at = self.at.max(now);
    }

    /// A sibling of this fleet saw this many.
    pub(crate) fn at_least(&mut self, weight: f64, now: Time) {
        if weight > self.weight(now) {
            self.weight = weight.min(WEIGHT_MAX);
            self.at = self.at.max(now);
        }
    }

    /// The failures that still count, 0 to 16.
    pub(crate) fn weight(&self, now: Time) -> f64 {
        if self.weight == 0.0 {
            return 0.0; // Most seats most of the time: no exponential to take.
        }
        self.weight * (-now.saturating_since(self.at).as_secs_f64() / FADE_S).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_fades_to_a_third_in_a_minute() {
        let mut errors = Errors::default();
        errors.failed(Time::from_micros(0));
        assert!((errors.weight(Time::from_micros(0)) - 1.0).abs() < 1e-9);
        let later = errors.weight(Time::from_micros(60_000_000));
        assert!((later - (-1.0_f64).exp()).abs() < 1e-9, "{later}");
        assert!(errors.weight(Time::from_micros(600_000_000)) < 1e-4);
    }

    #[test]
    fn many_failures_weigh_no_more_than_the_bound() {
        let mut errors = Errors::default();
        for _ in 0..10_000 {
            errors.failed(Time::from_micros(1));
        }
        assert!(errors.weight(Time::from_micros(1)) <= WEIGHT_MAX);
    }
}
