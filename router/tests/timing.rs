//! What a decision costs. Run by hand: `cargo test --release -p filature-router --test timing --
//! --ignored --nocapture`.

mod world;

use std::hint::black_box;
use std::time::{Duration, Instant};

use filature_router::{Fleet, Policy, Time, route};
use rand::SeedableRng;
use rand::rngs::StdRng;
use world::{BALANCED, MODEL, ask, ended, first_token, joined, ms, offer, served, started};

/// A fleet that has seen some calls of each provider; half of them have one on its way.
fn lived_in(providers: u64, now: Time) -> Fleet {
    let mut fleet = Fleet::new(Policy::default());
    for n in 0..providers {
        let name = format!("provider-{n:05}");
        let models = vec![offer(MODEL, 1_000_000 + n * 1000)];
        fleet.apply(joined(&name, models), now);
        for _ in 0..6 {
            fleet.apply(started(&name), now);
            fleet.apply(first_token(&name, ms(200 + n % 300)), now);
            fleet.apply(ended(&name, true, served(ms(2000 + n % 999))), now);
        }
        if n % 2 == 0 {
            fleet.apply(started(&name), now);
        }
    }
    fleet
}

#[test]
#[ignore = "a measurement: meaningful in a release build on a quiet machine"]
fn a_decision_is_cheap_at_every_size() {
    let now = Time::from_micros(10_000_000);
    for (providers, goal) in [(4, 2), (64, 50), (1000, 50), (10_000, 500)] {
        let fleet = lived_in(providers, now);
        let mut rng = StdRng::seed_from_u64(1);
        let rounds = 20_000;
        let start = Instant::now();
        for _ in 0..rounds {
            let _ = black_box(route(&fleet, black_box(&ask(BALANCED)), now, &mut rng));
        }
        let each = start.elapsed() / rounds;
        println!("{providers:>6} providers: {:>7} ns per route()", each.as_nanos());
        if !cfg!(debug_assertions) {
            assert!(each < Duration::from_micros(goal), "{each:?}, goal {goal} µs");
        }
    }
}

#[test]
#[ignore = "a measurement: meaningful in a release build on a quiet machine"]
fn so_are_events_and_a_fleet_that_is_full() {
    let now = Time::from_micros(10_000_000);
    let mut fleet = lived_in(10_000, now);
    let rounds = 100_000_u32;
    let start = Instant::now();
    for n in 0..rounds {
        let name = format!("provider-{:05}", n % 10_000);
        fleet.apply(started(&name), now);
        fleet.apply(first_token(&name, ms(200)), now);
        fleet.apply(ended(&name, true, served(ms(2000))), now);
    }
    println!("three events: {} ns", (start.elapsed() / rounds).as_nanos());
    for n in 0..10_000 {
        for _ in 0..64 {
            fleet.apply(started(&format!("provider-{n:05}")), now);
        }
    }
    let mut rng = StdRng::seed_from_u64(1);
    let start = Instant::now();
    for _ in 0..100 {
        assert!(black_box(route(&fleet, &ask(BALANCED), now, &mut rng)).is_err());
    }
    println!("10,000 providers, all full: {} ns", (start.elapsed() / 100).as_nanos());
}
