//! A seat: one provider serving one model. What it offers, what it claims, what was seen of it.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::breaker::Breaker;
use crate::errors::Errors;
use crate::estimate::{Latency, WholeAnswer};
use crate::event::End;
use crate::limit::Limit;
use crate::offer::{OfferedModel, ProviderId};
use crate::time::Time;
use crate::waiting::Waiting;

/// How long a heartbeat counts: five of the gateway's polls, every two seconds.
const CLAIM_LIFE: Duration = Duration::from_secs(10);

/// One provider serving one model.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Seat {
    pub(crate) provider: ProviderId,
    pub(crate) offer: OfferedModel,
    pub(crate) draining: bool,
    claim: Claim,
    pub(crate) seen: Seen,
}

/// Load the provider claims beyond what this router sent it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Claim {
    foreign_calls: f64,
    until: Time,
}

/// What was seen of a seat. Outlives offers and short absences.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) in_flight: u32,
    pub(crate) waiting: Waiting,
    pub(crate) latency: Latency,
    pub(crate) limit: Limit,
    pub(crate) breaker: Breaker,
    pub(crate) errors: Errors,
    pub(crate) backoff: Backoff,
}

impl Seat {
    pub(crate) fn new(provider: ProviderId, offer: OfferedModel, seen: Seen) -> Self {
        Self {
            provider,
            offer,
            draining: false,
            claim: Claim::default(),
            seen,
        }
    }

    /// The provider says its engine is busy with calls this router did not send; `foreign_calls`
    /// is this seat's share of them.
    pub(crate) fn claimed(&mut self, foreign_calls: f64, now: Time) {
        self.claim = Claim {
            foreign_calls,
            until: now + CLAIM_LIFE,
        };
    }

    /// Calls at work here: those sent, and those the provider claims on top. Never fewer than sent.
    pub(crate) fn load(&self, now: Time) -> f64 {
        let foreign = if now < self.claim.until {
            self.claim.foreign_calls
        } else {
            0.0
        };
        f64::from(self.seen.in_flight) + foreign
    }

    /// Calls at once that it gets gladly.
    pub(crate) fn limit(&self) -> u32 {
        self.seen.limit.calls(self.offer.concurrency_max)
    }
}

impl Seen {
    pub(crate) fn started(&mut self, prompt_tokens: u32, now: Time) {
        self.in_flight = self.in_flight.saturating_add(1);
        self.waiting.started(prompt_tokens, now);
        self.breaker.started();
    }

    pub(crate) fn first_token(&mut self, prompt_tokens: u32, after: Duration, now: Time) {
        let started = now.saturating_before(after);
        let ahead = self
            .waiting
            .take(prompt_tokens, started)
            .map_or(0, |call| call.tokens_ahead);
        let took_s = after.as_secs_f64();
        self.latency.saw_first_token(took_s, ahead, prompt_tokens, now);
        self.prompt_start(took_s, prompt_tokens, started, now);
    }

    pub(crate) fn ended(&mut self, prompt_tokens: u32, first_token_seen: bool, end: End, now: Time) {
        let streams = self.in_flight.max(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        let waited = if first_token_seen {
            None
        } else {
            self.waiting.take_oldest(prompt_tokens)
        };
        let started = waited.map_or(now, |call| call.started);
        match end {
            End::Served {
                completion_tokens,
                after_first_token,
            } => {
                if first_token_seen {
                    if completion_tokens > 1 {
                        let gaps = f64::from(completion_tokens - 1);
                        self.latency.saw_gap(after_first_token.as_secs_f64() / gaps, streams);
                    }
                } else if let Some(call) = waited {
                    let took_s = now.saturating_since(call.started).as_secs_f64();
                    let answer = WholeAnswer {
                        tokens_ahead: call.tokens_ahead,
                        prompt_tokens,
                        completion_tokens,
                        streams,
                    };
                    let first_s = self.latency.saw_whole_answer(took_s, &answer, now);
                    self.prompt_start(first_s, prompt_tokens, call.started, now);
                }
                self.breaker.served();
            }
            End::FailedEarly => {
                self.errors.failed(now);
                self.limit.failed_early(now);
                self.breaker.failed_early(started, now);
            }
            End::Broke => {
                self.errors.failed(now);
                self.breaker.broke(now);
            }
            End::Cancelled => self.breaker.told_nothing(started),
            End::Refused => {
                self.backoff.refused(now);
                self.limit.refused(now);
                self.breaker.told_nothing(started);
            }
        }
    }

    /// A call that `started` then began to answer after `took_s`: it works, so fast or slow.
    fn prompt_start(&mut self, took_s: f64, prompt_tokens: u32, started: Time, now: Time) {
        let ideal_s = self.latency.ideal_s(prompt_tokens);
        self.limit
            .saw_first_token(took_s, ideal_s, started, self.in_flight, now);
        self.breaker.first_token(started);
        self.backoff.accepted();
    }
}
