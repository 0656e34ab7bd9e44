//! A seat: one provider serving one model. What it offers, what it claims, what was seen of it.

pub(crate) mod backoff;
pub(crate) mod breaker;
pub(crate) mod claims;
pub(crate) mod errors;
pub(crate) mod estimate;
pub(crate) mod history;
pub(crate) mod limit;
pub(crate) mod rival;
pub(crate) mod tail;
pub(crate) mod waiting;

use std::time::Duration;

use crate::event::End;
use crate::memory::Memory;
use crate::names::ProviderId;
use crate::offer::OfferedModel;
use crate::seat::backoff::Backoff;
use crate::seat::breaker::Breaker;
use crate::seat::claims::Claims;
use crate::seat::errors::Errors;
use crate::seat::estimate::{Latency, WholeAnswer};
use crate::seat::history::{History, Outcome};
use crate::seat::limit::Limit;
use crate::seat::rival::Rival;
use crate::seat::tail::Tail;
use crate::seat::waiting::{Waiting, WaitingCall};
use crate::time::Time;

/// How long a heartbeat counts: five of the gateway's polls, every two seconds.
const CLAIM_LIFE: Duration = Duration::from_secs(10);

/// Share of an engine's cache in use from which on it is full. Chosen here, below what vLLM and
/// `SGLang` reach before they preempt.
const CACHE_FULL: f32 = 0.95;

/// Calls served from which on a provider has proven itself. Chosen here: exploration finds so many
/// within a thousand calls.
const PROVEN_AFTER: u32 = 10;

/// A call that is given up is overdue this many seconds after the moment that 19 in 20 keep to: the
/// noise of a network. Chosen here.
const OVERDUE_MIN_S: f64 = 0.05;

/// One provider serving one model.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Seat {
    pub(crate) provider: ProviderId,
    pub(crate) offer: OfferedModel,
    pub(crate) draining: bool,
    /// Its number in its pool, given once.
    pub(crate) number: u32,
    claim: Claim,
    pub(crate) seen: Seen,
}

/// Load the provider claims beyond what this router sent it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Claim {
    foreign_calls: f64,
    cache_use: f32,
    until: Time,
}

/// What was seen of a seat. Outlives offers and short absences.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) in_flight: u32,
    /// Attempts that were planned here and have yet to start.
    pub(crate) planned: u32,
    pub(crate) waiting: Waiting,
    pub(crate) latency: Latency,
    pub(crate) limit: Limit,
    pub(crate) breaker: Breaker,
    pub(crate) errors: Errors,
    pub(crate) backoff: Backoff,
    pub(crate) tail: Tail,
    pub(crate) claims: Claims,
    /// Calls served to their end.
    pub(crate) served: u32,
    /// Boxed: large, and not looked at when routing.
    pub(crate) history: Option<Box<History>>,
    /// What a baseline goes by, where one is at work.
    pub(crate) rival: Option<Box<Rival>>,
}

impl Seat {
    pub(crate) fn new(provider: ProviderId, offer: OfferedModel, seen: Seen) -> Self {
        Self {
            provider,
            offer,
            draining: false,
            number: 0,
            claim: Claim::default(),
            seen,
        }
    }

    /// The provider says its engine is busy with calls this router did not send; `foreign_calls`
    /// is this seat's share of them.
    pub(crate) fn claimed(&mut self, foreign_calls: f64, cache_use: f32, now: Time) {
        self.claim = Claim {
            foreign_calls,
            // What is no number says nothing, and could not be compared.
            cache_use: if cache_use.is_nan() { 0.0 } else { cache_use },
            until: now + CLAIM_LIFE,
        };
    }

    /// The engine says that calls wait in it, and which part is `at_work`.
    pub(crate) fn queues(&mut self, at_work: f64, now: Time) {
        let fits = f64::from(self.seen.in_flight) * at_work;
        self.seen.limit.saw_queue(fits, now);
    }

    /// Calls at work here: those sent or about to be, and those the provider claims on top. Never fewer than sent.
    pub(crate) fn load(&self, now: Time) -> f64 {
        let foreign = if now < self.claim.until {
            self.claim.foreign_calls
        } else {
            0.0
        };
        f64::from(self.seen.taken()) + foreign
    }

    /// Whether it says that its cache is as good as full: then a new call waits, or displaces one.
    pub(crate) fn cache_is_full(&self, now: Time) -> bool {
        self.claim.cache_use >= CACHE_FULL && now < self.claim.until
    }

    /// Calls at once that it gets gladly.
    pub(crate) fn limit(&self) -> u32 {
        self.seen.limit.calls(self.offer.concurrency_max)
    }
}

impl Seen {
    /// Places that are taken: by attempts under way, and by those about to start.
    pub(crate) fn taken(&self) -> u32 {
        self.in_flight.saturating_add(self.planned)
    }

    /// Whether it has served enough calls to be trusted with many.
    pub(crate) fn is_proven(&self) -> bool {
        self.served >= PROVEN_AFTER
    }

    /// Takes over what a sibling of this fleet knows, as far as that is more. Its breaker is not
    /// touched: what failed here, failed here.
    pub(crate) fn adopt(&mut self, memory: &Memory, now: Time) {
        self.latency.adopt(memory, now);
        self.served = self.served.max(memory.served);
        self.errors.at_least(memory.errors, now);
    }

    /// Bytes on the heap, about.
    pub(crate) fn bytes(&self) -> usize {
        let history = self.history.as_deref().map_or(0, size_of_val);
        let rival = self.rival.as_deref().map_or(0, size_of_val);
        self.waiting.bytes() + history + rival
    }

    fn note(&mut self, outcome: Outcome, now: Time) {
        self.history.get_or_insert_default().note(outcome, now);
    }

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
        let expected_s = self.latency.first_token_s(ahead, prompt_tokens);
        self.tail.saw(took_s, expected_s);
        self.note(Outcome::FirstToken { seconds: took_s }, now);
        if let Some(rival) = &mut self.rival {
            rival.answered(took_s, now);
        }
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
        if let Some(rival) = &mut self.rival {
            let unanswered_s = (!first_token_seen).then(|| now.saturating_since(started).as_secs_f64());
            rival.ended(unanswered_s, end, now);
        }
        match end {
            End::Served {
                completion_tokens,
                after_first_token,
            } => {
                if first_token_seen {
                    if completion_tokens > 1 {
                        let gap_s = after_first_token.as_secs_f64() / f64::from(completion_tokens - 1);
                        self.latency.saw_gap(gap_s, streams);
                        self.note(
                            Outcome::Speed {
                                tokens_per_s: gap_s.recip(),
                            },
                            now,
                        );
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
                    if completion_tokens > 1 && took_s > first_s {
                        let tokens_per_s = f64::from(completion_tokens - 1) / (took_s - first_s);
                        self.note(Outcome::Speed { tokens_per_s }, now);
                    }
                }
                self.served = self.served.saturating_add(1);
                self.note(Outcome::Served, now);
                self.breaker.served();
            }
            End::FailedEarly => {
                self.note(Outcome::Failed, now);
                self.errors.failed(now);
                self.limit.failed_early(now);
                self.breaker.failed_early(started, now);
            }
            End::Broke => {
                self.note(Outcome::Failed, now);
                self.errors.failed(now);
                self.breaker.broke(now);
            }
            End::Cancelled if waited.is_some_and(|call| self.is_overdue(&call, now)) => {
                self.breaker.outrun(started, now);
            }
            End::Cancelled => self.breaker.told_nothing(started),
            End::Refused => {
                self.note(Outcome::Refused, now);
                self.backoff.refused(now);
                self.limit.refused(now);
                self.breaker.told_nothing(started);
            }
        }
    }

    /// Whether a first token is overdue: the engine may have more than it can do, and the next call
    /// would wait as long.
    pub(crate) fn is_behind(&self, now: Time) -> bool {
        self.waiting.oldest().is_some_and(|call| self.is_overdue(call, now))
    }

    /// Whether the first token of `call` should have come by now, as 19 in 20 do.
    fn is_overdue(&self, call: &WaitingCall, now: Time) -> bool {
        let waited_s = now.saturating_since(call.started).as_secs_f64();
        let expected_s = self.latency.first_token_s(call.tokens_ahead, call.prompt_tokens);
        call.is_streamed && waited_s > self.tail.late_s(expected_s) + OVERDUE_MIN_S
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
