//! What holds for any history: random events and calls, from a seed that proptest prints.

mod world;

use std::collections::HashSet;
use std::time::Duration;

use filature_router::{
    Ask, Capabilities, End, Endpoints, Event, Fleet, ModelId, NoRoute, OfferedModel, Plan, Policy, Price, ProviderId,
    Time, route,
};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const MODELS: [&str; 3] = ["m0", "m1", "m2"];

/// A number of any number of bits.
fn any_size(rng: &mut StdRng) -> u64 {
    let bits = rng.random_range(0..64);
    rng.random_range(0..=u64::MAX >> bits)
}

fn any_count(rng: &mut StdRng) -> u32 {
    let bits = rng.random_range(0..32);
    rng.random_range(0..=u32::MAX >> bits)
}

fn random_offer(model: &str, rng: &mut StdRng) -> OfferedModel {
    let mut can = Capabilities::NONE;
    let mut endpoints = Endpoints::NONE;
    for bit in [Capabilities::TOOLS, Capabilities::LOGPROBS, Capabilities::IMAGES] {
        if rng.random_bool(0.7) {
            can = can.with(bit);
        }
    }
    for bit in [Endpoints::CHAT, Endpoints::COMPLETIONS, Endpoints::EMBEDDINGS] {
        if rng.random_bool(0.8) {
            endpoints = endpoints.with(bit);
        }
    }
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
    }
}

fn random_event(providers: u32, rng: &mut StdRng) -> Event {
    let provider = ProviderId::from(format!("p{}", rng.random_range(0..providers)));
    let model = ModelId::from(MODELS[rng.random_range(0..MODELS.len())]);
    let prompt_tokens = [0, 10, 10, 5000, u32::MAX][rng.random_range(0..5)];
    let micros = any_size(rng);
    match rng.random_range(0..20) {
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
        },
        4..=9 => Event::Started {
            provider,
            model,
            prompt_tokens,
        },
        10..=13 => Event::FirstToken {
            provider,
            model,
            prompt_tokens,
            after: Duration::from_micros(micros),
        },
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

fn random_ask(rng: &mut StdRng) -> Ask<'static> {
    let completion_tokens_max = rng.random_range(0..4000);
    Ask {
        model: MODELS[rng.random_range(0..MODELS.len())],
        endpoint: [Endpoints::CHAT, Endpoints::COMPLETIONS, Endpoints::EMBEDDINGS][rng.random_range(0..3)],
        needs: [Capabilities::NONE, Capabilities::TOOLS, Capabilities::LOGPROBS][rng.random_range(0..3)],
        prompt_tokens: rng.random_range(0..8000),
        completion_tokens_min: rng.random_range(0..=completion_tokens_max),
        completion_tokens_max,
        completion_tokens_expected: rng.random(),
        exchange: [0.0, 1.0, 1e6, 1e12, f64::INFINITY, f64::NAN, -1.0][rng.random_range(0..7)],
    }
}

/// The offers as a plain list kept beside the fleet: what a plan is judged by.
#[derive(Default)]
struct Books {
    offers: Vec<(ProviderId, OfferedModel)>,
    draining: HashSet<ProviderId>,
}

impl Books {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Joined { provider, models } => {
                self.offers.retain(|(known, _)| known != provider);
                self.draining.remove(provider);
                for offer in models {
                    let known = |(who, what): &(ProviderId, OfferedModel)| who == provider && what.model == offer.model;
                    if !self.offers.iter().any(known) {
                        self.offers.push((provider.clone(), offer.clone()));
                    }
                }
            }
            Event::Left { provider } => {
                self.offers.retain(|(known, _)| known != provider);
                self.draining.remove(provider);
            }
            Event::Draining { provider } => {
                self.draining.insert(provider.clone());
            }
            _ => {}
        }
    }

    fn check(&self, fleet: &Fleet, ask: &Ask<'_>, now: Time, plan: &Plan) {
        let count = plan.attempts.len();
        assert!((1..=4).contains(&count), "{count} attempts");
        let distinct: HashSet<_> = plan.attempts.iter().map(|a| &a.provider).collect();
        assert_eq!(distinct.len(), count, "{plan:?}");
        for attempt in &plan.attempts {
            let (_, offer) = self
                .offers
                .iter()
                .find(|(who, what)| *who == attempt.provider && what.model.as_str() == ask.model)
                .expect("the provider offers the model");
            assert!(offer.endpoints.contains(ask.endpoint) && offer.can.contains(ask.needs));
            assert!(!self.draining.contains(&attempt.provider));
            assert_eq!(attempt.price, offer.price);
            let allowed = attempt.output_tokens_max;
            assert!(allowed >= ask.completion_tokens_min && allowed <= ask.completion_tokens_max);
            assert!(allowed <= offer.output_tokens_max);
            assert!(ask.prompt_tokens + allowed <= offer.context_tokens_max);
            let seat = fleet.seat(attempt.provider.as_str(), ask.model, now);
            let seat = seat.expect("the fleet knows it");
            assert!(seat.in_flight < offer.concurrency_max, "{seat:?}");
            assert!(attempt.first_token_deadline >= Duration::from_secs(8));
            assert!(attempt.gap_deadline >= Duration::from_secs(2));
            assert!(attempt.answer_deadline >= attempt.first_token_deadline);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_plan_names_a_provider_that_may_not_serve(seed: u64, providers in 1_u32..150) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut fleet = Fleet::new(Policy::default());
        let mut books = Books::default();
        let mut now = Time::default();
        for _ in 0..1500 {
            now = now + Duration::from_micros(rng.random_range(0..200_000));
            let event = random_event(providers, &mut rng);
            books.note(&event);
            fleet.apply(event, now);
            let ask = random_ask(&mut rng);
            match route(&fleet, &ask, now, &mut rng) {
                Ok(plan) => books.check(&fleet, &ask, now, &plan),
                Err(NoRoute::UnknownModel) => {
                    prop_assert!(books.offers.iter().all(|(_, o)| o.model.as_str() != ask.model));
                }
                Err(NoRoute::NoneEligible { .. } | NoRoute::Full { .. }) => {
                    prop_assert!(fleet.model(ask.model).is_some());
                }
            }
        }
    }

    #[test]
    fn equal_inputs_give_equal_plans(seed: u64, providers in 1_u32..150) {
        let mut fleets = [Fleet::new(Policy::default()), Fleet::new(Policy::default())];
        let mut rng = StdRng::seed_from_u64(seed);
        let mut now = Time::default();
        for _ in 0..500 {
            now = now + Duration::from_micros(rng.random_range(0..200_000));
            let event = random_event(providers, &mut rng);
            for fleet in &mut fleets {
                fleet.apply(event.clone(), now);
            }
            let (ask, dice) = (random_ask(&mut rng), rng.random());
            let plans = fleets.each_ref().map(|fleet| {
                route(fleet, &ask, now, &mut StdRng::seed_from_u64(dice))
            });
            prop_assert_eq!(&plans[0], &plans[1]);
        }
        prop_assert_eq!(&fleets[0], &fleets[1]);
    }

    #[test]
    fn calls_in_flight_are_those_started_and_not_ended(seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut fleet = Fleet::new(Policy::default());
        let models = vec![random_offer("m0", &mut rng)];
        fleet.apply(world::joined("p", models), Time::default());
        let mut started = 0_u32;
        for micros in 0..2000 {
            let event = random_event(1, &mut rng);
            let (is_of_model, step) = match &event {
                Event::Started { model, .. } => (model.as_str() == "m0", 1),
                Event::Ended { model, .. } => (model.as_str() == "m0", -1),
                _ => continue,
            };
            let event = with_provider(event, "p");
            fleet.apply(event, Time::from_micros(micros));
            if is_of_model {
                started = started.saturating_add_signed(step);
            }
            let seat = fleet.seat("p", "m0", Time::from_micros(micros));
            prop_assert_eq!(seat.map(|seat| seat.in_flight), Some(started));
        }
    }

    #[test]
    fn a_heartbeat_never_makes_a_provider_look_better(
        seed: u64, running: u32, waiting: u32, in_flight in 0_u32..20,
    ) {
        let now = Time::from_micros(1_000_000);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut plain = Fleet::new(world::strict());
        for name in ["a", "b"] {
            let price = rng.random_range(0..10_000_000);
            let models = vec![world::offer(world::MODEL, price)];
            plain.apply(world::joined(name, models), now);
            for _ in 0..in_flight {
                plain.apply(world::started(name), now);
            }
        }
        let mut told = plain.clone();
        let provider = ProviderId::from("a");
        told.apply(Event::Heartbeat { provider, running, waiting }, now);
        let first = |fleet: &Fleet| {
            let plan = route(fleet, &world::ask(1e6), now, &mut StdRng::seed_from_u64(1));
            plan.map(|plan| plan.attempts[0].provider.to_string())
        };
        let load = |fleet: &Fleet| fleet.seat("a", world::MODEL, now).map(|seat| seat.load);
        prop_assert!(load(&told) >= load(&plain));
        if first(&told) == Ok("a".to_owned()) {
            prop_assert_eq!(first(&plain), Ok("a".to_owned()));
        }
    }
}

/// Names made by `random_event(1, …)` are "p0": this gives them the one of the test.
fn with_provider(event: Event, name: &str) -> Event {
    let new = ProviderId::from(name);
    match event {
        Event::Started {
            model, prompt_tokens, ..
        } => Event::Started {
            provider: new,
            model,
            prompt_tokens,
        },
        Event::Ended {
            model,
            prompt_tokens,
            first_token_seen,
            end,
            ..
        } => Event::Ended {
            provider: new,
            model,
            prompt_tokens,
            first_token_seen,
            end,
        },
        other => other,
    }
}

#[test]
fn no_state_grows_under_a_hundred_thousand_random_events() {
    let mut rng = StdRng::seed_from_u64(11);
    let mut fleet = Fleet::new(Policy {
        providers_max: 50,
        ..Policy::default()
    });
    let mut now = Time::default();
    let mut sizes = Vec::new();
    for n in 1..=100_000_u32 {
        now = now + Duration::from_micros(rng.random_range(0..10_000));
        let event = random_event(100, &mut rng);
        // Ever new names, as somebody who means harm would make them, that come and go.
        let stranger = ProviderId::from(format!("stranger-{}", n / 10));
        let event = match n % 10 {
            0 => world::joined(stranger.as_str(), vec![random_offer("m0", &mut rng)]),
            9 => Event::Left { provider: stranger },
            _ => event,
        };
        fleet.apply(event, now);
        if n % 10_000 == 0 {
            sizes.push(format!("{fleet:?}").len());
        }
    }
    assert!(fleet.providers_count() <= 50);
    assert!(fleet.seats(now).count() <= 50 * MODELS.len());
    // What is remembered of those absent is bounded too: the size settles.
    let (middle, end) = (sizes[4], sizes[9]);
    assert!(end < middle + middle / 5, "{sizes:?}");
}
