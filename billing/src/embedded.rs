//! The ledger of one machine: balances and holds in memory, everything that must outlive the process on disk.
//!
//! Reserve, void, renew and sweep touch memory only, behind one short lock. Posts, deposits, accounts and keys go
//! through one writer thread, which commits what has gathered in one transaction; memory follows the disk, never leads
//! it. Holds are not on disk: a crash gives them all back.

mod answer;
mod entry;
mod holds;
mod state;
mod store;
mod tables;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;

use self::entry::{Done, Entry};
use self::writer::Shared;
use crate::id::{AccountId, CallId, KeyId};
use crate::key::{KeyHash, KeyRecord};
use crate::ledger::{
    Account, Deposit, Deposited, Earnings, Ledger, LedgerError, Posted, Reserve, ReserveError, Reserved, Swept, Totals,
    check_text,
};
use crate::money::Nano;
use crate::record::UsageRecord;

/// How the embedded ledger trades latency for work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EmbeddedSettings {
    /// How long the writer lets posts gather when they are few. The default is 2 ms.
    pub gather_min: Duration,
    /// How long it lets them gather when they are many, since a commit costs about as much as a hundred posts. The
    /// default is 30 ms.
    pub gather_max: Duration,
    /// How many posts and other writes may wait for the writer; above that they are refused. The default is 65,536.
    pub waiting_max: usize,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self {
            gather_min: Duration::from_millis(2),
            gather_max: Duration::from_millis(30),
            waiting_max: 1 << 16,
        }
    }
}

/// Opens the ledger in `dir` with the default settings; see [`EmbeddedLedger::open`].
///
/// # Errors
/// Those of [`EmbeddedLedger::open`].
pub fn open_embedded(dir: &Path) -> Result<EmbeddedLedger, LedgerError> {
    EmbeddedLedger::open(dir, EmbeddedSettings::default())
}

/// The ledger of one machine, durable in a folder.
///
/// Dropping it writes what still waits and closes the folder.
pub struct EmbeddedLedger {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedLedger {
    /// Opens the ledger in `dir`, making the folder where there is none. It is locked until the ledger is dropped.
    ///
    /// # Errors
    /// [`LedgerError::InUse`] if another process has it open, [`LedgerError::Unavailable`] if the disk refuses, and
    /// [`LedgerError::Damaged`] if what is there is no ledger, or one that does not add up.
    pub fn open(dir: &Path, settings: EmbeddedSettings) -> Result<Self, LedgerError> {
        Self::start(Arc::new(Shared::open(dir, settings)?))
    }

    fn start(shared: Arc<Shared>) -> Result<Self, LedgerError> {
        let writer = std::thread::Builder::new().name("ledger-writer".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_until_closed()
        });
        let writer = writer.map_err(|error| LedgerError::Unavailable(format!("no thread to write with: {error}")))?;
        Ok(Self {
            shared,
            writer: Some(writer),
        })
    }
}

impl Drop for EmbeddedLedger {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the ledger's writer had panicked");
        }
    }
}

#[async_trait]
impl Ledger for EmbeddedLedger {
    async fn reserve(&self, reserve: &Reserve) -> Result<Reserved, ReserveError> {
        self.shared.check()?;
        self.shared.state().reserve(reserve)
    }

    async fn post(&self, record: &UsageRecord, _now_ms: u64) -> Result<Posted, LedgerError> {
        record.check()?;
        let entry = Entry::post(record)?;
        self.shared
            .state()
            .begin_post(&record.account, &record.call, record.cost)?;
        let Done {
            fresh,
            charged,
            released,
        } = match self.shared.enqueue(entry) {
            Ok(answer) => answer.wait().await?,
            Err(error) => {
                self.shared.state().abandon_post(&record.account, &record.call);
                return Err(error);
            }
        };
        Ok(Posted {
            fresh,
            charged,
            released,
        })
    }

    async fn void(&self, account: &AccountId, call: &CallId) -> Result<Nano, LedgerError> {
        Ok(self.shared.state().void(account, call))
    }

    async fn renew(&self, account: &AccountId, call: &CallId, expires_ms: u64) -> Result<bool, LedgerError> {
        Ok(self.shared.state().renew(account, call, expires_ms))
    }

    async fn sweep(&self, now_ms: u64) -> Result<Swept, LedgerError> {
        let mut swept = Swept::default();
        // A batch per turn, so that a reserve never waits for the whole of a large sweep.
        while self.shared.state().sweep_batch(now_ms, &mut swept) {
            tokio::task::yield_now().await;
        }
        Ok(swept)
    }

    async fn deposit(&self, deposit: &Deposit) -> Result<Deposited, LedgerError> {
        check_text(&deposit.id, "the id of a deposit")?;
        check_text(&deposit.note, "the note of a deposit")?;
        let done = self.shared.enqueue(Entry::Deposit(deposit.clone()))?.wait().await?;
        let account = self.shared.state().account(&deposit.account);
        let account = account.ok_or_else(|| LedgerError::UnknownAccount(deposit.account.clone()))?;
        Ok(Deposited {
            fresh: done.fresh,
            account,
        })
    }

    async fn create_account(&self, id: &AccountId, name: &str, now_ms: u64) -> Result<Account, LedgerError> {
        check_text(name, "the name of an account")?;
        let entry = Entry::Account {
            id: id.clone(),
            name: name.to_owned(),
            created_ms: now_ms,
        };
        self.shared.enqueue(entry)?.wait().await?;
        self.shared
            .state()
            .account(id)
            .ok_or_else(|| LedgerError::UnknownAccount(id.clone()))
    }

    async fn account(&self, id: &AccountId) -> Result<Option<Account>, LedgerError> {
        Ok(self.shared.state().account(id))
    }

    async fn accounts(&self) -> Result<Vec<Account>, LedgerError> {
        Ok(self.shared.state().accounts())
    }

    async fn create_key(&self, key: &KeyRecord, hash: &KeyHash) -> Result<(), LedgerError> {
        check_text(&key.name, "the name of a key")?;
        check_text(&key.hint, "the hint of a key")?;
        self.shared
            .enqueue(Entry::Key {
                record: key.clone(),
                hash: *hash,
            })?
            .wait()
            .await?;
        Ok(())
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, LedgerError> {
        Ok(self.shared.state().key_by_hash(hash))
    }

    async fn keys(&self, account: Option<&AccountId>) -> Result<Vec<KeyRecord>, LedgerError> {
        Ok(self.shared.state().keys(account))
    }

    async fn revoke_key(&self, key: &KeyId, now_ms: u64) -> Result<Option<KeyRecord>, LedgerError> {
        if self.shared.state().key(key).is_none() {
            return Ok(None);
        }
        self.shared
            .enqueue(Entry::Revoke {
                key: key.clone(),
                revoked_ms: now_ms,
            })?
            .wait()
            .await?;
        Ok(self.shared.state().key(key))
    }

    async fn key_spent(&self, account: &AccountId, key: &KeyId) -> Result<Option<Nano>, LedgerError> {
        Ok(self.shared.state().key_spent(account, key))
    }

    async fn record(&self, account: &AccountId, call: &CallId) -> Result<Option<UsageRecord>, LedgerError> {
        let (shared, account, call) = (Arc::clone(&self.shared), account.clone(), *call);
        // A record that is no longer in memory is read from disk, which may block.
        let read = tokio::task::spawn_blocking(move || shared.record(&account, &call)).await;
        read.map_err(|error| LedgerError::Unavailable(format!("the reader stopped: {error}")))?
    }

    async fn earnings(&self) -> Result<Vec<Earnings>, LedgerError> {
        Ok(self.shared.state().earnings())
    }

    async fn totals(&self) -> Result<Totals, LedgerError> {
        Ok(self.shared.state().totals())
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.shared.check()
    }
}
