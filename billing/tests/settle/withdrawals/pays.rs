//! Payers to whom nothing happens: who is paid, who waits, and why.

use std::sync::Arc;

use filature_billing::chain::{BATCH_MAX, Incoming};
use filature_billing::withdrawals::{Done, PAYMENT_FEE_MAX, Waiting};
use filature_billing::{LedgerError, WhyUncredited, WithdrawalState};

use super::till::Till;
use crate::home::Home;
use crate::world::{TON, account, nano};

pub async fn what_is_withdrawn_arrives_to_the_nano(home: Home) {
    let till = Till::new(1, home).await;
    let walleted = till.walleted(12).await;
    let mut payer = till.honest();
    assert_eq!(till.run(&mut payer).await, Waiting::NothingAsked);
    till.ask(0, "w1", 5 * TON, account("a")).await;
    till.ask(1, "w2", TON + 1, walleted).await;
    // Twice to one account, by two callers who call it the same.
    till.ask(0, "w3", 7, account("b")).await;
    till.ask(2, "w4", 7, account("b")).await;
    till.finish().await;
    assert_eq!(till.obeyed().await, 1, "one message pays all");
    let WithdrawalState::Paid { transaction, .. } = till.state(1, "w2").await else {
        panic!("it is paid");
    };
    let mine = till.world.transactions(till.wallet.address()).await;
    let paying = mine.iter().find(|one| matches!(one.incoming, Incoming::External(_)));
    assert_eq!(paying.expect("a transaction").at.hash.to_string(), transaction);
    let none = till.give_back(1, "w2").await;
    assert!(matches!(none, Err(LedgerError::OutOfTurn(_))), "{none:?}");
    assert_eq!(till.run(&mut payer).await, Waiting::NothingAsked);
    assert_eq!(till.obeyed().await, 1);
}

pub async fn what_the_payee_sends_back_is_credit_again_once(home: Home) {
    let till = Till::new(2, home).await;
    let refusing = till.refusing(1).await;
    till.ask(0, "w1", 5 * TON, refusing).await;
    till.ask(1, "w2", 6 * TON, account("a")).await;
    let before = till.balance();
    till.finish().await;
    let state = till.state(0, "w1").await;
    let WithdrawalState::Returned { why, reference, .. } = &state else {
        panic!("{state:?}");
    };
    assert!(why.starts_with("the payee sent it back in its transaction "), "{why}");
    assert!(reference.is_some());
    assert!(matches!(till.state(1, "w2").await, WithdrawalState::Paid { .. }));
    assert_eq!(till.available(&till.accounts[0]).await, (100 * TON).cast_signed());
    // The way there and back was the operator's.
    let cost = before - till.balance() - 6 * TON;
    assert!(cost < 2 * PAYMENT_FEE_MAX, "{cost}");
    let uncredited = till.uncredited().await;
    assert_eq!(uncredited.len(), 1);
    assert_eq!(uncredited[0].why, WhyUncredited::Bounced);
    // It can be asked for again, to another account.
    till.ask(0, "w3", 5 * TON, account("b")).await;
    till.finish().await;
}

pub async fn what_is_given_back_while_it_is_taken_is_not_paid(home: Home) {
    let till = Till::new(3, home).await;
    for (id, place) in [("w1", 0), ("w2", 1)] {
        till.ask(place, id, 5 * TON, account(id)).await;
    }
    let mut payer = till.honest();
    let took = payer.step(till.now_ms()).await.expect("a step");
    let sum = nano(10 * TON);
    assert_eq!(took, Done::Took { count: 2, sum });
    let back = till.give_back(0, "w1").await.expect("an answer").expect("a withdrawal");
    assert!(matches!(back.state, WithdrawalState::Returned { .. }));
    assert_eq!(
        payer.step(till.now_ms()).await.expect("a step"),
        Done::Holds { gone: 1 }
    );
    let late = till.give_back(1, "w2").await;
    assert!(matches!(late, Err(LedgerError::OutOfTurn(_))), "{late:?}");
    till.finish().await;
    assert!(matches!(till.state(1, "w2").await, WithdrawalState::Paid { .. }));
    assert!(matches!(
        till.state(0, "w1").await,
        WithdrawalState::Returned { reference: None, .. }
    ));
    // All of a batch, too.
    till.ask(2, "w3", TON, account("w3")).await;
    payer.step(till.now_ms()).await.expect("taken");
    till.give_back(2, "w3").await.expect("given back");
    till.finish().await;
    assert_eq!(till.obeyed().await, 1);
}

pub async fn a_wallet_that_is_short_pays_what_it_can_and_says_what_it_needs(home: Home) {
    let till = Till::new(4, home).await;
    // The operator has taken most of it away.
    till.by_hand(till.balance() - 20 * TON).await;
    till.ask(0, "w1", 10 * TON, account("a")).await;
    till.ask(1, "w2", 50 * TON, account("b")).await;
    till.ask(2, "w3", TON, account("c")).await;
    let mut payer = till.honest();
    let short = till.run(&mut payer).await;
    let Waiting::Short { wallet, has, needs } = &short else {
        panic!("{short:?}");
    };
    assert_eq!(*wallet, till.wallet.address());
    assert!(*has < nano(10 * TON) && *needs > nano(50 * TON), "{short}");
    let missing = nano(needs.get() - has.get());
    assert!(short.to_string().contains(&format!("{missing} more")), "{short}");
    assert!(matches!(till.state(0, "w1").await, WithdrawalState::Paid { .. }));
    // Who asked later does not go first. What nobody has signed can be given back.
    assert_eq!(till.state(1, "w2").await, WithdrawalState::Asked);
    assert_eq!(till.state(2, "w3").await, WithdrawalState::Asked);
    till.give_back(1, "w2").await.expect("given back");
    assert_eq!(till.run(&mut payer).await, Waiting::NothingAsked);
    assert!(matches!(till.state(2, "w3").await, WithdrawalState::Paid { .. }));
    till.ask(1, "w4", 50 * TON, account("b")).await;
    assert!(matches!(till.run(&mut payer).await, Waiting::Short { .. }));
    till.world.give(till.wallet.address(), 60 * TON);
    till.finish().await;
}

pub async fn more_than_254_with_the_longest_names_are_paid_in_several_messages(home: Home) {
    let till = Till::new(5, home).await;
    let count = BATCH_MAX + 30;
    for n in 0..count {
        let id = format!("{n:064}");
        till.ask(n % 3, &id, TON / 10 + n as u64, account(&id)).await;
    }
    let before = till.balance();
    till.finish().await;
    assert_eq!(till.obeyed().await, 2);
    let sum: u64 = (0..count as u64).map(|n| TON / 10 + n).sum();
    let fees = (before - till.balance() - sum) / count as u64;
    println!("{fees} nano for each withdrawal");
    assert!(fees < PAYMENT_FEE_MAX / 2, "{fees}");
}

pub async fn what_cannot_be_paid_is_given_back_with_the_reason(home: Home) {
    let till = Till::new(6, home).await;
    let own = till.wallet.address().to_string();
    let contract = till.world.contract.to_string();
    let masterchain = format!("-1:{}", "33".repeat(32));
    let zero = format!("0:{}", "00".repeat(32));
    let long = "x".repeat(256);
    for (id, to, why) in [
        ("own", own.as_str(), "the operator's own"),
        ("contract", &contract, "the operator's own"),
        ("cold", &account("cold").to_string(), "the operator's own"),
        ("masterchain", &masterchain, "only workchain 0 can be paid"),
        ("zero", &zero, "the zero address"),
        ("garbage", "hello", "an address is 48 characters"),
        ("long", &long, "an address is 48 characters"),
    ] {
        till.try_ask(0, id, TON, to).await.expect("withdrawn");
        till.ask(1, &format!("good-{id}"), TON, account("a")).await;
        till.finish().await;
        let state = till.state(0, id).await;
        let said = matches!(&state, WithdrawalState::Returned { why: told, .. } if told.contains(why));
        assert!(said, "{state:?}");
    }
}

pub async fn a_pause_stops_everything_but_following_what_was_sent(home: Home) {
    let till = Till::new(7, home).await;
    till.ask(0, "w1", TON, account("a")).await;
    let mut payer = till.honest();
    payer.pause(true);
    assert_eq!(till.run(&mut payer).await, Waiting::Paused);
    assert_eq!(till.state(0, "w1").await, WithdrawalState::Asked);
    payer.pause(false);
    while !matches!(payer.step(till.now_ms()).await, Ok(Done::Signed { .. })) {}
    payer.pause(true);
    assert_eq!(till.run(&mut payer).await, Waiting::Paused);
    assert_eq!(till.obeyed().await, 0);
    payer.pause(false);
    assert!(matches!(payer.step(till.now_ms()).await, Ok(Done::Sent { .. })));
    till.ask(0, "w2", TON, account("a")).await;
    payer.pause(true);
    assert_eq!(till.run(&mut payer).await, Waiting::Paused);
    assert!(matches!(till.state(0, "w1").await, WithdrawalState::Paid { .. }));
    assert_eq!(till.state(0, "w2").await, WithdrawalState::Asked);
    till.finish().await;
}

pub async fn a_batch_is_paid_from_the_wallet_that_began_it(home: Home) {
    let mut till = Till::new(8, home).await;
    till.ask(0, "w1", TON, account("a")).await;
    let mut payer = till.honest();
    while !matches!(payer.step(till.now_ms()).await, Ok(Done::Signed { .. })) {}
    let (first, first_key) = (till.wallet.clone(), till.key.clone());
    let (key, wallet) = crate::world::wallet(13);
    till.world.give(wallet.address(), 10 * TON);
    (till.key, till.wallet) = (key.into(), wallet);
    let mut other = till.honest();
    assert_eq!(till.run(&mut other).await, Waiting::OtherWallet(first.address()));
    (till.key, till.wallet) = (first_key, first);
    till.finish().await;
}

pub async fn the_wallet_that_settles_pays_no_withdrawals(home: Home) {
    let mut till = Till::new(9, home).await;
    till.ask(0, "w1", TON, account("a")).await;
    let (wallet, key) = (till.wallet.clone(), Arc::clone(&till.key));
    (till.wallet, till.key) = (till.world.wallet.clone(), Arc::clone(&till.world.key));
    let waits = till.run(&mut till.honest()).await;
    assert_eq!(waits, Waiting::Settles(till.wallet.address()));
    assert_eq!(till.state(0, "w1").await, WithdrawalState::Asked);
    (till.wallet, till.key) = (wallet, key);
    till.finish().await;
}

on_both!(pays:
    the_wallet_that_settles_pays_no_withdrawals,
    what_is_withdrawn_arrives_to_the_nano,
    what_the_payee_sends_back_is_credit_again_once,
    what_is_given_back_while_it_is_taken_is_not_paid,
    a_wallet_that_is_short_pays_what_it_can_and_says_what_it_needs,
    more_than_254_with_the_longest_names_are_paid_in_several_messages,
    what_cannot_be_paid_is_given_back_with_the_reason,
    a_pause_stops_everything_but_following_what_was_sent,
    a_batch_is_paid_from_the_wallet_that_began_it,
);
