//! The field's algorithms, as they are published or as their code does it: the baselines of the
//! proof. They get our hard filters, our capacity check, our plan's length and our deadlines, and
//! of what was observed only what they go by themselves.

use rand_core::Rng;

use crate::policy::Strategy;
use crate::pool::Pool;
use crate::route::eligible::{Barred, Gate};
use crate::route::sample;
use crate::route::score::cost_nano;
use crate::route::short_list::{Candidate, Candidates};

/// The candidates that the policy's baseline would try, in its order.
pub(crate) fn candidates<'a>(
    gate: Gate<'a>,
    pool: &'a Pool,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Candidates<'a>, Barred> {
    let mut barred = None;
    let mut eligible: Vec<usize> = Vec::with_capacity(pool.seats().len());
    for (at, seat) in pool.seats().iter().enumerate() {
        let why = gate.unfit(seat).map(Barred::Unfit);
        match why.or_else(|| gate.is_full(seat).then_some(Barred::Full)) {
            None => eligible.push(at),
            why => barred = barred.max(why),
        }
    }
    let mut found = Candidates::new();
    while found.len() < gate.policy.attempts() && !eligible.is_empty() {
        let chosen = eligible.swap_remove(choose(&gate, pool, &eligible, rng));
        found.push(Candidate::plain(&gate, &pool.seats()[chosen]));
    }
    if found.is_empty() {
        return Err(barred.unwrap_or(Barred::Full));
    }
    Ok(found)
}

/// The place in `eligible` of the one to try next. There is at least one.
fn choose(gate: &Gate<'_>, pool: &Pool, eligible: &[usize], rng: &mut (impl Rng + ?Sized)) -> usize {
    let now = gate.now;
    let seat = |place: usize| &pool.seats()[eligible[place]];
    let rival = |place: usize| seat(place).seen.rival.as_deref();
    let running = |place: usize| f64::from(seat(place).seen.in_flight);
    match gate.policy.strategy {
        Strategy::PeakEwma => {
            let load = |place| rival(place).map_or(0.0, |rival| rival.peak(now)) * (running(place) + 1.0);
            let first = sample::below(eligible.len(), rng);
            // Another one, each with the same chance.
            let second = (first + 1 + sample::below(eligible.len() - 1, rng)) % eligible.len();
            if load(second) < load(first) { second } else { first }
        }
        Strategy::RunningTimesAverage => least(eligible.len(), Ties::First, rng, |place| {
            running(place) * rival(place).map_or(0.0, |rival| rival.average(now))
        }),
        Strategy::RoundRobin => {
            let turn = |at: usize| (at < pool.next_in_turn(), at);
            (0..eligible.len())
                .min_by_key(|place| turn(eligible[*place]))
                .unwrap_or(0)
        }
        Strategy::InverseSquarePrice => {
            let weight = |place: usize| cost_nano(seat(place), gate.ask, now).max(1.0).powi(-2);
            let is_stable = |place: usize| !rival(place).is_some_and(|rival| rival.has_outage(now));
            let any_stable = (0..eligible.len()).any(is_stable);
            weighted(eligible.len(), rng, |place| {
                if !any_stable || is_stable(place) {
                    weight(place)
                } else {
                    0.0
                }
            })
        }
        Strategy::LeastOutstanding | Strategy::Filature => least(eligible.len(), Ties::Random, rng, running),
    }
}

/// Who is taken among equals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ties {
    /// The one found first, as Cocoon does.
    First,
    Random,
}

/// The place of the least figure.
fn least(places: usize, ties: Ties, rng: &mut (impl Rng + ?Sized), of: impl Fn(usize) -> f64) -> usize {
    let (mut best, mut least, mut equals) = (0, f64::INFINITY, 0);
    for place in 0..places {
        let figure = of(place);
        if figure < least {
            (best, least, equals) = (place, figure, 1);
        } else if ties == Ties::Random && figure <= least {
            equals += 1;
            if sample::below(equals, rng) == 0 {
                best = place;
            }
        }
    }
    best
}

/// A place at random, weighted.
fn weighted(places: usize, rng: &mut (impl Rng + ?Sized), weight: impl Fn(usize) -> f64) -> usize {
    /// 2^32.
    const RANGE: f64 = 4_294_967_296.0;
    let total: f64 = (0..places).map(&weight).sum();
    let mut left = total * f64::from(rng.next_u32()) / RANGE;
    let mut last = 0;
    for place in 0..places {
        let own = weight(place);
        if own > 0.0 {
            last = place;
            if left < own {
                return place;
            }
            left -= own;
        }
    }
    last
}
