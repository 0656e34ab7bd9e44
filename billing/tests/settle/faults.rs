//! One fault at a time: messages lost, delayed, doubled, refused; endpoints that lag, lie or are down; a seqno that somebody
//! else moved; two settlers at once.

use std::sync::Arc;

use filature_billing::chain::{ChainError, Devnet, DevnetSettings, Faults, Lie, Payment};
use filature_billing::settle::{Done, Message, SettleError, Settler, Taken, Waiting, What};

use crate::world::{TON, World, account, nano};

/// A world where a batch of payments to "a" and "b" is signed and was not sent; b has a wallet.
async fn signed(seed: u64) -> (World, Settler, Message) {
    signed_with(seed, DevnetSettings::default()).await
}

async fn signed_with(seed: u64, devnet: DevnetSettings) -> (World, Settler, Message) {
    let mut world = World::with(seed, devnet).await;
    world.plain("a");
    world.walleted("b", 3).await;
    world.seal(&[("a", 5 * TON), ("b", 7 * TON)]).await;
    let mut settler = world.honest();
    let mut signed = 0;
    while signed < 2 {
        signed += u32::from(matches!(advance(&world, &mut settler).await, Done::Signed { .. }));
    }
    let message = open(&mut settler).await.expect("a message");
    (world, settler, message)
}

/// One step, and a block if it waits for one.
async fn advance(world: &World, settler: &mut Settler) -> Done {
    let done = settler.step(&world.payees).await.expect("a step");
    if matches!(done, Done::Waits(_)) {
        world.devnet.block().expect("a block");
    }
    done
}

/// The newest message that may still be taken.
async fn open(settler: &mut Settler) -> Option<Message> {
    let books = settler.books().await.expect("books");
    books.round()?.open().last().cloned()
}

/// What the books say became of seqnos, in order.
fn outcomes(world: &World) -> Vec<Taken> {
    let folder = world.folder.path().join("epochs/settlement/000000000");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let entries = paths.into_iter().map(|path| {
        let bytes = std::fs::read(path).expect("a file");
        serde_json::from_slice::<filature_billing::settle::Entry>(&bytes).expect("an entry")
    });
    let taken = entries.filter_map(|entry| match entry.what {
        What::Outcome(outcome) => Some(outcome.taken),
        _ => None,
    });
    taken.collect()
}

async fn finish(world: &World, settler: &mut Settler) {
    assert_eq!(world.run(settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
}

#[tokio::test]
async fn a_lost_message_is_sent_again_byte_for_byte() {
    let (world, _, message) = signed(1).await;
    let eyes = world.devnet.view();
    eyes.set_faults(Faults {
        lose_messages: true,
        ..Faults::default()
    });
    let mut settler = world.settler(Arc::new(eyes.clone()));
    for _ in 0..5 {
        let sent = Done::Sent {
            seqno: message.seqno,
            hash: message.hash,
        };
        assert_eq!(settler.step(&world.payees).await.expect("a step"), sent);
    }
    assert_eq!(open(&mut settler).await, Some(message));
    eyes.set_faults(Faults::default());
    finish(&world, &mut settler).await;
    assert_eq!(world.obeyed().await, 2);
}

#[tokio::test]
async fn a_message_that_is_too_old_is_followed_by_another_for_the_same_seqno() {
    let (world, mut settler, old) = signed(2).await;
    world.devnet.advance(world.settings.valid_s + 1);
    // Not by the chain's clock yet: no block says so.
    assert_eq!(
        advance(&world, &mut settler).await,
        Done::Waits(Waiting::UnderWay),
        "the chain refuses what is too old"
    );
    let seqno = old.seqno;
    assert_eq!(advance(&world, &mut settler).await, Done::Signed { seqno, payments: 2 });
    let new = open(&mut settler).await.expect("a message");
    assert_ne!(old.hash, new.hash);
    finish(&world, &mut settler).await;
    assert_eq!(world.obeyed().await, 2);
}

#[tokio::test]
async fn a_message_taken_while_it_seemed_too_old_is_known_again() {
    let (world, mut settler, old) = signed(3).await;
    settler.step(&world.payees).await.expect("sent");
    // Time passes, and an endpoint answers as of before the message, but with the clock of now.
    let mut stale = world.settler(Arc::new(Stale {
        now: world.devnet.view(),
        old: {
            let view = world.devnet.view();
            view.set_faults(Faults {
                lag_blocks: 2,
                ..Faults::default()
            });
            world.devnet.advance(world.settings.valid_s + 1);
            world.devnet.block().expect("a block");
            view
        },
    }));
    let signed = stale.step(&world.payees).await.expect("a step");
    assert_eq!(
        signed,
        Done::Signed {
            seqno: old.seqno,
            payments: 2
        }
    );
    assert_eq!(
        stale.step(&world.payees).await.expect("a step"),
        Done::Waits(Waiting::UnderWay)
    );
    finish(&world, &mut settler).await;
    assert_eq!(world.obeyed().await, 2);
    let taken = outcomes(&world);
    assert!(
        matches!(taken.last(), Some(Taken::Ours { hash, .. }) if *hash == old.hash),
        "{taken:?}"
    );
}

/// Two endpoints behind one client: one tells the time and takes messages, the other lags and tells everything else.
pub struct Stale {
    pub now: Devnet,
    pub old: Devnet,
}

#[async_trait::async_trait]
impl filature_billing::chain::Chain for Stale {
    async fn head(&self) -> Result<filature_billing::chain::Head, ChainError> {
        self.now.head().await
    }

    async fn send(&self, message: &[u8]) -> Result<filature_billing::Hash, ChainError> {
        self.now.send(message).await
    }

    async fn account(
        &self,
        address: filature_billing::chain::Address,
    ) -> Result<filature_billing::chain::AccountState, ChainError> {
        self.old.account(address).await
    }

    async fn transactions(
        &self,
        address: filature_billing::chain::Address,
        after: filature_billing::chain::Position,
        limit: usize,
    ) -> Result<Vec<filature_billing::chain::Transaction>, ChainError> {
        self.old.transactions(address, after, limit).await
    }

    async fn get(
        &self,
        address: filature_billing::chain::Address,
        method: &str,
        stack: &[filature_billing::chain::Value],
    ) -> Result<Vec<filature_billing::chain::Value>, ChainError> {
        self.old.get(address, method, stack).await
    }
}

#[tokio::test]
async fn a_doubled_message_pays_once_and_an_answer_that_is_lost_costs_nothing() {
    for (seed, faults) in [
        (
            4,
            Faults {
                double_messages: true,
                ..Faults::default()
            },
        ),
        (
            5,
            Faults {
                lose_answers: true,
                ..Faults::default()
            },
        ),
    ] {
        let (world, _, _) = signed(seed).await;
        let eyes = world.devnet.view();
        eyes.set_faults(faults);
        let mut settler = world.settler(Arc::new(eyes));
        let sent = settler.step(&world.payees).await;
        assert_eq!(sent.is_err(), faults.lose_answers, "{sent:?}");
        finish(&world, &mut settler).await;
        assert_eq!(world.obeyed().await, 2);
    }
}

#[tokio::test]
async fn a_delayed_message_is_waited_for() {
    let (world, _, message) = signed(6).await;
    let eyes = world.devnet.view();
    eyes.set_faults(Faults {
        delay_blocks: 5,
        ..Faults::default()
    });
    let mut settler = world.settler(Arc::new(eyes.clone()));
    settler.step(&world.payees).await.expect("sent");
    eyes.set_faults(Faults {
        lose_messages: true,
        ..Faults::default()
    });
    let mut waits = 0;
    while open(&mut settler).await.is_some() {
        settler.step(&world.payees).await.expect("a step");
        world.devnet.block().expect("a block");
        waits += 1;
        assert!(waits < 20);
    }
    assert!(waits >= 5, "{waits}");
    finish(&world, &mut settler).await;
    let taken = outcomes(&world);
    assert!(
        matches!(taken.last(), Some(Taken::Ours { hash, .. }) if *hash == message.hash),
        "{taken:?}"
    );
}

#[tokio::test]
async fn a_seqno_that_somebody_else_moved_excludes_the_message_and_another_one_pays() {
    let (world, mut settler, message) = signed(7).await;
    world
        .pay(
            &world.key,
            &world.wallet,
            &[Payment::new(account("by hand"), nano(TON))],
        )
        .await;
    let seqno = message.seqno;
    let nothing = Done::Reconciled {
        seqno,
        payees: 0,
        paid: nano(0),
    };
    assert_eq!(advance(&world, &mut settler).await, nothing);
    assert_eq!(outcomes(&world).last(), Some(&Taken::Foreign));
    finish(&world, &mut settler).await;
    assert_eq!(world.obeyed().await, 3);
}

#[tokio::test]
async fn a_slow_chain_is_followed_to_the_payees() {
    let settings = DevnetSettings {
        slow: true,
        ..DevnetSettings::default()
    };
    let (world, mut settler, _) = signed_with(8, settings).await;
    settler.step(&world.payees).await.expect("sent");
    // b's wallet has not got it yet, and it might still come back.
    assert_eq!(advance(&world, &mut settler).await, Done::Waits(Waiting::UnderWay));
    finish(&world, &mut settler).await;
}

#[tokio::test]
async fn endpoints_that_lag_lie_or_are_down_are_waited_out() {
    let (mut world, _, _) = signed(9).await;
    let lies = [Lie::Omit, Lie::Repeat, Lie::Reverse].map(|lie| Faults {
        lie: Some(lie),
        ..Faults::default()
    });
    let lags = [1, 2, 4, 9].map(|lag_blocks| Faults {
        lag_blocks,
        ..Faults::default()
    });
    let down = Faults {
        down: true,
        ..Faults::default()
    };
    for faults in lies.into_iter().chain(lags).chain([down]) {
        let eyes = world.devnet.view();
        eyes.set_faults(faults);
        let mut settler = world.settler(Arc::new(eyes));
        for _ in 0..30 {
            match settler.step(&world.payees).await {
                Ok(Done::Waits(Waiting::Stranger)) => panic!("{faults:?}"),
                Ok(_) | Err(SettleError::Chain(_)) => {}
                Err(error) => panic!("{error}"),
            }
            world.check_pushed().await;
        }
        world.seal(&[("a", TON), ("b", TON)]).await;
    }
    finish(&world, &mut world.honest()).await;
}

#[tokio::test]
async fn whatever_the_chain_refuses_is_said_and_tried_again() {
    let (world, _, _) = signed(10).await;
    let eyes = world.devnet.view();
    let mut settler = world.settler(Arc::new(eyes.clone()));
    for code in [133, 135, 136, 0, -14] {
        eyes.set_faults(Faults {
            refuse_messages: Some(code),
            ..Faults::default()
        });
        let done = settler.step(&world.payees).await.expect("a step");
        let said = matches!(&done, Done::Waits(Waiting::Refused(_)));
        assert_eq!(said, ![133, 136].contains(&code), "{code}: {done:?}");
    }
    eyes.set_faults(Faults::default());
    finish(&world, &mut settler).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_settlers_at_once_pay_once() {
    for seed in 20..24 {
        let mut world = World::new(seed).await;
        world.plain("a");
        world.walleted("b", 3).await;
        for round in 1..=5 {
            world.seal(&[("a", round * TON), ("b", 5_000 + round)]).await;
            let world = &world;
            let both = [world.honest(), world.honest(), world.honest()]
                .map(|mut settler| async move { world.run(&mut settler).await });
            for ended in futures_util::future::join_all(both).await {
                assert_eq!(ended, Waiting::NothingDue);
            }
            world.check(&world.accounts()).await;
        }
        assert_eq!(world.obeyed().await, 10);
    }
}
