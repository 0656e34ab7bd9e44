//! How far a provider's claims of tokens go beyond what passed. Nobody pays what is beyond; but who claims too much is paid
//! the most that can be borne out, call after call, and is dearer than its price says.

use crate::time::Time;

/// What one call weighs in the average: some twenty count. Chosen here, so that no single call, and nobody who makes
/// a few odd ones, spoils a provider's standing.
const WEIGHT: f64 = 0.05;

/// Seconds without calls in which the average fades to 1/e: a provider whose calls went elsewhere is tried again.
const FADE_S: f64 = 3600.0;

/// What may be beyond, on average, before it tells: tokenizers, templates and stops differ a little.
const TOLERATED: f64 = 0.05;

/// What was claimed beyond what passed, as a share of that, on average over calls.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Claims {
    beyond: f64,
    /// Calls that the seat had served by then. Those since were claimed rightly, or there would be word of them.
    served: u32,
    at: Time,
}

impl Claims {
    /// Of a call with `borne_out` tokens, `beyond` more were claimed. As many again, or more, weigh the same.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub(crate) fn exceeded(&mut self, borne_out: u64, beyond: u64, served: u32, now: Time) {
        let share = (beyond as f64 / borne_out.max(1) as f64).min(1.0);
        // The call itself is one of those served since, unless it broke off.
        let before = self.beyond(served.saturating_sub(1).max(self.served), now);
        *self = Self {
            beyond: before * (1.0 - WEIGHT) + WEIGHT * share,
            served: served.max(self.served),
            at: self.at.max(now),
        };
    }

    /// By how much its price is to be multiplied when it is compared: 1, and up to 1.95 for whoever claims double, always.
    pub(crate) fn dearness(&self, served: u32, now: Time) -> f64 {
        if self.beyond == 0.0 {
            return 1.0; // Nearly every seat, always.
        }
        1.0 + (self.beyond(served, now) - TOLERATED).max(0.0)
    }

    fn beyond(&self, served: u32, now: Time) -> f64 {
        let since = f64::from(served.saturating_sub(self.served));
        let idle_s = now.saturating_since(self.at).as_secs_f64();
        self.beyond * (1.0 - WEIGHT).powf(since) * (-idle_s / FADE_S).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Time {
        Time::from_micros(s * 1_000_000)
    }

    /// After so many calls, all of which claim `beyond` on a hundred tokens.
    fn after(calls: u32, beyond: u64) -> Claims {
        let mut claims = Claims::default();
        for served in 1..=calls {
            claims.exceeded(100, beyond, served, at(1));
        }
        claims
    }

    fn check(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-3, "{actual} is not {expected}");
    }

    #[test]
    fn who_always_claims_too_much_is_as_much_dearer() {
        check(after(200, 100).dearness(200, at(1)), 1.95);
        check(after(200, 30).dearness(200, at(1)), 1.25);
        check(after(200, u64::MAX).dearness(200, at(1)), 1.95);
    }

    #[test]
    fn one_claim_however_absurd_is_no_habit_and_small_ones_never_tell() {
        check(after(1, u64::MAX).dearness(1, at(1)), 1.0);
        check(after(10_000, 5).dearness(10_000, at(1)), 1.0);
        assert_eq!(Claims::default().dearness(5, at(9)).to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn honest_calls_and_time_both_mend_it() {
        let claims = after(200, 100);
        let dear = claims.dearness(200, at(1));
        assert!(claims.dearness(210, at(1)) < dear);
        check(claims.dearness(300, at(1)), 1.0);
        check(claims.dearness(200, at(1 + 4 * 3600)), 1.0);
        // One in five calls that claims double is dearer by that fifth, less what is tolerated.
        let mut claims = Claims::default();
        for served in (5..=1000).step_by(5) {
            claims.exceeded(100, 100, served, at(1));
        }
        let dear = claims.dearness(1000, at(1));
        assert!((1.1..1.25).contains(&dear), "{dear}");
    }

    #[test]
    fn what_comes_late_or_out_of_order_stays_in_bounds() {
        let mut claims = after(50, 100);
        for (served, now) in [(0, at(0)), (u32::MAX, at(1)), (3, at(7)), (0, at(0))] {
            claims.exceeded(0, u64::MAX, served, now);
            let dear = claims.dearness(served, now);
            assert!((1.0..=1.95).contains(&dear), "{dear}");
        }
    }
}
