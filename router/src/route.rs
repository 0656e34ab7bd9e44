//! Chooses which providers serve a call. Decides; never dials.

use std::time::Duration;

use rand_core::Rng;
use smallvec::SmallVec;
use thiserror::Error;

use crate::ask::Ask;
use crate::eligible::{Barred, Standing, Unfit, standing};
use crate::fleet::Fleet;
use crate::plan::{Attempt, Plan};
use crate::policy::{ATTEMPTS_MAX, Policy};
use crate::pool::Pool;
use crate::sample::{self, WHOLE_MAX};
use crate::score::{Forecast, forecast, score};
use crate::seat::Seat;
use crate::time::{Time, clamped_seconds};

/// Bounds of what a caller is told to wait when all are full.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Why a call has nowhere to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NoRoute {
    /// Nobody offers the model.
    #[error("nobody offers the model")]
    UnknownModel,
    /// Providers offer the model, but none fits the call.
    #[error("{reason}")]
    NoneEligible {
        /// What the provider that came nearest lacks.
        reason: Unfit,
    },
    /// Every provider that fits has as many calls as it takes.
    #[error("every provider of the model is at capacity")]
    Full {
        /// About when the first of them will have room.
        retry_after: Duration,
    },
}

/// Picks the providers for `ask`, best first, or says why none will do.
///
/// Equal `fleet`, `ask`, `now` and `rng` state give an equal plan. Pools of up to 64 providers are
/// scored whole; of larger ones 32 at random and those chosen last, so that the price of a decision
/// does not grow with the fleet.
///
/// # Errors
/// [`NoRoute::UnknownModel`] if nobody offers the model; [`NoRoute::NoneEligible`] if nobody's offer
/// fits; [`NoRoute::Full`] if all that fit are at capacity.
pub fn route(fleet: &Fleet, ask: &Ask<'_>, now: Time, rng: &mut (impl Rng + ?Sized)) -> Result<Plan, NoRoute> {
    let pool = fleet.pool(ask.model).ok_or(NoRoute::UnknownModel)?;
    let seats = pool.seats();
    let mut short_list = ShortList::new(fleet.policy(), ask, now);
    if seats.len() > WHOLE_MAX {
        for at in sample::draw(pool, rng) {
            short_list.consider(&seats[at], rng);
        }
        if !short_list.is_all_ready() {
            // Too few of the sample can take the call: walk on from a random place until there
            // are enough, at worst once around.
            short_list = ShortList::new(fleet.policy(), ask, now);
            let (after, before) = seats.split_at(sample::below(seats.len(), rng));
            for seat in before.iter().chain(after) {
                short_list.consider(seat, rng);
                if short_list.ready >= WHOLE_MAX {
                    break;
                }
            }
        }
    } else {
        for seat in seats {
            short_list.consider(seat, rng);
        }
    }
    let newcomer = short_list.newcomer(rng);
    short_list.into_plan(newcomer).map_err(|barred| match barred {
        Barred::Unfit(reason) => NoRoute::NoneEligible { reason },
        Barred::Full => NoRoute::Full {
            retry_after: retry_after(fleet.policy(), pool, ask, now),
        },
    })
}

/// The best few seats seen so far, in order.
struct ShortList<'a> {
    policy: &'a Policy,
    ask: &'a Ask<'a>,
    now: Time,
    best: SmallVec<[Candidate<'a>; ATTEMPTS_MAX]>,
    /// Ready seats considered.
    ready: usize,
    /// One of the ready newcomers, each with the same chance, and how many there were.
    newcomer: Option<Candidate<'a>>,
    newcomers: usize,
    /// The nearest miss.
    barred: Option<Barred>,
}

#[derive(Clone, Copy)]
struct Candidate<'a> {
    seat: &'a Seat,
    forecast: Forecast,
    standing: Standing,
    /// J with its random factor.
    score: f64,
}

impl<'a> ShortList<'a> {
    fn new(policy: &'a Policy, ask: &'a Ask<'a>, now: Time) -> Self {
        Self {
            policy,
            ask,
            now,
            best: SmallVec::new(),
            ready: 0,
            newcomer: None,
            newcomers: 0,
            barred: None,
        }
    }

    fn consider(&mut self, seat: &'a Seat, rng: &mut (impl Rng + ?Sized)) {
        let standing = match standing(self.policy, seat, self.ask, self.now) {
            Ok(standing) => standing,
            Err(barred) => {
                self.barred = self.barred.max(Some(barred));
                return;
            }
        };
        let forecast = forecast(seat, self.ask, self.now);
        // At least one nano, so that free providers differ by their random factor too.
        let expected = score(seat, self.ask, &forecast, self.now).max(1.0);
        let candidate = Candidate {
            seat,
            forecast,
            standing,
            score: expected * sample::log_normal(self.policy.jitter, rng),
        };
        if standing == Standing::Ready {
            self.ready += 1;
            if seat.seen.latency.is_newcomer(self.now) {
                self.newcomers += 1;
                if sample::below(self.newcomers, rng) == 0 {
                    self.newcomer = Some(candidate);
                }
            }
        }
        self.insert(candidate);
    }

    fn insert(&mut self, candidate: Candidate<'a>) {
        let is_better = |other: &Candidate<'_>| (other.standing, other.score) <= (candidate.standing, candidate.score);
        let at = self.best.iter().take_while(|other| is_better(other)).count();
        if at < self.policy.attempts() {
            self.best.truncate(self.policy.attempts() - 1);
            self.best.insert(at, candidate);
        }
    }

    fn is_all_ready(&self) -> bool {
        self.ready >= self.policy.attempts()
    }

    /// Now and then a newcomer comes first, or nothing would ever be learnt of it.
    fn newcomer(&self, rng: &mut (impl Rng + ?Sized)) -> Option<Candidate<'a>> {
        self.newcomer.filter(|_| sample::chance(self.policy.exploration, rng))
    }

    fn into_plan(mut self, first: Option<Candidate<'a>>) -> Result<Plan, Barred> {
        if let Some(first) = first {
            self.best.retain(|other| other.seat.provider != first.seat.provider);
            self.best.truncate(self.policy.attempts() - 1);
            self.best.insert(0, first);
        }
        // One try with providers that failed or refused a moment ago, not four: where all are in
        // trouble, calls must not multiply.
        let sound = |candidate: &&Candidate<'_>| candidate.standing != Standing::LastResort;
        let sound = self.best.iter().filter(sound).count();
        self.best.truncate(sound + 1);
        if self.best.is_empty() {
            return Err(self.barred.unwrap_or(Barred::Full));
        }
        let attempt = |c: &Candidate<'_>| Attempt::new(self.policy, c.seat, self.ask, &c.forecast);
        Ok(Plan {
            attempts: self.best.iter().map(attempt).collect(),
        })
    }
}

/// With n calls at work that take s seconds each, one ends about every s/n.
fn retry_after(policy: &Policy, pool: &Pool, ask: &Ask<'_>, now: Time) -> Duration {
    let completion = f64::from(ask.completion_expected());
    let soonest_s = pool
        .seats()
        .iter()
        .filter(|seat| standing(policy, seat, ask, now) == Err(Barred::Full))
        .map(|seat| {
            let expected = forecast(seat, ask, now);
            let call_s = expected.first_token_s + completion * expected.gap_s;
            call_s / seat.load(now).max(1.0)
        })
        .fold(f64::INFINITY, f64::min);
    clamped_seconds(soonest_s, RETRY_AFTER_MIN, RETRY_AFTER_MAX)
}
