//! What the books say to people.

use filature_billing::settle::{Done, OrderedState, SettleSettings, Settler, Unfit, WhyOwed, owed, payments};

use crate::world::{TON, World, account, nano, wallet};

/// Who waits, and why.
async fn waiting(world: &World) -> Vec<(String, u64, WhyOwed)> {
    let owed = owed(&world.store).await.expect("books").expect("a plan");
    let owed = owed.owed.into_iter();
    owed.map(|one| (one.provider.as_str().to_owned(), one.owed.get(), one.why))
        .collect()
}

/// Payments: to whom, how much, what became of it, for which epoch.
async fn paid(world: &World) -> Vec<(String, u64, OrderedState, u64)> {
    let (payments, next) = payments(&world.store, None, 100).await.expect("books");
    assert_eq!(next, None);
    let payments = payments.into_iter();
    payments
        .map(|one| (one.provider.as_str().to_owned(), one.amount.get(), one.state, one.epoch))
        .collect()
}

#[tokio::test]
async fn who_was_paid_and_who_waits_is_told() {
    let mut world = World::new(21).await;
    assert_eq!(owed(&world.store).await.expect("no books"), None);
    assert_eq!(payments(&world.store, None, 9).await.expect("no books"), (vec![], None));
    world.plain("a");
    world.plain("small");
    world.bouncing("sends-back", 1).await;
    world
        .seal(&[("a", 5 * TON), ("small", 10), ("sends-back", 3 * TON), ("unnamed", TON)])
        .await;
    let mut settler = world.honest();
    while !matches!(settler.step(&world.payees).await, Ok(Done::Planned { .. })) {}
    let of = |name: &str, nano: u64, why| (name.to_owned(), nano, why);
    let small = of("small", 10, WhyOwed::BelowThreshold);
    let unnamed = of("unnamed", TON, WhyOwed::NoAddress);
    assert_eq!(
        waiting(&world).await,
        [
            of("a", 5 * TON, WhyOwed::UnderWay),
            of("sends-back", 3 * TON, WhyOwed::UnderWay),
            small.clone(),
            unnamed.clone()
        ]
    );
    assert_eq!(paid(&world).await, []);
    // Anchored, then signed.
    for _ in 0..1_000 {
        match settler.step(&world.payees).await.expect("a step") {
            Done::Signed { payments: 2, .. } => break,
            Done::Sent { .. } | Done::Waits(_) => drop(world.devnet.block().expect("a block")),
            _ => {}
        }
    }
    let is = |name: &str, nano: u64, state, epoch| (name.to_owned(), nano, state, epoch);
    assert_eq!(
        paid(&world).await,
        [
            is("sends-back", 3 * TON, OrderedState::UnderWay, 0),
            is("a", 5 * TON, OrderedState::UnderWay, 0)
        ]
    );
    world.run(&mut settler).await;
    let first = [
        is("sends-back", 3 * TON, OrderedState::Returned, 0),
        is("a", 5 * TON, OrderedState::Paid, 0),
    ];
    assert_eq!(paid(&world).await, first);
    let returned = of("sends-back", 3 * TON, WhyOwed::Returned);
    assert_eq!(
        waiting(&world).await,
        [returned.clone(), small.clone(), unnamed.clone()]
    );

    world.seal(&[("a", TON)]).await;
    world.run(&mut settler).await;
    let second = is("a", TON, OrderedState::Paid, 1);
    let all: Vec<_> = std::iter::once(second.clone()).chain(first).collect();
    assert_eq!(paid(&world).await, all);
    assert_eq!(waiting(&world).await, [returned, small, unnamed]);
    // Round by round, and each payment's transaction is on the chain.
    let (page, next) = payments(&world.store, None, 1).await.expect("books");
    assert_eq!((page.len(), page[0].amount), (1, nano(TON)));
    let mine = world.transactions(world.wallet.address()).await;
    assert!(mine.iter().any(|one| Some(one.at) == page[0].at));
    let (rest, end) = payments(&world.store, next, 1).await.expect("books");
    assert_eq!((rest.len(), end), (2, None));
}

#[tokio::test]
async fn a_settler_says_whether_its_wallet_fits_the_contract() {
    let world = World::new(22).await;
    let check = async |contract, seed: u8| {
        let (key, wallet) = wallet(seed);
        let settings = SettleSettings::new(contract);
        let (chain, store) = (std::sync::Arc::new(world.devnet.view()), world.store.clone());
        let settler = Settler::new(chain, store, world.keys(), wallet, std::sync::Arc::new(key), settings);
        settler.check().await.expect("an answer")
    };
    let at = world.contract;
    assert_eq!(check(at, 1).await, Ok(()));
    let (operator, stranger) = (world.wallet.address(), wallet(2).1.address());
    let wrong = Unfit::Operator {
        at,
        operator,
        wallet: stranger,
    };
    assert_eq!(check(at, 2).await, Err(wrong));
    assert!(matches!(check(stranger, 1).await, Err(Unfit::Code { at, .. }) if at == stranger));
    assert_eq!(
        check(account("nobody"), 1).await,
        Err(Unfit::Nothing(account("nobody")))
    );
}
