//! How late a first token may be before a second attempt beside it pays: the 95th percentile of
//! what it took against what was expected.
//!
//! A quantile is tracked without a sample by stochastic approximation (Robbins and Monro, 1951): a
//! step up for each value above it, a smaller one down for each below, so that they balance at the
//! quantile. Steps are of the logarithm, so that one absurd value moves it no more than any other.

/// The quantile past which one hedges. Source: ROUTING, "past the predicted p95".
const QUANTILE: f64 = 0.95;

/// Step of the logarithm. Chosen here: from the prior down to half of it in about 90 calls.
const STEP: f64 = 0.15;

/// Times the expectation that a first token is taken to need before anything is known: what a queue
/// in an engine does to a median. Chosen here.
const PRIOR: f64 = 3.0;

/// Bounds of it.
const MIN: f64 = 1.0;
const MAX: f64 = 30.0;

/// Times below this, seconds, are equal to a network.
const SECONDS_MIN: f64 = 1e-3;

/// The 95th percentile of took ÷ expected, of one seat.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Tail {
    ratio: f64,
}

impl Default for Tail {
    fn default() -> Self {
        Self { ratio: PRIOR }
    }
}

impl Tail {
    /// A first token that was expected after `expected_s` took `took_s`.
    pub(crate) fn saw(&mut self, took_s: f64, expected_s: f64) {
        let step = if took_s.max(SECONDS_MIN) > self.ratio * expected_s.max(SECONDS_MIN) {
            STEP * QUANTILE
        } else {
            -STEP * (1.0 - QUANTILE)
        };
        self.ratio = (self.ratio * step.exp()).clamp(MIN, MAX);
    }

    /// Seconds after which a first token that was expected after `expected_s` is late.
    pub(crate) fn late_s(&self, expected_s: f64) -> f64 {
        self.ratio * expected_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn it_finds_the_quantile_of_a_heavy_tail() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut tail = Tail::default();
        let (mut late, mut calls) = (0, 0);
        for n in 0..20_000 {
            // Pareto: one in twenty takes more than 20^(1/2) = 4.5 times the least.
            let took_s = 0.2 / rng.random_range(1e-6..1.0_f64).sqrt();
            if n > 1000 {
                calls += 1;
                late += u32::from(took_s > tail.late_s(0.2));
            }
            tail.saw(took_s, 0.2);
        }
        let share = f64::from(late) / f64::from(calls);
        assert!((share - 0.05).abs() < 0.01, "{share}");
    }

    #[test]
    fn a_steady_provider_is_hedged_soon_and_one_absurd_value_hardly_counts() {
        let mut tail = Tail::default();
        assert!((tail.late_s(0.5) - 1.5).abs() < 1e-9);
        for _ in 0..300 {
            tail.saw(0.5, 0.5);
        }
        assert!(tail.late_s(0.5) < 0.6, "{tail:?}");
        tail.saw(1e9, 0.5);
        assert!(tail.late_s(0.5) < 0.7, "{tail:?}");
        for _ in 0..1000 {
            tail.saw(f64::INFINITY, 0.0);
        }
        assert!(tail.late_s(1.0) <= MAX);
    }
}
