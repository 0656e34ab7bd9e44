//! Books or a ledger that are lost, set back, or not those that belong together: then nobody is paid twice.

use std::path::Path;
use std::sync::Arc;

use filature_billing::chain::Faults;
use filature_billing::withdrawals::{Done, Entry, PayError, Taken, Waiting, What};
use filature_billing::{EmbeddedLedger, EpochStore, Ledger, WithdrawalState};

use super::till::Till;
use crate::home::{AT_ONCE, Home};
use crate::world::{TON, account};

/// What the books say became of seqnos, in order.
pub fn outcomes(till: &Till) -> Vec<Taken> {
    let folder = till.world.folder.path().join("epochs/withdrawals/000000000");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let entries = paths.into_iter().map(|path| {
        let bytes = std::fs::read(path).expect("a file");
        serde_json::from_slice::<Entry>(&bytes).expect("an entry")
    });
    let taken = entries.filter_map(|entry| match entry.what {
        What::Outcome(outcome) => Some(outcome.taken),
        _ => None,
    });
    taken.collect()
}

pub async fn without_their_books_nobody_is_paid(home: Home) {
    let till = Till::new(1, home).await;
    till.ask(0, "w1", TON, account("a")).await;
    till.finish().await;
    let books = till.world.folder.path().join("epochs/withdrawals");
    let away = till.world.folder.path().join("away");
    std::fs::rename(&books, &away).expect("moved");
    till.ask(1, "w2", TON, account("b")).await;
    let mut payer = till.honest();
    for _ in 0..2 {
        let refused = payer.step(till.now_ms()).await;
        assert!(matches!(refused, Err(PayError::OtherBooks(_))), "{refused:?}");
    }
    assert_eq!(till.state(1, "w2").await, WithdrawalState::Asked);
    std::fs::rename(&away, &books).expect("moved back");
    till.finish().await;
    assert_eq!(till.obeyed().await, 2);
}

pub async fn books_lost_for_good_are_begun_anew_with_a_new_wallet(home: Home) {
    let mut till = Till::new(5, home).await;
    till.ask(0, "w1", TON, account("a")).await;
    till.finish().await;
    till.ask(0, "w2", TON, account("a")).await;
    let mut payer = till.honest();
    while !matches!(payer.step(till.now_ms()).await, Ok(Done::Sent { .. })) {}
    std::fs::remove_dir_all(till.world.folder.path().join("epochs/withdrawals")).expect("removed");
    let old = std::mem::replace(&mut till.wallet, crate::world::wallet(13).1);
    till.key = Arc::new(crate::world::wallet(13).0);
    till.world.give(till.wallet.address(), 10 * TON);
    till.ask(1, "w3", TON, account("b")).await;
    assert_eq!(till.run(&mut till.honest()).await, Waiting::NothingAsked);
    assert!(matches!(till.state(1, "w3").await, WithdrawalState::Paid { .. }));
    // Nobody knows whether it was paid: it is not paid again.
    assert!(matches!(till.state(0, "w2").await, WithdrawalState::Sent { .. }));
    till.wallet = old;
    assert_eq!(till.obeyed().await, 2);
}

pub async fn another_ledger_than_that_of_the_books_pays_nobody(home: Home) {
    let till = Till::new(2, home).await;
    till.ask(0, "w1", TON, account("a")).await;
    till.finish().await;
    // A ledger that never heard of anything, but for what is asked now.
    let mut other = Till::new(2, Home::embedded()).await;
    other.world.folder = tempfile::tempdir().expect("a folder");
    copy(till.world.folder.path(), other.world.folder.path());
    other.ask(0, "w2", TON, account("b")).await;
    let refused = other.honest().step(other.now_ms()).await;
    assert!(matches!(refused, Err(PayError::OtherLedger { .. })), "{refused:?}");
    assert_eq!(other.state(0, "w2").await, WithdrawalState::Asked);
}

pub async fn two_payers_with_books_of_their_own_pay_once(home: Home) {
    let till = Till::new(3, home).await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let store = || EpochStore::folder(elsewhere.path()).expect("a store");
    till.ask(0, "w1", TON, account("a")).await;
    till.ask(1, "w2", TON, account("b")).await;
    // Both take the same; the ledger says in whose batch each is.
    let (mut one, mut other) = (till.honest(), till.payer_with(Arc::new(till.eyes()), store()));
    for payer in [&mut one, &mut other] {
        assert!(matches!(
            payer.step(till.now_ms()).await,
            Ok(Done::Took { count: 2, .. })
        ));
    }
    assert_eq!(one.step(till.now_ms()).await.expect("a step"), Done::Holds { gone: 0 });
    assert_eq!(
        other.step(till.now_ms()).await.expect("a step"),
        Done::Holds { gone: 2 }
    );
    assert_eq!(till.run(&mut one).await, Waiting::NothingAsked);
    till.check().await;
    assert_eq!(till.obeyed().await, 1);
}

/// The embedded ledger is set back to a copy from before its withdrawals were taken, paid and returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_set_back_learns_what_was_paid() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, copied) = (folder.path().join("data"), folder.path().join("copied"));
    let mut till = Till::new(4, Home::embedded()).await;
    let open = || -> Arc<dyn Ledger> { Arc::new(EmbeddedLedger::open(&data, AT_ONCE).expect("a ledger")) };
    till.ledger = open();
    for account in &till.accounts {
        till.ledger
            .create_account(account, "a caller", 1)
            .await
            .expect("an account");
    }
    till.watch().await;
    let refusing = till.refusing(1).await;
    till.ask(0, "early", TON, account("a")).await;
    till.finish().await;
    till.ask(0, "w1", 2 * TON, account("a")).await;
    till.ask(1, "w2", 3 * TON, refusing).await;
    till.ask(2, "w3", 4 * TON, account("c")).await;
    till.ledger = Home::embedded().ledger();
    copy(&data, &copied);
    till.ledger = open();
    let mut payer = till.honest();
    assert!(matches!(
        payer.step(till.now_ms()).await,
        Ok(Done::Took { count: 3, .. })
    ));
    till.give_back(2, "w3").await.expect("given back");
    drop(payer);
    till.finish().await;
    assert_eq!(till.obeyed().await, 2);

    till.ledger = Home::embedded().ledger();
    std::fs::remove_dir_all(&data).expect("removed");
    copy(&copied, &data);
    till.ledger = open();
    for (place, id) in ["w1", "w2", "w3"].into_iter().enumerate() {
        assert_eq!(till.state(place, id).await, WithdrawalState::Asked);
    }
    till.finish().await;
    assert_eq!(till.obeyed().await, 2, "nothing is paid again");
    assert!(matches!(till.state(0, "w1").await, WithdrawalState::Paid { .. }));
    for (place, id) in [(1, "w2"), (2, "w3")] {
        assert!(matches!(till.state(place, id).await, WithdrawalState::Returned { .. }));
    }
}

/// Redis loses what it was told of withdrawals, as a shard does whose master dies before its replicas have it; not where it
/// was told to: that is in another shard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_loses_what_became_of_withdrawals_is_told_again() {
    let till = Till::new(6, Home::redis().await).await;
    let refusing = till.refusing(1).await;
    till.ask(0, "w1", 2 * TON, account("a")).await;
    till.ask(1, "w2", 3 * TON, refusing).await;
    till.ask(2, "w3", 4 * TON, account("c")).await;
    let mut redis = Redis::of(&till.home).await;
    let before = redis.kept().await;

    // While they are under way.
    let mut payer = till.honest();
    while !matches!(payer.step(till.now_ms()).await, Ok(Done::Sent { .. })) {}
    redis.set_back(&before).await;
    assert_eq!(till.state(0, "w1").await, WithdrawalState::Asked);
    assert_eq!(till.run(&mut payer).await, Waiting::NothingAsked);
    till.finish().await;

    // And after another batch, when they are long over.
    till.ask(0, "w4", TON, account("a")).await;
    till.finish().await;
    assert_eq!(till.obeyed().await, 2);
    redis.set_back(&before).await;
    till.ask(0, "w4", TON, account("a")).await;
    assert_eq!(till.state(2, "w3").await, WithdrawalState::Asked);
    till.finish().await;
    assert_eq!(till.obeyed().await, 2, "nothing is paid again");
    for (place, id) in [(0, "w1"), (2, "w3"), (0, "w4")] {
        assert!(matches!(till.state(place, id).await, WithdrawalState::Paid { .. }));
    }
    assert!(matches!(till.state(1, "w2").await, WithdrawalState::Returned { .. }));
}

/// The chain's answers were minutes old when a batch was taken, and callers' clocks were not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_by_a_chain_that_lags_is_told_again() {
    let till = Till::new(7, Home::redis().await).await;
    let lagging = till.eyes();
    lagging.set_faults(Faults {
        lag_blocks: 1,
        ..Faults::default()
    });
    till.world.devnet.advance(240);
    till.world.devnet.block().expect("a block");
    till.ask(0, "w1", 2 * TON, account("a")).await;
    let mut redis = Redis::of(&till.home).await;
    let before = redis.kept().await;
    let mut payer = till.payer(Arc::new(lagging));
    assert!(matches!(
        payer.step(till.now_ms()).await,
        Ok(Done::Took { count: 1, .. })
    ));
    till.finish().await;
    redis.set_back(&before).await;
    assert_eq!(till.state(0, "w1").await, WithdrawalState::Asked);
    till.finish().await;
    assert_eq!(till.obeyed().await, 1, "nothing is paid again");
    assert!(matches!(till.state(0, "w1").await, WithdrawalState::Paid { .. }));
}

/// Redis' own keys, but for the payer's bookmark.
struct Redis(::redis::aio::MultiplexedConnection);

impl Redis {
    async fn of(home: &Home) -> Self {
        let Home::Redis { server, .. } = home else {
            panic!("it is in Redis");
        };
        let client = ::redis::Client::open(server.url()).expect("a client");
        Self(client.get_multiplexed_async_connection().await.expect("a connection"))
    }

    async fn keys(&mut self) -> Vec<Vec<u8>> {
        let keys: Vec<Vec<u8>> = ::redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut self.0)
            .await
            .expect("keys");
        let bookmark = b"bookmark:withdrawals";
        let kept = keys.into_iter();
        kept.filter(|key| !key.windows(bookmark.len()).any(|part| part == bookmark))
            .collect()
    }

    async fn kept(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut kept = Vec::new();
        for key in self.keys().await {
            let value = ::redis::cmd("DUMP").arg(&key).query_async(&mut self.0).await;
            kept.push((key, value.expect("a value")));
        }
        kept
    }

    async fn set_back(&mut self, kept: &[(Vec<u8>, Vec<u8>)]) {
        for key in self.keys().await {
            let () = ::redis::cmd("DEL")
                .arg(key)
                .query_async(&mut self.0)
                .await
                .expect("gone");
        }
        for (key, value) in kept {
            let restore = ::redis::cmd("RESTORE")
                .arg(key)
                .arg(0)
                .arg(value)
                .query_async(&mut self.0)
                .await;
            let () = restore.expect("restored");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("copied");
        }
    }
}

on_both!(loss:
    without_their_books_nobody_is_paid,
    books_lost_for_good_are_begun_anew_with_a_new_wallet,
    another_ledger_than_that_of_the_books_pays_nobody,
    two_payers_with_books_of_their_own_pay_once,
);
