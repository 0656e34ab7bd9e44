//! What holds for any history: random events and calls, from a seed that proptest prints.

mod chance;
mod world;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use chance::{MODELS, Wishes, name, random_event, random_offer};
use filature_router::{
    Ask, Capabilities, Event, Fleet, ModelId, NoRoute, OfferedModel, Plan, Policy, Precisions, Preferences, ProviderId,
    Queue, QueuePolicy, Rank, Strategy, Ticket, Time, Try, route,
};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const STRATEGIES: [Strategy; 6] = [
    Strategy::Filature,
    Strategy::PeakEwma,
    Strategy::LeastOutstanding,
    Strategy::RoundRobin,
    Strategy::InverseSquarePrice,
    Strategy::RunningTimesAverage,
];

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
        let distinct: HashSet<_> = plan.attempts.iter().map(|a| (&a.provider, &a.model)).collect();
        assert_eq!(distinct.len(), count, "{plan:?}");
        for attempt in &plan.attempts {
            let is_asked = attempt.model.as_str() == ask.model;
            assert!(is_asked || ask.fallbacks.iter().any(|model| **model == *attempt.model.as_str()));
            let (_, offer) = self
                .offers
                .iter()
                .find(|(who, what)| *who == attempt.provider && what.model == attempt.model)
                .expect("the provider offers the model");
            self.check_wishes(ask, &attempt.provider, offer);
            assert!(attempt.prefill_tokens <= ask.prompt_tokens && attempt.prefill_tokens >= ask.prompt_tokens / 16);
            assert!(offer.endpoints.contains(ask.endpoint) && offer.can.contains(ask.needs));
            assert!(!self.draining.contains(&attempt.provider));
            assert_eq!(attempt.price, offer.price);
            let allowed = attempt.output_tokens_max;
            assert!(allowed >= ask.completion_tokens_min && allowed <= ask.completion_tokens_max);
            assert!(allowed <= offer.output_tokens_max);
            assert!(ask.prompt_tokens + allowed <= offer.context_tokens_max);
            let seat = fleet.seat(attempt.provider.as_str(), attempt.model.as_str(), now);
            let seat = seat.expect("the fleet knows it");
            assert!(seat.in_flight < offer.concurrency_max, "{seat:?}");
            assert!(attempt.first_token_deadline >= Duration::from_secs(8));
            assert!(attempt.gap_deadline >= Duration::from_secs(2));
            assert!(attempt.answer_deadline >= attempt.first_token_deadline);
        }
    }

    fn check_wishes(&self, ask: &Ask<'_>, provider: &ProviderId, offer: &OfferedModel) {
        assert!(!ask.excluded.contains(provider));
        assert!(ask.ceiling.is_none_or(|most| offer.price.dearest(most) == most));
        let label = offer.quantization.as_ref().map_or("", |label| label.as_str());
        assert!(ask.quantization.is_none_or(|asked| asked == label));
        let any = Preferences::default();
        let wishes = ask.preferences.unwrap_or(&any);
        let id = provider.as_str();
        let names = |entry: &str| entry == id || (entry.len() >= 16 && id.starts_with(entry));
        let is_in = |list: &[Box<str>]| list.iter().any(|entry| names(entry));
        assert!(wishes.only.is_empty() || is_in(&wishes.only));
        assert!(!is_in(&wishes.ignore));
        assert!(wishes.allow_fallbacks || wishes.order.is_empty() || is_in(&wishes.order));
        assert!(!wishes.private_only || offer.can.contains(Capabilities::PRIVATE));
        let stated = if offer.precision == Precisions::NONE {
            Precisions::UNKNOWN
        } else {
            offer.precision
        };
        assert!(wishes.precisions.is_empty() || wishes.precisions.contains(stated));
        for (asked, most) in [
            (offer.price.prompt, wishes.price_max.prompt),
            (offer.price.completion, wishes.price_max.completion),
            (offer.price.call, wishes.price_max.call),
        ] {
            assert!(most.is_none_or(|most| asked <= most));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_plan_names_a_provider_that_may_not_serve(seed: u64, providers in 1_u32..150, strategy in 0..12_usize) {
        let mut rng = StdRng::seed_from_u64(seed);
        // Half of the cases are ours.
        let strategy = STRATEGIES[strategy.saturating_sub(6)];
        let mut fleet = Fleet::new(Policy { strategy, ..Policy::default() });
        let mut books = Books::default();
        let mut now = Time::default();
        for _ in 0..1000 {
            now = now + Duration::from_micros(rng.random_range(0..200_000));
            let event = random_event(providers, &mut rng);
            books.note(&event);
            fleet.apply(event, now);
            let wishes = Wishes::random(providers, &mut rng);
            let ask = wishes.ask(&mut rng);
            match route(&fleet, &ask, now, &mut rng) {
                Ok(plan) => books.check(&fleet, &ask, now, &plan),
                Err(NoRoute::UnknownModel) => {
                    prop_assert!(books.offers.iter().all(|(_, o)| o.model.as_str() != ask.model));
                }
                Err(NoRoute::NoneEligible { .. } | NoRoute::Full { .. }) => {
                    let models = ask.fallbacks.iter().map(|model| &**model).chain([ask.model]);
                    prop_assert!(models.into_iter().any(|model| fleet.model(model).is_some()));
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
            let wishes = Wishes::random(providers, &mut rng);
            let (ask, dice) = (wishes.ask(&mut rng), rng.random());
            let plans = fleets.each_ref().map(|fleet| {
                route(fleet, &ask, now, &mut StdRng::seed_from_u64(dice))
            });
            prop_assert_eq!(&plans[0], &plans[1]);
        }
        prop_assert!(fleets[0] == fleets[1]);
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
        told.apply(Event::Heartbeat { provider, running, waiting, cache_use: 0.0 }, now);
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

    #[test]
    fn a_queue_is_bounded_and_gives_out_the_best(seed: u64, calls_max in 0_usize..20) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut queue = Queue::new(QueuePolicy { calls_max, ..QueuePolicy::default() });
        let mut waiting: BTreeMap<Ticket, u32> = BTreeMap::new();
        for call in 0..2000 {
            let now = Time::from_micros(u64::from(call) * 1000);
            let rank = Rank { tier: rng.random_range(0..3), share: rng.random_range(0..4) };
            match rng.random_range(0..8) {
                0..=3 => {
                    let would_be_first = queue.is_better_than_all(rank);
                    if let Ok(pushed) = queue.push(rank, now, call) {
                        let least = waiting.last_key_value().map(|(_, call)| *call);
                        prop_assert!(pushed.displaced.is_none() || pushed.displaced == least);
                        waiting.retain(|_, call| Some(*call) != pushed.displaced);
                        waiting.insert(pushed.ticket, call);
                        let is_first = waiting.first_key_value().map(|(_, call)| *call) == Some(call);
                        prop_assert_eq!(is_first, would_be_first);
                    } else {
                        prop_assert_eq!(waiting.len(), calls_max);
                    }
                }
                4..=5 => prop_assert_eq!(queue.pop(now), waiting.pop_first()),
                6 => if let Some((ticket, call)) = queue.pop(now) {
                    queue.put_back(ticket, call);
                },
                _ => if let Some((ticket, call)) = waiting.pop_last() {
                    prop_assert_eq!(queue.remove(ticket, now), Some(call));
                    queue.served(now);
                },
            }
            prop_assert_eq!(queue.len(), waiting.len());
            prop_assert!(queue.len() <= calls_max);
            let told = queue.retry_after(rank, now);
            prop_assert!((Duration::from_millis(100)..=Duration::from_secs(60)).contains(&told));
        }
    }

    #[test]
    fn no_half_minute_exceeds_its_budgets(seed: u64, retry_per_second in 0.0_f64..2.0) {
        let policy = Policy { retry_per_second, ..Policy::default() };
        let mut rng = StdRng::seed_from_u64(seed);
        let mut fleet = Fleet::new(policy);
        let mut now = Time::default();
        let mut ledger = Ledger::default();
        for _ in 0..5000 {
            // Bursts and lulls.
            let pause = if rng.random_bool(0.01) { rng.random_range(0..40_000) } else { rng.random_range(0..40) };
            now = now + Duration::from_millis(pause);
            let kind = [Try::First, Try::First, Try::Retry, Try::Rescue, Try::Hedge][rng.random_range(0..5)];
            let is_permitted = fleet.permit(kind, now);
            prop_assert!(is_permitted || kind != Try::First);
            if !is_permitted {
                continue;
            }
            if kind == Try::First {
                fleet.apply(world::started("anybody"), now);
            }
            ledger.note(kind, now);
            let [firsts, retries, rescues, hedges] = ledger.last(30, now);
            // Later moments only lose first attempts: there the window before counts too.
            let earned = |of: Try| if kind == of { firsts } else { ledger.last(60, now)[0] };
            let again = |of: Try| 0.2 * earned(of) + 30.0 * retry_per_second;
            prop_assert!(retries <= again(Try::Retry), "{retries} after {firsts}");
            prop_assert!(rescues <= again(Try::Rescue), "{rescues} after {firsts}");
            prop_assert!(hedges <= 0.05 * earned(Try::Hedge) + 1.0, "{hedges} after {firsts}");
        }
    }
}

/// What was permitted, kept whole.
#[derive(Default)]
struct Ledger(VecDeque<(Time, Try)>);

impl Ledger {
    fn note(&mut self, kind: Try, now: Time) {
        self.0.push_back((now, kind));
        let is_old = |(at, _): &(Time, Try)| now.saturating_since(*at) > Duration::from_secs(61);
        while self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    /// First attempts, retries, rescues and hedges of the last seconds.
    fn last(&self, seconds: u64, now: Time) -> [f64; 4] {
        let recent = self
            .0
            .iter()
            .filter(|(at, _)| now.saturating_since(*at) < Duration::from_secs(seconds));
        let mut counts = [0.0; 4];
        for (_, kind) in recent {
            counts[match kind {
                Try::First => 0,
                Try::Retry => 1,
                Try::Rescue => 2,
                Try::Hedge => 3,
            }] += 1.0;
        }
        counts
    }
}

/// Names made by `random_event(1, …)` are "p0": this gives them the one of the test.
fn with_provider(event: Event, name: &str) -> Event {
    let new = ProviderId::from(name);
    match event {
        Event::Started {
            model,
            prompt_tokens,
            kind,
            ..
        } => Event::Started {
            provider: new,
            model,
            prompt_tokens,
            kind,
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
fn no_state_grows_under_a_million_random_events() {
    let mut rng = StdRng::seed_from_u64(11);
    let mut fleet = Fleet::new(Policy {
        providers_max: 50,
        ..Policy::default()
    });
    let mut now = Time::default();
    let mut sizes = Vec::new();
    for n in 1..=1_000_000_u32 {
        now = now + Duration::from_micros(rng.random_range(0..10_000));
        // Ever new names, as somebody who means harm would make them, that come and go.
        let stranger = ProviderId::from(format!("stranger-{}", n / 10));
        let event = match n % 10 {
            0 => world::joined(stranger.as_str(), vec![random_offer("m0", &mut rng)]),
            1 => Event::Saw {
                provider: ProviderId::from(name(n % 100)),
                model: ModelId::from("m1"),
                prefix: u64::from(n),
                tokens: 100,
            },
            9 => Event::Left { provider: stranger },
            _ => random_event(100, &mut rng),
        };
        fleet.apply(event, now);
        if n % 100_000 == 0 {
            sizes.push(fleet.bytes());
        }
    }
    println!("bytes: {sizes:?}");
    assert!(fleet.providers_count() <= 50);
    assert!(fleet.seats(now).count() <= 50 * MODELS.len());
    // What is remembered of those absent is bounded too: the size settles.
    let (middle, end) = (sizes[4], sizes[9]);
    assert!(end < middle + middle / 5, "{sizes:?}");
}

#[test]
fn a_provider_takes_a_bounded_and_known_amount_of_memory() {
    const PROVIDERS: u32 = 1000;
    let mut fleet = Fleet::new(Policy::default());
    let per_provider = |fleet: &Fleet| fleet.bytes() / 1000;
    let mut sizes = vec![("empty", per_provider(&fleet))];
    for n in 0..PROVIDERS {
        fleet.apply(
            world::joined(&name(n), vec![world::offer(world::MODEL, 1)]),
            world::at_ms(0),
        );
    }
    sizes.push(("seat", per_provider(&fleet)));
    for n in 0..PROVIDERS {
        let now = world::at_ms(3_600_000);
        world::observe(&mut fleet, &name(n), 20, world::ms(300), world::ms(20), now);
        for _ in 0..64 {
            fleet.apply(world::started(&name(n)), now);
        }
    }
    sizes.push(("with history and 64 calls", per_provider(&fleet)));
    for prefix in 0..200_000 {
        let saw = Event::Saw {
            provider: ProviderId::from(name(prefix % PROVIDERS)),
            model: ModelId::from(world::MODEL),
            prefix: u64::from(prefix),
            tokens: 100,
        };
        fleet.apply(saw, world::at_ms(3_600_000));
    }
    sizes.push(("with 65,536 prefixes shared by all", per_provider(&fleet)));
    println!("bytes per provider and model: {sizes:#?}");
    assert!(
        sizes[1].1 < 1500 && sizes[2].1 < 10_000 && sizes[3].1 < 18_000,
        "{sizes:?}"
    );
}
