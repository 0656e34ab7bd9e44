//! Ledger and store belong together: a sealer does not begin a second chain, and a store can be told from another.

use filature_billing::{EpochStore, SealError, Sealed};

use crate::world::AT_ONCE;
use crate::{Scene, on_both_ledgers};

on_both_ledgers!(
    no_chain_is_begun_beside_a_ledger_that_was_sealed_elsewhere,
    a_store_that_lost_its_last_epochs_is_not_gone_on_with,
);

async fn no_chain_is_begun_beside_a_ledger_that_was_sealed_elsewhere(scene: Scene) {
    let mut world = scene.world;
    world.post(6).await;
    world.sealer(AT_ONCE).step(world.now_ms).await.expect("sealed");
    let sealed = world
        .store
        .seal(0, &world.keys())
        .await
        .expect("a seal")
        .header
        .sums
        .cost;
    world.post(4).await;
    let empty = tempfile::tempdir().expect("a folder");
    let elsewhere = EpochStore::folder(empty.path()).expect("a store");
    let mut stray = world.sealer_into(elsewhere.clone(), AT_ONCE);
    for _ in 0..2 {
        let error = stray.step(world.now_ms).await.expect_err("another store");
        assert!(
            matches!(error, SealError::Missing { missing } if missing == sealed),
            "{error}"
        );
    }
    assert_eq!(elsewhere.last().await.expect("an answer"), None);
    assert_eq!(world.unsealed().await.len(), 4, "nothing was trimmed");
    let step = world.sealer(AT_ONCE).step(world.now_ms).await.expect("the right store");
    assert_eq!(step, Sealed::Epoch { number: 1, receipts: 4 });
    world.check().await;
}

async fn a_store_that_lost_its_last_epochs_is_not_gone_on_with(scene: Scene) {
    let mut world = scene.world;
    for _ in 0..3 {
        world.post(2).await;
        world.sealer(AT_ONCE).step(world.now_ms).await.expect("sealed");
    }
    let last = scene.folder.path().join("epochs/000000000/000000000002.jsonl");
    std::fs::rename(&last, scene.folder.path().join("kept")).expect("moved");
    world.post(1).await;
    let store = EpochStore::folder(scene.folder.path()).expect("a store");
    let error = world
        .sealer_into(store, AT_ONCE)
        .step(world.now_ms)
        .await
        .expect_err("too short");
    assert!(matches!(error, SealError::Missing { .. }), "{error}");
    std::fs::rename(scene.folder.path().join("kept"), &last).expect("moved back");
    world.sealer(AT_ONCE).step(world.now_ms).await.expect("sealed");
    world.check().await;
}

#[tokio::test]
async fn a_store_has_a_name_that_all_who_ask_agree_on() {
    let (one, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let open = |folder: &tempfile::TempDir| EpochStore::folder(folder.path()).expect("a store");
    let names = (0..8).map(|_| {
        let store = open(&one);
        async move { store.identity(&mut rand::rng()).await.expect("a name") }
    });
    let names = futures_util::future::join_all(names).await;
    assert_eq!(names[0].len(), 32);
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_ne!(open(&other).identity(&mut rand::rng()).await.expect("a name"), names[0]);
    assert_eq!(open(&one).last().await.expect("an answer"), None);
    std::fs::write(one.path().join("store"), "nonsense").expect("written");
    assert!(open(&one).identity(&mut rand::rng()).await.is_err());
}
