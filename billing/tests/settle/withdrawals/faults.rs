//! One fault at a time, at every step; a seqno that somebody else moved; a wallet emptied in between; several payers at once.

use std::sync::Arc;

use filature_billing::WithdrawalState;
use filature_billing::chain::{Faults, Lie};
use filature_billing::withdrawals::{Done, PayError, Payer, Taken, Waiting};
use futures_util::future::join_all;

use super::till::Till;
use crate::faults::Stale;
use crate::home::Home;
use crate::world::{TON, account, nano};

/// A till where a batch of three is signed and was not sent.
async fn signed(seed: u64, home: Home) -> (Till, Payer) {
    let till = Till::new(seed, home).await;
    till.ask(0, "a", 5 * TON, account("a")).await;
    till.ask(1, "b", 7 * TON, till.walleted(12).await).await;
    till.ask(2, "c", 9 * TON, till.refusing(1).await).await;
    let mut payer = till.honest();
    while !matches!(payer.step(till.now_ms()).await, Ok(Done::Signed { .. })) {}
    (till, payer)
}

fn all_faults() -> Vec<Faults> {
    let none = Faults::default;
    let mut all = vec![
        Faults { down: true, ..none() },
        Faults {
            lose_messages: true,
            ..none()
        },
        Faults {
            lose_answers: true,
            ..none()
        },
        Faults {
            double_messages: true,
            ..none()
        },
        Faults {
            delay_blocks: 3,
            ..none()
        },
        Faults {
            lag_blocks: 3,
            ..none()
        },
    ];
    all.extend([133, 135, 136, 0].map(|code| Faults {
        refuse_messages: Some(code),
        ..none()
    }));
    all.extend([Lie::Omit, Lie::Repeat, Lie::Reverse].map(|lie| Faults {
        lie: Some(lie),
        ..none()
    }));
    all
}

pub async fn every_fault_at_every_step_costs_time_and_nothing_else(home: Home) {
    let till = Till::new(1, home).await;
    let (walleted, refusing) = (till.walleted(12).await, till.refusing(1).await);
    let mut round = 0;
    for faults in all_faults() {
        for healthy in 0..6 {
            round += 1;
            till.ask(0, &format!("a{round}"), TON / 20, account("a")).await;
            till.ask(1, &format!("b{round}"), TON / 20, walleted).await;
            till.ask(2, &format!("c{round}"), TON / 20, refusing).await;
            let eyes = till.eyes();
            let mut payer = till.payer(Arc::new(eyes.clone()));
            for step in 0..healthy + 6 {
                if step == healthy {
                    eyes.set_faults(faults);
                }
                let done = payer.step(till.now_ms()).await;
                assert!(matches!(done, Ok(_) | Err(PayError::Chain(_))), "{faults:?}: {done:?}");
                if step % 2 == 1 {
                    till.world.devnet.block().expect("a block");
                }
            }
            assert_eq!(till.run(&mut till.honest()).await, Waiting::NothingAsked);
        }
        till.finish().await;
    }
}

pub async fn a_message_that_is_too_old_is_followed_by_another_for_the_same_seqno(home: Home) {
    let (till, mut payer) = signed(2, home).await;
    till.world.devnet.advance(till.settings.valid_s + 1);
    till.world.devnet.block().expect("a block");
    let again = payer.step(till.now_ms()).await.expect("a step");
    assert_eq!(again, Done::Signed { seqno: 0, payments: 3 });
    till.finish().await;
    assert_eq!(till.obeyed().await, 1);
}

pub async fn a_seqno_used_by_hand_costs_one_message(home: Home) {
    let (till, mut payer) = signed(3, home).await;
    till.by_hand(TON).await;
    let done = payer.step(till.now_ms()).await.expect("a step");
    let (sum, seqno) = (nano(0), 0);
    assert_eq!(
        done,
        Done::Settled {
            seqno,
            paid: 0,
            sum,
            returned: 0
        }
    );
    // The batch keeps them: nobody can give back what may be signed again.
    assert!(matches!(till.state(0, "a").await, WithdrawalState::Sent { .. }));
    till.finish().await;
    assert_eq!(till.obeyed().await, 2);
}

pub async fn a_wallet_emptied_while_a_message_is_under_way_pays_when_it_has_coins_again(home: Home) {
    let (till, mut payer) = signed(4, home).await;
    // Somebody with the key takes nearly all of it.
    till.by_hand(till.balance() - 13 * TON).await;
    assert!(matches!(till.run(&mut payer).await, Waiting::Short { .. }));
    till.check_always().await;
    till.world.give(till.wallet.address(), 20 * TON);
    till.finish().await;
}

pub async fn several_payers_at_once_pay_once(home: Home) {
    let till = Till::new(6, home).await;
    let (walleted, refusing) = (till.walleted(12).await, till.refusing(1).await);
    for round in 0..6 {
        till.ask(0, &format!("a{round}"), TON, account("a")).await;
        till.ask(1, &format!("b{round}"), TON, walleted).await;
        till.ask(2, &format!("c{round}"), TON, refusing).await;
        let till = &till;
        let payers =
            [till.honest(), till.honest(), till.honest()].map(|mut payer| async move { till.run(&mut payer).await });
        for ended in join_all(payers).await {
            assert_eq!(ended, Waiting::NothingAsked);
        }
        till.finish().await;
    }
    assert_eq!(till.obeyed().await, 6);
}

pub async fn a_message_taken_while_it_seemed_too_old_is_known_again(home: Home) {
    let (till, mut payer) = signed(7, home).await;
    let old = payer
        .books(till.now_ms())
        .await
        .expect("books")
        .under_way()
        .expect("a batch")
        .open()[0]
        .clone();
    assert!(matches!(payer.step(till.now_ms()).await, Ok(Done::Sent { .. })));
    // Time passes, and an endpoint answers as of before the message, but with the clock of now.
    let stale = Stale {
        now: till.eyes(),
        old: till.eyes(),
    };
    stale.old.set_faults(Faults {
        lag_blocks: 2,
        ..Faults::default()
    });
    till.world.devnet.advance(till.settings.valid_s + 1);
    till.world.devnet.block().expect("a block");
    let mut stale = till.payer(Arc::new(stale));
    let signed = stale.step(till.now_ms()).await.expect("a step");
    assert_eq!(signed, Done::Signed { seqno: 0, payments: 3 });
    let sent = stale.step(till.now_ms()).await.expect("a step");
    assert_eq!(sent, Done::Waits(Waiting::UnderWay), "its seqno is used");
    till.finish().await;
    assert_eq!(till.obeyed().await, 1);
    let taken = super::loss::outcomes(&till);
    let known = taken
        .iter()
        .any(|taken| matches!(taken, Taken::Ours { hash, .. } if *hash == old.hash));
    assert!(known, "{taken:?}");
}

on_both!(faults:
    every_fault_at_every_step_costs_time_and_nothing_else,
    a_message_that_is_too_old_is_followed_by_another_for_the_same_seqno,
    a_seqno_used_by_hand_costs_one_message,
    a_wallet_emptied_while_a_message_is_under_way_pays_when_it_has_coins_again,
    several_payers_at_once_pay_once,
    a_message_taken_while_it_seemed_too_old_is_known_again,
);
