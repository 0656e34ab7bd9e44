//! What every ledger does, one fact at a time.

use std::sync::Arc;

use filature_billing::{
    AccountId, ApiKey, KeyHash, KeyId, KeyRecord, LedgerError, Nano, Posted, RecordError, Reserve, ReserveError, Swept,
};
use rand::RngExt;
use tokio::task::JoinSet;

use crate::world::{HOLD_MS, START_MS, World, check_sums, nano};

pub async fn a_reserve_moves_available_to_held(world: &mut World) {
    let payer = world.payer(1_000).await;
    world.check(&payer, 1_000, 0, 0).await;
    world.hold(&payer, 300).await;
    world.hold(&payer, 700).await;
    world.check(&payer, 0, 1_000, 0).await;
    assert_eq!(world.ledger.totals().await.expect("totals").holds, 2);
}

pub async fn a_reserve_takes_what_there_is_down_to_the_minimum(world: &mut World) {
    let payer = world.payer(1_000).await;
    let ask = world.ask(&payer, 5_000, 1_000);
    assert_eq!(world.ledger.reserve(&ask).await.expect("affordable").held, nano(1_000));
    world.check(&payer, 0, 1_000, 0).await;
    // What was held partly is given back wholly.
    assert_eq!(world.ledger.void(&payer.account, &ask.call).await, Ok(nano(1_000)));
    let ask = world.ask(&payer, 5_000, 1_001);
    assert_eq!(
        world.ledger.reserve(&ask).await,
        Err(ReserveError::Insufficient { available: 1_000 })
    );
    // A minimum above the quote asks for no more than the quote.
    let ask = world.ask(&payer, 10, 5_000);
    assert_eq!(world.ledger.reserve(&ask).await.expect("affordable").held, nano(10));
    world.check(&payer, 990, 10, 0).await;
}

pub async fn a_reserve_beyond_the_balance_is_refused(world: &mut World) {
    let payer = world.payer(1_000).await;
    let refused = Err(ReserveError::Insufficient { available: 1_000 });
    assert_eq!(world.try_hold(&payer, 1_001).await, refused);
    let ask = world.ask(&payer, Nano::MAX.get(), Nano::MAX.get());
    assert_eq!(world.ledger.reserve(&ask).await.map(|_| ask.call), refused);
    world.check(&payer, 1_000, 0, 0).await;

    let nobody = world.payer(0).await;
    assert_eq!(
        world.try_hold(&nobody, 1).await,
        Err(ReserveError::Insufficient { available: 0 })
    );
    world.hold(&nobody, 0).await;
    world.check(&nobody, 0, 0, 0).await;
}

pub async fn a_call_reserves_once(world: &mut World) {
    let payer = world.payer(1_000).await;
    let ask = world.ask(&payer, 100, 100);
    let first = world.ledger.reserve(&ask).await.expect("affordable");
    assert_eq!(world.ledger.reserve(&ask).await, Ok(first), "as after a lost answer");
    world.check(&payer, 900, 100, 0).await;
    let more = world.ask(&payer, 5_000, 10);
    let rest = world.ledger.reserve(&more).await.expect("affordable");
    assert_eq!((rest.held, world.ledger.reserve(&more).await), (nano(900), Ok(rest)));
    world.check(&payer, 0, 1_000, 0).await;

    // What another call would hold is not this one's.
    let other_key = world.key(&payer.account, None).await.0.id;
    for other in [
        Reserve {
            key: other_key,
            ..ask.clone()
        },
        Reserve {
            quote: nano(99),
            quote_min: nano(99),
            ..ask.clone()
        },
        Reserve {
            quote: nano(200),
            quote_min: nano(101),
            ..ask.clone()
        },
    ] {
        assert_eq!(world.ledger.reserve(&other).await, Err(ReserveError::AlreadyReserved));
    }
    world.check(&payer, 0, 1_000, 0).await;

    // Given back, it is gone, and the call may hold anew.
    assert_eq!(world.ledger.void(&payer.account, &ask.call).await, Ok(nano(100)));
    assert_eq!(world.ledger.reserve(&ask).await, Ok(first));
    world.check(&payer, 0, 1_000, 0).await;
}

pub async fn only_a_live_key_of_the_account_reserves(world: &mut World) {
    let payer = world.payer(1_000).await;
    let other = world.payer(1_000).await;
    let mut ask = world.ask(&payer, 1, 1);

    ask.key = other.key.clone();
    assert_eq!(world.ledger.reserve(&ask).await, Err(ReserveError::UnknownKey));
    ask.key = KeyId::parse("key_nobody").expect("an id");
    assert_eq!(world.ledger.reserve(&ask).await, Err(ReserveError::UnknownKey));
    ask.key = payer.key.clone();
    ask.account = AccountId::parse("acct_nobody").expect("an id");
    assert_eq!(world.ledger.reserve(&ask).await, Err(ReserveError::UnknownAccount));
    ask.account = payer.account.clone();

    ask.key = world.key(&payer.account, Some(START_MS + 10)).await.0.id;
    ask.now_ms = START_MS + 10;
    assert_eq!(world.ledger.reserve(&ask).await, Err(ReserveError::KeyExpired));
    ask.now_ms = START_MS + 9;
    world.ledger.reserve(&ask).await.expect("the last millisecond");

    ask.call = world.call();
    world.ledger.revoke_key(&ask.key, START_MS).await.expect("revoked");
    assert_eq!(world.ledger.reserve(&ask).await, Err(ReserveError::KeyRevoked));
    ask.key = payer.key.clone();
    world.ledger.reserve(&ask).await.expect("the other key still works");
    world.check(&payer, 998, 2, 0).await;
}

pub async fn a_post_charges_and_gives_the_rest_back(world: &mut World) {
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 300).await;
    let record = world.record_of(&payer, call, &[("provider-a", 100), ("provider-b", 23)]);
    let posted = world.ledger.post(&record, world.now_ms).await;
    assert_eq!(
        posted,
        Ok(Posted {
            fresh: true,
            charged: nano(123),
            released: nano(177)
        })
    );
    world.check(&payer, 877, 0, 123).await;
    assert_eq!(world.ledger.record(&payer.account, &call).await, Ok(Some(record)));
    assert_eq!(
        world.ledger.key_spent(&payer.account, &payer.key).await,
        Ok(Some(nano(123)))
    );
    let earnings = world.ledger.earnings().await.expect("earnings");
    let earned: Vec<_> = earnings
        .iter()
        .map(|e| (e.provider.as_str(), e.fee.get(), e.earned.get()))
        .collect();
    assert_eq!(earned, [("provider-a", 5, 95), ("provider-b", 1, 22)]);
}

pub async fn a_post_charges_once(world: &mut World) {
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 300).await;
    let record = world.record(&payer, call, 100);
    assert!(world.ledger.post(&record, world.now_ms).await.expect("posted").fresh);
    let again = Ok(Posted {
        fresh: false,
        charged: nano(100),
        released: Nano::ZERO,
    });
    assert_eq!(world.ledger.post(&record, world.now_ms).await, again);
    // Whatever else is posted for the call, the first record stands.
    let other = world.record(&payer, call, 200);
    assert_eq!(world.ledger.post(&other, world.now_ms).await, again);
    assert_eq!(world.ledger.record(&payer.account, &call).await, Ok(Some(record)));
    world.check(&payer, 900, 0, 100).await;
}

pub async fn a_post_above_its_hold_moves_nothing(world: &mut World) {
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 300).await;
    let record = world.record(&payer, call, 301);
    let refused = Err(LedgerError::CostAboveHold {
        cost: nano(301),
        held: nano(300),
    });
    assert_eq!(world.ledger.post(&record, world.now_ms).await, refused);
    world.check(&payer, 700, 300, 0).await;
    assert_eq!(world.ledger.record(&payer.account, &call).await, Ok(None));
    let record = world.record(&payer, call, 300);
    assert!(world.ledger.post(&record, world.now_ms).await.expect("posted").fresh);
    world.check(&payer, 700, 0, 300).await;
}

pub async fn a_record_that_does_not_add_up_moves_nothing(world: &mut World) {
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 300).await;
    let mut record = world.record(&payer, call, 100);
    record.fee = nano(6);
    let refused = Err(LedgerError::Record(RecordError::Fee));
    assert_eq!(world.ledger.post(&record, world.now_ms).await, refused);
    world.check(&payer, 700, 300, 0).await;
}

pub async fn a_post_for_an_unknown_account_is_refused(world: &mut World) {
    let mut payer = world.payer(1_000).await;
    payer.account = AccountId::parse("acct_nobody").expect("an id");
    let call = world.call();
    let record = world.record(&payer, call, 100);
    let refused = Err(LedgerError::UnknownAccount(payer.account));
    assert_eq!(world.ledger.post(&record, world.now_ms).await, refused);
    check_sums(&*world.ledger).await;
}

pub async fn a_free_call_is_recorded(world: &mut World) {
    let payer = world.payer(0).await;
    let call = world.hold(&payer, 0).await;
    let record = world.record(&payer, call, 0);
    let posted = Ok(Posted {
        fresh: true,
        charged: Nano::ZERO,
        released: Nano::ZERO,
    });
    assert_eq!(world.ledger.post(&record, world.now_ms).await, posted);
    assert_eq!(world.ledger.record(&payer.account, &call).await, Ok(Some(record)));
    world.check(&payer, 0, 0, 0).await;
}

pub async fn a_void_gives_back_once(world: &mut World) {
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 300).await;
    assert_eq!(world.ledger.void(&payer.account, &call).await, Ok(nano(300)));
    assert_eq!(world.ledger.void(&payer.account, &call).await, Ok(Nano::ZERO));
    world.check(&payer, 1_000, 0, 0).await;

    let call = world.hold(&payer, 300).await;
    world
        .ledger
        .post(&world.record(&payer, call, 100), world.now_ms)
        .await
        .expect("posted");
    assert_eq!(world.ledger.void(&payer.account, &call).await, Ok(Nano::ZERO));
    world.check(&payer, 900, 0, 100).await;
}

pub async fn a_void_of_another_account_gives_nothing(world: &mut World) {
    let payer = world.payer(1_000).await;
    let other = world.payer(1_000).await;
    let call = world.hold(&payer, 300).await;
    assert_eq!(world.ledger.void(&other.account, &call).await, Ok(Nano::ZERO));
    assert_eq!(world.ledger.renew(&other.account, &call, START_MS).await, Ok(false));
    assert_eq!(world.ledger.record(&other.account, &call).await, Ok(None));
    world.check(&payer, 700, 300, 0).await;
    world.check(&other, 1_000, 0, 0).await;
}

pub async fn a_sweep_gives_back_what_expired(world: &mut World) {
    let payer = world.payer(1_000).await;
    world.hold(&payer, 100).await;
    world.now_ms += 1;
    let live = world.hold(&payer, 200).await;
    assert_eq!(world.ledger.sweep(START_MS + HOLD_MS - 1).await, Ok(Swept::default()));
    let swept = Ok(Swept {
        holds: 1,
        released: nano(100),
    });
    assert_eq!(world.ledger.sweep(START_MS + HOLD_MS).await, swept);
    assert_eq!(world.ledger.sweep(START_MS + HOLD_MS).await, Ok(Swept::default()));
    world.check(&payer, 800, 200, 0).await;
    assert_eq!(world.ledger.void(&payer.account, &live).await, Ok(nano(200)));
}

pub async fn a_large_sweep_leaves_nothing_behind(world: &mut World) {
    let payers = [
        world.payer(100_000).await,
        world.payer(100_000).await,
        world.payer(100_000).await,
    ];
    for at in 0..900 {
        world.hold(&payers[at % 3], 10).await;
    }
    let swept = world.ledger.sweep(START_MS + HOLD_MS).await;
    assert_eq!(
        swept,
        Ok(Swept {
            holds: 900,
            released: nano(9_000)
        })
    );
    for payer in &payers {
        world.check(payer, 100_000, 0, 0).await;
    }
    assert_eq!(world.ledger.totals().await.expect("totals").holds, 0);
}

pub async fn a_renewed_hold_outlives_the_sweep(world: &mut World) {
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 100).await;
    assert_eq!(
        world.ledger.renew(&payer.account, &call, START_MS + 3 * HOLD_MS).await,
        Ok(true)
    );
    assert_eq!(world.ledger.sweep(START_MS + 2 * HOLD_MS).await, Ok(Swept::default()));
    world.check(&payer, 900, 100, 0).await;
    assert_eq!(
        world.ledger.sweep(START_MS + 3 * HOLD_MS).await.expect("swept").holds,
        1
    );
    assert_eq!(
        world.ledger.renew(&payer.account, &call, START_MS + 9 * HOLD_MS).await,
        Ok(false)
    );
    assert_eq!(world.ledger.sweep(START_MS + 9 * HOLD_MS).await, Ok(Swept::default()));
    world.check(&payer, 1_000, 0, 0).await;
}

pub async fn a_hold_renewed_during_a_sweep_stays(world: &mut World) {
    let payer = world.payer(1_000).await;
    let (mut renewed, mut swept) = (0, 0);
    for _ in 0..300 {
        let call = world.hold(&payer, 100).await;
        let (ledger, account) = (Arc::clone(&world.ledger), payer.account.clone());
        let mut tasks = JoinSet::new();
        let pause = std::time::Duration::from_micros(world.rng.random_range(0..1_500));
        tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            ledger
                .renew(&account, &call, START_MS + 3 * HOLD_MS)
                .await
                .expect("an answer")
        });
        let released = world.ledger.sweep(START_MS + HOLD_MS).await.expect("swept").released;
        let is_renewed = tasks.join_next().await.expect("a task").expect("no panic");
        // Either the renewal was first and the hold is untouched, or the sweep was and the renewal was told so.
        let voided = world.ledger.void(&payer.account, &call).await.expect("voided");
        let kept = if is_renewed {
            (Nano::ZERO, nano(100))
        } else {
            (nano(100), Nano::ZERO)
        };
        assert_eq!((released, voided), kept);
        *(if is_renewed { &mut renewed } else { &mut swept }) += 1;
    }
    println!("{renewed} renewed, {swept} swept");
    world.check(&payer, 1_000, 0, 0).await;
}

pub async fn a_late_post_still_charges(world: &mut World) {
    let payer = world.payer(1_000).await;
    let late = world.hold(&payer, 600).await;
    world.now_ms += HOLD_MS;
    world.ledger.sweep(world.now_ms).await.expect("swept");
    let other = world.hold(&payer, 900).await;
    world
        .ledger
        .post(&world.record(&payer, other, 900), world.now_ms)
        .await
        .expect("posted");

    let posted = world.ledger.post(&world.record(&payer, late, 500), world.now_ms).await;
    assert_eq!(
        posted,
        Ok(Posted {
            fresh: true,
            charged: nano(500),
            released: Nano::ZERO
        })
    );
    world.check(&payer, -400, 0, 1_400).await;
    let refused = Err(ReserveError::Insufficient { available: -400 });
    assert_eq!(world.try_hold(&payer, 0).await, refused, "nothing is started in debt");

    let deposit = world.deposit(&payer.account, "second", 401);
    assert_eq!(world.ledger.deposit(&deposit).await.expect("paid").account.available, 1);
    world.hold(&payer, 1).await;
    world.check(&payer, 0, 1, 1_400).await;
}

pub async fn a_post_after_a_void_still_charges(world: &mut World) {
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 600).await;
    world.ledger.void(&payer.account, &call).await.expect("voided");
    assert!(
        world
            .ledger
            .post(&world.record(&payer, call, 500), world.now_ms)
            .await
            .expect("posted")
            .fresh
    );
    world.check(&payer, 500, 0, 500).await;
}

pub async fn a_deposit_counts_once(world: &mut World) {
    let payer = world.payer(0).await;
    let other = world.payer(0).await;
    let deposit = world.deposit(&payer.account, "lt 47 {hash} a:b", 500);
    let first = world.ledger.deposit(&deposit).await.expect("a deposit");
    assert!(first.fresh);
    assert_eq!((first.account.available, first.account.deposited), (500, nano(500)));
    let again = world.ledger.deposit(&deposit).await.expect("an answer");
    assert!(!again.fresh);
    assert_eq!(again.account, first.account);
    // The same id for another account is another deposit.
    let elsewhere = world.deposit(&other.account, &deposit.id, 7);
    assert!(world.ledger.deposit(&elsewhere).await.expect("a deposit").fresh);
    world.check(&payer, 500, 0, 0).await;
    world.check(&other, 7, 0, 0).await;

    let nobody = AccountId::parse("acct_nobody").expect("an id");
    let refused = world.ledger.deposit(&world.deposit(&nobody, "x", 1)).await;
    assert_eq!(refused, Err(LedgerError::UnknownAccount(nobody)));
}

pub async fn a_deposit_beyond_the_maximum_is_refused(world: &mut World) {
    let payer = world.payer(1).await;
    let most = world.deposit(&payer.account, "most", Nano::MAX.get() - 1);
    let more = world.deposit(&payer.account, "more", Nano::MAX.get());
    assert!(matches!(
        world.ledger.deposit(&more).await,
        Err(LedgerError::TooLarge(_))
    ));
    world.check(&payer, 1, 0, 0).await;
    assert!(world.ledger.deposit(&most).await.expect("a deposit").fresh);
    world.check(&payer, Nano::MAX.signed(), 0, 0).await;
    let one = world.deposit(&payer.account, "one", 1);
    assert!(matches!(
        world.ledger.deposit(&one).await,
        Err(LedgerError::TooLarge(_))
    ));

    // Amounts beyond what a double keeps exact would show here.
    let call = world.hold(&payer, Nano::MAX.get() - 2).await;
    world.check(&payer, 2, Nano::MAX.get() - 2, 0).await;
    world
        .ledger
        .post(&world.record(&payer, call, Nano::MAX.get() - 4), world.now_ms)
        .await
        .expect("posted");
    world.check(&payer, 4, 0, Nano::MAX.get() - 4).await;
}

pub async fn accounts_are_made_once_and_listed(world: &mut World) {
    let ids: Vec<_> = (0..40).map(|_| AccountId::generate(&mut world.rng)).collect();
    for id in &ids {
        let made = world
            .ledger
            .create_account(id, "Größe & Co", 5)
            .await
            .expect("an account");
        assert_eq!(
            (made.id.clone(), made.name.as_str(), made.created_ms),
            (id.clone(), "Größe & Co", 5)
        );
    }
    world
        .ledger
        .deposit(&world.deposit(&ids[0], "x", 9))
        .await
        .expect("a deposit");
    let again = world
        .ledger
        .create_account(&ids[0], "another name", 6)
        .await
        .expect("an account");
    assert_eq!(
        (again.name.as_str(), again.created_ms, again.available),
        ("Größe & Co", 5, 9)
    );
    let mut sorted = ids.clone();
    sorted.sort();
    let listed = world.ledger.accounts().await.expect("accounts");
    assert_eq!(
        listed.iter().map(|account| account.id.clone()).collect::<Vec<_>>(),
        sorted
    );
}

pub async fn keys_are_found_by_hash_and_by_account(world: &mut World) {
    let payer = world.payer(0).await;
    let other = world.payer(0).await;
    let (key, secret) = world.key(&payer.account, Some(START_MS + 1)).await;
    assert_eq!(world.ledger.key_by_hash(&secret.hash()).await, Ok(Some(key.clone())));
    assert_eq!(world.ledger.key_by_hash(&KeyHash::of("sk-fil-guess")).await, Ok(None));
    for (account, found) in [
        (None, true),
        (Some(&payer.account), true),
        (Some(&other.account), false),
    ] {
        let wanted = found.then(|| key.clone());
        assert_eq!(world.ledger.key(&key.id, account).await, Ok(wanted));
    }
    let none = KeyId::parse("key_none").expect("an id");
    assert_eq!(world.ledger.key(&none, None).await, Ok(None));
    assert_eq!(world.ledger.key(&none, Some(&payer.account)).await, Ok(None));
    let ids = |keys: Vec<KeyRecord>| keys.into_iter().map(|key| key.id).collect::<Vec<_>>();
    let mut own = vec![payer.key.clone(), key.id.clone()];
    own.sort();
    assert_eq!(ids(world.ledger.keys(Some(&payer.account)).await.expect("keys")), own);
    own.push(other.key);
    own.sort();
    assert_eq!(ids(world.ledger.keys(None).await.expect("keys")), own);
    assert_eq!(
        world.ledger.key_spent(&payer.account, &key.id).await,
        Ok(Some(Nano::ZERO))
    );
    assert_eq!(world.ledger.key_spent(&other.account, &key.id).await, Ok(None));
}

pub async fn a_key_is_revoked_once_and_for_all(world: &mut World) {
    let payer = world.payer(100).await;
    let (key, secret) = world.key(&payer.account, None).await;
    let revoked = world
        .ledger
        .revoke_key(&key.id, 77)
        .await
        .expect("an answer")
        .expect("a key");
    assert_eq!(
        revoked,
        KeyRecord {
            revoked_ms: Some(77),
            ..key.clone()
        }
    );
    let again = world.ledger.revoke_key(&key.id, 99).await;
    assert_eq!(again, Ok(Some(revoked.clone())), "the first time stays");
    assert_eq!(
        world.ledger.key_by_hash(&secret.hash()).await,
        Ok(Some(revoked.clone()))
    );
    // Making the key again does not bring it back to life.
    world
        .ledger
        .create_key(&key, &secret.hash())
        .await
        .expect("the same key");
    assert_eq!(world.ledger.key_by_hash(&secret.hash()).await, Ok(Some(revoked)));
    let nobody = KeyId::parse("key_nobody").expect("an id");
    assert_eq!(world.ledger.revoke_key(&nobody, 1).await, Ok(None));
}

pub async fn a_taken_key_is_a_conflict(world: &mut World) {
    let payer = world.payer(0).await;
    let other = world.payer(0).await;
    let (key, secret) = world.key(&payer.account, None).await;
    let unused = ApiKey::generate(&mut world.rng).hash();
    let conflict = |result| assert!(matches!(result, Err(LedgerError::Conflict(_))), "{result:?}");
    conflict(world.ledger.create_key(&key, &unused).await);
    let same_secret = KeyRecord {
        id: KeyId::generate(&mut world.rng),
        ..key.clone()
    };
    conflict(world.ledger.create_key(&same_secret, &secret.hash()).await);
    let same_id = KeyRecord {
        account: other.account.clone(),
        ..key.clone()
    };
    conflict(world.ledger.create_key(&same_id, &unused).await);
    let nobody = AccountId::parse("acct_nobody").expect("an id");
    let orphan = KeyRecord {
        id: KeyId::generate(&mut world.rng),
        account: nobody.clone(),
        ..key.clone()
    };
    assert_eq!(
        world.ledger.create_key(&orphan, &unused).await,
        Err(LedgerError::UnknownAccount(nobody))
    );
    assert_eq!(world.ledger.key_by_hash(&unused).await, Ok(None));
    assert_eq!(world.ledger.key_by_hash(&secret.hash()).await, Ok(Some(key)));
    assert_eq!(world.ledger.keys(Some(&other.account)).await.expect("keys").len(), 1);
}

pub async fn what_is_too_long_is_refused(world: &mut World) {
    let payer = world.payer(10).await;
    let long = "x".repeat(257);
    let too_large = |error: Option<LedgerError>| assert!(matches!(error, Some(LedgerError::TooLarge(_))), "{error:?}");
    let new = AccountId::generate(&mut world.rng);
    too_large(world.ledger.create_account(&new, &long, 1).await.err());
    too_large(
        world
            .ledger
            .deposit(&world.deposit(&payer.account, &long, 1))
            .await
            .err(),
    );
    let (mut key, _) = world.key(&payer.account, None).await;
    key.name = long;
    key.id = KeyId::generate(&mut world.rng);
    too_large(world.ledger.create_key(&key, &KeyHash::of("x")).await.err());
    assert_eq!(world.ledger.account(&new).await, Ok(None));
    world.check(&payer, 10, 0, 0).await;
}

pub async fn what_is_unknown_is_none(world: &mut World) {
    let payer = world.payer(10).await;
    let call = world.call();
    let nobody = AccountId::parse("acct_nobody").expect("an id");
    assert_eq!(world.ledger.account(&nobody).await, Ok(None));
    assert_eq!(world.ledger.record(&payer.account, &call).await, Ok(None));
    assert_eq!(world.ledger.void(&payer.account, &call).await, Ok(Nano::ZERO));
    assert_eq!(world.ledger.void(&nobody, &call).await, Ok(Nano::ZERO));
    assert_eq!(world.ledger.renew(&nobody, &call, 1).await, Ok(false));
    assert_eq!(world.ledger.keys(Some(&nobody)).await, Ok(vec![]));
    assert_eq!(world.ledger.sweep(u64::MAX >> 12).await, Ok(Swept::default()));
    check_sums(&*world.ledger).await;
}

pub async fn a_thousand_reserves_at_once_never_overspend(world: &mut World) {
    let payer = world.payer(1_009).await;
    let mut tasks = JoinSet::new();
    for _ in 0..1_000 {
        let (ledger, ask) = (Arc::clone(&world.ledger), world.ask(&payer, 100, 100));
        tasks.spawn(async move { ledger.reserve(&ask).await });
    }
    let (mut held, mut refused) = (0, 0);
    while let Some(result) = tasks.join_next().await {
        match result.expect("no panic") {
            Ok(_) => held += 1,
            Err(ReserveError::Insufficient { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((held, refused), (10, 990));
    world.check(&payer, 9, 1_000, 0).await;
}

pub async fn many_posts_of_one_call_charge_once(world: &mut World) {
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 300).await;
    let record = Arc::new(world.record(&payer, call, 100));
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (ledger, record) = (Arc::clone(&world.ledger), Arc::clone(&record));
        tasks.spawn(async move { ledger.post(&record, START_MS).await.expect("posted") });
    }
    let posts = tasks.join_all().await;
    let fresh: Vec<_> = posts.iter().filter(|posted| posted.fresh).collect();
    assert_eq!(
        fresh,
        [&Posted {
            fresh: true,
            charged: nano(100),
            released: nano(200)
        }]
    );
    assert!(posts.iter().all(|posted| posted.charged == nano(100)));
    world.check(&payer, 900, 0, 100).await;
}

pub async fn posts_and_voids_of_one_call_settle_it_once(world: &mut World) {
    let payer = world.payer(100_000).await;
    for _ in 0..100 {
        let call = world.hold(&payer, 300).await;
        let record = world.record(&payer, call, 100);
        let (post, void, sweep) = tokio::join!(
            world.ledger.post(&record, START_MS),
            world.ledger.void(&payer.account, &call),
            world.ledger.sweep(START_MS + 2 * HOLD_MS),
        );
        let (posted, voided, swept) = (
            post.expect("posted"),
            void.expect("voided"),
            sweep.expect("swept").released,
        );
        assert!(posted.fresh);
        // The hold goes back exactly once: by void or sweep, or what the post left of it.
        let released = [posted.released, voided, swept].map(Nano::get);
        let whole = [[200, 0, 0], [0, 300, 0], [0, 0, 300]];
        assert!(whole.contains(&released), "{released:?}");
    }
    world.check(&payer, 90_000, 0, 10_000).await;
}

pub async fn earnings_add_up_over_accounts_and_providers(world: &mut World) {
    for at in 0..30 {
        let payer = world.payer(1_000).await;
        let call = world.hold(&payer, 500).await;
        let record = world.record_of(
            &payer,
            call,
            &[("provider-a", 19 + at), ("provider-b", 2 * at), ("provider-a", 1)],
        );
        world.ledger.post(&record, world.now_ms).await.expect("posted");
    }
    let earnings = world.ledger.earnings().await.expect("earnings");
    let costs: Vec<_> = earnings.iter().map(|e| (e.provider.as_str(), e.cost.get())).collect();
    assert_eq!(
        costs,
        [
            ("provider-a", (19..49).sum::<u64>() + 30),
            ("provider-b", (0..60).step_by(2).sum())
        ]
    );
    check_sums(&*world.ledger).await;
}

pub async fn a_ledger_in_use_answers_a_ping(world: &mut World) {
    world.payer(1).await;
    assert_eq!(world.ledger.ping().await, Ok(()));
}
