//! A sealer that dies: between every two steps, with every request that fails, and by signal 9.

use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use filature_billing::{EpochStore, SealSettings, Sealed};
use object_store::local::LocalFileSystem;
use rand::RngExt;

use crate::faulty::Faulty;
use crate::world::{AT_ONCE, World};
use crate::{Scene, on_both_ledgers};

on_both_ledgers!(
    a_sealer_killed_between_any_two_steps_is_followed_by_one_that_goes_on,
    a_store_that_fails_at_any_request_costs_nothing,
);

/// A future that is dropped when it has had to wait so many times.
struct Killed<F> {
    inner: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.inner.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => {
                self.left -= 1;
                Poll::Pending
            }
        }
    }
}

async fn a_sealer_killed_between_any_two_steps_is_followed_by_one_that_goes_on(scene: Scene) {
    let mut world = scene.world;
    let (mut killed, mut left) = (0, 0);
    loop {
        world.post(3).await;
        let mut sealer = world.sealer(AT_ONCE);
        let inner = Box::pin(async { sealer.step(world.now_ms).await.expect("a step") });
        let ended = Killed { inner, left }.await;
        // Whoever comes next may meet what the dead one had under way.
        let mut next = world.sealer(AT_ONCE);
        while !matches!(next.step(world.now_ms).await.expect("a step"), Sealed::Waiting(0)) {}
        world.check().await;
        assert!(world.unsealed().await.is_empty());
        if ended.is_some() {
            break;
        }
        (killed, left) = (killed + 1, left + 1);
    }
    println!("killed at {killed} places");
    assert!(killed >= 5, "only {killed} places");
}

async fn a_store_that_fails_at_any_request_costs_nothing(scene: Scene) {
    let mut world = scene.world;
    for done in [false, true] {
        for at in 1.. {
            world.post(3).await;
            let folder = LocalFileSystem::new_with_prefix(scene.folder.path()).expect("a folder");
            let faulty = Faulty::new(Arc::new(folder), at, done);
            let mut sealer = world.sealer_into(EpochStore::new(Arc::clone(&faulty) as _, ""), AT_ONCE);
            let failed = sealer.step(world.now_ms).await.is_err();
            assert_eq!(failed, faulty.has_failed());
            // The same sealer goes on.
            while !matches!(sealer.step(world.now_ms).await.expect("a step"), Sealed::Waiting(0)) {}
            world.check().await;
            assert!(world.unsealed().await.is_empty());
            if !failed {
                println!("failed at {} requests, carried out: {done}", at - 1);
                assert!(at > 3);
                break;
            }
        }
    }
}

/// Names the folder in which a copy of this program is to post and seal until it is killed.
const CHILD: &str = "FILATURE_TEST_SEALER_FOLDER";
const CHILD_TEST: &str = "crash::a_sealer_killed_by_signal_nine_loses_nothing_and_seals_nothing_twice";

/// This very test, started again as a process of its own, posts and seals on the embedded ledger until it is killed;
/// what it left is then looked at. Twenty lives.
#[tokio::test]
async fn a_sealer_killed_by_signal_nine_loses_nothing_and_seals_nothing_twice() {
    if let Ok(folder) = std::env::var(CHILD) {
        return post_and_seal(folder.as_ref()).await;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut rng = rand::rng();
    let store = EpochStore::folder(&dir.path().join("epochs")).expect("a store");
    for life in 1..=20 {
        let before = store.last().await.expect("an answer");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", CHILD_TEST, "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        while store.last().await.expect("an answer") == before {
            assert!(
                child.try_wait().expect("a state").is_none(),
                "life {life} ended by itself"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..50))).await;
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    let mut world = open(dir.path()).await;
    let mut sealer = world.sealer(AT_ONCE);
    while !matches!(sealer.step(u64::MAX).await.expect("a step"), Sealed::Waiting(0)) {}
    // What was posted is what the ledger charged: every call left its mark in the sums.
    let epochs = world.epochs().await;
    world.posted = epochs.iter().flat_map(|e| &e.records).map(|r| r.call).collect();
    world.check().await;
    let totals = epochs.last().expect("epochs").seal.header.totals;
    let spent = world.ledger.totals().await.expect("an answer");
    assert_eq!(
        (totals.cost, totals.fee, totals.earned),
        (spent.spent, spent.fees, spent.earned)
    );
    println!("{} calls in {} epochs", totals.calls, epochs.len());
    assert!(epochs.len() >= 20, "{} epochs", epochs.len());
}

async fn open(dir: &std::path::Path) -> World {
    let ledger = filature_billing::EmbeddedLedger::open(&dir.join("ledger"), crate::home::AT_ONCE);
    let store = EpochStore::folder(&dir.join("epochs")).expect("a store");
    let seed = rand::rng().random();
    World::new(Arc::new(ledger.expect("a ledger")), store, seed).await
}

async fn post_and_seal(dir: &std::path::Path) {
    let mut world = open(dir).await;
    let mut sealer = world.sealer(SealSettings {
        age_ms: 0,
        receipts_max: 5,
    });
    loop {
        world.post(3).await;
        sealer.step(world.now_ms).await.expect("a step");
    }
}
