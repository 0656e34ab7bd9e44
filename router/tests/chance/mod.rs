//! Random offers, events and calls. Every test crate uses its own part of it.
#![allow(dead_code)]

use std::time::Duration;

use filature_router::{
    Ask, Capabilities, End, Endpoints, Event, Memory, ModelId, OfferedModel, Precisions, Preferences, Price, PriceMax,
    ProviderId, Quantile, Sort, Threshold, Try,
};
use rand::RngExt;
use rand::rngs::StdRng;

pub const MODELS: [&str; 3] = ["m0", "m1", "m2"];
pub const LABELS: [&str; 3] = ["", "fp8", "q4_k_m"];
const TRIES: [Try; 4] = [Try::First, Try::Retry, Try::Hedge, Try::Rescue];

/// Long enough for prefixes to name several.
pub fn name(n: u32) -> String {
    format!("provider-{n:012}")
}

/// A number of any number of bits.
pub fn any_size(rng: &mut StdRng) -> u64 {
    let bits = rng.random_range(0..64);
    rng.random_range(0..=u64::MAX >> bits)
}

pub fn any_count(rng: &mut StdRng) -> u32 {
    let bits = rng.random_range(0..32);
    rng.random_range(0..=u32::MAX >> bits)
}

pub fn random_offer(model: &str, rng: &mut StdRng) -> OfferedModel {
    let mut can = Capabilities::NONE;
    let mut endpoints = Endpoints::NONE;
    for bit in [Capabilities::TOOLS, Capabilities::LOGPROBS, Capabilities::PRIVATE] {
        if rng.random_bool(0.7) {
            can = can.with(bit);
        }
    }
    for bit in [Endpoints::CHAT, Endpoints::COMPLETIONS, Endpoints::EMBEDDINGS] {
        if rng.random_bool(0.8) {
            endpoints = endpoints.with(bit);
        }
    }
    let label = LABELS[rng.random_range(0..LABELS.len())];
    OfferedModel {
        model: ModelId::from(model),
        price: Price {
            prompt: any_size(rng),
            completion: any_size(rng),
            call: rng.random_range(0..1000),
            ..Price::default()
        },
        concurrency_max: rng.random_range(0..40),
        context_tokens_max: rng.random_range(0..10_000),
        output_tokens_max: rng.random_range(0..5_000),
        can,
        endpoints,
        quantization: (!label.is_empty()).then(|| label.into()),
        precision: [Precisions::NONE, Precisions::UNKNOWN, Precisions::FP8, Precisions::INT4][rng.random_range(0..4)],
    }
}

pub fn random_event(providers: u32, rng: &mut StdRng) -> Event {
    let provider = ProviderId::from(name(rng.random_range(0..providers)));
    let model = ModelId::from(MODELS[rng.random_range(0..MODELS.len())]);
    let prompt_tokens = [0, 10, 10, 5000, u32::MAX][rng.random_range(0..5)];
    let micros = any_size(rng);
    match rng.random_range(0..25) {
        0 => Event::Joined {
            provider,
            models: (0..rng.random_range(0..5))
                .map(|_| random_offer(MODELS[rng.random_range(0..MODELS.len())], rng))
                .collect(),
        },
        1 if rng.random_bool(0.5) => Event::Left { provider },
        2 if rng.random_bool(0.2) => Event::Draining { provider },
        3 => Event::Heartbeat {
            provider,
            running: any_count(rng),
            waiting: any_count(rng),
            cache_use: [0.0, 0.5, 1.0, f32::NAN, -1.0][rng.random_range(0..5)],
        },
        4..=9 => Event::Started {
            provider,
            model,
            prompt_tokens,
            kind: TRIES[rng.random_range(0..TRIES.len())],
        },
        10..=13 => Event::FirstToken {
            provider,
            model,
            prompt_tokens,
            after: Duration::from_micros(micros),
        },
        14..=15 => Event::Saw {
            provider,
            model,
            prefix: rng.random_range(0..200),
            tokens: any_count(rng),
        },
        17 => Event::Unstreamed {
            provider,
            model,
            prompt_tokens,
        },
        18 => Event::Planned { provider, model },
        19 => Event::Unplanned { provider, model },
        16 => Event::Remembered(random_memory(provider, model, rng)),
        _ => Event::Ended {
            provider,
            model,
            prompt_tokens,
            first_token_seen: rng.random_bool(0.5),
            end: match rng.random_range(0..6) {
                0 => End::FailedEarly,
                1 => End::Broke,
                2 => End::Cancelled,
                3 => End::Refused,
                _ => End::Served {
                    completion_tokens: any_count(rng),
                    after_first_token: Duration::from_micros(micros),
                },
            },
        },
    }
}

fn random_memory(provider: ProviderId, model: ModelId, rng: &mut StdRng) -> Memory {
    let mut figure = || [0.0, 0.01, 1.0, 1e9, f64::NAN, f64::INFINITY, -1.0][rng.random_range(0..7)];
    let [base_s, prefill_s, floor_s, gap_s, gap_streams, errors] = std::array::from_fn(|_| figure());
    Memory {
        provider,
        model,
        base_s,
        prefill_s,
        floor_s,
        gap_s,
        gap_streams,
        first_tokens: any_count(rng),
        gaps: any_count(rng),
        served: any_count(rng),
        errors,
        age: Duration::from_micros(any_size(rng)),
    }
}

/// What a call owns that an [`Ask`] borrows.
#[derive(Debug, Default)]
pub struct Wishes {
    preferences: Option<Preferences>,
    fallbacks: Vec<Box<str>>,
    excluded: Vec<ProviderId>,
}

impl Wishes {
    /// Half of all calls wish for nothing.
    pub fn random(providers: u32, rng: &mut StdRng) -> Self {
        if rng.random_bool(0.5) {
            return Self::default();
        }
        let fallbacks = (0..rng.random_range(0..4)).map(|_| MODELS[rng.random_range(0..3)].into());
        let fallbacks = fallbacks.collect();
        let excluded = (0..rng.random_range(0..4)).map(|_| name(rng.random_range(0..providers)).into());
        let excluded = excluded.collect();
        Self {
            preferences: rng.random_bool(0.8).then(|| random_preferences(providers, rng)),
            fallbacks,
            excluded,
        }
    }

    pub fn ask(&self, rng: &mut StdRng) -> Ask<'_> {
        let completion_tokens_max = rng.random_range(0..4000);
        let is_plain = self.preferences.is_none() && self.fallbacks.is_empty();
        let ceiling = Price {
            prompt: any_size(rng),
            completion: any_size(rng),
            call: rng.random_range(0..1000),
            ..Price::default()
        };
        Ask {
            model: MODELS[rng.random_range(0..MODELS.len())],
            endpoint: [Endpoints::CHAT, Endpoints::COMPLETIONS, Endpoints::EMBEDDINGS][rng.random_range(0..3)],
            needs: [Capabilities::NONE, Capabilities::TOOLS, Capabilities::LOGPROBS][rng.random_range(0..3)],
            prompt_tokens: rng.random_range(0..8000),
            completion_tokens_min: rng.random_range(0..=completion_tokens_max),
            completion_tokens_max,
            completion_tokens_expected: rng.random(),
            exchange: [0.0, 1.0, 1e6, 1e12, f64::INFINITY, f64::NAN, -1.0][rng.random_range(0..7)],
            fallbacks: &self.fallbacks,
            preferences: self.preferences.as_ref(),
            prefix: rng.random_bool(0.5).then(|| rng.random_range(0..200)),
            excluded: &self.excluded,
            ceiling: (!is_plain && rng.random_bool(0.3)).then_some(ceiling),
            quantization: (!is_plain && rng.random_bool(0.2)).then(|| LABELS[rng.random_range(0..LABELS.len())]),
        }
    }
}

/// Ids, prefixes that name some ten providers, and prefixes too short to name anybody.
fn random_list(providers: u32, rng: &mut StdRng) -> Vec<Box<str>> {
    if rng.random_bool(0.7) {
        return Vec::new();
    }
    let entry = |_| {
        let id = name(rng.random_range(0..providers));
        let length = [id.len(), id.len() - 1, 15][rng.random_range(0..3)];
        Box::from(&id[..length])
    };
    (0..8).map(entry).collect()
}

fn random_preferences(providers: u32, rng: &mut StdRng) -> Preferences {
    let threshold = |rng: &mut StdRng| Threshold {
        quantile: [Quantile::P50, Quantile::P75, Quantile::P90, Quantile::P99][rng.random_range(0..4)],
        value: [0.0, 0.1, 10.0, f64::NAN, f64::INFINITY][rng.random_range(0..5)],
    };
    let most = |rng: &mut StdRng| rng.random_bool(0.2).then(|| any_size(rng));
    Preferences {
        order: random_list(providers, rng),
        only: random_list(providers, rng),
        ignore: random_list(providers, rng),
        allow_fallbacks: rng.random_bool(0.7),
        precisions: [Precisions::NONE, Precisions::NONE, Precisions::FP8, Precisions::UNKNOWN][rng.random_range(0..4)],
        sort: [None, Some(Sort::Price), Some(Sort::Throughput), Some(Sort::Latency)][rng.random_range(0..4)],
        throughput_min: (0..rng.random_range(0..3)).map(|_| threshold(rng)).collect(),
        latency_max: (0..rng.random_range(0..3)).map(|_| threshold(rng)).collect(),
        price_max: PriceMax {
            prompt: most(rng),
            completion: most(rng),
            call: most(rng),
        },
        private_only: rng.random_bool(0.2),
    }
}
