//! Which seats may serve a call at all, and how gladly.

use std::fmt;

use crate::ask::Ask;
use crate::offer::Price;
use crate::policy::Policy;
use crate::pool::Pool;
use crate::preferences::{PriceMax, names};
use crate::seat::Seat;
use crate::seat::breaker::BreakerState;
use crate::sets::{Capabilities, Precisions};
use crate::time::Time;

/// Calls at once that a provider on probation gets gladly. Chosen here: one shows whether it
/// serves, two whether it serves at once.
const PROBATION_CALLS: u32 = 2;

/// A first token is doubtful when it is at least this many seconds late, and this many times as late
/// as one in twenty is. Chosen here: a stall shows after a second or two, where others are idle.
const LATE_MIN_S: f64 = 1.0;
const LATE_TIMES: f64 = 2.0;

/// Why no provider of a model can serve a call, however idle it is. Of several reasons the last in
/// this order is told: it belongs to the provider that came nearest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Unfit {
    /// It is not in the caller's `only`.
    Only,
    /// It is in the caller's `ignore`.
    Ignore,
    /// It is not in the caller's `order`, and the caller allows nobody else.
    Order,
    /// It does not serve the model on this endpoint.
    Endpoint,
    /// It lacks something the call needs: tools, a JSON schema, log probabilities, images, or with
    /// `require_parameters` a sampling parameter.
    Capability,
    /// It may keep prompts, and the caller forbids that.
    Private,
    /// Its class of quantisation is none of the caller's.
    Precision,
    /// Its quantisation is not that of the answer to be continued.
    Quantization,
    /// It does not allow that many completion tokens.
    Output,
    /// Prompt and completion do not fit its context.
    Context,
    /// It asks more than the caller's `max_price`.
    MaxPrice,
    /// It asks more than the call's hold covers.
    Ceiling,
    /// It is draining. Passes by itself.
    Draining,
    /// It was tried already.
    Excluded,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Only => "no provider of the model is in `provider.only`",
            Self::Ignore => "every provider of the model is in `provider.ignore`",
            Self::Order => "no provider of the model is in `provider.order`, and `provider.allow_fallbacks` is false",
            Self::Endpoint => "no provider serves the model on this endpoint",
            Self::Capability => {
                "no provider of the model supports a feature the call uses, or a parameter that \
                 `provider.require_parameters` demands"
            }
            Self::Private => "no provider of the model meets `provider.data_collection`: \"deny\"",
            Self::Precision => "no provider of the model is in one of `provider.quantizations`",
            Self::Quantization => "no other provider of the model has the quantisation of the answer so far",
            Self::Output => "no provider of the model allows that many completion tokens",
            Self::Context => "prompt and completion tokens exceed the context of every provider",
            Self::MaxPrice => "no provider of the model is within `provider.max_price`",
            Self::Ceiling => "no other provider of the model is within what is held for the call",
            Self::Draining => "every provider of the model is shutting down",
            Self::Excluded => "every provider of the model that fits the call was tried",
        })
    }
}

/// How gladly an eligible seat takes a call; the better stand first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Standing {
    /// Breaker closed (or ready for a probe), below its adaptive limit.
    Ready,
    /// The same, but it has not proven itself while others have, or a call waits there for its
    /// first token long past its time.
    Doubtful,
    /// At its adaptive limit but below what it offered.
    Crowded,
    /// Breaker open, or it said a moment ago that it is full: only where nothing else is left.
    LastResort,
}

/// Why a seat is out of the question.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Barred {
    Unfit(Unfit),
    /// It would do, but has as many calls as it takes.
    Full,
}

/// Decides for one call and pool which seats come in.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) ask: &'a Ask<'a>,
    pub(crate) now: Time,
    /// Whether there are wishes beyond what the model itself demands: mostly there are none.
    is_picky: bool,
    has_probation: bool,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(policy: &'a Policy, pool: &Pool, ask: &'a Ask<'a>, now: Time) -> Self {
        Self {
            policy,
            ask,
            now,
            is_picky: ask.preferences.is_some()
                || !ask.excluded.is_empty()
                || ask.ceiling.is_some()
                || ask.quantization.is_some(),
            has_probation: pool.has_probation(),
        }
    }

    /// The same, with newcomers as good as anybody.
    pub(crate) fn without_probation(self) -> Self {
        Self {
            has_probation: false,
            ..self
        }
    }

    pub(crate) fn has_probation(&self) -> bool {
        self.has_probation
    }

    /// The hard filter that `seat` fails, of several the first. Load does not matter here.
    pub(crate) fn unfit(&self, seat: &Seat) -> Option<Unfit> {
        let basic = unfit_offer(seat, self.ask);
        if !self.is_picky {
            return basic;
        }
        unfit_wishes(seat, self.ask).into_iter().chain(basic).min()
    }

    /// Whether `seat` has as many calls as it offered to take.
    pub(crate) fn is_full(&self, seat: &Seat) -> bool {
        seat.load(self.now) >= f64::from(seat.offer.concurrency_max)
    }

    /// Whether others have proven themselves and this one has not.
    pub(crate) fn is_on_probation(&self, seat: &Seat) -> bool {
        self.has_probation && !seat.seen.is_proven()
    }

    /// Whether the adaptive limit of `seat` may not be exceeded.
    fn is_limit_hard(&self, seat: &Seat) -> bool {
        !self.policy.beyond_limit || seat.seen.limit.is_saturated(self.now) || seat.seen.is_behind(self.now)
    }

    /// How gladly `seat` takes the call, or why it is barred.
    pub(crate) fn standing(&self, seat: &Seat) -> Result<Standing, Barred> {
        if let Some(reason) = self.unfit(seat) {
            return Err(Barred::Unfit(reason));
        }
        let is_on_probation = self.is_on_probation(seat);
        let limit = seat.limit();
        let limit = if is_on_probation {
            limit.min(PROBATION_CALLS)
        } else {
            limit
        };
        let is_crowded = seat.seen.taken() >= limit;
        if self.is_full(seat) || (is_crowded && self.is_limit_hard(seat)) {
            return Err(Barred::Full);
        }
        let is_open = seat.seen.breaker.state(self.now) == BreakerState::Open;
        Ok(if is_open || seat.seen.backoff.is_active(self.now) {
            Standing::LastResort
        } else if is_crowded || seat.cache_is_full(self.now) {
            Standing::Crowded
        } else if is_on_probation || is_late(seat, self.now) {
            Standing::Doubtful
        } else {
            Standing::Ready
        })
    }
}

/// Whether a first token is so late that the seat may have stopped: its deadline is still far.
fn is_late(seat: &Seat, now: Time) -> bool {
    seat.seen.waiting.oldest().is_some_and(|call| {
        let waited_s = now.saturating_since(call.started).as_secs_f64();
        let expected_s = seat.seen.latency.first_token_s(call.tokens_ahead, call.prompt_tokens);
        waited_s > expected_s + LATE_MIN_S && waited_s > LATE_TIMES * seat.seen.tail.late_s(expected_s)
    })
}

/// What the call demands of any provider. In the order of [`Unfit`].
fn unfit_offer(seat: &Seat, ask: &Ask<'_>) -> Option<Unfit> {
    let offer = &seat.offer;
    // A call that may complete at all needs room for one token.
    let completion = ask.completion_tokens_min.max(ask.completion_tokens_max.min(1));
    if !offer.endpoints.contains(ask.endpoint) {
        Some(Unfit::Endpoint)
    } else if !offer.can.contains(ask.needs) {
        Some(Unfit::Capability)
    } else if offer.output_tokens_max < completion {
        Some(Unfit::Output)
    } else if u64::from(offer.context_tokens_max) < u64::from(ask.prompt_tokens) + u64::from(completion) {
        Some(Unfit::Context)
    } else if seat.draining {
        Some(Unfit::Draining)
    } else {
        None
    }
}

/// What the caller, or the call's past, demands beyond that. In the order of [`Unfit`].
fn unfit_wishes(seat: &Seat, ask: &Ask<'_>) -> Option<Unfit> {
    let (offer, id) = (&seat.offer, seat.provider.as_str());
    let precision = if offer.precision.is_empty() {
        Precisions::UNKNOWN
    } else {
        offer.precision
    };
    let has_label = |label: &str| offer.quantization.as_ref().map_or("", |own| own.as_str()) == label;
    let wishes = ask.preferences;
    let any_names = |list: &[Box<str>]| list.iter().any(|entry| names(entry, id));
    if wishes.is_some_and(|w| !w.only.is_empty() && !any_names(&w.only)) {
        Some(Unfit::Only)
    } else if wishes.is_some_and(|w| any_names(&w.ignore)) {
        Some(Unfit::Ignore)
    } else if wishes.is_some_and(|w| !w.allow_fallbacks && !w.order.is_empty() && !any_names(&w.order)) {
        Some(Unfit::Order)
    } else if wishes.is_some_and(|w| w.private_only && !offer.can.contains(Capabilities::PRIVATE)) {
        Some(Unfit::Private)
    } else if wishes.is_some_and(|w| !w.precisions.is_empty() && !w.precisions.overlaps(precision)) {
        Some(Unfit::Precision)
    } else if ask.quantization.is_some_and(|label| !has_label(label)) {
        Some(Unfit::Quantization)
    } else if wishes.is_some_and(|w| !is_within(&offer.price, &w.price_max)) {
        Some(Unfit::MaxPrice)
    } else if ask.ceiling.is_some_and(|most| offer.price.dearest(most) != most) {
        Some(Unfit::Ceiling)
    } else if ask.excluded.iter().any(|tried| tried.as_str() == id) {
        Some(Unfit::Excluded)
    } else {
        None
    }
}

/// A provider itself claims which tokens were cached or reasoning: each counts at the dearer price.
fn is_within(price: &Price, most: &PriceMax) -> bool {
    let is_within = |asked: u64, most: Option<u64>| most.is_none_or(|most| asked <= most);
    is_within(price.prompt.max(price.cached_prompt), most.prompt)
        && is_within(price.completion.max(price.reasoning), most.completion)
        && is_within(price.call, most.call)
}
