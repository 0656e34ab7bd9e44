//! How long a provider that said "full" is left alone. A refusal is honest: it is no failure.

use std::time::Duration;

use crate::time::Time;

/// Pause after the first refusal. About what a batch slot takes to free; chosen here.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// Longest pause: refused calls cost a round trip each, a provider left alone costs capacity.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// Pause of one seat after refusals.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Backoff {
    until: Time,
    in_row: u32,
}

impl Backoff {
    /// The provider refused: the pause doubles with each refusal that follows a pause.
    pub(crate) fn refused(&mut self, now: Time) {
        if self.is_active(now) {
            return; // Calls that were on their way together tell one thing.
        }
        let pause = PAUSE_MIN.saturating_mul(1 << self.in_row.min(8)).min(PAUSE_MAX);
        self.in_row = self.in_row.saturating_add(1);
        self.until = now + pause;
    }

    /// The provider took a call.
    pub(crate) fn accepted(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_active(&self, now: Time) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at_ms(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn refusals_double_the_pause_and_an_accepted_call_ends_it() {
        let mut backoff = Backoff::default();
        assert!(!backoff.is_active(at_ms(0)));
        backoff.refused(at_ms(0));
        backoff.refused(at_ms(1));
        assert!(backoff.is_active(at_ms(249)) && !backoff.is_active(at_ms(250)));
        backoff.refused(at_ms(300));
        assert!(backoff.is_active(at_ms(799)) && !backoff.is_active(at_ms(800)));
        for round in 1..100 {
            backoff.refused(at_ms(round * 10_000));
        }
        assert!(backoff.is_active(at_ms(993_999)) && !backoff.is_active(at_ms(994_000)));
        backoff.accepted();
        assert!(!backoff.is_active(at_ms(990_001)));
    }
}
