//! Chooses which providers serve a call. Decides; never dials.

mod baseline;
pub(crate) mod eligible;
pub(crate) mod sample;
pub(crate) mod score;
pub(crate) mod short_list;

use std::time::Duration;

use rand_core::Rng;
use smallvec::SmallVec;
use thiserror::Error;

use crate::ask::Ask;
use crate::fleet::Fleet;
use crate::plan::Plan;
use crate::policy::{ATTEMPTS_MAX, Strategy};
use crate::pool::Pool;
use crate::route::eligible::{Barred, Gate, Unfit};
use crate::route::sample::WHOLE_MAX;
use crate::route::score::forecast;
use crate::route::short_list::{Candidate, Candidates, ShortList};
use crate::time::{Time, clamped_seconds};

/// Bounds of what a caller is told to wait when all are full.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Seats that are enough to tell it from. Chosen here: refusing must stay cheap when all are full.
const RETRY_AFTER_SEATS: usize = 256;

/// Why a call has nowhere to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NoRoute {
    /// Nobody offers the model, nor a fallback.
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
/// scored whole; of larger ones 32 at random, those chosen last, those that the caller names and
/// those that have seen the prompt's opening, so that the price of a decision does not grow with
/// the fleet.
///
/// Where the call has fallbacks, a plan goes through the models in order, and keeps at least one
/// attempt for the next model that can serve.
///
/// Providers out of proportion to the market are neither explored nor in the plan, unless the
/// caller named them: a newcomer is explored up to twice the expected cost of the best candidate,
/// an attempt stays up to eight times the reference J, each with a small allowance. The reference
/// is the best J, or the second best among three or more that have served of late. A model that
/// only dear providers can serve now is served by them.
///
/// # Errors
/// [`NoRoute::UnknownModel`] if nobody offers the model; [`NoRoute::NoneEligible`] if nobody's offer
/// fits; [`NoRoute::Full`] if all that fit are at capacity. With fallbacks: what is wrong with the
/// first model that is known.
pub fn route(fleet: &Fleet, ask: &Ask<'_>, now: Time, rng: &mut (impl Rng + ?Sized)) -> Result<Plan, NoRoute> {
    if ask.fallbacks.is_empty() {
        let candidates = candidates(fleet, ask, now, rng)?;
        return Ok(Plan::of(fleet.policy(), ask, &candidates, now));
    }
    let mut asks: SmallVec<[Ask<'_>; ATTEMPTS_MAX]> = SmallVec::from_slice(&[*ask]);
    for model in ask.fallbacks {
        if asks.iter().all(|other| other.model != &**model) {
            asks.push(Ask { model, ..*ask });
        }
    }
    let mut lists: SmallVec<[Candidates<'_>; ATTEMPTS_MAX]> = SmallVec::new();
    let mut error = NoRoute::UnknownModel;
    for ask in &asks {
        match candidates(fleet, ask, now, rng) {
            Ok(candidates) => lists.push(candidates),
            Err(why) if error == NoRoute::UnknownModel => error = why,
            Err(_) => {}
        }
        if lists.len() == ATTEMPTS_MAX {
            break;
        }
    }
    let plan = Plan::of(fleet.policy(), ask, &in_turn(fleet.policy().attempts(), &lists), now);
    if plan.attempts.is_empty() { Err(error) } else { Ok(plan) }
}

/// One list of candidates of several models in order. Each model leaves an attempt to the next.
fn in_turn<'a>(attempts_max: usize, lists: &[Candidates<'a>]) -> Candidates<'a> {
    let mut turn = Candidates::new();
    let mut lists_left = lists.iter().filter(|list| list[0].is_sound()).count();
    for list in lists.iter().filter(|list| list[0].is_sound()) {
        lists_left -= 1;
        let left = attempts_max - turn.len();
        let own = left.saturating_sub(lists_left.min(1)).max(left.min(1));
        let sound = list.iter().filter(|candidate| candidate.is_sound());
        // Another model of a provider that has just failed is the worse choice.
        let was_named = |own: &Candidate<'_>| turn.iter().any(|other| other.seat.provider == own.seat.provider);
        let (again, new): (Candidates<'_>, Candidates<'_>) = sound.copied().partition(was_named);
        turn.extend(new.into_iter().chain(again).take(own));
    }
    if turn.len() < attempts_max {
        let last_resorts = lists.iter().flatten().filter(|candidate| !candidate.is_sound());
        turn.extend(last_resorts.take(1).copied());
    }
    turn
}

/// The candidates of one model in the order in which to try them.
fn candidates<'a>(
    fleet: &'a Fleet,
    ask: &'a Ask<'a>,
    now: Time,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Candidates<'a>, NoRoute> {
    let pool = fleet.pool(ask.model).ok_or(NoRoute::UnknownModel)?;
    let gate = Gate::new(fleet.policy(), pool, ask, now);
    let found = if fleet.policy().strategy == Strategy::Filature {
        let mut list = look(gate, pool, rng);
        if list.ready == 0 && gate.has_probation() {
            // Nobody who has proven himself is ready: who knows what newcomers can do?
            list = look(gate.without_probation(), pool, rng);
        }
        list.into_candidates(rng)
    } else {
        baseline::candidates(gate, pool, rng)
    };
    found.map_err(|barred| match barred {
        Barred::Unfit(reason) => NoRoute::NoneEligible { reason },
        Barred::Full => NoRoute::Full {
            retry_after: retry_after(&gate, pool),
        },
    })
}

/// Looks at the seats of a pool, or at enough of them.
fn look<'a>(gate: Gate<'a>, pool: &'a Pool, rng: &mut (impl Rng + ?Sized)) -> ShortList<'a> {
    let seats = pool.seats();
    let mut looked = Looked::new(gate, pool);
    if seats.len() <= WHOLE_MAX {
        for at in 0..seats.len() {
            looked.at(at, rng);
        }
    } else if let Some((list, reason)) = gate.ask.preferences.and_then(|wishes| wishes.restriction()) {
        looked.list.bar(reason);
        for at in pool.named(list) {
            looked.at(at, rng);
        }
    } else {
        let named = gate
            .ask
            .preferences
            .map(|wishes| pool.named(&wishes.order))
            .unwrap_or_default();
        for at in sample::draw(pool, &named, rng) {
            looked.at(at, rng);
        }
        if !looked.list.is_all_ready() {
            // Too few of the sample can take the call: walk on from a random place until there
            // are enough, at worst once around.
            looked = Looked::new(gate, pool);
            for at in &named {
                looked.at(*at, rng);
            }
            let from = sample::below(seats.len(), rng);
            for at in (from..seats.len()).chain(0..from) {
                if !named.contains(&at) {
                    looked.at(at, rng);
                }
                if looked.list.ready >= WHOLE_MAX {
                    break;
                }
            }
        }
    }
    looked.finish(rng)
}

/// A short list in the making. Seats that have seen the prompt's opening are looked at last: what
/// they save counts only beside what the others have to do.
struct Looked<'a> {
    list: ShortList<'a>,
    pool: &'a Pool,
    now: Time,
    /// Positions, and tokens seen.
    holders: SmallVec<[(usize, u32); 2]>,
    loads: f64,
    seats: f64,
}

impl<'a> Looked<'a> {
    fn new(gate: Gate<'a>, pool: &'a Pool) -> Self {
        let holders = gate.ask.prefix.map(|prefix| pool.holders(prefix, gate.now));
        Self {
            list: ShortList::new(gate),
            pool,
            now: gate.now,
            holders: holders.unwrap_or_default(),
            loads: 0.0,
            seats: 0.0,
        }
    }

    fn at(&mut self, at: usize, rng: &mut (impl Rng + ?Sized)) {
        let seat = &self.pool.seats()[at];
        if !self.holders.is_empty() {
            if self.holders.iter().any(|(holder, _)| *holder == at) {
                return;
            }
            self.count(at);
        }
        self.list.consider(seat, rng);
    }

    fn count(&mut self, at: usize) {
        self.loads += self.pool.seats()[at].load(self.now);
        self.seats += 1.0;
    }

    fn finish(mut self, rng: &mut (impl Rng + ?Sized)) -> ShortList<'a> {
        let holders = std::mem::take(&mut self.holders);
        for (at, _) in &holders {
            self.count(*at);
        }
        for (at, tokens) in holders {
            let mean_load = self.loads / self.seats;
            self.list
                .consider_holder(&self.pool.seats()[at], tokens, mean_load, rng);
        }
        self.list
    }
}

/// When the first of the full seats, or of a part of them that tells as much, will have room.
fn retry_after(gate: &Gate<'_>, pool: &Pool) -> Duration {
    let step = pool.seats().len() / RETRY_AFTER_SEATS + 1;
    let mut soonest_s = soonest_s(gate, pool, step);
    if soonest_s.is_infinite() && step > 1 {
        soonest_s = self::soonest_s(gate, pool, 1);
    }
    clamped_seconds(soonest_s, RETRY_AFTER_MIN, RETRY_AFTER_MAX)
}

/// With n calls at work that take s seconds each, one ends about every s/n.
fn soonest_s(gate: &Gate<'_>, pool: &Pool, step: usize) -> f64 {
    let completion = f64::from(gate.ask.completion_expected());
    pool.seats()
        .iter()
        .step_by(step)
        .filter(|seat| gate.standing(seat) == Err(Barred::Full))
        .map(|seat| {
            let expected = forecast(seat, gate.ask.prompt_tokens, gate.now);
            let call_s = expected.first_token_s + completion * expected.gap_s;
            call_s / seat.load(gate.now).max(1.0)
        })
        .fold(f64::INFINITY, f64::min)
}
