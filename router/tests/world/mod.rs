//! A small world in virtual time: providers with fixed manners, calls at a fixed rate, the real
//! router between them. Every test crate uses its own part of it.
#![allow(dead_code)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use filature_router::{
    Ask, Attempt, Capabilities, End, Endpoints, Event, Fleet, ModelId, NoRoute, OfferedModel, Plan, Policy, Precisions,
    Price, ProviderId, Time, Try, route,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub const MODEL: &str = "sim-small";
pub const PROMPT_TOKENS: u32 = 200;
pub const COMPLETION_TOKENS: u32 = 100;

/// λ of a caller in no hurry, in between, and in a great hurry: nanoTON per second.
pub const FLOOR: f64 = 0.0;
pub const BALANCED: f64 = 1e6;
pub const NITRO: f64 = 1e9;

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub const fn at_ms(ms: u64) -> Time {
    Time::from_micros(ms * 1000)
}

pub fn price(nano_per_million: u64) -> Price {
    Price {
        prompt: nano_per_million,
        completion: nano_per_million,
        ..Price::default()
    }
}

pub fn offer(model: &str, nano_per_million: u64) -> OfferedModel {
    OfferedModel {
        model: ModelId::from(model),
        price: price(nano_per_million),
        concurrency_max: 64,
        context_tokens_max: 8192,
        output_tokens_max: 4096,
        can: Capabilities::NONE,
        endpoints: Endpoints::CHAT,
        quantization: None,
        precision: Precisions::UNKNOWN,
    }
}

pub fn joined(provider: &str, models: Vec<OfferedModel>) -> Event {
    Event::Joined {
        provider: ProviderId::from(provider),
        models,
    }
}

pub fn started(provider: &str) -> Event {
    Event::Started {
        provider: ProviderId::from(provider),
        model: ModelId::from(MODEL),
        prompt_tokens: PROMPT_TOKENS,
        kind: Try::First,
    }
}

pub fn first_token(provider: &str, after: Duration) -> Event {
    Event::FirstToken {
        provider: ProviderId::from(provider),
        model: ModelId::from(MODEL),
        prompt_tokens: PROMPT_TOKENS,
        after,
    }
}

pub fn ended(provider: &str, first_token_seen: bool, end: End) -> Event {
    Event::Ended {
        provider: ProviderId::from(provider),
        model: ModelId::from(MODEL),
        prompt_tokens: PROMPT_TOKENS,
        first_token_seen,
        end,
    }
}

pub fn served(after_first_token: Duration) -> End {
    End::Served {
        completion_tokens: COMPLETION_TOKENS,
        after_first_token,
    }
}

pub const fn ask(exchange: f64) -> Ask<'static> {
    Ask {
        model: MODEL,
        endpoint: Endpoints::CHAT,
        needs: Capabilities::NONE,
        prompt_tokens: PROMPT_TOKENS,
        completion_tokens_min: 1,
        completion_tokens_max: 1000,
        completion_tokens_expected: COMPLETION_TOKENS,
        exchange,
        ..Ask::PLAIN
    }
}

/// A policy whose decisions a test can name: no dice.
pub fn strict() -> Policy {
    Policy {
        exploration: 0.0,
        jitter: 0.0,
        ..Policy::default()
    }
}

pub fn fleet_of(offers: &[(&str, u64)]) -> Fleet {
    let mut fleet = Fleet::new(strict());
    for (name, nano) in offers {
        fleet.apply(joined(name, vec![offer(MODEL, *nano)]), Time::default());
    }
    fleet
}

/// Shows the fleet `calls` calls of a provider with this first token and these gaps, one after
/// the other, over before `until`.
pub fn observe(fleet: &mut Fleet, name: &str, calls: u64, first: Duration, gap: Duration, until: Time) {
    let whole = first + gap * 99;
    let mut now = until.saturating_before(whole * u32::try_from(calls).expect("few"));
    for _ in 0..calls {
        fleet.apply(started(name), now);
        fleet.apply(first_token(name, first), now + first);
        now = now + whole;
        fleet.apply(ended(name, true, served(gap * 99)), now);
    }
}

pub fn plan_for(fleet: &Fleet, ask: &Ask<'_>, now: Time) -> Result<Plan, NoRoute> {
    route(fleet, ask, now, &mut StdRng::seed_from_u64(1))
}

pub fn names(plan: &Plan) -> Vec<&str> {
    plan.attempts.iter().map(|a| a.provider.as_str()).collect()
}

#[track_caller]
pub fn check(fleet: &Fleet, ask: &Ask<'_>, now: Time, expected: &[&str]) {
    let plan = plan_for(fleet, ask, now).expect("there is a route");
    assert_eq!(names(&plan), expected);
}

/// What a provider does with calls that start now.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// Answers; both times grow with the streams it has: × (1 + streams / slots).
    Serves {
        first_token: Duration,
        gap: Duration,
        slots: u32,
    },
    /// An error after this long.
    Fails { after: Duration },
    /// Nothing at all.
    Stalls,
    /// A first token, then a reset.
    Breaks,
}

pub const fn serves(first_token_ms: u64, gap_ms: u64) -> Manner {
    Manner::Serves {
        first_token: ms(first_token_ms),
        gap: ms(gap_ms),
        slots: 16,
    }
}

/// What became of the calls of one stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub calls: u32,
    pub served: u32,
    /// First attempts by provider.
    pub chosen: BTreeMap<String, u32>,
    /// All attempts by provider.
    pub tried: BTreeMap<String, u32>,
}

impl Tally {
    /// The share of calls whose first attempt went to `provider`.
    pub fn share(&self, provider: &str) -> f64 {
        f64::from(self.chosen.get(provider).copied().unwrap_or(0)) / f64::from(self.calls.max(1))
    }

    pub fn tried(&self, provider: &str) -> u32 {
        self.tried.get(provider).copied().unwrap_or(0)
    }
}

struct Call {
    attempts: Vec<Attempt>,
    tried: usize,
}

enum Step {
    FirstToken {
        call: usize,
        started: Time,
        streams_s: Duration,
    },
    Ended {
        call: usize,
        first_token_seen: bool,
        end: End,
    },
}

pub struct World {
    pub fleet: Fleet,
    pub now: Time,
    manners: BTreeMap<String, Manner>,
    calls: Vec<Call>,
    steps: BinaryHeap<Reverse<(Time, usize)>>,
    what: Vec<Option<Step>>,
    rng: StdRng,
    tally: Tally,
}

impl World {
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            fleet: Fleet::new(policy),
            now: Time::default(),
            manners: BTreeMap::new(),
            calls: Vec::new(),
            steps: BinaryHeap::new(),
            what: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            tally: Tally::default(),
        }
    }

    pub fn provider(mut self, name: &str, nano_per_million: u64, manner: Manner) -> Self {
        let models = vec![offer(MODEL, nano_per_million)];
        self.fleet.apply(joined(name, models), self.now);
        self.manner(name, manner);
        self
    }

    pub fn manner(&mut self, name: &str, manner: Manner) {
        self.manners.insert(name.to_owned(), manner);
    }

    /// Lets a provider's engine say of itself what it likes.
    pub fn claim(&mut self, name: &str, running: u32, waiting: u32) {
        let provider = ProviderId::from(name);
        let cache_use = 0.0;
        let beat = Event::Heartbeat {
            provider,
            running,
            waiting,
            cache_use,
        };
        self.fleet.apply(beat, self.now);
    }

    /// Lets `calls` calls arrive, one every `every`, and says what became of them (those that end
    /// later count as not served).
    pub fn run(&mut self, calls: u32, every: Duration, exchange: f64) -> Tally {
        self.tally = Tally::default();
        for _ in 0..calls {
            let arrival = self.now + every;
            self.advance(arrival);
            self.tally.calls += 1;
            if let Ok(plan) = route(&self.fleet, &ask(exchange), self.now, &mut self.rng) {
                let first = plan.attempts[0].provider.to_string();
                *self.tally.chosen.entry(first).or_default() += 1;
                self.calls.push(Call {
                    attempts: plan.attempts.into_vec(),
                    tried: 0,
                });
                self.attempt(self.calls.len() - 1);
            }
        }
        self.tally.clone()
    }

    /// Lets time pass without new calls; says what became of the calls since `run`.
    pub fn idle(&mut self, span: Duration) -> Tally {
        self.advance(self.now + span);
        self.tally.clone()
    }

    fn advance(&mut self, until: Time) {
        while let Some(Reverse((time, at))) = self.steps.peek().copied() {
            if time > until {
                break;
            }
            self.steps.pop();
            self.now = time;
            if let Some(step) = self.what[at].take() {
                self.step(step);
            }
        }
        self.now = until;
    }

    fn later(&mut self, after: Duration, step: Step) {
        self.steps.push(Reverse((self.now + after, self.what.len())));
        self.what.push(Some(step));
    }

    fn attempt(&mut self, call: usize) {
        let attempt = self.calls[call].attempts[self.calls[call].tried].clone();
        let name = attempt.provider.as_str();
        *self.tally.tried.entry(name.to_owned()).or_default() += 1;
        let seat = self.fleet.seat(name, MODEL, self.now);
        let streams = seat.map_or(0, |seat| seat.in_flight);
        self.fleet.apply(started(name), self.now);
        let (first_token_seen, end) = (false, End::FailedEarly);
        match self.manners[name] {
            Manner::Serves {
                first_token,
                gap,
                slots,
            } => {
                let crowding = 1.0 + f64::from(streams) / f64::from(slots);
                let streams_s = gap.mul_f64(crowding) * (COMPLETION_TOKENS - 1);
                let started = self.now;
                self.later(
                    first_token.mul_f64(crowding),
                    Step::FirstToken {
                        call,
                        started,
                        streams_s,
                    },
                );
            }
            Manner::Fails { after } => self.later(
                after,
                Step::Ended {
                    call,
                    first_token_seen,
                    end,
                },
            ),
            Manner::Stalls => self.later(
                attempt.first_token_deadline,
                Step::Ended {
                    call,
                    first_token_seen,
                    end,
                },
            ),
            Manner::Breaks => {
                let started = self.now;
                let streams_s = Duration::MAX;
                self.later(
                    ms(50),
                    Step::FirstToken {
                        call,
                        started,
                        streams_s,
                    },
                );
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::FirstToken {
                call,
                started,
                streams_s,
            } => {
                let after = self.now.saturating_since(started);
                let name = self.name(call);
                self.fleet.apply(first_token(&name, after), self.now);
                let (after, end) = if streams_s == Duration::MAX {
                    (ms(20), End::Broke)
                } else {
                    (streams_s, served(streams_s))
                };
                let first_token_seen = true;
                self.later(
                    after,
                    Step::Ended {
                        call,
                        first_token_seen,
                        end,
                    },
                );
            }
            Step::Ended {
                call,
                first_token_seen,
                end,
            } => {
                let name = self.name(call);
                self.fleet.apply(ended(&name, first_token_seen, end), self.now);
                match end {
                    End::Served { .. } => self.tally.served += 1,
                    End::FailedEarly => {
                        self.calls[call].tried += 1;
                        if self.calls[call].tried < self.calls[call].attempts.len() {
                            self.attempt(call);
                        }
                    }
                    End::Broke | End::Cancelled | End::Refused => {}
                }
            }
        }
    }

    fn name(&self, call: usize) -> String {
        let call = &self.calls[call];
        call.attempts[call.tried].provider.to_string()
    }
}
