//! Where epochs are kept: a local folder or a bucket that speaks the S3 API. Decides names, bounds and when an object
//! counts as durable; what an object says is `epoch`'s business.
//!
//! Objects are only ever created. That is what makes two sealers harmless: of two objects of one number the first is
//! the epoch, and the second is refused.

mod find;
#[cfg(feature = "ton")]
mod journal;
mod lines;
mod proof;
#[cfg(feature = "s3")]
mod s3;

use std::fs::File;
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, PutMode};
use rand::CryptoRng;

use self::find::Known;
#[cfg(feature = "ton")]
pub(crate) use self::journal::Journal;
use self::proof::Proofs;
#[cfg(feature = "s3")]
pub use self::s3::S3Settings;
use crate::epoch::Seal;
use crate::verify::{Chain, Fault, TrustedKeys, verify_seal};

/// Epochs in one folder, so that the last one is found with two short listings.
const EPOCHS_PER_FOLDER: u64 = 1_000;
/// Largest object that is read, in bytes: some 200,000 receipts.
const OBJECT_BYTES_MAX: u64 = 256 << 20;
/// Largest seal, in bytes. One of sixteen shards takes about 1,500.
const SEAL_BYTES_MAX: u64 = 16 << 10;

/// Why epochs cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store did not answer, or not with what was asked for.
    #[error("the store of epochs: {0}")]
    Store(#[from] object_store::Error),
    /// The folder cannot be used.
    #[error("the folder of epochs: {0}")]
    Folder(#[from] io::Error),
    /// The settings name no store.
    #[error("the store of epochs: {0}")]
    Settings(String),
    /// An object is not what was sealed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// An object is larger than any epoch.
    #[error("the object of epoch {number} has {bytes} bytes, which no epoch has")]
    TooLarge {
        /// Which epoch.
        number: u64,
        /// How large it is.
        bytes: u64,
    },
    /// An epoch is gone.
    #[error("epoch {0} is not in the store")]
    Missing(u64),
}

/// The epochs of one operator.
#[derive(Clone, Debug)]
pub struct EpochStore {
    store: Arc<dyn ObjectStore>,
    /// What the names begin with.
    prefix: Path,
    /// The folder, where it is a local one.
    folder: Option<PathBuf>,
    /// What is known of the chain by now.
    known: Arc<parking_lot::Mutex<Known>>,
    /// The trees of epochs that receipts were asked of.
    proofs: Arc<tokio::sync::Mutex<Proofs>>,
}

/// What became of an object that was to be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Created {
    /// It is there, and durable.
    Now,
    /// One of this number was there before; it stays.
    Before,
}

impl EpochStore {
    /// Epochs in a local folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub fn folder(folder: &FsPath) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        if let Some(parent) = folder.parent() {
            File::open(parent)?.sync_all()?;
        }
        let store = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        Ok(Self {
            folder: Some(folder),
            ..Self::new(Arc::new(store), "")
        })
    }

    /// Epochs in any store whose puts are durable when they return and that can create without overwriting.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            store,
            prefix: Path::from(prefix),
            folder: None,
            known: Arc::default(),
            proofs: Arc::default(),
        }
    }

    fn folder_of(&self, number: u64) -> Path {
        let folder = number.checked_div(EPOCHS_PER_FOLDER).unwrap_or_default();
        self.prefix.clone().join("epochs").join(format!("{folder:09}"))
    }

    fn path(&self, number: u64) -> Path {
        self.folder_of(number).join(format!("{number:012}.jsonl"))
    }

    /// The number of the last epoch. `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn last(&self) -> Result<Option<u64>, StoreError> {
        let epochs = self.prefix.clone().join("epochs");
        let folders = self.store.list_with_delimiter(Some(&epochs)).await?.common_prefixes;
        let mut folders: Vec<_> = folders.iter().filter_map(|path| number_in(path.filename()?)).collect();
        folders.sort_unstable();
        // A folder may be empty: its object was being written when the machine stopped.
        while let Some(folder) = folders.pop() {
            let folder = self.folder_of(folder.saturating_mul(EPOCHS_PER_FOLDER));
            let objects = self.store.list_with_delimiter(Some(&folder)).await?.objects;
            let numbers = objects
                .iter()
                .filter_map(|object| number_in(object.location.filename()?));
            if let Some(last) = numbers.max() {
                self.known.lock().saw(last);
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// What tells this store from any other: 32 hex digits, made once when it is asked for first.
    ///
    /// # Errors
    /// [`StoreError::Store`], and [`StoreError::Settings`] if what stands there is no such name.
    pub async fn identity(&self, rng: &mut impl CryptoRng) -> Result<String, StoreError> {
        let path = self.prefix.clone().join("store");
        let mut made = [0_u8; 16];
        rng.fill_bytes(&mut made);
        let made = hex::encode(made);
        loop {
            // A part of it only: whatever stands there is not read whole to find that it is no name.
            let part = GetOptions {
                range: Some(GetRange::Bounded(0..64)),
                ..GetOptions::default()
            };
            match self.store.get_opts(&path, part).await {
                Ok(found) if found.meta.size <= 64 => {
                    let name = found.bytes().await?;
                    let name = String::from_utf8(name.into()).ok().filter(|name| name.len() == 32);
                    return name.ok_or_else(|| StoreError::Settings(format!("the object {path} names no store")));
                }
                Ok(_) => return Err(StoreError::Settings(format!("the object {path} names no store"))),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let create = self.store.put_opts(&path, made.clone().into(), PutMode::Create.into());
            match create.await {
                Ok(_) => return Ok(made),
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Creates the object of an epoch, unless there is one. Returns once it is durable.
    ///
    /// # Errors
    /// [`StoreError::Store`]: then the object may be there or not.
    pub async fn create(&self, number: u64, object: Vec<u8>) -> Result<Created, StoreError> {
        let path = self.path(number);
        match self.store.put_opts(&path, object.into(), PutMode::Create.into()).await {
            Ok(_) => {
                self.known.lock().saw(number);
                Ok(Created::Now)
            }
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Before),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes sure that an object somebody else has written, or this program before it was killed, is durable. A bucket's
    /// objects are as soon as they can be read; a file may be readable before it is on disk.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub async fn persist(&self, number: u64) -> Result<(), StoreError> {
        self.persist_path(&self.path(number)).await
    }

    async fn persist_path(&self, path: &Path) -> Result<(), StoreError> {
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        let mut path = folder.join(path.as_ref());
        let synced = tokio::task::spawn_blocking(move || -> io::Result<()> {
            loop {
                File::open(&path)?.sync_all()?;
                if path == folder || !path.pop() {
                    return Ok(());
                }
            }
        });
        Ok(synced.await.map_err(io::Error::other)??)
    }

    /// The object of an epoch, as it stands in the store.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::TooLarge`], [`StoreError::Store`].
    pub async fn object(&self, number: u64) -> Result<Bytes, StoreError> {
        let object = self.get(number, None).await?;
        let bytes = object.meta.size;
        if bytes > OBJECT_BYTES_MAX {
            return Err(StoreError::TooLarge { number, bytes });
        }
        Ok(object.bytes().await?)
    }

    /// The seal of an epoch, signed by one of these keys. The rest of the object is not read.
    ///
    /// # Errors
    /// [`StoreError::Fault`] if it is not what it should be, [`StoreError::Missing`], [`StoreError::Store`].
    pub async fn seal(&self, number: u64, keys: &TrustedKeys) -> Result<Seal, StoreError> {
        Ok(self.head(number, keys).await?.0)
    }

    /// The seal of an epoch, and the bytes that its object begins with.
    async fn head(&self, number: u64, keys: &TrustedKeys) -> Result<(Seal, Bytes), StoreError> {
        let head = self.get(number, Some(0..SEAL_BYTES_MAX)).await?.bytes().await?;
        let line = head.split(|&b| b == b'\n').next().unwrap_or_default();
        let seal = Seal::read(line, number)?;
        verify_seal(&seal, keys)?;
        Ok((seal, head))
    }

    /// Verifies the epochs up to `last` one after the other, and tells `each` of every one. The chain may begin with
    /// epoch 0 or after an epoch that was verified before.
    ///
    /// # Errors
    /// [`StoreError::Fault`] says what is wrong and in which epoch, [`StoreError::Missing`], [`StoreError::Store`].
    pub async fn verify(&self, mut chain: Chain, last: u64, mut each: impl FnMut(&Seal)) -> Result<Chain, StoreError> {
        while let Some(number) = chain.next_number().filter(|next| *next <= last) {
            let object = self.object(number).await?;
            let followed = tokio::task::spawn_blocking(move || {
                let epoch = chain.follow(&object)?;
                Ok::<_, Fault>((chain, epoch.seal))
            });
            let (longer, seal) = followed.await.map_err(io::Error::other)??;
            each(&seal);
            chain = longer;
        }
        Ok(chain)
    }

    async fn get(
        &self,
        number: u64,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<object_store::GetResult, StoreError> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        match self.store.get_opts(&self.path(number), options).await {
            Err(object_store::Error::NotFound { .. }) => Err(StoreError::Missing(number)),
            result => Ok(result?),
        }
    }
}

/// The number in the name of a folder or an object; `None` for what is neither.
fn number_in(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl").unwrap_or(name);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}
