//! What a price is judged by: the market, newcomers beside it, and offers that are absurd.

mod world;

use filature_router::{End, Fleet, OfferedModel, Policy, Price, route};
use rand::SeedableRng;
use rand::rngs::StdRng;
use world::{
    BALANCED, FLOOR, MODEL, NITRO, ask, at_ms, check, ended, joined, ms, names, observe, offer, plan_for, started,
    strict,
};

/// An offer of `nano` a call, whatever its size.
fn by_call(nano: u64) -> OfferedModel {
    OfferedModel {
        price: Price {
            call: nano,
            ..Price::default()
        },
        ..offer(MODEL, 0)
    }
}

fn fleet_by_call(policy: Policy, offers: &[(&str, u64)]) -> Fleet {
    let mut fleet = Fleet::new(policy);
    for (name, nano) in offers {
        fleet.apply(joined(name, vec![by_call(*nano)]), at_ms(0));
    }
    fleet
}

/// The gateway's default λ.
const DEFAULT: f64 = 50_000.0;

const ONE_AND_A_HALF_TON: u64 = 1_500_000_000;

#[test]
fn a_newcomer_is_explored_only_near_what_the_market_asks() {
    let always = Policy {
        exploration: 1.0,
        ..strict()
    };
    let now = at_ms(900_000);
    for (newcomer, is_explored) in [
        (ONE_AND_A_HALF_TON, false),
        (50_000, false),
        (16_000, true),
        (3_100, true),
        (0, true),
    ] {
        for exchange in [FLOOR, DEFAULT, BALANCED, NITRO] {
            let mut fleet = fleet_by_call(always, &[("known", 3_100), ("new", newcomer)]);
            observe(&mut fleet, "known", 20, ms(1), ms(1), now);
            let plan = plan_for(&fleet, &ask(exchange), now).expect("both may serve");
            let first = names(&plan)[0];
            assert_eq!(first == "new", is_explored, "{newcomer} nano at {exchange}");
        }
    }
}

#[test]
fn no_call_ever_goes_to_a_newcomer_that_asks_a_ton() {
    // The attack as it was shown: with all dice, known or not known yet, alone or in numbers.
    let dear = [
        ("new", ONE_AND_A_HALF_TON),
        ("new2", ONE_AND_A_HALF_TON),
        ("new3", 2_000_000_000),
    ];
    for (strangers, is_known) in [(1, true), (1, false), (3, true), (3, false)] {
        let mut fleet = fleet_by_call(Policy::default(), &[("known", 3_100)]);
        if is_known {
            observe(&mut fleet, "known", 20, ms(300), ms(20), at_ms(900_000));
        }
        for (name, nano) in &dear[..strangers] {
            fleet.apply(joined(name, vec![by_call(*nano)]), at_ms(0));
        }
        let mut rng = StdRng::seed_from_u64(3);
        for _ in 0..3000 {
            let plan = route(&fleet, &ask(DEFAULT), at_ms(900_000), &mut rng).expect("one may serve");
            assert_eq!(names(&plan), ["known"]);
        }
    }
}

#[test]
fn an_absurd_offer_is_in_no_plan() {
    const ABSURD: u64 = 1_000_000_000_000_000;
    let hidden = |price| OfferedModel {
        price,
        ..offer(MODEL, 1)
    };
    let absurd = [
        by_call(ABSURD),
        offer(MODEL, ABSURD),
        hidden(Price {
            cached_prompt: ABSURD,
            ..Price::default()
        }),
        hidden(Price {
            reasoning: ABSURD,
            ..Price::default()
        }),
    ];
    for offer in absurd {
        for exchange in [FLOOR, DEFAULT, BALANCED, NITRO] {
            let mut fleet = fleet_by_call(strict(), &[("a", 3_100)]);
            for name in ["evil", "evil2", "evil3"] {
                fleet.apply(joined(name, vec![offer.clone()]), at_ms(0));
                check(&fleet, &ask(exchange), at_ms(0), &["a"]);
            }
            fleet.apply(joined("b", vec![by_call(20_000)]), at_ms(0));
            check(&fleet, &ask(exchange), at_ms(0), &["a", "b"]);
            // Who has as many calls as suit it is still better than an absurd offer.
            for _ in 0..10 {
                fleet.apply(started("a"), at_ms(0));
                fleet.apply(started("b"), at_ms(0));
            }
            fleet.apply(joined("evil4", vec![offer.clone()]), at_ms(0));
            let plan = plan_for(&fleet, &ask(exchange), at_ms(0)).expect("two may serve");
            assert!(names(&plan).iter().all(|name| ["a", "b"].contains(name)), "{plan:?}");
        }
    }
}

#[test]
fn a_free_provider_does_not_throw_out_the_normal_ones() {
    let normal = [("a", 3_000), ("b", 8_000), ("c", 20_000)];
    for exchange in [FLOOR, DEFAULT, BALANCED] {
        let mut fleet = fleet_by_call(strict(), &normal);
        fleet.apply(joined("free", vec![by_call(0)]), at_ms(0));
        check(&fleet, &ask(exchange), at_ms(0), &["free", "a", "b", "c"]);
        fleet.apply(joined("absurd", vec![by_call(ONE_AND_A_HALF_TON)]), at_ms(0));
        check(&fleet, &ask(exchange), at_ms(0), &["free", "a", "b", "c"]);
    }
    // Two are left of a market of two.
    let fleet = fleet_by_call(strict(), &[("free", 0), ("a", 20_000)]);
    check(&fleet, &ask(FLOOR), at_ms(0), &["free", "a"]);
}

#[test]
fn beside_a_free_provider_those_who_serve_set_the_measure_of_long_calls() {
    let now = at_ms(900_000);
    let long = [("a", 30_000_000), ("b", 80_000_000), ("c", 200_000_000)];
    let mut fleet = fleet_by_call(strict(), &long);
    for (name, _) in long {
        observe(&mut fleet, name, 20, ms(300), ms(20), now);
    }
    fleet.apply(joined("free", vec![by_call(0)]), now);
    for exchange in [FLOOR, DEFAULT] {
        check(&fleet, &ask(exchange), now, &["a", "b", "c", "free"]);
    }
    observe(&mut fleet, "free", 20, ms(300), ms(20), now);
    for exchange in [FLOOR, DEFAULT] {
        check(&fleet, &ask(exchange), now, &["free", "a", "b", "c"]);
    }
}

#[test]
fn who_is_slow_stays_in_the_plan_of_the_hurried() {
    let now = at_ms(900_000);
    let mut fleet = fleet_by_call(strict(), &[("quick", 3_000), ("slow", 3_000)]);
    observe(&mut fleet, "quick", 20, ms(50), ms(2), now);
    observe(&mut fleet, "slow", 20, ms(5000), ms(300), now);
    check(&fleet, &ask(NITRO), now, &["quick", "slow"]);
}

#[test]
fn a_model_that_only_dear_providers_serve_is_served() {
    let fleet = fleet_by_call(strict(), &[("dear", ONE_AND_A_HALF_TON)]);
    check(&fleet, &ask(FLOOR), at_ms(0), &["dear"]);
    let fleet = fleet_by_call(strict(), &[("dear", ONE_AND_A_HALF_TON), ("dearer", 4_000_000_000)]);
    check(&fleet, &ask(FLOOR), at_ms(0), &["dear", "dearer"]);
}

#[test]
fn where_all_fail_the_last_resort_is_no_absurd_one() {
    let mut fleet = fleet_by_call(strict(), &[("a", 3_100), ("absurd", ONE_AND_A_HALF_TON)]);
    for name in ["a", "absurd"] {
        fleet.apply(started(name), at_ms(0));
        fleet.apply(ended(name, false, End::FailedEarly), at_ms(2));
    }
    check(&fleet, &ask(DEFAULT), at_ms(3), &["a"]);
}
