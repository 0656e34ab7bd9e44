//! A journal beside the epochs: small objects, numbered from 0 without gaps and only ever created, so that of two writers
//! who go on from the same entry one is refused.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};

use super::{Created, EpochStore, StoreError};

/// Entries in one folder.
const ENTRIES_PER_FOLDER: u64 = 1_000;
/// Largest entry that is written or read, in bytes: a plan for some 250,000 providers.
const ENTRY_BYTES_MAX: u64 = 64 << 20;

/// The journal of this name in a store.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    store: EpochStore,
    name: &'static str,
}

impl Journal {
    pub(crate) const fn new(store: EpochStore, name: &'static str) -> Self {
        Self { store, name }
    }

    fn folder(&self, number: u64) -> Path {
        let folder = number.checked_div(ENTRIES_PER_FOLDER).unwrap_or_default();
        let name = self.store.prefix.clone().join(self.name);
        name.join(format!("{folder:09}"))
    }

    fn path(&self, number: u64) -> Path {
        self.folder(number).join(format!("{number:012}.json"))
    }

    /// The number of the last entry. `None` if there is none.
    pub(crate) async fn last(&self) -> Result<Option<u64>, StoreError> {
        let all = self.store.prefix.clone().join(self.name);
        let store = &self.store.store;
        let folders = store.list_with_delimiter(Some(&all)).await?.common_prefixes;
        let mut folders: Vec<_> = folders.iter().filter_map(|path| number_in(path.filename()?)).collect();
        folders.sort_unstable();
        // A folder may be empty: its first entry was being written when the machine stopped.
        while let Some(folder) = folders.pop() {
            let folder = self.folder(folder.saturating_mul(ENTRIES_PER_FOLDER));
            let objects = store.list_with_delimiter(Some(&folder)).await?.objects;
            let names = objects.iter().filter_map(|object| object.location.filename());
            if let Some(last) = names.filter_map(number_in).max() {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// Creates an entry, unless there is one of this number. Returns once it is durable.
    pub(crate) async fn create(&self, number: u64, entry: Vec<u8>) -> Result<Created, StoreError> {
        let bytes = u64::try_from(entry.len()).unwrap_or(u64::MAX);
        if bytes > ENTRY_BYTES_MAX {
            // It could never be read, nor be taken back.
            return Err(StoreError::TooLarge { number, bytes });
        }
        let store = &self.store.store;
        match store
            .put_opts(&self.path(number), entry.into(), PutMode::Create.into())
            .await
        {
            Ok(_) => Ok(Created::Now),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Before),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads an entry and makes sure that it is durable, whoever wrote it. `None` if there is none.
    pub(crate) async fn read(&self, number: u64) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(number);
        let object = match self.store.store.get(&path).await {
            Ok(object) => object,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes = object.meta.size;
        if bytes > ENTRY_BYTES_MAX {
            return Err(StoreError::TooLarge { number, bytes });
        }
        let entry = object.bytes().await?;
        self.store.persist_path(&path).await?;
        Ok(Some(entry))
    }
}

/// The number in the name of a folder or an entry; `None` for what is neither.
fn number_in(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json").unwrap_or(name);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}
