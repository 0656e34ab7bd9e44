//! What crosses the border of a ledger: deposits as they are listed, withdrawals, and what was read of the world outside.

use std::sync::Arc;

use filature_billing::{AccountId, LedgerError, Nano, Uncredited, WhyUncredited, WithdrawalState, WithdrawalStep};
use futures_util::future::join_all;

use crate::world::{World, check_sums, nano};

fn sent(reference: &str) -> WithdrawalStep {
    let reference = reference.to_owned();
    WithdrawalStep::Sent { reference }
}

fn returned(reference: Option<&str>) -> WithdrawalStep {
    WithdrawalStep::Returned {
        reference: reference.map(str::to_owned),
        why: "the wallet is not there".to_owned(),
    }
}

pub async fn a_withdrawal_takes_what_is_available_once(world: &mut World) {
    let (payer, other) = (world.payer(1_000).await, world.payer(50).await);
    world.hold(&payer, 300).await;
    let ask = world.withdraw(&payer.account, "w {1}:a", 700);
    let first = world.ledger.withdraw(&ask).await.expect("withdrawn");
    assert!(first.fresh);
    assert_eq!((first.account.available, first.account.withdrawn), (0, nano(700)));
    assert_eq!(first.withdrawal.state, WithdrawalState::Asked);
    world.now_ms += 5;
    // Nothing is left, and yet the same again is no other.
    let mut again = ask.clone();
    again.now_ms += 5;
    let again = world.ledger.withdraw(&again).await.expect("an answer");
    assert!(!again.fresh);
    assert_eq!(
        (again.withdrawal, again.account),
        (first.withdrawal.clone(), first.account)
    );
    world.check(&payer, 0, 300, 0).await;
    // The same id for another account is another withdrawal.
    let elsewhere = world.withdraw(&other.account, &ask.id, 50);
    assert!(world.ledger.withdraw(&elsewhere).await.expect("withdrawn").fresh);
    let totals = world.ledger.totals().await.expect("totals");
    assert_eq!((totals.withdrawn, totals.deposited), (nano(750), nano(1_050)));
    assert_eq!(world.open_withdrawals().await.len(), 2);
    let found = world.ledger.withdrawal(&payer.account, &ask.id).await;
    assert_eq!(found, Ok(Some(first.withdrawal)));
}

pub async fn a_withdrawal_that_cannot_be_is_refused(world: &mut World) {
    let payer = world.payer(1_000).await;
    world.hold(&payer, 300).await;
    let ask = world.withdraw(&payer.account, "w", 701);
    let refused = world.ledger.withdraw(&ask).await;
    assert_eq!(refused, Err(LedgerError::Insufficient { available: 700 }));
    let nobody = AccountId::parse("acct_nobody").expect("an id");
    let refused = world.ledger.withdraw(&world.withdraw(&nobody, "w", 1)).await;
    assert_eq!(refused, Err(LedgerError::UnknownAccount(nobody)));
    let long = world.withdraw(&payer.account, &"w".repeat(257), 1);
    assert!(matches!(
        world.ledger.withdraw(&long).await,
        Err(LedgerError::TooLarge(_))
    ));

    let small = world.withdraw(&payer.account, "w", 10);
    assert!(world.ledger.withdraw(&small).await.expect("withdrawn").fresh);
    let mut other = small.clone();
    other.to = "0:4567".to_owned();
    for other in [other, world.withdraw(&payer.account, "w", 11)] {
        let refused = world.ledger.withdraw(&other).await;
        assert!(matches!(refused, Err(LedgerError::Conflict(_))), "{refused:?}");
    }
    world.check(&payer, 690, 300, 0).await;
    assert_eq!(world.ledger.withdrawal(&payer.account, "none").await, Ok(None));
    let none = world
        .ledger
        .step_withdrawal(&payer.account, "none", &sent("a"), 1)
        .await;
    assert_eq!(none, Ok(None));
}

pub async fn what_comes_back_is_available_again_once(world: &mut World) {
    let payer = world.payer(1_000).await;
    let (account, now_ms) = (payer.account.clone(), world.now_ms);
    for id in ["paid", "bounced", "refused"] {
        let ask = world.withdraw(&account, id, 100);
        world.ledger.withdraw(&ask).await.expect("withdrawn");
    }
    world.check(&payer, 700, 0, 0).await;
    let ledger = Arc::clone(&world.ledger);
    let step = async |id: &str, step: WithdrawalStep| {
        let after = ledger.step_withdrawal(&account, id, &step, now_ms).await;
        after.map(|after| after.expect("a withdrawal").state)
    };
    let in_a = WithdrawalState::Sent {
        reference: "a".to_owned(),
        at_ms: now_ms,
    };
    assert_eq!(step("paid", sent("a")).await, Ok(in_a.clone()));
    assert_eq!(step("bounced", sent("a")).await, Ok(in_a.clone()));
    assert_eq!(step("paid", sent("a")).await, Ok(in_a));
    assert!(matches!(step("paid", sent("b")).await, Err(LedgerError::OutOfTurn(_))));
    assert!(matches!(
        step("paid", returned(None)).await,
        Err(LedgerError::OutOfTurn(_))
    ));
    let names = async || {
        let open = world.open_withdrawals().await;
        open.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["refused"]);
    let paid = |reference: &str| WithdrawalStep::Paid {
        reference: reference.to_owned(),
        transaction: "47".to_owned(),
    };
    assert!(matches!(step("paid", paid("b")).await, Err(LedgerError::OutOfTurn(_))));
    for _ in 0..2 {
        let is_paid = WithdrawalState::Paid {
            reference: "a".to_owned(),
            transaction: "47".to_owned(),
            at_ms: now_ms,
        };
        assert_eq!(step("paid", paid("a")).await, Ok(is_paid));
        step("bounced", returned(Some("a"))).await.expect("given back");
        step("refused", returned(None)).await.expect("given back");
    }
    world.check(&payer, 900, 0, 0).await;
    assert_eq!(names().await, Vec::<String>::new());
    assert_eq!(world.ledger.totals().await.expect("totals").withdrawn, nano(100));
    let listed = world.ledger.withdrawals(&account, None, 2).await.expect("a list");
    let ids = |list: &[(filature_billing::Cursor, filature_billing::Withdrawal)]| {
        list.iter().map(|(_, one)| one.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&listed), ["paid", "bounced"]);
    let rest = world
        .ledger
        .withdrawals(&account, Some(listed[1].0), 9)
        .await
        .expect("a list");
    assert_eq!(ids(&rest), ["refused"]);
}

pub async fn many_withdrawals_at_once_never_take_more_than_there_is(world: &mut World) {
    let payer = world.payer(1_000).await;
    let asks: Vec<_> = (0..60)
        .map(|n| world.withdraw(&payer.account, &format!("w{}", n / 2), 70))
        .collect();
    let holds: Vec<_> = (0..30).map(|_| world.ask(&payer, 70, 70)).collect();
    let ledger = &world.ledger;
    let (withdrawn, held) = tokio::join!(
        join_all(asks.iter().map(|ask| ledger.withdraw(ask))),
        join_all(holds.iter().map(|ask| ledger.reserve(ask))),
    );
    let fresh = withdrawn.iter().flatten().filter(|one| one.fresh).count() as u64;
    let held = held.iter().flatten().count() as u64;
    assert_eq!(fresh + held, 14, "1,000 is 14 times 70, and a rest");
    world.check(&payer, 20, held * 70, 0).await;
    assert_eq!(world.open_withdrawals().await.len() as u64, fresh);
}

pub async fn a_withdrawal_given_back_by_many_is_given_back_once(world: &mut World) {
    let payer = world.payer(1_000).await;
    let ask = world.withdraw(&payer.account, "w", 400);
    world.ledger.withdraw(&ask).await.expect("withdrawn");
    let (send, back) = (sent("a"), returned(None));
    let steps = (0..40).map(|n| {
        let step = if n % 2 == 0 { &back } else { &send };
        world.ledger.step_withdrawal(&payer.account, "w", step, world.now_ms)
    });
    let done = join_all(steps).await;
    let found = world
        .ledger
        .withdrawal(&payer.account, "w")
        .await
        .expect("an answer")
        .expect("a withdrawal");
    let is_back = matches!(found.state, WithdrawalState::Returned { .. });
    assert_eq!(
        done.iter().flatten().count(),
        20,
        "who came first excludes the other kind: {done:?}"
    );
    world.check(&payer, if is_back { 1_000 } else { 600 }, 0, 0).await;
}

pub async fn the_largest_amounts_are_withdrawn_exactly(world: &mut World) {
    let payer = world.payer(Nano::MAX.get()).await;
    let ask = world.withdraw(&payer.account, "all but one", Nano::MAX.get() - 1);
    world.ledger.withdraw(&ask).await.expect("withdrawn");
    world.check(&payer, 1, 0, 0).await;
    let back = world
        .ledger
        .step_withdrawal(&payer.account, &ask.id, &returned(None), world.now_ms)
        .await;
    assert!(back.is_ok());
    world.check(&payer, Nano::MAX.signed(), 0, 0).await;
}

pub async fn deposits_are_listed_in_order(world: &mut World) {
    let payer = world.payer(0).await;
    let other = world.payer(7).await;
    let mut made = Vec::new();
    for n in (1..=5).rev() {
        let deposit = world.deposit(&payer.account, &format!("ton:{n}"), n);
        world.ledger.deposit(&deposit).await.expect("a deposit");
        world.ledger.deposit(&deposit).await.expect("an answer");
        made.push(deposit);
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let some = world.ledger.deposits(&payer.account, after, 2).await.expect("deposits");
        let Some((last, _)) = some.last() else { break };
        after = Some(*last);
        listed.extend(some.into_iter().map(|(_, deposit)| deposit));
    }
    assert_eq!(listed, made);
    assert_eq!(
        world
            .ledger
            .deposits(&other.account, None, 9)
            .await
            .expect("deposits")
            .len(),
        1
    );
}

fn uncredited(n: u64) -> Uncredited {
    Uncredited {
        id: format!("ton:{n}:00"),
        at_ms: n,
        from: "0:00".into(),
        amount: "1329227995784915872903807060280344575".into(),
        why: WhyUncredited::TooLarge,
        account: None,
        detail: "hello".into(),
    }
}

pub async fn a_bookmark_moves_from_where_it_is(world: &mut World) {
    let ledger = Arc::clone(&world.ledger);
    let moves = async |from: Option<&str>, to: &str, found: &[Uncredited]| {
        ledger.move_bookmark("deposits", from, to, found).await
    };
    assert_eq!(ledger.bookmark("deposits").await, Ok(None));
    assert_eq!(moves(Some("1"), "2", &[uncredited(1)]).await, Ok(false));
    assert_eq!(moves(None, "2", &[uncredited(1), uncredited(2)]).await, Ok(true));
    assert_eq!(moves(None, "2", &[uncredited(1), uncredited(2)]).await, Ok(true));
    assert_eq!(moves(None, "3", &[uncredited(3)]).await, Ok(false));
    assert_eq!(moves(Some("2"), "3", &[uncredited(3)]).await, Ok(true));
    assert_eq!(ledger.bookmark("deposits").await, Ok(Some("3".to_owned())));
    assert_eq!(ledger.bookmark("other").await, Ok(None));
    let read = async |after, max| ledger.uncredited(after, max).await.expect("a list");
    let first = read(None, 2).await;
    let rest = read(Some(first[1].0), 9).await;
    let found: Vec<_> = first.into_iter().chain(rest).map(|(_, one)| one).collect();
    assert_eq!(found, [uncredited(1), uncredited(2), uncredited(3)]);
    let mut long = uncredited(4);
    long.detail = "x".repeat(257);
    assert!(matches!(
        moves(Some("3"), "4", &[long]).await,
        Err(LedgerError::TooLarge(_))
    ));
    // Of many that move it at once, one does.
    let to = ["5", "6", "7", "8"];
    let moved = join_all(to.iter().map(|to| ledger.move_bookmark("deposits", Some("3"), to, &[]))).await;
    assert_eq!(moved.iter().filter(|moved| **moved == Ok(true)).count(), 1);
    check_sums(&*ledger).await;
}

pub async fn transfers_that_named_an_account_are_told_to_it(world: &mut World) {
    let (payer, other) = (world.payer(0).await, world.payer(0).await);
    let named = |n: u64, account: &AccountId| Uncredited {
        account: Some(account.clone()),
        ..uncredited(n)
    };
    let found: Vec<_> = (0..150)
        .map(|n| {
            if n % 10 == 0 {
                uncredited(n)
            } else {
                named(n, &payer.account)
            }
        })
        .collect();
    let ledger = &world.ledger;
    assert_eq!(ledger.move_bookmark("deposits", None, "1", &found).await, Ok(true));
    assert_eq!(ledger.move_bookmark("deposits", None, "1", &found).await, Ok(true));
    let told = ledger.uncredited_of(&payer.account).await.expect("a list");
    let own: Vec<_> = found.into_iter().filter(|one| one.account.is_some()).collect();
    assert_eq!(told, own[own.len() - 100..]);
    assert_eq!(ledger.uncredited_of(&other.account).await, Ok(vec![]));
    assert_eq!(ledger.uncredited(None, 1_024).await.expect("a list").len(), 150);
}

on_all!(transfers:
    a_withdrawal_takes_what_is_available_once,
    a_withdrawal_that_cannot_be_is_refused,
    what_comes_back_is_available_again_once,
    many_withdrawals_at_once_never_take_more_than_there_is,
    a_withdrawal_given_back_by_many_is_given_back_once,
    the_largest_amounts_are_withdrawn_exactly,
    deposits_are_listed_in_order,
    a_bookmark_moves_from_where_it_is,
    transfers_that_named_an_account_are_told_to_it,
);
