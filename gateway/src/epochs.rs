//! The gateway's side of epochs: which store the settings name, whose signatures are trusted in it, and whether this
//! gateway fits in with the others on its ledger. Sealing itself is `sealing`'s business.

mod plans;
mod searches;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use filature_billing::{EpochStore, Ledger, LedgerError, ReceiptKey, S3Settings, StoreError, TrustedKeys, Wrong};
use tokio::sync::Semaphore;

pub use self::plans::Plans;
pub use self::searches::{Crowded, Searches};
use crate::clock::now_ms;
use crate::config::Config;

/// Who read seals and leaves, which takes no key, at the same time.
const READERS_MAX: usize = 2;
/// What all gateways on a ledger have in common is agreed on for so long; each one that runs renews it.
const AGREED: Duration = Duration::from_secs(30);
/// How long the store of epochs may take to say who it is; a gateway then serves without having seen it.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// The epochs of this gateway.
pub struct Epochs {
    /// Where they are.
    pub store: EpochStore,
    /// The operator's keys: today's and those before.
    pub keys: TrustedKeys,
    /// Room for those who look for a receipt.
    pub searches: Searches,
    /// Room for those who read what is public.
    pub readers: Arc<Semaphore>,
    /// Settlement's last plans.
    pub plans: Plans,
}

/// Where the settings say that epochs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A bucket that speaks the S3 API, and what the objects' names begin with.
    Bucket {
        /// The bucket's name.
        bucket: String,
        /// May be empty.
        prefix: String,
    },
}

impl Place {
    /// Reads `epochs.store`; where nothing is set, the folder `epochs` beside the ledger's own files.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(config: &Config) -> Result<Self, String> {
        let Some(store) = &config.epochs.store else {
            return Ok(Self::Folder(config.ledger.data.join("epochs")));
        };
        let Some((scheme, rest)) = store.split_once("://") else {
            return Ok(Self::Folder(PathBuf::from(store)));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if scheme != "s3" || bucket.is_empty() {
            return Err(format!("got {store:?}"));
        }
        Ok(Self::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
        })
    }

    /// Whether it is there, as far as can be told without asking a server.
    #[must_use]
    pub fn is_there(&self) -> bool {
        match self {
            Self::Folder(folder) => folder.is_dir(),
            Self::Bucket { .. } => true,
        }
    }

    /// Opens the store. A folder that is missing is made; whether a bucket answers is seen with the first request.
    ///
    /// # Errors
    /// A folder that cannot be used; a bucket without credentials.
    pub fn open(&self) -> Result<EpochStore, StoreError> {
        match self {
            Self::Folder(folder) => EpochStore::folder(folder),
            Self::Bucket { bucket, prefix } => EpochStore::s3(&S3Settings {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                ..S3Settings::default()
            }),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// The file of the key that signs receipts.
#[must_use]
pub fn key_file(config: &Config) -> PathBuf {
    config.ledger.data.join("receipts.key")
}

/// The keys whose signatures count: `own`, and those the settings name.
#[must_use]
pub fn trusted(config: &Config, own: Option<String>) -> TrustedKeys {
    TrustedKeys::new(own.into_iter().chain(config.epochs.keys_before.clone()))
}

impl Epochs {
    /// The epochs that the settings name.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub fn open(config: &Config, key: &ReceiptKey) -> anyhow::Result<Self> {
        let place = Place::of(config).map_err(anyhow::Error::msg)?;
        Ok(Self {
            store: place.open()?,
            keys: trusted(config, Some(key.public_hex())),
            searches: Searches::default(),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            plans: Plans::default(),
        })
    }
}

/// Why a gateway does not fit in with the others on its ledger.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    /// Another gateway on this ledger signs with another key.
    #[error(
        "another gateway on this ledger signs receipts with another key than {} (whose public key is {public}): gateways \
         on one ledger share one key. Copy the receipts.key of a gateway that runs there and start again",
        file.display()
    )]
    Key {
        /// This gateway's key file.
        file: PathBuf,
        /// Its public key.
        public: String,
    },
    /// Another gateway on this ledger keeps epochs elsewhere.
    #[error(
        "another gateway on this ledger keeps its epochs in another store than {store}: give all gateways on one ledger \
         the same epochs.store, a bucket or a folder that they share"
    )]
    Store {
        /// This gateway's store.
        store: String,
    },
    /// The last epoch is signed by a key that this gateway neither has nor trusts.
    #[error(
        "the epochs in {store} are signed by {signer}, and {} holds the key {public}: put the receipts.key that belongs to \
         them there; if it was replaced on purpose, name {signer} in epochs.keys_before",
        file.display()
    )]
    Chain {
        /// This gateway's store.
        store: String,
        /// Who signed.
        signer: String,
        /// This gateway's key file.
        file: PathBuf,
        /// Its public key.
        public: String,
    },
}

/// Why it could not be found out whether a gateway fits in.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store of epochs does not answer, or not as it should.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody answers.
    #[error("the store of epochs does not answer")]
    Silent,
}

/// What all gateways on one ledger have in common, and this one's part of it.
#[derive(Debug, Clone)]
pub struct Common {
    file: PathBuf,
    public: String,
    place: String,
    /// The store's own name, once it has answered.
    store_name: Option<String>,
}

impl Common {
    /// What this gateway brings.
    ///
    /// # Errors
    /// As [`Place::of`].
    pub fn of(config: &Config, key: &ReceiptKey) -> anyhow::Result<Self> {
        Ok(Self {
            file: key_file(config),
            public: key.public_hex(),
            place: Place::of(config).map_err(anyhow::Error::msg)?.to_string(),
            store_name: None,
        })
    }

    /// Whether this gateway fits in: one key and one store for all gateways on a ledger, and a chain of epochs that its
    /// key may go on with. The first to come decides; whoever runs keeps it so by asking again and again.
    ///
    /// Key and store are leases that every gateway with the same ones holds together. The store is asked until it has
    /// answered once.
    ///
    /// # Errors
    /// [`Unknown`] where ledger or store cannot be asked.
    pub async fn fits(&mut self, ledger: &dyn Ledger, epochs: &Epochs) -> Result<Result<(), Misfit>, Unknown> {
        if !agree(ledger, "receipts-key", &self.public).await? {
            return Ok(Err(Misfit::Key {
                file: self.file.clone(),
                public: self.public.clone(),
            }));
        }
        let name = match &self.store_name {
            Some(name) => name.clone(),
            None => in_time(epochs.store.identity(&mut rand::rng())).await?,
        };
        if !agree(ledger, "epochs-store", &name).await? {
            return Ok(Err(Misfit::Store {
                store: self.place.clone(),
            }));
        }
        if self.store_name.is_none()
            && let Some(misfit) = in_time(self.may_go_on(epochs)).await?
        {
            return Ok(Err(misfit));
        }
        self.store_name = Some(name);
        Ok(Ok(()))
    }

    /// Whether the last epoch is one that this gateway's key may go on from.
    async fn may_go_on(&self, epochs: &Epochs) -> Result<Option<Misfit>, StoreError> {
        let Some(last) = epochs.store.last().await? else {
            return Ok(None);
        };
        match epochs.store.seal(last, &epochs.keys).await {
            Ok(_seal) => Ok(None),
            Err(StoreError::Fault(fault)) => match fault.wrong {
                Wrong::Stranger(signer) => Ok(Some(Misfit::Chain {
                    store: self.place.clone(),
                    signer,
                    file: self.file.clone(),
                    public: self.public.clone(),
                })),
                _ => Err(StoreError::Fault(fault)),
            },
            Err(error) => Err(error),
        }
    }
}

async fn in_time<T>(read: impl Future<Output = Result<T, StoreError>>) -> Result<T, Unknown> {
    let read = tokio::time::timeout(LOOK_MAX, read).await;
    Ok(read.map_err(|_elapsed| Unknown::Silent)??)
}

async fn agree(ledger: &dyn Ledger, what: &str, on: &str) -> Result<bool, LedgerError> {
    let ttl_ms = u64::try_from(AGREED.as_millis()).unwrap_or(u64::MAX);
    ledger.lease(what, on, ttl_ms, now_ms()).await
}
