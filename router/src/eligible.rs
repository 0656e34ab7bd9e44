//! Which seats may serve a call at all, and how gladly.

use std::fmt;

use crate::ask::Ask;
use crate::breaker::BreakerState;
use crate::policy::Policy;
use crate::seat::Seat;
use crate::time::Time;

/// Why no provider of a model can serve a call, however idle it is. Of several reasons the last in
/// this order is told: it belongs to the provider that came nearest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Unfit {
    /// It does not serve the model on this endpoint.
    Endpoint,
    /// It lacks something the call needs: tools, a JSON schema, log probabilities, images.
    Capability,
    /// It does not allow that many completion tokens.
    Output,
    /// Prompt and completion do not fit its context.
    Context,
    /// It is draining. Passes by itself.
    Draining,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Endpoint => "no provider serves the model on this endpoint",
            Self::Capability => "no provider of the model supports a feature the call uses",
            Self::Output => "no provider of the model allows that many completion tokens",
            Self::Context => "prompt and completion tokens exceed the context of every provider",
            Self::Draining => "every provider of the model is shutting down",
        })
    }
}

/// How gladly an eligible seat takes a call; the better stand first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Standing {
    /// Breaker closed (or ready for a probe), below its adaptive limit.
    Ready,
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

/// The hard filters that do not depend on load.
pub(crate) fn unfit(seat: &Seat, ask: &Ask<'_>) -> Option<Unfit> {
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

/// How gladly `seat` takes the call, or why it is barred.
pub(crate) fn standing(policy: &Policy, seat: &Seat, ask: &Ask<'_>, now: Time) -> Result<Standing, Barred> {
    if let Some(reason) = unfit(seat, ask) {
        return Err(Barred::Unfit(reason));
    }
    let is_crowded = seat.seen.in_flight >= seat.limit();
    if seat.load(now) >= f64::from(seat.offer.concurrency_max) || (is_crowded && !policy.beyond_limit) {
        return Err(Barred::Full);
    }
    let is_open = seat.seen.breaker.state(now) == BreakerState::Open;
    Ok(if is_open || seat.seen.backoff.is_active(now) {
        Standing::LastResort
    } else if is_crowded {
        Standing::Crowded
    } else {
        Standing::Ready
    })
}
