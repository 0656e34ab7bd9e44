//! How many calls one provider gets at once for one model: more while first tokens come quickly,
//! fewer when they come late, no more than its engine runs once that says calls wait in it. What the
//! provider offers bounds it from outside.

use std::time::Duration;

use crate::time::Time;

/// Calls at once before anything is known, and the bounds. Source: ROUTING, "start 8, 2 to 64".
const START: f64 = 8.0;
const MIN: f64 = 2.0;
const MAX: f64 = 64.0;

/// Up while the first token takes at most this many times the ideal, down beyond. ROUTING began with
/// 1.5 and 2.5, which take a short prompt behind a long one for congestion: in bursts, calls were then
/// turned away from engines with free slots. Found by the simulation (loadtest, `simulate`, tuning
/// seeds).
const GOOD_RATIO: f64 = 2.0;
const LATE_RATIO: f64 = 3.5;

/// Factors for a late first token, an early error (ROUTING) and a refusal (as late).
const LATE_CUT: f64 = 0.85;
const ERROR_CUT: f64 = 0.7;

/// Growth per limit's worth of good first tokens, in calls. From 8 to 64 in about 500 calls.
const GROWTH: f64 = 4.0;

/// Times slower that it grows above what the engine ran when calls waited in it. Chosen here: each
/// step too far costs a call the time of another's whole answer.
const CREEP: f64 = 50.0;

/// How long it creeps after that, and how long after any sign of saturation it may not be exceeded.
/// Chosen here: a few calls too many in as many minutes, where each may wait for a whole answer. Ten
/// seconds after a late first token are not enough: under overload, all limits were exceeded again and
/// again.
const CREEPS_FOR: Duration = Duration::from_secs(180);
const SATURATED_FOR: Duration = Duration::from_secs(600);

/// The adaptive limit of one seat.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Limit {
    value: f64,
    cut_at: Option<Time>,
    /// Calls the engine ran when it last said that more waited.
    fits: f64,
    creeps_until: Time,
    saturated_until: Time,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            value: START,
            cut_at: None,
            fits: MAX,
            creeps_until: Time::default(),
            saturated_until: Time::default(),
        }
    }
}

impl Limit {
    /// A first token came after `took_s`, ideally after `ideal_s`, for a call that `started`
    /// with `in_flight` calls on their way (itself included).
    pub(crate) fn saw_first_token(&mut self, took_s: f64, ideal_s: f64, started: Time, in_flight: u32, now: Time) {
        if took_s > LATE_RATIO * ideal_s {
            // One cut per flight: calls that were on their way before the last cut tell of the
            // load before it.
            if self.cut_at.is_none_or(|cut| started >= cut) {
                self.cut(LATE_CUT, now);
                self.saturated_until = now + SATURATED_FOR;
            }
        } else if took_s <= GOOD_RATIO * ideal_s && f64::from(in_flight) * 2.0 >= self.value {
            // Only a limit that is made use of has shown that it could be higher.
            let step = GROWTH / self.value;
            let creeps = now < self.creeps_until && self.value + step > self.fits;
            self.value = (self.value + if creeps { step / CREEP } else { step }).min(MAX);
        }
    }

    /// The engine says that it has more calls of ours than the `fits` that it runs. A claim, but one
    /// that makes the provider look worse.
    pub(crate) fn saw_queue(&mut self, fits: f64, now: Time) {
        self.fits = fits.clamp(MIN, MAX);
        self.value = self.value.min(self.fits);
        self.creeps_until = now + CREEPS_FOR;
        self.saturated_until = now + SATURATED_FOR;
    }

    /// Whether its engine lately had more than it could do: a limit that is merely not yet found out
    /// may be exceeded, this one not.
    pub(crate) fn is_saturated(&self, now: Time) -> bool {
        now < self.saturated_until
    }

    pub(crate) fn failed_early(&mut self, now: Time) {
        self.cut(ERROR_CUT, now);
    }

    pub(crate) fn refused(&mut self, now: Time) {
        self.cut(LATE_CUT, now);
    }

    fn cut(&mut self, factor: f64, now: Time) {
        self.value = (self.value * factor).max(MIN);
        self.cut_at = Some(now);
    }

    /// Whole calls at once, at most what the provider offers.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value lies between 2 and 64"
    )]
    pub(crate) fn calls(&self, offered: u32) -> u32 {
        (self.value as u32).min(offered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: u32 = 1000;

    #[test]
    fn quick_first_tokens_raise_a_limit_in_use_up_to_its_bound() {
        let mut limit = Limit::default();
        for n in 0..3000 {
            let in_flight = limit.calls(OFFERED);
            limit.saw_first_token(0.1, 0.1, Time::from_micros(n), in_flight, Time::from_micros(n));
        }
        assert_eq!(limit.calls(OFFERED), 64);
        assert_eq!(limit.calls(20), 20, "never above the offer");
    }

    #[test]
    fn a_limit_nobody_uses_does_not_rise() {
        let mut limit = Limit::default();
        for n in 0..3000 {
            limit.saw_first_token(0.1, 0.1, Time::from_micros(n), 1, Time::from_micros(n));
        }
        assert_eq!(limit.calls(OFFERED), 8);
    }

    #[test]
    fn late_first_tokens_of_one_flight_cut_once() {
        let mut limit = Limit::default();
        let (start, end) = (Time::from_micros(10), Time::from_micros(500));
        for _ in 0..50 {
            limit.saw_first_token(9.0, 0.1, start, 8, end);
        }
        assert_eq!(limit.calls(OFFERED), 6);
        for n in 0..50 {
            let now = Time::from_micros(1000 + n);
            limit.saw_first_token(9.0, 0.1, now, 8, now);
        }
        assert_eq!(limit.calls(OFFERED), 2, "never below two");
    }

    #[test]
    fn an_engine_with_a_queue_gets_what_it_runs_and_hardly_more() {
        let mut limit = Limit::default();
        let grow = |limit: &mut Limit, calls: u64| {
            for n in 0..calls {
                let in_flight = limit.calls(OFFERED);
                limit.saw_first_token(0.1, 0.1, Time::from_micros(n), in_flight, Time::from_micros(n));
            }
        };
        grow(&mut limit, 200);
        assert!(limit.calls(OFFERED) > 30 && !limit.is_saturated(Time::default()));
        limit.saw_queue(12.5, Time::default());
        assert_eq!(limit.calls(OFFERED), 12);
        assert!(
            limit.is_saturated(Time::from_micros(599_999_999)) && !limit.is_saturated(Time::from_micros(600_000_000))
        );
        grow(&mut limit, 200);
        assert_eq!(limit.calls(OFFERED), 13);
        grow(&mut limit, 2000);
        assert!(limit.calls(OFFERED) > 20, "but it finds out when there is more");
    }

    #[test]
    fn early_errors_cut_harder_than_refusals() {
        let (mut failed, mut refused) = (Limit::default(), Limit::default());
        failed.failed_early(Time::from_micros(1));
        refused.refused(Time::from_micros(1));
        assert_eq!((failed.calls(OFFERED), refused.calls(OFFERED)), (5, 6));
    }
}
