//! The best few seats of one pool for one call, without those out of proportion to the market.

use rand_core::Rng;
use smallvec::SmallVec;

use crate::policy::ATTEMPTS_MAX;
use crate::pool::affinity::{is_overrun, left_to_do};
use crate::preferences::UNORDERED;
use crate::route::eligible::{Barred, Gate, Standing, Unfit};
use crate::route::sample;
use crate::route::score::{Forecast, cost_nano, forecast, score};
use crate::seat::Seat;

/// A plan names nobody whose expected cost exceeds this many times the reference J: the price the
/// call is held at covers the dearest of the plan. Chosen here: wide enough for any
/// honest difference in hardware and haste, so that failover stays; what is meant to harm is
/// thousands of times off.
const DEARER_MAX: f64 = 8.0;

/// What another attempt may cost beside that, nanoTON: some five seconds at the default exchange rate of
/// 22,000 a second, about what an error and a new call cost the caller. It keeps attempts after
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

/// Candidates, best first.
pub(crate) type Candidates<'a> = SmallVec<[Candidate<'a>; ATTEMPTS_MAX]>;

/// A seat that may serve the call.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) seat: &'a Seat,
    pub(crate) standing: Standing,
    pub(crate) forecast: Forecast,
    /// Prompt tokens it has to work through.
    pub(crate) prefill_tokens: u32,
    /// Whether the caller named it.
    is_named: bool,
    /// What comes before the score: see [`class`].
    class: u32,
    /// J.
    expected: f64,
    /// What is sorted by.
    rank: f64,
}

impl<'a> Candidate<'a> {
    /// A candidate that was chosen otherwise than by score.
    pub(crate) fn plain(gate: &Gate<'a>, seat: &'a Seat) -> Self {
        let prefill_tokens = gate.ask.prompt_tokens;
        Self {
            seat,
            standing: Standing::Ready,
            forecast: forecast(seat, prefill_tokens, gate.now),
            prefill_tokens,
            is_named: false,
            class: 0,
            expected: 0.0,
            rank: 0.0,
        }
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.standing != Standing::LastResort
    }
}

/// What comes before the score, the lower the better: last resorts come last; then the caller's
/// order; then whether its thresholds are met; then how gladly the seat takes the call.
fn class(standing: Standing, place: u16, misses: bool) -> u32 {
    let is_last = u32::from(standing == Standing::LastResort);
    is_last << 24 | u32::from(place) << 8 | u32::from(misses) << 4 | standing as u32
}

/// The best few seats seen so far, in order.
pub(crate) struct ShortList<'a> {
    gate: Gate<'a>,
    best: Candidates<'a>,
    attempts: usize,
    /// The one of least J that is no last resort, ready or crowded.
    cheapest: Option<Candidate<'a>>,
    /// Ready seats considered.
    pub(crate) ready: usize,
    /// One of the newcomers that could take the call, each with the same chance, and how many there
    /// were.
    newcomer: Option<Candidate<'a>>,
    newcomers: usize,
    /// The nearest miss.
    barred: Option<Barred>,
}

impl<'a> ShortList<'a> {
    pub(crate) fn new(gate: Gate<'a>) -> Self {
        let wishes = gate.ask.preferences;
        let is_single = wishes.is_some_and(|wishes| !wishes.allow_fallbacks && wishes.order.is_empty());
        Self {
            gate,
            best: Candidates::new(),
            attempts: if is_single { 1 } else { gate.policy.attempts() },
            cheapest: None,
            ready: 0,
            newcomer: None,
            newcomers: 0,
            barred: None,
        }
    }

    /// Notes why seats that were not even looked at are out.
    pub(crate) fn bar(&mut self, reason: Unfit) {
        self.barred = self.barred.max(Some(Barred::Unfit(reason)));
    }

    /// Looks at a seat that has nothing of the prompt in its cache.
    pub(crate) fn consider(&mut self, seat: &'a Seat, rng: &mut (impl Rng + ?Sized)) {
        self.consider_with(seat, self.gate.ask.prompt_tokens, rng);
    }

    /// Looks at a seat that has seen `cached` tokens of such prompts, beside others that have
    /// `mean_load` to do.
    pub(crate) fn consider_holder(
        &mut self,
        seat: &'a Seat,
        cached: u32,
        mean_load: f64,
        rng: &mut (impl Rng + ?Sized),
    ) {
        let prompt_tokens = self.gate.ask.prompt_tokens;
        let left = if is_overrun(seat.load(self.gate.now), mean_load) {
            prompt_tokens
        } else {
            left_to_do(prompt_tokens, cached)
        };
        self.consider_with(seat, left, rng);
    }

    fn consider_with(&mut self, seat: &'a Seat, prefill_tokens: u32, rng: &mut (impl Rng + ?Sized)) {
        let standing = match self.gate.standing(seat) {
            Ok(standing) => standing,
            Err(barred) => {
                self.barred = self.barred.max(Some(barred));
                return;
            }
        };
        let Gate { policy, ask, now, .. } = self.gate;
        let forecast = forecast(seat, prefill_tokens, now);
        let score = score(seat, ask, &forecast, sample::log_normal(policy.jitter, rng), now);
        let (place, misses, is_named) = self.wishes(seat);
        let candidate = Candidate {
            seat,
            standing,
            forecast,
            prefill_tokens,
            is_named,
            class: class(standing, place, misses),
            expected: score.expected,
            rank: score.rank,
        };
        self.ready += usize::from(standing == Standing::Ready);
        let is_unknown = seat.seen.latency.is_newcomer(now) || self.gate.is_on_probation(seat);
        if standing <= Standing::Doubtful && is_unknown {
            self.newcomers += 1;
            if sample::below(self.newcomers, rng) == 0 {
                self.newcomer = Some(candidate);
            }
        }
        let is_cheaper = |other: Candidate<'_>| candidate.expected < other.expected;
        if candidate.is_sound() && self.cheapest.is_none_or(is_cheaper) {
            self.cheapest = Some(candidate);
        }
        self.insert(candidate);
    }

    /// The seat's place in the caller's order, whether it misses a threshold, and whether it is named.
    fn wishes(&self, seat: &Seat) -> (u16, bool, bool) {
        let Some(wishes) = self.gate.ask.preferences else {
            return (UNORDERED, false, false);
        };
        let place = wishes.place(seat.provider.as_str());
        let misses = wishes.has_thresholds()
            && seat
                .seen
                .history
                .as_ref()
                .is_some_and(|history| !history.meets(&wishes.throughput_min, &wishes.latency_max, self.gate.now));
        // Whoever passed the gate is in `only`, if there is one.
        (place, misses, place != UNORDERED || !wishes.only.is_empty())
    }

    fn insert(&mut self, candidate: Candidate<'a>) {
        let is_better = |other: &Candidate<'_>| (other.class, other.rank) <= (candidate.class, candidate.rank);
        let at = self.best.iter().take_while(|other| is_better(other)).count();
        if at < self.attempts {
            self.best.truncate(self.attempts - 1);
            self.best.insert(at, candidate);
        }
    }

    pub(crate) fn is_all_ready(&self) -> bool {
        self.ready >= self.attempts
    }

    /// Now and then a newcomer comes first, or nothing would ever be learnt of it; but not at any
    /// price, and not where the caller says who comes first.
    fn newcomer(&self, rng: &mut (impl Rng + ?Sized)) -> Option<Candidate<'a>> {
        let policy = self.gate.policy;
        let exploration = policy.exploration / f64::from(policy.replicas.max(1));
        let newcomer = self.newcomer.filter(|_| sample::chance(exploration, rng))?;
        let wishes = self.gate.ask.preferences;
        if wishes.is_some_and(|wishes| wishes.sort.is_some() || !wishes.order.is_empty() || !wishes.allow_fallbacks) {
            return None;
        }
        let best_nano = cost_nano(self.cheapest?.seat, self.gate.ask, self.gate.now);
        let is_worth_it =
            cost_nano(newcomer.seat, self.gate.ask, self.gate.now) <= EXPLORED_MAX * best_nano + EXPLORED_ALLOWANCE;
        is_worth_it.then_some(newcomer)
    }

    /// The J that stands for the market. One free offer must not throw all others out, and a few
    /// absurd ones must not make each other look normal: so the second best counts, but only among
    /// those that serve, because an offer alone proves nothing.
    fn reference(&self) -> f64 {
        let (mut best, mut second, mut serving) = (f64::INFINITY, f64::INFINITY, 0);
        for candidate in &self.best {
            if candidate.is_sound() && !candidate.seat.seen.latency.is_newcomer(self.gate.now) {
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

    /// Drops whoever is out of proportion and was not named by the caller. Judged by cost, not J:
    /// somebody slow still saves a call.
    fn drop_the_absurd(&mut self) {
        let bound = DEARER_MAX * self.reference() + DEARER_ALLOWANCE;
        let Gate { ask, now, .. } = self.gate;
        // J is no less than the cost: mostly it answers already.
        let is_in_proportion =
            |c: &Candidate<'_>| c.is_named || c.expected <= bound || cost_nano(c.seat, ask, now) <= bound;
        self.best.retain(|candidate| is_in_proportion(candidate));
        if self.best.is_empty() {
            // Only absurd ones were ready: rather a crowded seat of the market than one of them.
            self.best.extend(self.cheapest);
        }
    }

    /// The candidates in the order in which to try them, at most one of them a last resort.
    pub(crate) fn into_candidates(mut self, rng: &mut (impl Rng + ?Sized)) -> Result<Candidates<'a>, Barred> {
        if let Some(first) = self.newcomer(rng) {
            self.best.retain(|other| other.seat.provider != first.seat.provider);
            self.best.truncate(self.attempts - 1);
            self.best.insert(0, first);
        }
        let is_sound_one_full = self.barred == Some(Barred::Full);
        if is_sound_one_full && self.best.iter().all(|candidate| !candidate.is_sound()) {
            // Rather a moment in the queue than a provider that failed or refused just now.
            return Err(Barred::Full);
        }
        self.drop_the_absurd();
        // One try with providers that failed or refused a moment ago, not four: where all are in
        // trouble, calls must not multiply.
        let sound = self.best.iter().filter(|candidate| candidate.is_sound()).count();
        self.best.truncate(sound + 1);
        if self.best.is_empty() {
            return Err(self.barred.unwrap_or(Barred::Full));
        }
        Ok(self.best)
    }
}
