//! How many retries, rescues and hedges may follow how many first attempts: a fleet in trouble
//! must not be asked several times over.
//!
//! At every moment that one is permitted, the 30 s that end there hold at most the share of first
//! attempts plus the constant part. Rescues have a budget of their own, as large as that of retries:
//! half an answer must not be lost because other calls failed to begin. Counts are kept by quarters of a second: first attempts of the
//! oldest quarter do not count any more, retries of it still do, so that the bound is exact.

use std::time::Duration;

use crate::event::Try;
use crate::policy::Policy;
use crate::time::Time;

/// Span over which the budgets hold. Chosen here: Finagle's retry budget looks back 10 s, and calls
/// here take longer.
pub(crate) const WINDOW: Duration = Duration::from_secs(30);

/// Microseconds of one count.
const PART_MICROS: u64 = 250_000;

/// Parts that lie wholly within the window.
const PARTS: u64 = 120;

/// Hedges that are always permitted in a window, or small traffic could never hedge.
const HEDGES_MIN: f64 = 1.0;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Part {
    firsts: u32,
    retries: u32,
    rescues: u32,
    hedges: u32,
}

impl Part {
    fn count(&mut self, kind: Try) {
        let count = match kind {
            Try::First => &mut self.firsts,
            Try::Retry => &mut self.retries,
            Try::Rescue => &mut self.rescues,
            Try::Hedge => &mut self.hedges,
        };
        *count = count.saturating_add(1);
    }
}

/// The budgets of one fleet.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Budget {
    /// A ring: part n of time lies at n modulo its length.
    parts: Vec<Part>,
    newest: u64,
    firsts: u64,
    retries: u64,
    rescues: u64,
    hedges: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            // One more: the part that the window begins in.
            parts: (0..=PARTS).map(|_| Part::default()).collect(),
            newest: 0,
            firsts: 0,
            retries: 0,
            rescues: 0,
            hedges: 0,
        }
    }
}

impl Budget {
    /// A first attempt was made.
    pub(crate) fn deposit(&mut self, now: Time) {
        self.turn(now);
        self.firsts += 1;
        self.part(self.newest).count(Try::First);
    }

    /// Whether an attempt of this kind may be made now; counts it if so.
    pub(crate) fn permit(&mut self, policy: &Policy, kind: Try, now: Time) -> bool {
        self.turn(now);
        let again = policy.retry_share * float(self.firsts) + policy.retry_per_second * WINDOW.as_secs_f64();
        let (spent, most) = match kind {
            Try::First => return true,
            Try::Retry => (&mut self.retries, again),
            Try::Rescue => (&mut self.rescues, again),
            Try::Hedge => (&mut self.hedges, policy.hedge_share * float(self.firsts) + HEDGES_MIN),
        };
        let is_within = float(*spent + 1) <= most;
        if is_within {
            *spent += 1;
            self.part(self.newest).count(kind);
        }
        is_within
    }

    /// Moves the window up to `now`. Time that runs backwards counts as no time.
    fn turn(&mut self, now: Time) {
        let current = now.as_micros() / PART_MICROS;
        if current.saturating_sub(self.newest) > PARTS {
            *self = Self {
                newest: current,
                ..Self::default()
            };
        }
        while self.newest < current {
            self.newest += 1;
            let gone = std::mem::take(self.part(self.newest));
            self.retries -= u64::from(gone.retries);
            self.rescues -= u64::from(gone.rescues);
            self.hedges -= u64::from(gone.hedges);
            // This part lies at the place of the one that has gone; the next is the oldest left.
            let oldest = *self.part(self.newest + 1);
            self.firsts -= u64::from(oldest.firsts);
        }
    }

    fn part(&mut self, number: u64) -> &mut Part {
        let at = usize::try_from(number % (PARTS + 1)).unwrap_or(0);
        &mut self.parts[at]
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts 2^53 attempts in half a minute")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at_ms(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    fn lean() -> Policy {
        Policy {
            retry_per_second: 0.0,
            ..Policy::default()
        }
    }

    fn permitted(budget: &mut Budget, policy: &Policy, kind: Try, now: Time) -> usize {
        (0..1000).take_while(|_| budget.permit(policy, kind, now)).count()
    }

    #[test]
    fn one_first_attempt_in_five_may_be_followed_by_a_retry_and_another_by_a_rescue() {
        let mut budget = Budget::default();
        for n in 0..100 {
            assert!(budget.permit(&lean(), Try::First, at_ms(n)));
            budget.deposit(at_ms(n));
        }
        assert_eq!(permitted(&mut budget, &lean(), Try::Retry, at_ms(100)), 20);
        assert_eq!(permitted(&mut budget, &lean(), Try::Rescue, at_ms(100)), 20);
        assert_eq!(permitted(&mut budget, &lean(), Try::Hedge, at_ms(100)), 6);
    }

    #[test]
    fn small_traffic_may_retry_ten_times_a_second_and_hedge_once() {
        let mut budget = Budget::default();
        let policy = Policy::default();
        assert_eq!(permitted(&mut budget, &policy, Try::Retry, at_ms(0)), 300);
        assert_eq!(permitted(&mut budget, &policy, Try::Hedge, at_ms(0)), 1);
        assert!(!budget.permit(&policy, Try::Retry, at_ms(30_000)));
        assert_eq!(permitted(&mut budget, &policy, Try::Retry, at_ms(30_251)), 300);
    }

    #[test]
    fn what_was_earned_expires() {
        let mut budget = Budget::default();
        for _ in 0..100 {
            budget.deposit(at_ms(0));
        }
        assert!(budget.permit(&lean(), Try::Retry, at_ms(29_000)));
        assert!(!budget.permit(&lean(), Try::Retry, at_ms(30_000)));
        budget.deposit(at_ms(10_000_000));
        assert!(!budget.permit(&lean(), Try::Retry, at_ms(10_000_000)));
    }

    #[test]
    fn absurd_shares_permit_nothing() {
        let mut budget = Budget::default();
        let policy = Policy {
            retry_share: f64::NAN,
            hedge_share: f64::NAN,
            ..Policy::default()
        };
        assert_eq!(permitted(&mut budget, &policy, Try::Retry, at_ms(0)), 0);
        assert_eq!(permitted(&mut budget, &policy, Try::Hedge, at_ms(0)), 0);
    }
}
