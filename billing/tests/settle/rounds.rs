//! Rounds in which nothing fails: who is paid, who waits, and why.

use std::sync::Arc;

use filature_billing::chain::{Network, Payment, Wallet, WalletKey};
use filature_billing::settle::{Done, Waiting, contract_money, last_anchor};
use filature_billing::{Hash, verify_seals};

use crate::world::{TON, World, account, many, nano, provider};

#[tokio::test]
async fn everybody_is_paid_what_the_epochs_say() {
    let mut world = World::new(1).await;
    world.plain("a");
    world.walleted("b", 3).await;
    let mut settler = world.honest();
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world
        .seal(&[("a", 5 * TON), ("b", 7 * TON + 1), ("nameless", TON)])
        .await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
    let chain = world.devnet.view();
    let (anchor, _) = last_anchor(&chain, world.contract)
        .await
        .expect("an answer")
        .expect("an anchor");
    let round = settler
        .books()
        .await
        .expect("books")
        .round()
        .expect("a round")
        .plan()
        .clone();
    assert_eq!((anchor, anchor.epoch), (round.anchor, 0));
    assert_eq!(
        contract_money(&chain, world.contract).await.expect("money").owed,
        nano(TON)
    );

    // What it earned while it had no address is paid when it has one, with the next epoch.
    world.plain("nameless");
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert_eq!(world.got(account("nameless")).await, 0);
    world.seal(&[("a", 3 * TON)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
    assert_eq!(
        contract_money(&chain, world.contract).await.expect("money").owed,
        nano(0)
    );
    // Two rounds of one anchor and one batch each.
    assert_eq!(world.obeyed().await, 4);
}

#[tokio::test]
async fn one_anchor_witnesses_all_epochs_since_the_one_before() {
    let mut world = World::new(13).await;
    world.plain("a");
    let mut settler = world.honest();
    for _ in 0..2 {
        for _ in 0..3 {
            world.seal(&[("a", TON)]).await;
        }
        assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    }
    let (anchor, chain) = {
        let answer = last_anchor(&world.devnet.view(), world.contract).await;
        answer.expect("an answer").expect("an anchor")
    };
    assert_eq!(anchor.epoch, 5);
    let mut seals = Vec::new();
    for number in 0..=anchor.epoch {
        seals.push(world.store.seal(number, &world.keys()).await.expect("a seal"));
    }
    // From any receipt its epoch's seal is named, and the seals lead to what is on the chain.
    assert_eq!(verify_seals(&seals, &world.keys()), Ok(Some(anchor.receipts_root)));
    let before = settler
        .books()
        .await
        .expect("books")
        .round()
        .expect("a round")
        .plan()
        .after;
    let before = before.expect("an anchor");
    assert_eq!(before.epoch, 2);
    assert_eq!(verify_seals(&seals[..3], &world.keys()), Ok(Some(before.receipts_root)));
    // And the contract's own chain names both anchors.
    let first = before.chained(&Hash::from_bytes([0; 32]));
    assert_eq!(anchor.chained(&first), chain);
    world.check(&world.accounts()).await;
}

#[tokio::test]
async fn who_has_earned_less_than_the_threshold_waits() {
    let mut world = World::new(2).await;
    world.settings.threshold = nano(TON);
    world.plain("a");
    world.plain("b");
    let mut settler = world.honest();
    world.seal(&[("a", TON - 1), ("b", TON)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert_eq!((world.got(account("a")).await, world.got(account("b")).await), (0, TON));
    world.seal(&[("a", 1), ("b", 1)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert_eq!(
        (world.got(account("a")).await, world.got(account("b")).await),
        (TON, TON)
    );
}

#[tokio::test]
async fn more_than_254_are_paid_in_several_messages() {
    let mut world = World::new(3).await;
    let many = many();
    for (who, _) in &many {
        world.payees.insert(who.clone(), account(who.as_str()));
    }
    world.seal_all(&many).await;
    let mut settler = world.honest();
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
    assert_eq!(world.obeyed().await, 3);
}

#[tokio::test]
async fn a_payee_that_sends_money_back_is_owed_it() {
    let mut world = World::new(4).await;
    world.plain("a");
    let bouncing = world.bouncing("b", 1).await;
    let mut settler = world.honest();
    world.seal(&[("a", TON), ("b", 2 * TON)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert_eq!((world.got(account("a")).await, world.got(bouncing).await), (TON, 0));
    world.check_books(&world.accounts()).await;
    // It is not tried at once, and is owed all of it: the fees of the way were the operator's.
    world.seal(&[("a", 5_000)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    let chain = world.devnet.view();
    assert_eq!(
        contract_money(&chain, world.contract).await.expect("money").owed,
        nano(2 * TON)
    );
    let attempts = world.transactions(bouncing).await.len();
    // With another account it is paid.
    let mut accounts = world.accounts();
    world.plain("b");
    accounts.entry(provider("b")).or_default().push(account("b"));
    world.seal(&[("a", 5_000)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert_eq!(world.transactions(bouncing).await.len(), attempts);
    world.check(&accounts).await;
}

#[tokio::test]
async fn a_payee_that_sends_money_back_is_tried_again_a_day_later() {
    let mut world = World::new(5).await;
    let bouncing = world.bouncing("b", 1).await;
    let mut settler = world.honest();
    world.seal(&[("b", 2 * TON)]).await;
    world.run(&mut settler).await;
    let attempts = world.transactions(bouncing).await.len();
    world.devnet.advance(86_401);
    world.devnet.block().expect("a block");
    world.seal(&[("b", 5)]).await;
    world.run(&mut settler).await;
    assert_eq!(world.transactions(bouncing).await.len(), attempts + 1);
    world.check_books(&world.accounts()).await;
}

#[tokio::test]
async fn a_pause_stops_everything_but_following_what_was_sent() {
    let mut world = World::new(6).await;
    world.plain("a");
    world.seal(&[("a", TON)]).await;
    let mut settler = world.honest();
    settler.pause(true);
    assert_eq!(world.run(&mut settler).await, Waiting::Paused);
    settler.pause(false);
    assert!(matches!(settler.step(&world.payees).await, Ok(Done::Planned { .. })));
    assert!(matches!(settler.step(&world.payees).await, Ok(Done::Signed { .. })));
    settler.pause(true);
    assert_eq!(world.run(&mut settler).await, Waiting::Paused);
    assert_eq!(world.obeyed().await, 0);
    settler.pause(false);
    assert!(matches!(settler.step(&world.payees).await, Ok(Done::Sent { .. })));
    settler.pause(true);
    assert!(matches!(settler.step(&world.payees).await, Ok(Done::Reconciled { .. })));
    assert!(matches!(settler.step(&world.payees).await, Ok(Done::Anchored { .. })));
    assert_eq!(world.run(&mut settler).await, Waiting::Paused);
    assert_eq!(world.got(account("a")).await, 0);
    settler.pause(false);
    world.run(&mut settler).await;
    world.check(&world.accounts()).await;
}

#[tokio::test]
async fn a_dry_run_shows_the_plan_and_does_nothing() {
    let mut world = World::new(7).await;
    world.plain("a");
    let mut settler = world.honest();
    let nothing = settler.dry_run(&world.payees).await.expect("an answer");
    assert_eq!(nothing, Err(Waiting::NothingDue));
    world.seal(&[("a", TON), ("nameless", 3)]).await;
    let (plan, waits) = settler
        .dry_run(&world.payees)
        .await
        .expect("an answer")
        .expect("a plan");
    assert_eq!(waits, None);
    let table = plan.to_string();
    assert!(table.contains("1 of 2 providers are paid 1.000000000"), "{table}");
    assert!(table.contains("none named yet"), "{table}");
    assert_eq!(settler.books().await.expect("books").next(), 0);
    assert!(matches!(settler.step(&world.payees).await, Ok(Done::Planned { .. })));
    let planned = settler
        .books()
        .await
        .expect("books")
        .round()
        .expect("a round")
        .plan()
        .clone();
    assert_eq!(planned, plan);
    // When all of it is done, there is nothing to plan until more is sealed.
    let again = settler.dry_run(&world.payees).await.expect("an answer");
    assert_eq!(again, Err(Waiting::NothingDue), "the round is under way");
    world.run(&mut settler).await;
    let again = settler.dry_run(&world.payees).await.expect("an answer");
    assert_eq!(again, Err(Waiting::NothingDue));
}

#[tokio::test]
async fn a_dry_run_says_what_would_keep_the_plan_from_being_carried_out() {
    let mut world = World::new(47).await;
    world.plain("a");
    world.seal(&[("a", TON)]).await;
    world.settings.paused = true;
    let told = world.honest().dry_run(&world.payees).await.expect("an answer");
    assert!(matches!(told, Ok((_, Some(Waiting::Paused)))), "{told:?}");
    world.settings.paused = false;
    world.seal(&[("a", 1_000_000 * TON)]).await;
    let told = world.honest().dry_run(&world.payees).await.expect("an answer");
    assert!(matches!(told, Ok((_, Some(Waiting::Short { .. })))), "{told:?}");
    let stranger = WalletKey::from_seed(&[99; 32]);
    world.wallet = Wallet::new(stranger.public(), Network::Testnet).expect("a wallet");
    world.key = Arc::new(stranger);
    let told = world.honest().dry_run(&world.payees).await.expect("an answer");
    assert!(matches!(told, Err(Waiting::NotOperator(_))), "{told:?}");
}

#[tokio::test]
async fn a_wallet_that_is_short_waits_before_the_anchor_and_goes_on_by_itself() {
    let mut world = World::new(8).await;
    world.plain("a");
    world.plain("b");
    world.seal(&[("a", 2 * TON), ("b", 6_000 * TON)]).await;
    let mut settler = world.honest();
    let short = world.run(&mut settler).await;
    assert!(
        matches!(&short, Waiting::Short { needs, .. } if *needs > nano(6_002 * TON)),
        "{short}"
    );
    assert_eq!(world.obeyed().await, 0);
    world.give(world.wallet.address(), 1_003 * TON);
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
}

#[tokio::test]
async fn a_wallet_emptied_after_the_anchor_pays_when_it_has_coins_again() {
    let mut world = World::new(9).await;
    world.plain("a");
    world.seal(&[("a", 2_000 * TON)]).await;
    let mut settler = world.honest();
    loop {
        let done = settler.step(&world.payees).await.expect("a step");
        if matches!(done, Done::Anchored { .. }) {
            break;
        }
    }
    // Somebody with the key takes nearly all of it.
    world
        .pay(
            &world.key,
            &world.wallet,
            &[Payment::new(account("thief"), nano(4_000 * TON))],
        )
        .await;
    assert!(matches!(world.run(&mut settler).await, Waiting::Short { .. }));
    world.give(world.wallet.address(), 3_000 * TON);
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
}

#[tokio::test]
async fn other_books_or_another_wallet_do_not_pay() {
    let mut world = World::new(11).await;
    world.plain("a");
    world.seal(&[("a", 2 * TON)]).await;
    world.run(&mut world.honest()).await;
    let paid = world.got(account("a")).await;
    // The books are lost; the epochs are not.
    let books = world.folder.path().join("epochs/settlement");
    std::fs::rename(&books, world.folder.path().join("away")).expect("moved");
    world.seal(&[("a", 2 * TON)]).await;
    assert_eq!(world.run(&mut world.honest()).await, Waiting::Stranger);
    assert_eq!(world.got(account("a")).await, paid);
    std::fs::rename(world.folder.path().join("away"), &books).expect("moved back");
    assert_eq!(world.run(&mut world.honest()).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;

    let (key, wallet) = crate::world::wallet(9);
    world.give(wallet.address(), 100 * TON);
    world.seal(&[("a", 2 * TON)]).await;
    let mut other = filature_billing::settle::Settler::new(
        Arc::new(world.devnet.view()),
        world.store.clone(),
        world.keys(),
        wallet,
        Arc::new(key),
        world.settings,
    );
    assert_eq!(
        world.run(&mut other).await,
        Waiting::NotOperator(world.wallet.address())
    );
}
