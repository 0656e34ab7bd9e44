//! What a decision costs, and what an event: `cargo bench -p filature-router`.
//!
//! Goals (issue 3): `route` under 50 µs at 1,000 candidates and under 500 µs at 10,000.

#[path = "../tests/world/mod.rs"]
mod world;

use std::cell::RefCell;

use divan::{Bencher, black_box};
use filature_router::{
    Ask, Event, Fleet, ModelId, Policy, Preferences, PriceMax, ProviderId, Quantile, Queue, QueuePolicy, Rank, Sort,
    Strategy, Threshold, Time, route,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use world::{BALANCED, MODEL, ask, ended, first_token, joined, ms, offer, served, started};

const SIZES: [u64; 4] = [4, 64, 1_000, 10_000];
const NOW: Time = Time::from_micros(10_000_000);

fn main() {
    divan::main();
}

fn name(n: u64) -> String {
    format!("provider-{n:010}")
}

/// A fleet that has seen some calls of each provider; half of them have one on its way.
fn lived_in(policy: Policy, providers: u64) -> Fleet {
    let mut fleet = Fleet::new(policy);
    for n in 0..providers {
        let name = name(n);
        fleet.apply(joined(&name, vec![offer(MODEL, 1_000_000 + n * 1000)]), NOW);
        for _ in 0..12 {
            fleet.apply(started(&name), NOW);
            fleet.apply(first_token(&name, ms(200 + n % 300)), NOW);
            fleet.apply(ended(&name, true, served(ms(2000 + n % 999))), NOW);
        }
        if n % 2 == 0 {
            fleet.apply(started(&name), NOW);
        }
    }
    fleet
}

fn measure(bencher: Bencher<'_, '_>, fleet: &Fleet, ask: &Ask<'_>) {
    let rng = RefCell::new(StdRng::seed_from_u64(1));
    bencher.bench_local(|| black_box(route(fleet, black_box(ask), NOW, &mut *rng.borrow_mut())));
}

#[divan::bench(args = SIZES)]
fn plain(bencher: Bencher<'_, '_>, providers: u64) {
    measure(bencher, &lived_in(Policy::default(), providers), &ask(BALANCED));
}

/// A prefix that two providers have seen.
#[divan::bench(args = SIZES)]
fn with_prefix(bencher: Bencher<'_, '_>, providers: u64) {
    let mut fleet = lived_in(Policy::default(), providers);
    for n in [1, 3] {
        let saw = Event::Saw {
            provider: ProviderId::from(name(n)),
            model: ModelId::from(MODEL),
            prefix: 7,
            tokens: 100,
        };
        fleet.apply(saw, NOW);
    }
    let ask = Ask {
        prefix: Some(7),
        ..ask(BALANCED)
    };
    measure(bencher, &fleet, &ask);
}

/// Most of what a caller can wish at once, so that a third of the providers fit.
#[divan::bench(args = SIZES)]
fn with_preferences(bencher: Bencher<'_, '_>, providers: u64) {
    let names = |of: [u64; 3]| of.iter().map(|n| name(*n).into()).collect();
    let wish = |quantile, value| vec![Threshold { quantile, value }];
    let preferences = Preferences {
        order: names([3, 1, 2]),
        ignore: names([0, 5, 6]),
        sort: Some(Sort::Throughput),
        throughput_min: wish(Quantile::P90, 20.0),
        latency_max: wish(Quantile::P90, 0.4),
        price_max: PriceMax {
            completion: Some(1_000_000 + providers * 1000 / 3),
            ..PriceMax::default()
        },
        ..Preferences::default()
    };
    let ask = Ask {
        preferences: Some(&preferences),
        ..ask(BALANCED)
    };
    measure(bencher, &lived_in(Policy::default(), providers), &ask);
}

#[divan::bench(args = SIZES)]
fn with_two_fallbacks(bencher: Bencher<'_, '_>, providers: u64) {
    let fallbacks = [Box::from("unknown"), Box::from(MODEL)];
    let ask = Ask {
        fallbacks: &fallbacks,
        ..ask(BALANCED)
    };
    measure(bencher, &lived_in(Policy::default(), providers), &ask);
}

/// Nobody has room: every seat is looked at.
#[divan::bench(args = SIZES)]
fn all_full(bencher: Bencher<'_, '_>, providers: u64) {
    let mut fleet = lived_in(Policy::default(), providers);
    for n in 0..providers {
        for _ in 0..64 {
            fleet.apply(started(&name(n)), NOW);
        }
    }
    measure(bencher, &fleet, &ask(BALANCED));
}

/// One provider in a hundred has proven itself: large pools are walked for those.
#[divan::bench(args = SIZES)]
fn mostly_newcomers(bencher: Bencher<'_, '_>, providers: u64) {
    let mut fleet = lived_in(Policy::default(), providers.div_ceil(100));
    for n in providers.div_ceil(100)..providers {
        fleet.apply(joined(&name(n), vec![offer(MODEL, 1_000_000)]), NOW);
    }
    measure(bencher, &fleet, &ask(BALANCED));
}

#[divan::bench(args = SIZES)]
fn peak_ewma(bencher: Bencher<'_, '_>, providers: u64) {
    let policy = Policy {
        strategy: Strategy::PeakEwma,
        ..Policy::default()
    };
    measure(bencher, &lived_in(policy, providers), &ask(BALANCED));
}

/// The three events of a call, with their names made as the gateway holds them.
#[divan::bench(args = [64, 10_000])]
fn three_events(bencher: Bencher<'_, '_>, providers: u64) {
    let fleet = RefCell::new(lived_in(Policy::default(), providers));
    let n = RefCell::new(0);
    bencher
        .with_inputs(|| {
            let name = name(*n.borrow() % providers);
            *n.borrow_mut() += 1;
            [
                started(&name),
                first_token(&name, ms(200)),
                ended(&name, true, served(ms(2000))),
            ]
        })
        .bench_local_values(|events| {
            let mut fleet = fleet.borrow_mut();
            events.into_iter().for_each(|event| fleet.apply(event, NOW));
        });
}

#[divan::bench]
fn a_turn_of_a_full_queue(bencher: Bencher<'_, '_>) {
    let mut queue = Queue::new(QueuePolicy::default());
    let rank = Rank { tier: 1, share: 3 };
    while queue.push(rank, NOW, 0_u64).is_ok() {}
    let queue = RefCell::new(queue);
    bencher.bench_local(|| {
        let mut queue = queue.borrow_mut();
        let first = queue.pop(NOW);
        queue.served(NOW);
        black_box(queue.retry_after(rank, NOW));
        black_box((first, queue.push(rank, NOW, 0)))
    });
}
