//! Limits of keys: requests and tokens a minute, calls at a time, budgets; and what changes of them do.

use std::sync::Arc;

use filature_billing::{
    ApiKey, Budget, Day, KeyChange, KeyId, KeyLimits, KeyRecord, LedgerError, Limit, Nano, Period, Rate, RateState,
    Reserve, ReserveError, Reserved,
};
use tokio::task::JoinSet;

use crate::world::{HOLD_MS, Payer, START_MS, World, nano};

/// Tokens of every record of the world.
const RECORD_TOKENS: u64 = 46;
const DAY_MS: u64 = 86_400_000;

fn requests(limit: u32) -> KeyLimits {
    KeyLimits {
        requests_per_min: Some(limit),
        ..KeyLimits::default()
    }
}

fn tokens(limit: u64) -> KeyLimits {
    KeyLimits {
        tokens_per_min: Some(limit),
        ..KeyLimits::default()
    }
}

fn concurrent(limit: u32) -> KeyLimits {
    KeyLimits {
        concurrent: Some(limit),
        ..KeyLimits::default()
    }
}

fn budget(amount: u64, period: Period) -> KeyLimits {
    KeyLimits {
        budget: Some(Budget {
            amount: nano(amount),
            period,
        }),
        ..KeyLimits::default()
    }
}

fn rate(limit: u64, remaining: u64, reset_ms: u64) -> Option<Rate> {
    Some(Rate {
        limit,
        remaining,
        reset_ms,
    })
}

async fn reserve(world: &mut World, payer: &Payer, tokens: u64) -> (Reserve, Result<Reserved, ReserveError>) {
    let mut ask = world.ask(payer, 10, 10);
    ask.tokens = tokens;
    let result = world.ledger.reserve(&ask).await;
    (ask, result)
}

/// Asserts that a call with so many tokens is refused, by which limit, and for how long.
async fn limited(world: &mut World, payer: &Payer, tokens: u64, what: Limit, retry_after_ms: Option<u64>) -> RateState {
    match reserve(world, payer, tokens).await.1 {
        Err(ReserveError::RateLimited {
            what: found,
            retry_after_ms: after,
            state,
        }) => {
            assert_eq!((found, after), (what, retry_after_ms));
            state
        }
        other => panic!("{other:?}"),
    }
}

async fn taken(world: &mut World, payer: &Payer, tokens: u64) -> (Reserve, RateState) {
    let (ask, result) = reserve(world, payer, tokens).await;
    (ask, result.expect("within the limits").limits)
}

pub async fn requests_per_minute_refill_evenly(world: &mut World) {
    let payer = world.payer(1_000).await;
    world.limit(&payer, requests(3)).await;
    for (remaining, reset_ms) in [(2, 20_000), (1, 40_000), (0, 60_000)] {
        let (_, state) = taken(world, &payer, 0).await;
        assert_eq!(state.requests, rate(3, remaining, reset_ms));
        assert_eq!(state.tokens, None);
    }
    let state = limited(world, &payer, 0, Limit::Requests, Some(20_000)).await;
    assert_eq!(state.requests, rate(3, 0, 60_000));
    world.now_ms += 19_999;
    limited(world, &payer, 0, Limit::Requests, Some(1)).await;
    world.now_ms += 1;
    taken(world, &payer, 0).await;
    // A gateway whose clock lags gets no more.
    world.now_ms -= 5_000;
    limited(world, &payer, 0, Limit::Requests, Some(20_000)).await;
    world.now_ms += 5_000 + 600_000;
    assert_eq!(taken(world, &payer, 0).await.1.requests, rate(3, 2, 20_000));
    world.check(&payer, 950, 50, 0).await;
}

pub async fn a_void_gives_tokens_back_and_not_the_request(world: &mut World) {
    let payer = world.payer(1_000).await;
    world
        .limit(
            &payer,
            KeyLimits {
                requests_per_min: Some(5),
                ..tokens(1_000)
            },
        )
        .await;
    let (ask, state) = taken(world, &payer, 600).await;
    assert_eq!(
        (state.requests, state.tokens),
        (rate(5, 4, 12_000), rate(1_000, 400, 36_000))
    );
    world.ledger.void(&payer.account, &ask.call).await.expect("voided");
    let state = world.key_use(&payer).await.limits;
    assert_eq!(
        (state.requests, state.tokens),
        (rate(5, 4, 12_000), rate(1_000, 1_000, 0))
    );
    // Voided twice, given back once.
    taken(world, &payer, 600).await;
    world.ledger.void(&payer.account, &ask.call).await.expect("an answer");
    assert_eq!(world.key_use(&payer).await.limits.tokens, rate(1_000, 400, 36_000));
}

pub async fn a_sweep_gives_tokens_and_places_back(world: &mut World) {
    let payer = world.payer(1_000).await;
    world
        .limit(
            &payer,
            KeyLimits {
                concurrent: Some(1),
                ..tokens(1_000)
            },
        )
        .await;
    let (mut ask, result) = reserve(world, &payer, 900).await;
    result.expect("reserved");
    limited(world, &payer, 50, Limit::Concurrent, None).await;
    limited(world, &payer, 101, Limit::Tokens, Some(60)).await;
    // Swept at once, before the minute has given anything back.
    assert_eq!(
        world.ledger.renew(&payer.account, &ask.call, world.now_ms).await,
        Ok(true)
    );
    world.ledger.sweep(world.now_ms).await.expect("swept");
    let used = world.key_use(&payer).await;
    assert_eq!(
        (used.holds, used.held, used.limits.tokens),
        (0, Nano::ZERO, rate(1_000, 1_000, 0))
    );
    ask.call = world.call();
    world.ledger.reserve(&ask).await.expect("its place is free");
}

pub async fn a_post_settles_the_tokens_either_way(world: &mut World) {
    let payer = world.payer(1_000).await;
    world.limit(&payer, tokens(1_000)).await;
    let (ask, _) = taken(world, &payer, 600).await;
    let state = limited(world, &payer, 500, Limit::Tokens, Some(6_000)).await;
    assert_eq!(state.tokens, rate(1_000, 400, 36_000));
    let record = world.record(&payer, ask.call, 5);
    world.ledger.post(&record, world.now_ms).await.expect("posted");
    assert_eq!(
        world.key_use(&payer).await.limits.tokens.expect("a limit").remaining,
        1_000 - RECORD_TOKENS
    );
    world.ledger.post(&record, world.now_ms).await.expect("again");
    assert_eq!(
        world.key_use(&payer).await.limits.tokens.expect("a limit").remaining,
        1_000 - RECORD_TOKENS
    );

    // Reserved too few: the post takes the rest.
    let (ask, _) = taken(world, &payer, 6).await;
    let record = world.record(&payer, ask.call, 5);
    world.ledger.post(&record, world.now_ms).await.expect("posted");
    assert_eq!(
        world.key_use(&payer).await.limits.tokens.expect("a limit").remaining,
        1_000 - 2 * RECORD_TOKENS
    );

    // A late post takes them all, once the void had given them back.
    let (ask, _) = taken(world, &payer, 800).await;
    world.ledger.void(&payer.account, &ask.call).await.expect("voided");
    let record = world.record(&payer, ask.call, 5);
    world.ledger.post(&record, world.now_ms).await.expect("posted");
    assert_eq!(
        world.key_use(&payer).await.limits.tokens.expect("a limit").remaining,
        1_000 - 3 * RECORD_TOKENS
    );

    // More than there ever is keeps the key waiting for ten minutes and no more.
    let (ask, _) = taken(world, &payer, 0).await;
    let mut record = world.record(&payer, ask.call, 5);
    record.billed.prompt = Nano::MAX.get();
    world.ledger.post(&record, world.now_ms).await.expect("posted");
    assert_eq!(world.key_use(&payer).await.limits.tokens, rate(1_000, 0, 600_000));
    limited(world, &payer, 1, Limit::Tokens, Some(540_060)).await;
    world.now_ms += 540_060;
    taken(world, &payer, 1).await;
}

/// What one call reserved and did not use was refilled while it lasted: what others took since stays taken.
pub async fn tokens_that_came_back_by_themselves_are_not_given_back(world: &mut World) {
    let payer = world.payer(10_000).await;
    world.limit(&payer, tokens(1_000)).await;
    let remaining = async |world: &World| world.key_use(&payer).await.limits.tokens.map(|rate| rate.remaining);
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(taken(world, &payer, 1_000).await.0.call);
        world.now_ms += 60_000;
    }
    calls.push(taken(world, &payer, 1_000).await.0.call);
    world.ledger.void(&payer.account, &calls[0]).await.expect("voided");
    assert_eq!(remaining(world).await, Some(0));
    let record = world.record(&payer, calls[1], 5);
    world.ledger.post(&record, world.now_ms).await.expect("posted");
    assert_eq!(remaining(world).await, Some(0));
    // Nothing came back of the last one's since.
    world.ledger.void(&payer.account, &calls[3]).await.expect("voided");
    assert_eq!(remaining(world).await, Some(1_000));
}

pub async fn a_call_above_the_limit_of_tokens_never_fits(world: &mut World) {
    let payer = world.payer(1_000).await;
    world.limit(&payer, tokens(1_000)).await;
    let state = limited(world, &payer, 1_001, Limit::Tokens, None).await;
    assert_eq!(state.tokens, rate(1_000, 1_000, 0));
    limited(world, &payer, u64::MAX, Limit::Tokens, None).await;
    taken(world, &payer, 1_000).await;
    world.limit(&payer, tokens(10_000_000_000)).await;
    world.now_ms += 60_000;
    limited(world, &payer, 10_000_000_001, Limit::Tokens, None).await;
    taken(world, &payer, 9_999_999_999).await;
    limited(world, &payer, 3, Limit::Tokens, Some(1)).await;
    let (_, state) = taken(world, &payer, 1).await;
    assert_eq!(state.tokens, rate(10_000_000_000, 0, 60_000));
}

pub async fn a_limit_of_zero_allows_nothing(world: &mut World) {
    let payer = world.payer(1_000).await;
    world.limit(&payer, requests(0)).await;
    limited(world, &payer, 0, Limit::Requests, None).await;
    world.limit(&payer, tokens(0)).await;
    limited(world, &payer, 1, Limit::Tokens, None).await;
    taken(world, &payer, 0).await;
    world.limit(&payer, concurrent(0)).await;
    limited(world, &payer, 0, Limit::Concurrent, None).await;
    world.limit(&payer, budget(0, Period::Never)).await;
    let refused = Err(ReserveError::BudgetSpent {
        left: -10,
        resets_ms: None,
    });
    assert_eq!(world.try_hold(&payer, 1).await, refused);
}

pub async fn calls_at_a_time_are_the_holds_of_the_key(world: &mut World) {
    let payer = world.payer(1_000).await;
    let (other, _) = world.key(&payer.account, None).await;
    let other = Payer {
        account: payer.account.clone(),
        key: other.id,
    };
    let first = world.hold(&payer, 10).await;
    // Those from before there was a limit count.
    world.limit(&payer, concurrent(2)).await;
    let second = world.hold(&payer, 10).await;
    limited(world, &payer, 0, Limit::Concurrent, None).await;
    world.hold(&other, 10).await;
    assert_eq!(world.key_use(&payer).await.holds, 2);
    world.ledger.void(&payer.account, &first).await.expect("voided");
    let third = world.hold(&payer, 10).await;
    world
        .ledger
        .post(&world.record(&payer, second, 5), world.now_ms)
        .await
        .expect("posted");
    world.hold(&payer, 10).await;
    limited(world, &payer, 0, Limit::Concurrent, None).await;
    world.ledger.void(&payer.account, &third).await.expect("voided");
    world.ledger.void(&payer.account, &third).await.expect("an answer");
    let used = world.key_use(&payer).await;
    assert_eq!((used.holds, used.held.get()), (1, 10));
    world.check(&payer, 975, 20, 5).await;
}

pub async fn a_budget_counts_what_was_spent_and_what_is_held(world: &mut World) {
    let payer = world.payer(10_000).await;
    world.limit(&payer, budget(1_000, Period::Never)).await;
    let call = world.hold(&payer, 300).await;
    world
        .ledger
        .post(&world.record(&payer, call, 250), world.now_ms)
        .await
        .expect("posted");
    let held = world.hold(&payer, 700).await;
    let spent = |left| Err(ReserveError::BudgetSpent { left, resets_ms: None });
    assert_eq!(world.try_hold(&payer, 51).await, spent(50));
    // As with the balance: what there is, down to the minimum.
    let ask = world.ask(&payer, 500, 50);
    assert_eq!(world.ledger.reserve(&ask).await.expect("affordable").held, nano(50));
    let ask = world.ask(&payer, 500, 1);
    assert_eq!(world.ledger.reserve(&ask).await.map(|_| ask.call), spent(0));
    world.ledger.void(&payer.account, &held).await.expect("voided");
    let call = world.hold(&payer, 700).await;
    world.now_ms += HOLD_MS;
    world.ledger.sweep(world.now_ms).await.expect("swept");
    // A late post may exceed it.
    world
        .ledger
        .post(&world.record(&payer, call, 1_000), world.now_ms)
        .await
        .expect("posted");
    assert_eq!(world.try_hold(&payer, 0).await, spent(-250));
    world.limit(&payer, budget(1_250, Period::Never)).await;
    world.hold(&payer, 0).await;
    world.check(&payer, 8_750, 0, 1_250).await;
}

pub async fn a_budget_and_a_balance_both_bound_a_hold(world: &mut World) {
    let payer = world.payer(500).await;
    world.limit(&payer, budget(700, Period::Day)).await;
    let ask = world.ask(&payer, 900, 100);
    assert_eq!(world.ledger.reserve(&ask).await.expect("affordable").held, nano(500));
    assert_eq!(
        world.try_hold(&payer, 200).await,
        Err(ReserveError::Insufficient { available: 0 })
    );
    let resets_ms = Period::Day.next_ms(world.now_ms);
    assert_eq!(
        world.try_hold(&payer, 201).await,
        Err(ReserveError::BudgetSpent { left: 200, resets_ms })
    );
}

pub async fn a_budget_starts_anew_with_its_period(world: &mut World) {
    for period in [Period::Day, Period::Week, Period::Month] {
        let payer = world.payer(10_000).await;
        world.limit(&payer, budget(100, period)).await;
        let next_ms = period.next_ms(world.now_ms).expect("a period");
        let spent = |left| {
            Err(ReserveError::BudgetSpent {
                left,
                resets_ms: Some(next_ms),
            })
        };
        let call = world.hold(&payer, 100).await;
        world
            .ledger
            .post(&world.record(&payer, call, 80), world.now_ms)
            .await
            .expect("posted");
        assert_eq!(world.try_hold(&payer, 21).await, spent(20));
        world.now_ms = next_ms - 1;
        assert_eq!(world.try_hold(&payer, 21).await, spent(20));
        let open = world.hold(&payer, 15).await;
        world.now_ms = next_ms;
        // What runs on into the new period counts there.
        world.hold(&payer, 85).await;
        let after_ms = period.next_ms(world.now_ms);
        let refused = Err(ReserveError::BudgetSpent {
            left: 0,
            resets_ms: after_ms,
        });
        assert_eq!(world.try_hold(&payer, 1).await, refused);
        world
            .ledger
            .post(&world.record(&payer, open, 15), world.now_ms)
            .await
            .expect("posted");
        assert_eq!(world.try_hold(&payer, 1).await, refused);
        let used = world.key_use(&payer).await;
        assert_eq!((used.spent.get(), used.held.get()), (95, 85));
        world.now_ms += 31 * DAY_MS;
        world.ledger.sweep(world.now_ms).await.expect("swept");
        world.hold(&payer, 100).await;
    }
}

pub async fn what_was_spent_before_a_budget_was_set_counts(world: &mut World) {
    let payer = world.payer(10_000).await;
    // 1,800,000,000,000 ms is a Friday; the first of February is a Monday.
    world.now_ms = "2027-01-30".parse::<Day>().expect("a day").start_ms();
    for (cost, days) in [(1_000, 1), (200, 1), (30, 0)] {
        let call = world.hold(&payer, cost).await;
        world
            .ledger
            .post(&world.record(&payer, call, cost), world.now_ms)
            .await
            .expect("posted");
        world.now_ms += days * DAY_MS;
    }
    let used = world.key_use(&payer).await;
    let sums = [used.spent, used.spent_day, used.spent_week, used.spent_month].map(Nano::get);
    assert_eq!(sums, [1_230, 30, 30, 30]);
    for (period, left) in [
        (Period::Never, -1),
        (Period::Day, 1_199),
        (Period::Week, 1_199),
        (Period::Month, 1_199),
    ] {
        world.limit(&payer, budget(1_229, period)).await;
        let resets_ms = period.next_ms(world.now_ms);
        assert_eq!(
            world.try_hold(&payer, 1_200).await,
            Err(ReserveError::BudgetSpent { left, resets_ms })
        );
    }
    world.now_ms += 6 * DAY_MS;
    let used = world.key_use(&payer).await;
    let sums = [used.spent, used.spent_day, used.spent_week, used.spent_month].map(Nano::get);
    assert_eq!(sums, [1_230, 0, 30, 30]);
}

pub async fn a_refusal_uses_no_limit(world: &mut World) {
    let payer = world.payer(100).await;
    let all = KeyLimits {
        requests_per_min: Some(2),
        tokens_per_min: Some(100),
        concurrent: Some(2),
        ..budget(50, Period::Day)
    };
    world.limit(&payer, all).await;
    let resets_ms = Period::Day.next_ms(world.now_ms);
    for _ in 0..5 {
        limited(world, &payer, 101, Limit::Tokens, None).await;
        assert_eq!(
            world.try_hold(&payer, 51).await,
            Err(ReserveError::BudgetSpent { left: 50, resets_ms })
        );
    }
    let (ask, state) = taken(world, &payer, 100).await;
    assert_eq!(
        (state.requests, state.tokens),
        (rate(2, 1, 30_000), rate(100, 0, 60_000))
    );
    let again = world.ledger.reserve(&ask).await.expect("the hold it has");
    assert_eq!(again.limits, state, "a call that asks again uses no limit again");
    world.limit(&payer, requests(2)).await;
    let ask = world.ask(&payer, 91, 91);
    assert_eq!(
        world.ledger.reserve(&ask).await,
        Err(ReserveError::Insufficient { available: 90 })
    );
    assert_eq!(world.key_use(&payer).await.limits.requests, rate(2, 1, 30_000));
    world.check(&payer, 90, 10, 0).await;
}

pub async fn changes_of_limits_are_felt_by_the_next_reserve(world: &mut World) {
    let payer = world.payer(1_000).await;
    world.limit(&payer, tokens(1_000_000)).await;
    let (ask, _) = taken(world, &payer, 1_000_000).await;
    // A smaller limit is in debt for ten minutes, not for as long as the larger one would have taken.
    world.limit(&payer, tokens(10)).await;
    limited(world, &payer, 10, Limit::Tokens, Some(600_000)).await;
    world.ledger.void(&payer.account, &ask.call).await.expect("voided");
    taken(world, &payer, 10).await;
    // Without a limit nothing is taken, and nothing given back.
    world.limit(&payer, KeyLimits::default()).await;
    let (ask, state) = taken(world, &payer, 1 << 40).await;
    assert_eq!(state, RateState::default());
    world.limit(&payer, tokens(10)).await;
    world.ledger.void(&payer.account, &ask.call).await.expect("voided");
    limited(world, &payer, 1, Limit::Tokens, Some(6_000)).await;
}

pub async fn keys_of_one_account_have_limits_of_their_own(world: &mut World) {
    let payer = world.payer(1_000).await;
    let (key, _) = world.key(&payer.account, None).await;
    let other = Payer {
        account: payer.account.clone(),
        key: key.id,
    };
    world
        .limit(
            &payer,
            KeyLimits {
                requests_per_min: Some(1),
                ..budget(10, Period::Never)
            },
        )
        .await;
    taken(world, &payer, 0).await;
    limited(world, &payer, 0, Limit::Requests, Some(60_000)).await;
    for _ in 0..5 {
        taken(world, &other, 0).await;
    }
    let (used, others) = (world.key_use(&payer).await, world.key_use(&other).await);
    assert_eq!((used.holds, used.held.get()), (1, 10));
    assert_eq!(
        (others.holds, others.held.get(), others.limits),
        (5, 50, RateState::default())
    );
    world.check(&payer, 940, 60, 0).await;
}

pub async fn a_post_with_another_key_moves_nothing(world: &mut World) {
    let payer = world.payer(1_000).await;
    let (key, _) = world.key(&payer.account, None).await;
    let other = Payer {
        account: payer.account.clone(),
        key: key.id,
    };
    let call = world.hold(&payer, 100).await;
    let refused = world.ledger.post(&world.record(&other, call, 50), world.now_ms).await;
    assert!(matches!(refused, Err(LedgerError::Conflict(_))), "{refused:?}");
    world.check(&payer, 900, 100, 0).await;
    world
        .ledger
        .post(&world.record(&payer, call, 50), world.now_ms)
        .await
        .expect("posted");
    world.check(&payer, 950, 0, 50).await;
}

pub async fn limits_read_back_and_are_replaced_as_a_whole(world: &mut World) {
    let payer = world.payer(0).await;
    let secret = ApiKey::generate(&mut world.rng);
    let limits = KeyLimits {
        requests_per_min: Some(u32::MAX),
        tokens_per_min: Some(10_000_000_000),
        concurrent: Some(7),
        models: vec!["a/b".into(), "Größe \"x\"".into()],
        ..budget(Nano::MAX.get(), Period::Month)
    };
    let mut key = KeyRecord {
        id: KeyId::generate(&mut world.rng),
        account: payer.account.clone(),
        name: "limited".into(),
        hint: secret.hint(),
        created_ms: START_MS,
        expires_ms: Some(START_MS + 1),
        revoked_ms: None,
        limits,
    };
    world.ledger.create_key(&key, &secret.hash()).await.expect("a key");
    assert_eq!(world.ledger.key_by_hash(&secret.hash()).await, Ok(Some(key.clone())));
    assert_eq!(
        world.ledger.update_key(&key.id, &KeyChange::default()).await,
        Ok(Some(key.clone()))
    );

    let change = KeyChange {
        name: Some("another".into()),
        expires_ms: Some(None),
        limits: Some(requests(3)),
    };
    (key.name, key.expires_ms, key.limits) = ("another".into(), None, requests(3));
    assert_eq!(world.ledger.update_key(&key.id, &change).await, Ok(Some(key.clone())));
    assert_eq!(world.ledger.key_by_hash(&secret.hash()).await, Ok(Some(key.clone())));
    assert!(world.ledger.keys(None).await.expect("keys").contains(&key));

    let change = KeyChange {
        expires_ms: Some(Some(START_MS + 5)),
        ..KeyChange::default()
    };
    key.expires_ms = Some(START_MS + 5);
    assert_eq!(world.ledger.update_key(&key.id, &change).await, Ok(Some(key.clone())));
    // A revoked key stays revoked.
    key.revoked_ms = Some(START_MS);
    assert_eq!(world.ledger.revoke_key(&key.id, START_MS).await, Ok(Some(key.clone())));
    assert_eq!(world.ledger.update_key(&key.id, &change).await, Ok(Some(key.clone())));
}

pub async fn changes_of_what_is_not_or_cannot_be_are_refused(world: &mut World) {
    let payer = world.payer(0).await;
    let nobody = KeyId::parse("key_nobody").expect("an id");
    assert_eq!(world.ledger.update_key(&nobody, &KeyChange::default()).await, Ok(None));
    assert_eq!(world.ledger.key_use(&payer.account, &nobody, START_MS).await, Ok(None));
    let other = world.payer(0).await;
    assert_eq!(
        world.ledger.key_use(&payer.account, &other.key, START_MS).await,
        Ok(None)
    );
    let too_large = [
        KeyChange {
            name: Some("x".repeat(257)),
            ..KeyChange::default()
        },
        KeyChange {
            limits: Some(tokens(10_000_000_001)),
            ..KeyChange::default()
        },
        KeyChange {
            limits: Some(KeyLimits {
                models: vec!["m".into(); 65],
                ..KeyLimits::default()
            }),
            ..KeyChange::default()
        },
    ];
    for change in too_large {
        let refused = world.ledger.update_key(&payer.key, &change).await;
        assert!(matches!(refused, Err(LedgerError::TooLarge(_))), "{refused:?}");
    }
    let (mut key, secret) = world.key(&payer.account, None).await;
    (key.id, key.limits) = (KeyId::generate(&mut world.rng), tokens(u64::MAX));
    let refused = world.ledger.create_key(&key, &secret.hash()).await;
    assert!(matches!(refused, Err(LedgerError::TooLarge(_))), "{refused:?}");
}

pub async fn of_a_thousand_calls_at_once_exactly_those_within_each_limit_begin(world: &mut World) {
    let all = [
        (1_009, KeyLimits::default()),
        (1 << 40, requests(10)),
        (1 << 40, tokens(109)),
        (1 << 40, concurrent(10)),
        (1 << 40, budget(1_009, Period::Day)),
    ];
    for (deposit, limits) in all {
        let payer = world.payer(deposit).await;
        world.limit(&payer, limits.clone()).await;
        let mut tasks = JoinSet::new();
        for _ in 0..1_000 {
            let ledger = Arc::clone(&world.ledger);
            let ask = Reserve {
                tokens: 10,
                ..world.ask(&payer, 100, 100)
            };
            tasks.spawn(async move { ledger.reserve(&ask).await.is_ok() });
        }
        let begun = tasks.join_all().await.into_iter().filter(|is_ok| *is_ok).count();
        assert_eq!(begun, 10, "{limits:?}");
        let used = world.key_use(&payer).await;
        assert_eq!((used.holds, used.held.get()), (10, 1_000));
    }
}

on_all!(limits:
    requests_per_minute_refill_evenly,
    a_void_gives_tokens_back_and_not_the_request,
    a_sweep_gives_tokens_and_places_back,
    a_post_settles_the_tokens_either_way,
    tokens_that_came_back_by_themselves_are_not_given_back,
    a_call_above_the_limit_of_tokens_never_fits,
    a_limit_of_zero_allows_nothing,
    calls_at_a_time_are_the_holds_of_the_key,
    a_budget_counts_what_was_spent_and_what_is_held,
    a_budget_and_a_balance_both_bound_a_hold,
    a_budget_starts_anew_with_its_period,
    what_was_spent_before_a_budget_was_set_counts,
    a_refusal_uses_no_limit,
    changes_of_limits_are_felt_by_the_next_reserve,
    keys_of_one_account_have_limits_of_their_own,
    a_post_with_another_key_moves_nothing,
    limits_read_back_and_are_replaced_as_a_whole,
    changes_of_what_is_not_or_cannot_be_are_refused,
    of_a_thousand_calls_at_once_exactly_those_within_each_limit_begin,
);
