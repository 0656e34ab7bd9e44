//! When epochs are closed, who may close them, and what stops a sealer.

use std::sync::Arc;

use filature_billing::{EmbeddedLedger, ReceiptKey, SealError, SealSettings, Sealed, TrustedKeys, verify_receipt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::world::{AT_ONCE, World, copy};
use crate::{Scene, on_both_ledgers};

on_both_ledgers!(
    an_epoch_is_closed_by_age_or_by_size,
    two_sealers_at_the_same_time_do_no_harm,
    a_sealed_call_is_found_with_its_proof,
    a_trimmed_call_is_not_charged_again,
);

async fn an_epoch_is_closed_by_age_or_by_size(scene: Scene) {
    let mut world = scene.world;
    let settings = SealSettings {
        age_ms: 60_000,
        receipts_max: 10,
    };
    let mut sealer = world.sealer(settings);
    assert_eq!(
        sealer.step(world.now_ms).await.expect("nothing to do"),
        Sealed::Waiting(0)
    );
    world.post(4).await;
    assert_eq!(sealer.step(world.now_ms).await.expect("too few"), Sealed::Waiting(4));
    let old = world.now_ms + 60_000;
    let first = Sealed::Epoch { number: 0, receipts: 4 };
    assert_eq!(sealer.step(old).await.expect("old enough"), first);
    world.now_ms = old;
    world.post(25).await;
    for (number, receipts) in [(1, 10), (2, 10)] {
        let full = sealer.step(world.now_ms).await.expect("full");
        assert_eq!(full, Sealed::Epoch { number, receipts });
    }
    assert_eq!(sealer.step(world.now_ms).await.expect("too few"), Sealed::Waiting(5));
    world.check().await;
    let last = sealer.step(world.now_ms + 60_000).await.expect("old enough");
    assert_eq!(last, Sealed::Epoch { number: 3, receipts: 5 });
    world.check().await;
    assert!(world.unsealed().await.is_empty());
}

async fn two_sealers_at_the_same_time_do_no_harm(scene: Scene) {
    let mut world = scene.world;
    let settings = SealSettings {
        age_ms: 0,
        receipts_max: 7,
    };
    let mut sealers: Vec<_> = (0..3).map(|_| world.sealer(settings)).collect();
    let mut overtaken = 0;
    for _ in 0..40 {
        let calls = world.rng.random_range(0..12);
        world.post(calls).await;
        let now_ms = world.now_ms;
        let [one, two, three] = sealers.as_mut_slice() else {
            unreachable!("three")
        };
        let steps = tokio::join!(one.step(now_ms), two.step(now_ms), three.step(now_ms));
        for step in [steps.0, steps.1, steps.2] {
            overtaken += usize::from(matches!(step.expect("a step"), Sealed::Overtaken(_)));
        }
    }
    assert!(overtaken > 0, "they never met");
    println!("overtaken {overtaken} times");
    while !matches!(sealers[0].step(world.now_ms).await.expect("a step"), Sealed::Waiting(0)) {}
    world.check().await;
    assert!(world.unsealed().await.is_empty());
}

async fn a_sealed_call_is_found_with_its_proof(scene: Scene) {
    let mut world = scene.world;
    let mut sealer = world.sealer(AT_ONCE);
    for _ in 0..5 {
        world.post(9).await;
        world.now_ms += 1_000;
        sealer.step(world.now_ms).await.expect("sealed");
    }
    let mut seals = Vec::new();
    for number in 0..5 {
        seals.push(world.store.seal(number, &world.keys()).await.expect("a seal"));
    }
    for call in &world.posted {
        let receipt = world.receipt(call).await.expect("sealed");
        assert_eq!(receipt.record.call, *call);
        let file = serde_json::to_vec_pretty(&receipt).expect("json");
        let receipt = verify_receipt(&file, &world.keys()).expect("it verifies");
        assert!(seals.contains(&receipt.inclusion.expect("a proof").epoch));
    }
    let nobody = world.record().call;
    assert_eq!(world.receipt(&nobody).await, None);
    world.post(1).await;
    let waiting = *world.posted.last().expect("a call");
    assert_eq!(world.receipt(&waiting).await, None);
}

async fn a_trimmed_call_is_not_charged_again(scene: Scene) {
    let mut world = scene.world;
    let record = world.record();
    world.ledger.post(&record, world.now_ms).await.expect("posted");
    world.posted.insert(record.call);
    let mut sealer = world.sealer(AT_ONCE);
    sealer.step(world.now_ms).await.expect("sealed");
    let again = world.ledger.post(&record, world.now_ms + 1).await.expect("posted");
    assert!(!again.fresh);
    assert_eq!(sealer.step(world.now_ms + 1).await.expect("a step"), Sealed::Waiting(0));
    world.check().await;
}

#[tokio::test]
async fn a_store_of_another_operator_is_not_gone_on_with() {
    let mut scene = Scene::new(crate::home::Home::embedded(), 1).await;
    let world = &mut scene.world;
    world.post(3).await;
    world.sealer(AT_ONCE).step(world.now_ms).await.expect("sealed");
    world.post(3).await;
    world.key = Arc::new(ReceiptKey::generate(&mut StdRng::seed_from_u64(9)));
    let error = world
        .sealer(AT_ONCE)
        .step(world.now_ms)
        .await
        .expect_err("a stranger's");
    assert!(error.to_string().contains("not a key of this operator"), "{error}");
    assert_eq!(world.unsealed().await.len(), 3);
}

#[tokio::test]
async fn a_key_may_be_replaced() {
    let mut scene = Scene::new(crate::home::Home::embedded(), 1).await;
    let world = &mut scene.world;
    world.post(3).await;
    world.sealer(AT_ONCE).step(world.now_ms).await.expect("sealed");
    world.post(3).await;
    let (old, new) = (
        Arc::clone(&world.key),
        ReceiptKey::generate(&mut StdRng::seed_from_u64(9)),
    );
    let keys = TrustedKeys::new([old.public_hex(), new.public_hex()]);
    let (ledger, store) = (Arc::clone(&world.ledger), world.store.clone());
    let mut sealer = filature_billing::Sealer::new(ledger, store, Arc::new(new), keys.clone(), AT_ONCE);
    sealer.step(world.now_ms).await.expect("sealed");
    let chain = filature_billing::Chain::new(keys);
    world.store.verify(chain, 1, |_| {}).await.expect("the chain is right");
}

/// What happens to the ledger when an operator restores it from a copy.
#[tokio::test]
async fn records_that_came_back_are_not_sealed_twice_and_others_are_not_lost() {
    let dir = tempfile::tempdir().expect("a folder");
    let (live, kept) = (dir.path().join("live"), dir.path().join("kept"));
    let open = || Arc::new(EmbeddedLedger::open(&live, crate::home::AT_ONCE).expect("a ledger"));
    let store = filature_billing::EpochStore::folder(&dir.path().join("epochs")).expect("a store");
    let mut world = World::new(open(), store, 1).await;
    world.post(5).await;
    // A closed ledger is copied; then three epochs are sealed and trimmed.
    let close = |world: &mut World| world.ledger = Arc::new(Gone::ledger(dir.path()));
    close(&mut world);
    copy(&live, &kept);
    world.ledger = open();
    for _ in 0..3 {
        world.sealer(AT_ONCE).step(world.now_ms).await.expect("sealed");
        world.post(2).await;
    }
    let posted = world.posted.clone();
    // Back to the copy: the records of epoch 0 are in the stream again.
    close(&mut world);
    std::fs::remove_dir_all(&live).expect("removed");
    copy(&kept, &live);
    world.ledger = open();
    assert_eq!(world.unsealed().await.len(), 5);
    let step = world.sealer(AT_ONCE).step(world.now_ms).await.expect("a step");
    assert_eq!(step, Sealed::Waiting(0));
    assert!(
        world.unsealed().await.is_empty(),
        "they are sealed, so they are trimmed"
    );

    // Once more, but now something new was posted at a place that an epoch says is sealed.
    close(&mut world);
    std::fs::remove_dir_all(&live).expect("removed");
    copy(&kept, &live);
    world.ledger = open();
    world.post(1).await;
    let new = *world.posted.difference(&posted).next().expect("a new call");
    let error = world
        .sealer(AT_ONCE)
        .step(world.now_ms)
        .await
        .expect_err("it is in no epoch");
    assert!(
        matches!(error, SealError::NotSealed { number: 2, call } if call == new),
        "{error}"
    );
    assert_eq!(world.unsealed().await.len(), 6, "nothing was trimmed");
}

/// A ledger to put in the place of one that is to be closed.
struct Gone;

impl Gone {
    fn ledger(dir: &std::path::Path) -> EmbeddedLedger {
        EmbeddedLedger::open(&dir.join("another"), crate::home::AT_ONCE).expect("a ledger")
    }
}
