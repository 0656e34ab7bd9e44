//! The two kinds of store: a folder, and a bucket over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filature_billing::{Chain, Created, EpochStore, S3Settings, Sealed, StoreError, TrustedKeys};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

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
    assert_eq!(world.receipt(&call).await.expect("sealed").record.call, call);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_an_error_and_no_hang() {
    let settings = settings("http://127.0.0.1:9");
    let store = EpochStore::s3(&settings).expect("settings");
    assert!(matches!(store.last().await, Err(StoreError::Store(_))));
    assert!(!format!("{settings:?}").contains("secret"));
}

fn settings(endpoint: &str) -> S3Settings {
    S3Settings {
        bucket: "any".into(),
        endpoint: Some(endpoint.to_owned()),
        region: Some("us-east-1".into()),
        access_key: Some(("id".into(), "secret".into())),
        ..S3Settings::default()
    }
}

#[test]
fn plain_http_is_for_this_machine_unless_it_is_allowed() {
    for here in [
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "http://localhost",
        "https://minio.example",
        "HTTPS://minio.example",
    ] {
        assert!(EpochStore::s3(&settings(here)).is_ok(), "{here}");
    }
    for open in [
        "http://minio.example:9000",
        "http://10.0.0.1",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "minio.example:9000",
    ] {
        let refused = EpochStore::s3(&settings(open)).expect_err("in the open");
        assert!(refused.to_string().contains("AWS_ALLOW_HTTP=true"), "{refused}");
        let allowed = S3Settings {
            allow_http: true,
            ..settings(open)
        };
        assert!(EpochStore::s3(&allowed).is_ok(), "{open}");
    }
}

/// Answers everything with a body that has no end, and says how many bytes of it were taken.
async fn endless(listener: TcpListener, head: &'static str, taken: Arc<AtomicUsize>) {
    let piece = vec![b'x'; 64 << 10];
    while let Ok((mut socket, _)) = listener.accept().await {
        let mut asked = [0; 4096];
        let _ = socket.read(&mut asked).await;
        let _ = socket.write_all(head.as_bytes()).await;
        while socket.write_all(&piece).await.is_ok() {
            taken.fetch_add(piece.len(), Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn a_store_that_answers_without_end_is_left_where_the_answer_should_have_ended() {
    let heads = [
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-63/64\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n",
    ];
    for head in heads {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let taken = Arc::new(AtomicUsize::new(0));
        let mut server = JoinSet::new();
        server.spawn(endless(listener, head, Arc::clone(&taken)));
        let store = EpochStore::s3(&settings(&endpoint)).expect("settings");
        assert!(store.seal(0, &TrustedKeys::default()).await.is_err(), "{head}");
        assert!(store.identity(&mut rand::rng()).await.is_err(), "{head}");
        assert!(store.last().await.is_err(), "{head}");
        // What is not read fills the sockets' buffers before the server notices.
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken < 64 << 20, "{taken} bytes after {head}");
    }
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
