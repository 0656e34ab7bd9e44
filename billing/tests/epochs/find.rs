//! A receipt is found among many epochs with few and short reads, and a call that has none costs no more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use filature_billing::{CallId, EpochStore, ProviderId};
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use crate::Scene;
use crate::home::Home;
use crate::world::AT_ONCE;

/// Counts what is read.
#[derive(Debug)]
struct Counted {
    inner: LocalFileSystem,
    reads: AtomicU64,
    bytes: AtomicU64,
    lists: AtomicU64,
}

impl Counted {
    /// Reads, bytes and listings since the last time.
    fn take(&self) -> (u64, u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::SeqCst);
        (take(&self.reads), take(&self.bytes), take(&self.lists))
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counted")
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.inner.get_opts(path, options).await?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.bytes
            .fetch_add(result.range.end - result.range.start, Ordering::SeqCst);
        Ok(result)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

const HOUR_MS: u64 = 3_600_000;

/// The folder of a scene, with what is read counted.
fn counted(scene: &Scene) -> (Arc<Counted>, EpochStore) {
    let counted = Arc::new(Counted {
        inner: LocalFileSystem::new_with_prefix(scene.folder.path()).expect("a folder"),
        reads: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        lists: AtomicU64::new(0),
    });
    let store = EpochStore::new(Arc::clone(&counted) as _, "");
    (counted, store)
}

#[tokio::test]
async fn few_and_short_reads_find_a_call_or_that_there_is_none() {
    let mut scene = Scene::new(Home::embedded(), 1).await;
    let world = &mut scene.world;
    let mut sealer = world.sealer(AT_ONCE);
    // Forty epochs, two hours apart; one of them is large.
    for epoch in 0..40 {
        world.post(if epoch == 17 { 900 } else { 3 }).await;
        sealer.step(world.now_ms).await.expect("sealed");
        world.now_ms += 2 * HOUR_MS;
    }
    let (counted, store) = counted(&scene);
    let world = &mut scene.world;
    let (keys, now_ms) = (world.keys(), world.now_ms);
    for call in &world.posted {
        let found = store.locate(call, &keys, now_ms).await.expect("an answer");
        assert_eq!(found.expect("sealed").1.call, *call);
    }
    counted.take();

    let large: Vec<_> = world.posted.iter().skip(17 * 3).take(900).collect();
    for call in large.iter().step_by(37) {
        assert!(store.locate(call, &keys, now_ms).await.expect("an answer").is_some());
        let (reads, bytes, lists) = counted.take();
        assert!(
            reads <= 12 && bytes <= 200_000 && lists == 0,
            "{reads} reads of {bytes} bytes, {lists} lists"
        );
    }
    // Ids that somebody made up: of the time of the large epoch, between two epochs, before all of them, in the future.
    for (at, reads_max) in [
        (large[450].started_ms(), 12),
        (large[0].started_ms() - HOUR_MS, 0),
        (1, 0),
        (now_ms + HOUR_MS, 0),
        (u64::MAX >> 16, 0),
    ] {
        let call = CallId::generate(at, &mut world.rng);
        assert!(store.locate(&call, &keys, now_ms).await.expect("an answer").is_none());
        let (reads, bytes, lists) = counted.take();
        assert!(
            reads <= reads_max && bytes <= reads * 64_000 && lists == 0,
            "an id of {at}: {reads} reads of {bytes} bytes, {lists} lists"
        );
    }
}

#[tokio::test]
async fn a_made_up_id_costs_the_epochs_of_its_moment_and_not_those_of_its_hour() {
    let mut scene = Scene::new(Home::embedded(), 2).await;
    let world = &mut scene.world;
    let mut sealer = world.sealer(AT_ONCE);
    // Thirty epochs, ten minutes apart, each with what two hundred providers have earned in front of its receipts: more
    // than is read with the seal.
    for epoch in 0..30 {
        let late = world.record();
        world.now_ms += 100;
        for number in 0..200 {
            world.now_ms += 10;
            let mut record = world.record();
            let provider = format!("a-provider-with-a-rather-long-name-{number}");
            record.legs[0].provider = ProviderId::parse(&provider).expect("an id");
            world.ledger.post(&record, world.now_ms).await.expect("posted");
            world.posted.insert(record.call);
        }
        // A call may last: this one began before the epoch in which it stands.
        if epoch == 20 {
            world.now_ms += HOUR_MS / 6;
            world.ledger.post(&late, world.now_ms).await.expect("posted");
            world.posted.insert(late.call);
        }
        sealer.step(world.now_ms).await.expect("sealed");
        world.now_ms += HOUR_MS / 6;
    }
    let (counted, store) = counted(&scene);
    let world = &mut scene.world;
    let (keys, now_ms) = (world.keys(), world.now_ms);
    for call in world.posted.iter().step_by(97).chain(world.posted.last()) {
        let found = store.locate(call, &keys, now_ms).await.expect("an answer");
        assert_eq!(found.expect("sealed").1.call, *call);
    }
    counted.take();
    let calls: Vec<_> = world.posted.iter().copied().collect();
    for call in calls.iter().step_by(211) {
        let made_up = CallId::generate(call.started_ms() + 5, &mut world.rng);
        let found = store.locate(&made_up, &keys, now_ms).await.expect("an answer");
        assert!(found.is_none());
        let (reads, _, lists) = counted.take();
        // Two epochs at most, and the store's end for the last of them.
        assert!(reads <= 24 && lists <= 2, "{made_up}: {reads} reads, {lists} lists");
    }
}
