//! Endpoints that lie together with nobody: a chain that went another way from some block on tells the settler that the wallet
//! sent something else, and the till that somebody paid in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use filature_billing::chain::{Chain, Devnet, DevnetSettings, Faults, Payment, Quorum, WalletKey};
use filature_billing::settle::{Done, SettleError, Settler, Waiting};

use tempfile::TempDir;

use crate::home::Home;
use crate::withdrawals::till::Till;
use crate::world::{TON, World, account, nano};

/// A chain that is the same up to now, and another one from here on.
struct Fork {
    devnet: Devnet,
    _folder: TempDir,
}

fn fork(folder: &Path) -> Fork {
    let copy = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
    }
    Fork {
        devnet: Devnet::open(kept(copy.path())).expect("a devnet"),
        _folder: copy,
    }
}

fn kept(folder: &Path) -> DevnetSettings {
    DevnetSettings {
        folder: Some(folder.to_owned()),
        ..DevnetSettings::default()
    }
}

fn quorum(members: &[&Devnet], needed: usize) -> Arc<dyn Chain> {
    let members = members.iter().map(|one| Arc::new(one.view()) as Arc<dyn Chain>);
    Arc::new(Quorum::new(members.collect(), needed).patient_for(Duration::from_millis(20)))
}

/// The wallet pays somebody on this chain.
async fn pay_on(chain: &Devnet, world: &World, key: &WalletKey, payment: Payment) {
    let seqno = world.wallet.seqno(chain).await.expect("a seqno");
    let message = world
        .wallet
        .prepare(&[payment], seqno, chain.now() + 60)
        .expect("a message");
    chain
        .send(&message.sign(key).expect("a signature").bytes)
        .await
        .expect("taken");
    chain.block().expect("a block");
}

async fn until_signed(world: &World, settler: &mut Settler, payments: usize) {
    loop {
        match settler.step(&world.payees).await.expect("a step") {
            Done::Signed { payments: count, .. } if count == payments => return,
            Done::Sent { .. } | Done::Waits(_) => drop(world.devnet.block().expect("a block")),
            _ => {}
        }
    }
}

/// A world in which both payments were signed and taken; and a chain on which the wallet sent something else instead.
async fn paid_and_denied(seed: u64, folder: &Path) -> (World, Fork) {
    let mut world = World::with(seed, kept(folder)).await;
    world.plain("a");
    world.plain("b");
    world.seal(&[("a", 5 * TON), ("b", 7 * TON)]).await;
    let mut settler = world.honest();
    until_signed(&world, &mut settler, 2).await;
    let lie = fork(folder);
    pay_on(
        &lie.devnet,
        &world,
        &world.key,
        Payment::new(account("elsewhere"), nano(1)),
    )
    .await;
    let sent = settler.step(&world.payees).await.expect("a step");
    assert!(matches!(sent, Done::Sent { .. }), "{sent:?}");
    world.devnet.block().expect("a block");
    (world, lie)
}

#[tokio::test]
async fn whoever_is_believed_alone_can_have_providers_paid_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let (world, lie) = paid_and_denied(41, folder.path()).await;
    let mut fooled = world.settler(quorum(&[&lie.devnet], 1));
    until_signed(&world, &mut fooled, 2).await;
}

#[tokio::test]
async fn two_who_must_agree_pay_once_whatever_one_of_them_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let (world, lie) = paid_and_denied(42, folder.path()).await;
    let mut settler = world.settler(quorum(&[&lie.devnet, &world.devnet], 2));
    for _ in 0..10 {
        let waits = settler.step(&world.payees).await;
        assert!(matches!(waits, Err(SettleError::Chain(_))), "{waits:?}");
        world.devnet.block().expect("a block");
        lie.devnet.block().expect("a block");
    }
    // A third outvotes the liar.
    let mut settler = world.settler(quorum(&[&lie.devnet, &world.devnet, &world.devnet.view()], 2));
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
    assert_eq!(world.obeyed().await, 2);
}

#[tokio::test]
async fn one_that_lags_or_is_down_is_outvoted_too() {
    let mut world = World::new(43).await;
    world.plain("a");
    world.walleted("b", 3).await;
    let (slow, down) = (world.devnet.view(), world.devnet.view());
    slow.set_faults(Faults {
        lag_blocks: 3,
        ..Faults::default()
    });
    down.set_faults(Faults {
        down: true,
        ..Faults::default()
    });
    let honest = [world.devnet.view(), world.devnet.view()];
    for members in [[&slow, &honest[0], &honest[1]], [&down, &honest[0], &slow]] {
        world.seal(&[("a", TON), ("b", TON)]).await;
        let mut settler = world.settler(quorum(&members, 2));
        let mut patience = 0..1_000;
        loop {
            assert!(patience.next().is_some(), "it does not come to an end");
            match settler.settle(&world.payees).await {
                Ok(Done::Waits(Waiting::NothingDue)) => break,
                Ok(_) | Err(SettleError::Chain(_)) => drop(world.devnet.block().expect("a block")),
                Err(error) => panic!("{error}"),
            }
        }
    }
    world.check(&world.accounts()).await;
}

#[tokio::test]
async fn a_deposit_that_one_invents_is_not_credited() {
    let folder = tempfile::tempdir().expect("a folder");
    let till = Till::with(44, Home::embedded(), kept(folder.path())).await;
    let lie = fork(folder.path());
    let caller = &till.accounts[0];
    let invoice = filature_billing::deposits::Invoice::of(caller)
        .expect("an invoice")
        .to_string();
    let body = filature_billing::chain::Body::comment_of(&invoice).expect("a comment");
    lie.devnet
        .give(till.wallet.address(), nano(50 * TON).into(), &body)
        .expect("a gift");
    lie.devnet.block().expect("a block");
    let step = |members: &[&Devnet], needed: usize| {
        let mut watcher = till.watcher(quorum(members, needed));
        let now_ms = till.now_ms();
        async move { watcher.step(now_ms).await }
    };
    for _ in 0..3 {
        assert_eq!(
            step(&[&lie.devnet, &till.world.devnet], 2)
                .await
                .expect("a step")
                .transactions,
            0
        );
    }
    assert_eq!(till.available(caller).await, (100 * TON).cast_signed());
    // What really was paid in meanwhile contradicts the liar, and is credited as soon as two tell of it.
    till.pay_in(0, 7 * TON).await;
    assert!(
        step(&[&lie.devnet, &till.world.devnet], 2).await.is_err(),
        "they contradict each other"
    );
    let honest = till.world.devnet.view();
    step(&[&lie.devnet, &till.world.devnet, &honest], 2)
        .await
        .expect("a step");
    assert_eq!(till.available(caller).await, (107 * TON).cast_signed());
}
