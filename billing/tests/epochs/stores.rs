//! The two kinds of store: a folder, and a bucket over HTTP.

use filature_billing::{Chain, Created, EpochStore, S3Settings, Sealed, StoreError, TrustedKeys};

use crate::Scene;
use crate::bucket::Bucket;
use crate::home::Home;
use crate::world::{AT_ONCE, World};

#[tokio::test]
async fn the_last_epoch_is_found_among_folders_and_strays() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = EpochStore::folder(&dir.path().join("new/epochs-here")).expect("made");
    assert_eq!(store.last().await.expect("an answer"), None);
    for number in [0, 1, 999, 1_000, 12_345] {
        assert_eq!(
            store.create(number, b"x\n".to_vec()).await.expect("created"),
            Created::Now
        );
        assert_eq!(store.last().await.expect("an answer"), Some(number));
        store.persist(number).await.expect("on disk");
    }
    let root = dir.path().join("new/epochs-here/epochs");
    assert!(root.join("000000012/000000012345.jsonl").is_file());
    std::fs::create_dir(root.join("000000077")).expect("an empty folder");
    std::fs::write(root.join("000000012/000000099999.jsonl#1"), "half").expect("an unfinished file");
    std::fs::write(root.join("000000012/notes.txt"), "hello").expect("a stray");
    assert_eq!(store.last().await.expect("an answer"), Some(12_345));
    assert!(matches!(store.object(5).await, Err(StoreError::Missing(5))));
}

#[tokio::test]
async fn of_many_that_create_an_epoch_one_does() {
    let dir = tempfile::tempdir().expect("a folder");
    let bucket = Bucket::start().await;
    for store in [EpochStore::folder(dir.path()).expect("a store"), bucket.store("")] {
        let creators = (0..16_u8).map(|n| {
            let store = store.clone();
            async move { (n, store.create(3, vec![n; 1_000]).await.expect("an answer")) }
        });
        let created = futures_util::future::join_all(creators).await;
        let winners: Vec<_> = created.iter().filter(|(_, created)| *created == Created::Now).collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(store.object(3).await.expect("an object"), vec![winners[0].0; 1_000]);
    }
}

#[tokio::test]
async fn a_damaged_object_is_reported_and_not_gone_on_from() {
    let mut scene = Scene::new(Home::embedded(), 1).await;
    let world = &mut scene.world;
    for _ in 0..2 {
        world.post(3).await;
        world.sealer(AT_ONCE).step(world.now_ms).await.expect("sealed");
    }
    let call = *world.posted.last().expect("a call");
    let path = scene.folder.path().join("epochs/000000000/000000000001.jsonl");
    let mut object = std::fs::read(&path).expect("an object");
    let at = object.len() - 300;
    object[at] ^= 1;
    std::fs::write(&path, &object).expect("written");
    let keys = world.keys();
    let fault = world
        .store
        .verify(Chain::new(keys.clone()), 1, |_| {})
        .await
        .expect_err("damaged");
    assert!(fault.to_string().starts_with("epoch 1, line "), "{fault}");
    let fault = world.store.find(&call, &keys, world.now_ms).await.expect_err("damaged");
    assert!(fault.to_string().starts_with("epoch 1"), "{fault}");
    world.post(1).await;
    let error = world.sealer(AT_ONCE).step(world.now_ms).await.expect_err("damaged");
    assert!(error.to_string().starts_with("epoch 1, line "), "{error}");
    assert_eq!(world.unsealed().await.len(), 1);
}

#[tokio::test]
async fn a_sparse_giant_is_not_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = EpochStore::folder(dir.path()).expect("a store");
    store.create(0, b"x\n".to_vec()).await.expect("created");
    let path = dir.path().join("epochs/000000000/000000000000.jsonl");
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("the object");
    file.set_len(300 << 20).expect("a sparse file");
    assert!(matches!(
        store.object(0).await,
        Err(StoreError::TooLarge { number: 0, .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_are_sealed_into_a_bucket_and_found_there() {
    let bucket = Bucket::start().await;
    let home = Home::embedded();
    let mut world = World::new(home.ledger(), bucket.store("some/prefix"), 1).await;
    let (mut one, mut two) = (world.sealer(AT_ONCE), world.sealer(AT_ONCE));
    for _ in 0..5 {
        world.post(4).await;
        let (one, two) = tokio::join!(one.step(world.now_ms), two.step(world.now_ms));
        one.expect("a step");
        two.expect("a step");
    }
    while !matches!(one.step(world.now_ms).await.expect("a step"), Sealed::Waiting(0)) {}
    world.check().await;
    let call = *world.posted.first().expect("a call");
    let receipt = world
        .store
        .find(&call, &world.keys(), world.now_ms)
        .await
        .expect("an answer");
    assert_eq!(receipt.expect("sealed").record.call, call);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_an_error_and_no_hang() {
    let settings = S3Settings {
        bucket: "nobody".into(),
        endpoint: Some("http://127.0.0.1:9".into()),
        region: Some("us-east-1".into()),
        access_key: Some(("id".into(), "secret".into())),
        ..S3Settings::default()
    };
    let store = EpochStore::s3(&settings).expect("settings");
    assert!(matches!(store.last().await, Err(StoreError::Store(_))));
    assert!(!format!("{settings:?}").contains("secret"));
}

/// A copy of the store, made with any tool, is as good as the store.
#[tokio::test]
async fn a_folder_and_a_bucket_hold_the_same_bytes() {
    let mut scene = Scene::new(Home::embedded(), 1).await;
    let world = &mut scene.world;
    for _ in 0..2 {
        world.post(3).await;
        world.sealer(AT_ONCE).step(world.now_ms).await.expect("sealed");
    }
    let bucket = Bucket::start().await;
    let copy = bucket.store("");
    for number in 0..2 {
        let object = world.store.object(number).await.expect("an object");
        copy.create(number, object.to_vec()).await.expect("copied");
    }
    let chain = copy
        .verify(Chain::new(TrustedKeys::default()), 1, |_| {})
        .await
        .expect("right");
    let last = chain.tip().expect("an epoch").seal.clone();
    assert_eq!(last, world.store.seal(1, &world.keys()).await.expect("a seal"));
}
