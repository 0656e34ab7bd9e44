//! The router as the gateway holds it: events in, plans out, and the queue of calls before it.

use std::time::Duration;

use filature_router::{
    Ask, Capabilities, End, Endpoints, Event, Fleet, ModelId, NoRoute, OfferedModel, Policy, Precisions, ProviderId,
    Queue, QueuePolicy, Rank, Strategy, Time, Try, route,
};
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::agenda::Micros;
use super::providers::Provider;

/// The one model of the simulation.
const MODEL: &str = "sim";
/// Output that the gateway reckons with (`gateway/src/request/admit.rs`): the trace's mean is 211.
const OUTPUT_EXPECTED: u32 = 200;

/// One try at one provider, as the plan has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    pub(super) provider: u32,
    /// The prompt's tokens for the events.
    pub(super) prefill_tokens: u32,
    pub(super) first_token_deadline: Micros,
    pub(super) gap_deadline: Micros,
}

/// Where to try, in order, and when to hedge.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Route {
    pub(super) choices: Vec<Choice>,
    pub(super) hedge_after: Option<Micros>,
}

/// What a call asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Question<'a> {
    pub(super) prompt: u32,
    pub(super) exchange: f64,
    pub(super) opening: Option<u64>,
    /// Providers tried already.
    pub(super) tried: &'a [u32],
}

/// Router and queue of one gateway.
pub(super) struct Desk {
    fleet: Fleet,
    rng: Xoshiro256PlusPlus,
    ids: Vec<ProviderId>,
    model: ModelId,
    /// Calls that wait.
    pub(super) queue: Queue<u32>,
}

impl Desk {
    pub(super) fn new(strategy: Strategy, providers: &[Provider], seed: u64) -> Self {
        let policy = Policy {
            strategy,
            ..Policy::default()
        };
        let mut desk = Self {
            fleet: Fleet::new(policy),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x726f_7574_6500),
            ids: (0..providers.len())
                .map(|at| ProviderId::from(format!("{at:016}")))
                .collect(),
            model: ModelId::from(MODEL),
            queue: Queue::new(queue_policy()),
        };
        for (at, provider) in providers.iter().enumerate() {
            desk.joined(at as u32, provider, 0);
        }
        desk
    }

    /// Where a call may go now; `Err` where all are full, with the time that the router names.
    pub(super) fn route(&mut self, question: &Question<'_>, now: Micros) -> Option<Route> {
        let excluded: Vec<ProviderId> = question.tried.iter().map(|at| self.ids[*at as usize].clone()).collect();
        let ask = Ask {
            model: MODEL,
            prompt_tokens: question.prompt,
            completion_tokens_expected: OUTPUT_EXPECTED,
            exchange: question.exchange,
            prefix: question.opening,
            excluded: &excluded,
            ..Ask::PLAIN
        };
        match route(&self.fleet, &ask, Time::from_micros(now), &mut self.rng) {
            Ok(plan) => Some(Route {
                choices: plan.attempts.iter().map(choice).collect(),
                hedge_after: plan.hedge_after.map(whole),
            }),
            Err(NoRoute::Full { .. } | NoRoute::NoneEligible { .. } | NoRoute::UnknownModel) => None,
        }
    }

    /// Whether an attempt of this kind is within its budget.
    pub(super) fn permits(&mut self, kind: Try, now: Micros) -> bool {
        self.fleet.permit(kind, Time::from_micros(now))
    }

    pub(super) fn started(&mut self, choice: &Choice, kind: Try, now: Micros) {
        let event = Event::Started {
            provider: self.id(choice.provider),
            model: self.model.clone(),
            prompt_tokens: choice.prefill_tokens,
            kind,
        };
        self.fleet.apply(event, Time::from_micros(now));
    }

    pub(super) fn first_token(&mut self, choice: &Choice, after: Micros, now: Micros) {
        let event = Event::FirstToken {
            provider: self.id(choice.provider),
            model: self.model.clone(),
            prompt_tokens: choice.prefill_tokens,
            after: Duration::from_micros(after),
        };
        self.fleet.apply(event, Time::from_micros(now));
    }

    pub(super) fn ended(&mut self, choice: &Choice, first_token_seen: bool, end: End, now: Micros) {
        let event = Event::Ended {
            provider: self.id(choice.provider),
            model: self.model.clone(),
            prompt_tokens: choice.prefill_tokens,
            first_token_seen,
            end,
        };
        self.fleet.apply(event, Time::from_micros(now));
    }

    pub(super) fn saw(&mut self, provider: u32, prefix: u64, tokens: u32, now: Micros) {
        let event = Event::Saw {
            provider: self.id(provider),
            model: self.model.clone(),
            prefix,
            tokens,
        };
        self.fleet.apply(event, Time::from_micros(now));
    }

    pub(super) fn heartbeat(&mut self, provider: u32, running: u32, waiting: u32, now: Micros) {
        let event = Event::Heartbeat {
            provider: self.id(provider),
            running,
            waiting,
            cache_use: 0.0,
        };
        self.fleet.apply(event, Time::from_micros(now));
    }

    pub(super) fn joined(&mut self, at: u32, provider: &Provider, now: Micros) {
        let offer = OfferedModel {
            model: self.model.clone(),
            price: provider.price,
            concurrency_max: provider.offered,
            context_tokens_max: 131_072,
            output_tokens_max: 32_768,
            can: Capabilities::CONTINUE,
            endpoints: Endpoints::CHAT,
            quantization: None,
            precision: Precisions::UNKNOWN,
        };
        let event = Event::Joined {
            provider: self.id(at),
            models: vec![offer],
        };
        self.fleet.apply(event, Time::from_micros(now));
    }

    pub(super) fn left(&mut self, at: u32, now: Micros) {
        let provider = self.id(at);
        self.fleet.apply(Event::Left { provider }, Time::from_micros(now));
    }

    /// Attempts that the router thinks are running.
    pub(super) fn in_flight(&self, now: Micros) -> u64 {
        self.fleet
            .seats(Time::from_micros(now))
            .map(|seat| u64::from(seat.in_flight))
            .sum()
    }

    fn id(&self, at: u32) -> ProviderId {
        self.ids[at as usize].clone()
    }
}

/// A call's rank: of its tier; those under way already go before all that have not begun.
pub(super) fn rank(tier: u8, is_under_way: bool) -> Rank {
    Rank {
        tier: if is_under_way { u8::MAX } else { tier },
        share: 0,
    }
}

/// The gateway's `routing.queue_max` and `routing.queue_wait_ms`.
fn queue_policy() -> QueuePolicy {
    QueuePolicy {
        calls_max: 1024,
        wait_max: Duration::from_secs(10),
        ..QueuePolicy::default()
    }
}

fn choice(attempt: &filature_router::Attempt) -> Choice {
    Choice {
        provider: attempt.provider.as_str().parse().unwrap_or(0),
        prefill_tokens: attempt.prefill_tokens,
        first_token_deadline: whole(attempt.first_token_deadline),
        gap_deadline: whole(attempt.gap_deadline),
    }
}

/// Whole microseconds.
pub(super) fn whole(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
