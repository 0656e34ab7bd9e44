//! A receipt is found among many epochs with few and short reads, and a call that has none costs no more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use filature_billing::{CallId, EpochStore};
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
    let counted = Arc::new(Counted {
        inner: LocalFileSystem::new_with_prefix(scene.folder.path()).expect("a folder"),
        reads: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        lists: AtomicU64::new(0),
    });
    let store = EpochStore::new(Arc::clone(&counted) as _, "");
    let keys = world.keys();
    for call in &world.posted {
        let (_, receipt) = store.locate(call, &keys).await.expect("an answer").expect("sealed");
        assert_eq!(receipt.record.call, *call);
    }
    counted.take();

    let large: Vec<_> = world.posted.iter().skip(17 * 3).take(900).collect();
    for call in large.iter().step_by(37) {
        assert!(store.locate(call, &keys).await.expect("an answer").is_some());
        let (reads, bytes, lists) = counted.take();
        assert!(
            reads <= 12 && bytes <= 200_000 && lists == 0,
            "{reads} reads of {bytes} bytes, {lists} lists"
        );
    }
    // Ids that somebody made up, of the time of the large epoch and of any other.
    for at in [
        large[450].started_ms(),
        large[0].started_ms() - HOUR_MS,
        1,
        u64::MAX >> 16,
    ] {
        let call = CallId::generate(at, &mut world.rng);
        assert!(store.locate(&call, &keys).await.expect("an answer").is_none());
        let (reads, bytes, lists) = counted.take();
        println!("{reads} reads of {bytes} bytes, {lists} lists");
        assert!(
            reads <= 20 * 12 && bytes <= 18 * 200_000 && lists <= 2,
            "{reads} reads of {bytes} bytes"
        );
    }
}
