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
use crate::score::{Forecast, cost_nano, forecast, score};
use crate::seat::Seat;
use crate::time::{Time, clamped_seconds};

/// Bounds of what a caller is told to wait when all are full.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// A plan names nobody whose expected cost exceeds this many times the reference J: the price the
/// call is held at covers the dearest of the plan. Chosen here: wide enough for any
/// honest difference in hardware and haste, so that failover stays; what is meant to harm is
/// thousands of times off.
const DEARER_MAX: f64 = 8.0;

/// What another attempt may cost beside that, nanoTON: two seconds at the default exchange rate of
/// 50,000 a second, about what an error and a new call cost the caller. It keeps attempts after
/// a provider that is free.
const DEARER_ALLOWANCE: f64 = 100_000.0;

/// A newcomer is explored if it costs no more than this many times what the best does: the caller
/// pays for a look he did not ask for. Chosen here.
const EXPLORED_MAX: f64 = 2.0;

/// What a look may cost beside that, nanoTON, or nobody would be explored beside a provider that is
/// free. Chosen here: at one call in a hundred it adds at most 100 nanoTON to the average call.
const EXPLORED_ALLOWANCE: f64 = 10_000.0;

/// Candidates that serve (no newcomers, no last resorts) from which on the second best J among them
/// is the reference. Chosen here: the least number that has a middle.
const QUORUM: usize = 3;

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
/// Providers out of proportion to the market are neither explored nor in the plan: a newcomer is
/// explored up to twice the expected cost of the best candidate, an attempt stays up to eight times
/// the reference J, each with a small allowance. The reference is the best J, or the second best
/// among three or more that have served of late. A model that only dear providers can serve now is
/// served by them.
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
    /// The one of least J that is no last resort, ready or crowded.
    cheapest: Option<Candidate<'a>>,
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
    /// J.
    expected: f64,
    /// J with its random factor.
    score: f64,
}

impl Candidate<'_> {
    fn is_sound(&self) -> bool {
        self.standing != Standing::LastResort
    }
}

impl<'a> ShortList<'a> {
    fn new(policy: &'a Policy, ask: &'a Ask<'a>, now: Time) -> Self {
        Self {
            policy,
            ask,
            now,
            best: SmallVec::new(),
            cheapest: None,
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
            expected,
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
        if candidate.is_sound() && self.cheapest.is_none_or(|cheapest| expected < cheapest.expected) {
            self.cheapest = Some(candidate);
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

    /// Now and then a newcomer comes first, or nothing would ever be learnt of it; but not at any
    /// price.
    fn newcomer(&self, rng: &mut (impl Rng + ?Sized)) -> Option<Candidate<'a>> {
        let newcomer = self.newcomer.filter(|_| sample::chance(self.policy.exploration, rng))?;
        let best_nano = cost_nano(self.cheapest?.seat, self.ask);
        let is_worth_it = cost_nano(newcomer.seat, self.ask) <= EXPLORED_MAX * best_nano + EXPLORED_ALLOWANCE;
        is_worth_it.then_some(newcomer)
    }

    /// The J that stands for the market. One free offer must not throw all others out, and a few
    /// absurd ones must not make each other look normal: so the second best counts, but only among
    /// those that serve, because an offer alone proves nothing.
    fn reference(&self) -> f64 {
        let (mut best, mut second, mut serving) = (f64::INFINITY, f64::INFINITY, 0);
        for candidate in &self.best {
            if candidate.is_sound() && !candidate.seat.seen.latency.is_newcomer(self.now) {
                second = second.min(candidate.expected.max(best));
                best = best.min(candidate.expected);
                serving += 1;
            }
        }
        match self.cheapest {
            Some(_) if serving >= QUORUM => second,
            Some(cheapest) => cheapest.expected,
            None => self.best.iter().map(|c| c.expected).fold(f64::INFINITY, f64::min),
        }
    }

    /// Drops whoever is out of proportion. Judged by cost, not J: somebody slow still saves a call.
    fn drop_the_absurd(&mut self) {
        let bound = DEARER_MAX * self.reference() + DEARER_ALLOWANCE;
        let ask = self.ask;
        // J is no less than the cost: mostly it answers already.
        self.best
            .retain(|candidate| candidate.expected <= bound || cost_nano(candidate.seat, ask) <= bound);
        if self.best.is_empty() {
            // Only absurd ones were ready: rather a crowded seat of the market than one of them.
            self.best.extend(self.cheapest);
        }
    }

    fn into_plan(mut self, first: Option<Candidate<'a>>) -> Result<Plan, Barred> {
        if let Some(first) = first {
            self.best.retain(|other| other.seat.provider != first.seat.provider);
            self.best.truncate(self.policy.attempts() - 1);
            self.best.insert(0, first);
        }
        self.drop_the_absurd();
        // One try with providers that failed or refused a moment ago, not four: where all are in
        // trouble, calls must not multiply.
        let sound = self.best.iter().filter(|candidate| candidate.is_sound()).count();
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
