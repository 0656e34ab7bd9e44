//! What a fleet learns beside latencies: caches, tails, newcomers, histories, and what siblings tell.

mod world;

use std::time::Duration;

use filature_router::{
    Ask, BreakerState, End, Event, Fleet, Memory, ModelId, OfferedModel, Policy, ProviderId, Strategy, Time, Try, route,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use world::{
    BALANCED, FLOOR, MODEL, NITRO, PROMPT_TOKENS, ask, at_ms, check, ended, first_token, fleet_of, joined, ms, names,
    observe, offer, plan_for, served, started, strict,
};

const NOW: Time = at_ms(900_000);

fn saw(provider: &str, prefix: u64, tokens: u32) -> Event {
    Event::Saw {
        provider: ProviderId::from(provider),
        model: ModelId::from(MODEL),
        prefix,
        tokens,
    }
}

/// A call with a long prompt, of which others with this prefix share the opening.
fn long(prefix: u64) -> Ask<'static> {
    Ask {
        prompt_tokens: 4000,
        prefix: Some(prefix),
        ..ask(BALANCED)
    }
}

fn pair() -> Fleet {
    let mut fleet = fleet_of(&[("a", 1_000_000), ("b", 1_010_000)]);
    for name in ["a", "b"] {
        observe(&mut fleet, name, 20, ms(300), ms(20), NOW);
    }
    fleet
}

#[test]
fn who_has_seen_the_opening_comes_first_and_has_less_to_do() {
    let mut fleet = pair();
    check(&fleet, &long(7), NOW, &["a", "b"]);
    fleet.apply(saw("b", 7, 3500), NOW);
    let plan = plan_for(&fleet, &long(7), NOW).expect("both");
    assert_eq!(names(&plan), ["b", "a"]);
    let prefill: Vec<_> = plan.attempts.iter().map(|a| a.prefill_tokens).collect();
    assert_eq!(prefill, [500, 4000]);
    check(&fleet, &long(8), NOW, &["a", "b"]);
    check(&fleet, &long(7), NOW + Duration::from_secs(302), &["a", "b"]);
}

#[test]
fn a_cache_is_no_reason_to_overrun_its_provider() {
    let mut fleet = fleet_of(&[("a", 1_000_000), ("b", 1_000_000), ("c", 1_000_000), ("d", 1_000_000)]);
    for name in ["a", "b", "c", "d"] {
        observe(&mut fleet, name, 20, ms(300), ms(20), NOW);
    }
    fleet.apply(saw("b", 7, 4000), NOW);
    let prefill_at = |fleet: &Fleet| {
        let plan = plan_for(fleet, &long(7), NOW).expect("four");
        let attempt = plan.attempts.iter().find(|a| a.provider.as_str() == "b");
        attempt.expect("b may serve").prefill_tokens
    };
    for _ in 0..6 {
        assert_eq!(prefill_at(&fleet), 250);
        fleet.apply(started("b"), NOW);
    }
    // Six calls, and a mean of one and a half.
    assert_eq!(prefill_at(&fleet), 250);
    fleet.apply(started("b"), NOW);
    assert_eq!(prefill_at(&fleet), 4000);
}

#[test]
fn in_a_large_fleet_the_holder_is_always_looked_at() {
    let mut fleet = Fleet::new(strict());
    for n in 0..2000 {
        fleet.apply(joined(&format!("p{n}"), vec![offer(MODEL, 1_000_000)]), at_ms(0));
    }
    fleet.apply(saw("p1234", 7, 4000), NOW);
    for seed in 0..50 {
        let plan = route(&fleet, &long(7), NOW, &mut StdRng::seed_from_u64(seed)).expect("many");
        assert_eq!(names(&plan)[0], "p1234");
    }
    let provider = ProviderId::from("p1234");
    fleet.apply(Event::Left { provider }, NOW);
    let plan = plan_for(&fleet, &long(7), NOW).expect("many");
    assert_eq!(plan.attempts[0].prefill_tokens, 4000);
}

#[test]
fn one_hedges_when_the_first_token_is_later_than_usual_and_another_is_ready() {
    let mut fleet = fleet_of(&[("a", 1_000_000), ("b", 1_010_000)]);
    for name in ["a", "b"] {
        observe(&mut fleet, name, 200, ms(400), ms(20), NOW);
    }
    let after = |fleet: &Fleet| plan_for(fleet, &ask(BALANCED), NOW).expect("a route").hedge_after;
    let usual = after(&fleet).expect("b is ready");
    assert!((400..1000).contains(&usual.as_millis()), "{usual:?}");
    // A provider that is usual in being late now and then is given more time.
    for n in 0..100 {
        let first = if n % 10 == 0 { ms(3000) } else { ms(400) };
        for name in ["a", "b"] {
            observe(&mut fleet, name, 1, first, ms(20), NOW);
        }
    }
    let spread = after(&fleet).expect("b is ready");
    assert!(spread > usual * 2, "{spread:?} against {usual:?}");
    let provider = ProviderId::from("b");
    fleet.apply(Event::Left { provider }, NOW);
    assert_eq!(after(&fleet), None, "nobody else");
}

#[test]
fn nobody_hedges_with_who_is_slower_or_crowded_nor_at_once() {
    let mut fleet = fleet_of(&[("a", 1_000_000), ("b", 1_000_000)]);
    observe(&mut fleet, "a", 200, ms(10), ms(20), NOW);
    observe(&mut fleet, "b", 200, ms(10), ms(20), NOW);
    let after = |fleet: &Fleet| plan_for(fleet, &ask(NITRO), NOW).expect("both").hedge_after;
    assert_eq!(after(&fleet), Some(ms(50)));
    observe(&mut fleet, "b", 50, ms(5000), ms(20), NOW);
    assert_eq!(after(&fleet), None, "b would be later than a is late");
    observe(&mut fleet, "b", 200, ms(10), ms(20), NOW);
    assert!(after(&fleet).is_some());
    for _ in 0..20 {
        fleet.apply(started("b"), NOW);
    }
    assert_eq!(after(&fleet), None, "b is at its limit");
}

#[test]
fn newcomers_stand_behind_the_proven_and_get_two_calls_at_once() {
    let mut fleet = fleet_of(&[("proven", 9_000_000), ("new", 1_000_000), ("new2", 1_000_000)]);
    observe(&mut fleet, "proven", 20, ms(300), ms(20), NOW);
    check(&fleet, &ask(FLOOR), NOW, &["proven", "new", "new2"]);
    for _ in 0..2 {
        fleet.apply(started("new"), NOW);
    }
    check(&fleet, &ask(FLOOR), NOW, &["proven", "new2", "new"]);
    // The proven one has its hands full: now everybody is needed.
    for _ in 0..8 {
        fleet.apply(started("proven"), NOW);
    }
    check(&fleet, &ask(FLOOR), NOW, &["new", "new2", "proven"]);
}

#[test]
fn where_everybody_is_new_service_is_normal() {
    let mut fleet = fleet_of(&[("a", 1_000_000), ("b", 9_000_000)]);
    for _ in 0..7 {
        fleet.apply(started("a"), NOW);
    }
    check(&fleet, &ask(FLOOR), NOW, &["a", "b"]);
}

#[test]
fn a_newcomer_is_needed_where_the_proven_one_stalls() {
    let mut fleet = fleet_of(&[("proven", 1_000_000), ("new", 2_000_000)]);
    observe(&mut fleet, "proven", 20, ms(300), ms(20), NOW);
    fleet.apply(started("proven"), NOW);
    check(&fleet, &ask(FLOOR), NOW + ms(500), &["proven", "new"]);
    check(&fleet, &ask(FLOOR), NOW + ms(3000), &["new", "proven"]);
}

#[test]
fn replicas_share_the_exploration() {
    let explored = |replicas| {
        let mut fleet = Fleet::new(Policy {
            exploration: 0.2,
            replicas,
            ..strict()
        });
        for (name, nano) in [("known", 1_000_000), ("new", 1_500_000)] {
            fleet.apply(joined(name, vec![offer(MODEL, nano)]), at_ms(0));
        }
        observe(&mut fleet, "known", 20, ms(300), ms(20), NOW);
        let mut rng = StdRng::seed_from_u64(1);
        let first = |_: &u32| {
            let plan = route(&fleet, &ask(BALANCED), NOW, &mut rng).expect("both");
            names(&plan)[0] == "new"
        };
        (0..10_000).filter(first).count()
    };
    assert!((1800..2200).contains(&explored(1)));
    assert!((400..600).contains(&explored(4)));
}

#[test]
fn endpoints_tell_what_is_offered_and_how_it_went() {
    let mut fleet = Fleet::new(strict());
    let offered = OfferedModel {
        quantization: Some("fp8".into()),
        ..offer(MODEL, 5)
    };
    fleet.apply(joined("p", vec![offered]), at_ms(0));
    fleet.apply(joined("silent", vec![offer(MODEL, 5)]), at_ms(0));
    observe(&mut fleet, "p", 20, ms(300), ms(20), NOW);
    for end in [End::FailedEarly, End::Cancelled, End::Refused] {
        fleet.apply(started("p"), NOW);
        fleet.apply(ended("p", false, end), NOW);
    }
    let endpoints = fleet.endpoints(MODEL, NOW);
    assert!(fleet.endpoints("nobody's", NOW).is_empty());
    let of = |name: &str| endpoints.iter().find(|view| view.seat.provider.as_str() == name);
    let view = of("p").expect("it is here");
    assert_eq!(view.quantization.as_ref().map(|q| q.as_str()), Some("fp8"));
    assert_eq!((view.concurrency_max, view.context_tokens_max), (64, 8192));
    for window in view.windows {
        assert_eq!((window.attempts, window.refused), (21, 1));
        assert!(window.uptime.is_some_and(|uptime| (uptime - 20.0 / 21.0).abs() < 1e-9));
        let first = window.first_token_s.expect("measured");
        assert!((0.24..0.37).contains(&first.p50) && first.p99 >= first.p50, "{first:?}");
        let speed = window.tokens_per_s.expect("measured");
        assert!((40.0..61.0).contains(&speed.p50), "{speed:?}");
    }
    let silent = of("silent").expect("it is here");
    assert!(silent.windows.iter().all(|window| window.uptime.is_none()));
}

#[test]
fn a_history_survives_reconnecting() {
    let mut fleet = fleet_of(&[("p", 1)]);
    fleet.apply(started("p"), at_ms(0));
    fleet.apply(ended("p", false, End::FailedEarly), at_ms(1));
    let provider = ProviderId::from("p");
    fleet.apply(Event::Left { provider }, at_ms(2));
    fleet.apply(joined("p", vec![offer(MODEL, 1)]), at_ms(3));
    assert_eq!(fleet.endpoints(MODEL, at_ms(4))[0].windows[0].uptime, Some(0.0));
}

#[test]
fn a_new_replica_starts_from_its_siblings_averages() {
    let mut old = fleet_of(&[("slow", 1_000_000), ("quick", 1_000_000)]);
    observe(&mut old, "slow", 30, ms(2000), ms(90), NOW);
    observe(&mut old, "quick", 30, ms(100), ms(9), NOW);
    let memories = old.memories(NOW + ms(1000));
    assert_eq!(memories.len(), 2);
    for joins_first in [true, false] {
        let mut new = Fleet::new(strict());
        let join = |new: &mut Fleet| {
            for name in ["slow", "quick"] {
                new.apply(joined(name, vec![offer(MODEL, 1_000_000)]), at_ms(5));
            }
        };
        if joins_first {
            join(&mut new);
        }
        for memory in &memories {
            new.apply(Event::Remembered(memory.clone()), at_ms(5));
        }
        if !joins_first {
            join(&mut new);
        }
        check(&new, &ask(BALANCED), at_ms(5), &["quick", "slow"]);
        let seat = |fleet: &Fleet, now| fleet.seat("slow", MODEL, now).expect("it is here");
        let (there, here) = (seat(&old, NOW), seat(&new, at_ms(5)));
        assert_eq!((here.first_token, here.gap), (there.first_token, there.gap));
        assert_eq!(here.first_tokens_seen, 30);
    }
}

#[test]
fn who_knows_more_keeps_what_it_knows_and_no_memory_closes_a_breaker() {
    let mut fleet = fleet_of(&[("p", 1)]);
    observe(&mut fleet, "p", 30, ms(200), ms(20), NOW);
    fleet.apply(started("p"), NOW);
    fleet.apply(ended("p", false, End::FailedEarly), NOW);
    let before = fleet.seat("p", MODEL, NOW).expect("it is here");
    let memory = |first_tokens, base_s| Memory {
        provider: ProviderId::from("p"),
        model: ModelId::from(MODEL),
        base_s,
        prefill_s: base_s,
        floor_s: base_s,
        gap_s: base_s,
        gap_streams: base_s,
        first_tokens,
        gaps: first_tokens,
        served: 1000,
        errors: base_s,
        age: Duration::ZERO,
    };
    fleet.apply(Event::Remembered(memory(29, 9.0)), NOW);
    let after = fleet.seat("p", MODEL, NOW).expect("it is here");
    assert_eq!((after.first_token, after.gap), (before.first_token, before.gap));
    assert_eq!(after.breaker, BreakerState::Open);
    assert!(after.errors > 8.9, "more failures do count");
    // What comes from a store may be anything.
    for absurd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
        fleet.apply(Event::Remembered(memory(u32::MAX, absurd)), NOW);
        let seat = fleet.seat("p", MODEL, NOW).expect("it is here");
        assert!(seat.errors.is_finite() && seat.errors >= 0.0);
        assert!(plan_for(&fleet, &ask(NITRO), NOW).is_ok());
    }
}

#[test]
fn retries_are_permitted_by_what_was_started() {
    let mut fleet = Fleet::new(Policy {
        retry_per_second: 0.0,
        ..strict()
    });
    fleet.apply(joined("p", vec![offer(MODEL, 1)]), at_ms(0));
    let start = |kind| Event::Started {
        provider: ProviderId::from("p"),
        model: ModelId::from(MODEL),
        prompt_tokens: PROMPT_TOKENS,
        kind,
    };
    for _ in 0..10 {
        fleet.apply(start(Try::First), at_ms(0));
        fleet.apply(start(Try::Retry), at_ms(0));
    }
    let permitted = |fleet: &mut Fleet, kind| (0..100).take_while(|_| fleet.permit(kind, at_ms(1))).count();
    assert_eq!(permitted(&mut fleet, Try::Rescue), 2);
    assert_eq!(permitted(&mut fleet, Try::Hedge), 1);
    assert_eq!(permitted(&mut fleet, Try::First), 100);
}

fn baseline(strategy: Strategy, offers: &[(&str, u64)]) -> Fleet {
    let mut fleet = Fleet::new(Policy {
        strategy,
        ..Policy::default()
    });
    for (name, nano) in offers {
        fleet.apply(joined(name, vec![offer(MODEL, *nano)]), at_ms(0));
    }
    fleet
}

/// How often each came first, of 3,000 calls.
fn firsts(fleet: &Fleet, now: Time, names_of: [&str; 3]) -> [usize; 3] {
    let mut rng = StdRng::seed_from_u64(9);
    let mut counts = [0; 3];
    for _ in 0..3000 {
        let plan = route(fleet, &ask(BALANCED), now, &mut rng).expect("three");
        assert_eq!(plan.attempts.len(), 3, "the same retries as ours");
        assert_eq!(plan.hedge_after, None);
        let first = names(&plan)[0];
        let at = names_of.iter().position(|name| *name == first).expect("one of them");
        counts[at] += 1;
    }
    counts
}

const ABC: [&str; 3] = ["a", "b", "c"];
const EQUALS: [(&str, u64); 3] = [("a", 1_000_000), ("b", 1_000_000), ("c", 1_000_000)];

#[test]
fn least_outstanding_breaks_ties_at_random_and_knows_no_breaker() {
    let mut fleet = baseline(Strategy::LeastOutstanding, &EQUALS);
    fleet.apply(started("a"), NOW);
    fleet.apply(started("b"), NOW);
    fleet.apply(ended("b", false, End::FailedEarly), NOW);
    let [a, b, c] = firsts(&fleet, NOW, ABC);
    assert_eq!(a, 0);
    assert!(b > 1400 && c > 1400, "{b} {c}");
}

#[test]
fn round_robin_goes_on_after_the_last_chosen() {
    let mut fleet = baseline(Strategy::RoundRobin, &EQUALS);
    for expected in ["a", "b", "c", "a", "b"] {
        let plan = plan_for(&fleet, &ask(FLOOR), NOW).expect("three");
        assert_eq!(names(&plan)[0], expected);
        fleet.apply(started(expected), NOW);
    }
    check(&fleet, &ask(FLOOR), NOW, &["c", "a", "b"]);
}

#[test]
fn half_the_price_draws_four_times_the_calls_until_an_outage() {
    let mut fleet = baseline(
        Strategy::InverseSquarePrice,
        &[("a", 1_000_000), ("b", 2_000_000), ("c", 3_000_000)],
    );
    // Weights 36 : 9 : 4. Source: the example in OpenRouter's documentation.
    let [a, b, c] = firsts(&fleet, NOW, ABC);
    assert!(
        (2100..2310).contains(&a) && (480..620).contains(&b) && (180..310).contains(&c),
        "{a} {b} {c}"
    );
    fleet.apply(started("a"), NOW);
    fleet.apply(ended("a", false, End::FailedEarly), NOW);
    assert_eq!(firsts(&fleet, NOW, ABC)[0], 0);
    assert!(firsts(&fleet, NOW + Duration::from_secs(31), ABC)[0] > 2000);
}

#[test]
fn peak_ewma_avoids_the_slow_and_falls_for_the_fast_failing() {
    let mut fleet = baseline(Strategy::PeakEwma, &EQUALS);
    observe(&mut fleet, "a", 20, ms(300), ms(20), NOW);
    observe(&mut fleet, "b", 20, ms(300), ms(20), NOW);
    fleet.apply(started("b"), NOW);
    fleet.apply(first_token("b", ms(5000)), NOW);
    fleet.apply(ended("b", true, served(ms(1000))), NOW);
    for n in 0..50 {
        fleet.apply(started("c"), NOW.saturating_before(ms(n)));
        fleet.apply(ended("c", false, End::FailedEarly), NOW);
    }
    let [a, b, c] = firsts(&fleet, NOW, ABC);
    // Of two at random the better: never the worst, the best in two of three.
    assert_eq!(b, 0, "{a} {b} {c}");
    assert!(c > 1900, "{a} {b} {c}");
}

#[test]
fn running_times_average_takes_an_idle_one_whatever_its_past() {
    let mut fleet = baseline(Strategy::RunningTimesAverage, &EQUALS);
    for name in ABC {
        observe(
            &mut fleet,
            name,
            20,
            ms(if name == "b" { 100 } else { 900 }),
            ms(20),
            NOW,
        );
        fleet.apply(started(name), NOW);
    }
    assert_eq!(firsts(&fleet, NOW, ABC), [0, 3000, 0]);
    fleet.apply(ended("c", false, End::Cancelled), NOW);
    assert_eq!(firsts(&fleet, NOW, ABC), [0, 0, 3000]);
}

#[test]
fn baselines_keep_to_the_hard_filters() {
    for strategy in [
        Strategy::PeakEwma,
        Strategy::LeastOutstanding,
        Strategy::RoundRobin,
        Strategy::InverseSquarePrice,
        Strategy::RunningTimesAverage,
    ] {
        let mut fleet = baseline(strategy, &EQUALS);
        let tried = [ProviderId::from("b")];
        for _ in 0..64 {
            fleet.apply(started("c"), NOW);
        }
        let ask = Ask {
            excluded: &tried,
            ..ask(BALANCED)
        };
        check(&fleet, &ask, NOW, &["a"]);
    }
}

/// One call served, of whose tokens as many again were claimed.
fn claims_double(fleet: &mut Fleet, name: &str) {
    observe(fleet, name, 1, ms(300), ms(20), NOW);
    let event = Event::Overclaimed {
        provider: ProviderId::from(name),
        model: ModelId::from(MODEL),
        borne_out: 700,
        beyond: 700,
    };
    fleet.apply(event, NOW);
}

#[test]
fn who_claims_more_than_passes_is_dearer_than_its_price() {
    let mut fleet = fleet_of(&[("cheap", 1_000_000), ("fair", 1_300_000)]);
    for name in ["cheap", "fair"] {
        observe(&mut fleet, name, 20, ms(300), ms(20), NOW);
    }
    let first = |fleet: &Fleet, exchange| names(&plan_for(fleet, &ask(exchange), NOW).expect("both"))[0].to_owned();
    assert_eq!(first(&fleet, FLOOR), "cheap");
    claims_double(&mut fleet, "cheap");
    assert_eq!(first(&fleet, FLOOR), "cheap", "once is no habit");
    for _ in 0..30 {
        claims_double(&mut fleet, "cheap");
    }
    assert_eq!(first(&fleet, FLOOR), "fair");
    let dearness = |fleet: &Fleet, name| fleet.seat(name, MODEL, NOW).expect("a seat").dearness;
    assert!((1.5..1.95).contains(&dearness(&fleet, "cheap")));
    assert_eq!(dearness(&fleet, "fair").to_bits(), 1.0_f64.to_bits());

    // Leaving for a moment washes nothing off; calls with right claims do.
    let provider = ProviderId::from("cheap");
    fleet.apply(Event::Left { provider }, NOW);
    fleet.apply(joined("cheap", vec![offer(MODEL, 1_000_000)]), NOW);
    assert_eq!(first(&fleet, FLOOR), "fair");
    observe(&mut fleet, "cheap", 60, ms(300), ms(20), NOW);
    assert_eq!(first(&fleet, FLOOR), "cheap");
}
