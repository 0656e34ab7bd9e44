//! What a caller's preferences do, in `OpenRouter`'s meaning.

mod world;

use std::time::Duration;

use filature_router::{
    Ask, Capabilities, End, Event, Fleet, ModelId, NoRoute, OfferedModel, Policy, Precisions, Preferences, Price,
    PriceMax, ProviderId, Quantile, Quantization, Sort, Threshold, Time, Unfit, route,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use world::{
    BALANCED, FLOOR, MODEL, ask, at_ms, check, ended, fleet_of, joined, ms, names, observe, offer, plan_for, price,
    started, strict,
};

const NOW: Time = at_ms(900_000);

fn list(entries: &[&str]) -> Vec<Box<str>> {
    entries.iter().map(|entry| Box::from(*entry)).collect()
}

fn wishing(preferences: &Preferences) -> Ask<'_> {
    Ask {
        preferences: Some(preferences),
        ..ask(BALANCED)
    }
}

fn wish(quantile: Quantile, value: f64) -> Vec<Threshold> {
    vec![Threshold { quantile, value }]
}

/// Known providers at rising prices.
fn known(providers: &[&str]) -> Fleet {
    let mut fleet = Fleet::new(strict());
    for (n, name) in (1..).zip(providers) {
        fleet.apply(joined(name, vec![offer(MODEL, n * 1_000_000)]), at_ms(0));
        observe(&mut fleet, name, 20, ms(300), ms(20), NOW);
    }
    fleet
}

#[track_caller]
fn check_wishes(fleet: &Fleet, preferences: &Preferences, expected: &[&str]) {
    check(fleet, &wishing(preferences), NOW, expected);
}

#[track_caller]
fn check_reason(fleet: &Fleet, ask: &Ask<'_>, reason: Unfit, field: &str) {
    assert_eq!(plan_for(fleet, ask, NOW), Err(NoRoute::NoneEligible { reason }));
    let told = NoRoute::NoneEligible { reason }.to_string();
    assert!(told.contains(field), "{told}");
}

#[test]
fn no_wishes_change_nothing() {
    check_wishes(&known(&["a", "b", "c"]), &Preferences::default(), &["a", "b", "c"]);
}

#[test]
fn only_and_ignore_are_hard() {
    let fleet = known(&["a", "b", "c"]);
    let only = Preferences {
        only: list(&["c", "b"]),
        ..Preferences::default()
    };
    check_wishes(&fleet, &only, &["b", "c"]);
    let ignore = Preferences {
        ignore: list(&["a", "c"]),
        ..Preferences::default()
    };
    check_wishes(&fleet, &ignore, &["b"]);
    let nobody = Preferences {
        only: list(&["z"]),
        ..Preferences::default()
    };
    check_reason(&fleet, &wishing(&nobody), Unfit::Only, "provider.only");
    let all = Preferences {
        ignore: list(&["a", "b", "c"]),
        ..Preferences::default()
    };
    check_reason(&fleet, &wishing(&all), Unfit::Ignore, "provider.ignore");
}

#[test]
fn those_ordered_come_first_and_the_rest_after_them() {
    let mut fleet = known(&["a", "b", "c", "d", "e"]);
    let order = Preferences {
        order: list(&["d", "z", "c"]),
        ..Preferences::default()
    };
    check_wishes(&fleet, &order, &["d", "c", "a", "b"]);
    let alone = Preferences {
        allow_fallbacks: false,
        ..order.clone()
    };
    check_wishes(&fleet, &alone, &["d", "c"]);
    let nobody = Preferences {
        order: list(&["z"]),
        ..alone.clone()
    };
    check_reason(&fleet, &wishing(&nobody), Unfit::Order, "provider.allow_fallbacks");
    // Whoever fails is a last resort, ordered or not.
    fleet.apply(started("d"), NOW);
    fleet.apply(ended("d", false, End::FailedEarly), NOW);
    check_wishes(&fleet, &order, &["c", "a", "b", "e"]);
    check_wishes(&fleet, &alone, &["c", "d"]);
}

#[test]
fn an_ordered_newcomer_comes_first_and_nobody_is_explored_before_it() {
    let mut fleet = Fleet::new(Policy {
        exploration: 1.0,
        ..strict()
    });
    for name in ["known", "new", "newer"] {
        fleet.apply(joined(name, vec![offer(MODEL, 1_000_000)]), at_ms(0));
    }
    observe(&mut fleet, "known", 20, ms(300), ms(20), NOW);
    let order = Preferences {
        order: list(&["new", "known"]),
        ..Preferences::default()
    };
    for seed in 0..50 {
        let plan = route(&fleet, &wishing(&order), NOW, &mut StdRng::seed_from_u64(seed)).expect("three");
        assert_eq!(names(&plan), ["new", "known", "newer"]);
    }
    fleet.apply(joined("newest", vec![offer(MODEL, 1_100_000)]), at_ms(0));
    let by_price = Preferences {
        sort: Some(Sort::Price),
        ..Preferences::default()
    };
    for seed in 0..50 {
        let plan = route(&fleet, &wishing(&by_price), NOW, &mut StdRng::seed_from_u64(seed)).expect("four");
        assert_ne!(names(&plan).first(), Some(&"newest"), "who sorts says who comes first");
    }
}

#[test]
fn without_order_no_fallbacks_means_the_best_alone() {
    let fleet = known(&["a", "b", "c"]);
    let single = Preferences {
        allow_fallbacks: false,
        ..Preferences::default()
    };
    check_wishes(&fleet, &single, &["a"]);
    let of_two = Preferences {
        only: list(&["c", "b"]),
        ..single
    };
    check_wishes(&fleet, &of_two, &["b"]);
}

#[test]
fn sorting_by_one_thing_looks_at_that_alone() {
    let mut fleet = fleet_of(&[("cheap", 1_000_000), ("soon", 5_000_000), ("fast", 9_000_000)]);
    observe(&mut fleet, "cheap", 20, ms(1500), ms(60), NOW);
    observe(&mut fleet, "soon", 20, ms(100), ms(50), NOW);
    observe(&mut fleet, "fast", 20, ms(900), ms(5), NOW);
    let sorted = |sort| Preferences {
        sort: Some(sort),
        ..Preferences::default()
    };
    check_wishes(&fleet, &sorted(Sort::Price), &["cheap", "soon", "fast"]);
    check_wishes(&fleet, &sorted(Sort::Latency), &["soon", "fast", "cheap"]);
    check_wishes(&fleet, &sorted(Sort::Throughput), &["fast", "soon", "cheap"]);
}

#[test]
fn of_equal_prices_the_faster_comes_first() {
    let mut fleet = fleet_of(&[("slow", 0), ("fast", 0)]);
    observe(&mut fleet, "slow", 20, ms(900), ms(60), NOW);
    observe(&mut fleet, "fast", 20, ms(100), ms(5), NOW);
    let by_price = Preferences {
        sort: Some(Sort::Price),
        ..Preferences::default()
    };
    check_wishes(&fleet, &by_price, &["fast", "slow"]);
}

#[test]
fn a_dear_and_fast_provider_is_worth_it_to_who_sorts_by_speed_and_an_absurd_one_to_nobody() {
    let mut fleet = fleet_of(&[("slow", 1_000_000), ("fast", 100_000_000)]);
    observe(&mut fleet, "slow", 20, ms(900), ms(60), NOW);
    observe(&mut fleet, "fast", 20, ms(100), ms(5), NOW);
    let absurd = OfferedModel {
        price: Price {
            call: 1_500_000_000,
            ..Price::default()
        },
        ..offer(MODEL, 1)
    };
    for name in ["evil", "evil2"] {
        fleet.apply(joined(name, vec![absurd.clone()]), at_ms(0));
        observe(&mut fleet, name, 20, ms(10), ms(1), NOW);
    }
    for sort in [Sort::Throughput, Sort::Latency] {
        let sorted = Preferences {
            sort: Some(sort),
            ..Preferences::default()
        };
        let patient = Ask {
            exchange: FLOOR,
            ..wishing(&sorted)
        };
        check(&fleet, &patient, NOW, &["fast", "slow"]);
    }
    // Who names an absurd offer gets it.
    for named in [
        Preferences {
            only: list(&["evil"]),
            ..Preferences::default()
        },
        Preferences {
            order: list(&["evil"]),
            allow_fallbacks: false,
            ..Preferences::default()
        },
    ] {
        check_wishes(&fleet, &named, &["evil"]);
    }
    let first = Preferences {
        order: list(&["evil"]),
        ..Preferences::default()
    };
    let plan = plan_for(&fleet, &wishing(&first), NOW).expect("all may serve");
    assert_eq!(names(&plan)[0], "evil");
    assert!(!names(&plan).contains(&"evil2"));
}

#[test]
fn who_misses_a_threshold_stands_behind_who_meets_it_or_is_unknown() {
    let mut fleet = known(&["a", "b"]);
    fleet.apply(joined("quick", vec![offer(MODEL, 30_000_000)]), at_ms(0));
    observe(&mut fleet, "quick", 20, ms(50), ms(5), NOW);
    fleet.apply(joined("unknown", vec![offer(MODEL, 40_000_000)]), at_ms(0));
    let fast = Preferences {
        throughput_min: wish(Quantile::P90, 100.0),
        ..Preferences::default()
    };
    check_wishes(&fleet, &fast, &["quick", "unknown", "a", "b"]);
    let soon = Preferences {
        latency_max: wish(Quantile::P50, 0.1),
        ..Preferences::default()
    };
    check_wishes(&fleet, &soon, &["quick", "unknown", "a", "b"]);
    let easy = Preferences {
        latency_max: wish(Quantile::P99, 2.0),
        throughput_min: wish(Quantile::P99, 10.0),
        ..Preferences::default()
    };
    check_wishes(&fleet, &easy, &["quick", "a", "b", "unknown"]);
    // The caller's order still goes before.
    let ordered = Preferences {
        order: list(&["b"]),
        ..soon
    };
    check_wishes(&fleet, &ordered, &["b", "quick", "unknown", "a"]);
}

#[test]
fn what_the_offer_says_of_weights_and_privacy_is_a_hard_filter() {
    let mut fleet = Fleet::new(strict());
    let stated = |label: &str, precision, can, nano| OfferedModel {
        quantization: Some(Quantization::from(label)),
        precision,
        can,
        ..offer(MODEL, nano)
    };
    fleet.apply(
        joined("q4", vec![stated("q4_k_m", Precisions::INT4, Capabilities::NONE, 1)]),
        NOW,
    );
    fleet.apply(
        joined("fp8", vec![stated("fp8", Precisions::FP8, Capabilities::PRIVATE, 2)]),
        NOW,
    );
    let silent = OfferedModel {
        precision: Precisions::NONE,
        ..offer(MODEL, 3)
    };
    fleet.apply(joined("silent", vec![silent]), NOW);
    let of = |precisions| Preferences {
        precisions,
        ..Preferences::default()
    };
    check_wishes(&fleet, &of(Precisions::FP8.with(Precisions::FP16)), &["fp8"]);
    check_wishes(
        &fleet,
        &of(Precisions::INT4.with(Precisions::UNKNOWN)),
        &["q4", "silent"],
    );
    check_reason(
        &fleet,
        &wishing(&of(Precisions::BF16)),
        Unfit::Precision,
        "provider.quantizations",
    );
    let private = Preferences {
        private_only: true,
        ..Preferences::default()
    };
    check_wishes(&fleet, &private, &["fp8"]);
    let both = Preferences {
        private_only: true,
        only: list(&["q4"]),
        ..Preferences::default()
    };
    check_reason(&fleet, &wishing(&both), Unfit::Private, "provider.data_collection");
    // A rescue goes on with the very same weights, stated or not.
    for (label, names) in [("q4_k_m", &["q4"]), ("", &["silent"])] {
        let rescue = Ask {
            quantization: Some(label),
            ..ask(FLOOR)
        };
        check(&fleet, &rescue, NOW, names);
    }
    let none_left = Ask {
        quantization: Some("fp16"),
        ..ask(FLOOR)
    };
    check_reason(&fleet, &none_left, Unfit::Quantization, "quantisation");
}

#[test]
fn the_price_the_caller_would_pay_bounds_every_price_a_provider_may_claim() {
    let mut fleet = Fleet::new(strict());
    let at = |price| OfferedModel {
        price,
        ..offer(MODEL, 0)
    };
    let plain = price(10);
    for (name, price) in [
        ("plain", plain),
        (
            "cached",
            Price {
                cached_prompt: 11,
                ..plain
            },
        ),
        ("reasons", Price { reasoning: 11, ..plain }),
        ("calls", Price { call: 11, ..plain }),
    ] {
        fleet.apply(joined(name, vec![at(price)]), at_ms(0));
    }
    let most = Preferences {
        price_max: PriceMax {
            prompt: Some(10),
            completion: Some(10),
            call: Some(10),
        },
        ..Preferences::default()
    };
    check_wishes(&fleet, &most, &["plain"]);
    let less = Preferences {
        price_max: PriceMax {
            prompt: Some(9),
            ..PriceMax::default()
        },
        ..Preferences::default()
    };
    check_reason(&fleet, &wishing(&less), Unfit::MaxPrice, "provider.max_price");
    let held = Ask {
        ceiling: Some(Price {
            cached_prompt: 11,
            ..plain
        }),
        ..ask(FLOOR)
    };
    check(&fleet, &held, NOW, &["plain", "cached"]);
    let held_less = Ask {
        ceiling: Some(price(9)),
        ..ask(FLOOR)
    };
    check_reason(&fleet, &held_less, Unfit::Ceiling, "held");
}

#[test]
fn those_tried_already_are_not_named_again() {
    let fleet = known(&["a", "b"]);
    let tried = ["a", "b"].map(ProviderId::from);
    let again = Ask {
        excluded: &tried[..1],
        ..ask(BALANCED)
    };
    check(&fleet, &again, NOW, &["b"]);
    let all = Ask {
        excluded: &tried,
        ..ask(BALANCED)
    };
    check_reason(&fleet, &all, Unfit::Excluded, "tried");
}

#[test]
fn the_reason_told_is_the_last_filter_on_the_way() {
    let mut fleet = Fleet::new(strict());
    let short = OfferedModel {
        output_tokens_max: 10,
        ..offer(MODEL, 1)
    };
    fleet.apply(joined("short", vec![short]), at_ms(0));
    fleet.apply(joined("dear", vec![offer(MODEL, 100)]), at_ms(0));
    let wishes = Preferences {
        only: list(&["short", "dear"]),
        price_max: PriceMax {
            prompt: Some(50),
            ..PriceMax::default()
        },
        ..Preferences::default()
    };
    let long = Ask {
        completion_tokens_min: 100,
        ..wishing(&wishes)
    };
    check_reason(&fleet, &long, Unfit::MaxPrice, "provider.max_price");
    let without = Preferences {
        ignore: list(&["dear"]),
        ..wishes
    };
    let long = Ask {
        completion_tokens_min: 100,
        ..wishing(&without)
    };
    check_reason(&fleet, &long, Unfit::Output, "completion tokens");
}

#[test]
fn in_a_large_fleet_those_named_are_found() {
    let mut fleet = Fleet::new(Policy::default());
    let id = |n: u32| format!("{n:032x}");
    for n in 0..3000 {
        fleet.apply(joined(&id(n), vec![offer(MODEL, 1_000_000)]), at_ms(0));
    }
    let (first, second) = (id(1234), id(2345));
    for seed in 0..50 {
        let plan = |preferences: &Preferences| {
            let mut rng = StdRng::seed_from_u64(seed);
            route(&fleet, &wishing(preferences), NOW, &mut rng)
        };
        let only = Preferences {
            only: list(&[&second, &first]),
            ..Preferences::default()
        };
        let mut named: Vec<_> = names(&plan(&only).expect("two"))
            .iter()
            .map(ToString::to_string)
            .collect();
        named.sort();
        assert_eq!(named, [first.clone(), second.clone()]);
        let order = Preferences {
            order: list(&[&second, &first]),
            ..Preferences::default()
        };
        let ordered = plan(&order).expect("all");
        assert_eq!(names(&ordered)[..2], [&*second, &*first]);
        assert_eq!(ordered.attempts.len(), 4);
        let nobody = Preferences {
            only: list(&["ffffffffffffffffffff"]),
            ..Preferences::default()
        };
        let reason = Unfit::Only;
        assert_eq!(plan(&nobody), Err(NoRoute::NoneEligible { reason }));
    }
}

#[test]
fn a_cache_that_is_full_turns_calls_away_and_an_empty_one_attracts_none() {
    let mut fleet = known(&["a", "b"]);
    let beat = |cache_use| Event::Heartbeat {
        provider: ProviderId::from("a"),
        running: 0,
        waiting: 0,
        cache_use,
    };
    fleet.apply(beat(0.97), NOW);
    check(&fleet, &ask(FLOOR), NOW, &["b", "a"]);
    check(&fleet, &ask(FLOOR), NOW + Duration::from_secs(10), &["a", "b"]);
    fleet.apply(beat(0.5), NOW);
    check(&fleet, &ask(FLOOR), NOW, &["a", "b"]);
}

#[test]
fn fallbacks_get_what_the_models_before_them_leave() {
    let mut fleet = Fleet::new(strict());
    let two = |nano| vec![offer(MODEL, nano), offer("next", nano)];
    for (name, nano) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)] {
        fleet.apply(joined(name, two(nano)), at_ms(0));
    }
    fleet.apply(joined("z", vec![offer("last", 1)]), at_ms(0));
    let check = |model, fallbacks: &[&str], expected: &[(&str, &str)]| {
        let fallbacks = list(fallbacks);
        let ask = Ask {
            model,
            fallbacks: &fallbacks,
            ..ask(FLOOR)
        };
        let plan = plan_for(&fleet, &ask, at_ms(0)).expect("somebody serves one of them");
        let named = plan.attempts.iter().map(|a| (a.model.as_str(), a.provider.as_str()));
        assert_eq!(named.collect::<Vec<_>>(), expected);
    };
    let m = MODEL;
    check(m, &["next"], &[(m, "a"), (m, "b"), (m, "c"), ("next", "d")]);
    check(m, &["next", "last"], &[(m, "a"), (m, "b"), (m, "c"), ("next", "d")]);
    check(
        "last",
        &["next", m],
        &[("last", "z"), ("next", "a"), ("next", "b"), (m, "c")],
    );
    check("unknown", &["last"], &[("last", "z")]);
    check("last", &["unknown", "last"], &[("last", "z")]);
}

#[test]
fn a_fallback_goes_before_the_last_resorts_of_the_first_model() {
    let mut fleet = Fleet::new(strict());
    fleet.apply(joined("a", vec![offer(MODEL, 1)]), at_ms(0));
    fleet.apply(joined("b", vec![offer("next", 1)]), at_ms(0));
    fleet.apply(started("a"), at_ms(0));
    fleet.apply(ended("a", false, End::FailedEarly), at_ms(1));
    let fallbacks = list(&["next"]);
    let ask = Ask {
        fallbacks: &fallbacks,
        ..ask(FLOOR)
    };
    check(&fleet, &ask, at_ms(2), &["b", "a"]);
}

#[test]
fn what_is_wrong_with_the_first_known_model_is_told() {
    let mut fleet = fleet_of(&[("a", 1)]);
    fleet.apply(joined("b", vec![offer("next", 1)]), at_ms(0));
    let error = |model, fallbacks: &[&str]| {
        let fallbacks = list(fallbacks);
        let ask = Ask {
            model,
            fallbacks: &fallbacks,
            needs: Capabilities::TOOLS,
            ..ask(FLOOR)
        };
        plan_for(&fleet, &ask, at_ms(0)).expect_err("nobody has tools")
    };
    let reason = Unfit::Capability;
    assert_eq!(error("unknown", &["nobody's"]), NoRoute::UnknownModel);
    assert_eq!(error("unknown", &["next"]), NoRoute::NoneEligible { reason });
    assert_eq!(error(MODEL, &["unknown"]), NoRoute::NoneEligible { reason });
}

#[test]
fn a_model_id_of_an_attempt_is_the_one_that_is_served() {
    let fleet = fleet_of(&[("a", 1)]);
    let plan = plan_for(&fleet, &ask(FLOOR), at_ms(0)).expect("a");
    assert_eq!(plan.attempts[0].model, ModelId::from(MODEL));
}
