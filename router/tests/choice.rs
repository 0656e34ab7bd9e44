//! Which provider a call goes to, one fact at a time.

mod world;

use std::time::Duration;

use filature_router::{
    Ask, BreakerState, Capabilities, End, Endpoints, Event, Fleet, ModelId, NoRoute, OfferedModel, Policy, ProviderId,
    Try, Unfit, route,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use world::{
    BALANCED, FLOOR, MODEL, NITRO, PROMPT_TOKENS, ask, at_ms, check, ended, first_token, fleet_of, joined, ms, names,
    observe, offer, plan_for, started, strict,
};

#[test]
fn cheap_wins_for_the_patient_and_fast_for_the_hurried() {
    let now = at_ms(900_000);
    let mut fleet = fleet_of(&[("cheap", 1_000_000), ("fast", 40_000_000)]);
    observe(&mut fleet, "cheap", 20, ms(1500), ms(60), now);
    observe(&mut fleet, "fast", 20, ms(150), ms(8), now);
    check(&fleet, &ask(FLOOR), now, &["cheap", "fast"]);
    check(&fleet, &ask(NITRO), now, &["fast", "cheap"]);
}

#[test]
fn an_idle_provider_beats_a_busy_one() {
    let now = at_ms(900_000);
    let mut fleet = fleet_of(&[("busy", 1_000_000), ("idle", 1_000_000)]);
    for name in ["busy", "idle"] {
        observe(&mut fleet, name, 20, ms(300), ms(20), now);
    }
    fleet.apply(started("busy"), now);
    check(&fleet, &ask(BALANCED), now, &["idle", "busy"]);
}

#[test]
fn of_equals_the_one_with_less_prefill_ahead_wins() {
    let now = at_ms(900_000);
    let mut fleet = fleet_of(&[("long", 1_000_000), ("short", 1_000_000)]);
    for (name, prompt_tokens) in [("long", 7000), ("short", 10)] {
        observe(&mut fleet, name, 20, ms(300), ms(20), now);
        let (provider, model) = (ProviderId::from(name), ModelId::from(MODEL));
        fleet.apply(
            Event::Started {
                provider,
                model,
                prompt_tokens,
                kind: Try::First,
            },
            now,
        );
    }
    check(&fleet, &ask(BALANCED), now, &["short", "long"]);
}

#[test]
fn a_first_token_that_is_late_turns_calls_away_before_its_deadline() {
    let now = at_ms(900_000);
    let mut fleet = fleet_of(&[("stuck", 1_000_000_000), ("dear", 2_000_000_000)]);
    for name in ["stuck", "dear"] {
        observe(&mut fleet, name, 20, ms(300), ms(20), now);
    }
    fleet.apply(started("stuck"), now);
    check(&fleet, &ask(BALANCED), now + ms(300), &["stuck", "dear"]);
    check(&fleet, &ask(BALANCED), now + ms(3000), &["dear", "stuck"]);
}

#[test]
fn an_answer_that_comes_whole_is_not_late_without_a_first_token() {
    let now = at_ms(900_000);
    let mut fleet = fleet_of(&[("works", 1_000_000_000), ("dear", 2_000_000_000)]);
    for name in ["works", "dear"] {
        observe(&mut fleet, name, 20, ms(300), ms(20), now);
    }
    fleet.apply(started("works"), now);
    let unstreamed = Event::Unstreamed {
        provider: ProviderId::from("works"),
        model: ModelId::from(MODEL),
        prompt_tokens: PROMPT_TOKENS,
    };
    fleet.apply(unstreamed, now);
    check(&fleet, &ask(BALANCED), now + ms(3000), &["works", "dear"]);
}

#[test]
fn recent_failures_weigh_and_fade() {
    let now = at_ms(900_000);
    let mut fleet = fleet_of(&[("flaky", 1_000_000), ("sound", 1_010_000)]);
    for name in ["flaky", "sound"] {
        observe(&mut fleet, name, 20, ms(300), ms(20), now);
    }
    fleet.apply(started("flaky"), now);
    fleet.apply(first_token("flaky", ms(0)), now);
    fleet.apply(ended("flaky", true, End::Broke), now);
    let errors = |now| fleet.seat("flaky", MODEL, now).map(|seat| seat.errors);
    assert!(errors(now).is_some_and(|errors| errors > 0.99));
    check(&fleet, &ask(BALANCED), now, &["sound", "flaky"]);
    check(
        &fleet,
        &ask(BALANCED),
        now + Duration::from_secs(600),
        &["flaky", "sound"],
    );
}

#[test]
fn a_failing_provider_is_tried_last_and_alone_until_its_probe() {
    let mut fleet = fleet_of(&[("a", 1_000_000), ("b", 1_000_000), ("c", 9_000_000)]);
    for name in ["a", "b"] {
        fleet.apply(started(name), at_ms(0));
        fleet.apply(ended(name, false, End::FailedEarly), at_ms(2));
    }
    let plan = plan_for(&fleet, &ask(BALANCED), at_ms(4000)).expect("c is sound");
    assert_eq!(names(&plan)[0], "c");
    assert_eq!(plan.attempts.len(), 2, "one last resort, not two");
    // After five seconds both may be probed, once.
    let plan = plan_for(&fleet, &ask(FLOOR), at_ms(5002)).expect("all may be tried");
    assert_eq!(plan.attempts.len(), 3);
    assert_eq!(plan.attempts[2].provider.as_str(), "c", "now by price again");
    fleet.apply(started("a"), at_ms(5002));
    let state = |fleet: &Fleet, now| fleet.seat("a", MODEL, now).map(|seat| seat.breaker);
    assert_eq!(state(&fleet, at_ms(5003)), Some(BreakerState::Open));
    fleet.apply(first_token("a", ms(100)), at_ms(5102));
    assert_eq!(state(&fleet, at_ms(5102)), Some(BreakerState::Closed));
}

#[test]
fn where_all_have_failed_one_is_still_tried() {
    let mut fleet = fleet_of(&[("a", 1_000_000), ("b", 1_000_000)]);
    for name in ["a", "b"] {
        fleet.apply(started(name), at_ms(0));
        fleet.apply(ended(name, false, End::FailedEarly), at_ms(2));
    }
    let plan = plan_for(&fleet, &ask(BALANCED), at_ms(3)).expect("a last resort");
    assert_eq!(plan.attempts.len(), 1);
}

#[test]
fn a_refusal_turns_calls_away_briefly_and_is_no_failure() {
    let mut fleet = fleet_of(&[("full", 1_000_000), ("other", 2_000_000)]);
    fleet.apply(started("full"), at_ms(0));
    fleet.apply(ended("full", false, End::Refused), at_ms(1));
    check(&fleet, &ask(FLOOR), at_ms(2), &["other", "full"]);
    check(&fleet, &ask(FLOOR), at_ms(300), &["full", "other"]);
    let seat = fleet.seat("full", MODEL, at_ms(2)).expect("it is there");
    assert_eq!(
        (seat.breaker, seat.errors, seat.in_flight),
        (BreakerState::Closed, 0.0, 0)
    );
    assert!(seat.is_backing_off);
}

#[test]
fn a_heartbeat_can_turn_calls_away_but_never_attract_them() {
    let now = at_ms(900_000);
    let beat = |running, waiting| Event::Heartbeat {
        provider: ProviderId::from("a"),
        running,
        waiting,
        cache_use: 0.0,
    };
    let mut fleet = fleet_of(&[("a", 1_000_000), ("b", 1_050_000)]);
    for name in ["a", "b"] {
        observe(&mut fleet, name, 20, ms(300), ms(20), now);
    }
    for _ in 0..6 {
        fleet.apply(started("a"), now);
    }
    fleet.apply(beat(0, 0), now);
    check(&fleet, &ask(BALANCED), now, &["b", "a"]);
    for _ in 0..6 {
        fleet.apply(ended("a", false, End::Cancelled), now);
    }
    check(&fleet, &ask(BALANCED), now, &["a", "b"]);
    fleet.apply(beat(20, 9), now);
    check(&fleet, &ask(BALANCED), now, &["b", "a"]);
    // It says it has as many as it offered to take.
    fleet.apply(beat(60, 4), now);
    check(&fleet, &ask(BALANCED), now, &["b"]);
    // A claim that is not renewed is forgotten.
    check(&fleet, &ask(BALANCED), now + Duration::from_secs(10), &["a", "b"]);
}

#[test]
fn a_claim_of_no_more_than_was_sent_changes_nothing() {
    let mut fleet = fleet_of(&[("p", 1)]);
    for _ in 0..3 {
        fleet.apply(started("p"), at_ms(0));
    }
    for (running, waiting, load) in [(0, 0, 3.0), (2, 1, 3.0), (2, 2, 4.0)] {
        let provider = ProviderId::from("p");
        let claim = Event::Heartbeat {
            provider,
            running,
            waiting,
            cache_use: 0.0,
        };
        fleet.apply(claim, at_ms(1));
        let seat = fleet.seat("p", MODEL, at_ms(2));
        assert_eq!(seat.map(|seat| seat.load), Some(load), "{running} + {waiting}");
    }
}

#[test]
fn a_claimed_load_is_shared_by_what_each_model_was_offered_for() {
    let mut fleet = Fleet::new(strict());
    let small = OfferedModel {
        concurrency_max: 8,
        ..offer("small", 1)
    };
    let large = OfferedModel {
        concurrency_max: 24,
        ..offer("large", 1)
    };
    fleet.apply(joined("p", vec![small, large]), at_ms(0));
    let provider = ProviderId::from("p");
    fleet.apply(
        Event::Heartbeat {
            provider,
            running: 10,
            waiting: 6,
            cache_use: 0.0,
        },
        at_ms(0),
    );
    let load = |model| fleet.seat("p", model, at_ms(1)).map(|seat| seat.load);
    assert_eq!((load("small"), load("large")), (Some(4.0), Some(12.0)));
}

#[test]
fn each_hard_filter_names_what_is_missing() {
    let base = ask(BALANCED);
    let fleet = fleet_of(&[("p", 1)]);
    let too_long = Ask {
        prompt_tokens: 8192,
        ..base
    };
    for (ask, reason) in [
        (
            Ask {
                endpoint: Endpoints::EMBEDDINGS,
                ..base
            },
            Unfit::Endpoint,
        ),
        (
            Ask {
                needs: Capabilities::TOOLS,
                ..base
            },
            Unfit::Capability,
        ),
        (
            Ask {
                completion_tokens_min: 4097,
                ..base
            },
            Unfit::Output,
        ),
        (
            Ask {
                prompt_tokens: 8000,
                completion_tokens_min: 200,
                ..base
            },
            Unfit::Context,
        ),
        (too_long, Unfit::Context),
    ] {
        assert_eq!(plan_for(&fleet, &ask, at_ms(0)), Err(NoRoute::NoneEligible { reason }));
    }
    let unknown = Ask {
        model: "nobody's",
        ..base
    };
    assert_eq!(plan_for(&fleet, &unknown, at_ms(0)), Err(NoRoute::UnknownModel));
    let embeds = Ask {
        completion_tokens_min: 0,
        completion_tokens_max: 0,
        ..too_long
    };
    assert!(
        plan_for(&fleet, &embeds, at_ms(0)).is_ok(),
        "no completion needs no room"
    );
}

#[test]
fn the_reason_told_is_of_the_provider_that_came_nearest() {
    let mut fleet = fleet_of(&[("drains", 1)]);
    let chatless = OfferedModel {
        endpoints: Endpoints::EMBEDDINGS,
        ..offer(MODEL, 1)
    };
    fleet.apply(joined("embeds", vec![chatless]), at_ms(0));
    let provider = ProviderId::from("drains");
    fleet.apply(Event::Draining { provider }, at_ms(0));
    let reason = Unfit::Draining;
    assert_eq!(
        plan_for(&fleet, &ask(FLOOR), at_ms(0)),
        Err(NoRoute::NoneEligible { reason })
    );
    // Back with a new offer, it drains no more.
    fleet.apply(joined("drains", vec![offer(MODEL, 1)]), at_ms(1));
    check(&fleet, &ask(FLOOR), at_ms(1), &["drains"]);
}

#[test]
fn an_attempt_never_allows_more_than_its_provider_does() {
    let mut fleet = fleet_of(&[("large", 1)]);
    let small = OfferedModel {
        output_tokens_max: 100,
        ..offer(MODEL, 2)
    };
    fleet.apply(joined("small", vec![small]), at_ms(0));
    let cramped = OfferedModel {
        context_tokens_max: PROMPT_TOKENS + 50,
        ..offer(MODEL, 3)
    };
    fleet.apply(joined("cramped", vec![cramped]), at_ms(0));
    let plan = plan_for(&fleet, &ask(FLOOR), at_ms(0)).expect("all fit");
    let mut allowed: Vec<_> = plan.attempts.iter().map(|a| a.output_tokens_max).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, [50, 100, 1000]);
    assert_eq!(plan.dearest_price().prompt, 3);
}

#[test]
fn beyond_the_adaptive_limit_calls_go_elsewhere_and_beyond_the_offer_nowhere() {
    for beyond_limit in [true, false] {
        let mut fleet = Fleet::new(Policy {
            beyond_limit,
            ..strict()
        });
        let few = OfferedModel {
            concurrency_max: 12,
            ..offer(MODEL, 1)
        };
        fleet.apply(joined("cheap", vec![few]), at_ms(0));
        fleet.apply(joined("dear", vec![offer(MODEL, 100_000_000)]), at_ms(0));
        for _ in 0..8 {
            fleet.apply(started("cheap"), at_ms(0));
        }
        let both: &[&str] = if beyond_limit { &["dear", "cheap"] } else { &["dear"] };
        check(&fleet, &ask(FLOOR), at_ms(0), both);
        let provider = ProviderId::from("dear");
        fleet.apply(Event::Left { provider }, at_ms(0));
        if beyond_limit {
            check(&fleet, &ask(FLOOR), at_ms(0), &["cheap"]);
        }
        for _ in 8..12 {
            fleet.apply(started("cheap"), at_ms(0));
        }
        match plan_for(&fleet, &ask(FLOOR), at_ms(0)) {
            Err(NoRoute::Full { retry_after }) => {
                assert!(retry_after >= ms(100) && retry_after <= ms(2000), "{retry_after:?}");
            }
            other => panic!("expected it to be full, not {other:?}"),
        }
    }
}

#[test]
fn deadlines_follow_what_the_provider_is_used_to() {
    let now = at_ms(9_000_000);
    let mut fleet = fleet_of(&[("quick", 1), ("slow", 2)]);
    observe(&mut fleet, "quick", 40, ms(100), ms(5), now);
    observe(&mut fleet, "slow", 40, ms(4000), ms(300), now);
    let plan = plan_for(&fleet, &ask(FLOOR), now).expect("both");
    let (quick, slow) = (&plan.attempts[0], &plan.attempts[1]);
    assert_eq!((quick.first_token_deadline, quick.gap_deadline), (ms(8000), ms(2000)));
    assert!(
        (22_000..27_000).contains(&slow.first_token_deadline.as_millis()),
        "{slow:?}"
    );
    assert!((5_500..8_000).contains(&slow.gap_deadline.as_millis()), "{slow:?}");
    assert!(quick.answer_deadline >= quick.first_token_deadline);
    assert_eq!(slow.answer_deadline, Duration::from_secs(600), "bounded");
}

#[test]
fn a_provider_nobody_knows_gets_patience() {
    let fleet = fleet_of(&[("new", 1)]);
    let long = Ask {
        prompt_tokens: 6000,
        ..ask(FLOOR)
    };
    let plan = plan_for(&fleet, &long, at_ms(0)).expect("it fits");
    assert!(plan.attempts[0].first_token_deadline > Duration::from_secs(30));
    assert_eq!(plan.attempts[0].gap_deadline, Duration::from_secs(8));
}

#[test]
fn reconnecting_keeps_what_was_seen() {
    let mut fleet = fleet_of(&[("p", 1)]);
    fleet.apply(started("p"), at_ms(0));
    fleet.apply(started("p"), at_ms(0));
    fleet.apply(ended("p", false, End::FailedEarly), at_ms(1));
    fleet.apply(
        Event::Left {
            provider: ProviderId::from("p"),
        },
        at_ms(2),
    );
    assert_eq!(fleet.models().count(), 0);
    // The second call ends while its provider is away.
    fleet.apply(ended("p", false, End::Cancelled), at_ms(3));
    fleet.apply(joined("p", vec![offer(MODEL, 5)]), at_ms(400));
    let seat = fleet.seat("p", MODEL, at_ms(400)).expect("it is back");
    assert_eq!((seat.in_flight, seat.breaker), (0, BreakerState::Open));
    assert!(seat.errors > 0.9);
    assert_eq!(seat.price.prompt, 5, "the offer is the new one");
}

#[test]
fn a_new_offer_replaces_the_old_and_keeps_what_was_seen() {
    let mut fleet = Fleet::new(strict());
    fleet.apply(joined("p", vec![offer(MODEL, 1), offer("old", 1)]), at_ms(0));
    observe(&mut fleet, "p", 10, ms(900), ms(10), at_ms(60_000));
    fleet.apply(
        joined("p", vec![offer(MODEL, 7), offer("new", 1), offer("new", 9)]),
        at_ms(60_000),
    );
    let models: Vec<_> = fleet.models().map(ModelId::as_str).collect();
    assert_eq!(models, ["new", MODEL]);
    let seat = fleet.seat("p", MODEL, at_ms(60_000)).expect("offered again");
    assert_eq!((seat.price.prompt, seat.first_tokens_seen), (7, 10));
    let new = fleet.seat("p", "new", at_ms(60_000)).expect("offered now");
    assert_eq!(new.price.prompt, 1, "of two entries the first counts");
}

#[test]
fn a_model_is_described_over_all_its_providers() {
    let mut fleet = fleet_of(&[("dear", 9)]);
    let cheap = OfferedModel {
        context_tokens_max: 100_000,
        output_tokens_max: 7,
        can: Capabilities::TOOLS,
        endpoints: Endpoints::COMPLETIONS,
        ..offer(MODEL, 3)
    };
    fleet.apply(joined("cheap", vec![cheap]), at_ms(0));
    let view = fleet.model(MODEL).expect("offered");
    assert_eq!((view.providers, view.cheapest.prompt), (2, 3));
    assert_eq!((view.context_tokens_max, view.output_tokens_max), (100_000, 4096));
    assert!(view.can.contains(Capabilities::TOOLS));
    assert!(view.endpoints.contains(Endpoints::CHAT.with(Endpoints::COMPLETIONS)));
    assert_eq!(fleet.output_tokens_max("nobody's"), None);
}

#[test]
fn providers_beyond_the_bound_are_ignored() {
    let mut fleet = Fleet::new(Policy {
        providers_max: 2,
        ..strict()
    });
    for name in ["a", "b", "c"] {
        fleet.apply(joined(name, vec![offer(MODEL, 1)]), at_ms(0));
    }
    assert_eq!(fleet.providers_count(), 2);
    fleet.apply(joined("a", vec![offer(MODEL, 4)]), at_ms(0));
    let price = fleet.seat("a", MODEL, at_ms(0)).map(|seat| seat.price.prompt);
    assert_eq!(price, Some(4), "those inside may still renew their offer");
}

#[test]
fn in_a_large_fleet_the_one_with_room_is_found() {
    let mut fleet = Fleet::new(strict());
    for n in 0..2000 {
        let one = OfferedModel {
            concurrency_max: 1,
            ..offer(MODEL, 1)
        };
        fleet.apply(joined(&format!("p{n}"), vec![one]), at_ms(0));
        if n != 1234 {
            fleet.apply(started(&format!("p{n}")), at_ms(0));
        }
    }
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = route(&fleet, &ask(FLOOR), at_ms(0), &mut rng).expect("one has room");
        assert_eq!(names(&plan), ["p1234"]);
    }
    fleet.apply(started("p1234"), at_ms(0));
    let full = plan_for(&fleet, &ask(FLOOR), at_ms(0));
    assert!(matches!(full, Err(NoRoute::Full { .. })), "{full:?}");
}

#[test]
fn a_planned_place_is_taken_until_it_is_not() {
    let now = at_ms(0);
    let mut fleet = Fleet::new(strict());
    let two_at_once = OfferedModel {
        concurrency_max: 2,
        ..offer(MODEL, 1)
    };
    fleet.apply(joined("p", vec![two_at_once]), now);
    let (provider, model) = (ProviderId::from("p"), ModelId::from(MODEL));
    let planned = Event::Planned {
        provider: provider.clone(),
        model: model.clone(),
    };
    let unplanned = Event::Unplanned { provider, model };
    let is_full = |fleet: &Fleet| matches!(plan_for(fleet, &ask(FLOOR), now), Err(NoRoute::Full { .. }));
    fleet.apply(planned.clone(), now);
    assert!(!is_full(&fleet));
    fleet.apply(planned, now);
    assert!(is_full(&fleet));
    fleet.apply(started("p"), now);
    fleet.apply(unplanned.clone(), now);
    assert!(is_full(&fleet), "one is at work, one planned");
    fleet.apply(unplanned, now);
    assert!(!is_full(&fleet));
}
